//! Resident bytes, not time: what a connection, a lane and a waiting message cost, as the allocator is asked. Allocator
//! overhead and the sockets are not in it. Arguments are ignored: it is always short.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_benches::{Fleet, Speech, json_text, topic_options};
use forebay_core::{LaneOptions, Peer, Start};

/// The system's allocator, counting.
struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "the trait of allocators is unsafe; every call is handed on to the system's allocator")]
// SAFETY: all calls go to `System` with the caller's arguments unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `System` with this layout, by the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(size, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `System` with this layout and `size` is good, by the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A power of two: the hub's arrays, which double, are then just full.
const CONNS: usize = 8_192;

/// What `body` leaves allocated, and how often it asked.
fn measure<T>(body: impl FnOnce() -> T) -> (T, usize, usize) {
    let (bytes, allocations) = (LIVE_BYTES.load(Ordering::Relaxed), ALLOCATIONS.load(Ordering::Relaxed));
    let value = body();
    let grown = LIVE_BYTES.load(Ordering::Relaxed).saturating_sub(bytes);
    (value, grown, ALLOCATIONS.load(Ordering::Relaxed) - allocations)
}

fn print(what: &str, bytes: usize, each: usize, of: &str) {
    let tenths = bytes * 10 / each;
    println!("{what:<62} {:>9}.{} B per {of}", tenths / 10, tenths % 10);
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Accepted connections that have sent the first `bytes` of the opening request.
fn accept(fleet: &mut Fleet, bytes: usize) {
    for _ in 0..CONNS {
        let conn = fleet.hub.handle_accept(Peer::default(), fleet.now).expect("room for a connection");
        fleet.conns.push(conn);
        fleet.hub.handle_bytes(conn, &REQUEST[..bytes], fleet.now);
        fleet.drain();
    }
}

/// A hub that has had its first connection, so that what is made once is there.
fn fleet(speech: Speech, conns: usize) -> Fleet {
    let mut fleet = Fleet::new(speech, 0, 0);
    fleet.conns.reserve(CONNS);
    fleet.connect(conns);
    fleet
}

fn connections() {
    for (what, bytes) in [("accepted, nothing read", 0), ("half an opening request", REQUEST.len() / 2)] {
        let mut fleet = fleet(Speech::Forebay, 0);
        let ((), grown, _) = measure(|| accept(&mut fleet, bytes));
        print(&format!("connection: {what}"), grown, CONNS, "connection");
    }
    let mut fleet_ = fleet(Speech::Forebay, 0);
    let ((), grown, _) = measure(|| accept(&mut fleet_, REQUEST.len()));
    print("connection: open and idle, forebay.v1, handshake by the hub", grown, CONNS, "connection");
    for speech in Speech::ALL {
        let mut fleet = fleet(speech, 0);
        let ((), grown, _) = measure(|| fleet.connect(CONNS));
        print(&format!("connection: open and idle, {}, upgraded by others", speech.name()), grown, CONNS, "connection");
    }
}

fn lanes() {
    for speech in Speech::ALL {
        let mut fleet = fleet(speech, CONNS);
        for which in ["first", "second"] {
            let (_, grown, _) = measure(|| fleet.add_topic());
            print(&format!("lane: {which} of a session, idle, {}", speech.name()), grown, CONNS, "lane");
        }
        let name = if speech == Speech::Raw { "was sent and drained" } else { "was sent and drained, forebay.v1" };
        let text = json_text(128);
        let (_, grown, _) = measure(|| {
            fleet.publish(0, &text);
            fleet.drain()
        });
        print(&format!("connection: more, after a message {name}"), grown, CONNS, "connection");
    }
    let mut fleet = fleet(Speech::Raw, 0);
    let topic = fleet.hub.topic("local", topic_options()).expect("a new topic");
    let ((), grown, _) = measure(|| {
        for _ in 0..CONNS {
            fleet.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, fleet.now).expect("a new lane");
        }
    });
    print("lane: in-process, idle", grown, CONNS, "lane");
}

fn messages() {
    const WAITING: usize = 512;
    for speech in Speech::ALL {
        for size in [16, 128, 1_024] {
            let (mut fleet, text) = (fleet(speech, CONNS), json_text(size));
            fleet.add_topic();
            fleet.freeze(CONNS);
            fleet.publish(0, &text);
            fleet.forget_outputs();
            let ((), grown, _) = measure(|| {
                for _ in 0..WAITING {
                    fleet.publish(0, &text);
                    fleet.forget_outputs();
                }
            });
            let what = format!("message of {size} B, waiting in {CONNS} lanes, {}", speech.name());
            print(&what, grown, WAITING, "message");
        }
    }
    // Lanes that have lost something keep what they lost.
    let (mut fleet, text) = (fleet(Speech::Raw, CONNS), json_text(128));
    fleet.add_topic();
    fleet.freeze(CONNS);
    for _ in 0..900 {
        fleet.publish(0, &text);
    }
    fleet.forget_outputs();
    let ((), grown, _) = measure(|| {
        for _ in 0..900 {
            fleet.publish(0, &text);
            fleet.forget_outputs();
        }
    });
    print("lane: more, once it is full and loses its oldest", grown, CONNS, "lane");
    let half = |fleet: &mut Fleet| {
        let conns = fleet.conns.clone();
        for conn in conns {
            fleet.hub.handle_writable(conn, fleet.now);
        }
        while let Some(transmit) = fleet.hub.poll_transmit() {
            let conn = transmit.conn();
            fleet.hub.handle_sent(conn, 64, fleet.now);
        }
    };
    let ((), grown, _) = measure(|| half(&mut fleet));
    print("connection: more, with 128 B partly sent", grown, CONNS, "connection");
}

fn allocations() {
    for (speech, subscribers) in [(Speech::Raw, 1), (Speech::Raw, 1_000), (Speech::Forebay, 1_000)] {
        let (mut fleet, text) = (Fleet::new(speech, subscribers, 1), json_text(128));
        let mut round = |rounds: usize| {
            for _ in 0..rounds {
                fleet.publish(0, &text);
                fleet.drain();
            }
        };
        round(100);
        let ((), grown, count) = measure(|| round(1_000));
        println!(
            "{:<62} {count} allocations, {grown} B more",
            format!("1,000 times published and drained, {subscribers} × {}", speech.name())
        );
    }
}

fn main() {
    connections();
    lanes();
    messages();
    allocations();
}
