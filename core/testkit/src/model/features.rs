//! What runs had, so that a campaign can say whether it has tried everything.

use super::play::Tally;

/// A campaign of so many steps must have had everything.
const STEPS_OF_ALL: u64 = 1_000_000;

macro_rules! had {
    ($($name:literal,)*) => {
        const NAMES: &[&str] = &[$($name,)*];
    };
}

had! {
    // Drawn.
    "two hubs", "raw", "dialect", "binary", "wishes", "ages", "partial answers", "frozen output", "single bytes",
    "clock jumps", "bad names", "late polls", "tight inbound",
    "at least once", "credit", "sessions", "history", "starts", "publish ids", "inbound rates", "outbound rates", "publish rates",
    "batches", "classes",
    // Happened.
    "superseded", "lost oldest", "lost newest", "lost to age", "lost at the log's bound", "lost to overload", "lost closed", "lost unsubscribed", "refused full",
    "refused too large", "parked", "parked too long", "gaps", "handshakes", "handed over", "partial writes", "resets",
    "pauses", "resumes", "read while paused", "taken", "topics removed", "drains", "mailbox full", "drained", "lanes ended",
    "overflowed", "pings", "handshake timeouts", "message timeouts", "pong timeouts", "stalls",
}

/// In how many runs there was what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Had([u64; NAMES.len()]);

impl Default for Had {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Had {
    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, had)| *sum += had);
    }

    /// A run had it.
    pub(super) fn note(&mut self, name: &str, had: bool) {
        let place = NAMES.iter().position(|other| *other == name).expect("a name of the list");
        self.0[place] |= u64::from(had);
    }

    /// In how many runs there was what, by name.
    pub fn runs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().copied().zip(self.0)
    }
}

impl Tally {
    /// At the end of a run: what happened in it.
    pub(super) fn note_had(&mut self) {
        let tally = *self;
        for (name, count) in [
            ("superseded", tally.lost[0]),
            ("lost oldest", tally.lost[1]),
            ("lost newest", tally.lost[2]),
            ("lost to age", tally.lost[3]),
            ("lost at the log's bound", tally.lost[4]),
            ("lost to overload", tally.lost[5]),
            ("lost closed", tally.lost[6]),
            ("lost unsubscribed", tally.lost[7]),
            ("refused full", tally.refused_full),
            ("refused too large", tally.refused_too_large),
            ("parked", tally.parked),
            ("parked too long", tally.parked_too_long),
            ("gaps", tally.gaps),
            ("handshakes", tally.handshakes),
            ("handed over", tally.upgraded),
            ("partial writes", tally.partial_writes),
            ("resets", tally.resets),
            ("pauses", tally.pauses),
            ("resumes", tally.resumes),
            ("read while paused", tally.read_while_paused),
            ("taken", tally.taken),
            ("topics removed", tally.removed),
            ("drains", tally.drains),
            ("mailbox full", tally.mailbox_full),
            ("drained", tally.drained),
            ("lanes ended", tally.lanes_ended),
            ("overflowed", tally.overflowed),
            ("pings", tally.pings),
            ("handshake timeouts", tally.handshake_timeouts),
            ("message timeouts", tally.message_timeouts),
            ("pong timeouts", tally.pong_timeouts),
            ("stalls", tally.stalls),
        ] {
            self.had.note(name, count > 0);
        }
    }

    /// What a campaign of so many steps should have had, and had not.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        if self.steps < STEPS_OF_ALL {
            return Vec::new();
        }
        self.had.runs().filter(|(_, runs)| *runs == 0).map(|(name, _)| name).collect()
    }
}
