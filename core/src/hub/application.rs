//! C. The application wants something: each answers with a value.

use bytes::Bytes;
use core::time::Duration;

use super::Hub;
use super::emptied::pop_inbox;
use crate::config::{LaneOptions, Start, TopicOptions};
use crate::error::{
    AckError, AuthenticateError, ConnectError, DocumentError, PublishError, ResumeError, SendError, SubscribeError,
    TopicError,
};
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::output::{
    ClientRequest, Entry, LossReason, Message, OwnedPayload, Payload, Published, ResumeLane, SessionToken,
};
use crate::time::Instant;
use crate::wire::CloseCode;

impl Hub {
    /// Starts the client role on a transport that is connected, or about to be: the opening request is the first
    /// Transmit. The connection is raw.
    ///
    /// # Errors
    /// When the request cannot be written, or no more connections are taken.
    pub fn connect(&mut self, request: ClientRequest<'_>, now: Instant) -> Result<ConnId, ConnectError> {
        self.advance(now);
        let started = self.start_client(request);
        self.retry_parked();
        started
    }

    /// Declares a topic.
    ///
    /// # Errors
    /// When the name is not allowed or taken, the options contradict each other, or `topics_max` is reached.
    pub fn topic(&mut self, name: &str, options: TopicOptions) -> Result<TopicId, TopicError> {
        self.declare_topic(name, options)
    }

    /// The topic of that name. One that is not there is made with the defaults, undeclared: it is forgotten at the first
    /// poll after it has no lanes.
    ///
    /// # Errors
    /// When the name is not allowed or `topics_max` is reached.
    pub fn open_topic(&mut self, name: &str) -> Result<TopicId, TopicError> {
        match self.topics.by_name.get(name) {
            Some(topic) => Ok(*topic),
            None => {
                let defaults = self.config.topic_defaults;
                self.create_topic(name, defaults, false)
            }
        }
    }

    /// Removes a topic: its lanes end (clients are told `ended`), publishes that wait for it are refused. Whether there
    /// was one.
    pub fn remove_topic(&mut self, topic: TopicId, now: Instant) -> bool {
        self.advance(now);
        let removed = self.remove_topic_now(topic);
        self.retry_parked();
        removed
    }

