//! Sessions: whom lanes, acknowledgements and credit belong to, with a connection or without.

use std::rc::Rc;
use std::time::Duration;

use forebay_core::{
    AuthenticateError, ConnId, EndReason, LaneId, LossReason, Policy, Position, ResumeError, SessionEnd, SessionId,
    SessionToken, Start, wire::CloseCode,
};

use super::clock::nanos;
use super::levels::Mark;
use super::{Front, LaneKey, Message, Owner, Phase, Reference, SessionKey, TopicKey};

/// What the hub calls it, once that was told.
pub(crate) type Name = Option<SessionId>;

/// Where a client stands that resumes.
#[derive(Clone, Debug)]
pub(crate) struct Stand {
    pub(crate) topic: String,
    pub(crate) position: Option<Position>,
    pub(crate) credit: Option<u32>,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: Name,
    pub(crate) token: Option<SessionToken>,
    pub(crate) conn: Option<ConnId>,
    pub(crate) is_raw: bool,
    principal: Rc<str>,
    /// How long it lives on; `None`: not at all.
    pub(crate) ttl: Option<u64>,
    detached_at: u64,
    /// Among those that were detached.
    order: u32,
    pub(crate) lanes: Vec<LaneKey>,
    pub(crate) mark: Mark,
    /// It is to be told that it was resumed.
    pub(crate) is_resumed: bool,
    /// Its own time, which stands still while nothing can be sent, and since when it does not.
    time: u64,
    since: Option<u64>,
}

impl Session {
    fn time_at(&self, now: u64) -> u64 {
        self.time + self.since.map_or(0, |since| now - since)
    }

    /// Whether who has the one may have the other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.is_raw == other.is_raw && self.principal == other.principal
    }

    /// When its own time will be that, if nothing changes; what has passed has, also where it stands still.
    pub(super) fn moment_of(&self, time: u64) -> Option<u64> {
        if self.time >= time {
            return Some(0);
        }
        self.since.map(|since| since.saturating_add(time.saturating_sub(self.time)))
    }
}

impl Owner {
    pub(crate) fn session(self) -> Option<SessionKey> {
        match self {
            Self::Session(session) => Some(session),
            Self::Local => None,
        }
    }
}

impl Reference {
    pub(super) fn make_session(&mut self, conn: ConnId, is_raw: bool) -> SessionKey {
        let key = self.name_next();
        let session = Session {
            id: None,
            token: None,
            conn: Some(conn),
            is_raw,
            principal: "".into(),
            ttl: None,
            detached_at: 0,
            order: 0,
            lanes: Vec::new(),
            mark: Mark::default(),
            is_resumed: false,
            time: 0,
            since: None,
        };
        self.sessions.insert(key, session);
        key
    }

    /// The session a connection has.
    pub(crate) fn session_of(&self, conn: ConnId) -> Option<SessionKey> {
        let key = self.conns.get(&conn)?.session;
        self.sessions.get(&key).filter(|session| session.conn == Some(conn)).map(|_| key)
    }

    /// The lanes of a connection's session.
    pub(crate) fn lanes_of(&self, conn: ConnId) -> &[LaneKey] {
        self.session_of(conn).map_or(&[], |session| &self.sessions[&session].lanes)
    }

    fn session_mut(&mut self, key: SessionKey) -> &mut Session {
        self.sessions.get_mut(&key).expect("a session of the reference")
    }

    /// The time of whoever has a lane.
    pub(super) fn session_time(&self, owner: Owner) -> u64 {
        let session = owner.session().and_then(|session| self.sessions.get(&session));
        session.map_or(0, |session| session.time_at(self.now))
    }

    /// The time of a session stands still while nothing can be sent.
    pub(super) fn update_session_clock(&mut self, conn: ConnId) {
        let Some(key) = self.session_of(conn) else { return };
        let now = self.now;
        let state = &self.conns[&conn];
        let runs = state.phase == Phase::Open && state.out.is_none() && !state.is_blocked;
        let session = self.session_mut(key);
        session.time = session.time_at(now);
        session.since = runs.then_some(now);
    }

