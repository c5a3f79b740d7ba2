//! Topics: a name, a numbering, lanes, and what they read: a log per encoding, and the latest messages by key.

mod window;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{LaneLimits, TopicOptions};
use crate::dialect::{Dialect, ENCODINGS};
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::lane::Mark;
use crate::latest::Resident;
use crate::log::Log;
use crate::output::LossReason;
use crate::policy::Policy;
use crate::slab::Slab;
use crate::stats::{Count, Totals};
use crate::timers::TimerId;
pub(crate) use window::{Keyed, View, ViewMut, Window, change_lane, latest_place};

/// Whom a lane belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Session(SessionId),
    /// An in-process consumer.
    Local,
}

/// A refused publish that a lane has to make room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// The largest payload refused.
    pub(crate) bytes: u64,
    /// The log was full because of this lane: it has to be empty, not only at its low mark.
    pub(crate) until_empty: bool,
}

#[derive(Debug)]
pub(crate) struct TopicLane {
    pub(crate) window: Window,
    pub(crate) id: LaneId,
    pub(crate) owner: Owner,
    pub(crate) policy: Policy,
    pub(crate) age_max: Option<Duration>,
    pub(crate) encoding: usize,
    /// Whether it is listed among its session's active lanes (an in-process lane: is ready, or was the last time somebody
    /// looked).
    pub(crate) is_active: bool,
    /// Whether it is listed among the hub's events.
    pub(crate) is_announced: bool,
    /// Where it is listed in `Topic::idle`.
    pub(crate) idle_place: Option<u32>,
    pub(crate) refusal: Option<Refusal>,
    /// It has no room for the first parked publish, a payload of so many bytes.
    pub(crate) keeps_parked: Option<u64>,
    /// Why the lane ended; it stays until what is outstanding is settled.
    pub(crate) end_reason: Option<LossReason>,
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
    pub(crate) options: TopicOptions,
    pub(crate) is_declared: bool,
    /// The name is free again; what is left waits for outstanding Transmits.
    pub(crate) is_removed: bool,
    pub(crate) lanes: Vec<TopicLane>,
    /// Lanes that have not ended.
    pub(crate) live_lanes: u32,
    pub(crate) logs: [Option<Box<Encoded>>; ENCODINGS],
    /// By `latest_place`.
    pub(crate) keyed: [Option<Box<Keyed>>; 2],
    /// Lanes with nothing waiting: the next publish wakes them.
    pub(crate) idle: Vec<LaneId>,
    /// Up to this head every message fits every lane.
    pub(crate) due: Mark,
    pub(crate) totals: Totals,
    /// Lanes with a refusal.
    pub(crate) refusing: u32,
    /// Lanes without room for the first parked publish: while there are any it is not tried again.
    pub(crate) keeping_parked: u32,
    /// Connections whose publish waits for room, in order of arrival.
    pub(crate) parked: VecDeque<ConnId>,
    /// The application was refused and has not been told of room since.
    pub(crate) owes_drained: bool,
    /// Lanes with an `age_max` that have not ended.
    pub(crate) aging_lanes: u32,
    /// No lane's `age_max` is less.
    pub(crate) age_min: Option<Duration>,
    /// When the first of their messages may be too old; there while there are such lanes.
    pub(crate) age_timer: Option<TimerId>,
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
    pub(crate) fn new(name: &str, epoch: u64, options: TopicOptions, is_declared: bool) -> Self {
        Self {
            name: name.into(),
            epoch,
            head: Mark::default(),
            options,
            is_declared,
            is_removed: false,
            lanes: Vec::new(),
            live_lanes: 0,
            logs: [const { None }; ENCODINGS],
            keyed: [const { None }; 2],
            idle: Vec::new(),
            due: Mark { messages: u64::MAX, bytes: u64::MAX },
            totals: Totals::default(),
            refusing: 0,
            keeping_parked: 0,
            parked: VecDeque::new(),
            owes_drained: false,
            aging_lanes: 0,
            age_min: None,
            age_timer: None,
            charged: Resident::default(),
            is_unfrozen: false,
            has_room: false,
            is_announced: false,
        }
    }

