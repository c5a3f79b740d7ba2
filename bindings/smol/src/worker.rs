//! What a worker waits with: one task, one poller.
//!
//! The poller holds all sockets of the worker, level-triggered, and is itself one readable thing to smol's reactor. So a
//! connection costs what it costs `forebay-threads` (a reactor's source of its own would be some 250 bytes and, as those
//! are one-shot, a system call per wake), and the reactor is asked once per sleep, however many sockets woke it.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use forebay_shell::Wake;
use forebay_sys::{Events, Poller};
use smol::future::{self, FutureExt};
use smol::{Async, Timer};

/// What a poller tells at a time.
const EVENTS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// A timer this much too late is left as it is, because setting one wakes the reactor.
const TIMER_SLACK: Duration = Duration::from_micros(500);
/// How long the task works at a time, plus the rest of a turn. Letting others have theirs makes smol ask its reactor, which is
/// half a dozen system calls, too many for each message of a busy connection.
const WORK_MAX: Duration = Duration::from_millis(1);

/// A poller and what it told.
pub(crate) struct Waiter {
    /// Before `poller`, so that the reactor forgets it before it is closed.
    readiness: Async<Arc<Poller>>,
    pub(crate) poller: Arc<Poller>,
    pub(crate) wake: Arc<Wake>,
    /// The task, while it sleeps.
    task: Arc<Mutex<Option<Waker>>>,
    timer: Timer,
    /// When `timer` fires, if it does.
    timer_at: Option<Instant>,
    /// Since when no other task of this thread had its turn.
    works_since: Instant,
    events: Events,
}

impl Waiter {
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let task = Arc::new(Mutex::new(None::<Waker>));
        let wake = Arc::new(Wake::new({
            let task = Arc::clone(&task);
            move || {
                let waker = task.lock().unwrap_or_else(PoisonError::into_inner).take();
                waker.into_iter().for_each(Waker::wake);
            }
        }));
        Ok(Self {
            readiness: Async::new_nonblocking(Arc::clone(&poller))?,
            poller,
            wake,
            task,
            timer: Timer::never(),
            timer_at: None,
            works_since: Instant::now(),
            events: Events::with_capacity(EVENTS_MAX),
        })
    }

    /// Waits for sockets, but not if there is work, and not longer than `timeout`; says what they told.
    pub(crate) async fn wait(&mut self, timeout: Option<Duration>, has_work: impl Fn() -> bool) -> io::Result<&Events> {
        // While there is something to do the reactor is left alone.
        if self.gather()? || has_work() || timeout == Some(Duration::ZERO) {
            if self.works_since.elapsed() >= WORK_MAX {
                future::yield_now().await;
                self.works_since = Instant::now();
            }
            return Ok(&self.events);
        }
        self.set_timer(timeout);
        let slept = future::poll_fn(|context| self.poll_sleep(context, &has_work)).await;
        self.wake.end_sleep();
        self.works_since = Instant::now();
        slept?;
        self.gather()?;
        Ok(&self.events)
    }

    /// Takes what the sockets have to tell; whether that is anything.
    fn gather(&mut self) -> io::Result<bool> {
        self.events.clear();
        match self.poller.wait(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(!self.events.is_empty()),
        }
    }

    /// One timer per worker. Moved only to be earlier: one that fires too early costs a turn, moving it a system call.
    fn set_timer(&mut self, timeout: Option<Duration>) {
        let Some(at) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) else { return };
        if self.timer_at.is_none_or(|timer_at| at + TIMER_SLACK < timer_at) {
            self.timer.set_at(at);
            self.timer_at = Some(at);
        }
    }

    fn poll_sleep(&mut self, context: &mut Context<'_>, has_work: impl Fn() -> bool) -> Poll<io::Result<()>> {
        match &mut *self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(known) => known.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        self.wake.begin_sleep();
        // Only now: what comes later wakes.
        if has_work() {
            return Poll::Ready(Ok(()));
        }
        if self.timer_at.is_some() && self.timer.poll(context).is_ready() {
            self.timer_at = None;
            return Poll::Ready(Ok(()));
        }
        self.readiness.poll_readable(context)
    }
}
