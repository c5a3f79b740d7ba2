//! Each violation over a hub: the right code at the first byte that shows it, counted by its name, nothing else touched.

use super::*;

/// What a client sends, without masks (a mask of zeros is put in), and what it breaks with its last byte.
const BY_CLIENTS: &[(&[u8], WireError)] = &[
    (b"\xc1", WireError::ReservedBits),
    (b"\xa1", WireError::ReservedBits),
    (b"\x91", WireError::ReservedBits),
    (b"\xf1", WireError::ReservedBits),
    (b"\x83", WireError::ReservedOpcode),
    (b"\x87", WireError::ReservedOpcode),
    (b"\x8b", WireError::ReservedOpcode),
    (b"\x8f", WireError::ReservedOpcode),
    (b"\x08", WireError::FragmentedControl),
    (b"\x09", WireError::FragmentedControl),
    (b"\x0a", WireError::FragmentedControl),
    (b"\x88\xfe", WireError::ControlTooLong),
    (b"\x89\xfe", WireError::ControlTooLong),
    (b"\x8a\xff", WireError::ControlTooLong),
    (b"\x81\x05", WireError::Unmasked),
    (b"\x89\x00", WireError::Unmasked),
    // 16 and 64 bits for what needs less; of the latter the first six are enough to see it.
    (b"\x82\xfe\x00\x05", WireError::LengthNotMinimal),
    (b"\x82\xfe\x00\x7d", WireError::LengthNotMinimal),
    (b"\x82\xff\x00\x00\x00\x00\x00\x00", WireError::LengthNotMinimal),
    // 2^63 and 2^64 - 1.
    (b"\x82\xff\x80", WireError::LengthOverflow),
    (b"\x82\xff\xff", WireError::LengthOverflow),
    // 2^63 - 1, 2^53 + 1, 2^32, 2^31, and one more than may be.
    (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", WireError::MessageTooBig),
    (b"\x82\xff\x00\x20\x00\x00\x00\x00\x00\x01", WireError::MessageTooBig),
    (b"\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00", WireError::MessageTooBig),
    (b"\x82\xff\x00\x00\x00\x00\x80\x00\x00\x00", WireError::MessageTooBig),
    (b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01", WireError::MessageTooBig),
    // Fragments whose sum overflows 63 bits, or is one too many.
    (b"\x02\x81\0\0\0\0a\x00\xff\x7f\xff\xff\xff\xff\xff\xff\xff", WireError::MessageTooBig),
    (b"\x02\x81\0\0\0\0a\x00\xff\x00\x00\x00\x00\x00\x10\x00\x00", WireError::MessageTooBig),
    (b"\x80", WireError::UnexpectedContinuation),
    (b"\x00", WireError::UnexpectedContinuation),
    (b"\x01\x80\0\0\0\0\x81", WireError::InterleavedMessage),
    (b"\x02\x81\0\0\0\0a\x02", WireError::InterleavedMessage),
    // Overlong, a surrogate, above U+10FFFF, cut by the end: at the byte, though more was announced.
    (b"\x81\xfe\x01\x00\0\0\0\0ok\xc0", WireError::InvalidUtf8),
    (b"\x81\xfe\x01\x00\0\0\0\0\xe0\x80", WireError::InvalidUtf8),
    (b"\x81\xfe\x01\x00\0\0\0\0\xed\xa0", WireError::InvalidUtf8),
    (b"\x81\xfe\x01\x00\0\0\0\0\xf4\x90", WireError::InvalidUtf8),
    (b"\x81\x81\0\0\0\0\xc3", WireError::InvalidUtf8),
    (b"\x01\x81\0\0\0\0\xc3\x80\x80\0\0\0\0", WireError::InvalidUtf8),
    (b"\x88\x81", WireError::CloseTruncated),
    (b"\x88\x85\0\0\0\0\x00\x00", WireError::CloseCodeInvalid),
    (b"\x88\x85\0\0\0\0\x03\xe7", WireError::CloseCodeInvalid),
    (b"\x88\x85\0\0\0\0\x03\xed", WireError::CloseCodeInvalid),
    (b"\x88\x85\0\0\0\0\x03\xf7", WireError::CloseCodeInvalid),
    (b"\x88\x85\0\0\0\0\x13\x88", WireError::CloseCodeInvalid),
    (b"\x88\x85\0\0\0\0\x03\xe8\xff", WireError::CloseReasonInvalid),
];

/// What a server sends that it may not.
const BY_SERVERS: &[(&[u8], WireError)] = &[
    (b"\x81\x85", WireError::Masked),
    (b"\x8a\x80", WireError::Masked),
    (b"\xc1", WireError::ReservedBits),
    (b"\x89\x7e", WireError::ControlTooLong),
    (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", WireError::MessageTooBig),
    (b"\x81\x7e\x01\x00\xff", WireError::InvalidUtf8),
    (b"\x88\x02\x03\xed", WireError::CloseCodeInvalid),
];

/// The code of the Close frame that a connection sends now, if it does.
fn close_code(stage: &mut Stage, conn: ConnId) -> Option<u16> {
    let mut bytes = Vec::new();
    while let Some(transmit) = stage.hub.poll_transmit() {
        assert_eq!(transmit.conn(), conn);
        bytes.extend(transmit.slices().flatten());
        let len = transmit.len();
        stage.hub.handle_sent(conn, len, stage.now);
    }
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    assert_eq!(head[0], 0x88, "nothing but a Close frame");
    let payload = if head[1] & 0x80 == 0 { rest.to_vec() } else { unmasked(rest) };
    Some(u16::from_be_bytes(*payload.first_chunk().expect("a code")))
}

fn unmasked(rest: &[u8]) -> Vec<u8> {
    let (key, payload) = rest.split_first_chunk::<4>().expect("a key");
    payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
}

fn is_closed_at_its_last_byte(join: impl Fn(&mut Stage) -> ConnId, bytes: &[u8], error: WireError) {
    let (last, before) = bytes.split_last().expect("not empty");
    for at_once in [true, false] {
        let mut stage = Stage::new(|_| {});
        let conn = join(&mut stage);
        assert_eq!(close_code(&mut stage, conn), None);
        if at_once {
            stage.hub.handle_bytes(conn, before, stage.now);
        } else {
            before.iter().for_each(|byte| stage.hub.handle_bytes(conn, &[*byte], stage.now));
        }
        assert_eq!(close_code(&mut stage, conn), None, "{error:?} too early in {bytes:02x?}");
        assert_eq!(stage.hub.stats().violations, [0; WireError::ALL.len()]);
        stage.hub.handle_bytes(conn, &[*last], stage.now);
        assert_eq!(close_code(&mut stage, conn), Some(error.close_code().get()), "{error:?} in {bytes:02x?}");
        // What comes behind it means nothing, and is not counted.
        stage.hub.handle_bytes(conn, b"\xff\xff\x83\x00", stage.now);
        let stats = stage.hub.stats();
        assert_eq!((stats.violations[error as usize], stats.violations.iter().sum::<u64>()), (1, 1), "{error:?}");
        stage.hub.check_invariants();
    }
}

#[test]
fn of_clients() {
    for (bytes, error) in BY_CLIENTS {
        is_closed_at_its_last_byte(joined, bytes, *error);
    }
    is_closed_at_its_last_byte(joined, &frames(16_385, true, PONG, b"")[..16_384 * 6 + 2], WireError::Flood);
}

#[test]
fn of_servers() {
    for (bytes, error) in BY_SERVERS {
        is_closed_at_its_last_byte(open_client, bytes, *error);
    }
}

#[test]
fn all_that_the_wire_knows_are_in_the_tables_and_have_their_code() {
    let tables = BY_CLIENTS.iter().chain(BY_SERVERS).map(|(_, error)| *error);
    // `of_clients` adds the flood; compression has tests of its own.
    let others = [WireError::Flood, WireError::CorruptDeflate];
    let tested: Vec<WireError> = tables.chain(others).collect();
    for error in WireError::ALL {
        assert!(tested.contains(&error), "{error:?}");
        let code = match error {
            WireError::MessageTooBig => 1009,
            WireError::Flood => 1008,
            WireError::InvalidUtf8 | WireError::CorruptDeflate | WireError::CloseReasonInvalid => 1007,
            _ => 1002,
        };
        assert_eq!(error.close_code().get(), code, "{error:?}");
        assert!(error.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
    }
}

#[test]
fn what_was_whole_before_it_is_delivered_and_answered() {
    let mut stage = Stage::new(|_| {});
    let conn = joined(&mut stage);
    let good =
        [frames(1, true, TEXT, b"first"), frames(1, true, PING, b"p"), frames(1, true, TEXT, b"second")].concat();
    attack(&mut stage, conn, &[&good[..], b"\x83"].concat());
    let texts: Vec<String> = std::iter::from_fn(|| stage.hub.receive(conn, stage.now))
        .map(|message| String::from_utf8(message.bytes.to_vec()).unwrap())
        .collect();
    assert_eq!(texts, ["first", "second"]);
    stage.pump();
    assert_eq!((stage.client(conn).pongs.len(), stage.client(conn).close), (1, Some(Some(1002))));
    let protocol = EndReason::Protocol(WireError::ReservedOpcode);
    assert_eq!(stage.ended(conn), Some(protocol));
    let stats = stage.hub.stats();
    assert_eq!((stats.ended[protocol.place()], stats.closed), (1, 1));
}

#[test]
fn a_closing_peer_that_floods_and_never_ends_is_cut_in_time() {
    for ours in [true, false] {
        let mut stage = Stage::new(|_| {});
        let conn = joined(&mut stage);
        stage.freeze(conn);
        if ours {
            stage.hub.close(conn, forebay_core::wire::CloseCode::NORMAL, "", stage.now);
            stage.pump();
        } else {
            attack(&mut stage, conn, &frames(1, true, 8, &1_000_u16.to_be_bytes()));
        }
        for _ in 0..49 {
            attack(&mut stage, conn, &frames(1_000, true, PING, b"still here"));
            attack(&mut stage, conn, &frames(100, true, TEXT, b"and there"));
            stage.advance(Duration::from_millis(100));
        }
        assert_eq!((stage.hub.connections(), stage.hub.receive(conn, stage.now)), (1, None));
        assert!(stage.hub.pressure().resident_bytes < 1_000, "{:?}", stage.hub.pressure());
        stage.advance(Duration::from_millis(100));
        assert_eq!(stage.hub.connections(), 0, "close_timeout is 5 s");
    }
}
