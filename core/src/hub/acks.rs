//! Acknowledgements and credit.

use super::{Hub, News, TimerKey};
use crate::error::AckError;
use crate::id::{LaneId, SessionId, TopicId};
use crate::lane::{Fired, Mark};
use crate::output::{Event, LossReason};
use crate::session::Session;
use crate::stats::{AbandonReason, Acks, Count};
use crate::time::Instant;
use crate::topics::Owner;

/// Why what was sent is not waited for any more, when its lane ends.
fn abandon_reason(reason: LossReason) -> AbandonReason {
    if reason == LossReason::Unsubscribed { AbandonReason::Unsubscribed } else { AbandonReason::SessionEnded }
}

impl Hub {
    pub(super) fn acknowledge_through(
        &mut self,
        session: SessionId,
        topic: TopicId,
        seq: u64,
    ) -> Result<u32, AckError> {
        let settled = self.acked_lane(session, topic).and_then(|lane| match self.settle_through(lane, seq) {
            0 => Err(AckError::UnknownMessage),
            messages => Ok(messages),
        });
        self.stats.unknown_acks += u64::from(settled.is_err());
        settled
    }

    pub(super) fn acknowledge_message(&mut self, session: SessionId, topic: TopicId, seq: u64) -> Result<(), AckError> {
        let settled = self.acked_lane(session, topic).and_then(|lane| {
            let (topic, place) = self.topics.lane_mut(lane);
            let count = topic.settle_one(place, seq);
            if count.messages == 0 {
                return Err(AckError::UnknownMessage);
            }
            self.acknowledged(lane, count);
            Ok(())
        });
        self.stats.unknown_acks += u64::from(settled.is_err());
        settled
    }

    /// The at-least-once lane of a session on a topic.
    fn acked_lane(&self, session: SessionId, topic: TopicId) -> Result<LaneId, AckError> {
        let lane = self.sessions.get(session).and_then(|session| session.lane_on(topic));
        let lane = lane.ok_or(AckError::UnknownLane)?;
        let (topic, place) = self.topics.lane(lane);
        topic.acking(place).map(|_| lane).ok_or(AckError::NotAtLeastOnce)
    }

    /// Everything up to a number was acknowledged, in an at-least-once lane. How many messages that were: none is no
    /// fault here.
    pub(super) fn settle_through(&mut self, lane: LaneId, seq: u64) -> u32 {
        let (topic, place) = self.topics.lane_mut(lane);
        let count = topic.settle_through(place, seq);
        if count.messages > 0 {
            self.acknowledged(lane, count);
        }
        u32::try_from(count.messages).expect("at most 128 are unacknowledged")
    }

    fn acknowledged(&mut self, lane: LaneId, count: Count) {
        self.account(lane, |acks| acks.acknowledge(count));
        self.reopen(lane);
        // It is progress.
        let now = self.now;
        let (topic, place) = self.topics.lane(lane);
        let Owner::Session(session) = topic.lanes[place].owner(&self.sessions) else { return };
        let Some(conn) = self.sessions.get(session).expect("a lane's session exists").conn() else { return };
        self.conn_mut(conn).stalled_since.as_mut().into_iter().for_each(|since| *since = now);
    }

    /// One entry in the books of a lane, its topic and the hub.
    fn account(&mut self, lane: LaneId, entry: impl Fn(&mut Acks)) {
        let (topic, place) = self.topics.lane_mut(lane);
        entry(&mut topic.acks);
        entry(&mut topic.acking_mut(place).expect("an at-least-once lane").acks);
        entry(&mut self.stats.acks);
    }

    /// Less is in flight in a lane than before, or its credit has changed: it may go on, and so may those it refused.
    fn reopen(&mut self, lane: LaneId) {
        let (topic_id, place) = self.topics.of_lane(lane).expect("the lane exists");
        let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
        if topic.has_something(place) {
            self.activate(lane);
        } else if let Owner::Session(session) = topic.lanes[place].owner(&self.sessions)
            && self.rest_if_empty(lane)
        {
            self.sessions.get_mut(session).expect("a lane's session exists").rest(lane);
        }
        self.lane_progressed(lane);
        self.recharge_topic(topic_id);
        self.arm_acks(lane);
    }

