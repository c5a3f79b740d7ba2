//! A publish: refused as a whole, or for every lane what its policy says.

use std::cell::OnceCell;
use std::rc::Rc;

use forebay_core::{ConnId, DisconnectScope, LossReason, Policy, PublishError};

use super::topics::is_control;
use super::{Front, LaneKey, Message, Owner, Reference, Topic, TopicKey, one};
use crate::model::text;

/// What is published.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) key: Rc<str>,
    pub(crate) is_text: bool,
    pub(crate) bytes: Rc<[u8]>,
}

impl Reference {
    pub(crate) fn is_good_key(&self, key: &str) -> bool {
        key.len() <= self.options.key_bytes_max as usize && !key.chars().any(is_control)
    }

    /// The application publishes: the number and how many lanes it enters.
    pub(crate) fn publish(&mut self, topic: Option<TopicKey>, draft: &Draft) -> Result<(u64, u32), PublishError> {
        let Some(topic) = topic else { return Err(PublishError::UnknownTopic) };
        self.check_draft(topic, draft)?;
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
        for lane in full {
            let largest = refused.lanes.entry(*lane).or_default();
            *largest = len.max(*largest);
        }
        full.iter().for_each(|lane| self.touch(*lane, true));
        self.look_at_touched();
    }

    /// Whatever a publish may be refused for, however empty the lanes are.
    pub(super) fn check_draft(&mut self, topic: TopicKey, draft: &Draft) -> Result<(), PublishError> {
        if !self.is_good_key(&draft.key) {
            return Err(PublishError::InvalidKey);
        }
        if draft.bytes.len() > self.topics[&topic].options.message_bytes_max as usize {
            self.counters.refused_too_large += 1;
            return Err(PublishError::TooLarge);
        }
        Ok(())
    }

    /// The `Block` lanes into which so many bytes do not fit.
    pub(super) fn full_lanes(&self, topic: TopicKey, bytes: u64) -> Vec<LaneKey> {
        let lanes = &self.topics[&topic].lanes;
        let is_full = |key: &&LaneKey| {
            let lane = &self.lanes[key];
            lane.policy == Policy::Block && !lane.fits(bytes)
        };
        lanes.iter().filter(is_full).copied().collect()
    }

    /// A publish that nothing refuses.
    pub(super) fn publish_now(&mut self, topic: TopicKey, draft: &Draft) -> (u64, u32) {
        let len = draft.bytes.len() as u64;
        let stamp = self.stamp_next();
        let state = self.topics.get_mut(&topic).expect("a topic");
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
        self.counters.published += one(len);
        let lanes = state.lanes.clone();
        for lane in &lanes {
            if self.lanes[lane].policy == Policy::Disconnect && !self.lanes[lane].fits(len) {
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
        (seq, matched)
    }

    /// A lane with `Disconnect` is full: it ends, and with it the consumer or only the subscription.
    fn overflow(&mut self, key: LaneKey) {
        let (topic, owner, id) = (self.lanes[&key].topic, self.lanes[&key].owner, self.lanes[&key].id);
        let state = &self.topics[&topic];
        let (scope, name) = (state.options.disconnect.scope, text::quoted(&state.name));
        self.end_lane(key, LossReason::Closed);
        match owner {
            Owner::Local => self.ended_lanes.extend(id),
            Owner::Conn(conn) if scope == DisconnectScope::Connection => self.conn(conn).is_doomed = true,
            Owner::Conn(conn) if self.conns[&conn].is_raw => self.ended_lanes.extend(id),
            Owner::Conn(conn) => {
                let ended = format!("{{\"op\":\"ended\",\"topic\":{name},\"code\":\"overflow\"}}");
                self.reply(conn, Front::exact(&ended));
            }
        }
    }

    /// The topic knows the latest message of each key while a lane looks at keys.
    fn know_key(&mut self, topic: TopicKey, message: &Rc<Message>) {
        let state = self.topics.get_mut(&topic).expect("a topic");
        let keyed: Vec<LaneKey> =
            state.lanes.iter().filter(|lane| self.lanes[lane].policy == Policy::LatestPerKey).copied().collect();
        if keyed.is_empty() {
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
        for refused in self.topics.values_mut().map(|topic| &mut topic.refused) {
            refused.lanes.retain(|key, largest| {
                let Some(lane) = lanes.get(key).filter(|lane| lane.ended.is_none()) else { return false };
                !lane.fill().is_low(low) || !lane.fits(*largest)
            });
            refused.emptied.retain(|key| lanes.get(key).is_some_and(|lane| lane.all_waiting().messages > 0));
        }
    }

    /// A topic may have room now for a publish that is parked.
    pub(super) fn made_room(&mut self, topic: TopicKey) {
        let first = self.topics.get(&topic).and_then(|topic| topic.parked.front());
        let len = first.and_then(|conn| self.conns[conn].parked_bytes());
        if len.is_some_and(|len| self.full_lanes(topic, len).is_empty()) && !self.room.contains(&topic) {
            self.room.push(topic);
        }
    }

    /// Parked publishes are tried again, first come first served. Of several topics the one that got room last comes first:
    /// nothing is said about that, so what disagrees in a run in which it mattered is no fault.
    pub(super) fn retry_parked(&mut self) {
        while let Some(topic) = self.room.pop() {
            self.seen.open_orders += u64::from(!self.room.is_empty());
            while let Some(conn) = self.next_to_retry(topic) {
                self.carry_out_parked(conn);
            }
        }
    }

    fn next_to_retry(&mut self, topic: TopicKey) -> Option<ConnId> {
        let conn = *self.topics.get(&topic)?.parked.front()?;
        let len = self.conns[&conn].parked_bytes()?;
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
