//! Deadlines: when a connection ends by itself, and why.

use std::time::Duration;

use forebay_core::{ConnId, EndReason};

use super::{Front, LaneKey, Phase, Reference, TopicKey};

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a connection's deadlines depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    accepted: u64,
    heard: u64,
    closing: Option<u64>,
    /// Since when output is blocked, or a Transmit without an answer, and made no progress.
    stuck: Option<u64>,
}

impl Clock {
    pub(super) fn new(now: u64) -> Self {
        Self { accepted: now, heard: now, closing: None, stuck: None }
    }

    pub(super) fn heard(&mut self, len: usize, now: u64) {
        if len > 0 {
            self.heard = now;
        }
    }

    pub(super) fn message(&mut self, _is_cut: bool, _now: u64) {}

    pub(super) fn opened(&mut self, now: u64) {
        self.heard = now;
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

    /// There is nothing to be sent, and nothing in the way.
    pub(super) fn rests(&mut self) {
        self.stuck = None;
    }

    pub(super) fn ping_sent(&mut self, _now: u64) {}
}

/// What happens by itself.
#[derive(Clone, Copy, Debug)]
enum Alarm {
    Conn(ConnId, EndReason),
    Parked(ConnId),
    Age(TopicKey),
    Level(LaneKey),
    Drain,
}

impl super::Conn {
    pub(super) fn is_inside_message(&self) -> bool {
        false
    }
}

impl Reference {
    /// When this connection ends by itself, and why.
    fn deadline(&self, id: ConnId) -> Option<(u64, EndReason)> {
        let conn = &self.conns[&id];
        let after = |from: u64, timeout: Duration| from.saturating_add(nanos(timeout));
        match conn.phase {
            Phase::Handshake => {
                Some((after(conn.clock.accepted, self.options.handshake_timeout), EndReason::HandshakeTimeout))
            }
            Phase::Open => {
                let stuck = conn.clock.stuck.filter(|_| conn.is_blocked || conn.out.is_some());
                stuck.map(|since| (after(since, self.options.stall_timeout), EndReason::Stalled))
            }
            Phase::Closing(reason) => {
                let since = conn.clock.closing.expect("since then");
                Some((after(since, self.options.close_timeout), reason))
            }
            Phase::Ended(..) => None,
        }
    }

    /// All that happens by itself, and when.
    fn alarms(&self) -> Vec<(u64, Alarm)> {
        let mut alarms = Vec::new();
        for (id, conn) in &self.conns {
            alarms.extend(self.deadline(*id).map(|(at, reason)| (at, Alarm::Conn(*id, reason))));
            let patience = nanos(self.options.block_max);
            alarms.extend(conn.parked_since.map(|since| (since.saturating_add(patience), Alarm::Parked(*id))));
        }
        for lane in self.lanes.values().filter(|lane| lane.ended.is_none()) {
            let Some(age) = lane.age_max else { continue };
            let oldest = lane.waiting.iter().map(|message| message.at.saturating_add(age)).min();
            alarms.extend(oldest.map(|at| (at, Alarm::Age(lane.topic))));
        }
        alarms.extend(self.falls().map(|(at, lane)| (at, Alarm::Level(lane))));
        let is_open = |conn: &super::Conn| matches!(conn.phase, Phase::Open | Phase::Handshake);
        let draining = self.draining.filter(|_| self.conns.values().any(is_open));
        alarms.extend(draining.map(|at| (at, Alarm::Drain)));
        alarms
    }

    /// The earliest moment at which something must happen.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.alarms().into_iter().map(|(at, _)| at).min()
    }

    /// Time passed: what is due happens in its order.
    pub(crate) fn timeout(&mut self) {
        let now = self.now;
        let is_loose = self.alarms().into_iter().filter(|(at, _)| *at <= now).count() > 1;
        while let Some((_, alarm)) = self.alarms().into_iter().filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at) {
            match alarm {
                Alarm::Conn(id, reason) => self.time_is_up(id, reason),
                Alarm::Parked(id) => self.refuse_parked(id, "full"),
                Alarm::Age(topic) => {
                    for lane in self.topics[&topic].lanes.clone() {
                        self.expire(lane);
                    }
                    self.look_at_touched();
                }
                Alarm::Level(lane) => self.fall(lane, is_loose),
                Alarm::Drain => self.end_draining(),
            }
        }
        self.end_call();
    }

    fn end_draining(&mut self) {
        let open = self.conns.iter().filter(|(_, conn)| matches!(conn.phase, Phase::Open | Phase::Handshake));
        let open: Vec<(ConnId, Phase)> = open.map(|(id, conn)| (*id, conn.phase)).collect();
        for (id, phase) in open {
            if phase == Phase::Open {
                self.begin_close(id, EndReason::Drained, Some(1001), None);
            } else {
                self.end(id, EndReason::Drained, true);
            }
        }
    }

    fn time_is_up(&mut self, id: ConnId, reason: EndReason) {
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