    pub(super) fn grant_credit(&mut self, session: SessionId, topic: TopicId, credit: u32) -> bool {
        let lane = self.sessions.get(session).and_then(|session| session.lane_on(topic));
        let Some(lane) = lane else { return false };
        let (topic, place) = self.topics.lane_mut(lane);
        topic.grant(place, credit);
        self.reopen(lane);
        true
    }

    /// A lane may be sent so many messages from now on.
    pub(super) fn set_credit(&mut self, lane: LaneId, credit: u32) {
        let (topic, place) = self.topics.lane_mut(lane);
        topic.set_credit(place, credit);
        self.reopen(lane);
    }

    /// What is outstanding of an at-least-once lane is about to be counted as sent, up to `cut`.
    pub(super) fn begin_flight(&mut self, lane: LaneId, cut: Mark) {
        let at = self.clock_of(lane);
        let (topic, place) = self.topics.lane_mut(lane);
        if !topic.lanes[place].is_ended() {
            topic.keep_sent(place, cut, at);
        }
    }

    /// So much of it was.
    pub(super) fn entered_flight(&mut self, lane: LaneId, count: Count) {
        let (topic, place) = self.topics.lane(lane);
        let ended = topic.lanes[place].end_reason();
        self.account(lane, |acks| {
            acks.send(count);
            if let Some(reason) = ended {
                acks.abandon(abandon_reason(reason), count);
            }
        });
        self.arm_acks(lane);
    }

    /// A message that was outstanding again was sent.
    pub(super) fn sent_again(&mut self, lane: LaneId, seq: u64) {
        let at = self.clock_of(lane);
        let (topic, place) = self.topics.lane_mut(lane);
        let count = topic.again_answered(place, seq, Some(at));
        if !topic.lanes[place].is_ended() {
            self.account(lane, |acks| acks.retries += count);
            self.arm_acks(lane);
        }
        self.again_settled(lane);
    }

    /// A message that was outstanding again was not sent: it is to be sent again, without another attempt.
    pub(super) fn returned_again(&mut self, lane: LaneId, seq: u64) {
        let (topic, place) = self.topics.lane_mut(lane);
        topic.again_answered(place, seq, None);
        if !topic.lanes[place].is_ended() {
            self.activate(lane);
            self.arm_acks(lane); // Another may be the oldest now.
        }
        self.again_settled(lane);
    }

    fn again_settled(&mut self, lane: LaneId) {
        let topic = self.topics.of_lane(lane).expect("the lane exists").0;
        self.recharge_topic(topic);
        self.remove_lane_if_settled(lane);
    }

    /// A lane is at least once.
    pub(super) fn add_acking(&mut self, session: SessionId) {
        self.acking_lanes += 1;
        self.sessions.get_mut(session).expect("a lane's session exists").add_clocked_lane();
        self.update_clock(session);
    }

    /// Whether something of a session waits for credit or acknowledgements.
    pub(super) fn is_held_up(&self, session: &Session) -> bool {
        session.lanes().iter().any(|(_, lane)| {
            let (topic, place) = self.topics.lane(*lane);
            let Some(gate) = topic.gate(place) else { return false };
            let unacknowledged = gate.acking.as_ref().map_or(0, |acking| acking.acks.unacknowledged.messages);
            unacknowledged + topic.lane_totals(place).waiting.messages > 0
        })
    }

    /// A lane has ended: what is unacknowledged is abandoned.
    pub(super) fn end_flight(&mut self, lane: LaneId, reason: LossReason) {
        let (topic, place) = self.topics.lane_mut(lane);
        let Some(acking) = topic.acking_mut(place) else { return };
        let timer = acking.timer.take();
        let count = topic.settle_through(place, u64::MAX);
        self.account(lane, |acks| acks.abandon(abandon_reason(reason), count));
        self.forget_timer(timer);
        let (topic, place) = self.topics.lane(lane);
        if let Owner::Session(session) = topic.lanes[place].owner(&self.sessions) {
            self.sessions.get_mut(session).expect("a lane's session exists").remove_clocked_lane();
        }
    }

