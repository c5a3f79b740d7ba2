//! The client role: a hostile server finds the same limits; masks are fresh (RFC 6455 §5.3, §10.3).

use std::collections::BTreeSet;

use forebay_core::{Config, Hub, Instant, Options, Payload};

use super::*;

/// The masks of what a client sends, `count` messages in writes of their own.
fn masks(entropy: [u8; 32], count: usize) -> Vec<[u8; 4]> {
    let mut stage = Stage::new(|_| {});
    stage.hub = Hub::new(Config::try_from(Options::default()).unwrap(), entropy, Instant::ZERO);
    let conn = open_client(&mut stage);
    (0..count)
        .map(|number| {
            match number % 3 {
                0 => stage.hub.send(conn, Payload::Binary(b"the same"), stage.now).unwrap(),
                1 => stage.hub.handle_bytes(conn, b"\x89\x00", stage.now),
                _ => stage.hub.send(conn, Payload::Text("the same"), stage.now).unwrap(),
            }
            let transmit = stage.hub.poll_transmit().expect("a frame");
            let (bytes, len): (Vec<u8>, usize) = (transmit.slices().flatten().copied().collect(), transmit.len());
            stage.hub.handle_sent(conn, len, stage.now);
            assert_eq!(bytes[1] & 0x80, 0x80, "masked");
            *bytes[2..].first_chunk().expect("a key")
        })
        .collect()
}

#[test]
fn each_frame_has_a_key_of_its_own_from_the_entropy_of_the_hub() {
    let one = masks([1; 32], 3_000);
    let distinct: BTreeSet<[u8; 4]> = one.iter().copied().collect();
    assert!(
        distinct.len() >= 2_998,
        "{} keys in 3,000 frames: two of 2^32 are the same once in 1,000 runs",
        distinct.len()
    );
    assert_eq!(masks([1; 32], 100), one[..100], "the same entropy, the same bytes");
    let other: BTreeSet<[u8; 4]> = masks([2; 32], 3_000).into_iter().collect();
    assert!(distinct.intersection(&other).count() <= 2, "other entropy, other keys");
    // No bit of them is fixed.
    let (mut ones, mut zeros) = ([0_u8; 4], [0_u8; 4]);
    for key in one {
        for place in 0..4 {
            ones[place] |= key[place];
            zeros[place] |= !key[place];
        }
    }
    assert_eq!((ones, zeros), ([0xff; 4], [0xff; 4]));
}
