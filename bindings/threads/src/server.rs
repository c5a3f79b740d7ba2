//! The server.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex};

use forebay_core::{Config, Event, Hub, Instant};
use forebay_shell::{Calls, Clock, Driver, Mailbox, ServerOptions};
use forebay_sys::Tuning;

use crate::Handle;
use crate::accept::Acceptor;
use crate::worker::{Link, Waiter, Worker};

/// A topic server that listens.
pub struct Server {
    worker: Worker,
    local_addr: SocketAddr,
    handle: Handle,
}

impl Server {
    /// Listens on the first of the addresses that can be had, declares the topics, and waits for [`run`](Self::run).
    ///
    /// # Errors
    /// No address can be had, or the options contradict each other ([`io::ErrorKind::InvalidInput`]).
    #[expect(clippy::needless_pass_by_value, reason = "what a server is made of belongs to it")]
    pub fn bind(addresses: impl ToSocketAddrs, options: ServerOptions) -> io::Result<Self> {
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let config = Config::try_from(options.hub).map_err(|error| invalid(error.to_string()))?;
        let clock = Clock::start();
        let mut hub = Hub::new(config, forebay_shell::entropy()?, clock.now());
        for (name, topic) in &options.topics {
            topic.check().map_err(|error| invalid(format!("topic {name:?}: {error}")))?;
            hub.topic(name, *topic).map_err(|error| invalid(format!("topic {name:?}: {error}")))?;
        }

        let waiter = Waiter::new()?;
        let tuning =
            Tuning { notsent_lowat_bytes: options.notsent_lowat_bytes, send_buffer_bytes: options.send_buffer_bytes };
        let listener = TcpListener::bind(addresses)?;
        let acceptor = Acceptor::new(listener, Arc::clone(&waiter.poller), tuning, options.mode)?;
        let local_addr = acceptor.local_addr()?;
        let link = Arc::new(Link {
            mailbox: Mailbox::new(options.mailbox_max, Arc::clone(&waiter.wake)),
            last_stats: Mutex::default(),
        });
        let handle = Handle::new(vec![Arc::clone(&link)]);
        let worker = Worker {
            driver: Driver::new(hub, clock, !waiter.poller.supports_level()),
            waiter,
            calls: Calls::default(),
            acceptor: Some(acceptor),
            link,
            drain_timeout: options.drain_timeout,
        };
        Ok(Self { worker, local_addr, handle })
    }

    /// The address it listens on, with the port that was chosen where port 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
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
    ///
    /// # Errors
    /// Waiting for sockets failed.
    pub fn run_with(self, on_event: impl FnMut(&mut Hub, Event, Instant) + Send + 'static) -> io::Result<()> {
        self.worker.run(on_event)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}
