//! One kind of work at one size, for a profiler that counts the instructions within `measured`: see `benches/growth`.
//!
//! `growth WORK SIZE` prints how many times the work is done in there.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use forebay_benches::{Fleet, Speech, json_text, topic_options};
use forebay_core::{LaneOptions, Mode, Peer, Start};

/// How often what is done once is done, so that what happens now and then has its share.
const TIMES: usize = 128;
const WAITING: usize = 16;
/// Below what a session may have by default.
const LANES_PER_SESSION: usize = 200;

/// RFC 6455 §1.2.
const REQUEST: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://server.example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Its name, what there are `size` of, what one is of, and the work itself.
type Work = (&'static str, &'static str, fn(usize) -> usize);

const WORKS: [Work; 9] = [
    ("publish", "a message, to SIZE lanes with something waiting", publish),
    ("wake", "a message, to SIZE idle lanes", wake),
    ("drain", "a Transmit of 16 messages, of SIZE subscribers", drain),
    ("subscribe", "a lane more, on a topic of SIZE lanes", subscribe),
    ("end", "a connection that ends, of a topic of SIZE lanes", end),
    ("handshake", "a connection more, of SIZE", accept),
    ("topic", "a topic more, of SIZE", declare),
    ("topics", "a message to one of SIZE topics, and its Transmit", publish_to_many),
    ("timer", "a ping that is due, of SIZE connections", timer),
];

/// What is counted.
#[inline(never)]
fn measured(work: impl FnOnce()) {
    work();
}

fn publish(size: usize) -> usize {
    let (mut fleet, text) = (Fleet::new(Speech::Raw, size, 1), json_text(128));
    fleet.publish(0, &text);
    measured(|| (0..TIMES).for_each(|_| fleet.publish(0, &text)));
    TIMES
}

fn wake(size: usize) -> usize {
    let (mut fleet, text) = (warm(size), json_text(128));
    measured(|| fleet.publish(0, &text));
    1
}

fn drain(size: usize) -> usize {
    let (mut fleet, text) = (warm(size), json_text(128));
    (0..WAITING).for_each(|_| fleet.publish(0, &text));
    measured(|| _ = black_box(fleet.drain()));
    size
}

/// Everyone has been written to: what is allocated once is.
fn warm(size: usize) -> Fleet {
    let mut fleet = Fleet::new(Speech::Raw, size, 1);
    fleet.publish(0, &json_text(128));
    fleet.drain();
    fleet
}

fn subscribe(size: usize) -> usize {
    let mut fleet = warm(size);
    fleet.connect(TIMES);
    measured(|| {
        for conn in &fleet.conns[size..] {
            let lane = LaneOptions::default();
            fleet.hub.subscribe(*conn, fleet.topics[0], lane, Start::Latest, fleet.now).expect("a new lane");
        }
    });
    TIMES
}

fn end(size: usize) -> usize {
    let mut fleet = warm(size);
    // From all over.
    let ending: Vec<_> = fleet.conns.iter().copied().step_by(size.div_ceil(TIMES)).collect();
    measured(|| {
        for conn in &ending {
            fleet.hub.handle_eof(*conn, fleet.now);
            fleet.forget_outputs();
        }
    });
    ending.len()
}

fn accept(size: usize) -> usize {
    let mut fleet = Fleet::new(Speech::Raw, size, 0);
    measured(|| {
        for _ in 0..TIMES {
            let peer = Peer { mode: Mode::Raw, ..Peer::default() };
            let conn = fleet.hub.handle_accept(peer, fleet.now).expect("room");
            fleet.hub.handle_bytes(conn, REQUEST, fleet.now);
            fleet.drain();
        }
    });
    assert_eq!(fleet.hub.stats().connections as usize, size + TIMES);
    TIMES
}

fn declare(size: usize) -> usize {
    let mut fleet = Fleet::new(Speech::Raw, 1, 0);
    (0..size).for_each(|nth| _ = fleet.hub.topic(&format!("{nth:08}"), topic_options()).expect("room"));
    // Between the others.
    let names: Vec<String> = (0..TIMES).map(|nth| format!("{:08}-{nth}", nth * size / TIMES)).collect();
    measured(|| names.iter().for_each(|name| _ = fleet.hub.topic(name, topic_options()).expect("room")));
    TIMES
}

fn publish_to_many(size: usize) -> usize {
    let (mut fleet, text) = (Fleet::new(Speech::Raw, size.div_ceil(LANES_PER_SESSION), 0), json_text(128));
    for nth in 0..size {
        let topic = fleet.hub.topic(&format!("{nth:08}"), topic_options()).expect("room");
        let (conn, lane) = (fleet.conns[nth / LANES_PER_SESSION], LaneOptions::default());
        fleet.hub.subscribe(conn, topic, lane, Start::Latest, fleet.now).expect("a new lane");
        fleet.topics.push(topic);
    }
    let all: Vec<usize> = (0..TIMES).map(|nth| nth * size / TIMES).collect();
    measured(|| {
        for topic in &all {
            fleet.publish(*topic, &text);
            assert!(fleet.drain() > 128);
        }
    });
    TIMES
}

fn timer(size: usize) -> usize {
    let mut fleet = Fleet::new(Speech::Raw, 0, 0);
    for _ in 0..size {
        fleet.now = fleet.now + Duration::from_micros(1);
        fleet.connect(1);
    }
    let mut pings = 0;
    measured(|| {
        // All of them: a wheel turns for many at once.
        while pings < size {
            let next = fleet.hub.poll_timeout().expect("a ping is due some day");
            fleet.now = next.at;
            fleet.hub.handle_timeout(fleet.now);
            pings += fleet.drain() / 2; // A ping without a payload.
        }
    });
    pings
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, size] = &arguments[..] else {
        // For the script.
        return WORKS.iter().for_each(|(name, what, _)| println!("{name}\t{what}"));
    };
    let (.., work) = WORKS.iter().find(|(other, ..)| other == name).expect("the name of a work");
    println!("{}", work(size.parse().expect("a number")));
}
