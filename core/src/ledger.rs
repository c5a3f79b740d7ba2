//! The ledger: the one place where messages are charged and released. Underflow panics.

use crate::output::{Count, LossReason, Totals};

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
    #[should_panic(expected = "never releases")]
    fn releasing_more_than_waits_panics() {
        Totals::default().send(Count::new(1, 0));
    }
}
