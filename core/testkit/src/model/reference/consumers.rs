//! Direct messages, and readers in the process.

use std::rc::Rc;

use forebay_core::{ConnId, Entry, OwnedPayload, SendError};

use super::levels::Fill;
use super::publish::Draft;
use super::{DIRECT, LaneKey, Message, Owner, Phase, Reference, one};

impl Reference {
    /// A direct message.
    pub(crate) fn send(&mut self, id: ConnId, draft: &Draft) -> Result<(), SendError> {
        let limits = self.options.direct_lane;
        let len = draft.bytes.len() as u64;
        if len > limits.bytes_max {
            return Err(SendError::TooLarge);
        }
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.phase == Phase::Open) else {
            return Err(SendError::UnknownConnection);
        };
        let mut load = super::count(&conn.direct);
        load += conn.direct_out;
        if load.messages + 1 > u64::from(limits.messages_max) || load.bytes + len > limits.bytes_max {
            conn.direct_refused = true;
            return Err(SendError::Full);
        }
        let stamp = self.stamp_next();
        let message = Message {
            seq: 0,
            stamp,
            at: self.now,
            topic: "".into(),
            key: "".into(),
            is_text: draft.is_text,
            bytes: draft.bytes.clone(),
            frames: Default::default(),
        };
        self.entered[DIRECT] += one(len);
        self.conn(id).direct.push_back(Rc::new(message));
        Ok(())
    }

    /// A direct message that is sent only if that can be now.
    pub(crate) fn send_volatile(&mut self, id: ConnId, draft: &Draft) -> Result<(), SendError> {
        let len = draft.bytes.len() as u64;
        let was_refused = self.conns.get(&id).is_some_and(|conn| conn.direct_refused);
        let is_writable = |conn: &super::Conn| !conn.is_blocked && conn.out.is_none();
        if len > self.options.direct_lane.bytes_max {
            return Err(SendError::TooLarge);
        }
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.phase == Phase::Open) else {
            return Err(SendError::UnknownConnection);
        };
        if !is_writable(conn) || self.outbound_units(id, false) == 0 {
            self.counters.refused_volatile += 1;
            return Err(SendError::NotWritable);
        }
        let sent = self.send(id, draft);
        if sent == Err(SendError::Full) {
            // Nobody waits for room because of it.
            self.conn(id).direct_refused = was_refused;
            self.counters.refused_volatile += 1;
            return Err(SendError::NotWritable);
        }
        sent
    }

    /// A direct lane that refused is low again.
    pub(super) fn find_sendable(&mut self, id: ConnId) {
        let (limits, low) = (self.options.direct_lane, self.options.watermarks.low_percent);
        let conn = self.conn(id);
        let mut load = super::count(&conn.direct);
        load += conn.direct_out;
        let fill = Fill { load, messages_max: limits.messages_max.into(), bytes_max: limits.bytes_max };
        let is_low = fill.is_low(low.into());
        if conn.direct_refused && is_low && conn.phase == Phase::Open {
            conn.direct_refused = false;
            conn.news.is_sendable = true;
        }
    }

    /// What a reader in the process takes.
    pub(crate) fn take(&mut self, key: LaneKey) -> Option<Entry> {
        self.expire(key);
        let flushed = self.flushed(key);
        let lane = self.lane(key);
        let entry = if lane.gap_is_next(flushed) {
            lane.gap.take().map(Entry::Gap)
        } else {
            let is_there = lane.next(flushed).is_some();
            is_there.then(|| lane.waiting.pop_front()).flatten().map(|message| {
                self.lane_sent(key, &message);
                let bytes = message.bytes.to_vec().into();
                let payload = OwnedPayload { is_text: message.is_text, bytes };
                Entry::Message { seq: message.seq, payload }
            })
        };
        let flushed = self.flushed(key);
        let lane = self.lane(key);
        lane.is_told &= lane.has_output(true, flushed);
        self.end_call();
        entry
    }

    /// In-process lanes that have something their consumers were not told of.
    pub(crate) fn ready_lanes(&self) -> impl Iterator<Item = LaneKey> {
        let is_due = |key: LaneKey, lane: &super::Lane| {
            let is_new = lane.owner == Owner::Local && lane.ended.is_none() && !lane.is_told;
            is_new && lane.has_output(true, self.flushed(key))
        };
        self.lanes.iter().filter(move |(key, lane)| is_due(**key, lane)).map(|(key, _)| *key)
    }

    pub(crate) fn ready_is_told(&mut self, key: LaneKey) {
        self.lane(key).is_told = true;
    }
}
