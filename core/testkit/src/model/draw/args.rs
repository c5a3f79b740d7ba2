//! The numbers of an act.

use super::{MILLI, Swarm};
use crate::model::act::{ARGS, Act, Op};
use crate::model::play::{self, LOCALS, Play, SEATS};
use crate::rng::Choices;

impl Swarm {
    pub(super) fn args(&self, op: Op, choices: &mut Choices, play: &Play, side: usize) -> [u64; ARGS] {
        let seat = choices.below(self.seats);
        let mut given: Vec<u64> = Vec::new();
        match op {
            Op::Accept => {
                let is_raw = self.has.raw && (!self.has.dialect || choices.one_in(2));
                given.extend([seat, u64::from(is_raw), u64::from(!choices.one_in(6))]);
            }
            Op::SaySubscribe => {
                given.extend([seat, self.name(choices)]);
                given.extend(self.wish(choices));
                given.push(u64::from(!choices.one_in(4)));
                given.extend(self.modes.subscribe_args(choices, false));
            }
            Op::SayUnsubscribe => given.extend([seat, self.name(choices), u64::from(!choices.one_in(4))]),
            Op::SayPublish => {
                given.extend([seat, self.name(choices), self.key(choices), self.len(choices)]);
                given.extend([u64::from(self.has.binary && choices.one_in(3)), u64::from(!choices.one_in(4))]);
                given.push(self.modes.id(choices));
            }
            Op::SayPing => given.extend([seat, u64::from(!choices.one_in(3))]),
            Op::SayNonsense => given.extend([seat, choices.below(6), u64::from(!choices.one_in(3))]),
            Op::SayMessage => {
                let fragment = if choices.one_in(3) { choices.between(1, 40) } else { 0 };
                given.extend([seat, choices.below(200), choices.below(2), fragment]);
            }
            Op::SayControl => given.extend([seat, choices.below(2), choices.between(1, 20)]),
            Op::SayClose => given.extend([seat, *choices.pick(&[0, 1000, 1001, 4000])]),
            Op::SayCrime => given.extend([seat, choices.below(4)]),
            Op::Deliver => given.extend([seat, self.deliver(choices)]),
            Op::Poll => given.extend([choices.below(3), choices.between(1, 8)]),
            Op::Answer => {
                let out = play.sides[side].seats[play::place(seat, SEATS)].as_ref().and_then(|seat| seat.out);
                given.extend([seat, self.answer(choices, out.unwrap_or(0) as u64)]);
            }
            Op::Kernel => given.extend([seat, choices.below(10_000)]),
            Op::Close => given.extend([seat, *choices.pick(&[1000, 1001, 4999])]),
            Op::Topic => {
                let name = self.name(choices);
                given.extend(self.topic_args(choices, name));
            }
            Op::OpenTopic | Op::RemoveTopic => given.push(self.name(choices)),
            Op::Subscribe | Op::Local => {
                let who = if op == Op::Local { choices.below(LOCALS as u64) } else { seat };
                given.extend([who, self.name(choices)]);
                given.extend(self.wish(choices));
                given.push(0);
                given.extend(self.modes.subscribe_args(choices, op == Op::Local));
            }
            Op::Unsubscribe => given.extend([seat, self.name(choices)]),
            Op::Unlocal => given.push(choices.below(LOCALS as u64)),
            Op::Take | Op::Post => given.extend([choices.below(LOCALS as u64), choices.between(1, 6)]),
            Op::Fetch => given.extend([self.name(choices), choices.between(1, 6)]),
            Op::Publish => {
                given.extend([self.name(choices), self.key(choices), self.len(choices)]);
                given.extend([u64::from(self.has.binary && choices.one_in(3)), self.modes.id(choices)]);
            }
            Op::Send | Op::SendVolatile => {
                given.extend([seat, self.len(choices), u64::from(self.has.binary && choices.one_in(3))]);
            }
            Op::Receive => given.extend([seat, choices.between(1, 5)]),
            Op::Advance => given.push(advance(choices)),
            Op::Jump => given.push(jump(choices)),
            Op::Backwards => given.push(choices.below(1_000) * MILLI),
            Op::Drain => given.push(choices.below(1_000) * MILLI),
            Op::SayAck => {
                given.extend([seat, self.name(choices), choices.below(5)]);
                given.push(if choices.one_in(2) { 0 } else { choices.between(1, 4) });
            }
            Op::Ack => given.extend([seat, self.name(choices), choices.below(5), choices.below(2)]),
            Op::SayCredit | Op::Grant => {
                let credit = if choices.one_in(30) { u64::from(u32::MAX) } else { choices.below(8) };
                given.extend([seat, self.name(choices), credit, u64::from(!choices.one_in(4))]);
            }
            Op::SayKeep | Op::Keep => {
                given.extend([seat, if choices.one_in(3) { 0 } else { choices.between(1, 500) }]);
                given.push(u64::from(!choices.one_in(4)));
            }
            Op::SayResume | Op::Resume => {
                given.extend([seat, choices.below(4)]);
                // At the head, too, where all was sent and nothing acknowledged.
                given.push(match choices.below(6) {
                    0 | 1 => 0,
                    2 => 1,
                    _ => choices.below(17),
                });
                given.push(if self.modes.credit && choices.one_in(2) { choices.below(8) } else { 0 });
                given.push(u64::from(!choices.one_in(4)));
            }
            Op::Authenticate => given.extend([seat, *choices.pick(&[0, 1, 1, 1, 2, 3])]),
            Op::Writable | Op::Eof => given.push(seat),
            Op::Timeout | Op::Settle | Op::Stale => {}
        }
        Act::new(side, op, &given).args
    }

    fn deliver(&self, choices: &mut Choices) -> u64 {
        match choices.below(4) {
            0 | 1 if self.has.single_bytes => 1,
            0 => choices.between(1, 200),
            _ => 1 << 20,
        }
    }

    fn answer(&self, choices: &mut Choices, len: u64) -> u64 {
        match choices.below(6) {
            0 if self.has.frozen => 0,
            1 | 2 if self.has.partial => choices.below(len + 1),
            3 if self.has.partial => choices.below(20),
            _ => u64::MAX,
        }
    }
}

fn advance(choices: &mut Choices) -> u64 {
    match choices.below(40) {
        0 => 0,
        1..=10 => choices.between(1, 400) * MILLI,
        _ => choices.between(0, 20 * MILLI),
    }
}

fn jump(choices: &mut Choices) -> u64 {
    match choices.below(10) {
        0 => 100 * 365 * 86_400 * 1_000 * MILLI,
        _ => choices.between(0, 400 * MILLI),
    }
}
