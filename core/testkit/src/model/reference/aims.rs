//! Rare situations that drawn runs aim at.

use forebay_core::{ConnId, Policy};

use super::output::What;
use super::{LaneKey, Phase, Reference, SessionKey, count, one};
use crate::model::act::Op;

impl Reference {
    /// A lane may lose the message that was begun before its session was kept, but not what is behind it: what is missing
    /// until the session is kept, the rest and more is in a Transmit, and the connection ends.
    pub(crate) fn towards_lost_beginning(&self, conn: ConnId) -> Option<Op> {
        let state = self.conns.get(&conn)?;
        let (key, begun) = self.lost_beginning(conn)?;
        let lane = &self.lanes[&key];
        let is_behind =
            |what: &What| matches!(what, What::Message(of, message) if *of == key && message.seq > begun.seq);
        if state.phase != Phase::Open || lane.policy != Policy::DropOldest || lane.ended.is_some() {
            return None;
        }
        match &state.out {
            Some(out) if self.is_kept(conn) => out.iter().any(|item| is_behind(&item.what)).then_some(Op::Eof),
            None if !lane.waiting.is_empty() => Some(match () {
                () if !self.is_kept(conn) => Op::Keep,
                () if state.is_blocked => Op::Writable,
                () => Op::Poll,
            }),
            _ => None,
        }
    }

    /// A session of which a lane rejected the newest of what its topic keeps, while what waits in it begins before that and
    /// would fit beside it; and how far from the number behind the head a position is that is before all of it.
    pub(crate) fn behind_rejected(&self) -> Option<(SessionKey, u64)> {
        let back = |lanes: &[LaneKey]| lanes.iter().find_map(|lane| self.back_to_what_waits(*lane));
        self.sessions.iter().find_map(|(key, session)| Some((*key, back(&session.lanes)?)))
    }

    fn back_to_what_waits(&self, key: LaneKey) -> Option<u64> {
        let lane = &self.lanes[&key];
        if lane.policy != Policy::DropNewest || lane.acks.is_some() || lane.ended.is_some() {
            return None;
        }
        let topic = &self.topics[&lane.topic];
        let oldest = topic.history.front()?.seq;
        let run = self.last_run(key);
        let before = run.iter().rfind(|message| message.seq + 1 == oldest)?;
        let mut load = count(&topic.history);
        load += one(before.len());
        let fits = load.messages <= lane.messages_max && load.bytes <= lane.bytes_max;
        let is_rejected = run.last()?.seq < topic.head;
        (fits && is_rejected).then_some(topic.head + 2 - run.first()?.seq)
    }

    /// Whether that connection may be given that session.
    pub(crate) fn may_take(&self, conn: ConnId, key: SessionKey) -> bool {
        let Some(own) = self.session_of(conn).filter(|own| *own != key) else { return false };
        let is_open = self.conns[&conn].phase == Phase::Open;
        is_open && self.sessions[&own].lanes.is_empty() && self.sessions[&own].is_like(&self.sessions[&key])
    }
}
