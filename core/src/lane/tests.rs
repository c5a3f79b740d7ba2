//! A lane against a list of messages, each of which is somewhere.

use super::*;
use crate::output::LossReason;
use std::collections::BTreeMap;
use std::vec::Vec;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    Outstanding,
    Sent,
    Lost,
}

struct Model {
    /// Of every message: payload bytes and state.
    messages: BTreeMap<u64, (u64, State)>,
    missed: u64,
    told: u64,
}

impl Model {
    fn count(&self, state: State) -> Count {
        let mut count = Count::default();
        let matching = self.messages.values().filter(|(_, at)| *at == state);
        matching.for_each(|(bytes, _)| count += Count::new(1, *bytes));
        count
    }

    fn first(&self, state: State) -> Option<u64> {
        self.messages.iter().find(|(_, (_, at))| *at == state).map(|(seq, _)| *seq)
    }

    fn set(&mut self, seqs: impl Iterator<Item = u64>, state: State) {
        for seq in seqs {
            let message = self.messages.get_mut(&seq).unwrap();
            self.missed += u64::from(state == State::Lost);
            message.1 = state;
        }
    }

    fn load(&self, counts_outstanding: bool) -> Count {
        let mut load = self.count(State::Waiting);
        if counts_outstanding {
            load += self.count(State::Outstanding);
        }
        load
    }

    /// Runs of what waits or is outstanding.
    fn runs(&self) -> usize {
        let is_kept = |seq: u64| matches!(self.messages.get(&seq), Some((_, State::Waiting | State::Outstanding)));
        self.messages.keys().filter(|seq| is_kept(**seq) && !is_kept(**seq - 1)).count()
    }

    fn trim(&mut self, limits: LaneLimits, counts_outstanding: bool, more: Count) {
        loop {
            let load = self.load(counts_outstanding);
            let fits = load.messages + more.messages <= u64::from(limits.messages_max)
                && load.bytes + more.bytes <= limits.bytes_max;
            match self.first(State::Waiting) {
                Some(seq) if !fits => self.set(seq..=seq, State::Lost),
                _ => return,
            }
        }
    }
}

