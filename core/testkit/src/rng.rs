//! Where a simulation's decisions come from: a seed, or the bytes of a fuzzer.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    /// A generator.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Four bytes, for instance a masking key.
    pub fn four(&mut self) -> [u8; 4] {
        let bytes = self.next_u64().to_le_bytes();
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    }
}

/// A source of decisions. The same world runs from a seed and from fuzz input.
#[derive(Clone, Debug)]
pub enum Choices {
    /// An endless sequence.
    Seed(SplitMix),
    /// The bytes of a fuzzer; behind them only zeros.
    Bytes {
        /// The input.
        data: Vec<u8>,
        /// How much of it is used.
        at: usize,
    },
}

impl Choices {
    /// Decisions from a seed.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self::Seed(SplitMix::new(seed))
    }

    /// Decisions from fuzz input.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        Self::Bytes { data: data.to_vec(), at: 0 }
    }

    /// Whether fuzz input is used up.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        match self {
            Self::Seed(_) => false,
            Self::Bytes { data, at } => *at >= data.len(),
        }
    }

    fn draw(&mut self, width: usize) -> u64 {
        match self {
            Self::Seed(rng) => rng.next_u64() >> (64 - 8 * width),
            Self::Bytes { data, at } => {
                let mut value = 0;
                for _ in 0..width {
                    value = (value << 8) | u64::from(data.get(*at).copied().unwrap_or(0));
                    *at += 1;
                }
                value
            }
        }
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.draw(8)
    }

    /// A number below `bound`, which is not 0. Fuzz input gives as few bytes as do.
    pub fn below(&mut self, bound: u64) -> u64 {
        let width = match bound {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            0x1_0001..=0x1_0000_0000 => 4,
            _ => 8,
        };
        match self {
            Self::Seed(rng) => rng.next_u64() % bound,
            Self::Bytes { .. } => self.draw(width) % bound,
        }
    }

    /// A number below `bound`, which is not 0.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number of `low..=high`.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        low + self.index(high - low + 1)
    }

    /// A number of `low..=high`.
    pub fn small(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.between(u64::from(low), u64::from(high))).expect("between two u32")
    }

    /// True in one of `of` cases; never once fuzz input is used up (`of` ≥ 2).
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == of - 1
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// Random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.draw(1).to_le_bytes()[0]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_and_bounds() {
        // Reference values of splitmix64 with seed 0.
        let mut rng = SplitMix::new(0);
        assert_eq!(rng.next_u64(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(rng.next_u64(), 0x6E78_9E6A_A1B9_65F4);
        let mut choices = Choices::from_seed(1);
        for bound in [1, 2, 255, 256, 257, 70_000, 1 << 40] {
            for _ in 0..100 {
                assert!(choices.below(bound) < bound);
            }
        }
        assert!((0..1_000).any(|_| choices.one_in(3)) && !choices.is_exhausted());
    }

    #[test]
    fn fuzz_bytes_are_used_in_order_and_end_in_zeros() {
        let mut choices = Choices::from_bytes(&[7, 1, 2, 9]);
        assert_eq!(choices.below(256), 7);
        assert_eq!(choices.below(0x1_0000), 0x0102);
        assert!(!choices.is_exhausted());
        assert_eq!(choices.below(10), 9);
        assert!(choices.is_exhausted());
        assert_eq!((choices.bits(), choices.below(5), choices.one_in(2)), (0, 0, false));
    }
}
