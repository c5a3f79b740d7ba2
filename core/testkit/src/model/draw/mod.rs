//! What a run consists of, drawn swarm style: first which features, faults and sizes exist at all, then one act after
//! another.

mod aim;
mod args;

use super::act::{Act, Op};
use super::features::Had;
use super::modes::Modes;
use super::plan::Plan;
use super::play::{KEYS, NAMES, Play, SEATS};
use crate::rng::Choices;

/// A number of milliseconds that no run lives to see: 400 years.
const NEVER_MS: u64 = 400 * 365 * 86_400 * 1_000;
const MILLI: u64 = 1_000_000;

/// What exists in a run.
#[derive(Debug)]
pub(crate) struct Swarm {
    pub(crate) plan: Plan,
    /// Acts, and how often each is drawn.
    weights: Vec<(Op, u64)>,
    sum: u64,
    /// Policies of topics and of subscribers' wishes, by number.
    policies: Vec<u64>,
    seats: u64,
    names: u64,
    keys: u64,
    len_max: u64,
    limits: Limits,
    has: Features,
    modes: Modes,
}

#[derive(Debug)]
struct Limits {
    messages: u64,
    bytes: u64,
    age_ms: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Features {
    raw: bool,
    dialect: bool,
    binary: bool,
    wishes: bool,
    ages: bool,
    partial: bool,
    frozen: bool,
    single_bytes: bool,
    jumps: bool,
    bad_names: bool,
    deadlines: bool,
    late: bool,
    /// What may wait of a client is little.
    tight: bool,
    /// Clients' publishes may wait.
    parks: bool,
    /// Bounds of memory may be reached. What is shed is asked of the hub after each call, so there is one publish in it.
    is_tight: bool,
    /// Of the hub, not of logs: nobody connects.
    is_alone: bool,
}

fn flag(choices: &mut Choices) -> bool {
    choices.one_in(2)
}

impl Features {
    fn made_whole(self) -> Self {
        Self { parks: self.parks && !self.is_tight, is_alone: self.is_alone && self.is_tight, ..self }
    }

    fn draw(choices: &mut Choices) -> Self {
        let raw = flag(choices);
        Self {
            raw,
            dialect: !raw || flag(choices),
            binary: flag(choices),
            wishes: flag(choices),
            ages: choices.one_in(3),
            partial: flag(choices),
            frozen: flag(choices),
            single_bytes: choices.one_in(4),
            jumps: choices.one_in(4),
            bad_names: choices.one_in(4),
            deadlines: choices.one_in(3),
            late: flag(choices),
            tight: choices.one_in(3),
            parks: flag(choices),
            is_tight: choices.one_in(12),
            is_alone: flag(choices),
        }
        .made_whole()
    }
}

impl Swarm {
    pub(crate) fn draw(choices: &mut Choices) -> Self {
        let has = Features::draw(choices);
        let mut policies: Vec<u64> = (1..=6).filter(|_| choices.one_in(2)).collect();
        if has.parks && has.dialect && choices.one_in(2) {
            policies.push(6);
        }
        if policies.is_empty() {
            policies.push(choices.between(1, 6));
        }
        if has.is_tight {
            policies = vec![1, 2, 4];
        }
        let mut modes = Modes::draw(choices);
        if has.is_tight {
            modes = modes.short_of_memory();
        }
        // Where clocks jump, what waits is too old before its session ends, or is flushed, or behind that: nothing is said
        // about it.
        modes.sessions &= !(has.jumps && has.ages);
        modes.batches &= !(has.jumps && has.ages);
        modes.keeps_latest = (modes.starts || modes.sessions) && policies.iter().any(|policy| matches!(policy, 3 | 4));
        let len_max = if has.is_tight { 300 } else { *choices.pick(&[8, 60, 300]) };
        let limits = Limits {
            messages: if has.is_tight { 300 } else { *choices.pick(&[2, 6, 30]) },
            bytes: len_max * if has.is_tight { 100 } else { *choices.pick(&[1, 3, 20]) },
            age_ms: if has.ages { *choices.pick(&[5, 100]) } else { 0 },
        };
        let mut swarm = Self {
            plan: Plan::default(),
            weights: Vec::new(),
            sum: 0,
            policies,
            seats: choices.between(1, SEATS as u64),
            names: choices.between(1, NAMES.len() as u64 - 2),
            keys: choices.between(1, KEYS.len() as u64 - 2),
            len_max,
            limits,
            has,
            modes,
        };
        swarm.plan = swarm.draw_plan(choices);
        swarm.draw_weights(choices);
        swarm
    }

