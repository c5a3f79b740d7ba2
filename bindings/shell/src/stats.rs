//! The numbers of several hubs as one.

use forebay_core::{Count, Stats, Totals};

fn add_totals(sum: &mut Totals, more: &Totals) {
    sum.entered += more.entered;
    sum.sent += more.sent;
    sum.waiting += more.waiting;
    sum.lost.iter_mut().zip(more.lost).for_each(|(sum, more): (&mut Count, _)| *sum += more);
}

/// Adds every number.
#[must_use]
pub fn sum_stats(mut sum: Stats, more: &Stats) -> Stats {
    add_totals(&mut sum.lanes, &more.lanes);
    add_totals(&mut sum.direct, &more.direct);
    sum.published += more.published;
    sum.refused_full += more.refused_full;
    sum.refused_too_large += more.refused_too_large;
    sum.refused_overloaded += more.refused_overloaded;
    sum.parked += more.parked;
    sum.received += more.received;
    sum.accepted += more.accepted;
    sum.opened += more.opened;
    sum.closed += more.closed;
    sum.gaps_sent += more.gaps_sent;
    sum.stale_inputs += more.stale_inputs;
    sum.connections += more.connections;
    sum.topics += more.topics;
    sum.lanes_now += more.lanes_now;
    sum.resident_bytes += more.resident_bytes;
    sum
}
