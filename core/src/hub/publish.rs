//! Publishes: admitted as a whole or refused as a whole.

use alloc::vec::Vec;

use super::Hub;
use crate::delivery::Class;
use crate::dialect;
use crate::error::PublishError;
use crate::id::{LaneId, TopicId};
use crate::lane::{Mark, Standing};
use crate::output::{LossReason, Message, Position, Published};
use crate::policy::Policy;
use crate::stats::{Count, Level};
use crate::topics::{Owner, Refusal, Topic, TopicLane};

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
#[derive(Debug)]
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
        self.admit(topic, message, Publisher::Application)
    }

    /// First the `Block` lanes and the log bound, then the budget; if any refuses, no lane changes.
    pub(super) fn admit(
        &mut self,
        topic_id: TopicId,
        message: Message<'_>,
        publisher: Publisher,
    ) -> Result<Published, PublishError> {
        if self.topics.get(topic_id).is_none() {
            return Err(PublishError::UnknownTopic);
        }
        let id = self.publish_id(message)?;
        if let Some(before) = self.duplicate(topic_id, id) {
            return Ok(before);
        }
        // What a client publishes was looked at when its request was.
        if publisher == Publisher::Application && !dialect::is_publishable(message.payload) {
            return Err(PublishError::NotJson);
        }
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
        if topic.options.class == Class::Low && self.level.level() >= Level::High {
            return Err(self.refused_overloaded());
        }
        self.look_at_rate(topic_id, publisher)?;
        let topic = self.topics.get_mut(topic_id).expect("just looked up");
        let waits_behind_others = publisher != Publisher::Parked && !topic.parked.is_empty();
        if waits_behind_others {
            return Err(self.refused_full(topic_id, publisher));
        }
        topic.forget_what_keeps_parked();
        topic.look_around(Count::new(1, bytes));
        if topic.refuse_where_full(bytes) {
            self.levels_of_refusing(topic_id);
            return Err(self.refused_full(topic_id, publisher));
        }
        match self.make_room_in_log(topic_id, message) {
            Err(PublishError::Full) => {
                self.levels_of_refusing(topic_id);
                return Err(self.refused_full(topic_id, publisher));
            }
            other => other?,
        }
        // Asked again: what was lost at a bound may have left a lane without a run.
        self.topics.slab.get_mut(topic_id).expect("the topic exists").look_around(Count::new(1, bytes));
        let full = self.make_room_in_lanes(topic_id, Count::new(1, bytes));
        full.overflowing.into_iter().for_each(|id| self.overflow(id, LossReason::Closed));
        let before = self.append(topic_id, message);
        self.remember(topic_id, id);
        if full.rejects {
            self.reject_where_full(topic_id, before);
        }
        // Not before: room was made for the message.
        full.outlived.into_iter().for_each(|id| self.copy_outstanding(id));
        self.flush_or_wait(topic_id, publisher == Publisher::Application);
        let topic = self.topics.slab.get(topic_id).expect("the topic exists");
        let position = Position { epoch: topic.epoch, seq: topic.head.messages };
        Ok(Published { position, matched: topic.live_lanes, is_duplicate: false })
    }

    fn refused_full(&mut self, topic_id: TopicId, publisher: Publisher) -> PublishError {
        if publisher == Publisher::Application {
            let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
            topic.owes_drained = true;
            self.stats.refused_full += 1;
        }
        PublishError::Full
    }

    /// The lanes' policies act, so that `more`, the next message, fits every lane that drops the oldest. What the other
    /// policies do is found out, and not done yet.
    fn make_room_in_lanes(&mut self, topic_id: TopicId, more: Count) -> Full {
        let reason = LossReason::Oldest;
        let (mut outlived, mut overflowing, mut rejects) = (Vec::new(), Vec::new(), false);
        let mut nth = 0;
        loop {
            let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
            let Some(place) = topic.near(nth) else { break };
            let (head, terms) = (topic.head, *topic.terms(place));
            let lane = topic.run_lane(place).expect("the latest messages always fit");
            if lane.fits(&terms, head, more) {
                if topic.look_at_for(place, more) {
                    self.level_rises(topic_id, place, more, false);
                }
                nth = self.near_after(topic_id, nth, place);
                continue;
            }
            match terms.policy {
                Policy::DropOldest => {
                    let lost =
                        topic.change(place, |lane, log| lane.trim(&terms, (head, more), reason, |seq| log.mark(seq)));
                    topic.totals.lose(reason, lost);
                    self.stats.lanes.lose(reason, lost);
                    if topic.run_lane(place).is_some_and(|lane| lane.outlived_its_outstanding(&terms)) {
                        outlived.push(place);
                    }
                    self.level_rises(topic_id, place, more, true);
                }
                Policy::DropNewest => rejects = true,
                Policy::Disconnect => overflowing.push(place),
                Policy::Block if topic.lanes[place].is(TopicLane::DETACHED) => overflowing.push(place),
                Policy::Block | Policy::LatestPerKey | Policy::LatestOnly => {
                    unreachable!("a full Block lane refuses, and the latest messages always fit")
                }
            }
            nth = self.near_after(topic_id, nth, place);
        }
        // What follows does not depend on the order in which lanes became nearly full.
        outlived.sort_unstable();
        overflowing.sort_unstable();
        let ids = |places: Vec<usize>| places.into_iter().map(|place| self.topics.id_at(topic_id, place)).collect();
        Full { outlived: ids(outlived), overflowing: ids(overflowing), rejects }
    }

    /// The number of the next lane near a mark, after the `nth`, which was at `place`: it may have left, and another have come
    /// in its stead.
    fn near_after(&self, topic_id: TopicId, nth: usize, place: usize) -> usize {
        let topic = self.topics.slab.get(topic_id).expect("the topic exists");
        nth + usize::from(topic.near(nth) == Some(place))
    }

    /// The lanes that reject what does not fit lose the newest message, which was published at the head `before`.
    fn reject_where_full(&mut self, topic_id: TopicId, before: Mark) {
        let reason = LossReason::Newest;
        let mut nth = 0;
        loop {
            let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
            let Some(place) = topic.near(nth) else { return };
            let (head, terms) = (topic.head, *topic.terms(place));
            let is_full = |lane: &Standing| !lane.fits(&terms, before, before.to(head));
            if terms.policy == Policy::DropNewest && topic.run_lane(place).is_some_and(is_full) {
                let lost = topic.change(place, |lane, _| lane.reject(before, head));
                topic.totals.lose(reason, lost);
                self.stats.lanes.lose(reason, lost);
                self.level_rises(topic_id, place, Count::default(), true);
            }
            nth = self.near_after(topic_id, nth, place);
        }
    }

    /// Writes the message behind the others. The head before it.
    fn append(&mut self, topic_id: TopicId, message: Message<'_>) -> Mark {
        let hub_room = self.resident_bytes_max_for_logs().saturating_sub(self.stats.resident_bytes);
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        // Whoever starts in the history may have an `age_max`.
        let is_aging = !topic.aging.is_empty() || topic.options.history.is_some();
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
        if let Some(rate) = topic.options.publish_rate {
            topic.published.take(rate, 1, self.now);
        }
        topic.totals.enter(u64::from(topic.live_lanes), bytes);
        self.stats.lanes.enter(u64::from(topic.live_lanes), bytes);
        self.stats.published += Count::new(1, bytes);
        self.put_latest(topic_id, message);
        self.trim_history(topic_id);
        self.look_at_age_from_now(topic_id);
        before
    }

    /// The lane has something to send, or to tell.
    pub(super) fn activate(&mut self, id: LaneId) {
        let (topic, place) = self.topics.of_lane(id).expect("the lane exists");
        self.activate_at(topic, place);
    }

    pub(super) fn activate_at(&mut self, topic_id: TopicId, place: usize) {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        if topic.is_shut(place) && !topic.has_something(place) {
            return; // What opens it activates it.
        }
        let lane = &mut topic.lanes[place];
        if lane.set(TopicLane::ACTIVE, true) {
            return;
        }
        match lane.owner(&self.sessions) {
            Owner::Local => {
                let is_listed = lane.set(TopicLane::ANNOUNCED, true);
                let id = self.topics.id_at(topic_id, place);
                self.events.extend((!is_listed).then_some(super::News::Lane(id)));
            }
            Owner::Session(session) => {
                let id = self.topics.id_at(topic_id, place);
                let session = self.sessions.get_mut(session).expect("a lane's session exists");
                session.activate(id);
                if let Some(conn) = session.conn() {
                    self.make_ready(conn);
                }
            }
        }
    }

    /// A lane has less to hold than before: publishes it refused may fit now.
    pub(super) fn lane_progressed(&mut self, id: LaneId) {
        let (topic_id, place) = self.topics.of_lane(id).expect("the lane exists");
        let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
        if topic.watched(place).is_some() && !topic.lanes[place].is_ended() {
            self.look_at_level(topic_id, place, false);
        }
        let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
        let Some((refusal, keeps_parked)) = topic.watched(place).map(|watched| (watched.refusal, watched.keeps_parked))
        else {
            return; // It refused nothing.
        };
        let (head, terms, low) = (topic.head, *topic.terms(place), topic.marks.low());
        let lane = topic.run_lane(place).expect("the latest messages are not watched");
        let is_ended = lane.is_ended();
        let may_fit = keeps_parked.is_some_and(|bytes| is_ended || lane.fits(&terms, head, Count::new(1, bytes)));
        let is_over = refusal.is_some_and(|refusal| {
            let is_empty = lane.load(&terms, head) == Count::default();
            is_ended || (lane.is_drained(&terms, head, refusal.bytes, low) && (is_empty || !refusal.until_empty))
        });
        topic.keeping_parked -= u32::from(may_fit);
        topic.refusing -= u32::from(is_over);
        let watched = topic.watch(place);
        watched.keeps_parked = keeps_parked.filter(|_| !may_fit);
        watched.refusal = refusal.filter(|_| !is_over);
        topic.unwatch_if_forgettable(place);
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
        let watched = self.watch(place);
        let before = watched.refusal.unwrap_or(Refusal { bytes: 0, until_empty: false });
        let is_new = watched.refusal.is_none();
        let until_empty = before.until_empty || until_empty;
        watched.refusal = Some(Refusal { bytes: before.bytes.max(bytes), until_empty });
        let was_keeping = watched.keeps_parked.replace(bytes).is_some();
        self.refusing += u32::from(is_new);
        self.keeping_parked += u32::from(!was_keeping);
    }

    /// Another publish is tried: which lanes have no room for it is found out anew.
    fn forget_what_keeps_parked(&mut self) {
        if core::mem::take(&mut self.keeping_parked) > 0 {
            self.forget_parked();
        }
    }

    /// Whether a publish has to wait for a lane. A detached one cannot be waited for.
    pub(super) fn may_refuse(&self, place: usize) -> bool {
        let lane = &self.lanes[place];
        self.policy(place) == Policy::Block && !lane.is_ended() && !lane.is(TopicLane::DETACHED)
    }

    /// Marks every `Block` lane that has no room for a message; whether there is any.
    fn refuse_where_full(&mut self, bytes: u64) -> bool {
        if self.options.policy != Policy::Block {
            return false; // Nobody chooses it.
        }
        let (head, mut is_full, mut nth) = (self.head, false, 0);
        while let Some(place) = self.near(nth) {
            nth += 1;
            let terms = *self.terms(place);
            let has_room = |lane: &Standing| lane.fits(&terms, head, Count::new(1, bytes));
            if self.may_refuse(place) && !self.run_lane(place).is_none_or(has_room) {
                self.refuse(place, bytes, false);
                is_full = true;
            }
        }
        is_full
    }
}

/// Whether a text has a character that cannot stand in a name.
pub(super) fn has_control_characters(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 || byte == 0x7F)
}
