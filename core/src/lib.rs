//! Delivery control for WebSocket servers, as a pure state machine: bounded, counted, isolated.
//!
//! [`Hub`] does everything that is not I/O: the opening handshake, RFC 6455 framing, subscription bookkeeping, bounded
//! lanes, overflow policies, exact accounting. It has no clock, no random source, no socket, no thread, no lock and no
//! log; its type's page is the manual for embedding it into an event loop. [`wire`] is the codec, usable alone.
//!
//! The crate is `no_std` (it needs `alloc`). Features: `std` (default) for `IoSlice` views; `json` (default) for the
//! `forebay` dialect, which is specified in `src/dialect/forebay.md`. Without a dialect every connection is raw.
//! `simd` validates UTF-8 in the vectors of the processor; `deflate`, for compression (RFC 7692), needs a target that has `std`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod clock;
mod compression;
mod compressor;
mod config;
mod conn;
mod delivery;
mod dialect;
mod ends;
mod entropy;
mod error;
mod hub;
mod id;
mod lane;
mod latest;
mod ledger;
mod log;
mod losses;
mod output;
mod policy;
mod publish_ids;
mod rate;
mod session;
mod slab;
mod stats;
pub mod stream;
mod time;
mod timers;
mod topics;
mod upgrade;
mod watermark;
pub mod wire;

pub use compression::*;
pub use config::*;
pub use delivery::*;
pub use dialect::ERROR_CODES;
pub use error::*;
pub use hub::*;
pub use id::*;
pub use output::*;
pub use policy::*;
pub use stats::*;
pub use time::Instant;
pub use upgrade::*;
