//! The overflow policies: every cell of the table of policies, and what follows from it. (There is no limit by age yet.)

mod beside;
mod choices;
mod ends;
mod house;
mod keys;
mod memory;
mod newest;
mod table;
