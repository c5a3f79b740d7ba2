//! How much waits: of a consumer, and of many as maximum and as sum.

use core::time::Duration;

use crate::config::LaneLimits;
use crate::policy::Policy;
use crate::stats::{Count, Totals};

/// How much waits. (What an application has taken does not, nor do ends.)
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConsumerPressure {
    /// Items that wait, and their bytes.
    pub waiting: Count,
    /// For how long the oldest of them does.
    pub oldest_age: Duration,
    /// Thousandths of the limit that is nearer, messages or bytes: 1,000 is full.
    pub fill_permille: u32,
}

/// The pressure of a stream, or of many: over all consumers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamPressure {
    /// Consumers: those that receive, and those that have yet to take what came before their end.
    pub consumers: u64,
    /// The greatest of each number.
    pub maximum: ConsumerPressure,
    /// All that waits, an item once for each consumer it waits for; the greatest age; how full all limits together are.
    pub sum: ConsumerPressure,
    /// All limits together.
    pub limits: Count,
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
    /// How much waits.
    pub pressure: ConsumerPressure,
    /// The terms of the queue law; *sent* is what was taken.
    pub totals: Totals,
    /// Whether it was closed: nothing more enters.
    pub is_closed: bool,
}

fn permille(waiting: Count, limits: Count) -> u32 {
    // Of at most 2^32 limits of 2^40 bytes.
    let of = |part: u64, whole: u64| u128::from(part) * 1_000 / u128::from(whole.max(1));
    let fuller = of(waiting.messages, limits.messages).max(of(waiting.bytes, limits.bytes));
    u32::try_from(fuller).unwrap_or(u32::MAX)
}

impl ConsumerPressure {
    pub(super) fn new(waiting: Count, limits: LaneLimits, oldest_age: Duration) -> Self {
        let limits = Count::new(limits.messages_max.into(), limits.bytes_max);
        Self { waiting, oldest_age, fill_permille: permille(waiting, limits) }
    }
}

impl StreamPressure {
    pub(super) fn add(&mut self, consumer: ConsumerPressure, limits: LaneLimits) {
        let limits = Count::new(limits.messages_max.into(), limits.bytes_max);
        self.merge(&Self { consumers: 1, maximum: consumer, sum: consumer, limits });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.consumers += other.consumers;
        self.limits += other.limits;
        let (maximum, more) = (&mut self.maximum, other.maximum);
        maximum.waiting.messages = maximum.waiting.messages.max(more.waiting.messages);
        maximum.waiting.bytes = maximum.waiting.bytes.max(more.waiting.bytes);
        maximum.oldest_age = maximum.oldest_age.max(more.oldest_age);
        maximum.fill_permille = maximum.fill_permille.max(more.fill_permille);
        self.sum.waiting += other.sum.waiting;
        self.sum.oldest_age = maximum.oldest_age;
        self.sum.fill_permille = permille(self.sum.waiting, self.limits);
    }
}
