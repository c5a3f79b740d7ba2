//! What an idle connection costs the hub: at most 192 bytes, and no byte buffers.

use std::time::Duration;

use forebay_core::{
    Config, ConnId, Effect, Hub, Instant, LaneOptions, Mode, Options, Payload, Peer, Policy, Rate, Start, Upgraded,
};
use forebay_testkit::alloc::{Counting, measure};
use forebay_testkit::mini::{frame, handshake};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A power of two: the hub's tables, which double, are then full. Many, so that what a hub keeps for use again, however
/// many connections it has, is little of each one's.
const CONNS: usize = 32_768;
const BYTES_MAX: i64 = 192;
const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

struct House {
    hub: Hub,
    now: Instant,
    conns: Vec<ConnId>,
}

#[derive(Clone, Copy, Debug)]
enum Opening {
    ByTheHub,
    ByOthers,
}

impl House {
    /// A hub that has had a connection, so that what is made once is there.
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let options = Options { connections_max: 1 << 20, ..options };
        let now = Instant::from_nanos(1_000);
        let hub = Hub::new(Config::try_from(options).expect("good"), [3; 32], now);
        Self { hub, now, conns: Vec::with_capacity(CONNS) }
    }

    /// Takes everything there is to poll.
    fn drain(&mut self) {
        while let Some((conn, len)) = self.hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
            self.hub.handle_sent(conn, len, self.now);
        }
        while let Some(effect) = self.hub.poll_effect() {
            assert!(!matches!(effect, Effect::Close(_)), "nobody ends");
        }
        while self.hub.poll_event().is_some() {}
    }

    fn connect(&mut self, opening: Opening, mode: Mode) {
        let peer = Peer { mode, ..Peer::default() };
        let protocol = (mode == Mode::Dialect).then_some("forebay.v1");
        for _ in 0..CONNS {
            let conn = match opening {
                Opening::ByOthers => {
                    self.hub.handle_upgraded(Upgraded { peer, protocol, deflate: None }, b"", self.now)
                }
                Opening::ByTheHub => self.hub.handle_accept(peer, self.now),
            };
            let conn = conn.expect("accepted");
            if let Opening::ByTheHub = opening {
                let protocols: Vec<&str> = protocol.into_iter().collect();
                let request = handshake::request("dGhlIHNhbXBsZSBub25jZQ==", "/", &protocols);
                self.hub.handle_bytes(conn, &request, self.now);
            }
            self.conns.push(conn);
            self.drain();
        }
    }

    /// A message in (in two pieces), a message out, a ping in, and a ping out that is answered.
    fn traffic(&mut self, mode: Mode) {
        let message: &[u8] = if mode == Mode::Raw { b"hello" } else { br#"{"op":"ping"}"# };
        for conn in self.conns.clone() {
            let bytes = frame::encode(true, 1, message, MASK);
            let (first, second) = bytes.split_at(bytes.len() / 2);
            self.hub.handle_bytes(conn, first, self.now);
            self.drain();
            self.hub.handle_bytes(conn, second, self.now);
            assert_eq!(self.hub.receive(conn, self.now).is_some(), mode == Mode::Raw);
            self.drain();
            self.hub.send(conn, Payload::Text("\"direct\""), self.now).expect("room");
            self.drain();
            self.hub.handle_bytes(conn, &frame::encode(true, 9, b"are you there?", MASK), self.now);
            self.drain();
        }
        self.now = self.now + Options::default().ping_interval;
        for _ in 0..CONNS / 1_024 + 1 {
            self.hub.handle_timeout(self.now);
            while let Some((conn, len)) = self.hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
                self.hub.handle_sent(conn, len, self.now);
                self.hub.handle_bytes(conn, &frame::encode(true, 10, b"", MASK), self.now);
            }
        }
    }
}

#[test]
fn an_idle_connection_costs_at_most_192_bytes() {
    for (opening, mode) in [
        (Opening::ByTheHub, Mode::Raw),
        (Opening::ByTheHub, Mode::Dialect),
        (Opening::ByOthers, Mode::Raw),
        (Opening::ByOthers, Mode::Dialect),
    ] {
        let mut house = House::new();
        let ((), opened) = measure(|| house.connect(opening, mode));
        let ((), used) = measure(|| house.traffic(mode));
        let each = |bytes: i64| bytes / i64::try_from(CONNS).expect("small");
        println!("{opening:?}, {mode:?}: {} bytes, {} more after traffic", each(opened.live_bytes), used.live_bytes);
        assert!(each(opened.live_bytes) <= BYTES_MAX, "{opening:?}, {mode:?}: {} bytes", each(opened.live_bytes));
        let all = opened.live_bytes + used.live_bytes;
        assert!(each(all) <= BYTES_MAX, "{opening:?}, {mode:?}: {} bytes after traffic", each(all));
        assert_eq!(house.hub.stats().resident_bytes, 0, "no byte buffers");
        house.hub.check_invariants();
    }
}

#[test]
fn a_connection_with_rates_costs_no_more_once_its_buckets_are_full() {
    let rate = Some(Rate { per_second: 10_000, burst: 10_000 });
    let (inbound_rate, inbound_bytes_rate, outbound_bytes_rate) = (rate, rate, rate);
    let mut house =
        House::with(Options { inbound_rate, inbound_bytes_rate, outbound_bytes_rate, ..Options::default() });
    let ((), opened) = measure(|| {
        house.connect(Opening::ByTheHub, Mode::Dialect);
        house.traffic(Mode::Dialect);
    });
    let ((), rested) = measure(|| {
        house.now = house.now + Duration::from_secs(2);
        for _ in 0..CONNS / 1_024 + 1 {
            house.hub.handle_timeout(house.now);
            house.drain();
        }
    });
    let each = |bytes: i64| bytes / i64::try_from(CONNS).expect("small");
    let (limited, idle) = (each(opened.live_bytes), each(opened.live_bytes + rested.live_bytes));
    println!("{limited} bytes with buckets, {idle} without");
    assert!(limited <= 288, "{limited} bytes with buckets");
    assert!(idle <= BYTES_MAX, "{idle} bytes without");
}

#[test]
fn a_connection_whose_peer_stopped_reading_holds_no_more_than_its_message_in_part() {
    let mut house = House::new();
    house.connect(Opening::ByTheHub, Mode::Raw);
    let topic = house.hub.topic("t", forebay_core::TopicOptions::default()).expect("declared");
    for conn in house.conns.clone() {
        let lane = LaneOptions::with_policy(Policy::DropOldest);
        house.hub.subscribe(conn, topic, lane, Start::Latest, house.now).expect("subscribed");
    }
    let mut stop = |taken: usize| {
        house.hub.publish(topic, Payload::Text("\"0123456789\""), house.now).expect("taken");
        let ((), counted) = measure(|| {
            while let Some((conn, len)) = house.hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
                house.hub.handle_sent(conn, taken.min(len), house.now);
            }
        });
        for conn in &house.conns {
            house.hub.handle_writable(*conn, house.now);
        }
        while let Some((conn, len)) = house.hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
            house.hub.handle_sent(conn, len, house.now);
        }
        counted.live_bytes / i64::try_from(CONNS).expect("small")
    };
    stop(usize::MAX);
    let (nothing, in_part) = (stop(0), stop(5));
    println!("{nothing} bytes more when nothing was taken, {in_part} when a message was in part");
    assert!(nothing <= 16, "{nothing} bytes for a connection that is blocked");
    // The rest of the message, and what its lane has to remember of it.
    assert!(in_part <= 704, "{in_part} bytes for one with the rest of a message");
}
