//! What holds up a lane beside its connection: credit, and acknowledgements. Few lanes have that.
//!
//! A lane that is *shut* sends nothing new, nor notices, until it is granted more or something is acknowledged; meanwhile it
//! is neither idle nor active, unless something is to be sent again.

use super::{Topic, TopicLane, View, ViewMut, Window};
use crate::delivery::{AtLeastOnce, Delivery};
use crate::lane::{Fired, Flight, Mark, Run};
use crate::log::Log;
use crate::stats::{Acks, Count};
use crate::time::Instant;
use crate::timers::TimerId;

/// What holds up a lane.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// How many messages it may be sent; `None`: as many as there are.
    pub(crate) credit: Option<u32>,
    /// There in at-least-once lanes.
    pub(crate) acking: Option<Acking>,
}

/// What a lane waits for that is at least once.
#[derive(Debug)]
pub(crate) struct Acking {
    pub(crate) flight: Flight,
    pub(crate) acks: Acks,
    /// There once something was unacknowledged, until the lane ends.
    pub(crate) timer: Option<TimerId>,
    /// Listed with its session's clock, which stands still: the timer is armed when it goes on.
    pub(crate) is_listed: bool,
    /// Listed among the hub's events: something was abandoned.
    pub(crate) is_announced: bool,
}

impl Acking {
    fn new(terms: AtLeastOnce) -> Self {
        let (flight, acks) = (Flight::new(terms), Acks::default());
        Self { flight, acks, timer: None, is_listed: false, is_announced: false }
    }
}

impl Topic {
    /// A new lane is at least once, or needs credit.
    pub(crate) fn add_gate(&mut self, place: usize, is_at_least_once: bool, credit: Option<u32>) {
        let acking = match self.options.delivery {
            Delivery::AtLeastOnce(terms) if is_at_least_once => Some(Acking::new(terms)),
            _ => None,
        };
        if acking.is_some() || credit.is_some() {
            *self.gate_or_new(place) = Gate { credit, acking };
        }
    }

    fn gate_or_new(&mut self, place: usize) -> &mut Gate {
        let lane = &mut self.lanes[place];
        lane.set(TopicLane::GATED, true);
        self.gates.entry(lane.index).or_default()
    }

    pub(super) fn remove_gate(&mut self, place: usize) {
        let lane = &mut self.lanes[place];
        if lane.set(TopicLane::GATED, false) {
            self.gates.remove(&lane.index);
        }
    }

    /// Whether a lane has ended and nothing of it is outstanding any more.
    pub(crate) fn is_settled(&self, place: usize) -> bool {
        let lane = &self.lanes[place];
        let is_again = || self.acking(place).is_some_and(|acking| acking.flight.is_outstanding());
        lane.is_ended() && lane.window.outstanding() == Count::default() && !is_again()
    }

    /// What holds up a lane, if anything may.
    pub(crate) fn gate(&self, place: usize) -> Option<&Gate> {
        let lane = &self.lanes[place];
        lane.is(TopicLane::GATED).then(|| &*self.gates[&lane.index])
    }

    pub(crate) fn gate_mut(&mut self, place: usize) -> Option<&mut Gate> {
        let lane = &self.lanes[place];
        if !lane.is(TopicLane::GATED) {
            return None;
        }
        self.gates.get_mut(&lane.index).map(|gate| &mut **gate)
    }

    pub(crate) fn acking(&self, place: usize) -> Option<&Acking> {
        self.gate(place)?.acking.as_ref()
    }

    pub(crate) fn acking_mut(&mut self, place: usize) -> Option<&mut Acking> {
        self.gate_mut(place)?.acking.as_mut()
    }

    /// How many lanes have one.
    pub(crate) fn gates(&self) -> usize {
        self.gates.len()
    }

    /// How many messages of a lane may become outstanding for the first time.
    pub(crate) fn allowance(&self, place: usize) -> u64 {
        let Some(Gate { credit, acking }) = self.gate(place) else { return u64::MAX };
        let credit = credit.map_or(u64::MAX, u64::from);
        let outstanding = || self.lanes[place].window.outstanding().messages;
        credit.min(acking.as_ref().map_or(u64::MAX, |acking| acking.flight.room(outstanding())))
    }

    /// Whether nothing new of a lane may be sent.
    pub(crate) fn is_shut(&self, place: usize) -> bool {
        self.lanes[place].is(TopicLane::GATED) && self.allowance(place) == 0
    }

    /// What may be sent of the oldest run that waits in a lane that reads the log.
    pub(crate) fn allowed_front(&self, place: usize) -> Run {
        let View::Log(lane, log) = self.view(place) else { panic!("its lane reads the log") };
        let (front, allowance) = (self.flushed_part(lane.front(self.head)), self.allowance(place));
        if front.count().messages <= allowance {
            return front;
        }
        let through = if allowance == 0 { front.after } else { log.mark(front.after.messages + allowance) };
        Run { through, ..front }
    }

