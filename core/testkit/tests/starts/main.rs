//! Where lanes start: what of what was published before they get, and what they are told of the rest.

mod history;
mod house;
mod latest;

use std::time::Duration;

use forebay_core::{Event, History, LaneOptions, Level, Policy, Position, Scope, Start, SubscribeError, TopicOptions};
use house::{House, KINDS, Kind, MS, PLAIN};

/// Messages are of ten bytes; the history holds `messages_max`.
fn keeping(messages_max: u32) -> impl FnOnce(&mut TopicOptions) {
    move |options| {
        options.history = Some(History { messages_max, ..History::default() });
        options.message_bytes_max = 100;
    }
}

#[test]
fn a_lane_gets_the_newest_of_what_it_asked_for_that_are_there_and_is_told_of_the_rest_as_one_gap() {
    let mut house = House::new(keeping(4));
    house.expect(PLAIN, Start::History(u32::MAX), &["ok 0"]);
    house.expect(PLAIN, Start::Snapshot, &["ok 0"]);
    house.put_all("a b cd"); // 3 to 6 are kept.
    let epoch = house.head().epoch;
    let table: [(Start, &[&str]); 12] = [
        (Start::Latest, &["ok 6"]),
        (Start::Snapshot, &["ok 5", "6 d"]),
        (Start::History(0), &["ok 6"]),
        (Start::History(1), &["ok 5", "6 d"]),
        (Start::History(4), &["ok 2", "3 b", "4", "5 c", "6 d"]),
        (Start::History(5), &["ok 2", "gap 2-2 1 history", "3 b", "4", "5 c", "6 d"]),
        (Start::History(u32::MAX), &["ok 2", "gap 1-2 2 history", "3 b", "4", "5 c", "6 d"]),
        (house.after(6), &["ok 6"]),
        (house.after(5), &["ok 5", "6 d"]),
        (house.after(2), &["ok 2", "3 b", "4", "5 c", "6 d"]),
        (house.after(1), &["ok 2", "gap 2-2 1 history", "3 b", "4", "5 c", "6 d"]),
        (Start::After(Position { epoch, seq: 0 }), &["ok 2", "gap 1-2 2 history", "3 b", "4", "5 c", "6 d"]),
    ];
    for (from, expected) in table {
        house.expect(PLAIN, from, expected);
    }
}

#[test]
fn without_a_history_everything_is_missing() {
    let mut house = House::new(|_| {});
    house.put_all("   ");
    house.expect(PLAIN, Start::History(2), &["ok 3", "gap 2-3 2 history"]);
    house.expect(PLAIN, Start::Snapshot, &["ok 3", "gap 3-3 1 history"]);
    let after = house.after(1);
    house.expect(PLAIN, after, &["ok 3", "gap 2-3 2 history"]);
    house.expect(PLAIN, Start::Latest, &["ok 3"]);
}

#[test]
fn a_position_beyond_the_head_is_an_error() {
    for policy in [Policy::DropOldest, Policy::LatestOnly] {
        let mut house = House::new(keeping(4));
        house.put_all("  ");
        for kind in KINDS {
            let ahead = house.after(3);
            let refused = house.start_as(kind, LaneOptions::with_policy(policy), ahead).unwrap_err();
            assert_eq!(refused, SubscribeError::PositionAhead);
        }
        assert_eq!(house.stage.hub.stats().lanes_now, 0);
    }
}

#[test]
fn a_position_of_another_epoch_is_told_even_when_nothing_is_missing() {
    let mut house = House::new(keeping(2));
    let other = Start::After(Position { epoch: house.head().epoch ^ 1, seq: 77 });
    house.expect(PLAIN, other, &["ok 0", "gap 0-0 0 reset"]);
    house.put_all("  ");
    house.expect(PLAIN, other, &["ok 0", "gap 0-0 0 reset", "1", "2"]);
    house.put_all(" ");
    house.expect(PLAIN, other, &["ok 1", "gap 0-1 1 reset", "2", "3"]);
    house.expect(LaneOptions::with_policy(Policy::LatestOnly), other, &["ok 0", "gap 0-0 0 reset"]);
}

