//! Sessions that outlive connections and commands, and publishers that come back.

use std::io::Write;

use serde_json::Value;

use crate::admin;
use crate::support::proxy::Proxy;
use crate::support::{
    Process, line, numbers, publish, publisher, server, server_on, subscriber, wait_until, write_lines,
};

/// Nothing comes again in the time of a test but after a resume.
const ORDERS: &str =
    "[[topics]]\nname = \"log\"\npolicy = \"block\"\ndelivery = \"at-least-once\"\nack_timeout = \"1h\"\n";

fn file(test: &str) -> String {
    let path = format!("{}/{test}.session", env!("CARGO_TARGET_TMPDIR"));
    let _ = std::fs::remove_file(&path);
    path
}

fn saved(path: &str) -> Value {
    std::fs::read_to_string(path).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

/// Waits until the file says that the message with this number is done with.
fn wait_for_seq(path: &str, seq: u64) {
    wait_until("the file to be written", || saved(path)["positions"]["log"]["seq"] == seq);
}

fn start(url: &str, arguments: &[&str]) -> Process {
    Process::start(&[&["subscribe", url, "--topic", "log"], arguments].concat())
}

fn publish_lines(url: &str, numbers: std::ops::Range<usize>) {
    let mut input = Vec::new();
    write_lines(&mut input, numbers, 0).unwrap();
    publish(url, &[], &input, 0);
}

#[track_caller]
fn prints(process: &Process, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(
            process.out.next().map(|bytes| String::from_utf8(bytes).unwrap()),
            Some(String::from_utf8(line(number, 0)).unwrap())
        );
    }
}

fn a_lost_connection_loses_nothing(binding: &str) {
    let (_server, url) = server_on(binding, &format!("session-lost-{binding}"), ORDERS);
    let proxy = Proxy::new(&url);
    let path = file(&format!("lost-{binding}"));
    let mut subscriber = subscriber(&proxy.url(), &["--session", &path]);
    for round in 0..20 {
        let first = 1 + round * 100;
        let mut publisher = publisher(&url, &[]);
        write_lines(&mut publisher.input(), first..first + 100, 0).unwrap();
        if round % 2 == 0 {
            proxy.cut(); // Somewhere in the stream.
        }
        prints(&subscriber, first..first + 100);
        publisher.ends(0);
        if round % 2 == 1 {
            proxy.close();
            subscriber.err.find("coming back");
            proxy.open();
        }
    }
    wait_for_seq(&path, 2_000);
    subscriber.signal("TERM");
    let end = subscriber.ends(0).pop().unwrap();
    assert!(end.starts_with("received 2000, missed 0"), "{end}");
    assert_eq!(subscriber.out.next(), None, "nothing twice");
}

#[test]
fn a_lost_connection_loses_nothing_on_threads() {
    a_lost_connection_loses_nothing("threads");
}

#[test]
fn a_lost_connection_loses_nothing_on_smol() {
    a_lost_connection_loses_nothing("smol");
}

#[test]
fn a_command_that_is_started_again_goes_on() {
    let (_server, url) = server("session-again", ORDERS);
    let path = file("again");
    let mut first = subscriber(&url, &["--session", &path]);
    publish_lines(&url, 1..51);
    prints(&first, 1..51);
    wait_for_seq(&path, 50);
    first.signal("TERM");
    assert_eq!(first.ends(0), ["received 50, missed 0"]);
    publish_lines(&url, 51..101);
    let mut second = start(&url, &["--session", &path]);
    second.err.find("resumed: topic log, from seq 51");
    prints(&second, 51..101);
    // Killed in the middle of everything: what comes again was not told to be done.
    second.signal("STOP");
    publish_lines(&url, 101..151);
    second.signal("CONT");
    prints(&second, 101..121);
    second.signal("KILL");
    second.wait();
    let printed = 120 + second.out.rest().len();
    let done = usize::try_from(saved(&path)["positions"]["log"]["seq"].as_u64().unwrap()).unwrap();
    assert!(done <= printed, "{done} {printed}");
    let mut third = start(&url, &["--session", &path, "--count", &(150 - done).to_string()]);
    if done < 150 {
        prints(&third, done + 1..151);
        assert!(third.ends(0).iter().any(|line| line.starts_with("resumed: topic log, ")));
    }
}

