//! At most one allocation per publish, none per subscriber, none per drain.

use std::time::Duration;

use forebay_core::wire::deflate::{Agreed, Direction, WindowBits};
use forebay_core::{
    Config, ConnId, DeflateOptions, History, Hub, Instant, LaneLimits, LaneOptions, Message, Mode, Options, Payload,
    Peer, Policy, Start, TopicOptions, Upgraded,
};
use forebay_testkit::alloc::{Counting, measure};
use forebay_testkit::mini::handshake;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SUBSCRIBERS: usize = 1_000;
const NOW: Instant = Instant::from_nanos(1_000);

/// Answers everything there is to write, and gives how many Transmits and bytes that was.
fn drain(hub: &mut Hub) -> (usize, usize) {
    let mut sum = (0, 0);
    while let Some((conn, len)) = hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
        hub.handle_sent(conn, len, NOW);
        sum = (sum.0 + 1, sum.1 + len);
    }
    sum
}

fn house(policy: Policy) -> (Hub, forebay_core::TopicId, Vec<ConnId>) {
    house_of(TopicOptions { policy, ..TopicOptions::default() })
}

fn house_of(options: TopicOptions) -> (Hub, forebay_core::TopicId, Vec<ConnId>) {
    let mut hub = Hub::new(Config::try_from(Options::default()).expect("good"), [3; 32], NOW);
    let topic = hub.topic("t", options).expect("declared");
    let conns: Vec<ConnId> = (0..SUBSCRIBERS)
        .map(|number| {
            let peer = Peer { mode: Mode::Raw, ..Peer::default() };
            let conn = if number % 2 == 0 {
                hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: None }, b"", NOW).expect("accepted")
            } else {
                let conn = hub.handle_accept(peer, NOW).expect("accepted");
                hub.handle_bytes(conn, &handshake::request("dGhlIHNhbXBsZSBub25jZQ==", "/", &[]), NOW);
                conn
            };
            drain(&mut hub);
            hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, NOW).expect("subscribed");
            conn
        })
        .collect();
    while hub.poll_event().is_some() {}
    (hub, topic, conns)
}

/// Publishes so many messages with keys that come again and again, and drains; gives the allocations of both.
fn round(hub: &mut Hub, topic: forebay_core::TopicId, publishes: u64, payload: &str) -> (u64, u64) {
    let ((), published) = measure(|| {
        for number in 0..publishes {
            let key = ["", "a", "b", "c", "the fifth key"][usize::try_from(number % 5).expect("small")];
            hub.publish(topic, Message::new(Payload::Text(payload)).with_key(key), NOW).expect("taken");
        }
    });
    let (sent, drained) = measure(|| drain(hub));
    assert_eq!(sent.0, SUBSCRIBERS);
    (published.allocations, drained.allocations)
}

#[test]
fn publish_and_drain() {
    let payload = format!("\"{}\"", "x".repeat(126));
    for policy in [Policy::DropOldest, Policy::DropNewest, Policy::LatestPerKey, Policy::LatestOnly] {
        let (mut hub, topic, _) = house(policy);
        for _ in 0..30 {
            round(&mut hub, topic, 16, &payload);
        }
        for (publishes, rounds) in [(1, 250), (16, 50)] {
            let (mut published, mut drained) = (0, 0);
            for _ in 0..rounds {
                let (more, drain) = round(&mut hub, topic, publishes, &payload);
                published += more;
                drained += drain;
            }
            println!(
                "{policy}, {publishes} per tick: {published} allocations in {} publishes, {drained} in {rounds} drains",
                rounds * publishes
            );
            let most = rounds * publishes;
            assert!(published <= most, "{policy}: {published} allocations in {most} publishes");
            // The tick's bytes are frozen at the first poll: what that costs belongs to the publish, not to subscribers.
            assert!(
                published + drained <= most + rounds / 50,
                "{policy}: {drained} allocations in {rounds} drains of {SUBSCRIBERS} subscribers"
            );
        }
    }
}

#[test]
fn a_history_and_publish_ids_cost_no_allocation_of_their_own() {
    let payload = format!("\"{}\"", "x".repeat(126));
    let history = Some(History { messages_max: 100, age_max: Some(Duration::from_secs(1)), ..History::default() });
    let (mut hub, topic, _) = house_of(TopicOptions { history, ..TopicOptions::default() });
    let ids: Vec<String> = (0..4_000).map(|number| format!("id {number}")).collect();
    let (fill, rest) = ids.split_at(2_000);
    let feed = |hub: &mut Hub, ids: &[String]| {
        for id in ids {
            hub.publish(topic, Message::new(Payload::Text(&payload)).with_id(id), NOW).expect("taken");
        }
        drain(hub);
    };
    fill.chunks(10).for_each(|ids| feed(&mut hub, ids));
    let ((), counted) = measure(|| rest.chunks(10).for_each(|ids| feed(&mut hub, ids)));
    println!("{} allocations in {} publishes with drains", counted.allocations, rest.len());
    assert!(counted.allocations <= rest.len() as u64, "{} allocations", counted.allocations);
    assert!(counted.live_bytes.abs() < 256 << 10, "{} bytes more than before", counted.live_bytes);
    let kept = hub.topic_pressure(topic).expect("a topic").history.messages;
    assert_eq!(kept, 100);
}