    fn draw_plan(&mut self, choices: &mut Choices) -> Plan {
        let topic = self.topic_args(choices, 1);
        let deadline = |choices: &mut Choices, is_on: bool| {
            if is_on && choices.one_in(2) { choices.between(1, 400) } else { NEVER_MS }
        };
        // Two that begin together never end together: which of them comes first is nobody's promise either.
        let apart = |millis: u64, rest: u64| if millis == NEVER_MS { millis } else { millis / 3 * 3 + 3 + rest };
        // Where clocks jump over several deadlines, the order in which they are handled is nobody's promise. So there is only
        // one kind of them, and one whose order nobody can see.
        let on = self.has.deadlines && !self.has.jumps;
        let only = if self.has.deadlines && self.has.jumps { choices.between(1, 5) } else { 0 };
        let is_seen = self.has.ages || self.policies.contains(&6);
        // No request is longer.
        let message_bytes_max = match (self.has.tight, self.has.is_alone) {
            (true, _) => 800,
            (false, true) => 1 << 12,
            (false, false) => 1 << 20,
        };
        let inbound_bytes_max = if self.has.tight {
            choices.between(message_bytes_max, 3 * message_bytes_max)
        } else {
            message_bytes_max * 4
        };
        let high_percent = *choices.pick(&[2, 50, 75, 100]);
        let mut plan = Plan {
            hubs: 1 + u64::from(choices.one_in(4)),
            start: choices.between(0, 1 << 40),
            entropy: choices.bits(),
            mailbox_max: choices.between(1, 10),
            closed_topics: u64::from(choices.one_in(8)),
            connections_max: if choices.one_in(8) { choices.between(1, 4) } else { 100 },
            topics_max: if choices.one_in(8) { choices.between(1, 4) } else { 100 },
            lanes_per_session_max: if choices.one_in(8) { choices.between(1, 3) } else { 100 },
            policy: topic[1],
            messages_max: topic[2],
            bytes_max: topic[3],
            age_ms: topic[4],
            topic_message_bytes_max: topic[5],
            keys_max: topic[6],
            keys_bytes_max: topic[7],
            log_bytes_max: topic[8],
            flags: topic[9],
            resident_bytes_max: if self.has.is_alone { choices.between(32 << 10, 64 << 10) } else { 64 << 20 },
            transmit_bytes_max: *choices.pick(&[1_024, 4_096, 131_072]),
            message_bytes_max,
            inbound_bytes_max,
            reply_bytes_max: 1 << 20,
            direct_messages_max: choices.between(1, 20),
            direct_bytes_max: choices.between(8, 2_000),
            handshake_ms: deadline(choices, on || only == 1),
            message_ms: apart(deadline(choices, on || (only == 5 && !is_seen)), 0),
            ping_ms: apart(deadline(choices, on || only == 4), 1),
            pong_ms: apart(deadline(choices, on || (only == 4 && !is_seen)), 1),
            // A raw connection of which all became too old counts as not written to until it is polled, and so does one whose
            // gap notice waits for a flush since more was published.
            stall_ms: deadline(
                choices,
                (on && !self.modes.batches && !(self.has.raw && self.has.ages)) || (only == 2 && !is_seen),
            ),
            // Who said its last word has lanes until then: late, what is too old in them is lost before that or with it.
            close_ms: deadline(choices, on || (only == 3 && !self.has.ages)),
            block_ms: deadline(choices, self.has.deadlines),
            high_percent,
            low_percent: choices.between(1, high_percent - 1),
            // Where clocks jump, in which order levels fall and ages end is nobody's promise.
            dwell_ms: match *choices.pick(&[0, 1, 33, 403, 3_600_000]) {
                _ if self.has.jumps => 0,
                millis => millis,
            },
            is_tight: u64::from(self.has.is_tight) + u64::from(self.has.is_alone),
            ..Plan::default()
        };
        let delivery = topic[10..].try_into().expect("eleven numbers");
        self.modes.put_into(choices, &mut plan, delivery);
        if self.modes.sessions && (plan.stall_ms < NEVER_MS || plan.pong_ms < NEVER_MS) {
            plan.sessions_max = 100; // Which of two sessions detaches first shows where only so many may be.
        }
        plan
    }