fn run(seed: u64, policy: Policy) {
    let counts_outstanding = policy.counts_outstanding();
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let messages_max = if policy == Policy::DropNewest { 24 } else { 12 };
    let limits = LaneLimits { messages_max, bytes_max: 200 };
    let mut marks = std::vec![Mark { messages: 5, bytes: 77 }];
    let mut lane = Lane::new(limits, policy, marks[0]);
    let terms = lane.terms;
    let mut model = Model { messages: BTreeMap::new(), missed: 0, told: 0 };
    for _ in 0..600 {
        let head = *marks.last().unwrap();
        let mark = |seq: u64| marks[usize::try_from(seq - 5).unwrap()];
        match draw(10) {
            0..=4 => {
                let bytes = draw(60);
                let more = Count::new(1, bytes);
                let fits = lane.fits(head, more);
                if policy == Policy::DropNewest {
                    let load = model.load(true);
                    let is_within = load.messages < u64::from(limits.messages_max) && load.bytes + bytes <= 200;
                    let seq = head.messages + 1;
                    let new = Mark { messages: seq, bytes: head.bytes + bytes };
                    marks.push(new);
                    model.messages.insert(seq, (bytes, State::Waiting));
                    assert_eq!(fits, is_within && model.runs() <= RUNS_MAX, "a message within the limits is taken");
                    if !fits {
                        lane.reject(head, new);
                        model.set(seq..=seq, State::Lost);
                    }
                    continue;
                }
                if counts_outstanding && !fits {
                    continue; // Such a lane refuses.
                }
                lane.trim(&terms, (head, more), LossReason::Oldest, mark);
                model.trim(limits, counts_outstanding, more);
                assert!(fits == (model.missed == lane.totals(head).lost_total().messages) || !counts_outstanding);
                let seq = head.messages + 1;
                marks.push(Mark { messages: seq, bytes: head.bytes + bytes });
                model.messages.insert(seq, (bytes, State::Waiting));
            }
            5 | 6 => {
                let front = lane.front(head);
                let is_adjacent = lane.outstanding().is_empty() || lane.outstanding().through == front.after;
                if !front.is_empty() && is_adjacent {
                    let cut = mark(front.first() + draw(front.count().messages));
                    let run = lane.start(head, cut);
                    model.set(run.first()..=run.last(), State::Outstanding);
                }
            }
            7 => {
                let out = lane.outstanding();
                if !out.is_empty() {
                    let cut = mark(out.first() + draw(out.count().messages));
                    lane.sent(cut);
                    model.set(out.first()..=cut.messages, State::Sent);
                }
            }
            8 => {
                let out = lane.outstanding();
                if !out.is_empty() {
                    let cut = mark(out.after.messages + draw(out.count().messages + 1));
                    let before = model.missed;
                    if draw(4) == 0 && policy != Policy::DropNewest {
                        // The log does not have it any more.
                        lane.unhold();
                        lane.returned(&terms, cut, LossReason::Oldest);
                        model.set(cut.messages + 1..=out.last(), State::Lost);
                    } else if lane.held().after.messages <= cut.messages && !lane.held().is_empty() {
                        lane.returned(&terms, cut, LossReason::Oldest);
                        model.set(cut.messages + 1..=out.last(), State::Waiting);
                    } else {
                        continue;
                    }
                    if !counts_outstanding {
                        lane.trim(&terms, (head, Count::default()), LossReason::Oldest, mark);
                        model.trim(limits, false, Count::default());
                    }
                    assert!(model.missed >= before);
                }
            }
            _ => {
                if let Some(gap) = lane.losses_mut().take_due_gap(None) {
                    assert!(gap.missed <= gap.to - gap.from + 1 && gap.from > model.told.min(gap.from - 1));
                    if draw(3) == 0 {
                        lane.losses_mut().return_gap(gap);
                    } else {
                        model.told += gap.missed;
                    }
                }
            }
        }
        let head = *marks.last().unwrap();
        let totals = lane.totals(head);
        assert_eq!(totals.conservation_error(), 0);
        assert_eq!(lane.waiting(head), model.count(State::Waiting));
        assert_eq!(lane.outstanding().count(), model.count(State::Outstanding));
        assert_eq!(totals.sent, model.count(State::Sent));
        assert_eq!(totals.lost_total(), model.count(State::Lost));
        assert_eq!(
            lane.losses().gap().map_or(0, |gap| gap.missed),
            model.missed - model.told,
            "everything lost is told once"
        );
        let front = lane.front(head);
        assert_eq!((!front.is_empty()).then(|| front.first()), model.first(State::Waiting));
        let room = lane.room(&terms, head).messages;
        let free = u64::from(limits.messages_max).saturating_sub(model.load(counts_outstanding).messages);
        assert!(room == free || (room == 0 && model.runs() == RUNS_MAX), "{room} for {free}");
        assert!(lane.runs() <= RUNS_MAX);
        let drained = model.load(counts_outstanding);
        let is_drained = drained.messages <= u64::from(limits.messages_max) / 2 && drained.bytes <= 100;
        assert!(lane.is_drained(head, 0, 500) == is_drained || policy == Policy::DropNewest);
    }
    let head = *marks.last().unwrap();
    lane.end(head, LossReason::Unsubscribed);
    let out = lane.outstanding();
    if !out.is_empty() {
        lane.returned(&terms, out.after, LossReason::Unsubscribed);
    }
    let totals = lane.totals(Mark { messages: head.messages + 9, bytes: head.bytes + 99 });
    assert_eq!(totals.waiting, Count::default(), "nothing waits in a lane that ended");
    assert_eq!(totals.conservation_error(), 0, "and nothing enters it");
}

