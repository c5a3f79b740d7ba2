//! The end-to-end suite, which is the same for every binding: `crate::binding` is this one.

mod adopt;
mod braking;
mod clients;
mod common;
mod documents;
mod malformed;
#[cfg(feature = "metrics")]
mod metrics;
mod raw;
mod snapshots;
mod topics;
