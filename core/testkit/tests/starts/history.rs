//! What a topic keeps: how much, for how long, and what goes first where memory is short.

use std::time::Duration;

use forebay_core::{
    Event, History, LaneOptions, LossReason, Payload, Policy, PublishError, Start, TopicOptions, Totals,
};

use crate::house::{House, KINDS, Kind, MS, PLAIN};

const NS: Duration = Duration::from_nanos(1);

fn keeping(history: History) -> impl FnOnce(&mut TopicOptions) {
    move |options| (options.history, options.message_bytes_max) = (Some(history), 1_000)
}

#[test]
fn messages_max() {
    for messages_max in [1, 2, 3, 100] {
        let mut house = House::new(keeping(History { messages_max, ..History::default() }));
        let most = u64::from(messages_max);
        for _ in 0..messages_max {
            house.put("", 10);
        }
        assert_eq!(house.kept(), Some((1, most)));
        for last in most + 1..most + 200 {
            house.put("", 10);
            assert_eq!(house.kept(), Some((last + 1 - most, last)));
            if last % 7 == 0 {
                house.stage.pump();
            }
        }
    }
}

#[test]
fn bytes_max() {
    let mut house = House::new(keeping(History { bytes_max: 100, ..History::default() }));
    for (len, kept) in
        [(40, (1, 1)), (60, (1, 2)), (10, (2, 3)), (31, (3, 4)), (59, (3, 5)), (60, (6, 6)), (40, (6, 7))]
    {
        house.put("", len);
        assert_eq!(house.kept(), Some(kept), "{len}");
    }
    house.put("", 100);
    assert_eq!(house.kept(), Some((8, 8)), "exactly as much as may be");
    house.put("", 101);
    assert_eq!(house.kept(), None, "a message that is larger is not kept, nor anything before it");
    house.put("", 10);
    house.expect(PLAIN, Start::History(3), &["ok 9", "gap 8-9 2 history", "10"]);
}

#[test]
fn age_max_at_publishes_at_starts_and_by_itself() {
    let history = History { age_max: Some(10 * MS), ..History::default() };
    // By itself.
    let mut house = House::new(keeping(history));
    house.put("", 10);
    house.stage.pump();
    house.stage.advance(4 * MS);
    house.put("", 10);
    house.stage.pump();
    house.stage.advance(6 * MS - NS);
    assert_eq!(house.kept(), Some((1, 2)));
    house.stage.advance(NS);
    assert_eq!(house.kept(), Some((2, 2)));
    house.stage.advance(4 * MS);
    assert_eq!(house.kept(), None);
    assert_eq!(house.stage.hub.poll_timeout(), None, "nothing is waited for");
    // Where nobody handles time: at the next publish, and at the next start. Within a tick, too.
    let mut house = House::new(keeping(history));
    house.put("", 10);
    house.stage.now = house.stage.now + 9 * MS;
    house.put("", 10);
    house.stage.now = house.stage.now + MS;
    house.put("", 10);
    assert_eq!(house.kept(), Some((2, 3)));
    house.stage.now = house.stage.now + (9 * MS - NS);
    let one = house.start_as(Kind::Local, PLAIN, Start::History(3)).unwrap();
    assert_eq!((house.kept(), house.totals(one).waiting.messages), (Some((2, 3)), 2));
    house.stage.now = house.stage.now + NS;
    let one = house.start_as(Kind::Local, PLAIN, Start::History(3)).unwrap();
    assert_eq!((house.kept(), house.totals(one).waiting.messages), (Some((3, 3)), 1));
    assert_eq!(house.told(one), ["gap 1-2 2 history", "3"], "who has it keeps it");
}

#[test]
fn an_undeclared_topic_takes_its_history_with_it() {
    let mut house = House::of(|options| keeping(History::default())(&mut options.topic_defaults), |_| {});
    let topic = house.stage.hub.open_topic("u").unwrap();
    let lane = house.stage.hub.subscribe_local(topic, PLAIN, Start::Latest, house.stage.now).unwrap();
    house.stage.publish(topic, "1").unwrap();
    assert_eq!(house.stage.hub.topic_pressure(topic).unwrap().history.messages, 1);
    house.stage.hub.unsubscribe_local(lane, house.stage.now);
    house.stage.pump();
    assert_eq!((house.stage.hub.find_topic("u"), house.stage.hub.stats().resident_bytes), (None, 0));
}

#[test]
fn a_removed_topic_keeps_nothing_for_those_who_are_still_written_to() {
    let mut house = House::new(keeping(History::default()));
    for _ in 0..100 {
        house.put("", 1_000);
    }
    let one = house.start(Kind::Raw, Start::History(1));
    let transmit = house.stage.hold(one.conn.unwrap());
    let before = house.stage.hub.stats().resident_bytes;
    assert!(house.stage.hub.remove_topic(house.topic, house.stage.now));
    house.stage.hub.check_invariants();
    let after = house.stage.hub.stats().resident_bytes;
    assert!(after < before * 6 / 10, "{before} bytes before, {after} after");
    house.stage.answer_by(one.conn.unwrap(), &transmit, transmit.len());
    assert_eq!(house.told(one), ["100"]);
}

