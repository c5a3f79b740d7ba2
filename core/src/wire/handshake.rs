//! The opening handshake (RFC 6455 §4) over HTTP/1.1 (RFC 9110, RFC 9112), for both sides.
//!
//! A server collects the head with a [`HeadReader`], judges it with [`parse_request`], and answers with [`put_response`]
//! or [`put_refusal`]. A client writes [`put_request`], collects the answer with a [`HeadReader`] too, and judges it with
//! [`parse_response`]. How long a handshake may take is the caller's part: the reader has no clock.
//!
//! The grammar is enforced, not guessed at: what two parsers could read in two ways (a body, a bare CR or LF, folded lines,
//! space before a colon, a second Host) is refused. Whether a page of that origin is welcome is for [`Origins`] to say, and
//! every value that is written is checked.

mod client;
mod error;
mod head;
mod origin;
mod request;
mod response;
mod token;

pub(crate) use token::is_token;

pub use client::{InvalidRequest, RequestOptions, Response, ResponseError, client_key, parse_response, put_request};
pub use error::HandshakeError;
pub use head::{Fields, HeadReader};
pub use origin::{InvalidOrigin, Origins};
pub use request::{Request, TARGET_BYTES_MAX, parse_get, parse_request};
pub use response::{
    InvalidResponse, ResponseOptions, accept_key, put_document, put_refusal, put_refusal_with, put_response,
};
pub(super) use token::is_tchar;

/// Where extensions are offered and agreed on (RFC 6455 §11.3.2).
pub(crate) const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// The most header fields a head may have. It bounds the parser's stack, and what a peer can make it look at.
pub const FIELDS_MAX: usize = 100;

#[cfg(test)]
#[path = "tests/handshake.rs"]
mod tests;

#[cfg(test)]
#[path = "tests/handshake_client.rs"]
mod client_tests;
