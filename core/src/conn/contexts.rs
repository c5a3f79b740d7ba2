//! What few connections have of compression.

use bytes::BytesMut;

use crate::wire::deflate::{Context, Deflater, Inflater};
use crate::wire::{Utf8, WireError};

/// What a connection has of compression that is not in the hub for all: what is taken over from message to message, and an
/// inflater while a message comes in several pieces. Most have none of it.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    /// How much of `context_bytes_max` is for it.
    pub(crate) reserved: usize,
    /// What compresses for it alone, and remembers what it got; there once something was compressed.
    pub(crate) deflater: Option<Deflater>,
    /// What inbound messages may refer to.
    pub(crate) received: Option<Context>,
    /// The inbound message in progress.
    pub(crate) inflating: Option<Inflating>,
    /// Resident bytes, as charged to the hub.
    pub(crate) charged: usize,
}

/// A message of which a part was inflated.
#[derive(Debug)]
pub(crate) struct Inflating {
    inflater: Inflater,
    /// Of a text.
    text: Utf8,
}

impl Inflating {
    pub(crate) fn new(mut inflater: Inflater, context: Option<&Context>) -> Self {
        inflater.start(context);
        Self { inflater, text: Utf8::default() }
    }

    pub(crate) fn into_inflater(self) -> Inflater {
        self.inflater
    }

    /// Appends what the next piece says, at most `bytes_max` bytes. What is wrong first is told, so text before the rest.
    pub(crate) fn inflate(
        &mut self,
        (is_text, is_last): (bool, bool),
        piece: &[u8],
        out: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<(), WireError> {
        let start = out.len();
        let inflated = self.inflater.inflate(piece, is_last, out, bytes_max);
        if is_text {
            self.text.push(&out[start..])?;
        }
        inflated?;
        if is_last && !self.text.is_complete() { Err(WireError::InvalidUtf8) } else { Ok(()) }
    }
}

impl Contexts {
    /// Whether it is of no use.
    pub(crate) const fn is_empty(&self) -> bool {
        self.reserved == 0 && self.deflater.is_none() && self.received.is_none() && self.inflating.is_none()
    }

    /// Resident bytes of what is taken over.
    pub(crate) fn taken_over(&self) -> usize {
        let sent = self.deflater.as_ref().map_or(0, Deflater::resident_bytes);
        sent + self.received.as_ref().map_or(0, Context::resident_bytes)
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        let inflating = if self.inflating.is_some() { Inflater::RESIDENT_BYTES } else { 0 };
        self.taken_over() + inflating
    }
}
