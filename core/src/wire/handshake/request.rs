//! Judging a client's request to upgrade (RFC 6455 §4.2.1).

use core::mem::MaybeUninit;

use super::head::Fields;
use super::token::{as_text, is_target_char, is_token, list, list_has, split_host, trim};
use super::{FIELDS_MAX, HandshakeError};

/// The longest request target.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// A valid request to upgrade to WebSocket, borrowed from its head.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The path, as it came: beginning with `/`, percent-encoded, without the query.
    pub path: &'a str,
    /// What follows the first `?` of the target.
    pub query: Option<&'a str>,
    /// The host, with its port if it was named.
    pub host: &'a str,
    /// The origin of the page the request comes from; browsers always send it (RFC 6455 §10.2). Printable ASCII, and
    /// to be compared whole.
    pub origin: Option<&'a str>,
    /// Sec-WebSocket-Key, for [`accept_key`](super::accept_key).
    pub key: &'a str,
    /// All header fields.
    pub fields: Fields<'a>,
    /// There is something to look for among them.
    has_protocols: bool,
}

impl<'a> Request<'a> {
    /// The subprotocols offered, most wanted first, across repeated fields. All are tokens.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let fields = self.has_protocols.then(|| self.fields.all(PROTOCOL));
        fields.into_iter().flatten().flat_map(list).filter_map(|name| core::str::from_utf8(name).ok())
    }

    /// The value of the first field of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.get(name)
    }
}

const PROTOCOL: &str = "Sec-WebSocket-Protocol";

/// A field that may come once: `Err` on the second.
#[derive(Clone, Copy, Default)]
struct Once<'a>(Option<&'a [u8]>);

impl<'a> Once<'a> {
    fn set(&mut self, value: &'a [u8], error: HandshakeError) -> Result<(), HandshakeError> {
        self.0.replace(value).map_or(Ok(()), |_| Err(error))
    }
}

/// The fields the handshake is about.
#[derive(Clone, Copy, Default)]
struct Collected<'a> {
    host: Once<'a>,
    origin: Once<'a>,
    version: Once<'a>,
    key: Once<'a>,
    upgrade: bool,
    connection: bool,
    protocols: bool,
    body: bool,
}

