//! What a client's threads send, on its way to the hub's direct lane, bounded together with it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use forebay_core::wire::CloseCode;
use forebay_core::{Count, EndReason, LaneLimits, Payload};

use crate::gate::Gate;
use crate::{Closed, SendError};

/// Messages one behind another, so that sending allocates nothing.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    /// For each message its end in `bytes` and whether it is text.
    ends: Vec<(usize, bool)>,
    /// How many were taken off the front.
    taken: usize,
}

impl Messages {
    fn push(&mut self, payload: Payload<'_>) {
        self.bytes.extend_from_slice(payload.as_bytes());
        self.ends.push((self.bytes.len(), matches!(payload, Payload::Text(_))));
    }

    /// The first message.
    #[must_use]
    pub fn front(&self) -> Option<Payload<'_>> {
        let (end, is_text) = *self.ends.get(self.taken)?;
        let from = if self.taken == 0 { 0 } else { self.ends[self.taken - 1].0 };
        let bytes = &self.bytes[from..end];
        Some(if is_text {
            Payload::Text(std::str::from_utf8(bytes).expect("it came as a str"))
        } else {
            Payload::Binary(bytes)
        })
    }

    /// Takes the first message off.
    pub fn pop(&mut self) {
        self.taken += 1;
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == self.ends.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.taken = 0;
    }
}

/// A bounded queue in front of a hub's direct lane: queue and lane together are within the lane's limits.
#[derive(Debug)]
pub struct Outbox {
    state: Gate<State>,
    limits: LaneLimits,
    /// Something is in `messages`, or the end is wanted.
    has_work: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    messages: Messages,
    /// Sent with `Ok`.
    accepted: Count,
    /// Of these, handed to the kernel.
    done: Count,
    close: Option<(CloseCode, String)>,
    /// The end was wanted, so nothing more is taken.
    closing: Option<EndReason>,
    end: Option<Closed>,
}

impl State {
    fn waits(&self) -> Count {
        Count::new(self.accepted.messages - self.done.messages, self.accepted.bytes - self.done.bytes)
    }

    /// Whether the first so many messages are done, once that is certain.
    fn is_flushed(&self, messages: u64) -> Option<Result<(), Closed>> {
        if self.done.messages >= messages { Some(Ok(())) } else { self.end.map(Err) }
    }
}

impl Outbox {
    /// An outbox with these limits, lane included.
    #[must_use]
    pub fn new(limits: LaneLimits) -> Self {
        Self { state: Gate::default(), limits, has_work: AtomicBool::new(false) }
    }

    /// Queues a message if there is room.
    ///
    /// # Errors
    /// Nothing was queued, and why.
    pub fn try_push(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.state.with(|state| self.attempt(state, payload)).unwrap_or(Err(SendError::Full))
    }

    /// Queues a message; where there is no room, blocks until half of the limits is free.
    ///
    /// # Errors
    /// Nothing was queued, and why.
    pub fn push(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.state.block(None, |state| self.attempt(state, payload)).expect("it waits without a deadline")
    }

    /// Queues a message; where there is no room, waits until half of the limits is free. Dropped before it is done,
    /// nothing was queued.
    ///
    /// # Errors
    /// Nothing was queued, and why.
    pub async fn push_async(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.state.until(|state| self.attempt(state, payload)).await
    }

    /// Queues a message, unless it cannot be; nothing if there is no room.
    fn attempt(&self, state: &mut State, payload: Payload<'_>) -> Option<Result<(), SendError>> {
        let bytes = payload.as_bytes().len() as u64;
        if bytes > self.limits.bytes_max {
            return Some(Err(SendError::TooLarge));
        }
        if let Some(closed) = state.end {
            return Some(Err(SendError::Closed(closed)));
        }
        let waits = state.waits();
        if let Some(reason) = state.closing {
            return Some(Err(SendError::Closed(Closed { reason, unsent_messages: waits.messages })));
        }
        if waits.messages >= u64::from(self.limits.messages_max) || waits.bytes + bytes > self.limits.bytes_max {
            return None;
        }
        state.messages.push(payload);
        state.accepted += Count::new(1, bytes);
        self.has_work.store(true, SeqCst);
        Some(Ok(()))
    }

