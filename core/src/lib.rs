//! Delivery control for WebSocket servers.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;
pub mod wire;
