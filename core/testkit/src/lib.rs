//! Simulated world for `forebay-core`: virtual time, pipes with limited room, an independently written mini client, two
//! hubs side by side, driven by a seed or by a fuzzer.
//!
//! - [`world`]: everything at once, random, checked after every step: `world::run(seed, steps)`.
//! - [`stage`]: one hub and a few clients, for tests that know exactly what must happen.
//! - [`mini`]: a strict WebSocket and `forebay.v1` client that shares no code with the core.
//! - [`model`]: what a hub must do, written again and naively, and a driver that compares both.
//! - [`mutants`]: bugs that are planted to see that the model finds them.
//! - [`wire`]: a reference decoder of RFC 6455, and streams to compare the core's with it.
//! - [`fuzz`]: the bodies of the fuzz targets.
//! - [`alloc`]: a counting allocator.

pub mod alloc;
pub mod digest;
pub mod fuzz;
pub mod mini;
pub mod model;
pub mod mutants;
pub mod pipe;
pub mod rng;
pub mod stage;
pub mod wire;
pub mod world;
