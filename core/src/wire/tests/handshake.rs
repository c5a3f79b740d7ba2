//! The server's side: heads, requests, answers.

use super::*;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::BytesMut;

use HandshakeError as E;

/// The request of RFC 6455 §1.2.
const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn replaced(from: &str, to: &str) -> String {
    assert!(REQUEST.contains(from), "{from}");
    REQUEST.replacen(from, to, 1)
}

/// The request with this line in front of its other fields.
fn with(line: &str) -> String {
    replaced("Host:", &format!("{line}\r\nHost:"))
}

fn error(head: &str) -> Option<HandshakeError> {
    parse_request(head.as_bytes()).err()
}

#[test]
fn the_example_of_the_rfc() {
    let request = parse_request(REQUEST.as_bytes()).unwrap();
    assert_eq!((request.path, request.query), ("/chat", None));
    assert_eq!(request.host, "server.example.com");
    assert_eq!(request.origin, Some("http://example.com"));
    assert_eq!(request.key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
    assert_eq!(request.header("origin"), Some(&b"http://example.com"[..]));
    assert_eq!(request.header("cookie"), None);
    assert_eq!(request.fields.iter().count(), 7);
    let mut out = BytesMut::new();
    let options = ResponseOptions { protocol: Some("chat"), ..ResponseOptions::default() };
    put_response(&mut out, &accept_key(request.key), &options).unwrap();
    assert_eq!(
        out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn keys_are_hashed_whatever_is_in_them() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha1::{Digest as _, Sha1};
    for len in [0, 1, 22, 23, 24, 25, 26, 60, 200] {
        for first in b'!'..=b'~' {
            let key: String = (first..=b'~').cycle().take(len).map(char::from).collect();
            let digest = Sha1::digest([key.as_str(), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
            assert_eq!(accept_key(&key).as_slice(), STANDARD.encode(digest).as_bytes(), "{key}");
        }
    }
}

#[test]
fn what_is_accepted() {
    for head in [
        replaced("Upgrade: websocket", "uPGRADE:WebSocket  "),
        replaced("Upgrade: websocket", "Upgrade: h2c, \twebsocket"),
        replaced("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
        replaced("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        replaced("Connection: Upgrade", "Connection: keep-alive\r\nconnection: ,, upgrade,"),
        replaced("Origin: http://example.com\r\n", ""),
        replaced("Sec-WebSocket-Protocol: chat, superchat\r\n", ""),
        replaced("Host: server.example.com", "Host: [::1]:8080"),
        replaced("Host: server.example.com", "Host: a:"),
        replaced("dGhlIHNhbXBsZSBub25jZQ==", "0123456789+/abcdefghiz=="),
        with("X: \u{e9} obs-text"),
        with("X:"),
        with("constructor: __proto__"),
        format!("\r\n{REQUEST}"),
    ] {
        assert_eq!(error(&head), None, "{head}");
    }
}

#[test]
fn refusals() {
    let long = |len: usize| "a".repeat(len);
    let rows = [
        (replaced("GET", "POST"), E::MethodNotAllowed, 405),
        (replaced("GET", "get"), E::MethodNotAllowed, 405),
        (replaced("HTTP/1.1", "HTTP/1.0"), E::VersionNotSupported, 505),
        (replaced("HTTP/1.1", "HTTP/2.0"), E::VersionNotSupported, 505),
        (replaced("GET /chat", "GET  /chat"), E::Malformed, 400),
        (replaced("GET /chat", " GET /chat"), E::Malformed, 400),
        (format!("\r\n\r\n{REQUEST}"), E::Malformed, 400),
        (format!("{REQUEST}x"), E::Malformed, 400),
        (format!("{REQUEST}X: y\r\n"), E::Malformed, 400),
        (format!("{REQUEST}{REQUEST}"), E::Malformed, 400),
        (replaced("\r\n\r\n", "\r\n"), E::Malformed, 400),
        (String::new(), E::Malformed, 400),
        ("\r\n\r\n".to_string(), E::Malformed, 400),
        (replaced("/chat", &format!("/{}", long(TARGET_BYTES_MAX))), E::TargetTooLong, 414),
        (replaced("/chat", "chat"), E::TargetInvalid, 400),
        (replaced("/chat", "*"), E::TargetInvalid, 400),
        (replaced("/chat", "/chat#top"), E::TargetInvalid, 400),
        (replaced("/chat", "/ch\u{e4}t"), E::TargetInvalid, 400),
        (replaced("/chat", "http://internal/chat"), E::TargetInvalid, 400),
        (replaced("/chat", "ftp://server.example.com/chat"), E::TargetInvalid, 400),
        (replaced("Host: server.example.com\r\n", ""), E::HostInvalid, 400),
        (with("Host: server.example.com"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host:"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: a/b"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: a@b"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: a b"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: a:8o"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: a:123456"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: [::1"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: [::1]x"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: []"), E::HostInvalid, 400),
        (replaced("Host: server.example.com", "Host: :80"), E::HostInvalid, 400),
        (with("Content-Length: 0"), E::BodyNotAllowed, 400),
        (with("Content-Length: +5"), E::BodyNotAllowed, 400),
        (with("content-length: 5\r\nContent-Length: 6"), E::BodyNotAllowed, 400),
        (with("Transfer-Encoding: chunked"), E::BodyNotAllowed, 400),
        (with("transfer-encoding: identity"), E::BodyNotAllowed, 400),
        (with("Origin: http://other.com"), E::OriginInvalid, 400),
        (replaced("Origin: http://example.com", "Origin: \u{e9}"), E::OriginInvalid, 400),
        (replaced("Upgrade: websocket\r\n", ""), E::UpgradeRequired, 426),
        (replaced("Upgrade: websocket", "Upgrade: websocketx"), E::UpgradeRequired, 426),
        (replaced("Upgrade: websocket", "Upgrade: web socket"), E::UpgradeRequired, 426),
        (replaced("Connection: Upgrade\r\n", ""), E::UpgradeRequired, 426),
        (replaced("Connection: Upgrade", "Connection: close"), E::UpgradeRequired, 426),
        (replaced("Sec-WebSocket-Version: 13\r\n", ""), E::WebSocketVersion, 426),
        (replaced("Version: 13", "Version: 8"), E::WebSocketVersion, 426),
        (replaced("Version: 13", "Version: 013"), E::WebSocketVersion, 426),
        (replaced("Version: 13", "Version: 13, 8"), E::WebSocketVersion, 426),
        (with("Sec-WebSocket-Version: 13"), E::WebSocketVersion, 426),
        (replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), E::KeyInvalid, 400),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), E::KeyInvalid, 400),
        (replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"), E::KeyInvalid, 400),
        (replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQE="), E::KeyInvalid, 400),
        (replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ==="), E::KeyInvalid, 400),
        (replaced("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ-=="), E::KeyInvalid, 400),
        (replaced("dGhlIHNhbXBsZSBub25jZQ==", "SGVsbG8sIHdvcmxkIQ=="), E::KeyInvalid, 400),
        (replaced("dGhlIHNhbXBsZSBub25jZQ==", ""), E::KeyInvalid, 400),
        (replaced("chat, superchat", "chat, super chat"), E::ProtocolInvalid, 400),
        (replaced("chat, superchat", "chat\r\nSec-WebSocket-Protocol: \"x\""), E::ProtocolInvalid, 400),
        (with(&format!("Sec-WebSocket-Protocol: b{}x", " ".repeat(12_000))), E::ProtocolInvalid, 400),
        (with("X : space"), E::Malformed, 400),
        (with("X\t: tab"), E::Malformed, 400),
        (with(": no name"), E::Malformed, 400),
        (with("no colon"), E::Malformed, 400),
        (with("X: folded\r\n by a space"), E::Malformed, 400),
        (with("X: folded\r\n\tby a tab"), E::Malformed, 400),
        (with("X: a\rb"), E::Malformed, 400),
        (with("X: a\0b"), E::Malformed, 400),
        (with("X: a\u{7f}b"), E::Malformed, 400),
        (with("X: a\nY: b"), E::StrayControl, 400),
        (replaced("\r\n\r\n", "\n\n"), E::StrayControl, 400),
        (with("X: y\r\n".repeat(94).trim_end()), E::TooManyFields, 431),
        (with("X: y\r\n".repeat(3000).trim_end()), E::TooManyFields, 431),
    ];
    for (head, expected, status) in rows {
        assert_eq!(error(&head), Some(expected), "{}", &head[..head.len().min(200)]);
        assert_eq!(expected.status(), status);
        assert!(!expected.as_str().is_empty());
        // The reader refuses it already, or never ends, or hands on what is refused here.
        match HeadReader::new(1 << 20).read(head.as_bytes()) {
            Ok(Some((first, consumed))) if consumed == head.len() => assert!(parse_request(first).is_err()),
            Ok(_) => {}
            Err(error) => assert_eq!(error.status(), 400),
        }
    }
    assert_eq!(error(&with("X: y\r\n".repeat(93).trim_end())), None, "100 fields are legal");
}

#[test]
fn a_plain_get_is_told_to_upgrade() {
    assert_eq!(error("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(E::UpgradeRequired));
}

#[test]
fn targets() {
    for (target, path, query) in [
        ("/", "/", None),
        ("/a/b?c=d?e", "/a/b", Some("c=d?e")),
        ("/a?", "/a", Some("")),
        ("//a", "//a", None),
        ("http://server.example.com", "/", None),
        ("ws://SERVER.example.com/a?b", "/a", Some("b")),
        ("https://server.example.com?b/c", "/", Some("b/c")),
    ] {
        let head = replaced("/chat", target);
        let request = parse_request(head.as_bytes()).unwrap();
        assert_eq!((request.path, request.query), (path, query), "{target}");
    }
    let longest = format!("/{}", "a".repeat(TARGET_BYTES_MAX - 1));
    assert_eq!(error(&replaced("/chat", &longest)), None);
}

#[test]
fn protocols_in_order_across_fields() {
    let head = with("sec-websocket-protocol: a,b ,\tc,,\r\nSec-WebSocket-Protocol:");
    let request = parse_request(head.as_bytes()).unwrap();
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["a", "b", "c", "chat", "superchat"]);
    assert_eq!(request.fields.all("SEC-WEBSOCKET-PROTOCOL").count(), 3);
}

#[test]
fn no_head_is_valid_when_cut() {
    for cut in 0..REQUEST.len() {
        assert!(error(&REQUEST[..cut]).is_some(), "{cut}");
    }
}

#[test]
fn any_changed_byte_is_judged_without_panic() {
    for at in 0..REQUEST.len() {
        for byte in 0..=255 {
            let mut head = REQUEST.as_bytes().to_vec();
            head[at] = byte;
            let verdict = parse_request(&head);
            if matches!(byte, 0 | b'\r' | b'\n' | 0x7f) && head != REQUEST.as_bytes() {
                assert!(verdict.is_err(), "{byte} at {at}");
            }
            if let Ok(request) = verdict {
                assert!(request.protocols().count() <= 3);
            }
            assert!(parse_response(&head, &[b'x'; 24], &[], None).is_err());
        }
    }
}

#[test]
fn heads_in_pieces_of_any_size() {
    let wire = [REQUEST.as_bytes(), b"\x81\x80frames"].concat();
    for size in 1..=wire.len() {
        let mut reader = HeadReader::new(REQUEST.len());
        assert_eq!(reader.capacity(), 0);
        let mut at = 0;
        loop {
            let piece = &wire[at..wire.len().min(at + size)];
            let buffered = at;
            match reader.read(piece).unwrap() {
                None => at += piece.len(),
                Some((head, consumed)) => {
                    assert_eq!(head, REQUEST.as_bytes());
                    assert_eq!(at + consumed, REQUEST.len());
                    break;
                }
            }
            assert!(reader.capacity() >= buffered && reader.capacity() <= REQUEST.len());
        }
        // A head that came at once was never copied.
        assert_eq!(reader.capacity() == 0, size >= REQUEST.len());
        // The next one is another.
        let next = reader.read(b"HTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap();
        assert_eq!(next, (&b"HTTP/1.1 200 OK\r\n\r\n"[..], 19));
    }
}

#[test]
fn each_byte_is_looked_at_once_however_it_is_cut() {
    // CVE-2023-43669: a head that is parsed again at each read costs its square.
    let head = with(&format!("X: {}", "x".repeat(3_000)));
    for size in 1..=head.len() {
        let mut reader = HeadReader::new(16 * 1024);
        let found = head.as_bytes().chunks(size).filter(|piece| reader.read(piece).unwrap().is_some()).count();
        let (looked_at, copied) = reader.work;
        assert_eq!((found, looked_at), (1, head.len()), "in pieces of {size}");
        assert!(copied <= 3 * head.len(), "{copied} bytes were copied in pieces of {size}");
    }
}

#[test]
fn memory_grows_with_what_arrives() {
    let mut reader = HeadReader::new(16 * 1024);
    for received in 1..=16 * 1024 {
        assert_eq!(reader.read(b"a"), Ok(None));
        assert!(reader.capacity() <= 2 * received);
    }
    assert_eq!(reader.read(b"a"), Err(E::HeadTooLarge));
    assert_eq!(reader.capacity(), 0);
}

#[test]
fn heads_are_bounded_to_the_byte() {
    let head = "GET / HTTP/1.1\r\nX: 1\r\n\r\n";
    for size in [1, 3, head.len()] {
        for (max, legal) in [(head.len(), true), (head.len() - 1, false), (4, false), (0, false)] {
            let mut reader = HeadReader::new(max);
            let mut verdict = Ok(false);
            for piece in head.as_bytes().chunks(size) {
                verdict = reader.read(piece).map(|found| found.is_some());
                if verdict.is_err() {
                    break;
                }
            }
            let expected = if legal { Ok(true) } else { Err(E::HeadTooLarge) };
            assert_eq!(verdict, expected, "{max} in pieces of {size}");
        }
    }
    let mut reader = HeadReader::new(16 * 1024);
    assert_eq!(reader.read("X".repeat(64 * 1024).as_bytes()), Err(E::HeadTooLarge));
    assert_eq!(reader.read(b"\r\n\r\n"), Err(E::HeadTooLarge), "an error stays");
}

#[test]
fn stray_line_ends_are_told_at_once() {
    for bad in ["a\n", "a\r\r", "a\rb", "a\0", "\n", "a\r\n\n", "a\r\n\rb", "a\r\n\r\r", "a\r\0"] {
        let (last, before) = bad.as_bytes().split_last().unwrap();
        let mut reader = HeadReader::new(100);
        assert_eq!(reader.read(before), Ok(None), "{bad:?}");
        assert_eq!(reader.read(&[*last]), Err(E::StrayControl), "{bad:?}");
        assert_eq!(HeadReader::new(100).read(bad.as_bytes()), Err(E::StrayControl), "{bad:?}");
    }
}

#[test]
fn answers_cannot_be_broken_out_of() {
    use InvalidResponse as I;
    let options = |protocol, headers| ResponseOptions { protocol, headers, deflate: None };
    let rows: [(ResponseOptions<'_>, I); 12] = [
        (options(Some("a\r\nSet-Cookie: b"), &[]), I::Protocol),
        (options(Some(""), &[]), I::Protocol),
        (options(Some("a, b"), &[]), I::Protocol),
        (options(None, &[("a b", "x")]), I::HeaderName),
        (options(None, &[("", "x")]), I::HeaderName),
        (options(None, &[("Sec-WebSocket-Extensions", "permessage-deflate")]), I::HeaderName),
        (options(None, &[("upgrade", "h2c")]), I::HeaderName),
        (options(None, &[("CONTENT-LENGTH", "5")]), I::HeaderName),
        (options(None, &[("Content-Type", "text/html")]), I::HeaderName),
        (options(None, &[("Transfer-Encoding", "chunked")]), I::HeaderName),
        (options(None, &[("A", "x"), ("B", "x\r\n\r\nbody")]), I::HeaderValue),
        (options(None, &[("A", "x\0")]), I::HeaderValue),
    ];
    for (options, error) in rows {
        let mut out = BytesMut::from("before");
        assert_eq!(put_response(&mut out, &accept_key("x"), &options), Err(error), "{options:?}");
        if error != I::Protocol {
            assert_eq!(put_refusal_with(&mut out, 403, options.headers, "no"), Err(error), "{options:?}");
        }
        assert_eq!(out, "before", "nothing is written on an error");
    }
    let mut out = BytesMut::new();
    for (status, result) in
        [(200, Err(I::Status)), (399, Err(I::Status)), (600, Err(I::Status)), (400, Ok(())), (599, Ok(()))]
    {
        assert_eq!(put_refusal_with(&mut out, status, &[], ""), result);
    }
    let mut out = BytesMut::new();
    put_refusal(&mut out, 403, "no\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert!(out.starts_with(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"));
    assert!(core::str::from_utf8(&out).unwrap().contains("Content-Length: 25\r\n\r\nno"));
}

#[test]
fn answers_with_further_fields() {
    let (mut open, mut refused) = (BytesMut::new(), BytesMut::new());
    let options = ResponseOptions {
        protocol: None,
        deflate: None,
        headers: &[("Set-Cookie", "a=b; HttpOnly"), ("X-\u{7c}", "\u{e9}\t")],
    };
    put_response(&mut open, &accept_key("x"), &options).unwrap();
    assert!(core::str::from_utf8(&open).unwrap().ends_with("=\r\nSet-Cookie: a=b; HttpOnly\r\nX-|: \u{e9}\t\r\n\r\n"));
    put_refusal_with(&mut refused, 401, &[("WWW-Authenticate", "Bearer")], "who?").unwrap();
    assert_eq!(
        refused,
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 4\r\nWWW-Authenticate: Bearer\r\n\r\nwho?"
    );
}

#[test]
fn all_errors_are_listed_where_they_stand() {
    for (at, error) in HandshakeError::ALL.into_iter().enumerate() {
        assert_eq!(error as usize, at, "{error:?}");
        let same = HandshakeError::ALL.iter().filter(|other| other.name() == error.name()).count();
        assert_eq!(same, 1, "{}", error.name());
        assert!((400..=599).contains(&error.status()) && !error.as_str().is_empty());
    }
}

#[test]
fn refusals_are_complete_answers() {
    for status in [400, 401, 403, 404, 405, 408, 414, 426, 429, 431, 500, 503, 505, 418] {
        let mut out = BytesMut::new();
        put_refusal(&mut out, status, "wörds");
        let mut reader = HeadReader::new(1024);
        let (head, consumed) = reader.read(&out).unwrap().unwrap();
        let parsed = parse_response(head, &[b'x'; 24], &[], None);
        assert_eq!(parsed.unwrap_err(), ResponseError::Status(status));
        let head = core::str::from_utf8(head).unwrap();
        let upgrade = if status == 426 { ", Upgrade" } else { "" };
        assert!(head.contains(&format!("\r\nConnection: close{upgrade}\r\n")));
        assert_eq!(head.contains("Upgrade: websocket\r\n"), status == 426);
        assert_eq!(head.contains("Sec-WebSocket-Version: 13\r\n"), status == 426);
        assert_eq!(head.contains("Allow: GET\r\n"), status == 405);
        assert!(head.contains("Content-Length: 6\r\n"));
        assert_eq!(&out[consumed..], "wörds".as_bytes());
    }
}
