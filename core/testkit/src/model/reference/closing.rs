//! How connections begin and end.

use std::collections::VecDeque;

use forebay_core::{AcceptError, ConnId, EndReason, Options, wire::CloseCode};

use super::clock::Clock;
use super::output::whats;
use super::{Conn, DIRECT, Front, LastWord, News, Open, Phase, Reference, SessionKey, count};

/// The greeting of a session.
fn hello(options: &Options, session: SessionKey) -> Front {
    let start = "{\"op\":\"hello\",\"version\":1,\"session\":\"".into();
    let end = format!(
        "\",\"limits\":{{\"message_bytes_max\":{},\"inbound_bytes_max\":{},\"topic_name_bytes_max\":{},\
         \"lanes_max\":{},\"ping_interval_ms\":{},\"session_ttl_ms\":{}}}}}",
        options.message_bytes_max,
        options.inbound_bytes_max,
        options.topic_name_bytes_max,
        options.lanes_per_session_max,
        options.ping_interval.as_millis(),
        options.session_ttl.as_millis()
    );
    Front::Text { start, end: Some(end), open: Open::Token(session) }
}

impl Reference {
    /// What accepting gives, where it is refused.
    pub(crate) fn may_accept(&self) -> Option<AcceptError> {
        if self.draining.is_some() {
            Some(AcceptError::Draining)
        } else if self.conns.len() >= self.options.connections_max as usize {
            Some(AcceptError::ConnectionsFull)
        } else {
            None
        }
    }

    /// A connection that the hub has named.
    pub(crate) fn accept(&mut self, id: ConnId, is_raw: bool, is_upgraded: bool) {
        self.counters.accepted += 1;
        let session = self.make_session(id, is_raw);
        let conn = Conn {
            is_raw,
            phase: Phase::Handshake,
            session,
            news: News::default(),
            wire: VecDeque::new(),
            fed: 0,
            partial: 0,
            is_inside_message: false,
            requests: VecDeque::new(),
            parked_since: None,
            inbox: VecDeque::new(),
            is_stopped: false,
            is_paused: false,
            peer_closed: false,
            owes_answers: false,
            last_word: None,
            is_doomed: false,
            front: VecDeque::new(),
            begun: Vec::new(),
            pongs: VecDeque::new(),
            pings: 0,
            pinned: None,
            out: None,
            is_blocked: false,
            close_sent: false,
            direct: VecDeque::new(),
            direct_out: Default::default(),
            direct_refused: false,
            kernel_bytes: 0,
            inbound: Default::default(),
            outbound: Default::default(),
            clock: Clock::new(self.now),
        };
        self.conns.insert(id, conn);
        if is_upgraded {
            self.open(id, None);
        }
    }

    /// The opening handshake is done, here with this key, or by somebody else.
    pub(super) fn open(&mut self, id: ConnId, asked: Option<(String, Vec<&'static str>)>) {
        let ping_interval = self.options.ping_interval;
        let is_raw = self.conns[&id].is_raw;
        if let Some((key, protocols)) = asked {
            let protocols = if is_raw { Vec::new() } else { protocols };
            self.reply(id, Front::Response { key, protocols });
        }
        self.counters.opened += 1;
        let conn = self.conn(id);
        conn.phase = Phase::Open;
        conn.news.is_opened = true;
        conn.clock.heard(ping_interval);
        if !is_raw {
            let hello = hello(&self.options, self.conns[&id].session);
            self.reply(id, hello);
        }
    }

    /// All its lanes end, unless its session lives on.
    fn end_lanes(&mut self, id: ConnId, reason: EndReason) {
        self.leave_session(id, reason);
        let conn = self.conn(id);
        let direct = std::mem::take(&mut conn.direct);
        conn.news.is_sendable |= std::mem::take(&mut conn.direct_refused);
        self.lost[DIRECT][6] += count(&direct);
    }

    /// The Close frame is queued: nothing else is said.
    pub(super) fn begin_close(&mut self, id: ConnId, reason: EndReason, code: Option<u16>, text: Option<String>) {
        let now = self.now;
        self.drop_requests(id);
        self.end_lanes(id, reason);
        self.reply(id, Front::Close(code, text));
        let conn = self.conn(id);
        conn.is_doomed = false;
        conn.last_word = None;
        conn.phase = Phase::Closing(reason);
        conn.clock.closing(now);
    }

    /// The application closes.
    pub(crate) fn close(&mut self, id: ConnId, code: CloseCode, text: &str) {
        match self.conns.get_mut(&id).map(|conn| conn.phase) {
            Some(Phase::Open) if self.conns[&id].last_word.is_some() => self.take_leave(id),
            Some(Phase::Open) => {
                self.begin_close(id, EndReason::Closed(code), Some(code.get()), Some(text.into()));
            }
            Some(Phase::Handshake) => self.end(id, EndReason::Closed(code), true),
            Some(_) => {}
            None => self.stale(),
        }
        self.end_call();
    }

    /// The peer sends Close.
    pub(super) fn peer_closes(&mut self, id: ConnId, code: Option<u16>) {
        let reason = EndReason::PeerClosed(code.and_then(CloseCode::new));
        self.hear_last(id, reason, code);
    }

    /// The peer has nothing more to say.
    pub(super) fn hear_last(&mut self, id: ConnId, reason: EndReason, code: Option<u16>) {
        let since = self.now;
        let conn = self.conn(id);
        conn.peer_closed = true;
        if conn.phase == Phase::Open {
            conn.last_word = Some(LastWord { reason, code, since, is_answered: false });
            (conn.partial, conn.is_inside_message) = (0, false);
            if !conn.owes_answers {
                self.take_leave(id);
            }
        }
    }

    /// Those whose answers have left, before anybody else finds room.
    pub(super) fn leave_answered(&mut self) {
        let is_due = |conn: &Conn| {
            let is_sent = conn.direct.is_empty() && conn.direct_out.messages == 0;
            is_sent && conn.last_word.is_some_and(|last| last.is_answered)
        };
        let due: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| is_due(conn)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.take_leave(id));
    }

