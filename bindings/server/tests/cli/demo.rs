//! The demo, piped: every line keeps the queue law, and every policy shows what it does.

use std::collections::BTreeMap;

use crate::support::{Process, numbers, wait_until};

/// A line's fields by the names in the header.
type Line = BTreeMap<String, String>;

fn number(line: &Line, column: &str) -> u64 {
    line[column].parse().unwrap_or_else(|_| panic!("{column} in {line:#?}"))
}

/// The names of the columns.
fn columns(demo: &Process) -> Vec<String> {
    let header = demo.out.find("# second ");
    header.trim_start_matches('#').split_whitespace().map(str::to_owned).collect()
}

/// A consumer's line, which keeps the queue law.
fn parsed(line: &str, columns: &[String]) -> Line {
    let fields: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    assert_eq!(fields.len(), columns.len(), "{line}");
    let fields: Line = columns.iter().cloned().zip(fields).collect();
    let sum = ["sent", "waiting", "superseded", "oldest", "newest", "other_lost"].map(|name| number(&fields, name));
    assert_eq!(number(&fields, "entered"), sum.iter().sum::<u64>(), "{line}");
    fields
}

/// What a consumer's line must show at some time.
fn shows(line: &Line) -> bool {
    let is_behind = line["consumer"] != "fast";
    match line["policy"].as_str() {
        "drop-oldest" if is_behind => number(line, "oldest") > 0,
        "drop-newest" if is_behind => number(line, "newest") > 0,
        "latest-per-key" | "latest-only" if is_behind => number(line, "superseded") > 0,
        "disconnect" if is_behind => number(line, "ends") > 0 && line["end_code"] == "1013",
        "block" => number(line, "sent") > 0 && number(line, "publisher_waits") > 0,
        _ => number(line, "sent") > 0,
    }
}

/// What it must never show.
fn check_policy(line: &Line) {
    let lost = ["superseded", "oldest", "newest", "other_lost"].map(|name| number(line, name));
    let is_good = match line["policy"].as_str() {
        "drop-oldest" => lost[0] + lost[2] + lost[3] == 0,
        "drop-newest" => lost[0] + lost[1] + lost[3] == 0,
        "latest-per-key" | "latest-only" => lost[1] + lost[2] + lost[3] == 0 && number(line, "waiting") < 50,
        "disconnect" => lost == [0; 4],
        "block" => lost == [0; 4] && number(line, "ends") == 0,
        policy => panic!("no such policy: {policy}"),
    };
    assert!(is_good, "{line:#?}");
}

fn shows_what_the_policies_do(binding: &str) {
    let mut demo = Process::start(&["demo", "--binding", binding]);
    let columns = columns(&demo);
    let mut shown: BTreeMap<(String, String), bool> = BTreeMap::new();
    // It takes about three seconds, and longer where others want the processor.
    while shown.len() < 18 || shown.values().any(|shown| !shown) {
        let line = String::from_utf8(demo.out.next().expect("it runs until it is ended")).unwrap();
        if line.starts_with('#') {
            let [_, entered, sent, waiting, lost] = numbers(&line)[..5] else { panic!("{line}") };
            assert!(entered == sent + waiting + lost && line.contains(" = sent "), "{line}");
            continue;
        }
        let line = parsed(&line, &columns);
        check_policy(&line);
        *shown.entry((line["policy"].clone(), line["consumer"].clone())).or_default() |= shows(&line);
        assert!(number(&line, "second") < 120, "{shown:#?}");
    }
    demo.signal("TERM");
    assert_eq!(demo.ends(0), [""; 0]);
}

#[test]
fn the_demo_shows_what_the_policies_do_on_threads() {
    shows_what_the_policies_do("threads");
}

#[test]
fn the_demo_shows_what_the_policies_do_on_smol() {
    shows_what_the_policies_do("smol");
}

#[test]
fn the_demo_ends_by_itself() {
    let mut demo = Process::start(&["demo", "--seconds", "2"]);
    let columns = columns(&demo);
    let lines = demo.out.rest();
    assert_eq!(demo.ends(0), [""; 0]);
    let lines: Vec<_> = lines.iter().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 2 * 18);
    lines.iter().for_each(|line| drop(parsed(line, &columns)));
}

#[test]
fn the_demo_can_be_followed_until_a_signal_ends_it() {
    let mut demo = Process::start(&["demo"]);
    let line = demo.out.find(" serves ws://127.0.0.1:");
    let url = line.split(" serves ").nth(1).unwrap().split(". ").next().unwrap();
    let mut follower = Process::start(&["subscribe", "--topic", "machine", "--count", "20", url]);
    follower.ends(0);
    let lines = follower.out.rest();
    assert_eq!(lines.len(), 20);
    assert!(lines.iter().all(|line| line.starts_with("{\"metric\":\"") && line.contains("\"value\":")), "{lines:#?}");
    let mut stays = Process::start(&["subscribe", "--topic", "machine", url]);
    stays.err.find("subscribed: topic machine, ");
    demo.signal("INT");
    assert_eq!(demo.ends(0), [""; 0]);
    let told = stays.ends(0);
    assert!(told.iter().any(|line| line.starts_with("received ")), "{told:#?}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_demo() {
    let program = env!("CARGO_BIN_EXE_forebay");
    let mut head = std::process::Command::new("sh")
        .args(["-c", &format!("{program} demo | head -n 5 >/dev/null")])
        .spawn()
        .unwrap();
    // The shell waits for both.
    wait_until("the end of the pipeline", || head.try_wait().unwrap().is_some());
}
