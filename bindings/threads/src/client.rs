//! The client.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::wire::CloseCode;
use forebay_core::{
    ClientRequest, Config, ConnId, EndReason, Event, Hub, OwnedPayload, Payload, SendError as LaneError,
};
use forebay_shell::{
    Answer, Application, BATCH_BYTES_MAX, BATCH_MAX, ClientOptions, Clock, Closed, ConnectError, Driver, Inbox,
    Messages, Nothing, Outbox, ReceiveError, SendError, Url, Wake, reply,
};
use forebay_sys::{Tuning, Watched};

use crate::worker::Waiter;

/// How long a worker waits at most before it tries again what the hub's memory budget had no room for.
const RETRY: Duration = Duration::from_millis(10);

/// A WebSocket client, with a worker thread of its own.
///
/// `Send` and `Sync`: one thread may send while another receives; share it in an [`Arc`]. Dropped, it sends what waits
/// and closes (1000) in the background.
pub struct Client {
    shared: Arc<Shared>,
    protocol: Option<String>,
}

/// What the worker and the client's threads have in common.
#[derive(Debug)]
struct Shared {
    outbox: Outbox,
    inbox: Inbox<OwnedPayload, Closed>,
    wake: Arc<Wake>,
}

impl Client {
    /// Connects to `ws://host:port/path` and waits for the end of the opening handshake.
    ///
    /// The name is looked up by the system, which takes as long as it takes.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(url: &str, mut options: ClientOptions) -> Result<Self, ConnectError> {
        let url = Url::parse(url).map_err(ConnectError::Url)?;
        let started = Instant::now();
        let stream = connect_stream(&url, &options, started)?;
        let left = options.connect_timeout.saturating_sub(started.elapsed());
        options.hub.handshake_timeout = left.max(Duration::from_millis(1));
        let config = Config::try_from(options.hub).map_err(ConnectError::Options)?;

        let waiter = Waiter::new().map_err(ConnectError::Io)?;
        let clock = Clock::start();
        let hub = Hub::new(config, forebay_shell::entropy().map_err(ConnectError::Io)?, clock.now());
        let mut driver = Driver::new(hub, clock, !waiter.poller.supports_level());
        let protocols: Vec<&str> = options.protocols.iter().map(String::as_str).collect();
        let headers: Vec<(&str, &str)> =
            options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = ClientRequest {
            host: &url.authority,
            target: &url.target,
            protocols: &protocols,
            headers: &headers,
            ..ClientRequest::default()
        };
        let socket = Watched::new(stream, Arc::clone(&waiter.poller));
        let conn = driver.connect(socket, request).map_err(ConnectError::Request)?;

        let shared = Arc::new(Shared {
            outbox: Outbox::new(options.hub.direct_lane),
            inbox: Inbox::default(),
            wake: Arc::clone(&waiter.wake),
        });
        let (opening, opened) = reply();
        let worker = Worker {
            waiter,
            driver,
            work: Work {
                conn,
                shared: Arc::clone(&shared),
                opening: Some(opening),
                sending: Messages::default(),
                batch: Vec::new(),
                has_messages: false,
                close: None,
                is_over: false,
            },
        };
        std::thread::Builder::new()
            .name("forebay-client".to_owned())
            .spawn(|| worker.run())
            .map_err(ConnectError::Io)?;
        let gone = Closed { reason: EndReason::PeerGone, unsent_messages: 0 };
        match opened.wait().unwrap_or(Err(gone)) {
            Ok(protocol) => Ok(Self { shared, protocol }),
            Err(Closed { reason: EndReason::HandshakeTimeout, .. }) => Err(ConnectError::TimedOut),
            Err(closed) => Err(ConnectError::Refused(closed)),
        }
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
        match self.try_send(payload) {
            Err(SendError::Full) => {
                self.shared.outbox.push(payload, true)?;
                self.shared.wake.wake();
                Ok(())
            }
            result => result,
        }
    }

    /// Sends a message if the queue has room.
    ///
    /// # Errors
    /// [`SendError::Full`] if it has none; as [`send`](Self::send) otherwise.
    pub fn try_send(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.shared.outbox.push(payload, false)?;
        self.shared.wake.wake();
        Ok(())
    }

    /// Waits until the kernel has taken everything that was sent before.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn flush(&self) -> Result<(), Closed> {
        self.shared.outbox.flush()
    }

    /// The next message; waits for it. What is not received waits in bounded memory, and then at the server.
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
        self.shared.inbox.next(deadline, || self.shared.wake.wake()).map_err(|nothing| match nothing {
            Nothing::TimedOut => ReceiveError::TimedOut,
            Nothing::Ended(closed) => ReceiveError::Closed(closed),
        })
    }

    /// Sends what waits, then a Close frame, and waits for the end of the connection, which is told. What came before it
    /// may still be received.
    ///
    /// A code that may not be sent (RFC 6455 §7.4.1) becomes 1000.
    pub fn close(&self, code: CloseCode, reason: &str) -> Closed {
        let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
        self.shared.outbox.close(code, reason);
        self.shared.wake.wake();
        self.shared.outbox.wait_end()
    }

    /// How the connection ended, if it has.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.shared.outbox.end_reached()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.outbox.close(CloseCode::NORMAL, "");
        self.shared.wake.wake();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self.closed();
        f.debug_struct("Client").field("protocol", &self.protocol).field("closed", &closed).finish_non_exhaustive()
    }
}

