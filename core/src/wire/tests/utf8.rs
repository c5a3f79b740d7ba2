//! Against `core::str::from_utf8`, which is the model.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Complete,
    Open,
    Bad,
}

/// What is to be said of a text so far: `Bad` as soon as nothing can follow that makes it valid.
fn model(bytes: &[u8]) -> State {
    match core::str::from_utf8(bytes) {
        Ok(_) => State::Complete,
        Err(error) if error.error_len().is_none() => State::Open,
        Err(_) => State::Bad,
    }
}

fn state(pushed: Result<(), InvalidUtf8>, text: Utf8) -> State {
    match (pushed, text.is_complete()) {
        (Err(InvalidUtf8), _) => State::Bad,
        (Ok(()), true) => State::Complete,
        (Ok(()), false) => State::Open,
    }
}

/// Pushes `bytes` cut at the positions whose bits are set in `cuts`, comparing after each piece.
fn check(bytes: &[u8], cuts: usize) {
    let mut text = Utf8::default();
    let mut start = 0;
    for end in 1..=bytes.len() {
        if end < bytes.len() && cuts >> (end - 1) & 1 == 0 {
            continue;
        }
        let pushed = text.push(&bytes[start..end]);
        let expected = model(&bytes[..end]);
        assert_eq!(state(pushed, text), expected, "{bytes:02x?} to {end}, cuts {cuts:b}");
        if expected == State::Bad {
            return;
        }
        start = end;
    }
}

fn check_all_cuts(bytes: &[u8]) {
    for cuts in 0..1 << (bytes.len() - 1) {
        check(bytes, cuts);
    }
}

#[test]
fn is_small() {
    assert!(size_of::<Utf8>() <= 8);
    assert!(Utf8::default().is_complete());
    assert_eq!(Utf8::default(), Utf8::new());
    let mut text = Utf8::new();
    assert_eq!(text.push(b""), Ok(()));
    assert!(text.is_complete());
}

#[test]
fn all_strings_of_three_bytes_whole_and_byte_by_byte() {
    // ASCII first bytes leave no state behind, so that one stands for all of them.
    for first in (0x80..=0xff).chain([b'a']) {
        let mut one = Utf8::new();
        let one_state = state(one.push(&[first]), one);
        assert_eq!(one_state, model(&[first]));
        for second in 0..=0xff {
            let mut two = one;
            let mut two_state = State::Bad;
            if one_state != State::Bad {
                two_state = state(two.push(&[second]), two);
            }
            assert_eq!(two_state, model(&[first, second]), "{first:02x} {second:02x}");
            for third in 0..=0xff {
                let bytes = [first, second, third];
                let expected = model(&bytes);
                let mut whole = Utf8::new();
                assert_eq!(state(whole.push(&bytes), whole), expected, "{bytes:02x?}");
                if two_state != State::Bad {
                    let mut three = two;
                    assert_eq!(state(three.push(&[third]), three), expected, "{bytes:02x?}");
                }
                if one_state != State::Bad {
                    let mut tail = one;
                    assert_eq!(state(tail.push(&bytes[1..]), tail), expected, "{bytes:02x?}");
                }
            }
        }
    }
}

/// Every byte at which RFC 3629 §4 changes its mind, and its neighbours.
const EDGES: [u8; 27] = [
    0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
    0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff,
];

#[test]
fn four_bytes_of_the_edges_at_all_cuts() {
    for a in EDGES {
        for b in EDGES {
            for c in EDGES {
                for d in EDGES {
                    check_all_cuts(&[a, b, c, d]);
                }
            }
        }
    }
}

#[test]
fn every_code_point_at_all_cuts() {
    for char in '\0'..=char::MAX {
        let mut buffer = [b'x'; 6];
        let len = char.encode_utf8(&mut buffer[1..]).len();
        check_all_cuts(&buffer[1..=len]);
        if u32::from(char) % 251 == 0 {
            check_all_cuts(&buffer[..len + 2]);
        }
    }
}

#[test]
fn the_cases_of_the_autobahn_suite() {
    // 6.4: fails at the bad byte, not at the end of the text. 6.20 and 6.21: surrogates and others beyond the range.
    for (good, bad) in [
        (&b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4"[..], 0x90),
        (b"\xed", 0xa0),
        (b"", 0xc0),
        (b"", 0xc1),
        (b"", 0x80),
        (b"", 0xfe),
        (b"\xe0", 0x9f),
        (b"\xf0", 0x8f),
        (b"", 0xf5),
        (b"\xce\xba\xe1\xbd", 0x41),
    ] {
        let mut text = Utf8::new();
        assert_eq!(text.push(good), Ok(()), "{good:02x?}");
        assert_eq!(text.push(&[bad]), Err(InvalidUtf8), "{good:02x?} {bad:02x}");
    }
}

/// What is taken in words and blocks, or vectors: a byte of each class near both ends of texts of all lengths about a block, and
/// about where the vectors take over.
#[test]
fn long_texts_with_something_at_every_place() {
    let mut ascii = [b'a'; 8 + 640];
    for start in [0, 1, 4] {
        for len in (0..74).chain([125, 128, 511, 512, 513, 640]) {
            for at in (0..len).filter(|at| *at < 20 || len - at < 20) {
                // Ends in the middle of a code point, or of what is none.
                for special in [b"\x00", b"\x7f", b"\x80", b"\xff", b"\xc3", b"\xe2", b"\xf0"] {
                    ascii[start + at] = special[0];
                    let text = &ascii[start..start + len];
                    let mut utf8 = Utf8::new();
                    assert_eq!(
                        state(utf8.push(text), utf8),
                        model(text),
                        "{special:02x?} at {at} of {len} from {start}"
                    );
                    assert_eq!(is_ascii(text), text.is_ascii(), "{special:02x?} at {at} of {len} from {start}");
                }
                ascii[start + at] = b'a';
            }
        }
    }
}

#[test]
fn long_texts_cut_in_every_code_point() {
    let text: alloc::string::String = "a\u{e9}\u{20ac}\u{1f600}".repeat(120);
    for cut in 0..=text.len() {
        let (head, tail) = text.as_bytes().split_at(cut);
        let mut utf8 = Utf8::new();
        assert_eq!(state(utf8.push(head), utf8), model(head));
        assert_eq!(utf8.push(tail), Ok(()));
        assert!(utf8.is_complete());
        let mut bad = head.to_vec();
        bad.push(0xff);
        assert_eq!(Utf8::new().push(&bad), Err(InvalidUtf8));
    }
}
