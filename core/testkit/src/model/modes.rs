//! What is drawn of how topics are delivered: each may be there or not, so that most runs have few.

use super::features::Had;
use super::plan::Plan;
use crate::rng::Choices;

/// How topics are delivered in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Modes {
    pub(super) acks: bool,
    pub(super) credit: bool,
    pub(super) sessions: bool,
    pub(super) history: bool,
    /// Every topic keeps the latest of each key.
    pub(super) keeps_latest: bool,
    /// Lanes start elsewhere than behind the newest.
    pub(super) starts: bool,
    pub(super) ids: bool,
    pub(super) inbound_rates: bool,
    pub(super) outbound_rates: bool,
    pub(super) publish_rates: bool,
    pub(super) batches: bool,
    pub(super) classes: bool,
}

/// Those that are drawn.
const DRAWN: Modes = Modes {
    acks: true,
    credit: true,
    sessions: true,
    history: true,
    keeps_latest: false,
    starts: true,
    ids: true,
    inbound_rates: true,
    outbound_rates: true,
    publish_rates: true,
    batches: true,
    classes: true,
};

/// How often a message is sent again, at most, in any run.
pub(super) const ATTEMPTS_MOST: u64 = 3;

/// Units in a second: numbers that divide it, so that no moment is rounded.
const SPEEDS: [u64; 5] = [5, 20, 100, 1_000, 100_000];

impl Modes {
    pub(super) fn draw(choices: &mut Choices) -> Self {
        if choices.one_in(4) {
            return Self::default();
        }
        let mut flag = |is_drawn: bool, of: u64| is_drawn && choices.one_in(of);
        Self {
            acks: flag(DRAWN.acks, 2),
            credit: flag(DRAWN.credit, 4),
            sessions: flag(DRAWN.sessions, 3),
            history: flag(DRAWN.history, 3),
            keeps_latest: false,
            starts: flag(DRAWN.starts, 2),
            ids: flag(DRAWN.ids, 4),
            inbound_rates: flag(DRAWN.inbound_rates, 6),
            outbound_rates: flag(DRAWN.outbound_rates, 6),
            publish_rates: flag(DRAWN.publish_rates, 6),
            batches: flag(DRAWN.batches, 5),
            classes: flag(DRAWN.classes, 5),
        }
    }

    /// Where memory is short.
    pub(super) fn short_of_memory(self) -> Self {
        // (How much of a history is left, and which publish ids, depends on capacities.)
        Self { history: self.history, keeps_latest: self.keeps_latest, ..Self::default() }
    }

    pub(super) fn note(self, had: &mut Had) {
        for (name, is_there) in [
            ("at least once", self.acks),
            ("credit", self.credit),
            ("sessions", self.sessions),
            ("history", self.history),
            ("starts", self.starts),
            ("publish ids", self.ids),
            ("inbound rates", self.inbound_rates),
            ("outbound rates", self.outbound_rates),
            ("publish rates", self.publish_rates),
            ("batches", self.batches),
            ("classes", self.classes),
        ] {
            had.note(name, is_there);
        }
    }

    /// The numbers of an act `topic` from the eleventh on, for this policy.
    pub(super) fn topic_args(self, choices: &mut Choices, policy: u64, len_max: u64) -> [u64; 11] {
        let mut args = [0; 11];
        if self.acks && matches!(policy, 2 | 5 | 6) && !choices.one_in(4) {
            args[0] = *choices.pick(&[1, 2, 5, 128]);
            args[1] = *choices.pick(&[1, 10, 60, 3_600_000]);
            args[2] = choices.between(1, ATTEMPTS_MOST);
        }
        if self.history && !choices.one_in(4) {
            args[3] = choices.between(1, 20);
            args[4] = choices.between(1, 10 * len_max);
            args[5] = if choices.one_in(4) { choices.between(1, 100) } else { 0 };
        }
        if self.batches && choices.one_in(2) {
            args[6] = choices.between(1, 60);
        }
        if self.classes {
            args[7] = choices.below(3);
        }
        if self.publish_rates && choices.one_in(2) {
            args[8] = *choices.pick(&SPEEDS);
            args[9] = choices.between(1, 10);
        }
        if self.ids {
            args[10] = choices.between(1, 4);
        }
        args
    }

    /// Bits of the flags of a topic.
    pub(super) fn topic_flags(self, choices: &mut Choices) -> u64 {
        // What is known of the latest messages is told exactly only where all of it is.
        let keeps_latest = u64::from((self.history && choices.one_in(3)) || self.keeps_latest) << 6;
        keeps_latest | u64::from(self.publish_rates && choices.one_in(2)) << 7
    }

    /// What a plan has of it.
    pub(super) fn put_into(self, choices: &mut Choices, plan: &mut Plan, args: [u64; 11]) {
        [
            plan.in_flight_max,
            plan.ack_ms,
            plan.attempts_max,
            plan.history_messages,
            plan.history_bytes,
            plan.history_age_ms,
            plan.flush_ms,
            plan.class,
            plan.publish_per_second,
            plan.publish_burst,
            plan.publish_ids_max,
        ] = args;
        if self.sessions {
            plan.session_ttl_ms = choices.between(1, 400);
            plan.sessions_max = choices.between(1, 4);
        }
        if self.inbound_rates {
            let which = choices.between(1, 3);
            if which & 1 == 1 {
                plan.inbound_per_second = *choices.pick(&SPEEDS);
                plan.inbound_burst = choices.between(1, 20);
            }
            if which & 2 == 2 {
                plan.inbound_bytes_per_second = *choices.pick(&SPEEDS);
                plan.inbound_bytes_burst = choices.between(1, 2_000);
            }
            plan.inbound_refuses = choices.below(2);
        }
        if self.outbound_rates {
            plan.outbound_per_second = *choices.pick(&SPEEDS);
            plan.outbound_burst = choices.between(1, 5_000);
            plan.reserved_percent = *choices.pick(&[0, 10, 90]);
        }
    }

    /// From where, of how many, how, and with how much credit: the numbers of an act `subscribe` from the eighth on.
    pub(super) fn subscribe_args(self, choices: &mut Choices, is_local: bool) -> [u64; 4] {
        let mut args = [0; 4];
        if self.starts && !choices.one_in(3) {
            let most = if choices.one_in(10) { 6 } else { 5 };
            args[0] = choices.between(1, most);
            args[1] = choices.below(12);
        }
        if self.acks && choices.one_in(4) {
            args[2] = choices.between(1, 2);
        }
        if self.credit && !is_local && choices.one_in(2) {
            args[3] = choices.between(1, 8);
        }
        args
    }

    /// The id of a publish.
    pub(super) fn id(self, choices: &mut Choices) -> u64 {
        match choices.below(20) {
            _ if !self.ids => 0,
            0..10 => 0,
            10..19 => choices.between(1, 6),
            _ => 7,
        }
    }
}
