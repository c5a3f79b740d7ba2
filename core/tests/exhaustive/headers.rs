//! All 65,536 first two bytes of a frame, at every point of a stream, in both roles, beside a table of RFC 6455 §5.2.

use forebay_core::wire::{Decoded, Decoder, Item, MessageKind, Role, WireError, frame};

/// Where in a stream the frame comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Between,
    MidText,
    /// Text whose last code point is cut.
    MidChar,
    MidBinary,
    /// A compressed text message, which is no text until it is inflated.
    MidCompressed,
    /// A binary message that is already as long as it may be.
    Full,
    AfterClose,
    AfterViolation,
}

const POINTS: [Point; 8] = [
    Point::Between,
    Point::MidText,
    Point::MidChar,
    Point::MidBinary,
    Point::MidCompressed,
    Point::Full,
    Point::AfterClose,
    Point::AfterViolation,
];

const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// What must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// One of these: what the earliest byte shows that shows anything.
    Fails(Vec<WireError>),
    /// The header, or a control frame, is not complete: it stays where it is.
    Waits,
    /// A data frame's header is done with, its payload is to come.
    Begins,
    /// A piece of a message without a byte in it: first, last, compressed.
    Piece(MessageKind, bool, bool, bool),
    Ping,
    Pong,
    Close,
    /// All of it is ignored.
    Ignored,
}

/// §5.2: which opcodes there are.
const OPCODES: [Option<&str>; 16] = [
    Some("continuation"),
    Some("text"),
    Some("binary"),
    None,
    None,
    None,
    None,
    None,
    Some("close"),
    Some("ping"),
    Some("pong"),
    None,
    None,
    None,
    None,
    None,
];

fn if_any(faults: &[(bool, WireError)]) -> Option<Outcome> {
    let faults: Vec<_> = faults.iter().filter(|(is_there, _)| *is_there).map(|(_, error)| *error).collect();
    (!faults.is_empty()).then_some(Outcome::Fails(faults))
}

/// What the first byte alone shows (§5.2, §5.4, §5.5; for `deflate`, which was agreed, RFC 7692 §6).
fn of_first(point: Point, deflate: bool, first: u8) -> Option<Outcome> {
    let (fin, opcode) = (first >= 0x80, OPCODES[usize::from(first % 16)]);
    let is_control = matches!(opcode, Some("close" | "ping" | "pong"));
    if_any(&[
        (first & 0x30 != 0, WireError::ReservedBits),
        (first & 0x40 != 0 && !(deflate && matches!(opcode, Some("text" | "binary"))), WireError::ReservedBits),
        (opcode.is_none(), WireError::ReservedOpcode),
        (is_control && !fin, WireError::FragmentedControl),
        (opcode == Some("continuation") && point == Point::Between, WireError::UnexpectedContinuation),
        (matches!(opcode, Some("text" | "binary")) && point != Point::Between, WireError::InterleavedMessage),
    ])
}

/// What two bytes show, and, for `has_key`, a masking key behind them.
fn expected(point: Point, role: Role, deflate: bool, [first, second]: [u8; 2], has_key: bool) -> Outcome {
    if matches!(point, Point::AfterClose | Point::AfterViolation) {
        return Outcome::Ignored;
    }
    if let Some(fails) = of_first(point, deflate, first) {
        return fails;
    }
    let (fin, opcode) = (first >= 0x80, OPCODES[usize::from(first % 16)].expect("else it fails"));
    let (masked, len) = (second >= 0x80, second % 128);
    let is_data = matches!(opcode, "continuation" | "text" | "binary");
    let fails = if_any(&[
        (role == Role::Server && !masked, WireError::Unmasked),
        (role == Role::Client && masked, WireError::Masked),
        (!is_data && len > 125, WireError::ControlTooLong),
        (opcode == "close" && len == 1, WireError::CloseTruncated),
        (is_data && (1..=125).contains(&len) && point == Point::Full, WireError::MessageTooBig),
    ]);
    if let Some(fails) = fails {
        return fails;
    }
    if len > 125 || (masked && !has_key) || (!is_data && len > 0) {
        return Outcome::Waits;
    }
    match opcode {
        "close" => Outcome::Close,
        "ping" => Outcome::Ping,
        "pong" => Outcome::Pong,
        _ if len > 0 => Outcome::Begins,
        "text" => Outcome::Piece(MessageKind::Text, true, fin, first & 0x40 != 0),
        "binary" => Outcome::Piece(MessageKind::Binary, true, fin, first & 0x40 != 0),
        _ => match point {
            Point::MidChar if fin => Outcome::Fails(vec![WireError::InvalidUtf8]),
            Point::MidText | Point::MidChar => Outcome::Piece(MessageKind::Text, false, fin, false),
            Point::MidCompressed => Outcome::Piece(MessageKind::Text, false, fin, true),
            _ => Outcome::Piece(MessageKind::Binary, false, fin, false),
        },
    }
}

