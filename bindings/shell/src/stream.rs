//! In-process streams between threads and tasks: the core's, behind a lock that is held over no wake. An item that is lost
//! or copied is dropped or cloned under it, so what its type does then must not use the same streams.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use forebay_core::stream::{
    ConsumerError, ConsumerOptions, ConsumerStats, End, Entry, NamedConsumerId, Next, Refused, StreamId,
    StreamPressure, Streams, StreamsOptions, WriteError,
};
use forebay_core::{self as core, ConfigError, LaneLimits, Policy, Totals};

use crate::gate::{Gate, Place, lock};
use crate::stream_drain::{Awaited, Concerned};
use crate::{Clock, NextError};

/// What all handles of a set of streams share.
struct Shared<T> {
    state: Mutex<State<T>>,
    clock: Clock,
    item_bytes_max: u32,
}

struct State<T> {
    streams: Streams<T>,
    /// Rung when there is something for a consumer that had nothing.
    bells: BTreeMap<NamedConsumerId, Arc<Gate<bool>>>,
    awaited: Awaited,
}

impl<T: Clone> Shared<T> {
    /// Does something and wakes whom it concerns, when the lock is given back.
    fn act<R>(&self, concerned: Concerned<'_>, act: impl FnOnce(&mut State<T>, core::Instant) -> R) -> R {
        let now = self.clock.now();
        let mut guard = lock(&self.state);
        let result = act(&mut guard, now);
        let State { streams, bells, awaited } = &mut *guard;
        let mut rings = awaited.forget_drained(streams, concerned);
        while let Some(id) = streams.poll_ready() {
            rings.extend(bells.get(&id).cloned());
        }
        drop(guard);
        rings.iter().for_each(|bell| bell.change(|is_rung| (*is_rung = true, true)));
        result
    }

    fn look<R>(&self, look: impl FnOnce(&Streams<T>, core::Instant) -> R) -> R {
        let now = self.clock.now();
        look(&lock(&self.state).streams, now)
    }
}

/// Streams by name, as far as nothing waits. A clone is another handle.
pub struct StreamsLink<T>(Arc<Shared<T>>);

impl<T> Clone for StreamsLink<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for StreamsLink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl<T: Clone> StreamsLink<T> {
    /// No streams.
    ///
    /// # Errors
    /// A limit that is zero.
    pub fn new(options: StreamsOptions, size_bytes: fn(&T) -> usize) -> Result<Self, ConfigError> {
        let streams = Streams::new(options, size_bytes)?;
        let state = Mutex::new(State { streams, bells: BTreeMap::new(), awaited: Awaited::default() });
        let item_bytes_max = options.stream.item_bytes_max;
        Ok(Self(Arc::new(Shared { state, clock: Clock::start(), item_bytes_max })))
    }

    /// A handle of the stream of that name, whether or not it has consumers.
    #[must_use]
    pub fn link(&self, name: &str) -> StreamLink<T> {
        StreamLink { shared: Arc::clone(&self.0), name: name.into() }
    }

    /// The names that have consumers which receive or have yet to take something, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.look(|streams, _| streams.names().map(str::to_owned).collect())
    }

    /// Ends all consumers behind what waits for them.
    #[expect(clippy::needless_pass_by_value, reason = "as for one stream")]
    pub fn close_all(&self, value: Option<T>) {
        self.0.act(Concerned::All, |state, _| state.streams.close_all(value.as_ref()));
    }

    /// Ends all consumers now: what waits for them is lost.
    #[expect(clippy::needless_pass_by_value, reason = "as for one stream")]
    pub fn kill_all(&self, value: Option<T>) {
        self.0.act(Concerned::All, |state, _| state.streams.kill_all(value.as_ref()));
    }

    /// How much waits, over the consumers of all names.
    #[must_use]
    pub fn pressure(&self) -> StreamPressure {
        self.0.look(Streams::pressure)
    }

    /// The terms of the queue law, over all consumers of all names of all time.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.0.look(|streams, _| streams.totals())
    }
}

/// One stream, as far as nothing waits. A clone is another handle. (What is hidden waits, or makes what does: a
/// binding says that in its own way, and on tasks the blocking half would stop a thread of others.)
pub struct StreamLink<T> {
    shared: Arc<Shared<T>>,
    name: Arc<str>,
}

impl<T> Clone for StreamLink<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), name: Arc::clone(&self.name) }
    }
}

