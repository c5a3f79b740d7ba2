//! The policy `Block`, over one hub and transports that take exactly so much.

use std::time::Duration;

use forebay_core::{ConnId, Event, LaneOptions, Payload, Policy, PublishError, Start, TopicId};
use forebay_testkit::stage::{Stage, briefs, frame_len, json_of_len};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const NOTHING: [&str; 0] = [];

/// A topic `t` with lanes of so many messages and bytes, and a subscriber whose kernel takes nothing.
fn full_house(messages_max: u32, bytes_max: u64) -> (Stage, TopicId, ConnId) {
    let mut stage = Stage::new(|options| options.block_max = S * 10);
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.lane.messages_max = messages_max;
        options.lane.bytes_max = bytes_max;
        options.message_bytes_max = u32::try_from(bytes_max.min(1_000)).unwrap();
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    (stage, topic, conn)
}

fn publish(stage: &mut Stage, topic: TopicId, json: &str) -> Result<u64, PublishError> {
    stage.publish(topic, json).map(|published| published.position.seq)
}

#[test]
fn an_application_is_refused_and_told_at_the_low_mark_of_messages() {
    let (mut stage, topic, conn) = full_house(4, 1_000);
    for seq in 1..=4 {
        assert_eq!(publish(&mut stage, topic, "1"), Ok(seq));
    }
    assert_eq!(publish(&mut stage, topic, "5"), Err(PublishError::Full));
    assert_eq!(publish(&mut stage, topic, "5"), Err(PublishError::Full));
    assert_eq!(stage.hub.stats().refused_full, 2);
    stage.take_events();
    stage.let_through(conn, frame_len("t", 1, "1"));
    assert_eq!(stage.take_events(), [], "three of four wait: above half");
    stage.let_through(conn, frame_len("t", 2, "1"));
    assert_eq!(stage.take_events(), [Event::Drained(topic)], "at half");
    stage.let_through(conn, frame_len("t", 3, "1"));
    assert_eq!(stage.take_events(), [], "once");
    assert_eq!(publish(&mut stage, topic, "5"), Ok(5));
    stage.thaw(conn);
    let told = briefs(&mut stage, conn);
    assert_eq!(told, ["message t 1 1", "message t 2 1", "message t 3 1", "message t 4 1", "message t 5 5"]);
    assert_eq!(stage.hub.topic_pressure(topic).unwrap().totals.lost_total().messages, 0);
}

#[test]
fn the_low_mark_counts_bytes_and_room_for_the_largest_refused() {
    let (mut stage, topic, conn) = full_house(100, 100);
    let forty = json_of_len(40);
    publish(&mut stage, topic, &forty).unwrap();
    publish(&mut stage, topic, &forty).unwrap();
    for len in [30, 90, 21] {
        assert_eq!(publish(&mut stage, topic, &json_of_len(len)), Err(PublishError::Full), "80 + {len} > 100");
    }
    stage.take_events();
    stage.let_through(conn, frame_len("t", 1, &forty));
    assert_eq!(stage.take_events(), [], "40 wait, which is below half, but 90 do not fit");
    stage.let_through(conn, frame_len("t", 2, &forty));
    assert_eq!(stage.take_events(), [Event::Drained(topic)]);
    assert_eq!(publish(&mut stage, topic, &json_of_len(90)), Ok(3));
}

#[test]
fn a_publish_that_fits_is_accepted_before_the_low_mark() {
    let (mut stage, topic, conn) = full_house(4, 1_000);
    for _ in 0..4 {
        publish(&mut stage, topic, "1").unwrap();
    }
    assert_eq!(publish(&mut stage, topic, "1"), Err(PublishError::Full));
    stage.let_through(conn, frame_len("t", 1, "1"));
    assert_eq!(publish(&mut stage, topic, "1"), Ok(5), "it fits, and nobody is parked");
    assert_eq!(publish(&mut stage, topic, "1"), Err(PublishError::Full));
}

#[test]
fn what_is_outstanding_counts() {
    let (mut stage, topic, conn) = full_house(2, 1_000);
    stage.thaw(conn);
    stage.hub.publish(topic, Payload::Text("1"), stage.now).unwrap();
    stage.hub.publish(topic, Payload::Text("2"), stage.now).unwrap();
    let len = stage.hub.poll_transmit().expect("both").len();
    let refused = stage.hub.publish(topic, Payload::Text("3"), stage.now);
    assert_eq!(refused, Err(PublishError::Full), "not sent yet");
    stage.hub.handle_sent(conn, len, stage.now);
    stage.hub.publish(topic, Payload::Text("3"), stage.now).unwrap();
}

