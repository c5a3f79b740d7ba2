//! What a run came to.

use forebay_core::{EndReason, Event, LossReason};

use super::Play;
use crate::model::features::Had;

macro_rules! tally {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What runs came to, summed up.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Tally {
            $($(#[$doc])* pub $field: u64,)*
            /// Messages lost, by reason in the order of `LossReason::ALL`.
            pub lost: [u64; 8],
            /// In how many runs there was what.
            pub had: Had,
        }

        impl Tally {
            /// Sums up.
            pub fn add(&mut self, other: &Tally) {
                $(self.$field += other.$field;)*
                self.had.add(&other.had);
                self.lost.iter_mut().zip(other.lost).for_each(|(sum, lost)| *sum += lost);
            }
        }
    };
}

tally! {
    /// Runs.
    runs,
    /// Acts.
    steps,
    /// Messages that entered lanes.
    entered,
    /// Messages that were sent or taken.
    sent,
    /// Publishes that were taken.
    published,
    /// Publishes refused because a lane was full.
    refused_full,
    /// Publishes refused because they were too large.
    refused_too_large,
    /// Publishes refused because the budget left no room.
    refused_overloaded,
    /// Clients' publishes that waited.
    parked,
    /// Gap notices.
    gaps,
    /// Opening handshakes.
    handshakes,
    /// Connections that were handed over.
    upgraded,
    /// Transmits that were taken in part.
    partial_writes,
    /// Transports that ended without a word.
    resets,
    /// Reads of connections that were paused.
    read_while_paused,
    /// Entries taken in the process.
    taken,
    /// Topics removed.
    removed,
    /// Hubs that drained.
    drains,
    /// Refusals of a full mailbox.
    mailbox_full,
    /// Events `Drained`.
    drained,
    /// Events `LaneEnded`.
    lanes_ended,
    /// Connections ended by a full lane.
    overflowed,
    /// Pings of the hub that were sent.
    pings,
    /// Clients' publishes that waited for `block_max`.
    parked_too_long,
    /// Runs in which parked publishes of several topics had room at the same time.
    open_orders,
    /// Those of them in which the hub took another order than the reference.
    other_orders,
    /// Effects `PauseRead`.
    pauses,
    /// Effects `ResumeRead`.
    resumes,
    /// Connections without a handshake in time.
    handshake_timeouts,
    /// Connections whose message did not come to its end.
    message_timeouts,
    /// Connections that were silent.
    pong_timeouts,
    /// Connections whose output stood still.
    stalls,
}

impl Tally {
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Drained(_) => self.drained += 1,
            Event::LaneEnded(_) => self.lanes_ended += 1,
            Event::Closed { reason: EndReason::Overflowed, .. } => self.overflowed += 1,
            Event::Closed { reason: EndReason::HandshakeTimeout, .. } => self.handshake_timeouts += 1,
            Event::Closed { reason: EndReason::MessageTimeout, .. } => self.message_timeouts += 1,
            Event::Closed { reason: EndReason::PongTimeout, .. } => self.pong_timeouts += 1,
            Event::Closed { reason: EndReason::Stalled, .. } => self.stalls += 1,
            _ => {}
        }
    }
}

impl Play {
    /// What it came to.
    pub(crate) fn total(&self) -> Tally {
        let mut tally = Tally { runs: 1, steps: self.steps, ..self.tally };
        for side in &self.sides {
            let stats = side.hub.stats();
            for totals in [&stats.lanes, &stats.direct] {
                tally.entered += totals.entered.messages;
                tally.sent += totals.sent.messages;
                for reason in LossReason::ALL {
                    tally.lost[reason as usize] += totals.lost_by(reason).messages;
                }
            }
            tally.published += stats.published.messages;
            tally.refused_full += stats.refused_full;
            tally.refused_too_large += stats.refused_too_large;
            tally.refused_overloaded += stats.refused_overloaded;
            tally.parked += stats.parked;
            tally.gaps += stats.gaps_sent;
            let seen = &side.model.seen;
            tally.pings += seen.pings;
            tally.open_orders |= u64::from(seen.open_orders > 0);
            tally.parked_too_long += seen.parked_too_long;
            tally.pauses += seen.pauses;
            tally.resumes += seen.resumes;
        }
        tally.note_had();
        tally
    }
}
