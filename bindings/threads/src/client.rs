//! The client.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::wire::CloseCode;
use forebay_core::{OwnedPayload, Payload};
use forebay_shell::{
    ClientLink, ClientOptions, ClientWork, Closed, ConnectError, Nothing, ReceiveError, SendError, Step, Url,
};

use crate::worker::Waiter;

/// A WebSocket client, with a worker thread of its own.
///
/// `Send` and `Sync`: one thread may send while another receives; share it in an [`Arc`]. Dropped, it sends what waits
/// and closes (1000) in the background.
pub struct Client {
    link: Arc<ClientLink>,
    local_addr: SocketAddr,
    protocol: Option<String>,
}

impl Client {
    /// Connects to `ws://host:port/path` and waits for the end of the opening handshake.
    ///
    /// The name is looked up by the system, which takes as long as it takes.
    ///
    /// # Errors
    /// See [`ConnectError`].
    #[expect(clippy::needless_pass_by_value, reason = "what a client is made of belongs to it")]
    pub fn connect(url: &str, options: ClientOptions) -> Result<Self, ConnectError> {
        let url = Url::parse(url).map_err(ConnectError::Url)?;
        let deadline = options.connect_deadline();
        let stream = connect_stream(&url, &options, deadline)?;
        let local_addr = stream.local_addr().map_err(ConnectError::Io)?;
        let waiter = Waiter::new().map_err(ConnectError::Io)?;
        let (work, opening) = ClientWork::new(stream, &url, &options, deadline, &waiter.poller, &waiter.wake)?;
        let link = Arc::clone(work.link());
        std::thread::Builder::new()
            .name("forebay-client".to_owned())
            .spawn(|| run(waiter, work))
            .map_err(ConnectError::Io)?;
        Ok(Self { link, local_addr, protocol: opening.wait()? })
    }

    /// Its own address, which is what the server sees unless something between them changes it.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The subprotocol the server chose.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Sends a message; waits while the bounded queue to the server (`direct_lane`) is full. `Ok` means that the message
    /// is in that queue; [`flush`](Self::flush) and [`close`](Self::close) wait until the kernel has it.
    ///
    /// # Errors
    /// The message is too large for the queue, or the connection has ended.
    pub fn send(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.link.outbox.push(payload)?;
        self.link.wake.wake();
        Ok(())
    }

    /// Sends a message if the queue has room.
    ///
    /// # Errors
    /// [`SendError::Full`] if it has none; as [`send`](Self::send) otherwise.
    pub fn try_send(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.link.outbox.try_push(payload)?;
        self.link.wake.wake();
        Ok(())
    }

    /// Waits until the kernel has taken everything that was sent before.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn flush(&self) -> Result<(), Closed> {
        self.link.outbox.flush()
    }

    /// The next message; waits for it. What is not received waits in bounded memory, and then at the server. Waiting for the next
    /// says that those before are answered: only then a Close that the server has sent behind them is answered, too, if that
    /// takes no longer than `close_timeout`.
    ///
    /// # Errors
    /// The connection has ended and everything that came before was received.
    pub fn receive(&self) -> Result<OwnedPayload, Closed> {
        loop {
            match self.receive_until(None) {
                Ok(message) => return Ok(message),
                Err(ReceiveError::Closed(closed)) => return Err(closed),
                Err(ReceiveError::TimedOut) => {} // Not without a deadline.
            }
        }
    }

    /// The next message; waits for at most `timeout` ([`Duration::ZERO`]: takes what was handed over already, and asks
    /// for more).
    ///
    /// # Errors
    /// Nothing came in time, or the connection has ended.
    pub fn receive_timeout(&self, timeout: Duration) -> Result<OwnedPayload, ReceiveError> {
        self.receive_until(Instant::now().checked_add(timeout))
    }

    fn receive_until(&self, deadline: Option<Instant>) -> Result<OwnedPayload, ReceiveError> {
        self.link.inbox.next(deadline, || self.link.wake.wake()).map_err(|nothing| match nothing {
            Nothing::TimedOut => ReceiveError::TimedOut,
            Nothing::Ended(closed) => ReceiveError::Closed(closed),
        })
    }

    /// Sends what waits, then a Close frame, and waits for the end of the connection, which is told. What came before it
    /// may still be received.
    ///
    /// A code that may not be sent (RFC 6455 §7.4.1) becomes 1000.
    pub fn close(&self, code: CloseCode, reason: &str) -> Closed {
        self.link.close(code, reason);
        self.link.outbox.wait_end()
    }

    /// How the connection ended, if it has.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.link.outbox.end_reached()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.link.close(CloseCode::NORMAL, "");
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self.closed();
        f.debug_struct("Client").field("protocol", &self.protocol).field("closed", &closed).finish_non_exhaustive()
    }
}

/// Tries the addresses of the host one after another.
fn connect_stream(url: &Url, options: &ClientOptions, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let mut failure = ConnectError::Io(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for address in (url.host.as_str(), url.port).to_socket_addrs().map_err(ConnectError::Io)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::TimedOut);
        }
        match forebay_sys::connect(address, left, options.receive_buffer_bytes) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => failure = ConnectError::TimedOut,
            Err(error) => failure = ConnectError::Io(error),
        }
    }
    Err(failure)
}

/// The client's worker.
fn run(mut waiter: Waiter, mut work: ClientWork) {
    while let Step::Wait(timeout) = work.turn() {
        match waiter.wait(timeout, || work.has_work()) {
            Ok(events) => work.input(events),
            // Dropping the work tells whoever waits.
            Err(error) => return log::error!("a client cannot wait for its socket: {error}"),
        }
    }
}
