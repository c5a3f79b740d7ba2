//! The decoder against what was encoded, and every violation.

use super::super::frame::{HEADER_BYTES_MAX, Header, encode_header, put_frame};
use super::*;
use alloc::vec;
use alloc::vec::Vec;
use bytes::BytesMut;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MAX: u64 = 1 << 20;

/// xorshift64: reproducible, and random enough for cutting.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
    Failed(WireError),
}

#[path = "credit.rs"]
mod credit;

#[path = "wide.rs"]
mod wide;

/// A connection's receiving side as an embedder would write it: unconsumed bytes are presented again.
struct Receiver {
    decoder: Decoder,
    pending: Vec<u8>,
    open: Option<(MessageKind, Vec<u8>)>,
    events: Vec<Event>,
}

impl Receiver {
    fn new(role: Role) -> Self {
        Self::with(Decoder::new(role, MAX))
    }

    fn with(decoder: Decoder) -> Self {
        Self { decoder, pending: Vec::new(), open: None, events: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut input = core::mem::take(&mut self.pending);
        input.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let present = input[at..].to_vec();
            let decoded = match self.decoder.decode(&mut input[at..]) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.events.push(Event::Failed(error));
                    return;
                }
            };
            let consumed = decoded.consumed;
            at += consumed;
            let Some(item) = decoded.item else {
                assert_eq!(input[at..], present[consumed..], "what is left is untouched");
                break;
            };
            assert!(consumed > 0, "an item without progress");
            match item {
                Item::Data { kind, payload, first, last, is_compressed } => {
                    assert!(!is_compressed, "that was not agreed");
                    assert_eq!(first, self.open.is_none());
                    let (open_kind, message) = self.open.get_or_insert((kind, Vec::new()));
                    assert_eq!(*open_kind, kind);
                    message.extend_from_slice(payload);
                    if last {
                        let (kind, message) = self.open.take().unwrap();
                        self.events.push(Event::Message(kind, message));
                    }
                    assert_eq!(self.decoder.is_between_messages(), self.open.is_none());
                }
                Item::Ping(payload) => self.events.push(Event::Ping(payload.to_vec())),
                Item::Pong(payload) => self.events.push(Event::Pong(payload.to_vec())),
                Item::Close(close) => {
                    let reason = close.map_or("", |(_, reason)| reason).as_bytes().to_vec();
                    self.events.push(Event::Close(close.map(|(code, _)| code.get()), reason));
                }
            }
        }
        self.pending = input.split_off(at);
        assert!(self.pending.len() < HEADER_BYTES_MAX + 125);
    }
}

fn put_fragment(out: &mut Vec<u8>, fin: bool, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    let mut header = [0; HEADER_BYTES_MAX];
    let end = encode_header(&mut header, &Header { fin, opcode, mask, len: payload.len() as u64 });
    out.extend_from_slice(&header[..end]);
    let start = out.len();
    out.extend_from_slice(payload);
    for (at, byte) in out[start..].iter_mut().enumerate() {
        *byte ^= mask.map_or(0, |key| key[at % 4]);
    }
}

