//! Topics: a name, a numbering, lanes, and what they read: a log per encoding, and the latest messages by key.

mod batches;
mod gates;
mod history;
mod idle;
mod origin;
mod plain;
mod settings;
mod watch;
mod window;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::config::{TopicOptions, Watermarks};
use crate::dialect::{Dialect, ENCODINGS};
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::lane::{Mark, Terms};
use crate::latest::Resident;
use crate::log::Log;
use crate::output::LossReason;
use crate::policy::Policy;
use crate::publish_ids::PublishIds;
use crate::rate::Bucket;
use crate::session::Session;
use crate::slab::{Slab, grow_by_an_eighth};
use crate::stats::{Acks, Level, Totals};
use crate::timers::TimerId;
use crate::watermark::ToldLevel;
use gates::Gate;
use idle::{Idle, NOWHERE};
pub(crate) use origin::Origin;
pub(crate) use plain::PlainRun;
pub(crate) use settings::Settings;
use settings::SettingsTable;
pub(crate) use watch::Refusal;
use watch::Watched;
pub(crate) use window::{Keyed, View, ViewMut, Window, change_lane, latest_place};

/// Whom a lane belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Session(SessionId),
    /// An in-process consumer.
    Local,
}

/// A lane of a topic. What it has in common with others is in the topic's `settings`, what few lanes have in `watched`.
#[derive(Debug)]
pub(crate) struct TopicLane {
    pub(crate) window: Window,
    /// Its place in `Topics::lanes`.
    index: u32,
    /// The place of its session, or `LOCAL`. (A lane does not outlive its session.)
    owner: u32,
    /// Where it is in `Topic::idle`; if it is watched, where in `Topic::watched`.
    listed: u32,
    /// The flags below, and the number of its settings.
    bits: u32,
}

const LOCAL: u32 = u32::MAX;

impl TopicLane {
    /// Whether it is listed among its session's active lanes (an in-process lane: is ready, or was the last time somebody
    /// looked).
    pub(crate) const ACTIVE: u32 = 1 << 31;
    /// Whether it is listed among the hub's events.
    pub(crate) const ANNOUNCED: u32 = 1 << 30;
    /// Whether it is listed in `Topic::watched`.
    const WATCHED: u32 = 1 << 29;
    /// Whether it is among `Topic::gates`.
    pub(crate) const GATED: u32 = 1 << 28;
    /// Whether its session has no connection that is open: it cannot be waited for.
    pub(crate) const DETACHED: u32 = 1 << 27;
    const FLAGS: u32 = Self::ACTIVE | Self::ANNOUNCED | Self::WATCHED | Self::GATED | Self::DETACHED;

    pub(crate) fn is(&self, flag: u32) -> bool {
        self.bits & flag != 0
    }

    /// Sets a flag; whether it was set before.
    pub(crate) fn set(&mut self, flag: u32, is: bool) -> bool {
        let was = self.is(flag);
        self.bits = if is { self.bits | flag } else { self.bits & !flag };
        was
    }

    /// Its place in `Topics::lanes`.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    fn settings(&self) -> u32 {
        self.bits & !Self::FLAGS
    }

    /// The place of its session; `None`: it is in-process.
    pub(crate) fn session(&self) -> Option<u32> {
        (self.owner != LOCAL).then_some(self.owner)
    }

    /// Whom it belongs to.
    pub(crate) fn owner(&self, sessions: &Slab<SessionId, Session>) -> Owner {
        match self.owner {
            LOCAL => Owner::Local,
            index => Owner::Session(sessions.key_at(index).expect("a lane's session exists")),
        }
    }

    /// It has ended, and its session went before what is outstanding of it was settled.
    pub(crate) fn bequeath(&mut self, session: SessionId) {
        self.owner = session.index;
    }

    pub(crate) fn is_local(&self) -> bool {
        self.owner == LOCAL
    }

    /// Why the lane ended; it stays until what is outstanding is settled.
    pub(crate) fn end_reason(&self) -> Option<LossReason> {
        self.window.end_reason()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.end_reason().is_some()
    }
}

