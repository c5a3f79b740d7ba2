//! Inflating messages (RFC 7692 §7.2.2).

use bytes::BytesMut;
use core::fmt;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::{Context, InflateError, TAIL};

/// A last block with nothing in it: it shows that the one before it was whole.
const END: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// An inflater, for one message at a time of any connection: what a message takes over from those before it is in a
/// [`Context`]. It takes any window, and [`RESIDENT_BYTES`](Self::RESIDENT_BYTES).
pub struct Inflater {
    zlib: Inflate,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// No byte came.
    Start,
    /// Within the blocks of a message.
    Blocks,
    /// Behind a block that said it was the last (RFC 7692 §7.2.3.4).
    LastBlock,
}

/// How much is inflated at a time, at most, of a message that is not long yet: what it may take in memory beyond its own bytes.
const STEP_BYTES: usize = 16 << 10;

/// The same for one that is: never more than there is of it. The end of each step takes as long as inflating some KiB.
const LONG_STEP_BYTES: usize = 128 << 10;

impl Inflater {
    /// Bytes that an inflater allocates.
    pub const RESIDENT_BYTES: usize = 47_600;

    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self { zlib: Inflate::new(false, 15), at: At::Start }
    }

    /// Begins a message, which may refer to what is in `context`; to be called before each.
    pub fn start(&mut self, context: Option<&Context>) {
        self.zlib.reset(false);
        self.at = At::Start;
        for part in context.iter().flat_map(|context| context.parts()) {
            if !part.is_empty() {
                self.zlib.set_dictionary(part).expect("without a header any dictionary will do");
            }
        }
    }

    /// Inflates the next piece of a message, appending what it says to `out`, at most `bytes_max` bytes: all that follows from
    /// what came so far. `is_last`: the message ends with it.
    ///
    /// A message without any bytes is taken for an empty one, as other implementations do. Behind a block that is marked as
    /// the last of a stream (§7.2.3.4) blocks refer to nothing before it.
    ///
    /// # Errors
    /// When there would be one byte more than `bytes_max`, or the bytes mean nothing. What follows from the bytes before
    /// is in `out` all the same. The rest of the message cannot be had.
    pub fn inflate(
        &mut self,
        input: &[u8],
        is_last: bool,
        out: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<(), InflateError> {
        let end = out.len().saturating_add(bytes_max);
        self.feed(input, out, end)?;
        // Where the last block has ended nothing may follow, but a message that was compressed by another library.
        if !is_last || self.at != At::Blocks {
            return Ok(());
        }
        self.feed(&TAIL, out, end)?;
        self.feed(&END, out, end)?;
        if self.at == At::LastBlock { Ok(()) } else { Err(InflateError::Corrupt) }
    }

    fn feed(&mut self, mut input: &[u8], out: &mut BytesMut, end: usize) -> Result<(), InflateError> {
        if input.is_empty() {
            return Ok(()); // All that it could say it has said.
        }
        loop {
            if self.at == At::LastBlock {
                if input.is_empty() {
                    return Ok(());
                }
                self.zlib.reset(false);
            }
            self.at = At::Blocks;
            let start = out.len();
            // What compressed text mostly becomes; one byte where it may not become anything.
            let step = start.clamp(STEP_BYTES, LONG_STEP_BYTES);
            let room = (input.len() * 4).clamp(64, step).min(end - start).max(1);
            let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
            out.resize(start + room, 0);
            let status = self.zlib.decompress(input, &mut out[start..], InflateFlush::NoFlush);
            let read = usize::try_from(self.zlib.total_in() - read).expect("no more than there was");
            let written = usize::try_from(self.zlib.total_out() - written).expect("no more than there was room for");
            out.truncate((start + written).min(end));
            if start + written > end {
                return Err(InflateError::TooBig);
            }
            input = &input[read..];
            match status {
                Err(_) => return Err(InflateError::Corrupt),
                Ok(Status::StreamEnd) => self.at = At::LastBlock,
                // It stopped for want of input, not of room.
                Ok(_) if written < room && input.is_empty() => return Ok(()),
                Ok(_) if read == 0 && written == 0 => return Err(InflateError::Corrupt),
                Ok(_) => {}
            }
        }
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("at", &self.at).finish_non_exhaustive()
    }
}