impl<T> fmt::Debug for StreamLink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Clone> StreamLink<T> {
    /// A consumer of what is written from now on.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    #[doc(hidden)]
    pub fn link(&self, options: ConsumerOptions) -> Result<ConsumerLink<T>, ConsumerError> {
        let bell = Arc::new(Gate::new(false));
        let id = self.act(|state, _| {
            let id = state.streams.consume(&self.name, options)?;
            state.bells.insert(id, Arc::clone(&bell));
            Ok(id)
        })?;
        Ok(ConsumerLink { shared: Arc::clone(&self.shared), id, bell, place: Place::default(), end: None })
    }

    /// A consumer of the next item alone.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    #[doc(hidden)]
    pub fn link_once(&self) -> Result<ConsumerLink<T>, ConsumerError> {
        let limits = LaneLimits { messages_max: 1, bytes_max: self.shared.item_bytes_max.into() };
        self.link(ConsumerOptions { policy: Policy::DropNewest, limits, age_max: None })
    }

    fn act<R>(&self, act: impl FnOnce(&mut State<T>, core::Instant) -> R) -> R {
        self.shared.act(Concerned::Name(&self.name), act)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an item for all consumers there are, and says how many. What is for nobody is not kept.
    ///
    /// # Errors
    /// [`WriteError::Full`], [`WriteError::TooLarge`]: nothing changed, and the item is given back.
    pub fn write(&self, value: T) -> Result<u32, Refused<T>> {
        self.act(|state, now| state.streams.write(&self.name, value, now))
    }

    /// Writes an item for one consumer, in its order with what is for all. It counts for that one alone.
    ///
    /// # Errors
    /// Nothing changed, and the item is given back.
    pub fn write_to(&self, id: NamedConsumerId, value: T) -> Result<(), Refused<T>> {
        self.shared.act(Concerned::Stream(id.stream), |state, now| state.streams.write_to(id, value, now))
    }

    /// Whether a write of any size would be taken now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.act(|state, now| state.streams.has_room(&self.name, now))
    }

    /// Whether every consumer that refused a write is at or below its low mark since then, or has ended.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.shared.look(|streams, _| streams.is_drained(&self.name))
    }

    /// Ends all consumers behind what waits for them, with this value. Consumers that are made later are not concerned.
    #[expect(clippy::needless_pass_by_value, reason = "most have it to give away")]
    pub fn close(&self, value: Option<T>) {
        self.act(|state, _| state.streams.close(&self.name, value.as_ref()));
    }

    /// Ends all consumers now, with this value: what waits for them is lost. Consumers that are made later are not
    /// concerned.
    #[expect(clippy::needless_pass_by_value, reason = "most have it to give away")]
    pub fn kill(&self, value: Option<T>) {
        self.act(|state, _| state.streams.kill(&self.name, value.as_ref()));
    }

    /// Ends one consumer behind what waits for it. Whether it was there.
    #[expect(clippy::needless_pass_by_value, reason = "most have it to give away")]
    pub fn close_consumer(&self, id: NamedConsumerId, value: Option<T>) -> bool {
        self.shared.act(Concerned::Stream(id.stream), |state, _| state.streams.close_consumer(id, value.as_ref()))
    }

    /// Ends one consumer now: what waits for it is lost. Whether it was there.
    #[expect(clippy::needless_pass_by_value, reason = "most have it to give away")]
    pub fn kill_consumer(&self, id: NamedConsumerId, value: Option<T>) -> bool {
        self.shared.act(Concerned::Stream(id.stream), |state, _| state.streams.kill_consumer(id, value.as_ref()))
    }

    /// How much waits.
    #[must_use]
    pub fn pressure(&self) -> StreamPressure {
        self.shared
            .look(|streams, now| streams.stream(&self.name).map(|stream| stream.pressure(now)).unwrap_or_default())
    }

    /// Its consumers; those that have ended and were not told yet are among them.
    #[must_use]
    pub fn consumers(&self) -> Vec<(NamedConsumerId, ConsumerStats)> {
        self.shared.look(|streams, now| streams.consumers(&self.name, now).collect())
    }

    /// Writes; where there is no room, waits for it.
    ///
    /// # Errors
    /// [`WriteError::Full`] at `deadline`; as [`write`](Self::write) otherwise.
    #[doc(hidden)]
    pub fn write_until(&self, mut value: T, deadline: Option<Instant>) -> Result<u32, Refused<T>> {
        loop {
            match self.write(value) {
                Err(Refused { error: WriteError::Full, value: again }) if self.wait_drained(deadline) => value = again,
                result => return result,
            }
        }
    }

    /// Writes; where there is no room, waits for it. Dropped before it is done, it wrote nothing.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`].
    #[doc(hidden)]
    pub async fn write_async(&self, mut value: T) -> Result<u32, Refused<T>> {
        loop {
            match self.write(value) {
                Err(Refused { error: WriteError::Full, value: again }) => value = again,
                result => return result,
            }
            self.wait_drained_async().await;
        }
    }

    /// Waits until [`is_drained`](Self::is_drained), or until `deadline`: false.
    #[doc(hidden)]
    #[must_use]
    pub fn wait_drained(&self, deadline: Option<Instant>) -> bool {
        while let Some(waiter) = self.awaits() {
            if waiter.gate.block(deadline, |is_open| is_open.then_some(())).is_none() {
                return false;
            }
        }
        true
    }

    /// Waits until [`is_drained`](Self::is_drained).
    #[doc(hidden)]
    pub async fn wait_drained_async(&self) {
        while let Some(waiter) = self.awaits() {
            waiter.gate.until(|is_open| is_open.then_some(())).await;
        }
    }

    /// Somebody who waits until it is drained, unless it is.
    fn awaits(&self) -> Option<Waiter<'_, T>> {
        let state = &mut *lock(&self.shared.state);
        let stream = state.streams.id(&self.name).filter(|stream| !state.streams.is_stream_drained(*stream))?;
        Some(Waiter { shared: &self.shared, stream, gate: state.awaited.enter(stream) })
    }

    /// Waits until a write of any size would be taken, or until `deadline`: false.
    #[doc(hidden)]
    #[must_use]
    pub fn wait_ready(&self, deadline: Option<Instant>) -> bool {
        loop {
            if self.has_room() {
                return true;
            }
            if !self.wait_drained(deadline) {
                return false;
            }
        }
    }

    /// Waits until a write of any size would be taken.
    #[doc(hidden)]
    pub async fn wait_ready_async(&self) {
        while !self.has_room() {
            self.wait_drained_async().await;
        }
    }
}

