//! The application decides.

use forebay_core::wire::CloseCode;
use forebay_core::{AcceptError, EndReason, Event, Mode, ResumeError, Upgraded, Verdict, VerdictError};

use super::house::{GOOD, House, MS, S, gated, text, with};

#[test]
fn a_request_waits_for_its_verdict_and_shows_everything() {
    for mode in [Mode::Raw, Mode::Dialect] {
        let mut house = House::new(|_| {});
        let conn = house.accept(gated(mode));
        let request = with("Origin: http://h.example:8080\r\nCookie: id=7\r\nSec-WebSocket-Protocol: a, forebay.v1");
        for byte in request.as_bytes() {
            house.read(conn, [*byte]);
        }
        assert_eq!(house.events, [Event::UpgradeRequested(conn)], "told once");
        assert!(house.written.is_empty() && house.hub.wants_read(conn), "its end would be seen");
        let asked = house.hub.upgrade_request(conn).expect("it waits");
        assert_eq!((asked.path, asked.query, asked.host), ("/chat", Some("room=1"), "h.example:8080"));
        assert_eq!(asked.origin, Some("http://h.example:8080"));
        assert_eq!(asked.header("cookie"), Some(&b"id=7"[..]));
        assert_eq!(asked.protocols().collect::<Vec<_>>(), ["a", "forebay.v1"]);
        assert_eq!(asked.address, Some(([192, 0, 2, 7], 4_711).into()));
        assert_eq!(asked.protocol, (mode == Mode::Dialect).then_some("forebay.v1"));

        let verdict = Verdict::accept().with_header("Set-Cookie", "a=b").with_header("X", "\u{e9}");
        house.hub.resolve_upgrade(conn, &verdict, house.now).expect("taken");
        house.drain();
        let answer = house.answer(conn).expect("an answer");
        assert_eq!((answer.status, answer.one("set-cookie")), (101, Ok("a=b")));
        assert_eq!(
            answer.check("dGhlIHNhbXBsZSBub25jZQ==", &["a", "forebay.v1"], false).map(|name| name.is_some()),
            Ok(mode == Mode::Dialect)
        );
        assert_eq!(house.events.len(), 2);
        assert!(house.is_open(conn) && house.hub.upgrade_request(conn).is_none());
        assert_eq!((house.hub.stats().opened, house.hub.stats().stale_inputs), (1, 0));
    }
}

#[test]
fn what_is_not_gated_is_not_asked() {
    let mut house = House::new(|_| {});
    let conn = house.accept(forebay_core::Peer::default());
    house.read(conn, GOOD);
    assert!(house.is_open(conn) && house.hub.upgrade_request(conn).is_none());
    let upgraded = Upgraded { peer: gated(Mode::Raw), protocol: Some("chat"), ..Upgraded::default() };
    let other = house.hub.handle_upgraded(upgraded, b"", house.now).expect("room");
    house.drain();
    assert!(house.is_open(other), "somebody else has decided");
    assert_eq!(house.hub.protocol(other), Some("chat"));
}

#[test]
fn a_refusal_is_the_applications_own() {
    let mut house = House::new(|_| {});
    for (status, reason) in [(401, "Unauthorized"), (404, "Not Found"), (429, "Too Many Requests"), (599, "")] {
        let conn = house.accept(gated(Mode::Dialect));
        house.read(conn, GOOD);
        let verdict = Verdict::refuse(status, "not you").with_header("WWW-Authenticate", "Bearer");
        house.hub.resolve_upgrade(conn, &verdict, house.now).expect("taken");
        house.drain();
        assert_eq!(house.refused(conn), status);
        let answer = house.answer(conn).expect("an answer");
        assert_eq!((answer.one("www-authenticate"), &answer.rest[..]), (Ok("Bearer"), &b"not you"[..]));
        assert!(house.output(conn).starts_with(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes()));
        assert_eq!(house.ended(conn), Some(EndReason::Rejected(status)));
    }
    let stats = house.hub.stats();
    assert_eq!((stats.rejected_requests, stats.refused_requests.iter().sum::<u64>(), stats.opened), (4, 0, 0));
    assert_eq!(house.hub.connections(), 0);
}

