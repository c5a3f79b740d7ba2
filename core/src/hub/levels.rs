//! Levels of lanes and topics. (`pressure.rs` has those of sessions and connections.)

use alloc::vec::Vec;

use super::{Hub, News, TimerKey};
use crate::id::{LaneId, TopicId};
use crate::output::Event;
use crate::policy::Policy;
use crate::stats::{Count, Flow, Level, Scope};
use crate::topics::Topic;

impl Hub {
    /// What counts towards a lane's limits has changed, other than by a publish; `is_at_limit`: its policy acted.
    pub(super) fn look_at_level(&mut self, topic_id: TopicId, place: usize, is_at_limit: bool) {
        let topic = self.topics.slab.get(topic_id).expect("the topic exists");
        if is_at_limit || topic.watched(place).is_some() {
            let fill = topic.fill_with(place, Count::default());
            self.update_level(topic_id, place, fill, is_at_limit);
        }
    }

    /// `more` enters a lane that is near a mark; `is_at_limit`: its policy acted for that. No level falls for a publish.
    pub(super) fn level_rises(&mut self, topic_id: TopicId, place: usize, more: Count, is_at_limit: bool) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let (fill, marks) = (topic.fill_with(place, more), topic.marks);
        if is_at_limit || topic.gauge_mut(place).rises(fill, &marks) {
            self.update_level(topic_id, place, fill, is_at_limit);
        }
    }

    fn update_level(&mut self, topic_id: TopicId, place: usize, fill: u32, is_at_limit: bool) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let (marks, now) = (topic.marks, self.now);
        let gauge = topic.gauge_mut(place);
        let before = gauge.level();
        let is_changed = gauge.update(fill, is_at_limit, now, &marks);
        let falls_at = gauge.falls_at(fill, &marks);
        if is_changed {
            self.level_changed(topic_id, place, before);
        }
        if let Some(at) = falls_at {
            self.look_at_levels(topic_id, at);
        }
    }

    /// The lanes that have just refused a publish are at their limit.
    pub(super) fn levels_of_refusing(&mut self, topic_id: TopicId) {
        let topic = self.topics.slab.get(topic_id).expect("the topic exists");
        let has_refused = |place: &usize| topic.watched(*place).is_some_and(|watched| watched.keeps_parked.is_some());
        let places: Vec<usize> = topic.watched_places().filter(has_refused).collect();
        places.into_iter().for_each(|place| self.look_at_level(topic_id, place, true));
    }

    fn level_changed(&mut self, topic_id: TopicId, place: usize, before: Level) {
        let id = self.topics.id_at(topic_id, place);
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let level = topic.level_of(place);
        self.stats.levels.lanes.enter(level);
        if topic.watch(place).list() {
            self.events.push_back(News::LaneLevel(id));
        }
        topic.look_at(place); // What it comes near to next is another mark.
        self.brake(topic_id, place, (before, level));
        self.lane_level_changed(id);
    }

    /// A lane has ended whose level was not `Nominal`. It is not told any more.
    pub(super) fn level_ended(&mut self, lane: LaneId, before: Level) {
        let (topic_id, place) = self.topics.of_lane(lane).expect("the lane exists");
        self.brake(topic_id, place, (before, Level::Nominal));
        self.lane_level_changed(lane);
    }

    /// The level of a topic is the highest of its `Block` lanes.
    fn brake(&mut self, topic_id: TopicId, place: usize, (before, after): (Level, Level)) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        if topic.policy(place) != Policy::Block {
            return;
        }
        for (count, level) in topic.braking.iter_mut().zip([Level::High, Level::Critical]) {
            *count = *count + u32::from(after == level) - u32::from(before == level);
        }
        let level = match topic.braking {
            [0, 0] => Level::Nominal,
            [_, 0] => Level::High,
            _ => Level::Critical,
        };
        if topic.level.set(level) {
            self.stats.levels.topics.enter(level);
        }
        if topic.owes_level() && !core::mem::replace(&mut topic.is_announced, true) {
            self.events.push_back(News::Topic(topic_id));
        }
    }

    /// The topic's levels are looked at then, if not sooner.
    fn look_at_levels(&mut self, topic_id: TopicId, at: crate::Instant) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let timer = *topic.level_timer.get_or_insert_with(|| self.timers.add(TimerKey::Levels(topic_id.index)));
        if self.timers.deadline(timer).is_none_or(|armed| at < armed) {
            self.timers.arm(timer, at);
        }
    }

    /// A level that was held for the dwell may fall.
    pub(super) fn levels_fall(&mut self, topic_id: TopicId) {
        let topic = self.topics.slab.get(topic_id).expect("a timer's topic exists");
        let is_held = |place: &usize| topic.level_of(*place) > Level::Nominal;
        let places: Vec<usize> = topic.watched_places().filter(is_held).collect();
        places.into_iter().for_each(|place| self.look_at_level(topic_id, place, false));
    }

    /// Recounts the levels of a topic's lanes.
    pub(super) fn check_levels(&self, id: TopicId, topic: &Topic) {
        let mut braking = [0; 2];
        for place in 0..topic.lanes.len() {
            let (level, lane) = (topic.level_of(place), self.topics.id_at(id, place));
            let is_listed = || self.events.iter().any(|news| matches!(news, News::LaneLevel(other) if *other == lane));
            let fill = topic.fill_with(place, Count::default());
            if topic.run_lane(place).is_some_and(|lane| !lane.is_ended()) {
                assert!(level > Level::Nominal || fill < topic.marks.high(), "a level rises at once");
            }
            let Some(watched) = topic.watched(place) else { continue };
            assert!(!watched.is_owed() || is_listed(), "a level is told");
            let armed = topic.level_timer.and_then(|timer| self.timers.deadline(timer));
            let falls_at = watched.falls_at(fill, &topic.marks);
            assert!(falls_at.is_none_or(|at| armed.is_some_and(|armed| armed <= at)), "a level falls in time");
            if topic.policy(place) == Policy::Block {
                braking[0] += u32::from(level == Level::High);
                braking[1] += u32::from(level == Level::Critical);
            }
        }
        assert_eq!(topic.braking, braking, "lanes that brake");
        let is_listed = || self.events.iter().any(|news| matches!(news, News::Topic(other) if *other == id));
        assert!(!topic.owes_level() || topic.is_removed || is_listed(), "a topic's level is told");
    }

    pub(super) fn lane_level_event(&mut self, lane: LaneId) -> Option<Event> {
        let (topic, place) = self.topics.of_lane(lane)?;
        let topic = self.topics.slab.get_mut(topic)?;
        topic.watched(place)?;
        let level = topic.watch(place).tell();
        topic.unwatch_if_forgettable(place);
        level.map(|level| Event::Pressure { scope: Scope::Lane(lane), level })
    }

    /// A topic's level, then what follows for its sources.
    pub(super) fn topic_level_event(&mut self, id: TopicId) -> Option<Event> {
        let topic = self.topics.get_mut(id)?;
        if let Some(level) = topic.level.tell() {
            return Some(Event::Pressure { scope: Scope::Topic(id), level });
        }
        let is_paused = topic.level.level() > Level::Nominal;
        let flow = if is_paused { Flow::Pause } else { Flow::Resume };
        (core::mem::replace(&mut topic.is_paused, is_paused) != is_paused)
            .then_some(Event::Upstream { topic: id, flow })
    }
}
