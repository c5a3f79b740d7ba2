//! The reference model: what a hub must do, written independently and naively, and a driver that does the same to both
//! and compares.
//!
//! [`command`] is what `cargo run --release -p forebay-testkit -- model` runs.

mod act;
mod campaign;
pub mod command;
mod draw;
mod features;
mod modes;
mod plan;
mod play;
mod reference;
mod shrink;
mod text;
mod transcript;

pub use campaign::{Campaign, Failure, Outcome, run_bytes};
pub use play::Tally;
pub use transcript::Transcript;
