//! Forms against lists of units that were written down.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use crate::lane::{Needs, Run, Standing};

/// A unit as it was made: its last message, its bytes, how far it refers back.
type Made = (u64, Vec<u8>, u32);

struct World {
    log: Log,
    /// Payload bytes of each message; its frame is its number, so many times.
    messages: Vec<u64>,
    /// The first and last message of each block.
    blocks: Vec<(u64, u64)>,
    forms: BTreeMap<u64, Vec<Made>>,
    held: Run,
    state: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut log = Log::new(Mark::default());
        log.change_needs(&Standing::NO_NEEDS, &tail());
        Self {
            log,
            messages: Vec::new(),
            blocks: Vec::new(),
            forms: BTreeMap::new(),
            held: Run::default(),
            state: seed,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn place(&mut self, below: usize) -> usize {
        usize::try_from(self.draw(below as u64)).unwrap()
    }

    fn payload_bytes(&self, seq: u64) -> usize {
        usize::try_from(self.messages[usize::try_from(seq - 1).unwrap()]).unwrap()
    }

    fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    fn cut(&self, seq: u64) -> Mark {
        let bytes = self.messages.iter().take(usize::try_from(seq).unwrap()).sum();
        Mark { messages: seq, bytes }
    }

    fn add_block(&mut self) {
        let first = self.head() + 1;
        for seq in first..=first + self.draw(9) {
            let payload = self.draw(50);
            let len = usize::try_from(payload).unwrap() + 2;
            self.log.append((payload, len), (seq, Instant::ZERO), 0, |out| {
                out.resize(out.len() + len, u8::try_from(seq % 251).unwrap());
            });
            self.messages.push(payload);
        }
        self.log.freeze();
        // A chunk that is full ends a block.
        self.blocks = self.log.blocks.iter().map(|block| (block.first, block.last)).collect();
    }

    /// Makes the form of a block, of units of several messages, one, or none at all.
    fn form(&mut self, block: (u64, u64)) {
        let (first, last) = block;
        let mut units: Vec<Made> = Vec::new();
        let mut seq = first - 1;
        let is_useless = self.draw(5) == 0;
        while seq < last && !is_useless {
            seq += 1 + self.draw((last - seq).min(4));
            let len = usize::try_from(self.draw(60) + 1).unwrap();
            let bytes = (0..len).map(|place| u8::try_from((place + len) % 256).unwrap()).collect();
            let window_bytes = u32::try_from([0, 400, 900][self.place(3)]).unwrap();
            units.push((seq, bytes, window_bytes));
        }
        let mut bytes = Vec::new();
        let made: Vec<Unit> = units
            .iter()
            .map(|(last, unit, window_bytes)| {
                bytes.extend_from_slice(unit);
                let end = u32::try_from(bytes.len()).unwrap();
                Unit { through: self.cut(*last), end, window_bytes: *window_bytes }
            })
            .collect();
        let seq = first + self.draw(last - first + 1);
        let (after, frames) = self.log.frames(seq);
        let lens: Vec<(Mark, usize)> = frames.map(|(cut, frame)| (cut, frame.len())).collect();
        let expected = (first..=last).map(|seq| (self.cut(seq), self.payload_bytes(seq) + 2));
        assert_eq!((after, lens), (first - 1, expected.collect()), "the frames of a block");
        self.log.set_form(seq, Form::new(after, bytes.into(), &made));
        self.forms.insert(first, units);
    }

    fn hold(&mut self, run: Run) {
        let needs = |held| Needs { held, ..tail() };
        self.log.change_needs(&needs(self.held), &needs(run));
        self.held = run;
    }

    fn step(&mut self) {
        match self.draw(6) {
            0 | 1 if self.blocks.len() < 12 => self.add_block(),
            2 | 3 if !self.blocks.is_empty() => {
                let nth = self.place(self.blocks.len());
                let block = self.blocks[nth];
                let is_asked = self.log.unformed(block.0).is_none();
                assert_eq!(is_asked, self.forms.contains_key(&block.0), "a form is there once it was made");
                if !is_asked {
                    self.form(block);
                }
            }
            4 if self.head() > 0 => {
                let after = self.draw(self.head() + 1);
                let through = after + self.draw(self.head() - after + 1);
                let run = Run { after: self.cut(after), through: self.cut(through) };
                self.hold(if run.is_empty() { Run::default() } else { run });
            }
            5 if self.draw(4) == 0 => {
                self.log.drop_forms();
                let held = self.held;
                let is_held = |first: &u64| {
                    let (_, last) = *self.blocks.iter().find(|(start, _)| start == first).unwrap();
                    !held.is_empty() && *first <= held.last() && held.first() <= last
                };
                self.forms.retain(|first, _| is_held(first));
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        self.log.check();
        self.log.check_needs(&[Needs { held: self.held, ..tail() }]);
        if self.head() == 0 {
            return;
        }
        let after = self.draw(self.head());
        let through = after + 1 + self.draw(self.head() - after);
        let run = Run { after: self.cut(after), through: self.cut(through) };
        let room = FormRoom {
            bytes: usize::try_from(self.draw(300)).unwrap(),
            payload_bytes: self.draw(400),
            one: self.draw(2) == 0,
            window_bytes: [399, 512, 1_024][self.place(3)],
        };
        self.check_front(run, room);
    }

    fn check_front(&self, run: Run, room: FormRoom) {
        let block = *self.blocks.iter().find(|(_, last)| *last >= run.first()).unwrap();
        let (first, last) = (block.0, block.1.min(run.last()));
        let units = self.forms.get(&first).filter(|units| !units.is_empty());
        let front = self.log.front(run, room);
        let Some(units) = units else {
            return assert!(matches!(front, Front::Plain(cut) if cut == last), "without a form all is plain");
        };
        // Whole units, one after the other, as far as each may go.
        let is_taken = |(last, _, window): &Made| *last <= run.last() && *window as usize <= room.window_bytes;
        let place = units.iter().position(|(last, ..)| *last >= run.first()).unwrap();
        let starts = if place == 0 { first } else { units[place - 1].0 + 1 };
        if starts != run.first() || !is_taken(&units[place]) {
            let end = units[place].0.min(run.last());
            return assert!(matches!(front, Front::Plain(cut) if cut == end), "a unit that is not taken is plain");
        }
        let (mut bytes, mut cut) = (Vec::new(), run.after);
        let mut cuts: Vec<(usize, Mark)> = Vec::new();
        for unit in &units[place..] {
            let payload_bytes = self.cut(unit.0).bytes - run.after.bytes;
            let fits = bytes.len() + unit.1.len() <= room.bytes && payload_bytes <= room.payload_bytes;
            if !is_taken(unit) || !(fits || (room.one && bytes.is_empty())) {
                break;
            }
            bytes.extend_from_slice(&unit.1);
            cut = self.cut(unit.0);
            cuts.push((bytes.len(), cut));
        }
        let Front::Units(plan) = front else { panic!("a unit that begins the run is taken: {front:?}") };
        assert_eq!((plan.cut, plan.bytes, plan.slices), (cut, bytes.len(), usize::from(!bytes.is_empty())));
        if bytes.is_empty() {
            return;
        }
        let planned = Run { after: run.after, through: plan.cut };
        let form = self.log.form(planned);
        let (all, range) = form.piece(planned);
        assert_eq!(all[range], bytes, "the bytes of the units");
        for sent in 0..=bytes.len() {
            let (cut, rest) = form.split(planned, sent);
            let whole = cuts.iter().rev().find(|(end, _)| *end <= sent);
            assert_eq!(cut, whole.map_or(run.after, |(_, cut)| *cut), "what is covered");
            let begun = cuts.iter().find(|(end, _)| *end > sent);
            let is_begun = sent > whole.map_or(0, |(end, _)| *end);
            let expected = begun.filter(|_| is_begun).map(|(end, cut)| (*cut, &bytes[sent..*end]));
            assert_eq!(rest, expected, "the rest of the unit, and the cut behind it");
        }
    }
}

fn tail() -> Needs {
    Needs { tail: Some(Mark::default()), ..Standing::NO_NEEDS }
}

#[test]
fn whole_units_are_sent_as_such_and_the_rest_as_it_is() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
            world.check();
        }
        world.hold(Run::default());
        let head = world.log.head();
        world.log.change_needs(&tail(), &Needs { tail: Some(head), ..Standing::NO_NEEDS });
        world.log.shrink();
        assert_eq!(world.log.resident(), 0, "a form goes with its block");
    }
}

#[test]
fn a_form_costs_what_is_said() {
    assert_eq!((size_of::<Unit>(), size_of::<Form>()), (24, 64));
}
