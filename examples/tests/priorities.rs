//! Alerts beside a saturated feed, over a slow link. How long they take is the program's to measure; here it is in what order
//! they come.

use forebay_examples::run;

/// A line of the table: its name, and the columns behind it.
fn row(line: &str) -> (&str, Vec<f64>) {
    let (name, columns) = line.split_at(30);
    (name.trim(), columns.split_whitespace().map(|column| column.parse().expect("a number")).collect())
}

fn no_alert_is_behind_what_was_published_after_it(binding: &str) {
    let output = run("priorities").args(["0.5", "1", binding]).output().expect("it runs");
    let (table, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table} {failed}");
    let rows: Vec<_> = table.lines().skip(1).map(row).collect();
    assert_eq!(rows.len(), 5, "{table}");
    for (name, columns) in rows {
        let [alerts, _p50, _p99, _max, _rate, behind, passed] = columns[..] else { panic!("{table}") };
        assert!(alerts > 50.0 && behind == 0.0, "{table}");
        // Without classes they are in the order of their publishes. By class alerts pass what waits: with a rate that is
        // certain, without one it is if the machine makes the feed faster than the link.
        match name {
            "with a feed: classes and rate" => assert!(passed > 0.0, "{table}"),
            "with a feed: classes" => {}
            _ => assert!(passed == 0.0, "{name}: {table}"),
        }
    }
}

#[test]
fn no_alert_is_behind_what_was_published_after_it_on_threads() {
    no_alert_is_behind_what_was_published_after_it("threads");
}

#[test]
fn no_alert_is_behind_what_was_published_after_it_on_smol() {
    no_alert_is_behind_what_was_published_after_it("smol");
}
