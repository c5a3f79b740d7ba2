//! The answer to one command, waited for by a thread or by a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::gate::lock;

#[derive(Debug)]
enum State<T> {
    Awaited(Option<Waker>),
    Answered(T),
    /// Nobody waits any more, or nobody will answer.
    Over,
}

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
}

/// Where a command is answered. Dropped without an answer it tells so.
#[derive(Debug)]
pub struct Answer<T>(Arc<Slot<T>>);

/// Where the answer is waited for.
#[derive(Debug)]
pub struct Reply<T>(Arc<Slot<T>>);

/// An answer and where to wait for it.
#[must_use]
pub fn reply<T>() -> (Answer<T>, Reply<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Awaited(None)), answered: Condvar::new() });
    (Answer(Arc::clone(&slot)), Reply(slot))
}

impl<T> Answer<T> {
    /// Answers.
    pub fn give(self, value: T) {
        self.attempt(|| Some(value));
    }

    /// Whether somebody waits for it.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(&*lock(&self.0.state), State::Awaited(_))
    }

    /// Does something that may give the answer, unless nobody waits for it any more: who gives up waiting knows for
    /// certain that it was not and will not be done. Says whether the matter is settled.
    pub fn attempt(&self, act: impl FnOnce() -> Option<T>) -> bool {
        let mut state = lock(&self.0.state);
        let State::Awaited(waker) = &mut *state else { return true };
        let Some(value) = act() else { return false };
        let waker = waker.take();
        *state = State::Answered(value);
        drop(state);
        self.0.answered.notify_one();
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if let State::Awaited(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Over;
            drop(state);
            self.0.answered.notify_one();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> Reply<T> {
    /// Waits; `None` if there will be no answer.
    #[must_use]
    pub fn wait(self) -> Option<T> {
        self.wait_until(None).ok().flatten()
    }

    /// Waits for at most `timeout`; `None` if there will be no answer.
    ///
    /// # Errors
    /// The time is over: there was no answer and there will be none.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Option<T>, TimedOut> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Waits until `deadline` (`None`: for ever); `None` if there will be no answer.
    ///
    /// # Errors
    /// It is over: there was no answer and there will be none.
    pub fn wait_until(self, deadline: Option<Instant>) -> Result<Option<T>, TimedOut> {
        let mut state = lock(&self.0.state);
        loop {
            match std::mem::replace(&mut *state, State::Over) {
                State::Answered(value) => return Ok(Some(value)),
                State::Over => return Ok(None),
                State::Awaited(waker) => {
                    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                    if left == Some(Duration::ZERO) {
                        return Err(TimedOut);
                    }
                    *state = State::Awaited(waker);
                    state = match left {
                        None => self.0.answered.wait(state).unwrap_or_else(PoisonError::into_inner),
                        Some(left) => {
                            self.0.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                        }
                    };
                }
            }
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let unread = std::mem::replace(&mut *lock(&self.0.state), State::Over);
        drop(unread);
    }
}

/// There was no answer in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOut;

impl<T> Future for Reply<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0.state);
        match std::mem::replace(&mut *state, State::Over) {
            State::Answered(value) => Poll::Ready(Some(value)),
            State::Over => Poll::Ready(None),
            State::Awaited(_) => {
                *state = State::Awaited(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_arrives_and_a_dropped_one_is_told() {
        let (answer, waits) = reply();
        let waiting = std::thread::spawn(move || waits.wait());
        answer.give(7);
        assert_eq!(waiting.join().unwrap(), Some(7));

        let (answer, waits) = reply::<u32>();
        let waiting = std::thread::spawn(move || waits.wait());
        drop(answer);
        assert_eq!(waiting.join().unwrap(), None);
    }

    #[test]
    fn after_giving_up_nothing_is_done() {
        let (answer, waits) = reply::<u32>();
        assert!(!answer.attempt(|| None), "not yet");
        assert_eq!(waits.wait_timeout(Duration::ZERO), Err(TimedOut));
        assert!(answer.attempt(|| panic!("nobody waits")));
    }

    #[test]
    fn a_task_may_wait() {
        let (answer, mut waits) = reply();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut waits).poll(&mut context), Poll::Pending);
        answer.give(1);
        assert_eq!(Pin::new(&mut waits).poll(&mut context), Poll::Ready(Some(1)));
    }
}
