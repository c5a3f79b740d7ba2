//! An in-process consumer of a topic, as far as both runtimes share it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use forebay_core::{Entry, LaneId};

use crate::calls::LaneInbox;
use crate::{Command, NextError, Nothing, Place, ServerLink};

/// A lane that is taken from. Dropped, also in an answer that nobody took, it ends the lane.
#[derive(Debug)]
pub struct SubscriptionLink {
    server: Arc<ServerLink>,
    lane: LaneId,
    epoch: u64,
    inbox: Arc<LaneInbox>,
    place: Place,
}

impl SubscriptionLink {
    pub(crate) fn new(server: Arc<ServerLink>, lane: LaneId, epoch: u64, inbox: Arc<LaneInbox>) -> Self {
        Self { server, lane, epoch, inbox, place: Place::default() }
    }

    /// The epoch of the topic's numbering.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// One lane has at most one of these commands under way. When the server has stopped the inbox has ended, or will.
    fn ask(server: &ServerLink, lane: LaneId) {
        drop(server.mailbox.post_bounded_otherwise(Command::Take(lane)));
    }

    /// The next message or gap; blocks for it until `deadline`. Whoever gives up has missed nothing.
    ///
    /// # Errors
    /// Nothing in time, or nothing any more.
    pub fn next_until(&mut self, deadline: Option<Instant>) -> Result<Entry, NextError> {
        self.inbox.next(deadline, || Self::ask(&self.server, self.lane)).map_err(|nothing| match nothing {
            Nothing::TimedOut => NextError::TimedOut,
            Nothing::Ended(()) => NextError::Ended,
        })
    }

    /// The next message or gap, if there is one; otherwise the task is woken when there is.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Entry>> {
        let Self { server, lane, inbox, place, .. } = self;
        inbox.poll_next(place, context, || Self::ask(server, *lane)).map(Result::ok)
    }
}

impl Drop for SubscriptionLink {
    fn drop(&mut self) {
        // At most one per lane.
        drop(self.server.mailbox.post_bounded_otherwise(Command::Unsubscribe(self.lane)));
    }
}
