//! At most one allocation per publish, none per subscriber, none per drain.

use forebay_core::{
    Config, ConnId, Hub, Instant, LaneOptions, Mode, Options, Payload, Peer, Start, TopicOptions, Upgraded,
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

fn house() -> (Hub, forebay_core::TopicId, Vec<ConnId>) {
    let mut hub = Hub::new(Config::try_from(Options::default()).expect("good"), [3; 32], NOW);
    let topic = hub.topic("t", TopicOptions::default()).expect("declared");
    let conns: Vec<ConnId> = (0..SUBSCRIBERS)
        .map(|number| {
            let peer = Peer { address: None, mode: Mode::Raw };
            let conn = if number % 2 == 0 {
                hub.handle_upgraded(Upgraded { peer, protocol: None }, b"", NOW).expect("accepted")
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

#[test]
fn publish_and_drain() {
    let (mut hub, topic, _) = house();
    let payload = format!("\"{}\"", "x".repeat(126));
    let round = |hub: &mut Hub, publishes: u64| {
        let ((), published) = measure(|| {
            for _ in 0..publishes {
                hub.publish(topic, Payload::Text(&payload), NOW).expect("taken");
            }
        });
        let (sent, drained) = measure(|| drain(hub));
        assert_eq!(sent.0, SUBSCRIBERS);
        (published.allocations, drained.allocations)
    };
    for _ in 0..50 {
        round(&mut hub, 16);
    }
    for (publishes, rounds) in [(1, 500), (16, 100)] {
        let (mut published, mut drained) = (0, 0);
        for _ in 0..rounds {
            let (more, drain) = round(&mut hub, publishes);
            published += more;
            drained += drain;
        }
        println!(
            "{publishes} per tick: {published} allocations in {} publishes, {drained} in {rounds} drains",
            rounds * publishes
        );
        assert!(published <= rounds * publishes, "{published} allocations in {} publishes", rounds * publishes);
        // The tick's bytes are frozen at the first poll: what that costs belongs to the publish, not to subscribers.
        assert!(
            published + drained <= rounds * publishes + rounds / 50,
            "{drained} allocations in {rounds} drains of {SUBSCRIBERS} subscribers"
        );
    }
}

#[test]
fn an_idle_connection_owns_no_buffers_and_memory_is_steady() {
    let ((mut hub, topic, conns), counted) = measure(house);
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