    /// A lane may be full sooner than was known.
    pub(crate) fn look_at(&mut self, place: usize) {
        let Some(lane) = self.run_lane(place) else { return };
        let due = lane.due(self.head);
        self.due.messages = self.due.messages.min(due.messages);
        self.due.bytes = self.due.bytes.min(due.bytes);
    }

    pub(crate) fn resident(&self) -> Resident {
        let logs: usize = self.logs.iter().flatten().map(|encoded| encoded.log.resident()).sum();
        let latest: Resident = self.keyed.iter().flatten().map(|keyed| keyed.latest.resident()).sum();
        Resident::of_both(logs) + latest
    }

    /// Whether nothing would be missed if the topic were forgotten.
    pub(crate) fn is_forgettable(&self) -> bool {
        let is_awaited = self.owes_drained && !self.is_removed;
        (!self.is_declared || self.is_removed) && self.lanes.is_empty() && self.parked.is_empty() && !is_awaited
    }
}

/// Where a lane is.
#[derive(Debug)]
pub(crate) struct LanePlace {
    pub(crate) topic: TopicId,
    pub(crate) place: u32,
}

#[derive(Debug)]
pub(crate) struct Topics {
    pub(crate) slab: Slab<TopicId, Topic>,
    pub(crate) by_name: BTreeMap<String, TopicId>,
    pub(crate) lanes: Slab<LaneId, LanePlace>,
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
        self.lanes.get(id).map(|lane| (lane.topic, lane.place as usize))
    }

    /// The topic of a lane that exists.
    pub(crate) fn lane_mut(&mut self, id: LaneId) -> (&mut Topic, usize) {
        let (topic, place) = self.of_lane(id).expect("the lane exists");
        (self.slab.get_mut(topic).expect("a lane's topic exists"), place)
    }

    /// The lane with its log.
    pub(crate) fn lane(&self, id: LaneId) -> (&Topic, usize) {
        let (topic, place) = self.of_lane(id).expect("the lane exists");
        (self.slab.get(topic).expect("a lane's topic exists"), place)
    }

    /// Adds a lane at the head.
    pub(crate) fn add_lane(
        &mut self,
        topic_id: TopicId,
        (limits, age_max): (LaneLimits, Option<Duration>),
        (owner, policy): (Owner, Policy),
        dialect: &'static dyn Dialect,
    ) -> LaneId {
        let topic = self.slab.get_mut(topic_id).expect("the topic was looked up");
        let encoding = dialect.encoding();
        let window = match latest_place(policy) {
            None => Window::Log(topic.add_run_lane(limits, policy, dialect)),
            Some(place) => Window::Latest(topic.add_latest_lane(limits, place, dialect)),
        };
        let place = u32::try_from(topic.lanes.len()).expect("as many lanes as sessions");
        let id = self.lanes.insert_with(|_| LanePlace { topic: topic_id, place });
        topic.lanes.push(TopicLane {
            window,
            id,
            owner,
            policy,
            age_max,
            encoding,
            is_active: false,
            is_announced: false,
            idle_place: None,
            refusal: None,
            keeps_parked: None,
            end_reason: None,
        });
        topic.live_lanes += 1;
        if let Some(age) = age_max {
            let before = topic.age_min.filter(|_| topic.aging_lanes > 0);
            topic.age_min = Some(before.map_or(age, |before| before.min(age)));
            topic.aging_lanes += 1;
        }
        topic.look_at(place as usize);
        self.list_idle(id);
        id
    }

    /// The next publish wakes the lane.
    pub(crate) fn list_idle(&mut self, id: LaneId) {
        let (topic, place) = self.lane_mut(id);
        if topic.lanes[place].idle_place.is_none() {
            topic.lanes[place].idle_place = Some(u32::try_from(topic.idle.len()).expect("as many lanes as sessions"));
            topic.idle.push(id);
        }
    }

    fn unlist_idle(&mut self, id: LaneId) {
        let (topic, place) = self.lane_mut(id);
        let Some(listed) = topic.lanes[place].idle_place.take() else { return };
        topic.idle.swap_remove(listed as usize);
        if let Some(moved) = topic.idle.get(listed as usize).copied() {
            let (topic, place) = self.lane_mut(moved);
            topic.lanes[place].idle_place = Some(listed);
        }
    }

    /// Takes out a lane that has ended and has nothing outstanding.
    pub(crate) fn remove_lane(&mut self, id: LaneId) {
        self.unlist_idle(id);
        let place = self.lanes.remove(id).expect("the lane exists");
        let topic = self.slab.get_mut(place.topic).expect("a lane's topic exists");
        let lane = topic.lanes.swap_remove(place.place as usize);
        assert!(lane.window.is_ended() && lane.window.outstanding() == Count::default(), "only a settled lane goes");
        if let Some(moved) = topic.lanes.get(place.place as usize) {
            self.lanes.get_mut(moved.id).expect("the moved lane exists").place = place.place;
        }
        match latest_place(lane.policy) {
            None => {
                let log = &mut topic.logs[lane.encoding];
                let encoded = log.as_mut().expect("a lane's log exists");
                encoded.lanes -= 1;
                if encoded.lanes == 0 {
                    *log = None;
                }
            }
            Some(place) => {
                let keyed = topic.keyed[place].as_mut().expect("a lane's latest messages exist");
                let reader = &mut keyed.readers[lane.encoding];
                let lanes = &mut reader.as_mut().expect("a lane is counted").lanes;
                *lanes -= 1;
                if *lanes == 0 {
                    *reader = None;
                }
                if keyed.readers.iter().all(Option::is_none) {
                    topic.keyed[place] = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::RAW;
    use crate::output::LossReason;
    use std::collections::BTreeMap;

    struct World {
        topics: Topics,
        topic: TopicId,
        /// Every lane that is there, and whether the next publish wakes it.
        lanes: BTreeMap<LaneId, bool>,
    }

    impl World {
        fn add(&mut self) {
            let options = TopicOptions::default();
            let id = self.topics.add_lane(self.topic, (options.lane, None), (Owner::Local, options.policy), RAW);
            assert!(self.lanes.insert(id, true).is_none(), "an id is given out once");
        }

        fn remove(&mut self, id: LaneId) {
            let (topic, place) = self.topics.lane_mut(id);
            let head = topic.head;
            topic.lanes[place].end_reason = Some(LossReason::Unsubscribed);
            topic.live_lanes -= 1;
            topic.change(place, |lane, _| lane.end(head, LossReason::Unsubscribed));
            self.topics.remove_lane(id);
            self.lanes.remove(&id);
            assert!(self.topics.of_lane(id).is_none());
        }

        /// What a publish does with the idle lanes.
        fn wake(&mut self) {
            let topic = self.topics.slab.get_mut(self.topic).unwrap();
            for id in core::mem::take(&mut topic.idle) {
                let (topic, place) = self.topics.lane_mut(id);
                topic.lanes[place].idle_place = None;
                self.lanes.insert(id, false);
            }
        }

        fn check(&self) {
            let topic = self.topics.slab.get(self.topic).unwrap();
            assert_eq!(topic.lanes.len(), self.lanes.len(), "lanes lie densely");
            for (id, is_idle) in &self.lanes {
                let (_, place) = self.topics.lane(*id);
                let lane = &topic.lanes[place];
                assert_eq!(lane.id, *id, "a lane is where its id says");
                assert_eq!(lane.idle_place.map(|place| topic.idle[place as usize]), is_idle.then_some(*id));
            }
            assert_eq!(topic.idle.len(), self.lanes.values().filter(|is_idle| **is_idle).count());
            let readers = topic.logs[RAW.encoding()].as_ref().map_or(0, |encoded| encoded.lanes as usize);
            assert_eq!(readers, self.lanes.len(), "a log goes with its last reader");
        }
    }

    #[test]
    fn lanes_come_and_go_and_are_always_found() {
        let mut topics = Topics::new();
        let topic = topics.slab.insert_with(|_| Topic::new("t", 1, TopicOptions::default(), true));
        let mut world = World { topics, topic, lanes: BTreeMap::new() };
        let mut seed = 5_u64;
        for _ in 0..4_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let some = world.lanes.keys().nth(usize::try_from(seed >> 40).unwrap() % world.lanes.len().max(1)).copied();
            match (seed >> 33) % 10 {
                0..=4 => world.add(),
                5..=7 => some.into_iter().for_each(|id| world.remove(id)),
                8 => some.into_iter().for_each(|id| {
                    world.topics.list_idle(id);
                    world.lanes.insert(id, true);
                }),
                _ => world.wake(),
            }
            world.check();
        }
    }
}
