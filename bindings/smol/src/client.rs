//! The client.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use forebay_core::wire::CloseCode;
use forebay_core::{OwnedPayload, Payload};
use forebay_shell::{ClientLink, ClientOptions, ClientWork, Closed, ConnectError, ReceiveError, SendError, Step, Url};
use smol::future::FutureExt;
use smol::{Async, Timer};

use crate::worker::Waiter;

/// A WebSocket client, with a worker task of its own ([`smol::spawn`]).
///
/// `Send` and `Sync`: one task may send while another receives; share it in an [`Arc`]. Dropped, it sends what waits
/// and closes (1000) in the background.
pub struct Client {
    link: Arc<ClientLink>,
    local_addr: SocketAddr,
    protocol: Option<String>,
}

impl Client {
    /// Connects to `ws://host:port/path` and waits for the end of the opening handshake.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(url: &str, options: ClientOptions) -> Result<Self, ConnectError> {
        let url = Url::parse(url).map_err(ConnectError::Url)?;
        let deadline = options.connect_deadline();
        let timer = async {
            Timer::at(deadline).await;
            Err(ConnectError::TimedOut)
        };
        let stream = connect_stream(&url, &options).or(timer).await?;
        let local_addr = stream.local_addr().map_err(ConnectError::Io)?;
        let waiter = Waiter::new().map_err(ConnectError::Io)?;
        let (work, opening) = ClientWork::new(stream, &url, &options, deadline, &waiter.poller, &waiter.wake)?;
        let mut client = Self { link: Arc::clone(work.link()), local_addr, protocol: None };
        smol::spawn(run(waiter, work)).detach();
        client.protocol = opening.wait_async().await?;
        Ok(client)
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
    pub async fn send(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.link.outbox.push_async(payload).await?;
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
    pub async fn flush(&self) -> Result<(), Closed> {
        self.link.outbox.flush_async().await
    }

    /// The next message; waits for it. What is not received waits in bounded memory, and then at the server. Waiting for the next
    /// says that those before are answered: only then a Close that the server has sent behind them is answered, too, if that
    /// takes no longer than `close_timeout`.
    ///
    /// # Errors
    /// The connection has ended and everything that came before was received.
    pub async fn receive(&self) -> Result<OwnedPayload, Closed> {
        self.link.inbox.next_async(|| self.link.wake.wake()).await
    }

    /// The next message; waits for at most `timeout` ([`Duration::ZERO`]: takes what was handed over already, and asks
    /// for more).
    ///
    /// # Errors
    /// Nothing came in time, or the connection has ended.
    pub async fn receive_timeout(&self, timeout: Duration) -> Result<OwnedPayload, ReceiveError> {
        let receive = async { self.receive().await.map_err(ReceiveError::Closed) };
        let timer = async {
            Timer::after(timeout).await;
            Err(ReceiveError::TimedOut)
        };
        receive.or(timer).await
    }

    /// Sends what waits, then a Close frame, and waits for the end of the connection, which is told. What came before it
    /// may still be received. Dropped before it is done, it closes nevertheless.
    ///
    /// A code that may not be sent (RFC 6455 §7.4.1) becomes 1000.
    pub async fn close(&self, code: CloseCode, reason: &str) -> Closed {
        self.link.close(code, reason);
        self.link.outbox.wait_end_async().await
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
async fn connect_stream(url: &Url, options: &ClientOptions) -> Result<TcpStream, ConnectError> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in smol::net::resolve((url.host.as_str(), url.port)).await.map_err(ConnectError::Io)? {
        match connect_address(address, options.receive_buffer_bytes).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    match failure.kind() {
        io::ErrorKind::TimedOut => Err(ConnectError::TimedOut),
        _ => Err(ConnectError::Io(failure)),
    }
}

async fn connect_address(address: SocketAddr, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
    let stream = Async::new_nonblocking(forebay_sys::start_connect(address, receive_buffer_bytes)?)?;
    stream.writable().await?;
    let stream = stream.into_inner()?;
    stream.take_error()?.map_or(Ok(stream), Err)
}

/// The client's worker.
async fn run(mut waiter: Waiter, mut work: ClientWork) {
    while let Step::Wait(timeout) = work.turn() {
        match waiter.wait(timeout, || work.has_work()).await {
            Ok(events) => work.input(events),
            // Dropping the work tells whoever waits.
            Err(error) => return log::error!("a client cannot wait for its socket: {error}"),
        }
    }
}
