//! permessage-deflate (RFC 7692): compressing and inflating single messages. Needs the feature `deflate`.
//!
//! ```
//! # #[cfg(feature = "deflate")] {
//! use bytes::BytesMut;
//! use forebay_core::wire::deflate::{Deflater, InflateError, Inflater, WindowBits};
//!
//! let mut compressed = BytesMut::new();
//! let mut deflater = Deflater::new(WindowBits::MAX, 6, 8);
//! deflater.compress([&b"Hello"[..]], &mut compressed);
//! assert_eq!(&compressed[..], [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]); // RFC 7692 §7.2.3.1
//!
//! let mut message = BytesMut::new();
//! let mut inflater = Inflater::new();
//! inflater.start(None);
//! inflater.inflate(&compressed, true, &mut message, 5)?;
//! assert_eq!(&message[..], b"Hello");
//!
//! inflater.start(None);
//! let refused = inflater.inflate(&compressed, true, &mut BytesMut::new(), 4);
//! assert_eq!(refused, Err(InflateError::TooBig));
//! # }
//! # Ok::<(), forebay_core::wire::deflate::InflateError>(())
//! ```

mod agreement;
mod context;
#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod inflater;
mod negotiate;
#[cfg(not(feature = "deflate"))]
mod without;

use core::fmt;
use core::num::NonZeroU8;

pub use agreement::{Agreed, Answer, Direction, Offer};
pub use context::Context;
#[cfg(feature = "deflate")]
pub use deflater::Deflater;
#[cfg(feature = "deflate")]
pub use inflater::Inflater;
pub use negotiate::{Unsolicited, negotiate};
#[cfg(not(feature = "deflate"))]
pub(crate) use without::{Deflater, Inflater};

/// What ends the last block of each message, and is not sent (RFC 7692 §7.2.1).
#[cfg(feature = "deflate")]
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How far back a compressor may refer: 2^9 to 2^15 bytes.
///
/// RFC 7692 knows 2^8, too. No zlib compresses with that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct WindowBits(NonZeroU8);

impl WindowBits {
    /// 2^9 bytes.
    pub const MIN: Self = Self(NonZeroU8::new(9).expect("not zero"));
    /// 2^15 bytes.
    pub const MAX: Self = Self(NonZeroU8::new(15).expect("not zero"));

    /// `bits` from 9 to 15; `None` for others.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        match NonZeroU8::new(bits) {
            Some(number) if bits >= 9 && bits <= 15 => Some(Self(number)),
            _ => None,
        }
    }

    /// From 9 to 15.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// 2^9 to 2^15.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.get()
    }

    /// Bytes that a compressor with this window allocates: 137 KB for 9 and 1, 495 KB for 15 and 9.
    #[must_use]
    pub const fn compressor_bytes(self, memory_level: u8) -> usize {
        // Beside its tables.
        const STATE_BYTES: usize = 3_300;
        // Two windows, and for each byte of one the place where it was before; where each of 2^16 hashes was last; symbols
        // and output.
        4 * self.bytes() + (2 << 16) + (7 << (memory_level + 6)) + STATE_BYTES
    }
}

/// Why a compressed message cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InflateError {
    /// It has more bytes than it may.
    TooBig,
    /// It is not what a compressor writes.
    Corrupt,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooBig => "inflated message too big",
            Self::Corrupt => "corrupt compressed message",
        })
    }
}

impl core::error::Error for InflateError {}

#[cfg(all(test, feature = "deflate"))]
#[path = "../tests/deflate.rs"]
mod tests;
