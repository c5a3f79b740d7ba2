//! The driver over sockets in memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use forebay_core::{
    Config, ConnId, EndReason, Event, Hub, Instant, LaneLimits, Mode, Options, Payload, Peer, Watermarks,
};

use super::*;
use crate::entropy;
use crate::fake::{Fake, Seen};

const OPENING: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const NOTHING: Interest = Interest { read: false, write: false };
const BOTH: Interest = Interest { read: true, write: true };

/// Keeps everything it is told.
#[derive(Default)]
struct Told(Vec<Event>);

impl Application for Told {
    fn event(&mut self, _: &mut Hub, event: Event, _: Instant) {
        self.0.push(event);
    }
}

struct World {
    driver: Driver<Fake>,
    told: Told,
}

impl World {
    fn new(rearms: bool) -> Self {
        let options = Options {
            direct_lane: LaneLimits { messages_max: 1 << 20, bytes_max: 64 << 20 },
            message_bytes_max: 4 << 10,
            inbound_bytes_max: 64 << 10,
            // No deadline of a level is near: it would be over on a machine that is busy.
            watermarks: Watermarks { dwell: Duration::from_secs(60), ..Watermarks::default() },
            ..Options::default()
        };
        let clock = Clock::start();
        let hub = Hub::new(Config::try_from(options).unwrap(), entropy().unwrap(), clock.now());
        Self { driver: Driver::new(hub, clock, rearms), told: Told::default() }
    }

    fn turn(&mut self) -> Option<Duration> {
        self.driver.turn(&mut self.told)
    }

    /// A raw connection that is open, its answer taken.
    fn open(&mut self) -> (ConnId, Rc<RefCell<Seen>>) {
        let (socket, seen) = Fake::new(usize::MAX);
        seen.borrow_mut().input.extend(OPENING);
        let conn = self.driver.accept(socket, Peer { mode: Mode::Raw, ..Peer::default() }).unwrap();
        assert_eq!(seen.borrow().watched, [(conn_key(conn.index()), Interest::READ)]);
        self.readable(conn);
        self.turn();
        assert!(seen.borrow().output.starts_with(b"HTTP/1.1 101 "));
        let mut state = seen.borrow_mut();
        (state.reads, state.writes) = (0, 0);
        state.output.clear();
        state.watched.clear();
        self.told.0.clear();
        drop(state);
        (conn, seen)
    }

    fn readable(&mut self, conn: ConnId) {
        self.driver.tick();
        self.driver.readable(conn_key(conn.index()));
    }

    fn writable(&mut self, conn: ConnId) {
        self.driver.tick();
        self.driver.writable(conn_key(conn.index()));
    }

    fn send(&mut self, conn: ConnId, payload: &[u8]) {
        let now = self.driver.now();
        self.driver.hub().send(conn, Payload::Binary(payload), now).unwrap();
    }
}

/// A masked frame of `len` zeros.
fn frame(len: u8) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | len, 0, 0, 0, 0];
    frame.resize(6 + usize::from(len), 0);
    frame
}

#[test]
fn a_short_write_waits_for_readiness_and_nothing_else_does() {
    let mut world = World::new(false);
    let (conn, seen) = world.open();
    seen.borrow_mut().room = 5;
    world.send(conn, &[7; 20]);
    assert!(world.turn().unwrap() > Duration::ZERO);
    assert_eq!((seen.borrow().output.len(), seen.borrow().writes), (5, 1));
    assert_eq!(seen.borrow_mut().watched.drain(..).collect::<Vec<_>>(), [(conn_key(conn.index()), BOTH)]);

    seen.borrow_mut().room = 1_000;
    world.send(conn, &[8; 20]);
    world.turn();
    assert_eq!(seen.borrow().writes, 1, "room or not, readiness is waited for");
    world.writable(conn);
    world.turn();
    assert_eq!(seen.borrow().output.len(), 2 * 22);
    assert_eq!(seen.borrow_mut().watched.drain(..).collect::<Vec<_>>(), [(conn_key(conn.index()), Interest::READ)]);

    // Blocked again within one turn: the poller need not be told twice.
    seen.borrow_mut().room = 1;
    world.send(conn, &[9; 20]);
    world.turn();
    seen.borrow_mut().room = 1;
    world.writable(conn);
    world.turn();
    assert_eq!(seen.borrow().watched, [(conn_key(conn.index()), BOTH)]);
    world.driver.hub().check_invariants();
}

