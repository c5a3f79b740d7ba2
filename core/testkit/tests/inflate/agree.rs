//! What is agreed in the opening handshake, in both roles.

use forebay_core::wire::ResponseError;
use forebay_core::wire::deflate::{Agreed, Direction, WindowBits};
use forebay_core::{AcceptError, ClientRequest, ConnId, EndReason, Event, Hub, Mode, Options, Peer, Upgraded};
use forebay_testkit::mini::frame;
use forebay_testkit::mini::handshake;

use crate::house::{ALONE, House, NOW, RSV1, TAKES_OVER, compressed, hub, payload, request};

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const NEITHER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What contexts of a connection may take where all is agreed.
fn both() -> usize {
    WindowBits::MAX.compressor_bytes(8) + WindowBits::MAX.bytes()
}

fn with_contexts(bytes: usize) -> impl Fn(&mut Options) {
    move |options| options.deflate.as_mut().unwrap().context_bytes_max = bytes
}

#[test]
fn a_server_answers_what_it_has_memory_for() {
    for (context_bytes_max, offer, answer) in [
        (0, OFFER, NEITHER),
        (0, "permessage-deflate; server_max_window_bits=9", &format!("{NEITHER}; server_max_window_bits=9")),
        (both() - 1, OFFER, "permessage-deflate; client_no_context_takeover"),
        (both(), OFFER, "permessage-deflate"),
        (WindowBits::MAX.bytes(), OFFER, "permessage-deflate; server_no_context_takeover"),
        (WindowBits::MAX.bytes() - 1, OFFER, NEITHER),
        (
            WindowBits::MIN.bytes(),
            "permessage-deflate; client_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=9",
        ),
    ] {
        let mut house = House::asking(with_contexts(context_bytes_max), Some(offer));
        assert_eq!(house.answer().as_deref(), Some(answer), "{context_bytes_max} {offer}");
        house.out.clear();
        house.feed(&compressed(true, b"Hello"));
        assert_eq!(house.received, [(true, b"Hello".to_vec())]);
    }
    // Not where nobody asked for it, on either side; nor what cannot be.
    assert_eq!(House::asking(|options| options.deflate = None, Some(OFFER)).answer(), None);
    for offer in [None, Some("x-webkit-deflate-frame"), Some("permessage-deflate; server_max_window_bits=8")] {
        let house = House::asking(|_| {}, offer);
        assert_eq!((house.answer(), house.hub.agreed(house.conn)), (None, None), "{offer:?}");
    }
}

#[test]
fn memory_for_contexts_is_shared_and_comes_back() {
    let mut hub = hub(with_contexts(2 * both()));
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    let connect = |hub: &mut Hub| {
        let conn = hub.handle_accept(peer, NOW).unwrap();
        hub.handle_bytes(conn, &request(Some(OFFER)), NOW);
        hub.check_invariants();
        let agreed = hub.agreed(conn).expect("agreed");
        (conn, agreed.server.takes_over(), agreed.client.takes_over())
    };
    let (first, ..) = connect(&mut hub);
    assert_eq!((connect(&mut hub).1, connect(&mut hub).1, connect(&mut hub).2), (true, false, false));
    hub.handle_eof(first, NOW);
    hub.check_invariants();
    let again = connect(&mut hub);
    assert_eq!((again.1, again.2), (true, true), "what one gave back another has");
}

#[test]
fn an_upgraded_connection_has_what_others_agreed_to_if_that_can_be_had() {
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    let upgrade = |hub: &mut Hub, agreed| {
        let upgraded = Upgraded { peer, protocol: None, deflate: Some(agreed) };
        hub.handle_upgraded(upgraded, &compressed(true, b"Hello"), NOW)
    };
    let mut none = hub(|options| options.deflate = None);
    assert_eq!(upgrade(&mut none, ALONE), Err(AcceptError::NoDeflate));
    let mut without = hub(|_| {});
    assert!(upgrade(&mut without, ALONE).is_ok());
    assert_eq!(upgrade(&mut without, TAKES_OVER), Err(AcceptError::NoDeflate), "no memory for what it takes over");
    // What we may take over we need not.
    let server_takes_over = Agreed { server: Direction::new(WindowBits::MAX, true), ..ALONE };
    let conn = upgrade(&mut without, server_takes_over).unwrap();
    assert_eq!(without.agreed(conn), Some(ALONE));
    let mut room = hub(with_contexts(WindowBits::MAX.bytes()));
    let conn = upgrade(&mut room, TAKES_OVER).unwrap();
    assert_eq!((room.agreed(conn), room.stats().received.messages), (Some(TAKES_OVER), 1));
    assert_eq!(upgrade(&mut room, TAKES_OVER), Err(AcceptError::NoDeflate));
    room.check_invariants();
}

