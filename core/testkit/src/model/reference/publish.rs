//! A publish: refused as a whole, or for every lane what its policy says.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use forebay_core::{ConnId, DisconnectScope, LossReason, PUBLISH_ID_BYTES_MAX, Policy, PublishError};

use super::topics::is_control;
use super::{Front, LaneKey, Message, Owner, Reference, Topic, TopicKey, one};
use crate::model::text;

/// What is published.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) key: Rc<str>,
    pub(crate) is_text: bool,
    pub(crate) bytes: Rc<[u8]>,
    /// The publisher's name for it; empty: none.
    pub(crate) id: Rc<str>,
}

impl Draft {
    pub(crate) fn with_id(self, id: &str) -> Self {
        Self { id: id.into(), ..self }
    }
}

/// A publish that was taken: its number, how many lanes it enters, whether it was taken before.
pub(crate) type Taken = (u64, u32, bool);

impl super::Refused {
    /// Whether this lane keeps somebody waiting.
    pub(super) fn has(&self, lane: LaneKey) -> bool {
        self.lanes.contains_key(&lane) || self.emptied.contains(&lane)
    }
}

impl Reference {
    pub(crate) fn is_good_key(&self, key: &str) -> bool {
        key.len() <= self.options.key_bytes_max as usize && !key.chars().any(is_control)
    }

    /// The application publishes.
    pub(crate) fn publish(&mut self, topic: Option<TopicKey>, draft: &Draft) -> Result<Taken, PublishError> {
        let Some(topic) = topic else { return Err(PublishError::UnknownTopic) };
        if let Some(taken) = self.check_draft(topic, draft)? {
            return Ok(taken);
        }
        let room_at = self.publish_at(topic);
        if room_at > self.now {
            self.counters.refused_limited += 1;
            return Err(PublishError::Limited { retry_after: Duration::from_nanos(room_at - self.now) });
        }
        let len = draft.bytes.len() as u64;
        // Where others wait it is they who keep it waiting.
        let is_first = self.topics[&topic].parked.is_empty();
        let full = if is_first { self.full_lanes(topic, len) } else { Vec::new() };
        let state = self.topics.get_mut(&topic).expect("a topic");
        if !full.is_empty() || !is_first {
            state.is_awaited = true;
            self.note_refusal(topic, &full, len);
            self.counters.refused_full += 1;
            return Err(PublishError::Full);
        }
        Ok(self.publish_now(topic, draft))
    }

    /// These lanes have refused so many bytes, of whomever.
    pub(super) fn note_refusal(&mut self, topic: TopicKey, full: &[LaneKey], len: u64) {
        let refused = &mut self.topics.get_mut(&topic).expect("a topic").refused;
        if !full.is_empty() {
            refused.keeping = full.iter().map(|lane| (*lane, len)).collect();
        }
        for lane in full {
            let largest = refused.lanes.entry(*lane).or_default();
            *largest = len.max(*largest);
        }
        full.iter().for_each(|lane| self.touch(*lane, true));
        self.look_at_touched();
    }

    /// The publish of that id, where it was taken before.
    pub(super) fn taken_before(&self, topic: TopicKey, draft: &Draft) -> Option<Taken> {
        let known = self.topics[&topic].ids.iter().find(|(id, _)| *id == draft.id && !id.is_empty());
        known.map(|(_, seq)| (*seq, 0, true))
    }

    /// Whatever a publish may be refused for, however empty the lanes are; or that it was taken before.
    pub(super) fn check_draft(&mut self, topic: TopicKey, draft: &Draft) -> Result<Option<Taken>, PublishError> {
        if draft.id.len() > PUBLISH_ID_BYTES_MAX || draft.id.chars().any(is_control) {
            return Err(PublishError::InvalidId);
        }
        if let Some(taken) = self.taken_before(topic, draft) {
            self.counters.duplicates += 1;
            return Ok(Some(taken));
        }
        if !self.is_good_key(&draft.key) {
            return Err(PublishError::InvalidKey);
        }
        if draft.bytes.len() > self.topics[&topic].options.message_bytes_max as usize {
            self.counters.refused_too_large += 1;
            return Err(PublishError::TooLarge);
        }
        Ok(None)
    }

    /// The `Block` lanes into which so many bytes do not fit.
    pub(super) fn full_lanes(&self, topic: TopicKey, bytes: u64) -> Vec<LaneKey> {
        let lanes = &self.topics[&topic].lanes;
        let is_full = |key: &&LaneKey| {
            let lane = &self.lanes[key];
            lane.policy == Policy::Block && !lane.fits(bytes) && !self.is_detached(**key)
        };
        lanes.iter().filter(is_full).copied().collect()
    }