#[test]
fn a_write_that_would_block_is_answered_with_nothing() {
    let mut world = World::new(false);
    let (conn, seen) = world.open();
    seen.borrow_mut().room = 0;
    world.send(conn, b"x");
    world.turn();
    let pressure = world.driver.hub().connection(conn).unwrap();
    assert!(pressure.is_blocked);
    assert_eq!(world.driver.hub().stats().direct.sent.messages, 0);
    seen.borrow_mut().room = 3;
    world.writable(conn);
    world.turn();
    assert_eq!(seen.borrow().output, [0x82, 1, b'x']);
}

#[test]
fn a_broken_socket_is_an_end() {
    for breaks in [|seen: &mut Seen| seen.is_broken = true, |seen: &mut Seen| seen.peer_has_closed = true] {
        let mut world = World::new(false);
        let (conn, seen) = world.open();
        breaks(&mut seen.borrow_mut());
        world.send(conn, b"x");
        world.readable(conn);
        world.turn();
        assert_eq!(world.told.0, [Event::Closed { conn, reason: EndReason::PeerGone }]);
        assert!(seen.borrow().is_dropped && world.driver.is_empty());
        assert_eq!(world.driver.hub().stats().direct.conservation_error(), 0);
        world.readable(conn);
        world.writable(conn);
        assert_eq!(world.turn(), None, "what is told of a place that is free concerns nobody");
    }
}

#[test]
fn reads_per_readiness_are_bounded() {
    let mut world = World::new(false);
    let (conn, seen) = world.open();
    let mut pong = vec![0x8a, 0x80 | 125, 0, 0, 0, 0];
    pong.resize(6 + 125, 0);
    let frames = pong.repeat(6_000); // fewer than are a flood
    seen.borrow_mut().input.extend(&frames);
    world.readable(conn);
    assert!(seen.borrow().input.len() >= frames.len() - READS_MAX * READ_BYTES, "others have their turn");
    assert!(seen.borrow().reads <= READS_MAX);
    let before = seen.borrow().reads;
    seen.borrow_mut().input.truncate(10);
    world.turn();
    world.readable(conn);
    assert_eq!(seen.borrow().reads, before + 1, "a read that was not full has taken all there was");
}

#[test]
fn a_connection_at_its_bound_is_not_read() {
    let mut world = World::new(false);
    let (conn, seen) = world.open();
    seen.borrow_mut().input.extend(frame(100).repeat(1_000));
    while world.driver.hub().wants_read(conn) {
        world.readable(conn);
        world.turn();
    }
    assert_eq!(seen.borrow().watched.last(), Some(&(conn_key(conn.index()), NOTHING)));
    let now = world.driver.now();
    while world.driver.hub().receive(conn, now).is_some() {}
    world.turn();
    assert_eq!(seen.borrow().watched.last(), Some(&(conn_key(conn.index()), Interest::READ)));
}

#[test]
fn what_is_told_of_a_paused_socket_is_its_end() {
    let mut world = World::new(false);
    let (conn, seen) = world.open();
    seen.borrow_mut().input.extend(frame(100).repeat(1_000));
    while world.driver.hub().wants_read(conn) {
        world.readable(conn);
        world.turn();
    }
    world.readable(conn); // Only a reset is told unasked.
    world.turn();
    assert!(seen.borrow().is_dropped);
    assert_eq!(world.driver.hub().stats().connections, 0);
}

#[test]
fn a_one_shot_poller_is_told_again() {
    let mut world = World::new(true);
    let (conn, seen) = world.open();
    seen.borrow_mut().input.extend(frame(1));
    world.readable(conn);
    assert_eq!(seen.borrow().watched, []);
    world.turn();
    assert_eq!(seen.borrow_mut().watched.drain(..).collect::<Vec<_>>(), [(conn_key(conn.index()), Interest::READ)]);
    seen.borrow_mut().room = 0;
    world.send(conn, b"x");
    world.turn();
    assert_eq!(seen.borrow_mut().watched.drain(..).collect::<Vec<_>>(), [(conn_key(conn.index()), BOTH)]);
    world.writable(conn);
    world.turn();
    assert_eq!(seen.borrow().watched, [(conn_key(conn.index()), BOTH)]);
}

