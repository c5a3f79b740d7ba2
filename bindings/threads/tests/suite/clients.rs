//! The client, against a raw server and against sockets that misbehave.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::common::{HANG, start, start_with};
use crate::binding::forebay_core::Instant;
use crate::binding::forebay_core::wire::WireError;
use crate::binding::{
    Client, ClientOptions, CloseCode, Closed, ConnectError, EndReason, Event, Hub, LaneLimits, Mode, Options, Payload,
    ReceiveError, SendError, ServerOptions, UrlError,
};

/// Sends every message back; what does not fit waits in the hub, and then in TCP.
fn echo(hub: &mut Hub, event: Event, now: Instant) {
    let (Event::Received(conn) | Event::Sendable(conn)) = event else { return };
    while let Some(message) = hub.receive(conn, now) {
        let payload = match message.as_text() {
            Some(text) => Payload::Text(text),
            None => Payload::Binary(&message.bytes),
        };
        if hub.send(conn, payload, now).is_err() {
            hub.close(conn, CloseCode::TRY_AGAIN_LATER, "too fast", now);
        }
    }
}

fn raw() -> ServerOptions {
    let hub = Options { direct_lane: LaneLimits { messages_max: 1 << 20, bytes_max: 64 << 20 }, ..Options::default() };
    ServerOptions { mode: Mode::Raw, hub, ..ServerOptions::default() }
}

#[test]
fn a_client_knows_its_address() {
    let server = start(ServerOptions::default());
    let client = server.subscriber("t");
    assert_eq!(server.handle.snapshot(1).unwrap().lanes[0].peer, Some(client.local_addr()));
}

#[test]
fn messages_go_both_ways_from_two_threads_at_once() {
    const COUNT: u32 = 100_000;
    let server = start_with(raw(), echo);
    let client = Client::connect(&server.url(), ClientOptions::default()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                client.send(Payload::Binary(&n.to_be_bytes())).unwrap();
            }
        });
        for n in 0..COUNT {
            let message = client.receive_timeout(HANG).unwrap();
            assert_eq!((message.is_text, &message.bytes[..]), (false, &n.to_be_bytes()[..]));
        }
    });
    let large = "é".repeat(200_000);
    client.send(Payload::Text(&large)).unwrap();
    assert_eq!(client.receive_timeout(HANG).unwrap().as_text(), Some(large.as_str()));
    assert_eq!(client.receive_timeout(Duration::ZERO), Err(ReceiveError::TimedOut));
    let closed = client.close(CloseCode::NORMAL, "done");
    assert_eq!(closed, Closed { reason: EndReason::Closed(CloseCode::NORMAL), unsent_messages: 0 });
    assert_eq!(client.send(Payload::Text("")), Err(SendError::Closed(closed)));
    assert_eq!(client.receive(), Err(closed));
    server.stop();
}

#[test]
fn what_was_sent_arrives_before_the_close() {
    let server = start_with(raw(), |_, _, _| {});
    let client = Client::connect(&server.url(), ClientOptions::default()).unwrap();
    for _ in 0..1_000 {
        client.send(Payload::Text("message")).unwrap();
    }
    client.flush().unwrap();
    drop(client);
    let second = Client::connect(&server.url(), ClientOptions::default()).unwrap();
    for _ in 0..1_000 {
        second.send(Payload::Text("message")).unwrap();
    }
    assert_eq!(second.close(CloseCode::GOING_AWAY, "").unsent_messages, 0);
    while server.handle.stats().received.messages < 2_000 {
        std::thread::yield_now();
    }
    server.stop();
}

#[test]
fn a_client_that_does_not_receive_holds_back_its_server() {
    // The server would send without end; the client takes nothing, so it can only send what the bounds hold.
    let flood = |hub: &mut Hub, event: Event, now: Instant| {
        let (Event::Opened { conn, .. } | Event::Sendable(conn)) = event else { return };
        while hub.send(conn, Payload::Binary(&[0; 4_096]), now).is_ok() {}
    };
    let lane = LaneLimits { messages_max: 16, bytes_max: 1 << 20 };
    let mut options = raw();
    options.hub.direct_lane = lane;
    options.hub.close_timeout = Duration::from_millis(10);
    options.drain_timeout = Duration::from_millis(10);
    let server = start_with(options, flood);
    let limits = Options { message_bytes_max: 64 << 10, inbound_bytes_max: 64 << 10, ..Options::default() };
    let options = ClientOptions { hub: limits, receive_buffer_bytes: Some(8 << 10), ..ClientOptions::default() };
    let client = Client::connect(&server.url(), options).unwrap();
    client.receive_timeout(HANG).unwrap();
    let sent = || server.handle.stats().direct.sent.messages;
    let mut before = sent();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = sent();
        if now == before {
            break; // It stands still.
        }
        before = now;
    }
    assert!(before < 4 << 10, "16 MiB would be more than every bound on the way: {before}");
    for _ in 0..10_000 {
        client.receive_timeout(HANG).unwrap();
    }
    server.stop();
}