impl<'a> Collected<'a> {
    fn from(headers: &[httparse::Header<'a>]) -> Result<Self, HandshakeError> {
        let mut all = Self::default();
        for httparse::Header { name, value } in headers {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            // By length first: most fields are none of these.
            match name.len() {
                4 if is("Host") => all.host.set(trim(value), HandshakeError::HostInvalid)?,
                6 if is("Origin") => all.origin.set(trim(value), HandshakeError::OriginInvalid)?,
                7 if is("Upgrade") => all.upgrade |= list_has(value, b"websocket"),
                10 if is("Connection") => all.connection |= list_has(value, b"upgrade"),
                // Even `Content-Length: 0`: what an intermediary makes of it is not worth a guess.
                14 => all.body |= is("Content-Length"),
                17 if is("Sec-WebSocket-Key") => all.key.set(trim(value), HandshakeError::KeyInvalid)?,
                17 => all.body |= is("Transfer-Encoding"),
                21 if is("Sec-WebSocket-Version") => {
                    all.version.set(trim(value), HandshakeError::WebSocketVersion)?;
                }
                22 if is(PROTOCOL) => {
                    all.protocols = true;
                    if !list(value).all(is_token) {
                        return Err(HandshakeError::ProtocolInvalid);
                    }
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

/// Parses a complete head and checks everything that RFC 6455 §4.2.1 and RFC 9112 ask of it.
///
/// Whether the origin is welcome, and which protocol to choose, is for the caller to say.
///
/// # Errors
/// The first thing wrong with it, each with its status.
pub fn parse_request(head: &[u8]) -> Result<Request<'_>, HandshakeError> {
    let Get { path, query, host, fields, all } = parse_any(head)?;
    let origin = match all.origin.0 {
        Some(value) => Some(as_text(value).ok_or(HandshakeError::OriginInvalid)?),
        None => None,
    };
    if !all.upgrade || !all.connection {
        return Err(HandshakeError::UpgradeRequired);
    }
    if all.version.0 != Some(b"13") {
        return Err(HandshakeError::WebSocketVersion);
    }
    let key = all.key.0.filter(|key| is_key(key)).and_then(as_text).ok_or(HandshakeError::KeyInvalid)?;
    Ok(Request { path, query, host, origin, key, fields, has_protocols: all.protocols })
}

/// Parses a complete head as [`parse_request`] does, but asks for no upgrade: the path of any GET without a body.
///
/// # Errors
/// The first thing wrong with it, each with its status.
pub fn parse_get(head: &[u8]) -> Result<&str, HandshakeError> {
    parse_any(head).map(|get| get.path)
}

/// What a GET has, upgrade or not.
struct Get<'a> {
    path: &'a str,
    query: Option<&'a str>,
    host: &'a str,
    fields: Fields<'a>,
    all: Collected<'a>,
}

fn parse_any(head: &[u8]) -> Result<Get<'_>, HandshakeError> {
    let (target, fields, all) = parse_head(head)?;
    let host = all.host.0.and_then(as_text).filter(|host| split_host(host).is_some());
    let host = host.ok_or(HandshakeError::HostInvalid)?;
    if all.body {
        return Err(HandshakeError::BodyNotAllowed);
    }
    let (path, query) = split_target(target, host).ok_or(HandshakeError::TargetInvalid)?;
    Ok(Get { path, query, host, fields, all })
}

/// The request target and the fields of a GET in HTTP/1.1, and those that the handshake is about.
fn parse_head(head: &[u8]) -> Result<(&str, Fields<'_>, Collected<'_>), HandshakeError> {
    // A server should ignore an empty line before the request (RFC 9112 §2.2); the reader lets at most one through.
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    if head.first().is_some_and(u8::is_ascii_whitespace) {
        return Err(HandshakeError::Malformed);
    }
    let fields = Fields::of(head)?;
    // Not initialised: that would take longer than to parse what comes.
    let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut headers) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => {}
        Ok(_) => return Err(HandshakeError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooManyFields),
        Err(httparse::Error::Version) => return Err(HandshakeError::VersionNotSupported),
        Err(_) => return Err(HandshakeError::Malformed),
    }
    if request.method != Some("GET") {
        return Err(HandshakeError::MethodNotAllowed);
    }
    if request.version != Some(1) {
        return Err(HandshakeError::VersionNotSupported);
    }
    let target = request.path.ok_or(HandshakeError::Malformed)?;
    if target.len() > TARGET_BYTES_MAX {
        return Err(HandshakeError::TargetTooLong);
    }
    Ok((target, fields, Collected::from(request.headers)?))
}

/// Path and query of an origin-form target, or of an absolute-form one that names the host of the Host field
/// (RFC 9112 §3.2.2 requires servers to accept that form; another host is not ours to answer for).
fn split_target<'a>(target: &'a str, host: &str) -> Option<(&'a str, Option<&'a str>)> {
    if !target.bytes().all(is_target_char) {
        return None;
    }
    let local = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://")?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, local) = rest.split_at(end);
        if !authority.eq_ignore_ascii_case(host) {
            return None;
        }
        local
    };
    let (path, query) = match local.bytes().position(|byte| byte == b'?') {
        Some(at) => (&local[..at], Some(&local[at + 1..])),
        None => (local, None),
    };
    Some((if path.is_empty() { "/" } else { path }, query))
}

/// 16 bytes in base64: 22 characters of its alphabet and two of padding.
///
/// The last character's four spare bits may be anything: nobody reads the decoded bytes, and clients exist that write
/// 22 random characters.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/');
    // All of a length that the compiler knows, without a branch: it turns them into vectors.
    let Some((digits, b"==")) = key.split_first_chunk::<22>() else { return false };
    digits.iter().fold(true, |all, byte| all & is_digit(byte))
}
