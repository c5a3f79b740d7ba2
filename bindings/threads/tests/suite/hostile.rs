//! A client against servers that answer what they should not.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::binding::forebay_core::wire::{HandshakeError as H, ResponseError as R};
use crate::binding::{Client, ClientOptions, ConnectError, EndReason};

/// What comes of it when a server answers `answer`, with `ACCEPT` in the place of the right one. The client hangs up.
fn answered(answer: &str) -> Result<(), EndReason> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.split("Sec-WebSocket-Key: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let accept = forebay_core::wire::handshake::accept_key(key);
        // It may hang up before it has read all that.
        let _ = stream.write_all(answer.replace("ACCEPT", std::str::from_utf8(&accept).unwrap()).as_bytes());
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        listener.set_nonblocking(true).unwrap();
        (rest, listener.accept().is_ok())
    });
    let options = ClientOptions { protocols: vec!["chat".to_owned()], ..ClientOptions::default() };
    let connected = match Client::connect(&url, options) {
        Ok(client) => {
            drop(client);
            Ok(())
        }
        Err(ConnectError::Refused(closed)) => Err(closed.reason),
        Err(error) => panic!("{error}"),
    };
    let (rest, came_again) = server.join().unwrap();
    assert!(connected.is_ok() || rest.is_empty(), "nothing is sent on a connection that was not opened: {rest:?}");
    assert!(!came_again, "nothing that a server names is fetched");
    connected
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";

#[test]
fn answers_that_do_not_fit_open_nothing() {
    let with = |line: &str| GOOD.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    assert_eq!((answered(GOOD), answered(&with("Sec-WebSocket-Protocol: chat"))), (Ok(()), Ok(())));
    let rows = [
        (GOOD.replace("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), R::Accept),
        (GOOD.replace("Sec-WebSocket-Accept: ACCEPT\r\n", ""), R::Accept),
        (with("Sec-WebSocket-Accept: ACCEPT"), R::Accept),
        (GOOD.replace("Upgrade: websocket\r\n", ""), R::Upgrade),
        (GOOD.replace("websocket", "h2c"), R::Upgrade),
        (GOOD.replace("Connection: Upgrade\r\n", ""), R::Connection),
        (with("Sec-WebSocket-Extensions: permessage-deflate"), R::Extension),
        (with("Sec-WebSocket-Extensions: x-unheard-of"), R::Extension),
        (with("Sec-WebSocket-Protocol: superchat"), R::Protocol),
        (with("Sec-WebSocket-Protocol: chat, chat"), R::Protocol),
        (with("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat"), R::Protocol),
        (with("X: y\r\n".repeat(3_000).trim_end()), R::Head(H::HeadTooLarge)),
        (with("X: y\r\n".repeat(200).trim_end()), R::Head(H::TooManyFields)),
        (with(&format!("X: {}", "y".repeat(256 << 10))), R::Head(H::HeadTooLarge)),
        (with("X: a\r\n b"), R::Head(H::Malformed)),
        (with("X : a"), R::Head(H::Malformed)),
        (with("X: a\0"), R::Head(H::StrayControl)),
        (with("X: a\rb"), R::Head(H::StrayControl)),
        (GOOD.replace("\r\n", "\n"), R::Head(H::StrayControl)),
        (GOOD.replace("HTTP/1.1", "HTTP/1.0"), R::Head(H::VersionNotSupported)),
        ("SSH-2.0-server\r\n\r\n".to_owned(), R::Head(H::Malformed)),
        ("HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n".to_owned(), R::Status(302)),
        ("HTTP/1.1 301 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_owned(), R::Status(301)),
        ("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n".to_owned(), R::Status(401)),
        ("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 14\r\n\r\n".to_owned(), R::Status(426)),
        (format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20)), R::Status(200)),
        (format!("HTTP/1.1 100 Continue\r\n\r\n{GOOD}"), R::Status(100)),
    ];
    for (answer, expected) in rows {
        assert_eq!(answered(&answer), Err(EndReason::BadResponse(expected)), "{answer:.120}");
    }
}

#[test]
fn what_would_break_out_of_its_line_is_not_written() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let headers = |name: &str, value: &str| ClientOptions {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..ClientOptions::default()
    };
    let protocols = |name: &str| ClientOptions { protocols: vec![name.to_owned()], ..ClientOptions::default() };
    for (url, options) in [
        (url.clone(), headers("X", "a\r\nY: b")),
        (url.clone(), headers("X", "a\nb")),
        (url.clone(), headers("X", "a\0")),
        (url.clone(), headers("X\r\nY", "a")),
        (url.clone(), headers("X:", "a")),
        (url.clone(), headers("Upgrade", "h2c")),
        (url.clone(), headers("Host", "other")),
        (url.clone(), headers("Sec-WebSocket-Key", "x")),
        (url.clone(), protocols("a\r\nX: y")),
        (url.clone(), protocols("a, b")),
        (format!("{url}a\r\nX: y"), ClientOptions::default()),
        (format!("{url}a b"), ClientOptions::default()),
    ] {
        let error = Client::connect(&url, options).unwrap_err();
        assert!(matches!(error, ConnectError::Request(_) | ConnectError::Url(_)), "{url:?}: {error}");
    }
    listener.set_nonblocking(true).unwrap();
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nonblocking(false).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_or_default(), 0, "nothing was written");
    }
}
