//! How much waits: for a consumer, and for many.

use core::time::Duration;

use crate::config::LaneLimits;
use crate::policy::Policy;
use crate::stats::{Load, Totals};

/// The pressure of a stream, or of many: over all consumers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamPressure {
    /// Consumers: those that receive, and those that have yet to take what came before their end.
    pub consumers: u64,
    /// What waits for them: the sum (an item once for each consumer it waits for), the most that waits for one, and the
    /// greatest age, fill and level.
    pub load: Load,
}

impl StreamPressure {
    /// This and another, seen as one.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { consumers: self.consumers + other.consumers, load: self.load.with(other.load) }
    }
}

/// What there is to know of a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConsumerStats {
    /// What happens when an item does not fit.
    pub policy: Policy,
    /// How much may wait.
    pub limits: LaneLimits,
    /// How old an item may become while it waits.
    pub age_max: Option<Duration>,
    /// What waits. (What the application has taken does not, nor does an end.)
    pub load: Load,
    /// The terms of the queue law; *sent* is what was taken.
    pub totals: Totals,
    /// Whether it was closed: nothing more enters.
    pub is_closed: bool,
}
