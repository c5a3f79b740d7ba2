//! What lanes cost in memory, beyond the messages themselves.

use forebay_core::{
    Config, ConnId, Delivery, Hub, Instant, LaneOptions, Message, Mode, Options, Payload, Peer, Policy, Start, TopicId,
    TopicOptions, Upgraded,
};
use forebay_testkit::alloc::{Counting, measure};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LANES: usize = 100_000;
const BEHIND: u64 = 1_000;
const BYTES_MAX: i64 = 10_000_000;
const NOW: Instant = Instant::from_nanos(1_000);

fn hub() -> Hub {
    let options = Options { connections_max: 1 << 20, resident_bytes_max: 1 << 30, ..Options::default() };
    Hub::new(Config::try_from(options).expect("good"), [3; 32], NOW)
}

fn topic(hub: &mut Hub, name: &str, policy: Policy) -> TopicId {
    hub.topic(name, TopicOptions { policy, ..TopicOptions::default() }).expect("declared")
}

/// Takes all there is to take but messages: their consumers are slow.
fn poll(hub: &mut Hub) {
    while let Some(conn) = hub.poll_transmit().map(|transmit| transmit.conn()) {
        hub.handle_sent(conn, 0, NOW);
    }
    while hub.poll_event().is_some() || hub.poll_effect().is_some() {}
}

/// Lets all lanes fall behind, and gives what was allocated that is not the topic's log.
fn fall_behind(hub: &mut Hub, topic: TopicId, subscribe: impl FnOnce(&mut Hub)) -> i64 {
    let before = hub.stats().resident_bytes;
    let ((), counted) = measure(|| {
        subscribe(hub);
        for number in 0..BEHIND {
            let key = ["a", "b", "c"][usize::try_from(number % 3).expect("small")];
            let message = Message::new(Payload::Text("[1,2,3]")).with_key(key);
            let published = hub.publish(topic, message, NOW).expect("taken");
            assert_eq!(published.matched as usize, LANES);
            poll(hub);
        }
    });
    counted.live_bytes - i64::try_from(hub.stats().resident_bytes - before).expect("small")
}

fn judge(what: &str, policy: Policy, bytes: i64) {
    let tenths = bytes * 10 / i64::try_from(LANES).expect("small");
    println!("{what}, {policy}: {}.{} bytes per lane", tenths / 10, tenths % 10);
    assert!(bytes < BYTES_MAX, "{what}, {policy}: {bytes} bytes");
}

#[test]
fn lanes_far_behind_cost_little_beyond_the_blocks() {
    for policy in Policy::ALL.iter().copied() {
        let mut hub = hub();
        let topic = topic(&mut hub, "t", policy);
        let bytes = fall_behind(&mut hub, topic, |hub| {
            for _ in 0..LANES {
                hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, NOW).expect("subscribed");
            }
        });
        judge("in-process", policy, bytes);
    }
}

/// Connections that all had something to send at once: what the hub needs for that is there.
fn connections(hub: &mut Hub) -> Vec<ConnId> {
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    let conns: Vec<ConnId> = (0..LANES)
        .map(|_| {
            let conn =
                hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: None }, b"", NOW).expect("accepted");
            hub.send(conn, Payload::Text("0"), NOW).expect("room");
            conn
        })
        .collect();
    while let Some((conn, len)) = hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
        hub.handle_sent(conn, len, NOW);
    }
    poll(hub); // Twice: what the hub kept for so many events at once goes with the next tick's few.
    poll(hub);
    conns
}

#[test]
fn lanes_of_connections_that_stopped_reading_cost_as_little() {
    for policy in [Policy::DropOldest, Policy::LatestPerKey] {
        let mut hub = hub();
        let conns = connections(&mut hub);
        let topic = topic(&mut hub, "t", policy);
        let bytes = fall_behind(&mut hub, topic, |hub| {
            for conn in &conns {
                hub.subscribe(*conn, topic, LaneOptions::default(), Start::Latest, NOW).expect("subscribed");
            }
        });
        judge("of connections", policy, bytes);
    }
}

/// A lane in eight runs: it got a message, and then not the next, again and again.
#[test]
fn a_lane_in_eight_runs_costs_its_runs() {
    const LANES: usize = 1_000;
    let mut hub = hub();
    let topic = topic(&mut hub, "t", Policy::DropNewest);
    let options = LaneOptions { messages_max: Some(8), ..LaneOptions::default() };
    let lanes: Vec<_> =
        (0..LANES).map(|_| hub.subscribe_local(topic, options, Start::Latest, NOW).expect("subscribed")).collect();
    let publish = |hub: &mut Hub| {
        hub.publish(topic, Payload::Text("1"), NOW).expect("taken");
    };
    (0..8).for_each(|_| publish(&mut hub));
    poll(&mut hub);
    let resident = hub.stats().resident_bytes;
    let ((), counted) = measure(|| {
        for _ in 0..7 {
            publish(&mut hub);
            lanes.iter().for_each(|lane| assert!(hub.take(*lane, NOW).is_some()));
            publish(&mut hub);
            poll(&mut hub);
        }
    });
    hub.check_invariants();
    let grown = i64::try_from(hub.stats().resident_bytes).unwrap() - i64::try_from(resident).unwrap();
    let each = (counted.live_bytes - grown) / i64::try_from(LANES).unwrap();
    println!("{each} bytes more per lane that is full, in eight runs");
    assert!(each <= 900, "{each} bytes");
}

/// A lane that is at least once: its gate, what is in flight, its timer, its session's clock.
#[test]
fn a_lane_that_is_at_least_once_costs_what_is_in_flight() {
    const LANES: usize = 1_000;
    let mut hub = hub();
    let conns: Vec<ConnId> = connections(&mut hub).into_iter().take(LANES).collect();
    let options =
        TopicOptions { policy: Policy::Block, delivery: Delivery::at_least_once(), ..TopicOptions::default() };
    let topic = hub.topic("t", options).expect("declared");
    let each = |bytes: i64| bytes / i64::try_from(LANES).unwrap();
    let ((), empty) = measure(|| {
        for conn in &conns {
            hub.subscribe(*conn, topic, LaneOptions::default(), Start::Latest, NOW).expect("subscribed");
        }
    });
    let send = |hub: &mut Hub| {
        while let Some((conn, len)) = hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
            hub.handle_sent(conn, len, NOW);
        }
    };
    let publish = |hub: &mut Hub, messages: usize| {
        let before = hub.stats().resident_bytes;
        let ((), counted) = measure(|| {
            for _ in 0..messages {
                hub.publish(topic, Payload::Text("1"), NOW).expect("taken");
                send(hub);
            }
        });
        each(counted.live_bytes - i64::try_from(hub.stats().resident_bytes - before).unwrap())
    };
    let (empty, first, full) = (each(empty.live_bytes), publish(&mut hub, 1), publish(&mut hub, 40));
    hub.check_invariants();
    assert_eq!(hub.stats().acks.unacknowledged.messages, 32 * LANES as u64);
    println!("{empty} bytes for one that is empty, {first} more with a message in flight, {full} more with 32");
    assert!(empty <= 480, "{empty} bytes");
    assert!(first <= 500, "{first} bytes");
    assert!(full <= 31 * 40, "{full} bytes");
}