#[test]
fn a_closed_connection_lingers_until_its_peer_has_closed() {
    let mut world = World::new(false);
    let (conn, seen) = world.open();
    seen.borrow_mut().input.extend([0x88, 0x80, 0, 0, 0, 0]); // Close
    seen.borrow_mut().input.extend([0xAA; 200]);
    world.readable(conn);
    world.turn();
    assert_eq!(seen.borrow().output, [0x88, 0]);
    assert!(seen.borrow().is_shut_down && !seen.borrow().is_dropped, "a reset would overtake the Close frame");
    assert!(!world.driver.is_empty());
    let (key, interest) = *seen.borrow().watched.last().unwrap();
    assert_eq!(interest, Interest::READ);
    seen.borrow_mut().input.extend([0xAA; 200]);
    world.driver.readable(key);
    assert!(!seen.borrow().is_dropped);
    seen.borrow_mut().peer_has_closed = true;
    world.driver.readable(key);
    assert!(seen.borrow().is_dropped && !seen.borrow().is_aborted);
    assert!(world.driver.is_empty());
    assert_eq!(world.turn(), None);
}

#[test]
fn a_turn_is_bounded_and_says_that_there_is_more() {
    let mut world = World::new(false);
    let (conn, seen) = world.open();
    // A turn of a test is at most 32 MiB and one write more, so this many need a second one.
    for _ in 0..10_000 {
        world.send(conn, &[0; 4_096]);
    }
    assert_eq!(world.turn(), Some(Duration::ZERO));
    let once = seen.borrow().writes;
    assert!(once <= WRITES_MAX);
    assert!(world.turn().unwrap() > Duration::ZERO);
    assert!(seen.borrow().writes > once);
    assert_eq!(seen.borrow().output.len(), 10_000 * (4_096 + 4));
}

#[test]
fn what_was_read_before_an_adoption_counts_towards_the_bound() {
    let mut world = World::new(false);
    let frames = [0x81, 0x81, 0, 0, 0, 0, b'x'].repeat(100_000);
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    let all = [OPENING, &frames].concat();
    for is_upgraded in [false, true] {
        let (socket, seen) = Fake::new(usize::MAX);
        let adopted = match is_upgraded {
            false => world.driver.adopt(socket, peer, &all),
            true => world.driver.adopt_upgraded(socket, Upgraded { peer, protocol: None, deflate: None }, &frames),
        };
        let conn = adopted.unwrap();
        world.turn();
        let key = conn_key(conn.index());
        assert_eq!(seen.borrow().watched, [(key, Interest::READ), (key, NOTHING)]);
        let mut received = 0;
        while world.driver.hub().receive(conn, Instant::ZERO).is_some() {
            received += 1;
        }
        world.turn();
        assert_eq!((received, seen.borrow().watched.last()), (100_000, Some(&(key, Interest::READ))));
        assert_eq!(seen.borrow().output.starts_with(b"HTTP/1.1 101 "), !is_upgraded);
        assert_eq!(seen.borrow().reads, 0);
    }
}

#[test]
fn an_adopted_socket_that_cannot_be_watched_is_closed() {
    let mut world = World::new(false);
    for is_upgraded in [false, true] {
        let (socket, seen) = Fake::new(usize::MAX);
        seen.borrow_mut().is_unwatchable = true;
        let conn = match is_upgraded {
            false => world.driver.adopt(socket, Peer::default(), OPENING),
            true => world.driver.adopt_upgraded(socket, Upgraded::default(), b""),
        };
        world.turn();
        assert!(seen.borrow().is_dropped && seen.borrow().output.is_empty());
        let closed = Event::Closed { conn: conn.unwrap(), reason: EndReason::PeerGone };
        assert_eq!(world.told.0.last(), Some(&closed));
        assert_eq!((world.driver.hub().stats().stale_inputs, world.driver.is_empty()), (0, true));
    }
}

#[test]
fn a_socket_that_is_not_taken_is_told_why() {
    let mut world = World::new(false);
    let until = Instant::ZERO + Duration::from_secs(3_600);
    world.driver.hub().drain(until, Instant::ZERO);
    for (room, is_answered) in [(usize::MAX, true), (20, false), (0, false)] {
        let (socket, seen) = Fake::new(room);
        seen.borrow_mut().input.extend(OPENING);
        assert!(world.driver.accept(socket, Peer::default()).is_err());
        let seen = seen.borrow();
        assert_eq!(seen.output.ends_with(b"\r\n\r\ndraining"), is_answered, "{:?}", seen.output);
        // It lingers for as long as the peer may read.
        assert_eq!((seen.is_shut_down, seen.is_dropped), (is_answered, !is_answered));
    }
    let (socket, seen) = Fake::new(usize::MAX);
    assert!(world.driver.adopt(socket, Peer::default(), OPENING).is_err());
    assert!(seen.borrow().output.starts_with(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"));
    assert_eq!(world.driver.hub().stats().refused_accepts, 4);
    assert!(!world.driver.is_empty());
}
