//! Bytes become messages; bounds stop the reading.

use alloc::vec::Vec;
use bytes::Bytes;

use super::Hub;
use super::inflate::Piece;
use crate::conn::{LastWord, Phase};
use crate::id::ConnId;
use crate::output::{EndReason, OwnedPayload};
use crate::stats::Count;
use crate::wire::{CloseCode, HandshakeError, Item, MessageKind, WireError};

/// A read is decoded in pieces of this size, so that the scratch buffer is bounded however much one read brings.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// What an item asked for, once it no longer borrows the scratch buffer.
enum Then {
    Continue,
    Stop,
}

impl Hub {
    pub(super) fn input(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.phase {
            Phase::Request(_) | Phase::Response(_) => return self.input_head(id, bytes),
            Phase::Gated(_) => return self.keep_undecoded(id, bytes),
            // One answer per connection: behind a refusal there is nothing to understand.
            Phase::Closing { .. } if !conn.was_open() => return,
            Phase::Open { .. } | Phase::Closing { .. } => {}
            Phase::Answering { .. } | Phase::Ended { .. } => return,
        }
        if conn.is_stopped() {
            self.keep_undecoded(id, bytes);
            return;
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        let mut pieces = bytes.chunks(PIECE_BYTES_MAX);
        let mut rest = bytes;
        for piece in &mut pieces {
            rest = &rest[piece.len()..];
            scratch.clear();
            if let Some(work) = &mut self.conn_mut(id).work {
                scratch.append(&mut core::mem::take(&mut work.inbound.undecoded));
            }
            scratch.extend_from_slice(piece);
            if let Then::Stop = self.decode(id, &mut scratch) {
                break;
            }
        }
        self.scratch = scratch;
        self.keep_undecoded(id, rest);
    }

    /// Keeps what cannot be decoded now, behind what is kept already.
    pub(super) fn keep_undecoded(&mut self, id: ConnId, bytes: &[u8]) {
        if bytes.is_empty() || self.conns.get(id).is_none_or(|conn| conn.is_ended() || conn.is_heard_out()) {
            return;
        }
        if self.make_room_for(bytes.len()) {
            self.work_mut(id).inbound.undecoded.extend_from_slice(bytes);
        } else {
            self.fail_overloaded(id);
        }
    }

    /// Decodes what was kept, if it may be decoded again.
    pub(super) fn input_kept(&mut self, id: ConnId) {
        let conn = self.conn_mut(id);
        if conn.is_stopped() || conn.is_ended() || conn.is_heard_out() {
            return;
        }
        let mut kept = core::mem::take(&mut self.work_mut(id).inbound.undecoded);
        self.decode(id, &mut kept);
    }

    /// Decodes until more bytes are needed, a bound is reached, or the connection is over. What is left is kept.
    fn decode(&mut self, id: ConnId, bytes: &mut [u8]) -> Then {
        let (mut from, len, now) = (0, bytes.len(), self.now);
        let spent = self.conn_mut(id).spent(now);
        self.work_mut(id).inbound.decoder.set_spent(spent);
        let is_unlimited = self.config.inbound_rate.is_none() && self.config.inbound_bytes_rate.is_none();
        let mut follows_message = false;
        loop {
            let Some(mut conn) = self.conns.get_mut(id) else { return Then::Stop };
            if conn.is_ended() || conn.is_heard_out() {
                return Then::Stop;
            }
            conn.update_stopped(&self.config);
            if conn.is_stopped() {
                self.keep_undecoded(id, &bytes[from..]);
                return Then::Stop;
            }
            if conn.work.is_none() {
                self.work_mut(id);
                conn = self.conns.get_mut(id).expect("just looked up");
            }
            let inbound = &mut conn.work.as_mut().expect("just made").inbound;
            let decoded = match inbound.decoder.decode(&mut bytes[from..]) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.fail(id, error);
                    return Then::Stop;
                }
            };
            let consumed = decoded.consumed;
            from += consumed;
            conn.keep_spent(now); // What the item asks for may end with a connection that is idle again.
            let Some(item) = decoded.item else {
                if consumed > 0 && from < len {
                    continue;
                }
                self.keep_undecoded(id, &bytes[from..]);
                return Then::Continue;
            };
            let is_bare = is_unlimited && conn.is_open() && conn.dialect().is_none();
            match item {
                Item::Data { kind, payload, first: true, last: true, is_compressed: false } if is_bare => {
                    let is_text = kind == MessageKind::Text;
                    if !(follows_message && self.queue_behind(id, is_text, payload)) {
                        self.message(id, is_text, payload);
                    }
                    follows_message = true;
                }
                item => {
                    self.item(id, item);
                    follows_message = false;
                }
            }
        }
    }

    /// Puts a message into the inbox of a raw connection directly behind another that came in the same read, so that all but
    /// its bytes is settled; `false`, and nothing is done, if room has to be made for it.
    fn queue_behind(&mut self, id: ConnId, is_text: bool, bytes: &[u8]) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let Some(work) = conn.work.as_mut().filter(|work| work.inbound.first().is_some()) else { return false };
        // As `make_room_for`, but nothing goes for it.
        let wanted = self.stats.resident_bytes + 2 * (bytes.len() + crate::conn::INBOX_ENTRY_BYTES);
        if wanted > self.config.resident_bytes_max {
            return false;
        }
        let message = OwnedPayload { is_text, bytes: Bytes::copy_from_slice(bytes) };
        let growth = work.inbound.push(message, self.now);
        conn.charged += growth;
        self.stats.resident_bytes += growth;
        self.stats.received += Count::new(1, bytes.len() as u64);
        true
    }

    fn item(&mut self, id: ConnId, item: Item<'_>) {
        let is_open = self.conn_mut(id).is_open();
        match item {
            Item::Data { kind, payload, first, last, is_compressed } if is_open => {
                let is_text = kind == MessageKind::Text;
                if is_compressed {
                    self.inflate(id, Piece { is_text, first, last }, payload);
                } else if first && last {
                    self.message(id, is_text, payload);
                } else {
                    self.fragment(id, is_text, payload, last);
                }
            }
            Item::Ping(payload) if is_open => {
                let mask = self.mask(id);
                let reply_bytes_max = self.config.reply_bytes_max as usize;
                let is_blocked = self.conn_mut(id).is_blocked;
                self.work_mut(id).outbound.answer_ping(mask, payload, is_blocked, reply_bytes_max);
            }
            Item::Close(close) => self.peer_closed(id, close.map(|(code, _)| code)),
            _ => {} // A pong: its bytes were the sign of life. Anything behind our Close frame is ignored.
        }
    }

    pub(super) fn fragment(&mut self, id: ConnId, is_text: bool, payload: &[u8], is_last: bool) {
        if !self.make_room_for(payload.len()) {
            return self.fail_overloaded(id);
        }
        let now = self.now;
        let inbound = &mut self.work_mut(id).inbound;
        inbound.message.extend_from_slice(payload);
        if is_last {
            inbound.message_began = None;
            let message: Vec<u8> = core::mem::take(&mut inbound.message);
            self.message(id, is_text, &message);
        } else if inbound.message_began.is_none() {
            inbound.message_began = Some(now);
        }
    }

    pub(super) fn message(&mut self, id: ConnId, is_text: bool, bytes: &[u8]) {
        self.stats.received += Count::new(1, bytes.len() as u64);
        let has_unit = self.pay_inbound(id, bytes.len());
        let conn = self.conns.get_mut(id).expect("the connection exists");
        if conn.dialect().is_some() {
            return self.request(id, is_text, bytes, has_unit);
        }
        if self.queue(id, is_text, bytes) {
            let conn = self.conn_mut(id);
            conn.news.received = true;
            if let Phase::Open { owes_answers, .. } = &mut conn.phase {
                *owes_answers = true;
            }
            self.announce_conn(id);
        }
    }

    /// Puts a message into the inbox; `false` if there was no room and the connection is over.
    pub(super) fn queue(&mut self, id: ConnId, is_text: bool, bytes: &[u8]) -> bool {
        let has_room = self.make_room_for(bytes.len() + crate::conn::INBOX_ENTRY_BYTES);
        if has_room {
            let message = OwnedPayload { is_text, bytes: Bytes::copy_from_slice(bytes) };
            let (now, room) = (self.now, self.config.resident_bytes_max - self.stats.resident_bytes);
            self.work_mut(id);
            let inbound = &mut self.conns.get_mut(id).and_then(|conn| conn.work.as_mut()).expect("just made").inbound;
            self.emptied.equip_inbound(inbound, room);
            inbound.push(message, now);
            self.recharge_conn(id);
        } else {
            self.fail_overloaded(id);
        }
        has_room
    }

    pub(super) fn fail(&mut self, id: ConnId, error: WireError) {
        if self.conn_mut(id).is_open() {
            self.stats.violations[error as usize] += 1;
            self.hear_last(id, LastWord::Violation(error));
        } else if let Phase::Closing { awaits_peer, .. } = &mut self.conn_mut(id).phase {
            *awaits_peer = false; // There is nothing to wait for.
        }
    }

    pub(super) fn fail_overloaded(&mut self, id: ConnId) {
        let close = (CloseCode::TRY_AGAIN_LATER, "out of memory budget");
        match self.conn_mut(id).phase {
            Phase::Open { .. } => self.begin_close(id, EndReason::Overloaded, close, false),
            Phase::Request(_) | Phase::Gated(_) => self.refuse(id, HandshakeError::OutOfMemory),
            _ => self.end(id, EndReason::Overloaded, true),
        }
    }
}
