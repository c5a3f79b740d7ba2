//! What goes to a connection.

use forebay_core::{Class, ConnId, LaneOptions, Options, Payload, Policy, SendError, Start, TopicId};
use forebay_testkit::mini::frame;
use forebay_testkit::stage::{Stage, briefs, frame_len, json_of_len};

use crate::{MS, NOTHING, NS, rate};

/// A raw subscriber of a topic of each class, with a full bucket of 300 bytes (1,000 a second), of which 30 percent are
/// reserved, and nothing under way.
fn house(change: impl FnOnce(&mut Options)) -> (Stage, [TopicId; 3], ConnId) {
    let mut stage = Stage::new(|options| {
        options.outbound_bytes_rate = Some(rate(1_000, 300));
        options.reserved_percent = 30;
        change(options);
    });
    let conn = stage.join_raw();
    let topics = Class::ALL.map(|class| stage.topic(class.name(), |options| options.class = class));
    for topic in topics {
        stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, stage.now).expect("a lane");
    }
    stage.advance(MS * 10_000);
    stage.seat_of(conn).stream.clear();
    (stage, topics, conn)
}

/// Publishes a message whose frame has so many bytes, at least 4, and polls nothing.
fn put(stage: &mut Stage, topic: TopicId, len: usize) {
    let json = json_of_len(if len < 128 { len - 2 } else { len - 4 });
    assert_eq!(frame::wire_len(json.len()), len);
    stage.hub.publish(topic, Payload::Text(&json), stage.now).expect("taken");
}

/// Bytes that came since this was asked last.
fn came(stage: &mut Stage, conn: ConnId) -> usize {
    stage.pump();
    std::mem::take(&mut stage.seat_of(conn).stream).len()
}

/// Nothing comes until the nanosecond before, and then so many bytes.
fn comes_after(stage: &mut Stage, conn: ConnId, millis: u32, bytes: usize) {
    stage.advance(MS * millis - NS);
    assert_eq!(came(stage, conn), 0, "not before {millis} ms");
    stage.advance(NS);
    assert_eq!(came(stage, conn), bytes, "after {millis} ms");
}

#[test]
fn a_transmit_is_cut_to_the_units_there_are() {
    // Of 300 units 90 are reserved.
    for (class, last, first, waits) in
        [(0, 100, 300, 0), (0, 101, 200, 0), (1, 60, 210, 1), (1, 61, 150, 0), (2, 60, 210, 1), (2, 61, 150, 0)]
    {
        let (mut stage, topics, conn) = house(|_| {});
        let topic = topics[class];
        let len = if class == 0 { 100 } else { 75 };
        for len in [len, len, last] {
            put(&mut stage, topic, len);
        }
        stage.hub.handle_writable(conn, stage.now);
        let transmit = stage.hub.poll_transmit().expect("a unit");
        assert_eq!(transmit.len(), first, "{class} {last}");
        stage.hub.handle_sent(conn, first, stage.now);
        stage.hub.check_invariants();
        if first == 300 || waits == 1 {
            // The bucket is empty (for this class) at the unit.
            put(&mut stage, topic, 4);
            assert!(stage.hub.poll_transmit().is_none());
            comes_after(&mut stage, conn, 1, 4);
        } else {
            // There are units left, so that the message that did not fit begins the next Transmit.
            assert_eq!(came(&mut stage, conn), last);
        }
    }
}

#[test]
fn the_first_message_may_overdraw_and_the_next_waits_for_longer() {
    let (mut stage, [_, normal, _], conn) = house(|_| {});
    put(&mut stage, normal, 209);
    assert_eq!(came(&mut stage, conn), 209);
    put(&mut stage, normal, 500); // One unit is there.
    put(&mut stage, normal, 10);
    assert_eq!(came(&mut stage, conn), 500);
    comes_after(&mut stage, conn, 500, 10); // 499 are missing, and one is wanted.
}

#[test]
fn what_is_reserved_is_for_high() {
    let (mut stage, [high, normal, low], conn) = house(|_| {});
    put(&mut stage, low, 210);
    assert_eq!(came(&mut stage, conn), 210);
    put(&mut stage, low, 4);
    put(&mut stage, normal, 5);
    assert_eq!(came(&mut stage, conn), 0, "90 units are there");
    put(&mut stage, high, 80);
    assert_eq!(came(&mut stage, conn), 80);
    put(&mut stage, high, 40);
    put(&mut stage, high, 4);
    assert_eq!(came(&mut stage, conn), 40, "ten units, the last of them");
    comes_after(&mut stage, conn, 31, 4); // 30 missing, one wanted.
    comes_after(&mut stage, conn, 94, 5); // 3 missing, and one above 90 wanted. It takes 4 more than there are.
    comes_after(&mut stage, conn, 5, 4);
}

#[test]
fn without_a_reserve_one_unit_is_enough_for_all() {
    let (mut stage, [high, normal, _], conn) = house(|options| options.reserved_percent = 0);
    put(&mut stage, normal, 300);
    assert_eq!(came(&mut stage, conn), 300);
    put(&mut stage, normal, 4);
    put(&mut stage, high, 5);
    comes_after(&mut stage, conn, 1, 5);
    comes_after(&mut stage, conn, 5, 4);
}

