//! The client's side of the opening handshake (RFC 6455 §4.1).

use alloc::string::ToString as _;
use core::mem::MaybeUninit;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use crate::wire::deflate::{Agreed, Offer};

use super::head::Fields;
use super::response::accept_bytes;
use super::token::{is_host, is_ours, is_target_char, is_token, is_value, list_has, trim};
use super::{EXTENSIONS, FIELDS_MAX, HandshakeError};

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestOptions<'a> {
    /// The server's name, with its port unless that is the scheme's own.
    pub host: &'a str,
    /// Path and query, beginning with `/`.
    pub target: &'a str,
    /// The Origin field; browsers send one, others need not.
    pub origin: Option<&'a str>,
    /// The subprotocols offered, most wanted first.
    pub protocols: &'a [&'a str],
    /// Further fields, such as Authorization. Those of the handshake itself are not among them.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What cannot be written into a request: it would change its meaning, or break out of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidRequest {
    /// The host is not a name or address with an optional port.
    Host,
    /// The target does not begin with `/`, or is not visible ASCII without `#`.
    Target,
    /// The key is not visible ASCII.
    Key,
    /// The origin has control characters.
    Origin,
    /// A subprotocol is not a token, or is named twice (RFC 6455 §4.1).
    Protocol,
    /// A field's name is not a token, or is one that the handshake writes itself.
    HeaderName,
    /// A field's value has control characters.
    HeaderValue,
}

impl core::fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Host => "host not valid",
            Self::Target => "target not valid",
            Self::Key => "key not valid",
            Self::Origin => "origin not valid",
            Self::Protocol => "subprotocol not a token, or named twice",
            Self::HeaderName => "header name not valid, or reserved",
            Self::HeaderValue => "header value not valid",
        })
    }
}

impl core::error::Error for InvalidRequest {}

/// The Sec-WebSocket-Key for 16 random bytes, which must be new for each connection (RFC 6455 §4.1).
#[must_use]
pub fn client_key(random: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    let written = STANDARD.encode_slice(random, &mut key);
    debug_assert_eq!(written, Ok(key.len()), "16 bytes are 24 characters");
    key
}

/// Appends the request to upgrade; `offer`: of compression.
///
/// # Errors
/// If something cannot be written as it is; then nothing is.
pub fn put_request(
    out: &mut BytesMut,
    key: &[u8; 24],
    options: &RequestOptions<'_>,
    offer: Option<Offer>,
) -> Result<(), InvalidRequest> {
    check(key, options)?;
    out.reserve(256); // Once, for nearly all.
    let mut put = |parts: &[&str]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    };
    put(&["GET ", options.target, " HTTP/1.1\r\nHost: ", options.host]);
    put(&["\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "]);
    put(&[core::str::from_utf8(key).map_err(|_| InvalidRequest::Key)?]);
    if let Some(origin) = options.origin {
        put(&["\r\nOrigin: ", origin]);
    }
    for (at, name) in options.protocols.iter().enumerate() {
        put(&[if at == 0 { "\r\nSec-WebSocket-Protocol: " } else { ", " }, name]);
    }
    if let Some(offer) = offer {
        put(&["\r\nSec-WebSocket-Extensions: ", &offer.to_string()]);
    }
    for (name, value) in options.headers {
        put(&["\r\n", name, ": ", value]);
    }
    put(&["\r\n\r\n"]);
    Ok(())
}

fn check(key: &[u8; 24], options: &RequestOptions<'_>) -> Result<(), InvalidRequest> {
    let ensure = |holds: bool, error| if holds { Ok(()) } else { Err(error) };
    ensure(is_host(options.host.as_bytes()), InvalidRequest::Host)?;
    let target = options.target;
    ensure(target.starts_with('/') && target.bytes().all(is_target_char), InvalidRequest::Target)?;
    ensure(key.iter().all(u8::is_ascii_graphic), InvalidRequest::Key)?;
    ensure(options.origin.is_none_or(is_value), InvalidRequest::Origin)?;
    for (at, name) in options.protocols.iter().enumerate() {
        let is_new = !options.protocols[..at].contains(name);
        ensure(is_new && is_token(name.as_bytes()), InvalidRequest::Protocol)?;
    }
    for (name, value) in options.headers {
        ensure(is_token(name.as_bytes()) && !is_ours(name), InvalidRequest::HeaderName)?;
        ensure(is_value(value), InvalidRequest::HeaderValue)?;
    }
    Ok(())
}

/// A valid 101, borrowed from its head.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The subprotocol the server chose, one of those offered.
    pub protocol: Option<&'a str>,
    /// The compression the server agreed to.
    pub deflate: Option<Agreed>,
    /// All header fields.
    pub fields: Fields<'a>,
}