/// A log with what its dialect needs to write to it.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) dialect: &'static dyn Dialect,
    pub(crate) prefix: Box<[u8]>,
    pub(crate) log: Log,
    /// Lanes that read it, ended ones included.
    pub(crate) lanes: u32,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Box<str>,
    pub(crate) epoch: u64,
    pub(crate) head: Mark,
    /// What may be sent: all of it, but with a `flush_interval`.
    pub(crate) flushed: Mark,
    /// When the rest may; there once something waited for that.
    pub(crate) flush_timer: Option<TimerId>,
    pub(crate) options: TopicOptions,
    /// The hub's.
    pub(crate) marks: Watermarks,
    pub(crate) is_declared: bool,
    /// The name is free again; what is left waits for outstanding Transmits.
    pub(crate) is_removed: bool,
    pub(crate) lanes: Vec<TopicLane>,
    /// Lanes that have not ended.
    pub(crate) live_lanes: u32,
    /// In-process lanes, ended ones included.
    pub(crate) local_lanes: u32,
    pub(crate) logs: [Option<Box<Encoded>>; ENCODINGS],
    /// Everything behind it is kept for those who come later; `None`: the topic has no history.
    history: Option<Mark>,
    pub(crate) publish_ids: PublishIds,
    /// By `latest_place`.
    pub(crate) keyed: [Option<Box<Keyed>>; 2],
    pub(crate) settings: SettingsTable,
    /// Lanes with nothing waiting: the next publish wakes them.
    pub(crate) idle: Idle,
    /// Lanes that are nearly full, these first, or have something to remember.
    watched: Vec<Watched>,
    /// What holds up lanes, by their place in `Topics::lanes`, where something may.
    gates: BTreeMap<u32, Box<Gate>>,
    /// How many are nearly full.
    near: usize,
    /// Up to this head every message fits every other lane.
    due: Mark,
    pub(crate) totals: Totals,
    /// Of its at-least-once lanes.
    pub(crate) acks: Acks,
    /// Lanes with a refusal.
    pub(crate) refusing: u32,
    /// Lanes without room for the first parked publish: while there are any it is not tried again.
    pub(crate) keeping_parked: u32,
    /// Connections whose publish waits for room, in order of arrival.
    pub(crate) parked: VecDeque<ConnId>,
    /// How fast it was published to.
    pub(crate) published: Bucket,
    /// When one more may be; there once a publish was parked for that.
    pub(crate) rate_timer: Option<TimerId>,
    /// The application was refused and has not been told of room since.
    pub(crate) owes_drained: bool,
    /// Lanes with an `age_max` that have not ended, by their place in `Topics::lanes`.
    pub(crate) aging: BTreeSet<u32>,
    /// No lane's `age_max` is less.
    pub(crate) age_min: Option<Duration>,
    /// When the first of their messages may be too old; there while there are such lanes.
    pub(crate) age_timer: Option<TimerId>,
    /// When the first message of its history may be too old; there once there was one.
    pub(crate) history_timer: Option<TimerId>,
    /// Lanes with `Policy::Block` that are `High`, and that are `Critical`.
    pub(crate) braking: [u32; 2],
    /// The highest level of these.
    pub(crate) level: ToldLevel,
    /// Whether its sources were told to pause.
    pub(crate) is_paused: bool,
    /// When a lane's level may fall; there once one was not `Nominal`.
    pub(crate) level_timer: Option<TimerId>,
    /// Resident bytes of the logs and of the latest messages, as charged to the hub.
    pub(crate) charged: Resident,
    /// Whether it is listed in the hub's `unfrozen`.
    pub(crate) is_unfrozen: bool,
    /// Whether it is listed in the hub's `room`.
    pub(crate) has_room: bool,
    /// Whether it is listed among the hub's events.
    pub(crate) is_announced: bool,
}