/// A client, its request, and the answer that fits it but for what it says of extensions.
fn client(change: impl Fn(&mut Options)) -> (Hub, ConnId, String, String) {
    let mut hub = hub(change);
    let request = ClientRequest { host: "example.com", target: "/", ..ClientRequest::default() };
    let conn = hub.connect(request, NOW).unwrap();
    let transmit = hub.poll_transmit().expect("a request");
    let bytes: Vec<u8> = transmit.slices().flatten().copied().collect();
    hub.handle_sent(conn, bytes.len(), NOW);
    hub.check_invariants();
    let request = String::from_utf8(bytes).unwrap();
    let field = |name: &str| {
        let line = request.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(": ").to_owned()
    };
    let accept = handshake::accept_of(&field("Sec-WebSocket-Key"));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    (hub, conn, field("Sec-WebSocket-Extensions"), answer)
}

#[test]
fn a_client_offers_what_it_has_memory_for() {
    let offers = |change: &dyn Fn(&mut Options)| client(change).2;
    assert_eq!(offers(&|options| options.deflate = None), "");
    assert_eq!(offers(&|_| {}), format!("{NEITHER}; client_max_window_bits"));
    assert_eq!(offers(&with_contexts(both())), OFFER);
    let only_received = with_contexts(WindowBits::MAX.bytes());
    assert_eq!(offers(&only_received), "permessage-deflate; client_no_context_takeover; client_max_window_bits");
    let small = |options: &mut Options| options.deflate.as_mut().unwrap().window_bits = 11;
    assert_eq!(offers(&small), format!("{NEITHER}; client_max_window_bits=11"));
}

#[test]
fn a_client_takes_an_answer_that_fits_and_no_other() {
    let alone = "permessage-deflate; server_no_context_takeover";
    for (extensions, is_agreed) in
        [("", false), (alone, true), ("permessage-deflate; server_no_context_takeover; client_max_window_bits=8", true)]
    {
        let (mut hub, conn, _, answer) = client(|_| {});
        let line =
            if extensions.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {extensions}\r\n") };
        hub.handle_bytes(conn, format!("{answer}{line}\r\n").as_bytes(), NOW);
        hub.check_invariants();
        assert_eq!(hub.agreed(conn).is_some(), is_agreed, "{extensions}");
        if is_agreed {
            hub.handle_bytes(conn, &frame::encode(true, 1 | RSV1, &payload(b"Hello"), None), NOW);
            assert_eq!(
                hub.receive(conn, NOW).and_then(|message| message.as_text().map(str::to_owned)).as_deref(),
                Some("Hello")
            );
        }
        hub.check_invariants();
    }
    for extensions in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; unknown",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover",
        "x-webkit-deflate-frame",
    ] {
        let (mut hub, conn, _, answer) = client(|_| {});
        hub.handle_bytes(conn, format!("{answer}Sec-WebSocket-Extensions: {extensions}\r\n\r\n").as_bytes(), NOW);
        let closed = std::iter::from_fn(|| hub.poll_event()).find(|event| matches!(event, Event::Closed { .. }));
        let reason = EndReason::BadResponse(ResponseError::Extension);
        assert_eq!(closed, Some(Event::Closed { conn, reason }), "{extensions}");
        hub.check_invariants();
    }
}

#[test]
fn a_client_keeps_no_memory_for_what_was_declined() {
    let (mut hub, conn, offer, answer) = client(with_contexts(both()));
    assert_eq!(offer, OFFER);
    hub.handle_bytes(conn, format!("{answer}\r\n").as_bytes(), NOW);
    hub.check_invariants();
    let request = ClientRequest { host: "example.com", target: "/", ..ClientRequest::default() };
    hub.connect(request, NOW).unwrap();
    hub.check_invariants();
    let transmit = hub.poll_transmit().expect("a request");
    let bytes: Vec<u8> = transmit.slices().flatten().copied().collect();
    assert!(String::from_utf8(bytes).unwrap().contains(&format!("{OFFER}\r\n")), "the next one may have it");
}
