//! What may happen in a step.

mod acks;
mod application;
mod client_hub;
mod disorder;
pub(super) mod gates;
mod guests;
mod sessions;

use std::time::Duration;

use super::World;
use super::draw::{self, TOPICS};
use crate::mini::Data;

impl World {
    /// One random thing happens, and often time passes.
    pub(super) fn act(&mut self) {
        let side = self.choices.index(2);
        let what = self.choices.below(100);
        self.note(|| format!("action {what}, side {side}"));
        match what {
            0..=19 => self.pass_time(),
            20..=33 => self.application_publishes(side),
            34..=47 => self.guest_publishes(),
            48..=54 => self.guest_subscribes(),
            55..=57 => self.guest_unsubscribes(),
            58..=59 => self.guest_says_something_else(),
            60 => self.guest_keeps(),
            61..=62 => self.guest_resumes(),
            63..=65 => self.freeze_or_thaw(),
            66..=73 => self.guest_arrives(side),
            74 => self.guest_leaves(),
            75 => self.guest_misbehaves(),
            76 => self.hub_connects(),
            77..=79 => self.client_hub_speaks(),
            80..=81 => self.topic_comes_or_goes(side),
            82..=84 => self.application_sends(side),
            85..=87 => self.application_subscribes(side),
            88..=90 => self.local_comes_or_goes(side),
            91 => self.application_closes(side),
            92 => self.application_handles_sessions(side),
            93 if self.choices.one_in(4) => self.decide_again(side),
            93 => self.stale(side),
            94..=95 => self.spurious(side),
            96..=97 => self.pipe_changes(),
            98 => self.clock_jumps(side),
            _ => self.leap(),
        }
        if self.choices.one_in(3) {
            self.pass_time();
        }
    }

    fn pass_time(&mut self) {
        match self.choices.below(4) {
            0 => {}
            1 => self.now = self.now + Duration::from_micros(self.choices.below(2_000)),
            2 => self.now = self.now + Duration::from_millis(self.choices.below(200)),
            _ => self.now = self.next_event().unwrap_or(self.now),
        }
    }

    fn topic_name(&mut self) -> &'static str {
        TOPICS[self.choices.index(TOPICS.len())]
    }

    fn key(&mut self, side: usize) -> String {
        let key_bytes_max = self.sides[side].options.key_bytes_max;
        draw::key(&mut self.choices, key_bytes_max)
    }

    fn data(&mut self, side: usize, topic: &str) -> Data {
        let number = self.fresh();
        let max = self.sides[side].options_of(topic).message_bytes_max;
        draw::payload(&mut self.choices, number, max as usize)
    }
}