impl Topic {
    pub(crate) fn new(name: &str, epoch: u64, (options, marks): (TopicOptions, Watermarks), is_declared: bool) -> Self {
        let mut topic = Self {
            name: name.into(),
            epoch,
            head: Mark::default(),
            flushed: Mark::default(),
            flush_timer: None,
            options,
            marks,
            is_declared,
            is_removed: false,
            lanes: Vec::new(),
            live_lanes: 0,
            local_lanes: 0,
            logs: [const { None }; ENCODINGS],
            history: None,
            publish_ids: PublishIds::new(options.publish_ids_max),
            keyed: [const { None }; 2],
            settings: SettingsTable::default(),
            idle: Idle::default(),
            watched: Vec::new(),
            gates: BTreeMap::new(),
            near: 0,
            due: Mark { messages: u64::MAX, bytes: u64::MAX },
            totals: Totals::default(),
            acks: Acks::default(),
            refusing: 0,
            keeping_parked: 0,
            parked: VecDeque::new(),
            published: Bucket::default(),
            rate_timer: None,
            owes_drained: false,
            aging: BTreeSet::new(),
            age_min: None,
            age_timer: None,
            history_timer: None,
            braking: [0; 2],
            level: ToldLevel::default(),
            is_paused: false,
            level_timer: None,
            charged: Resident::default(),
            is_unfrozen: false,
            has_room: false,
            is_announced: false,
        };
        topic.begin_history();
        topic.begin_latest();
        topic
    }

    pub(crate) fn settings(&self, place: usize) -> &Settings {
        self.settings.get(self.lanes[place].settings())
    }

    pub(crate) fn terms(&self, place: usize) -> &Terms {
        &self.settings(place).terms
    }

    pub(crate) fn policy(&self, place: usize) -> Policy {
        self.terms(place).policy
    }

    /// How long what waits in a lane may wait.
    pub(crate) fn age_max(&self, place: usize) -> Option<Duration> {
        self.settings(place).age_max
    }

    pub(crate) fn resident(&self) -> Resident {
        let logs: usize = self.logs.iter().flatten().map(|encoded| encoded.log.resident()).sum();
        let latest: Resident = self.keyed.iter().flatten().map(|keyed| keyed.latest.resident()).sum();
        Resident::of_both(logs) + latest + Resident { log: 0, hub: self.publish_ids.resident() }
    }

    /// Whether its level, or what follows for its sources, is not what was told.
    pub(crate) fn owes_level(&self) -> bool {
        self.level.is_owed() || self.is_paused != (self.level.level() > Level::Nominal)
    }

    /// Whether nothing would be missed if the topic were forgotten.
    pub(crate) fn is_forgettable(&self) -> bool {
        let is_awaited = (self.owes_drained || self.owes_level()) && !self.is_removed;
        (!self.is_declared || self.is_removed) && self.lanes.is_empty() && self.parked.is_empty() && !is_awaited
    }
}

/// Where a lane is.
#[derive(Debug)]
pub(crate) struct LanePlace {
    /// The place of its topic, which does not go before it.
    topic: u32,
    /// Its place there, from 1.
    place: NonZeroU32,
}

fn lane_place(topic: TopicId, place: usize) -> LanePlace {
    let place = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
    LanePlace { topic: topic.index, place: place.expect("as many lanes as sessions") }
}

#[derive(Debug)]
pub(crate) struct Topics {
    pub(crate) slab: Slab<TopicId, Topic>,
    pub(crate) by_name: BTreeMap<String, TopicId>,
    lanes: Slab<LaneId, LanePlace>,
}

