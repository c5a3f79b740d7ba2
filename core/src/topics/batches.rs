//! What was published since the last flush is not sent yet: it waits, like everything else.

use super::Topic;
use crate::lane::Run;

impl Topic {
    /// Whether a message was published before the last flush, so that it may be sent.
    pub(crate) fn is_flushed(&self, seq: u64) -> bool {
        seq <= self.flushed.messages
    }

    /// The number of a lane's next message that waits, is not outstanding and does not wait for a flush.
    pub(crate) fn next_flushed(&self, place: usize) -> Option<u64> {
        self.next(place).filter(|seq| self.is_flushed(*seq))
    }

    /// What was flushed of a run.
    pub(super) fn flushed_part(&self, run: Run) -> Run {
        match run.last() {
            last if self.is_flushed(last) => run,
            _ if self.is_flushed(run.first()) => Run { through: self.flushed, ..run },
            _ => Run { through: run.after, ..run },
        }
    }

    /// Whether a lane has nothing to send before the next flush, not even again. Then nothing is to be told before it either.
    fn waits_for_flush(&self, place: usize) -> bool {
        self.flushed != self.head && self.next_flushed(place).is_none() && self.next_again(place).is_none()
    }

    /// Whether nothing new may leave a lane, notices included.
    pub(super) fn is_held_back(&self, place: usize) -> bool {
        self.is_shut(place) || self.waits_for_flush(place)
    }
}
