//! What each feature of delivery adds, for a profiler that counts the instructions within `measured`: see `benches/control`.
//!
//! `control FEATURE WAITING` publishes so many messages of 128 B to 1,000 subscribers and drains them, once unmeasured and once
//! measured.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use forebay_benches::json_text;
use forebay_core::wire::deflate::{Agreed, Direction, WindowBits};
use forebay_core::wire::{Opcode, frame};
use forebay_core::{
    AtLeastOnce, Class, Config, ConnId, DeflateOptions, Delivery, History, Hub, Instant, LaneLimits, LaneOptions,
    Message, Mode, Options, Payload, Peer, Policy, Rate, Start, TopicId, TopicOptions, Upgraded,
};

const SUBSCRIBERS: usize = 1_000;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What is different from the least there is: raw connections with one lane each that drops the oldest.
#[derive(Clone, Copy)]
struct Feature {
    speaks_forebay: bool,
    policy: Policy,
    has_keys: bool,
    acknowledges: bool,
    has_credit: bool,
    deflates: bool,
    is_limited: bool,
    has_history: bool,
    has_class: bool,
    lanes: usize,
}

fn features() -> Vec<(&'static str, Feature)> {
    let raw = Feature {
        speaks_forebay: false,
        policy: Policy::DropOldest,
        has_keys: false,
        acknowledges: false,
        has_credit: false,
        deflates: false,
        is_limited: false,
        has_history: false,
        has_class: false,
        lanes: 1,
    };
    let forebay = Feature { speaks_forebay: true, ..raw };
    vec![
        ("raw", raw),
        ("drop-newest", Feature { policy: Policy::DropNewest, ..raw }),
        ("disconnect", Feature { policy: Policy::Disconnect, ..raw }),
        ("block", Feature { policy: Policy::Block, ..raw }),
        ("latest-per-key", Feature { policy: Policy::LatestPerKey, has_keys: true, ..raw }),
        ("history", Feature { has_history: true, ..raw }),
        ("class", Feature { has_class: true, ..raw }),
        ("outbound-rate", Feature { is_limited: true, ..raw }),
        ("two-topics", Feature { lanes: 2, ..raw }),
        ("forebay.v1", forebay),
        ("credit", Feature { has_credit: true, ..forebay }),
        ("at-least-once", Feature { acknowledges: true, policy: Policy::Disconnect, ..forebay }),
        ("deflate", Feature { deflates: true, ..forebay }),
    ]
}

struct World {
    hub: Hub,
    conns: Vec<ConnId>,
    topics: Vec<TopicId>,
    feature: Feature,
    seq: u64,
}

impl World {
    fn new(feature: Feature) -> Self {
        let options = Options {
            deflate: feature.deflates.then(DeflateOptions::default),
            outbound_bytes_rate: feature.is_limited.then_some(Rate { per_second: 1_000_000_000, burst: 1 << 30 }),
            ..Options::default()
        };
        let config = Config::try_from(options).expect("good options");
        let mut hub = Hub::new(config, [7; 32], Instant::ZERO);
        let alone = Direction::new(WindowBits::MAX, false);
        let agreed = feature.deflates.then_some(Agreed { server: alone, client: alone });
        let (mode, protocol) = match feature.speaks_forebay {
            true => (Mode::Dialect, Some("forebay.v1")),
            false => (Mode::Raw, None),
        };
        let upgraded = Upgraded { peer: Peer { mode, ..Peer::default() }, protocol, deflate: agreed };
        let conns: Vec<ConnId> = (0..SUBSCRIBERS)
            .map(|_| hub.handle_upgraded(upgraded, b"", Instant::ZERO).expect("room for a connection"))
            .collect();
        let topics: Vec<TopicId> =
            (0..feature.lanes).map(|nth| hub.topic(&format!("t{nth}"), feature.topic()).expect("a topic")).collect();
        let credit = feature.has_credit.then_some(1 << 20);
        let lane = LaneOptions { credit, ..LaneOptions::with_policy(feature.policy) };
        for conn in &conns {
            for topic in &topics {
                hub.subscribe(*conn, *topic, lane, Start::Latest, Instant::ZERO).expect("a new lane");
            }
        }
        Self { hub, conns, topics, feature, seq: 0 }
    }

    fn round(&mut self, text: &str, waiting: usize) {
        const KEYS: [&str; 4] = ["a", "b", "c", "d"];
        for nth in 0..waiting {
            let key = if self.feature.has_keys { KEYS[nth % KEYS.len()] } else { "" };
            let message = Message::new(Payload::Text(text)).with_key(key);
            self.hub.publish(self.topics[nth % self.topics.len()], message, Instant::ZERO).expect("room");
            self.seq += 1;
        }
        self.drain();
        if self.feature.acknowledges {
            let text = format!(r#"{{"op":"ack","topic":"t0","seq":{}}}"#, self.seq);
            let mut ack = BytesMut::new();
            frame::put_frame(&mut ack, Opcode::Text, Some(MASK), text.as_bytes());
            for conn in &self.conns {
                self.hub.handle_bytes(*conn, &ack, Instant::ZERO);
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.hub.poll_transmit() {
            let (conn, len) = (transmit.conn(), transmit.len());
            transmit.slices().for_each(|slice| _ = black_box(slice));
            self.hub.handle_sent(conn, len, Instant::ZERO);
        }
        while let Some(event) = self.hub.poll_event() {
            black_box(event);
        }
    }
}

impl Feature {
    fn topic(self) -> TopicOptions {
        TopicOptions {
            policy: self.policy,
            lane: LaneLimits { messages_max: 1_024, bytes_max: 1 << 20 },
            delivery: match self.acknowledges {
                true => Delivery::AtLeastOnce(AtLeastOnce::default()),
                false => Delivery::BestEffort,
            },
            history: self.has_history.then(History::default),
            class: if self.has_class { Class::High } else { Class::Normal },
            deflate: self.deflates,
            ..TopicOptions::default()
        }
    }
}

/// No control at all: a queue per subscriber of what is shared, without bounds, numbers or levels.
struct Queues(Vec<VecDeque<Bytes>>);

impl Queues {
    fn round(&mut self, text: &str, waiting: usize) {
        for _ in 0..waiting {
            let mut out = BytesMut::new();
            frame::put_frame(&mut out, Opcode::Text, None, text.as_bytes());
            let out = out.freeze();
            self.0.iter_mut().for_each(|queue| queue.push_back(out.clone()));
        }
        for queue in &mut self.0 {
            while let Some(bytes) = queue.pop_front() {
                black_box(&bytes[..]);
            }
        }
    }
}

/// What is counted.
#[inline(never)]
fn measured(work: impl FnOnce()) {
    work();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, waiting] = &arguments[..] else {
        // For the script.
        return ["queues"]
            .into_iter()
            .chain(features().iter().map(|(name, _)| *name))
            .for_each(|name| println!("{name}"));
    };
    let (waiting, text) = (waiting.parse().expect("a number"), json_text(128));
    if name == "queues" {
        let mut queues = Queues(vec![VecDeque::new(); SUBSCRIBERS]);
        queues.round(&text, waiting);
        measured(|| queues.round(&text, waiting));
    } else {
        let (_, feature) = features().into_iter().find(|(other, _)| other == name).expect("the name of a feature");
        let mut world = World::new(feature);
        world.round(&text, waiting);
        measured(|| world.round(&text, waiting));
    }
    println!("{}", SUBSCRIBERS * waiting);
}