#[test]
fn replies_do_not_wait_and_cost() {
    let mut stage = Stage::new(|options| {
        options.outbound_bytes_rate = Some(rate(1_000, 300));
        options.reserved_percent = 0;
    });
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.advance(MS * 10_000);
    let json = json_of_len(300);
    stage.publish(topic, &json).expect("taken");
    let missing = frame_len("t", 1, &json) - 300;
    stage.client(conn).ask_ping();
    stage.client(conn).ping(b"abc");
    stage.publish(topic, "1").expect("taken");
    assert_eq!(briefs(&mut stage, conn)[1..], ["pong"], "at once");
    let wait = u32::try_from(missing + answers(&stage, conn) + 1).expect("short");
    stage.advance(MS * wait - NS);
    assert_eq!(briefs(&mut stage, conn), NOTHING);
    stage.advance(NS);
    assert_eq!(briefs(&mut stage, conn), ["message t 2 1"]);
}

/// Bytes behind the first message of the stream, which is the last that was sent of the topic.
fn answers(stage: &Stage, conn: ConnId) -> usize {
    let stream = &stage.seats[&conn].stream;
    let message = b"{\"op\":\"message\"";
    let at = stream.windows(message.len()).rposition(|bytes| bytes == message).expect("a message");
    stream.len() - at - frame_len("t", 1, &json_of_len(300)) + 4 // Its header has 4 bytes.
}

#[test]
fn direct_messages_wait_like_normal_ones_and_volatile_ones_are_refused() {
    let (mut stage, [high, normal, _], conn) = house(|_| {});
    let volatile = |stage: &mut Stage| stage.hub.send_volatile(conn, Payload::Text("1"), stage.now);
    put(&mut stage, normal, 209);
    assert_eq!(came(&mut stage, conn), 209);
    assert_eq!(volatile(&mut stage), Ok(()), "one unit above the reserve");
    assert_eq!(came(&mut stage, conn), 3);
    assert_eq!((volatile(&mut stage), stage.hub.stats().refused_volatile), (Err(SendError::NotWritable), 1));
    put(&mut stage, high, 4);
    stage.hub.send(conn, Payload::Text("22"), stage.now).expect("room");
    assert_eq!(came(&mut stage, conn), 4, "the direct message waits");
    assert!(stage.hub.connection(conn).is_some_and(|conn| !conn.is_blocked));
    comes_after(&mut stage, conn, 7, 4); // 6 are missing.
    assert_eq!(volatile(&mut stage), Err(SendError::NotWritable));
    stage.advance(MS * 4 - NS);
    assert_eq!(volatile(&mut stage), Err(SendError::NotWritable));
    stage.advance(NS);
    assert_eq!(volatile(&mut stage), Ok(()));
}

#[test]
fn only_what_was_sent_is_taken_and_the_rest_of_a_message_does_not_wait() {
    let (mut stage, [high, normal, _], conn) = house(|_| {});
    put(&mut stage, normal, 100);
    put(&mut stage, normal, 100);
    stage.seat_of(conn).window = 150;
    stage.pump();
    put(&mut stage, high, 150); // All units that are left.
    put(&mut stage, high, 4);
    assert_eq!(came(&mut stage, conn), 150);
    let rest = stage.hold(conn);
    assert_eq!(rest.len(), 50, "the rest of the message is a message's: 100 units are left, and 150 do not fit");
    stage.answer_by(conn, &rest, 50);
    stage.thaw(conn);
    assert_eq!(came(&mut stage, conn), 50 + 150);
    comes_after(&mut stage, conn, 51, 4);
}

#[test]
fn the_rest_of_a_message_goes_whatever_is_there() {
    let (mut stage, [high, ..], conn) = house(|_| {});
    put(&mut stage, high, 1_000);
    stage.seat_of(conn).window = 900;
    assert_eq!(came(&mut stage, conn), 900);
    stage.thaw(conn);
    assert_eq!(came(&mut stage, conn), 100, "600 too few");
}

#[test]
fn the_latest_messages_are_cut_like_others() {
    let (mut stage, _, conn) = house(|_| {});
    let topic = stage.topic("k", |options| options.policy = Policy::LatestPerKey);
    stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, stage.now).expect("a lane");
    for key in ["a", "b", "c", "d"] {
        let message = forebay_core::Message::new(Payload::Text("\"1234\"")).with_key(key);
        stage.hub.publish(topic, message, stage.now).expect("taken");
    }
    put(&mut stage, topic, 188); // Of the empty key: 32 + 188 are more than 210.
    stage.hub.handle_writable(conn, stage.now);
    assert_eq!(stage.hub.poll_transmit().expect("a unit").len(), 32);
    stage.hub.handle_sent(conn, 32, stage.now);
    assert_eq!(came(&mut stage, conn), 188);
    put(&mut stage, topic, 4);
    comes_after(&mut stage, conn, 11, 4);
}

#[test]
fn a_deadline_that_was_for_a_message_that_went_is_none() {
    let (mut stage, [_, normal, _], conn) = house(|_| {});
    put(&mut stage, normal, 310);
    put(&mut stage, normal, 4);
    assert_eq!(came(&mut stage, conn), 310);
    let at = stage.hub.poll_timeout().expect("a timer").at;
    assert_eq!(at, stage.now + MS * 101);
    stage.hub.unsubscribe(conn, normal, stage.now);
    stage.advance(MS * 5_000);
    assert_eq!(came(&mut stage, conn), 0);
}

#[test]
fn a_draining_hub_waits_for_what_waits_for_its_rate() {
    let (mut stage, [_, normal, _], conn) = house(|_| {});
    put(&mut stage, normal, 310);
    put(&mut stage, normal, 4);
    assert_eq!(came(&mut stage, conn), 310);
    stage.hub.drain(stage.now + MS * 10_000, stage.now);
    stage.advance(MS * 101 - NS);
    assert_eq!(came(&mut stage, conn), 0);
    stage.advance(NS);
    assert!(came(&mut stage, conn) > 4, "and a Close frame behind it");
}
