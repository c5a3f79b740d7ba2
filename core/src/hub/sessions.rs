//! Sessions that outlive their connection: kept, detached, ended. (`resume.rs` has how they go on.)

use alloc::vec::Vec;
use core::time::Duration;

use super::{Hub, News, TimerKey};
use crate::conn::{PinnedMessage, Source};
use crate::dialect::RAW;
use crate::error::{AuthenticateError, ResumeError};
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::lane::Run;
use crate::output::{EndReason, LossReason, SessionEnd, SessionToken};
use crate::session::Resumable;
use crate::topics::{Owner, TopicLane};
use crate::wire::{CloseCode, Role};

impl Hub {
    /// What is to be known of a session to resume it.
    pub(super) fn token(&self, session: SessionId) -> SessionToken {
        SessionToken { session, secret: self.entropy.secret_of(session.to_bits()) }
    }

    pub(super) fn set_principal(&mut self, id: ConnId, principal: &str) -> Result<(), AuthenticateError> {
        let conn = self.conns.get(id).filter(|conn| conn.is_open()).ok_or(AuthenticateError::UnknownConnection)?;
        if principal.len() > self.config.principal_bytes_max as usize {
            return Err(AuthenticateError::TooLong);
        }
        let session = self.sessions.get_mut(conn.session).expect("a connection's session exists");
        session.set_principal(principal);
        Ok(())
    }

    /// An open connection's session and encoding, where it may have one that is resumable.
    pub(super) fn session_to_keep(&self, id: ConnId) -> Result<(SessionId, usize), ResumeError> {
        let conn = self.conns.get(id).filter(|conn| conn.is_open()).ok_or(ResumeError::UnknownConnection)?;
        if conn.role == Role::Client {
            return Err(ResumeError::ClientRole);
        }
        if self.draining.is_some() {
            return Err(ResumeError::Draining);
        }
        Ok((conn.session, conn.dialect().unwrap_or(RAW).encoding()))
    }

    pub(super) fn make_resumable(&mut self, id: ConnId, ttl: Option<Duration>) -> Result<SessionToken, ResumeError> {
        let (session_id, encoding) = self.session_to_keep(id)?;
        let ttl = ttl.map_or(self.config.session_ttl, |ttl| ttl.min(self.config.session_ttl));
        let session = self.sessions.get_mut(session_id).expect("a connection's session exists");
        match session.resumable_mut() {
            Some(resumable) => resumable.ttl = ttl,
            None => {
                let timer = self.timers.add(TimerKey::Session(session_id.index));
                session.set_resumable(Resumable { ttl, timer, encoding, detached: None });
            }
        }
        Ok(self.token(session_id))
    }

    /// How long a session lives on without a connection.
    pub(super) fn ttl(&self, session: SessionId) -> Duration {
        let resumable = self.sessions.get(session).and_then(|session| session.resumable());
        resumable.map_or(Duration::ZERO, |resumable| resumable.ttl)
    }

    /// Whether a lane's session may live on without its connection.
    pub(super) fn may_outlive_its_connection(&self, lane: LaneId) -> bool {
        let (topic, place) = self.topics.lane(lane);
        match topic.lanes[place].owner(&self.sessions) {
            Owner::Session(id) => self.sessions.get(id).is_some_and(|session| session.resumable().is_some()),
            Owner::Local => false,
        }
    }

    /// A connection begins to close, or has ended: so does its session, unless it lives on.
    pub(super) fn leave_session(&mut self, id: SessionId, reason: EndReason) {
        let is_resumable = self.sessions.get(id).is_some_and(|session| session.resumable().is_some());
        if !is_resumable || self.draining.is_some() || !leaves_sessions(reason) {
            return self.end_session(id, SessionEnd::Closed, LossReason::Closed);
        }
        if reason == EndReason::Resumed {
            return; // It has another connection at once.
        }
        if self.set_detached(id, true) {
            self.end_session(id, SessionEnd::Overflowed, LossReason::Closed);
        }
    }

    /// Its lanes can be waited for, or not any more. Whether one of them has refused a publish and has not drained since.
    pub(super) fn set_detached(&mut self, id: SessionId, is_detached: bool) -> bool {
        let mut has_refused = false;
        let session = self.sessions.get(id).expect("the session exists");
        for (_, lane) in session.lanes() {
            let (topic, place) = self.topics.lane_mut(*lane);
            topic.lanes[place].set(TopicLane::DETACHED, is_detached);
            has_refused |= topic.watched(place).is_some_and(|watched| watched.refusal.is_some());
        }
        has_refused
    }

    /// Parts a connection that ends from its session, if that lives on; whether it does.
    pub(super) fn part(&mut self, id: SessionId, conn: ConnId) -> bool {
        if self.loses_what_is_pinned(conn) {
            self.end_session(id, SessionEnd::Closed, LossReason::Closed);
        }
        let session = self.sessions.get_mut(id).expect("a connection's session exists");
        let is_kept = session.resumable().is_some();
        if is_kept {
            session.set_conn(None);
            self.update_clock(id);
        }
        is_kept
    }

    /// Whether a message that was begun before the session was made resumable is in the connection alone, and its lane may not
    /// lose it.
    fn loses_what_is_pinned(&self, conn: ConnId) -> bool {
        let outbound = self.conns.get(conn).and_then(|conn| conn.outbound());
        match outbound.and_then(|outbound| outbound.pinned.as_ref()).map(|pinned| &pinned.message) {
            Some(PinnedMessage::Logged(Source::Lane(lane), through)) => {
                let (topic, place) = self.topics.lane(*lane);
                // What is behind it in a Transmit is held all the same.
                let has = |held: Run| !held.is_empty() && held.after.messages < through.messages;
                let is_held = topic.run_lane(place).is_some_and(|lane| has(lane.held()));
                !is_held && !topic.lanes[place].is_ended() && topic.policy(place).counts_outstanding()
            }
            _ => false,
        }
    }

