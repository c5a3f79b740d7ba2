//! Lane arithmetic: where a consumer stands in a log, what waits for it, what fits.
//!
//! Pure numbers: a lane knows no topic, no connection and no bytes. The log tells it marks; it tells the log which
//! messages it still needs. The same leaf serves topics, direct lanes and in-process consumers. (Lanes of the latest
//! messages are in `latest.rs`: what waits there is no run.)
//!
//! Many lanes of a topic agree on their limits and policy, so `Standing` does not hold them: it is what is left, 48 bytes
//! and nothing on the heap for a lane that has lost nothing. `Lane` is a lane by itself: both together.

mod flight;
mod needs;
mod standing;

use core::ops::{Deref, DerefMut};

use crate::config::LaneLimits;
use crate::policy::Policy;
use crate::stats::Count;
pub(crate) use flight::{Fired, Flight};
pub(crate) use needs::Needs;
pub(crate) use standing::{Standing, narrow};

/// A cut in a log: how many messages and payload bytes stand before it. Messages are numbered from 1, so the cut after
/// message `n` has `messages == n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Mark {
    pub(crate) fn to(self, later: Mark) -> Count {
        Count::new(later.messages - self.messages, later.bytes - self.bytes)
    }
}

/// The messages between two cuts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Run {
    pub(crate) after: Mark,
    pub(crate) through: Mark,
}

impl Run {
    pub(crate) fn count(&self) -> Count {
        self.after.to(self.through)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.after.messages == self.through.messages
    }

    /// The number of the first message.
    pub(crate) fn first(&self) -> u64 {
        self.after.messages + 1
    }

    /// The number of the last message.
    pub(crate) fn last(&self) -> u64 {
        self.through.messages
    }
}

/// Runs a lane may have, the one that ends at the head included.
pub(crate) const RUNS_MAX: usize = 8;

/// What a lane keeps to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    pub(crate) limits: LaneLimits,
    pub(crate) policy: Policy,
}

impl Terms {
    /// Whether the newest message may be lost.
    fn may_reject(&self) -> bool {
        self.policy == Policy::DropNewest
    }
}

/// One consumer's window on a log, with what it keeps to.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) terms: Terms,
    standing: Standing,
}

impl Lane {
    pub(crate) fn new(limits: LaneLimits, policy: Policy, head: Mark) -> Self {
        Self { terms: Terms { limits, policy }, standing: Standing::new(head) }
    }

    /// What counts towards the limits.
    pub(crate) fn load(&self, head: Mark) -> Count {
        self.standing.load(&self.terms, head)
    }

    /// Whether `more` fits on top of what is there: `Count::new(1, bytes)` for one more message.
    pub(crate) fn fits(&self, head: Mark, more: Count) -> bool {
        self.standing.fits(&self.terms, head, more)
    }

    /// Whether the load fills no limit to more than `low` thousandths, and `bytes` more fit.
    pub(crate) fn is_drained(&self, head: Mark, bytes: u64, low: u32) -> bool {
        self.standing.is_drained(&self.terms, head, bytes, low)
    }
}

impl Deref for Lane {
    type Target = Standing;

    fn deref(&self) -> &Standing {
        &self.standing
    }
}

impl DerefMut for Lane {
    fn deref_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }
}

#[cfg(test)]
mod tests;
