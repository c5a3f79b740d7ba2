//! Another loop for long payloads changes nothing; what a frame lacks is told.

use super::*;
use crate::wire::mask;

fn telling(bytes: &mut [u8], key: [u8; 4]) -> bool {
    assert!(bytes.len() >= 2048, "short ones are faster without: {}", bytes.len());
    mask::apply(bytes, key, 0);
    bytes.is_ascii()
}

fn silent(bytes: &mut [u8], key: [u8; 4]) -> bool {
    mask::apply(bytes, key, 0);
    false
}

/// What comes of `bytes` in reads of so many: the pieces, and what ended it.
fn pieces(bytes: &[u8], read_bytes: usize, wide: Option<Wide>) -> (Vec<(Vec<u8>, bool)>, Option<WireError>) {
    let mut decoder = Decoder::new(Role::Server, MAX);
    let (mut all, mut pending) = (Vec::new(), Vec::new());
    for read in bytes.chunks(read_bytes) {
        pending.extend_from_slice(read);
        loop {
            let decoded = match decoder.decode_with(&mut pending, wide) {
                Ok(decoded) => decoded,
                Err(error) => return (all, Some(error)),
            };
            let (consumed, item) = (decoded.consumed, decoded.item);
            let more = match item {
                Some(Item::Data { payload, last, .. }) => {
                    all.push((payload.to_vec(), last));
                    true
                }
                item => item.is_some(),
            };
            pending.drain(..consumed);
            if !more {
                break;
            }
        }
    }
    (all, None)
}

#[test]
fn another_loop_for_long_payloads_changes_nothing() {
    for len in [0, 15, 2047, 2048, 2049, 5000, 70_000] {
        let ascii = vec![b'a'; len];
        let mut umlaut = ascii.clone();
        let mut invalid = ascii.clone();
        if let Some(end) = umlaut.last_chunk_mut() {
            *end = *"ü".as_bytes().first_chunk::<2>().unwrap();
            invalid[len / 2] = 0xff;
        }
        let payloads = [&ascii, &umlaut, &invalid];
        for (opcode, payload) in
            payloads.iter().flat_map(|&payload| [(Opcode::Text, payload), (Opcode::Binary, payload)])
        {
            let mut bytes = BytesMut::new();
            put_frame(&mut bytes, opcode, Some(KEY), payload);
            put_frame(&mut bytes, opcode, Some(KEY), b"next");
            for read_bytes in [usize::MAX, 4096, 2500, 1001] {
                let (expected, error) = pieces(&bytes, read_bytes, None);
                assert_eq!(error.is_some(), opcode == Opcode::Text && payload.contains(&0xff), "{len}");
                for wide in [telling as Wide, silent] {
                    assert_eq!(
                        pieces(&bytes, read_bytes, Some(wide)),
                        (expected.clone(), error),
                        "{len} in {read_bytes}"
                    );
                }
            }
        }
    }
}

#[test]
fn tells_what_the_frame_in_progress_lacks() {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, Opcode::Binary, Some(KEY), &[0; 1000]);
    let mut decoder = Decoder::new(Role::Server, MAX);
    assert_eq!(decoder.frame_left(), 0);
    assert_eq!(decoder.decode(&mut bytes[..7]).unwrap().consumed, 0);
    assert_eq!(decoder.frame_left(), 0, "amid a header");
    assert_eq!(decoder.decode(&mut bytes[..8]).unwrap().consumed, 8);
    assert_eq!(decoder.frame_left(), 1000);
    assert!(decoder.decode(&mut bytes[8..508]).unwrap().item.is_some());
    assert_eq!(decoder.frame_left(), 500);
    assert!(decoder.decode(&mut bytes[508..]).unwrap().item.is_some());
    assert_eq!(decoder.frame_left(), 0);
}