#[test]
fn what_a_session_had_is_had_without_it_where_there_is_history() {
    let config = format!("[limits]\nsession_ttl = \"1ms\"\n{ORDERS}history_messages = 100\n");
    let (mut server, url) = server("session-ended", &config);
    let path = file("ended");
    let mut first = subscriber(&url, &["--session", &path]);
    publish_lines(&url, 1..11);
    prints(&first, 1..11);
    wait_for_seq(&path, 10);
    first.signal("INT");
    first.ends(0);
    publish_lines(&url, 11..21);
    let mut second = start(&url, &["--session", &path]);
    second.err.find("the session has ended; subscribing anew");
    second.err.find("subscribed: topic log, from seq 11, policy block, at-least-once");
    prints(&second, 11..21);
    // The file is nobody else's, and of this server only.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let lines = start("ws://127.0.0.1:1", &["--session", &path]).ends(2);
    assert!(lines[0].contains(&format!("{path} is of a session at {url};")), "{lines:#?}");
    // A server that starts anew numbers anew: nothing of it was printed.
    server.signal("TERM");
    second.err.find("coming back");
    server.ends(0);
    second.signal("TERM");
    second.ends(0);
}

#[test]
fn a_session_is_taken_over_by_the_newer_one() {
    let (_server, url) = server("session-taken", ORDERS);
    let path = file("taken");
    let mut older = subscriber(&url, &["--session", &path]);
    wait_until("the session in the file", || saved(&path)["session"].is_string());
    let newer = start(&url, &["--session", &path]);
    newer.err.find("resumed: topic log, from seq 1");
    let lines = older.ends(1);
    assert!(lines[0].starts_with("forebay: the connection ended: closed by the peer with code 4001"), "{lines:#?}");
    assert_eq!(lines[1], "forebay: another subscriber goes on with the session");
    publish_lines(&url, 1..4);
    prints(&newer, 1..4);
}

#[test]
fn standard_input_says_what_is_done() {
    let (_server, url) = server("session-manual", ORDERS);
    let path = file("manual");
    let arguments = ["--session", &path, "--ack", "manual"];
    let mut first = subscriber(&url, &arguments);
    let mut input = first.input();
    publish(&url, &[], b"one\ntwo\nthree\n", 0);
    for expected in ["log 1 one", "log 2 two", "log 3 three"] {
        assert_eq!(first.out.next().unwrap(), expected.as_bytes());
    }
    input.write_all(b"log 4\nnonsense\nlog 2\n").unwrap();
    first.err.find("standard input: log 4: number 4 of log was not printed yet");
    first.err.find("standard input: nonsense: must be TOPIC SEQ");
    wait_for_seq(&path, 2);
    first.signal("TERM");
    first.ends(0);
    let second = start(&url, &arguments);
    second.err.find("resumed: topic log, from seq 3");
    assert_eq!(second.out.next().unwrap(), b"log 3 three", "it was not done with");
    publish(&url, &[], b"four\n", 0);
    assert_eq!(second.out.next().unwrap(), b"log 4 four");
}

#[test]
fn credit_bounds_what_is_on_its_way() {
    let (_server, url, address) = admin::server("threads", "session-credit");
    let subscriber = subscriber(&url, &["--credit", "2"]);
    subscriber.signal("STOP");
    publish_lines(&url, 1..51);
    let lane = || admin::stats(&address, "")["lanes"][0].clone();
    wait_until("what credit allows to be sent", || lane()["sent"]["messages"] == 2);
    assert_eq!((&lane()["credit"], &lane()["waiting"]["messages"]), (&0.into(), &48.into()));
    subscriber.signal("CONT");
    prints(&subscriber, 1..51);
    wait_until("the credit to be granted again", || lane()["credit"] == 2);
}

#[test]
fn a_subscription_starts_where_it_is_told() {
    let (_server, url) = server("session-from", "[[topics]]\nname = \"log\"\nhistory_messages = 100\n");
    publish_lines(&url, 1..21);
    let printed = |from: &str, numbers: std::ops::Range<usize>| {
        let count = numbers.len().to_string();
        let mut subscriber = subscriber(&url, &["--from", from, "--count", &count]);
        prints(&subscriber, numbers);
        subscriber.ends(0);
    };
    printed("start", 1..21);
    printed("history:3", 18..21);
    printed("snapshot", 20..21);
    let path = file("from");
    let mut first = subscriber(&url, &["--session", &path, "--from", "history:1", "--count", "1"]);
    prints(&first, 20..21);
    first.ends(0);
    let epoch = saved(&path)["positions"]["log"]["epoch"].as_str().unwrap().to_owned();
    printed(&format!("{epoch}/15"), 16..21);
    let mut ahead = start(&url, &["--from", &format!("{epoch}/21")]);
    assert!(ahead.ends(1)[0].starts_with("forebay: cannot subscribe to log: bad-position: "));
    let mut best_effort = start(&url, &["--delivery", "at-least-once"]);
    assert!(best_effort.ends(1)[0].starts_with("forebay: cannot subscribe to log: not-at-least-once: "));
}