#[test]
fn a_refused_publish_changes_no_lane() {
    let (mut stage, topic, _) = full_house(1, 1_000);
    let other = stage.join();
    stage.subscribe(other, "t");
    publish(&mut stage, topic, "1").unwrap();
    assert_eq!(publish(&mut stage, topic, "2"), Err(PublishError::Full));
    assert_eq!(briefs(&mut stage, other), ["message t 1 1"], "refused as a whole");
}

#[test]
fn a_clients_publish_is_parked_and_taken_in_order_of_arrival() {
    let (mut stage, topic, conn) = full_house(2, 1_000);
    let (left, right) = (stage.join(), stage.join());
    for json in ["1", "2", "3"] {
        stage.client(left).publish("t", json, 0);
        stage.pump();
    }
    stage.client(right).publish("t", "4", 0);
    stage.pump();
    stage.client(left).publish("t", "5", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, left), ["published 1 1", "published 2 1"]);
    assert_eq!(briefs(&mut stage, right), NOTHING);
    assert_eq!(publish(&mut stage, topic, "9"), Err(PublishError::Full), "others wait");
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, left), ["published 3 1", "published 5 1"]);
    assert_eq!(briefs(&mut stage, right), ["published 4 1"]);
    let told = briefs(&mut stage, conn);
    assert_eq!(told, ["message t 1 1", "message t 2 2", "message t 3 3", "message t 4 4", "message t 5 5"]);
    assert!(stage.take_events().contains(&Event::Drained(topic)));
}

#[test]
fn behind_a_parked_publish_requests_wait_but_for_some() {
    let (mut stage, _, conn) = full_house(1, 1_000);
    let client = stage.join();
    stage.subscribe(client, "u");
    stage.client(client).publish("t", "1", 0);
    stage.client(client).publish("t", "2", 0);
    stage.client(client).subscribe("v");
    stage.client(client).publish("w", "3", 0);
    stage.client(client).unsubscribe("u");
    stage.client(client).ask_ping();
    stage.client(client).ping(b"frame");
    stage.pump();
    assert_eq!(briefs(&mut stage, client), ["published 1 1", "unsubscribed u", "pong"]);
    assert_eq!(stage.client(client).pongs.pop_front().as_deref(), Some(&b"frame"[..]));
    assert_eq!(stage.hub.stats().parked, 1);
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, client), ["published 2 1", "subscribed v 0", "published 1 0"]);
}

#[test]
fn a_close_passes_a_parked_publish() {
    let (mut stage, topic, conn) = full_house(1, 1_000);
    let client = stage.join();
    stage.client(client).publish("t", "1", 0);
    stage.client(client).publish("t", "2", 0);
    stage.client(client).close(Some(1000));
    stage.pump();
    assert!(stage.client(client).close.is_some() && stage.client(client).is_ended, "closed at once");
    // The parked publish has ended with its connection.
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 1 1"]);
    assert_eq!(publish(&mut stage, topic, "3"), Ok(2));
}

#[test]
fn a_parked_publish_ends_with_its_connection() {
    let (mut stage, _, conn) = full_house(1, 1_000);
    let (gone, there) = (stage.join(), stage.join());
    stage.client(there).publish("t", "1", 0);
    stage.pump();
    stage.client(gone).publish("t", "2", 0);
    stage.pump();
    stage.client(there).publish("t", "3", 0);
    stage.pump();
    stage.hang_up(gone);
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 1 1", "message t 2 3"]);
    assert_eq!(briefs(&mut stage, there), ["published 1 1", "published 2 1"]);
}

#[test]
fn block_max_is_the_end_of_patience() {
    let (mut stage, _, conn) = full_house(1, 1_000);
    let client = stage.join();
    for json in ["1", "2", "3"] {
        stage.client(client).publish("t", json, 0);
    }
    stage.client(client).subscribe("v");
    stage.pump();
    assert_eq!(briefs(&mut stage, client), ["published 1 1"]);
    stage.advance(S * 10 - MS);
    assert_eq!(briefs(&mut stage, client), NOTHING);
    stage.advance(2 * MS);
    assert_eq!(briefs(&mut stage, client), ["error full"], "the next one waits in its turn");
    stage.advance(S * 10);
    assert_eq!(briefs(&mut stage, client), ["error full", "subscribed v 0"]);
    assert_eq!((stage.hub.stats().parked, stage.hub.stats().refused_full), (2, 2));
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 1 1"], "what was refused never was");
}

#[test]
fn while_others_are_parked_nobody_passes() {
    let (mut stage, topic, conn) = full_house(10, 100);
    let (first, second) = (stage.join(), stage.join());
    let (sixty, eighty) = (json_of_len(60), json_of_len(80));
    publish(&mut stage, topic, &sixty).unwrap();
    stage.client(first).publish("t", &eighty, 0);
    stage.pump();
    assert_eq!(publish(&mut stage, topic, "1"), Err(PublishError::Full), "it would fit, but others wait");
    stage.client(second).publish("t", "2", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, second), NOTHING);
    stage.let_through(conn, frame_len("t", 1, &sixty));
    assert_eq!(briefs(&mut stage, first), ["published 2 1"]);
    assert_eq!(briefs(&mut stage, second), ["published 3 1"]);
}

