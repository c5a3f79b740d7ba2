//! Lanes of a topic: where they are, and who is looked at.

use super::*;
use crate::dialect::RAW;
use crate::output::LossReason;
use crate::stats::Count;
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
        let terms = Terms { limits: options.lane, policy: options.policy };
        let settings = Settings { terms, age_max: None, encoding: RAW.encoding() };
        let head = self.topics.slab.get(self.topic).unwrap().head;
        let id = self.topics.add_lane(self.topic, settings, Owner::Local, RAW, Origin::at(head));
        assert!(self.lanes.insert(id, true).is_none(), "an id is given out once");
    }

    fn remove(&mut self, id: LaneId) {
        let (topic, place) = self.topics.lane_mut(id);
        topic.end_window(place, LossReason::Unsubscribed);
        self.topics.remove_lane(id);
        self.lanes.remove(&id);
        assert!(self.topics.of_lane(id).is_none());
    }

    /// A lane has something to remember, or not any more.
    fn watch(&mut self, id: LaneId, is_watched: bool) {
        let (topic, place) = self.topics.lane_mut(id);
        if is_watched {
            topic.watch(place).keeps_parked = Some(1);
        } else if topic.watched(place).is_some() {
            topic.watch(place).keeps_parked = None;
            topic.unwatch_if_forgettable(place);
        }
        assert_eq!(topic.watched(place).is_some(), is_watched);
    }

    /// What a publish does with the idle lanes.
    fn wake(&mut self) {
        let topic = self.topics.slab.get_mut(self.topic).unwrap();
        topic.idle.wake();
        while topic.next_woken().is_some() {}
        self.lanes.values_mut().for_each(|is_idle| *is_idle = false);
    }

    fn check(&self) {
        let topic = self.topics.slab.get(self.topic).unwrap();
        assert_eq!(topic.lanes.len(), self.lanes.len(), "lanes lie densely");
        topic.check_lists();
        for (id, is_idle) in &self.lanes {
            let (_, place) = self.topics.lane(*id);
            assert_eq!(self.topics.id(&topic.lanes[place]), *id, "a lane is where its id says");
            assert_eq!(topic.is_idle(place), *is_idle);
        }
        let readers = topic.logs[RAW.encoding()].as_ref().map_or(0, |encoded| encoded.lanes as usize);
        assert_eq!(readers, self.lanes.len(), "a log goes with its last reader");
    }
}

#[test]
fn a_lane_is_small() {
    assert!(size_of::<TopicLane>() <= 72, "{}", size_of::<TopicLane>());
    assert_eq!(Slab::<LaneId, LanePlace>::SLOT_BYTES, 12);
}

#[test]
fn lanes_come_and_go_and_are_always_found() {
    let mut topics = Topics::new();
    let topic = topics.slab.insert_with(|_| Topic::new("t", 1, (TopicOptions::default(), Watermarks::default()), true));
    let mut world = World { topics, topic, lanes: BTreeMap::new() };
    let mut seed = 5_u64;
    for _ in 0..4_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let some = world.lanes.keys().nth(usize::try_from(seed >> 40).unwrap() % world.lanes.len().max(1)).copied();
        match (seed >> 33) % 12 {
            0..=4 => world.add(),
            10 | 11 => some.into_iter().for_each(|id| world.watch(id, (seed >> 50).is_multiple_of(2))),
            5..=7 => some.into_iter().for_each(|id| world.remove(id)),
            8 => some.into_iter().for_each(|id| {
                let (topic, place) = world.topics.lane_mut(id);
                topic.list_idle(place);
                world.lanes.insert(id, true);
            }),
            _ => world.wake(),
        }
        world.check();
    }
}

#[test]
fn a_lane_with_a_small_limit_is_near_rather_than_have_all_lanes_looked_at_for_each_message() {
    for messages_max in [1, 2, 3, 4, 8, 16, 32, 64] {
        let mut topics = Topics::new();
        let options = TopicOptions::default();
        let topic = topics.slab.insert_with(|_| Topic::new("t", 1, (options, Watermarks::default()), true));
        let limits = crate::config::LaneLimits { messages_max, ..options.lane };
        let terms = Terms { limits, policy: options.policy };
        let settings = Settings { terms, age_max: None, encoding: RAW.encoding() };
        topics.add_lane(topic, settings, Owner::Local, RAW, Origin::at(Mark::default()));
        let topic = topics.slab.get_mut(topic).unwrap();
        topic.look_around(Count::new(1, 10));
        let due = topic.due.messages - topic.head.messages;
        assert!(due > 16, "{messages_max}: all lanes are looked at again after {due} messages");
    }
}
