//! `age_max`: what has waited for too long is lost. One deadline per topic.

use alloc::vec::Vec;

use super::{Hub, TimerKey};
use crate::id::{ConnId, LaneId, TopicId};
use crate::output::LossReason;
use crate::topics::{Owner, TopicLane};

impl Hub {
    /// Drops what is too old in a lane, and sees that the rest is looked at in time.
    pub(super) fn expire_lane(&mut self, id: LaneId) {
        let (topic, place) = self.topics.lane_mut(id);
        if topic.age_max(place).is_none() || topic.lanes[place].is_ended() {
            return;
        }
        let lost = topic.expire(place, self.now);
        self.stats.lanes.lose(LossReason::Age, lost);
        if lost.messages > 0 {
            topic.look_at(place); // What is outstanding may stand apart now, and count as a run.
            let (topic_id, place) = self.topics.of_lane(id).expect("the lane exists");
            self.look_at_level(topic_id, place, false);
            self.recharge_topic(topic_id);
        }
        self.look_at_age_of(id);
    }

    /// Drops what is too old in a session's lanes, before they are drained.
    pub(super) fn expire_session(&mut self, conn: ConnId) {
        if self.aging_lanes == 0 {
            return;
        }
        let session = self.conn_mut(conn).session;
        let mut nth = 0;
        while let Some(lane) = self.sessions.get(session).and_then(|session| session.active().get(nth)).copied() {
            self.expire_lane(lane);
            nth += 1;
        }
    }

    /// The lane is looked at when its oldest message will be too old.
    pub(super) fn look_at_age_of(&mut self, id: LaneId) {
        let (topic, place) = self.topics.lane(id);
        if let Some(at) = topic.expires_at(place) {
            let topic_id = self.topics.of_lane(id).expect("the lane exists").0;
            self.look_at_age(topic_id, at);
        }
    }

    /// A message was published.
    pub(super) fn look_at_age_from_now(&mut self, topic_id: TopicId) {
        let topic = self.topics.slab.get(topic_id).expect("the topic exists");
        if let Some(age) = topic.age_min.filter(|_| !topic.aging.is_empty()) {
            self.look_at_age(topic_id, self.now + age);
        }
    }

    /// Lets go of what is beyond the bounds of the topic's history, and sees that the rest is looked at in time.
    pub(super) fn trim_history(&mut self, topic_id: TopicId) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        topic.trim_history(self.now);
        if let Some(at) = topic.history_expires_at() {
            // One of its own: no lane is looked at for a message that only the history lets go of.
            let timer = *topic.history_timer.get_or_insert_with(|| self.timers.add(TimerKey::History(topic_id.index)));
            if self.timers.deadline(timer).is_none_or(|armed| at < armed) {
                self.timers.arm(timer, at);
            }
        }
        self.recharge_topic(topic_id);
    }

    /// The topic's lanes are looked at then, if not sooner.
    fn look_at_age(&mut self, topic_id: TopicId, at: crate::Instant) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let timer = *topic.age_timer.get_or_insert_with(|| self.timers.add(TimerKey::Topic(topic_id.index)));
        if self.timers.deadline(timer).is_none_or(|armed| at < armed) {
            self.timers.arm(timer, at);
        }
    }

    /// A message may be too old in one of the topic's lanes.
    pub(super) fn expire_topic(&mut self, topic_id: TopicId) {
        let mut from = 0;
        let next = |hub: &Self, from| hub.topics.slab.get(topic_id)?.aging.range(from..).next().copied();
        while let Some(index) = next(self, from) {
            self.expire_lane(self.topics.id_of(index));
            from = index + 1;
        }
        if self.draining.is_some() {
            self.drain_subscribers(topic_id);
        }
    }

    /// Lanes of a topic have lost what waited in them: while the hub drains, who has nothing else may be closed.
    fn drain_subscribers(&mut self, topic_id: TopicId) {
        let lanes = self.topics.slab.get(topic_id).into_iter().flat_map(|topic| &topic.lanes);
        let conn_of = |lane: &TopicLane| match lane.owner(&self.sessions) {
            Owner::Session(session) => self.sessions.get(session)?.conn(),
            Owner::Local => None,
        };
        let conns: Vec<ConnId> = lanes.filter_map(conn_of).collect();
        conns.into_iter().for_each(|conn| self.refresh(conn));
    }

    /// The topic is gone.
    pub(super) fn forget_timer(&mut self, timer: Option<crate::timers::TimerId>) {
        if let Some(timer) = timer {
            self.timers.remove(timer);
        }
    }
}
