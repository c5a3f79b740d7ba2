//! A socket that is spoken with by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::common::{HANG, Running};

pub(crate) const OPENING: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(crate) fn socket(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

/// Everything the server says until it closes.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

pub(crate) fn opened(server: &Running) -> TcpStream {
    let mut stream = socket(server);
    for byte in OPENING.bytes() {
        stream.write_all(&[byte]).unwrap(); // A byte at a time is a handshake as well.
    }
    assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream
}

/// What comes up to an empty line.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A frame of at most 125 bytes, masked with zeros.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// A text message.
pub(crate) fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(&masked(0x81, text.as_bytes())).unwrap();
}

/// The next frame, which is a text message of at most 64 KiB.
pub(crate) fn hear(stream: &mut TcpStream) -> String {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[0], 0x81, "a whole text message");
    let mut len = usize::from(header[1]);
    if len == 126 {
        stream.read_exact(&mut header).unwrap();
        len = usize::from(u16::from_be_bytes(header));
    }
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).unwrap();
    String::from_utf8(payload).unwrap()
}

/// A subscriber whose subscription is in force.
pub(crate) fn subscriber(server: &Running, topic: &str) -> TcpStream {
    let mut stream = opened(server);
    assert!(hear(&mut stream).starts_with(r#"{"op":"hello","#));
    say(&mut stream, &format!(r#"{{"op":"subscribe","topic":"{topic}","id":1}}"#));
    assert!(hear(&mut stream).starts_with(r#"{"op":"ok","id":1,"#));
    stream
}
