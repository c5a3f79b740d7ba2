//! The server.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use forebay_core::{Event, Hub, Instant};
use forebay_shell::{ServerOptions, ServerWork, Step};

use crate::Handle;
use crate::worker::Waiter;

/// A topic server.
pub struct Server {
    waiter: Waiter,
    work: ServerWork,
    handle: Handle,
}

impl Server {
    /// Listens on the first of the addresses that can be had, declares the topics, and waits for [`run`](Self::run).
    ///
    /// # Errors
    /// No address can be had; or an option, a topic or a document that cannot be had ([`io::ErrorKind::InvalidInput`]).
    #[expect(clippy::needless_pass_by_value, reason = "what a server is made of belongs to it")]
    pub fn bind(addresses: impl ToSocketAddrs, options: ServerOptions) -> io::Result<Self> {
        let waiter = Waiter::new()?;
        let work = ServerWork::bind(addresses, &options, &waiter.poller, &waiter.wake)?;
        let handle = Handle::new(vec![Arc::clone(work.link())]);
        Ok(Self { handle, waiter, work })
    }

    /// Listens nowhere: its connections come from an HTTP server, by [`Handle::adopt`]. Otherwise as [`bind`](Self::bind).
    ///
    /// # Errors
    /// An option, a topic or a document that cannot be had ([`io::ErrorKind::InvalidInput`]).
    #[expect(clippy::needless_pass_by_value, reason = "what a server is made of belongs to it")]
    pub fn unbound(options: ServerOptions) -> io::Result<Self> {
        let waiter = Waiter::new()?;
        let work = ServerWork::unbound(&options, &waiter.poller, &waiter.wake)?;
        let handle = Handle::new(vec![Arc::clone(work.link())]);
        Ok(Self { handle, waiter, work })
    }

    /// The address it listens on, with the port that was chosen where port 0 was asked for.
    ///
    /// # Errors
    /// The system does not say; or it listens nowhere ([`io::ErrorKind::NotConnected`]).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.work.local_addr()
    }

    /// A handle for other threads; it works from now on, but is only answered while the server runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves on this thread until [`Handle::shutdown`]; then it accepts nothing more, lets what waits be read for at
    /// most `drain_timeout`, closes (1001) and returns.
    ///
    /// # Errors
    /// Waiting for sockets failed.
    pub fn run(self) -> io::Result<()> {
        self.run_with(|_, _, _| {})
    }

    /// Like [`run`](Self::run), and shows `on_event` everything the hub tells, with the hub: for
    /// [`Mode::Raw`](forebay_core::Mode::Raw), for instance. It is called on the worker's thread and must not block.
    /// What raw connections do about sessions, acknowledgements and credit goes through the hub, too
    /// ([`Hub::keep_session`], [`Hub::resume`], [`Hub::acknowledge`], [`Hub::grant`]); what another thread has to say of them it
    /// leaves somewhere and calls [`Handle::wake`].
    ///
    /// # Errors
    /// Waiting for sockets failed.
    pub fn run_with(self, mut on_event: impl FnMut(&mut Hub, Event, Instant) + Send + 'static) -> io::Result<()> {
        let Self { mut waiter, mut work, .. } = self;
        while let Step::Wait(timeout) = work.turn(&mut on_event) {
            let events = waiter.wait(timeout, || work.has_work())?;
            work.input(events)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr().ok()).finish_non_exhaustive()
    }
}
