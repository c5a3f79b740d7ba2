//! A running digest of everything a world saw: two runs are alike or they are not.

use std::fmt::{self, Write as _};

/// FNV-1a, 64 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    /// Takes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    /// Takes a number in.
    pub fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Takes in what something looks like.
    pub fn debug(&mut self, value: &dyn fmt::Debug) {
        write!(self, "{value:?};").expect("a digest takes everything");
    }

    /// The digest.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The digest of bytes with a tag before them.
    #[must_use]
    pub fn of(tag: u8, bytes: &[u8]) -> u64 {
        let mut digest = Self::default();
        digest.bytes(&[tag]);
        digest.bytes(bytes);
        digest.0
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        let mut digest = Digest::default();
        digest.bytes(b"foobar");
        assert_eq!(digest.value(), 0x8594_4171_F739_67E8);
        assert_ne!(Digest::of(0, b"a"), Digest::of(1, b"a"));
    }
}
