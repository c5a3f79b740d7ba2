//! Servers and clients over real sockets: the suite of `forebay-threads`. Deadlines are only guards against hanging.
#![forbid(unsafe_code)]

mod binding;
#[path = "../../threads/tests/suite/mod.rs"]
mod suite;
