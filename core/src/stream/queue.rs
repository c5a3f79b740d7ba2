//! What waits for one consumer: a lane, and which items of the log it is about. The one place of streams that knows
//! lanes.

use alloc::collections::VecDeque;
use core::ops::Range;

use crate::config::LaneLimits;
use crate::lane::{Lane, Mark};
use crate::output::{Gap, LossReason};
use crate::policy::Policy;
use crate::stats::{Count, Totals};

/// The lane counts in the consumer's own numbers, in which what was written to others alone does not occur.
#[derive(Debug)]
pub(super) struct Queue {
    lane: Lane,
    /// Behind the last item that entered.
    head: Mark,
    /// The numbers in the log of what waits, oldest first. None is empty, so there are no more than messages.
    items: VecDeque<Range<u64>>,
}

impl Queue {
    pub(super) fn new(limits: LaneLimits, policy: Policy) -> Self {
        Self { lane: Lane::new(limits, policy, Mark::default()), head: Mark::default(), items: VecDeque::new() }
    }

    pub(super) fn limits(&self) -> LaneLimits {
        self.lane.terms.limits
    }

    pub(super) fn waiting(&self) -> Count {
        self.lane.waiting(self.head)
    }

    pub(super) fn totals(&self) -> Totals {
        self.lane.totals(self.head)
    }

    /// Whether one more item of so many bytes fits.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.lane.fits(self.head, Count::new(1, bytes))
    }

    /// How much of the tighter limit is used, in thousandths.
    pub(super) fn fill(&self) -> u32 {
        self.limits().fill(self.waiting())
    }

    /// Whether [`fill`](Self::fill) is at least so much, which is not 0.
    pub(super) fn is_at(&self, fill: u32) -> bool {
        let (waiting, limits) = (self.waiting(), self.limits());
        let is_at = |used: u64, limit: u64| u128::from(used) * 1_000 > u128::from(limit) * u128::from(fill - 1);
        is_at(waiting.messages, limits.messages_max.into()) || is_at(waiting.bytes, limits.bytes_max)
    }

    /// The oldest item that waits.
    pub(super) fn front(&self) -> Option<u64> {
        self.items.front().map(|run| run.start)
    }

    /// Every item that waits.
    pub(super) fn items(&self) -> impl Iterator<Item = u64> {
        self.items.iter().cloned().flatten()
    }

    /// The newest item enters.
    pub(super) fn enter(&mut self, item: u64, bytes: u64) {
        self.head = Mark { messages: self.head.messages + 1, bytes: self.head.bytes + bytes };
        match self.items.back_mut() {
            Some(run) if run.end == item => run.end += 1,
            _ => self.items.push_back(item..item + 1),
        }
    }

    /// The newest item is not for this consumer, because it does not fit.
    pub(super) fn reject(&mut self, bytes: u64) {
        let before = self.head;
        self.head = Mark { messages: before.messages + 1, bytes: before.bytes + bytes };
        self.lane.reject(before, self.head);
    }

    /// The oldest item, of so many bytes, is taken.
    pub(super) fn take(&mut self, bytes: u64) {
        let cut = self.front_cut(bytes);
        self.lane.start(self.head, cut);
        self.lane.sent(cut);
        self.pop();
    }

    /// The oldest item, of so many bytes, is lost.
    pub(super) fn lose(&mut self, bytes: u64, reason: LossReason) {
        let cut = self.front_cut(bytes);
        self.lane.drop_through(cut, self.head, reason);
        self.pop();
    }

    /// What was lost and is to be told before the oldest item.
    pub(super) fn take_due_gap(&mut self) -> Option<Gap> {
        let next = self.lane.next(self.head);
        self.lane.losses_mut().take_due_gap(next)
    }

    /// Whether something waits, or is to be told.
    pub(super) fn has_something(&self) -> bool {
        !self.items.is_empty() || self.lane.losses().gap().is_some()
    }

    fn front_cut(&self, bytes: u64) -> Mark {
        let after = self.lane.front(self.head).after;
        Mark { messages: after.messages + 1, bytes: after.bytes + bytes }
    }

    fn pop(&mut self) {
        let front = self.items.front_mut().expect("the lane says that an item waits");
        front.start += 1;
        if front.is_empty() {
            self.items.pop_front();
        }
    }
}
