//! Publishes: admitted as a whole or refused as a whole.

use alloc::vec::Vec;

use super::Hub;
use crate::dialect;
use crate::error::PublishError;
use crate::id::{LaneId, TopicId};
use crate::lane::{Lane, Mark};
use crate::output::{LossReason, Message, Position, Published};
use crate::policy::Policy;
use crate::stats::Count;
use crate::topics::{Owner, Refusal, Topic, TopicLane, Window};

/// Sequence numbers stay below 2^53, so that a JSON number holds them exactly.
const SEQ_LIMIT: u64 = 1 << 53;

/// Who publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Publisher {
    /// The application: when it is refused, it is owed `Event::Drained`.
    Application,
    /// A client: when it is refused, it is parked.
    Client,
    /// A client whose publish is the first of those parked.
    Parked,
}

/// What a publish has to do where it does not fit.
#[derive(Debug, Default)]
struct Full {
    /// Lanes with so much dropped behind what is outstanding that it should be copied.
    outlived: Vec<LaneId>,
    /// Lanes that are to end.
    overflowing: Vec<LaneId>,
    /// Whether there are lanes that are not to get it.
    rejects: bool,
}

impl Hub {
    pub(super) fn publish_checked(&mut self, topic: TopicId, message: Message<'_>) -> Result<Published, PublishError> {
        if self.topics.get(topic).is_none() {
            return Err(PublishError::UnknownTopic);
        }
        if !dialect::is_publishable(message.payload) {
            return Err(PublishError::NotJson);
        }
        self.admit(topic, message, Publisher::Application)
    }

    /// First the `Block` lanes and the log bound, then the budget; if any refuses, no lane changes.
    pub(super) fn admit(
        &mut self,
        topic_id: TopicId,
        message: Message<'_>,
        publisher: Publisher,
    ) -> Result<Published, PublishError> {
        let bytes = message.payload.as_bytes().len() as u64;
        let key_bytes_max = self.config.key_bytes_max as usize;
        if message.key.len() > key_bytes_max || has_control_characters(message.key) {
            return Err(PublishError::InvalidKey);
        }
        let topic = self.topics.get_mut(topic_id).ok_or(PublishError::UnknownTopic)?;
        if bytes > u64::from(topic.options.message_bytes_max) {
            self.stats.refused_too_large += 1;
            return Err(PublishError::TooLarge);
        }
        if topic.head.messages + 1 >= SEQ_LIMIT {
            return Err(PublishError::Exhausted);
        }
        let waits_behind_others = publisher != Publisher::Parked && !topic.parked.is_empty();
        let after = Mark { messages: topic.head.messages + 1, bytes: topic.head.bytes + bytes };
        let is_due = |topic: &Topic| after.messages > topic.due.messages || after.bytes > topic.due.bytes;
        if !waits_behind_others {
            topic.forget_what_keeps_parked();
        }
        if waits_behind_others || (is_due(topic) && refuse_where_full(topic, bytes)) {
            return Err(self.refused_full(topic_id, publisher));
        }
        match self.make_room_in_log(topic_id, message) {
            Err(PublishError::Full) => return Err(self.refused_full(topic_id, publisher)),
            other => other?,
        }
        // Asked again: what was lost at a bound may have left a lane without a run.
        let is_due = self.topics.slab.get(topic_id).is_some_and(is_due);
        let full = if is_due { self.make_room_in_lanes(topic_id, after) } else { Full::default() };
        full.overflowing.into_iter().for_each(|id| self.overflow(id, LossReason::Closed));
        let before = self.append(topic_id, message);
        if full.rejects {
            self.reject_where_full(topic_id, before);
        }
        // Not before: room was made for the message.
        full.outlived.into_iter().for_each(|id| self.copy_outstanding(id));
        self.wake_idle(topic_id);
        let topic = self.topics.slab.get(topic_id).expect("the topic exists");
        let position = Position { epoch: topic.epoch, seq: topic.head.messages };
        Ok(Published { position, matched: topic.live_lanes })
    }

    fn refused_full(&mut self, topic_id: TopicId, publisher: Publisher) -> PublishError {
        if publisher == Publisher::Application {
            let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
            topic.owes_drained = true;
            self.stats.refused_full += 1;
        }
        PublishError::Full
    }