    /// A session lost its connection and lives on.
    pub(super) fn detach(&mut self, id: SessionId) {
        let number = self.detached.last_key_value().map_or(0, |(number, _)| number + 1);
        let session = self.sessions.get_mut(id).expect("the session exists");
        let resumable = session.resumable_mut().expect("only what can be resumed is kept");
        resumable.detached = Some(number);
        self.timers.arm(resumable.timer, self.now + resumable.ttl);
        self.detached.insert(number, id);
        self.stats.detached += 1;
        if self.detached.len() > self.config.sessions_max as usize {
            let (_, oldest) = self.detached.first_key_value().expect("there are more than none");
            self.end_session(*oldest, SessionEnd::Evicted, LossReason::Closed);
        }
    }

    /// It is detached no more.
    pub(super) fn forget_detached(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(id).expect("the session exists");
        let Some(resumable) = session.resumable_mut() else { return };
        self.timers.disarm(resumable.timer);
        if let Some(number) = resumable.detached.take() {
            self.detached.remove(&number).expect("a detached session is listed");
            self.stats.detached -= 1;
        }
    }

    /// Ends the lanes of a session, which cannot be resumed any more. Without a connection it is gone.
    pub(super) fn end_session(&mut self, id: SessionId, end: SessionEnd, reason: LossReason) {
        while let Some((topic, _)) = self.sessions.get(id).and_then(|session| session.lanes().last().copied()) {
            self.end_lane_of(id, topic, reason);
        }
        self.forget_detached(id);
        let session = self.sessions.get_mut(id).expect("the session exists");
        if let Some(resumable) = session.take_resumable() {
            self.timers.remove(resumable.timer);
            self.events.push_back(News::SessionEnded(id, end));
            self.stats.sessions_ended[end as usize] += 1;
        }
        if session.conn().is_none() {
            self.sessions.remove(id);
        }
    }

    fn end_lane_of(&mut self, id: SessionId, topic: TopicId, reason: LossReason) {
        let session = self.sessions.get_mut(id).expect("the session exists");
        let lane = session.lane_on(topic).expect("the lane is listed");
        session.remove(topic);
        self.end_lane(lane, reason);
    }

    /// Draining: nobody can resume any more.
    pub(super) fn end_left_sessions(&mut self) {
        let is_left = |conn: Option<ConnId>| {
            conn.is_none_or(|conn| !self.conns.get(conn).expect("a session's connection exists").is_open())
        };
        let ids: Vec<SessionId> =
            self.sessions.iter().filter(|(_, session)| is_left(session.conn())).map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.end_session(id, SessionEnd::Drained, LossReason::Closed));
    }

    /// Recounts sessions.
    pub(super) fn check_sessions(&self) {
        let mut detached = 0;
        for (id, session) in self.sessions.iter() {
            let conn = session.conn().map(|conn| self.conns.get(conn).expect("a session's connection exists"));
            assert!(conn.is_none_or(|conn| conn.session == id && !conn.is_ended()), "a session has its connection");
            let number = session.resumable().and_then(|resumable| resumable.detached);
            let armed = session.resumable().and_then(|resumable| self.timers.deadline(resumable.timer));
            assert_eq!((number.is_some(), armed.is_some()), (conn.is_none(), conn.is_none()), "who is detached ends");
            assert!(number.is_none_or(|number| self.detached.get(&number) == Some(&id)), "detached ones are listed");
            detached += usize::from(conn.is_none());
            let is_detached = !conn.is_some_and(|conn| conn.is_open());
            for (topic, lane) in session.lanes() {
                let (topic_id, place) = self.topics.of_lane(*lane).expect("a session's lane exists");
                assert_eq!(topic_id, *topic);
                let topic = self.topics.slab.get(topic_id).expect("a lane's topic exists");
                let lane = &topic.lanes[place];
                assert!(
                    matches!(lane.owner(&self.sessions), Owner::Session(owner) if owner == id),
                    "a lane has its session"
                );
                assert_eq!(lane.is(TopicLane::DETACHED), is_detached, "who cannot be waited for");
                let may_stay = !is_detached || topic.watched(place).is_none_or(|watched| watched.refusal.is_none());
                assert!(may_stay, "a detached session refuses nothing");
            }
        }
        assert_eq!((self.detached.len(), self.stats.detached as usize), (detached, detached), "detached sessions");
        assert!(detached <= self.config.sessions_max as usize, "sessions_max");
        let (ended, open): (Vec<_>, Vec<_>) = self.conns.iter().partition(|(_, conn)| conn.is_ended());
        assert!(
            ended.iter().all(|(_, conn)| self.sessions.get(conn.session).is_none()),
            "who has ended has no session"
        );
        let conns = open.len();
        assert_eq!(self.sessions.len(), conns + detached, "no other sessions are there");
        assert!(self.draining.is_none() || detached == 0, "nobody resumes while draining");
    }
}

/// Whether resumable sessions live on when a connection ends for a reason.
fn leaves_sessions(reason: EndReason) -> bool {
    match reason {
        EndReason::PeerClosed(code) => code != Some(CloseCode::NORMAL),
        EndReason::Closed(_) | EndReason::Overflowed | EndReason::Overloaded | EndReason::Drained => false,
        _ => true,
    }
}
