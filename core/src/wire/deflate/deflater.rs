//! Compressing messages (RFC 7692 §7.2.1).

use bytes::{BufMut as _, BytesMut};
use core::fmt;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, compress_bound};

use super::{TAIL, WindowBits};

/// A compressor, to be used for one message after another. Each may refer to those before it
/// (context takeover), unless [`reset`](Self::reset) comes between them.
pub struct Deflater {
    zlib: Deflate,
    window_bits: WindowBits,
    memory_level: u8,
}

impl Deflater {
    /// One that refers back as far as `window_bits`, tries as hard as `level`, and has memory for symbols by
    /// `memory_level`, both from 1 to 9 (others count as the nearest of these). Allocates
    /// [`WindowBits::compressor_bytes`] at once.
    #[must_use]
    pub fn new(window_bits: WindowBits, level: u8, memory_level: u8) -> Self {
        let memory_level = memory_level.clamp(1, 9);
        let config = DeflateConfig {
            level: level.clamp(1, 9).into(),
            // Negative: deflate without a header (RFC 1951).
            window_bits: -i32::from(window_bits.get()),
            mem_level: memory_level.into(),
            ..DeflateConfig::default()
        };
        Self { zlib: Deflate::new_with_config(config), window_bits, memory_level }
    }

    /// Appends one message, that consists of these pieces, compressed and without its last four bytes, which are always the
    /// same (RFC 7692 §7.2.1): the payload of a frame, or of several, with RSV1.
    pub fn compress<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>, out: &mut BytesMut) {
        let mut bytes = 0;
        for piece in pieces {
            bytes += piece.len();
            self.run(piece, DeflateFlush::NoFlush, compress_bound(piece.len()), out);
        }
        if bytes == 0 {
            // An empty stored block without its last four bytes (RFC 7692 §7.2.3.6). zlib does not flush twice.
            return out.put_u8(0);
        }
        self.run(&[], DeflateFlush::SyncFlush, compress_bound(bytes), out);
        assert!(out.ends_with(&TAIL), "a flush ends with an empty stored block");
        out.truncate(out.len() - TAIL.len());
    }

    /// The next message refers to none before it.
    pub fn reset(&mut self) {
        self.zlib.reset();
    }

    /// Bytes it has allocated.
    #[must_use]
    pub const fn resident_bytes(&self) -> usize {
        self.window_bits.compressor_bytes(self.memory_level)
    }

    /// Gives it bytes, and takes what it has to say, `room` bytes at a time.
    fn run(&mut self, mut input: &[u8], flush: DeflateFlush, room: usize, out: &mut BytesMut) {
        // Fewer than 6 bytes of room could make it flush again and again (zlib's manual, `deflate`).
        let room = room.clamp(64, 16 << 10);
        loop {
            let (start, read, written) = (out.len(), self.zlib.total_in(), self.zlib.total_out());
            out.resize(start + room, 0);
            self.zlib.compress(input, &mut out[start..], flush).expect("a compressor takes any bytes");
            let read = usize::try_from(self.zlib.total_in() - read).expect("no more than there was");
            let written = usize::try_from(self.zlib.total_out() - written).expect("no more than there was room for");
            out.truncate(start + written);
            input = &input[read..];
            if input.is_empty() && written < room {
                return;
            }
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("window_bits", &self.window_bits)
            .field("memory_level", &self.memory_level)
            .finish_non_exhaustive()
    }
}
