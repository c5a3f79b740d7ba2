//! Measurements of a review: what grows with the number of lanes.

use std::time::Duration;

use forebay_core::{Config, Hub, Instant, LaneOptions, Options, Payload, Policy, Start, TopicOptions};

/// How long the end of so many full lanes takes.
fn overflow(lanes: u32) -> Duration {
    use forebay_core::{Mode, Peer, Upgraded};
    let options = Options { connections_max: 1 << 20, resident_bytes_max: 1 << 30, ..Options::default() };
    let mut hub = Hub::new(Config::try_from(options).expect("good"), [3; 32], Instant::ZERO);
    let mut options = TopicOptions { policy: Policy::Disconnect, ..TopicOptions::default() };
    options.lane.messages_max = 2;
    let topic = hub.topic("t", options).expect("declared");
    for _ in 0..lanes {
        let upgraded = Upgraded { peer: Peer { address: None, mode: Mode::Raw }, protocol: None };
        let conn = hub.handle_upgraded(upgraded, b"", Instant::ZERO).expect("accepted");
        hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, Instant::ZERO).expect("subscribed");
    }
    for _ in 0..2 {
        hub.publish(topic, Payload::Text("1"), Instant::ZERO).expect("taken");
    }
    let began = std::time::Instant::now();
    hub.publish(topic, Payload::Text("1"), Instant::ZERO).expect("taken");
    began.elapsed()
}

#[test]
fn measure_overflow() {
    for lanes in [5_000, 10_000, 20_000, 40_000] {
        println!("{lanes} lanes end: {:?}", overflow(lanes));
    }
}

/// How long a publish to many idle lanes takes that are all drained, one of which has chosen a small limit.
fn publish_beside(messages_max: Option<u32>, lanes: u32) -> Duration {
    use forebay_core::{Entry, LaneLimits};
    let mut hub = Hub::new(Config::try_from(Options::default()).expect("good"), [3; 32], Instant::ZERO);
    let limits = LaneLimits { messages_max: 1_000_000, bytes_max: 1 << 30 };
    let options = TopicOptions { lane: limits, message_bytes_max: 100, ..TopicOptions::default() };
    let topic = hub.topic("t", options).expect("declared");
    let now = Instant::ZERO;
    for _ in 0..lanes {
        hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, now).expect("subscribed");
    }
    let small = hub
        .subscribe_local(topic, LaneOptions { messages_max, ..LaneOptions::default() }, Start::Latest, now)
        .expect("subscribed");
    hub.publish(topic, Payload::Text("1"), now).expect("taken");
    let mut took = Duration::ZERO;
    for _ in 0..500 {
        while let Some(entry) = hub.take(small, now) {
            assert!(matches!(entry, Entry::Message { .. }));
        }
        let began = std::time::Instant::now();
        hub.publish(topic, Payload::Text("1"), now).expect("taken");
        took += began.elapsed();
    }
    took / 500
}

#[test]
fn measure_small_limits() {
    for messages_max in [None, Some(1), Some(2), Some(3), Some(4), Some(8), Some(16), Some(64)] {
        println!("{messages_max:?}: {:?}", publish_beside(messages_max, 50_000));
    }
}

/// How long a write takes that the transport refuses, to a consumer whose oldest run is in so many blocks.
fn refused_write(policy: Policy, blocks: u32) -> Duration {
    use forebay_core::{Mode, Peer, Upgraded};
    let options = Options { transmit_bytes_max: 1_024, ..Options::default() };
    let mut hub = Hub::new(Config::try_from(options).expect("good"), [3; 32], Instant::ZERO);
    let mut options = TopicOptions { policy, ..TopicOptions::default() };
    options.lane.messages_max = blocks;
    let (topic, now) = (hub.topic("t", options).expect("declared"), Instant::ZERO);
    let upgraded = Upgraded { peer: Peer { address: None, mode: Mode::Raw }, protocol: None };
    let conn = hub.handle_upgraded(upgraded, b"", now).expect("accepted");
    hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, now).expect("subscribed");
    for _ in 0..=blocks {
        hub.publish(topic, Payload::Text("1"), now).expect("taken");
        if hub.poll_transmit().is_some() {
            hub.handle_sent(conn, 0, now);
        }
    }
    let began = std::time::Instant::now();
    for _ in 0..100 {
        hub.handle_writable(conn, now);
        assert!(hub.poll_transmit().is_some());
        hub.handle_sent(conn, 0, now);
    }
    began.elapsed() / 100
}

#[test]
fn measure_refused_writes() {
    for policy in [Policy::DropOldest, Policy::DropNewest] {
        for blocks in [1_000, 4_000, 16_000] {
            println!("{policy}, {blocks} blocks: {:?}", refused_write(policy, blocks));
        }
    }
}