    /// What the run has, by name.
    pub(crate) fn had(&self) -> Had {
        let has = self.has;
        let mut had = Had::default();
        for (name, is_there) in [
            ("two hubs", self.plan.hubs == 2),
            ("raw", has.raw),
            ("dialect", has.dialect),
            ("binary", has.binary),
            ("wishes", has.wishes),
            ("ages", has.ages),
            ("partial answers", has.partial),
            ("frozen output", has.frozen),
            ("single bytes", has.single_bytes),
            ("clock jumps", has.jumps),
            ("bad names", has.bad_names),
            ("late polls", has.late),
            ("tight inbound", has.tight),
        ] {
            had.note(name, is_there);
        }
        self.modes.note(&mut had);
        had
    }

    fn draw_weights(&mut self, choices: &mut Choices) {
        let has = self.has;
        let mut weights = vec![
            (Op::Accept, if has.is_alone { 0 } else { 4 }),
            (Op::Deliver, 20),
            (Op::Poll, if has.late { 10 } else { 40 }),
            (Op::Answer, 20),
            (Op::Writable, if has.frozen { 3 } else { 20 }),
            (Op::Settle, if has.late { 1 } else { 4 }),
            (Op::Topic, 2),
            (Op::Publish, if has.is_alone { 200 } else { 30 }),
            (Op::Advance, 6),
            (Op::Timeout, 4),
        ];
        let mut sometimes = |op: Op, weight: u64, of: u64| {
            if choices.one_in(of) {
                weights.push((op, weight));
            }
        };
        if has.dialect {
            sometimes(Op::SaySubscribe, 8, 1);
            sometimes(Op::SayUnsubscribe, 2, 2);
            sometimes(
                Op::SayPublish,
                15,
                if has.is_tight {
                    u64::MAX
                } else if has.parks {
                    1
                } else {
                    1_000_000
                },
            );
            sometimes(Op::SayPing, 3, 2);
            sometimes(Op::SayNonsense, 2, 3);
        }
        if has.raw {
            sometimes(Op::Send, 10, 2);
            sometimes(Op::SendVolatile, 6, 2);
            sometimes(Op::Receive, 5, 1);
            sometimes(Op::SayMessage, 6, 2);
        }
        // Of a pong that is cut after its first byte nobody can tell which it is.
        sometimes(Op::SayControl, if self.plan.transmit_bytes_max < 131_072 { 0 } else { 2 }, 2);
        sometimes(Op::SayClose, 1, 3);
        sometimes(Op::SayCrime, 1, 4);
        sometimes(Op::Eof, 1, 2);
        sometimes(Op::Kernel, 1, 8);
        sometimes(Op::Close, 1, 3);
        sometimes(Op::OpenTopic, 1, 3);
        sometimes(Op::RemoveTopic, 1, 3);
        sometimes(Op::Subscribe, 6, if has.dialect { 2 } else { 1 });
        sometimes(Op::Unsubscribe, 1, 2);
        sometimes(Op::Stale, 1, 8);
        if choices.one_in(2) || self.plan.hubs == 2 || has.is_alone {
            weights.extend([(Op::Local, 4), (Op::Take, 10), (Op::Unlocal, 1)]);
        }
        if self.plan.hubs == 2 {
            weights.extend([(Op::Post, 6), (Op::Fetch, 4)]);
        }
        if self.modes.acks {
            weights.extend([(Op::SayAck, 12), (Op::Ack, 4)]);
        }
        if self.modes.credit {
            weights.extend([(Op::SayCredit, 4), (Op::Grant, 3)]);
        }
        if self.modes.sessions {
            weights.extend([(Op::SayKeep, 4), (Op::SayResume, 4), (Op::Keep, 3), (Op::Resume, 3), (Op::Eof, 2)]);
            if flag(choices) {
                weights.push((Op::Authenticate, 2));
            }
        }
        if has.jumps {
            weights.extend([(Op::Backwards, 2), (Op::Jump, 2)]);
        }
        // A raw connection that has lost something is closed one poll later than it could be.
        // And in which order a deadline ends connections of which one waits for the other is nobody's promise.
        if choices.one_in(50) && !has.raw && !has.parks && !has.jumps {
            weights.push((Op::Drain, 1));
        }
        self.sum = weights.iter().map(|(_, weight)| weight).sum();
        self.weights = weights;
    }