    /// A publish that nothing refuses.
    pub(super) fn publish_now(&mut self, topic: TopicKey, draft: &Draft) -> Taken {
        let len = draft.bytes.len() as u64;
        self.end_those_away(topic, len);
        self.pay_for_publish(topic);
        let stamp = self.stamp_next();
        let state = self.topics.get_mut(&topic).expect("a topic");
        state.refused.keeping.clear();
        state.head += 1;
        let message = Rc::new(Message {
            seq: state.head,
            stamp,
            at: self.now,
            topic: state.name.clone(),
            key: draft.key.clone(),
            is_text: draft.is_text,
            bytes: draft.bytes.clone(),
            frames: [OnceCell::new(), OnceCell::new()],
        });
        let seq = state.head;
        if !draft.id.is_empty() {
            state.ids.push_back((draft.id.clone(), seq));
            if state.ids.len() > state.options.publish_ids_max as usize {
                state.ids.pop_front();
            }
        }
        self.counters.published += one(len);
        let lanes = state.lanes.clone();
        self.note_unwritten(topic, seq);
        for lane in &lanes {
            let known = self.lanes.get(lane).filter(|lane| lane.ended.is_none());
            if known.is_some_and(|lane| lane.policy == Policy::Disconnect && !lane.fits(len)) {
                self.overflow(*lane);
            }
        }
        let mut matched = 0;
        for lane in lanes {
            if self.lanes.get(&lane).is_some_and(|lane| lane.ended.is_none()) {
                self.put(lane, &message);
                matched += 1;
            }
        }
        self.know_key(topic, &message);
        self.keep_in_history(topic, &message);
        self.await_flush(topic);
        (seq, matched, false)
    }

    /// A lane with `Disconnect` is full: it ends, and with it the consumer or only the subscription.
    fn overflow(&mut self, key: LaneKey) {
        let (topic, owner, id) = (self.lanes[&key].topic, self.lanes[&key].owner, self.lanes[&key].id);
        let state = &self.topics[&topic];
        let (scope, name) = (state.options.disconnect.scope, text::quoted(&state.name));
        self.end_lane(key, LossReason::Closed);
        match owner {
            Owner::Local => self.ended_lanes.extend(id),
            Owner::Session(session) => {
                let Some(conn) = self.sessions[&session].conn else { unreachable!("a detached session ends") };
                if scope == DisconnectScope::Connection {
                    self.conn(conn).is_doomed = true;
                } else if self.conns[&conn].is_raw {
                    self.ended_lanes.extend(id);
                } else {
                    let ended = format!("{{\"op\":\"ended\",\"topic\":{name},\"code\":\"overflow\"}}");
                    self.reply(conn, Front::exact(&ended));
                }
            }
        }
    }

    /// The topic knows the latest message of each key while a lane looks at keys.
    fn know_key(&mut self, topic: TopicKey, message: &Rc<Message>) {
        let state = self.topics.get_mut(&topic).expect("a topic");
        let keyed: Vec<LaneKey> =
            state.lanes.iter().filter(|lane| self.lanes[lane].policy == Policy::LatestPerKey).copied().collect();
        if keyed.is_empty() && !state.options.keeps_latest {
            return;
        }
        state.keys.retain(|known| known.key != message.key);
        state.keys.push(message.clone());
        loop {
            let state = self.topics.get_mut(&topic).expect("a topic");
            let known = super::count(&state.keys);
            let fits = known.messages <= u64::from(state.options.keys_max);
            if fits && known.bytes <= state.options.keys_bytes_max {
                return;
            }
            // They stand in the order of their latest messages.
            let forgotten = state.keys.remove(0);
            for lane in &keyed {
                let waiting = &mut self.lane(*lane).waiting;
                let before = waiting.len();
                waiting.retain(|other| !Rc::ptr_eq(other, &forgotten));
                if waiting.len() < before {
                    self.lose(*lane, &forgotten, LossReason::Oldest);
                }
            }
        }
    }

