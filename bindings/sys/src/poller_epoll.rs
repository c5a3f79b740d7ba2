//! A poller where there is epoll: one system call per wait, and none for its timeout or for a wake that was not asked for.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use crate::{Event, Source};

/// What the system can watch.
pub(crate) use std::os::fd::AsFd as System;

/// The key of what wakes, which is told to nobody.
const WAKE: u64 = u64::MAX;
/// Waits are no longer than this; nobody is harmed by one that ends early, once a day.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// Tells of many sockets which of them can be read or written to: level-triggered. Itself it can be read when there is
/// something to tell.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    /// Edge-triggered, and so never read: each write is told once. (2^64 of them do not happen.)
    wake: OwnedFd,
}

impl Poller {
    /// A poller that tells nothing yet.
    ///
    /// # Errors
    /// The system refused.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), flags)?;
        Ok(Self { epoll, wake })
    }

    /// Whether it tells the same again as long as it is so, or else once until it is asked again.
    #[must_use]
    pub const fn supports_level(&self) -> bool {
        true
    }

    /// Ends a wait: the one that is under way, or the next.
    ///
    /// # Errors
    /// The system refused.
    pub fn notify(&self) -> io::Result<()> {
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).map(drop).map_err(Into::into)
    }

    /// Waits for something to tell, not longer than `timeout` (in whole milliseconds, rounded up).
    ///
    /// # Errors
    /// The system refused; or a signal came ([`io::ErrorKind::Interrupted`]).
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.list.clear();
        let timeout = timeout.map(|timeout| {
            let timeout = timeout.min(TIMEOUT_MAX);
            Timespec {
                tv_sec: timeout.as_secs().cast_signed(), // At most a day.
                tv_nsec: timeout.subsec_nanos().into(),
            }
        });
        epoll::wait(&self.epoll, spare_capacity(&mut events.list), timeout.as_ref())?;
        Ok(())
    }

    pub(crate) fn add<S: Source>(&self, source: &S, interest: Event) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, data(interest), flags(interest))?)
    }

    pub(crate) fn modify<S: Source>(&self, source: &S, interest: Event) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, data(interest), flags(interest))?)
    }

    pub(crate) fn delete<S: Source>(&self, source: &S) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn data(interest: Event) -> epoll::EventData {
    epoll::EventData::new_u64(interest.key as u64)
}

fn flags(interest: Event) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, interest.readable);
    flags.set(epoll::EventFlags::OUT, interest.writable);
    flags
}

/// What a poller has told.
pub struct Events {
    list: Vec<epoll::Event>,
}

// SAFETY: what makes an `epoll::Event` neither is that its data could be a pointer. Here it is a number: `data` makes all of
// them, and `new` that of the wake.
unsafe impl Send for Events {}
// SAFETY: as above.
unsafe impl Sync for Events {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Events {
    /// Room for so many at a time.
    #[must_use]
    pub fn with_capacity(events: std::num::NonZeroUsize) -> Self {
        Self { list: Vec::with_capacity(events.get()) }
    }

    /// What was told by the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        use epoll::EventFlags as Flags;
        // The end of both directions, and errors, are told unasked: whoever reads or writes finds out.
        let (reads, writes) = (Flags::IN | Flags::HUP | Flags::ERR, Flags::OUT | Flags::HUP | Flags::ERR);
        self.list.iter().filter(|event| { event.data }.u64() != WAKE).map(move |event| Event {
            key: usize::try_from({ event.data }.u64()).expect("it was one"),
            readable: { event.flags }.intersects(reads),
            writable: { event.flags }.intersects(writes),
        })
    }

    /// Whether nothing was told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.list.clear();
    }
}
