//! Deadlines: when a connection ends by itself, and why.

use std::time::Duration;

use forebay_core::{ConnId, EndReason, SessionEnd};

use super::{Front, LaneKey, Phase, Reference, SessionKey, TopicKey};

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Patience that is used up while somebody is waited for, and stands still while we are in the way.
#[derive(Clone, Copy, Debug)]
struct Patience {
    left: u64,
    /// Since when it is used up.
    since: Option<u64>,
}

impl Patience {
    fn ends(self) -> Option<u64> {
        self.since.map(|since| since.saturating_add(self.left))
    }

    fn runs(&mut self, is_running: bool, now: u64) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(now - since);
        }
        self.since = is_running.then_some(now);
    }
}

/// What a connection's deadlines depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    accepted: u64,
    /// Until a ping is sent; then until nothing more is hoped for. It was to be heard of since it was open.
    silence: Option<Patience>,
    is_pinged: bool,
    /// A message has begun and not ended.
    message: Option<Patience>,
    closing: Option<u64>,
    /// Since when output is blocked, or a Transmit without an answer, and made no progress.
    stuck: Option<u64>,
}

impl Clock {
    pub(super) fn new(now: u64) -> Self {
        Self { accepted: now, ..Self::default() }
    }

    /// A sign of life.
    pub(super) fn heard(&mut self, ping_interval: Duration) {
        self.silence = Some(Patience { left: nanos(ping_interval), since: None });
        self.is_pinged = false;
    }

    /// A whole message was understood.
    pub(super) fn message_ends(&mut self) {
        self.message = None;
    }

    /// Whether a message has begun and not ended.
    pub(super) fn message(&mut self, is_cut: bool, timeout: Duration) {
        match is_cut {
            true => _ = self.message.get_or_insert(Patience { left: nanos(timeout), since: None }),
            false => self.message = None,
        }
    }

    /// Whether the peer is to blame for silence.
    pub(super) fn listens(&mut self, is_listening: bool, now: u64) {
        for patience in [&mut self.silence, &mut self.message].into_iter().flatten() {
            patience.runs(is_listening, now);
        }
    }

    pub(super) fn closing(&mut self, now: u64) {
        self.closing = Some(now);
    }

    pub(super) fn handed(&mut self, now: u64) {
        self.stuck.get_or_insert(now);
    }

    pub(super) fn answered(&mut self, sent: usize, is_blocked: bool, now: u64) {
        if !is_blocked {
            self.stuck = None;
        } else if sent > 0 {
            self.stuck = Some(now);
        }
    }

    /// An acknowledgement is progress.
    pub(super) fn progresses(&mut self, now: u64) {
        self.stuck = self.stuck.map(|_| now);
    }

    /// There is nothing to be sent, and nothing in the way.
    pub(super) fn rests(&mut self) {
        self.stuck = None;
    }

    pub(super) fn pinged(&mut self, timeout: Duration) {
        self.silence = Some(Patience { left: nanos(timeout), since: None });
        self.is_pinged = true;
    }
}

/// What happens by itself.
#[derive(Clone, Copy, Debug)]
enum Alarm {
    Conn(ConnId, EndReason),
    /// A publish that is parked: it is looked for at the end of every call.
    Parked,
    Age(TopicKey),
    Level(LaneKey),
    Ping(ConnId),
    Acks(LaneKey),
    Session(SessionKey),
    Flush(TopicKey),
    /// A topic's rate, or a connection's, lets something pass: the same.
    Rate,
    Drain,
}

