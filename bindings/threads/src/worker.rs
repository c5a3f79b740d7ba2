//! What a worker waits with: one thread, one poller.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use forebay_shell::Wake;
use forebay_sys::{Events, Poller};

/// What a poller tells at a time.
const EVENTS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// A poller and what it told.
pub(crate) struct Waiter {
    pub(crate) poller: Arc<Poller>,
    pub(crate) wake: Arc<Wake>,
    events: Events,
}

impl Waiter {
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let wake = Arc::new(Wake::new({
            let poller = Arc::clone(&poller);
            move || {
                // It fails only for a poller that is not there.
                if let Err(error) = poller.notify() {
                    log::error!("a worker cannot be woken: {error}");
                }
            }
        }));
        Ok(Self { poller, wake, events: Events::with_capacity(EVENTS_MAX) })
    }

    /// Waits for sockets, but not if there is work, and not longer than `timeout`; says what they told.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, has_work: impl Fn() -> bool) -> io::Result<&Events> {
        self.events.clear();
        self.wake.begin_sleep();
        // Only now: what comes later wakes.
        let timeout = if has_work() { Some(Duration::ZERO) } else { timeout };
        let result = self.poller.wait(&mut self.events, timeout);
        self.wake.end_sleep();
        match result {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(&self.events),
        }
    }
}
