//! What once went wrong in a hub, each case in its smallest form.
#![cfg(all(feature = "json", feature = "std"))]

mod bounds;

use std::time::Duration;

use forebay_core::wire::CloseCode;
use forebay_core::{
    ClientRequest, Config, ConnId, EndReason, Event, Hub, Instant, LaneId, LaneLimits, LaneOptions, Mode, Options,
    Payload, Peer, Policy, Start, TopicId, TopicOptions, Upgraded,
};

const NOW: Instant = Instant::ZERO;

fn hub(options: Options) -> Hub {
    Hub::new(Config::try_from(options).unwrap(), [7; 32], NOW)
}

fn connect(hub: &mut Hub, mode: Mode) -> ConnId {
    let upgraded = Upgraded { peer: Peer { mode, ..Peer::default() }, protocol: None, deflate: None };
    hub.handle_upgraded(upgraded, &[], NOW).unwrap()
}

fn subscribe(hub: &mut Hub, conn: ConnId, topic: TopicId) -> LaneId {
    hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, NOW).unwrap()
}

/// The hub is told what a client wrote (masked with zeros).
fn say(hub: &mut Hub, conn: ConnId, text: &str) {
    hub.handle_bytes(conn, &frame(1, text.as_bytes()), NOW);
    hub.check_invariants();
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn publish(hub: &mut Hub, topic: TopicId, json: &str) {
    hub.publish(topic, Payload::Text(json), NOW).unwrap();
    hub.check_invariants();
}

/// The connection and the length of the next Transmit.
fn poll(hub: &mut Hub) -> Option<(ConnId, usize)> {
    let polled = hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len()));
    hub.check_invariants();
    polled
}

fn sent(hub: &mut Hub, conn: ConnId, bytes: usize) {
    hub.handle_sent(conn, bytes, NOW);
    hub.check_invariants();
}

#[test]
fn a_lane_that_ended_is_in_two_places_of_a_transmit_that_returns() {
    let mut hub = hub(Options::default());
    let conn = connect(&mut hub, Mode::Raw);
    let topics = ["a", "b"].map(|name| hub.topic(name, TopicOptions::default()).unwrap());
    for topic in topics {
        subscribe(&mut hub, conn, topic);
    }
    [0, 1, 0].into_iter().for_each(|nth| publish(&mut hub, topics[nth], "1"));
    poll(&mut hub).unwrap();
    assert!(hub.unsubscribe(conn, topics[0], NOW));
    hub.check_invariants();
    sent(&mut hub, conn, 0);
    let lost = hub.topic_pressure(topics[0]).unwrap().totals.lost_total();
    assert_eq!((lost.messages, hub.stats().lanes.waiting.messages), (2, 1));
}

fn limits(messages_max: u32, bytes_max: u64) -> LaneLimits {
    LaneLimits { messages_max, bytes_max }
}

#[test]
fn the_log_bound_comes_while_an_old_message_is_outstanding_and_its_chunk_is_gone() {
    let mut hub = hub(Options::default());
    let conn = connect(&mut hub, Mode::Raw);
    let lane = limits(50, 1 << 20);
    let options = TopicOptions { lane, message_bytes_max: 8_000, log_bytes_max: 24_000, ..TopicOptions::default() };
    let topic = hub.topic("t", options).unwrap();
    subscribe(&mut hub, conn, topic);
    let json = format!("\"{}\"", "x".repeat(98));
    (0..32).for_each(|_| publish(&mut hub, topic, &json));
    let (conn, len) = poll(&mut hub).unwrap();
    sent(&mut hub, conn, len);
    // The first message of a chunk of 4 KiB stays outstanding; what is behind it is dropped block by block.
    for _ in 0..90 {
        publish(&mut hub, topic, &json);
        poll(&mut hub);
    }
    let large = format!("\"{}\"", "x".repeat(7_900));
    for _ in 0..6 {
        publish(&mut hub, topic, &large);
    }
}

