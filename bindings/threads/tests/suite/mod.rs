//! The end-to-end suite, which is the same for every binding: `crate::binding` is this one.

mod adopt;
mod braking;
mod clients;
mod common;
mod delivery;
mod documents;
mod floods;
mod hostile;
mod inbound;
mod kills;
mod malformed;
#[cfg(feature = "metrics")]
mod metrics;
mod pipes;
mod raw;
mod snapshots;
mod streams;
mod topics;
mod upgrades;