/// A decoder at that point of a stream.
fn decoder(point: Point, role: Role, deflate: bool) -> Decoder {
    let limit = if point == Point::Full { 1 } else { MESSAGE_BYTES_MAX };
    let mut decoder = Decoder::new(role, limit);
    if deflate {
        decoder = decoder.with_deflate();
    }
    let before: &[u8] = match point {
        Point::Between => b"",
        Point::MidText => b"\x01\x01a",
        Point::MidChar => b"\x01\x02\xE2\x82",
        Point::MidBinary | Point::Full => b"\x02\x01a",
        Point::MidCompressed => b"\x41\x01\xFF",
        Point::AfterClose => b"\x88\x00",
        Point::AfterViolation => b"\xFF",
    };
    let mut bytes = before.to_vec();
    if role == Role::Server && bytes.len() > 1 {
        bytes[1] |= 0x80;
        bytes.splice(2..2, [0; 4]);
    }
    let decoded = decoder.decode(&mut bytes);
    assert_eq!(decoded.is_err(), point == Point::AfterViolation);
    decoder
}

/// What comes of bytes, and whether so many were consumed as that takes.
fn outcome(decoder: &mut Decoder, bytes: &[u8], header_bytes: usize) -> Outcome {
    let mut input = bytes.to_vec();
    let Decoded { consumed, item } = match decoder.decode(&mut input) {
        Ok(decoded) => decoded,
        Err(error) => return Outcome::Fails(vec![error]),
    };
    let outcome = match item {
        None if consumed == 0 => Outcome::Waits,
        None if decoder.is_between_messages() || consumed != header_bytes => Outcome::Ignored,
        None => Outcome::Begins,
        Some(Item::Data { kind, payload: b"", first, last, is_compressed }) => {
            Outcome::Piece(kind, first, last, is_compressed)
        }
        Some(Item::Ping(b"")) => Outcome::Ping,
        Some(Item::Pong(b"")) => Outcome::Pong,
        Some(Item::Close(None)) => Outcome::Close,
        Some(other) => panic!("{bytes:02x?}: {other:?}"),
    };
    let expected = if outcome == Outcome::Waits { 0 } else { bytes.len() };
    assert_eq!(consumed, expected, "{bytes:02x?}: {outcome:?}");
    outcome
}

fn is_as_expected(outcome: &Outcome, expected: &Outcome) -> bool {
    match (outcome, expected) {
        (Outcome::Fails(errors), Outcome::Fails(several)) => several.contains(&errors[0]),
        _ => outcome == expected,
    }
}

#[test]
fn all_first_two_bytes_at_every_point_in_both_roles() {
    for role in [Role::Server, Role::Client] {
        for (point, deflate) in POINTS.iter().flat_map(|point| [(*point, false), (*point, true)]) {
            if point != Point::MidCompressed || deflate {
                all_first_two_bytes(point, role, deflate);
            }
        }
    }
}

