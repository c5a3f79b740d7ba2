//! Time as a number: the embedder owns the clock.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// A moment: nanoseconds since an epoch the embedder chooses.
///
/// The core never reads a clock; every `handle_*` call is told the time. The hub clamps it to be monotone, so a clock
/// that jumps backwards stands still instead. 2^64 ns are 584 years: additions saturate. (An `Option<Instant>` is as small:
/// the last nanosecond, 2^64 - 1, is the one before it.)
///
/// ```
/// use core::time::Duration;
/// use forebay_core::Instant;
/// let start = Instant::from_nanos(5);
/// assert_eq!(start + Duration::from_nanos(7), Instant::from_nanos(12));
/// assert_eq!(start.since(Instant::from_nanos(9)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The embedder's epoch.
    pub const ZERO: Instant = Instant(NonZeroU64::MIN);

    /// The moment `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at 2^64 - 2 ns.
    fn add(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.as_nanos() / 1_000_000_000, self.as_nanos() % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_saturate_and_differences_stop_at_zero() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(late + Duration::from_secs(1), Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::ZERO.since(late), Duration::ZERO);
        assert_eq!(late.since(Instant::ZERO), Duration::from_nanos(u64::MAX - 1));
        assert_eq!((Instant::from_nanos(u64::MAX), Instant::default()), (late, Instant::from_nanos(0)));
        assert_eq!(size_of::<Option<Instant>>(), 8);
    }
}
