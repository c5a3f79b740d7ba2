//! Compressed messages.

use bytes::BytesMut;
use forebay_core::wire::deflate::{Context, Deflater, InflateError, Inflater, WindowBits};

use crate::mini::inflate::{Inflater as Reference, Way};

/// Compressed messages: to the core's inflater and to the reference. The first byte says what the rest is: bit 0: a message to be
/// compressed first; bit 1: two, the second of which may refer to the first. Then: how it is cut, parameters of the
/// compressor, and the limit in units of 64 bytes.
///
/// # Panics
/// If they do not agree, or anything else is not as promised.
pub fn inflate(data: &[u8]) {
    let [kind, cut, params, limit, rest @ ..] = data else { return };
    let (is_plain, takes_over) = (kind & 1 == 1, kind & 2 == 2);
    let bits = if is_plain { 9 + params % 7 } else { 15 };
    let window = WindowBits::new(bits).expect("from 9 to 15");
    let (first, second) = rest.split_at(if takes_over { rest.len() / 2 } else { rest.len() });
    let mut deflater = Deflater::new(window, 1 + params / 7 % 9, 1 + limit % 9);
    let mut reference = Reference::new(Way { window_bits: bits, takes_over });
    let (mut inflater, mut context) = (Inflater::new(), Context::new(window));
    let bytes_max = if is_plain { rest.len() } else { usize::from(*limit) * 64 };
    for message in [first, second] {
        let mut compressed = BytesMut::new();
        if is_plain {
            deflater.compress(message.chunks(usize::from(*cut).max(1)), &mut compressed);
        } else {
            compressed.extend_from_slice(message);
        }
        let theirs = reference.inflate(&compressed);
        let whole = read(&mut inflater, &context, &compressed, compressed.len().max(1), bytes_max);
        let pieces = read(&mut inflater, &context, &compressed, usize::from(*cut).max(1), bytes_max);
        assert_eq!(whole, pieces, "however it is cut");
        match (theirs, whole) {
            (Ok(theirs), (Ok(()), ours)) => {
                assert_eq!(theirs, ours);
                assert!(!is_plain || ours == message, "what was compressed comes back");
                if takes_over {
                    context.push(&ours);
                }
            }
            (Ok(theirs), (Err(InflateError::TooBig), ours)) => {
                assert!(!is_plain && theirs.len() > bytes_max && theirs[..bytes_max] == ours);
                return;
            }
            (Err(_), (Err(_), _)) => {
                assert!(!is_plain);
                return;
            }
            (theirs, ours) => panic!("{theirs:?}, but {ours:?}"),
        }
    }
}

/// What the core says of a message in pieces of so many bytes.
fn read(
    inflater: &mut Inflater,
    context: &Context,
    compressed: &[u8],
    size: usize,
    bytes_max: usize,
) -> (Result<(), InflateError>, Vec<u8>) {
    let mut out = BytesMut::new();
    inflater.start(Some(context));
    let count = compressed.len().div_ceil(size).max(1);
    let result = (0..count).try_for_each(|nth| {
        let piece = &compressed[nth * size..compressed.len().min((nth + 1) * size)];
        let left = bytes_max - out.len();
        inflater.inflate(piece, nth + 1 == count, &mut out, left)
    });
    assert!(out.len() <= bytes_max, "never more than the limit");
    (result, out.to_vec())
}
