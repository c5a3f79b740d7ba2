//! The WebSocket codec.
pub mod close;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod utf8;
