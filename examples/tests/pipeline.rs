//! Source, transform and sink: who is slow, who ends and who fails.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use forebay_examples::{Client, Server, ask, node, read, wait_until};

/// 20 MB, where the lanes hold 64 KiB each.
const LINES: usize = 20_000;
const LINE_BYTES: usize = 1_000;

fn line(number: usize) -> String {
    format!(r#"{{"number":{number},"fill":"{}"}}"#, "x".repeat(LINE_BYTES))
}

/// A file of so many lines, of which that one is no JSON.
fn file(name: &str, bad: Option<usize>) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = |number| if Some(number) == bad { "not JSON\n".to_owned() } else { line(number) + "\n" };
    std::fs::write(&path, (1..=LINES).map(text).collect::<String>()).unwrap();
    path
}

/// A client that is to receive everything.
fn sink(server: &Server) -> Client {
    let mut sink = server.connect();
    let answer = ask(&mut sink, r#"{"op":"subscribe","topic":"parsed","id":1}"#);
    assert!(answer.contains(r#""policy":"block""#), "{answer}");
    let answer = ask(&mut sink, r#"{"op":"publish","topic":"ready","data":1,"id":2}"#);
    assert!(answer.contains(r#""matched":1"#), "{answer}");
    sink
}

fn expect(sink: &mut Client, number: usize, data: &str) {
    assert_eq!(read(sink), format!(r#"{{"op":"message","topic":"parsed","seq":{number},"data":{data}}}"#));
}

/// Lines as the sink gets them.
fn expect_lines(sink: &mut Client, numbers: impl IntoIterator<Item = usize>) {
    let value = |number| format!(r#"{{"fill":"{}","number":{number}}}"#, "x".repeat(LINE_BYTES));
    numbers
        .into_iter()
        .for_each(|number| expect(sink, number, &format!(r#"{{"line":{number},"value":{}}}"#, value(number))));
}

#[test]
fn a_slow_sink_stops_the_source_and_gets_everything() {
    let path = file("pipeline-slow.json", None);
    let server = Server::start("pipeline", &[path.to_str().unwrap()]);
    let before = server.peak_bytes();
    let mut sink = sink(&server);
    expect_lines(&mut sink, 1..=10);
    server.wait_until_idle(); // Not for want of lines.
    if let (Some(before), Some(peak)) = (before, server.peak_bytes()) {
        assert!(peak - before < 2 << 20, "it grew by {} bytes", peak - before);
    }
    expect_lines(&mut sink, 11..=LINES);
    expect(&mut sink, LINES + 1, &format!(r#"{{"end":{LINES}}}"#));
    assert!(sink.read().unwrap().is_close());
    drop(sink);
    let (status, output) = server.finish();
    assert!(status.success());
    assert_eq!(output, format!("{LINES} lines\n"));
}

#[test]
fn a_sink_that_leaves_ends_the_source() {
    let path = file("pipeline-left.json", None);
    let server = Server::start("pipeline", &[path.to_str().unwrap()]);
    let (mut sink, mut witness) = (sink(&server), server.connect());
    ask(&mut witness, r#"{"op":"subscribe","topic":"outcome","id":1}"#);
    expect_lines(&mut sink, 1..=10);
    server.wait_until_idle();
    drop(sink);
    let outcome = read(&mut witness);
    assert!(outcome.contains(r#"{"error":"nobody is left to take parsed: PeerGone"}"#), "{outcome}");
    drop(witness);
    assert!(!server.finish().0.success());
}

#[test]
fn a_transform_that_fails_ends_both() {
    let path = file("pipeline-bad.json", Some(5_000));
    let server = Server::start("pipeline", &[path.to_str().unwrap()]);
    let mut sink = sink(&server);
    expect_lines(&mut sink, 1..5_000);
    expect(&mut sink, 5_000, r#"{"error":"line 5000: expected ident at line 1 column 2"}"#);
    assert!(sink.read().unwrap().is_close());
    drop(sink);
    assert!(!server.finish().0.success());
}

/// A source that is a program of Node's.
struct Node {
    child: Child,
    made: Arc<AtomicUsize>,
    /// The last thing it says.
    reading: JoinHandle<String>,
}

impl Node {
    fn start(server: &Server, bad: usize) -> Option<Self> {
        let mut command = node("pipeline.mjs")?;
        command
            .arg(format!("ws://{}/", server.address))
            .args([LINES, LINE_BYTES, bad].map(|number| number.to_string()));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("node runs");
        let (lines, made) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::new(AtomicUsize::new(0)));
        let follow = |lines: Lines<BufReader<ChildStdout>>, made: Arc<AtomicUsize>| {
            let mut last = String::new();
            for line in lines {
                last = line.unwrap();
                last.parse().into_iter().for_each(|number| made.store(number, Ordering::Relaxed));
            }
            last
        };
        let reading = std::thread::spawn({
            let made = Arc::clone(&made);
            move || follow(lines, made)
        });
        Some(Self { child, made, reading })
    }

    /// Waits until it makes nothing more, because nothing is taken.
    fn wait_until_stopped(&self, server: &Server) {
        wait_until("lines are made", || self.made.load(Ordering::Relaxed) > 10);
        server.wait_until_idle();
        let made = self.made.load(Ordering::Relaxed);
        assert!(made < LINES / 2, "{made} lines made, and nobody takes them");
    }

    fn finish(mut self) -> String {
        let status = self.child.wait().unwrap();
        let last = self.reading.join().unwrap();
        assert_eq!(status.success(), last == "finished", "{last}");
        last
    }
}

#[test]
fn streams_of_nodes_wait_for_a_slow_sink() {
    let server = Server::start("pipeline", &[]);
    let mut sink = sink(&server);
    let Some(node) = Node::start(&server, 0) else { return };
    node.wait_until_stopped(&server);
    expect_lines(&mut sink, 1..=10_000);
    expect_lines(&mut sink, 10_001..=LINES);
    expect(&mut sink, LINES + 1, &format!(r#"{{"end":{LINES}}}"#));
    assert_eq!(node.finish(), "finished");
    assert!(sink.read().unwrap().is_close());
    drop(sink);
    assert_eq!(server.finish().1, format!("{LINES} lines\n"));
}

#[test]
fn streams_of_nodes_learn_that_the_sink_has_left() {
    let server = Server::start("pipeline", &[]);
    let mut sink = sink(&server);
    let Some(node) = Node::start(&server, 0) else { return };
    node.wait_until_stopped(&server);
    expect_lines(&mut sink, 1..=10);
    drop(sink);
    let last = node.finish();
    assert!(last.starts_with("failed: nobody is left to take parsed"), "{last}");
    assert!(!server.finish().0.success());
}

#[test]
fn streams_of_nodes_learn_that_the_transform_has_failed() {
    let server = Server::start("pipeline", &[]);
    let mut sink = sink(&server);
    let Some(node) = Node::start(&server, 3_000) else { return };
    expect_lines(&mut sink, 1..3_000);
    expect(&mut sink, 3_000, r#"{"error":"line 3000: expected ident at line 1 column 2"}"#);
    let last = node.finish();
    assert_eq!(last, "failed: line 3000: expected ident at line 1 column 2");
    drop(sink);
    assert!(!server.finish().0.success());
}

#[test]
fn the_sink_learns_that_streams_of_nodes_have_died() {
    let server = Server::start("pipeline", &[]);
    let mut sink = sink(&server);
    let Some(mut node) = Node::start(&server, 0) else { return };
    expect_lines(&mut sink, 1..=10);
    node.child.kill().unwrap();
    node.child.wait().unwrap();
    for number in 11.. {
        let text = read(&mut sink);
        if let Some((_, error)) = text.split_once(r#""error":""#) {
            assert!(error.starts_with("nobody is left to take outcome: PeerGone"), "{error}");
            break;
        }
        assert!(text.starts_with(&format!(r#"{{"op":"message","topic":"parsed","seq":{number},"#)), "{text}");
    }
    drop(sink);
    assert!(!server.finish().0.success());
}
