//! The ledger: the one place where messages are charged and released, and where the numbers of several hubs become one.
//! Underflow panics.

use core::ops::AddAssign;

use crate::output::LossReason;
use crate::stats::{AbandonReason, Acks, Compression, Count, Level, Levels, Stats, Totals, Transitions};

impl Count {
    fn minus(self, other: Count) -> Count {
        Count {
            messages: self
                .messages
                .checked_sub(other.messages)
                .expect("the ledger never releases what it did not charge"),
            bytes: self.bytes.checked_sub(other.bytes).expect("the ledger never releases what it did not charge"),
        }
    }
}

impl Totals {
    /// A message of `bytes` entered `lanes` lanes.
    pub(crate) fn enter(&mut self, lanes: u64, bytes: u64) {
        let count = Count::new(lanes, lanes * bytes);
        self.entered += count;
        self.waiting += count;
    }

    /// What was published before entered a lane that starts there.
    pub(crate) fn enter_again(&mut self, count: Count) {
        self.entered += count;
        self.waiting += count;
    }

    /// What waited was sent.
    pub(crate) fn send(&mut self, count: Count) {
        self.waiting = self.waiting.minus(count);
        self.sent += count;
    }

    /// What waited was lost.
    pub(crate) fn lose(&mut self, reason: LossReason, count: Count) {
        self.waiting = self.waiting.minus(count);
        self.lost[reason as usize] += count;
    }
}

impl AddAssign<&Totals> for Totals {
    fn add_assign(&mut self, other: &Totals) {
        self.entered += other.entered;
        self.sent += other.sent;
        self.waiting += other.waiting;
        for (lost, more) in self.lost.iter_mut().zip(other.lost) {
            *lost += more;
        }
    }
}

impl Transitions {
    /// A level was entered.
    pub(crate) fn enter(&mut self, level: Level) {
        match level {
            Level::Nominal => self.nominal += 1,
            Level::High => self.high += 1,
            Level::Critical => self.critical += 1,
        }
    }
}

/// The ack law: what is sent for the first time is unacknowledged, and leaves that once.
impl Acks {
    pub(crate) fn send(&mut self, count: Count) {
        self.sent += count;
        self.unacknowledged += count;
    }

    pub(crate) fn acknowledge(&mut self, count: Count) {
        self.unacknowledged = self.unacknowledged.minus(count);
        self.acknowledged += count;
    }

    pub(crate) fn abandon(&mut self, reason: AbandonReason, count: Count) {
        self.unacknowledged = self.unacknowledged.minus(count);
        self.abandoned[reason as usize] += count;
    }
}

impl AddAssign<&Acks> for Acks {
    fn add_assign(&mut self, other: &Acks) {
        let Acks { sent, acknowledged, unacknowledged, abandoned, retries } = other;
        self.sent += *sent;
        self.acknowledged += *acknowledged;
        self.unacknowledged += *unacknowledged;
        self.abandoned.iter_mut().zip(abandoned).for_each(|(sum, count)| *sum += *count);
        self.retries += *retries;
    }
}

impl AddAssign<&Transitions> for Transitions {
    fn add_assign(&mut self, other: &Transitions) {
        let Transitions { nominal, high, critical } = other;
        self.nominal += nominal;
        self.high += high;
        self.critical += critical;
    }
}

impl AddAssign<&Levels> for Levels {
    fn add_assign(&mut self, other: &Levels) {
        let Levels { lanes, sessions, inbound, outbound, topics, hub } = other;
        self.lanes += lanes;
        self.sessions += sessions;
        self.inbound += inbound;
        self.outbound += outbound;
        self.topics += topics;
        self.hub += hub;
    }
}

impl AddAssign<&Compression> for Compression {
    fn add_assign(&mut self, other: &Compression) {
        let Compression { compressed, compressed_to, sent, sent_bytes } = other;
        self.compressed += *compressed;
        self.compressed_to += compressed_to;
        self.sent += *sent;
        self.sent_bytes += sent_bytes;
    }
}

