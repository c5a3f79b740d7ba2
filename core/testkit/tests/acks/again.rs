//! What comes again, when, and in what order.

use std::time::Duration;

use crate::house::{MS, NOTHING, S, house, terms};
use forebay_core::{AbandonReason, AckError, Count, Delivery, EndReason, Event, Payload, Policy};
use forebay_testkit::stage::{Stage, frame_len, json_of_len};

#[test]
fn the_unacknowledged_come_again_in_order_before_what_is_new() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=4);
    assert_eq!(house.seqs(), [1, 2, 3, 4]);
    house.stage.advance(S / 2);
    house.publish_all(5..=5);
    house.acknowledge_one(2).unwrap();
    house.seqs();
    house.stage.advance(S / 2 - MS);
    assert_eq!(house.told(), NOTHING, "not before the time of the oldest");
    // What is published at that moment waits behind.
    house.stage.now = house.stage.now + MS;
    house.stage.hub.publish(house.topic, Payload::Text("6"), house.stage.now).unwrap();
    house.stage.hub.handle_timeout(house.stage.now);
    house.stage.pump();
    assert_eq!(house.seqs(), [1, 3, 4, 5, 6], "all, without the acknowledged, each as it was");
    let acks = house.acks();
    assert_eq!((acks.retries, acks.sent, acks.unacknowledged.messages), (Count::new(4, 4), Count::new(6, 6), 5));
    assert_eq!(house.acknowledge(6), Ok(5));
}

#[test]
fn the_timer_is_the_oldests_own_to_the_nanosecond() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=1);
    house.stage.now = house.stage.now + S / 4;
    house.publish_all(2..=2);
    assert_eq!(house.seqs(), [1, 2]);
    let first = house.stage.now + (S - S / 4);
    assert_eq!(house.stage.hub.poll_timeout().unwrap().at, first);
    // With the first acknowledged it is the second's. (The timer may look once at its old time.)
    house.acknowledge_one(1).unwrap();
    let nano = Duration::from_nanos(1);
    house.stage.advance(S - nano);
    assert_eq!(house.told(), NOTHING);
    house.stage.advance(nano);
    assert_eq!(house.seqs(), [2]);
    // From the last time it was sent.
    house.stage.advance(S - nano);
    assert_eq!(house.told(), NOTHING);
    house.stage.advance(nano);
    assert_eq!(house.seqs(), [2]);
}

#[test]
fn after_so_many_attempts_a_message_is_abandoned_and_told() {
    for attempts_max in [1, 2, 5] {
        let mut house = house(terms(2, attempts_max));
        let json = json_of_len(100);
        for _ in 1..=3 {
            house.publish(&json).unwrap();
        }
        assert_eq!(house.seqs(), [1, 2]);
        for attempt in 1..=u64::from(attempts_max) {
            assert_eq!(house.stage.take_events(), []);
            house.stage.advance(S);
            assert_eq!(house.seqs(), [1, 2], "attempt {attempt}");
            assert_eq!(house.acks().retries.messages, 2 * attempt);
        }
        house.stage.advance(S - MS);
        assert_eq!(house.told(), NOTHING);
        house.stage.advance(MS);
        assert_eq!(house.told(), ["gap t 1-2 2 attempts".to_string(), format!("message t 3 {json}")]);
        assert_eq!(house.stage.take_events(), [Event::Abandoned(house.lane)], "once for both");
        let acks = house.acks();
        assert_eq!(acks.abandoned_by(AbandonReason::Attempts), Count::new(2, 200));
        assert_eq!((acks.unacknowledged.messages, acks.conservation_error()), (1, 0));
        let sent = acks.sent.bytes + acks.retries.bytes;
        assert!(sent <= (1 + u64::from(attempts_max)) * acks.sent.bytes, "{sent} bytes");
        assert_eq!(house.acknowledge(2), Err(AckError::UnknownMessage), "too late");
    }
}

#[test]
fn a_message_that_had_its_attempts_waits_for_its_own_time() {
    let mut house = house(terms(32, 1));
    house.publish_all(1..=1);
    house.stage.advance(S);
    assert_eq!(house.seqs(), [1, 1], "its only attempt");
    house.stage.advance(S / 2);
    house.publish_all(2..=2);
    house.stage.advance(S / 2);
    // 1 is abandoned, 2 comes again though its own time has not passed.
    assert_eq!(house.told(), ["message t 2 2", "gap t 1-1 1 attempts", "message t 2 2"]);
    house.publish_all(3..=3);
    house.stage.advance(S / 2);
    house.publish_all(4..=4);
    house.seqs();
    house.stage.advance(S / 2);
    assert_eq!(house.told(), ["gap t 2-2 1 attempts", "message t 3 3", "message t 4 4"]);
    // 3 and 4 had theirs at the same time; 5 is new. When 3 is acknowledged nothing is due before 4's own time.
    house.publish_all(5..=5);
    house.acknowledge_one(3).unwrap();
    house.seqs();
    house.stage.advance(S - MS);
    assert_eq!(house.told(), NOTHING);
    house.stage.advance(MS);
    assert_eq!(house.told(), ["gap t 4-4 1 attempts", "message t 5 5"]);
}

