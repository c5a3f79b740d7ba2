//! Orders are worked on, whatever is killed: workers and publishers are, again and again, in the middle.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use forebay_examples::{Server, ask, node, run};

/// `FOREBAY_KILLS` says how many workers are killed, and as many publishers.
fn kills() -> u64 {
    std::env::var("FOREBAY_KILLS").map_or(4, |kills| kills.parse().expect("FOREBAY_KILLS is a number"))
}

/// What each of them does before it is killed.
const ORDERS_PER_LIFE: u64 = 150;

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    /// The next line, in two words or more: what, and the number.
    fn line(&mut self) -> Option<(String, u64)> {
        let line = self.lines.next()?.expect("its output is text");
        let words = line.split(':').next().expect("the first part");
        let (what, number) = words.rsplit_once(' ').expect("words");
        Some((what.to_owned(), number.parse().expect("a number")))
    }

    /// Kills it; what it had said.
    fn kill(mut self) -> Vec<(String, u64)> {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        std::iter::from_fn(|| self.line()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts what was worked on, by number. `true`: it is new.
fn count(worked: &mut BTreeMap<u64, u64>, (what, seq): (String, u64)) -> bool {
    assert_eq!(what, "worked on");
    let last = worked.last_key_value().map_or(0, |(last, _)| *last);
    assert!(seq <= last + 1, "order {seq} behind order {last}");
    *worked.entry(seq).or_default() += 1;
    seq > last
}

/// Reads what a publisher says, and kills it. Each begins anew, with orders that are there.
fn publish(mut publishing: Running, life: u64) {
    for expected in 1..=life * ORDERS_PER_LIFE {
        let (what, seq) = publishing.line().expect("it is not done");
        let is_again = expected <= (life - 1) * ORDERS_PER_LIFE;
        assert!(seq == expected && (what == "again" || !is_again), "{what} {seq} of {expected}");
    }
    publishing.kill();
}

/// Reads what a worker says, and kills it.
fn work(mut working: Running, worked: &mut BTreeMap<u64, u64>) {
    let mut new = 0;
    while new < ORDERS_PER_LIFE / 2 {
        new += u64::from(count(worked, working.line().expect("it works for ever")));
    }
    for line in working.kill() {
        count(worked, line);
    }
}

fn every_order_is_worked_on(name: &str, worker: impl Fn(&str, &str) -> Command) {
    let server = Server::start("orders", &[]);
    let url = format!("ws://{}/", server.address);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("orders-{name}.json"));
    let _ = std::fs::remove_file(&place); // Of an earlier run.
    let place = place.to_str().expect("a text");
    let orders = 3 * kills() * ORDERS_PER_LIFE; // Who is killed is not done.
    let publisher = |count: u64| {
        let mut command = run("orders_publisher");
        command.args([&url, &count.to_string()]);
        Running::start(command)
    };
    let mut worked = BTreeMap::new();
    for life in 1..=kills() {
        let (publishing, working) = (publisher(orders), Running::start(worker(&url, place)));
        std::thread::scope(|scope| {
            scope.spawn(|| publish(publishing, life));
            scope.spawn(|| work(working, &mut worked));
        });
    }
    let mut publishing = publisher(orders);
    let last = std::iter::from_fn(|| publishing.line()).last();
    assert_eq!(last.map(|(_, seq)| seq), Some(orders));
    let mut working = Running::start(worker(&url, place));
    while worked.len() as u64 != orders {
        count(&mut worked, working.line().expect("it works for ever"));
    }
    // Twice only where a worker was killed between the work and its file.
    let again: u64 = worked.values().map(|times| times - 1).sum();
    assert!(again <= kills(), "{again} orders were worked on twice");
    // Nothing was stored twice.
    let mut witness = server.connect();
    let answer = ask(&mut witness, r#"{"op":"subscribe","topic":"orders","id":1}"#);
    assert!(answer.contains(&format!(r#""seq":{orders},"#)), "{answer}");
}

#[test]
fn every_order_is_worked_on_in_rust() {
    every_order_is_worked_on("rust", |url, place| {
        let mut command = run("orders_worker");
        command.args([url, place]);
        command
    });
}

#[test]
fn every_order_is_worked_on_in_node() {
    if node("../orders_worker.mjs").is_none() {
        return;
    }
    every_order_is_worked_on("node", |url, place| {
        let mut command = node("../orders_worker.mjs").expect("it is there");
        command.args([url, place]);
        command
    });
}
