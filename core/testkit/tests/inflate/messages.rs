//! What hubs make of compressed messages.

use forebay_core::wire::WireError;
use forebay_core::wire::deflate::{Direction, Inflater, WindowBits};
use forebay_core::{Count, EndReason, Event, Options};
use forebay_testkit::alloc::measure;
use forebay_testkit::mini::inflate::{Compressor, Way};

use crate::house::{ALONE, House, NOW, RSV1, TAKES_OVER, compressed, fragments, frame, hub, payload, upgraded};

fn plain(_: &mut Options) {}

const TEXT: &str = "a text, ein Text, en tekst, текст: a text in which much comes again, and again, and ägäin";

#[test]
fn whole_cut_and_empty_messages_are_received() {
    let mut house = House::new(plain, ALONE);
    let text = TEXT.repeat(20);
    let mut stream = compressed(true, text.as_bytes());
    stream.extend(compressed(false, &[0xff; 3_000]));
    stream.extend(fragments(true, &payload(text.as_bytes()), 7));
    stream.extend(frame(true, 1, b"plain"));
    stream.extend(frame(true, 2 | RSV1, &[0]));
    stream.extend(frame(true, 1 | RSV1, b""));
    let halves = payload(b"two halves");
    stream.extend(frame(false, 2 | RSV1, &halves[..4]));
    stream.extend(frame(true, 9, b"between"));
    stream.extend(frame(false, 0, b""));
    stream.extend(frame(true, 0, &halves[4..]));
    let expected = [
        (true, text.clone().into_bytes()),
        (false, vec![0xff; 3_000]),
        (true, text.clone().into_bytes()),
        (true, b"plain".to_vec()),
        (false, Vec::new()),
        (true, Vec::new()),
        (false, b"two halves".to_vec()),
    ];
    house.feed(&stream);
    assert_eq!(house.received, expected);
    assert_eq!(house.out, [&[0x8a, 7][..], b"between"].concat(), "a pong, and nothing else");
    let stats = *house.hub.stats();
    let bytes: usize = expected.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!((stats.received, stats.inflated), (Count::new(7, bytes as u64), Count::new(6, bytes as u64 - 5)));
    assert!(stats.inflated_from > 0 && stats.inflated_from < 600, "{}", stats.inflated_from);
    assert_eq!(house.hub.agreed(house.conn), Some(ALONE));
    // The same, byte by byte: an inflater is its own only while a message goes on, and is charged for that long.
    let mut house = House::new(plain, ALONE);
    let mut most = 0;
    for byte in &stream {
        house.feed(&[*byte]);
        most = most.max(house.hub.stats().resident_bytes);
    }
    assert_eq!(house.received, expected);
    assert!((Inflater::RESIDENT_BYTES..Inflater::RESIDENT_BYTES + 8_000).contains(&most), "{most} bytes");
    assert_eq!(house.hub.stats().resident_bytes, 0);
}

#[test]
fn what_was_not_agreed_is_a_violation_and_so_are_other_bits() {
    let mut house = House::asking(plain, None);
    assert_eq!(house.answer(), None);
    house.feed(&[0xc1]);
    assert_eq!(house.ended, Some(EndReason::Protocol(WireError::ReservedBits)));
    for (first, before) in [
        (0xa1_u8, &b""[..]),
        (0x91, b""),
        (0xe1, b""),
        (0xd2, b""),
        (0xc8, b""),
        (0xc9, b""),
        (0xca, b""),
        (0xc0, &frame(false, 1 | RSV1, b"\x00")),
        (0xc0, &frame(false, 1, b"x")),
    ] {
        let mut house = House::new(plain, ALONE);
        house.feed(before);
        assert_eq!(house.ended, None);
        house.feed(&[first]);
        assert_eq!(house.ended, Some(EndReason::Protocol(WireError::ReservedBits)), "{first:02x}");
        assert_eq!(house.close_code(), Some(1002));
    }
}

