//! Servers and clients over real sockets. Deadlines are only guards against hanging.
#![forbid(unsafe_code)]

use forebay_threads as binding;

mod suite;
