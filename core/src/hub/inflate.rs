//! Compressed messages that come (RFC 7692 §7.2.2): inflated as their pieces come, within the limits of messages.

use super::Hub;
use crate::conn::Inflating;
use crate::id::ConnId;
use crate::stats::Count;
use crate::wire::deflate::{Context, Inflater, WindowBits};

/// Inflaters that are kept for use again.
const INFLATERS_MAX: usize = 4;

/// A buffer for inflated bytes that is longer goes when it was used.
const INFLATED_BYTES_MAX: usize = 64 << 10;

/// A piece of a message that is not the whole of it.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) is_text: bool,
    pub(super) first: bool,
    pub(super) last: bool,
}

impl Hub {
    /// A piece of a compressed message came.
    pub(super) fn inflate(&mut self, id: ConnId, piece: Piece, bytes: &[u8]) {
        let Piece { is_text, first, last } = piece;
        let mut inflating = self.inflating(id, first);
        let mut inflated = core::mem::take(&mut self.inflated);
        let before = self.conn_mut(id).inbound().map_or(0, |inbound| inbound.message.len());
        let bytes_max = self.config.message_bytes_max as usize - before;
        let result = inflating.inflate((is_text, last), bytes, &mut inflated, bytes_max);
        self.stats.inflated_from += bytes.len() as u64;
        self.stats.inflated += Count::new(u64::from(last && result.is_ok()), inflated.len() as u64);
        if last || result.is_err() {
            self.keep_inflater(inflating.into_inflater());
            self.settle_contexts(id);
        } else if first && !self.make_room_for(Inflater::RESIDENT_BYTES) {
            self.keep_inflater(inflating.into_inflater());
            return self.fail_overloaded(id);
        } else {
            self.contexts.entry(id).or_default().inflating = Some(inflating);
            self.settle_contexts(id);
        }
        let now = self.now;
        let gives = u32::try_from(inflated.len()).unwrap_or(u32::MAX);
        self.work_mut(id).inbound.decoder.refill(gives);
        self.conn_mut(id).keep_spent(now);
        match result {
            Err(error) => self.fail(id, error),
            Ok(()) if !self.take_over(id, &inflated) => self.fail_overloaded(id),
            Ok(()) if first && last => self.message(id, is_text, &inflated),
            Ok(()) => self.fragment(id, is_text, &inflated, last),
        }
        if inflated.capacity() <= INFLATED_BYTES_MAX {
            inflated.clear();
            self.inflated = inflated;
        }
    }

    /// What inflates the message of a connection: one that begins, or its own.
    fn inflating(&mut self, id: ConnId, first: bool) -> Inflating {
        let contexts = self.contexts.get_mut(&id);
        if first {
            let inflater = self.inflaters.pop().unwrap_or_default();
            return Inflating::new(inflater, contexts.and_then(|contexts| contexts.received.as_ref()));
        }
        contexts.and_then(|contexts| contexts.inflating.take()).expect("what goes on has begun")
    }

    pub(super) fn keep_inflater(&mut self, inflater: Inflater) {
        if self.inflaters.len() < INFLATERS_MAX {
            self.inflaters.push(inflater);
        }
    }

    /// The message in progress does not go on.
    pub(super) fn forget_inflating(&mut self, id: ConnId) {
        if let Some(inflating) = self.contexts.get_mut(&id).and_then(|contexts| contexts.inflating.take()) {
            self.keep_inflater(inflating.into_inflater());
            self.settle_contexts(id);
        }
    }

    /// What was inflated may be referred to by later messages, if that was agreed; `false`: there is no room for it.
    fn take_over(&mut self, id: ConnId, inflated: &[u8]) -> bool {
        let conn = self.conn_mut(id);
        let received = conn.agreed.and_then(|agreed| agreed.received_by(conn.role).context());
        let Some(bits) = received else { return true };
        if !self.make_room_for(self.context_growth(id, bits, inflated.len())) {
            return false;
        }
        let contexts = self.contexts.entry(id).or_default();
        contexts.received.get_or_insert_with(|| Context::new(bits)).push(inflated);
        self.settle_contexts(id);
        true
    }

    /// How much a context grows at most.
    fn context_growth(&self, id: ConnId, bits: WindowBits, bytes: usize) -> usize {
        let context = self.contexts.get(&id).and_then(|contexts| contexts.received.as_ref());
        (bits.bytes() - context.map_or(0, Context::resident_bytes)).min(bytes)
    }

    /// The contexts of a connection changed.
    pub(super) fn settle_contexts(&mut self, id: ConnId) {
        let Some(contexts) = self.contexts.get_mut(&id) else { return };
        let resident = contexts.resident();
        let before = core::mem::replace(&mut contexts.charged, resident);
        if contexts.is_empty() {
            self.contexts.remove(&id);
        }
        self.recharge(before, resident);
    }
}

/// Recounted, for tests.
impl Hub {
    /// The contexts of all connections; what they take.
    pub(super) fn check_contexts(&self) -> usize {
        let mut resident = 0;
        let mut reserved = 0;
        for (id, contexts) in &self.contexts {
            let conn = self.conns.get(*id).expect("contexts are of a connection");
            assert!(!conn.is_ended() && !contexts.is_empty(), "who has ended, or needs none, has no contexts");
            assert_eq!(contexts.charged, contexts.resident(), "a connection's contexts");
            let is_inflating = conn.inbound().is_some_and(|inbound| inbound.decoder.is_inflating());
            assert_eq!(
                contexts.inflating.is_some(),
                is_inflating && conn.is_open() && !conn.is_heard_out(),
                "a message in progress"
            );
            assert!(contexts.taken_over() <= contexts.reserved, "what is taken over has memory reserved for it");
            assert!(contexts.deflater.is_none() || conn.takes_over(), "who takes nothing over has no compressor");
            resident += contexts.charged;
            reserved += contexts.reserved;
        }
        let context_bytes_max = self.config.deflate.map_or(0, |deflate| deflate.context_bytes_max);
        assert_eq!(self.contexts_reserved, reserved, "what is reserved for contexts");
        assert!(reserved <= context_bytes_max, "context_bytes_max");
        assert!(self.inflaters.len() <= INFLATERS_MAX && self.inflated.capacity() <= INFLATED_BYTES_MAX);
        resident
    }
}