#[test]
fn a_publish_by_key_costs_the_same_for_consumers_that_do_not_take() {
    // Connections whose kernels take nothing, and keys that come again and again.
    let payload = format!("\"{}\"", "x".repeat(126));
    let keys: Vec<String> = (0..50).map(|number| format!("key {number}")).collect();
    for policy in [Policy::LatestPerKey, Policy::LatestOnly] {
        let (mut hub, topic, _) = house(policy);
        let feed = |hub: &mut Hub, publishes: usize| {
            for number in 0..publishes {
                let message = Message::new(Payload::Text(&payload)).with_key(&keys[number % keys.len()]);
                hub.publish(topic, message, NOW).expect("taken");
                if number % 10 == 0 {
                    while let Some(conn) = hub.poll_transmit().map(|transmit| transmit.conn()) {
                        hub.handle_sent(conn, 0, NOW);
                    }
                }
            }
        };
        feed(&mut hub, 5_000);
        let ((), counted) = measure(|| feed(&mut hub, 5_000));
        println!("{policy}: {} allocations in 5000 publishes", counted.allocations);
        assert!(counted.allocations <= 5_000, "{policy}: {} allocations in 5000 publishes", counted.allocations);
        assert!(counted.live_bytes.abs() < 64 << 10, "{policy}: {} bytes more than before", counted.live_bytes);
    }
}

#[test]
fn a_lane_that_rejects_costs_no_allocation() {
    let payload = format!("\"{}\"", "x".repeat(126));
    let mut hub = Hub::new(Config::try_from(Options::default()).expect("good"), [3; 32], NOW);
    let limits = LaneLimits { messages_max: 10, bytes_max: 1 << 20 };
    let options = TopicOptions { policy: Policy::DropNewest, lane: limits, ..TopicOptions::default() };
    let topic = hub.topic("t", options).expect("declared");
    for _ in 0..SUBSCRIBERS {
        hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, NOW).expect("subscribed");
    }
    let feed = |hub: &mut Hub| {
        for _ in 0..100 {
            hub.publish(topic, Payload::Text(&payload), NOW).expect("taken");
            assert!(hub.poll_transmit().is_none());
        }
    };
    feed(&mut hub);
    let ((), counted) = measure(|| feed(&mut hub));
    println!("{} allocations in 100 publishes to {SUBSCRIBERS} full lanes", counted.allocations);
    assert!(counted.allocations <= 100, "{} allocations in 100 publishes", counted.allocations);
}

#[test]
fn an_idle_connection_owns_no_buffers_and_memory_is_steady() {
    let ((mut hub, topic, conns), counted) = measure(|| house(Policy::DropOldest));
    let each = counted.live_bytes / i64::try_from(SUBSCRIBERS).unwrap();
    println!("{each} bytes per idle raw connection with a lane");
    assert!(each < 2_048, "{each} bytes per idle connection");
    let ((), counted) = measure(|| {
        for _ in 0..2_000 {
            hub.publish(topic, Payload::Text("{\"a\":[1,2,3]}"), NOW).expect("taken");
            drain(&mut hub);
        }
    });
    assert!(counted.live_bytes.abs() < 64 << 10, "{} bytes more than before", counted.live_bytes);
    let ((), counted) = measure(|| {
        for conn in conns {
            hub.handle_eof(conn, NOW);
        }
        while hub.poll_event().is_some() {}
    });
    assert!(counted.live_bytes <= 0, "{} bytes more than before", counted.live_bytes);
    assert!(hub.stats().resident_bytes <= 4_096, "{} resident", hub.stats().resident_bytes);
}

/// A topic that is compressed, and connections that inflate what they get.
fn inflating_house() -> (Hub, forebay_core::TopicId) {
    let options = Options { deflate: Some(DeflateOptions::default()), ..Options::default() };
    let mut hub = Hub::new(Config::try_from(options).expect("good"), [3; 32], NOW);
    let topic = hub.topic("t", TopicOptions { deflate: true, ..TopicOptions::default() }).expect("declared");
    let alone = Direction::new(WindowBits::MAX, false);
    for number in 0..SUBSCRIBERS {
        let mode = if number % 2 == 0 { Mode::Raw } else { Mode::Dialect };
        let deflate = Some(Agreed { server: alone, client: alone });
        let upgraded = Upgraded { peer: Peer { mode, ..Peer::default() }, protocol: None, deflate };
        let conn = hub.handle_upgraded(upgraded, b"", NOW).expect("accepted");
        drain(&mut hub);
        hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, NOW).expect("subscribed");
    }
    while hub.poll_event().is_some() {}
    (hub, topic)
}

#[test]
fn what_is_compressed_costs_no_allocation_for_each_who_gets_it() {
    let payload = format!("{{\"text\":\"{}\"}}", "words and words ".repeat(12));
    let (mut hub, topic) = inflating_house();
    let mut feed = |publishes| round(&mut hub, topic, publishes, &payload);
    for _ in 0..30 {
        feed(16);
    }
    let (mut published, mut drained) = (0, 0);
    for _ in 0..50 {
        let (more, drain) = feed(16);
        (published, drained) = (published + more, drained + drain);
    }
    println!("{published} allocations in 800 publishes, {drained} in 50 drains of {SUBSCRIBERS} subscribers");
    // Of each tick two forms are made: bytes, units, a place, and what they are made in.
    assert!(drained <= 50 * 24, "{drained} allocations in 50 drains");
    let stats = hub.stats().compression;
    // Sixteen messages alone for raw connections, and as one.
    assert_eq!(stats.compressed.messages, 80 * 17);
    assert_eq!(stats.sent.messages, 80 * 17 * SUBSCRIBERS as u64 / 2);
}

#[test]
fn an_idle_connection_that_inflates_owns_no_buffers() {
    let ((hub, _), inflating) = measure(inflating_house);
    let each = inflating.live_bytes / i64::try_from(SUBSCRIBERS).unwrap();
    println!("{each} bytes per idle connection that inflates, with a lane");
    assert!(each < 1_024, "{each} bytes");
    assert_eq!(hub.stats().compression.compressed.messages, 0, "a compressor comes with the first message");
}