fn text(random: &mut Random, chars: usize) -> Vec<u8> {
    let pool = ['a', '\0', '\u{7f}', 'é', '€', '\u{d7ff}', '\u{e000}', '\u{ffff}', '😀', '\u{10ffff}'];
    let string: alloc::string::String = (0..chars).map(|_| pool[random.below(pool.len())]).collect();
    string.into_bytes()
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

/// One random message, fragmented, with control frames between the fragments.
fn put_message(out: &mut Vec<u8>, events: &mut Vec<Event>, random: &mut Random, role: Role) {
    let size = [0, 1, 5, 125, 126, 127, 300, 65_535, 65_536][random.below(9)];
    let size = if size > 1000 && random.below(8) > 0 { 40 } else { size };
    let (kind, mut opcode, payload) = if random.below(2) == 0 {
        (MessageKind::Text, Opcode::Text, text(random, size))
    } else {
        (MessageKind::Binary, Opcode::Binary, bytes(random, size))
    };
    let mut rest = &payload[..];
    for left in (0..1 + random.below(4)).rev() {
        let key = |random: &mut Random| match role {
            Role::Server => Some([random.below(256), random.below(256), 0, 255].map(|n| u8::try_from(n).unwrap())),
            Role::Client => None,
        };
        let cut = if left == 0 { rest.len() } else { random.below(rest.len() + 1) };
        put_fragment(out, left == 0, opcode, key(random), &rest[..cut]);
        rest = &rest[cut..];
        opcode = Opcode::Continuation;
        if random.below(3) == 0 {
            let len = [0, 1, 17, 125][random.below(4)];
            let payload = bytes(random, len);
            let ping = random.below(2) == 0;
            put_fragment(out, true, if ping { Opcode::Ping } else { Opcode::Pong }, key(random), &payload);
            // Control frames behind the last fragment come behind the message, others before it.
            let event = if ping { Event::Ping(payload) } else { Event::Pong(payload) };
            if left == 0 {
                events.push(Event::Message(kind, Vec::new()));
                events.push(event);
                continue;
            }
            events.push(event);
        } else if left == 0 {
            events.push(Event::Message(kind, Vec::new()));
        }
    }
    let message = events.iter_mut().rev().find(|event| matches!(event, Event::Message(..)));
    *message.unwrap() = Event::Message(kind, payload);
}

#[test]
fn is_small() {
    assert!(size_of::<Decoder>() <= 40, "{}", size_of::<Decoder>());
}

#[test]
fn random_messages_in_random_pieces_in_both_roles() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let role = if round % 2 == 0 { Role::Server } else { Role::Client };
        let (mut wire, mut events) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(8) {
            put_message(&mut wire, &mut events, &mut random, role);
        }
        let mut close = BytesMut::new();
        let mask = matches!(role, Role::Server).then_some(KEY);
        super::super::frame::put_close(&mut close, mask, Some((CloseCode::GOING_AWAY, "bye")));
        wire.extend_from_slice(&close);
        events.push(Event::Close(Some(1001), b"bye".to_vec()));
        wire.extend_from_slice(b"whatever comes behind it");

        let piece_max = [1, 2, 7, 64, 1500, usize::MAX][random.below(6)].min(wire.len());
        let mut receiver = Receiver::new(role);
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(1 + random.below(piece_max)));
            receiver.take(piece);
            rest = after;
        }
        assert_eq!(receiver.events, events, "round {round}");
        assert!(receiver.pending.is_empty());
    }
}

#[test]
fn a_whole_frame_is_one_item_and_the_next_stays() {
    let mut wire = BytesMut::new();
    put_frame(&mut wire, Opcode::Binary, Some(KEY), b"one");
    put_frame(&mut wire, Opcode::Binary, Some(KEY), b"two");
    let before = wire[9..].to_vec();
    let mut decoder = Decoder::new(Role::Server, 3);
    let decoded = decoder.decode(&mut wire).unwrap();
    let item = Item::Data { kind: MessageKind::Binary, payload: b"one", first: true, last: true, is_compressed: false };
    assert_eq!(decoded, Decoded { consumed: 9, item: Some(item) });
    assert_eq!(wire[9..], before);
}

#[test]
fn payload_is_lent_as_it_arrives() {
    let mut decoder = Decoder::new(Role::Client, 10);
    let data = |payload, first, last| {
        Some(Item::Data { kind: MessageKind::Binary, payload, first, last, is_compressed: false })
    };
    let mut step = |bytes: &[u8], consumed, item| {
        assert_eq!(decoder.decode(&mut bytes.to_vec()), Ok(Decoded { consumed, item }), "{bytes:02x?}");
    };
    step(b"", 0, None);
    step(b"\x02", 0, None);
    step(b"\x02\x04", 2, None); // a header alone is done with
    step(b"", 0, None);
    step(b"ab", 2, data(b"ab", true, false));
    step(b"cd\x00\x00\x80", 2, data(b"cd", false, false));
    step(b"\x00\x00\x80", 2, data(b"", false, false));
    step(b"\x80", 0, None);
    step(b"\x80\x00", 2, data(b"", false, true));
    assert!(decoder.is_between_messages());
}