#[test]
fn what_a_lane_gets_fits_its_limits_together() {
    let mut house = House::new(keeping(100));
    house.put_all("          "); // Ten of ten bytes.
    let messages = |messages_max| LaneOptions { messages_max: Some(messages_max), ..PLAIN };
    house.expect(messages(2), Start::History(2), &["ok 8", "9", "10"]);
    house.expect(messages(2), Start::History(3), &["ok 8", "gap 8-8 1 history", "9", "10"]);
    house.put("", 80);
    house.stage.pump();
    let bytes = |bytes_max| LaneOptions { bytes_max: Some(bytes_max), ..PLAIN };
    house.expect(bytes(100), Start::History(3), &["ok 8", "9", "10", "11"]);
    house.expect(bytes(109), Start::History(4), &["ok 8", "gap 8-8 1 history", "9", "10", "11"]);
    house.expect(bytes(110), Start::History(4), &["ok 7", "8", "9", "10", "11"]);
    // Every policy of runs has its limits.
    for policy in [Policy::DropOldest, Policy::DropNewest, Policy::Disconnect] {
        let lane = LaneOptions { policy: Some(policy), ..messages(2) };
        house.expect(lane, Start::History(3), &["ok 9", "gap 9-9 1 history", "10", "11"]);
    }
}

#[test]
fn what_a_lane_gets_is_younger_than_its_age_max() {
    // A lane with an `age_max` need not be there when a message is published for its age to be known.
    let mut house = House::new(keeping(100));
    for _ in 0..3 {
        house.put("", 10);
        house.stage.now = house.stage.now + 10 * MS;
    }
    // They are of 30, 20 and 10 ms.
    let aged = |millis| LaneOptions { age_max: Some(millis * MS), ..PLAIN };
    house.expect(aged(10), Start::History(3), &["ok 3", "gap 1-3 3 history"]);
    house.expect(aged(11), Start::History(3), &["ok 2", "gap 1-2 2 history", "3"]);
    house.expect(aged(30), Start::History(3), &["ok 1", "gap 1-1 1 history", "2", "3"]);
    house.expect(aged(31), Start::History(3), &["ok 0", "1", "2", "3"]);
    // To the nanosecond.
    let mut house = House::new(keeping(100));
    house.put_all(" ");
    house.stage.advance(10 * MS - Duration::from_nanos(1));
    house.expect(aged(10), Start::History(1), &["ok 0", "1"]);
    house.stage.advance(Duration::from_nanos(1));
    house.expect(aged(10), Start::History(1), &["ok 1", "gap 1-1 1 history"]);

    // What it waits with then becomes too old in time.
    let mut house = House::new(keeping(100));
    house.put_all(" ");
    house.stage.advance(10 * MS);
    let one = house.start_as(Kind::Local, aged(30), Start::History(1)).unwrap();
    house.stage.advance(20 * MS - Duration::from_nanos(1));
    assert_eq!(house.totals(one).waiting.messages, 1);
    house.stage.advance(Duration::from_nanos(1));
    assert_eq!(house.totals(one).lost_by(forebay_core::LossReason::Age).messages, 1);
}

#[test]
fn a_lane_that_starts_full_is_so() {
    for (messages, level) in [(7, Level::Nominal), (8, Level::High), (10, Level::High), (11, Level::High)] {
        let mut house = House::new(keeping(100));
        house.put_all("           ");
        let lane = LaneOptions { messages_max: Some(10), ..PLAIN };
        let one = house.start_as(Kind::Local, lane, Start::History(messages)).unwrap();
        house.stage.pump();
        let events = house.stage.take_events();
        let told = events.contains(&Event::Pressure { scope: Scope::Lane(one.lane), level });
        assert_eq!((told, house.stage.hub.lane(one.lane).unwrap().load.level), (level > Level::Nominal, level));
        assert!(events.contains(&Event::Ready(one.lane)));
    }
    // So the next message makes its policy act.
    let table = [(Policy::DropOldest, "oldest"), (Policy::DropNewest, "newest"), (Policy::Disconnect, "closed")];
    for (policy, reason) in table {
        let mut house = House::new(keeping(100));
        house.put_all("           ");
        let lane = LaneOptions { messages_max: Some(10), policy: Some(policy), ..PLAIN };
        house.start_as(Kind::Local, lane, Start::History(10)).unwrap();
        house.put_all(" ");
        let totals = house.stage.hub.topic_pressure(house.topic).unwrap().totals;
        let lost: Vec<_> = forebay_core::LossReason::ALL
            .into_iter()
            .filter(|reason| totals.lost_by(*reason).messages > 0)
            .map(forebay_core::LossReason::name)
            .collect();
        assert_eq!(lost, [reason]);
    }
    let mut house = House::new(|options| {
        keeping(100)(options);
        (options.policy, options.lane.messages_max) = (Policy::Block, 10);
    });
    house.put_all("          ");
    let one = house.start(Kind::Local, Start::History(10));
    let refused = house.stage.hub.publish(house.topic, forebay_core::Payload::Text("1"), house.stage.now);
    assert_eq!(refused, Err(forebay_core::PublishError::Full));
    assert_eq!(house.told(one).len(), 10);
    house.put_all(" ");
    assert_eq!(house.told(one), ["11"]);
}
