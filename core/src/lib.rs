//! Delivery control for WebSocket servers.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod config;
mod error;
mod hub;
mod id;
mod output;
mod slab;
mod time;
pub mod wire;

pub use config::*;
pub use error::*;
pub use hub::*;
pub use id::*;
pub use output::*;
pub use time::Instant;
