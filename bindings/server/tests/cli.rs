//! The built program, run as an operator runs it.
#![cfg(unix)]

#[path = "cli/admin.rs"]
mod admin;
#[path = "cli/deflate.rs"]
mod deflate;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/kills.rs"]
mod kills;
#[path = "support/packages.rs"]
mod packages;
#[path = "cli/session.rs"]
mod session;
mod support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::{
    Process, config_file, line, line_count, numbers, publish, publisher, server, server_on, subscriber, wait_until,
    write_lines,
};

/// Nobody is given up while a test has stopped them.
const PATIENT: &str = "[limits]\nstall_timeout = \"1h\"\npong_timeout = \"1h\"\nblock_max = \"1h\"\n";

#[test]
fn help_names_the_commands_and_shows_examples() {
    let mut help = Process::start(&["--help"]);
    assert_eq!(help.ends(0), [""; 0]);
    let text = help.out.rest().join("\n");
    for part in ["serve", "publish", "subscribe", "tail -f access.log | forebay publish --topic log", "--listen"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut version = Process::start(&["--version"]);
    assert_eq!(version.ends(0), [""; 0]);
    assert_eq!(version.out.rest(), [concat!("forebay ", env!("CARGO_PKG_VERSION"))]);
    let mut wrong = Process::start(&["serve", "--port", "1"]);
    assert!(wrong.ends(2).join("\n").contains("--port"));
}

#[test]
fn a_port_in_use_is_one_line_and_exit_status_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut server = Process::start(&["serve", "--listen", &address]);
    let lines = server.ends(1);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(&format!("forebay: cannot listen on {address}: the address is in use")), "{lines:?}");
    assert_eq!(server.out.rest(), [""; 0]);
}

#[test]
fn a_bad_configuration_is_refused_with_line_and_key() {
    let file = config_file("bad", "[[topics]]\nname = \"log\"\npolicy = \"drop\"\n\n[limits]\nconections_max = 5\n");
    for arguments in [vec!["serve", "--config", &file], vec!["--check", "--config", &file]] {
        let mut server = Process::start(&arguments);
        let lines = server.ends(2);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        let policy = "[[topics]] \"log\" policy: must be \"drop-oldest\", ";
        assert!(lines[0].starts_with(&format!("forebay: {file}:3: {policy}")), "{lines:#?}");
        assert!(lines[0].ends_with(" or \"block\", not \"drop\""), "{lines:#?}");
        assert!(lines[1].starts_with(&format!("forebay: {file}:6: [limits] conections_max: unknown key; there are ")));
        assert_eq!(server.out.rest(), [""; 0]);
    }
    let mut missing = Process::start(&["serve", "--config", "/no/such/file.toml"]);
    assert!(missing.ends(2)[0].starts_with("forebay: cannot read /no/such/file.toml: "));
}

#[test]
fn check_says_that_the_example_is_good() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/forebay.example.toml");
    let mut check = Process::start(&["serve", "--check", "--config", file]);
    assert_eq!(check.ends(0), [""; 0]);
    assert_eq!(check.out.rest(), [format!("{file}: good; 0 topics declared")]);
}

#[test]
fn nobody_listens_is_one_line_and_exit_status_1() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{address}");
    for command in ["publish", "subscribe"] {
        let lines = Process::start(&[command, "--topic", "log", &url]).ends(1);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with(&format!("forebay: cannot connect to {url}: ")), "{lines:?}");
        let lines = Process::start(&[command, "--topic", "log", "http://x"]).ends(2);
        assert_eq!(lines, ["forebay: http://x: a URL to connect to begins with ws://"]);
    }
}

#[test]
fn lines_reach_every_subscriber_complete_and_in_order() {
    main_job("threads");
}

#[test]
fn lines_reach_every_subscriber_complete_and_in_order_on_smol() {
    main_job("smol");
}

/// The main job: everything, in order, to everybody.
fn main_job(binding: &str) {
    let count = line_count();
    let config = format!("{PATIENT}[[topics]]\nname = \"log\"\npolicy = \"block\"\n");
    let (mut server, url) = server_on(binding, &format!("complete-{binding}"), &config);
    let mut subscribers = [subscriber(&url, &[]), subscriber(&url, &[])];
    let mut publisher = publisher(&url, &[]);
    let mut input = publisher.input();
    let writer = std::thread::spawn(move || write_lines(&mut input, 1..count + 1, 0));
    for number in 1..=count {
        for subscriber in &subscribers {
            assert_eq!(subscriber.out.next().as_deref(), Some(&line(number, 0)[..]), "line {number}");
        }
    }
    writer.join().unwrap().unwrap();
    let summary = publisher.ends(0).pop().unwrap();
    let deliveries = 2 * count;
    let expected =
        format!("published {count}: accepted {count} (matched {deliveries} deliveries), refused 0, lost 0 in ");
    assert!(summary.starts_with(&expected), "{summary}");

    server.signal("TERM");
    assert!(server.ends(0)[0].contains("SIGTERM: draining"));
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.ends(0).pop().unwrap(), format!("received {count}, missed 0"));
        assert_eq!(subscriber.out.next(), None);
    }
}

