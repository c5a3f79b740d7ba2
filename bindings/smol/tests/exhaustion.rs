//! Without a free file descriptor; in a process of its own.
#![forbid(unsafe_code)]
#![cfg(unix)]

#[expect(dead_code, reason = "not every test needs all of it")]
mod binding;
#[path = "../../threads/tests/suite/exhaustion.rs"]
mod suite;
