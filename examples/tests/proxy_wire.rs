//! The proxy between clients and a server of another library.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use forebay_examples::{Client, PATIENCE, Server, read, say, wait_until};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{ClientRequestBuilder, Error, Message};

/// What the upstream heard.
#[derive(Debug, PartialEq)]
enum Heard {
    Request(String),
    Message(Message),
    End(Option<CloseFrame>),
}

/// An upstream that tells what it hears, sends each message back, and takes the first subprotocol offered.
fn upstream() -> (SocketAddr, Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heard) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            thread::spawn(move || echo(stream.unwrap(), &sender));
        }
    });
    (address, heard)
}

#[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
fn echo(stream: TcpStream, heard: &Sender<Heard>) {
    let callback = |request: &Request, mut response: Response| {
        heard.send(Heard::Request(request.uri().to_string())).unwrap();
        if let Some(protocols) = request.headers().get("Sec-WebSocket-Protocol") {
            let first = protocols.to_str().unwrap().split(',').next().unwrap();
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_str(first).unwrap());
        }
        Ok(response)
    };
    let mut socket = tungstenite::accept_hdr(stream, callback).unwrap();
    let mut close = None;
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => close = frame,
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                let _ = heard.send(Heard::Message(message.clone()));
                if socket.send(message).is_err() {
                    break;
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let _ = heard.send(Heard::End(close));
}

fn start() -> (Server, Receiver<Heard>) {
    let (address, heard) = upstream();
    (Server::start("proxy_wire", &[&address.to_string()]), heard)
}

fn hear(heard: &Receiver<Heard>) -> Heard {
    heard.recv_timeout(PATIENCE).expect("the upstream hears something")
}

fn connect(server: &Server, heard: &Receiver<Heard>) -> Client {
    let client = server.websocket();
    assert_eq!(hear(heard), Heard::Request("/".to_owned()));
    client
}

/// A whole frame in one piece; the mask is 0.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).expect("a short one"), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn messages_and_pings_go_through() {
    let (server, heard) = start();
    let mut client = connect(&server, &heard);
    for payload in ["", "x", &"y".repeat(70_000), &"z".repeat(1 << 20)] {
        say(&mut client, payload);
        assert_eq!(hear(&heard), Heard::Message(Message::text(payload)));
        assert!(read(&mut client) == payload);
        client.send(Message::binary(payload.as_bytes().to_vec())).unwrap();
        assert_eq!(hear(&heard), Heard::Message(Message::binary(payload.as_bytes().to_vec())));
        assert_eq!(client.read().unwrap(), Message::binary(payload.as_bytes().to_vec()));
    }
    // A message in three frames with a ping between them.
    let frames = [frame(0x01, b"he"), frame(0x89, b"alive?"), frame(0x00, "l\u{e4}".as_bytes()), frame(0x80, b"o")];
    for byte in frames.concat() {
        client.get_mut().write_all(&[byte]).unwrap();
    }
    assert_eq!(client.read().unwrap(), Message::Pong(b"alive?".to_vec().into()));
    assert_eq!(read(&mut client), "hel\u{e4}o");
    assert_eq!(hear(&heard), Heard::Message(Message::text("hel\u{e4}o")));
}

#[test]
fn path_query_and_subprotocol_go_through() {
    let (server, heard) = start();
    let request = ClientRequestBuilder::new(format!("ws://{}/a/b?c=d", server.address).parse().unwrap())
        .with_sub_protocol("chat")
        .with_sub_protocol("soap");
    let (_client, response) = tungstenite::client(request, server.tcp()).unwrap();
    assert_eq!(hear(&heard), Heard::Request("/a/b?c=d".to_owned()));
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "chat");
}

#[test]
fn the_close_goes_through_and_comes_back() {
    let (server, heard) = start();
    let before = server.holds();
    let mut client = connect(&server, &heard);
    let frame = CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() };
    client.close(Some(frame.clone())).unwrap();
    assert_eq!(hear(&heard), Heard::End(Some(frame.clone())));
    assert_eq!(client.read().unwrap(), Message::Close(Some(frame)));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    wait_until("nothing is left of it", || server.holds() == before);
}

#[test]
fn a_violation_is_answered_and_goes_no_further() {
    let (server, heard) = start();
    let before = server.holds();
    let too_long = [&[0x82, 0xff][..], &((1_u64 << 20) + 1).to_be_bytes(), &[0; 4]].concat();
    for (bytes, code) in [
        (vec![0x81, 0x01, b'x'], CloseCode::Protocol),
        (frame(0xc1, b"x"), CloseCode::Protocol),
        (frame(0x80, b"x"), CloseCode::Protocol),
        (frame(0x81, b"\xff"), CloseCode::Invalid),
        ([frame(0x01, b"\xc3"), frame(0x80, b"x")].concat(), CloseCode::Invalid),
        (too_long, CloseCode::Size),
    ] {
        let mut client = connect(&server, &heard);
        let good_and_bad = [frame(0x81, b"good"), bytes].concat();
        client.get_mut().write_all(&good_and_bad).unwrap();
        assert_eq!(hear(&heard), Heard::Message(Message::text("good")));
        let Heard::End(Some(frame)) = hear(&heard) else { panic!("more than the good message was heard") };
        assert_eq!(frame.code, CloseCode::Away);
        let closed = loop {
            match client.read().unwrap() {
                Message::Close(Some(frame)) => break frame.code,
                message => assert_eq!(message, Message::text("good")),
            }
        };
        assert_eq!(closed, code);
    }
    wait_until("nothing is left of them", || server.holds() == before);
}

#[test]
fn who_vanishes_takes_the_other_side_along() {
    let (server, heard) = start();
    let before = server.holds();
    drop(connect(&server, &heard));
    let Heard::End(Some(frame)) = hear(&heard) else { panic!("it is told") };
    assert_eq!(frame.code, CloseCode::Away);
    wait_until("nothing is left of it", || server.holds() == before);
}

#[test]
fn what_is_no_opening_handshake_is_refused() {
    let (server, _heard) = start();
    let mut client = server.tcp();
    client.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start("proxy_wire", &[&nobody.to_string()]);
    match tungstenite::client(format!("ws://{}/", server.address), server.tcp()) {
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => assert_eq!(response.status(), 502),
        result => panic!("{result:?}"),
    }
}

#[test]
fn a_client_that_reads_nothing_stops_what_it_sends() {
    let (server, heard) = start();
    let mut client = connect(&server, &heard);
    let before = server.peak_bytes();
    let mut stream = client.get_ref().try_clone().unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let payload = vec![b'x'; 100];
    let one = frame(0x82, &payload);
    let chunk = one.repeat(5_000);
    let mut sent = 0;
    loop {
        assert!(sent < 200 << 20, "it reads on and on");
        match stream.write(&chunk[sent % one.len()..]) {
            Ok(len) => sent += len,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
    }
    server.wait_until_idle();
    if let (Some(before), Some(peak)) = (before, server.peak_bytes()) {
        assert!(peak - before < 4 << 20, "it grew by {} bytes", peak - before);
    }
    let rest = one[sent % one.len()..].to_vec();
    stream.set_write_timeout(None).unwrap();
    let writing = thread::spawn(move || stream.write_all(&rest).unwrap());
    for _ in 0..=sent / one.len() {
        assert_eq!(client.read().unwrap(), Message::binary(payload.clone()));
    }
    writing.join().unwrap();
}
