//! `flush_interval`: what is published is sent from the next flush on.

use std::time::Duration;

use forebay_core::{
    ConnId, Entry, Event, History, LaneId, LaneOptions, Message, Payload, Policy, PublishError, Start, TopicId,
    TopicOptions,
};
use forebay_testkit::stage::{Stage, briefs, frame_len, is_open};

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);
const NOTHING: [&str; 0] = [];

/// A topic `t` that is flushed 50 ms after the first publish since the last flush, and a subscriber.
fn house(change: impl FnOnce(&mut TopicOptions)) -> (Stage, TopicId, ConnId) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        options.flush_interval = Some(MS * 50);
        change(options);
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.take_events();
    (stage, topic, conn)
}

fn publish(stage: &mut Stage, topic: TopicId, json: &str) {
    stage.publish(topic, json).expect("taken");
}

fn local(stage: &mut Stage, topic: TopicId, policy: Policy) -> LaneId {
    let options = LaneOptions::with_policy(policy);
    stage.hub.subscribe_local(topic, options, Start::Latest, stage.now).expect("a lane")
}

fn waiting(stage: &Stage, conn: ConnId, topic: TopicId) -> u64 {
    let lane = stage.hub.find_lane(conn, topic).expect("a lane");
    stage.hub.lane(lane).expect("there").totals.waiting.messages
}

#[test]
fn a_batch_goes_an_interval_after_its_first_message_and_not_before() {
    let (mut stage, topic, conn) = house(|_| {});
    for round in 0..3 {
        publish(&mut stage, topic, "1");
        stage.advance(MS * 20);
        publish(&mut stage, topic, "2");
        stage.advance(MS * 30 - NS);
        publish(&mut stage, topic, "3");
        assert_eq!((briefs(&mut stage, conn).len(), waiting(&stage, conn, topic)), (0, 3), "it waits");
        stage.advance(NS);
        let told = [(1, 1), (2, 2), (3, 3)].map(|(n, json)| format!("message t {} {json}", round * 3 + n));
        assert_eq!((briefs(&mut stage, conn), waiting(&stage, conn, topic)), (told.to_vec(), 0));
        stage.advance(MS * 7); // The next interval begins with the next publish.
    }
}

#[test]
fn nothing_is_wanted_while_a_batch_waits() {
    let (mut stage, topic, _) = house(|_| {});
    stage.hub.publish(topic, Payload::Text("1"), stage.now).expect("taken");
    let deadline = stage.hub.poll_timeout().expect("the flush");
    assert_eq!((deadline.at, deadline.cause), (stage.now + MS * 50, forebay_core::Cause::Timer));
    assert!(stage.hub.poll_transmit().is_none());
    stage.hub.check_invariants();
}

#[test]
fn a_batch_is_one_transmit_however_often_was_polled_meanwhile() {
    let (mut stage, topic, _) = house(|_| {});
    for _ in 0..500 {
        publish(&mut stage, topic, "1");
        stage.advance(MS / 20);
    }
    stage.advance(MS * 25 - NS);
    stage.now = stage.now + NS;
    stage.hub.handle_timeout(stage.now);
    let transmit = stage.hub.poll_transmit().expect("the batch");
    assert_eq!(transmit.len(), (1..=500).map(|seq| frame_len("t", seq, "1")).sum::<usize>());
    assert!(transmit.slices().count() < 9, "{} slices", transmit.slices().count());
}

#[test]
fn of_the_latest_messages_only_the_last_of_each_key_goes() {
    for (policy, expected) in
        [(Policy::LatestPerKey, vec!["message t 3 3", "message t 4 4"]), (Policy::LatestOnly, vec!["message t 4 4"])]
    {
        let (mut stage, topic, conn) = house(|options| options.policy = policy);
        for (n, key) in [("1", "a"), ("2", "b"), ("3", "a"), ("4", "b")] {
            let message = Message::new(Payload::Text(n)).with_key(key);
            stage.hub.publish(topic, message, stage.now).expect("taken");
            stage.pump();
        }
        assert_eq!(briefs(&mut stage, conn), NOTHING);
        stage.advance(MS * 50);
        assert_eq!(briefs(&mut stage, conn), expected);
        // Whoever could not be written to: what was flushed goes, what came since does not.
        stage.freeze(conn);
        for (n, key) in [("5", "a"), ("6", "b")] {
            stage.hub.publish(topic, Message::new(Payload::Text(n)).with_key(key), stage.now).expect("taken");
        }
        stage.advance(MS * 50);
        stage.hub.publish(topic, Message::new(Payload::Text("7")).with_key("b"), stage.now).expect("taken");
        stage.thaw(conn);
        let flushed = if policy == Policy::LatestPerKey { vec!["message t 5 5"] } else { vec![] };
        assert_eq!(briefs(&mut stage, conn), flushed, "6 is superseded by 7, which waits for its flush");
        stage.advance(MS * 50);
        assert_eq!(briefs(&mut stage, conn), ["message t 7 7"]);
    }
}

