//! Where a lane starts: with what was published before it, or behind that.

use core::time::Duration;

use super::{Settings, Topic, latest_place};
use crate::config::Start;
use crate::error::SubscribeError;
use crate::lane::{Mark, Run};
use crate::log::Log;
use crate::losses::Losses;
use crate::output::GapReason;
use crate::time::Instant;

/// Where a lane starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// It gets what is behind this: all of it, or of the latest messages those that are there. (Then the bytes say nothing.)
    pub(crate) after: Mark,
    /// How old a message may be, and now.
    age: Option<(Duration, Instant)>,
    missing: Option<Missing>,
}

/// What was asked for and is not to be had.
#[derive(Clone, Copy, Debug)]
struct Missing {
    first: u64,
    last: u64,
    reason: GapReason,
}

impl Origin {
    /// With what is published behind this, all of which is to be had.
    pub(crate) fn at(after: Mark) -> Self {
        Self { after, age: None, missing: None }
    }

    pub(super) fn is_too_old(&self, at: Instant) -> bool {
        self.age.is_some_and(|(age_max, now)| at + age_max <= now)
    }

    /// A new lane has what is missing to tell.
    pub(super) fn tell<'a>(&self, losses: impl FnOnce() -> &'a mut Losses) {
        if let Some(Missing { first, last, reason }) = self.missing {
            // Numbers begin with 1: a gap from 0 misses as many as it would from there.
            losses().miss((first, last), last + 1 - first.max(1), reason);
        }
    }
}

impl Topic {
    /// Where a lane with these settings starts that asks for `from`, while everything behind `kept` is in its log.
    pub(crate) fn origin(
        &self,
        from: Start,
        settings: &Settings,
        kept: Mark,
        now: Instant,
    ) -> Result<Origin, SubscribeError> {
        let is_latest = latest_place(settings.terms.policy).is_some();
        let head = self.head.messages;
        let (asked, is_reset) = match from {
            Start::Latest => return Ok(Origin::at(self.head)),
            Start::Snapshot if is_latest => (0, false),
            Start::Snapshot => (head.saturating_sub(1), false),
            Start::History(messages) => (head.saturating_sub(u64::from(messages)), false),
            Start::After(position) if position.epoch != self.epoch => (0, true),
            Start::After(position) if position.seq > head => return Err(SubscribeError::PositionAhead),
            Start::After(position) => (position.seq, false),
        };
        let age = settings.age_max.map(|age_max| (age_max, now));
        let reset = Missing { first: 0, last: 0, reason: GapReason::Reset };
        if is_latest {
            let after = Mark { messages: asked, bytes: 0 };
            return Ok(Origin { after, age, missing: is_reset.then_some(reset) });
        }
        let mut origin = Origin { after: self.head, age, missing: None };
        if let Some(encoded) = self.logs[settings.encoding].as_ref().filter(|_| kept.messages.max(asked) < head) {
            origin.after = self.newest_that_fit(settings, &encoded.log, (kept, asked), &origin);
        }
        let cut = origin.after.messages;
        origin.missing = if is_reset {
            Some(Missing { last: cut, ..reset })
        } else {
            (cut > asked).then_some(Missing { first: asked + 1, last: cut, reason: GapReason::History })
        };
        Ok(origin)
    }

    /// The cut before the newest messages that were asked for, fit the lane together and are not too old for it.
    fn newest_that_fit(&self, settings: &Settings, log: &Log, (kept, asked): (Mark, u64), origin: &Origin) -> Mark {
        let (head, limits) = (self.head, settings.terms.limits);
        let mark = |messages: u64| if messages == kept.messages { kept } else { log.mark(messages) };
        let least = head.messages.saturating_sub(u64::from(limits.messages_max));
        let mut low = kept.messages.max(asked).max(least);
        let mut high = head.messages;
        // The first cut behind which no more than `bytes_max` lie.
        while low < high {
            let middle = low + (high - low) / 2;
            if mark(middle).to(head).bytes <= limits.bytes_max { high = middle } else { low = middle + 1 }
        }
        let cut = mark(low);
        log.last_at(Run { after: cut, through: head }, |at| origin.is_too_old(at)).unwrap_or(cut)
    }
}
