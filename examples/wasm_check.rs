//! The core in WebAssembly, without a bindings generator: a program that tells a hub what happened, and writes down whatever
//! the hub wants. The same inputs give the same bytes, events and deadlines everywhere, so this prints the same as
//! `cargo run --example wasm_check` does:
//!
//! `cargo build -p forebay-examples --example wasm_check --target wasm32-wasip1`
//! `node examples/wasm_check.mjs target/wasm32-wasip1/debug/examples/wasm_check.wasm`

use std::time::Duration;

use bytes::BytesMut;
use forebay_core::wire::{Opcode, frame};
use forebay_core::{Cause, Config, ConnId, Hub, Instant, LaneLimits, Options, Peer, TopicOptions};

const LANE_MESSAGES_MAX: u32 = 16;

fn main() {
    let lane = LaneLimits { messages_max: LANE_MESSAGES_MAX, ..TopicOptions::default().lane };
    let topic_defaults = TopicOptions { lane, ..TopicOptions::default() };
    let options = Options { topic_defaults, ..Options::default() };
    // The entropy is a fixed one, and the clock a number: whoever embeds the core brings both.
    let hub = Hub::new(Config::try_from(options).expect("they are good"), [7; 32], Instant::ZERO);
    let mut world = World { hub, now: Instant::ZERO, slow: None };

    println!("# two clients");
    let (subscriber, publisher) = (world.open(), world.open());
    world.says(subscriber, r#"{"op":"subscribe","topic":"t","id":1}"#);
    world.says(publisher, r#"{"op":"publish","topic":"t","data":"hello","id":2}"#);

    println!("# the subscriber's socket takes nothing more, its lane of {LANE_MESSAGES_MAX} messages overflows");
    world.slow = Some((subscriber, 0));
    for number in 0..40 {
        world.says(publisher, &format!(r#"{{"op":"publish","topic":"t","data":{{"number":{number}}}}}"#));
    }

    println!("# it takes three bytes of what comes, then everything");
    for bytes in [3, usize::MAX] {
        world.slow = Some((subscriber, bytes));
        world.hub.handle_writable(subscriber, world.now);
        world.drain();
    }

    println!("# nobody says anything");
    while world.hub.connections() > 0 {
        let deadline = world.hub.poll_timeout().expect("a silent peer is asked, and given up");
        println!("at {} ns", deadline.at.as_nanos());
        world.now = deadline.at;
        world.hub.handle_timeout(world.now);
        world.drain();
    }
    world.hub.check_invariants();
    println!("{:?}", world.hub.stats().lanes);
}

/// What is outside the hub.
struct World {
    hub: Hub,
    now: Instant,
    /// Whose socket takes no more than so many bytes at a time.
    slow: Option<(ConnId, usize)>,
}

impl World {
    fn open(&mut self) -> ConnId {
        let conn = self.hub.handle_accept(Peer::default(), self.now).expect("there is room");
        let head = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        self.hears(conn, head.as_bytes());
        conn
    }

    fn says(&mut self, conn: ConnId, text: &str) {
        let mut bytes = BytesMut::new();
        frame::put_frame(&mut bytes, Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes());
        self.hears(conn, &bytes);
    }

    fn hears(&mut self, conn: ConnId, bytes: &[u8]) {
        self.now = self.now + Duration::from_millis(1);
        self.hub.handle_bytes(conn, bytes, self.now);
        self.drain();
    }

    /// Does, and writes down, what the hub wants.
    fn drain(&mut self) {
        while self.hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
            while let Some(transmit) = self.hub.poll_transmit() {
                let conn = transmit.conn();
                let bytes_max = self.slow.filter(|(slow, _)| *slow == conn).map_or(usize::MAX, |(_, bytes)| bytes);
                let taken = transmit.len().min(bytes_max);
                println!("{} takes {taken} of {} bytes", conn.to_bits(), transmit.len());
                transmit.slices().for_each(|slice| println!("  {}", slice.escape_ascii()));
                self.hub.handle_sent(conn, taken, self.now);
            }
            while let Some(effect) = self.hub.poll_effect() {
                println!("{effect:?}");
            }
            while let Some(event) = self.hub.poll_event() {
                println!("{event:?}");
            }
        }
    }
}
