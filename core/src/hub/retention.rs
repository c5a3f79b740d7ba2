//! Memory: the log bound of a topic and the budget of the hub, by allocated capacity.
//!
//! At a bound, compressed forms and idle capacity go first, then history, then lossy lanes on the oldest blocks of the largest log. A `Block`
//! lane loses nothing: where it stands on the oldest block, its topic counts as full.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Hub;
use crate::conn::{Copied, Segment, Source};
use crate::error::PublishError;
use crate::id::{ConnId, LaneId, TopicId};
use crate::lane::{Mark, Run};
use crate::latest::Resident;
use crate::output::{LossReason, Message};
use crate::policy::Policy;
use crate::topics::{Owner, Settings, Topic, TopicLane};

/// Shedding for the budget frees 1/64 of it more than is needed, so that not every publish has to shed.
const SHED_MORE: usize = 64;

/// 1/16 of the budget is not for logs.
const RESERVED_FOR_CONNECTIONS: usize = 16;

impl Hub {
    /// Makes room for a message in its topic's logs, or refuses it before any lane changed.
    pub(super) fn make_room_in_log(&mut self, topic_id: TopicId, message: Message<'_>) -> Result<(), PublishError> {
        let hub_max = self.resident_bytes_max_for_logs();
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let log_bytes_max = topic.options.log_bytes_max;
        let growth = topic.growth(message);
        let is_over_log = topic.charged.log + growth.log > log_bytes_max;
        let is_over_hub = self.stats.resident_bytes + growth.hub > hub_max;
        if !is_over_log && !is_over_hub {
            return Ok(());
        }
        topic.shrink();
        self.recharge_topic(topic_id);
        self.drop_history_for(topic_id, message);
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let (freeable, growth) = (topic.freeable(), topic.growth(message));
        let growth_without = topic.growth_without(message);
        let is_over_log = topic.charged.log + growth.log > log_bytes_max;
        if is_over_log && topic.charged.log - freeable.log + growth_without > log_bytes_max {
            let bytes = message.payload.as_bytes().len() as u64;
            let is_blocked = topic.refuse_where_pinned(bytes);
            return Err(if is_blocked { PublishError::Full } else { self.refused_overloaded() });
        }
        let (growth_at_most, ids) = (topic.growth_at_most(message), topic.id_growth(message));
        let ids_at_most = topic.id_growth_at_most(message);
        let over = |growth: usize| (self.stats.resident_bytes + growth).saturating_sub(hub_max);
        let freed_by_log_bound = if is_over_log { freeable.hub } else { 0 };
        // Shedding may take from this topic, too, and leave it with nothing: not even an index.
        if over(growth.hub.max(growth_without + ids)) > freed_by_log_bound
            && !self.shed(over(growth_at_most + ids_at_most))
        {
            return Err(self.refused_overloaded());
        }
        self.drop_for_log_bound(topic_id, message);
        Ok(())
    }

    /// Up to where logs may use the budget. The rest is for what connections need to get rid of what they have: replies,
    /// notices, the rest of a message sent in part. Logs use whatever they get.
    pub(super) fn resident_bytes_max_for_logs(&self) -> usize {
        let budget = self.config.resident_bytes_max;
        budget - budget / RESERVED_FOR_CONNECTIONS
    }

    pub(super) fn refused_overloaded(&mut self) -> PublishError {
        self.stats.refused_overloaded += 1;
        PublishError::Overloaded
    }

    /// What the history keeps alone goes before anything is refused.
    fn drop_history_for(&mut self, topic_id: TopicId, message: Message<'_>) {
        loop {
            let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
            let is_over_log = topic.charged.log + topic.growth(message).log > topic.options.log_bytes_max;
            if !is_over_log || !self.drop_history(topic_id) {
                return;
            }
        }
    }

    fn drop_for_log_bound(&mut self, topic_id: TopicId, message: Message<'_>) {
        let hub_max = self.resident_bytes_max_for_logs();
        loop {
            let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
            let growth = topic.growth(message);
            let is_over_log = topic.charged.log + growth.log > topic.options.log_bytes_max;
            let is_over_hub = self.stats.resident_bytes + growth.hub > hub_max;
            if !(is_over_log || is_over_hub) || !self.drop_oldest(topic_id, LossReason::LogBound) {
                return;
            }
        }
    }

