//! Topics: their messages, logs, keys, histories, ids, and how they deliver.

use std::time::Duration;

use forebay_core::{
    AbandonReason, AtLeastOnce, Delivery, History, LaneOptions, LossReason, Message, Payload, Policy, Start, Stats,
    TopicOptions,
};
use forebay_testkit::stage::{Stage, json_of_len};

use super::*;

const S: Duration = Duration::from_secs(1);

pub(crate) const ROWS: &[Row] = &[
    row("TopicOptions.message_bytes_max", "262144", Error("TooLarge"), By(|s| s.refused_too_large), message),
    row("TopicOptions.log_bytes_max", "16777216", Lost("log_bound"), By(|s| lost(s, LossReason::LogBound)), log),
    row("TopicOptions.keys_max", "1024", Lost("oldest"), By(|s| lost(s, LossReason::Oldest)), keys),
    row("TopicOptions.keys_bytes_max", "1048576", Lost("oldest"), By(|s| lost(s, LossReason::Oldest)), keys_bytes),
    row("TopicOptions.delivery.in_flight_max", "BestEffort", Waits, WAITS, in_flight),
    row("TopicOptions.delivery.ack_timeout", "BestEffort", Then("again"), By(|s| s.acks.retries.messages), ack_timeout),
    row(
        "TopicOptions.delivery.attempts_max",
        "BestEffort",
        Then("abandoned"),
        By(|s| s.acks.abandoned_by(AbandonReason::Attempts).messages),
        attempts,
    ),
    row("TopicOptions.history.messages_max", "None", Then("forgotten"), FORGOTTEN, history_messages),
    row("TopicOptions.history.bytes_max", "None", Then("forgotten"), FORGOTTEN, history_bytes),
    row("TopicOptions.history.age_max", "None", Then("forgotten"), FORGOTTEN, history_age),
    row("TopicOptions.flush_interval", "None", Then("sent"), Not("that is what it is for"), flush),
    row("TopicOptions.publish_ids_max", "1024", Then("taken again"), Not("it is a publish as any"), publish_ids),
];

/// It was in no lane.
const FORGOTTEN: Counted = Not("what is in no lane is not lost");

fn lost(stats: &Stats, reason: LossReason) -> u64 {
    stats.lanes.lost_by(reason).messages
}

fn message(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.message_bytes_max = 100);
    let result = stage.publish(topic, &json_of_len(100 + usize::from(more)));
    (error_name(&result, &["TooLarge"]), *stage.hub.stats())
}

/// The first loss of an in-process lane to which these are published, by key and length.
fn published(change: impl FnOnce(&mut TopicOptions), messages: &[(&str, usize)]) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", change);
    stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    for (key, len) in messages {
        let text = json_of_len(*len);
        let message = Message::new(Payload::Text(&text)).with_key(key);
        stage.hub.publish(topic, message, stage.now).unwrap();
        stage.hub.check_invariants();
    }
    let stats = *stage.hub.stats();
    let reason = LossReason::ALL.into_iter().find(|reason| lost(&stats, *reason) > 0);
    (reason.map_or(Taken, |reason| Lost(reason.name())), stats)
}

/// A log of so many messages of 1,000 bytes each.
fn logged(count: usize) -> (Outcome, Stats) {
    let change = |options: &mut TopicOptions| (options.message_bytes_max, options.log_bytes_max) = (1_000, 20_000);
    published(change, &vec![("", 1_000); count])
}

fn log(more: bool) -> (Outcome, Stats) {
    // What counts is the capacity of blocks: the edge is looked for.
    let edge = (1..=20).rev().find(|count| logged(*count).0 == Taken).expect("some are kept");
    assert!((5..20).contains(&edge), "{edge} messages of 1,000 bytes in 20,000");
    logged(edge + usize::from(more))
}

fn keyed(options: &mut TopicOptions) {
    options.policy = Policy::LatestPerKey;
    (options.keys_max, options.keys_bytes_max, options.message_bytes_max) = (3, 100, 50);
}

