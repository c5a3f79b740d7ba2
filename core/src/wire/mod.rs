//! The WebSocket codec (RFC 6455) for servers and clients, usable without a hub.
//!
//! It does no I/O and keeps no payload: bytes go in, pieces of messages are lent out of them. Memory per connection is the
//! 40 bytes of a [`Decoder`], and during the opening handshake what has arrived of the head.
//!
//! # The opening handshake, as a server
//!
//! ```
//! use bytes::BytesMut;
//! use forebay_core::wire::handshake::{self, HeadReader, Origins, ResponseOptions};
//!
//! let origins = Origins::new(); // pages of this server's own host
//! let mut reader = HeadReader::new(16 * 1024);
//! let mut out = BytesMut::new();
//! let input = b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
//!     Sec-WebSocket-Protocol: soap, chat\r\n\r\n";
//! match reader.read(input) {
//!     Ok(None) => {} // read more
//!     Ok(Some((head, consumed))) => match handshake::parse_request(head) {
//!         Ok(request) if !origins.admits(request.origin, request.host) => {
//!             handshake::put_refusal(&mut out, 403, "not for pages of this origin");
//!         }
//!         Ok(request) => {
//!             assert_eq!((request.path, request.query), ("/chat", Some("room=1")));
//!             let protocol = request.protocols().find(|name| *name == "chat");
//!             let options = ResponseOptions { protocol, ..ResponseOptions::default() };
//!             handshake::put_response(&mut out, &handshake::accept_key(request.key), &options)?;
//!             assert_eq!(consumed, input.len()); // what follows is frames
//!         }
//!         Err(error) => handshake::put_refusal(&mut out, error.status(), error.as_str()),
//!     },
//!     Err(error) => handshake::put_refusal(&mut out, error.status(), error.as_str()),
//! }
//! assert!(out.starts_with(b"HTTP/1.1 101 "));
//! # Ok::<(), handshake::InvalidResponse>(())
//! ```
//!
//! # Frames
//!
//! ```
//! use bytes::BytesMut;
//! use forebay_core::wire::{Decoder, Item, MessageKind, Opcode, Role, frame};
//!
//! let mut bytes = BytesMut::new();
//! frame::put_frame(&mut bytes, Opcode::Text, Some([1, 2, 3, 4]), b"hello"); // a client masks
//!
//! let mut decoder = Decoder::new(Role::Server, 1024 * 1024);
//! let decoded = decoder.decode(&mut bytes)?;
//! assert_eq!(decoded.consumed, frame::frame_bytes(5, true));
//! assert_eq!(
//!     decoded.item,
//!     Some(Item::Data { kind: MessageKind::Text, payload: b"hello", first: true, last: true, is_compressed: false })
//! );
//! # Ok::<(), forebay_core::wire::WireError>(())
//! ```
//!
//! A violation is a [`WireError`], which knows the code to close with:
//!
//! ```
//! use forebay_core::wire::{CloseCode, Decoder, Role, WireError};
//!
//! let mut decoder = Decoder::new(Role::Server, 1024);
//! let error = decoder.decode(&mut [0x81, 0x05]).unwrap_err(); // not masked
//! assert_eq!((error, error.close_code()), (WireError::Unmasked, CloseCode::PROTOCOL_ERROR));
//! ```

pub mod close;
pub mod decoder;
pub mod deflate;
mod error;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod utf8;

pub use close::{CloseCode, CloseReason, parse_close};
pub use decoder::{Decoded, Decoder, Item, MessageKind};
pub use error::WireError;
pub use frame::{Header, Opcode, Role};
pub use handshake::{HandshakeError, ResponseError};
pub use utf8::{InvalidUtf8, Utf8};
