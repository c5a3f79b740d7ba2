//! What the benches share: a hub with many connections, whose peers take whatever they are given.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::hint::black_box;

use forebay_core::{
    Config, ConnId, Hub, Instant, LaneLimits, LaneOptions, Mode, Options, Payload, Peer, Policy, Start, TopicId,
    TopicOptions, Upgraded,
};

/// How the connections of a [`Fleet`] speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speech {
    /// Bare messages.
    Raw,
    /// `forebay.v1`.
    Forebay,
}

impl Speech {
    /// Both.
    pub const ALL: [Speech; 2] = [Speech::Raw, Speech::Forebay];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Forebay => "forebay.v1",
        }
    }
}

/// A hub with open connections.
#[derive(Debug)]
pub struct Fleet {
    /// The hub.
    pub hub: Hub,
    /// Its connections.
    pub conns: Vec<ConnId>,
    /// Its topics.
    pub topics: Vec<TopicId>,
    /// The time.
    pub now: Instant,
    speech: Speech,
    policy: Policy,
}

impl Fleet {
    /// A hub with `conns` connections, all subscribed to each of `topics` topics, and nothing left to poll.
    #[must_use]
    pub fn new(speech: Speech, conns: usize, topics: usize) -> Self {
        Self::with_policy(speech, conns, topics, Policy::DropOldest)
    }

    /// The same, with a policy of the lanes.
    #[must_use]
    pub fn with_policy(speech: Speech, conns: usize, topics: usize, policy: Policy) -> Self {
        let options = Options {
            resident_bytes_max: 1 << 30,
            connections_max: 1 << 20,
            topics_max: 1 << 20,
            ..Options::default()
        };
        let config = Config::try_from(options).expect("good options");
        let mut fleet = Self {
            hub: Hub::new(config, [7; 32], Instant::ZERO),
            conns: Vec::with_capacity(conns),
            topics: Vec::new(),
            now: Instant::ZERO,
            speech,
            policy,
        };
        fleet.connect(conns);
        for _ in 0..topics {
            fleet.add_topic();
        }
        fleet
    }

    /// Adds open connections.
    pub fn connect(&mut self, conns: usize) {
        let (mode, protocol) = match self.speech {
            Speech::Raw => (Mode::Raw, None),
            Speech::Forebay => (Mode::Dialect, Some("forebay.v1")),
        };
        let upgraded = Upgraded { peer: Peer { mode, ..Peer::default() }, protocol, deflate: None };
        for _ in 0..conns {
            self.conns.push(self.hub.handle_upgraded(upgraded, b"", self.now).expect("room for a connection"));
            self.drain();
        }
    }

    /// Adds a topic and subscribes every connection to it.
    pub fn add_topic(&mut self) -> TopicId {
        let name = format!("topic-{}", self.topics.len());
        let topic = self.hub.topic(&name, topic_options()).expect("a new topic");
        for conn in &self.conns {
            let lane = LaneOptions::with_policy(self.policy);
            self.hub.subscribe(*conn, topic, lane, Start::Latest, self.now).expect("a new lane");
        }
        self.topics.push(topic);
        self.drain();
        topic
    }

    /// Publishes to a topic.
    pub fn publish(&mut self, topic: usize, text: &str) {
        self.hub.publish(self.topics[topic], Payload::Text(text), self.now).expect("room for a message");
    }

    /// Takes everything the hub has, as an embedder would whose sockets never fill. How many bytes it was.
    pub fn drain(&mut self) -> usize {
        let mut bytes = 0;
        while let Some(transmit) = self.hub.poll_transmit() {
            let (conn, len) = (transmit.conn(), transmit.len());
            black_box(transmit.io_slices());
            bytes += len;
            self.hub.handle_sent(conn, len, self.now);
        }
        self.forget_outputs();
        bytes
    }

    /// As [`drain`](Self::drain), with sockets that take `write_max` bytes at a time. How many bytes it was.
    pub fn drain_in_part(&mut self, write_max: usize) -> usize {
        let mut bytes = 0;
        while let Some(transmit) = self.hub.poll_transmit() {
            let (conn, len) = (transmit.conn(), transmit.len().min(write_max));
            let is_short = len < transmit.len();
            black_box(transmit.io_slices());
            bytes += len;
            self.hub.handle_sent(conn, len, self.now);
            if is_short {
                self.hub.handle_writable(conn, self.now);
            }
        }
        self.forget_outputs();
        bytes
    }

    /// Blocks the last `conns` connections, as sockets do whose peers stopped reading: they have taken nothing of a
    /// first message.
    pub fn freeze(&mut self, conns: usize) {
        let frozen: HashSet<ConnId> = self.conns[self.conns.len() - conns..].iter().copied().collect();
        self.publish(0, "0");
        while let Some(transmit) = self.hub.poll_transmit() {
            let (conn, len) = (transmit.conn(), transmit.len());
            self.hub.handle_sent(conn, if frozen.contains(&conn) { 0 } else { len }, self.now);
        }
    }

    /// Polls effects and events, and forgets them.
    pub fn forget_outputs(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            black_box(effect);
        }
        while let Some(event) = self.hub.poll_event() {
            black_box(event);
        }
    }
}

/// A lane holds 1,000 messages or 1 MiB, whatever the defaults are.
#[must_use]
pub fn topic_options() -> TopicOptions {
    let lane = LaneLimits { messages_max: 1_000, bytes_max: 1 << 20 };
    TopicOptions { lane, keys_max: lane.messages_max, ..TopicOptions::default() }
}

/// A JSON string of `bytes` bytes.
#[must_use]
pub fn json_text(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)))
}
