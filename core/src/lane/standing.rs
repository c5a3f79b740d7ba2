//! Where a lane stands.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::needs::OLDER_MAX;
use super::{Mark, Needs, RUNS_MAX, Run, Terms};
use crate::losses::{Losses, NO_LOSSES};
use crate::output::LossReason;
use crate::stats::{Count, Totals};

/// One consumer's window on a log.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The head when the lane began.
    began: Mark,
    /// Everything from here to the head waits.
    tail: Mark,
    /// What is outstanding and in the log, directly before the tail. (Together less than 2^32 bytes: a Transmit and the
    /// message before it, 1 GiB each.)
    out_messages: u32,
    out_bytes: u32,
    /// There while it says anything.
    rare: Option<Box<Rare>>,
}

/// What most lanes do not have.
#[derive(Debug, Default)]
struct Rare {
    losses: Losses,
    /// Runs before the tail, oldest first: what returned unsent after messages behind it had been dropped, and what waits
    /// before a message that was rejected.
    older: Vec<Run>,
    /// What is outstanding, where it is not directly before the tail, or not all in the log.
    apart: Option<Apart>,
    course: Course,
}

/// Whether the lane goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Course {
    /// What was sent counts on until it is acknowledged or abandoned.
    Live { unacknowledged: Count },
    /// The head when it ended, and why it did; nothing enters any more.
    Ended { head: Mark, reason: LossReason },
}

impl Default for Course {
    fn default() -> Self {
        Self::Live { unacknowledged: Count::default() }
    }
}

#[derive(Clone, Copy, Debug)]
struct Apart {
    /// In a Transmit that was not answered, or partly sent.
    outstanding: Run,
    /// The end of what is outstanding that still lives in the log; the rest was copied to its connection.
    held: Run,
}

/// Of bytes, and so of messages, that are outstanding of a lane.
pub(crate) fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("less than 2^32 bytes are outstanding of a lane")
}

impl Standing {
    /// What a lane that is not there needs.
    pub(crate) const NO_NEEDS: Needs = Needs {
        tail: None,
        held: Run { after: Mark { messages: 0, bytes: 0 }, through: Mark { messages: 0, bytes: 0 } },
        older: None,
    };

    pub(crate) fn new(head: Mark) -> Self {
        Self { began: head, tail: head, out_messages: 0, out_bytes: 0, rare: None }
    }

    /// What the log must keep for this lane.
    #[inline]
    pub(crate) fn needs(&self) -> Needs {
        let tail = if self.is_ended() { None } else { Some(self.tail) };
        Needs { tail, held: self.held(), older: Needs::older(self.older()) }
    }

    fn older(&self) -> &[Run] {
        self.rare.as_ref().map_or(&[], |rare| &rare.older)
    }

    fn apart(&self) -> Option<Apart> {
        self.rare.as_ref().and_then(|rare| rare.apart)
    }