#[test]
fn sending_is_bounded_and_the_rest_is_told_as_unsent() {
    // A peer that opens and then never reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        answer_opening(&mut stream);
        stream
    });
    let lane = LaneLimits { messages_max: 100, bytes_max: 64 << 10 };
    let options = ClientOptions {
        hub: Options { direct_lane: lane, ..Options::default() },
        send_buffer_bytes: Some(16 << 10),
        ..ClientOptions::default()
    };
    let client = Client::connect(&url, options).unwrap();
    let stream = peer.join().unwrap();
    assert_eq!(client.send(Payload::Binary(&vec![0; 65_537])), Err(SendError::TooLarge));
    let mut accepted = 0_u32;
    let mut refusals = 0;
    while refusals < 100 {
        match client.try_send(Payload::Binary(&[0; 8_192])) {
            Ok(()) => (accepted, refusals) = (accepted + 1, 0),
            Err(SendError::Full) => {
                refusals += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(accepted < 4_096, "32 MiB would be more than every bound on the way");
    drop(stream);
    let closed = client.flush().unwrap_err();
    assert_eq!(closed.reason, EndReason::PeerGone);
    assert!((1..=9).contains(&closed.unsent_messages), "what waits in 64 KiB: {closed:?}");
    assert_eq!(client.send(Payload::Text("")), Err(SendError::Closed(closed)));
}

fn answer_opening(stream: &mut TcpStream) {
    answer_opening_and_say(stream, b"");
}

/// Both in one write, so that they are read at once.
fn answer_opening_and_say(stream: &mut TcpStream, bytes: &[u8]) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let accept = forebay_core::wire::handshake::accept_key(key);
    let accept = std::str::from_utf8(&accept).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(&[answer.as_bytes(), bytes].concat()).unwrap();
}

#[test]
fn a_server_that_breaks_the_protocol_at_once_was_connected_to_and_is_answered_first() {
    for messages in [0, 2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let ping_without_fin = [0x09, 0];
            answer_opening_and_say(&mut stream, &[&[0x81, 1, b'a'].repeat(messages)[..], &ping_without_fin].concat());
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).unwrap();
            answers
        });
        let client = Client::connect(&url, ClientOptions::default()).unwrap();
        for _ in 0..messages {
            let message = client.receive_timeout(HANG).unwrap();
            client.send(Payload::Text(message.as_text().unwrap())).unwrap();
        }
        let closed = client.receive().unwrap_err();
        assert_eq!(closed, Closed { reason: EndReason::Protocol(WireError::FragmentedControl), unsent_messages: 0 });
        // What came before it was answered before the Close frame.
        let answers = peer.join().unwrap();
        assert!(answers.chunks(2 + 4 + 1).take(messages).all(|frame| frame.starts_with(&[0x81, 0x81])), "{answers:?}");
        assert_eq!(answers[7 * messages], 0x88);
    }
}

#[test]
fn messages_that_came_before_a_broken_connection_are_received() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        answer_opening(&mut stream);
        let frames: Vec<u8> = [0x81, 1, b'a'].repeat(10_000);
        stream.write_all(&frames).unwrap();
    });
    let client = Client::connect(&url, ClientOptions::default()).unwrap();
    peer.join().unwrap();
    for _ in 0..10_000 {
        assert_eq!(client.receive_timeout(HANG).unwrap().as_text(), Some("a"));
    }
    let gone = Closed { reason: EndReason::PeerGone, unsent_messages: 0 };
    assert_eq!(client.receive(), Err(gone));
    assert_eq!(client.closed(), Some(gone));
    assert_eq!(client.flush(), Ok(()), "nothing was sent");
}

#[test]
fn the_death_of_the_server_is_told_to_who_waits() {
    let server = start(ServerOptions::default());
    let client = server.connect();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.receive().unwrap_err());
        server.stop();
        let closed = waiting.join().unwrap();
        assert_eq!(closed.reason, EndReason::PeerClosed(Some(CloseCode::GOING_AWAY)));
        assert_eq!(closed.to_string(), "closed by the peer with code 1001");
    });
}

#[test]
fn what_cannot_be_connected_to_is_told_clearly() {
    let connect = |url: &str| Client::connect(url, ClientOptions::default()).unwrap_err();
    assert!(matches!(connect("wss://localhost/"), ConnectError::Url(UrlError::Tls)));
    assert_eq!(connect("localhost:80").to_string(), "a URL to connect to begins with ws://");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(matches!(connect(&format!("ws://127.0.0.1:{port}")), ConnectError::Io(_)));

    let options = ClientOptions { headers: vec![("a".into(), "b\r\nc".into())], ..ClientOptions::default() };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    assert_eq!(Client::connect(&url, options).unwrap_err().to_string(), "header value not valid");

    // Nobody answers.
    let options = ClientOptions { connect_timeout: Duration::from_millis(50), ..ClientOptions::default() };
    assert!(matches!(Client::connect(&url, options), Err(ConnectError::TimedOut)));

    // Somebody answers, but not like that.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
    });
    let ConnectError::Refused(refused) = connect(&url) else { panic!("it was refused") };
    assert!(matches!(refused.reason, EndReason::BadResponse(_)), "{refused:?}");
    answers.join().unwrap();
}