    /// Whether `bytes` more may be held for a connection; sheds lanes for it if need be.
    pub(super) fn make_room_for(&mut self, bytes: usize) -> bool {
        // A growing buffer is moved into one of twice the size.
        let wanted = self.stats.resident_bytes + 2 * bytes;
        let excess = wanted.saturating_sub(self.config.resident_bytes_max);
        excess == 0 || self.shed(excess)
    }

    /// Frees `excess` bytes of logs, or changes nothing but idle capacity, histories and publish ids.
    fn shed(&mut self, excess: usize) -> bool {
        // More than there is cannot be freed.
        let Some(target) = self.stats.resident_bytes.checked_sub(excess) else { return false };
        let mut topics: Vec<(usize, TopicId)> = Vec::new();
        let ids: Vec<TopicId> =
            self.topics.slab.iter().filter(|(_, topic)| topic.charged.log > 0).map(|(id, _)| id).collect();
        for id in ids {
            let topic = self.topics.slab.get_mut(id).expect("just listed");
            topic.shrink();
            self.recharge_topic(id);
            let topic = self.topics.slab.get(id).expect("just listed");
            topics.push((topic.charged.log, id));
        }
        if self.stats.resident_bytes <= target {
            return true;
        }
        self.level.is_at_limit = true;
        topics.sort_unstable_by(|a, b| b.cmp(a));
        let wanted = target.saturating_sub(self.config.resident_bytes_max / SHED_MORE);
        // Nobody is promised a history, nor for how long ids are known: they go even if that is not enough.
        for (_, id) in &topics {
            while self.stats.resident_bytes > wanted && self.drop_history(*id) {}
        }
        self.forget_ids(wanted);
        if self.stats.resident_bytes <= target {
            return true;
        }
        let freeable = |id: &TopicId| self.topics.slab.get(*id).map_or(0, |topic| topic.freeable().hub);
        let all: usize = topics.iter().map(|(_, id)| freeable(id)).sum();
        if self.stats.resident_bytes.saturating_sub(all) > target {
            return false;
        }
        for (nth, (_, id)) in topics.iter().enumerate() {
            // The largest log gives until it is as small as the next one; so all end up level.
            let floor = topics.get(nth + 1).map_or(0, |(charged, _)| *charged);
            while self.stats.resident_bytes > wanted && self.charged(*id) > floor / 2 {
                if !self.drop_oldest(*id, LossReason::Overload) {
                    break;
                }
            }
            if self.stats.resident_bytes <= target {
                return true;
            }
        }
        // What the floors spared.
        for (_, id) in &topics {
            while self.stats.resident_bytes > target && self.drop_oldest(*id, LossReason::Overload) {}
        }
        self.stats.resident_bytes <= target
    }

    fn charged(&self, id: TopicId) -> usize {
        self.topics.slab.get(id).map_or(0, |topic| topic.charged.log)
    }

    /// The oldest key is forgotten; where none is known, lossy lanes on the oldest block that can go lose it, and so does the
    /// history. `false` if there is none either.
    fn drop_oldest(&mut self, topic_id: TopicId, reason: LossReason) -> bool {
        self.forget_key(topic_id, reason) || self.drop_oldest_block(topic_id, reason)
    }

    /// The history loses its oldest block, if it keeps it alone.
    fn drop_history(&mut self, topic_id: TopicId) -> bool {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let is_dropped = topic.drop_history_block();
        if is_dropped {
            topic.shrink_empty();
            self.recharge_topic(topic_id);
        }
        is_dropped
    }