fn keys(more: bool) -> (Outcome, Stats) {
    published(keyed, &[("a", 5), ("b", 5), ("c", 5), ("d", 5)][..3 + usize::from(more)])
}

fn keys_bytes(more: bool) -> (Outcome, Stats) {
    published(keyed, &[("a", 50), ("b", 25), ("c", 25 + usize::from(more))])
}

/// An at-least-once subscriber that never acknowledges, and so many messages.
fn unacknowledged(count: usize, after: Duration) -> (usize, Stats) {
    let mut stage = Stage::new(|_| {});
    let delivery = AtLeastOnce { in_flight_max: 3, ack_timeout: S, attempts_max: 2 };
    let topic = stage.topic("t", |options| {
        (options.policy, options.delivery) = (Policy::Disconnect, Delivery::AtLeastOnce(delivery));
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    for _ in 0..count {
        stage.publish(topic, "1").unwrap();
    }
    stage.pump();
    let told = stage.told(conn).len();
    stage.advance(after);
    stage.hub.check_invariants();
    (told, *stage.hub.stats())
}

fn in_flight(more: bool) -> (Outcome, Stats) {
    let count = 3 + usize::from(more);
    let (told, stats) = unacknowledged(count, Duration::ZERO);
    (if told == count { Taken } else { Waits }, stats)
}

fn ack_timeout(more: bool) -> (Outcome, Stats) {
    let (_, stats) = unacknowledged(1, Duration::from_nanos(999_999_999 + u64::from(more)));
    (if stats.acks.retries.messages == 0 { Taken } else { Then("again") }, stats)
}

fn attempts(more: bool) -> (Outcome, Stats) {
    // The timer after the last attempt gives up.
    let (_, stats) = unacknowledged(1, S * (2 + u32::from(more)));
    assert_eq!(stats.acks.retries.messages, 2);
    let is_kept = stats.acks.unacknowledged.messages == 1;
    (if is_kept { Taken } else { Then("abandoned") }, stats)
}

/// Whether all of these are there for one who comes later.
fn remembered(history: History, lens: &[usize], after: Duration) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.history = Some(history));
    for len in lens {
        stage.publish(topic, &json_of_len(*len)).unwrap();
    }
    stage.advance(after);
    let now = stage.now;
    let lane = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::History(u32::MAX), now).unwrap();
    stage.hub.check_invariants();
    let waiting = stage.hub.lane(lane).expect("there").totals.waiting.messages;
    (if waiting == lens.len() as u64 { Taken } else { Then("forgotten") }, *stage.hub.stats())
}

const HISTORY: History = History { messages_max: 3, bytes_max: 100, age_max: Some(S) };

fn history_messages(more: bool) -> (Outcome, Stats) {
    remembered(HISTORY, &[5; 4][..3 + usize::from(more)], Duration::ZERO)
}

fn history_bytes(more: bool) -> (Outcome, Stats) {
    remembered(HISTORY, &[50, 50 + usize::from(more)], Duration::ZERO)
}

fn history_age(more: bool) -> (Outcome, Stats) {
    remembered(HISTORY, &[5], Duration::from_nanos(999_999_999 + u64::from(more)))
}

fn flush(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.flush_interval = Some(S));
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.publish(topic, "1").unwrap();
    stage.advance(Duration::from_nanos(999_999_999 + u64::from(more)));
    let told = stage.told(conn).len();
    (if told == 0 { Taken } else { Then("sent") }, *stage.hub.stats())
}

fn publish_ids(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.publish_ids_max = 3);
    let ids = ["a", "b", "c", "d"];
    for id in ids[..3 + usize::from(more)].iter().chain(["a"].iter()) {
        stage.hub.publish(topic, Message::new(Payload::Text("1")).with_id(id), stage.now).unwrap();
    }
    let stats = *stage.hub.stats();
    (if stats.duplicates == 1 { Taken } else { Then("taken again") }, stats)
}
