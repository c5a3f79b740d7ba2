//! A worker: one thread, one poller, one hub.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_core::{Event, Hub, Instant, Stats};
use forebay_shell::{Application, Calls, Command, Driver, Mailbox, Wake};
use forebay_sys::Watched;
use polling::{Events, Poller};

use crate::accept::{Acceptor, LISTENER};

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

    /// Waits for sockets, but not if there is work, and not longer than `timeout`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, has_work: impl FnOnce() -> bool) -> io::Result<()> {
        self.events.clear();
        self.wake.begin_sleep();
        // Only now: what comes later wakes.
        let timeout = if has_work() { Some(Duration::ZERO) } else { timeout };
        let result = self.poller.wait(&mut self.events, timeout);
        self.wake.end_sleep();
        match result {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Tells the driver what was told; whether the listener has something.
    pub(crate) fn dispatch(&self, driver: &mut Driver<Watched<TcpStream>>) -> bool {
        let mut is_listener_ready = false;
        for event in self.events.iter() {
            if event.key == LISTENER {
                is_listener_ready = true;
                continue;
            }
            if event.readable {
                driver.readable(event.key);
            }
            if event.writable {
                driver.writable(event.key);
            }
        }
        is_listener_ready
    }
}

/// What other threads know of a worker.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) mailbox: Mailbox<Command>,
    /// The numbers it stopped with.
    pub(crate) last_stats: Mutex<Stats>,
}

/// A server's worker.
pub(crate) struct Worker {
    pub(crate) waiter: Waiter,
    pub(crate) driver: Driver<Watched<TcpStream>>,
    pub(crate) calls: Calls,
    pub(crate) acceptor: Option<Acceptor>,
    pub(crate) link: Arc<Link>,
    pub(crate) drain_timeout: Duration,
}

struct Listening<'a, F> {
    calls: &'a mut Calls,
    on_event: &'a mut F,
}

impl<F: FnMut(&mut Hub, Event, Instant)> Application for Listening<'_, F> {
    fn before_events(&mut self, hub: &mut Hub, now: Instant) {
        self.calls.before_events(hub, now);
    }

    fn event(&mut self, hub: &mut Hub, event: Event, now: Instant) {
        self.calls.event(hub, event, now);
        (self.on_event)(hub, event, now);
    }
}

impl Worker {
    /// Works until it is shut down and drained.
    pub(crate) fn run(mut self, mut on_event: impl FnMut(&mut Hub, Event, Instant)) -> io::Result<()> {
        let mut commands = VecDeque::new();
        let mut drain_until: Option<Instant> = None;
        loop {
            let application = &mut Listening { calls: &mut self.calls, on_event: &mut on_event };
            let timeout = self.driver.turn(application);
            let now = self.driver.now();
            if let Some(until) = drain_until {
                let is_drained = now >= until || self.calls.is_drained(self.driver.hub());
                if is_drained && self.driver.is_empty() && timeout != Some(Duration::ZERO) {
                    return Ok(());
                }
            }
            let deadlines = [
                timeout,
                self.acceptor.as_ref().and_then(Acceptor::deadline).map(|at| at.since(now)),
                drain_until.filter(|until| *until > now).map(|until| until.since(now)),
            ];
            let timeout = deadlines.into_iter().flatten().min();
            self.waiter.wait(timeout, || !self.link.mailbox.is_empty())?;
            self.driver.tick();
            let is_listener_ready = self.waiter.dispatch(&mut self.driver);
            if let Some(acceptor) = &mut self.acceptor {
                acceptor.accept(&mut self.driver, is_listener_ready)?;
            }
            self.link.mailbox.take(&mut commands);
            let now = self.driver.now();
            for command in commands.drain(..) {
                self.calls.carry_out(self.driver.hub(), command, now);
            }
            if self.calls.is_shut_down() && drain_until.is_none() {
                self.acceptor = None;
                let until = now + self.drain_timeout;
                self.driver.hub().drain(until, now);
                drain_until = Some(until);
            }
        }
    }
}

impl Drop for Worker {
    /// However it ends, nobody waits for it in vain.
    fn drop(&mut self) {
        *self.link.last_stats.lock().unwrap_or_else(PoisonError::into_inner) = *self.driver.hub().stats();
        self.link.mailbox.close();
    }
}