    fn course(&self) -> Course {
        self.rare.as_ref().map_or(Course::default(), |rare| rare.course)
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Gives back what says nothing.
    fn forget_rare(&mut self) {
        let is_idle = |rare: &Rare| {
            let is_usual = rare.apart.is_none() && rare.older.is_empty() && rare.course == Course::default();
            is_usual && rare.losses.is_empty()
        };
        if self.rare.as_deref().is_some_and(is_idle) {
            self.rare = None;
        }
    }

    pub(crate) fn losses(&self) -> &Losses {
        self.rare.as_ref().map_or(&NO_LOSSES, |rare| &rare.losses)
    }

    pub(crate) fn losses_mut(&mut self) -> &mut Losses {
        &mut self.rare_mut().losses
    }

    /// In a Transmit that was not answered, or partly sent.
    pub(crate) fn outstanding(&self) -> Run {
        self.apart().map_or_else(|| self.before_tail(), |apart| apart.outstanding)
    }

    /// The end of what is outstanding that the log has to keep.
    pub(crate) fn held(&self) -> Run {
        let held = self.apart().map_or_else(|| self.before_tail(), |apart| apart.held);
        if held.is_empty() { Run::default() } else { held }
    }

    fn before_tail(&self) -> Run {
        let Mark { messages, bytes } = self.tail;
        let after =
            Mark { messages: messages - u64::from(self.out_messages), bytes: bytes - u64::from(self.out_bytes) };
        Run { after, through: self.tail }
    }

    fn set_outstanding(&mut self, outstanding: Run, held: Run) {
        let is_usual = outstanding.is_empty() || (outstanding == held && outstanding.through == self.tail);
        let count = if is_usual { outstanding.count() } else { Count::default() };
        (self.out_messages, self.out_bytes) = (narrow(count.messages), narrow(count.bytes));
        if !is_usual {
            self.rare_mut().apart = Some(Apart { outstanding, held });
        } else if let Some(rare) = &mut self.rare {
            rare.apart = None;
            self.forget_rare();
        }
    }

    fn set_tail(&mut self, tail: Mark) {
        let (outstanding, held) = (self.outstanding(), self.held());
        self.tail = tail;
        if !outstanding.is_empty() {
            self.set_outstanding(outstanding, held);
        }
    }

    /// What is outstanding was copied to its connection.
    pub(crate) fn unhold(&mut self) {
        self.set_outstanding(self.outstanding(), Run::default());
    }

    /// Whether so much was dropped behind what is outstanding that it should be copied, so that the log need not keep
    /// it: more than the lane can hold.
    pub(crate) fn outlived_its_outstanding(&self, terms: &Terms) -> bool {
        let held = self.held();
        !held.is_empty() && self.tail.messages > held.last() + u64::from(terms.limits.messages_max)
    }

    fn end_of_waiting(&self, head: Mark) -> Mark {
        match self.course() {
            Course::Live { .. } => head,
            Course::Ended { head, .. } => head,
        }
    }

    /// Waiting and not outstanding.
    pub(crate) fn waiting(&self, head: Mark) -> Count {
        let mut waiting = self.tail.to(self.end_of_waiting(head));
        self.older().iter().for_each(|run| waiting += run.count());
        waiting
    }

    /// What counts towards the limits.
    pub(crate) fn load(&self, terms: &Terms, head: Mark) -> Count {
        let mut load = self.waiting(head);
        if terms.policy.counts_outstanding() {
            load += self.outstanding().count();
        }
        load += self.unacknowledged();
        load
    }

    /// What was sent and counts on.
    pub(crate) fn unacknowledged(&self) -> Count {
        match self.course() {
            Course::Live { unacknowledged } => unacknowledged,
            Course::Ended { .. } => Count::default(),
        }
    }

    /// So much of what was sent counts on.
    pub(crate) fn set_unacknowledged(&mut self, count: Count) {
        if count != self.unacknowledged() {
            self.rare_mut().course = Course::Live { unacknowledged: count };
            self.forget_rare();
        }
    }

    /// Whether `more` fits on top of what is there: `Count::new(1, bytes)` for one more message.
    pub(crate) fn fits(&self, terms: &Terms, head: Mark, more: Count) -> bool {
        let load = self.load(terms, head);
        load.messages + more.messages <= u64::from(terms.limits.messages_max)
            && load.bytes + more.bytes <= terms.limits.bytes_max
            && (more.messages == 0 || self.has_run_left(terms, head))
    }

    /// How much more may enter before a message may not fit.
    pub(crate) fn room(&self, terms: &Terms, head: Mark) -> Count {
        if !self.has_run_left(terms, head) {
            return Count::default();
        }
        let load = self.load(terms, head);
        Count {
            messages: u64::from(terms.limits.messages_max).saturating_sub(load.messages),
            bytes: terms.limits.bytes_max.saturating_sub(load.bytes),
        }
    }

    /// Whether the load fills no limit to more than `low` thousandths, and `bytes` more fit.
    pub(crate) fn is_drained(&self, terms: &Terms, head: Mark, bytes: u64, low: u32) -> bool {
        terms.limits.fill(self.load(terms, head)) <= low && self.fits(terms, head, Count::new(1, bytes))
    }

    /// The oldest run that waits and is not outstanding.
    pub(crate) fn front(&self, head: Mark) -> Run {
        match self.older().first() {
            Some(run) => *run,
            None => Run { after: self.tail, through: self.end_of_waiting(head) },
        }
    }

    /// The newest run that waits and is not outstanding.
    pub(crate) fn last_run(&self, head: Mark) -> Run {
        let last = Run { after: self.tail, through: self.end_of_waiting(head) };
        if last.is_empty() { self.older().last().copied().unwrap_or(last) } else { last }
    }

    /// Drops the oldest waiting messages until `more` fits; `mark` tells the cut after a message.
    pub(crate) fn trim(
        &mut self,
        terms: &Terms,
        (head, more): (Mark, Count),
        reason: LossReason,
        mark: impl Fn(u64) -> Mark,
    ) -> Count {
        let mut lost = Count::default();
        while !self.fits(terms, head, more) {
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
        let older = self.rare.as_mut().map(|rare| &mut rare.older).filter(|older| !older.is_empty());
        match older {
            Some(older) if cut == front.through => drop(older.remove(0)),
            Some(older) => older[0].after = cut,
            None => self.set_tail(cut),
        }
    }

    fn lose(&mut self, run: Run, reason: LossReason) -> Count {
        let count = run.count();
        self.losses_mut().lose((run.first(), run.last()), count, reason);
        count
    }

    /// Where what waits begins, in a lane that has nothing to remember and nothing outstanding.
    #[inline]
    pub(crate) fn plain_tail(&self) -> Option<Mark> {
        (self.rare.is_none() && self.out_messages == 0).then_some(self.tail)
    }

    /// All of it was sent. What that was.
    #[inline]
    pub(crate) fn plain_sent(&mut self) -> Count {
        let (messages, bytes) = (core::mem::take(&mut self.out_messages), core::mem::take(&mut self.out_bytes));
        Count::new(messages.into(), bytes.into())
    }

    /// What is outstanding, in a lane that has nothing to remember.
    #[inline]
    pub(crate) fn plain_outstanding(&self) -> Option<Run> {
        self.rare.is_none().then(|| self.before_tail())
    }

    /// The number of the next message that waits and is not outstanding.
    pub(crate) fn next(&self, head: Mark) -> Option<u64> {
        let front = self.front(head);
        (!front.is_empty()).then(|| front.first())
    }

    /// The front up to `cut` becomes outstanding. Nothing may be outstanding but messages directly before it.
    pub(crate) fn start(&mut self, head: Mark, cut: Mark) -> Run {
        if self.rare.is_none() {
            let run = Run { after: self.tail, through: cut };
            let Count { messages, bytes } = run.count();
            self.out_messages = narrow(u64::from(self.out_messages) + messages);
            self.out_bytes = narrow(u64::from(self.out_bytes) + bytes);
            self.tail = cut;
            return run;
        }
        let front = self.front(head);
        let run = Run { after: front.after, through: cut };
        let (mut outstanding, mut held) = (self.outstanding(), self.held());
        if outstanding.is_empty() {
            outstanding = run;
        } else {
            assert_eq!(outstanding.through, run.after, "what is outstanding is one run");
            outstanding.through = run.through;
        }
        if held.is_empty() {
            held = run;
        } else {
            held.through = run.through;
        }
        self.set_outstanding(Run::default(), Run::default());
        self.advance_front(front, cut);
        self.set_outstanding(outstanding, held);
        run
    }

    /// What is outstanding was sent up to `cut`.
    pub(crate) fn sent(&mut self, cut: Mark) -> Count {
        let Run { after, through } = self.outstanding();
        if self.rare.is_none() {
            let left = cut.to(through);
            (self.out_messages, self.out_bytes) = (narrow(left.messages), narrow(left.bytes));
            return after.to(cut);
        }
        let mut held = self.held();
        if cut.messages >= held.through.messages {
            held = Run::default();
        } else if cut.messages > held.after.messages {
            held.after = cut;
        }
        self.set_outstanding(Run { after: cut, through }, held);
        after.to(cut)
    }

    /// What is outstanding after `cut` was not sent and waits again, before everything else. In a lane that has ended it is
    /// lost instead, for `reason`, and so is what the log no longer has, and the shortest run beyond the eighth.
    /// The count of what was lost.
    pub(crate) fn returned(&mut self, terms: &Terms, cut: Mark, reason: LossReason) -> Count {
        let (outstanding, held) = (self.outstanding(), self.held());
        if outstanding.is_empty() || outstanding.through.messages <= cut.messages {
            return Count::default(); // The first of several runs took back all of them.
        }
        let is_held = !held.is_empty() && held.after.messages <= cut.messages;
        let from = match held {
            _ if self.is_ended() || held.is_empty() => outstanding.through,
            _ if is_held => cut,
            _ => held.after,
        };
        let (gone, run) = (Run { after: cut, through: from }, Run { after: from, through: outstanding.through });
        let held = if is_held { Run { after: held.after, through: cut } } else { Run::default() };
        let is_before_tail = self.older().is_empty() && self.tail == run.through;
        self.set_outstanding(Run::default(), Run::default());
        if is_before_tail {
            self.tail = run.after;
        }
        self.set_outstanding(Run { after: outstanding.after, through: cut }, held);
        let mut lost = if gone.is_empty() { Count::default() } else { self.lose(gone, reason) };
        if is_before_tail || run.is_empty() {
            return lost;
        }
        let older = &mut self.rare_mut().older;
        match older.first_mut() {
            Some(front) if front.after == run.through => front.after = run.after,
            _ => older.insert(0, run),
        }
        // The next publish must find room for its run, unless it can be rejected.
        if older.len() < RUNS_MAX + usize::from(terms.may_reject()) {
            return lost;
        }
        let shortest = older.iter().enumerate().min_by_key(|(_, run)| run.count().messages);
        let index = shortest.expect("there are many").0;
        let run = older.remove(index);
        lost += self.lose(run, reason);
        lost
    }

    /// The newest message, between `before` and `head`, is lost to this lane.
    pub(crate) fn reject(&mut self, before: Mark, head: Mark) -> Count {
        if self.tail.messages < before.messages {
            let tail = self.tail;
            let older = &mut self.rare_mut().older;
            older.push(Run { after: tail, through: before });
            assert!(older.len() <= OLDER_MAX, "a run that was begun has its place");
        }
        self.set_tail(head);
        self.lose(Run { after: before, through: head }, LossReason::Newest)
    }

    /// Whether a message would not begin a ninth run. (What is outstanding is one until it was sent.)
    fn has_run_left(&self, terms: &Terms, head: Mark) -> bool {
        if !terms.may_reject() || self.tail.messages < head.messages {
            return true;
        }
        let outstanding = self.outstanding();
        let is_apart = !outstanding.is_empty() && outstanding.through != self.front(head).after;
        self.older().len() + usize::from(is_apart) < RUNS_MAX
    }

    /// Ends the lane: what waits is lost. What is outstanding is settled by `sent` and `returned`.
    pub(crate) fn end(&mut self, head: Mark, reason: LossReason) -> Count {
        let lost = self.drop_through(head, head, reason);
        self.rare_mut().course = Course::Ended { head, reason };
        lost
    }

    /// Why the lane ended, if it did.
    pub(crate) fn end_reason(&self) -> Option<LossReason> {
        match self.course() {
            Course::Live { .. } => None,
            Course::Ended { reason, .. } => Some(reason),
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.end_reason().is_some()
    }

    /// The terms of the queue law. What was sent is the rest: `entered` comes from the log's marks, the others were counted
    /// one by one, and so are the topic's.
    pub(crate) fn totals(&self, head: Mark) -> Totals {
        let entered = self.began.to(self.end_of_waiting(head));
        let mut waiting = self.waiting(head);
        waiting += self.outstanding().count();
        let lost = self.losses().counts();
        let mut known = waiting;
        lost.iter().for_each(|count| known += *count);
        let sent = Count::new(entered.messages - known.messages, entered.bytes - known.bytes);
        Totals { entered, sent, waiting, lost }
    }

    #[cfg(test)]
    pub(super) fn set_runs(&mut self, older: Vec<Run>, outstanding: Run) {
        self.rare_mut().older = older;
        self.set_outstanding(outstanding, outstanding);
    }

    #[cfg(test)]
    pub(super) fn is_usual(&self) -> bool {
        self.rare.is_none()
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.older().len()
    }
}
