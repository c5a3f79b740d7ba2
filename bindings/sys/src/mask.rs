//! Unmasking with the vectors of the processor at hand, whatever the compiler was told of it.

/// What [`wide_mask`] gives: what to unmask in place, and the key.
pub type WideMask = fn(&mut [u8], [u8; 4]) -> bool;

/// A loop that unmasks a whole payload, and says whether what comes out is ASCII; `None` if there is nothing better than what the
/// compiler makes of safe code. It is for `forebay_core::wire::Decoder::decode_with`.
#[must_use]
pub fn wide_mask() -> Option<WideMask> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what `run` was compiled for.
        return Some(|bytes, key| unsafe { run(bytes, key) });
    }
    None
}

/// Two vectors at a time and more, of 32 bytes: made by the compiler of a length that it knows.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run(bytes: &mut [u8], key: [u8; 4]) -> bool {
    const HIGH_BITS: u32 = 0x8080_8080;
    let mask = u32::from_ne_bytes(key);
    let unmask = |word: &mut [u8; 4]| {
        let plain = u32::from_ne_bytes(*word) ^ mask;
        *word = plain.to_ne_bytes();
        plain
    };
    let mut any = [0; 32];
    let (blocks, rest) = bytes.as_chunks_mut::<128>();
    for block in blocks {
        for (word, any) in block.as_chunks_mut().0.iter_mut().zip(&mut any) {
            *any |= unmask(word);
        }
    }
    let (words, end) = rest.as_chunks_mut();
    let any = words.iter_mut().fold(any.into_iter().fold(0, |any, word| any | word), |any, word| any | unmask(word));
    for (byte, mask) in end.iter_mut().zip(key) {
        *byte ^= mask;
    }
    any & HIGH_BITS == 0 && end.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::wide_mask;

    #[test]
    fn equals_the_definition_and_tells_of_every_byte_whether_it_is_ascii() {
        const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let Some(wide) = wide_mask() else {
            return println!("skipped: needs a processor with AVX2"); // Which no package makes up for.
        };
        for len in 0..600 {
            let plain: Vec<u8> = (b'a'..=b'z').cycle().take(len).collect();
            // RFC 6455 §5.3: octet i of the result is octet i XOR octet i mod 4 of the key.
            let masked: Vec<u8> = plain.iter().zip(KEY.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            let mut bytes = masked.clone();
            assert!(wide(&mut bytes, KEY), "{len}");
            assert_eq!(bytes, plain);
            for at in 0..len {
                let mut bytes = masked.clone();
                bytes[at] ^= 0x80;
                assert!(!wide(&mut bytes, KEY), "{at} of {len}");
                bytes[at] ^= 0x80;
                assert_eq!(bytes, plain);
            }
        }
    }
}
