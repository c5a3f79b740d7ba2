//! The bounds of memory: what is shed there is taken from the hub, and must have been its to shed.

use forebay_core::{LossReason, PublishError};

use super::{Side, same};
use crate::model::reference::{LaneKey, TopicKey, Verdict};

impl Side {
    /// Messages that lanes lost to the bounds since somebody looked: the oldest of each.
    pub(super) fn shed(&mut self) -> Verdict {
        if !self.is_tight {
            return Ok(());
        }
        let keys: Vec<LaneKey> = self.model.lanes.keys().copied().collect();
        for key in keys {
            let lane = &self.model.lanes[&key];
            let Some(pressure) = lane.id.and_then(|id| self.hub.lane(id)) else { continue };
            let (topic, is_lossy) = (lane.topic, lane.policy.is_lossy());
            for reason in [LossReason::LogBound, LossReason::Overload] {
                let known = self.model.lanes[&key].lost[reason as usize].messages;
                let more = pressure.totals.lost_by(reason).messages.saturating_sub(known);
                if more == 0 {
                    continue;
                }
                let is_near = if reason == LossReason::LogBound { self.is_near(topic) } else { self.is_hub_near() };
                if !(is_lossy && is_near) {
                    return Err(format!("lane {key} lost {more} by {reason:?}, which is far, or not its to lose"));
                }
                self.model.shed(key, more, reason)?;
            }
        }
        Ok(())
    }

    /// Histories go before anything else: what is left of them.
    pub(super) fn shed_histories(&mut self) -> Verdict {
        if !self.is_tight {
            return Ok(());
        }
        for key in self.model.topics.keys().copied().collect::<Vec<TopicKey>>() {
            let hub =
                self.hub.topic_pressure(self.model.topics[&key].id).map_or(0, |pressure| pressure.history.messages);
            if hub < self.model.history_of(key).1.messages && !self.is_near(key) && !self.is_hub_near() {
                return Err(format!("topic {key} keeps {hub} messages, though memory is not short"));
            }
            self.model.shed_history(key, hub);
        }
        Ok(())
    }

    /// Whether a topic's log is, or was, filled to half of its bound.
    fn is_near(&self, topic: TopicKey) -> bool {
        let state = &self.model.topics[&topic];
        let now = self.hub.topic_pressure(state.id).map_or(0, |pressure| pressure.resident_bytes);
        let before = self.resident.get(&topic).copied().unwrap_or(0);
        now.max(before) * 2 >= state.options.log_bytes_max
    }

    /// Whether memory is, or was, used to half of its bound.
    fn is_hub_near(&self) -> bool {
        let pressure = self.hub.pressure();
        pressure.resident_bytes.max(self.resident_in_all) * 2 >= pressure.resident_bytes_max
    }

    /// Whether a log does not hold a largest message in two encodings (`TopicOptions::log_bytes_max`).
    fn is_small(&self, topic: TopicKey) -> bool {
        let options = &self.model.topics[&topic].options;
        options.log_bytes_max < 2 * (2 * options.message_bytes_max as usize + 4_096)
    }

    /// A publish that the log, or the hub, has no room for.
    pub(super) fn may_overload(&self, topic: Option<TopicKey>, told: Option<PublishError>) -> bool {
        self.is_tight
            && told == Some(PublishError::Overloaded)
            && topic.is_some_and(|topic| self.is_near(topic) || self.is_hub_near() || self.is_small(topic))
    }

    /// After every call: no log is above its bound.
    pub(super) fn compare_bounds(&mut self) -> Verdict {
        if !self.is_tight {
            return Ok(());
        }
        let pressure = self.hub.pressure();
        same("bytes above the budget", pressure.resident_bytes.saturating_sub(pressure.resident_bytes_max), 0)?;
        self.resident_in_all = pressure.resident_bytes;
        self.resident.clear();
        for (key, topic) in &self.model.topics {
            let Some(pressure) = self.hub.topic_pressure(topic.id) else { continue };
            let over = pressure.resident_bytes.saturating_sub(pressure.log_bytes_max);
            same("bytes above a log's bound", over, 0)?;
            self.resident.insert(*key, pressure.resident_bytes);
        }
        Ok(())
    }
}
