//! Without a free file descriptor; in a process of its own.
#![forbid(unsafe_code)]
#![cfg(unix)]

mod binding;
#[path = "../../threads/tests/suite/exhaustion.rs"]
mod suite;