#[test]
fn contexts_are_taken_over_while_that_was_agreed() {
    for bits in 9..=15 {
        let agreed = TAKES_OVER;
        let direction = Direction::new(WindowBits::new(bits).unwrap(), true);
        let agreed = forebay_core::wire::deflate::Agreed { client: direction, ..agreed };
        let room = |options: &mut Options| options.deflate.as_mut().unwrap().context_bytes_max = 1 << 20;
        let mut house = House::new(room, agreed);
        let mut deflater = forebay_core::wire::deflate::Deflater::new(WindowBits::new(bits).unwrap(), 6, 8);
        let mut expected = Vec::new();
        for round in 0..30_usize {
            let text = TEXT.repeat(1 + round % 7 * 3);
            let mut out = bytes::BytesMut::new();
            deflater.compress([text.as_bytes()], &mut out);
            house.feed(&fragments(true, &out, 1 + round % 3));
            expected.push((true, text.into_bytes()));
            // Plain ones, and those that fail nothing, are no part of the context.
            house.feed(&frame(true, 2, b"plain"));
            expected.push((false, b"plain".to_vec()));
        }
        assert_eq!(house.received, expected);
        assert_eq!(house.hub.stats().resident_bytes, 1 << bits, "the context, and nothing else");
        house.hub.handle_eof(house.conn, NOW);
        house.settle();
        assert_eq!(house.hub.stats().resident_bytes, 0);
    }
    // Where it was not agreed, a reference to the message before is one to nothing.
    let way = Way { window_bits: 15, takes_over: true };
    let mut compressor = Compressor::new(way);
    let mut house = House::new(plain, ALONE);
    for _ in 0..2 {
        house.feed(&frame(true, 1 | RSV1, &compressor.compress(TEXT.as_bytes()).unwrap()));
    }
    assert_eq!(house.ended, Some(EndReason::Protocol(WireError::CorruptDeflate)));
    assert_eq!((house.close_code(), house.received.len()), (Some(1007), 1));
}

