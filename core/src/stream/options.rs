//! Limits of streams and their consumers.

use core::time::Duration;

use super::ConsumerError;
use crate::config::{ConfigError, LaneLimits, Watermarks, check};
use crate::policy::Policy;

/// What a consumer is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerOptions {
    /// What happens when an item does not fit: `DropOldest`. Not [`Policy::LatestPerKey`]: items have no keys.
    pub policy: Policy,
    /// How much may wait: 1,024 items, 1 MiB. `bytes_max` is at least the stream's `item_bytes_max`.
    pub limits: LaneLimits,
    /// How old an item may become while it waits; then it is lost (`age`). `None`: as old as it likes. Only with a policy
    /// that may lose single items ([`Policy::is_lossy`]).
    pub age_max: Option<Duration>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        let limits = LaneLimits { messages_max: 1_024, bytes_max: 1 << 20 };
        Self { policy: Policy::DropOldest, limits, age_max: None }
    }
}

impl ConsumerOptions {
    /// The default limits, with this policy.
    #[must_use]
    pub fn with_policy(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// This policy, for at most so many items.
    #[must_use]
    pub fn bounded(policy: Policy, messages_max: u32) -> Self {
        let limits = LaneLimits { messages_max, ..Self::default().limits };
        Self { policy, limits, age_max: None }
    }

    pub(super) fn check(&self, stream: &StreamOptions) -> Result<(), ConsumerError> {
        let is_bounded = self.limits.check("messages_max", "bytes_max").is_ok();
        let has_room = self.limits.bytes_max >= u64::from(stream.item_bytes_max);
        let may_age = self.age_max.is_none_or(|age| self.policy.is_lossy() && age >= Duration::from_millis(1));
        match self.policy {
            Policy::LatestPerKey => Err(ConsumerError::PolicyNotAllowed),
            _ if is_bounded && has_room && may_age => Ok(()),
            _ => Err(ConsumerError::InvalidLimits),
        }
    }
}

/// What a stream is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamOptions {
    /// Bytes of one item; a larger one is refused: 256 KiB.
    pub item_bytes_max: u32,
    /// Consumers at a time: 1,024. Those that have ended and were not told yet are among them.
    pub consumers_max: u32,
    /// Where the levels of consumers change, and (the low mark) where a stream that refused is drained.
    pub watermarks: Watermarks,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { item_bytes_max: 256 << 10, consumers_max: 1_024, watermarks: Watermarks::default() }
    }
}

impl StreamOptions {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check(self.item_bytes_max > 0, "item_bytes_max", "must be at least 1")?;
        check(self.consumers_max > 0, "consumers_max", "must be at least 1")?;
        check(self.consumers_max <= 1 << 20, "consumers_max", "must be at most 1048576")?;
        self.watermarks.check()
    }
}

/// What a set of streams is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamsOptions {
    /// What each stream is made with.
    pub stream: StreamOptions,
    /// Streams at a time, which is names that have consumers: 10,000.
    pub streams_max: u32,
    /// Bytes of a name: 256.
    pub name_bytes_max: u32,
    /// The `bytes_max` of all consumers together, reserved when a consumer is made and given back when it has ended, so
    /// that no more than this ever waits and a write never fails for want of it: 1 GiB.
    pub reserved_bytes_max: u64,
}

impl Default for StreamsOptions {
    fn default() -> Self {
        Self { stream: StreamOptions::default(), streams_max: 10_000, name_bytes_max: 256, reserved_bytes_max: 1 << 30 }
    }
}

impl StreamsOptions {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.stream.check()?;
        check(self.streams_max > 0, "streams_max", "must be at least 1")?;
        check(self.name_bytes_max > 0, "name_bytes_max", "must be at least 1")?;
        check(self.reserved_bytes_max > 0, "reserved_bytes_max", "must be at least 1")
    }
}
