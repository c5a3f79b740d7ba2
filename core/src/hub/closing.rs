//! Connections end.

use super::{Hub, News};
use alloc::vec::Vec;

use crate::conn::{Conn, LastWord, Phase, PinnedMessage, Segment, Source};
use crate::id::{ConnId, SessionId};
use crate::lane::Mark;
use crate::output::{EndReason, LossReason};
use crate::wire::{CloseCode, Opcode, Role, frame};

/// It names nothing: who has ended has nothing to do any more with a session that lives on.
const NO_SESSION: SessionId = SessionId::from_bits(u64::MAX);

impl Hub {
    /// The mask for the next frame of a connection, where one is due (RFC 6455 §5.3).
    pub(super) fn mask(&mut self, id: ConnId) -> Option<[u8; 4]> {
        let is_client = self.conns.get(id).is_some_and(|conn| conn.role == Role::Client);
        is_client.then(|| self.entropy.bytes())
    }

    /// Sends a Close frame behind the replies; nothing follows it. What waits in lanes is lost, unless the session lives on.
    pub(super) fn begin_close(
        &mut self,
        id: ConnId,
        reason: EndReason,
        (code, text): (CloseCode, &str),
        awaits_peer: bool,
    ) {
        let (mask, now) = (self.mask(id), self.now);
        // Of a peer that has said its last word nothing is to be awaited.
        let awaits_peer = awaits_peer && !self.conn_mut(id).is_heard_out();
        self.leave(id, reason);
        let work = self.work_mut(id);
        work.outbound.forget_pong();
        frame::put_close(&mut work.outbound.replies, mask, Some((code, text)));
        work.inbound.message = Vec::new();
        work.inbound.message_began = None;
        self.conn_mut(id).phase = Phase::Closing { reason, awaits_peer, since: now };
    }

    /// The peer's Close frame came.
    pub(super) fn peer_closed(&mut self, id: ConnId, code: Option<CloseCode>) {
        let is_server = self.conn_mut(id).role == Role::Server;
        if let Phase::Closing { awaits_peer, .. } = &mut self.conn_mut(id).phase {
            // A client waits for the server to close the transport (RFC 6455 §7.1.1).
            *awaits_peer &= !is_server;
            return;
        }
        self.hear_last(id, LastWord::Close(code));
    }

    /// The peer has closed, or broken the protocol: valid messages that came before are answered first. (A dialect has
    /// answered already what it can.)
    pub(super) fn hear_last(&mut self, id: ConnId, last: LastWord) {
        let now = self.now;
        let conn = self.conn_mut(id);
        let Phase::Open { owes_answers: true, .. } = conn.phase else { return self.take_leave(id, last) };
        conn.phase = Phase::Answering { last, is_answered: false, since: now };
        self.forget_inflating(id);
        let inbound = &mut self.work_mut(id).inbound;
        inbound.message = Vec::new();
        inbound.message_began = None;
    }

    /// The application has heard that there are no more messages.
    pub(super) fn answered(&mut self, id: ConnId) {
        match &mut self.conn_mut(id).phase {
            Phase::Open { owes_answers, .. } => *owes_answers = false,
            Phase::Answering { is_answered, .. } => {
                *is_answered = true;
                self.settle(id);
            }
            _ => {}
        }
    }

    /// The answer to a peer's last word.
    pub(super) fn take_leave(&mut self, id: ConnId, last: LastWord) {
        match last {
            LastWord::Close(code) => self.answer_close(id, code),
            LastWord::Violation(error) => {
                self.begin_close(id, last.reason(), (error.close_code(), error.as_str()), false);
            }
        }
    }

    /// A Close frame is answered with the same code, once (RFC 6455 §5.5.1).
    fn answer_close(&mut self, id: ConnId, code: Option<CloseCode>) {
        let is_server = self.conn_mut(id).role == Role::Server;
        let (mask, now, reason) = (self.mask(id), self.now, EndReason::PeerClosed(code));
        self.leave(id, reason);
        let work = self.work_mut(id);
        work.outbound.forget_pong();
        frame::put_close(&mut work.outbound.replies, mask, code.map(|code| (code, "")));
        self.conn_mut(id).phase = Phase::Closing { reason, awaits_peer: !is_server, since: now };
    }