#[test]
fn policies_see_what_waits_for_a_flush() {
    let (mut stage, topic, conn) = house(|options| options.lane.messages_max = 2);
    for n in ["1", "2", "3"] {
        publish(&mut stage, topic, n);
    }
    assert_eq!(briefs(&mut stage, conn), NOTHING, "the notice comes before the next message, which waits");
    stage.advance(MS * 50);
    assert_eq!(briefs(&mut stage, conn), ["gap t 1-1 1 oldest", "message t 2 2", "message t 3 3"]);

    let (mut stage, topic, conn) = house(|options| {
        options.policy = Policy::Block;
        options.lane.messages_max = 2;
    });
    publish(&mut stage, topic, "1");
    publish(&mut stage, topic, "2");
    assert_eq!(stage.publish(topic, "3"), Err(PublishError::Full));
    stage.advance(MS * 50);
    assert_eq!(briefs(&mut stage, conn), ["message t 1 1", "message t 2 2"]);
    assert!(stage.take_events().contains(&Event::Drained(topic)));
    assert_eq!(stage.publish(topic, "3").map(|published| published.position.seq), Ok(3));
}

#[test]
fn a_gap_in_what_was_flushed_is_told_and_one_behind_it_waits() {
    let (mut stage, topic, conn) = house(|options| {
        options.policy = Policy::DropNewest;
        options.lane.messages_max = 3;
    });
    stage.freeze(conn);
    for n in ["1", "2", "3", "4"] {
        publish(&mut stage, topic, n); // 4 is rejected.
    }
    stage.advance(MS * 50);
    stage.let_through(conn, frame_len("t", 1, "1") + frame_len("t", 2, "2"));
    publish(&mut stage, topic, "5"); // It fits.
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 1 1", "message t 2 2", "message t 3 3"]);
    stage.advance(MS * 50);
    assert_eq!(briefs(&mut stage, conn), ["gap t 4-4 1 newest", "message t 5 5"]);
    stage.freeze(conn);
    for n in ["6", "7", "8", "9"] {
        publish(&mut stage, topic, n); // 9 is rejected.
    }
    stage.advance(MS * 50);
    publish(&mut stage, topic, "10"); // Rejected as well.
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 6 6", "message t 7 7", "message t 8 8"]);
    stage.advance(MS * 50);
    assert_eq!(briefs(&mut stage, conn), ["gap t 9-10 2 newest"], "it comes before no message");
}

#[test]
fn what_waits_for_a_flush_becomes_too_old_like_everything_else() {
    let (mut stage, topic, conn) = house(|options| options.age_max = Some(MS * 30));
    publish(&mut stage, topic, "1");
    stage.advance(MS * 29);
    publish(&mut stage, topic, "2");
    stage.advance(MS);
    assert_eq!((briefs(&mut stage, conn).len(), waiting(&stage, conn, topic)), (0, 1));
    stage.advance(MS * 20);
    assert_eq!(briefs(&mut stage, conn), ["gap t 1-1 1 age", "message t 2 2"]);
    publish(&mut stage, topic, "3");
    stage.advance(MS * 50 - NS);
    assert_eq!((briefs(&mut stage, conn).len(), waiting(&stage, conn, topic)), (0, 0));
    stage.advance(NS);
    assert_eq!(briefs(&mut stage, conn), ["gap t 3-3 1 age"]);
}