#[test]
fn every_message_is_where_the_model_says() {
    for seed in 0..40 {
        [Policy::DropOldest, Policy::DropNewest, Policy::Block].into_iter().for_each(|policy| run(seed, policy));
    }
}

#[test]
fn limits_hold_at_their_edges() {
    let limits = LaneLimits { messages_max: 2, bytes_max: 10 };
    let lane = Lane::new(limits, Policy::Block, Mark::default());
    let at = |messages, bytes| Mark { messages, bytes };
    assert!(lane.fits(at(1, 4), Count::new(1, 6)));
    assert!(!lane.fits(at(1, 4), Count::new(1, 7)), "bytes_max + 1");
    assert!(!lane.fits(at(2, 4), Count::new(1, 0)), "messages_max + 1");
    assert!(
        lane.is_drained(at(1, 5), 5, 500) && !lane.is_drained(at(1, 6), 0, 500) && !lane.is_drained(at(2, 0), 0, 500)
    );
    assert!(!lane.is_drained(at(1, 5), 6, 500), "the largest payload refused has to fit");
}

#[test]
fn a_ninth_run_costs_the_shortest() {
    let limits = LaneLimits { messages_max: 100, bytes_max: 1_000 };
    let mut lane = Lane::new(limits, Policy::DropOldest, Mark::default());
    let head = Mark { messages: 80, bytes: 0 };
    let mark = |messages| Mark { messages, bytes: 0 };
    // Runs of two before the tail.
    lane.drop_through(mark(70), head, LossReason::Oldest);
    let run = |nth: u64| Run { after: mark(nth * 4 + 10), through: mark(nth * 4 + 12) };
    let older: Vec<Run> = (0..RUNS_MAX as u64 - 1).map(run).collect();
    lane.set_runs(older, Run { after: mark(3), through: mark(4) });
    let terms = lane.terms;
    let lost = lane.returned(&terms, mark(3), LossReason::Oldest);
    assert_eq!(lost.messages, 1, "the run of one is the shortest");
    assert_eq!(lane.runs(), RUNS_MAX - 1, "one is left for what is published next");
}

#[test]
fn a_usual_lane_is_numbers_and_nothing_else() {
    assert!(size_of::<Standing>() <= 48);
    let limits = LaneLimits { messages_max: 2, bytes_max: 100 };
    let mut lane = Lane::new(limits, Policy::DropOldest, Mark::default());
    let (terms, at) = (lane.terms, |messages| Mark { messages, bytes: 10 * messages });
    let trim = |lane: &mut Lane, head| {
        lane.trim(&terms, (at(head), Count::new(1, 10)), LossReason::Oldest, at);
    };
    lane.start(at(2), at(2));
    lane.sent(at(1));
    lane.returned(&terms, at(1), LossReason::Oldest);
    lane.start(at(3), at(2));
    assert!(lane.is_usual());
    // What is copied, or lies behind what was dropped, is not usual; a lane that has lost something stays so.
    lane.unhold();
    assert!(!lane.is_usual());
    lane.sent(at(2));
    assert!(lane.is_usual(), "what was copied was sent");
    trim(&mut lane, 4);
    assert!(!lane.is_usual());
}

/// A message that was sent in part, and copied, goes with its connection; what was in the next Transmit waits again.
#[test]
fn what_the_log_still_has_returns() {
    let limits = LaneLimits { messages_max: 4, bytes_max: 100 };
    let (mut lane, at) =
        (Lane::new(limits, Policy::DropOldest, Mark::default()), |messages| Mark { messages, bytes: 0 });
    let terms = lane.terms;
    lane.start(at(1), at(1));
    lane.unhold();
    lane.start(at(3), at(3));
    assert_eq!(lane.outstanding(), Run { after: at(0), through: at(3) });
    assert_eq!(lane.returned(&terms, at(0), LossReason::Oldest).messages, 1);
    assert_eq!((lane.outstanding().count().messages, lane.held()), (0, Run::default()));
    assert_eq!(lane.front(at(3)), Run { after: at(1), through: at(3) });
}