fn a_publisher_comes_back(binding: &str) {
    let config = "[[topics]]\nname = \"log\"\npolicy = \"block\"\npublish_ids_max = 10000\n";
    let (mut server, url) = server_on(binding, &format!("session-publish-{binding}"), config);
    let proxy = Proxy::new(&url);
    let subscriber = subscriber(&url, &[]);
    let mut publisher = publisher(&proxy.url(), &[]);
    let mut input = publisher.input();
    let mut expected = 1;
    for round in 0..20 {
        write_lines(&mut input, 1 + round * 200..1 + (round + 1) * 200, 0).unwrap();
        if round % 2 == 0 {
            // With the answers on their way.
            let bytes = proxy.bytes();
            wait_until("an answer", || proxy.bytes() > bytes);
            proxy.cut();
        } else {
            proxy.close();
            publisher.err.find("coming back");
            proxy.open();
        }
        prints(&subscriber, expected..1 + (round + 1) * 200);
        expected = 1 + (round + 1) * 200;
    }
    drop(input);
    let summary = publisher.ends(0).pop().unwrap();
    assert!(summary.starts_with("published 4000: accepted 4000 (matched "), "{summary}");
    assert!(summary.contains("refused 0, lost 0"), "{summary}");
    let [_, _, matched, rest @ ..] = &numbers(&summary)[..] else { panic!("{summary}") };
    let duplicates = if summary.contains("duplicates") { rest[0] } else { 0 };
    assert_eq!(matched + duplicates, 4_000, "{summary}");
    server.signal("TERM");
    server.ends(0);
    assert_eq!(subscriber.out.next(), None, "nothing was stored twice");
}

#[test]
fn a_publisher_comes_back_on_threads() {
    a_publisher_comes_back("threads");
}

#[test]
fn a_publisher_comes_back_on_smol() {
    a_publisher_comes_back("smol");
}

#[test]
fn a_publisher_that_nobody_answers_gives_up() {
    let (mut server, url) = server("session-gives-up", "");
    let mut publisher = publisher(&url, &["--retry-for", "1s"]);
    let mut input = publisher.input();
    let subscriber = subscriber(&url, &[]);
    input.write_all(b"first\n").unwrap();
    assert_eq!(subscriber.out.next().unwrap(), b"first");
    server.signal("KILL");
    server.wait();
    input.write_all(b"second\n").unwrap();
    drop(input);
    let lines = publisher.ends(1);
    assert!(lines.last().unwrap().starts_with("published 2: accepted "), "{lines:#?}");
    assert!(lines.contains(&"forebay: no connection within 1s (--retry-for)".to_owned()), "{lines:#?}");
}

#[test]
fn credit_for_a_subscription_that_has_ended_harms_nobody() {
    let config = "[[topics]]\nname = \"log\"\npolicy = \"disconnect\"\nmessages_max = 5\n\
                  disconnect = { scope = \"topic\" }\n";
    let (_server, url) = server("session-credit-ended", config);
    let mut subscriber = subscriber(&url, &["--topic", "other", "--credit", "5", "--rate", "5"]);
    publish_lines(&url, 1..6);
    // More than the lane holds while the first five are being printed, each of which grants credit.
    publish_lines(&url, 6..66);
    subscriber.err.find("the server ended the subscription to log: overflow");
    let mut publisher = Process::start(&["publish", &url, "--topic", "other"]);
    publisher.input().write_all(b"goes on\n").unwrap();
    while subscriber.out.next().expect("it goes on") != b"goes on" {}
    subscriber.signal("TERM");
    subscriber.ends(0);
}

#[test]
fn what_an_operator_has_to_know_is_told() {
    let (_server, url) = server("session-files", ORDERS);
    let stranger = subscriber(&url, &["--from", "0000000000000000/5"]);
    stranger.err.find("missed 0 messages (0..0): reset (the topic numbers anew");
    let path = format!("{}/no-such-folder/x.session", env!("CARGO_TARGET_TMPDIR"));
    let lines = start(&url, &["--session", &path]).ends(1);
    assert!(lines[0].starts_with(&format!("forebay: cannot write the session to {path}.next: ")), "{lines:#?}");
    let mut manual = subscriber(&url, &["--ack", "manual"]);
    drop(manual.input());
    manual.err.find("standard input has ended: nothing more is acknowledged");
    manual.signal("TERM");
    manual.ends(0);
}
