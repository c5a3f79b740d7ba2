//! What a worker waits with where a poller is not itself something that can be waited for (Windows): a thread of smol's
//! blocking pool. At most 500 servers and clients of a process can sleep at a time.

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
    /// Not there while the pool's thread has them.
    events: Option<Events>,
}

impl Waiter {
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let wake = Arc::new(Wake::new({
            let poller = Arc::clone(&poller);
            move || notify(&poller)
        }));
        Ok(Self { poller, wake, events: Some(Events::with_capacity(EVENTS_MAX)) })
    }

    /// Waits for sockets, but not if there is work, and not longer than `timeout`; says what they told.
    pub(crate) async fn wait(&mut self, timeout: Option<Duration>, has_work: impl Fn() -> bool) -> io::Result<&Events> {
        let mut events = self.events.take().unwrap_or_else(|| Events::with_capacity(EVENTS_MAX));
        events.clear();
        let mut result = self.poller.wait(&mut events, Some(Duration::ZERO));
        if result.is_err() || !events.is_empty() || has_work() || timeout == Some(Duration::ZERO) {
            smol::future::yield_now().await;
        } else {
            self.wake.begin_sleep();
            // Only now: what comes later wakes.
            let timeout = if has_work() { Some(Duration::ZERO) } else { timeout };
            let poller = Arc::clone(&self.poller);
            (events, result) = smol::unblock(move || {
                let result = poller.wait(&mut events, timeout);
                (events, result)
            })
            .await;
            self.wake.end_sleep();
        }
        let events = self.events.insert(events);
        match result {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(events),
        }
    }
}

impl Drop for Waiter {
    /// The pool's thread may still wait.
    fn drop(&mut self) {
        notify(&self.poller);
    }
}

fn notify(poller: &Poller) {
    // It fails only for a poller that is not there.
    if let Err(error) = poller.notify() {
        log::error!("a worker cannot be woken: {error}");
    }
}
