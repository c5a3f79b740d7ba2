//! Faults stop, and everything must come right in bounded time.

use super::{LOCALS, Play, SEATS, same};
use crate::model::reference::Verdict;

/// Rounds in which everything has to be over.
const ROUNDS_MAX: u64 = 2_000;

impl Play {
    /// Everybody reads and writes; then everybody leaves.
    pub(crate) fn finish(&mut self) -> Verdict {
        if self.is_over { Ok(()) } else { self.finish_compared().or_else(|fault| self.forgive(fault)) }
    }

    fn finish_compared(&mut self) -> Verdict {
        self.back = 0;
        // The clock may just have jumped.
        self.tick()?;
        for side in 0..self.sides.len() {
            self.sides[side].compare_state()?;
            self.heal(side)?;
        }
        self.compare_mailbox()?;
        for side in 0..self.sides.len() {
            self.leave_all(side)?;
        }
        Ok(())
    }

    /// Nothing stands in the way any more: what waits is delivered.
    fn heal(&mut self, side: usize) -> Verdict {
        let rounds = if self.plan.outbound_per_second > 0 { ROUNDS_MAX / 20 } else { ROUNDS_MAX };
        for _ in 0..rounds {
            let mut is_idle = true;
            for seat in 0..SEATS as u64 {
                let conn = self.sides[side].conn_of(seat);
                self.receive(side, &[seat, 64])?;
                let wants_read = conn.is_some_and(|conn| self.sides[side].hub.wants_read(conn));
                if let Some(seat_state) = self.sides[side].seat(seat).filter(|seat| seat.has_socket) {
                    let has_more = !seat_state.written.is_empty() && wants_read;
                    is_idle &= !has_more && !seat_state.is_blocked && seat_state.out.is_none();
                    if has_more {
                        self.deliver(side, &[seat, 4_096])?;
                    }
                    self.answer(side, &[seat, u64::MAX])?;
                    self.writable(side, seat)?;
                }
            }
            for local in 0..LOCALS as u64 {
                is_idle &= self.sides[side].locals[super::place(local, LOCALS)].is_none()
                    || self.sides[side].model.ready_lanes().next().is_none();
                self.take(side, local, 64)?;
            }
            self.settle(side)?;
            // What waits for a flush, or for a rate.
            let due = self.sides[side].model.soft_deadline().filter(|_| self.now < super::NOW_MAX);
            if let Some(due) = due {
                is_idle = false;
                self.advance(due.saturating_sub(self.now), true)?;
            }
            if is_idle && self.sides[side].model.is_at_rest() {
                return self.sides[side].compare_state();
            }
            // What waits for acknowledgements that nobody sends.
            let due = self.sides[side].model.next_deadline().filter(|_| is_idle && self.now < super::NOW_MAX);
            if let Some(due) = due {
                self.advance(due.saturating_sub(self.now), true)?;
            }
        }
        let is_waited_for = self.sides[side].model.lanes.values().any(|lane| lane.credit == Some(0));
        if self.plan.outbound_per_second > 0 || is_waited_for || self.now >= super::NOW_MAX {
            return Ok(()); // Pings may be all that it has room for; or nobody grants anything.
        }
        let (totals, direct) = (self.sides[side].model.totals(), self.sides[side].model.direct_totals());
        Err(format!("it does not come to rest: {totals:?}, {direct:?}"))
    }

    /// Everybody leaves, and nothing is left.
    fn leave_all(&mut self, side: usize) -> Verdict {
        for seat in 0..SEATS as u64 {
            self.eof(side, seat)?;
            self.receive(side, &[seat, 64])?;
        }
        for local in 0..LOCALS as u64 {
            self.unlocal(side, local)?;
        }
        for name in 0..super::NAMES.len() as u64 {
            if self.sides[side].topic_key(name).is_some() {
                self.remove_topic(side, name)?;
            }
        }
        for seat in 0..SEATS as u64 {
            self.receive(side, &[seat, 64])?;
        }
        self.settle(side)?;
        self.advance(self.plan.session_ttl_ms * 1_000_000, true)?;
        self.settle(side)?;
        self.sides[side].compare_state()?;
        let (hub, stats) = (&self.sides[side].hub, self.sides[side].hub.stats());
        same("connections at last", hub.connections(), 0)?;
        let (most, acks) = (super::super::modes::ATTEMPTS_MOST, stats.acks);
        if self.sides[side].model.retried > most * acks.sent.bytes || acks.retries.bytes > most * acks.sent.bytes {
            return Err(format!("{acks:?}: more was sent again than attempts there may be"));
        }
        same("topics at last", stats.topics, 0)?;
        same("lanes at last", stats.lanes_now, 0)?;
        if self.now < super::NOW_MAX {
            same("sessions at last", stats.detached, 0)?;
        }
        same("waiting at last", hub.pressure().waiting.messages, 0)?;
        if stats.resident_bytes > 4_096 {
            return Err(format!("{} bytes are left", stats.resident_bytes));
        }
        Ok(())
    }
}
