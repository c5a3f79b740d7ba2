//! What is no opening request gets one answer, and nothing behind it is looked at.

use forebay_core::wire::HandshakeError as E;
use forebay_core::{AcceptError, EndReason, Mode, Options, Peer};

use super::house::{GOOD, House, gated, raw, replaced, with};

/// Whole, and byte by byte; whoever is to be asked is never asked.
fn judged(head: &[u8]) -> (u16, EndReason) {
    let mut verdicts = Vec::new();
    for (peer, size) in [(raw(), usize::MAX), (raw(), 1), (gated(Mode::Dialect), usize::MAX)] {
        let mut house = House::new(|_| {});
        let conn = house.accept(peer);
        for piece in head.chunks(size.min(head.len())) {
            if house.closed.is_empty() {
                house.read(conn, piece);
            }
        }
        verdicts.push((house.refused(conn), house.ended(conn).expect("ended")));
        if let Some((_, EndReason::Refused(error))) = verdicts.last() {
            assert_eq!(house.hub.stats().refused_requests[*error as usize], 1, "counted");
        }
        assert_eq!(house.hub.stats().refused_requests.iter().sum::<u64>(), 1, "once");
        assert_eq!((house.hub.stats().opened, house.hub.stats().resident_bytes), (0, 0));
    }
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "however it is cut: {verdicts:?}");
    verdicts[0]
}

