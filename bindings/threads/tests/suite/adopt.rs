//! Connections that an HTTP server accepted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::common::{HANG, number, start, start_with, subscribed, text};
use super::raw::{OPENING, head, hear, masked, rest, say, socket};
use crate::binding::{
    AcceptError, AdoptError, Bytes, Document, EndReason, Event, Handle, LaneOptions, Mode, Options, Payload, Server,
    ServerOptions, TopicOptions,
};

/// An HTTP server as far as it matters here: both ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(HANG)).unwrap();
    (client, listener.accept().unwrap().0)
}

/// What an HTTP server has read of the connection.
fn read(host: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut leftover = vec![0; count];
    host.read_exact(&mut leftover).unwrap();
    leftover
}

const SUBSCRIBE: &str = r#"{"op":"subscribe","topic":"t","id":1}"#;

/// The opening request, a subscribe and a publish.
fn conversation() -> Vec<u8> {
    let mut all = OPENING.as_bytes().to_vec();
    all.extend(masked(0x81, SUBSCRIBE.as_bytes()));
    all.extend(masked(0x81, br#"{"op":"publish","topic":"t","data":7,"id":2}"#));
    all
}

/// The topic stays, and so does its numbering.
fn declared() -> ServerOptions {
    ServerOptions { topics: vec![("t".to_owned(), TopicOptions::default())], ..ServerOptions::default() }
}

/// What the hub says to all that.
fn hear_all(client: &mut TcpStream, seq: u64) {
    assert!(head(client).starts_with("HTTP/1.1 101 "));
    hear_answers(client, seq);
}

fn hear_answers(client: &mut TcpStream, seq: u64) {
    assert!(hear(client).starts_with(r#"{"op":"hello","#));
    assert!(hear(client).starts_with(r#"{"op":"ok","id":1,"#));
    let mut both = [hear(client), hear(client)];
    both.sort();
    assert_eq!(number(&both[0], "seq"), seq, "{both:?}");
    assert!(both[0].starts_with(r#"{"op":"message","#) && both[1].starts_with(r#"{"op":"ok","id":2,"#), "{both:?}");
}

fn wait_until_gone(handle: &Handle) {
    while handle.stats().connections > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_request_may_be_handed_over_at_any_byte() {
    let server = start(declared());
    let all = conversation();
    let head = OPENING.len();
    let cuts = [0, 1, head / 2, head - 1, head, head + 1, head + 6, head + 20, all.len() - 1, all.len()];
    for (seq, cut) in (1..).zip(cuts) {
        // The rest is there already, and nobody will tell that it comes.
        let (mut client, mut host) = connection();
        client.write_all(&all).unwrap();
        let leftover = read(&mut host, cut);
        server.handle.adopt(host, &leftover).unwrap();
        hear_all(&mut client, seq);
        drop(client);
        wait_until_gone(&server.handle);
    }
    for (seq, cut) in (cuts.len() as u64 + 1..).zip(cuts) {
        // The rest comes later.
        let (mut client, mut host) = connection();
        client.write_all(&all[..cut]).unwrap();
        let leftover = read(&mut host, cut);
        server.handle.adopt(host, &leftover).unwrap();
        client.write_all(&all[cut..]).unwrap();
        hear_all(&mut client, seq);
        drop(client);
        wait_until_gone(&server.handle);
    }
    let stats = server.handle.stats();
    assert_eq!((stats.accepted, stats.opened, stats.closed), (20, 20, 20));
    server.stop();
}

#[test]
fn an_answered_request_may_be_handed_over_with_what_followed_it() {
    let server = start(declared());
    let frames = conversation().split_off(OPENING.len());
    let cuts = [0, 1, 6, 30, 43, 44, frames.len() - 1, frames.len()];
    for (seq, cut) in (1..).zip(cuts) {
        let (mut client, mut host) = connection();
        client.write_all(&frames).unwrap();
        let leftover = read(&mut host, cut);
        let protocol = (cut % 2 == 0).then_some("forebay.v1");
        server.handle.adopt_upgraded(host, protocol, &leftover).unwrap();
        hear_answers(&mut client, seq);
        drop(client);
        wait_until_gone(&server.handle);
    }
    server.stop();
}

#[test]
fn what_an_http_server_hands_over_may_be_no_websocket() {
    let page = Document { path: "/".into(), content_type: "text/plain".into(), body: Bytes::from_static(b"here") };
    let server = start(ServerOptions { documents: vec![page], ..ServerOptions::default() });
    for (request, status) in [("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "200"), ("POST / HTTP/1.1\r\n\r\n", "405")] {
        let (mut client, host) = connection();
        server.handle.adopt(host, request.as_bytes()).unwrap();
        let answer = String::from_utf8(rest(&mut client)).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    // Nor need there be anybody.
    let (client, host) = connection();
    drop(client);
    server.handle.adopt(host, &OPENING.as_bytes()[..10]).unwrap();
    wait_until_gone(&server.handle);
    server.stop();
}

#[test]
fn refused_connections_are_closed_and_it_is_told_why() {
    let refused = |handle: &Handle, protocol: Option<Option<&str>>| {
        let (mut client, host) = connection();
        let error = match protocol {
            None => handle.adopt(host, OPENING.as_bytes()),
            Some(protocol) => handle.adopt_upgraded(host, protocol, b""),
        };
        let (answer, error) = (rest(&mut client), error.unwrap_err());
        // Who waits for the hub's answer gets one; who has one is closed.
        let is_answered = protocol.is_none() && !matches!(error, AdoptError::Stopped);
        let begin = if is_answered { "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n" } else { "" };
        assert!(answer.starts_with(begin.as_bytes()) && answer.is_empty() != is_answered, "{error}: {answer:?}");
        error
    };
    let hub = Options { connections_max: 1, ..Options::default() };
    let server = start(ServerOptions { hub, ..ServerOptions::default() });
    let unknown = refused(&server.handle, Some(Some("mqtt")));
    assert!(matches!(unknown, AdoptError::Refused(AcceptError::UnknownProtocol)), "{unknown}");
    let client = server.subscriber("t");
    for protocol in [None, Some(None)] {
        let full = refused(&server.handle, protocol);
        assert!(matches!(full, AdoptError::Refused(AcceptError::ConnectionsFull)), "{full}");
    }

    // What waits in a lane keeps it draining.
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    server.handle.publish("t", Payload::Text("0")).unwrap();
    server.handle.shutdown();
    let draining = refused(&server.handle, None);
    assert!(matches!(draining, AdoptError::Refused(AcceptError::Draining)), "{draining}");
    assert!(subscription.next_timeout(HANG).is_ok());
    assert_eq!(number(&text(&client), "seq"), 1);
    let handle = server.handle.clone();
    server.stop();
    let stopped = refused(&handle, None);
    assert!(matches!(stopped, AdoptError::Stopped), "{stopped}");
}

#[test]
fn a_server_that_listens_nowhere_serves_what_it_adopts() {
    let server = Server::unbound(ServerOptions::default()).unwrap();
    assert_eq!(server.local_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    let handle = server.handle();
    let running = std::thread::spawn(move || server.run());
    let (mut client, host) = connection();
    handle.adopt(host, b"").unwrap();
    client.write_all(&conversation()).unwrap();
    hear_all(&mut client, 1);
    assert_eq!(handle.publish("t", Payload::Text("8")).unwrap().matched, 1);
    assert_eq!(hear(&mut client), r#"{"op":"message","topic":"t","seq":2,"data":8}"#);
    let snapshot = handle.snapshot(1).unwrap();
    assert_eq!(snapshot.lanes[0].peer, Some(client.local_addr().unwrap()));
    handle.shutdown();
    let close = read(&mut client, 4);
    drop(client);
    assert_eq!((close[0], &close[2..4]), (0x88, &1_001_u16.to_be_bytes()[..]), "going away, as to any other");
    running.join().unwrap().unwrap();
}

#[test]
fn an_adopted_connection_is_raw_where_all_are() {
    let (tell, told) = std::sync::mpsc::channel();
    let options = ServerOptions { mode: Mode::Raw, ..ServerOptions::default() };
    let server = start_with(options, move |hub, event, now| match event {
        Event::Received(conn) => {
            while let Some(message) = hub.receive(conn, now) {
                hub.send(conn, Payload::Text(message.as_text().unwrap()), now).unwrap();
            }
        }
        Event::Closed { reason, .. } => tell.send(reason).unwrap(),
        _ => {}
    });
    let (mut client, host) = connection();
    server.handle.adopt_upgraded(host, Some("chat"), &masked(0x81, b"one")).unwrap();
    say(&mut client, "two");
    assert_eq!((hear(&mut client), hear(&mut client)), ("one".to_owned(), "two".to_owned()));
    drop(client);
    assert_eq!(told.recv_timeout(HANG), Ok(EndReason::PeerGone));
    server.stop();
}

#[test]
fn accepted_and_adopted_connections_are_peers() {
    let server = start(ServerOptions::default());
    let accepted = subscribed(server.connect(), "t");
    let idle = socket(&server);
    let (mut client, host) = connection();
    client.write_all(&conversation()).unwrap();
    server.handle.adopt(host, b"").unwrap();
    hear_all(&mut client, 1);
    assert_eq!(text(&accepted), r#"{"op":"message","topic":"t","seq":1,"data":7}"#);
    drop((client, idle));
    server.stop();
}

#[test]
fn nothing_that_is_handed_over_while_the_server_stops_stays_open() {
    // Little room everywhere: for commands, for connections.
    let soon = Duration::from_millis(200);
    let hub = Options { connections_max: 60, close_timeout: soon, ..Options::default() };
    let server = start(ServerOptions { hub, mailbox_max: 1, drain_timeout: soon, ..declared() });
    let posting: Vec<_> = (0..4)
        .map(|_| {
            let handle = server.handle.clone();
            std::thread::spawn(move || {
                let hand_over = |nth: usize| {
                    let (mut client, host) = connection();
                    client.write_all(&conversation()).unwrap();
                    // Some hang up at once.
                    let kept = (!nth.is_multiple_of(3)).then_some(client);
                    (kept, handle.adopt(host, b"").is_ok())
                };
                (0..50).map(hand_over).collect::<Vec<_>>()
            })
        })
        .collect();
    while server.handle.stats().accepted < 40 {
        std::thread::yield_now();
    }
    server.handle.shutdown();
    let handed_over: Vec<_> = posting.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let taken = handed_over.iter().filter(|(_, is_taken)| *is_taken).count() as u64;
    for mut client in handed_over.into_iter().filter_map(|(client, _)| client) {
        // A reset is an end as well.
        let end = std::io::copy(&mut client, &mut std::io::sink()).map_err(|error| error.kind());
        assert!(end.is_ok() || end == Err(std::io::ErrorKind::ConnectionReset), "{end:?}");
    }
    let handle = server.handle.clone();
    server.stop();
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.closed, stats.connections), (taken, taken, 0));
    assert_eq!(stats.lanes.conservation_error() + stats.direct.conservation_error(), 0);
}
