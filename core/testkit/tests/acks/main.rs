//! At least once, over one hub and transports that take exactly so much.

mod again;
mod ends;
mod house;
mod resume;
mod window;