#[test]
fn what_returns_unsent_comes_again_without_another_attempt() {
    let mut house = house(terms(32, 1));
    house.publish_all(1..=3);
    house.seqs();
    house.stage.freeze(house.conn);
    house.stage.advance(S);
    // The kernel takes a message and a half, then a part of the half, then the rest of it.
    let len = frame_len("t", 1, "1");
    house.stage.let_through(house.conn, len + 5);
    assert_eq!((house.seqs(), house.acks().retries.messages), (vec![1], 1));
    house.stage.let_through(house.conn, 3);
    assert_eq!((house.told(), house.acks().retries.messages), (Vec::<String>::new(), 1));
    // An acknowledgement of what is sent in part changes what is counted, not what is written.
    house.acknowledge_one(2).unwrap();
    assert_eq!(house.unacknowledged(), 2);
    house.stage.thaw(house.conn);
    assert_eq!((house.seqs(), house.acks().retries.messages), (vec![2, 3], 3));
    house.stage.advance(S);
    assert_eq!(house.told(), ["gap t 1-3 2 attempts"], "each had one attempt");
}

#[test]
fn an_acknowledgement_crosses_what_is_on_its_way_again() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=3);
    house.seqs();
    house.stage.freeze(house.conn);
    house.stage.advance(S);
    let bytes = house.stage.hold(house.conn);
    assert_eq!(house.stage.hub.acknowledge(house.session, house.topic, 2, house.stage.now), Ok(2));
    house.stage.hub.check_invariants();
    assert_eq!(house.unacknowledged(), 1);
    // It returns unsent: what is done with does not come again.
    house.stage.answer_by(house.conn, &bytes, 0);
    house.stage.thaw(house.conn);
    assert_eq!((house.seqs(), house.acks().retries.messages), (vec![3], 1));
}

#[test]
fn the_clock_stands_still_while_something_is_on_its_way() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=1);
    assert_eq!(house.seqs(), [1]);
    house.stage.advance(S / 2);
    // A Transmit that is not answered.
    house.stage.hub.publish(house.topic, Payload::Text("2"), house.stage.now).unwrap();
    let bytes = house.stage.hold(house.conn);
    for _ in 0..3 {
        house.stage.now = house.stage.now + S;
        house.stage.hub.handle_timeout(house.stage.now);
        house.stage.hub.check_invariants();
        assert!(house.stage.hub.poll_transmit().is_none());
    }
    // Then blocked output.
    house.stage.answer_by(house.conn, &bytes, 3);
    house.stage.seat_of(house.conn).window = 0;
    house.stage.advance(S * 3);
    assert_eq!(house.told(), NOTHING);
    house.stage.thaw(house.conn);
    assert_eq!(house.seqs(), [2]);
    house.stage.advance(S / 2 - Duration::from_nanos(1));
    assert_eq!(house.told(), NOTHING, "half a second is left, to the nanosecond");
    house.stage.advance(Duration::from_nanos(1));
    assert_eq!(house.seqs(), [1, 2]);
}

#[test]
fn a_pause_of_reading_does_not_stop_it() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=1);
    house.seqs();
    house.stage.seat_of(house.conn).is_mute = true;
    house.stage.advance(S);
    assert_eq!(house.seqs(), [1]);
}

#[test]
fn an_acknowledgement_is_progress_of_one_that_is_stalled() {
    let mut house = house(terms(32, 5));
    let mut stage = Stage::new(|options| options.stall_timeout = S * 10);
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.delivery = Delivery::at_least_once();
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.publish(topic, "1").unwrap();
    stage.freeze(conn);
    stage.publish(topic, "2").unwrap();
    stage.advance(S * 9);
    stage.client(conn).ack("t", 7);
    stage.pump();
    stage.client(conn).ack_each("t", &[5]);
    stage.pump();
    assert_eq!(stage.hub.stats().unknown_acks, 1, "the first was of message 1");
    stage.advance(S * 10 - MS);
    assert_eq!(stage.ended(conn), None);
    stage.advance(MS);
    assert_eq!(stage.ended(conn), Some(EndReason::Stalled));
    assert_eq!(house.publish("1"), Ok(1));
}

#[test]
fn across_topics_what_comes_again_goes_by_the_time_of_its_publish() {
    let mut house = house(terms(32, 5));
    let plain = house.stage.topic("u", |_| {});
    house.stage.subscribe(house.conn, "u");
    house.publish_all(1..=1);
    house.stage.publish(plain, "\"between\"").unwrap();
    house.publish_all(2..=2);
    house.told();
    house.stage.freeze(house.conn);
    house.stage.publish(plain, "\"later\"").unwrap();
    house.stage.thaw(house.conn);
    assert_eq!(house.told(), ["message u 2 \"later\""]);
    house.stage.now = house.stage.now + S;
    house.stage.hub.publish(plain, Payload::Text("\"new\""), house.stage.now).unwrap();
    house.stage.hub.handle_timeout(house.stage.now);
    house.stage.pump();
    assert_eq!(house.told(), ["message t 1 1", "message t 2 2", "message u 3 \"new\""], "they are the older ones");
}