/// A frozen subscriber costs its peer nothing, and is told exactly what it missed.
#[test]
fn a_stopped_subscriber_is_told_what_it_missed() {
    const BATCH: usize = 1_000;
    let batches = line_count().div_ceil(BATCH);
    let count = batches * BATCH;
    // Twice a batch, so that the subscriber that runs never loses anything, however slow the machine.
    let config = format!("{PATIENT}[defaults]\nmessages_max = {}\nbytes_max = \"4 MiB\"\n", 2 * BATCH);
    let (_server, url) = server("stopped", &config);
    let (mut runs, mut stops) = (subscriber(&url, &[]), subscriber(&url, &[]));
    stops.signal("STOP");
    let mut publisher = publisher(&url, &[]);
    let mut input = publisher.input();
    for batch in 0..batches {
        let numbers = batch * BATCH + 1..(batch + 1) * BATCH + 1;
        write_lines(&mut input, numbers.clone(), 200).unwrap();
        for number in numbers {
            assert_eq!(runs.out.next(), Some(line(number, 200)), "line {number}");
        }
    }
    drop(input);
    let summary = publisher.ends(0).pop().unwrap();
    assert!(summary.starts_with(&format!("published {count}: accepted {count} ")), "{summary}");

    stops.signal("CONT");
    let (mut received, mut missed, mut last) = (0, 0, 0);
    wait_until("received + missed = published", || {
        while let Some(bytes) = stops.out.try_next() {
            let number = numbers(std::str::from_utf8(&bytes).unwrap())[0];
            assert!(number > last, "{number} after {last}");
            (received, last) = (received + 1, number);
        }
        while let Some(gap) = stops.err.try_next() {
            let gap = String::from_utf8(gap).unwrap();
            assert!(gap.starts_with("gap: topic log: missed ") && gap.ends_with(": oldest"), "{gap}");
            missed += numbers(&gap)[0];
        }
        received + missed >= count as u64
    });
    assert_eq!(received + missed, count as u64);
    assert!(missed > 0);
    stops.signal("INT");
    assert_eq!(stops.ends(0), [format!("received {received}, missed {missed}")]);
    runs.signal("INT");
    assert_eq!(runs.ends(0), [format!("received {count}, missed 0")]);
}

/// A publisher whose topic is full because a subscriber is stopped, and what it has written so far.
struct Stalled {
    server: Process,
    stopped: Process,
    publisher: Process,
    writer: std::thread::JoinHandle<std::io::Result<()>>,
    count: usize,
    url: String,
}

const STALLED_BYTES: usize = 2_000;