/// Who waits at the gate of a stream. Dropped, it does not any more.
struct Waiter<'a, T> {
    shared: &'a Shared<T>,
    stream: StreamId,
    gate: Arc<Gate<bool>>,
}

impl<T> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        lock(&self.shared.state).awaited.leave(self.stream, &self.gate);
    }
}

/// One consumer. Dropped, it is removed.
pub struct ConsumerLink<T: Clone> {
    shared: Arc<Shared<T>>,
    id: NamedConsumerId,
    bell: Arc<Gate<bool>>,
    place: Place,
    end: Option<End<T>>,
}

/// No item is ever pinned in it.
impl<T: Clone> Unpin for ConsumerLink<T> {}

impl<T: Clone> fmt::Debug for ConsumerLink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<T: Clone> ConsumerLink<T> {
    /// Names it, for [`StreamLink::write_to`] and the like.
    #[must_use]
    pub fn id(&self) -> NamedConsumerId {
        self.id
    }

    /// How it ended, once that was told by the end of its entries.
    #[must_use]
    pub fn end(&self) -> Option<&End<T>> {
        self.end.as_ref()
    }

    /// What there is to know of it, until its end was told.
    #[must_use]
    pub fn stats(&self) -> Option<ConsumerStats> {
        self.shared.look(|streams, now| streams.consumer(self.id, now))
    }

    /// What there is now: an entry, nothing (`None`), or nothing any more.
    fn take(&mut self) -> Option<Result<Entry<T>, NextError>> {
        if self.end.is_some() {
            return Some(Err(NextError::Ended));
        }
        let next = self.shared.act(Concerned::Stream(self.id.stream), |state, now| {
            let next = state.streams.next(self.id, now);
            if let Next::Done(_) = next {
                state.bells.remove(&self.id);
            }
            next
        });
        match next {
            Next::Entry(entry) => Some(Ok(entry)),
            Next::Empty => None,
            Next::Done(end) => {
                self.end = Some(end);
                Some(Err(NextError::Ended))
            }
        }
    }

    /// The next entry; blocks for it until `deadline`. Whoever gives up has missed nothing.
    ///
    /// # Errors
    /// Nothing in time, or nothing any more.
    pub fn next_until(&mut self, deadline: Option<Instant>) -> Result<Entry<T>, NextError> {
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            let rung = self.bell.block(deadline, |is_rung| std::mem::take(is_rung).then_some(()));
            rung.ok_or(NextError::TimedOut)?;
        }
    }

    /// The next entry, if there is one; otherwise the task is woken when there is.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Entry<T>>> {
        loop {
            if let Some(taken) = self.take() {
                return Poll::Ready(taken.ok());
            }
            ready!(self.bell.poll(&mut self.place, context, |is_rung| std::mem::take(is_rung).then_some(())));
        }
    }
}

impl<T: Clone> Drop for ConsumerLink<T> {
    fn drop(&mut self) {
        self.shared.act(Concerned::Stream(self.id.stream), |state, now| {
            state.bells.remove(&self.id);
            state.streams.remove(self.id, now);
        });
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
