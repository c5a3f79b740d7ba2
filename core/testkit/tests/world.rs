//! Many random worlds. `FOREBAY_SEEDS` and `FOREBAY_STEPS` make them more and longer; `FOREBAY_SEED` plays one again.

use forebay_testkit::world::{Summary, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_worlds_keep_every_promise() {
    let steps = number("FOREBAY_STEPS", 1_000);
    let one = std::env::var("FOREBAY_SEED").ok().and_then(|text| text.parse().ok());
    let seeds = one.map_or(0..number("FOREBAY_SEEDS", 150), |seed| seed..seed + 1);
    let mut sum = Summary::default();
    let mut failed = Vec::new();
    for seed in seeds.clone() {
        let Ok(summary) = std::panic::catch_unwind(|| run(seed, steps)) else {
            failed.push(seed);
            continue;
        };
        sum.steps += summary.steps;
        sum.delivered += summary.delivered;
        sum.lost += summary.lost;
        sum.published += summary.published;
        sum.refused_full += summary.refused_full;
        sum.parked += summary.parked;
        sum.opened += summary.opened;
        sum.accepted += summary.accepted;
        sum.gaps += summary.gaps;
        sum.uneven_gaps += summary.uneven_gaps;
        sum.partial_writes += summary.partial_writes;
        sum.forwarded += summary.forwarded;
        sum.shed += summary.shed;
        sum.stalled += summary.stalled;
        sum.pauses += summary.pauses;
        sum.documents += summary.documents;
        sum.overflowed += summary.overflowed;
        sum.overflowed_lanes += summary.overflowed_lanes;
        sum.superseded += summary.superseded;
        sum.rejected += summary.rejected;
        sum.keyed_ledgers += summary.keyed_ledgers;
        sum.resumed += summary.resumed;
        sum.inflated += summary.inflated;
        sum.compressed += summary.compressed;
        sum.referred += summary.referred;
        sum.asked += summary.asked;
        sum.strangers += summary.strangers;
        sum.floods += summary.floods;
        sum.ledgers += summary.ledgers;
        sum.millis += summary.millis;
    }
    assert!(failed.is_empty(), "failed: {failed:?} of {seeds:?} with {steps} steps");
    println!("{seeds:?}: {sum:?}");
    if seeds.end - seeds.start >= 100 {
        // A world in which nothing happens keeps every promise too.
        for (what, how_many) in [
            ("delivered", sum.delivered),
            ("lost", sum.lost),
            ("refused", sum.refused_full),
            ("parked", sum.parked),
            ("opened", sum.opened),
            ("gaps", sum.gaps),
            ("partial writes", sum.partial_writes),
            ("forwarded", sum.forwarded),
            ("shed", sum.shed),
            ("stalled", sum.stalled),
            ("pauses", sum.pauses),
            ("ledgers", sum.ledgers),
            ("documents", sum.documents),
            ("overflowed", sum.overflowed),
            ("lanes ended", sum.overflowed_lanes),
            ("superseded", sum.superseded),
            ("rejected", sum.rejected),
            ("ledgers by key", sum.keyed_ledgers),
            ("resumed", sum.resumed),
            ("inflated", sum.inflated),
            ("compressed", sum.compressed),
            ("taken over", sum.referred),
            ("asked", sum.asked),
            ("strangers", sum.strangers),
            ("floods", sum.floods),
        ] {
            assert!(how_many >= 20, "{what}: only {how_many} in {sum:?}");
        }
    }
}
