//! Headers, written and read.

use super::*;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const OPCODES: [Opcode; 6] =
    [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];

fn lengths() -> impl Iterator<Item = u64> {
    let edges = [0u64, 125, 126, 127, 255, 256, 65_535, 65_536, 1 << 31, 1 << 32, 1 << 53, (1 << 63) - 1];
    edges.into_iter().flat_map(|edge| edge.saturating_sub(3)..=(edge + 3).min((1 << 63) - 1))
}

#[test]
fn what_is_written_is_read_and_is_minimal() {
    for len in lengths() {
        for opcode in OPCODES {
            for fin in [false, true] {
                for mask in [None, Some(KEY)] {
                    let header = Header { fin, opcode, mask, len };
                    let mut bytes = [0; HEADER_BYTES_MAX];
                    let end = encode_header(&mut bytes, &header);
                    let expected = if opcode.is_control() && !fin {
                        Err(WireError::FragmentedControl)
                    } else if opcode.is_control() && len > 125 {
                        Err(WireError::ControlTooLong)
                    } else {
                        Ok(Some((header, end)))
                    };
                    assert_eq!(parse_header(&bytes[..end]), expected);
                    // The shortest form, which is also what the size functions promise.
                    let length = if len < 126 {
                        0
                    } else if len < 65_536 {
                        2
                    } else {
                        8
                    };
                    assert_eq!(end, 2 + length + if mask.is_some() { 4 } else { 0 });
                    if let Ok(payload) = usize::try_from(len) {
                        assert_eq!(header_bytes(payload, mask.is_some()), end);
                        assert_eq!(frame_bytes(payload, mask.is_some()), end + payload);
                        assert_eq!(payload_bytes(frame_bytes(payload, false)), payload);
                    }
                    if expected.is_ok() {
                        for cut in 0..end {
                            assert_eq!(parse_header(&bytes[..cut]), Ok(None), "{header:?} cut at {cut}");
                        }
                    }
                }
            }
        }
    }
}

/// The rules of RFC 6455 §5.2 and §5.5 for the first two bytes, written out once more.
fn model(first: u8, second: u8) -> Result<(), WireError> {
    let opcode = first & 15;
    match (first, second) {
        _ if first & 0x40 != 0 || first & 0x20 != 0 || first & 0x10 != 0 => Err(WireError::ReservedBits),
        _ if !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) => Err(WireError::ReservedOpcode),
        _ if opcode >= 8 && first < 0x80 => Err(WireError::FragmentedControl),
        _ if opcode >= 8 && second % 128 > 125 => Err(WireError::ControlTooLong),
        _ => Ok(()),
    }
}

#[test]
fn all_beginnings() {
    for first in 0..=255 {
        for second in 0..=255u8 {
            // Long enough for every form; its lengths are minimal and below 2^63.
            let mut bytes = vec![first, second, 0x7f];
            bytes.resize(HEADER_BYTES_MAX, 0xff);
            let parsed = parse_header(&bytes);
            match model(first, second) {
                Err(error) => {
                    assert_eq!(parsed, Err(error));
                    // Told at the first byte that shows it.
                    let shown = if error == WireError::ControlTooLong { 2 } else { 1 };
                    assert_eq!(parse_header(&bytes[..shown]), Err(error));
                }
                Ok(()) => {
                    let (header, end) = parsed.unwrap().unwrap();
                    assert_eq!(header.fin, first >= 0x80);
                    assert_eq!(header.opcode as u8, first & 15);
                    assert_eq!(header.mask, (second >= 0x80).then(|| bytes[end - 4..end].try_into().unwrap()));
                    let len = match second & 0x7f {
                        126 => 0x7fff,
                        127 => 0x7fff_ffff_ffff_ffff,
                        short => u64::from(short),
                    };
                    assert_eq!(header.len, len);
                }
            }
        }
    }
}

#[test]
fn lengths_in_a_longer_form_than_needed() {
    for len in 0..=u16::MAX {
        let [high, low] = len.to_be_bytes();
        let expected = if len < 126 { Err(WireError::LengthNotMinimal) } else { Ok(Some(u64::from(len))) };
        let parsed = parse_header(&[0x82, 126, high, low]).map(|found| found.map(|(header, _)| header.len));
        assert_eq!(parsed, expected);
        let long = [0x82, 127, 0, 0, 0, 0, 0, 0, high, low];
        assert_eq!(parse_header(&long), Err(WireError::LengthNotMinimal));
    }
    assert!(parse_header(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap().is_some());
    for top in 0x80..=0xff {
        assert_eq!(parse_header(&[0x82, 127, top, 0, 0, 0, 0, 0, 0, 0]), Err(WireError::LengthOverflow));
    }
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 6455 §5.7.
    let put = |opcode, mask, payload: &[u8]| {
        let mut out = BytesMut::new();
        put_frame(&mut out, opcode, mask, payload);
        assert_eq!(out.len(), frame_bytes(payload.len(), mask.is_some()));
        Vec::from(out)
    };
    assert_eq!(put(Opcode::Text, None, b"Hello"), b"\x81\x05Hello");
    assert_eq!(put(Opcode::Text, Some(KEY), b"Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(put(Opcode::Ping, None, b"Hello"), b"\x89\x05Hello");
    assert_eq!(put(Opcode::Pong, Some(KEY), b"Hello"), b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(&put(Opcode::Binary, None, &[7; 256])[..5], b"\x82\x7e\x01\x00\x07");
    assert_eq!(&put(Opcode::Binary, None, &[7; 65_536])[..11], b"\x82\x7f\0\0\0\0\0\x01\0\0\x07");
}

#[test]
fn frames_follow_what_is_there() {
    let mut out = BytesMut::from(&b"before"[..]);
    put_frame(&mut out, Opcode::Binary, Some(KEY), &[0; 9]);
    assert_eq!(&out[..6], b"before");
    assert_eq!(&out[12..], [&KEY[..], &KEY, &KEY[..1]].concat());
}

#[test]
fn closes() {
    let put = |close| {
        let mut out = BytesMut::new();
        put_close(&mut out, None, close);
        Vec::from(out)
    };
    assert_eq!(put(None), b"\x88\x00");
    assert_eq!(put(Some((CloseCode::NORMAL, "bye"))), b"\x88\x05\x03\xe8bye");
    assert_eq!(put(Some((CloseCode::NO_STATUS, "no"))), b"\x88\x00");
    assert_eq!(put(Some((CloseCode::ABNORMAL, "no"))), b"\x88\x00");
    let long: String = core::iter::repeat_n('€', 100).collect();
    let frame = put(Some((CloseCode::GOING_AWAY, &long)));
    assert_eq!(frame[1], 125);
    assert_eq!(frame[4..], *"€".repeat(41).as_bytes());
}

#[test]
#[should_panic(expected = "over 125 bytes")]
fn control_frames_are_short() {
    put_frame(&mut BytesMut::new(), Opcode::Ping, None, &[0; 126]);
}
