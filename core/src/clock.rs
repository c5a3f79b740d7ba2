//! A clock that can be stopped: what happened on it while it stood still did not take any time.

use core::time::Duration;

use crate::time::Instant;

/// How far a clock is behind the hub's.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How long it stood still, until it went on last.
    behind: Duration,
    /// Since when it stands still.
    stopped: Option<Instant>,
}

impl Clock {
    /// One that runs.
    pub(crate) const fn new() -> Self {
        Self { behind: Duration::ZERO, stopped: None }
    }

    fn less(&self, now: Instant) -> Instant {
        Instant::ZERO + now.since(Instant::ZERO + self.behind)
    }

    /// What it shows.
    pub(crate) fn time(&self, now: Instant) -> Instant {
        self.less(self.stopped.unwrap_or(now))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// When it shows that time; at the earliest, while it stands still.
    pub(crate) fn shows_at(&self, time: Instant, now: Instant) -> Instant {
        time + self.behind + self.stopped.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Stops it, or lets it go on; whether it goes on, and did not before.
    pub(crate) fn run(&mut self, is_running: bool, now: Instant) -> bool {
        if !is_running {
            self.stopped.get_or_insert(now);
            return false;
        }
        let Some(since) = self.stopped.take() else { return false };
        self.behind += now.since(since);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_only_what_passes_while_it_runs() {
        let at = Instant::from_nanos;
        let mut clock = Clock::new();
        let (mut now, mut shown, mut seed) = (0_u64, 0_u64, 5_u64);
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let passed = (seed >> 40) % 10;
            now += passed;
            shown += if clock.is_stopped() { 0 } else { passed };
            assert_eq!(clock.time(at(now)), at(shown));
            let later = (seed >> 50) % 7;
            assert_eq!(clock.shows_at(at(shown + later), at(now)), at(now + later), "if nothing stops it");
            let is_running = seed >> 63 == 0;
            let was_stopped = clock.is_stopped();
            assert_eq!(clock.run(is_running, at(now)), was_stopped && is_running);
            assert_eq!(clock.is_stopped(), !is_running);
        }
    }
}
