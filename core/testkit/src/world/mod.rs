//! The simulated world: two hubs, many peers on pipes, one hub as a client of the other, readers in the process, faults;
//! every decision from a seed or from fuzz input, everything checked after every step.
//!
//! At the end faults stop and all must come right: everything is delivered or told as lost, everybody leaves, and nothing
//! stays behind.

mod act;
mod audit;
mod carry;
mod check;
mod draw;
mod finish;
mod guest;
mod levels;
mod truth;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use forebay_core::{
    Config, ConnId, Hub, Instant, LaneId, Options, Position, SessionId, SessionToken, TopicId, TopicOptions,
};

use crate::digest::Digest;
use crate::mini::{Reader, Sub};
use crate::pipe::Pipe;
use crate::rng::Choices;
use guest::Guest;
use levels::ToldLevels;
use truth::Truth;

/// What a run came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Of all bytes written, events, effects and deadlines.
    pub digest: u64,
    /// Steps taken.
    pub steps: u64,
    /// Messages of topics that clients and readers received.
    pub delivered: u64,
    /// Messages clients and readers were told they missed.
    pub lost: u64,
    /// Publishes that were taken.
    pub published: u64,
    /// Publishes that were refused because a lane was full.
    pub refused_full: u64,
    /// Client publishes that were parked.
    pub parked: u64,
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that were sent again.
    pub retries: u64,
    /// Messages that were given up after all attempts.
    pub abandoned: u64,
    /// Opening handshakes done.
    pub opened: u64,
    /// Connections of all time.
    pub accepted: u64,
    /// Gap notices.
    pub gaps: u64,
    /// Gap notices with holes in their range.
    pub uneven_gaps: u64,
    /// Writes that were taken in part.
    pub partial_writes: u64,
    /// Opening requests that the application was asked about.
    pub asked: u64,
    /// Pages of strangers that were turned away.
    pub strangers: u64,
    /// Floods of frames that bring nothing that were ended.
    pub floods: u64,
    /// Messages that hub B, as a client of hub A, passed on.
    pub forwarded: u64,
    /// Messages lost to the log's bound and to the hub's budget.
    pub shed: u64,
    /// Connections that stalled.
    pub stalled: u64,
    /// Documents that came whole.
    pub documents: u64,
    /// Connections that ended because a lane was full.
    pub overflowed: u64,
    /// Lanes that ended because they were full.
    pub overflowed_lanes: u64,
    /// Messages in the place of which later ones of their keys were sent.
    pub superseded: u64,
    /// Messages that did not fit a lane which rejects.
    pub rejected: u64,
    /// Subscriptions by key whose account was found right at the end.
    pub keyed_ledgers: u64,
    /// `PauseRead`s.
    pub pauses: u64,
    /// Sessions that another connection has taken over.
    pub resumed: u64,
    /// Messages that came compressed.
    pub inflated: u64,
    /// Messages of lanes that were sent compressed.
    pub compressed: u64,
    /// Messages that came to clients compressed and referred to those before them.
    pub referred: u64,
    /// Subscriptions whose ledger was found right at the end.
    pub ledgers: u64,
    /// Simulated time, in milliseconds.
    pub millis: u64,
}

/// Who understands a connection's messages at the hub's end.
enum Speaker {
    /// The hub.
    Dialect,
    /// The application: payloads the peer has sent and the application has not taken yet, by tag. `None`: the peer has
    /// sent who knows what.
    Raw(Option<VecDeque<u64>>),
    /// This hub is the client, and its application reads the other's dialect.
    Client { server: ConnId, reader: Box<Reader>, outbox: VecDeque<String> },
}

/// A hub's end of a connection.
struct Line {
    /// Known once it is open.
    session: Option<SessionId>,
    rx: usize,
    tx: usize,
    speaker: Speaker,
    /// A transmit that was not answered yet.
    out: Option<Vec<u8>>,
    is_blocked: bool,
    is_paused: bool,
    is_opened: bool,
    /// `Event::Closed` was seen: the hub has only the socket left to close.
    is_over: bool,
    has_received: bool,
}

/// A reader in the process.
struct Local {
    name: String,
    topic: TopicId,
    is_ready: bool,
    last: u64,
    received: u64,
    bytes: u64,
    missed: u64,
    /// What was missed before it began was told together with what was lost since.
    is_uneven: bool,
}

