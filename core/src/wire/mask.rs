//! Masking (RFC 6455 §5.3). XOR is its own inverse, so the same call masks and unmasks.

use bytes::BytesMut;

/// A loop that unmasks a whole payload as [`apply`] does, with wider vectors than the compiler may use, if the processor has them:
/// to choose at run time takes `unsafe`, which is not here. `forebay-sys` has one.
///
/// It returns whether all that comes out is ASCII: `false` where that is not known, which only takes longer to validate.
pub type Wide = fn(&mut [u8], [u8; 4]) -> bool;

/// From here on a [`Wide`] loop is faster than its call is long.
const WIDE_BYTES_MIN: usize = 2 << 10;

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

// Arrays of a length that the compiler knows, gone through byte by byte, are vectors to it; in words it takes them apart.

/// The key for as many bytes; a multiple of four.
#[inline]
fn wide<const N: usize>(key: [u8; 4]) -> [u8; N] {
    let mut bytes = [0; N];
    for four in bytes.as_chunks_mut().0 {
        *four = key;
    }
    bytes
}

#[inline]
fn xor<const N: usize>(mut bytes: [u8; N], key: &[u8; N]) -> [u8; N] {
    for (byte, mask) in bytes.iter_mut().zip(key) {
        *byte ^= mask;
    }
    bytes
}

#[inline]
fn or<const N: usize>(mut bytes: [u8; N], others: &[u8; N]) -> [u8; N] {
    for (byte, other) in bytes.iter_mut().zip(others) {
        *byte |= other;
    }
    bytes
}

#[inline]
fn has_high_bit<const N: usize>(bytes: &[u8; N]) -> bool {
    bytes.iter().fold(0, |any, byte| any | byte) & 0x80 != 0
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
    run::<false>(bytes, rotate(key, offset));
}

/// Unmasks a payload from its beginning. Whether the result is ASCII, as most text is: to see that costs nothing while it is in
/// the processor's registers. It is `false` for what is not text, which nobody asks about.
#[inline]
pub(super) fn unmask(bytes: &mut [u8], key: [u8; 4], is_text: bool, wide: Option<Wide>) -> bool {
    match wide {
        Some(wide) if bytes.len() >= WIDE_BYTES_MIN => wide(bytes, key) && is_text,
        _ if is_text => run::<true>(bytes, key),
        _ => run::<false>(bytes, key),
    }
}

/// Nothing is read from where it is written: processors wait for what was written a moment ago in other sizes. So the last bytes,
/// which may overlap those before, are read first and written last.
#[inline]
fn run<const IS_TEXT: bool>(bytes: &mut [u8], key: [u8; 4]) -> bool {
    let Some(last) = bytes.last_chunk() else {
        return run_short(bytes, key);
    };
    let last: [u8; 16] = xor(*last, &wide(rotate(key, bytes.len())));
    let mut any = last;
    let (blocks, rest) = bytes.as_chunks_mut();
    if !blocks.is_empty() {
        let key: [u8; 64] = wide(key);
        let mut any_block = [0; 64];
        for block in blocks {
            *block = xor(*block, &key);
            if IS_TEXT {
                any_block = or(any_block, block);
            }
        }
        for quarter in any_block.as_chunks().0 {
            any = or(any, quarter);
        }
    }
    for vector in rest.as_chunks_mut().0 {
        *vector = xor(*vector, &wide(key));
        if IS_TEXT {
            any = or(any, vector);
        }
    }
    if let Some(end) = bytes.last_chunk_mut() {
        *end = last;
    }
    IS_TEXT && !has_high_bit(&any)
}

/// Less than 16 bytes.
#[inline]
fn run_short(bytes: &mut [u8], key: [u8; 4]) -> bool {
    if let Some(is_ascii) = run_between::<8>(bytes, key).or_else(|| run_between::<4>(bytes, key)) {
        return is_ascii;
    }
    for (byte, mask) in bytes.iter_mut().zip(key) {
        *byte ^= mask;
    }
    bytes.is_ascii()
}