fn add_each<const N: usize>(sums: &mut [u64; N], counts: &[u64; N]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// The numbers of several hubs as one.
impl AddAssign<&Stats> for Stats {
    fn add_assign(&mut self, other: &Stats) {
        // Whole, so that no number is forgotten.
        let Stats {
            lanes,
            direct,
            published,
            refused_full,
            refused_too_large,
            refused_overloaded,
            refused_limited,
            duplicates,
            parked,
            refused_volatile,
            levels,
            acks,
            unknown_acks,
            resumed,
            compression,
            received,
            inflated,
            inflated_from,
            accepted,
            refused_accepts,
            refused_requests,
            rejected_requests,
            opened,
            closed,
            ended,
            violations,
            sessions_ended,
            error_replies,
            gaps_sent,
            stale_inputs,
            connections,
            topics,
            lanes_now,
            detached,
            resident_bytes,
        } = other;
        self.lanes += lanes;
        self.direct += direct;
        self.published += *published;
        self.refused_full += refused_full;
        self.refused_too_large += refused_too_large;
        self.refused_overloaded += refused_overloaded;
        self.refused_limited += refused_limited;
        self.duplicates += duplicates;
        self.parked += parked;
        self.refused_volatile += refused_volatile;
        self.levels += levels;
        self.acks += acks;
        self.unknown_acks += unknown_acks;
        self.resumed += resumed;
        self.compression += compression;
        self.received += *received;
        self.inflated += *inflated;
        self.inflated_from += inflated_from;
        self.accepted += accepted;
        self.refused_accepts += refused_accepts;
        add_each(&mut self.refused_requests, refused_requests);
        self.rejected_requests += rejected_requests;
        self.opened += opened;
        self.closed += closed;
        add_each(&mut self.ended, ended);
        add_each(&mut self.violations, violations);
        add_each(&mut self.sessions_ended, sessions_ended);
        add_each(&mut self.error_replies, error_replies);
        self.gaps_sent += gaps_sent;
        self.stale_inputs += stale_inputs;
        self.connections += connections;
        self.topics += topics;
        self.lanes_now += lanes_now;
        self.detached += detached;
        self.resident_bytes += resident_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_holds_after_each_entry_of_the_ledger() {
        let mut totals = Totals::default();
        totals.enter(3, 10);
        totals.send(Count::new(1, 10));
        totals.lose(LossReason::Closed, Count::new(1, 10));
        assert_eq!(totals.conservation_error(), 0);
        assert_eq!(totals.waiting, Count::new(1, 10));
        totals.sent.messages += 1;
        assert_eq!(totals.conservation_error(), -1, "a miscount shows");
    }

    #[test]
    fn sums_keep_the_law() {
        let mut totals = Totals::default();
        totals.enter(3, 10);
        totals.send(Count::new(1, 10));
        totals.lose(LossReason::Closed, Count::new(1, 10));
        let one = Stats { lanes: totals, opened: 2, connections: 1, resident_bytes: 100, ..Stats::default() };
        let one = Stats { violations: core::array::from_fn(|place| place as u64), ..one };
        let mut sum = one;
        sum += &one;
        assert_eq!((sum.lanes.entered, sum.lanes.lost_by(LossReason::Closed)), (Count::new(6, 60), Count::new(2, 20)));
        assert_eq!((sum.opened, sum.connections, sum.resident_bytes), (4, 2, 200));
        assert!(sum.violations.iter().enumerate().all(|(place, count)| *count == 2 * place as u64));
        assert_eq!(sum.lanes.conservation_error(), 0);
    }

    #[test]
    fn the_ack_law_holds_after_each_entry_of_the_ledger() {
        let mut acks = Acks::default();
        acks.send(Count::new(3, 30));
        acks.acknowledge(Count::new(1, 10));
        acks.abandon(AbandonReason::Unsubscribed, Count::new(1, 10));
        assert_eq!((acks.conservation_error(), acks.unacknowledged), (0, Count::new(1, 10)));
        assert_eq!(acks.abandoned_by(AbandonReason::Unsubscribed), Count::new(1, 10));
        let one = acks;
        acks += &one;
        assert_eq!((acks.conservation_error(), acks.sent), (0, Count::new(6, 60)));
        acks.sent.bytes += 1;
        assert_eq!(acks.conservation_error(), 1, "a miscount shows");
    }

    #[test]
    #[should_panic(expected = "never releases")]
    fn releasing_more_than_waits_panics() {
        Totals::default().send(Count::new(1, 0));
    }
}
