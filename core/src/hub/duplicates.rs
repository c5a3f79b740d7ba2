//! Publish ids: a publish that is repeated is taken once.

use alloc::vec::Vec;

use super::Hub;
use super::publish::has_control_characters;
use crate::error::PublishError;
use crate::id::TopicId;
use crate::output::{Message, PUBLISH_ID_BYTES_MAX, Position, Published};
use crate::topics::Topic;

impl Hub {
    /// What the topic remembers a message's id by; `None`: it has none.
    pub(super) fn publish_id(&self, message: Message<'_>) -> Result<Option<u128>, PublishError> {
        if message.id.len() > PUBLISH_ID_BYTES_MAX || has_control_characters(message.id) {
            return Err(PublishError::InvalidId);
        }
        Ok((!message.id.is_empty()).then(|| self.entropy.hash_of(message.id)))
    }

    /// The answer to a publish whose id the topic knows.
    pub(super) fn duplicate(&mut self, topic_id: TopicId, id: Option<u128>) -> Option<Published> {
        let topic = self.topics.get(topic_id)?;
        let seq = topic.publish_ids.find(id?)?;
        self.stats.duplicates += 1;
        Some(Published { position: Position { epoch: topic.epoch, seq }, matched: 0, is_duplicate: true })
    }

    /// Forgets ids until no more than `wanted` bytes are resident: first those of undeclared topics, which clients can make
    /// many of; of the topic with the most of them first, and of that the older half.
    pub(super) fn forget_ids(&mut self, wanted: usize) {
        let held = |topic: &Topic| (!topic.is_declared, topic.publish_ids.resident());
        let mut topics: Vec<_> = self.topics.slab.iter().map(|(id, topic)| (held(topic), id)).collect();
        topics.sort_unstable_by(|a, b| b.cmp(a));
        for (_, id) in topics {
            while self.stats.resident_bytes > wanted {
                let topic = self.topics.slab.get_mut(id).expect("just listed");
                if !topic.publish_ids.forget_half() {
                    break;
                }
                self.recharge_topic(id);
            }
        }
    }

    /// The message at the head was published with this id.
    pub(super) fn remember(&mut self, topic_id: TopicId, id: Option<u128>) {
        let Some(id) = id else { return };
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        topic.publish_ids.insert(id, topic.head.messages);
        self.recharge_topic(topic_id);
    }
}

impl Topic {
    /// How many resident bytes a message's id adds. They are in no log.
    pub(super) fn id_growth(&self, message: Message<'_>) -> usize {
        if message.id.is_empty() { 0 } else { self.publish_ids.growth() }
    }

    /// The most a message's id may add, whatever is shed before.
    pub(super) fn id_growth_at_most(&self, message: Message<'_>) -> usize {
        if message.id.is_empty() { 0 } else { self.publish_ids.growth_at_most() }
    }
}
