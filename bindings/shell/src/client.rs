//! What a client's worker does between two waits.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::wire::CloseCode;
use forebay_core::{Cause, ClientRequest, Config, ConnId, EndReason, Event, Hub, OwnedPayload, SendError as LaneError};
use forebay_sys::{Events, Poller, Tuning, Watched};

use crate::{
    Answer, Application, BATCH_BYTES_MAX, BATCH_MAX, ClientOptions, Clock, Closed, ConnectError, Driver, Inbox,
    Messages, Outbox, Reply, Step, Url, Wake, reply,
};

/// How long a worker waits at most before it tries again what the hub's memory budget had no room for.
const RETRY: Duration = Duration::from_millis(10);

/// What the worker and those who send and receive have in common.
#[derive(Debug)]
pub struct ClientLink {
    /// What was sent.
    pub outbox: Outbox,
    /// What was received.
    pub inbox: Inbox<OwnedPayload, Closed>,
    /// To be called after something was sent or asked for.
    pub wake: Arc<Wake>,
}

impl ClientLink {
    /// Wants the connection closed once everything is sent. A code that may not be sent (RFC 6455 §7.4.1) becomes 1000.
    pub fn close(&self, code: CloseCode, reason: &str) {
        let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
        self.outbox.close(code, reason);
        self.wake.wake();
    }
}

/// The end of the opening handshake: the subprotocol the server chose, or why there is no connection.
#[derive(Debug)]
pub struct Opening(Reply<Result<Option<String>, Closed>>);

impl Opening {
    /// Blocks until then.
    ///
    /// # Errors
    /// [`ConnectError::TimedOut`] or [`ConnectError::Refused`].
    pub fn wait(self) -> Result<Option<String>, ConnectError> {
        Self::told(self.0.wait())
    }

    /// Waits until then.
    ///
    /// # Errors
    /// [`ConnectError::TimedOut`] or [`ConnectError::Refused`].
    pub async fn wait_async(self) -> Result<Option<String>, ConnectError> {
        Self::told(self.0.await)
    }

    fn told(opened: Option<Result<Option<String>, Closed>>) -> Result<Option<String>, ConnectError> {
        let gone = Closed { reason: EndReason::PeerGone, unsent_messages: 0 };
        opened.unwrap_or(Err(gone)).map_err(|closed| match closed.reason {
            EndReason::HandshakeTimeout => ConnectError::TimedOut,
            _ => ConnectError::Refused(closed),
        })
    }
}

/// A client's hub, which has one connection, with everything it has to do but to wait: [`turn`](Self::turn), wait (not if
/// it [has work](Self::has_work)), [`input`](Self::input), and so on.
#[derive(Debug)]
pub struct ClientWork {
    driver: Driver<Watched<TcpStream>>,
    work: Work,
}

#[derive(Debug)]
struct Work {
    conn: ConnId,
    link: Arc<ClientLink>,
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

impl ClientWork {
    /// Begins the opening handshake on a connected socket, which has until `deadline`.
    ///
    /// # Errors
    /// The options contradict each other, something in the request may not stand there, or the socket has an error.
    pub fn new(
        stream: TcpStream,
        url: &Url,
        options: &ClientOptions,
        deadline: Instant,
        poller: &Arc<Poller>,
        wake: &Arc<Wake>,
    ) -> Result<(Self, Opening), ConnectError> {
        let mut limits = options.hub;
        let left = deadline.saturating_duration_since(Instant::now());
        limits.handshake_timeout = left.max(Duration::from_millis(1));
        let config = Config::try_from(limits).map_err(ConnectError::Options)?;
        let tuning =
            Tuning { notsent_lowat_bytes: options.notsent_lowat_bytes, send_buffer_bytes: options.send_buffer_bytes };
        forebay_sys::tune(&stream, tuning).map_err(ConnectError::Io)?;

        let clock = Clock::start();
        let hub = Hub::new(config, crate::entropy().map_err(ConnectError::Io)?, clock.now());
        let mut driver = Driver::new(hub, clock, !poller.supports_level());
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
        let socket = Watched::new(stream, Arc::clone(poller));
        let conn = driver.connect(socket, request).map_err(ConnectError::Request)?;

        let (opening, opened) = reply();
        let link =
            ClientLink { outbox: Outbox::new(limits.direct_lane), inbox: Inbox::default(), wake: Arc::clone(wake) };
        let work = Work {
            conn,
            link: Arc::new(link),
            opening: Some(opening),
            sending: Messages::default(),
            batch: Vec::new(),
            has_messages: false,
            close: None,
            is_over: false,
        };
        Ok((Self { driver, work }, Opening(opened)))
    }

