//! Batches: what is published to a topic with a `flush_interval` is sent from the next flush on.

use super::{Hub, TimerKey};
use crate::id::TopicId;
use crate::topics::Topic;

impl Hub {
    /// A message was published: it is sent now, or with the next flush.
    pub(super) fn flush_or_wait(&mut self, topic_id: TopicId, wakes_later: bool) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let Some(interval) = topic.options.flush_interval.filter(|_| self.draining.is_none()) else {
            self.flush_log(topic_id);
            return if wakes_later { self.wake_later(topic_id) } else { self.wake_idle(topic_id) };
        };
        let timer = *topic.flush_timer.get_or_insert_with(|| self.timers.add(TimerKey::Flush(topic_id.index)));
        if self.timers.deadline(timer).is_none() {
            self.timers.arm(timer, self.now + interval);
        }
    }

    /// Everything that was published to a topic may be sent.
    pub(super) fn flush(&mut self, topic_id: TopicId) {
        if self.flush_log(topic_id) {
            self.wake_idle(topic_id);
        }
    }

    /// Whether there was anything to flush.
    fn flush_log(&mut self, topic_id: TopicId) -> bool {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        if topic.flushed.messages == topic.head.messages {
            return false;
        }
        topic.flushed = topic.head;
        // Not before: a batch that is frozen as a whole is one slice.
        let has_log = topic.logs.iter().any(Option::is_some);
        if has_log && !core::mem::replace(&mut topic.is_unfrozen, true) {
            self.unfrozen.push(topic_id);
        }
        true
    }

    /// While the hub drains nothing waits for a flush.
    pub(super) fn flush_all(&mut self) {
        let topics: alloc::vec::Vec<TopicId> = self.topics.slab.iter().map(|(id, _)| id).collect();
        topics.into_iter().for_each(|id| self.flush(id));
    }

    pub(super) fn check_flush(&self, topic: &Topic) {
        let (flushed, head) = (topic.flushed, topic.head);
        let armed = topic.flush_timer.and_then(|timer| self.timers.deadline(timer));
        let latest = topic.options.flush_interval.map(|interval| self.now + interval);
        let is_due = armed.is_some_and(|armed| latest.is_some_and(|latest| armed <= latest)) && self.draining.is_none();
        assert!(flushed == head || (flushed.messages < head.messages && is_due), "what waits for a flush gets one");
    }
}
