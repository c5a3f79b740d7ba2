//! One consumer of a stream.

use core::time::Duration;

use super::log::Log;
use super::options::ConsumerOptions;
use super::pressure::ConsumerStats;
use super::queue::Queue;
use super::{End, Ending};
use crate::config::{LaneLimits, Watermarks};
use crate::output::LossReason;
use crate::policy::Policy;
use crate::stats::{Level, Load};
use crate::time::Instant;
use crate::watermark::Gauge;

/// What becomes of an item that is offered to a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// It waits.
    Waits,
    /// It entered, and was lost: it did not fit.
    Lost,
    /// The consumer has ended.
    Not,
}

#[derive(Debug)]
pub(super) struct Member<T> {
    pub(super) queue: Queue,
    pub(super) policy: Policy,
    age_max: Option<Duration>,
    /// Nothing enters any more; told behind what waits.
    pub(super) end: Option<End<T>>,
    /// The largest item that was refused because it did not fit here, until there is room.
    pub(super) refused_bytes: Option<u64>,
    /// It was answered that there is nothing, and nothing has come since.
    pub(super) is_waiting: bool,
    gauge: Gauge,
    /// An item did not fit since the gauge was last looked at.
    is_at_limit: bool,
}

impl<T> Member<T> {
    pub(super) fn new(options: ConsumerOptions) -> Self {
        Self {
            queue: Queue::new(options.limits, options.policy),
            policy: options.policy,
            age_max: options.age_max,
            end: None,
            refused_bytes: None,
            is_waiting: false,
            gauge: Gauge::default(),
            is_at_limit: false,
        }
    }

    pub(super) fn limits(&self) -> LaneLimits {
        self.queue.limits()
    }

    /// Whether it receives, or has yet to take what came before its end.
    pub(super) fn is_active(&self) -> bool {
        self.end.is_none() || self.queue.front().is_some()
    }

    /// Whether there is something to be told.
    pub(super) fn has_something(&self) -> bool {
        self.end.is_some() || self.queue.has_something()
    }

    /// Whether an item of so many bytes has to be refused for its sake.
    pub(super) fn blocks(&self, bytes: u64) -> bool {
        self.policy == Policy::Block && self.end.is_none() && !self.queue.fits(bytes)
    }

    /// An item of so many bytes is refused for its sake; whether it is the first since there was room.
    pub(super) fn refuse(&mut self, bytes: u64) -> bool {
        self.is_at_limit = true;
        self.refused_bytes.replace(bytes.max(self.refused_bytes.unwrap_or(0))).is_none()
    }

    /// Whether it is at the low mark and there is room again for the largest item that was refused.
    pub(super) fn has_made_room(&self, marks: &Watermarks) -> bool {
        let is_low = || self.queue.fill() <= marks.low();
        self.refused_bytes.is_some_and(|bytes| self.end.is_some() || (is_low() && self.queue.fits(bytes)))
    }

    /// Looks at the level.
    pub(super) fn gauge(&mut self, marks: &Watermarks, now: Instant) {
        let is_at_limit = core::mem::take(&mut self.is_at_limit);
        // Where only the latest item waits it is never full. (And most are far from it, which costs no division.)
        let is_low = !is_at_limit && self.gauge.level() == Level::Nominal && !self.queue.is_at(marks.high());
        if self.policy != Policy::LatestOnly && !is_low {
            self.gauge.update(self.queue.fill(), is_at_limit, now, marks);
        }
    }

    /// The newest item, of so many bytes.
    pub(super) fn receive(&mut self, log: &mut Log<T>, bytes: u64) -> Received {
        if self.end.is_some() {
            return Received::Not;
        }
        let fits = self.queue.fits(bytes);
        self.is_at_limit |= !fits;
        match self.policy {
            Policy::LatestOnly => self.lose_all(log, LossReason::Superseded),
            Policy::DropNewest if !fits => {
                self.queue.reject(bytes);
                return Received::Lost;
            }
            Policy::Disconnect if !fits => {
                self.cut_off(log, Ending::Overflowed, None);
                return Received::Not;
            }
            Policy::DropOldest => {
                while !self.queue.fits(bytes) {
                    self.lose_front(log, LossReason::Oldest);
                }
            }
            _ => {} // It fits, or the write would have been refused.
        }
        self.queue.enter(log.next(), bytes);
        Received::Waits
    }

    /// Takes the oldest item.
    pub(super) fn take(&mut self, log: &mut Log<T>) -> Option<T>
    where
        T: Clone,
    {
        let (value, bytes) = log.take(self.queue.front()?);
        self.queue.take(bytes);
        Some(value)
    }

    /// What has waited for `age_max` is lost.
    pub(super) fn expire(&mut self, log: &mut Log<T>, now: Instant) {
        let Some(age_max) = self.age_max else { return };
        while self.queue.front().is_some_and(|item| log.at(item) + age_max <= now) {
            self.lose_front(log, LossReason::Age);
        }
    }

    /// Ends the consumer behind what waits.
    pub(super) fn close(&mut self, value: Option<T>) {
        self.end.get_or_insert(End { how: Ending::Closed, value, missed: 0 });
    }

    /// Ends the consumer now: what waits is lost.
    pub(super) fn cut_off(&mut self, log: &mut Log<T>, how: Ending, value: Option<T>) {
        if self.end.as_ref().is_some_and(|end| end.how != Ending::Closed) {
            return;
        }
        self.lose_all(log, LossReason::Closed);
        let missed = self.queue.take_due_gap().map_or(0, |gap| gap.missed);
        self.end = Some(End { how, value, missed });
    }

    pub(super) fn lose_all(&mut self, log: &mut Log<T>, reason: LossReason) {
        while self.queue.front().is_some() {
            self.lose_front(log, reason);
        }
    }

    fn lose_front(&mut self, log: &mut Log<T>, reason: LossReason) {
        let item = self.queue.front().expect("something waits");
        let bytes = log.release(item);
        self.queue.lose(bytes, reason);
    }

    pub(super) fn load(&self, log: &Log<T>, marks: &Watermarks, now: Instant) -> Load {
        let (waiting, fill) = (self.queue.waiting(), self.queue.fill());
        let oldest_age = self.queue.front().map_or(Duration::ZERO, |item| now.since(log.at(item)));
        // It may have been held long enough since it was last looked at.
        let mut gauge = self.gauge;
        if self.policy != Policy::LatestOnly {
            gauge.update(fill, false, now, marks);
        }
        Load { waiting, largest: waiting, oldest_age, fill, level: gauge.level() }
    }

    pub(super) fn stats(&self, log: &Log<T>, marks: &Watermarks, now: Instant) -> ConsumerStats {
        ConsumerStats {
            policy: self.policy,
            limits: self.limits(),
            age_max: self.age_max,
            load: self.load(log, marks, now),
            totals: self.queue.totals(),
            is_closed: self.end.is_some(),
        }
    }
}
