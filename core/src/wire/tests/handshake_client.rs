//! The client's side: requests, and answers to them.

use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::BytesMut;

const KEY: &[u8; 24] = b"dGhlIHNhbXBsZSBub25jZQ==";
const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

fn options() -> RequestOptions<'static> {
    RequestOptions { host: "example.com:8080", target: "/chat?room=1", ..RequestOptions::default() }
}

fn put(options: &RequestOptions<'_>) -> Result<Vec<u8>, InvalidRequest> {
    let mut out = BytesMut::from(&b"before"[..]);
    let put = put_request(&mut out, KEY, options, None);
    assert!(put.is_ok() || out == b"before"[..], "nothing is written on an error");
    put.map(|()| out[6..].to_vec())
}

#[test]
fn keys() {
    assert_eq!(&client_key(*b"the sample nonce"), KEY);
    assert_eq!(&client_key([0xff; 16]), b"/////////////////////w==");
}

#[test]
fn our_server_takes_what_our_client_writes() {
    let head = put(&RequestOptions {
        origin: Some("https://example.com"),
        protocols: &["a", "b"],
        headers: &[("Authorization", "Bearer x"), ("X-Empty", "")],
        ..options()
    })
    .unwrap();
    let request = parse_request(&head).unwrap();
    assert_eq!((request.path, request.query), ("/chat", Some("room=1")));
    assert_eq!(request.host, "example.com:8080");
    assert_eq!(request.origin, Some("https://example.com"));
    assert_eq!(request.key.as_bytes(), KEY);
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(request.header("authorization"), Some(&b"Bearer x"[..]));
    assert_eq!(request.header("x-empty"), Some(&b""[..]));

    let mut answer = BytesMut::new();
    let with_protocol = ResponseOptions { protocol: Some("b"), ..ResponseOptions::default() };
    put_response(&mut answer, &accept_key(request.key), &with_protocol).unwrap();
    assert_eq!(parse_response(&answer, KEY, &["a", "b"], None).unwrap().protocol, Some("b"));

    let plain = put(&options()).unwrap();
    assert_eq!(
        core::str::from_utf8(&plain).unwrap(),
        "GET /chat?room=1 HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
}

#[test]
fn what_cannot_be_written() {
    use InvalidRequest as I;
    let base = options();
    let rows = [
        (RequestOptions { host: "", ..base }, I::Host),
        (RequestOptions { host: "a\r\nX: y", ..base }, I::Host),
        (RequestOptions { host: "user@a", ..base }, I::Host),
        (RequestOptions { target: "", ..base }, I::Target),
        (RequestOptions { target: "chat", ..base }, I::Target),
        (RequestOptions { target: "/a b", ..base }, I::Target),
        (RequestOptions { target: "/a\r\n", ..base }, I::Target),
        (RequestOptions { target: "/a#b", ..base }, I::Target),
        (RequestOptions { target: "/ä", ..base }, I::Target),
        (RequestOptions { origin: Some("a\nb"), ..base }, I::Origin),
        (RequestOptions { protocols: &["a b"], ..base }, I::Protocol),
        (RequestOptions { protocols: &[""], ..base }, I::Protocol),
        (RequestOptions { protocols: &["a\r\n"], ..base }, I::Protocol),
        (RequestOptions { protocols: &["a", "b", "a"], ..base }, I::Protocol),
        (RequestOptions { headers: &[("", "x")], ..base }, I::HeaderName),
        (RequestOptions { headers: &[("a b", "x")], ..base }, I::HeaderName),
        (RequestOptions { headers: &[("a:", "x")], ..base }, I::HeaderName),
        (RequestOptions { headers: &[("host", "x")], ..base }, I::HeaderName),
        (RequestOptions { headers: &[("Content-length", "0")], ..base }, I::HeaderName),
        (RequestOptions { headers: &[("sec-websocket-extensions", "x")], ..base }, I::HeaderName),
        (RequestOptions { headers: &[("a", "x\r\ny")], ..base }, I::HeaderValue),
        (RequestOptions { headers: &[("a", "x"), ("b", "\0")], ..base }, I::HeaderValue),
        (RequestOptions { headers: &[("a", "\u{7f}")], ..base }, I::HeaderValue),
    ];
    for (options, expected) in rows {
        assert_eq!(put(&options), Err(expected), "{options:?}");
    }
    for key in [[b'\n'; 24], [0xff; 24], [b' '; 24]] {
        assert_eq!(put_request(&mut BytesMut::new(), &key, &base, None), Err(I::Key));
    }
}

#[test]
fn answers() {
    use ResponseError as R;
    let replaced = |from: &str, to: &str| -> String {
        assert!(RESPONSE.contains(from), "{from}");
        RESPONSE.replacen(from, to, 1)
    };
    let with = |line: &str| replaced("Upgrade:", &format!("{line}\r\nUpgrade:"));
    let head = |error| Err(R::Head(error));
    let rows = [
        (RESPONSE.into(), Ok(Some("chat"))),
        (replaced("Sec-WebSocket-Protocol: chat\r\n", ""), Ok(None)),
        (replaced("Upgrade: websocket", "upgrade: WebSocket"), Ok(Some("chat"))),
        (replaced("Connection: Upgrade", "Connection: keep-alive, upgrade"), Ok(Some("chat"))),
        (replaced(" Switching Protocols", ""), Ok(Some("chat"))),
        (replaced("101 Switching", "200 Switching"), Err(R::Status(200))),
        (replaced("101 Switching", "302 Switching"), Err(R::Status(302))),
        ("HTTP/1.0 503 Busy\r\n\r\n".into(), Err(R::Status(503))),
        (replaced("HTTP/1.1", "HTTP/1.0"), head(HandshakeError::VersionNotSupported)),
        (replaced("HTTP/1.1", "HTTP/3"), head(HandshakeError::VersionNotSupported)),
        (replaced("HTTP/1.1", "ICY"), head(HandshakeError::Malformed)),
        (replaced("HTTP/1.1", "\r\nHTTP/1.1"), head(HandshakeError::Malformed)),
        (replaced("\r\n\r\n", "\r\n"), head(HandshakeError::Malformed)),
        (format!("{RESPONSE}X: y\r\n"), head(HandshakeError::Malformed)),
        (with("X : y"), head(HandshakeError::Malformed)),
        (with("X: y\r\n z"), head(HandshakeError::Malformed)),
        (with("X: y\nZ: z"), head(HandshakeError::StrayControl)),
        (with("X: y\r\n".repeat(100).trim_end()), head(HandshakeError::TooManyFields)),
        (replaced("Upgrade: websocket\r\n", ""), Err(R::Upgrade)),
        (replaced("Upgrade: websocket", "Upgrade: h2c"), Err(R::Upgrade)),
        (replaced("Connection: Upgrade\r\n", ""), Err(R::Connection)),
        (replaced("Connection: Upgrade", "Connection: close"), Err(R::Connection)),
        (replaced("s3pP", "S3pP"), Err(R::Accept)),
        (replaced("Sec-WebSocket-Accept", "X"), Err(R::Accept)),
        (with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), Err(R::Accept)),
        (with("Sec-WebSocket-Extensions: permessage-deflate"), Err(R::Extension)),
        (replaced("Protocol: chat", "Protocol: other"), Err(R::Protocol)),
        (replaced("Protocol: chat", "Protocol: Chat"), Err(R::Protocol)),
        (replaced("Protocol: chat", "Protocol: chat, superchat"), Err(R::Protocol)),
        (replaced("Protocol: chat", "Protocol:"), Err(R::Protocol)),
        (with("Sec-WebSocket-Protocol: chat"), Err(R::Protocol)),
    ];
    for (head, expected) in rows {
        let parsed = parse_response(head.as_bytes(), KEY, &["superchat", "chat"], None);
        assert_eq!(parsed.map(|response| response.protocol), expected, "{head}");
    }
    assert_eq!(parse_response(RESPONSE.as_bytes(), KEY, &[], None).unwrap_err(), R::Protocol);
    let response = parse_response(RESPONSE.as_bytes(), KEY, &["chat"], None).unwrap();
    assert_eq!(response.fields.get("connection"), Some(&b"Upgrade"[..]));
    for cut in 0..RESPONSE.len() {
        assert!(parse_response(&RESPONSE.as_bytes()[..cut], KEY, &["chat"], None).is_err());
    }
}

#[test]
fn texts() {
    assert_eq!(format!("{}", ResponseError::Status(404)), "the server answered with status 404");
    assert_eq!(format!("{}", ResponseError::from(HandshakeError::HeadTooLarge)), "request head too large");
    assert_eq!(format!("{}", InvalidRequest::Host), "host not valid");
}