/// What comes out, which must be the same for the whole at once and byte by byte.
fn outcome(role: Role, wire: &[u8]) -> Vec<Event> {
    let whole = {
        let mut receiver = Receiver::new(role);
        receiver.take(wire);
        receiver.events
    };
    let mut receiver = Receiver::new(role);
    for byte in wire {
        if receiver.events.last().is_some_and(|event| matches!(event, Event::Failed(_))) {
            break;
        }
        receiver.take(&[*byte]);
    }
    assert_eq!(receiver.events, whole, "byte by byte");
    whole
}

#[test]
fn violations_and_their_codes() {
    use WireError as E;
    let client: &[(&[u8], WireError, u16)] = &[
        (b"\xc1\x00", E::ReservedBits, 1002),
        (b"\xa1\x00", E::ReservedBits, 1002),
        (b"\x91\x00", E::ReservedBits, 1002),
        (b"\xc9\x00", E::ReservedBits, 1002),
        (b"\x83\x00", E::ReservedOpcode, 1002),
        (b"\x87\x00", E::ReservedOpcode, 1002),
        (b"\x8b\x00", E::ReservedOpcode, 1002),
        (b"\x8f\x00", E::ReservedOpcode, 1002),
        (b"\x09\x00", E::FragmentedControl, 1002),
        (b"\x08\x00", E::FragmentedControl, 1002),
        (b"\x89\x7e", E::ControlTooLong, 1002),
        (b"\x88\x7f", E::ControlTooLong, 1002),
        (b"\x82\x80", E::Masked, 1002),
        (b"\x89\x80", E::Masked, 1002),
        (b"\x82\x7e\x00\x7d", E::LengthNotMinimal, 1002),
        (b"\x82\x7f\0\0\0\0\0\0\xff\xff", E::LengthNotMinimal, 1002),
        (b"\x82\x7f\x80\0\0\0\0\0\0\0", E::LengthOverflow, 1002),
        (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", E::LengthOverflow, 1002),
        (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", E::MessageTooBig, 1009),
        (b"\x82\x7f\0\x20\0\0\0\0\0\x01", E::MessageTooBig, 1009),
        (b"\x82\x7f\0\0\0\x01\0\0\0\0", E::MessageTooBig, 1009),
        (b"\x82\x7f\0\0\0\0\0\x10\0\x01", E::MessageTooBig, 1009),
        (b"\x80\x00", E::UnexpectedContinuation, 1002),
        (b"\x00\x00", E::UnexpectedContinuation, 1002),
        (b"\x01\x00\x81\x00", E::InterleavedMessage, 1002),
        (b"\x02\x01a\x02\x00", E::InterleavedMessage, 1002),
        (b"\x02\x01a\x00\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", E::MessageTooBig, 1009),
        (b"\x81\x01\xff", E::InvalidUtf8, 1007),
        (b"\x81\x02\xed\xa0", E::InvalidUtf8, 1007),
        (b"\x81\x01\xc3", E::InvalidUtf8, 1007),
        (b"\x01\x01\xc3\x80\x00", E::InvalidUtf8, 1007),
        (b"\x01\x01\xf4\x00\x7f\0\0\0\0\0\x01\0\0\x90", E::InvalidUtf8, 1007),
        (b"\x88\x01\x03", E::CloseTruncated, 1002),
        (b"\x88\x02\x03\xec", E::CloseCodeInvalid, 1002),
        (b"\x88\x02\x03\xed", E::CloseCodeInvalid, 1002),
        (b"\x88\x02\x13\x88", E::CloseCodeInvalid, 1002),
        (b"\x88\x03\x03\xe8\xff", E::CloseReasonInvalid, 1007),
    ];
    for &(wire, error, code) in client {
        assert_eq!(error.close_code().get(), code, "{error:?}");
        assert!(error.close_code().is_sendable());
        assert!(!error.as_str().is_empty() && error.as_str().len() <= 123);
        let wire = [b"\x82\x02ok".as_slice(), wire].concat();
        // What is valid before it comes first.
        assert_eq!(
            outcome(Role::Client, &wire),
            [Event::Message(MessageKind::Binary, b"ok".to_vec()), Event::Failed(error)],
            "{wire:02x?}"
        );
    }
    for wire in [b"\x81\x00".as_slice(), b"\x82\x05Hello", b"\x89\x00", b"\x88\x00"] {
        assert_eq!(outcome(Role::Server, wire), [Event::Failed(E::Unmasked)]);
    }
}

#[test]
fn nothing_is_decoded_behind_an_end() {
    let mut decoder = Decoder::new(Role::Client, MAX);
    assert_eq!(decoder.decode(&mut [0x83]), Err(WireError::ReservedOpcode));
    assert_eq!(decoder.decode(&mut [0x83, 0, 1]), Ok(Decoded { consumed: 3, item: None }));
    let mut decoder = Decoder::new(Role::Client, MAX);
    let mut wire = [0x88, 0x00, 0x81];
    assert_eq!(decoder.decode(&mut wire), Ok(Decoded { consumed: 2, item: Some(Item::Close(None)) }));
    assert_eq!(decoder.decode(&mut [0x81, 0xff]), Ok(Decoded { consumed: 2, item: None }));
}

#[test]
fn the_limit_is_for_the_sum_of_the_fragments() {
    for (sizes, legal) in [(&[10usize][..], true), (&[11], false), (&[5, 5], true), (&[5, 6], false), (&[10, 0], true)]
    {
        let mut wire = Vec::new();
        for (at, &size) in sizes.iter().enumerate() {
            let opcode = if at == 0 { Opcode::Binary } else { Opcode::Continuation };
            put_fragment(&mut wire, at + 1 == sizes.len(), opcode, Some(KEY), &vec![0; size]);
        }
        // Twice, since the next message starts from nothing.
        let mut receiver = Receiver::with(Decoder::new(Role::Server, 10));
        receiver.take(&wire);
        if legal {
            receiver.take(&wire);
            let message = Event::Message(MessageKind::Binary, vec![0; 10]);
            assert_eq!(receiver.events, [message.clone(), message]);
        } else {
            assert_eq!(receiver.events, [Event::Failed(WireError::MessageTooBig)]);
        }
    }
    // A limit of everything does not overflow.
    let mut receiver = Receiver::with(Decoder::new(Role::Client, u64::MAX));
    receiver.take(b"\x02\x01a\x00\x7f\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(receiver.events, []);
    // The header alone refuses, before the masking key.
    let mut decoder = Decoder::new(Role::Server, 10);
    assert_eq!(decoder.decode(&mut [0x82, 0x8b]), Err(WireError::MessageTooBig));
}

#[test]
fn bad_text_is_told_before_its_frame_is_complete() {
    let mut decoder = Decoder::new(Role::Client, MAX);
    let mut wire = b"\x81\x7e\x01\x00ok\xf4".to_vec();
    assert!(matches!(decoder.decode(&mut wire).unwrap().item, Some(Item::Data { payload: b"ok\xf4", .. })));
    assert_eq!(decoder.decode(&mut [0x90]), Err(WireError::InvalidUtf8));
}

#[test]
fn noise_never_panics_nor_stalls() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let len = random.below(64);
        let mut wire = bytes(&mut random, len);
        // Mostly plausible first bytes, so that it gets past them.
        if let [first, second, ..] = &mut wire[..] {
            *first &= 0x8f;
            *second |= 0x80;
        }
        let mut decoder = Decoder::new(Role::Server, 1 << random.below(63));
        let mut at = 0;
        for _ in 0..=wire.len() {
            match decoder.decode(&mut wire[at..]) {
                Ok(Decoded { consumed, item: Some(_) }) => {
                    assert!(consumed > 0);
                    at += consumed;
                }
                Ok(Decoded { consumed, item: None }) => {
                    at += consumed;
                    break;
                }
                Err(_) => break,
            }
        }
        assert!(at <= wire.len());
    }
}