    /// What others know of it.
    #[must_use]
    pub fn link(&self) -> &Arc<ClientLink> {
        &self.work.link
    }

    /// Everything there is to write and to hand over. Over once the connection has ended.
    pub fn turn(&mut self) -> Step {
        let now = self.driver.now();
        let retry = self.work.send(self.driver.hub(), now);
        let mut timeout = self.driver.turn(&mut self.work);
        let now = self.driver.now();
        let has_more = self.work.after_turn(self.driver.hub(), now);
        if self.work.is_over && self.driver.is_empty() {
            return Step::Over;
        }
        if has_more {
            timeout = Some(Duration::ZERO);
        }
        if retry {
            timeout = Some(timeout.unwrap_or(RETRY).min(RETRY));
        }
        Step::Wait(timeout)
    }

    /// Whether something was sent or asked for, which no poller tells.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.work.has_work()
    }

    /// What the poller told.
    pub fn input(&mut self, events: &Events) {
        self.driver.input(events);
    }
}

impl Work {
    fn has_work(&self) -> bool {
        let may_send = !self.is_over && self.opening.is_none() && self.sending.is_empty();
        may_send && self.link.outbox.has_work() || self.has_messages && self.link.inbox.is_asked()
    }

    /// Moves what was sent into the direct lane; whether it has to be tried again for want of memory.
    fn send(&mut self, hub: &mut Hub, now: forebay_core::Instant) -> bool {
        if self.opening.is_some() || self.is_over {
            return false;
        }
        if self.sending.is_empty() {
            self.close = self.link.outbox.take(&mut self.sending).or(self.close.take());
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
        if self.link.inbox.is_asked() {
            self.hand_over(hub, now);
        }
        let direct = hub.stats().direct;
        self.link.outbox.done(direct.sent);
        let is_sent = self.sending.is_empty() && !self.link.outbox.has_work() && direct.waiting.messages == 0;
        if let Some((code, reason)) = self.close.take_if(|_| is_sent) {
            hub.close(self.conn, code, &reason, now);
        }
        // Receiving may have made room to read, and an end is only told when all was taken.
        matches!(hub.poll_timeout(), Some(deadline) if deadline.cause == Cause::Output)
    }

    fn hand_over(&mut self, hub: &mut Hub, now: forebay_core::Instant) {
        let waiting = hub.connection(self.conn).map_or(0, |pressure| pressure.inbound.waiting.messages);
        let (mut left, mut bytes) = (waiting.min(BATCH_MAX as u64), 0);
        while left > 0 && bytes < BATCH_BYTES_MAX {
            let Some(message) = hub.receive(self.conn, now) else { break };
            (left, bytes) = (left - 1, bytes + message.bytes.len());
            self.batch.push(message);
        }
        self.has_messages &= waiting > 0;
        // To receive in vain says that all is answered: so not before more is asked for, and what was sent is in the hub.
        if waiting == 0 && self.sending.is_empty() && !self.link.outbox.has_work() {
            self.batch.extend(hub.receive(self.conn, now));
        }
        self.link.inbox.give(&mut self.batch);
    }
}

impl Application for Work {
    /// What came before the end is handed over with it, so that whoever sends is not kept waiting by whoever does not
    /// receive.
    fn before_events(&mut self, hub: &mut Hub, now: forebay_core::Instant) {
        // Not by `Event::Opened`, which is not told of one that has ended since, though its messages are there.
        if hub.stats().opened > 0
            && let Some(opening) = self.opening.take()
        {
            opening.give(Ok(hub.protocol(self.conn).map(str::to_owned)));
        }
        if hub.stats().closed > 0 {
            self.batch.extend(std::iter::from_fn(|| hub.receive(self.conn, now)));
            self.has_messages = false;
            self.link.inbox.give(&mut self.batch);
        }
    }

    fn event(&mut self, hub: &mut Hub, event: Event, _: forebay_core::Instant) {
        match event {
            Event::Received(_) => self.has_messages = true,
            Event::Closed { reason, .. } => {
                self.link.outbox.done(hub.stats().direct.sent);
                self.end(reason);
            }
            _ => {}
        }
    }
}

impl Work {
    fn end(&mut self, reason: EndReason) {
        self.is_over = true;
        let closed = self.link.outbox.end(Closed { reason, unsent_messages: 0 });
        self.link.inbox.end(closed);
        self.opening.take().into_iter().for_each(|opening| opening.give(Err(closed)));
    }
}

impl Drop for Work {
    /// However the worker ends, nobody waits for it in vain.
    fn drop(&mut self) {
        self.end(EndReason::PeerGone);
    }
}
