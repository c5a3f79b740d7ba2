//! What happens when a message does not fit a lane.

use core::fmt;

use crate::wire::{CloseCode, CloseReason};

macro_rules! policies {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What happens when a message does not fit a lane: when the lane has `messages_max` messages waiting, or the
        /// message would bring it above `bytes_max`.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        #[non_exhaustive]
        pub enum Policy { $($(#[$doc])* $variant,)* }

        impl Policy {
            /// All policies.
            pub const ALL: &[Policy] = &[$(Self::$variant,)*];

            /// Its name in the dialects, in configuration and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

policies! {
    /// The oldest waiting messages are lost until the new one fits. The consumer is told by a gap notice.
    DropOldest = "drop-oldest",
    /// The new message is lost to this lane. The consumer is told by a gap notice.
    DropNewest = "drop-newest",
    /// Always: only the latest message of each key waits; what it replaces is *superseded*, which is counted and not
    /// told. A message without a key has the empty key. Beyond the topic's `keys_max` and `keys_bytes_max` the key whose
    /// latest message is the oldest is forgotten, and lanes that wait for that message lose it (`oldest`).
    LatestPerKey = "latest-per-key",
    /// Always: only the latest message waits, whatever its key.
    LatestOnly = "latest-only",
    /// The consumer is ended: [`TopicOptions::disconnect`](crate::TopicOptions::disconnect).
    Disconnect = "disconnect",
    /// The publish is refused as a whole; a client's publish waits up to
    /// [`Options::block_max`](crate::Options::block_max).
    Block = "block",
}

impl Policy {
    /// The policy of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|policy| policy.name() == name)
    }

    /// Whether single messages may be lost to a lane with it: all but `Disconnect` and `Block`.
    #[must_use]
    pub const fn is_lossy(self) -> bool {
        !matches!(self, Self::Disconnect | Self::Block)
    }

    /// Whether a lane with it may deliver at least once: `Block`, `Disconnect` and `DropNewest` (at least once for what is
    /// not counted lost).
    #[must_use]
    pub const fn can_be_at_least_once(self) -> bool {
        self.counts_outstanding()
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Whether what is outstanding counts towards *fits*. For the others it belongs to the connection, and is judged
    /// again when it returns unsent.
    pub(crate) const fn counts_outstanding(self) -> bool {
        matches!(self, Self::DropNewest | Self::Disconnect | Self::Block)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of policies.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Policies(u8);

impl Policies {
    /// None.
    pub const NONE: Self = Self(0);
    /// All that let the consumer lose messages, or end it: whoever chooses one costs nobody else anything.
    pub const LOSSY: Self = Self::of(&[
        Policy::DropOldest,
        Policy::DropNewest,
        Policy::LatestPerKey,
        Policy::LatestOnly,
        Policy::Disconnect,
    ]);

    /// These.
    #[must_use]
    pub const fn of(policies: &[Policy]) -> Self {
        let (mut bits, mut place) = (0, 0);
        while place < policies.len() {
            bits |= policies[place].bit();
            place += 1;
        }
        Self(bits)
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn contains(self, policy: Policy) -> bool {
        self.0 & policy.bit() != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Policy> {
        Policy::ALL.iter().copied().filter(move |policy| self.contains(*policy))
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What [`Policy::Disconnect`] does to a consumer whose lane is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect {
    /// What ends.
    pub scope: DisconnectScope,
    /// The code of the Close frame: 1013 (try again later).
    pub code: CloseCode,
    /// The reason in the Close frame: `lane full`.
    pub reason: CloseReason,
}

impl Default for Disconnect {
    fn default() -> Self {
        let reason = CloseReason::new("lane full").expect("short");
        Self { scope: DisconnectScope::Connection, code: CloseCode::TRY_AGAIN_LATER, reason }
    }
}

/// What ends when a lane with [`Policy::Disconnect`] is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum DisconnectScope {
    /// The connection with its session and all its lanes. (Of an in-process consumer: its lane.)
    #[default]
    Connection,
    /// Only the lane; a client is told `ended`, code `overflow`.
    Topic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_name_their_policies_and_sets_hold_what_they_were_made_of() {
        for policy in Policy::ALL.iter().copied() {
            assert_eq!(Policy::from_name(policy.name()), Some(policy));
            let one = Policies::of(&[policy]);
            assert!(Policy::ALL.iter().all(|other| one.contains(*other) == (*other == policy)));
            assert_eq!(Policies::LOSSY.contains(policy), policy != Policy::Block);
            assert_eq!(one.iter().collect::<alloc::vec::Vec<_>>(), [policy]);
        }
        assert_eq!(Policy::from_name("Block"), None);
        assert_eq!(Policies::NONE.iter().count(), 0);
    }
}
