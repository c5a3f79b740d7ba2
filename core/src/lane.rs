//! Lane arithmetic: where a consumer stands in a log, what waits for it, what fits.
//!
//! Pure numbers: a lane knows no topic, no connection and no bytes. The log tells it marks; it tells the log which
//! messages it still needs. The same leaf serves topics, direct lanes and in-process consumers. (Lanes of the latest
//! messages are in `latest.rs`: what waits there is no run.)

use alloc::vec::Vec;

use crate::config::LaneLimits;
use crate::losses::Losses;
use crate::output::LossReason;
use crate::policy::Policy;
use crate::stats::{Count, Totals};

/// A cut in a log: how many messages and payload bytes stand before it. Messages are numbered from 1, so the cut after
/// message `n` has `messages == n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Mark {
    pub(crate) fn to(self, later: Mark) -> Count {
        Count::new(later.messages - self.messages, later.bytes - self.bytes)
    }
}

/// The messages between two cuts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Run {
    pub(crate) after: Mark,
    pub(crate) through: Mark,
}

impl Run {
    pub(crate) fn count(&self) -> Count {
        self.after.to(self.through)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.after.messages == self.through.messages
    }

    /// The number of the first message.
    pub(crate) fn first(&self) -> u64 {
        self.after.messages + 1
    }

    /// The number of the last message.
    pub(crate) fn last(&self) -> u64 {
        self.through.messages
    }
}

/// Runs a lane may have, the one that ends at the head included.
pub(crate) const RUNS_MAX: usize = 8;
/// One more than `RUNS_MAX`: a loss at a bound may part what is outstanding from the rest, and it may return.
const OLDER_MAX: usize = RUNS_MAX + 1;

/// What a log must keep for a lane: everything behind the tail, and the closed runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Needs {
    pub(crate) tail: Option<Mark>,
    pub(crate) held: Run,
    /// Filled up with empty ones. (No `Vec`: that would be an allocation per change of a lane.)
    pub(crate) older: Option<[Run; OLDER_MAX]>,
}

impl Needs {
    pub(crate) fn older(runs: &[Run]) -> Option<[Run; OLDER_MAX]> {
        let filled = || core::array::from_fn(|place| runs.get(place).copied().unwrap_or_default());
        (!runs.is_empty()).then(filled)
    }

    pub(crate) fn older_runs(&self) -> impl Iterator<Item = Run> {
        self.older.iter().flatten().copied().filter(|run| !run.is_empty())
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        core::iter::once(self.held).filter(|run| !run.is_empty()).chain(self.older_runs())
    }
}

/// One consumer's window on a log.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) limits: LaneLimits,
    /// Whether what is outstanding counts towards *fits*: for every policy that may not lose what returns unsent.
    counts_outstanding: bool,
    /// Whether the newest message may be lost: `Policy::DropNewest`.
    may_reject: bool,
    /// The head when the lane began.
    began: Mark,
    /// The head when the lane ended; nothing enters any more.
    ended: Option<Mark>,
    /// Everything from here to the head waits.
    tail: Mark,
    /// Runs before the tail, oldest first: what returned unsent after messages behind it had been dropped.
    older: Vec<Run>,
    /// In a Transmit that was not answered, or partly sent.
    outstanding: Run,
    /// The end of what is outstanding that still lives in the log; the rest was copied to its connection.
    held: Run,
    sent: Count,
    pub(crate) losses: Losses,
}

impl Lane {
    /// What a lane that is not there needs.
    pub(crate) const NO_NEEDS: Needs = Needs {
        tail: None,
        held: Run { after: Mark { messages: 0, bytes: 0 }, through: Mark { messages: 0, bytes: 0 } },
        older: None,
    };

    pub(crate) fn new(limits: LaneLimits, policy: Policy, head: Mark) -> Self {
        Self {
            limits,
            counts_outstanding: policy.counts_outstanding(),
            may_reject: policy == Policy::DropNewest,
            began: head,
            ended: None,
            tail: head,
            older: Vec::new(),
            outstanding: Run::default(),
            held: Run::default(),
            sent: Count::default(),
            losses: Losses::default(),
        }
    }

