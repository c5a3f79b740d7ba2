//! Whole messages out of a socket: what an embedder of `forebay_core::wire` writes around the decoder.

use std::io::Read;

use forebay_core::wire::mask::Wide;
use forebay_core::wire::{Decoder, Item, Role};

use crate::{MESSAGE_BYTES_MAX, READ_BYTES, Side, Socket};

/// How long a buffer is that nobody told how long to be.
pub const BUFFER_BYTES: usize = 16 << 10;

/// What is read at a time between messages. Of one that is longer just what it lacks is read then, as much at a time as a read
/// brings, so that the next begins where the buffer does, and nothing has to be moved there.
const FIRST_READ_BYTES: usize = 8 << 10;

/// Reads into one buffer and lends each message out of it, whole.
///
/// Pieces of a message are unmasked where they lie, so those of one frame are one slice when the last has come; the
/// buffer grows with what arrives of a long one.
#[derive(Debug)]
pub struct Reader {
    socket: Socket,
    decoder: Decoder,
    wide: Option<Wide>,
    buffer: Vec<u8>,
    /// Where the message in progress is: `..at` of the buffer is done with, but for the bytes of `message`.
    message: std::ops::Range<usize>,
    at: usize,
    /// `at..end` is to be decoded.
    end: usize,
}

impl Reader {
    /// A reader of what arrives at this side, with the loop of `forebay-sys` for long payloads if it is `wide`.
    #[must_use]
    pub fn new(side: Side, is_wide: bool, socket: Socket) -> Self {
        let role = if side == Side::Server { Role::Server } else { Role::Client };
        let decoder = Decoder::new(role, MESSAGE_BYTES_MAX as u64);
        let wide = if is_wide { forebay_sys::wide_mask() } else { None };
        Self { socket, decoder, wide, buffer: vec![0; BUFFER_BYTES], message: 0..0, at: 0, end: 0 }
    }

    /// The next message.
    ///
    /// # Panics
    /// If the peer violates the protocol.
    pub fn next_message(&mut self) -> &[u8] {
        loop {
            if self.at == self.end {
                self.fill();
            }
            let decoded =
                self.decoder.decode_with(&mut self.buffer[self.at..self.end], self.wide).expect("good frames");
            let Some(item) = decoded.item else {
                self.at += decoded.consumed;
                self.fill();
                continue;
            };
            let Item::Data { payload, first, last, .. } = item else {
                self.at += decoded.consumed;
                continue;
            };
            let len = payload.len();
            self.at += decoded.consumed;
            let piece = self.at - len..self.at;
            if first || self.message.is_empty() {
                self.message = piece;
            } else {
                if self.message.end != piece.start {
                    self.buffer.copy_within(piece, self.message.end); // A frame's header is between them.
                }
                self.message.end += len;
            }
            if last {
                return &self.buffer[std::mem::replace(&mut self.message, 0..0)];
            }
        }
    }

    /// Reads behind what is there, which goes to the front where that is cheap: never a long message, which would be moved for
    /// the few bytes of its header.
    fn fill(&mut self) {
        let begin = if self.message.is_empty() { self.at } else { self.message.start };
        let kept = self.end - begin;
        let wanted = match self.decoder.frame_left() {
            0 => FIRST_READ_BYTES,
            left => usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES),
        };
        if begin > 0 && begin >= 4 * kept {
            self.buffer.copy_within(begin..self.end, 0);
            self.message = 0..self.message.len();
            (self.at, self.end) = (self.at - begin, kept);
        }
        if self.buffer.len() - self.end < wanted {
            self.buffer.resize((2 * self.buffer.len()).max(self.end + wanted), 0);
        }
        self.end += self.socket.read(&mut self.buffer[self.end..][..wanted]).expect("memory does not fail");
    }
}
