//! All 2^32 strings of four bytes against `std`, in every cutting, with `FOREBAY_UTF8_STRIDE=1` (and `--release`: minutes);
//! else every 9,973rd of them.

use forebay_core::wire::{InvalidUtf8, Utf8};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Complete,
    Open,
    Bad,
}

/// What is to be said of a text so far: `Bad` as soon as nothing can follow that makes it valid.
fn model(bytes: &[u8]) -> State {
    match std::str::from_utf8(bytes) {
        Ok(_) => State::Complete,
        Err(error) if error.error_len().is_none() => State::Open,
        Err(_) => State::Bad,
    }
}

/// What is said of a text that arrives in such pieces. Behind a bad one nothing is asked.
fn pushed(bytes: [u8; 4], cuts: &[usize]) -> State {
    let mut text = Utf8::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([4]) {
        if let Err(InvalidUtf8) = text.push(&bytes[from..to]) {
            return State::Bad;
        }
        from = to;
    }
    if text.is_complete() { State::Complete } else { State::Open }
}

#[expect(clippy::disallowed_methods, reason = "the test reads it, not the core")]
fn stride() -> usize {
    std::env::var("FOREBAY_UTF8_STRIDE").map_or(9_973, |text| text.parse().expect("a number"))
}

#[test]
fn all_strings_of_four_bytes_in_every_cutting() {
    let stride = stride();
    let mut seen = [0_u64; 3];
    for bits in (0..=u32::MAX).step_by(stride) {
        let bytes = bits.to_be_bytes();
        let expected = model(&bytes);
        for cuts in [&[][..], &[1], &[2], &[3], &[1, 2], &[1, 3], &[2, 3], &[1, 2, 3]] {
            assert_eq!(pushed(bytes, cuts), expected, "{bytes:02x?} cut at {cuts:?}");
        }
        seen[expected as usize] += 1;
    }
    println!("{seen:?} of every {stride}th");
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
