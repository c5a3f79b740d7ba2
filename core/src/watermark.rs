//! Levels with hysteresis and a minimum dwell.

use crate::config::{LaneLimits, Watermarks};
use crate::stats::{Count, Level};
use crate::time::Instant;

/// How much of a limit is used, in thousandths, rounded up: what is at most half used is at most 500.
pub(crate) fn fill(used: u64, limit: u64) -> u32 {
    match used.checked_mul(1_000) {
        Some(0) => 0, // The usual case, without a division.
        Some(used) => u32::try_from(used.div_ceil(limit.max(1))).unwrap_or(u32::MAX),
        None => {
            let thousandths = (u128::from(used) * 1_000).div_ceil(u128::from(limit.max(1)));
            u32::try_from(thousandths).unwrap_or(u32::MAX)
        }
    }
}

/// The least that fills a limit to so many thousandths.
pub(crate) fn least(limit: u64, thousandths: u32) -> u64 {
    let below = u128::from(thousandths.saturating_sub(1)) * u128::from(limit) / 1_000;
    u64::try_from(below).map_or(u64::MAX, |below| below + 1)
}

impl LaneLimits {
    /// How much of the tighter limit is used, in thousandths.
    pub(crate) fn fill(&self, load: Count) -> u32 {
        fill(load.messages, u64::from(self.messages_max)).max(fill(load.bytes, self.bytes_max))
    }

    /// The least that fills either limit to so many thousandths.
    pub(crate) fn least(&self, thousandths: u32) -> Count {
        Count::new(least(u64::from(self.messages_max), thousandths), least(self.bytes_max, thousandths))
    }
}

impl Watermarks {
    /// From here on a level is `High`, in thousandths.
    pub(crate) fn high(&self) -> u32 {
        u32::from(self.high_percent) * 10
    }

    /// Up to here a level falls to `Nominal`, in thousandths.
    pub(crate) fn low(&self) -> u32 {
        u32::from(self.low_percent) * 10
    }
}

/// A level and since when it is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Gauge {
    level: Level,
    /// Its limit is reached and not left; only of a `HeldGauge`.
    is_held: bool,
    /// When it was entered, or its limit was reached again.
    since: Instant,
}

impl Gauge {
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// What a fill makes of the level; `is_at_limit`: the policy acted. Whether it changed.
    pub(crate) fn update(&mut self, fill: u32, is_at_limit: bool, now: Instant, marks: &Watermarks) -> bool {
        let next = if is_at_limit {
            self.since = now; // Also where it is critical already.
            Level::Critical
        } else {
            let reached = self.reached(fill, marks);
            if reached < self.level && now < self.since + marks.dwell { self.level } else { reached }
        };
        let is_changed = next != self.level;
        if is_changed {
            (self.level, self.since) = (next, now);
        }
        is_changed
    }

    /// Whether a fill makes the level rise.
    pub(crate) fn rises(&self, fill: u32, marks: &Watermarks) -> bool {
        self.reached(fill, marks) > self.level
    }

    /// When a level that would fall but for the dwell is to be looked at again.
    pub(crate) fn falls_at(&self, fill: u32, marks: &Watermarks) -> Option<Instant> {
        (self.reached(fill, marks) < self.level).then(|| self.since + marks.dwell)
    }

    fn reached(&self, fill: u32, marks: &Watermarks) -> Level {
        if fill <= marks.low() {
            Level::Nominal
        } else if fill >= marks.high() {
            self.level.max(Level::High)
        } else {
            self.level.min(Level::High)
        }
    }
}

/// A gauge of what stays at its limit for a while: it is critical for as long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeldGauge(Gauge);

impl HeldGauge {
    pub(crate) fn level(&self) -> Level {
        self.0.level()
    }

    /// Whether it says what a new one would.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.level() == Level::Nominal
    }

    /// Whether it says what these would make of it, but for the dwell.
    pub(crate) fn is_right(&self, fill: u32, is_at_limit: bool, marks: &Watermarks) -> bool {
        is_at_limit == self.0.is_held && !self.0.rises(fill, marks)
    }

    pub(crate) fn update(&mut self, fill: u32, is_at_limit: bool, now: Instant, marks: &Watermarks) {
        let was_at_limit = core::mem::replace(&mut self.0.is_held, is_at_limit);
        if !(was_at_limit && is_at_limit) {
            self.0.update(fill, is_at_limit, now, marks);
        }
    }

    /// When a level that would fall but for the dwell is to be looked at again.
    pub(crate) fn falls_at(&self, fill: u32, marks: &Watermarks) -> Option<Instant> {
        if self.0.is_held { None } else { self.0.falls_at(fill, marks) }
    }
}

/// A level, and what was told of it, above it: in one byte, because every connection has two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ToldLevel(u8);

impl ToldLevel {
    const BITS: u8 = 2;