    /// Everything unacknowledged is to be sent again, as if each message's timer had fired.
    pub(super) fn send_all_again(&mut self, lane: LaneId) {
        let (topic, place) = self.topics.lane(lane);
        if topic.acking(place).is_some() {
            self.fire(lane, Fired::All);
        }
    }

    /// A lane's timer has fired. The session's clock may have stood still since it was armed.
    pub(super) fn acks_are_due(&mut self, lane: LaneId) {
        let now = self.clock_of(lane);
        let (topic, place) = self.topics.lane(lane);
        let due = topic.acking(place).and_then(|acking| acking.flight.due());
        if due.is_some_and(|due| due <= now) {
            let owner = topic.lanes[place].owner(&self.sessions);
            self.fire(lane, Fired::At(now));
            if let Owner::Session(session) = owner
                && let Some(conn) = self.sessions.get(session).and_then(|session| session.conn())
            {
                self.refresh(conn); // It may be closed now, when draining.
            }
        } else {
            self.arm_acks(lane);
        }
    }

    fn fire(&mut self, lane: LaneId, fired: Fired) {
        let (topic, place) = self.topics.lane_mut(lane);
        let abandoned = topic.fire(place, fired);
        if abandoned.messages > 0 {
            let acking = topic.acking_mut(place).expect("an at-least-once lane");
            if !core::mem::replace(&mut acking.is_announced, true) {
                self.events.push_back(News::Abandoned(lane));
            }
            self.account(lane, |acks| acks.abandon(AbandonReason::Attempts, abandoned));
        }
        self.reopen(lane);
    }

    pub(super) fn abandoned_event(&mut self, lane: LaneId) -> Option<Event> {
        let (topic, place) = self.topics.of_lane(lane)?;
        let acking = self.topics.slab.get_mut(topic)?.acking_mut(place)?;
        acking.is_announced = false;
        Some(Event::Abandoned(lane))
    }

    /// The time on the clock of a lane's session.
    fn clock_of(&self, lane: LaneId) -> Instant {
        let (topic, place) = self.topics.lane(lane);
        let Owner::Session(session) = topic.lanes[place].owner(&self.sessions) else { return self.now };
        let clock = self.sessions.get(session).and_then(|session| session.clock());
        clock.map_or(self.now, |clock| clock.clock.time(self.now))
    }

    /// Sees to it that the lane's timer fires when it is due; while the clock stands still, that it is armed later.
    fn arm_acks(&mut self, id: LaneId) {
        let now = self.now;
        let (topic_id, place) = self.topics.of_lane(id).expect("the lane exists");
        let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
        let owner = topic.lanes[place].owner(&self.sessions);
        let Some(acking) = topic.acking_mut(place) else { return };
        let Some(due) = acking.flight.due() else { return };
        let Owner::Session(session) = owner else { return };
        let session = self.sessions.get_mut(session).expect("a lane's session exists");
        let clock = session.clock_mut().expect("it has at-least-once lanes");
        let timer = *acking.timer.get_or_insert_with(|| self.timers.add(TimerKey::Acks(id.index)));
        let at = clock.clock.shows_at(due, now);
        if self.timers.deadline(timer).is_some_and(|armed| armed <= at) {
            return; // It is armed anew then.
        }
        if clock.clock.is_stopped() && at > now {
            if !core::mem::replace(&mut acking.is_listed, true) {
                clock.waiting.push(id);
            }
            return;
        }
        self.timers.arm(timer, at);
    }

    /// The session's clock runs while it has a connection that can be written to.
    pub(super) fn update_clock(&mut self, session: SessionId) {
        let now = self.now;
        let Some(state) = self.sessions.get_mut(session) else { return };
        let conn = state.conn().and_then(|conn| self.conns.get(conn));
        let is_running = conn.is_some_and(|conn| conn.is_open() && !conn.is_writing());
        let Some(clock) = state.clock_mut() else { return };
        if clock.clock.run(is_running, now) {
            for lane in core::mem::take(&mut clock.waiting) {
                if let Some((topic, place)) = self.topics.of_lane(lane)
                    && let Some(acking) = self.topics.slab.get_mut(topic).and_then(|topic| topic.acking_mut(place))
                {
                    acking.is_listed = false;
                    self.arm_acks(lane);
                }
            }
        }
    }
}
