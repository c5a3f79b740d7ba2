//! A publisher that is killed, and repeats what was not answered.

use std::collections::{BTreeMap, VecDeque};

use super::super::common::number;
use super::wire::{Death, Draw, Lost, Wire};
use super::{Alarm, Said, World};

/// How many requests it does not wait for.
pub(super) const WINDOW: usize = 8;

pub(super) struct Publisher<'a> {
    world: &'a World,
    index: usize,
    draw: Draw,
    /// The number of its last message.
    last: u64,
    unanswered: VecDeque<u64>,
    /// What was answered, by number in the topic.
    stored: BTreeMap<u64, Said>,
    /// A connection that was left open when it was given up.
    left: Option<Wire>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(world: &'a World, index: usize) -> Self {
        let (unanswered, stored) = (VecDeque::new(), BTreeMap::new());
        Self { world, index, draw: Draw(1_000 + index as u64), last: 0, unanswered, stored, left: None }
    }

    pub(super) fn run(mut self) -> BTreeMap<u64, Said> {
        let _alarm = Alarm(self.world);
        loop {
            let mut wire = Wire::new(self.world.address, Death::draw(&mut self.draw));
            match self.live(&mut wire) {
                Ok(()) => break,
                Err(Lost::Killed) => {
                    self.world.change(|state| state.publishers_killed += 1);
                    match self.draw.below(3) {
                        0 => drop(wire),
                        1 => wire.reset(),
                        _ => self.left = Some(wire),
                    }
                }
                Err(Lost::Ended(code)) => panic!("the server has closed the connection: {code:?}"),
            }
        }
        self.stored
    }

    fn live(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        wire.open()?;
        // Others publish between these.
        let repeated = self.last;
        for number in self.unanswered.clone() {
            self.publish(wire, number)?;
        }
        loop {
            if !self.world.is_fed() {
                wire.spare();
                if self.unanswered.is_empty() {
                    return Ok(());
                }
            } else if self.unanswered.is_empty() || (self.unanswered.len() < WINDOW && self.draw.below(3) > 0) {
                self.world.pace();
                self.last += 1;
                self.unanswered.push_back(self.last);
                self.publish(wire, self.last)?;
                continue;
            }
            let answer = wire.hear()?;
            self.answered(&answer, repeated);
        }
    }

    fn publish(&self, wire: &mut Wire, number: u64) -> Result<(), Lost> {
        let index = self.index;
        let fill = "x".repeat(if number.is_multiple_of(8) { 3_000 } else { 0 });
        let data = format!(r#"{{"publisher":{index},"number":{number},"fill":"{fill}"}}"#);
        let request = r#"{"op":"publish","topic":"orders""#;
        wire.say(&format!(r#"{request},"message_id":"{index}/{number}","data":{data},"id":{number}}}"#))
    }

    fn answered(&mut self, answer: &str, repeated: u64) {
        let asked = self.unanswered.pop_front().expect("something was asked");
        assert!(answer.starts_with(&format!(r#"{{"op":"ok","id":{asked},"#)), "{answer} to {asked}");
        let is_duplicate = answer.contains(r#""duplicate":true"#);
        assert!(!is_duplicate || (asked <= repeated && answer.contains(r#""matched":0"#)), "{answer}");
        let (seq, said) = (number(answer, "seq"), Said { publisher: self.index, number: asked });
        let before = self.stored.last_key_value();
        assert!(before.is_none_or(|(before, _)| *before < seq), "{answer} behind {before:?}");
        self.stored.insert(seq, said);
        self.world.change(|state| state.head = state.head.max(seq));
    }
}
