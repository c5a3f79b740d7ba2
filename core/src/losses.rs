//! What a lane lost, and what of it the consumer was not told yet.

use crate::output::{Gap, GapReason, LossReason};
use crate::stats::Count;

#[derive(Debug, Default)]
pub(crate) struct Losses {
    counts: [Count; LossReason::ALL.len()],
    gap: Option<Gap>,
}

/// What a lane lost that has lost nothing.
pub(crate) static NO_LOSSES: Losses = Losses { counts: [Count::new(0, 0); LossReason::ALL.len()], gap: None };

impl Losses {
    /// Whether nothing was ever lost.
    pub(crate) fn is_empty(&self) -> bool {
        self.gap.is_none() && self.counts == NO_LOSSES.counts
    }

    /// Messages numbered within `first..=last` were lost; to be told, unless they were superseded.
    pub(crate) fn lose(&mut self, (first, last): (u64, u64), count: Count, reason: LossReason) {
        self.counts[reason as usize] += count;
        if reason != LossReason::Superseded {
            self.miss((first, last), count.messages, GapReason::Lost(reason));
        }
    }

    /// So many messages numbered within `first..=last` are missed, which is to be told.
    pub(crate) fn miss(&mut self, (first, last): (u64, u64), missed: u64, reason: GapReason) {
        let gap = Gap { from: first, to: last, missed, reasons: reason.bit() };
        self.gap = Some(self.gap.map_or(gap, |told_later| told_later.merged(gap)));
    }

    /// What was lost, by reason.
    pub(crate) fn counts(&self) -> [Count; LossReason::ALL.len()] {
        self.counts
    }

    /// What is to be told.
    pub(crate) fn gap(&self) -> Option<Gap> {
        self.gap
    }

    /// What is to be told before the next message, whose number is `next`: what was lost behind it can wait until it was
    /// sent.
    pub(crate) fn due_gap(&self, next: Option<u64>) -> Option<Gap> {
        self.gap.filter(|gap| next.is_none_or(|next| gap.from < next))
    }

    /// Takes the gap to tell it, if it is due.
    pub(crate) fn take_due_gap(&mut self, next: Option<u64>) -> Option<Gap> {
        self.due_gap(next)?;
        self.gap.take()
    }

    /// Puts back a gap whose notice was not sent.
    pub(crate) fn return_gap(&mut self, gap: Gap) {
        self.gap = Some(self.gap.map_or(gap, |newer| gap.merged(newer)));
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_merged_into_one_gap_and_told_once_before_what_follows() {
        let mut losses = Losses::default();
        assert_eq!((losses.gap(), losses.due_gap(None)), (None, None));
        losses.lose((3, 4), Count::new(2, 20), LossReason::Oldest);
        losses.lose((9, 9), Count::new(1, 5), LossReason::Superseded);
        losses.lose((7, 7), Count::new(1, 1), LossReason::Newest);
        let gap = losses.gap().unwrap();
        assert_eq!((gap.from, gap.to, gap.missed), (3, 7, 3), "superseded is not told");
        assert_eq!(
            gap.reasons().collect::<alloc::vec::Vec<_>>(),
            [GapReason::Lost(LossReason::Oldest), GapReason::Lost(LossReason::Newest)]
        );
        assert_eq!(losses.take_due_gap(Some(3)), None, "3 comes first");
        assert_eq!(losses.take_due_gap(Some(5)), Some(gap));
        assert_eq!(losses.take_due_gap(None), None, "told once");
        losses.lose((8, 8), Count::new(1, 1), LossReason::Oldest);
        losses.return_gap(gap);
        assert_eq!(losses.take_due_gap(None).map(|gap| (gap.from, gap.to, gap.missed)), Some((3, 8, 4)));
        assert_eq!(losses.counts()[LossReason::Superseded as usize], Count::new(1, 5));
        assert_eq!(losses.counts()[LossReason::Oldest as usize], Count::new(3, 21));
    }
}