    /// Blocks until what was queued before is done.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn flush(&self) -> Result<(), Closed> {
        let messages = self.accepted_messages();
        self.state.block(None, |state| state.is_flushed(messages)).expect("it waits without a deadline")
    }

    /// Waits until what was queued before is done.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn flush_async(&self) -> Result<(), Closed> {
        let messages = self.accepted_messages();
        self.state.until(|state| state.is_flushed(messages)).await
    }

    fn accepted_messages(&self) -> u64 {
        self.state.with(|state| state.accepted.messages)
    }

    /// Wants the connection closed once everything is done; nothing more is queued.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.state.change(|state| {
            let is_first = state.closing.is_none();
            if is_first {
                state.closing = Some(EndReason::Closed(code));
                state.close = Some((code, reason.to_owned()));
                self.has_work.store(true, SeqCst);
            }
            ((), is_first)
        });
    }

    /// Blocks until the end.
    #[must_use]
    pub fn wait_end(&self) -> Closed {
        self.state.block(None, |state| state.end).expect("it waits without a deadline")
    }

    /// Waits for the end.
    pub async fn wait_end_async(&self) -> Closed {
        self.state.until(|state| state.end).await
    }

    /// How the connection ended, if it has.
    #[must_use]
    pub fn end_reached(&self) -> Option<Closed> {
        self.state.with(|state| state.end)
    }

    /// For the worker: whether there is something to take.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.has_work.load(SeqCst)
    }

    /// For the worker: exchanges the queue for `emptied`, and says, once, how the connection is to be closed when
    /// everything is done.
    pub fn take(&self, emptied: &mut Messages) -> Option<(CloseCode, String)> {
        debug_assert!(emptied.is_empty(), "messages are sent before more are taken");
        emptied.clear();
        self.state.with(|state| {
            std::mem::swap(&mut state.messages, emptied);
            self.has_work.store(false, SeqCst);
            state.close.take()
        })
    }

    /// For the worker: how much the kernel has taken, of all time. Those who wait are woken once half of the limits is
    /// free, so that one context switch makes room for many messages.
    pub fn done(&self, done: Count) {
        self.state.change(|state| {
            let is_more = std::mem::replace(&mut state.done, done) != done;
            let waits = state.waits();
            let has_room =
                waits.messages <= u64::from(self.limits.messages_max) / 2 && waits.bytes <= self.limits.bytes_max / 2;
            ((), is_more && has_room)
        });
    }

    /// For the worker: the connection has ended; `closed` is told with the number of messages that were not done.
    pub fn end(&self, mut closed: Closed) -> Closed {
        self.state.change(|state| {
            closed.unsent_messages = state.waits().messages;
            state.messages = Messages::default();
            (*state.end.get_or_insert(closed), true)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LIMITS: LaneLimits = LaneLimits { messages_max: 4, bytes_max: 10 };

    #[test]
    fn queue_and_lane_share_the_limits() {
        let outbox = Outbox::new(LIMITS);
        let send = |text| outbox.try_push(Payload::Text(text));
        assert_eq!(send("01234567890"), Err(SendError::TooLarge));
        assert!(!outbox.has_work());
        assert_eq!(send("0123456789"), Ok(()));
        assert_eq!(send("0"), Err(SendError::Full), "by bytes");
        assert_eq!(send(""), Ok(()));
        assert!(outbox.has_work());

        let mut taken = Messages::default();
        assert_eq!(outbox.take(&mut taken), None);
        assert!(!outbox.has_work());
        assert_eq!(taken.front(), Some(Payload::Text("0123456789")));
        assert_eq!(send("0"), Err(SendError::Full), "what the hub has counts until it is done");
        taken.pop();
        assert_eq!(taken.front(), Some(Payload::Text("")));
        taken.pop();
        assert!(taken.is_empty() && taken.front().is_none());

        outbox.done(Count::new(1, 10));
        assert_eq!(outbox.try_push(Payload::Binary(b"1")), Ok(()));
        assert_eq!((send("2"), send("3"), send("4")), (Ok(()), Ok(()), Err(SendError::Full)), "by messages");
        outbox.take(&mut taken);
        assert_eq!(taken.front(), Some(Payload::Binary(b"1")));
    }

    #[test]
    fn who_waits_is_released_by_room_and_by_the_end() {
        let outbox = Arc::new(Outbox::new(LIMITS));
        for _ in 0..4 {
            outbox.push(Payload::Binary(b"")).unwrap();
        }
        let waiting = std::thread::spawn({
            let outbox = Arc::clone(&outbox);
            move || (outbox.push(Payload::Binary(b"1")), outbox.flush(), outbox.try_push(Payload::Binary(b"")))
        });
        outbox.done(Count::new(4, 0));
        while outbox.take(&mut Messages::default()).is_none() && outbox.accepted_messages() < 5 {
            std::thread::yield_now();
        }
        let reason = EndReason::PeerGone;
        let closed = outbox.end(Closed { reason, unsent_messages: 0 });
        assert_eq!(closed, Closed { reason, unsent_messages: 1 });
        assert_eq!(waiting.join().unwrap(), (Ok(()), Err(closed), Err(SendError::Closed(closed))));
        assert_eq!(outbox.wait_end(), closed);
        assert_eq!(outbox.end_reached(), Some(closed));
    }
}