    /// A lane that was low once does not keep anybody waiting any more.
    pub(super) fn find_low(&mut self) {
        let (lanes, low) = (&self.lanes, u64::from(self.options.watermarks.low_percent));
        let mut low_topics = Vec::new();
        for (key, topic) in &mut self.topics {
            let refused = &mut topic.refused;
            let before = refused.lanes.len();
            refused.lanes.retain(|key, largest| {
                let Some(lane) = lanes.get(key).filter(|lane| lane.ended.is_none()) else { return false };
                !lane.fill().is_low(low) || !lane.fits(*largest)
            });
            refused.emptied.retain(|key| lanes.get(key).is_some_and(|lane| lane.all_waiting().messages > 0));
            if before > 0 && refused.lanes.is_empty() && !topic.parked.is_empty() {
                low_topics.push(*key);
            }
        }
        low_topics.into_iter().for_each(|topic| self.try_parked(topic));
    }

    /// Lanes of a topic may have made room: what is parked is tried again once all have that had none.
    pub(super) fn made_room(&mut self, topic: TopicKey) {
        let (lanes, topics) = (&self.lanes, &mut self.topics);
        let Some(refused) = topics.get_mut(&topic).map(|topic| &mut topic.refused) else { return };
        let before = refused.keeping.len();
        refused.keeping.retain(|key, bytes| {
            let lane = lanes.get(key).filter(|lane| lane.ended.is_none());
            lane.is_some_and(|lane| !lane.fits(*bytes))
        });
        if before > 0 && refused.keeping.is_empty() {
            self.try_parked(topic);
        }
    }

    /// A topic's rate may let pass what waits for it.
    pub(super) fn look_for_units(&mut self, topic: TopicKey) {
        if self.topics[&topic].refused.awaits_unit && self.publish_at(topic) <= self.now {
            self.topics.get_mut(&topic).expect("a topic").refused.awaits_unit = false;
            self.try_parked(topic);
        }
    }

    /// The first publish that is parked is tried at the end of this call.
    pub(super) fn try_parked(&mut self, topic: TopicKey) {
        if !self.room.contains(&topic) {
            self.room.push(topic);
        }
    }

    fn has_room_for_parked(&self, topic: TopicKey) -> bool {
        let first = self.topics.get(&topic).and_then(|topic| topic.parked.front());
        let Some(draft) = first.and_then(|conn| self.conns[conn].parked_draft()) else { return false };
        let fits = self.full_lanes(topic, draft.bytes.len() as u64).is_empty()
            && (self.publish_at(topic) <= self.now || self.refuses_excess(topic));
        fits || self.taken_before(topic, draft).is_some()
    }

    /// Parked publishes are tried again, first come first served. Of several topics the one that got room last comes first:
    /// nothing is said about that, so what disagrees in a run in which it mattered is no fault.
    pub(super) fn retry_parked(&mut self) {
        while let Some(topic) = self.room.pop() {
            let others = self.room.iter().any(|other| self.has_room_for_parked(*other));
            self.seen.open_orders += u64::from(others && self.has_room_for_parked(topic));
            while let Some(conn) = self.next_to_retry(topic) {
                self.carry_out_parked(topic, conn);
            }
        }
    }

    fn next_to_retry(&mut self, topic: TopicKey) -> Option<ConnId> {
        let conn = *self.topics.get(&topic)?.parked.front()?;
        let draft = self.conns[&conn].parked_draft()?;
        if self.taken_before(topic, draft).is_some() {
            return Some(conn);
        }
        if self.publish_at(topic) > self.now {
            let is_refused = self.refuses_excess(topic);
            self.topics.get_mut(&topic).expect("a topic").refused.awaits_unit |= !is_refused;
            return Some(conn).filter(|_| is_refused);
        }
        let len = draft.bytes.len() as u64;
        let full = self.full_lanes(topic, len);
        self.note_refusal(topic, &full, len);
        full.is_empty().then_some(conn)
    }

    /// `Drained` is polled.
    pub(crate) fn drained_is_told(&mut self, topic: TopicKey) -> bool {
        let is_due = self.drained().any(|due| due == topic);
        if is_due {
            self.topics.get_mut(&topic).expect("a topic").is_awaited = false;
        }
        is_due
    }

    /// Topics of which `Drained` is to be told: whoever was refused may come again.
    pub(crate) fn drained(&self) -> impl Iterator<Item = TopicKey> {
        let is_over = |topic: &Topic| {
            let refused = &topic.refused;
            topic.is_awaited && topic.parked.is_empty() && refused.lanes.is_empty() && refused.emptied.is_empty()
        };
        self.topics.iter().filter(move |(_, topic)| is_over(topic)).map(|(key, _)| *key)
    }
}
