//! All 2^32 strings of four bytes against `std`, in every cutting, with `FOREBAY_UTF8_STRIDE=1` (and `--release`: minutes);
//! else every 9,973rd beginning of three bytes.

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

#[expect(clippy::disallowed_methods, reason = "the test reads it, not the core")]
fn stride() -> usize {
    std::env::var("FOREBAY_UTF8_STRIDE").map_or(9_973, |text| text.parse().expect("a number"))
}

/// What is said of a text, and what is kept of it, that arrives in pieces which end there.
fn pushed(bytes: &[u8], ends: &[usize]) -> Option<Utf8> {
    let (mut text, mut from) = (Utf8::new(), 0);
    for to in ends {
        text.push(&bytes[from..*to]).ok()?;
        from = *to;
    }
    Some(text)
}

/// What is kept after each of these ways to cut; the same only once.
fn kept(bytes: &[u8], cuttings: &[&[usize]]) -> Vec<Option<Utf8>> {
    let mut kept = Vec::new();
    for ends in cuttings {
        let text = pushed(bytes, ends);
        if !kept.contains(&text) {
            kept.push(text);
        }
    }
    kept
}

fn state(before: Option<Utf8>, bytes: &[u8]) -> State {
    let Some(mut text) = before else { return State::Bad };
    match text.push(bytes) {
        Err(InvalidUtf8) => State::Bad,
        Ok(()) if text.is_complete() => State::Complete,
        Ok(()) => State::Open,
    }
}

#[test]
fn all_strings_of_four_bytes_in_every_cutting() {
    let stride = stride();
    let mut seen = [0_u64; 3];
    for three in (0..1_u32 << 24).step_by(stride) {
        let [_, a, b, c] = three.to_be_bytes();
        // Every cutting is one of these, and a last piece from there to the end.
        let after = [
            kept(&[], &[&[]]),
            kept(&[a], &[&[1]]),
            kept(&[a, b], &[&[2], &[1, 2]]),
            kept(&[a, b, c], &[&[3], &[1, 3], &[2, 3], &[1, 2, 3]]),
        ];
        for d in 0..=u8::MAX {
            let bytes = [a, b, c, d];
            let expected = model(&bytes);
            for (cut, kept) in after.iter().enumerate() {
                for before in kept {
                    assert_eq!(state(*before, &bytes[cut..]), expected, "{bytes:02x?} from {cut} behind {before:?}");
                }
            }
            seen[expected as usize] += 1;
        }
    }
    println!("{seen:?} of every {stride}th");
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