    const fn of(bits: u8) -> Level {
        match bits & ((1 << Self::BITS) - 1) {
            0 => Level::Nominal,
            1 => Level::High,
            _ => Level::Critical,
        }
    }

    const fn new(level: Level, told: Level) -> Self {
        Self(level as u8 | (told as u8) << Self::BITS)
    }

    pub(crate) const fn level(self) -> Level {
        Self::of(self.0)
    }

    const fn told(self) -> Level {
        Self::of(self.0 >> Self::BITS)
    }

    /// The level is this now; whether it changed.
    pub(crate) fn set(&mut self, level: Level) -> bool {
        let before = core::mem::replace(self, Self::new(level, self.told()));
        before != *self
    }

    /// Whether it is not the one last told.
    pub(crate) fn is_owed(self) -> bool {
        self.told() != self.level()
    }

    /// The level, if it is not the one last told: it is now.
    pub(crate) fn tell(&mut self) -> Option<Level> {
        let level = self.level();
        let before = core::mem::replace(self, Self::new(level, level));
        before.is_owed().then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const MARKS: Watermarks = Watermarks { high_percent: 75, low_percent: 50, dwell: Duration::from_millis(100) };

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_level_rises_at_once_and_falls_at_its_mark_after_the_dwell() {
        let mut gauge = Gauge::default();
        // (milliseconds, fill, whether the policy acted, level then)
        for (row, (millis, fill, is_at_limit, level)) in [
            (0, 749, false, Level::Nominal),
            (0, 750, false, Level::High),
            (1, 501, false, Level::High),
            (99, 0, false, Level::High),
            (99, 600, true, Level::Critical),
            (150, 1_000, true, Level::Critical),
            (249, 749, false, Level::Critical),
            (250, 750, false, Level::Critical),
            (250, 749, false, Level::High),
            (349, 500, false, Level::High),
            (350, 501, false, Level::High),
            (350, 500, false, Level::Nominal),
            (350, 749, false, Level::Nominal),
            (351, 1_000, true, Level::Critical),
            (451, 500, false, Level::Nominal),
        ]
        .into_iter()
        .enumerate()
        {
            let before = gauge.level();
            let is_changed = gauge.update(fill, is_at_limit, at(millis), &MARKS);
            assert_eq!((gauge.level(), is_changed), (level, level != before), "row {row}");
        }
    }

    #[test]
    fn what_is_held_for_the_dwell_alone_says_until_when() {
        let mut gauge = Gauge::default();
        assert_eq!(gauge.falls_at(0, &MARKS), None);
        gauge.update(1_000, true, at(10), &MARKS);
        assert_eq!(gauge.falls_at(750, &MARKS), None, "it would not fall");
        assert_eq!(gauge.falls_at(749, &MARKS), Some(at(110)), "to high");
        gauge.update(749, false, at(110), &MARKS);
        assert_eq!(gauge.falls_at(501, &MARKS), None);
        assert_eq!(gauge.falls_at(500, &MARKS), Some(at(210)), "to nominal");
    }

    #[test]
    fn what_rose_and_fell_before_it_was_told_is_not_told() {
        let mut level = ToldLevel::default();
        assert_eq!(level.tell(), None);
        assert!(level.set(Level::High) && !level.set(Level::High) && level.set(Level::Critical));
        assert_eq!((level.tell(), level.tell()), (Some(Level::Critical), None));
        assert!(level.set(Level::Nominal) && level.set(Level::Critical));
        assert_eq!((level.tell(), level.level()), (None, Level::Critical));
    }

    #[test]
    fn a_fill_is_rounded_up() {
        assert_eq!(
            (fill(0, 3), fill(1, 3), fill(3, 3), fill(5_000, 10_000), fill(5_001, 10_000)),
            (0, 334, 1_000, 500, 501)
        );
        assert_eq!(fill(u64::MAX, 1), u32::MAX);
        let limits = LaneLimits { messages_max: 10, bytes_max: 1_000 };
        assert_eq!((limits.fill(Count::new(2, 900)), limits.fill(Count::new(9, 0))), (900, 900));
        for (messages_max, bytes_max) in [(1, 1), (2, 3), (7, 10), (10, 999), (1_000, 1 << 20), (u32::MAX, 1 << 40)] {
            let limits = LaneLimits { messages_max, bytes_max };
            for thousandths in [10, 500, 750, 990, 1_000] {
                let Count { messages, bytes } = limits.least(thousandths);
                assert!(limits.fill(Count::new(messages, 0)) >= thousandths, "{limits:?} {thousandths}");
                assert!(limits.fill(Count::new(messages - 1, bytes - 1)) < thousandths, "{limits:?} {thousandths}");
                assert!(limits.fill(Count::new(0, bytes)) >= thousandths, "{limits:?} {thousandths}");
            }
        }
    }
}
