//! RFC 6455 §5 read once more, slowly: what must have been told of a stream at each of its bytes.
//!
//! - [`mod@reference`]: a decoder that takes one byte at a time and knows nothing of the core.
//! - [`draw`]: streams of frames, most of them good, with every fault there is planted somewhere.
//! - [`compare`]: the core's decoder beside the reference, on the same stream in any pieces.
//! - [`through`]: the same streams through a whole hub, in both roles.

pub mod compare;
pub mod draw;
pub mod reference;
pub mod through;
