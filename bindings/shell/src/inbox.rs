//! What a consumer asked for, on its way from the hub.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::gate::{Gate, Place};

/// How many entries one request of a consumer brings at most, so that a context switch is not paid per message.
pub const BATCH_MAX: usize = 512;
/// How many payload bytes one request brings, plus the rest of the last message.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// One batch, handed over because it was asked for; everything else waits in the hub, where bounds and policies hold.
#[derive(Debug)]
pub struct Inbox<T, E> {
    state: Gate<State<T, E>>,
    /// The consumer has nothing and waits.
    is_asked: AtomicBool,
}

#[derive(Debug)]
struct State<T, E> {
    batch: VecDeque<T>,
    end: Option<E>,
}

impl<T, E: Clone> State<T, E> {
    fn take(&mut self) -> Option<Result<T, E>> {
        self.batch.pop_front().map(Ok).or_else(|| self.end.clone().map(Err))
    }
}

/// There was no entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nothing<E> {
    /// In time.
    TimedOut,
    /// And there will be none, for this reason.
    Ended(E),
}

impl<T, E> Default for Inbox<T, E> {
    fn default() -> Self {
        let state = State { batch: VecDeque::new(), end: None };
        Self { state: Gate::new(state), is_asked: AtomicBool::new(false) }
    }
}

impl<T, E: Clone> Inbox<T, E> {
    /// The next entry; blocks for it until `deadline`. `ask` is called, without a lock, when the worker has to be told
    /// that something is wanted.
    ///
    /// # Errors
    /// Nothing in time, or nothing ever.
    pub fn next(&self, deadline: Option<Instant>, ask: impl Fn()) -> Result<T, Nothing<E>> {
        loop {
            // Yields nothing where it has to be asked, also because somebody else took all that was asked for.
            let attempt = |state: &mut State<T, E>| {
                state.take().map(Some).or_else(|| (!self.is_asked.swap(true, SeqCst)).then_some(None))
            };
            match self.state.block(deadline, attempt).ok_or(Nothing::TimedOut)? {
                Some(taken) => return taken.map_err(Nothing::Ended),
                None => ask(),
            }
        }
    }

    /// The next entry; waits for it. `ask` as for [`next`](Self::next). Dropped before it is done, it took nothing.
    ///
    /// # Errors
    /// There will be none.
    pub async fn next_async(&self, ask: impl Fn()) -> Result<T, E> {
        let mut waiting = self.state.waiting();
        std::future::poll_fn(|context| self.poll_next(&mut waiting.place, context, &ask)).await
    }

    /// The next entry; if there is none, the task is woken. `ask` as for [`next`](Self::next).
    pub fn poll_next(&self, place: &mut Place, context: &mut Context<'_>, ask: impl Fn()) -> Poll<Result<T, E>> {
        let mut has_to_ask = false;
        let polled = self.state.poll(place, context, |state| {
            let taken = state.take();
            has_to_ask = taken.is_none() && !self.is_asked.swap(true, SeqCst);
            taken
        });
        if has_to_ask {
            ask(); // What it brings wakes the task.
        }
        polled
    }

    /// Whether the consumer waits for a batch.
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(SeqCst)
    }

    /// Hands over what was asked for; nothing is not handed over.
    pub fn give(&self, batch: &mut Vec<T>) {
        if batch.is_empty() {
            return;
        }
        self.state.change(|state| {
            state.batch.extend(batch.drain(..));
            self.is_asked.store(false, SeqCst);
            ((), true)
        });
    }

    /// There will be nothing more behind what was handed over.
    pub fn end(&self, end: E) {
        self.state.change(|state| {
            state.end.get_or_insert(end);
            ((), true)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_consumer_asks_once_and_takes_what_came_before_the_end() {
        let inbox = Inbox::<u32, &str>::default();
        let asked = std::cell::Cell::new(0);
        let now = Some(Instant::now());
        let take = || inbox.next(now, || asked.set(asked.get() + 1));
        assert_eq!(take(), Err(Nothing::TimedOut));
        assert_eq!(take(), Err(Nothing::TimedOut));
        assert!(inbox.is_asked());
        inbox.give(&mut vec![1, 2]);
        assert!(!inbox.is_asked());
        inbox.end("gone");
        inbox.end("too late");
        assert_eq!((take(), take()), (Ok(1), Ok(2)));
        assert_eq!(take(), Err(Nothing::Ended("gone")));
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn a_waiting_consumer_is_released() {
        let inbox = Arc::new(Inbox::<u32, ()>::default());
        let waiting = std::thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || (inbox.next(None, || {}), inbox.next(None, || {}))
        });
        inbox.give(&mut vec![1]);
        inbox.end(());
        assert_eq!(waiting.join().unwrap(), (Ok(1), Err(Nothing::Ended(()))));
    }
}
