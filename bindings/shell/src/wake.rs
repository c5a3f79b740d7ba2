//! Waking a worker only when it sleeps.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Wakes a worker. Costs one load while the worker is awake, so that a pipeline of commands costs no system call each.
///
/// A worker calls [`begin_sleep`](Self::begin_sleep), *then* looks whether there is something to do, then sleeps. Others
/// first leave something to do, then call [`wake`](Self::wake). All is sequentially consistent: one of the two sees the
/// other.
pub struct Wake {
    is_sleeping: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Wake {
    /// Wakes by calling `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { is_sleeping: AtomicBool::new(false), wake: Box::new(wake) }
    }

    /// Wakes the worker if it sleeps, or is about to. To be called without a lock: it may be a system call.
    pub fn wake(&self) {
        if self.is_sleeping.load(SeqCst) && self.is_sleeping.swap(false, SeqCst) {
            (self.wake)();
        }
    }

    /// From now on the worker has to be woken.
    pub fn begin_sleep(&self) {
        self.is_sleeping.store(true, SeqCst);
    }

    /// The worker is awake.
    pub fn end_sleep(&self) {
        self.is_sleeping.store(false, SeqCst);
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake").field("is_sleeping", &self.is_sleeping).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn only_a_sleeper_is_woken_and_once() {
        let count = Arc::new(AtomicU32::new(0));
        let wake = Wake::new({
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(1, SeqCst);
            }
        });
        wake.wake();
        assert_eq!(count.load(SeqCst), 0, "it works");
        wake.begin_sleep();
        wake.wake();
        wake.wake();
        assert_eq!(count.load(SeqCst), 1, "it sleeps, and is woken once");
        wake.begin_sleep();
        wake.end_sleep();
        wake.wake();
        assert_eq!(count.load(SeqCst), 1);
    }
}