    /// Subscribes a connection's session to a topic.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe(
        &mut self,
        conn: ConnId,
        topic: TopicId,
        lane: LaneOptions,
        from: Start,
        now: Instant,
    ) -> Result<LaneId, SubscribeError> {
        self.advance(now);
        let added = self.add_session_lane(conn, topic, lane, from);
        self.update_hub_level();
        added
    }

    /// Ends the lane of a connection's session on a topic; whether there was one.
    pub fn unsubscribe(&mut self, conn: ConnId, topic: TopicId, now: Instant) -> bool {
        self.advance(now);
        let ended = self.end_session_lane(conn, topic, LossReason::Unsubscribed);
        self.settle(conn);
        ended
    }

    /// Makes a lane for an in-process consumer: [`Event::Ready`](crate::Event::Ready) tells when there is something to
    /// [`take`](Self::take).
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe_local(
        &mut self,
        topic: TopicId,
        lane: LaneOptions,
        from: Start,
        now: Instant,
    ) -> Result<LaneId, SubscribeError> {
        self.advance(now);
        let added = self.add_local_lane(topic, lane, from);
        self.update_hub_level();
        added
    }

    /// Ends an in-process lane; whether there was one.
    pub fn unsubscribe_local(&mut self, lane: LaneId, now: Instant) -> bool {
        self.advance(now);
        let is_local = self.topics.of_lane(lane).is_some_and(|(topic, place)| {
            let topic = self.topics.slab.get(topic).expect("a lane's topic exists");
            topic.lanes[place].is_local()
        });
        if is_local {
            self.end_lane(lane, LossReason::Unsubscribed);
            self.retry_parked();
        }
        is_local
    }

    /// The next entry of an in-process lane, `None` when nothing waits. A message taken is a message sent. Its bytes are
    /// shared with the topic's log: copy what is kept for long.
    pub fn take(&mut self, lane: LaneId, now: Instant) -> Option<Entry> {
        self.advance(now);
        let entry = self.take_entry(lane);
        self.retry_parked();
        entry
    }

    /// Publishes a message (a [`Payload`], or one with a key): it enters every lane of the topic, or is refused and
    /// nothing changed.
    ///
    /// # Errors
    /// See [`PublishError`]. After `Full`, [`Event::Drained`](crate::Event::Drained) tells when to try again.
    pub fn publish<'a>(
        &mut self,
        topic: TopicId,
        message: impl Into<Message<'a>>,
        now: Instant,
    ) -> Result<Published, PublishError> {
        self.pass(now);
        let published = self.publish_checked(topic, message.into());
        self.retry_parked();
        published
    }

    /// Acknowledges every message of a session's lane up to the number `through`. How many that were.
    ///
    /// # Errors
    /// See [`AckError`].
    pub fn acknowledge(
        &mut self,
        session: SessionId,
        topic: TopicId,
        through: u64,
        now: Instant,
    ) -> Result<u32, AckError> {
        self.advance(now);
        let acknowledged = self.acknowledge_through(session, topic, through);
        self.settle_session(session);
        acknowledged
    }

    /// Acknowledges one message of a session's lane.
    ///
    /// # Errors
    /// See [`AckError`].
    pub fn acknowledge_one(
        &mut self,
        session: SessionId,
        topic: TopicId,
        seq: u64,
        now: Instant,
    ) -> Result<(), AckError> {
        self.advance(now);
        let acknowledged = self.acknowledge_message(session, topic, seq);
        self.settle_session(session);
        acknowledged
    }

    /// Lets a session's lane send so many messages more; whether there is such a lane. From the first grant on it needs
    /// credit.
    pub fn grant(&mut self, session: SessionId, topic: TopicId, credit: u32, now: Instant) -> bool {
        self.advance(now);
        let is_granted = self.grant_credit(session, topic, credit);
        self.settle_session(session);
        is_granted
    }

    /// Says whom a connection belongs to: its session can be resumed by connections of the same principal only. Empty:
    /// nobody, as at first.
    ///
    /// # Errors
    /// See [`AuthenticateError`].
    pub fn authenticate(&mut self, conn: ConnId, principal: &str) -> Result<(), AuthenticateError> {
        self.set_principal(conn, principal)
    }

    /// Makes a connection's session resumable: it lives on for `ttl` without a connection (at most, and by default,
    /// `session_ttl`). What whoever resumes it has to know.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn keep_session(&mut self, conn: ConnId, ttl: Option<Duration>) -> Result<SessionToken, ResumeError> {
        self.make_resumable(conn, ttl)
    }

    /// Gives a resumable session to a connection, in the place of its own. `lanes` says where its client stands.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn resume(
        &mut self,
        conn: ConnId,
        token: SessionToken,
        lanes: &[ResumeLane<'_>],
        now: Instant,
    ) -> Result<SessionId, ResumeError> {
        self.advance(now);
        let resumed = self.resume_session(conn, token, lanes);
        self.settle(conn);
        resumed
    }

    /// Sends a message to one connection, through its direct lane.
    ///
    /// # Errors
    /// See [`SendError`]. After `Full`, [`Event::Sendable`](crate::Event::Sendable) tells when to try again.
    pub fn send(&mut self, conn: ConnId, payload: Payload<'_>, now: Instant) -> Result<(), SendError> {
        self.advance(now);
        let sent = self.send_direct(conn, payload);
        self.retry_parked();
        sent
    }

    /// Sends a message to one connection if that can be written to now; otherwise it is refused
    /// ([`SendError::NotWritable`]) rather than kept.
    ///
    /// # Errors
    /// See [`SendError`]. No [`Event::Sendable`](crate::Event::Sendable) follows.
    pub fn send_volatile(&mut self, conn: ConnId, payload: Payload<'_>, now: Instant) -> Result<(), SendError> {
        self.advance(now);
        let sent = self.send_if_writable(conn, payload);
        self.retry_parked();
        sent
    }

    /// Takes the next message of a raw connection, `None` when there is none: then those that were taken count as answered
    /// (a peer's Close, or violation, that came behind them waits for that). What is not taken counts against
    /// `inbound_bytes_max`; at the bound the connection is not read.
    pub fn receive(&mut self, conn: ConnId, now: Instant) -> Option<OwnedPayload> {
        self.advance(now);
        let state = self.conns.get_mut(conn).filter(|state| state.dialect().is_none())?;
        let message = pop_inbox(state, &mut self.emptied);
        if state.is_ended() {
            if !state.has_messages() && state.news.closed {
                self.announce_conn(conn);
            }
            self.recharge_conn(conn);
            self.rest(conn);
            self.update_hub_level();
            return message;
        }
        match &message {
            Some(taken) if self.is_settled_without(conn, taken.bytes.len()) => self.update_hub_level(),
            Some(_) => {
                if self.conn_mut(conn).is_stopped() {
                    self.pump(conn);
                }
                self.settle(conn);
            }
            None => self.answered(conn),
        }
        message
    }

    /// Answers plain HTTP requests (`GET`) for `path` with a document, for pages and scripts that belong to the
    /// service; the connection ends then ([`EndReason::Served`](crate::EndReason::Served)), at the latest after
    /// `close_timeout`, however much of it was written: for documents of a few hundred KiB. They are not charged to the
    /// budget but while they are written. Again for the same path: in its place.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn document(&mut self, path: &str, content_type: &str, body: Bytes) -> Result<(), DocumentError> {
        self.add_document(path, content_type, body)
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2); what waits in the connection's lanes is lost (`closed`). The reason
    /// is cut to 123 bytes.
    pub fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str, now: Instant) {
        self.advance(now);
        self.close_now(conn, code, reason);
        self.settle(conn);
    }

    /// Takes nothing new, and closes each connection (1001) when nothing waits for it any more, at the latest at `until`.
    /// It is over when [`connections`](Self::connections) is 0.
    pub fn drain(&mut self, until: Instant, now: Instant) {
        self.advance(now);
        self.start_draining(until);
        self.retry_parked();
    }
}