#[test]
fn requests_that_are_refused() {
    let long = |count: usize| "a".repeat(count);
    let rows: Vec<(String, u16, E)> = vec![
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n".into(), 426, E::UpgradeRequired),
        (replaced("Version: 13", "Version: 12"), 426, E::WebSocketVersion),
        (replaced("GET", "POST"), 405, E::MethodNotAllowed),
        (replaced("GET", "CONNECT"), 405, E::MethodNotAllowed),
        (replaced("HTTP/1.1", "HTTP/1.0"), 505, E::VersionNotSupported),
        ("PRI * HTTP/2.0\r\n\r\n".into(), 505, E::VersionNotSupported),
        // Too much of it.
        (replaced("/chat", &format!("/{}", long(8_192))), 414, E::TargetTooLong),
        (replaced("/chat", &format!("/{}", long(64 << 10))), 431, E::HeadTooLarge),
        (with(&format!("X: {}", long(256 << 10))), 431, E::HeadTooLarge),
        (with(&format!("{}: x", long(60_000))), 431, E::HeadTooLarge),
        (with("X: y\r\n".repeat(3_000).trim_end()), 431, E::HeadTooLarge),
        (with("X:\r\n".repeat(3_000).trim_end()), 431, E::TooManyFields),
        (with("X: y\r\n".repeat(96).trim_end()), 431, E::TooManyFields),
        // A body, however it is announced.
        (with("Content-Length: 5"), 400, E::BodyNotAllowed),
        (with("Content-Length: +5"), 400, E::BodyNotAllowed),
        (with("Content-Length: 5\r\nContent-Length: 6"), 400, E::BodyNotAllowed),
        (with("Content-Length: 184467440737095516160"), 400, E::BodyNotAllowed),
        (with("Transfer-Encoding: chunked"), 400, E::BodyNotAllowed),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 5"), 400, E::BodyNotAllowed),
        (with("Transfer-Encoding: identity, chunked"), 400, E::BodyNotAllowed),
        // What two parsers could read in two ways.
        (with("X: a\r\n b"), 400, E::Malformed),
        (with("X: a\r\n\tb"), 400, E::Malformed),
        (with("X : a"), 400, E::Malformed),
        (with("X\0: a"), 400, E::StrayControl),
        (with("X: a\0"), 400, E::StrayControl),
        (with("X: a\rb"), 400, E::StrayControl),
        (with("X: a\nY: b"), 400, E::StrayControl),
        (GOOD.replace("\r\n", "\n"), 400, E::StrayControl),
        (format!(" {GOOD}"), 400, E::Malformed),
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n".into(), 400, E::Malformed),
        // Whose it is.
        (replaced("Host: h.example:8080\r\n", ""), 400, E::HostInvalid),
        (with("Host: h.example:8080"), 400, E::HostInvalid),
        (with("Host: other"), 400, E::HostInvalid),
        (replaced("h.example:8080", "h.example:port"), 400, E::HostInvalid),
        (replaced("h.example:8080", "a,b c"), 400, E::HostInvalid),
        (replaced("h.example:8080", "u@h"), 400, E::HostInvalid),
        (replaced("/chat", "http://169.254.169.254/latest"), 400, E::TargetInvalid),
        (replaced("/chat", "http:///chat"), 400, E::TargetInvalid),
        (replaced("/chat", "gopher://h.example:8080/"), 400, E::TargetInvalid),
        (replaced("GET /chat?room=1", "GET h.example:8080"), 400, E::TargetInvalid),
        (replaced("/chat", "/a#b"), 400, E::TargetInvalid),
        // Lists.
        (with(&format!("Sec-WebSocket-Protocol: b{}x", " ".repeat(12_000))), 400, E::ProtocolInvalid),
        (with("Sec-WebSocket-Protocol: a b"), 400, E::ProtocolInvalid),
        (replaced("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400, E::KeyInvalid),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, E::KeyInvalid),
    ];
    for (head, status, error) in rows {
        assert_eq!(
            judged(head.as_bytes()),
            (status, EndReason::Refused(error)),
            "{:.120}",
            head.replace("X: y\r\n", "")
        );
    }
}

#[test]
fn odd_requests_that_are_taken() {
    for head in [
        // Absolute form, of the host that is named (RFC 9112 §3.2.2). Nothing is fetched.
        replaced("/chat?room=1", "http://h.example:8080/chat"),
        replaced("/chat?room=1", "ws://H.EXAMPLE:8080"),
        // Names that are something elsewhere.
        with("constructor: x\r\n__proto__: y\r\ntoString: z"),
        with("Sec-WebSocket-Extensions: constructor"),
        with("Sec-WebSocket-Extensions: __proto__; hasOwnProperty=1, toString"),
        // Half a quoted string, for ever.
        with(&format!("Sec-WebSocket-Extensions: a; b=\"{}", "\\c".repeat(6_000))),
        with(&format!("Sec-WebSocket-Extensions: a;{}b", " ".repeat(12_000))),
        with(&format!("Sec-WebSocket-Protocol: a{},b", " ".repeat(12_000))),
        with(&format!("Sec-WebSocket-Protocol: a{}", ",".repeat(12_000))),
        with(&format!("Cookie: {}", "a=b; ".repeat(2_000))),
        format!("\r\n{GOOD}"),
    ] {
        for size in [usize::MAX, 7] {
            let mut house = House::new(|_| {});
            let conn = house.accept(raw());
            head.as_bytes().chunks(size.min(head.len())).for_each(|piece| house.read(conn, piece));
            let answer = house.answer(conn).expect("an answer");
            assert_eq!(answer.status, 101, "{head:.100}");
            assert_eq!(answer.all("sec-websocket-extensions").count(), 0);
            assert!(house.is_open(conn));
        }
    }
}

#[test]
fn heads_up_to_the_limits_and_not_beyond() {
    let status = |head: &str, change: fn(&mut Options)| {
        let mut house = House::new(change);
        let conn = house.accept(raw());
        house.read(conn, head);
        house.answer(conn).expect("an answer").status
    };
    // 16 KiB, the empty line included; and any other limit.
    let filled = |total: usize| with(&format!("X: {}", "x".repeat(total - with("X: ").len())));
    assert_eq!((filled(16 << 10).len(), status(&filled(16 << 10), |_| {})), (16 << 10, 101));
    assert_eq!(status(&filled((16 << 10) + 1), |_| {}), 431);
    assert_eq!(status(&filled(512), |options| options.head_bytes_max = 512), 101);
    assert_eq!(status(&filled(513), |options| options.head_bytes_max = 512), 431);
    // 100 fields, five of which are the handshake's.
    let fields = |count: usize| with("X: y\r\n".repeat(count - 5).trim_end());
    assert_eq!((status(&fields(100), |_| {}), status(&fields(101), |_| {})), (101, 431));
    // A target of 8 KiB.
    let target = |count: usize| replaced("/chat?room=1", &format!("/{}", "t".repeat(count - 1)));
    assert_eq!((status(&target(8_192), |_| {}), status(&target(8_193), |_| {})), (101, 414));
}

#[test]
fn endless_heads_are_refused_at_the_limit_and_never_kept() {
    let mut house = House::new(|_| {});
    let conn = house.accept(raw());
    house.read(conn, "GET / HTTP/1.1\r\n");
    let line = format!("X: {}\r\n", "x".repeat(1_000));
    let mut sent = 16;
    for _ in 0..8 << 10 {
        house.hub.handle_bytes(conn, line.as_bytes(), house.now);
        sent += line.len();
        assert!(
            house.hub.stats().resident_bytes <= 17 << 10,
            "{} bytes after {sent}",
            house.hub.stats().resident_bytes
        );
        if sent % 64 == 0 {
            house.drain();
        }
    }
    house.drain();
    assert_eq!(house.refused(conn), 431);
}

#[test]
fn there_is_one_answer_whatever_follows() {
    for first in ["POST / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
        for behind in [GOOD.as_bytes(), first.as_bytes(), b"\x89\x80\0\0\0\0\x88\x80\0\0\0\0", &[0xFF; 5_000]] {
            let mut house = House::new(|_| {});
            let conn = house.accept(raw());
            let mut all = first.as_bytes().to_vec();
            all.extend(behind);
            // In one read, and, before the answer was taken, in others.
            house.hub.handle_bytes(conn, &all, house.now);
            house.hub.handle_bytes(conn, behind, house.now);
            house.hub.check_invariants();
            assert!(house.hub.wants_read(conn), "so that the peer can finish what it says");
            house.drain();
            let status = house.refused(conn);
            assert_eq!(house.output(conn).windows(5).filter(|window| *window == b"HTTP/").count(), 1, "{status}");
            assert_eq!(house.hub.stats().opened, 0);
        }
    }
}

#[test]
fn a_hub_that_is_full_says_so() {
    let mut house = House::new(|options| options.connections_max = 2);
    let (one, _two) = (house.accept(raw()), house.accept(raw()));
    for refused in 1..=3 {
        assert_eq!(house.hub.handle_accept(Peer::default(), house.now), Err(AcceptError::ConnectionsFull));
        assert_eq!(house.hub.stats().refused_accepts, refused);
    }
    house.hub.handle_eof(one, house.now);
    house.drain();
    assert!(house.hub.handle_accept(Peer::default(), house.now).is_ok());
    assert_eq!(house.hub.stats().accepted, 3);
}
