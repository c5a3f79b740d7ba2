//! Lanes of the latest messages that start in the past.

use std::time::Duration;

use forebay_core::{LaneOptions, LossReason, Policy, Position, Start, TopicOptions};

use crate::house::{House, KINDS, Kind, MS};

const BY_KEY: LaneOptions = LaneOptions::with_policy(Policy::LatestPerKey);
const ONLY: LaneOptions = LaneOptions::with_policy(Policy::LatestOnly);

fn knowing(keys_max: u32) -> impl FnOnce(&mut TopicOptions) {
    move |options| {
        options.keeps_latest = true;
        (options.message_bytes_max, options.keys_max, options.keys_bytes_max) = (1_000, keys_max, 10_000);
    }
}

#[test]
fn a_topic_that_keeps_the_latest_messages_has_them_for_everyone() {
    let mut house = House::new(knowing(100));
    house.expect(BY_KEY, Start::Snapshot, &["ok 0"]);
    house.put_all("ab a c"); // Of a: 4, of b: 2, without a key: 3 and then 5, of c: 6.
    let after = |house: &House, seq| house.after(seq);
    let table: [(Start, &[&str]); 7] = [
        (Start::Snapshot, &["ok 0", "2 b", "4 a", "5", "6 c"]),
        (Start::Latest, &["ok 6"]),
        (Start::History(2), &["ok 4", "5", "6 c"]),
        (Start::History(u32::MAX), &["ok 0", "2 b", "4 a", "5", "6 c"]),
        (after(&house, 6), &["ok 6"]),
        (after(&house, 2), &["ok 2", "4 a", "5", "6 c"]),
        (after(&house, 1), &["ok 1", "2 b", "4 a", "5", "6 c"]),
    ];
    for (from, expected) in table {
        house.expect(BY_KEY, from, expected);
    }
    let only: [(Start, &[&str]); 4] = [
        (Start::Snapshot, &["ok 0", "6 c"]),
        (Start::History(3), &["ok 3", "6 c"]),
        (after(&house, 5), &["ok 5", "6 c"]),
        (after(&house, 6), &["ok 6"]),
    ];
    for (from, expected) in only {
        house.expect(ONLY, from, expected);
    }
    let reset = Start::After(Position { epoch: house.head().epoch ^ 1, seq: 4 });
    house.expect(BY_KEY, reset, &["ok 0", "gap 0-0 0 reset", "2 b", "4 a", "5", "6 c"]);
    house.expect(ONLY, reset, &["ok 0", "gap 0-0 0 reset", "6 c"]);
}

#[test]
fn otherwise_a_lane_gets_what_lanes_of_its_kind_are_there_for() {
    let mut house = House::new(|options| options.message_bytes_max = 1_000);
    house.put_all("a");
    let first = house.start_as(Kind::Local, BY_KEY, Start::Snapshot).unwrap();
    house.put_all("bc"); // For readers of payloads.
    let client = house.start_as(Kind::Client, BY_KEY, Start::Snapshot).unwrap();
    assert_eq!(house.told(client), ["ok 3"], "nobody had those frames made");
    house.put_all("db"); // For all.
    assert_eq!(house.told(client), ["4 d", "5 b"]);
    for (kind, expected) in [(Kind::Raw, vec!["3", "4", "5"]), (Kind::Client, vec!["ok 3", "4 d", "5 b"])] {
        let late = house.start_as(kind, BY_KEY, Start::Snapshot).unwrap();
        assert_eq!(house.told(late), expected, "{kind:?}");
    }
    assert_eq!(house.told(first), ["3", "4", "5"]);
    house.expect(ONLY, Start::Snapshot, &["ok 0"]);
}

