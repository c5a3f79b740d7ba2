//! Many subscribers, some of which stop reading; in a process of its own, whose memory is measured.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "not every test needs all of it")]
mod binding;
#[path = "../../threads/tests/suite/frozen.rs"]
mod suite;
