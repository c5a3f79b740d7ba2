//! What all parts of the hub use: the time, a connection, and what is lent to it while it is not idle.

use alloc::boxed::Box;

use super::Hub;
use crate::conn::{Conn, Work};
use crate::id::{ConnId, SessionId};
use crate::time::Instant;
use crate::wire::Decoder;

/// How many connections' emptied [`Work`] is kept for use again: a tick's worth, since all input comes before any output.
const RESTED_MAX: usize = 1_024;

impl Hub {
    /// The beginning of a call, at that time.
    pub(super) fn advance(&mut self, now: Instant) {
        self.pass(now);
        self.wake_all();
    }

    /// The same of a call that is not disturbed by lanes that are still to be woken.
    pub(super) fn pass(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(super) fn stale(&mut self) {
        self.stats.stale_inputs += 1;
    }

    pub(super) fn conn_mut(&mut self, id: ConnId) -> &mut Conn {
        self.conns.get_mut(id).expect("the connection exists")
    }

    /// The end of a `handle_*` call on a connection.
    pub(super) fn settle(&mut self, conn: ConnId) {
        self.refresh(conn);
        self.retry_parked();
    }

    /// The end of a call on a session.
    pub(super) fn settle_session(&mut self, session: SessionId) {
        if let Some(conn) = self.sessions.get(session).and_then(|session| session.conn()) {
            self.refresh(conn);
        }
        self.retry_parked();
    }

    /// What a connection has that is not idle.
    pub(super) fn work_mut(&mut self, id: ConnId) -> &mut Work {
        self.spell_out(id);
        let conn = self.conns.get_mut(id).expect("the connection exists");
        let spent = conn.spent(self.now);
        conn.work.get_or_insert_with(|| {
            let decoder = Decoder::new(conn.role, u64::from(self.config.message_bytes_max));
            let mut decoder = if conn.agreed.is_some() { decoder.with_deflate() } else { decoder };
            decoder.set_spent(spent);
            match self.rested.pop() {
                Some(mut work) => {
                    work.inbound.decoder = decoder;
                    work
                }
                None => Box::new(Work::new(decoder)),
            }
        })
    }

    /// A connection with nothing left to do is idle again.
    pub(super) fn rest(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let work = conn.work.take_if(|work| work.is_idle());
        if let Some(work) = work.filter(|_| self.rested.len() < RESTED_MAX) {
            self.rested.push(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Conn;
    use crate::hub::TimerKey;
    use crate::session::Session;
    use crate::slab::Slab;
    use crate::timers::Timers;

    #[test]
    fn an_idle_connection_takes_at_most_192_bytes_in_all_tables() {
        let slots = Slab::<ConnId, Conn>::SLOT_BYTES + Slab::<SessionId, Session>::SLOT_BYTES;
        let all = slots + Timers::<TimerKey>::TIMER_BYTES;
        assert!(all <= 192, "{all} bytes");
    }
}
