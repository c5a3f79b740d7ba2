//! The work credit over the hub: floods end with 1008, everybody else lives.

use forebay_testkit::mini::Item;

use super::*;

/// Ends with 1008 at once, though it sends nothing that is wrong.
fn is_a_flood(begin: &[u8], flood: &[u8]) {
    for read in [64 << 10, 1_000] {
        let mut stage = Stage::new(|_| {});
        let conn = joined(&mut stage);
        stage.seat_of(conn).read = read;
        attack(&mut stage, conn, &[begin, flood].concat());
        while stage.hub.receive(conn, stage.now).is_some() {}
        stage.pump();
        assert_eq!(stage.client(conn).close, Some(Some(1008)));
        assert_eq!(stage.client(conn).close_reason, "too many frames that bring nothing");
        assert_eq!((stage.ended(conn), stage.hub.connections()), (FLOOD, 0));
        assert_eq!(stage.hub.pressure().resident_bytes, 0, "nothing is left of it");
    }
}

#[test]
fn floods_that_are_read_end_with_1008() {
    is_a_flood(b"", &frames(200_000, true, PING, b""));
    is_a_flood(b"", &frames(200_000, true, PING, &[b'x'; 125]));
    is_a_flood(b"", &frames(300_000, true, PONG, b""));
    for opcode in [TEXT, BINARY] {
        is_a_flood(&frames(1, false, opcode, b"x"), &frames(400_000, false, CONTINUATION, b"x"));
        is_a_flood(&frames(1, false, opcode, b""), &frames(400_000, false, CONTINUATION, b""));
    }
    let message = [frames(1, false, TEXT, b""), frames(1, true, CONTINUATION, b"")].concat();
    is_a_flood(b"", &message.repeat(20_000));
}

#[test]
fn pings_that_nobody_reads_the_answers_of_end_too() {
    let mut stage = Stage::new(|_| {});
    let conn = joined(&mut stage);
    stage.freeze(conn);
    attack(&mut stage, conn, &frames(200_000, true, PING, b"payload"));
    assert_eq!((stage.client(conn).pongs.len(), stage.client(conn).close), (0, None));
    assert!(stage.hub.pressure().resident_bytes <= 200 << 10, "{:?}", stage.hub.pressure());
    stage.advance(5 * S);
    assert_eq!((stage.ended(conn), stage.hub.pressure().resident_bytes), (FLOOD, 0), "close_timeout");
}

#[test]
fn many_pings_in_one_write_live_and_the_newest_is_answered() {
    for count in [61, 16_384] {
        for is_blocked in [false, true] {
            let mut stage = Stage::new(|_| {});
            let conn = joined(&mut stage);
            if is_blocked {
                stage.hub.send(conn, forebay_core::Payload::Text("on its way"), stage.now).unwrap();
                stage.freeze(conn);
                stage.pump();
            }
            for number in 0..count {
                stage.client(conn).ping(&u32::to_be_bytes(number));
            }
            stage.pump();
            stage.hub.check_invariants();
            if is_blocked {
                assert!(stage.hub.connection(conn).unwrap().reply_bytes < 125, "only the newest is kept");
                stage.thaw(conn);
                stage.pump();
            }
            let pongs: Vec<Vec<u8>> = stage.client(conn).pongs.iter().cloned().collect();
            assert_eq!(pongs.last(), Some(&u32::to_be_bytes(count - 1).to_vec()));
            assert_eq!(pongs.len(), if is_blocked { 1 } else { count as usize });
            assert_eq!((stage.ended(conn), stage.client(conn).is_open()), (None, true));
            if count == 16_384 {
                attack(&mut stage, conn, &frames(1, true, PING, b""));
                assert_eq!(stage.ended(conn), FLOOD, "one more");
            }
        }
    }
}

#[test]
fn a_lifetime_of_keep_alives_does_not_add_up() {
    // As many as there is credit: losing one of it with each ping would show.
    const PINGS: u32 = forebay_core::wire::decoder::WORK_CREDIT + 1;
    let mut stage = Stage::new(|_| {});
    let conn = joined(&mut stage);
    let ping = frames(1, true, PING, b"");
    for sent in 0..PINGS {
        stage.now = stage.now + S * 20;
        let hub = &mut stage.hub;
        hub.handle_bytes(conn, &ping, stage.now);
        let transmit = hub.poll_transmit().expect("a pong");
        assert_eq!(transmit.slices().next(), Some([0x8a, 0].as_slice()), "after {sent}");
        hub.handle_sent(conn, 2, stage.now);
    }
    assert_eq!((stage.hub.connections(), stage.ended(conn)), (1, None));
    // Neither do pongs, if the hub asks: at the end all of it is there.
    stage.now = stage.now + S * 20;
    attack(&mut stage, conn, &frames(16_384, true, PONG, b""));
    assert_eq!(stage.ended(conn), None);
    attack(&mut stage, conn, &ping);
    assert_eq!(stage.ended(conn), FLOOD);
}

