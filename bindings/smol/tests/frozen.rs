//! Many subscribers, some of which stop reading; in a process of its own, whose memory is measured.
#![forbid(unsafe_code)]

mod binding;
#[path = "../../threads/tests/suite/frozen.rs"]
mod suite;
