//! Masking (RFC 6455 §5.3). XOR is its own inverse, so the same call masks and unmasks.

/// The key as it applies to bytes that come `offset` bytes into the payload.
#[inline]
pub(super) const fn rotate(key: [u8; 4], offset: usize) -> [u8; 4] {
    // Byte i of the key is bits 8i..8i+8 of its little-endian word, whatever the machine's own order.
    let turns = match offset & 3 {
        0 => 0,
        1 => 8,
        2 => 16,
        _ => 24,
    };
    u32::from_le_bytes(key).rotate_right(turns).to_le_bytes()
}

/// Masks or unmasks `bytes` in place. `offset` is how many bytes of the frame's payload came before them; only its
/// remainder modulo 4 matters.
///
/// ```
/// use forebay_core::wire::mask;
/// let mut bytes = *b"Hello";
/// mask::apply(&mut bytes, [0x37, 0xfa, 0x21, 0x3d], 0);
/// assert_eq!(bytes, [0x7f, 0x9f, 0x4d, 0x51, 0x58]); // RFC 6455 §5.7
/// ```
#[inline]
pub fn apply(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotate(key, offset);
    let wide = |[a, b, c, d]: [u8; 4]| u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let xor = |word: [u8; 8], key: u64| (u64::from_ne_bytes(word) ^ key).to_ne_bytes();
    let Some(&last) = bytes.last_chunk() else {
        for (byte, mask) in bytes.iter_mut().zip(key.into_iter().cycle()) {
            *byte ^= mask;
        }
        return;
    };
    // The last eight bytes are one word too, which may overlap the one before.
    let last = xor(last, wide(rotate(key, bytes.len())));
    // Whole words, which the compiler turns into vectors; a multiple of four, so the key needs no turning.
    for word in bytes.as_chunks_mut().0 {
        *word = xor(*word, wide(key));
    }
    if let Some(end) = bytes.last_chunk_mut() {
        *end = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn equals_the_definition_for_every_length_and_offset() {
        for offset in (0..9).chain([usize::MAX - 1, usize::MAX]) {
            for len in 0..200usize {
                let plain: Vec<u8> = (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
                // RFC 6455 §5.3: octet i of the result is octet i XOR octet i mod 4 of the key.
                let expected: Vec<u8> =
                    plain.iter().enumerate().map(|(i, b)| b ^ KEY[(i % 4 + offset % 4) % 4]).collect();
                let mut bytes = plain.clone();
                apply(&mut bytes, KEY, offset);
                assert_eq!(bytes, expected, "{len} at {offset}");
                apply(&mut bytes, KEY, offset);
                assert_eq!(bytes, plain);
            }
        }
    }

    #[test]
    fn pieces_make_the_whole() {
        let plain: Vec<u8> = (0..64).collect();
        let mut whole = plain.clone();
        apply(&mut whole, KEY, 0);
        for cut in 0..=plain.len() {
            let mut pieces = plain.clone();
            let (left, right) = pieces.split_at_mut(cut);
            apply(left, KEY, 0);
            apply(right, rotate(KEY, cut), 0);
            assert_eq!(pieces, whole);
        }
    }
}
