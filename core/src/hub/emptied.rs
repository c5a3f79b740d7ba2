//! Buffers of connections that have nothing left, for use again: they fill and empty in each tick.

use alloc::vec::Vec;

use crate::conn::{Conn, INBOX_ENTRY_BYTES, Inbound, Inbox};
use crate::log::{Log, Parts};
use crate::output::OwnedPayload;

/// How much is kept, beside the budget.
const BYTES_MAX: usize = 256 << 10;
/// Nothing is used again where less of the budget is left: what one was made for may be much for another.
const ROOM_MIN: usize = 2 * BYTES_MAX;

/// What is kept, the last first.
#[derive(Debug, Default)]
pub(super) struct Emptied {
    logs: Vec<Parts>,
    inboxes: Vec<Inbox>,
    bytes: usize,
}

impl Emptied {
    fn takes(&mut self, bytes: usize) -> bool {
        let is_taken = bytes > 0 && self.bytes + bytes <= BYTES_MAX;
        self.bytes += if is_taken { bytes } else { 0 };
        is_taken
    }

    /// Keeps what an emptied log left.
    pub(super) fn put_log(&mut self, parts: Parts) {
        if self.takes(parts.resident()) {
            self.logs.push(parts);
        }
    }

    /// A log without capacity is given some, if so much of the budget is left.
    pub(super) fn equip_log(&mut self, log: &mut Log, room: usize) {
        if log.resident() == 0
            && room >= ROOM_MIN
            && let Some(parts) = self.logs.pop()
        {
            self.bytes -= parts.resident();
            log.equip(parts);
        }
    }

    fn put_inbox(&mut self, inbox: Inbox) {
        if self.takes(inbox_bytes(&inbox)) {
            self.inboxes.push(inbox);
        }
    }

    /// What has no inbox is given one, if so much of the budget is left.
    pub(super) fn equip_inbound(&mut self, inbound: &mut Inbound, room: usize) {
        if inbound.has_no_inbox()
            && room >= ROOM_MIN
            && let Some(inbox) = self.inboxes.pop()
        {
            self.bytes -= inbox_bytes(&inbox);
            inbound.set_inbox(inbox);
        }
    }

    /// Whether the bytes are counted right, for tests.
    pub(super) fn check(&self) {
        let logs: usize = self.logs.iter().map(Parts::resident).sum();
        let inboxes: usize = self.inboxes.iter().map(inbox_bytes).sum();
        assert_eq!(self.bytes, logs + inboxes, "emptied buffers");
        assert!(self.bytes <= BYTES_MAX, "few of them are kept");
    }
}

fn inbox_bytes(inbox: &Inbox) -> usize {
    inbox.capacity() * INBOX_ENTRY_BYTES
}

/// Takes the first message out of a connection's inbox.
pub(super) fn pop_inbox(conn: &mut Conn, emptied: &mut Emptied) -> Option<OwnedPayload> {
    let (message, inbox) = conn.work.as_mut()?.inbound.pop()?;
    inbox.into_iter().for_each(|inbox| emptied.put_inbox(inbox));
    Some(message)
}