#[test]
fn a_publish_may_shrink_the_log() {
    let mut hub = hub(Options::default());
    let conn = connect(&mut hub, Mode::Raw);
    let lane = limits(1_000, 5_000);
    let options = TopicOptions { lane, message_bytes_max: 500, log_bytes_max: 5_096, ..TopicOptions::default() };
    let topic = hub.topic("t", options).unwrap();
    subscribe(&mut hub, conn, topic);
    let (mut before, mut shrunk, mut kept) = (0, false, Vec::new());
    for _ in 0..30 {
        publish(&mut hub, topic, &format!("\"{}\"", "x".repeat(300)));
        let after = hub.stats().resident_bytes;
        shrunk |= after < before;
        before = after;
        // Whoever keeps the bytes keeps the hub from using their chunk again.
        kept.extend(hub.poll_transmit().unwrap().segments());
        sent(&mut hub, conn, usize::MAX);
    }
    assert!(shrunk, "there was no room for a chunk as large as the last one");
}

#[test]
fn two_encodings_share_the_log_bound() {
    let mut hub = hub(Options::default());
    let lane = limits(5, 1_000);
    let options = TopicOptions { lane, message_bytes_max: 200, log_bytes_max: 4_496, ..TopicOptions::default() };
    let topic = hub.topic("t", options).unwrap();
    let (raw, client) = (connect(&mut hub, Mode::Raw), connect(&mut hub, Mode::Dialect));
    subscribe(&mut hub, raw, topic);
    say(&mut hub, client, r#"{"op":"subscribe","topic":"t"}"#);
    (0..50).for_each(|_| publish(&mut hub, topic, "1"));
}

#[test]
fn an_index_that_nobody_needs_makes_room() {
    for policy in [Policy::Block, Policy::DropOldest] {
        let mut hub = hub(Options::default());
        let lane = limits(40, 5_000);
        let options =
            TopicOptions { policy, lane, message_bytes_max: 1_000, log_bytes_max: 6_096, ..TopicOptions::default() };
        let topic = hub.topic("t", options).unwrap();
        let conn = connect(&mut hub, Mode::Raw);
        subscribe(&mut hub, conn, topic);
        for _ in 0..30 {
            publish(&mut hub, topic, "1");
            if let Some((conn, _)) = poll(&mut hub) {
                sent(&mut hub, conn, 0);
            }
        }
        if policy == Policy::Block {
            hub.handle_writable(conn, NOW);
            let (conn, len) = poll(&mut hub).unwrap();
            sent(&mut hub, conn, len);
        }
        let client = connect(&mut hub, Mode::Dialect);
        say(&mut hub, client, r#"{"op":"subscribe","topic":"t"}"#);
        publish(&mut hub, topic, &format!("\"{}\"", "x".repeat(990)));
    }
}

#[test]
fn what_nobody_needs_any_more_goes_when_it_is_frozen() {
    let mut hub = hub(Options::default());
    let (first, second) = (connect(&mut hub, Mode::Raw), connect(&mut hub, Mode::Raw));
    while let Some((conn, len)) = poll(&mut hub) {
        sent(&mut hub, conn, len);
    }
    let topic = hub.topic("t", TopicOptions::default()).unwrap();
    let large = format!("\"{}\"", "x".repeat(5_000));
    subscribe(&mut hub, first, topic);
    publish(&mut hub, topic, &large);
    subscribe(&mut hub, second, topic);
    hub.unsubscribe(first, topic, NOW);
    assert_eq!(poll(&mut hub), None);

    hub.send(first, Payload::Text(&large), NOW).unwrap();
    hub.close(first, CloseCode::NORMAL, "", NOW);
    let (conn, _) = poll(&mut hub).unwrap();
    assert_eq!(conn, first);
}

/// A hub that can hold very little.
fn small(resident_bytes_max: usize) -> Hub {
    let lane = limits(5, 1_000);
    let topic_defaults = TopicOptions { lane, message_bytes_max: 64, log_bytes_max: 4_224, ..TopicOptions::default() };
    let (message_bytes_max, inbound_bytes_max) = (2_000, 2_000);
    hub(Options { topic_defaults, resident_bytes_max, message_bytes_max, inbound_bytes_max, ..Options::default() })
}

#[test]
fn the_budget_holds_whatever_brings_bytes_to_connections() {
    let mut hub = small(4_224);
    for _ in 0..100 {
        hub.connect(ClientRequest { host: "h", target: "/", ..ClientRequest::default() }, NOW).unwrap();
        hub.check_invariants();
    }

    let mut hub = small(4_224);
    for _ in 0..10 {
        connect(&mut hub, Mode::Raw);
    }
    hub.handle_timeout(NOW + Duration::from_secs(25));
    hub.check_invariants();
    hub.drain(NOW, NOW);
    hub.check_invariants();

    let mut hub = small(4_224);
    let name = "t".repeat(250);
    let topic = hub.topic(&name, TopicOptions::default()).unwrap();
    for _ in 0..15 {
        let client = connect(&mut hub, Mode::Dialect);
        say(&mut hub, client, &format!(r#"{{"op":"subscribe","topic":"{name}"}}"#));
        while let Some((conn, len)) = poll(&mut hub) {
            sent(&mut hub, conn, len);
        }
    }
    hub.remove_topic(topic, NOW);
    hub.check_invariants();
    assert!(hub.stats().closed > 0);
}

fn events(hub: &mut Hub) -> Vec<Event> {
    std::iter::from_fn(|| hub.poll_event()).collect()
}

#[test]
fn many_connections_that_came_and_went_untold() {
    let mut hub = hub(Options::default());
    for _ in 0..60_000 {
        let conn = connect(&mut hub, Mode::Raw);
        hub.handle_eof(conn, NOW);
    }
    assert_eq!(events(&mut hub).len(), 60_000);
    assert_eq!(hub.connections(), 0);
}

#[test]
fn an_in_process_lane_that_becomes_ready_often_is_told_once() {
    let mut hub = hub(Options::default());
    let topic = hub.topic("t", TopicOptions::default()).unwrap();
    let lane = hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, NOW).unwrap();
    for _ in 0..1_000 {
        publish(&mut hub, topic, "1");
        assert!(hub.take(lane, NOW).is_some());
    }
    assert_eq!(events(&mut hub), [], "what was taken is not told");
    for _ in 0..3 {
        assert!(hub.take(lane, NOW).is_none());
        publish(&mut hub, topic, "1");
        assert!(hub.take(lane, NOW).is_some());
        publish(&mut hub, topic, "1");
        assert_eq!(events(&mut hub), [Event::Ready(lane)]);
        assert!(hub.take(lane, NOW).is_some());
    }
}

fn flush(hub: &mut Hub) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((conn, len)) = {
        let polled = hub.poll_transmit();
        bytes.extend(polled.iter().flat_map(|transmit| transmit.slices()).flatten());
        polled.map(|transmit| (transmit.conn(), transmit.len()))
    } {
        sent(hub, conn, len);
    }
    bytes
}

#[test]
fn what_passes_a_parked_publish_is_decoded_again_after_the_reply_bound() {
    let mut hub = hub(Options { reply_bytes_max: 4_096, ..Options::default() });
    let lane = limits(1, 1 << 20);
    let topic = hub.topic("t", TopicOptions { policy: Policy::Block, lane, ..TopicOptions::default() }).unwrap();
    hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, NOW).unwrap();
    let client = connect(&mut hub, Mode::Dialect);
    flush(&mut hub);
    let mut bytes = Vec::new();
    for _ in 0..2 {
        bytes.extend(frame(1, br#"{"op":"publish","topic":"t","data":1}"#));
    }
    for id in 0..1_000 {
        bytes.extend(frame(1, format!(r#"{{"op":"ping","id":{id}}}"#).as_bytes()));
    }
    bytes.extend(frame(8, &[]));
    hub.handle_bytes(client, &bytes, NOW);
    hub.check_invariants();
    assert!(!hub.wants_read(client));
    let heard = flush(&mut hub);
    assert!(heard.windows(9).any(|window| window == br#""id":999}"#), "every ping is answered");
    assert_eq!(heard[heard.len() - 2..], [0x88, 0], "and the Close frame");
}

#[test]
fn draining_ends_a_connection_whose_last_lane_goes() {
    let mut hub = hub(Options::default());
    let conn = connect(&mut hub, Mode::Raw);
    let topic = hub.topic("t", TopicOptions::default()).unwrap();
    subscribe(&mut hub, conn, topic);
    publish(&mut hub, topic, "1");
    hub.drain(NOW + Duration::from_secs(60), NOW);
    hub.remove_topic(topic, NOW);
    hub.check_invariants();
    assert_eq!(flush(&mut hub)[..4], [0x88, 15, 3, 233], "1001");
}

#[test]
fn draining_ends_a_connection_whose_last_message_was_shed() {
    let mut hub = small(8_000);
    let (conn, other) = (connect(&mut hub, Mode::Raw), connect(&mut hub, Mode::Raw));
    hub.send(other, Payload::Text("1"), NOW).unwrap();
    assert_eq!(poll(&mut hub).map(|(conn, _)| conn), Some(other));
    let topic = hub.open_topic("t").unwrap();
    let lane = subscribe(&mut hub, conn, topic);
    publish(&mut hub, topic, "1");
    hub.drain(NOW + Duration::from_secs(60), NOW);
    hub.check_invariants();
    hub.handle_bytes(other, &frame(2, &[0; 2_000]), NOW);
    hub.check_invariants();
    assert_eq!(hub.lane(lane).unwrap().totals.lost_total().messages, 1);
    assert_eq!(flush(&mut hub)[..4], [0x88, 15, 3, 233], "1001");
}

#[test]
fn silence_is_excused_no_longer_than_it_lasted() {
    let mut hub = hub(Options::default());
    let conn = connect(&mut hub, Mode::Raw);
    hub.send(conn, Payload::Text("1"), NOW).unwrap();
    poll(&mut hub).unwrap();
    sent(&mut hub, conn, 0);
    let later = NOW + Duration::from_secs(20);
    hub.handle_bytes(conn, &frame(10, b""), later);
    hub.handle_writable(conn, later);
    let (conn, len) = poll(&mut hub).unwrap();
    hub.handle_sent(conn, len, later);
    hub.handle_timeout(later + Duration::from_secs(25));
    assert_eq!(flush(&mut hub), [0x89, 0], "it was heard 25 s ago");
}

#[test]
fn a_connection_without_anything_to_send_is_not_stalled() {
    let mut hub = hub(Options::default());
    let conn = connect(&mut hub, Mode::Raw);
    let topic = hub.topic("t", TopicOptions::default()).unwrap();
    subscribe(&mut hub, conn, topic);
    publish(&mut hub, topic, "1");
    poll(&mut hub).unwrap();
    sent(&mut hub, conn, 0);
    hub.unsubscribe(conn, topic, NOW);
    hub.handle_writable(conn, NOW);
    let mut now = NOW;
    for _ in 0..10 {
        now = now + Duration::from_secs(10);
        hub.handle_bytes(conn, &frame(10, b""), now);
        hub.handle_timeout(now);
        hub.check_invariants();
    }
    assert!(matches!(events(&mut hub)[..], [Event::Opened { .. }]), "and not closed");
}

#[test]
fn an_unanswered_transmit_is_blocked_output() {
    let mut hub = hub(Options { stall_timeout: Duration::from_secs(100), ..Options::default() });
    let conn = connect(&mut hub, Mode::Raw);
    hub.send(conn, Payload::Text("1"), NOW).unwrap();
    let (_, len) = poll(&mut hub).unwrap();
    for seconds in 1..=99 {
        hub.handle_timeout(NOW + Duration::from_secs(seconds));
        hub.check_invariants();
    }
    assert!(
        matches!(events(&mut hub)[..], [Event::Opened { .. }]),
        "a ping could not have been sent: nobody is to blame"
    );
    hub.handle_timeout(NOW + Duration::from_secs(100));
    let reason = EndReason::Stalled;
    assert_eq!(events(&mut hub), [Event::Closed { conn, reason }]);
    hub.handle_sent(conn, len, NOW);
    hub.check_invariants();
}

#[test]
fn a_transmit_is_not_longer_than_its_bound_and_one_message() {
    let mut hub = hub(Options { transmit_bytes_max: 1_024, ..Options::default() });
    let client = connect(&mut hub, Mode::Dialect);
    let name = |nth: usize| format!("{nth}{}", "t".repeat(200));
    for nth in 0..40 {
        say(&mut hub, client, &format!(r#"{{"op":"subscribe","topic":"{}"}}"#, name(nth)));
    }
    for nth in 0..40 {
        let topic = hub.find_topic(&name(nth)).unwrap();
        for _ in 0..1_001 {
            hub.publish(topic, Payload::Text("1"), NOW).unwrap();
        }
    }
    for id in 0..500 {
        say(&mut hub, client, &format!(r#"{{"op":"ping","id":{id}}}"#));
    }
    let mut notices = 0;
    while let Some((conn, len)) = poll(&mut hub) {
        assert!(len <= 1_024 + 300, "{len}");
        sent(&mut hub, conn, len / 2 + 1);
        hub.handle_writable(conn, NOW);
        notices += 1;
        if notices > 2_000 {
            break;
        }
    }
}

#[test]
fn an_idle_connection_owns_no_buffers() {
    let mut hub = hub(Options::default());
    let conns: Vec<ConnId> = (0..100).map(|_| connect(&mut hub, Mode::Raw)).collect();
    for conn in &conns {
        hub.send(*conn, Payload::Text("hello"), NOW).unwrap();
    }
    flush(&mut hub);
    assert_eq!(hub.stats().resident_bytes, 0);
    hub.send(conns[0], Payload::Text("hello"), NOW).unwrap();
    assert_eq!(flush(&mut hub), b"\x81\x05hello");
}

#[test]
fn no_effect_follows_the_end_of_the_transport() {
    let mut hub = hub(Options::default());
    let conn = connect(&mut hub, Mode::Raw);
    hub.handle_bytes(conn, &[0xFF], NOW);
    flush(&mut hub);
    hub.handle_eof(conn, NOW);
    assert_eq!(hub.poll_effect(), None);
    assert_eq!(events(&mut hub).len(), 1);
    assert_eq!(hub.connections(), 0);
    hub.check_invariants();
}

#[test]
fn a_refused_application_is_told_although_the_topic_goes_with_its_last_lane() {
    let limits = LaneLimits { messages_max: 1, bytes_max: 1 << 20 };
    let defaults = TopicOptions { policy: Policy::Block, lane: limits, ..TopicOptions::default() };
    let options = Options { topic_defaults: defaults, ..Options::default() };
    let mut hub = Hub::new(Config::try_from(options).unwrap(), [1; 32], NOW);
    let topic = hub.open_topic("t").unwrap();
    let lane = hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, NOW).unwrap();
    hub.publish(topic, Payload::Text("1"), NOW).unwrap();
    assert!(hub.publish(topic, Payload::Text("2"), NOW).is_err());
    assert!(hub.unsubscribe_local(lane, NOW));
    assert!(hub.poll_transmit().is_none());
    let events: Vec<Event> = std::iter::from_fn(|| hub.poll_event()).collect();
    assert!(events.contains(&Event::Drained(topic)), "{events:?}");
    assert!(hub.poll_transmit().is_none());
    assert_eq!(hub.find_topic("t"), None, "and then it is forgotten");
    hub.check_invariants();
}

#[test]
fn what_returns_is_sent_before_the_notice_of_what_was_lost_behind_it() {
    let mut hub = hub(Options::default());
    let options = TopicOptions { lane: limits(100, 20), message_bytes_max: 20, ..TopicOptions::default() };
    let topic = hub.topic("t", options).unwrap();
    let conn = connect(&mut hub, Mode::Dialect);
    let (_, hello) = poll(&mut hub).unwrap();
    sent(&mut hub, conn, hello);
    subscribe(&mut hub, conn, topic);
    (1..=3).for_each(|_| publish(&mut hub, topic, "1"));
    poll(&mut hub).unwrap();
    // 1 to 3 are outstanding; 4 and 5 give way to 6.
    (4..=5).for_each(|_| publish(&mut hub, topic, "12345678"));
    publish(&mut hub, topic, "12345678901234567");
    sent(&mut hub, conn, 0);
    hub.handle_writable(conn, NOW);
    let bytes: Vec<u8> = hub.poll_transmit().unwrap().slices().flatten().copied().collect();
    let text = String::from_utf8_lossy(&bytes);
    let places: Vec<usize> =
        ["\"seq\":1,", "\"seq\":2,", "\"seq\":3,"].iter().map(|what| text.find(what).expect(what)).collect();
    assert!(places.is_sorted() && !text.contains("gap"), "{text}");
    sent(&mut hub, conn, bytes.len());
    let bytes: Vec<u8> = hub.poll_transmit().unwrap().slices().flatten().copied().collect();
    let text = String::from_utf8_lossy(&bytes);
    let (gap, message) = (text.find(r#""from":4,"to":5,"missed":2"#), text.find(r#""seq":6,"#));
    assert!(gap.expect("the gap") < message.expect("the message"), "{text}");
}