    fn drop_oldest_block(&mut self, topic_id: TopicId, reason: LossReason) -> bool {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let limit = topic.droppable();
        let Some((encoding, through)) = topic.oldest_block(limit) else { return false };
        let head = topic.head;
        topic.cut_history(through); // Nobody lets go of it while the history keeps it.
        // Detached sessions end before others lose anything.
        let mut overflowing = topic.detached_on(encoding, through);
        let lanes = if overflowing.is_empty() { topic.lanes.len() } else { 0 };
        for place in 0..lanes {
            let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
            let Settings { terms, encoding: reads, .. } = *topic.settings(place);
            let Some(lane) = topic.run_lane(place) else { continue };
            if reads != encoding || lane.is_ended() {
                continue;
            }
            if terms.policy == Policy::Disconnect || topic.acking(place).is_some() {
                // It loses nothing: it ends.
                let is_there = topic.needed_after(place).is_some_and(|after| after.messages < through.messages);
                overflowing.extend(is_there.then_some(place));
                continue;
            }
            let lost = topic.change(place, |lane, _| lane.drop_through(through, head, reason));
            topic.totals.lose(reason, lost);
            self.stats.lanes.lose(reason, lost);
            topic.look_at(place); // What is outstanding may stand apart now, and count as a run.
            self.look_at_level(topic_id, place, false);
        }
        let overflowing: Vec<LaneId> =
            overflowing.into_iter().map(|place| self.topics.id_at(topic_id, place)).collect();
        overflowing.into_iter().for_each(|id| self.overflow(id, reason));
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        topic.shrink_empty();
        self.recharge_topic(topic_id);
        true
    }

    /// Copies what is outstanding of a lane to its connection, so that the log need not keep it.
    pub(super) fn copy_outstanding(&mut self, id: LaneId) {
        let (topic, place) = self.topics.lane(id);
        let Owner::Session(session) = topic.lanes[place].owner(&self.sessions) else { return };
        let Some(conn_id) = self.sessions.get(session).expect("a lane's session exists").conn() else { return };
        self.spell_out(conn_id);
        let (topic, place) = self.topics.lane(id);
        let conn = self.conns.get_mut(conn_id).expect("a session's connection exists");
        let log = topic.log(place);
        let out = conn.outbound_mut().and_then(|outbound| outbound.outstanding.as_mut());
        let segments = out.into_iter().flat_map(|out| &mut out.segments);
        let runs: Vec<(Run, bool, &mut Option<Box<Copied>>)> = segments
            .filter_map(|segment| match segment {
                Segment::Messages { source: Source::Lane(lane), run, is_formed, copy, .. }
                    if *lane == id && copy.is_none() =>
                {
                    Some((*run, *is_formed, copy))
                }
                _ => None,
            })
            .collect();
        let bytes_max =
            |run: Run, is_formed| if is_formed { log.form(run).resident() } else { log.copy_bytes_max(run) };
        let wanted: usize = runs.iter().map(|(run, is_formed, _)| bytes_max(*run, *is_formed)).sum();
        if self.stats.resident_bytes + wanted > self.config.resident_bytes_max {
            return; // Later, when there is room.
        }
        for (run, is_formed, copy) in runs {
            let copied = if is_formed { Copied::Form(log.form(run).clone()) } else { Copied::Log(log.copy_of(run)) };
            *copy = Some(Box::new(copied));
        }
        let (topic, place) = self.topics.lane_mut(id);
        topic.change(place, |lane, _| lane.unhold());
        let topic_id = self.topics.of_lane(id).expect("the lane exists").0;
        self.recharge_topic(topic_id);
        self.recharge_conn(conn_id);
    }

    pub(super) fn recharge_topic(&mut self, id: TopicId) {
        if let Some(topic) = self.topics.slab.get_mut(id) {
            let resident = topic.resident();
            let before = core::mem::replace(&mut topic.charged, resident);
            self.recharge(before.hub, resident.hub);
        }
    }

    pub(super) fn recharge_conn(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            let resident = conn.resident();
            let before = core::mem::replace(&mut conn.charged, resident);
            self.recharge(before, resident);
        }
    }

    pub(super) fn recharge(&mut self, before: usize, after: usize) {
        if before == after {
            return;
        }
        let rest =
            self.stats.resident_bytes.checked_sub(before).expect("the ledger never releases what it did not charge");
        self.stats.resident_bytes = rest + after;
    }
}

impl Topic {
    /// How many resident bytes a publish adds at the least.
    pub(super) fn growth(&mut self, message: Message<'_>) -> Resident {
        let seq = self.head.messages + 1;
        let logs = self.logs.iter_mut().flatten();
        let logs: usize =
            logs.map(|encoded| encoded.log.growth(encoded.dialect.message_bytes(&encoded.prefix, seq, message))).sum();
        Resident::of_both(logs) + self.latest_growth(message) + Resident { log: 0, hub: self.id_growth(message) }
    }

