//! The overflow policies: every cell of the table of policies, and what follows from it.

mod ages;
mod beside;
mod choices;
mod ends;
mod house;
mod keys;
mod memory;
mod model;
mod newest;
mod pinned;
mod table;
