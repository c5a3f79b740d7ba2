//! A session goes on with another connection.

use alloc::vec::Vec;

use super::Hub;
use crate::conn::Conn;
use crate::error::ResumeError;
use crate::id::{ConnId, LaneId, SessionId};
use crate::output::{EndReason, LossReason, Position, ResumeLane, SessionEnd, SessionToken};
use crate::session::Session;
use crate::wire::CloseCode;

impl Hub {
    pub(super) fn resume_session(
        &mut self,
        conn: ConnId,
        token: SessionToken,
        lanes: &[ResumeLane<'_>],
    ) -> Result<SessionId, ResumeError> {
        let (own, encoding) = self.session_to_keep(conn)?;
        let own_session = self.sessions.get(own).expect("a connection's session exists");
        if !own_session.lanes().is_empty() {
            return Err(ResumeError::AlreadySubscribed);
        }
        // First, so that how long it takes tells nothing of the sessions there are.
        let is_right = token == self.token(token.session);
        let id = token.session;
        let is_theirs = |session: &Session| {
            let is_alike = session.resumable().is_some_and(|resumable| resumable.encoding == encoding);
            // One that is to end with its connection at the end of this call has ended.
            is_alike
                && session.principal() == own_session.principal()
                && !session.conn().is_some_and(|conn| self.is_overflowed(conn))
        };
        if !is_right || id == own || !self.sessions.get(id).is_some_and(is_theirs) {
            return Err(ResumeError::UnknownSession);
        }
        let older = self.take_from_its_connection(id);
        if self.sessions.get(id).is_none_or(|session| session.resumable().is_none()) {
            return Err(ResumeError::UnknownSession); // It did not survive its connection.
        }
        self.attach(id, conn);
        self.go_on(id, lanes);
        // Not before: what the older has to write may need room that the session's own lanes make.
        if let Some(older) = older {
            self.pump(older);
            self.refresh(older);
        }
        Ok(id)
    }

    /// The newer connection wins. The older, if there is one.
    fn take_from_its_connection(&mut self, id: SessionId) -> Option<ConnId> {
        let old = self.sessions.get(id)?.conn()?;
        let conn = self.conn_mut(old);
        conn.news.resumed = false;
        let is_between = !conn.has_outstanding() && conn.outbound().is_none_or(|outbound| outbound.pinned.is_none());
        if conn.is_open() && is_between {
            // Nothing of the session is on its way there. What is left of the connection has one of its own, without lanes.
            let other = self.sessions.insert_with(|_| Session::new(old));
            self.conn_mut(old).session = other;
            self.sessions.get_mut(id).expect("the session exists").set_conn(None);
            self.update_clock(id);
            self.update_outbound_level(old);
            let close = (CloseCode::RESUMED, "session resumed elsewhere");
            self.begin_close(old, EndReason::Resumed, close, true);
        } else {
            self.end(old, EndReason::Resumed, true);
        }
        Some(old)
    }

    /// Gives a session without a connection to one, in the place of its own.
    fn attach(&mut self, id: SessionId, conn_id: ConnId) {
        let conn = self.conn_mut(conn_id);
        let own = core::mem::replace(&mut conn.session, id);
        conn.news.resumed = true;
        self.bequeath_outstanding(conn_id, id);
        self.sessions.get_mut(own).expect("a connection's session exists").set_conn(None);
        self.end_session(own, SessionEnd::Closed, LossReason::Closed);
        self.forget_detached(id);
        self.sessions.get_mut(id).expect("the session exists").set_conn(Some(conn_id));
        self.set_detached(id, false);
        self.update_clock(id);
        self.stats.resumed += 1;
        self.announce_conn(conn_id);
        self.update_outbound_level(conn_id);
    }

    /// Lanes that have ended while their messages were on their way are the new session's.
    fn bequeath_outstanding(&mut self, conn: ConnId, heir: SessionId) {
        self.spell_out(conn);
        let Some(outbound) = self.conns.get(conn).and_then(Conn::outbound) else { return };
        let lanes: Vec<LaneId> = outbound.lanes().collect();
        for lane in lanes {
            if let Some((topic, place)) = self.topics.of_lane(lane) {
                let topic = self.topics.slab.get_mut(topic).expect("a lane's topic exists");
                topic.lanes[place].bequeath(heir);
            }
        }
    }

    /// Its lanes go on from where the client says it stands.
    fn go_on(&mut self, id: SessionId, lanes: &[ResumeLane<'_>]) {
        for ResumeLane { topic, position, credit } in lanes {
            let topic = self.topics.by_name.get(*topic).copied();
            let session = self.sessions.get(id).expect("the session exists");
            let Some(lane) = topic.and_then(|topic| session.lane_on(topic)) else { continue };
            let lane = position.map_or(lane, |position| self.go_on_after(id, lane, position));
            credit.iter().for_each(|credit| self.set_credit(lane, *credit));
        }
        let session = self.sessions.get(id).expect("the session exists");
        let lanes: Vec<LaneId> = session.lanes().iter().map(|(_, lane)| *lane).collect();
        lanes.into_iter().for_each(|lane| self.send_all_again(lane));
    }

    /// A lane goes on after what its client has dealt with; which lane that is. A position that is not there yet is left out of
    /// account.
    fn go_on_after(&mut self, id: SessionId, lane: LaneId, position: Position) -> LaneId {
        let (topic, place) = self.topics.lane(lane);
        if topic.acking(place).is_some() {
            if topic.epoch == position.epoch && position.seq <= topic.head.messages {
                self.settle_through(lane, position.seq);
            }
            return lane;
        }
        self.replace_lane(id, lane, position).unwrap_or(lane)
    }

    /// The last message of a lane that was sent and will not come again.
    pub(super) fn sent_through(&self, lane: LaneId) -> Position {
        let (topic, place) = self.topics.lane(lane);
        let place_of = topic.place_of(place);
        let needed = topic.needed_after(place).map_or(place_of, |mark| mark.messages);
        let place_of = place_of.min(needed);
        // What is still to be told was not sent either.
        let gap = topic.lanes[place].window.losses().gap();
        let seq = gap.map_or(place_of, |gap| place_of.min(gap.from.saturating_sub(1)));
        Position { epoch: topic.epoch, seq }
    }

    /// The lanes of a connection's session.
    pub(super) fn lanes_of(&self, conn: ConnId) -> Vec<LaneId> {
        let session = self.conns.get(conn).and_then(|conn: &Conn| self.sessions.get(conn.session));
        session.into_iter().flat_map(Session::lanes).map(|(_, lane)| *lane).collect()
    }
}