    /// The lanes' policies act, so that the message that makes `after` the head fits every lane that drops the oldest; when
    /// the next look is due follows in the same pass. What the other policies do is found out, and not done yet.
    fn make_room_in_lanes(&mut self, topic_id: TopicId, after: Mark) -> Full {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let (head, more, reason) = (topic.head, topic.head.to(after), LossReason::Oldest);
        let mut full = Full::default();
        topic.due = Mark { messages: u64::MAX, bytes: u64::MAX };
        for place in 0..topic.lanes.len() {
            let TopicLane { id, policy, end_reason, .. } = topic.lanes[place];
            let Some(lane) = topic.run_lane(place).filter(|_| end_reason.is_none()) else { continue };
            if !lane.fits(head, more) {
                match policy {
                    Policy::DropOldest => {
                        let lost = topic.change(place, |lane, log| lane.trim(head, more, reason, |seq| log.mark(seq)));
                        topic.totals.lose(reason, lost);
                        self.stats.lanes.lose(reason, lost);
                        if topic.run_lane(place).is_some_and(Lane::outlived_its_outstanding) {
                            full.outlived.push(id);
                        }
                    }
                    Policy::DropNewest => full.rejects = true,
                    Policy::Disconnect => full.overflowing.push(id),
                    Policy::Block | Policy::LatestPerKey | Policy::LatestOnly => {
                        unreachable!("a full Block lane refuses, and the latest messages always fit")
                    }
                }
            }
            let due = topic.run_lane(place).expect("just looked at").due(after);
            topic.due.messages = topic.due.messages.min(due.messages);
            topic.due.bytes = topic.due.bytes.min(due.bytes);
        }
        full
    }

    /// The lanes that reject what does not fit lose the newest message, which was published at the head `before`.
    fn reject_where_full(&mut self, topic_id: TopicId, before: Mark) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let (head, reason) = (topic.head, LossReason::Newest);
        for place in 0..topic.lanes.len() {
            let TopicLane { policy, end_reason, .. } = topic.lanes[place];
            if policy != Policy::DropNewest || end_reason.is_some() {
                continue;
            }
            let lane = topic.run_lane(place).expect("its policy is about runs");
            if !lane.fits(before, before.to(head)) {
                let lost = topic.change(place, |lane, _| lane.reject(before, head));
                topic.totals.lose(reason, lost);
                self.stats.lanes.lose(reason, lost);
                topic.look_at(place); // It may have no run left.
            }
        }
    }

    /// Writes the message behind the others. The head before it.
    fn append(&mut self, topic_id: TopicId, message: Message<'_>) -> Mark {
        let hub_room = self.resident_bytes_max_for_logs().saturating_sub(self.stats.resident_bytes);
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let is_aging = topic.aging_lanes > 0;
        let (seq, bytes) = (topic.head.messages + 1, message.payload.as_bytes().len() as u64);
        let (growth, log_room) = (topic.growth(message), topic.options.log_bytes_max.saturating_sub(topic.charged.log));
        // What is left when every log has what it needs: chunks may be as much larger.
        let mut spare = log_room.saturating_sub(growth.log).min(hub_room.saturating_sub(growth.hub));
        self.stamp += 1;
        for encoded in topic.logs.iter_mut().flatten() {
            let (dialect, prefix) = (encoded.dialect, &encoded.prefix);
            let len = dialect.message_bytes(prefix, seq, message);
            if is_aging {
                encoded.log.begin_tick(self.now);
            }
            let (before, needed) = (encoded.log.resident(), encoded.log.growth(len));
            encoded.log.append((bytes, len), (self.stamp, self.now), needed + spare, |out| {
                dialect.put_message(out, prefix, seq, message);
            });
            // It may have become smaller: opening a chunk gives back the last one if nobody needs it.
            let grown = encoded.log.resident().saturating_sub(before);
            spare = spare.saturating_sub(grown.saturating_sub(needed));
        }
        let before = topic.head;
        topic.head = Mark { messages: seq, bytes: topic.head.bytes + bytes };
        topic.totals.enter(u64::from(topic.live_lanes), bytes);
        self.stats.lanes.enter(u64::from(topic.live_lanes), bytes);
        self.stats.published += Count::new(1, bytes);
        let has_log = topic.logs.iter().any(Option::is_some);
        if has_log && !core::mem::replace(&mut topic.is_unfrozen, true) {
            self.unfrozen.push(topic_id);
        }
        self.put_latest(topic_id, message);
        self.recharge_topic(topic_id);
        self.look_at_age_from_now(topic_id);
        before
    }

    fn wake_idle(&mut self, topic_id: TopicId) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let mut idle = core::mem::take(&mut topic.idle);
        for id in idle.drain(..) {
            if let Some((topic_id, place)) = self.topics.of_lane(id) {
                let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
                topic.lanes[place].idle_place = None;
                if topic.lanes[place].end_reason.is_none() {
                    self.activate(id);
                }
            }
        }
        self.topics.slab.get_mut(topic_id).expect("the topic exists").idle = idle;
    }

    /// The lane has something to send, or to tell.
    pub(super) fn activate(&mut self, id: LaneId) {
        let (topic, place) = self.topics.lane_mut(id);
        let lane = &mut topic.lanes[place];
        if core::mem::replace(&mut lane.is_active, true) {
            return;
        }
        match lane.owner {
            Owner::Local => {
                if !core::mem::replace(&mut lane.is_announced, true) {
                    self.events.push_back(super::News::Lane(id));
                }
            }
            Owner::Session(session) => {
                let session = self.sessions.get_mut(session).expect("a lane's session exists");
                session.activate(id);
                let conn = session.conn;
                self.make_ready(conn);
            }
        }
    }

    /// A lane has less to hold than before: publishes it refused may fit now.
    pub(super) fn lane_progressed(&mut self, id: LaneId) {
        let (topic_id, place) = self.topics.of_lane(id).expect("the lane exists");
        let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
        let head = topic.head;
        let TopicLane { window: Window::Log(lane), refusal, keeps_parked, end_reason, .. } = &mut topic.lanes[place]
        else {
            return; // It never refuses.
        };
        let may_fit = keeps_parked.is_some_and(|bytes| end_reason.is_some() || lane.fits(head, Count::new(1, bytes)));
        if may_fit {
            *keeps_parked = None;
            topic.keeping_parked -= 1;
        }
        let is_over = refusal.is_some_and(|refusal| {
            let is_empty = lane.load(head) == Count::default();
            end_reason.is_some() || (lane.is_drained(head, refusal.bytes) && (is_empty || !refusal.until_empty))
        });
        if is_over {
            *refusal = None;
            topic.refusing -= 1;
        }
        if (is_over && topic.refusing == 0) || (may_fit && topic.keeping_parked == 0) {
            self.may_have_room(topic_id);
        }
    }

    /// Parked publishes of the topic are tried again at the end of this call.
    pub(super) fn may_have_room(&mut self, topic_id: TopicId) {
        if let Some(topic) = self.topics.slab.get_mut(topic_id)
            && !core::mem::replace(&mut topic.has_room, true)
        {
            self.room.push(topic_id);
        }
    }

    /// Tells the application of room, if it was refused and every lane that refused has room again.
    pub(super) fn announce_drained(&mut self, topic_id: TopicId) {
        let Some(topic) = self.topics.get_mut(topic_id) else { return };
        if topic.owes_drained && topic.is_drained() && !core::mem::replace(&mut topic.is_announced, true) {
            self.events.push_back(super::News::Topic(topic_id));
        }
    }
}

