//! Pages that may connect, and subprotocols that may be spoken.

use forebay_core::wire::HandshakeError;
use forebay_core::{EndReason, Event, Mode, Peer, ProtocolError};

use super::house::{House, gated, raw, with};

fn status(house: &mut House, lines: &str) -> u16 {
    let conn = house.accept(raw());
    house.read(conn, with(lines));
    match house.answer(conn).expect("an answer").status {
        101 => {
            house.hub.handle_eof(conn, house.now);
            house.drain();
            101
        }
        _ => house.refused(conn),
    }
}

fn of(house: &mut House, origin: &str) -> u16 {
    status(house, &format!("Origin: {origin}"))
}

#[test]
fn without_a_list_only_pages_of_the_host_itself() {
    let mut house = House::new(|_| {});
    assert_eq!(of(&mut house, "http://h.example:8080"), 101);
    assert_eq!(of(&mut house, "https://H.Example:8080"), 101);
    assert_eq!(status(&mut house, "X: no browser"), 101);
    let foreign = [
        "http://h.example",
        "http://evil.example",
        "null",
        "http://h.example:8080.evil.example",
        "http://evil-h.example:8080",
        "http://sub.h.example:8080",
        "*",
        "http://h.example:8080/",
        "",
    ];
    for origin in foreign {
        assert_eq!(of(&mut house, origin), 403, "{origin}");
    }
    // Two of them are no request at all, whatever they say.
    let twice = "Origin: http://h.example:8080\r\nOrigin: http://h.example:8080";
    assert_eq!(status(&mut house, twice), 400);
    let count = |error: HandshakeError| house.hub.stats().refused_requests[error as usize];
    assert_eq!(count(HandshakeError::OriginForbidden), foreign.len() as u64);
    assert_eq!(count(HandshakeError::OriginInvalid), 1);
    assert_eq!(house.hub.stats().opened, 3);
    assert!(house.events.contains(&Event::Closed {
        conn: house.closed[0],
        reason: EndReason::Refused(HandshakeError::OriginForbidden)
    }));
}

#[test]
fn what_is_listed_is_listed_exactly() {
    let mut house = House::new(|_| {});
    house.hub.allow_origin("https://app.example.com").expect("an origin");
    for bad in ["https://*.example.com", "app.example.com", "https://app.example.com/"] {
        assert!(house.hub.allow_origin(bad).is_err(), "{bad}");
    }
    assert_eq!(of(&mut house, "https://app.example.com"), 101);
    assert_eq!(of(&mut house, "https://app.example.com:443"), 101);
    assert_eq!(of(&mut house, "http://h.example:8080"), 101, "its own as well");
    for origin in ["http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil.net", "null"]
    {
        assert_eq!(of(&mut house, origin), 403, "{origin}");
    }
    house.hub.allow_origin("null").expect("may be listed");
    assert_eq!(of(&mut house, "null"), 101);
    house.hub.allow_origin("*").expect("may be listed");
    assert_eq!(of(&mut house, "http://evil.example"), 101);
}

#[test]
fn strangers_are_turned_away_before_the_application_is_asked() {
    let mut house = House::new(|_| {});
    let conn = house.accept(gated(Mode::Dialect));
    house.read(conn, with("Origin: http://evil.example"));
    assert_eq!(house.refused(conn), 403);
    assert!(!house.events.contains(&Event::UpgradeRequested(conn)));
}

#[test]
fn documents_are_for_everybody() {
    let mut house = House::new(|_| {});
    house.hub.document("/x.js", "text/javascript", (&b"1"[..]).into()).expect("added");
    let conn = house.accept(Peer::default());
    house.read(conn, "GET /x.js HTTP/1.1\r\nHost: h\r\nOrigin: http://evil.example\r\n\r\n");
    assert_eq!(house.answer(conn).expect("an answer").status, 200);
    // What cannot be upgraded is none of a page's business either.
    let conn = house.accept(Peer::default());
    house.read(conn, "GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://evil.example\r\n\r\n");
    assert_eq!(house.refused(conn), 426);
}

#[test]
fn only_subprotocols_that_were_allowed_are_chosen() {
    let mut house = House::new(|_| {});
    for bad in ["", "a b", "a,b", "a\r\n"] {
        assert_eq!(house.hub.allow_protocol(bad), Err(ProtocolError::Invalid));
    }
    let chosen = |house: &mut House, offered: &str| {
        let conn = house.accept(raw());
        house.read(conn, with(offered));
        let answer = house.answer(conn).expect("an answer");
        assert_eq!((answer.status, answer.all("sec-websocket-protocol").count() < 2), (101, true));
        let answered = answer.all("sec-websocket-protocol").next().map(str::to_owned);
        assert_eq!(house.hub.protocol(conn), answered.as_deref());
        answered
    };
    assert_eq!(chosen(&mut house, "Sec-WebSocket-Protocol: chat"), None, "none is allowed");
    house.hub.allow_protocol("chat").expect("a token");
    house.hub.allow_protocol("v2.chat").expect("a token");
    assert_eq!(house.hub.allow_protocol("chat"), Err(ProtocolError::AlreadyAllowed));
    for (offered, expected) in [
        ("Sec-WebSocket-Protocol: chat", Some("chat")),
        ("Sec-WebSocket-Protocol: superchat, v2.chat, chat", Some("v2.chat")),
        ("Sec-WebSocket-Protocol: superchat\r\nSec-WebSocket-Protocol: chat", Some("chat")),
        ("Sec-WebSocket-Protocol: Chat, superchat, chatx, constructor, __proto__", None),
        ("Sec-WebSocket-Protocol:", None),
        ("X: none is offered", None),
    ] {
        assert_eq!(chosen(&mut house, offered).as_deref(), expected, "{offered}");
    }
    // A dialect has its own.
    let conn = house.accept(Peer::default());
    house.read(conn, with("Sec-WebSocket-Protocol: chat, forebay.v1"));
    assert_eq!(house.hub.protocol(conn), Some("forebay.v1"));
}
