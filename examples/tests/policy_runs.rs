//! The runs behind the pictures of `docs/policies.md`, in short: what each policy must show.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Messages that a lane holds.
const LIMIT: u64 = 60;
const LOST: [&str; 8] = ["superseded", "oldest", "newest", "age", "log_bound", "overload", "closed", "unsubscribed"];

/// A line of a file: numbers by the names of their columns.
struct Row(BTreeMap<String, String>);

impl Row {
    fn number(&self, column: &str) -> u64 {
        self.0[column].parse().unwrap_or_else(|_| panic!("{column} is no number: {:?}", self.0))
    }

    fn lost(&self) -> u64 {
        LOST.iter().map(|reason| self.number(reason)).sum()
    }
}

/// The rows of a policy's file. On each of them the queue law holds, and the lane is within its limit.
fn rows(directory: &Path, policy: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(directory.join(policy).with_extension("csv")).unwrap();
    let mut lines = text.lines();
    let columns: Vec<_> = lines.next().unwrap().split(',').collect();
    let rows: Vec<_> = lines
        .map(|line| {
            let values: Vec<_> = line.split(',').collect();
            assert_eq!(columns.len(), values.len(), "{line}");
            Row(columns.iter().zip(values).map(|(column, value)| ((*column).to_owned(), value.to_owned())).collect())
        })
        .collect();
    for row in &rows {
        let law = row.number("sent") + row.number("waiting") + row.lost();
        assert_eq!(row.number("entered"), law, "{policy}: {:?}", row.0);
        assert!(row.number("entered") <= row.number("published"), "{policy}: {:?}", row.0);
        assert!(row.number("waiting") - row.number("outstanding") <= LIMIT, "{policy}: {:?}", row.0);
        assert!(row.number("received") <= row.number("sent"), "{policy}: {:?}", row.0);
    }
    assert!(rows.iter().any(|row| row.number("waiting") > 0), "{policy}: nothing has ever waited");
    rows
}

#[test]
fn each_policy_shows_what_it_is_for() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy_runs");
    let _ = std::fs::remove_dir_all(&directory);
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "forebay-examples", "--example", "policy_runs", "--"]);
    let output = command.arg(&directory).arg("2").output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 7, "a line for each file");

    // What is lost, and only that; and what is waiting at most, without what is outstanding.
    let expected = [
        ("drop-oldest", &["oldest"][..], LIMIT),
        ("drop-newest", &["newest"], LIMIT),
        ("latest-per-key", &["superseded"], 8),
        ("latest-only", &["superseded"], 1),
        ("disconnect", &["closed"], LIMIT),
        ("block", &[], LIMIT),
        ("age-max", &["age", "oldest"], LIMIT),
    ];
    for (policy, reasons, waiting_max) in expected {
        let rows = rows(&directory, policy);
        let last = rows.last().unwrap();
        assert!(rows.iter().all(|row| row.number("waiting") - row.number("outstanding") <= waiting_max), "{policy}");
        for reason in LOST {
            assert!(last.number(reason) == 0 || reasons.contains(&reason), "{policy} lost {reason}: {:?}", last.0);
        }
        assert!(reasons.first().is_none_or(|reason| last.number(reason) > 0), "{policy} lost no {reasons:?}");
        assert_eq!((last.number("waiting"), last.number("offered")), (0, last.number("published")), "{policy}");
        assert_eq!(last.number("received"), last.number("sent"), "{policy}");
        // What the client is told makes up for what it did not get, but for what newer messages stand for, and for what
        // was lost with its connection.
        let untold = last.number("superseded") + last.number("closed");
        assert_eq!(last.number("missed"), last.lost() - untold, "{policy}");
        let is_always_subscribed = policy != "disconnect";
        assert_eq!(last.number("entered") == last.number("published"), is_always_subscribed, "{policy}");
        // These may lose old messages, but never the last one.
        let keeps_last = !["drop-newest", "disconnect"].contains(&policy);
        assert!(!keeps_last || last.number("read_seq") == last.number("published"), "{policy}: {:?}", last.0);
        let is_ever_held_up = policy == "block";
        assert_eq!(last.number("held_up") > 0, is_ever_held_up, "{policy}");
    }
}