    /// Says something to the client that has this session, if there is one.
    pub(super) fn reply_to_session(&mut self, session: SessionKey, front: Front) {
        let conn = self.sessions[&session].conn.filter(|conn| !self.conns[conn].is_raw);
        if let Some(conn) = conn {
            self.reply(conn, front);
        }
    }

    /// Whether a session that may live on ends with its connection.
    fn ends_with(&self, key: SessionKey, reason: EndReason) -> bool {
        let is_closed = match reason {
            EndReason::Closed(_) | EndReason::Overflowed | EndReason::Overloaded | EndReason::Drained => true,
            EndReason::PeerClosed(code) => code == Some(CloseCode::NORMAL),
            _ => false,
        };
        is_closed || self.draining.is_some() || self.sessions[&key].ttl.is_none()
    }

    /// A connection is closing: its session ends now, or is left alone.
    pub(super) fn leave_session(&mut self, conn: ConnId, reason: EndReason) {
        if let Some(key) = self.session_of(conn).filter(|key| self.ends_with(*key, reason)) {
            self.end_lanes_of(key, SessionEnd::Closed);
        }
        self.leave_nobody_waiting(conn);
    }

    /// Whoever made others wait, and does so still, may not go on without a connection.
    fn leave_nobody_waiting(&mut self, conn: ConnId) {
        let Some(key) = self.session_of(conn) else { return };
        self.find_low();
        let lanes = &self.sessions[&key].lanes;
        if self.topics.values().any(|topic| lanes.iter().any(|lane| topic.refused.has(*lane))) {
            self.end_lanes_of(key, SessionEnd::Overflowed);
        }
    }

    /// All lanes of a session end, and it will not live on.
    fn end_lanes_of(&mut self, key: SessionKey, reason: SessionEnd) {
        for lane in self.sessions[&key].lanes.clone() {
            self.end_lane(lane, LossReason::Closed);
        }
        let session = self.session_mut(key);
        let name = session.id;
        if session.ttl.take().is_some() {
            self.ended_sessions.push((name, reason));
        }
    }

    /// A session ends, and all its lanes.
    pub(super) fn end_session(&mut self, key: SessionKey, reason: SessionEnd) {
        self.end_lanes_of(key, reason);
        self.sessions.remove(&key);
    }

    /// A connection has ended, and what was outstanding has returned: its session lives on without it.
    pub(super) fn detach(&mut self, conn: ConnId) {
        let Some(key) = self.session_of(conn) else { return };
        if self.sessions[&key].ttl.is_none() {
            return self.end_session(key, SessionEnd::Closed);
        }
        let now = self.now;
        let session = self.session_mut(key);
        session.time = session.time_at(now);
        (session.since, session.conn, session.detached_at) = (None, None, now);
        session.is_resumed = false;
        let order = self.name_next();
        self.session_mut(key).order = order;
        let detached = self.sessions.iter().filter(|(_, session)| session.conn.is_none());
        let mut detached: Vec<(u32, SessionKey)> = detached.map(|(key, session)| (session.order, *key)).collect();
        detached.sort_unstable();
        if detached.len() > self.options.sessions_max as usize {
            self.end_session(detached[0].1, SessionEnd::Evicted);
        }
    }

    /// Whether a connection's session lives on by itself.
    pub(super) fn is_kept(&self, conn: ConnId) -> bool {
        self.session_of(conn).is_some_and(|session| self.sessions[&session].ttl.is_some())
    }

    /// A connection ends amid a message that was begun before its session was kept: it is lost, or the session ends rather
    /// than lose it.
    pub(super) fn lose_beginning(&mut self, conn: ConnId) {
        let Some((key, _)) = self.lost_beginning(conn) else { return };
        let Some(session) = self.session_of(conn).filter(|_| self.lanes[&key].ended.is_none()) else { return };
        if matches!(self.lanes[&key].policy, Policy::Block | Policy::Disconnect | Policy::DropNewest) {
            self.end_lanes_of(session, SessionEnd::Closed);
        }
    }

