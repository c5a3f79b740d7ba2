//! Many subscribers, some of which stop reading; in a process of its own, whose memory is measured.
#![forbid(unsafe_code)]

use forebay_threads as binding;

#[path = "suite/frozen.rs"]
mod suite;
