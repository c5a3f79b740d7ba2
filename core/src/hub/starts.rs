//! Where lanes start, and what follows from it.

use super::Hub;
use crate::config::Start;
use crate::dialect::Dialect;
use crate::error::SubscribeError;
use crate::id::{LaneId, SessionId, TopicId};
use crate::lane::{Mark, Run};
use crate::output::{LossReason, Position};
use crate::topics::{Owner, Settings};

impl Hub {
    /// Makes a lane with what it asks for of what is kept. Its owner has to list it, and then to [`begin`](Self::begin) it.
    pub(super) fn make_lane(
        &mut self,
        topic_id: TopicId,
        settings: Settings,
        (owner, dialect): (Owner, &'static dyn Dialect),
        from: Start,
    ) -> Result<LaneId, SubscribeError> {
        self.trim_history(topic_id);
        let kept = self.topics.slab.get(topic_id).expect("the topic exists").kept_after();
        self.make_lane_behind(topic_id, settings, (owner, dialect), (from, kept))
    }

    /// The same, while everything behind `kept` is in the lane's log.
    fn make_lane_behind(
        &mut self,
        topic_id: TopicId,
        settings: Settings,
        (owner, dialect): (Owner, &'static dyn Dialect),
        (from, kept): (Start, Mark),
    ) -> Result<LaneId, SubscribeError> {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let origin = topic.origin(from, &settings, kept, self.now)?;
        let id = self.topics.add_lane(topic_id, settings, owner, dialect, origin);
        self.aging_lanes += u32::from(settings.age_max.is_some());
        self.stats.lanes_now += 1;
        let (topic, place) = self.topics.lane_mut(id);
        let entered = topic.lane_totals(place).entered;
        topic.totals.enter_again(entered);
        self.stats.lanes.enter_again(entered);
        self.recharge_topic(topic_id);
        Ok(id)
    }

    /// A new lane that its owner has listed: what it starts with is to be sent, and looked at.
    pub(super) fn begin(&mut self, id: LaneId) {
        let (topic_id, place) = self.topics.of_lane(id).expect("the lane exists");
        self.look_at_level(topic_id, place, false);
        self.look_at_age_of(id);
        let (topic, place) = self.topics.lane(id);
        if topic.has_something(place) {
            self.activate(id);
        }
    }

    /// Puts a lane in the place of a session's best-effort lane `old`, with the same settings, that starts after `position`: it
    /// may begin with any message of the history, or of the last run that waits in the old one. What waits in that is lost
    /// (`unsubscribed`).
    ///
    /// # Errors
    /// `PositionAhead`: nothing has changed.
    pub(super) fn replace_lane(
        &mut self,
        session: SessionId,
        old: LaneId,
        position: Position,
    ) -> Result<LaneId, SubscribeError> {
        let topic_id = self.topics.of_lane(old).expect("the lane exists").0;
        self.trim_history(topic_id);
        let (topic, place) = self.topics.lane(old);
        let (settings, dialect) = (*topic.settings(place), topic.dialect(place));
        let kept = topic.kept_after();
        let last_run = topic.run_lane(place).map(|lane| lane.last_run(topic.head));
        let reaches_further = |run: &Run| (run.after.messages + 1..=run.through.messages).contains(&kept.messages);
        let kept = last_run.filter(reaches_further).map_or(kept, |run| run.after);
        let (owner, from) = (Owner::Session(session), Start::After(position));
        let credit = topic.gate(place).and_then(|gate| gate.credit);
        let new = self.make_lane_behind(topic_id, settings, (owner, dialect), (from, kept))?;
        let (topic, place) = self.topics.lane_mut(new);
        topic.add_gate(place, false, credit);
        let listed = self.sessions.get_mut(session).expect("the session exists");
        listed.remove(topic_id);
        listed.add(topic_id, new);
        self.end_lane(old, LossReason::Unsubscribed);
        self.begin(new);
        Ok(new)
    }
}