#[test]
fn the_limit_is_of_what_is_inflated_and_holds_to_the_byte() {
    let small = |options: &mut Options| options.message_bytes_max = 10_000;
    for count in [1, 2, 50] {
        for (len, is_taken) in [(9_999, true), (10_000, true), (10_001, false), (1 << 20, false)] {
            let mut house = House::new(small, ALONE);
            house.feed(&fragments(false, &payload(&vec![7; len]), count));
            if is_taken {
                assert_eq!(house.received, [(false, vec![7; len])], "{len} in {count}");
            } else {
                assert_eq!(house.ended, Some(EndReason::Protocol(WireError::MessageTooBig)), "{len} in {count}");
                assert_eq!((house.close_code(), house.received.len()), (Some(1009), 0));
            }
        }
    }
    // What cannot be compressed is a bit longer than it was, and is taken.
    let noise: Vec<u8> = (0..10_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let mut house = House::new(small, ALONE);
    house.feed(&compressed(false, &noise));
    assert_eq!(house.received, [(false, noise)]);
    // What announces more than that is refused at its header.
    let mut house = House::new(small, ALONE);
    let mut header = frame(true, 2 | RSV1, &vec![0; 20_000]);
    header.truncate(4);
    house.feed(&header);
    assert_eq!(house.ended, Some(EndReason::Protocol(WireError::MessageTooBig)));
}

#[test]
fn bombs_end_with_1009_and_take_no_more_memory_than_a_message() {
    let bomb = crate::bomb();
    for count in [1, 500] {
        for read in [usize::MAX, 4_096] {
            let mut house = House::new(plain, ALONE);
            house.feed(&compressed(true, b"warm"));
            let stream = fragments(false, &bomb, count);
            let (mut most, mut fed) = (0, 0);
            for piece in stream.chunks(read.min(stream.len())) {
                let ((), counted) = measure(|| house.hub.handle_bytes(house.conn, piece, NOW));
                fed += piece.len();
                most += counted.live_bytes;
                let (limit, resident) = (3 << 20, house.hub.stats().resident_bytes);
                assert!(most < limit && resident < 3 << 20, "{most} bytes, {resident} charged, after {fed}");
                house.settle();
                if house.ended.is_some() {
                    break;
                }
            }
            assert_eq!(house.ended, Some(EndReason::Protocol(WireError::MessageTooBig)));
            assert_eq!((house.close_code(), house.received.len()), (Some(1009), 1));
            assert!(house.hub.stats().inflated.bytes <= (1 << 20) + 4, "stopped at the limit");
            assert_eq!(house.hub.stats().resident_bytes, 0);
        }
    }
}

#[test]
fn bad_text_and_corrupt_streams_fail_with_the_byte_that_shows_them() {
    let good = TEXT.repeat(9).into_bytes();
    let bad = [&good[..], b"\xed\xa0\x80", &good[..]].concat();
    let truncated = &good[..good.len() - 1 - good.iter().rev().position(|byte| *byte == b't').unwrap() + 1];
    assert!(truncated.is_ascii() || std::str::from_utf8(truncated).is_ok());
    // Stored: what was inflated is known after each byte.
    let len = u16::try_from(bad.len()).unwrap();
    let mut stored = vec![0x00];
    stored.extend(len.to_le_bytes());
    stored.extend((!len).to_le_bytes());
    stored.extend(&bad);
    stored.push(0x00);
    let stream = frame(true, 1 | RSV1, &stored);
    let header = stream.len() - stored.len();
    let mut house = House::new(plain, ALONE);
    let failed_at = stream.iter().position(|byte| {
        house.feed(&[*byte]);
        house.ended.is_some()
    });
    assert_eq!(failed_at, Some(header + 5 + good.len() + 1), "with the second byte of a surrogate");
    assert_eq!(house.ended, Some(EndReason::Protocol(WireError::InvalidUtf8)));
    assert_eq!(house.close_code(), Some(1007));
    // Compressed, in one: valid messages before it are received.
    let mut house = House::new(plain, ALONE);
    house.feed(&[compressed(true, &good), compressed(true, &bad), compressed(true, &good)].concat());
    assert_eq!((house.received.len(), house.close_code()), (1, Some(1007)));
    // A text that ends within a code point.
    let mut house = House::new(plain, ALONE);
    house.feed(&compressed(true, "ä".as_bytes().split_last().unwrap().1));
    assert_eq!(house.ended, Some(EndReason::Protocol(WireError::InvalidUtf8)));
    // Binary may be anything.
    let mut house = House::new(plain, ALONE);
    house.feed(&compressed(false, &bad));
    assert_eq!(house.received, [(false, bad)]);
    for corrupt in [&[0x06][..], &[0x00, 0x05, 0x00, 0xfb, 0xff], &[0x02, 0x04, 0x00], &payload(&good)[..9]] {
        let mut house = House::new(plain, ALONE);
        house.feed(&[frame(true, 1, b"before"), frame(true, 1 | RSV1, corrupt), frame(true, 1, b"behind")].concat());
        assert_eq!(house.ended, Some(EndReason::Protocol(WireError::CorruptDeflate)), "{corrupt:02x?}");
        assert_eq!((house.close_code(), house.received.len()), (Some(1007), 1));
    }
}

/// Whoever begins many messages and ends none has the budget against it, and nobody else.
#[test]
fn inflaters_of_messages_that_go_on_are_charged() {
    let tight = |options: &mut Options| {
        options.resident_bytes_max = 4 << 20;
        options.topic_defaults.log_bytes_max = 1 << 20;
        options.inbound_bytes_max = 1 << 20;
    };
    let mut hub = hub(tight);
    let begun = frame(false, 2 | RSV1, &payload(&[1; 2_000])[..8]);
    let conns: Vec<_> = (0..200).map(|_| upgraded(&mut hub, ALONE)).collect();
    for conn in &conns {
        hub.handle_bytes(*conn, &begun, NOW);
        hub.check_invariants();
        assert!(hub.stats().resident_bytes <= 4 << 20, "the budget");
    }
    // Their Close frames.
    while let Some(transmit) = hub.poll_transmit() {
        let (conn, len) = (transmit.conn(), transmit.len());
        hub.handle_sent(conn, len, NOW);
    }
    let is_overloaded = |event: &Event| matches!(event, Event::Closed { reason: EndReason::Overloaded, .. });
    let left = 200 - std::iter::from_fn(|| hub.poll_event()).filter(is_overloaded).count();
    assert!((80..=88).contains(&left), "{left} inflaters of 47,600 bytes");
    // The others go on, and memory comes back.
    let end = frame(true, 0, &payload(&[1; 2_000])[8..]);
    conns.iter().for_each(|conn| hub.handle_bytes(*conn, &end, NOW));
    hub.check_invariants();
    let received: u64 = hub.stats().inflated.messages;
    assert_eq!(received, left as u64);
    conns.iter().for_each(|conn| while hub.receive(*conn, NOW).is_some() {});
    hub.check_invariants();
}

#[test]
fn rates_are_of_what_is_inflated() {
    let rate = forebay_core::Rate { per_second: 1_000, burst: 1_000 };
    let mut house = House::new(|options| options.inbound_bytes_rate = Some(rate), ALONE);
    house.hub.handle_bytes(house.conn, &[compressed(false, &[0; 2_000]), compressed(false, b"x")].concat(), NOW);
    assert!(!house.hub.wants_read(house.conn), "2,000 bytes are more than there are units");
    assert_eq!(house.hub.stats().received.messages, 1);
}

/// A stream of several messages, cut in two anywhere.
#[test]
fn cuts_change_nothing() {
    let way = Way { window_bits: 15, takes_over: true };
    let mut compressor = Compressor::new(way);
    let mut stream = frame(true, 1 | RSV1, &compressor.compress(b"abcabcabcabc").unwrap());
    stream.extend(fragments(false, &compressor.compress(b"abcabcxyzabc").unwrap(), 3));
    stream.extend(frame(true, 1, b"plain"));
    stream.extend(frame(true, 1 | RSV1, &compressor.compress("xyzä".as_bytes()).unwrap()));
    let room = |options: &mut Options| options.deflate.as_mut().unwrap().context_bytes_max = 1 << 15;
    let expected = [
        (true, b"abcabcabcabc".to_vec()),
        (false, b"abcabcxyzabc".to_vec()),
        (true, b"plain".to_vec()),
        (true, "xyzä".as_bytes().to_vec()),
    ];
    for first in 0..=stream.len() {
        for second in [first, stream.len().min(first + 3)] {
            let mut house = House::new(room, TAKES_OVER);
            house.feed(&stream[..first]);
            house.feed(&stream[first..second]);
            house.feed(&stream[second..]);
            assert_eq!(house.received, expected, "cut at {first} and {second}");
        }
    }
}

/// Each call of the inflater is paid for: with what it brings, or with the connection's work credit.
#[test]
fn empty_compressed_messages_are_a_flood_and_useful_ones_are_none() {
    for (message, most) in [(&b""[..], 32_768), (b"\x00", 34_952)] {
        let mut house = House::new(plain, ALONE);
        let one = frame(true, 1 | RSV1, message);
        for _ in 0..50 {
            house.feed(&one.repeat(1_000));
            house.received.truncate(0);
        }
        assert_eq!(house.ended, Some(EndReason::Protocol(WireError::Flood)));
        assert_eq!((house.close_code(), house.hub.stats().received.messages), (Some(1008), most));
    }
    let mut house = House::new(plain, ALONE);
    for _ in 0..50 {
        house.feed(&compressed(true, b"aaaaaaaaaaaaaaaaaaaa").repeat(1_000));
        house.received.truncate(0);
    }
    assert_eq!((house.ended, house.hub.stats().received.messages), (None, 50_000));
}
