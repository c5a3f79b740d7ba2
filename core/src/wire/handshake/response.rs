//! A server's answers (RFC 6455 §4.2.2).

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use sha1::block_api::compress;
use sha1::{Digest as _, Sha1};

use super::EXTENSIONS;
use super::token::{is_ours, is_token, is_value};
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
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest(key), &mut accept);
    debug_assert_eq!(written, Ok(accept.len()), "20 bytes are 28 characters");
    accept
}

fn digest(key: &[u8]) -> [u8; 20] {
    let Ok(key) = <[u8; 24]>::try_from(key) else {
        return Sha1::new().chain_update(key).chain_update(GUID).finalize().into(); // No key of a handshake.
    };
    // 60 bytes, a one bit behind them, and in the end their number in bits (RFC 3174 §4): two blocks, with nothing to buffer.
    let mut blocks = [0; 128];
    blocks[..24].copy_from_slice(&key);
    blocks[24..60].copy_from_slice(GUID);
    blocks[60] = 0x80;
    blocks[120..].copy_from_slice(&(60_u64 * 8).to_be_bytes());
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    compress(&mut state, blocks.as_chunks().0);
    let mut digest = [0; 20];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = u32::to_be_bytes(word);
    }
    digest
}

/// What a server answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseOptions<'a> {
    /// The subprotocol, which must be one the client offered (RFC 6455 §4.2.2).
    pub protocol: Option<&'a str>,
    /// The compression that is agreed to.
    pub deflate: Option<Answer>,
    /// Further fields, such as Set-Cookie. Those of the handshake itself are not among them.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What cannot be written into an answer: it would change its meaning, or break out of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidResponse {
    /// The subprotocol is not a token.
    Protocol,
    /// A field's name is not a token, or is one that the handshake writes itself.
    HeaderName,
    /// A field's value has control characters.
    HeaderValue,
    /// A status that refuses nothing: not within 400 to 599.
    Status,
}

impl core::fmt::Display for InvalidResponse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Protocol => "subprotocol not a token",
            Self::HeaderName => "header name not valid, or reserved",
            Self::HeaderValue => "header value not valid",
            Self::Status => "status not within 400 to 599",
        })
    }
}

impl core::error::Error for InvalidResponse {}

/// Appends the 101 that opens the connection.
///
/// # Errors
/// If something cannot be written as it is; then nothing is.
pub fn put_response(
    out: &mut BytesMut,
    accept: &[u8; 28],
    options: &ResponseOptions<'_>,
) -> Result<(), InvalidResponse> {
    if options.protocol.is_some_and(|name| !is_token(name.as_bytes())) {
        return Err(InvalidResponse::Protocol);
    }
    check_headers(options.headers)?;
    out.reserve(256); // Once, for nearly all.
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    if let Some(name) = options.protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(name.as_bytes());
    }
    if let Some(answer) = options.deflate {
        let line = format!("\r\n{EXTENSIONS}: {answer}");
        out.extend_from_slice(line.as_bytes());
    }
    put_headers(out, options.headers);
    out.extend_from_slice(b"\r\n\r\n");
    Ok(())
}

fn check_headers(headers: &[(&str, &str)]) -> Result<(), InvalidResponse> {
    for (name, value) in headers {
        let is_written_here = is_ours(name) || name.eq_ignore_ascii_case("Content-Type");
        if !is_token(name.as_bytes()) || is_written_here {
            return Err(InvalidResponse::HeaderName);
        }
        if !is_value(value) {
            return Err(InvalidResponse::HeaderValue);
        }
    }
    Ok(())
}

fn put_headers(out: &mut BytesMut, headers: &[(&str, &str)]) {
    for part in headers.iter().flat_map(|(name, value)| ["\r\n", name, ": ", value]) {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends a refusal with a short text as its body; the connection is to be closed behind it.
///
/// A 426 says what to upgrade to (RFC 9110 §15.5.22, RFC 6455 §4.4), a 405 what is allowed (RFC 9110 §15.5.6).
pub fn put_refusal(out: &mut BytesMut, status: u16, text: &str) {
    put_refusal_head(out, status, &[], text.len());
    out.extend_from_slice(text.as_bytes());
}

/// The same with further fields, such as WWW-Authenticate or Retry-After.
///
/// # Errors
/// If something cannot be written as it is; then nothing is.
pub fn put_refusal_with(
    out: &mut BytesMut,
    status: u16,
    headers: &[(&str, &str)],
    text: &str,
) -> Result<(), InvalidResponse> {
    if !(400..=599).contains(&status) {
        return Err(InvalidResponse::Status);
    }
    check_headers(headers)?;
    put_refusal_head(out, status, headers, text.len());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn put_refusal_head(out: &mut BytesMut, status: u16, headers: &[(&str, &str)], body_bytes: usize) {
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
         Content-Length: {body_bytes}",
        reason_phrase(status),
    );
    debug_assert!(written.is_ok(), "writing to a String");
    out.extend_from_slice(head.as_bytes());
    put_headers(out, headers);
    out.extend_from_slice(b"\r\n\r\n");
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