impl Reference {
    /// When this connection ends by itself, and why.
    fn deadline(&self, id: ConnId) -> Option<(u64, EndReason)> {
        let conn = &self.conns[&id];
        let after = |from: u64, timeout: Duration| from.saturating_add(nanos(timeout));
        if let Some(last) = conn.last_word {
            return Some((after(last.since, self.options.close_timeout), last.reason));
        }
        match conn.phase {
            Phase::Handshake => {
                Some((after(conn.clock.accepted, self.options.handshake_timeout), EndReason::HandshakeTimeout))
            }
            Phase::Open => {
                let stuck = conn.clock.stuck.filter(|_| conn.is_blocked || conn.out.is_some());
                let stall = stuck.map(|since| after(since, self.options.stall_timeout));
                let silence = conn.clock.silence.and_then(Patience::ends);
                let ends = [
                    (stall, EndReason::Stalled),
                    (silence.filter(|_| conn.clock.is_pinged), EndReason::PongTimeout),
                    (conn.clock.message.and_then(Patience::ends), EndReason::MessageTimeout),
                ];
                ends.into_iter().filter_map(|(at, reason)| Some((at?, reason))).min_by_key(|(at, _)| *at)
            }
            Phase::Closing(reason) => {
                let since = conn.clock.closing.expect("since then");
                Some((after(since, self.options.close_timeout), reason))
            }
            Phase::Ended(..) => None,
        }
    }

    /// Whether the peer is to blame for silence: nothing is in its way, and it is read.
    pub(super) fn update_patience(&mut self, id: ConnId) {
        let (now, is_read) = (self.now, self.wants_read(id));
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.clock.listens(is_read && !conn.is_blocked && conn.out.is_none(), now);
    }

    /// All that happens by itself, and when.
    fn alarms(&self) -> Vec<(u64, Alarm)> {
        let mut alarms = Vec::new();
        for (id, conn) in &self.conns {
            alarms.extend(self.deadline(*id).map(|(at, reason)| (at, Alarm::Conn(*id, reason))));
            let is_silent = conn.phase == Phase::Open && conn.last_word.is_none() && !conn.clock.is_pinged;
            let silence = conn.clock.silence.filter(|_| is_silent).and_then(Patience::ends);
            alarms.extend(silence.map(|at| (at, Alarm::Ping(*id))));
            let patience = nanos(self.options.block_max);
            alarms.extend(conn.parked_since.map(|since| (since.saturating_add(patience), Alarm::Parked)));
        }
        for lane in self.lanes.values().filter(|lane| lane.ended.is_none()) {
            let Some(age) = lane.age_max else { continue };
            let oldest = lane.waiting.iter().map(|message| message.at.saturating_add(age)).min();
            alarms.extend(oldest.map(|at| (at, Alarm::Age(lane.topic))));
        }
        for (key, topic) in &self.topics {
            alarms.extend(topic.flush_at.map(|at| (at, Alarm::Flush(*key))));
        }
        alarms.extend(self.expiries().map(|(at, session)| (at, Alarm::Session(session))));
        alarms.extend(self.lanes.keys().filter_map(|key| Some((self.ack_due(*key)?, Alarm::Acks(*key)))));
        alarms.extend(self.rate_alarms().map(|at| (at, Alarm::Rate)));
        alarms.extend(self.falls().map(|(at, lane)| (at, Alarm::Level(lane))));
        let is_open = |conn: &super::Conn| matches!(conn.phase, Phase::Open | Phase::Handshake);
        let draining = self.draining.filter(|_| self.conns.values().any(is_open));
        alarms.extend(draining.map(|at| (at, Alarm::Drain)));
        alarms
    }

    /// The earliest moment at which a flush, or a rate, lets something pass that waits since it was last looked at.
    pub(crate) fn soft_deadline(&self) -> Option<u64> {
        let flushes = self.topics.values().filter_map(|topic| topic.flush_at);
        flushes.chain(self.looked_for).min()
    }

