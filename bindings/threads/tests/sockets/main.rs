//! Servers and clients over real sockets. Deadlines are only guards against hanging.
#![forbid(unsafe_code)]

mod clients;
mod common;
mod malformed;
mod topics;
