//! The hub, its peers and its readers, and what is known of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use forebay_core::{
    Config, ConnId, Disconnect, DisconnectScope, Hub, Instant, LaneId, LaneLimits, LaneOptions, Options, Policies,
    Policy, TopicId, TopicOptions,
};

use crate::judge::Seen;
use crate::number;

pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

pub(super) struct Client {
    pub(super) is_raw: bool,
    pub(super) stream: Vec<u8>,
    pub(super) is_closing: bool,
    /// Of forebay clients by topic name, of raw ones by topic id.
    pub(super) subscriptions: BTreeMap<String, Seen>,
    pub(super) raw: BTreeMap<u64, Seen>,
    /// Requests with an id that were not answered.
    pub(super) asked: BTreeMap<u64, String>,
    pub(super) outstanding: Option<Vec<u8>>,
    pub(super) to_say: VecDeque<Vec<u8>>,
}

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) rng: Rng,
    pub(super) now: Instant,
    pub(super) conns: BTreeMap<ConnId, Client>,
    pub(super) topics: Vec<(TopicId, String)>,
    pub(super) locals: BTreeMap<LaneId, (TopicId, Seen)>,
    /// Which message of which topic (its epoch) a payload is.
    pub(super) seqs: BTreeMap<u64, (u64, u64)>,
    pub(super) owed_drained: BTreeMap<TopicId, ()>,
    pub(super) next: u64,
    pub(super) message_bytes_max: u32,
    pub(super) trace: bool,
}

pub(super) fn topic_options(rng: &mut Rng, message_bytes_max: u32) -> TopicOptions {
    let lane = LaneLimits { messages_max: rng.pick(&[1, 2, 5, 40]), bytes_max: rng.pick(&[1000, 1500, 5000]) };
    let scope = rng.pick(&[DisconnectScope::Connection, DisconnectScope::Topic]);
    let policy = rng.pick(Policy::ALL);
    let ages = [None, None, Some(Duration::from_millis(1)), Some(Duration::from_millis(200))];
    TopicOptions {
        policy,
        age_max: rng.pick(&ages).filter(|_| policy.is_lossy()),
        choices: rng.pick(&[Policies::LOSSY, Policies::LOSSY, Policies::NONE]),
        lane,
        message_bytes_max,
        log_bytes_max: message_bytes_max as usize * 2 + rng.pick(&[4_096, 6_000, 20_000]),
        keys_max: rng.pick(&[1, 2, 4]).min(lane.messages_max),
        keys_bytes_max: lane.bytes_max.min(u64::from(message_bytes_max) * rng.pick(&[1, 3])),
        disconnect: Disconnect { scope, ..Disconnect::default() },
        ..TopicOptions::default()
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let message_bytes_max = rng.pick(&[64, 200, 1000]);
        let topic_defaults = topic_options(&mut rng, message_bytes_max);
        let message = rng.pick(&[1_200, 2_048]);
        let options = Options {
            topic_defaults,
            connections_max: 8,
            topics_max: 6,
            resident_bytes_max: rng.pick(&[12_000, 20_000, 50_000, 1_000_000]),
            transmit_bytes_max: rng.pick(&[1_024, 4_096]),
            reply_bytes_max: 4_096,
            message_bytes_max: message,
            inbound_bytes_max: message * rng.pick(&[1, 3]),
            direct_lane: LaneLimits { messages_max: rng.pick(&[1, 4, 30]), bytes_max: 1_000 },
            stall_timeout: Duration::from_secs(5),
            block_max: Duration::from_secs(1),
            ping_interval: Duration::from_secs(100_000),
            ..Options::default()
        };
        let resident_bytes_max =
            options.resident_bytes_max.max(topic_defaults.log_bytes_max).max(options.inbound_bytes_max as usize * 2);
        let options = Options { resident_bytes_max, ..options };
        let hub = Hub::new(Config::try_from(options).unwrap(), [7; 32], Instant::ZERO);
        Self {
            hub,
            rng,
            now: Instant::ZERO,
            conns: BTreeMap::new(),
            topics: Vec::new(),
            locals: BTreeMap::new(),
            seqs: BTreeMap::new(),
            owed_drained: BTreeMap::new(),
            next: 1,
            message_bytes_max,
            trace: number("FOREBAY_TRACE", 0) > 0,
        }
    }

    pub(super) fn a_key(&mut self) -> &'static str {
        self.rng.pick(&["", "", "k", "l", "m", "é"])
    }

    /// Mostly as the topic says.
    pub(super) fn lane_options(&mut self) -> LaneOptions {
        let policy = self.rng.chance(50).then(|| self.rng.pick(Policy::ALL));
        if self.rng.chance(30) {
            LaneOptions { policy, messages_max: Some(1), bytes_max: Some(1000), ..LaneOptions::default() }
        } else if self.rng.chance(20) {
            LaneOptions { policy, age_max: Some(Duration::from_millis(50)), ..LaneOptions::default() }
        } else {
            LaneOptions { policy, ..LaneOptions::default() }
        }
    }

    pub(super) fn check(&mut self, what: &str) {
        if self.trace {
            eprintln!("{what} {} of {}", self.hub.stats().resident_bytes, self.hub.pressure().resident_bytes_max);
        }
        self.hub.check_invariants();
    }

    pub(super) fn a_conn(&mut self) -> Option<ConnId> {
        let all: Vec<ConnId> = self.conns.keys().copied().collect();
        (!all.is_empty()).then(|| self.rng.pick(&all))
    }

    pub(super) fn a_topic(&mut self) -> Option<TopicId> {
        let all: Vec<TopicId> = self.topics.iter().map(|topic| topic.0).collect();
        (!all.is_empty()).then(|| self.rng.pick(&all))
    }

    pub(super) fn a_name(&mut self) -> String {
        self.rng.pick(&["a", "b", "c", "d"]).to_owned()
    }

    pub(super) fn data(&mut self) -> (u64, String) {
        let uid = self.next;
        self.next += 1;
        let pad = if self.rng.chance(20) {
            self.rng.below(self.message_bytes_max as usize - 20)
        } else {
            self.rng.below((self.message_bytes_max as usize - 20).min(60))
        };
        (uid, format!("[{uid},\"{}\"]", "x".repeat(pad)))
    }
}