#[test]
fn what_comes_behind_the_request_waits_and_is_then_carried_out() {
    let mut house = House::new(|_| {});
    let conn = house.accept(gated(Mode::Dialect));
    let mut all = GOOD.as_bytes().to_vec();
    all.extend(text(r#"{"op":"subscribe","topic":"t","id":1}"#));
    house.read(conn, &all[..GOOD.len()]);
    assert!(house.hub.wants_read(conn));
    house.read(conn, &all[GOOD.len()..GOOD.len() + 3]);
    assert!(!house.hub.wants_read(conn), "one read may be kept, and no more is read");
    assert_eq!(house.hub.connection(conn).expect("there").inbound_bytes, 3);
    house.read(conn, &all[GOOD.len() + 3..]);
    assert_eq!((house.hub.stats().topics, house.written.len()), (0, 0), "nothing is understood before the verdict");
    house.hub.resolve_upgrade(conn, &Verdict::accept(), house.now).expect("taken");
    house.drain();
    assert!(house.hub.wants_read(conn) && house.hub.find_topic("t").is_some());
    let said = String::from_utf8_lossy(&house.output(conn)).into_owned();
    let hello = said.find(r#"{"op":"hello","#).expect("a greeting");
    assert!(said.find(r#"{"op":"ok","id":1,"#).is_some_and(|ok| ok > hello), "{said}");
}

#[test]
fn what_comes_behind_a_refused_request_is_forgotten() {
    let mut house = House::new(|_| {});
    let conn = house.accept(gated(Mode::Dialect));
    house.read(conn, format!("{GOOD}{GOOD}"));
    house.hub.resolve_upgrade(conn, &Verdict::refuse(403, "no"), house.now).expect("taken");
    house.drain();
    assert_eq!(house.refused(conn), 403);
    assert_eq!(house.events.iter().filter(|event| matches!(event, Event::UpgradeRequested(_))).count(), 1);
    assert_eq!(house.hub.stats().resident_bytes, 0);
}

#[test]
fn what_waits_is_charged_and_has_to_fit() {
    let mut house = House::new(|_| {});
    let before = house.hub.stats().resident_bytes;
    let conn = house.accept(gated(Mode::Raw));
    house.read(conn, format!("{GOOD}{}", "x".repeat(10_000)));
    let held = house.hub.stats().resident_bytes - before;
    assert!((GOOD.len() + 10_000..2 * GOOD.len() + 11_000).contains(&held), "{held} bytes");
    // More than the budget: nobody is asked any more.
    let conn = house.accept(gated(Mode::Raw));
    house.read(conn, GOOD);
    house.read(conn, vec![0; 257 << 20]);
    assert_eq!(house.refused(conn), 503);
    assert_eq!(house.hub.resolve_upgrade(conn, &Verdict::accept(), house.now), Err(VerdictError::NotWaiting));
}

#[test]
fn a_verdict_that_cannot_be_written_changes_nothing() {
    use VerdictError as V;
    let mut house = House::new(|options| options.principal_bytes_max = 5);
    let conn = house.accept(gated(Mode::Dialect));
    house.read(conn, with("Sec-WebSocket-Protocol: a, b"));
    let named = |name: &str| Verdict::Accept { principal: None, protocol: Some(name.into()), headers: Vec::new() };
    for (verdict, error) in [
        (Verdict::accept().with_header("Upgrade", "h2c"), V::InvalidHeader),
        (Verdict::accept().with_header("Sec-WebSocket-Accept", "x"), V::InvalidHeader),
        (Verdict::accept().with_header("X", "a\r\n\r\nHTTP/1.1 200 OK"), V::InvalidHeader),
        (Verdict::accept().with_header("X\r\nY", "a"), V::InvalidHeader),
        (Verdict::refuse(403, "no").with_header("Content-Length", "0"), V::InvalidHeader),
        (Verdict::refuse(403, "no").with_header("X", "\0"), V::InvalidHeader),
        (Verdict::refuse(200, "yes"), V::InvalidStatus),
        (Verdict::refuse(101, ""), V::InvalidStatus),
        (Verdict::refuse(302, "").with_header("Location", "/"), V::InvalidStatus),
        (Verdict::refuse(600, ""), V::InvalidStatus),
        (named("c"), V::InvalidProtocol),
        (named("forebay.v1"), V::InvalidProtocol),
        (named("a"), V::InvalidProtocol), // Offered, but no dialect.
        (named("a\r\n"), V::InvalidProtocol),
        (Verdict::accept_as("123456"), V::PrincipalTooLong),
    ] {
        assert_eq!(house.hub.resolve_upgrade(conn, &verdict, house.now), Err(error), "{verdict:?}");
        house.drain();
        assert!(house.written.is_empty() && house.hub.upgrade_request(conn).is_some(), "{verdict:?}");
    }
    house.hub.resolve_upgrade(conn, &Verdict::accept_as("12345"), house.now).expect("taken");
    house.drain();
    assert!(house.is_open(conn));
    assert_eq!(house.hub.stats().stale_inputs, 0);
}

#[test]
fn the_application_may_choose_the_subprotocol() {
    let named = |name: &str| Verdict::Accept { principal: None, protocol: Some(name.into()), headers: Vec::new() };
    for (mode, offered, name) in [(Mode::Raw, "a, b", "b"), (Mode::Dialect, "x, forebay.v1", "forebay.v1")] {
        let mut house = House::new(|_| {});
        let conn = house.accept(gated(mode));
        house.read(conn, with(&format!("Sec-WebSocket-Protocol: {offered}")));
        house.hub.resolve_upgrade(conn, &named(name), house.now).expect("taken");
        house.drain();
        assert_eq!(house.answer(conn).expect("an answer").one("sec-websocket-protocol"), Ok(name));
        assert_eq!(house.hub.protocol(conn), Some(name));
    }
}

#[test]
fn the_principal_is_whom_the_session_belongs_to() {
    let mut house = House::new(|_| {});
    let mut enter = |principal: &str| {
        let conn = house.accept(gated(Mode::Raw));
        house.read(conn, GOOD);
        house.hub.resolve_upgrade(conn, &Verdict::accept_as(principal), house.now).expect("taken");
        house.drain();
        conn
    };
    let (alice, mallory, again) = (enter("alice"), enter("mallory"), enter("alice"));
    let token = house.hub.keep_session(alice, None).expect("kept");
    house.hub.handle_eof(alice, house.now);
    assert_eq!(house.hub.resume(mallory, token, &[], house.now), Err(ResumeError::UnknownSession));
    assert!(house.hub.resume(again, token, &[], house.now).is_ok());
    house.drain();
}

#[test]
fn a_verdict_has_until_the_handshakes_deadline() {
    let mut house = House::new(|_| {});
    let conn = house.accept(gated(Mode::Raw));
    house.advance(4 * S);
    house.read(conn, GOOD); // The deadline is from accept on.
    house.advance(S - MS);
    assert!(house.written.is_empty() && house.hub.upgrade_request(conn).is_some());
    house.advance(MS);
    assert_eq!(house.refused(conn), 408);
    assert_eq!(house.ended(conn), Some(EndReason::HandshakeTimeout));
    for stale in 1..=3 {
        assert_eq!(house.hub.resolve_upgrade(conn, &Verdict::accept(), house.now), Err(VerdictError::NotWaiting));
        assert_eq!(house.hub.stats().stale_inputs, stale);
    }
    house.drain();
    assert_eq!((house.hub.connections(), house.hub.stats().resident_bytes), (0, 0));
}

#[test]
fn only_the_first_verdict_counts() {
    let mut house = House::new(|_| {});
    let (one, two) = (house.accept(gated(Mode::Raw)), house.accept(gated(Mode::Raw)));
    house.read(one, GOOD);
    house.read(two, GOOD);
    house.hub.resolve_upgrade(one, &Verdict::accept(), house.now).expect("taken");
    house.hub.resolve_upgrade(two, &Verdict::refuse(403, "no"), house.now).expect("taken");
    // Before anything was written, and after.
    for _ in 0..2 {
        for conn in [one, two] {
            for verdict in [Verdict::accept(), Verdict::refuse(500, "no")] {
                assert_eq!(house.hub.resolve_upgrade(conn, &verdict, house.now), Err(VerdictError::NotWaiting));
            }
        }
        house.drain();
    }
    assert_eq!((house.answer(one).expect("an answer").status, house.refused(two)), (101, 403));
    assert_eq!(house.hub.stats().stale_inputs, 8);
}

#[test]
fn who_is_gone_needs_no_verdict() {
    let mut house = House::new(|_| {});
    // Gone before anybody was told, and after.
    let (early, late) = (house.accept(gated(Mode::Raw)), house.accept(gated(Mode::Raw)));
    house.hub.handle_bytes(early, GOOD.as_bytes(), house.now);
    house.hub.handle_eof(early, house.now);
    house.read(late, format!("{GOOD}behind"));
    house.hub.handle_eof(late, house.now);
    house.drain();
    assert!(!house.events.contains(&Event::UpgradeRequested(early)), "what was undone is never told");
    for conn in [early, late] {
        assert_eq!(house.ended(conn), Some(EndReason::PeerGone));
        assert!(house.hub.upgrade_request(conn).is_none());
        assert_eq!(house.hub.resolve_upgrade(conn, &Verdict::accept(), house.now), Err(VerdictError::NotWaiting));
    }
    assert!(house.closed.is_empty() && house.written.is_empty());
    assert_eq!((house.hub.connections(), house.hub.stats().resident_bytes), (0, 0));
}

#[test]
fn who_waits_can_be_closed_and_does_not_hold_up_a_drain() {
    let mut house = House::new(|_| {});
    let (one, two) = (house.accept(gated(Mode::Raw)), house.accept(gated(Mode::Dialect)));
    house.read(one, GOOD);
    house.read(two, GOOD);
    house.hub.close(one, CloseCode::GOING_AWAY, "", house.now);
    house.hub.drain(house.now + S, house.now);
    house.drain();
    assert_eq!(house.ended(one), Some(EndReason::Closed(CloseCode::GOING_AWAY)));
    assert_eq!(house.ended(two), Some(EndReason::Drained));
    assert_eq!(house.hub.connections(), 0);
    assert_eq!(house.hub.handle_accept(gated(Mode::Raw), house.now), Err(AcceptError::Draining));
    assert_eq!(house.hub.stats().refused_accepts, 1);
}