#[test]
fn a_lane_that_ends_releases() {
    type End = fn(&mut Stage, ConnId, TopicId);
    let ends: [(&str, End); 4] = [
        ("end of file", |stage, conn, _| stage.hang_up(conn)),
        ("unsubscribe by the application", |stage, conn, topic| {
            assert!(stage.hub.unsubscribe(conn, topic, stage.now));
        }),
        ("unsubscribe by the client", |stage, conn, _| stage.client(conn).unsubscribe("t")),
        ("close", |stage, conn, _| stage.hub.close(conn, forebay_core::wire::CloseCode::NORMAL, "", stage.now)),
    ];
    for (what, end) in ends {
        let (mut stage, topic, conn) = full_house(1, 1_000);
        let client = stage.join();
        publish(&mut stage, topic, "1").unwrap();
        assert_eq!(publish(&mut stage, topic, "2"), Err(PublishError::Full));
        stage.client(client).publish("t", "3", 0);
        stage.pump();
        stage.take_events();
        end(&mut stage, conn, topic);
        stage.pump();
        assert_eq!(briefs(&mut stage, client), ["published 2 0"], "{what}");
        assert!(stage.take_events().contains(&Event::Drained(topic)), "{what}");
    }
}

#[test]
fn a_stalled_subscriber_blocks_no_longer_than_its_timeout() {
    let mut stage = Stage::new(|options| {
        options.stall_timeout = S * 5;
        options.block_max = S * 60;
    });
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.lane.messages_max = 1;
    });
    let (stuck, client) = (stage.join(), stage.join());
    stage.subscribe(stuck, "t");
    stage.freeze(stuck);
    publish(&mut stage, topic, "1").unwrap();
    stage.client(client).publish("t", "2", 0);
    stage.pump();
    stage.advance(S * 5 + MS);
    assert_eq!(briefs(&mut stage, client), ["published 2 0"]);
}

#[test]
fn the_slowest_sets_the_pace_and_nobody_loses_anything() {
    let (mut stage, topic, slow) = full_house(3, 1_000);
    let quick = stage.join();
    stage.subscribe(quick, "t");
    let local = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    let client = stage.join();
    for n in 1..=20 {
        stage.client(client).publish("t", &n.to_string(), 0);
    }
    stage.pump();
    let mut taken = 0;
    for _ in 0..2_000 {
        stage.let_through(slow, 7);
        taken += usize::from(stage.hub.take(local, stage.now).is_some());
        stage.pump();
    }
    let expected: Vec<String> = (1..=20).map(|n| format!("message t {n} {n}")).collect();
    assert_eq!(briefs(&mut stage, slow), expected);
    assert_eq!(briefs(&mut stage, quick), expected);
    assert_eq!(taken, 20);
    assert_eq!(briefs(&mut stage, client).len(), 20);
}

#[test]
fn a_full_log_refuses_for_block_lanes() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.message_bytes_max = 1_000;
        options.log_bytes_max = 12 << 10;
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    let mut accepted = 0;
    while stage.publish(topic, &json_of_len(1_000)).is_ok() {
        accepted += 1;
        assert!(accepted < 100, "a log of 12 KiB");
    }
    assert!(accepted >= 3);
    assert_eq!(stage.publish(topic, &json_of_len(1_000)), Err(PublishError::Full), "the lane counts as full");
    stage.take_events();
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn).len(), accepted);
    assert!(stage.take_events().contains(&Event::Drained(topic)));
    stage.publish(topic, &json_of_len(1_000)).unwrap();
    assert_eq!(stage.client(conn).reader().subs["t"].missed, 0);
}

#[test]
fn too_much_behind_a_parked_publish_stops_the_reading() {
    let mut stage = Stage::new(|options| {
        options.message_bytes_max = 1_000;
        options.inbound_bytes_max = 1_000;
    });
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.message_bytes_max = 600;
        options.lane.messages_max = 1;
    });
    let (conn, client) = (stage.join(), stage.join());
    stage.seat_of(client).read = 700;
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    stage.publish(topic, "0").unwrap();
    for _ in 0..10 {
        stage.client(client).publish("t", &json_of_len(500), 0);
    }
    stage.pump();
    let pressure = stage.hub.connection(client).unwrap();
    assert!(pressure.is_paused && pressure.inbound_bytes <= 1_000 + 1_000 + 700, "{pressure:?}");
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, client).len(), 10);
    assert_eq!(briefs(&mut stage, conn).len(), 11);
    assert!(!stage.hub.connection(client).unwrap().is_paused);
}
