//! What of an at-least-once lane is in flight: sent, and neither acknowledged nor abandoned. Numbers only. Times are those
//! of the session's clock.

use alloc::collections::VecDeque;

use super::{Mark, Run, narrow};
use crate::delivery::AtLeastOnce;
use crate::stats::Count;
use crate::time::Instant;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It was sent, for the last time then.
    Sent(Instant),
    /// It is to be sent again.
    Again,
    /// It is in a Transmit again, or partly sent.
    Outstanding,
    /// The same, and it was acknowledged or abandoned since: only its bytes are needed.
    Settled,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    /// The cut behind it.
    through: Mark,
    bytes: u32,
    /// How often it was to be sent again.
    attempts: u16,
    state: State,
}

impl Message {
    fn seq(&self) -> u64 {
        self.through.messages
    }

    fn count(&self) -> Count {
        Count::new(1, u64::from(self.bytes))
    }

    fn run(&self) -> Run {
        let Mark { messages, bytes } = self.through;
        Run { after: Mark { messages: messages - 1, bytes: bytes - u64::from(self.bytes) }, through: self.through }
    }

    /// Whether its bytes are in a Transmit, or partly sent.
    fn is_outstanding(&self) -> bool {
        matches!(self.state, State::Outstanding | State::Settled)
    }
}

/// Whose timers have fired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fired {
    /// The lane's, at that time.
    At(Instant),
    /// As if each message's own had.
    All,
}

#[derive(Debug)]
pub(crate) struct Flight {
    terms: AtLeastOnce,
    /// By number.
    messages: VecDeque<Message>,
    /// Of these, what is not settled.
    unacknowledged: Count,
    /// How many are to be sent again.
    again: u32,
    /// How many are outstanding again.
    outstanding: u32,
}

impl Flight {
    pub(crate) fn new(terms: AtLeastOnce) -> Self {
        Self { terms, messages: VecDeque::new(), unacknowledged: Count::default(), again: 0, outstanding: 0 }
    }

    pub(crate) fn unacknowledged(&self) -> Count {
        self.unacknowledged
    }

    /// How many messages more may become outstanding for the first time, of which so many are.
    pub(crate) fn room(&self, outstanding: u64) -> u64 {
        u64::from(self.terms.in_flight_max).saturating_sub(self.unacknowledged.messages + outstanding)
    }

