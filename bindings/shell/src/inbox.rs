//! What a consumer asked for, on its way from the hub.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::mailbox::lock;

/// How many entries one request of a consumer brings at most, so that a context switch is not paid per message.
pub const BATCH_MAX: usize = 512;
/// How many payload bytes one request brings, plus the rest of the last message.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// One batch, handed over because it was asked for; everything else waits in the hub, where bounds and policies hold.
#[derive(Debug)]
pub struct Inbox<T, E> {
    state: Mutex<State<T, E>>,
    ready: Condvar,
    /// The consumer has nothing and waits.
    is_asked: AtomicBool,
}

#[derive(Debug)]
struct State<T, E> {
    batch: VecDeque<T>,
    end: Option<E>,
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
        let state = Mutex::new(State { batch: VecDeque::new(), end: None });
        Self { state, ready: Condvar::new(), is_asked: AtomicBool::new(false) }
    }
}

impl<T, E: Clone> Inbox<T, E> {
    /// The next entry; waits for it until `deadline`. `ask` is called, without a lock, when the worker has to be told
    /// that something is wanted.
    ///
    /// # Errors
    /// Nothing in time, or nothing ever.
    pub fn next(&self, deadline: Option<Instant>, ask: impl Fn()) -> Result<T, Nothing<E>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(entry) = state.batch.pop_front() {
                return Ok(entry);
            }
            if let Some(end) = &state.end {
                return Err(Nothing::Ended(end.clone()));
            }
            if !self.is_asked.swap(true, SeqCst) {
                drop(state);
                ask();
                state = lock(&self.state);
                continue;
            }
            state = match deadline {
                None => self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Nothing::TimedOut);
                    }
                    self.ready.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
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
        let mut state = lock(&self.state);
        state.batch.extend(batch.drain(..));
        self.is_asked.store(false, SeqCst);
        drop(state);
        self.ready.notify_all();
    }

    /// There will be nothing more behind what was handed over.
    pub fn end(&self, end: E) {
        lock(&self.state).end.get_or_insert(end);
        self.ready.notify_all();
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