/// `N` to twice `N` bytes.
#[inline]
fn run_between<const N: usize>(bytes: &mut [u8], key: [u8; 4]) -> Option<bool> {
    let (first, last) = (bytes.first_chunk::<N>()?, bytes.last_chunk::<N>()?);
    let (first, last) = (xor(*first, &wide(key)), xor(*last, &wide(rotate(key, bytes.len()))));
    *bytes.first_chunk_mut()? = first;
    *bytes.last_chunk_mut()? = last;
    Some(!has_high_bit(&or(first, &last)))
}

/// Appends a payload, masked. Out of line: those who do not mask would have to go round it.
#[inline(never)]
pub(super) fn put(out: &mut BytesMut, payload: &[u8], key: [u8; 4]) {
    // In pieces of a length that the compiler knows, and as few as can be: to append one takes longer than to mask a vector.
    let done = put_blocks::<128>(out, payload, key)
        || put_ends::<64>(out, payload, key)
        || put_ends::<32>(out, payload, key)
        || put_ends::<16>(out, payload, key)
        || put_ends::<8>(out, payload, key)
        || put_ends::<4>(out, payload, key);
    if !done {
        for (byte, mask) in payload.iter().zip(key) {
            out.extend_from_slice(&[byte ^ mask]);
        }
    }
}

/// `N` bytes and more.
#[inline]
fn put_blocks<const N: usize>(out: &mut BytesMut, payload: &[u8], key: [u8; 4]) -> bool {
    let Some(last) = payload.last_chunk::<N>() else { return false };
    let (blocks, rest) = payload.as_chunks::<N>();
    let wide: [u8; N] = wide(key);
    for block in blocks {
        out.extend_from_slice(&xor(*block, &wide));
    }
    if !rest.is_empty() {
        put_last(out, last, N - rest.len(), payload.len(), key);
    }
    true
}

/// `N` to twice `N` bytes: the first and the last, which may overlap.
#[inline]
fn put_ends<const N: usize>(out: &mut BytesMut, payload: &[u8], key: [u8; 4]) -> bool {
    let (Some(first), Some(last)) = (payload.first_chunk::<N>(), payload.last_chunk::<N>()) else { return false };
    out.extend_from_slice(&xor(*first, &wide(key)));
    if payload.len() > N {
        put_last(out, last, 2 * N - payload.len(), payload.len(), key);
    }
    true
}

/// Appends the last `N` bytes of a payload of `len`, of which `overlap` are there already.
#[inline]
fn put_last<const N: usize>(out: &mut BytesMut, last: &[u8; N], overlap: usize, len: usize, key: [u8; 4]) {
    out.truncate(out.len() - overlap);
    out.extend_from_slice(&xor(*last, &wide(rotate(key, len - N))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn equals_the_definition_for_every_length_and_offset() {
        for offset in (0..9).chain([usize::MAX - 1, usize::MAX]) {
            for len in 0..300usize {
                let plain: Vec<u8> = (0..len).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
                // RFC 6455 §5.3: octet i of the result is octet i XOR octet i mod 4 of the key.
                let expected: Vec<u8> =
                    plain.iter().enumerate().map(|(i, b)| b ^ KEY[(i % 4 + offset % 4) % 4]).collect();
                let mut bytes = plain.clone();
                apply(&mut bytes, KEY, offset);
                assert_eq!(bytes, expected, "{len} at {offset}");
                apply(&mut bytes, KEY, offset);
                assert_eq!(bytes, plain);
                let mut put_bytes = BytesMut::from(&b"head"[..]);
                put(&mut put_bytes, &plain, rotate(KEY, offset));
                assert_eq!(put_bytes[4..], expected, "{len} at {offset}");
            }
        }
    }

    #[test]
    fn tells_of_every_byte_whether_it_is_ascii() {
        for len in 0..200usize {
            let mut masked = alloc::vec![b'a'; len];
            apply(&mut masked, KEY, 0);
            assert!(unmask(&mut masked.clone(), KEY, true, None), "{len}");
            for at in 0..len {
                masked[at] ^= 0x80;
                assert!(!unmask(&mut masked.clone(), KEY, true, None), "{at} of {len}");
                masked[at] ^= 0x80;
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
