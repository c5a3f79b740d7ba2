//! The bounds of memory: what is shed there is taken from the hub, and must have been its to shed.

use forebay_core::{LossReason, PublishError};

use super::{Side, same};
use crate::model::reference::{LaneKey, TopicKey, Verdict};

impl Side {
    /// Messages that lanes lost to the log's bound since somebody looked: the oldest of each.
    pub(super) fn shed(&mut self) -> Verdict {
        if !self.is_tight {
            return Ok(());
        }
        let keys: Vec<LaneKey> = self.model.lanes.keys().copied().collect();
        for key in keys {
            let lane = &self.model.lanes[&key];
            let Some(pressure) = lane.id.and_then(|id| self.hub.lane(id)) else { continue };
            let reason = LossReason::LogBound;
            let known = lane.lost[reason as usize].messages;
            let Some(more) = pressure.totals.lost_by(reason).messages.checked_sub(known).filter(|more| *more > 0)
            else {
                continue;
            };
            if !lane.policy.is_lossy() || !self.is_near(lane.topic) {
                return Err(format!("{:?} lost {more} at the log's bound, which is far, or not its to lose", lane.id));
            }
            self.model.shed(key, more, reason)?;
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

    /// A publish that the log has no room for.
    pub(super) fn may_overload(&self, topic: Option<TopicKey>, told: Option<PublishError>) -> bool {
        self.is_tight && told == Some(PublishError::Overloaded) && topic.is_some_and(|topic| self.is_near(topic))
    }

    /// After every call: no log is above its bound.
    pub(super) fn compare_bounds(&mut self) -> Verdict {
        if !self.is_tight {
            return Ok(());
        }
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