fn all_first_two_bytes(point: Point, role: Role, deflate: bool) {
    let before = decoder(point, role, deflate);
    let (mut failed, mut decoded) = (0, 0);
    for bits in 0..=u16::MAX {
        let [first, second] = bits.to_be_bytes();
        let about = format_args!("{point:?}, {role:?}, {deflate}, {first:#04x} {second:#04x}");
        let mut at_one = before.clone();
        let one = outcome(&mut at_one, &[first], 2);
        if let Some(fails) = of_first(point, deflate, first).filter(|_| one != Outcome::Ignored) {
            assert!(is_as_expected(&one, &fails), "{about}: {one:?} at the first byte, not {fails:?}");
        } else {
            assert!(matches!(one, Outcome::Waits | Outcome::Ignored), "{about}: {one:?} at the first byte");
        }
        let is_over = matches!(one, Outcome::Fails(_) | Outcome::Ignored);
        for has_key in [false, true] {
            // Else what follows is more of the length.
            if has_key && !(0x80..=0xFD).contains(&second) {
                continue;
            }
            let key: &[u8] = if has_key { &[1, 2, 3, 4] } else { &[] };
            let bytes = [&[first, second], key].concat();
            let expected = expected(point, role, deflate, [first, second], has_key);
            let whole = outcome(&mut before.clone(), &bytes, bytes.len());
            assert!(is_as_expected(&whole, &expected), "{about}: {whole:?}, not {expected:?}");
            if !is_over {
                let mut again = at_one.clone();
                assert_eq!(outcome(&mut again, &bytes, bytes.len()), whole, "{about}: byte by byte");
            }
            failed += u32::from(matches!(whole, Outcome::Fails(_)));
            decoded += 1;
        }
    }
    // Of 65,536, and once more of those that are masked and short.
    assert_eq!(decoded, 65_536 + 256 * 126);
    let is_over = matches!(point, Point::AfterClose | Point::AfterViolation);
    assert!(if is_over { failed == 0 } else { failed > decoded / 2 && failed < decoded }, "{failed} of {decoded}");
}

/// A header alone is judged without a role and a place in a stream.
#[test]
fn all_first_two_bytes_as_a_header_alone() {
    let mut read = 0;
    for bits in 0..=u16::MAX {
        let [first, second] = bits.to_be_bytes();
        let (masked, len) = (second >= 0x80, second % 128);
        let of_byte_one = match of_first(Point::Between, false, first) {
            Some(Outcome::Fails(faults)) if faults != [WireError::UnexpectedContinuation] => faults,
            _ => Vec::new(),
        };
        let bytes = [first, second, 0, 0, 0, 0];
        for end in [2, 5, 6] {
            match frame::parse_header(&bytes[..end]) {
                Err(WireError::ControlTooLong) if of_byte_one.is_empty() => {
                    assert!(first % 16 >= 8 && len > 125, "{bits:04x}");
                }
                Err(WireError::LengthNotMinimal) if of_byte_one.is_empty() => {
                    assert!(len == 126 && end >= 4, "{bits:04x}");
                }
                Err(error) => assert!(of_byte_one.contains(&error), "{bits:04x}: {error:?}"),
                Ok(None) => {
                    assert!(of_byte_one.is_empty(), "{bits:04x}");
                    assert!(len > 125 || (masked && end < 6), "{bits:04x}");
                }
                Ok(Some((header, used))) => {
                    assert!(of_byte_one.is_empty() && len <= 125, "{bits:04x}");
                    assert_eq!((header.fin, header.opcode as u8), (first >= 0x80, first % 16), "{bits:04x}");
                    assert_eq!((header.len, header.mask), (u64::from(len), masked.then_some([0; 4])), "{bits:04x}");
                    assert_eq!(used, if masked { 6 } else { 2 }, "{bits:04x}");
                    read += 1;
                }
            }
        }
    }
    // Nine first bytes are legal, with 126 short lengths each: unmasked with 2, 5 and 6 bytes, masked with 6.
    assert_eq!(read, 9 * 126 * 4);
}
