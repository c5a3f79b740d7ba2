//! The bodies of the fuzz targets: plain functions, so that corpora are replayed on stable.

mod inflate;

pub use inflate::inflate;

use forebay_core::{
    Config, ConnId, Effect, Event, Hub, Instant, Mode, Options, Payload, Peer, Upgraded, Verdict, VerdictError,
};

use crate::mini::handshake::ResponseReader;
use crate::mini::{Client, Decoder, Item, frame, handshake};
use crate::rng::Choices;
use crate::wire::reference::{Deflate, Rules};
use crate::wire::{compare, draw, through};
use crate::{model, stage, world};

/// What became of a connection.
#[derive(PartialEq, Eq, Debug, Default)]
struct Outcome {
    /// What the hub wrote.
    bytes: Vec<u8>,
    /// What it said, in order.
    events: Vec<String>,
    /// What the application received.
    messages: Vec<(bool, Vec<u8>)>,
}

fn roomy_hub() -> Hub {
    let mut options = Options {
        // Nothing here is about back pressure: everything fits.
        reply_bytes_max: 256 << 20,
        inbound_bytes_max: 16 << 20,
        message_bytes_max: 64 << 10,
        head_bytes_max: 2_048,
        resident_bytes_max: 1 << 30,
        ..Options::default()
    };
    options.topic_defaults.message_bytes_max = 64 << 10;
    Hub::new(Config::try_from(options).expect("good options"), [1; 32], Instant::ZERO)
}

/// Polls and takes everything.
fn drain(hub: &mut Hub, conn: ConnId, outcome: &mut Outcome) {
    loop {
        let mut moved = false;
        while let Some(transmit) = hub.poll_transmit() {
            assert_eq!(transmit.conn(), conn);
            let bytes = stage::copy(&transmit);
            outcome.bytes.extend(&bytes);
            hub.handle_sent(conn, bytes.len(), Instant::ZERO);
            moved = true;
        }
        while let Some(effect) = hub.poll_effect() {
            if matches!(effect, Effect::Close(_)) {
                outcome.events.push("close".into());
            }
            moved = true;
        }
        while let Some(event) = hub.poll_event() {
            if let Event::UpgradeRequested(conn) = event {
                decide(hub, conn);
            }
            if !matches!(event, Event::Received(_)) {
                outcome.events.push(format!("{event:?}"));
            }
            moved = true;
        }
        while let Some(payload) = hub.receive(conn, Instant::ZERO) {
            outcome.messages.push((payload.is_text, payload.bytes.to_vec()));
            moved = true;
        }
        hub.check_invariants();
        if !moved {
            return;
        }
    }
}

/// The application's verdict on a request depends on nothing else: a query is refused.
fn decide(hub: &mut Hub, conn: ConnId) {
    let request = hub.upgrade_request(conn).expect("it waits");
    let offered = request.protocols().next().map(str::to_owned);
    let verdict = match request.query {
        Some(query) => Verdict::refuse(401, query).with_header("X-Path", request.path),
        None => {
            let headers = vec![("X-Host".to_owned(), request.host.to_owned())];
            Verdict::Accept { principal: request.origin.map(str::to_owned), protocol: offered, headers }
        }
    };
    // A name that is no dialect's, or a principal that is too long, is the caller's fault; then it is as the hub chooses.
    let resolved = hub.resolve_upgrade(conn, &verdict, Instant::ZERO);
    if resolved.is_err() {
        assert!(
            matches!(resolved, Err(VerdictError::InvalidProtocol | VerdictError::PrincipalTooLong)),
            "{resolved:?}"
        );
        hub.resolve_upgrade(conn, &Verdict::accept(), Instant::ZERO).expect("it waits still");
    }
    assert_eq!(hub.resolve_upgrade(conn, &verdict, Instant::ZERO), Err(VerdictError::NotWaiting), "once");
}

/// Feeds bytes to a new connection in pieces of these sizes (for ever again), drains at the end, and hangs up.
fn feed(accept: impl Fn(&mut Hub) -> ConnId, bytes: &[u8], pieces: &[usize]) -> Outcome {
    let mut hub = roomy_hub();
    let conn = accept(&mut hub);
    let mut outcome = Outcome::default();
    let (mut rest, mut number) = (bytes, 0);
    while !rest.is_empty() {
        let size = pieces[number % pieces.len()].clamp(1, rest.len());
        let (piece, behind) = rest.split_at(size);
        hub.handle_bytes(conn, piece, Instant::ZERO);
        (rest, number) = (behind, number + 1);
        if !hub.wants_read(conn) && hub.connection(conn).is_some() {
            drain(&mut hub, conn, &mut outcome);
            if !hub.wants_read(conn) {
                break;
            }
        }
    }
    drain(&mut hub, conn, &mut outcome);
    hub.handle_eof(conn, Instant::ZERO);
    drain(&mut hub, conn, &mut outcome);
    hub.check_invariants();
    assert_eq!(hub.connections(), 0, "nothing is left");
    assert_eq!(hub.stats().topics, 0, "nothing is left");
    outcome
}

