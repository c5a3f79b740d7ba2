//! What time brings.

use alloc::vec::Vec;

use bytes::BytesMut;

use super::{Hub, TimerKey};
use crate::conn::Phase;
use crate::id::ConnId;
use crate::output::{EndReason, LossReason, SessionEnd};
use crate::time::Instant;
use crate::wire::{CloseCode, handshake};

/// Timers handled by one `handle_timeout`; the rest is `Cause::Backlog`.
const TIMERS_PER_CALL: usize = 1_024;

impl Hub {
    /// Does what is due. What clients ask for comes last: of two timers for the same moment the one that was moved in the
    /// heap may fire first, and whether a request is carried out before a flush or behind it is not to depend on that.
    pub(super) fn fire_timers(&mut self) {
        let mut waited: Vec<ConnId> = Vec::new();
        for _ in 0..TIMERS_PER_CALL {
            match self.timers.pop_due(self.now) {
                None => break,
                Some(TimerKey::Hub) => self.update_hub_level(),
                Some(TimerKey::Session(place)) => {
                    let id = self.sessions.key_at(place).expect("a timer's session exists");
                    self.end_session(id, SessionEnd::Expired, LossReason::Closed);
                }
                Some(TimerKey::Drain) => self.end_draining(),
                Some(TimerKey::Topic(place)) => {
                    let id = self.topics.slab.key_at(place).expect("a timer's topic exists");
                    self.expire_topic(id);
                }
                Some(TimerKey::History(place)) => {
                    let id = self.topics.slab.key_at(place).expect("a timer's topic exists");
                    self.trim_history(id);
                }
                Some(TimerKey::Acks(index)) => self.acks_are_due(self.topics.id_of(index)),
                Some(TimerKey::Flush(place)) => {
                    let id = self.topics.slab.key_at(place).expect("a timer's topic exists");
                    self.flush(id);
                }
                Some(TimerKey::Rate(place)) => {
                    let id = self.topics.slab.key_at(place).expect("a timer's topic exists");
                    self.may_have_room(id); // For the first that is parked.
                }
                Some(TimerKey::Levels(place)) => {
                    let id = self.topics.slab.key_at(place).expect("a timer's topic exists");
                    self.levels_fall(id);
                }
                Some(TimerKey::Conn(place)) => {
                    let id = self.conns.key_at(place).expect("a timer's connection exists");
                    self.spell_out(id); // Its timer is not what a plain Transmit leaves it at any more.
                    self.time_out(id);
                    if self.has_waited(id) {
                        waited.push(id);
                    } else {
                        self.refresh(id);
                    }
                }
            }
        }
        self.go_on_with(waited);
        self.is_backlogged = self.timers.next().is_some_and(|at| at <= self.now);
    }

    /// Whether a request of the connection is not to wait any longer: for room, or for a unit.
    fn has_waited(&self, id: ConnId) -> bool {
        self.has_waited_for_room(id) || self.has_waited_for_unit(id)
    }

    /// First what has waited for too long is answered, then what comes is heard again.
    fn go_on_with(&mut self, mut waited: Vec<ConnId>) {
        waited.sort_unstable();
        waited.dedup();
        for id in &waited {
            self.give_up_waiting(*id);
        }
        for id in waited {
            self.resume_limited(id);
            self.refresh(id);
        }
    }

    /// Does what is due. A deadline that moved since its timer was armed is only armed anew, by `refresh`.
    fn time_out(&mut self, id: ConnId) {
        let now = self.now;
        let conn = self.conns.get_mut(id).expect("a timer's connection exists");
        let handshake_is_over = |since: Instant| since + self.config.handshake_timeout <= now;
        match conn.phase {
            Phase::Request(ref accepted) if handshake_is_over(accepted.since) => self.refuse_late(id),
            Phase::Gated(ref gated) if handshake_is_over(gated.since) => self.refuse_late(id),
            Phase::Response(ref opening) if handshake_is_over(opening.since) => {
                self.end(id, EndReason::HandshakeTimeout, true);
            }
            Phase::Answering { last, since, .. } if since + self.config.close_timeout <= now => {
                self.take_leave(id, last);
            }
            Phase::Closing { reason, since, .. } if since + self.config.close_timeout <= now => {
                self.end(id, reason, true);
            }
            Phase::Open { since, is_pinged, .. } => self.time_out_open(id, since, is_pinged),
            _ => {}
        }
    }

