//! Every way to cut a stream gives the same: all cuttings of short streams, every cut and every two cuts of longer ones.

use bytes::BytesMut;
use forebay_core::wire::{Opcode, Role, WireError, frame};

use crate::receiver::{Event, Receiver};

/// A stream of a server, and what must come of it.
struct Case {
    stream: Vec<u8>,
    events: Vec<Event>,
}

fn case(parts: &[&[u8]], events: &[Event]) -> Case {
    Case { stream: parts.concat(), events: events.to_vec() }
}

fn text(text: &str) -> Event {
    Event::Text(text.into())
}

fn failed(error: WireError) -> Event {
    Event::Failed(error)
}

fn close(code: u16, reason: &str) -> Event {
    Event::Close(Some((code, reason.into())))
}

/// At most 20 bytes each.
fn short() -> Vec<Case> {
    let ping = || Event::Ping(b"p".into());
    vec![
        case(&[b"\x81\x05Hello", b"\x89\x01p", b"\x88\x05\x03\xE8bye"], &[text("Hello"), ping(), close(1000, "bye")]),
        case(&[b"\x01\x02\xE2\x82", b"\x89\x01p", b"\x00\x00", b"\x80\x02\xACx"], &[ping(), text("€x")]),
        case(&[b"\x01\x01\xF0\x00\x01\x9F\x00\x01\x98\x80\x01\x80", b"\x82\x00"], &[text("😀"), Event::Binary(vec![])]),
        case(
            &[b"\x02\x01a", b"\x8A\x00", b"\x80\x01b", b"\x80\x00"],
            &[Event::Pong(vec![]), Event::Binary(b"ab".into()), failed(WireError::UnexpectedContinuation)],
        ),
        case(&[b"\x81\x01a", b"\x81\x04\xF4\x90\x80\x80", b"\x89\x01p"], &[text("a"), failed(WireError::InvalidUtf8)]),
        case(&[b"\x01\x01\xC3", b"\x80\x00", b"\x81\x01a"], &[failed(WireError::InvalidUtf8)]),
        case(&[b"\x89\x01p", b"\x82\x7F\0\0\0\0\0\0\xFF\xFF", b"xyz"], &[ping(), failed(WireError::LengthNotMinimal)]),
        case(&[b"\x89\x01p", b"\x82\x7F\x80\0\0\0\0\0\0\0"], &[ping(), failed(WireError::LengthOverflow)]),
        case(
            &[b"\x82\x01a", b"\x82\x7E\x03\xE9", b"xyz"],
            &[Event::Binary(b"a".into()), failed(WireError::MessageTooBig)],
        ),
        case(&[b"\x82\x7E\x00\x7D", b"xyz"], &[failed(WireError::LengthNotMinimal)]),
        case(&[b"\x80\x80", b"\x7E\x00\x7D"], &[failed(WireError::UnexpectedContinuation)]),
        case(&[b"\x01\x00\x81\xFE", b"\x00\x7D"], &[failed(WireError::InterleavedMessage)]),
        case(&[b"\x89\xFE\x00\x7E"], &[failed(WireError::Masked)]),
        case(&[b"\x88\x0A\x0B\xB8\xC3\xA9\xF0\x9F\x98\x80xy", b"\xFF"], &[close(3000, "é😀xy")]),
        case(&[b"\x88\x0A\x0B\xB8abc\xED\xA0\x80xy", b"\xFF"], &[failed(WireError::CloseReasonInvalid)]),
        case(&[b"\x88\x05\x0B\xB8abc", b"\x89\x01p"], &[close(3000, "abc")]),
        case(&[b"\x88\x0C\x03\xEDbye", b"\x89\x01p"], &[failed(WireError::CloseCodeInvalid)]),
        case(&[b"\x88\x00", b"\x89\x01p"], &[Event::Close(None)]),
        case(&[b"\x8A\x01p", b"\x88\x01\x03"], &[Event::Pong(b"p".into()), failed(WireError::CloseTruncated)]),
        case(&[b"\x81\x02ok", b"\xB1\x00"], &[text("ok"), failed(WireError::ReservedBits)]),
    ]
}

