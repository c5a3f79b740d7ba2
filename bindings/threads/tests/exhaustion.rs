//! Without a free file descriptor; in a process of its own.
#![forbid(unsafe_code)]
#![cfg(unix)]

use forebay_threads as binding;

#[path = "suite/exhaustion.rs"]
mod suite;
