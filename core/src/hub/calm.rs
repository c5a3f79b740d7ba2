//! What a message most often brings about: a charge, and nothing else to settle. A read may bring hundreds, and each is taken and
//! answered by calls of its own.

use super::Hub;
use crate::conn::{Conn, Phase};
use crate::id::ConnId;
use crate::stats::Level;

impl Hub {
    /// Whether all that `refresh` would look at is as it left it, but for the queues of messages: whatever they do, nothing is
    /// due to fall, to be paused or resumed, to be counted against a rate, or to end.
    pub(super) fn is_calm(&self, conn: &Conn) -> bool {
        matches!(conn.phase, Phase::Open { .. })
            && self.draining.is_none()
            && self.limits.is_empty()
            && self.acking_lanes == 0
            && !conn.is_stopped()
            && conn.inbox_level() == Level::Nominal
            && conn.own_outbound_level() == Level::Nominal
    }

    /// Bytes of a connection were read; whether all is settled, because they were whole messages, which wait for the application.
    pub(super) fn is_settled_with_input(&self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(id).filter(|conn| conn.has_messages() && conn.dialect().is_none()) else {
            return false;
        };
        let Some(work) = conn.work.as_deref() else { return false };
        self.is_calm(conn)
            && work.inbound.has_only_messages()
            && (work.inbound.inbox_bytes() as u64) < self.inbox_high
            && !work.outbound.has_control()
            && !conn.was_paused
            && conn.charged == conn.resident()
            && conn.is_writing() == conn.excused_since.is_some()
            && self.stats.resident_bytes <= self.config.resident_bytes_max
    }

    /// A message of so many bytes was taken out of the inbox of a connection; whether all is settled now.
    pub(super) fn is_settled_without(&mut self, id: ConnId, bytes: usize) -> bool {
        let Some(conn) = self.conns.get(id).filter(|conn| self.is_calm(conn)) else { return false };
        if conn.has_messages() {
            self.conn_mut(id).charged -= bytes;
            self.recharge(bytes, 0);
        } else {
            self.rest(id);
            self.recharge_conn(id);
        }
        true
    }

    /// A message was put into the direct lane of a connection, the log of which held so many bytes before; whether all is
    /// settled now, because the lane is far from full.
    pub(super) fn is_settled_with_more(&mut self, id: ConnId, resident_before: usize) -> bool {
        let Some(conn) = self.conns.get(id).filter(|conn| self.is_calm(conn)) else { return false };
        let Some(direct) = conn.direct().filter(|_| conn.is_writing() == conn.excused_since.is_some()) else {
            return false;
        };
        let (load, resident) = (direct.lane.load(direct.log.head()), direct.log.resident());
        let is_low = load.messages < self.direct_high.messages && load.bytes < self.direct_high.bytes;
        if !is_low || self.stats.resident_bytes + resident > self.config.resident_bytes_max + resident_before {
            return false;
        }
        let conn = self.conn_mut(id);
        conn.charged = conn.charged - resident_before + resident;
        if !conn.is_ready && !conn.is_writing() {
            conn.is_ready = true;
            self.ready.push_back(id);
        }
        self.recharge(resident_before, resident);
        true
    }
}