/// Splits fuzz input: sizes of pieces, and the rest.
fn split(data: &[u8]) -> (Vec<usize>, &[u8]) {
    let Some((count, rest)) = data.split_first() else { return (vec![1], data) };
    let (sizes, rest) = rest.split_at(usize::from(count % 8).min(rest.len()));
    let mut pieces: Vec<usize> = sizes.iter().map(|size| usize::from(*size)).collect();
    pieces.push(1 + usize::from(count / 8));
    (pieces, rest)
}

/// In one piece, in bytes, and in pieces of the input's own choice: the same must come of it.
fn alike(accept: impl Fn(&mut Hub) -> ConnId + Copy, bytes: &[u8], pieces: &[usize]) -> Outcome {
    let whole = feed(accept, bytes, &[usize::MAX]);
    assert_eq!(whole, feed(accept, bytes, pieces), "in pieces of {pieces:?}");
    assert_eq!(whole, feed(accept, bytes, &[1]), "byte by byte");
    whole
}

fn accept(mode: Mode) -> impl Fn(&mut Hub) -> ConnId + Copy {
    move |hub| hub.handle_accept(Peer { mode, ..Peer::default() }, Instant::ZERO).expect("room")
}

fn accept_gated(mode: Mode) -> impl Fn(&mut Hub) -> ConnId + Copy {
    let peer = Peer { mode, is_gated: true, ..Peer::default() };
    move |hub| hub.handle_accept(peer, Instant::ZERO).expect("room")
}

/// Host and port of an origin or a Host field, in lower case; `None` for what is neither, or not of the web.
fn place(text: &str, scheme: Option<&str>) -> Option<(String, u16)> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = match scheme {
        Some(scheme) => (scheme.to_owned(), text),
        None => text.split_once("://").map(|(scheme, authority)| (scheme.to_owned(), authority.to_owned()))?,
    };
    let default = match scheme.as_str() {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => return None,
    };
    let digits = authority.len() - authority.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (host, port) = authority.split_at(authority.len() - digits);
    match host.strip_suffix(':') {
        Some(host) if digits > 0 => Some((host.to_owned(), port.parse().ok()?)),
        Some(host) => Some((host.to_owned(), default)),
        None => Some((authority, default)),
    }
}

/// A request that was accepted says no Origin, or one of the host that it names: judged from its text alone.
fn check_origin(head: &[u8]) {
    let head = String::from_utf8_lossy(head);
    let value = |name: &str| {
        let mut lines = head.split("\r\n").take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_matches([' ', '\t']))
    };
    let Some(origin) = value("origin") else { return };
    let scheme = origin.split("://").next().unwrap_or_default().to_ascii_lowercase();
    let (own, of) = (place(value("host").expect("a host"), Some(&scheme)), place(origin, None));
    assert!(of.is_some() && of == own, "{origin} at {own:?}");
}

fn upgraded(mode: Mode) -> impl Fn(&mut Hub) -> ConnId + Copy {
    move |hub| {
        let peer = Peer { mode, ..Peer::default() };
        hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: None }, b"", Instant::ZERO).expect("room")
    }
}

/// A server's side of the opening handshake: any bytes, however they are cut, get the same answer, and a good one.
///
/// # Panics
/// If they do not.
pub fn handshake(data: &[u8]) {
    let (pieces, rest) = split(data);
    // Half of the inputs begin like a request, so that a fuzzer need not find all of it.
    let request = match rest.split_first() {
        Some((first, fields)) if first % 2 == 1 => {
            let mut request = handshake::request("dGhlIHNhbXBsZSBub25jZQ==", "/", &["forebay.v1"]);
            let place = usize::from(first / 2).min(request.len());
            let behind = request.split_off(place);
            request.extend(fields);
            request.extend(behind);
            request
        }
        _ => rest.to_vec(),
    };
    let outcome = alike(accept(Mode::Raw), &request, &pieces);
    if outcome.bytes.is_empty() {
        return;
    }
    let response = ResponseReader::default().feed(&outcome.bytes).expect("an HTTP answer").expect("a whole one");
    match response.status {
        101 => {
            check_origin(request.strip_prefix(b"\r\n").unwrap_or(&request));
            Decoder::of_server().feed(&response.rest).expect("good frames");
        }
        400..=599 => {
            let length: usize = response.one("content-length").expect("a length").parse().expect("a number");
            assert_eq!(length, response.rest.len(), "the body is as long as it says");
        }
        status => panic!("status {status}"),
    }
    alike(accept(Mode::Dialect), &request, &pieces);
    // The application is asked about exactly those that would be opened.
    for mode in [Mode::Raw, Mode::Dialect] {
        let gated = alike(accept_gated(mode), &request, &pieces);
        let is_asked = gated.events.iter().any(|event| event.starts_with("UpgradeRequested"));
        assert_eq!(is_asked, response.status == 101, "{:?}", gated.events);
        if !is_asked {
            assert_eq!(gated.bytes, outcome.bytes, "what is refused is refused alike");
        }
    }
}