    /// The next message of a lane that is to be sent again.
    pub(crate) fn next_again(&self, place: usize) -> Option<Run> {
        self.acking(place)?.flight.next_again()
    }

    /// So many messages became outstanding for the first time.
    pub(crate) fn spend_credit(&mut self, place: usize, messages: u64) {
        if let Some(Gate { credit: Some(credit), .. }) = self.gate_mut(place) {
            let spent = u32::try_from(messages).ok().and_then(|messages| credit.checked_sub(messages));
            *credit = spent.expect("no more is sent than was granted");
        }
    }

    /// So many of these returned.
    pub(crate) fn return_credit(&mut self, place: usize, messages: u64) {
        if let Some(Gate { credit: Some(credit), .. }) = self.gate_mut(place) {
            *credit = credit.saturating_add(u32::try_from(messages).unwrap_or(u32::MAX));
        }
    }

    /// A lane may be sent so many more. From now on it needs credit.
    pub(crate) fn grant(&mut self, place: usize, more: u32) {
        let credit = &mut self.gate_or_new(place).credit;
        *credit = Some(credit.unwrap_or(0).saturating_add(more));
    }

    /// A lane may be sent so many from now on.
    pub(crate) fn set_credit(&mut self, place: usize, credit: u32) {
        self.gate_or_new(place).credit = Some(credit);
    }

    /// The cut before the oldest message that a lane needs, whether it waits or is unacknowledged, if it needs any.
    pub(crate) fn needed_after(&self, place: usize) -> Option<Mark> {
        let unacknowledged = self.acking(place).and_then(|acking| acking.flight.needed_after());
        let front = self.run_lane(place).map(|lane| lane.front(self.head)).filter(|front| !front.is_empty());
        unacknowledged.into_iter().chain(front.map(|front| front.after)).min_by_key(|mark| mark.messages)
    }

    /// Changes what is in flight in an at-least-once lane; what counts in the lane follows.
    fn change_flight<R>(&mut self, place: usize, change: impl FnOnce(&mut Flight, &mut Log) -> R) -> R {
        let index = self.lanes[place].index;
        let mut gates = core::mem::take(&mut self.gates);
        let gate = gates.get_mut(&index).and_then(|gate| gate.acking.as_mut());
        let flight = &mut gate.expect("an at-least-once lane").flight;
        let ViewMut::Log(lane, log) = self.view_mut(place) else { panic!("its policy is about runs") };
        let result = change(flight, log);
        lane.set_unacknowledged(flight.unacknowledged());
        self.gates = gates;
        result
    }

    /// What is outstanding of an at-least-once lane up to `cut` was sent for the first time: the log keeps it.
    pub(crate) fn keep_sent(&mut self, place: usize, cut: Mark, at: Instant) {
        let Window::Log(lane) = &self.lanes[place].window else { panic!("its policy is about runs") };
        let mut after = lane.outstanding().after;
        self.change_flight(place, |flight, log| {
            while after.messages < cut.messages {
                let through = log.mark(after.messages + 1);
                log.keep(through.messages);
                flight.sent(Run { after, through }, at);
                after = through;
            }
        });
    }

    /// The message that is to be sent again next becomes outstanding.
    pub(crate) fn start_again(&mut self, place: usize, seq: u64) {
        self.change_flight(place, |flight, log| {
            flight.start_again(seq);
            log.hold(seq);
        });
    }

    /// A message that was outstanding again was sent, at that time, or returned. What was sent.
    pub(crate) fn again_answered(&mut self, place: usize, seq: u64, sent: Option<Instant>) -> Count {
        self.change_flight(place, |flight, log| {
            let (count, is_needed) = match sent {
                Some(at) => flight.sent_again(seq, at),
                None => (Count::default(), flight.returned(seq)),
            };
            log.unhold(seq);
            if !is_needed {
                log.let_go(seq);
            }
            count
        })
    }

    /// Everything up to a number is done with, for whatever reason. What that was.
    pub(crate) fn settle_through(&mut self, place: usize, through: u64) -> Count {
        self.change_flight(place, |flight, log| flight.acknowledge_through(through, |seq| log.let_go(seq)))
    }

    /// One message is done with, if it was unacknowledged.
    pub(crate) fn settle_one(&mut self, place: usize, seq: u64) -> Count {
        self.change_flight(place, |flight, log| flight.acknowledge(seq, |seq| log.let_go(seq)))
    }

    /// What was sent is to be sent again. What is abandoned instead, which is to be told as a gap.
    pub(crate) fn fire(&mut self, place: usize, fired: Fired) -> Count {
        let mut abandoned = alloc::vec::Vec::new();
        let count = self.change_flight(place, |flight, log| {
            flight.fire(fired, |seq| {
                log.let_go(seq);
                abandoned.push(seq);
            })
        });
        let losses = abandoned.first().zip(abandoned.last());
        if let Some((first, last)) = losses {
            let reason = crate::output::GapReason::Attempts;
            self.lanes[place].window.losses_mut().miss((*first, *last), count.messages, reason);
        }
        count
    }
}