    /// The most a publish may add once lossy lanes have lost what they may.
    fn growth_without(&mut self, message: Message<'_>) -> usize {
        let (seq, limit) = (self.head.messages + 1, self.droppable().messages);
        let logs = self.logs.iter_mut().flatten();
        let logs: usize = logs
            .map(|encoded| {
                let len = encoded.dialect.message_bytes(&encoded.prefix, seq, message);
                encoded.log.growth_without(limit, len)
            })
            .sum();
        logs + self.latest_growth_without(message)
    }

    /// The most a publish may add, whatever is shed before.
    fn growth_at_most(&self, message: Message<'_>) -> usize {
        let seq = self.head.messages + 1;
        let logs = self.logs.iter().flatten();
        let logs: usize = logs
            .map(|encoded| encoded.log.growth_at_most(encoded.dialect.message_bytes(&encoded.prefix, seq, message)))
            .sum();
        logs + self.latest_growth_without(message)
    }

    /// Gives back idle capacity, and what can be made anew.
    fn shrink(&mut self) {
        for encoded in self.logs.iter_mut().flatten() {
            encoded.log.drop_forms();
            encoded.log.shrink();
        }
        self.keyed.iter_mut().flatten().for_each(|keyed| keyed.latest.drop_forms());
    }

    /// Gives back the capacity of logs that hold nothing.
    fn shrink_empty(&mut self) {
        let empty = self.logs.iter_mut().flatten().filter(|encoded| encoded.log.is_empty());
        empty.for_each(|encoded| encoded.log.shrink());
    }

    /// Lanes of detached sessions for which a block has to be kept that ends at `through`.
    fn detached_on(&self, encoding: usize, through: Mark) -> Vec<usize> {
        let is_there = |place: &usize| {
            self.lanes[*place].is(TopicLane::DETACHED)
                && self.settings(*place).encoding == encoding
                && self.needed_after(*place).is_some_and(|after| after.messages < through.messages)
        };
        (0..self.lanes.len()).filter(is_there).collect()
    }

    /// Up to where every message may be dropped: before what the first `Block` lane needs.
    fn droppable(&self) -> Mark {
        let lanes = (0..self.lanes.len()).filter(|place| self.may_refuse(*place));
        let needed = lanes.filter_map(|place| self.needed_after(place));
        needed.min_by_key(|mark| mark.messages).unwrap_or(self.head)
    }

    /// Bytes that would go if every lossy lane lost what it may.
    fn freeable(&self) -> Resident {
        let limit = self.droppable().messages;
        let logs: usize = self.logs.iter().flatten().map(|encoded| encoded.log.freeable(limit)).sum();
        Resident::of_both(logs) + self.latest_freeable()
    }

    /// The oldest block that would go if lossy lanes lost it, in the largest log that has one: its last message.
    fn oldest_block(&self, limit: Mark) -> Option<(usize, Mark)> {
        let logs = self.logs.iter().enumerate().filter_map(|(encoding, log)| Some((encoding, log.as_ref()?)));
        let ends = logs.filter_map(|(encoding, encoded)| {
            let end = encoded.log.oldest_droppable(limit.messages)?;
            Some((encoded.log.resident(), encoding, end))
        });
        ends.max_by_key(|(resident, ..)| *resident).map(|(_, encoding, end)| (encoding, end))
    }

    /// `Block` lanes that keep the log full refuse until they are empty; whether there is any.
    fn refuse_where_pinned(&mut self, bytes: u64) -> bool {
        let limit = self.droppable();
        let mut is_pinned = false;
        for place in 0..self.lanes.len() {
            let terms = *self.terms(place);
            if self.may_refuse(place) {
                let lane = self.run_lane(place).expect("its policy is about runs");
                let is_waiting = lane.load(&terms, self.head).messages > 0;
                let after = self.needed_after(place).unwrap_or(self.head);
                if is_waiting && after.messages <= limit.messages {
                    self.refuse(place, bytes, true);
                    is_pinned = true;
                }
            }
        }
        is_pinned
    }
}