impl Topic {
    /// Whether no lane and no parked publish keeps others from being taken.
    pub(super) fn is_drained(&self) -> bool {
        self.refusing == 0 && self.parked.is_empty()
    }

    /// A lane refuses a publish.
    pub(super) fn refuse(&mut self, place: usize, bytes: u64, until_empty: bool) {
        let lane = &mut self.lanes[place];
        let before = lane.refusal.unwrap_or_else(|| {
            self.refusing += 1;
            Refusal { bytes: 0, until_empty: false }
        });
        let until_empty = before.until_empty || until_empty;
        lane.refusal = Some(Refusal { bytes: before.bytes.max(bytes), until_empty });
        self.keeping_parked += u32::from(lane.keeps_parked.replace(bytes).is_none());
    }

    /// Another publish is tried: which lanes have no room for it is found out anew.
    fn forget_what_keeps_parked(&mut self) {
        if core::mem::take(&mut self.keeping_parked) > 0 {
            self.lanes.iter_mut().for_each(|lane| lane.keeps_parked = None);
        }
    }
}

/// Whether a text has a character that cannot stand in a name.
pub(super) fn has_control_characters(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 || byte == 0x7F)
}

/// Marks every `Block` lane that has no room for a message; whether there is any.
fn refuse_where_full(topic: &mut Topic, bytes: u64) -> bool {
    let (head, mut is_full) = (topic.head, false);
    for place in 0..topic.lanes.len() {
        let TopicLane { policy, end_reason, .. } = topic.lanes[place];
        let lane = topic.run_lane(place).filter(|_| policy == Policy::Block && end_reason.is_none());
        if lane.is_some_and(|lane| !lane.fits(head, Count::new(1, bytes))) {
            topic.refuse(place, bytes, false);
            is_full = true;
        }
    }
    is_full
}
