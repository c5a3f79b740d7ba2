//! Lanes that had nothing waiting are woken by a publish.
//!
//! What the application publishes wakes them later: when it is their turn to be drained, behind all connections that are ready
//! already, or all of them before anything else happens. So a lane that is drained whole, as most are, is neither listed as
//! active nor its connection as ready, and it does not show which of both it was: nobody looks in between.

use super::Hub;
use crate::id::{ConnId, TopicId};

impl Hub {
    /// Lanes of a topic have something waiting.
    pub(super) fn wake_idle(&mut self, topic_id: TopicId) {
        self.wake_all();
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        topic.idle.wake();
        self.wake_lanes(topic_id);
    }

    /// The same, but none of them is woken before it has to be.
    pub(super) fn wake_later(&mut self, topic_id: TopicId) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        if !topic.idle.has_asleep() {
            return;
        }
        // In-process consumers are told at once; while the hub drains nothing may be overlooked.
        if topic.local_lanes > 0 || self.draining.is_some() || !topic.idle.are_asleep() {
            return self.wake_idle(topic_id);
        }
        topic.idle.wake();
        self.waking.push_back(topic_id);
    }

    /// Wakes all lanes that are to be.
    #[inline]
    pub(super) fn wake_all(&mut self) {
        if !self.waking.is_empty() {
            let mut waking = core::mem::take(&mut self.waking);
            waking.drain(..).for_each(|id| self.wake_lanes(id));
            self.waking = waking;
        }
    }

    fn wake_lanes(&mut self, topic_id: TopicId) {
        while let Some(topic) = self.topics.slab.get_mut(topic_id)
            && let Some(place) = topic.next_woken()
        {
            self.wake_lane(topic_id, place);
        }
    }

    fn wake_lane(&mut self, topic_id: TopicId, place: usize) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        if topic.lanes[place].is_ended() {
            return;
        }
        let is_batched = topic.options.flush_interval.is_some();
        if is_batched && !topic.is_shut(place) && !topic.has_something(place) {
            topic.list_idle(place); // It came when all that is flushed had been published.
        } else {
            self.activate_at(topic_id, place);
        }
    }

    /// Wakes lanes until one of them has made its connection ready, or is in a plain Transmit of it, which is given back.
    pub(super) fn wake_next(&mut self) -> Option<ConnId> {
        while self.ready.is_empty()
            && let Some(topic_id) = self.waking.front().copied()
        {
            let topic = self.topics.slab.get_mut(topic_id);
            let (place, is_last) = topic.map_or((None, true), |topic| (topic.next_woken(), topic.idle.are_asleep()));
            if is_last {
                self.waking.pop_front(); // At once: the next publish lists it behind the others.
            }
            let Some(place) = place else { continue };
            let started = self.start_woken(topic_id, place);
            if started.is_some() {
                return started;
            }
            let others = core::mem::take(&mut self.waking); // It comes before these.
            self.wake_lane(topic_id, place);
            self.waking = others;
        }
        None
    }

    /// Before a connection's Transmit is made, or answered, its lanes are awake.
    pub(super) fn wake_lanes_of(&mut self, id: ConnId) {
        if self.waking.is_empty() {
            return;
        }
        let session = self.conns.get(id).and_then(|conn| self.sessions.get(conn.session));
        let is_woken = session.is_some_and(|session| {
            session.lanes().iter().any(|(_, lane)| {
                let (topic, place) = self.topics.lane(*lane);
                topic.is_woken(place)
            })
        });
        if is_woken {
            self.wake_all();
        }
    }
}
