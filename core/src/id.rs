//! Ids: an index and a generation, so that a stale one never names something new.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $short:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            pub(crate) index: u32,
            pub(crate) generation: u32,
        }

        impl $name {
            /// The id as a number, for instance as the `user_data` of an event loop.
            #[must_use]
            pub const fn to_bits(self) -> u64 {
                ((self.generation as u64) << 32) | self.index as u64
            }

            /// The id that [`to_bits`](Self::to_bits) made a number of. Bits that never were an id name nothing.
            #[must_use]
            #[expect(clippy::cast_possible_truncation, reason = "the halves of the number are what is wanted")]
            pub const fn from_bits(bits: u64) -> Self {
                Self { index: bits as u32, generation: (bits >> 32) as u32 }
            }

            /// The place in a table: small, dense, used again after the thing it named is gone.
            #[must_use]
            pub const fn index(self) -> usize {
                self.index as usize
            }
        }

        impl crate::slab::Key for $name {
            fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }
            fn index(self) -> u32 {
                self.index
            }
            fn generation(self) -> u32 {
                self.generation
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!($short, "{}.{}"), self.index, self.generation)
            }
        }
    )*};
}
pub(crate) use ids;

ids! {
    /// Names a connection of one hub.
    ConnId, "conn";
    /// Names a topic of one hub.
    TopicId, "topic";
    /// Names a lane of one hub.
    LaneId, "lane";
    /// A hub's handle of a session. What a client is told is a different, unguessable text.
    SessionId, "session";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_both_ways() {
        let id = ConnId { index: 7, generation: 0xFFFF_FFFE };
        assert_eq!(ConnId::from_bits(id.to_bits()), id);
        assert_eq!(id.index(), 7);
    }
}