    /// What the log must keep for this lane.
    pub(crate) fn needs(&self) -> Needs {
        let tail = if self.is_ended() { None } else { Some(self.tail) };
        Needs { tail, held: self.held, older: Needs::older(&self.older) }
    }

    pub(crate) fn outstanding(&self) -> Run {
        self.outstanding
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> Run {
        self.held
    }

    /// What is outstanding was copied to its connection.
    pub(crate) fn unhold(&mut self) {
        self.held = Run::default();
    }

    /// Whether so much was dropped behind what is outstanding that it should be copied, so that the log need not keep
    /// it: more than the lane can hold.
    pub(crate) fn outlived_its_outstanding(&self) -> bool {
        !self.held.is_empty() && self.tail.messages > self.held.last() + u64::from(self.limits.messages_max)
    }

    /// Waiting and not outstanding.
    pub(crate) fn waiting(&self, head: Mark) -> Count {
        let mut waiting = self.tail.to(self.ended.unwrap_or(head));
        self.older.iter().for_each(|run| waiting += run.count());
        waiting
    }

    /// What counts towards the limits.
    pub(crate) fn load(&self, head: Mark) -> Count {
        let mut load = self.waiting(head);
        if self.counts_outstanding {
            load += self.outstanding.count();
        }
        load
    }

    /// Whether `more` fits on top of what is there: `Count::new(1, bytes)` for one more message.
    pub(crate) fn fits(&self, head: Mark, more: Count) -> bool {
        let load = self.load(head);
        load.messages + more.messages <= u64::from(self.limits.messages_max)
            && load.bytes + more.bytes <= self.limits.bytes_max
            && (more.messages == 0 || self.has_run_left(head))
    }

    /// The first head behind which a message may not fit any more: up to it nothing needs to be looked at.
    pub(crate) fn due(&self, head: Mark) -> Mark {
        if !self.has_run_left(head) {
            return head;
        }
        let load = self.load(head);
        Mark {
            messages: head.messages + u64::from(self.limits.messages_max).saturating_sub(load.messages),
            bytes: head.bytes + self.limits.bytes_max.saturating_sub(load.bytes),
        }
    }

    /// Whether the load is at or below half of both limits and `bytes` more fit.
    pub(crate) fn is_drained(&self, head: Mark, bytes: u64) -> bool {
        let load = self.load(head);
        load.messages <= u64::from(self.limits.messages_max / 2)
            && load.bytes <= self.limits.bytes_max / 2
            && self.fits(head, Count::new(1, bytes))
    }

    /// The oldest run that waits and is not outstanding.
    pub(crate) fn front(&self, head: Mark) -> Run {
        match self.older.first() {
            Some(run) => *run,
            None => Run { after: self.tail, through: self.ended.unwrap_or(head) },
        }
    }

    /// Drops the oldest waiting messages until `more` fits; `mark` tells the cut after a message.
    pub(crate) fn trim(&mut self, head: Mark, more: Count, reason: LossReason, mark: impl Fn(u64) -> Mark) -> Count {
        let mut lost = Count::default();
        while !self.fits(head, more) {
            let front = self.front(head);
            if front.is_empty() {
                break; // Only what is outstanding is left, and that is not ours to drop.
            }
            lost += self.drop_front(front, mark(front.first()), reason);
        }
        lost
    }

    /// Drops everything that waits up to `through` (a cut), oldest first.
    pub(crate) fn drop_through(&mut self, through: Mark, head: Mark, reason: LossReason) -> Count {
        let mut lost = Count::default();
        loop {
            let front = self.front(head);
            if front.is_empty() || front.after.messages >= through.messages {
                return lost;
            }
            let cut = if through.messages < front.through.messages { through } else { front.through };
            lost += self.drop_front(front, cut, reason);
        }
    }

    fn drop_front(&mut self, front: Run, cut: Mark, reason: LossReason) -> Count {
        self.advance_front(front, cut);
        self.lose(Run { after: front.after, through: cut }, reason)
    }

    /// Takes the front up to `cut` out of what waits.
    fn advance_front(&mut self, front: Run, cut: Mark) {
        match self.older.first_mut() {
            Some(_) if cut == front.through => drop(self.older.remove(0)),
            Some(run) => run.after = cut,
            None => self.tail = cut,
        }
    }

    fn lose(&mut self, run: Run, reason: LossReason) -> Count {
        let count = run.count();
        self.losses.lose((run.first(), run.last()), count, reason);
        count
    }

    /// The number of the next message that waits and is not outstanding.
    pub(crate) fn next(&self, head: Mark) -> Option<u64> {
        let front = self.front(head);
        (!front.is_empty()).then(|| front.first())
    }

    /// The front up to `cut` becomes outstanding. Nothing may be outstanding but messages directly before it.
    pub(crate) fn start(&mut self, head: Mark, cut: Mark) -> Run {
        let front = self.front(head);
        let run = Run { after: front.after, through: cut };
        self.advance_front(front, cut);
        if self.outstanding.is_empty() {
            self.outstanding = run;
        } else {
            assert_eq!(self.outstanding.through, run.after, "what is outstanding is one run");
            self.outstanding.through = run.through;
        }
        if self.held.is_empty() {
            self.held = run;
        } else {
            self.held.through = run.through;
        }
        run
    }

    /// What is outstanding was sent up to `cut`.
    pub(crate) fn sent(&mut self, cut: Mark) -> Count {
        let count = self.outstanding.after.to(cut);
        self.outstanding.after = cut;
        if cut.messages >= self.held.through.messages {
            self.held = Run::default();
        } else if cut.messages > self.held.after.messages {
            self.held.after = cut;
        }
        self.sent += count;
        count
    }

    /// What is outstanding after `cut` was not sent and waits again, before everything else. It is lost instead, for
    /// `reason`, in a lane that has ended, or when the log no longer has it; so is the shortest run beyond the eighth.
    /// The count of what was lost.
    pub(crate) fn returned(&mut self, cut: Mark, reason: LossReason) -> Count {
        let run = Run { after: cut, through: self.outstanding.through };
        if run.through.messages <= cut.messages {
            return Count::default();
        }
        self.outstanding.through = cut;
        let is_held = !self.held.is_empty() && self.held.after.messages <= cut.messages;
        self.held = if is_held { Run { after: self.held.after, through: cut } } else { Run::default() };
        if self.ended.is_some() || !is_held {
            return self.lose(run, reason);
        }
        match self.older.first_mut() {
            Some(front) if front.after == run.through => front.after = run.after,
            None if self.tail == run.through => self.tail = run.after,
            _ => self.older.insert(0, run),
        }
        // The next publish must find room for its run, unless it can be rejected.
        if self.older.len() < RUNS_MAX + usize::from(self.may_reject) {
            return Count::default();
        }
        let shortest = self.older.iter().enumerate().min_by_key(|(_, run)| run.count().messages);
        let index = shortest.expect("there are many").0;
        let run = self.older.remove(index);
        self.lose(run, reason)
    }

    /// The newest message, between `before` and `head`, is lost to this lane.
    pub(crate) fn reject(&mut self, before: Mark, head: Mark) -> Count {
        if self.tail.messages < before.messages {
            self.older.push(Run { after: self.tail, through: before });
            assert!(self.older.len() <= OLDER_MAX, "a run that was begun has its place");
        }
        self.tail = head;
        self.lose(Run { after: before, through: head }, LossReason::Newest)
    }

    /// Whether a message would not begin a ninth run. (What is outstanding is one until it was sent.)
    fn has_run_left(&self, head: Mark) -> bool {
        let is_apart = !self.outstanding.is_empty() && self.outstanding.through != self.front(head).after;
        !self.may_reject || self.tail.messages < head.messages || self.older.len() + usize::from(is_apart) < RUNS_MAX
    }

    /// Ends the lane: what waits is lost. What is outstanding is settled by `sent` and `returned`.
    pub(crate) fn end(&mut self, head: Mark, reason: LossReason) -> Count {
        let lost = self.drop_through(head, head, reason);
        self.ended = Some(head);
        lost
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The terms of the queue law. `entered` comes from the log's marks, the others were counted one by one.
    pub(crate) fn totals(&self, head: Mark) -> Totals {
        let mut waiting = self.waiting(head);
        waiting += self.outstanding.count();
        Totals {
            entered: self.began.to(self.ended.unwrap_or(head)),
            sent: self.sent,
            waiting,
            lost: self.losses.counts(),
        }
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