#[test]
fn what_is_known_is_bounded_and_nobodys_loss() {
    let mut house = House::new(knowing(3));
    house.put_all("abc");
    house.expect(BY_KEY, Start::Snapshot, &["ok 0", "1 a", "2 b", "3 c"]);
    house.put_all("d");
    house.expect(BY_KEY, Start::Snapshot, &["ok 0", "2 b", "3 c", "4 d"]);
    let lost = house.stage.hub.stats().lanes.lost_total();
    assert_eq!(lost.messages, 0);
    // By their bytes.
    let mut house = House::new(|options| {
        knowing(100)(options);
        options.keys_bytes_max = 1_000;
    });
    for (key, len) in [("a", 400), ("b", 600)] {
        house.put(key, len);
    }
    house.expect(BY_KEY, Start::Snapshot, &["ok 0", "1 a", "2 b"]);
    house.put("b", 601);
    house.expect(BY_KEY, Start::Snapshot, &["ok 0", "3 b"]);
    // A snapshot is without gaps, whatever was forgotten; what is forgotten afterwards is a loss.
    let late = house.start_as(Kind::Local, BY_KEY, Start::Snapshot).unwrap();
    house.put("c", 400);
    assert_eq!(house.totals(late).lost_by(LossReason::Oldest).messages, 1);
    assert_eq!(house.told(late), ["gap 3-3 1 oldest", "4"]);
}

#[test]
fn what_is_known_stays_when_the_last_lane_has_gone_and_takes_the_memory_it_is_said_to() {
    let mut house = House::new(knowing(10));
    for kind in KINDS {
        for lane in [BY_KEY, ONLY] {
            let one = house.start_as(kind, lane, Start::Latest).unwrap();
            house.put_all("ab");
            house.told(one);
            house.stop(one);
        }
    }
    let seq = house.head().seq;
    let (a, b) = (format!("{} a", seq - 1), format!("{seq} b"));
    house.expect(BY_KEY, Start::Snapshot, &["ok 0", &a, &b]);
    let resident = |house: &House| house.stage.hub.topic_pressure(house.topic).unwrap().resident_bytes;
    for number in 0..1_000 {
        house.put(&format!("key {number}"), 100);
    }
    let bytes = resident(&house);
    // Ten keys and the last message, as a payload and in the dialect's envelope.
    assert!((11 * 2 * 100..11 * 2 * 300).contains(&bytes), "{bytes} bytes");
    assert!(house.stage.hub.remove_topic(house.topic, house.stage.now));
    house.stage.pump();
    assert_eq!(house.stage.hub.stats().resident_bytes, 0);
}

#[test]
fn what_a_snapshot_brings_is_superseded_and_ages_like_the_rest() {
    let mut house = House::new(knowing(10));
    house.put_all("ab");
    let lanes = [BY_KEY, ONLY].map(|lane| house.start_as(Kind::Local, lane, Start::Snapshot).unwrap());
    house.put_all("b");
    let superseded = lanes.map(|lane| house.totals(lane).lost_by(LossReason::Superseded).messages);
    assert_eq!(
        (superseded, house.told(lanes[0]), house.told(lanes[1])),
        ([1, 1], vec!["1".to_owned(), "3".to_owned()], vec!["3".to_owned()])
    );

    let mut house = House::new(knowing(10));
    house.put("a", 10);
    house.stage.now = house.stage.now + 10 * MS;
    house.put("b", 10);
    let aged = |lane, age| LaneOptions { age_max: Some(age), ..lane };
    house.expect(aged(BY_KEY, 10 * MS), Start::Snapshot, &["ok 1", "2 b"]);
    house.expect(aged(BY_KEY, 11 * MS), Start::Snapshot, &["ok 0", "1 a", "2 b"]);
    house.stage.now = house.stage.now + 10 * MS;
    house.expect(aged(ONLY, 10 * MS), Start::Snapshot, &["ok 2"]);
    let one = house.start_as(Kind::Local, aged(BY_KEY, 15 * MS), Start::Snapshot).unwrap();
    house.stage.advance(5 * MS - Duration::from_nanos(1));
    assert_eq!(house.totals(one).waiting.messages, 1);
    house.stage.advance(Duration::from_nanos(1));
    assert_eq!(house.told(one), ["gap 2-2 1 age"]);
}

#[test]
fn what_returns_unsent_of_a_snapshot_waits_again() {
    for lane in [BY_KEY, ONLY] {
        let mut house = House::new(knowing(10));
        house.put_all("ab");
        let one = house.start_as(Kind::Raw, lane, Start::Snapshot).unwrap();
        let transmit = house.stage.hold(one.conn.unwrap());
        house.stage.answer_by(one.conn.unwrap(), &transmit, 0);
        let waiting = house.totals(one).waiting.messages;
        assert_eq!(waiting, if lane == ONLY { 1 } else { 2 });
        house.stage.thaw(one.conn.unwrap());
        assert_eq!(house.told(one).len() as u64, waiting);
    }
}
