//! A poller where there is no epoll: that of the crate `polling`.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use polling::{AsRawSource as _, PollMode};

use crate::{Event, Source};

/// Tells of many sockets which of them can be read or written to.
#[derive(Debug)]
pub struct Poller(polling::Poller);

impl Poller {
    /// A poller that tells nothing yet.
    ///
    /// # Errors
    /// The system refused.
    pub fn new() -> io::Result<Self> {
        polling::Poller::new().map(Self)
    }

    /// Whether it tells the same again as long as it is so, or else once until it is asked again.
    #[must_use]
    pub fn supports_level(&self) -> bool {
        self.0.supports_level()
    }

    /// Ends a wait: the one that is under way, or the next.
    ///
    /// # Errors
    /// The system refused.
    pub fn notify(&self) -> io::Result<()> {
        self.0.notify()
    }

    /// Waits for something to tell, not longer than `timeout`.
    ///
    /// # Errors
    /// The system refused; or a signal came ([`io::ErrorKind::Interrupted`]).
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.0.clear();
        self.0.wait(&mut events.0, timeout).map(drop)
    }

    fn mode(&self) -> PollMode {
        if self.supports_level() { PollMode::Level } else { PollMode::Oneshot }
    }

    pub(crate) fn add<S: Source>(&self, source: &S, interest: Event) -> io::Result<()> {
        // SAFETY: only `Watched` calls this. It owns the socket, which nobody can close or exchange through the `&S` that is
        // lent, and its `drop` deletes it from this same poller, which its `Arc` keeps alive, before it is closed. Should
        // it be forgotten, the socket stays open.
        unsafe { self.0.add_with_mode(source.raw(), event(interest), self.mode()) }
    }

    pub(crate) fn modify<S: Source>(&self, source: &S, interest: Event) -> io::Result<()> {
        self.0.modify_with_mode(source, event(interest), self.mode())
    }

    pub(crate) fn delete<S: Source>(&self, source: &S) -> io::Result<()> {
        self.0.delete(source)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Poller {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn event(Event { key, readable, writable }: Event) -> polling::Event {
    polling::Event::new(key, readable, writable)
}

/// What a poller has told.
#[derive(Debug)]
pub struct Events(polling::Events);

impl Events {
    /// Room for so many at a time.
    #[must_use]
    pub fn with_capacity(events: NonZeroUsize) -> Self {
        Self(polling::Events::with_capacity(events))
    }

    /// What was told by the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.0.iter().map(|event| Event { key: event.key, readable: event.readable, writable: event.writable })
    }

    /// Whether nothing was told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// How the system calls a socket.
#[cfg(unix)]
pub(crate) type RawSource = std::os::fd::RawFd;
#[cfg(windows)]
pub(crate) type RawSource = std::os::windows::io::RawSocket;

/// What the system can watch.
pub trait System: polling::AsSource {
    /// How the system calls it.
    fn raw(&self) -> RawSource;
}

impl System for std::net::TcpStream {
    fn raw(&self) -> RawSource {
        (&self).raw()
    }
}

impl System for std::net::TcpListener {
    fn raw(&self) -> RawSource {
        (&self).raw()
    }
}
