//! A state whose changes threads and tasks wait for.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Locks, even if another thread panicked meanwhile: what these locks protect is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A state under a lock. Who waits is not a matter of the state: a thread blocks, a task leaves its waker.
#[derive(Debug, Default)]
pub(crate) struct Gate<S> {
    guarded: Mutex<Guarded<S>>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Guarded<S> {
    state: S,
    threads: usize,
    tasks: BTreeMap<u64, Waker>,
    serial: u64,
}

/// Where a task's waker stands while it waits.
#[derive(Debug, Default)]
pub struct Place(Option<u64>);

impl<S> Gate<S> {
    pub(crate) fn new(state: S) -> Self {
        let guarded = Guarded { state, threads: 0, tasks: BTreeMap::new(), serial: 0 };
        Self { guarded: Mutex::new(guarded), changed: Condvar::new() }
    }

    /// Looks at the state, or changes it in a way nobody waits for.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut lock(&self.guarded).state)
    }

    /// Changes the state. If `change` says so, whoever waits attempts again.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut S) -> (T, bool)) -> T {
        let mut guarded = lock(&self.guarded);
        let (result, is_awaited) = change(&mut guarded.state);
        if is_awaited {
            let has_threads = guarded.threads > 0;
            let tasks = std::mem::take(&mut guarded.tasks);
            drop(guarded);
            if has_threads {
                self.changed.notify_all();
            }
            tasks.into_values().for_each(Waker::wake);
        }
        result
    }

    /// Attempts something, again after every change, until it yields a result. `None`: not until `deadline`.
    pub(crate) fn block<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut S) -> Option<T>,
    ) -> Option<T> {
        let mut guarded = lock(&self.guarded);
        loop {
            if let Some(result) = attempt(&mut guarded.state) {
                return Some(result);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            guarded.threads += 1;
            guarded = match left {
                None => self.changed.wait(guarded).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.changed.wait_timeout(guarded, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            guarded.threads -= 1;
        }
    }

    /// Attempts something; if it yields nothing, the task is woken after the next change.
    pub(crate) fn poll<T>(
        &self,
        place: &mut Place,
        context: &mut Context<'_>,
        attempt: impl FnOnce(&mut S) -> Option<T>,
    ) -> Poll<T> {
        let mut guarded = lock(&self.guarded);
        match attempt(&mut guarded.state) {
            Some(result) => {
                guarded.leave(place);
                Poll::Ready(result)
            }
            None => {
                guarded.enter(place, context.waker());
                Poll::Pending
            }
        }
    }

    /// Attempts something, again after every change, until it yields a result. Dropped, it waits no longer.
    pub(crate) async fn until<T>(&self, mut attempt: impl FnMut(&mut S) -> Option<T>) -> T {
        let mut waiting = self.waiting();
        std::future::poll_fn(|context| self.poll(&mut waiting.place, context, &mut attempt)).await
    }

    /// A place that is given up when it is dropped.
    pub(crate) fn waiting(&self) -> Waiting<'_, S> {
        Waiting { gate: self, place: Place::default() }
    }
}

impl<S> Guarded<S> {
    fn enter(&mut self, place: &mut Place, waker: &Waker) {
        if let Some(known) = place.0.and_then(|serial| self.tasks.get_mut(&serial)) {
            return known.clone_from(waker);
        }
        self.serial += 1;
        self.tasks.insert(self.serial, waker.clone());
        place.0 = Some(self.serial);
    }

    fn leave(&mut self, place: &mut Place) {
        place.0.take().into_iter().for_each(|serial| drop(self.tasks.remove(&serial)));
    }
}

/// A task that waits, and is forgotten when it does not any more: who gives up leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Waiting<'a, S> {
    gate: &'a Gate<S>,
    pub(crate) place: Place,
}

impl<S> Drop for Waiting<'_, S> {
    fn drop(&mut self) {
        if self.place.0.is_some() {
            lock(&self.gate.guarded).leave(&mut self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn take(state: &mut u32) -> Option<u32> {
        (*state > 0).then(|| std::mem::take(state))
    }

    #[test]
    fn tasks_are_woken_once_per_change_and_forgotten_when_they_give_up() {
        let gate = Gate::new(0_u32);
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&counter));
        let mut context = Context::from_waker(&waker);
        {
            let (mut one, mut other) = (pin!(gate.until(take)), pin!(gate.until(take)));
            for _ in 0..3 {
                assert_eq!(one.as_mut().poll(&mut context), Poll::Pending);
                assert_eq!(other.as_mut().poll(&mut context), Poll::Pending);
            }
            assert_eq!(lock(&gate.guarded).tasks.len(), 2, "one place each");
            gate.change(|state| (*state = 7, false));
            assert_eq!(counter.0.load(SeqCst), 0, "nobody waits for that");
            gate.change(|_| ((), true));
            assert_eq!(counter.0.load(SeqCst), 2);
            assert_eq!(one.as_mut().poll(&mut context), Poll::Ready(7));
            assert_eq!(other.as_mut().poll(&mut context), Poll::Pending);
            assert_eq!(lock(&gate.guarded).tasks.len(), 1);
        }
        assert_eq!(lock(&gate.guarded).tasks.len(), 0);
    }

    #[test]
    fn a_thread_waits_for_a_change_or_for_its_deadline() {
        let gate = Arc::new(Gate::new(0_u32));
        assert_eq!(gate.block(Some(Instant::now() + Duration::from_millis(1)), take), None);
        let waiting = std::thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.block(None, take)
        });
        gate.change(|state| (*state = 1, true));
        assert_eq!(waiting.join().unwrap(), Some(1));
        assert_eq!(lock(&gate.guarded).threads, 0);
    }
}