    /// The peer's last word is answered.
    pub(super) fn take_leave(&mut self, id: ConnId) {
        let last = self.conns[&id].last_word.expect("it has come");
        self.begin_close(id, last.reason, last.code, None);
    }

    /// Lanes that were full end their connections at the end of a call.
    pub(super) fn close_doomed(&mut self) {
        let doomed: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| conn.is_doomed).map(|(id, _)| *id).collect();
        for id in doomed {
            if self.conns[&id].phase == Phase::Open {
                let text = "lane full".to_string();
                self.begin_close(id, EndReason::Overflowed, Some(1013), Some(text));
            }
            self.conn(id).is_doomed = false;
        }
    }

    /// It is over: what waits is lost, what is outstanding too.
    pub(super) fn end(&mut self, id: ConnId, reason: EndReason, owes_effect: bool) {
        self.drop_requests(id);
        self.end_lanes(id, reason);
        self.lose_beginning(id);
        let lost = self.lost_beginning(id);
        let conn = self.conn(id);
        conn.phase = Phase::Ended(reason, owes_effect);
        conn.last_word = None;
        conn.front.clear();
        conn.news.is_closed = true;
        if matches!(reason, EndReason::Closed(_)) {
            conn.inbox.clear(); // The application itself did not want to wait.
        }
        conn.is_stopped = false;
        let out = conn.out.take().map(whats).unwrap_or_default();
        let pinned = conn.pinned.take().map(|item| item.what);
        self.take_back_items(id, out.into_iter().chain(pinned).collect(), lost.as_ref());
        self.look_at_touched(); // What returned counts, too old or not.
        self.detach(id);
        self.counters.closed += 1;
        let conn = self.conn(id);
        conn.front.clear();
        conn.begun.clear();
        conn.pongs.clear();
        conn.pings = 0;
        self.forget_conn(id);
    }

    /// A connection is gone when everything was told and done.
    fn forget_conn(&mut self, id: ConnId) {
        let conn = &self.conns[&id];
        if matches!(conn.phase, Phase::Ended(_, false)) && !conn.news.is_closed {
            self.conns.remove(&id);
        }
    }

    pub(super) fn refusal_sent(&mut self, id: ConnId) {
        if let Phase::Closing(reason) = self.conns[&id].phase {
            self.end(id, reason, true);
        }
    }

    /// The transport has ended.
    pub(crate) fn eof(&mut self, id: ConnId) {
        match self.conns.get_mut(&id).map(|conn| conn.phase) {
            Some(Phase::Ended(reason, true)) => {
                self.conn(id).phase = Phase::Ended(reason, false);
                self.forget_conn(id);
            }
            None | Some(Phase::Ended(..)) => self.stale(),
            Some(Phase::Closing(reason)) => self.end(id, reason, false),
            Some(_) if self.conns[&id].last_word.is_some() => {
                let last = self.conn(id).last_word.take().expect("just looked at");
                self.end(id, last.reason, false);
            }
            Some(_) => self.end(id, EndReason::PeerGone, false),
        }
        self.end_call();
    }

    /// `Effect::Close` was polled.
    pub(crate) fn close_is_obeyed(&mut self, id: ConnId) -> bool {
        match self.conns.get(&id).map(|conn| conn.phase) {
            Some(Phase::Ended(reason, true)) => {
                self.conn(id).phase = Phase::Ended(reason, false);
                self.forget_conn(id);
                true
            }
            _ => false,
        }
    }

    /// `Event::Closed` was polled: why it must have ended.
    pub(crate) fn closed_is_told(&mut self, id: ConnId) -> Option<EndReason> {
        let conn = self.conns.get_mut(&id)?;
        let Phase::Ended(reason, _) = conn.phase else { return None };
        if !std::mem::take(&mut conn.news.is_closed) || !conn.inbox.is_empty() {
            return None;
        }
        self.forget_conn(id);
        Some(reason)
    }

    /// What follows from where a connection is, at the end of a call.
    pub(super) fn settle_conn(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if matches!(conn.phase, Phase::Closing(_)) {
            self.decode(id);
        }
        let conn = &self.conns[&id];
        if let Phase::Closing(reason) = conn.phase {
            if conn.close_sent && conn.peer_closed {
                self.end(id, reason, true);
            }
            return;
        }
        if conn.phase == Phase::Handshake && self.draining.is_some() {
            self.end(id, EndReason::Drained, true);
            return;
        }
        let waits = |lane: &super::LaneKey| {
            let lane = &self.lanes[lane];
            lane.all_waiting().messages > 0 || lane.acks.as_ref().is_some_and(|acks| !acks.unacknowledged.is_empty())
        };
        let is_waited_for = !conn.direct.is_empty() || self.lanes_of(id).iter().any(waits);
        if conn.last_word.is_some() {
            return;
        }
        // Also what waits for a rate.
        let has_output = self.has_output(id) || self.next_class(id).is_some();
        let is_idle = conn.out.is_none() && !has_output && !is_waited_for;
        if conn.phase == Phase::Open && self.draining.is_some() && is_idle && conn.parked_since.is_none() {
            self.begin_close(id, EndReason::Drained, Some(1001), None);
        }
    }

    /// Takes nothing new.
    pub(crate) fn drain(&mut self, until: u64) {
        self.draining.get_or_insert(until);
        self.end_detached();
        for topic in self.topics.keys().copied().collect::<Vec<_>>() {
            self.flush(topic);
        }
        self.end_call();
    }
}