    /// Whether a lane has nobody to send to, and may keep nobody waiting.
    pub(super) fn is_detached(&self, lane: LaneKey) -> bool {
        let session = self.lanes[&lane].owner.session().map(|session| &self.sessions[&session]);
        session.is_some_and(|session| session.conn.is_none_or(|conn| self.conns[&conn].phase != Phase::Open))
    }

    /// A draining hub takes nobody back.
    pub(super) fn end_detached(&mut self) {
        let detached = self.sessions.iter().filter(|(_, session)| session.conn.is_none());
        for key in detached.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.end_session(key, SessionEnd::Drained);
        }
        let conns = &self.conns;
        let is_closing = |conn: Option<ConnId>| conn.is_some_and(|conn| conns[&conn].phase != Phase::Open);
        let closing = self.sessions.iter().filter(|(_, session)| session.ttl.is_some() && is_closing(session.conn));
        for key in closing.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.end_lanes_of(key, SessionEnd::Drained);
        }
    }

    /// Sessions that nobody resumed, and when they end.
    pub(super) fn expiries(&self) -> impl Iterator<Item = (u64, SessionKey)> {
        let detached = self.sessions.iter().filter(|(_, session)| session.conn.is_none());
        detached.map(|(key, session)| (session.detached_at.saturating_add(session.ttl.unwrap_or(0)), *key))
    }

    pub(crate) fn authenticate(&mut self, conn: ConnId, principal: &str) -> Result<(), AuthenticateError> {
        let Some(session) = self.open_session(conn) else { return Err(AuthenticateError::UnknownConnection) };
        if principal.len() > self.options.principal_bytes_max as usize {
            return Err(AuthenticateError::TooLong);
        }
        self.session_mut(session).principal = principal.into();
        Ok(())
    }

    fn open_session(&self, conn: ConnId) -> Option<SessionKey> {
        self.session_of(conn).filter(|_| self.conns[&conn].phase == Phase::Open)
    }

    /// A session is to live on: for how long.
    pub(crate) fn keep(&mut self, conn: ConnId, ttl: Option<Duration>) -> Result<Duration, ResumeError> {
        let Some(session) = self.open_session(conn) else { return Err(ResumeError::UnknownConnection) };
        if self.draining.is_some() {
            return Err(ResumeError::Draining);
        }
        let most = self.options.session_ttl;
        let ttl = ttl.map_or(most, |ttl| ttl.min(most));
        self.session_mut(session).ttl = Some(nanos(ttl));
        Ok(ttl)
    }

    /// The session that has this token.
    fn session_with(&self, token: SessionToken) -> Option<SessionKey> {
        self.sessions.iter().find(|(_, session)| session.token == Some(token)).map(|(key, _)| *key)
    }

    /// A session is given to a connection.
    pub(crate) fn resume(
        &mut self,
        conn: ConnId,
        token: Option<SessionToken>,
        stands: &[Stand],
    ) -> Result<SessionKey, ResumeError> {
        let Some(own) = self.open_session(conn) else { return Err(ResumeError::UnknownConnection) };
        if self.draining.is_some() {
            return Err(ResumeError::Draining);
        }
        if !self.sessions[&own].lanes.is_empty() {
            return Err(ResumeError::AlreadySubscribed);
        }
        let known = token.and_then(|token| self.session_with(token));
        let is_good = |key: &SessionKey| {
            let (session, own) = (&self.sessions[key], &self.sessions[&own]);
            // One that is to end with its connection at the end of this call has ended.
            let is_over = session.conn.is_some_and(|conn| self.conns[&conn].is_doomed);
            session.ttl.is_some() && !is_over && session.is_like(own)
        };
        let Some(key) = known.filter(is_good).filter(|key| *key != own) else {
            return Err(ResumeError::UnknownSession);
        };
        if let Some(old) = self.sessions[&key].conn {
            self.lose_beginning(old);
            if self.sessions[&key].ttl.is_none() {
                self.push_out(old);
                return Err(ResumeError::UnknownSession);
            }
        }
        self.end_session(own, SessionEnd::Closed);
        self.counters.resumed += 1;
        self.conn(conn).session = key;
        let now = self.now;
        let session = self.session_mut(key);
        session.time = session.time_at(now);
        let old = session.conn.replace(conn);
        (session.since, session.is_resumed) = (None, true);
        if let Some(old) = old {
            self.push_out(old);
        }
        self.update_session_clock(conn);
        for lane in self.sessions[&key].lanes.clone() {
            self.resume_lane(lane, stands);
        }
        Ok(key)
    }

    /// The newer connection wins.
    fn push_out(&mut self, old: ConnId) {
        let state = &self.conns[&old];
        let (reason, code) = (EndReason::Resumed, 4001);
        let is_amid = state.out.is_some() || state.pinned.is_some() || state.phase != Phase::Open;
        if is_amid {
            self.end(old, reason, true);
        } else {
            self.begin_close(old, reason, Some(code), None);
        }
    }

    fn resume_lane(&mut self, key: LaneKey, stands: &[Stand]) {
        let topic = self.lanes[&key].topic;
        let (name, epoch) = (self.topics[&topic].name.clone(), self.topics[&topic].epoch);
        let stand = stands.iter().find(|stand| *stand.topic == *name);
        if let Some(credit) = stand.and_then(|stand| stand.credit) {
            self.lane(key).credit = Some(credit);
            self.may_fall_meanwhile(key);
        }
        let head = self.topics[&topic].head;
        let is_ours = |position: &Position| Some(position.epoch) == epoch;
        let is_ahead = |position: &Position| is_ours(position) && position.seq > head;
        let position = stand.and_then(|stand| stand.position).filter(|position| !is_ahead(position));
        if self.lanes[&key].acks.is_some() {
            if let Some(position) = position.filter(is_ours) {
                self.acknowledge_some(key, |seq| seq <= position.seq);
            }
            self.send_again(key, true);
        } else if let Some(position) = position {
            self.start_again(key, position);
        }
    }

    /// A best-effort lane makes room for one that starts behind a position.
    fn start_again(&mut self, key: LaneKey, position: Position) {
        let last_run = self.last_run(key);
        let new = self.name_next();
        let old = &self.lanes[&key];
        let (topic, owner, lane) = (old.topic, old.owner, old.renewed());
        self.lanes.insert(new, lane);
        self.topics.get_mut(&topic).expect("a topic").lanes.push(new);
        let session = owner.session().expect("of a session");
        self.session_mut(session).lanes.push(new);
        // What the old one needs is known.
        self.start_lane(new, Start::After(position), &last_run);
        self.end_lane(key, LossReason::Unsubscribed);
    }

    /// The messages that wait behind the last hole.
    pub(super) fn last_run(&self, key: LaneKey) -> Vec<Rc<Message>> {
        let waiting = &self.lanes[&key].waiting;
        let mut run: Vec<Rc<Message>> = Vec::new();
        for message in waiting.iter().rev() {
            if run.last().is_some_and(|next: &Rc<Message>| next.seq != message.seq + 1) {
                break;
            }
            run.push(message.clone());
        }
        run.reverse();
        run
    }

    /// Detached lanes that keep nobody waiting end rather than refuse so many bytes.
    pub(super) fn end_those_away(&mut self, topic: TopicKey, bytes: u64) {
        for lane in self.topics[&topic].lanes.clone() {
            let Some(known) = self.lanes.get(&lane).filter(|lane| lane.ended.is_none()) else { continue };
            let may_lose = !matches!(known.policy, Policy::Block | Policy::Disconnect);
            if !may_lose && self.is_detached(lane) && !self.lanes[&lane].fits(bytes) {
                let session = self.lanes[&lane].owner.session().expect("it is detached");
                self.end_lanes_of(session, SessionEnd::Overflowed);
                if self.sessions[&session].conn.is_none() {
                    self.sessions.remove(&session);
                }
            }
        }
    }

    /// What a client is told of the lanes of its session, and how they are told apart.
    pub(super) fn described(&self, key: LaneKey, seq: u64) -> String {
        let lane = &self.lanes[&key];
        let topic = &self.topics[&lane.topic];
        let (name, policy, epoch) = (super::text::quoted(&topic.name), lane.policy.name(), topic.epoch.unwrap_or(0));
        let delivery = match &lane.acks {
            None => "\"best-effort\"".to_string(),
            Some(acks) => format!("\"at-least-once\",\"in_flight_max\":{}", acks.in_flight_max()),
        };
        format!(
            "\"topic\":{name},\"epoch\":\"{epoch:016x}\",\"seq\":{seq},\"policy\":\"{policy}\",\"delivery\":{delivery}"
        )
    }

    /// Sessions without a connection.
    pub(crate) fn detached(&self) -> usize {
        self.sessions.values().filter(|session| session.conn.is_none()).count()
    }

    /// What sessions the hub names are called here.
    pub(crate) fn learn_session(&mut self, conn: ConnId, id: SessionId) -> bool {
        let Some(key) = self.session_of(conn) else { return true };
        *self.session_mut(key).id.get_or_insert(id) == id
    }

    /// The token of a connection's session.
    pub(crate) fn learn_token(&mut self, key: SessionKey, told: &str) -> Result<(), String> {
        let token = SessionToken::parse(told).ok_or_else(|| format!("not a token: {told:?}"))?;
        let is_taken = self.sessions.iter().any(|(other, session)| *other != key && session.token == Some(token));
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(()) };
        let id = SessionId::from_bits(u64::from_str_radix(&told[..16], 16).unwrap_or(u64::MAX));
        if is_taken || *session.token.get_or_insert(token) != token || *session.id.get_or_insert(id) != id {
            return Err(format!("{told} names another session than {session:?}"));
        }
        if self.tokens.iter().all(|(known, _)| known != told) {
            self.tokens.push((told.to_string(), key));
        }
        Ok(())
    }

    /// `Event::Resumed` is polled.
    pub(crate) fn resumed_is_told(&mut self, conn: ConnId, id: SessionId) -> bool {
        let Some(key) = self.session_of(conn) else { return false };
        let session = self.session_mut(key);
        *session.id.get_or_insert(id) == id && std::mem::take(&mut session.is_resumed)
    }

    /// `Event::SessionEnded` is polled.
    pub(crate) fn end_is_told(&mut self, id: SessionId, reason: SessionEnd) -> bool {
        let is_known = |(name, _): &(Name, SessionEnd)| *name == Some(id);
        let place = self.ended_sessions.iter().position(is_known);
        let place = place.or_else(|| self.ended_sessions.iter().position(|(name, _)| name.is_none()));
        place.is_some_and(|place| self.ended_sessions.remove(place).1 == reason)
    }

    /// `Event::Abandoned` is polled.
    pub(crate) fn abandoned_is_told(&mut self, id: LaneId) -> bool {
        // Also of one that has ended since, while something of it is outstanding.
        let Some(key) = self.lane_of(id) else { return self.lanes.values().any(|lane| lane.id == Some(id)) };
        self.lane(key).acks.as_mut().is_some_and(|acks| std::mem::take(&mut acks.is_news))
    }

    /// What is to be told of sessions and their lanes.
    pub(crate) fn untold_of_sessions(&self) -> Option<String> {
        let resumed = self.sessions.values().find(|session| session.is_resumed);
        let is_news = |lane: &&super::Lane| lane.ended.is_none() && lane.acks.as_ref().is_some_and(|acks| acks.is_news);
        let lane = self.lanes.values().find(is_news);
        let ended = self.ended_sessions.first();
        resumed
            .map(|session| format!("{:?} was resumed", session.id))
            .or_else(|| lane.map(|lane| format!("{:?} has abandoned messages", lane.id)))
            .or_else(|| ended.map(|(id, reason)| format!("{id:?} has ended: {reason:?}")))
    }
}
