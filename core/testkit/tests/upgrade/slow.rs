//! Slow and silent peers: deadlines are absolute.

use forebay_core::{EndReason, Mode, Peer};

use super::house::{GOOD, House, MS, S, raw, text, with};

#[test]
fn whoever_takes_longer_than_the_deadline_is_told_408() {
    let head = with("X: y\r\n".repeat(50).trim_end());
    let lines: Vec<&str> = head.split_inclusive("\r\n").collect();
    // Nothing at all, a byte a second, a field a second.
    let mut house = House::new(|_| {});
    let (silent, bytes, fields) = (house.accept(raw()), house.accept(raw()), house.accept(raw()));
    for (byte, line) in head.bytes().zip(lines).take(5) {
        house.read(bytes, [byte]);
        house.read(fields, line);
        house.advance(S - MS);
        assert!(house.written.is_empty());
        house.advance(MS);
    }
    for conn in [silent, bytes, fields] {
        assert_eq!((house.refused(conn), house.ended(conn)), (408, Some(EndReason::HandshakeTimeout)));
    }
    assert_eq!((house.hub.connections(), house.hub.stats().resident_bytes), (0, 0));
    assert_eq!(house.hub.poll_timeout(), None);
}

#[test]
fn a_head_byte_by_byte_within_the_deadline_is_accepted() {
    let mut house = House::new(|_| {});
    let conn = house.accept(raw());
    let step = (5 * S - MS) / u32::try_from(GOOD.len()).expect("short");
    for byte in GOOD.bytes() {
        house.advance(step);
        house.read(conn, [byte]);
    }
    assert_eq!(house.answer(conn).expect("an answer").status, 101);
    assert!(house.is_open(conn));
    house.advance(10 * S);
    assert_eq!(house.ended(conn), None, "the deadline was the handshake's");
}

#[test]
fn a_refusal_that_is_not_taken_is_cut() {
    let mut house = House::new(|_| {});
    let conn = house.accept(raw());
    house.hub.handle_bytes(conn, b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", house.now);
    let begun = house.hub.poll_transmit().map(|transmit| transmit.len()).expect("an answer");
    assert!(begun > 10);
    house.hub.handle_sent(conn, 10, house.now);
    house.advance(5 * S - MS);
    assert!(house.closed.is_empty());
    house.advance(MS);
    assert_eq!(house.closed, [conn]);
    assert!(matches!(house.ended(conn), Some(EndReason::Refused(_))));
}

#[test]
fn a_message_has_thirty_seconds_however_it_drips() {
    let mut house = House::new(|_| {});
    let conn = house.accept(raw());
    house.read(conn, GOOD);
    let message = text(&"x".repeat(100));
    house.read(conn, &message[..7]);
    for second in 0..29 {
        house.advance(S);
        house.read(conn, &message[7 + second..8 + second]);
    }
    house.advance(S - MS);
    assert_eq!(house.ended(conn), None);
    house.advance(MS);
    assert_eq!(house.ended(conn), Some(EndReason::MessageTimeout));
}

#[test]
fn a_client_waits_no_longer_than_that_either() {
    let mut house = House::new(|_| {});
    let request = forebay_core::ClientRequest { host: "h", target: "/", ..Default::default() };
    let (silent, drip) =
        (house.hub.connect(request, house.now).unwrap(), house.hub.connect(request, house.now).unwrap());
    house.drain();
    for byte in b"HTTP/" {
        house.advance(S - MS);
        house.read(drip, [*byte]);
    }
    assert_eq!((house.ended(silent), house.ended(drip)), (None, None));
    house.advance(5 * MS);
    for conn in [silent, drip] {
        assert_eq!(house.ended(conn), Some(EndReason::HandshakeTimeout));
    }
    assert_eq!(house.closed.len(), 2);
}

#[test]
fn a_time_that_jumps_ends_all_who_wait_and_nobody_else() {
    let mut house = House::new(|_| {});
    let waiting = house.accept(Peer { mode: Mode::Dialect, ..Peer::default() });
    house.advance(3_600 * S);
    assert_eq!(house.refused(waiting), 408);
    let late = house.accept(raw());
    house.read(late, GOOD);
    assert!(house.is_open(late));
}