/// Frames: any bytes, however they are cut, have the same effect; and what is encoded is decoded, both ways.
///
/// # Panics
/// If not.
pub fn frame(data: &[u8]) {
    let (pieces, rest) = split(data);
    for mode in [Mode::Raw, Mode::Dialect] {
        let outcome = alike(upgraded(mode), rest, &pieces);
        Decoder::of_server().feed(&outcome.bytes).expect("good frames");
    }
    round_trip(rest, &pieces);
}

/// Messages cut from the input come out as they went in, through the core's decoder and its encoder.
fn round_trip(data: &[u8], pieces: &[usize]) {
    let mut choices = Choices::from_bytes(data);
    let mut client = Client::upgraded(choices.bits(), true);
    let mut sent = Vec::new();
    while !choices.is_exhausted() && sent.len() < 20 {
        let size = match choices.below(6) {
            0 => choices.index(70_000).min(60_000),
            1 => choices.size(120, 130),
            _ => choices.index(50),
        };
        // Not too many: the core takes a flood of tiny fragments for an attack.
        client.manners.fragment = choices.one_in(2).then(|| choices.size(1, 300).max(size / 500));
        let filler = choices.bytes(1);
        if choices.one_in(2) {
            let text = "é€😀x".chars().cycle().take(size / 4).collect::<String>();
            client.text(&text);
            sent.push((true, text.into_bytes()));
        } else {
            let bytes = filler.repeat(size);
            client.binary(&bytes);
            sent.push((false, bytes));
        }
    }
    let bytes: Vec<u8> = client.out().drain(..).collect();
    let outcome = feed(upgraded(Mode::Raw), &bytes, pieces);
    let lengths = |list: &[(bool, Vec<u8>)]| list.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&outcome.messages), lengths(&sent), "{:?}", outcome.events);
    assert_eq!(outcome.messages, sent, "what was sent is received");

    let mut hub = roomy_hub();
    let conn = upgraded(Mode::Raw)(&mut hub);
    let mut outcome = Outcome::default();
    for (is_text, bytes) in &sent {
        let payload = match std::str::from_utf8(bytes) {
            Ok(text) if *is_text => Payload::Text(text),
            _ => Payload::Binary(bytes),
        };
        hub.send(conn, payload, Instant::ZERO).expect("room");
        drain(&mut hub, conn, &mut outcome);
    }
    let items = Decoder::of_server().feed(&outcome.bytes).expect("good frames");
    let expected: Vec<Item> = sent
        .into_iter()
        .map(|(is_text, bytes)| match String::from_utf8(bytes) {
            Ok(text) if is_text => Item::Text(text),
            Ok(text) => Item::Binary(text.into_bytes()),
            Err(error) => Item::Binary(error.into_bytes()),
        })
        .collect();
    assert_eq!(items, expected, "what is sent is read by an independent reader");
    let lengths: usize = expected
        .iter()
        .map(|item| match item {
            Item::Text(text) => frame::wire_len(text.len()),
            Item::Binary(bytes) => frame::wire_len(bytes.len()),
            _ => 0,
        })
        .sum();
    assert_eq!(outcome.bytes.len(), lengths, "one frame each, with the shortest header");
}

/// The core's decoder, and a hub, beside the reference decoder: the input says how it is cut, by which rules it is read, and
/// either is the stream or what to draw one by.
///
/// # Panics
/// If they do not agree.
pub fn wire_differential(data: &[u8]) {
    let (pieces, rest) = split(data);
    let Some((how, rest)) = rest.split_first() else { return };
    let limits = [1_000, 125, 126, 65_535, 65_536, 0, 7, u128::from(u64::MAX)];
    let deflate = [Deflate::Declined, Deflate::Alone, Deflate::TakesOver, Deflate::TakesOver];
    let rules = Rules {
        from_client: how & 1 == 1,
        message_bytes_max: limits[usize::from(how >> 1 & 7)],
        deflate: deflate[usize::from(how >> 4 & 3)],
    };
    let drawn = if how >> 7 == 0 {
        draw::Drawn { rules, stream: rest.to_vec() }
    } else {
        draw::stream(&mut Choices::from_bytes(rest))
    };
    compare::compare(drawn.rules, &drawn.stream, &pieces);
    compare::compare(drawn.rules, &drawn.stream, &[1]);
    compare::compare(drawn.rules, &drawn.stream, &[usize::MAX]);
    if through::MESSAGE_BYTES.contains(&drawn.rules.message_bytes_max) {
        through::through(drawn.rules, &drawn.stream, &pieces);
    }
}

/// A whole world, driven by the input.
///
/// # Panics
/// If a hub breaks a promise.
pub fn hub(data: &[u8]) {
    let _ = world::run_bytes(data);
}

/// A hub beside the reference model, driven by the input.
///
/// # Panics
/// If they disagree; the shrunk transcript is printed.
pub fn model(data: &[u8]) {
    if let Err(failure) = model::run_bytes(data) {
        panic!("{}\n{}", failure.fault, failure.transcript);
    }
}
