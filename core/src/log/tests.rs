//! A log against a list of frames that are never thrown away.

use super::*;
use crate::lane::{Needs, Run, Standing};
use bytes::BufMut;
use std::vec::Vec;

struct World {
    log: Log,
    /// Payload bytes and frame of each message.
    frames: Vec<(u64, Vec<u8>)>,
    readers: Vec<Needs>,
    state: u64,
}

impl World {
    fn draw(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn place(&mut self, below: usize) -> usize {
        usize::try_from(self.draw(below as u64)).unwrap()
    }

    fn append(&mut self) {
        let len = 2 + if self.draw(40) == 0 { self.place(9_000) } else { self.place(120) };
        let frame: Vec<u8> = (0..len).map(|_| u8::try_from(self.draw(256)).unwrap()).collect();
        let payload = self.draw(len as u64);
        let stamp = self.frames.len() as u64 * 3;
        let growth = self.log.growth(len);
        let before = self.log.resident();
        let room = self.place(3_000);
        self.log.append((payload, len), (stamp, Instant::from_nanos(stamp)), room, |out| out.put_slice(&frame));
        assert!(self.log.resident() - before <= growth.max(room), "no more room is taken than was given");
        self.frames.push((payload, frame));
    }

    fn head(&self) -> Mark {
        self.log.head()
    }

    /// A cut between the reader's tail and the head.
    fn cut_after(&mut self, from: Mark) -> Mark {
        let seq = from.messages + self.draw(self.head().messages - from.messages + 1);
        if seq == from.messages { from } else { self.log.mark(seq) }
    }

    fn change(&mut self, reader: usize, after: Needs) {
        let before = core::mem::replace(&mut self.readers[reader], after);
        self.log.change_needs(&before, &self.readers[reader]);
    }

    fn step(&mut self) {
        match self.draw(12) {
            0..=4 => self.append(),
            5 => self.log.freeze(),
            6 if self.readers.len() < 6 => {
                // At the head, or with anything that somebody has behind a tail.
                let other = self.place(self.readers.len());
                let old = self.cut_after(self.readers[other].tail.unwrap());
                let tail = if self.draw(2) == 0 { old } else { self.head() };
                let needs = Needs { tail: Some(tail), ..Standing::NO_NEEDS };
                self.log.change_needs(&Standing::NO_NEEDS, &needs);
                self.readers.push(needs);
            }
            7 if self.readers.len() > 1 => {
                let reader = self.place(self.readers.len());
                self.change(reader, Standing::NO_NEEDS);
                self.readers.swap_remove(reader);
            }
            8 => self.log.seal(),
            _ => {
                self.log.freeze();
                let reader = self.place(self.readers.len());
                let mut needs = self.readers[reader].clone();
                let mut older: Vec<Run> = Needs { held: Run::default(), ..needs.clone() }.runs().collect();
                let tail = needs.tail.unwrap();
                let cut = self.cut_after(tail);
                // What is passed is held for a while, or not.
                let passed = Run { after: tail, through: cut };
                match self.draw(4) {
                    0 if older.len() < 3 && !passed.is_empty() => older.push(passed),
                    1 => needs.held = passed,
                    _ => needs.held = Run::default(),
                }
                if !older.is_empty() && self.draw(12) == 0 {
                    older.remove(0);
                }
                needs.tail = Some(cut);
                needs.older = Needs::older(&older);
                self.change(reader, needs);
            }
        }
    }

    fn bytes_of(&self, run: Run) -> Vec<u8> {
        let range = usize::try_from(run.after.messages).unwrap()..usize::try_from(run.last()).unwrap();
        self.frames[range].iter().flat_map(|(_, frame)| frame.clone()).collect()
    }

    fn check(&mut self) {
        self.log.check();
        self.log.check_needs(&self.readers);
        self.log.freeze();
        for reader in 0..self.readers.len() {
            let Needs { tail, held, older } = self.readers[reader].clone();
            let from = tail.unwrap();
            let run = Run { after: from, through: self.cut_after(from) };
            self.check_run(run);
            self.check_alone(from);
            self.check_run(held);
            older.into_iter().flatten().for_each(|run| self.check_run(run));
        }
    }

    fn check_alone(&self, tail: Mark) {
        let end = (tail != self.head()).then(|| self.log.blocks[self.log.find(tail.messages + 1)].last);
        let tails = || self.readers.iter().filter_map(|needs| needs.tail);
        let alone = end.filter(|end| tails().filter(|other| other.messages < *end).count() == 1);
        let found = self.log.kept_only_behind(tail).map(|mark| mark.messages);
        assert_eq!(found, alone, "a block that one reader keeps alone");
    }

    fn check_run(&mut self, run: Run) {
        if run.is_empty() {
            return;
        }
        let expected = self.bytes_of(run);
        let actual: Vec<u8> = self.log.pieces(run).flat_map(|(bytes, range)| bytes[range].to_vec()).collect();
        assert_eq!(actual, expected, "a run's bytes are the frames that were written");
        let copy: Vec<u8> =
            self.log.copy_of(run).pieces(run).flat_map(|(bytes, range)| bytes[range].to_vec()).collect();
        assert_eq!(copy, expected, "and those of its copy");
        let (bytes_max, slices_max) = (self.place(expected.len() + 50), 1 + self.place(5));
        let plan = self.log.plan(run, bytes_max, slices_max, true);
        let planned = Run { after: run.after, through: plan.cut };
        assert_eq!(self.bytes_of(planned).len(), plan.bytes, "a plan knows its length");
        assert_eq!(self.log.pieces(planned).count(), plan.slices, "and its slices");
        assert!(plan.slices <= slices_max && !planned.is_empty());
        assert!(plan.bytes <= bytes_max || planned.count().messages == 1, "at most one message more than fits");
        if plan.slices < slices_max && plan.cut != run.through {
            let more = Run { after: run.after, through: self.log.mark(plan.cut.messages + 1) };
            assert!(self.bytes_of(more).len() > bytes_max, "a plan takes all that fits");
        }
        let sent = self.place(expected.len());
        let (cut, rest) = self.log.split(run, sent);
        let rest = rest.map(|(through, rest)| (through, rest.to_vec()));
        let whole = self.bytes_of(Run { after: run.after, through: cut }).len();
        assert!(whole <= sent);
        match rest {
            None => assert_eq!(whole, sent, "nothing is pinned at a boundary"),
            Some((through, rest)) => {
                let next = Run { after: cut, through: self.log.mark(cut.messages + 1) };
                assert_eq!(through, next.through, "the cut behind it");
                assert_eq!(rest, self.bytes_of(next)[sent - whole..], "the rest of the message");
            }
        }
        let stamp = self.draw(self.frames.len() as u64 * 3 + 1);
        let last = self.log.last_before(run, stamp).messages;
        let expected = (run.first()..=run.last()).take_while(|seq| (seq - 1) * 3 < stamp).count() as u64;
        assert_eq!(last, run.after.messages + expected);
    }
}

#[test]
fn what_is_needed_is_there_and_what_is_not_is_freed() {
    for seed in 0..30 {
        let needs = Needs { tail: Some(Mark::default()), ..Standing::NO_NEEDS };
        let mut log = Log::new(Mark::default());
        log.change_needs(&Standing::NO_NEEDS, &needs);
        let mut world = World { log, frames: Vec::new(), readers: std::vec![needs], state: seed };
        for _ in 0..400 {
            world.step();
            world.check();
        }
        let head = Some(world.head());
        (0..world.readers.len()).for_each(|reader| world.change(reader, Needs { tail: head, ..Standing::NO_NEEDS }));
        world.log.shrink();
        assert_eq!(world.log.resident(), 0, "a log that nobody needs holds nothing");
    }
}

#[test]
fn a_message_costs_what_is_said() {
    assert_eq!((size_of::<Message>(), size_of::<Block>()), (24, 96));
}

#[test]
fn an_old_run_costs_no_more_than_itself_however_much_follows() {
    let needs = |older: Vec<Run>, tail| Needs { tail: Some(tail), older: Needs::older(&older), ..Standing::NO_NEEDS };
    let mut log = Log::new(Mark::default());
    let mut before = needs(Vec::new(), Mark::default());
    log.change_needs(&Standing::NO_NEEDS, &before);
    let mut resident = 0;
    for round in 1..=20_000 {
        log.append((100, 100), (round, Instant::ZERO), usize::MAX, |out| out.put_bytes(7, 100));
        log.freeze();
        // Nine of the first eighteen stay.
        let older = before.runs();
        let older = if round <= 18 && round % 2 == 0 {
            older.chain([Run { after: before.tail.unwrap(), through: log.head() }]).collect()
        } else {
            older.collect()
        };
        let after = needs(older, log.head());
        log.change_needs(&before, &after);
        before = after;
        if round == 10_000 {
            resident = log.resident();
        }
        if round % 500 == 0 {
            log.check();
        }
    }
    assert_eq!(log.resident(), resident);
    log.check_needs(&[before]);
    assert!(log.index.len() < 200, "{} messages in the index", log.index.len());
}

#[test]
fn a_chunk_is_used_again_once_it_is_free() {
    let needs = |mark| Needs { tail: Some(mark), ..Standing::NO_NEEDS };
    let mut log = Log::new(Mark::default());
    log.change_needs(&Standing::NO_NEEDS, &needs(Mark::default()));
    let mut at = Mark::default();
    let mut resident = 0;
    for round in 0..1_000 {
        log.append((100, 100), (round, Instant::ZERO), usize::MAX, |out| out.put_bytes(7, 100));
        log.freeze();
        log.change_needs(&needs(at), &needs(log.head()));
        at = log.head();
        if round == 100 {
            resident = log.resident();
        }
    }
    assert_eq!(log.resident(), resident, "a reader that keeps up costs no more memory");
}

#[test]
fn a_chunk_with_little_alive_is_copied_out() {
    let mut log = Log::new(Mark::default());
    let needs =
        |after: Mark, through: Mark, tail| Needs { tail: Some(tail), held: Run { after, through }, older: None };
    let start = Standing::NO_NEEDS;
    log.change_needs(&start, &Needs { tail: Some(Mark::default()), ..start.clone() });
    for _ in 0..20 {
        log.append((1_000, 1_000), (0, Instant::ZERO), usize::MAX, |out| out.put_bytes(1, 1_000));
        log.freeze();
    }
    let before = log.resident();
    // One message of the 20 stays needed.
    let held = needs(log.mark(9), log.mark(10), log.head());
    log.change_needs(&Needs { tail: Some(Mark::default()), ..start.clone() }, &held);
    log.seal();
    log.check();
    log.check_needs(core::slice::from_ref(&held));
    let index = log.index_bytes();
    assert!(log.resident() - index <= 4_096, "{} of {before}", log.resident() - index);
    let run = held.held;
    assert_eq!(log.pieces(run).map(|(bytes, range)| bytes[range].len()).sum::<usize>(), 1_000);
}