    fn policy(&self, choices: &mut Choices) -> u64 {
        *choices.pick(&self.policies)
    }

    fn name(&self, choices: &mut Choices) -> u64 {
        if self.has.bad_names && choices.one_in(20) {
            return choices.between(0, NAMES.len() as u64 - 1);
        }
        choices.below(self.names)
    }

    fn key(&self, choices: &mut Choices) -> u64 {
        if self.has.bad_names && choices.one_in(20) {
            return choices.between(0, KEYS.len() as u64 - 1);
        }
        choices.below(self.keys)
    }

    fn len(&self, choices: &mut Choices) -> u64 {
        let too_large = u64::from(choices.one_in(40));
        // A raw connection is told nothing but payloads: they must differ.
        choices.between(if self.has.raw { 4 } else { 1 }, self.len_max + too_large)
    }

    /// The numbers of an act `topic`, nearly always good ones.
    fn topic_args(&self, choices: &mut Choices, name: u64) -> [u64; 21] {
        let policy = self.policy(choices);
        let is_lossy = policy <= 4;
        let messages = choices.between(1, self.limits.messages);
        let bytes = choices.between(self.len_max, self.limits.bytes.max(self.len_max));
        let keys = choices.between(1, messages);
        let keys_bytes = choices.between(self.len_max, bytes);
        let age =
            if is_lossy && self.has.ages && choices.one_in(2) { choices.between(1, self.limits.age_ms) } else { 0 };
        let flags = if choices.one_in(4) { choices.below(64) } else { choices.below(2) };
        // Room for a history, and for the latest of each key.
        let least = 4 * (self.len_max * 2 + 4_096);
        let log_bytes = if self.has.is_tight {
            choices.between(
                if self.has.is_alone { 32 << 10 } else { least },
                if self.has.is_alone { 32 << 10 } else { least * 3 },
            )
        } else {
            4 << 20
        };
        let mut args = [0; 21];
        let flags = flags | self.modes.topic_flags(choices);
        args[..10].copy_from_slice(&[
            name,
            policy,
            messages,
            bytes,
            age,
            self.len_max,
            keys,
            keys_bytes,
            log_bytes,
            flags,
        ]);
        args[10..].copy_from_slice(&self.modes.topic_args(choices, policy, self.len_max));
        args
    }

    /// What a subscriber asks for: mostly what a topic may give.
    fn wish(&self, choices: &mut Choices) -> [u64; 4] {
        if !self.has.wishes || choices.one_in(3) {
            return [0; 4];
        }
        let policy = if choices.one_in(3) { 0 } else { self.policy(choices) };
        let messages = if choices.one_in(2) { 0 } else { choices.between(1, self.limits.messages) };
        let bytes =
            if choices.one_in(2) { 0 } else { choices.between(self.len_max, self.limits.bytes.max(self.len_max)) };
        let age = if self.has.ages && choices.one_in(3) { choices.between(1, self.limits.age_ms) } else { 0 };
        [policy, messages, bytes, age]
    }

    /// The next act.
    pub(crate) fn act(&self, choices: &mut Choices, play: &Play) -> Act {
        let side = choices.index(play.sides.len());
        if let Some(act) = self.aimed(choices, &play.sides, side) {
            return act;
        }
        let mut at = choices.below(self.sum);
        let op = self.weights.iter().find(|(_, weight)| match at.checked_sub(*weight) {
            Some(less) => {
                at = less;
                false
            }
            None => true,
        });
        let op = op.expect("below the sum").0;
        let args = self.args(op, choices, play, side);
        Act { side, op, args }
    }
}