    /// Whether something of it is in a Transmit again.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.outstanding > 0
    }

    fn first(&self) -> Option<&Message> {
        self.messages.iter().find(|message| message.state != State::Settled)
    }

    /// The cut before the oldest that is unacknowledged.
    pub(crate) fn needed_after(&self) -> Option<Mark> {
        self.first().map(|message| message.run().after)
    }

    /// When the lane's timer fires. None runs while the oldest message is about to be sent again.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.first()?.state {
            State::Sent(at) => Some(at + self.terms.ack_timeout),
            _ => None,
        }
    }

    /// The next message that is to be sent again.
    pub(crate) fn next_again(&self) -> Option<Run> {
        if self.again == 0 {
            return None;
        }
        self.messages.iter().find(|message| message.state == State::Again).map(Message::run)
    }

    fn find(&self, seq: u64) -> Option<usize> {
        self.messages.binary_search_by_key(&seq, Message::seq).ok()
    }

    fn outstanding_at(&self, seq: u64) -> usize {
        let place = self.find(seq).expect("what is outstanding is there");
        assert!(self.messages[place].is_outstanding(), "it is outstanding");
        place
    }

    /// A message, the newest, was sent for the first time.
    pub(crate) fn sent(&mut self, run: Run, at: Instant) {
        let Count { messages, bytes } = run.count();
        assert!(messages == 1 && self.messages.back().is_none_or(|last| last.seq() < run.last()), "in order");
        let state = State::Sent(at);
        self.messages.push_back(Message { through: run.through, bytes: narrow(bytes), attempts: 0, state });
        self.unacknowledged += run.count();
    }

    /// A message that is to be sent again becomes outstanding.
    pub(crate) fn start_again(&mut self, seq: u64) {
        let place = self.find(seq).expect("what is to be sent again is there");
        assert_eq!(self.messages[place].state, State::Again, "it is to be sent again");
        self.messages[place].state = State::Outstanding;
        (self.again, self.outstanding) = (self.again - 1, self.outstanding + 1);
    }

    /// A message that was outstanding again was sent. Whether its bytes are needed any longer.
    pub(crate) fn sent_again(&mut self, seq: u64, at: Instant) -> (Count, bool) {
        let place = self.outstanding_at(seq);
        (self.messages[place].count(), self.answer(place, State::Sent(at)))
    }

    /// The same, of one that was not sent.
    pub(crate) fn returned(&mut self, seq: u64) -> bool {
        self.answer(self.outstanding_at(seq), State::Again)
    }

    fn answer(&mut self, place: usize, state: State) -> bool {
        self.outstanding -= 1;
        if self.messages[place].state == State::Settled {
            self.messages.remove(place);
            self.shrink();
            return false;
        }
        self.messages[place].state = state;
        self.again += u32::from(state == State::Again);
        true
    }

    /// A message, by its place, is not waited for any more. Its number goes to `let_go` unless its bytes are on their
    /// way. Whether it is still there.
    fn settle(&mut self, place: usize, let_go: &mut impl FnMut(u64)) -> bool {
        let message = &mut self.messages[place];
        let (count, seq) = (message.count(), message.seq());
        self.unacknowledged.messages -= count.messages;
        self.unacknowledged.bytes -= count.bytes;
        if message.state == State::Outstanding {
            message.state = State::Settled;
            return true;
        }
        self.again -= u32::from(message.state == State::Again);
        self.messages.remove(place);
        let_go(seq);
        false
    }

    /// Gives back what a burst took.
    fn shrink(&mut self) {
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    /// Settles those of the messages up to `through` of which `is` holds. What they counted.
    fn settle_through(&mut self, through: u64, is: impl Fn(&Message) -> bool, mut let_go: impl FnMut(u64)) -> Count {
        let before = self.unacknowledged;
        let mut place = 0;
        while let Some(message) = self.messages.get(place).filter(|message| message.seq() <= through) {
            let is_settled = message.state != State::Settled && is(message) && !self.settle(place, &mut let_go);
            place += usize::from(!is_settled);
        }
        self.shrink();
        let after = self.unacknowledged;
        Count::new(before.messages - after.messages, before.bytes - after.bytes)
    }

    /// Everything up to a number was acknowledged, or is abandoned.
    pub(crate) fn acknowledge_through(&mut self, through: u64, let_go: impl FnMut(u64)) -> Count {
        self.settle_through(through, |_| true, let_go)
    }

    /// One message was acknowledged, if it is unacknowledged.
    pub(crate) fn acknowledge(&mut self, seq: u64, mut let_go: impl FnMut(u64)) -> Count {
        let place = self.find(seq).filter(|place| self.messages[*place].state != State::Settled);
        let Some(place) = place else { return Count::default() };
        let count = self.messages[place].count();
        self.settle(place, &mut let_go);
        self.shrink();
        count
    }

    /// Those that were sent are to be sent again. One that had all its attempts is abandoned, if its own time has passed;
    /// `abandon` is told its number. What these count.
    pub(crate) fn fire(&mut self, fired: Fired, abandon: impl FnMut(u64)) -> Count {
        let AtLeastOnce { ack_timeout, attempts_max, .. } = self.terms;
        let is_given_up = |message: &Message| match (message.state, fired) {
            (State::Sent(at), Fired::At(now)) => message.attempts >= attempts_max && at + ack_timeout <= now,
            (State::Sent(_), Fired::All) => message.attempts >= attempts_max,
            _ => false,
        };
        let abandoned = self.settle_through(u64::MAX, is_given_up, abandon);
        for message in &mut self.messages {
            if matches!(message.state, State::Sent(_)) && message.attempts < attempts_max {
                message.state = State::Again;
                message.attempts += 1;
                self.again += 1;
            }
        }
        abandoned
    }

    /// What the log keeps for it: each message, and whether that is on its way.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (Run, bool)> {
        self.messages.iter().map(|message| (message.run(), message.is_outstanding()))
    }

    /// Counts anew, for tests.
    pub(crate) fn check(&self) {
        let of = |state: State| self.messages.iter().filter(|message| message.state == state).count();
        let mut unacknowledged = Count::default();
        let is_live = |message: &&Message| message.state != State::Settled;
        self.messages.iter().filter(is_live).for_each(|message| unacknowledged += message.count());
        assert_eq!(self.unacknowledged, unacknowledged, "what is unacknowledged");
        assert_eq!(self.again as usize, of(State::Again), "what is to be sent again");
        assert_eq!(self.outstanding as usize, of(State::Outstanding) + of(State::Settled), "what is outstanding again");
        assert!(self.messages.iter().zip(self.messages.iter().skip(1)).all(|(one, next)| one.seq() < next.seq()));
        assert!(unacknowledged.messages <= u64::from(self.terms.in_flight_max), "in_flight_max");
        assert!(self.messages.iter().all(|message| message.attempts <= self.terms.attempts_max), "attempts_max");
    }
}

#[cfg(test)]
mod tests;