#[test]
fn readers_in_the_process_take_what_was_flushed() {
    for policy in [Policy::DropOldest, Policy::LatestOnly] {
        let (mut stage, topic, _) = house(|_| {});
        let lane = local(&mut stage, topic, policy);
        let took = |stage: &mut Stage| match stage.hub.take(lane, stage.now) {
            Some(Entry::Message { seq, .. }) => seq,
            Some(Entry::Gap(gap)) => panic!("{gap:?}"),
            None => 0,
        };
        publish(&mut stage, topic, "1");
        assert_eq!((took(&mut stage), stage.take_events().contains(&Event::Ready(lane))), (0, false));
        stage.advance(MS * 50);
        assert!(stage.take_events().contains(&Event::Ready(lane)));
        stage.hub.publish(topic, Payload::Text("2"), stage.now).expect("taken");
        let first = if policy == Policy::DropOldest { 1 } else { 0 };
        assert_eq!((took(&mut stage), took(&mut stage)), (first, 0));
        stage.advance(MS * 50);
        assert!(stage.take_events().contains(&Event::Ready(lane)), "again");
        assert_eq!((took(&mut stage), took(&mut stage)), (2, 0));
    }
}

#[test]
fn a_subscriber_in_the_midst_of_a_batch_gets_what_it_asked_for_with_the_flush() {
    let (mut stage, topic, _) = house(|options| options.history = Some(History::default()));
    publish(&mut stage, topic, "1");
    stage.advance(MS * 50);
    publish(&mut stage, topic, "2");
    let late = stage.join_raw();
    let (none, all) = (local(&mut stage, topic, Policy::DropOldest), Start::History(10));
    stage.hub.subscribe(late, topic, LaneOptions::default(), all, stage.now).expect("a lane");
    let before = stage.seat_of(late).stream.len();
    stage.pump();
    assert_eq!(stage.seat_of(late).stream.len() - before, 3, "the first message");
    assert_eq!(stage.hub.take(none, stage.now), None);
    stage.advance(MS * 50);
    assert_eq!(stage.seat_of(late).stream.len() - before, 6);
    assert_eq!(stage.hub.take(none, stage.now), None, "it began behind");
}

#[test]
fn topics_without_an_interval_do_not_wait_and_keep_their_order() {
    let (mut stage, topic, conn) = house(|_| {});
    let other = stage.topic("u", |_| {});
    stage.subscribe(conn, "u");
    publish(&mut stage, topic, "1");
    publish(&mut stage, other, "2");
    assert_eq!(briefs(&mut stage, conn), ["message u 1 2"]);
    stage.freeze(conn);
    publish(&mut stage, other, "3");
    stage.advance(MS * 50);
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 1 1", "message u 2 3"]);
}

#[test]
fn nothing_waits_while_the_hub_drains() {
    let (mut stage, topic, conn) = house(|_| {});
    publish(&mut stage, topic, "1");
    stage.freeze(conn);
    stage.hub.drain(stage.now + MS * 1_000, stage.now);
    publish(&mut stage, topic, "2");
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 1 1", "message t 2 2"], "at once");
    stage.advance(MS * 50);
    assert!(!is_open(&mut stage, conn));
}

#[test]
fn a_topic_may_go_while_a_batch_waits() {
    let (mut stage, topic, conn) = house(|_| {});
    publish(&mut stage, topic, "1");
    assert!(stage.hub.remove_topic(topic, stage.now));
    stage.advance(MS * 100);
    assert_eq!(briefs(&mut stage, conn), ["ended t removed"]);
}

#[test]
fn credit_and_a_flush_are_both_needed() {
    let (mut stage, topic, _) = house(|_| {});
    let conn = stage.join_raw();
    let credit = LaneOptions { credit: Some(0), ..LaneOptions::default() };
    stage.hub.subscribe(conn, topic, credit, Start::Latest, stage.now).expect("a lane");
    let session = stage.hub.lane(stage.hub.find_lane(conn, topic).expect("a lane")).and_then(|_| {
        stage.take_events().into_iter().find_map(|event| match event {
            Event::Opened { conn: other, session } if other == conn => Some(session),
            _ => None,
        })
    });
    let session = session.expect("it was opened");
    let before = stage.seat_of(conn).stream.len();
    let came = |stage: &mut Stage| {
        stage.pump();
        stage.seat_of(conn).stream.len() - before
    };
    publish(&mut stage, topic, "1");
    assert!(stage.hub.grant(session, topic, 1, stage.now));
    assert_eq!(came(&mut stage), 0, "no flush");
    stage.advance(MS * 50);
    assert_eq!(came(&mut stage), 3);
    publish(&mut stage, topic, "2");
    stage.advance(MS * 50);
    assert_eq!(came(&mut stage), 3, "no credit");
    assert!(stage.hub.grant(session, topic, 1, stage.now));
    assert_eq!(came(&mut stage), 6);
}