/// A hub and what its embedder knows.
struct Side {
    hub: Hub,
    options: Options,
    frame_bytes_max: usize,
    lines: BTreeMap<ConnId, Line>,
    /// Connections that wait for a verdict, and whether they will get one.
    asked: BTreeMap<ConnId, bool>,
    /// Those that got one.
    decided: Vec<ConnId>,
    /// Connections that have ended: which of `Effect::Close` (or end of file) and `Event::Closed` was seen.
    ended: BTreeMap<ConnId, (bool, bool)>,
    /// Connections without a transport whose messages the application has not taken: their `Closed` waits for that.
    estates: BTreeMap<ConnId, Speaker>,
    locals: BTreeMap<LaneId, Local>,
    /// Lanes of raw connections whose end was not seen.
    raw_lanes: BTreeSet<LaneId>,
    /// Connections whose session may outlive them.
    may_be_kept: BTreeSet<ConnId>,
    /// Of sessions that the application has kept.
    tokens: Vec<SessionToken>,
    /// Sessions of guests who have left, and what they knew then.
    left: Vec<(String, BTreeMap<String, Sub>)>,
    /// Sessions that somebody has asked for: what its first client knew of its subscriptions may be past.
    asked_for: BTreeSet<String>,
    /// Sessions whose end was told.
    ended_sessions: BTreeSet<SessionId>,
    /// Codes and reasons with which a full lane may end a connection.
    disconnects: BTreeSet<(u16, String)>,
    /// The document at `/page`.
    page: Vec<u8>,
    declared: BTreeMap<String, (TopicId, TopicOptions)>,
    /// Made by `open_topic`.
    opened_topics: BTreeSet<TopicId>,
    old_topics: Vec<TopicId>,
    old_lanes: Vec<LaneId>,
    awaited: BTreeSet<TopicId>,
    /// The newest publish ids of topics, with what they were answered.
    publish_ids: BTreeMap<TopicId, VecDeque<(String, Position)>>,
    levels: ToldLevels,
}

impl Local {
    const fn new(name: String, topic: TopicId) -> Self {
        Self { name, topic, is_ready: false, last: 0, received: 0, bytes: 0, missed: 0, is_uneven: false }
    }
}

impl Line {
    const fn new(rx: usize, tx: usize, speaker: Speaker) -> Self {
        Self {
            session: None,
            rx,
            tx,
            speaker,
            out: None,
            is_blocked: false,
            is_paused: false,
            is_opened: false,
            is_over: false,
            has_received: false,
        }
    }
}

impl Side {
    fn new(choices: &mut Choices, now: Instant) -> Self {
        let options = draw::options(choices);
        let config = Config::try_from(options).expect("drawn to be good");
        let entropy: [u8; 32] = choices.bytes(32).try_into().expect("32 bytes");
        let mut side = Self {
            hub: Hub::new(config, entropy, now),
            options,
            frame_bytes_max: check::frame_bytes_max(&options, 600),
            lines: BTreeMap::new(),
            asked: BTreeMap::new(),
            decided: Vec::new(),
            ended: BTreeMap::new(),
            estates: BTreeMap::new(),
            locals: BTreeMap::new(),
            raw_lanes: BTreeSet::new(),
            may_be_kept: BTreeSet::new(),
            tokens: Vec::new(),
            left: Vec::new(),
            asked_for: BTreeSet::new(),
            ended_sessions: BTreeSet::new(),
            disconnects: BTreeSet::new(),
            page: vec![b'p'; choices.index(1_500)],
            declared: BTreeMap::new(),
            opened_topics: BTreeSet::new(),
            old_topics: Vec::new(),
            old_lanes: Vec::new(),
            awaited: BTreeSet::new(),
            publish_ids: BTreeMap::new(),
            levels: ToldLevels::default(),
        };
        side.may_disconnect(&options.topic_defaults);
        side.hub.document("/page", "text/plain", side.page.clone().into()).expect("a good document");
        side
    }

    /// The application opens a topic, which may make it.
    fn open_topic(&mut self, name: &str) -> Option<TopicId> {
        let was = self.hub.find_topic(name);
        let id = self.hub.open_topic(name).ok()?;
        assert!(was.is_none_or(|was| was == id), "another topic of one name");
        assert_eq!(self.hub.find_topic(name), Some(id), "a topic that was opened is found");
        if was.is_none() {
            self.opened_topics.insert(id);
        }
        Some(id)
    }

    /// Where a topic stands.
    fn head_of(&self, topic: &str) -> Option<Position> {
        Some(self.hub.topic_pressure(self.hub.find_topic(topic)?)?.head)
    }

    /// What a topic was made with.
    fn options_of(&self, topic: &str) -> TopicOptions {
        let declared = self.declared.get(topic).filter(|(id, _)| self.hub.find_topic(topic) == Some(*id));
        declared.map_or(self.options.topic_defaults, |(_, options)| *options)
    }
}

