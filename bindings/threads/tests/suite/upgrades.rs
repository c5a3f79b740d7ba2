//! Who may connect: origins, subprotocols, the application's say, and answers to those who may not.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::common::{HANG, Running, start, start_with, until};
use super::raw::{OPENING, head, hear, masked, opened, rest, socket};
use crate::binding::forebay_core::wire::ResponseError;
use crate::binding::{
    Client, ClientOptions, ConnectError, EndReason, Event, Mode, Options, Server, ServerOptions, UpgradeHook, Verdict,
};

/// The opening request with these lines among its fields.
fn with(lines: &str) -> String {
    OPENING.replace("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{lines}\r\n"))
}

/// All that is answered to a request, however much more comes with it; the connection is over then.
fn refusal(server: &Running, request: &str) -> (u16, String) {
    let mut stream = socket(server);
    stream.write_all(request.as_bytes()).unwrap();
    // The answer is read to its end though nobody has read this.
    stream.write_all(&[b'x'; 200_000]).unwrap();
    let answer = String::from_utf8(rest(&mut stream)).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nConnection: close"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())) && !body.is_empty(), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The head of the answer to a request that is accepted.
fn accepted(server: &Running, request: &str) -> String {
    let mut stream = socket(server);
    stream.write_all(request.as_bytes()).unwrap();
    let head = head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    head
}

#[test]
fn pages_of_other_origins_are_turned_away() {
    let server = start(ServerOptions::default());
    let own = format!("http://{}", server.address);
    let of_host =
        |origin: &str| with(&format!("Origin: {origin}")).replace("Host: h", &format!("Host: {}", server.address));
    accepted(&server, &of_host(&own));
    accepted(&server, &of_host(&own.replace("http:", "https:")));
    accepted(&server, OPENING);
    for origin in
        ["http://evil.example", "null", &format!("{own}.evil.example"), "http://127.0.0.1", &own[..own.len() - 1]]
    {
        assert_eq!(refusal(&server, &of_host(origin)), (403, "not for pages of this origin".to_owned()), "{origin}");
    }
    let opened = server.handle.stats().opened;
    assert_eq!(opened, 3);
    server.stop();
}

#[test]
fn origins_that_are_listed_and_no_others() {
    let origins = vec!["https://app.example.com".to_owned(), "http://localhost:3000".to_owned()];
    let server = start(ServerOptions { origins, ..ServerOptions::default() });
    accepted(&server, &with("Origin: https://app.example.com"));
    accepted(&server, &with("Origin: http://localhost:3000"));
    for origin in ["http://app.example.com", "https://app.example.com.evil.net", "http://localhost:3001", "null"] {
        assert_eq!(refusal(&server, &with(&format!("Origin: {origin}"))).0, 403, "{origin}");
    }
    server.stop();
    let server = start(ServerOptions { origins: vec!["*".to_owned()], ..ServerOptions::default() });
    accepted(&server, &with("Origin: null"));
    accepted(&server, &with("Origin: http://evil.example"));
    server.stop();
}

#[test]
fn what_cannot_be_allowed_is_told_at_bind() {
    let problem = |options| Server::bind("127.0.0.1:0", options).unwrap_err().to_string();
    let origins = vec!["https://*.example.com".to_owned()];
    assert_eq!(
        problem(ServerOptions { origins, ..ServerOptions::default() }),
        r#"origin "https://*.example.com": not an origin: scheme://host or scheme://host:port, null, or * for any"#
    );
    let protocols = vec!["chat room".to_owned()];
    let options = ServerOptions { protocols, ..ServerOptions::default() };
    assert_eq!(problem(options), r#"subprotocol "chat room": not a token"#);
}

#[test]
fn raw_connections_choose_among_the_subprotocols_that_are_allowed() {
    let (tell, told) = mpsc::channel();
    let protocols = vec!["v1.chat".to_owned(), "v2.chat".to_owned()];
    let options = ServerOptions { mode: Mode::Raw, protocols, ..ServerOptions::default() };
    let server = start_with(options, move |hub, event, _| {
        if let Event::Opened { conn, .. } = event {
            tell.send(hub.protocol(conn).map(str::to_owned)).unwrap();
        }
    });
    for (offered, chosen) in [(&["v3.chat", "v2.chat", "v1.chat"][..], Some("v2.chat")), (&[], None)] {
        let protocols = offered.iter().map(ToString::to_string).collect();
        let client = Client::connect(&server.url(), ClientOptions { protocols, ..ClientOptions::default() }).unwrap();
        assert_eq!(client.protocol(), chosen);
        assert_eq!(told.recv_timeout(HANG).unwrap().as_deref(), chosen);
    }
    assert!(!accepted(&server, &with("Sec-WebSocket-Protocol: chat, V1.chat")).contains("Sec-WebSocket-Protocol"));
    server.stop();
}

/// Who has a token is let in; there is one path.
fn by_token() -> UpgradeHook {
    UpgradeHook::new(|request| {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
        let token = bearer.or_else(|| request.query.and_then(|query| query.strip_prefix("token=")).map(str::as_bytes));
        match (request.path, token) {
            ("/live", Some(b"t-alice")) => Verdict::accept_as("alice").with_header("X-Hello", "alice"),
            ("/live", _) => Verdict::refuse(401, "who are you?").with_header("WWW-Authenticate", "Bearer"),
            ("/broken", _) => Verdict::accept().with_header("X", "a\r\nb"),
            _ => Verdict::refuse(404, "nothing here"),
        }
    })
}

#[test]
fn a_hook_decides_by_path_query_and_headers() {
    let (tell, told) = mpsc::channel();
    let options = ServerOptions { on_upgrade: Some(by_token()), ..ServerOptions::default() };
    let server = start_with(options, move |hub, event, _| match event {
        Event::Opened { conn, .. } => tell.send(hub.principal(conn).map(str::to_owned)).unwrap(),
        Event::UpgradeRequested(_) => panic!("the hook has decided"),
        _ => {}
    });
    assert!(accepted(&server, &OPENING.replace("GET /", "GET /live?token=t-alice")).contains("\r\nX-Hello: alice\r\n"));
    assert_eq!(told.recv_timeout(HANG).unwrap().as_deref(), Some("alice"));
    let live = OPENING.replace("GET /", "GET /live");
    assert_eq!(refusal(&server, &live), (401, "who are you?".to_owned()));
    assert_eq!(refusal(&server, OPENING), (404, "nothing here".to_owned()));
    let broken = OPENING.replace("GET /", "GET /broken");
    assert_eq!(refusal(&server, &broken), (500, "the server could not decide".to_owned()));
    assert_eq!(refusal(&server, &live.replace("Host: h\r\n", "Host: h\r\nOrigin: http://evil.example\r\n")).0, 403);

    let url = format!("{}live", server.url());
    let headers = vec![("Authorization".to_owned(), "Bearer t-alice".to_owned())];
    drop(Client::connect(&url, ClientOptions { headers, ..ClientOptions::default() }).unwrap());
    assert_eq!(told.recv_timeout(HANG).unwrap().as_deref(), Some("alice"));
    let ConnectError::Refused(closed) = Client::connect(&url, ClientOptions::default()).unwrap_err() else { panic!() };
    assert_eq!(closed.reason, EndReason::BadResponse(ResponseError::Status(401)));
    let stats = server.handle.stats();
    assert_eq!((stats.rejected_requests, stats.opened), (4, 2));
    server.stop();
}

#[test]
fn a_decision_may_take_its_time() {
    // The application asks another thread, which wakes it with the answer.
    let (ask, asked) = mpsc::channel();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let options = ServerOptions { on_upgrade: Some(UpgradeHook::deferred()), ..ServerOptions::default() };
    let server = start_with(options, {
        let answers = Arc::clone(&answers);
        move |hub, event, now| match event {
            Event::UpgradeRequested(conn) => {
                let request = hub.upgrade_request(conn).unwrap();
                assert!(request.address.unwrap().ip().is_loopback());
                ask.send((conn, request.path.to_owned())).unwrap();
            }
            Event::Woken => {
                for (conn, verdict) in answers.lock().unwrap().drain(..) {
                    hub.resolve_upgrade(conn, &verdict, now).unwrap();
                }
            }
            _ => {}
        }
    });
    let handle = server.handle.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..2 {
                let (conn, path) = asked.recv_timeout(HANG).unwrap();
                let verdict = if path == "/yes" { Verdict::accept() } else { Verdict::refuse(403, "no") };
                answers.lock().unwrap().push((conn, verdict));
                handle.wake();
            }
        });
        // A frame behind the request waits for the verdict as well.
        let mut stream = socket(&server);
        stream.write_all(OPENING.replace("GET /", "GET /yes").as_bytes()).unwrap();
        stream.write_all(&masked(0x81, br#"{"op":"ping","id":7}"#)).unwrap();
        assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
        assert!(hear(&mut stream).starts_with(r#"{"op":"hello","#));
        assert_eq!(hear(&mut stream), r#"{"op":"pong","id":7}"#);
        assert_eq!(refusal(&server, OPENING), (403, "no".to_owned()));
    });
    server.stop();
}

#[test]
fn who_is_not_decided_about_is_told_in_the_end() {
    let hub = Options { handshake_timeout: Duration::from_millis(50), ..Options::default() };
    let on_upgrade = Some(UpgradeHook::deferred());
    let server = start(ServerOptions { hub, on_upgrade, ..ServerOptions::default() });
    assert_eq!(refusal(&server, OPENING), (408, "no opening handshake in time".to_owned()));
    server.stop();
}

#[test]
fn whoever_is_too_slow_is_told_so() {
    let hub = Options { handshake_timeout: Duration::from_millis(50), ..Options::default() };
    let server = start(ServerOptions { hub, ..ServerOptions::default() });
    for begin in ["", "G", "GET / HTTP/1.1\r\nHost: h\r\nX: "] {
        let mut stream = socket(&server);
        stream.write_all(begin.as_bytes()).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"), "{begin:?}: {answer}");
    }
    server.stop();
}

#[test]
fn whoever_finds_no_room_is_told_so() {
    let hub = Options { connections_max: 2, ..Options::default() };
    let server = start(ServerOptions { hub, ..ServerOptions::default() });
    let (one, _two) = (opened(&server), opened(&server));
    for refused in 1..=3 {
        assert_eq!(refusal(&server, OPENING), (503, "connections_max reached".to_owned()));
        assert_eq!(server.handle.stats().refused_accepts, refused);
    }
    // Also who says nothing.
    assert!(rest(&mut socket(&server)).starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"));
    let ConnectError::Refused(closed) = Client::connect(&server.url(), ClientOptions::default()).unwrap_err() else {
        panic!("it was refused")
    };
    assert_eq!(closed.reason, EndReason::BadResponse(ResponseError::Status(503)));
    drop(one);
    until(|| server.handle.stats().connections < 2);
    opened(&server);
    server.stop();
}

#[test]
fn a_hub_that_drains_says_so() {
    // The application drains it, and goes on listening.
    let options = ServerOptions::default();
    let server = start_with(options, |hub, event, now| {
        if event == Event::Woken {
            hub.drain(now + HANG, now);
        }
    });
    let mut stream = opened(&server);
    server.handle.wake();
    assert!(stream.read_to_end(&mut Vec::new()).is_ok(), "going away");
    assert_eq!(refusal(&server, OPENING), (503, "draining".to_owned()));
    server.stop();
}

#[test]
fn there_is_no_second_answer() {
    let server = start(ServerOptions::default());
    let mut stream = socket(&server);
    stream.write_all(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n{OPENING}").as_bytes()).unwrap();
    let answer = String::from_utf8(rest(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    assert_eq!(server.handle.stats().opened, 0);
    server.stop();
}
