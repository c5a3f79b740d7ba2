//! How fast: the generic cell rate algorithm, one number per bucket.

use core::time::Duration;

use crate::delivery::Rate;
use crate::time::Instant;

const SECOND: u64 = 1_000_000_000;

/// A bucket, by when it will be full again. One that is full says nothing: it is as good as none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bucket {
    full_at: Instant,
}

impl Rate {
    /// How long so many units take, rounded up.
    fn takes(self, units: u64) -> Duration {
        let nanos = (u128::from(units) * u128::from(SECOND)).div_ceil(u128::from(self.per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Bucket {
    /// When there is a whole unit above `reserved` ones (which are less than the burst); at or before now: there is.
    pub(crate) fn next_at(self, rate: Rate, reserved: u32) -> Instant {
        let may_miss = u64::from(rate.burst - reserved) - 1;
        let early = may_miss * SECOND / u64::from(rate.per_second);
        Instant::from_nanos(self.full_at.as_nanos().saturating_sub(early))
    }

    /// When it will be full: as good as none.
    pub(crate) fn full_at(self) -> Instant {
        self.full_at
    }

    /// Whole units above `reserved` ones.
    pub(crate) fn units(self, rate: Rate, reserved: u32, now: Instant) -> u64 {
        let missing = u128::from(nanos(self.full_at.since(now)));
        let missing = (missing * u128::from(rate.per_second)).div_ceil(u128::from(SECOND));
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        u64::from(rate.burst).saturating_sub(missing).saturating_sub(reserved.into())
    }

    /// Takes so many units, which may be more than there are.
    pub(crate) fn take(&mut self, rate: Rate, units: u64, now: Instant) {
        self.full_at = self.full_at.max(now) + rate.takes(units);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_like_one_that_is_filled_drop_by_drop() {
        let mut seed = 9_u64;
        let mut draw = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        for per_second in [1_u32, 2, 5, 1_000, 1_000_000_000] {
            for burst in [1_u32, 2, 7, 1_000] {
                let rate = Rate { per_second, burst };
                let reserved = burst / 3;
                let (mut bucket, mut now) = (Bucket::default(), Instant::from_nanos(10 * SECOND));
                // What is in it, in units * 10^9; it may be overdrawn. (All these rates divide a second.)
                let full = i128::from(burst) * i128::from(SECOND);
                let mut level = full;
                for _ in 0..2_000 {
                    let above = level - i128::from(reserved) * i128::from(SECOND);
                    let units = u64::try_from(above / i128::from(SECOND)).unwrap_or(0);
                    assert_eq!(bucket.units(rate, reserved, now), if above < 0 { 0 } else { units });
                    let has_unit = above >= i128::from(SECOND);
                    assert_eq!(bucket.next_at(rate, reserved) <= now, has_unit, "{rate:?} {level}");
                    assert_eq!(bucket.full_at() <= now, level == full);
                    if has_unit && draw(3) > 0 {
                        let taken = 1 + draw(u64::from(burst) * 2);
                        bucket.take(rate, taken, now);
                        level -= i128::from(taken) * i128::from(SECOND);
                        continue;
                    }
                    // To the very moment at which there is a unit, the nanosecond before it, or anywhere.
                    let next = bucket.next_at(rate, reserved);
                    let then = match draw(3) {
                        0 => next,
                        1 => Instant::from_nanos(next.as_nanos().saturating_sub(1)),
                        _ => now + Duration::from_nanos(draw(3 * SECOND)),
                    };
                    let passed = then.since(now);
                    now = now.max(then);
                    level = full.min(level + i128::from(nanos(passed)) * i128::from(per_second));
                }
            }
        }
    }

    #[test]
    fn there_is_a_unit_from_the_moment_on_at_which_the_next_is_due() {
        for per_second in [3_u32, 7, 999_999_937] {
            for (burst, reserved) in [(1_u32, 0_u32), (8, 0), (8, 6), (8, 7), (1_000, 33)] {
                let rate = Rate { per_second, burst };
                let (mut bucket, mut now) = (Bucket::default(), Instant::from_nanos(10 * SECOND));
                for taken in 1..500 {
                    bucket.take(rate, taken % 11 + 1, now);
                    let next = bucket.next_at(rate, reserved).max(now);
                    assert!(bucket.units(rate, reserved, next) > 0, "{rate:?} {reserved}");
                    if next > now {
                        let before = Instant::from_nanos(next.as_nanos() - 1);
                        assert_eq!(bucket.units(rate, reserved, before), 0, "{rate:?} {reserved}");
                    }
                    now = next;
                }
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let rate = Rate { per_second: 1, burst: 1 << 31 };
        let mut bucket = Bucket::default();
        bucket.take(rate, u64::MAX, Instant::from_nanos(5));
        assert!(bucket.next_at(rate, 0) > Instant::from_nanos(5));
        assert_eq!(bucket.units(rate, 0, Instant::from_nanos(5)), 0);
    }
}