#[test]
fn nor_do_the_answers_to_our_pings() {
    let mut stage = Stage::new(|options| options.ping_interval = Duration::from_millis(1));
    let conn = joined(&mut stage);
    attack(&mut stage, conn, &frames(16_384, true, PONG, b""));
    let (ping, pong) = ([0x89, 0].as_slice(), frames(1, true, PONG, b""));
    for _ in 0..20_000 {
        stage.now = stage.now + Duration::from_millis(10);
        stage.hub.handle_timeout(stage.now);
        let transmit = stage.hub.poll_transmit().expect("a ping");
        assert_eq!(transmit.slices().next(), Some(ping));
        stage.hub.handle_sent(conn, 2, stage.now);
        stage.hub.handle_bytes(conn, &pong, stage.now + Duration::from_micros(1));
    }
    stage.pump();
    assert_eq!(stage.ended(conn), None);
}

#[test]
fn time_gives_credit_back_however_it_is_cut() {
    // A frame costs 2^23 ns: as fast as that for ever, with messages between at odd times that bring next to nothing.
    let mut stage = Stage::new(|_| {});
    let conn = joined(&mut stage);
    attack(&mut stage, conn, &frames(16_384, true, PONG, b""));
    let start = stage.now;
    let (pong, empty) = (frames(1, true, PONG, b""), frames(1, true, BINARY, b""));
    for turn in 1..=17_000_u64 {
        for part in 1..=31 {
            let at = start + Duration::from_nanos(((turn - 1) << 23) + part * 262_000);
            stage.hub.handle_bytes(conn, &empty, at);
            while stage.hub.receive(conn, stage.now).is_some() {}
        }
        stage.now = start + Duration::from_nanos(turn << 23);
        stage.hub.handle_bytes(conn, &pong, stage.now);
    }
    stage.pump();
    assert_eq!(stage.ended(conn), None);
    // A tick early is too early, now that nothing is left.
    let at = stage.now + Duration::from_nanos((1 << 23) - (1 << 18));
    stage.hub.handle_bytes(conn, &pong, at);
    stage.now = at;
    stage.pump();
    assert_eq!(stage.ended(conn), FLOOD);
}

#[test]
fn time_in_which_it_is_not_read_counts_too() {
    let mut stage = Stage::new(|options| {
        (options.message_bytes_max, options.inbound_bytes_max) = (10, 10);
        options.ping_interval = S * 3_000;
    });
    let conn = joined(&mut stage);
    attack(&mut stage, conn, &frames(16_384, true, PONG, b""));
    // A message that waits, and pongs behind it that are kept raw until it is taken.
    attack(&mut stage, conn, &[frames(1, true, BINARY, &[0; 10]), frames(10_000, true, PONG, b"")].concat());
    assert!(!stage.hub.wants_read(conn));
    stage.advance(S * 200);
    assert!(stage.hub.receive(conn, stage.now).is_some());
    stage.pump();
    assert_eq!((stage.ended(conn), stage.hub.wants_read(conn)), (None, true));
}

#[test]
fn four_mebibytes_in_fragments_of_64_bytes_are_legal() {
    let mut stage = Stage::new(|options| (options.message_bytes_max, options.inbound_bytes_max) = (4 << 20, 5 << 20));
    let conn = joined(&mut stage);
    stage.client(conn).manners.fragment = Some(64);
    let message = vec![b'x'; 4 << 20];
    stage.client(conn).binary(&message);
    stage.pump();
    stage.hub.check_invariants();
    assert_eq!(stage.hub.receive(conn, stage.now).map(|message| message.bytes.len()), Some(4 << 20));
    assert_eq!(stage.ended(conn), None);
}

#[test]
fn small_whole_messages_cost_nothing_at_any_rate() {
    let mut stage = Stage::new(|_| {});
    let conn = joined(&mut stage);
    let empty = frames(1_000, true, TEXT, b"");
    for _ in 0..100 {
        stage.hub.handle_bytes(conn, &empty, stage.now);
        for _ in 0..1_000 {
            assert!(stage.hub.receive(conn, stage.now).is_some());
        }
    }
    stage.pump();
    assert_eq!((stage.ended(conn), stage.client(conn).items.len()), (None, 0));
    attack(&mut stage, conn, &frames(16_384, true, PING, b""));
    assert_eq!(stage.ended(conn), None, "all the credit is there");
}

#[test]
fn a_client_has_the_same_limits() {
    let (mut stage, mut at) = (Stage::new(|_| {}), Vec::new());
    for flood in [
        encode(true, PING, b"", None).repeat(200_000),
        encode(true, PONG, b"", None).repeat(300_000),
        [encode(false, TEXT, b"", None), encode(false, CONTINUATION, b"x", None).repeat(400_000)].concat(),
    ] {
        let conn = open_client(&mut stage);
        for read in flood.chunks(64 << 10) {
            stage.hub.handle_bytes(conn, read, stage.now);
            while let Some(transmit) = stage.hub.poll_transmit() {
                let len = transmit.len();
                at = transmit.slices().flatten().copied().collect();
                stage.hub.handle_sent(conn, len, stage.now);
            }
        }
        let mut ends = std::iter::from_fn(|| stage.hub.poll_event());
        assert!(ends.any(|event| {
            event == forebay_core::Event::Closed { conn, reason: EndReason::Protocol(WireError::Flood) }
        }));
        let mut decoder = forebay_testkit::mini::Decoder::of_client();
        let items = decoder.feed(&at).unwrap();
        assert_eq!(items.last(), Some(&Item::Close(Some((1008, "too many frames that bring nothing".into())))));
    }
}
