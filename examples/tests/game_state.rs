//! The state of a game: the whole of it first, then at most once in 50 ms what moved; and alerts beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use forebay_examples::{Client, Server, ask, node, read, run, say};
use serde_json::Value;

const ENTITIES: usize = 200;
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

fn message(client: &mut Client) -> Value {
    serde_json::from_str(&read(client)).expect("JSON")
}

/// Subscribes to the state, which comes first as a whole.
fn join(client: &mut Client) -> BTreeMap<String, u64> {
    let answer = ask(client, r#"{"op":"subscribe","topic":"state","from":"snapshot","id":1}"#);
    assert!(answer.contains(r#""policy":"latest-per-key""#), "{answer}");
    let (mut state, mut last) = (BTreeMap::new(), 0);
    while state.len() < ENTITIES {
        let message = message(client);
        assert_eq!((&message["op"], &message["topic"]), (&"message".into(), &"state".into()));
        let key = message["key"].as_str().expect("a key").to_owned();
        let seq = message["seq"].as_u64().expect("a number");
        assert!(seq > last, "{seq} after {last}");
        last = seq;
        // What moves on while the rest is on its way comes again, behind it; what rests comes once.
        let before = state.insert(key.clone(), seq);
        let moves = key[1..].parse::<u32>().expect("the number of an entity") % 2 == 0;
        assert!(before.is_none() || moves, "{key}: {before:?}, and {seq}");
    }
    state
}

#[test]
fn who_joins_late_gets_the_whole_state_first_and_then_what_moved() {
    let server = Server::start("game_state", &["200"]);
    let mut early = server.connect();
    join(&mut early);
    let began = Instant::now();
    let mut late = server.connect();
    let mut state = join(&mut late);
    // What comes in one write begins when a key comes again: of each key only the last is in it.
    let (mut writes, mut keys, mut last) = (1, BTreeSet::new(), 0);
    while writes <= 20 {
        let message = message(&mut late);
        let seq = message["seq"].as_u64().expect("a number");
        let key = message["key"].as_str().expect("a key").to_owned();
        let before = state.insert(key.clone(), seq).expect("an entity that is known");
        assert!(message["op"] == "message" && seq > last && seq > before, "{message}");
        last = seq;
        if !keys.insert(key.clone()) {
            keys = BTreeSet::from([key]);
            writes += 1;
        }
        assert!(keys.len() <= ENTITIES / 2, "half of them rest");
    }
    let intervals = began.elapsed().as_millis() / FLUSH_INTERVAL.as_millis();
    // The one that was just being written when it joined, and the one after.
    assert!(writes <= intervals + 2, "{writes} writes in {intervals} intervals");
}

#[test]
fn alerts_come_beside_the_state_and_again_until_they_are_acknowledged() {
    let server = Server::start("game_state", &["200"]);
    let mut client = server.connect();
    let answer = ask(&mut client, r#"{"op":"subscribe","topic":"alerts","id":1}"#);
    assert!(answer.contains(r#""delivery":"at-least-once""#), "{answer}");
    say(&mut client, r#"{"op":"subscribe","topic":"state","from":"snapshot","id":2}"#);
    let (mut seqs, mut updates) = (Vec::new(), 0);
    while seqs.len() < 5 {
        let message = message(&mut client);
        if message["topic"] == "state" {
            updates += 1;
        } else if message["topic"] == "alerts" {
            let seq = message["seq"].as_u64().expect("a number");
            say(&mut client, &format!(r#"{{"op":"ack","topic":"alerts","seq":{seq}}}"#));
            seqs.push(seq);
        }
    }
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "each once, in order: {seqs:?}");
    assert!(updates > 500, "{updates} updates beside them");
}

fn prints_what_it_knows(mut client: Command, server: &Server) {
    client.args([format!("ws://{}/", server.address), "2".to_owned()]);
    let output = client.output().expect("it runs");
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said} {failed}");
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("200 entities, ") && !lines[1].contains(" 0 alerts"), "{said}");
}

#[test]
fn clients_of_rust_and_node() {
    let server = Server::start("game_state", &["200"]);
    prints_what_it_knows(run("game_state_client"), &server);
    if let Some(client) = node("../game_state.mjs") {
        prints_what_it_knows(client, &server);
    }
}
