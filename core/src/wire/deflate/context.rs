//! What a message may refer back to in those before it.

use alloc::vec::Vec;

use super::WindowBits;

/// The last bytes of the messages before, up to a window: all that an inflater takes over from one message to the next
/// (RFC 7692 §7.2.2). Takes no memory before the first message, and never more than its window.
#[derive(Clone, Debug)]
pub struct Context {
    /// A ring once it is full.
    bytes: Vec<u8>,
    /// The oldest byte, of a full ring; else 0.
    oldest: usize,
    bits: WindowBits,
}

impl Context {
    /// An empty one for a window of that size.
    #[must_use]
    pub const fn new(bits: WindowBits) -> Self {
        Self { bytes: Vec::new(), oldest: 0, bits }
    }

    /// A message, or a part of one, came behind what there is.
    pub fn push(&mut self, message: &[u8]) {
        let window = self.bits.bytes();
        let message = &message[message.len().saturating_sub(window)..];
        let room = window - self.bytes.len();
        if room > 0 && self.bytes.capacity() < window {
            // Twice what is needed at most, and never more than the window.
            let needed = self.bytes.len() + message.len().min(room);
            let wanted = needed.max(self.bytes.capacity() * 2).min(window);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        let (behind, over) = message.split_at(message.len().min(room));
        self.bytes.extend_from_slice(behind);
        let (to_end, from_start) = over.split_at(over.len().min(window - self.oldest));
        self.bytes[self.oldest..][..to_end.len()].copy_from_slice(to_end);
        self.bytes[..from_start.len()].copy_from_slice(from_start);
        if !over.is_empty() {
            self.oldest = (self.oldest + over.len()) % window;
        }
    }

    /// Its bytes, the older part first.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(self.oldest);
        [older, newer]
    }

    /// Bytes it has allocated.
    #[must_use]
    pub const fn resident_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_end_of_all_that_was_pushed() {
        let mut all = Vec::new();
        let mut context = Context::new(WindowBits::MIN);
        assert_eq!(context.resident_bytes(), 0);
        let mut state = 1_u32;
        for _ in 0..2_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = [0, 1, 7, 100, 511, 512, 513, 1_500][(state >> 29) as usize];
            let message: Vec<u8> = (0..len).map(|place| (place as u32 ^ (state >> 16)).to_le_bytes()[0]).collect();
            context.push(&message);
            all.extend_from_slice(&message);
            assert_eq!(context.parts().concat(), all[all.len().saturating_sub(512)..]);
            assert!(context.resident_bytes() <= 512, "never more than the window");
        }
    }
}