/// Lines of more bytes than everything between a publisher and a stopped subscriber can hold.
fn stall(test: &str, config: &str, arguments: &[&str]) -> Stalled {
    let count = 20_000;
    let topic = "[[topics]]\nname = \"log\"\npolicy = \"block\"\nmessages_max = 100\n";
    let (server, url) = server(test, &format!("{config}{PATIENT}{topic}"));
    let stopped = subscriber(&url, &[]);
    stopped.signal("STOP");
    let mut publisher = publisher(&url, arguments);
    let mut input = publisher.input();
    let written = Arc::new(AtomicUsize::new(0));
    let writer = std::thread::spawn({
        let written = Arc::clone(&written);
        move || {
            for number in 1..=count {
                write_lines(&mut input, number..number + 1, STALLED_BYTES)?;
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    });
    // Not a matter of speed: however long one waits, the writer cannot get to the end.
    let mut before = 0;
    wait_until("a pause in what is read", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = written.load(Ordering::Relaxed);
        now > 0 && now == std::mem::replace(&mut before, now)
    });
    assert!(written.load(Ordering::Relaxed) < count && publisher.is_running());
    Stalled { server, stopped, publisher, writer, count, url }
}

#[test]
fn a_full_block_topic_stalls_the_publisher_and_loses_nothing() {
    let mut stalled = stall("block", "", &[]);
    stalled.stopped.signal("CONT");
    for number in 1..=stalled.count {
        assert_eq!(stalled.stopped.out.next(), Some(line(number, STALLED_BYTES)), "line {number}");
    }
    stalled.writer.join().unwrap().unwrap();
    let summary = stalled.publisher.ends(0).pop().unwrap();
    assert!(summary.contains(&format!("accepted {0} (matched {0} deliveries), refused 0, lost 0", stalled.count)));
    stalled.stopped.signal("INT");
    assert_eq!(stalled.stopped.ends(0), [format!("received {}, missed 0", stalled.count)]);
}

#[test]
fn what_had_no_answer_when_the_server_died_is_told_as_lost() {
    let mut stalled = stall("lost", "", &["--retry-for", "0s"]);
    stalled.server.signal("KILL");
    let lines = stalled.publisher.ends(1);
    assert!(lines[0].starts_with("forebay: the connection ended: "), "{lines:#?}");
    let summary = lines.last().unwrap();
    let [published, accepted, _, refused, lost] = numbers(summary)[..5] else { panic!("{summary}") };
    assert_eq!(published, accepted + refused + lost, "{summary}");
    assert!(accepted > 0 && refused == 0 && lost > 0, "{summary}");
    assert!(stalled.writer.join().unwrap().is_err(), "the pipe is broken");
}

#[test]
fn a_second_signal_ends_a_drain() {
    let mut stalled = stall("signals", "[server]\ndrain_timeout = \"1h\"\n", &[]);
    stalled.server.signal("TERM");
    stalled.server.err.find("SIGTERM: draining");
    assert!(stalled.server.is_running(), "a subscriber has not got everything");
    stalled.server.signal("INT");
    assert_eq!(stalled.server.wait().code(), Some(128 + 2));
    assert!(!stalled.url.is_empty());
}

#[test]
fn a_drain_hands_out_what_waits() {
    let (mut server, url) = server("drain", "[defaults]\nmessages_max = 5000\nbytes_max = \"8 MiB\"\n");
    let mut subscriber = subscriber(&url, &[]);
    subscriber.signal("STOP");
    let mut input = Vec::new();
    write_lines(&mut input, 1..5_001, 200).unwrap();
    publish(&url, &[], &input, 0);
    server.signal("INT");
    server.err.find("SIGINT: draining");
    subscriber.signal("CONT");
    assert_eq!(server.ends(0), ["forebay: stopped"]);
    assert_eq!(subscriber.ends(0).pop().unwrap(), "received 5000, missed 0");
    assert_eq!(subscriber.out.rest().len(), 5_000);
}

#[test]
fn lines_arrive_as_they_were_written() {
    let (_server, url) = server("lines", "");
    let mut subscriber = subscriber(&url, &["--count", "6"]);
    let summary = publish(&url, &[], b"plain\n\n\"quoted\"\\\nwith\r\n\xff\xfe bytes\nlast", 0).pop().unwrap();
    assert!(summary.starts_with("published 6: accepted 6 (matched 6 deliveries), refused 0, lost 0 in "), "{summary}");
    for expected in [&b"plain"[..], b"", b"\"quoted\"\\", b"with\r", b"\xff\xfe bytes", b"last"] {
        assert_eq!(subscriber.out.next().as_deref(), Some(expected));
    }
    assert_eq!(subscriber.ends(0), ["received 6, missed 0"]);
}

#[test]
fn json_lines_go_as_they_are_and_others_are_refused() {
    let (_server, url) = server("json", "");
    let mut subscriber = subscriber(&url, &["--json", "--count", "3"]);
    let mut lines = publish(&url, &["--json"], b"{\"a\" :1}\nnot json\n\"text\"\n\nnull\n", 1);
    let summary = lines.pop().unwrap();
    let expected = "published 5: accepted 3 (matched 3 deliveries), refused 2 (not-json 2), lost 0 in ";
    assert!(summary.starts_with(expected), "{summary}");
    let refused = |number| format!("forebay: line {number} refused: not-json: the line is not JSON text");
    assert_eq!(lines, [refused(2), refused(4)]);
    assert_eq!(subscriber.ends(0), ["received 3, missed 0"]);
    assert_eq!(subscriber.out.rest(), ["{\"a\" :1}", "\"text\"", "null"]);
}

#[test]
fn a_line_says_its_key_or_is_refused() {
    let (_server, url) = server("key", "");
    let mut subscriber = subscriber(&url, &["--count", "2"]);
    let input = b"{\"id\":\"a\"}\n{\"id\":7}\n{}\n{\"id\":[]}\nid\n";
    let mut lines = publish(&url, &["--key", "/id"], input, 1);
    let summary = lines.pop().unwrap();
    let expected = "published 5: accepted 2 (matched 2 deliveries), refused 3 (no-key 2, not-json 1), lost 0 in ";
    assert!(summary.starts_with(expected), "{summary}");
    assert!(lines[0].starts_with("forebay: line 3 refused: no-key: the line has no string, "), "{lines:#?}");
    assert_eq!(subscriber.ends(0), ["received 2, missed 0"]);
    assert_eq!(subscriber.out.rest(), ["{\"id\":\"a\"}", "{\"id\":7}"]);
}

#[test]
fn a_subscriber_chooses_its_policy_and_lower_limits() {
    let topic = "[[topics]]\nname = \"log\"\nchoices = [\"latest-only\"]\n";
    let (_server, url) = server("choice", topic);
    let chosen = Process::start(&["subscribe", &url, "--topic", "log", "--policy", "latest-only"]);
    assert_eq!(chosen.err.next().unwrap(), b"subscribed: topic log, from seq 1, policy latest-only");
    let lower = Process::start(&["subscribe", &url, "--topic", "log", "--messages-max", "9", "--bytes-max", "512 KiB"]);
    assert_eq!(lower.err.next().unwrap(), b"subscribed: topic log, from seq 1, policy drop-oldest");
    for (arguments, code) in [
        (["--policy", "drop-newest"], "policy-not-allowed"),
        (["--policy", "block"], "policy-not-allowed"),
        (["--messages-max", "16385"], "bad-limits"),
        (["--bytes-max", "1000"], "bad-limits"),
    ] {
        let arguments = [&["subscribe", &url, "--topic", "log"], &arguments[..]].concat();
        let lines = Process::start(&arguments).ends(1);
        assert!(lines[0].starts_with(&format!("forebay: cannot subscribe to log: {code}: ")), "{lines:#?}");
    }
}

#[test]
fn what_is_too_large_is_refused_here_or_there() {
    let (_server, url) = server("large", "[defaults]\nmessage_bytes_max = 1000\n");
    let mut subscriber = subscriber(&url, &["--count", "1"]);
    let input = [&[b'a'; 3 << 20][..], b"\n", &[b'b'; 2_000], b"\nfits\n"].concat();
    let mut lines = publish(&url, &[], &input, 1);
    let summary = lines.pop().unwrap();
    assert!(summary.contains("accepted 1 (matched 1 deliveries), refused 2 (too-large 2), lost 0"), "{summary}");
    assert!(lines.iter().any(|line| line.contains("line 1 refused: too-large: 3145728 bytes")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("line 2 refused: too-large: ")), "{lines:#?}");
    assert_eq!(subscriber.ends(0), ["received 1, missed 0"]);
    assert_eq!(subscriber.out.rest(), ["fits"]);
}

#[test]
fn a_message_too_long_for_the_subscriber_is_told() {
    let (_server, url) = server("long", "");
    let mut subscriber = subscriber(&url, &["--message-bytes-max", "1000"]);
    publish(&url, &[], &[b'a'; 2_000], 0);
    let lines = subscriber.ends(1);
    assert_eq!(lines[1], "forebay: a message was longer than --message-bytes-max allows", "{lines:#?}");
    assert_eq!(lines[2], "received 0, missed 0");
}

#[test]
fn a_rate_makes_a_slow_consumer_that_the_server_feels() {
    let count = 5_000;
    let config = format!("{PATIENT}[defaults]\nmessages_max = 50\n");
    let (_server, url) = server("rate", &config);
    let mut slow = subscriber(&url, &["--rate", "1000"]);
    let mut publisher = publisher(&url, &[]);
    write_lines(&mut publisher.input(), 1..count + 1, 2_000).unwrap();
    publisher.ends(0);
    let (mut received, mut missed) = (0, 0);
    wait_until("received + missed = published", || {
        received += std::iter::from_fn(|| slow.out.try_next()).count() as u64;
        missed += std::iter::from_fn(|| slow.err.try_next())
            .map(|gap| numbers(&String::from_utf8(gap).unwrap())[0])
            .sum::<u64>();
        received + missed >= count as u64
    });
    assert!(missed > 0);
    slow.signal("TERM");
    assert_eq!(slow.ends(0), [format!("received {received}, missed {missed}")]);
}

#[test]
fn a_reader_that_has_enough_ends_the_subscriber_quietly() {
    let (_server, url) = server("head", "");
    let program = env!("CARGO_BIN_EXE_forebay");
    let command = format!("{program} subscribe --topic log {url} | head -n 1");
    let mut head = std::process::Command::new("sh")
        .args(["-c", &command])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut publisher = publisher(&url, &[]);
    let mut input = publisher.input();
    // The shell waits for both; a subscriber that does not notice would hang here.
    wait_until("the end of the pipeline", || {
        input.write_all(b"line\n").unwrap();
        head.try_wait().unwrap().is_some()
    });
    drop(input);
    publisher.ends(0);
    let output = head.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"line\n");
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err.lines().filter(|line| !line.starts_with("subscribed: ")).count(), 0, "{err}");
}