impl Topics {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), by_name: BTreeMap::new(), lanes: Slab::new() }
    }

    /// A topic that was not removed.
    pub(crate) fn get(&self, id: TopicId) -> Option<&Topic> {
        self.slab.get(id).filter(|topic| !topic.is_removed)
    }

    pub(crate) fn get_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.slab.get_mut(id).filter(|topic| !topic.is_removed)
    }

    /// The topic of a lane, and the lane's place in it.
    pub(crate) fn of_lane(&self, id: LaneId) -> Option<(TopicId, usize)> {
        let LanePlace { topic, place } = self.lanes.get(id)?;
        let topic = self.slab.key_at(*topic).expect("a lane's topic exists");
        Some((topic, place.get() as usize - 1))
    }

    /// The topic of a lane that exists, and the lane's place in it.
    pub(crate) fn lane_mut(&mut self, id: LaneId) -> (&mut Topic, usize) {
        let (topic, place) = self.of_lane(id).expect("the lane exists");
        (self.slab.get_mut(topic).expect("a lane's topic exists"), place)
    }

    /// The same, to be looked at.
    pub(crate) fn lane(&self, id: LaneId) -> (&Topic, usize) {
        let (topic, place) = self.of_lane(id).expect("the lane exists");
        (self.slab.get(topic).expect("a lane's topic exists"), place)
    }

    /// The topic of the lane at a place among all lanes, and the lane's place in it.
    pub(crate) fn lane_at(&mut self, index: u32) -> (TopicId, &mut Topic, usize) {
        let LanePlace { topic, place } = self.lanes.at(index).expect("the lane exists");
        let (id, topic) = self.slab.at_mut(*topic).expect("a lane's topic exists");
        (id, topic, place.get() as usize - 1)
    }

    /// The id of a topic's lane.
    pub(crate) fn id(&self, lane: &TopicLane) -> LaneId {
        self.lanes.key_at(lane.index).expect("the lane exists")
    }

    /// The id of the lane at a place among all lanes.
    pub(crate) fn id_of(&self, index: u32) -> LaneId {
        self.lanes.key_at(index).expect("the lane exists")
    }

    /// The same by its place.
    pub(crate) fn id_at(&self, topic: TopicId, place: usize) -> LaneId {
        self.id(&self.slab.get(topic).expect("the topic exists").lanes[place])
    }

    /// Adds a lane.
    pub(crate) fn add_lane(
        &mut self,
        topic_id: TopicId,
        settings: Settings,
        owner: Owner,
        dialect: &'static dyn Dialect,
        origin: Origin,
    ) -> LaneId {
        let topic = self.slab.get_mut(topic_id).expect("the topic was looked up");
        let Settings { terms, age_max, .. } = settings;
        let settings = topic.settings.add(settings);
        assert!(settings & TopicLane::FLAGS == 0, "fewer than 2^27 settings");
        let window = match latest_place(terms.policy) {
            None => Window::Log(topic.add_run_lane(dialect, origin)),
            Some(place) => Window::Latest(topic.add_latest_lane(place, dialect, origin)),
        };
        let owner = match owner {
            Owner::Local => LOCAL,
            Owner::Session(session) => session.index,
        };
        let place = topic.lanes.len();
        self.lanes.make_room();
        let id = self.lanes.insert_with(|_| lane_place(topic_id, place));
        grow_by_an_eighth(&mut topic.lanes);
        topic.lanes.push(TopicLane { window, index: id.index, owner, listed: NOWHERE, bits: settings });
        topic.live_lanes += 1;
        topic.local_lanes += u32::from(owner == LOCAL);
        if let Some(age) = age_max {
            let before = topic.age_min.filter(|_| !topic.aging.is_empty());
            topic.age_min = Some(before.map_or(age, |before| before.min(age)));
            topic.aging.insert(id.index);
        }
        topic.look_at(place);
        if !topic.has_something(place) {
            topic.list_idle(place);
        }
        id
    }

    /// Takes out a lane that is settled.
    pub(crate) fn remove_lane(&mut self, id: LaneId) {
        let (topic_id, place) = self.of_lane(id).expect("the lane exists");
        self.lanes.remove(id);
        let topic = self.slab.get_mut(topic_id).expect("a lane's topic exists");
        let Settings { terms, encoding, .. } = *topic.settings(place);
        let is_settled = topic.is_settled(place);
        topic.remove_gate(place);
        let (lane, moved) = topic.swap_remove(place);
        if let Some(moved) = moved {
            let id = self.lanes.key_at(moved.index).expect("the moved lane exists");
            *self.lanes.get_mut(id).expect("the moved lane exists") = lane_place(topic_id, place);
        }
        assert!(is_settled, "only a settled lane goes");
        topic.settings.remove(lane.settings());
        topic.local_lanes -= u32::from(lane.is_local());
        match latest_place(terms.policy) {
            None => topic.remove_reader(encoding),
            Some(place) => topic.remove_latest_reader(place, encoding),
        }
    }
}

#[cfg(test)]
mod tests;