#[test]
fn both_encodings_have_the_whole_history_whoever_was_there() {
    // Lanes of one encoding come and go; what they read is there for the other one.
    let mut house = House::new(keeping(History { messages_max: 3, ..History::default() }));
    for kind in KINDS {
        let one = house.start(kind, Start::Latest);
        house.put_all("ab c");
        house.told(one);
        house.stop(one);
        let last = house.head().seq;
        let numbers = [last - 2, last - 1, last].map(|seq| seq.to_string());
        let (ok, b, c) = (format!("ok {}", last - 3), numbers[0].clone() + " b", numbers[2].clone() + " c");
        house.expect(PLAIN, Start::History(3), &[&ok, &b, &numbers[1], &c]);
    }
}

/// A log of at most 16 KiB, and messages of 1,000 bytes: raw and in the dialect's envelope they are not eight.
fn small(options: &mut TopicOptions) {
    keeping(History::default())(options);
    options.log_bytes_max = 16 << 10;
}

fn lost(totals: &Totals) -> Vec<LossReason> {
    LossReason::ALL.into_iter().filter(|reason| totals.lost_by(*reason).messages > 0).collect()
}

#[test]
fn at_the_logs_bound_the_history_goes_first() {
    let mut house = House::new(small);
    let one = house.start_as(Kind::Local, LaneOptions { messages_max: Some(2), ..PLAIN }, Start::Latest).unwrap();
    for last in 1..=100 {
        house.put("", 1_000);
        house.told(one);
        let (first, _) = house.kept().expect("something is kept");
        assert!(last < 6 || first + 7 > last, "{first} to {last}");
    }
    assert_eq!(lost(&house.totals(one)), [], "the lane lost nothing");
    // What a lane is about to get is not dropped for nothing: both lose it together.
    let mut house = House::new(small);
    let one = house.start(Kind::Local, Start::Latest);
    for _ in 0..100 {
        house.put("", 1_000);
        house.stage.pump();
    }
    assert_eq!(lost(&house.totals(one)), [LossReason::LogBound]);
    let waiting = house.totals(one).waiting.messages;
    assert!((4..8).contains(&waiting), "{waiting} wait");
    let (first, last) = house.kept().expect("something is kept");
    assert!(last - first < 7);
    // A lane that may lose nothing makes the topic full, when the history has gone.
    let mut house = House::new(|options| {
        small(options);
        options.policy = Policy::Block;
    });
    for _ in 0..20 {
        house.put("", 1_000);
    }
    let one = house.start(Kind::Local, Start::Latest);
    let text = format!("\"{}\"", "x".repeat(998));
    let refused = (0..20).find_map(|_| {
        let published = house.stage.hub.publish(house.topic, Payload::Text(&text), house.stage.now);
        house.stage.hub.check_invariants();
        published.err()
    });
    assert_eq!(refused, Some(PublishError::Full));
    let waiting = house.totals(one).waiting.messages;
    assert!((4..8).contains(&waiting), "{waiting} wait");
    assert_eq!(lost(&house.totals(one)), []);
    assert_eq!(house.kept(), None, "in the dialect's encoding nobody but the history kept anything");
}

#[test]
fn at_the_budget_the_largest_history_goes_before_anybody_loses_anything() {
    let mut house = House::of(
        |options| {
            options.resident_bytes_max = 1 << 20;
            (options.message_bytes_max, options.inbound_bytes_max) = (16 << 10, 16 << 10);
            options.topic_defaults.log_bytes_max = 1 << 20;
        },
        |options| {
            keeping(History::default())(options);
            options.log_bytes_max = 1 << 20;
        },
    );
    // A lane that falls behind on a topic without a history; a small history, and a large one.
    let lane = house.stage.topic("lane", |options| options.message_bytes_max = 1_000);
    let behind = house.stage.hub.subscribe_local(lane, PLAIN, Start::Latest, house.stage.now).unwrap();
    let other = house.stage.topic("small", |options| {
        keeping(History { messages_max: 20, ..History::default() })(options);
    });
    let text = format!("\"{}\"", "x".repeat(998));
    for _ in 0..200 {
        house.stage.publish(other, &text).unwrap();
        house.put("", 1_000);
    }
    let kept_by = |house: &House, topic| house.stage.hub.topic_pressure(topic).unwrap().history.messages;
    assert_eq!((kept_by(&house, house.topic), kept_by(&house, other)), (200, 20));
    while kept_by(&house, house.topic) > 100 {
        house.stage.publish(lane, &text).unwrap();
    }
    assert_eq!(kept_by(&house, other), 20, "the largest goes first");
    while kept_by(&house, other) > 0 {
        house.stage.publish(lane, &text).unwrap();
    }
    assert_eq!(kept_by(&house, house.topic), 0);
    assert_eq!(lost(&house.stage.hub.stats().lanes), [], "nobody has lost anything until then");
    assert!(house.stage.hub.lane(behind).unwrap().totals.waiting.messages > 400);
    while lost(&house.stage.hub.stats().lanes).is_empty() {
        house.stage.publish(lane, &text).unwrap();
    }
    assert!(
        house.stage.hub.stats().lanes.lost_by(LossReason::Oldest).messages == 0,
        "by the budget or the log's bound"
    );
}

#[test]
fn levels_and_gaps_of_a_start_are_told_once() {
    let mut house = House::new(keeping(History { messages_max: 2, ..History::default() }));
    house.put_all("    ");
    let one = house.start(Kind::Local, Start::History(4));
    house.stage.pump();
    assert!(house.stage.take_events().contains(&Event::Ready(one.lane)));
    assert_eq!(house.told(one), ["gap 1-2 2 history", "3", "4"]);
    assert_eq!(house.told(one), [""; 0]);
    house.put_all(" ");
    assert_eq!(house.told(one), ["5"]);
}