    pub(super) fn close_now(&mut self, id: ConnId, code: CloseCode, text: &str) {
        let Some(conn) = self.conns.get(id) else { return self.stale() };
        match conn.phase {
            Phase::Request(_) | Phase::Gated(_) | Phase::Response(_) => self.end(id, EndReason::Closed(code), true),
            Phase::Open { .. } => {
                self.begin_close(id, EndReason::Closed(code), (code, text), true);
                self.pump(id);
            }
            Phase::Answering { last, .. } => self.take_leave(id, last),
            Phase::Closing { .. } | Phase::Ended { .. } => {}
        }
        self.refresh(id);
    }

    /// Ends the direct lane, and the session where it does not live on; drops what came in and is not done with.
    fn leave(&mut self, id: ConnId, reason: EndReason) {
        self.unpark(id);
        self.forget_contexts(id);
        let Some(conn) = self.conns.get(id) else { return };
        self.leave_session(conn.session, reason);
        let is_raw = self.conn_mut(id).dialect().is_none();
        let Some(work) = self.conns.get_mut(id).and_then(|conn| conn.work.as_mut()) else { return };
        if !is_raw {
            work.inbound.clear();
        }
        if let Some(direct) = &mut work.direct {
            let head = direct.log.head();
            if !direct.lane.is_ended() {
                let lost = crate::topics::change_lane(&mut direct.lane, &mut direct.log, |lane, _| {
                    lane.end(head, LossReason::Closed)
                });
                self.stats.direct.lose(LossReason::Closed, lost);
            }
        }
    }

    /// The connection is over: everything it owned is released, and what is to be told is listed.
    pub(super) fn end(&mut self, id: ConnId, reason: EndReason, owes_effect: bool) {
        let Some(conn) = self.conns.get(id).filter(|conn| !conn.is_ended()) else { return };
        let (session_id, timer) = (conn.session, conn.timer);
        self.leave(id, reason);
        let lives_on = self.part(session_id, id);
        self.lose_outstanding(id);
        let conn = self.conn_mut(id);
        conn.phase = Phase::Ended { reason, owes_effect };
        conn.is_limited = false;
        self.limits.remove(&id);
        self.kernel_bytes.remove(&id);
        let conn = self.conn_mut(id);
        (conn.is_blocked, conn.is_ready, conn.stalled_since) = (false, false, None);
        // The application is told of the end when it has taken what came before it. For the budget it has to go.
        let is_kept = conn.dialect().is_none()
            && !matches!(reason, EndReason::Closed(_) | EndReason::Drained | EndReason::Overloaded);
        let is_kept = is_kept && conn.has_messages();
        if let Some(work) = conn.work.take().filter(|_| is_kept) {
            self.work_mut(id).inbound.keep_messages(work.inbound);
        }
        let conn = self.conn_mut(id);
        conn.news.closed = true;
        if lives_on {
            conn.session = NO_SESSION;
            if reason != EndReason::Resumed {
                self.detach(session_id);
            }
        } else {
            self.sessions.remove(session_id).expect("a connection's session exists");
        }
        self.timers.remove(timer);
        self.stats.closed += 1;
        self.stats.ended[reason.place()] += 1;
        self.stats.connections -= 1;
        self.recharge_conn(id);
        self.announce_conn(id);
        if owes_effect {
            self.list_effect(id);
        }
    }

