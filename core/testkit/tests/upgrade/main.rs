//! Who may connect: the opening handshake as a hub answers it.
#![forbid(unsafe_code)]

mod gate;
mod house;
mod linear;
mod origins;
mod refusals;
mod slow;