    /// The earliest moment at which something must happen.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.alarms().into_iter().map(|(at, _)| at).min()
    }

    /// Time passed: what is due happens in its order, and behind it what clients asked for and was waiting.
    pub(crate) fn timeout(&mut self) {
        self.fire();
        for topic in self.topics.keys().copied().collect::<Vec<_>>() {
            self.look_for_units(topic);
        }
        let now = self.now;
        let patience = nanos(self.options.block_max);
        let is_over = |conn: &super::Conn| conn.parked_since.is_some_and(|since| since.saturating_add(patience) <= now);
        let over: Vec<ConnId> = self.conns.iter().filter(|(_, conn)| is_over(conn)).map(|(id, _)| *id).collect();
        for id in over {
            if is_over(&self.conns[&id]) {
                self.give_up_parked(id);
            }
        }
        let open = self.conns.iter().filter(|(_, conn)| conn.phase == Phase::Open);
        for id in open.map(|(id, _)| *id).collect::<Vec<_>>() {
            // Who is to be closed at the end of this call is not heard any more.
            if !self.is_too_fast(id) && !self.conns[&id].is_doomed {
                self.decode(id);
            }
        }
        self.end_call();
    }

    /// What happens to whoever asks for nothing.
    fn fire(&mut self) {
        let now = self.now;
        let due = self.alarms().into_iter().filter(|(at, _)| *at <= now);
        let due: Vec<Alarm> = due.map(|(_, alarm)| alarm).collect();
        let is_loose = due.len() > 1 || self.looked_for.is_some_and(|at| at <= now);
        for alarm in &due {
            // Before what else is due, or behind it.
            if let Alarm::Level(lane) = alarm
                && is_loose
            {
                self.may_fall_meanwhile(*lane);
            }
        }
        let is_due = |(at, alarm): &(u64, Alarm)| *at <= now && !matches!(alarm, Alarm::Parked);
        while let Some((_, alarm)) = self.alarms().into_iter().filter(is_due).min_by_key(|(at, _)| *at) {
            match alarm {
                Alarm::Conn(id, reason) => self.time_is_up(id, reason),
                Alarm::Ping(id) => {
                    let timeout = self.options.pong_timeout;
                    let conn = self.conn(id);
                    conn.pings += 1;
                    conn.clock.pinged(timeout);
                    self.update_patience(id);
                }
                Alarm::Age(topic) => {
                    for lane in self.topics[&topic].lanes.clone() {
                        self.expire(lane);
                    }
                    self.look_at_touched();
                }
                Alarm::Acks(lane) => self.send_again(lane, false),
                Alarm::Session(session) => self.end_session(session, SessionEnd::Expired),
                Alarm::Flush(topic) => self.flush(topic),
                Alarm::Parked | Alarm::Rate => unreachable!("they are not of these"),
                Alarm::Level(lane) => self.fall(lane, is_loose),
                Alarm::Drain => self.end_draining(),
            }
        }
    }

    fn end_draining(&mut self) {
        let open = self.conns.iter().filter(|(_, conn)| matches!(conn.phase, Phase::Open | Phase::Handshake));
        let open: Vec<(ConnId, Phase)> = open.map(|(id, conn)| (*id, conn.phase)).collect();
        for (id, phase) in open {
            if self.conns[&id].last_word.is_some() {
                self.take_leave(id);
            } else if phase == Phase::Open {
                self.begin_close(id, EndReason::Drained, Some(1001), None);
            } else {
                self.end(id, EndReason::Drained, true);
            }
        }
    }

    fn time_is_up(&mut self, id: ConnId, reason: EndReason) {
        if self.conns[&id].last_word.is_some() {
            return self.take_leave(id);
        }
        if reason == EndReason::MessageTimeout && self.conns[&id].phase == Phase::Open {
            // Amid a message there cannot be its Close.
            self.conn(id).peer_closed = true;
            return self.begin_close(id, reason, Some(1008), None);
        }
        if self.conns[&id].phase == Phase::Handshake {
            self.reply(id, Front::Refusal(408));
            let now = self.now;
            let conn = self.conn(id);
            conn.phase = Phase::Closing(reason);
            conn.clock.closing(now);
        } else {
            self.end(id, reason, true);
        }
    }
}