/// Tries the addresses of the host one after another.
fn connect_stream(url: &Url, options: &ClientOptions, started: Instant) -> Result<TcpStream, ConnectError> {
    let mut failure = ConnectError::Io(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    for address in (url.host.as_str(), url.port).to_socket_addrs().map_err(ConnectError::Io)? {
        let left = options.connect_timeout.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(ConnectError::TimedOut);
        }
        match forebay_sys::connect(address, left, options.receive_buffer_bytes) {
            Ok(stream) => {
                let tuning = Tuning {
                    notsent_lowat_bytes: options.notsent_lowat_bytes,
                    send_buffer_bytes: options.send_buffer_bytes,
                };
                forebay_sys::tune(&stream, tuning).map_err(ConnectError::Io)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => failure = ConnectError::TimedOut,
            Err(error) => failure = ConnectError::Io(error),
        }
    }
    Err(failure)
}

/// The client's worker: a poller, and a hub with one connection.
struct Worker {
    waiter: Waiter,
    driver: Driver<Watched<TcpStream>>,
    work: Work,
}

struct Work {
    conn: ConnId,
    shared: Arc<Shared>,
    /// Whoever waits for the opening handshake.
    opening: Option<Answer<Result<Option<String>, Closed>>>,
    /// Taken from the outbox, not yet in the direct lane.
    sending: Messages,
    batch: Vec<OwnedPayload>,
    /// The hub has messages that nobody asked for.
    has_messages: bool,
    /// How to close once everything is written.
    close: Option<(CloseCode, String)>,
    is_over: bool,
}

impl Worker {
    fn run(mut self) {
        loop {
            let now = self.driver.now();
            let retry = self.work.send(self.driver.hub(), now);
            let mut timeout = self.driver.turn(&mut self.work);
            let now = self.driver.now();
            let has_more = self.work.after_turn(self.driver.hub(), now);
            if self.work.is_over && self.driver.is_empty() {
                return;
            }
            if has_more {
                timeout = Some(Duration::ZERO);
            }
            if retry {
                timeout = Some(timeout.unwrap_or(RETRY).min(RETRY));
            }
            let work = &self.work;
            if let Err(error) = self.waiter.wait(timeout, || work.has_work()) {
                log::error!("a client cannot wait for its socket: {error}");
                return; // Dropping `Work` tells.
            }
            self.driver.tick();
            self.waiter.dispatch(&mut self.driver);
        }
    }
}

impl Work {
    fn has_work(&self) -> bool {
        let may_send = !self.is_over && self.opening.is_none() && self.sending.is_empty();
        may_send && self.shared.outbox.has_work() || self.has_messages && self.shared.inbox.is_asked()
    }

    /// Moves what was sent into the direct lane; whether it has to be tried again for want of memory.
    fn send(&mut self, hub: &mut Hub, now: forebay_core::Instant) -> bool {
        if self.opening.is_some() || self.is_over {
            return false;
        }
        if self.sending.is_empty() {
            self.close = self.shared.outbox.take(&mut self.sending).or(self.close.take());
        }
        while let Some(payload) = self.sending.front() {
            match hub.send(self.conn, payload, now) {
                Err(LaneError::Full) => return false, // Room comes with what is written.
                Err(LaneError::Overloaded) => return true,
                // Sent, or the connection is closing: then it is counted as unsent.
                _ => self.sending.pop(),
            }
        }
        false
    }

    /// Hands over what was asked for and tells what was written. Whether there is more to do at once.
    fn after_turn(&mut self, hub: &mut Hub, now: forebay_core::Instant) -> bool {
        if self.shared.inbox.is_asked() {
            let mut bytes = 0;
            while self.batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
                let Some(message) = hub.receive(self.conn, now) else {
                    self.has_messages = false;
                    break;
                };
                bytes += message.bytes.len();
                self.batch.push(message);
            }
            self.shared.inbox.give(&mut self.batch);
        }
        let direct = hub.stats().direct;
        self.shared.outbox.done(direct.sent);
        let is_sent = self.sending.is_empty() && !self.shared.outbox.has_work() && direct.waiting.messages == 0;
        if let Some((code, reason)) = self.close.take_if(|_| is_sent) {
            hub.close(self.conn, code, &reason, now);
        }
        // Receiving may have made room to read, and an end is only told when all was taken.
        matches!(hub.poll_timeout(), Some(deadline) if deadline.cause == forebay_core::Cause::Output)
    }
}

impl Application for Work {
    /// What came before the end is handed over with it, so that whoever sends is not kept waiting by whoever does not
    /// receive.
    fn before_events(&mut self, hub: &mut Hub, now: forebay_core::Instant) {
        if hub.stats().closed > 0 {
            self.batch.extend(std::iter::from_fn(|| hub.receive(self.conn, now)));
            self.has_messages = false;
            self.shared.inbox.give(&mut self.batch);
        }
    }

    fn event(&mut self, hub: &mut Hub, event: Event, _: forebay_core::Instant) {
        match event {
            Event::Opened { conn, .. } => {
                let protocol = hub.protocol(conn).map(str::to_owned);
                self.opening.take().into_iter().for_each(|opening| opening.give(Ok(protocol.clone())));
            }
            Event::Received(_) => self.has_messages = true,
            Event::Closed { reason, .. } => {
                self.shared.outbox.done(hub.stats().direct.sent);
                self.end(reason);
            }
            _ => {}
        }
    }
}

impl Work {
    fn end(&mut self, reason: EndReason) {
        self.is_over = true;
        let closed = self.shared.outbox.end(Closed { reason, unsent_messages: 0 });
        self.shared.inbox.end(closed);
        self.opening.take().into_iter().for_each(|opening| opening.give(Err(closed)));
    }
}

impl Drop for Work {
    /// However the worker ends, nobody waits for it in vain.
    fn drop(&mut self) {
        self.end(EndReason::PeerGone);
    }
}