/// Why a server's answer does not open a connection (RFC 6455 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseError {
    /// Another status than 101: a refusal, or a redirection, which is never followed.
    Status(u16),
    /// The head could not be collected or is not HTTP/1.1.
    Head(HandshakeError),
    /// Upgrade does not say `websocket`.
    Upgrade,
    /// Connection does not say `Upgrade`.
    Connection,
    /// Not exactly one Sec-WebSocket-Accept that answers our key.
    Accept,
    /// A subprotocol that was not offered, or more than one.
    Protocol,
    /// An extension, or a parameter of it, that was not offered.
    Extension,
}

impl core::fmt::Display for ResponseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Status(status) => return write!(f, "the server answered with status {status}"),
            Self::Head(error) => return error.fmt(f),
            Self::Upgrade => "the answer does not upgrade to websocket",
            Self::Connection => "the answer does not upgrade the connection",
            Self::Accept => "the answer does not fit the key",
            Self::Protocol => "the server chose a subprotocol that was not offered",
            Self::Extension => "the server chose an extension that was not offered",
        })
    }
}

impl core::error::Error for ResponseError {}

impl From<HandshakeError> for ResponseError {
    fn from(error: HandshakeError) -> Self {
        Self::Head(error)
    }
}

/// Parses the head of the server's answer to a request with this `key` that offered these subprotocols, and this compression.
///
/// # Errors
/// Anything but a 101 that fits the request. The connection is then to be closed.
pub fn parse_response<'a>(
    head: &'a [u8],
    key: &[u8; 24],
    offered: &[&str],
    offer: Option<Offer>,
) -> Result<Response<'a>, ResponseError> {
    let (fields, all) = parse_head(head)?;
    if !all.upgrade {
        return Err(ResponseError::Upgrade);
    }
    if !all.connection {
        return Err(ResponseError::Connection);
    }
    if all.accept != Some(Once::One(&accept_bytes(key))) {
        return Err(ResponseError::Accept);
    }
    let deflate = match offer {
        _ if !all.has_extensions => None,
        Some(offer) => offer.accept(fields.all(EXTENSIONS)).map_err(|_| ResponseError::Extension)?,
        None => return Err(ResponseError::Extension),
    };
    let protocol = match all.protocol {
        None => None,
        Some(Once::One(value)) => {
            let name = core::str::from_utf8(value).ok().filter(|name| offered.contains(name));
            Some(name.ok_or(ResponseError::Protocol)?)
        }
        Some(Once::More) => return Err(ResponseError::Protocol),
    };
    Ok(Response { protocol, deflate, fields })
}

/// The value of a field that may be there once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Once<'a> {
    One(&'a [u8]),
    More,
}

/// What the fields say, seen in one pass.
#[derive(Default)]
struct Collected<'a> {
    accept: Option<Once<'a>>,
    protocol: Option<Once<'a>>,
    upgrade: bool,
    connection: bool,
    has_extensions: bool,
}

impl<'a> Collected<'a> {
    fn from(headers: &[httparse::Header<'a>]) -> Self {
        let mut all = Self::default();
        for httparse::Header { name, value } in headers {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            let once = |before: Option<_>| Some(if before.is_none() { Once::One(trim(value)) } else { Once::More });
            // By length first: most fields are none of these.
            match name.len() {
                7 if is("Upgrade") => all.upgrade |= trim(value).eq_ignore_ascii_case(b"websocket"),
                10 if is("Connection") => all.connection |= list_has(value, b"upgrade"),
                20 if is("Sec-WebSocket-Accept") => all.accept = once(all.accept),
                22 if is("Sec-WebSocket-Protocol") => all.protocol = once(all.protocol),
                24 if is(EXTENSIONS) => all.has_extensions = true,
                _ => {}
            }
        }
        all
    }
}

/// The fields of a 101 in HTTP/1.1.
fn parse_head(head: &[u8]) -> Result<(Fields<'_>, Collected<'_>), ResponseError> {
    if !head.starts_with(b"HTTP/") {
        return Err(HandshakeError::Malformed.into());
    }
    let fields = Fields::of(head)?;
    let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, head, &mut headers) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooManyFields.into()),
        Err(httparse::Error::Version) => return Err(HandshakeError::VersionNotSupported.into()),
        _ => return Err(HandshakeError::Malformed.into()),
    }
    // A refusal may well come in HTTP/1.0, from a server that did not understand; its status is what to tell.
    match response.code {
        Some(101) if response.version == Some(1) => Ok((fields, Collected::from(response.headers))),
        Some(101) => Err(HandshakeError::VersionNotSupported.into()),
        Some(status) => Err(ResponseError::Status(status)),
        None => Err(HandshakeError::Malformed.into()),
    }
}