/// At most 64 bytes each.
fn long() -> Vec<Case> {
    let greek = "κ\u{1F79}σμε";
    let mut bad = greek.as_bytes().to_vec();
    bad.extend(b"\xED\xA0\x80edited");
    let ping = Event::Ping(vec![7; 20]);
    vec![
        case(
            &[
                b"\x01\x03\xCE\xBA\xE1",
                b"\x89\x14",
                &[7; 20],
                b"\x00\x06\xBD\xB9\xCF\x83\xCE\xBC",
                b"\x00\x00",
                b"\x80\x02\xCE\xB5",
                b"\x82\x03\xFF\xFE\x00",
                b"\x8A\x00",
                b"\x88\x07\x0F\xA0 end ",
            ],
            &[
                ping.clone(),
                text(greek),
                Event::Binary(b"\xFF\xFE\0".into()),
                Event::Pong(vec![]),
                close(4000, " end "),
            ],
        ),
        case(&[b"\x89\x14", &[7; 20], b"\x81\x14", &bad], &[ping, failed(WireError::InvalidUtf8)]),
        case(
            &[b"\x02\x7E\x00\x7E", &[9; 54]],
            &[], // Not all of it has come.
        ),
        case(
            &[b"\x02\x1E", &[9; 30], b"\x80\x7F\x00\x00\x00\x00\x00\x01\x00\x00", b"rest"],
            &[failed(WireError::MessageTooBig)],
        ),
    ]
}

/// The stream of a client with the same frames, if these are well-formed enough to be masked.
fn masked(stream: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut rest, mut key) = (BytesMut::new(), stream, [0x37, 0xFA, 0x21, 0x3D]);
    while let [first, len @ 0..=125, behind @ ..] = rest {
        let payload = behind.get(..usize::from(*len))?;
        let opcode = match first % 16 {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            _ => Opcode::Pong,
        };
        let at = bytes.len();
        frame::put_frame(&mut bytes, opcode, Some(key), payload);
        bytes[at] = *first;
        key.rotate_left(1);
        rest = &behind[payload.len()..];
    }
    rest.is_empty().then(|| bytes.to_vec())
}

fn events(role: Role, pieces: &[&[u8]]) -> Vec<Event> {
    let mut receiver = Receiver::new(role, 1_000);
    for piece in pieces {
        receiver.take(piece);
    }
    receiver.events
}

/// Both streams of a case, with the role that reads them.
fn streams(case: &Case) -> Vec<(Role, Vec<u8>)> {
    let masked = masked(&case.stream).map(|stream| (Role::Server, stream));
    [Some((Role::Client, case.stream.clone())), masked].into_iter().flatten().collect()
}

/// What comes of it is said above: in one piece, byte by byte.
#[test]
fn every_stream_means_what_it_should() {
    let mut both = 0;
    for case in short().iter().chain(&long()) {
        for (role, stream) in streams(case) {
            assert_eq!(events(role, &[&stream]), case.events, "{role:?} {stream:02x?}");
            assert_eq!(events(role, &stream.chunks(1).collect::<Vec<_>>()), case.events, "{role:?} {stream:02x?}");
            both += usize::from(role == Role::Server);
        }
    }
    assert!(both >= 10, "{both} streams in both roles");
}

#[test]
fn short_streams_in_every_cutting() {
    let mut tried = 0;
    for case in short() {
        let (stream, len) = (&case.stream, case.stream.len());
        assert!(len <= 20);
        for cuts in 0..1_u32 << (len - 1) {
            let mut receiver = Receiver::new(Role::Client, 1_000);
            let mut from = 0;
            for to in 1..=len {
                if to == len || cuts >> (to - 1) & 1 == 1 {
                    receiver.take(&stream[from..to]);
                    from = to;
                }
            }
            assert_eq!(receiver.events, case.events, "{stream:02x?} cut at the bits of {cuts:b}");
            tried += 1;
        }
    }
    assert!(tried > 100_000, "{tried}");
}

#[test]
fn longer_streams_in_two_and_in_three_pieces() {
    for case in long() {
        assert!(case.stream.len() <= 64, "{}", case.stream.len());
    }
    let mut tried = 0;
    for case in short().iter().chain(&long()) {
        for (role, stream) in streams(case) {
            for second in 0..=stream.len() {
                for first in 0..=second {
                    let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                    assert_eq!(events(role, &pieces), case.events, "{role:?} {stream:02x?} cut at {first}, {second}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 15_000, "{tried}");
}
