//! The reference model beside hubs: they agree; and where one of them is made wrong, that is found and made small.

use std::fs;
use std::path::Path;

use forebay_testkit::model::{Campaign, Tally, Transcript};

/// `FOREBAY_STEPS`, or so many that a debug build takes a few seconds.
fn steps() -> u64 {
    std::env::var("FOREBAY_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(200_000)
}

#[test]
fn hub_and_model_agree() {
    let outcome = Campaign::new(2026, steps(), 2).play(|| false);
    if let Some(failure) = outcome.failure {
        panic!("run {}: {}\n{}", failure.run, failure.fault, failure.transcript);
    }
    let Tally {
        steps: done, sent, parked, gaps, overflowed, drained, stalls, pings, pauses, partial_writes, lost, ..
    } = outcome.tally;
    println!("{:?}", outcome.tally);
    assert_eq!(done, steps());
    assert!(sent > steps() / 50, "{sent} messages sent");
    // Few runs come to the hub's budget (`overload`): too few for so short a campaign.
    assert!([0, 1, 2, 3, 4, 6, 7].iter().all(|reason| lost[*reason] > 0), "{lost:?}");
    for (what, count) in [
        ("parked publishes", parked),
        ("gap notices", gaps),
        ("full lanes", overflowed),
        ("drained topics", drained),
        ("stalls", stalls),
        ("pings", pings),
        ("pauses of reading", pauses),
        ("partial writes", partial_writes),
    ] {
        assert!(count > 0, "no {what}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let play = |threads| Campaign::new(7, 12_500, threads).play(|| false).tally;
    let alone = play(1);
    assert_eq!((alone, alone.runs), (play(3), 13));
}

#[test]
fn what_is_made_wrong_is_found_and_made_small() {
    let wrong = [Campaign::new(1, 100_000, 1).with_wrong_room(), Campaign::new(1, 100_000, 1).with_wrong_return()];
    for campaign in wrong {
        let failure = campaign.play(|| false).failure.expect("found");
        let acts = failure.transcript.to_string().lines().filter(|line| !line.contains(" = ")).count();
        assert!(acts <= 15, "{acts} acts: {}\n{}", failure.fault, failure.transcript);
        // The hub does nothing wrong in it.
        let again: Transcript = failure.transcript.to_string().parse().expect("a transcript");
        assert_eq!(again, failure.transcript);
        assert_eq!(again.play().err(), None);
    }
}

/// What was once found, and what shows something.
#[test]
fn saved_transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let entries = fs::read_dir(&folder).expect("a folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable transcript");
        let transcript: Transcript = text.parse().unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
        if let Err(fault) = transcript.play() {
            panic!("{}: {fault}", file.display());
        }
    }
}
