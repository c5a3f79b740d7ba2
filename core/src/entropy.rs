//! Numbers nobody can guess, from the embedder's entropy: session ids, epochs, client masks and keys.

use sha1::{Digest, Sha1};

/// SHA-1 over a 256-bit secret and a counter: a pseudo-random function as long as the secret is one (the known
/// collisions of SHA-1 do not bear on that use). Deterministic, so that a simulation can be repeated.
pub(crate) struct Entropy {
    secret: [u8; 32],
    counter: u64,
    block: [u8; 20],
    used: usize,
}

impl Entropy {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret, counter: 0, block: [0; 20], used: 20 }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            if self.used == self.block.len() {
                self.refill();
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
        bytes
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// 128 bits that belong to a number: always the same ones, which nobody can guess who does not know the secret. (What
    /// is hashed is longer than for the stream, so it is never a part of that.)
    pub(crate) fn secret_of(&self, number: u64) -> [u8; 16] {
        let mut hash = Sha1::new();
        hash.update(self.secret);
        hash.update(number.to_le_bytes());
        hash.update(b"session");
        let mut secret = [0; 16];
        secret.copy_from_slice(&hash.finalize()[..16]);
        secret
    }

    /// 128 bits that belong to a text of up to 2^64 bits: nobody can find two texts with the same ones who does not know the
    /// secret.
    pub(crate) fn hash_of(&self, text: &str) -> u128 {
        let mut hash = Sha1::new();
        hash.update(self.secret);
        hash.update(b"publish id ");
        hash.update(text.as_bytes());
        let mut bits = [0; 16];
        bits.copy_from_slice(&hash.finalize()[..16]);
        u128::from_le_bytes(bits)
    }

    fn refill(&mut self) {
        let mut hash = Sha1::new();
        hash.update(self.secret);
        hash.update(self.counter.to_le_bytes());
        self.block.copy_from_slice(&hash.finalize());
        self.counter += 1;
        self.used = 0;
    }
}

impl core::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Entropy(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_gives_the_same_stream_and_another_a_different_one() {
        let stream = |secret| {
            let mut entropy = Entropy::new([secret; 32]);
            (0..100).map(|_| entropy.u64()).collect::<std::vec::Vec<_>>()
        };
        assert_eq!(stream(1), stream(1));
        let mut all = [stream(1), stream(2)].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200, "no number comes twice");
        let hash = |secret, text| Entropy::new([secret; 32]).hash_of(text);
        assert_eq!(hash(1, "a"), hash(1, "a"));
        assert!(hash(1, "a") != hash(1, "b") && hash(1, "a") != hash(2, "a"));
        assert_eq!(std::format!("{:?}", Entropy::new([7; 32])), "Entropy(secret)");
    }
}