/// Everything.
struct World {
    choices: Choices,
    now: Instant,
    sides: [Side; 2],
    pipes: BTreeMap<usize, Pipe>,
    guests: BTreeMap<usize, Guest>,
    truth: Truth,
    digest: Digest,
    summary: Summary,
    next: u64,
    has_leapt: bool,
    /// Faults have stopped.
    is_healed: bool,
    label: String,
    /// What was done, for the reader of a failure (`FOREBAY_TRACE`).
    trace: Option<Vec<String>>,
}

impl World {
    fn new(mut choices: Choices, label: String) -> Self {
        let now = Instant::from_nanos(choices.between(0, 1 << 40));
        let sides = [Side::new(&mut choices, now), Side::new(&mut choices, now)];
        Self {
            choices,
            now,
            sides,
            pipes: BTreeMap::new(),
            guests: BTreeMap::new(),
            truth: Truth::default(),
            digest: Digest::default(),
            summary: Summary::default(),
            next: 0,
            has_leapt: false,
            is_healed: false,
            label,
            trace: std::env::var_os("FOREBAY_TRACE").map(|_| Vec::new()),
        }
    }

    /// Writes down what is done, if anybody wants to know.
    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:?} {}: {}", self.now, self.summary.steps, what()));
            self.sides.iter().for_each(|side| side.hub.check_invariants());
        }
    }

    /// A number that was not used before.
    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn pipe(&mut self) -> usize {
        let capacity = match self.choices.below(4) {
            0 => self.choices.size(1, 64),
            1 => self.choices.size(64, 2_048),
            _ => self.choices.size(2_048, 65_536),
        };
        let latency = Duration::from_micros(self.choices.between(0, 20_000));
        let chunk = if self.choices.one_in(4) { self.choices.size(1, 7) } else { 1 << 16 };
        let name = usize::try_from(self.fresh()).expect("few");
        self.pipes.insert(name, Pipe::new(capacity, latency, chunk));
        name
    }

    fn step(&mut self) {
        self.act();
        for side in 0..2 {
            self.carry_some(side);
            if self.choices.one_in(3) {
                self.settle(side);
            } else {
                let polls = self.choices.index(12);
                self.drain(side, polls);
            }
            self.application(side, false);
            if let Some(deadline) = self.sides[side].hub.poll_timeout() {
                self.digest.number(deadline.at.as_nanos());
                if deadline.at <= self.now && self.choices.one_in(2) {
                    self.sides[side].hub.handle_timeout(self.now);
                }
            }
        }
        self.guests_turn(false);
        self.sides.iter().for_each(Side::check);
        self.summary.steps += 1;
    }

    /// The next moment at which something happens by itself.
    fn next_event(&self) -> Option<Instant> {
        let deadlines = self.sides.iter().filter_map(|side| side.hub.poll_timeout()).map(|deadline| deadline.at);
        let arrivals = self.pipes.values().filter_map(|pipe| pipe.next_event(self.now));
        deadlines.chain(arrivals).filter(|at| *at > self.now).min()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (side, hub) in self.sides.iter().enumerate() {
                eprintln!("hub {side}: {:?}", hub.options);
            }
            for line in self.trace.iter().flatten() {
                eprintln!("{line}");
            }
            eprintln!("world {} failed in step {} at {:?}", self.label, self.summary.steps, self.now);
        }
    }
}

fn play(choices: Choices, steps: u64, label: String) -> Summary {
    let mut world = World::new(choices, label);
    let start = world.now;
    for _ in 0..steps {
        if world.choices.is_exhausted() {
            break;
        }
        world.step();
    }
    world.finish();
    world.summary.digest = world.digest.value();
    if !world.has_leapt {
        world.summary.millis = u64::try_from(world.now.since(start).as_millis()).unwrap_or(u64::MAX);
    }
    world.summary
}

/// Runs a world from a seed.
///
/// # Panics
/// If a hub breaks a promise; the seed and the step are printed.
#[must_use]
pub fn run(seed: u64, steps: u64) -> Summary {
    play(Choices::from_seed(seed), steps, format!("{seed} ({steps} steps)"))
}

/// Runs a world from fuzz input, as long as it lasts.
///
/// # Panics
/// If a hub breaks a promise.
#[must_use]
pub fn run_bytes(data: &[u8]) -> Summary {
    play(Choices::from_bytes(data), 2_000, format!("of {} bytes", data.len()))
}