    /// What is in a Transmit, or pinned, will not be answered any more.
    fn lose_outstanding(&mut self, id: ConnId) {
        self.spell_out(id);
        let Some(outbound) = self.conn_mut(id).outbound_mut() else { return };
        let pinned = outbound.pinned.take().map(|pinned| pinned.message);
        let segments = outbound.outstanding.take().map_or_else(Vec::new, |out| out.segments);
        let (mut sources, mut latest, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        let mut again = Vec::new();
        match pinned {
            Some(PinnedMessage::Logged(source, _)) => sources.push(source),
            Some(PinnedMessage::Again(lane, seq)) => again.push((lane, seq)),
            Some(PinnedMessage::Latest(lane, message)) => latest.push((lane, *message)),
            Some(PinnedMessage::Notice(lane, gap)) => notices.push((lane, *gap)),
            None => {}
        }
        for segment in segments {
            match segment {
                Segment::Messages { source, .. } => sources.push(source),
                Segment::Again { lane, run, .. } => again.push((lane, run.last())),
                Segment::Latest { lane, taken } => latest.push((lane, self.latest_let_go(lane, taken))),
                Segment::Notice { lane, gap, .. } => notices.push((lane, gap)),
                Segment::Pinned | Segment::Control { .. } => {}
            }
        }
        notices.into_iter().for_each(|(lane, gap)| self.notice_returned(lane, gap));
        for (lane, message) in latest {
            self.latest_returned(lane, message);
            self.remove_lane_if_settled(lane);
        }
        again.into_iter().for_each(|(lane, seq)| self.returned_again(lane, seq));
        for source in sources {
            match source {
                Source::Lane(lane) if self.topics.of_lane(lane).is_none() => {}
                Source::Lane(lane) => {
                    let (topic, place) = self.topics.lane(lane);
                    let lane_state = topic.run_lane(place).expect("its source is a log");
                    let from: Mark = lane_state.outstanding().after;
                    self.lane_returned(source, id, from);
                    self.source_progressed(source);
                }
                Source::Direct => {
                    let direct = self.conns.get(id).and_then(Conn::direct);
                    let from = direct.expect("what is outstanding has a lane").lane.outstanding().after;
                    self.lane_returned(source, id, from);
                }
            }
        }
    }

    /// A closing connection with nothing left to flush is over; one that is draining begins to close.
    pub(super) fn drain_further(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        let is_flushed = !conn.has_outstanding() && !conn.has_control();
        match conn.phase {
            Phase::Closing { reason, awaits_peer: false, .. } if is_flushed => self.end(id, reason, true),
            Phase::Answering { last, is_answered: true, .. } if !conn.has_direct_waiting() => self.take_leave(id, last),
            Phase::Open { .. } if self.draining.is_some() && is_flushed && self.has_nothing_waiting(id) => {
                self.begin_close(id, EndReason::Drained, (CloseCode::GOING_AWAY, "shutting down"), true);
            }
            _ => {}
        }
    }

    fn has_nothing_waiting(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id).expect("just looked up");
        let session = self.sessions.get(conn.session).expect("a connection's session exists");
        session.active().is_empty()
            && !self.is_held_up(session)
            && !conn.has_direct_waiting()
            && conn.inbound().is_none_or(|inbound| inbound.parked.is_none())
    }

    pub(super) fn start_draining(&mut self, until: crate::Instant) {
        if self.draining.is_none() {
            let timer = self.timers.add(super::TimerKey::Drain);
            self.timers.arm(timer, until);
            self.draining = Some(until);
        }
        self.flush_all();
        self.end_left_sessions();
        let ids: alloc::vec::Vec<ConnId> = self.conns.iter().map(|(id, _)| id).collect();
        for id in ids {
            match self.conn_mut(id).phase {
                Phase::Request(_) | Phase::Gated(_) | Phase::Response(_) => self.end(id, EndReason::Drained, true),
                _ => self.refresh(id),
            }
        }
    }

    /// `until` has come: whoever still has something waiting loses it.
    pub(super) fn end_draining(&mut self) {
        let ids: alloc::vec::Vec<ConnId> = self.conns.iter().map(|(id, _)| id).collect();
        for id in ids {
            match self.conn_mut(id).phase {
                Phase::Open { .. } => {
                    self.begin_close(id, EndReason::Drained, (CloseCode::GOING_AWAY, "shutting down"), true);
                }
                Phase::Request(_) | Phase::Gated(_) | Phase::Response(_) => self.end(id, EndReason::Drained, true),
                Phase::Answering { last, .. } => self.take_leave(id, last),
                Phase::Closing { .. } | Phase::Ended { .. } => {}
            }
            self.refresh(id);
        }
    }

    pub(super) fn put_ping(&mut self, id: ConnId) {
        let mask = self.mask(id);
        frame::put_frame(&mut self.work_mut(id).outbound.replies, Opcode::Ping, mask, b"");
    }

    pub(super) fn announce_conn(&mut self, id: ConnId) {
        if !core::mem::replace(&mut self.conn_mut(id).news.is_listed, true) {
            self.events.push_back(News::Conn(id));
        }
    }

    pub(super) fn list_effect(&mut self, id: ConnId) {
        if !core::mem::replace(&mut self.conn_mut(id).is_effect_listed, true) {
            self.effects.push_back(id);
        }
    }
}
