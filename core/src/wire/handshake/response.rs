//! A server's answers (RFC 6455 §4.2.2).

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use sha1::{Digest as _, Sha1};

use super::EXTENSIONS;
use super::token::is_token;
use crate::wire::deflate::Answer;

/// What is hashed behind the key to show that the server read it as a WebSocket request (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key.
///
/// ```
/// let accept = forebay_core::wire::handshake::accept_key("dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455 §1.3
/// ```
#[must_use]
pub fn accept_key(key: &str) -> [u8; 28] {
    accept_bytes(key.as_bytes())
}

pub(super) fn accept_bytes(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(accept.len()), "20 bytes are 28 characters");
    accept
}

/// Appends the 101 that opens the connection.
///
/// `protocol` must be one the client offered (RFC 6455 §4.2.2). It is left out if it is not a token: nothing a caller
/// passes can break out of its line. `deflate`: the compression that is agreed to.
pub fn put_response(out: &mut BytesMut, accept: &[u8; 28], protocol: Option<&str>, deflate: Option<Answer>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    if let Some(name) = protocol.filter(|name| is_token(name.as_bytes())) {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(name.as_bytes());
    }
    if let Some(answer) = deflate {
        let line = format!("\r\n{EXTENSIONS}: {answer}");
        out.extend_from_slice(line.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends a refusal with a short text as its body; the connection is to be closed behind it.
///
/// A 426 says what to upgrade to (RFC 9110 §15.5.22, RFC 6455 §4.4), a 405 what is allowed (RFC 9110 §15.5.6).
pub fn put_refusal(out: &mut BytesMut, status: u16, text: &str) {
    let extra = match status {
        405 => "\r\nAllow: GET",
        // `Upgrade` is hop-by-hop and must be named in `Connection` (RFC 9110 §7.8).
        426 => ", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        _ => "",
    };
    let mut head = String::new();
    let written = write!(
        head,
        "HTTP/1.1 {status:03} {}\r\nConnection: close{extra}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{text}",
        reason_phrase(status),
        text.len(),
    );
    debug_assert!(written.is_ok(), "writing to a String");
    out.extend_from_slice(head.as_bytes());
}

/// Appends a document that answers a plain GET; the connection is to be closed behind it.
///
/// Browsers may use it from pages of any origin, and ask again each time. `content_type` must be able to stand in a header
/// field.
pub fn put_document(out: &mut BytesMut, content_type: &str, body: &[u8]) {
    let mut head = String::new();
    let written = write!(
        head,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nAccess-Control-Allow-Origin: *\r\n\r\n",
        body.len(),
    );
    debug_assert!(written.is_ok(), "writing to a String");
    out.reserve(head.len() + body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

const fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // RFC 9112 §4 allows it to be empty, and clients should ignore it.
        _ => "",
    }
}