    fn refuse_late(&mut self, id: ConnId) {
        let mut out = BytesMut::new();
        handshake::put_refusal(&mut out, 408, "no opening handshake in time");
        self.refuse_with(id, out, EndReason::HandshakeTimeout);
    }

    fn time_out_open(&mut self, id: ConnId, since: Instant, is_pinged: bool) {
        let (now, config) = (self.now, self.config);
        let conn = self.conns.get_mut(id).expect("a timer's connection exists");
        // One that may be written to again is not to blame: it was not written to yet.
        if conn.is_writing() && conn.stalled_since.is_some_and(|since| since + config.stall_timeout <= now) {
            return self.end(id, EndReason::Stalled, true);
        }
        if conn.excused_since.is_none() {
            let began = conn.inbound().and_then(|inbound| inbound.message_began);
            if began.is_some_and(|began| began + config.message_timeout <= now) {
                let close = (CloseCode::POLICY, "message not finished in time");
                return self.begin_close(id, EndReason::MessageTimeout, close, false);
            }
            if is_pinged && since + config.pong_timeout <= now {
                return self.end(id, EndReason::PongTimeout, true);
            }
            if !is_pinged && since + config.ping_interval <= now {
                conn.heard(now, true);
                self.put_ping(id);
            }
        }
    }

    /// Brings everything that follows from a connection's state up to date: whether it is over, whether it is read, its
    /// deadline, whether it has something to send, what it is charged.
    pub(super) fn refresh(&mut self, id: ConnId) {
        self.drain_further(id);
        let Some(conn) = self.conns.get_mut(id).filter(|conn| !conn.is_ended()) else { return };
        conn.update_stopped(&self.config);
        if conn.was_paused == conn.wants_read() {
            self.list_effect(id);
        }
        self.update_conn_levels(id);
        self.make_ready(id);
        let conn = self.conn_mut(id);
        if !conn.is_ready && !conn.is_writing() {
            conn.stalled_since = None; // Nothing is left that the peer would have to take.
        }
        self.forget_limits(id);
        self.rest(id);
        self.update_deadline(id);
        self.hold_budget(id);
    }

    /// Arms the timer of a connection for what it waits for now.
    pub(super) fn update_deadline(&mut self, id: ConnId) {
        let conn = self.conns.get_mut(id).expect("the connection exists");
        conn.update_excused(self.now);
        let session = conn.session;
        let limits = self.limits.get(&id).map(|limits| limits.deadline(&self.config, conn.is_limited));
        if let Some(deadline) = conn.deadline(&self.config).into_iter().chain(limits).min() {
            // A later deadline waits until the timer fires: a connection that is alive costs no heap operation.
            let timer = conn.timer;
            if self.timers.deadline(timer).is_none_or(|armed| deadline < armed) {
                self.timers.arm(timer, deadline);
            }
        }
        if self.acking_lanes > 0 {
            self.update_clock(session);
        }
    }

    /// Charges a connection for what it holds now. Where its replies, or the rest of a message sent in part, have no room
    /// even after shedding, it is ended.
    pub(super) fn hold_budget(&mut self, id: ConnId) {
        self.recharge_conn(id);
        if self.stats.resident_bytes > self.config.resident_bytes_max && !self.make_room_for(0) {
            self.end(id, EndReason::Overloaded, true);
        }
    }

    /// Lists a connection that has something to send and may, or sees that it is when its rate allows.
    pub(super) fn make_ready(&mut self, id: ConnId) {
        self.wake_all(); // They come first.
        let Some(conn) = self.conns.get(id) else { return };
        if conn.is_ready || conn.is_writing() || conn.is_ended() {
            return;
        }
        let starts_at = if conn.has_control() { Some(self.now) } else { self.starts_at(id) };
        let is_ready = starts_at.is_some_and(|at| at <= self.now);
        if let Some(limits) = self.limits.get_mut(&id) {
            limits.starts_at = starts_at.filter(|_| !is_ready);
        }
        if is_ready {
            self.conn_mut(id).is_ready = true;
            self.ready.push_back(id);
        } else if starts_at.is_some() {
            self.update_deadline(id);
        }
    }
}
