//! What crosses the border: what the hub is given, what it wants, and its numbers.

use bytes::Bytes;
use core::net::SocketAddr;

use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::stats::{Flow, Level, Scope};
use crate::time::Instant;
use crate::wire::deflate::Agreed;
pub use crate::wire::handshake::RequestOptions as ClientRequest;
use crate::wire::{CloseCode, HandshakeError, ResponseError, WireError};

/// Who connects, and how it is to be spoken with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peer {
    /// The peer's address, where there is one.
    pub address: Option<SocketAddr>,
    /// Who understands the messages.
    pub mode: Mode,
    /// Whether the application decides about the opening request:
    /// [`Event::UpgradeRequested`], [`Hub::resolve_upgrade`](crate::Hub::resolve_upgrade).
    pub is_gated: bool,
}

/// Who understands a connection's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Mode {
    /// The dialect of the negotiated subprotocol (without one: `forebay.v1`).
    #[default]
    Dialect,
    /// The application: [`Hub::receive`](crate::Hub::receive), [`Hub::send`](crate::Hub::send) and
    /// [`Hub::subscribe`](crate::Hub::subscribe). The subprotocol is one that was allowed
    /// ([`Hub::allow_protocol`](crate::Hub::allow_protocol)).
    Raw,
}

/// A connection whose opening handshake somebody else has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Upgraded<'a> {
    /// Who connected.
    pub peer: Peer,
    /// The subprotocol that was answered.
    pub protocol: Option<&'a str>,
    /// The compression that was agreed to.
    pub deflate: Option<Agreed>,
}

/// The payload of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    /// Text. For a topic it must be JSON text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The payload's bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// What is published: a payload, and the key it is the latest message of.
///
/// ```
/// use forebay_core::{Message, Payload};
/// let plain = Message::from(Payload::Text("20.5"));
/// let keyed = Message::new(Payload::Text("20.5")).with_key("kitchen");
/// assert_eq!((plain.key, keyed.key), ("", "kitchen"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The payload.
    pub payload: Payload<'a>,
    /// The key, for lanes with [`Policy::LatestPerKey`](crate::Policy::LatestPerKey): at most
    /// [`Options::key_bytes_max`](crate::Options::key_bytes_max) bytes without control characters. Empty: no key, which is
    /// a key like others.
    pub key: &'a str,
    /// The publisher's own name for it, at most [`PUBLISH_ID_BYTES_MAX`] bytes without control characters, so that a publish
    /// that is repeated is taken once. Empty: none.
    pub id: &'a str,
}

/// Bytes of a publish's id.
pub const PUBLISH_ID_BYTES_MAX: usize = 128;

impl<'a> Message<'a> {
    /// A message without a key.
    #[must_use]
    pub const fn new(payload: Payload<'a>) -> Self {
        Self { payload, key: "", id: "" }
    }

    /// The message with a key.
    #[must_use]
    pub const fn with_key(self, key: &'a str) -> Self {
        Self { key, ..self }
    }

    /// The message with a publish id.
    #[must_use]
    pub const fn with_id(self, id: &'a str) -> Self {
        Self { id, ..self }
    }
}

impl<'a> From<Payload<'a>> for Message<'a> {
    fn from(payload: Payload<'a>) -> Self {
        Self::new(payload)
    }
}

/// A payload that is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedPayload {
    /// Whether it is text (valid UTF-8).
    pub is_text: bool,
    /// The bytes.
    pub bytes: Bytes,
}

impl OwnedPayload {
    /// The payload as text, where it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.is_text { core::str::from_utf8(&self.bytes).ok() } else { None }
    }
}

/// Where a message stands: its topic's numbering and its number in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Position {
    /// 64 random bits, new whenever the numbering starts anew.
    pub epoch: u64,
    /// From 1, dense, below 2^53.
    pub seq: u64,
}

/// A publish that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    /// The message's position.
    pub position: Position,
    /// How many lanes it entered.
    pub matched: u32,
    /// A message with this id was published before: this is its position, and nothing was published now.
    pub is_duplicate: bool,
}

/// Why a message that entered a lane was not sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// A later message of its key took its place: `Policy::LatestPerKey`, `Policy::LatestOnly`. No gap.
    Superseded,
    /// The lane was full: `Policy::DropOldest`. Or its key was forgotten: `Policy::LatestPerKey`.
    Oldest,
    /// The lane was full: `Policy::DropNewest`.
    Newest,
    /// It had waited for the lane's `age_max`.
    Age,
    /// The topic's `log_bytes_max` was reached.
    LogBound,
    /// The hub's `resident_bytes_max` was reached.
    Overload,
    /// The session, its connection or the topic ended.
    Closed,
    /// The lane was unsubscribed.
    Unsubscribed,
}

impl LossReason {
    /// All reasons, in the order of [`Totals::lost`](crate::Totals::lost).
    pub const ALL: [LossReason; 8] = [
        Self::Superseded,
        Self::Oldest,
        Self::Newest,
        Self::Age,
        Self::LogBound,
        Self::Overload,
        Self::Closed,
        Self::Unsubscribed,
    ];

    /// Its bit in [`Gap::reasons`].
    pub(crate) const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// The reason's name on the wire and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Oldest => "oldest",
            Self::Newest => "newest",
            Self::Age => "age",
            Self::LogBound => "log_bound",
            Self::Overload => "overload",
            Self::Closed => "closed",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// What a consumer lost since it was last told: messages numbered within `from..=to`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// The first message lost.
    pub from: u64,
    /// The last message lost.
    pub to: u64,
    /// How many were lost: `to - from + 1`, or fewer when some between were sent.
    pub missed: u64,
    /// Why: bit `n` for `GapReason::ALL[n]`.
    pub reasons: u16,
}

/// Why a consumer misses messages: they were lost, or are not to be had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// They entered the lane and were lost.
    Lost(LossReason),
    /// They were asked for, but are not in the history, or did not fit the lane.
    History,
    /// The position that was asked for is of another numbering.
    Reset,
    /// They were sent, not acknowledged, and sent again as often as may be.
    Attempts,
}

impl GapReason {
    /// All reasons.
    pub const ALL: [GapReason; LossReason::ALL.len() + 3] = {
        let mut all = [GapReason::History; LossReason::ALL.len() + 3];
        let mut place = 0;
        while place < LossReason::ALL.len() {
            all[place] = GapReason::Lost(LossReason::ALL[place]);
            place += 1;
        }
        all[place + 1] = GapReason::Reset;
        all[place + 2] = GapReason::Attempts;
        all
    };

    /// Its bit in [`Gap::reasons`].
    pub(crate) const fn bit(self) -> u16 {
        let lost = LossReason::ALL.len();
        match self {
            Self::Lost(reason) => reason.bit(),
            Self::History => 1 << lost,
            Self::Reset => 1 << (lost + 1),
            Self::Attempts => 1 << (lost + 2),
        }
    }

    /// The reason's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost(reason) => reason.name(),
            Self::History => "history",
            Self::Reset => "reset",
            Self::Attempts => "attempts",
        }
    }
}

impl Gap {
    /// The reasons, each once.
    pub fn reasons(&self) -> impl Iterator<Item = GapReason> + use<> {
        let bits = self.reasons;
        GapReason::ALL.into_iter().filter(move |reason| bits & reason.bit() != 0)
    }

    /// One notice for two.
    #[must_use]
    pub fn merged(self, other: Gap) -> Gap {
        Gap {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            missed: self.missed + other.missed,
            reasons: self.reasons | other.reasons,
        }
    }
}

/// What an in-process consumer takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The next message.
    Message {
        /// Its number.
        seq: u64,
        /// Its payload.
        payload: OwnedPayload,
    },
    /// What was lost before the next message.
    Gap(Gap),
}

/// What the embedder must do to a connection. Derived from state: an effect that was not polled before it was undone is
/// never seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Close the socket: everything to be sent was sent, or the peer is given up. The id is stale from now on.
    Close(ConnId),
    /// Stop reading from the connection, so that TCP pushes back.
    PauseRead(ConnId),
    /// Read from the connection again.
    ResumeRead(ConnId),
}

/// Something the application may want to know. Derived from state when it is polled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection's opening request is a good one and waits for [`Hub::resolve_upgrade`](crate::Hub::resolve_upgrade);
    /// `handshake_timeout` goes on. Only where [`Peer::is_gated`] says so.
    UpgradeRequested(ConnId),
    /// The opening handshake is done.
    Opened {
        /// The connection.
        conn: ConnId,
        /// Its session.
        session: SessionId,
    },
    /// A raw connection has messages: [`Hub::receive`](crate::Hub::receive) until it gives none, which says that they are
    /// answered.
    Received(ConnId),
    /// The direct lane refused a message and is now at or below half of its limits.
    Sendable(ConnId),
    /// The connection has ended. The id is stale from now on.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: EndReason,
    },
    /// An in-process lane has something: [`Hub::take`](crate::Hub::take) until it gives none.
    Ready(LaneId),
    /// An in-process lane has ended, because its topic was removed or it was full (`Policy::Disconnect`); or a raw
    /// connection's lane, because it was full. The id is stale from now on.
    LaneEnded(LaneId),
    /// Every lane that refused a publish of the topic has room again.
    Drained(TopicId),
    /// A level is not what it was when it was last told.
    Pressure {
        /// Of what.
        scope: Scope,
        /// The level now.
        level: Level,
    },
    /// The topic's level has reached `High` (`Pause`) or fallen back to `Nominal` (`Resume`): for whoever feeds it and can
    /// wait. Nothing is refused because of it.
    Upstream {
        /// The topic.
        topic: TopicId,
        /// Whether to go on.
        flow: Flow,
    },
    /// An at-least-once lane has abandoned messages since it was last told: [`LanePressure::acks`](crate::LanePressure::acks)
    /// counts them.
    Abandoned(LaneId),
    /// The connection has taken over a session.
    Resumed {
        /// The connection.
        conn: ConnId,
        /// The session, which is the connection's from now on.
        session: SessionId,
    },
    /// A resumable session has ended. The id is stale from now on.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why.
        reason: SessionEnd,
    },
    /// Another thread or task of the application woke it, once or more often: `Handle::wake` of a binding. The hub itself
    /// never tells this.
    Woken,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EndReason {
    /// The peer closed with this code (`None`: a Close frame without one, RFC 6455 §7.1.5).
    PeerClosed(Option<CloseCode>),
    /// The transport ended without a Close frame.
    PeerGone,
    /// The application closed it with this code.
    Closed(CloseCode),
    /// The hub drained.
    Drained,
    /// The peer broke RFC 6455.
    Protocol(WireError),
    /// The peer's opening request was refused.
    Refused(HandshakeError),
    /// The application refused the peer's opening request with this status.
    Rejected(u16),
    /// The server's answer to our opening request cannot be used.
    BadResponse(ResponseError),
    /// No whole opening handshake within `handshake_timeout`.
    HandshakeTimeout,
    /// No whole message within `message_timeout` of its first byte.
    MessageTimeout,
    /// No sign of life within `pong_timeout` of a ping.
    PongTimeout,
    /// Output blocked without progress for `stall_timeout`.
    Stalled,
    /// A lane with `Policy::Disconnect` was full.
    Overflowed,
    /// Its session was resumed by another connection.
    Resumed,
    /// It asked for a document and was answered, to the end if it took it in time.
    Served,
    /// The hub's memory budget left no room for what the peer was sending, or for what was to be sent to it. What waited
    /// for the application is lost.
    Overloaded,
}

/// Why a resumable session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum SessionEnd {
    /// With its connection: see there why.
    Closed,
    /// Nobody resumed it in time.
    Expired,
    /// Detached, a lane of it that may lose nothing was full.
    Overflowed,
    /// Detached, it was ended for a log's bound or the hub's budget.
    Overloaded,
    /// It had been detached for longest when `sessions_max` was reached.
    Evicted,
    /// Detached when the hub began to drain.
    Drained,
}

/// Where a client stands that resumes its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResumeLane<'a> {
    /// The topic's name. One the session has no lane on is passed over.
    pub topic: &'a str,
    /// The last message it has. `None`: it goes by what was sent.
    pub position: Option<Position>,
    /// The credit it has from now on; `None`: as before.
    pub credit: Option<u32>,
}

/// What a client needs to resume a session: a handle, and 128 bits that nobody can guess. 48 hexadecimal digits as text.
#[derive(Clone, Copy)]
pub struct SessionToken {
    pub(crate) session: SessionId,
    pub(crate) secret: [u8; 16],
}

impl SessionToken {
    /// The token that was written as text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 48 || !text.bytes().all(is_hex) {
            return None;
        }
        let (session, secret) = text.split_at(16);
        let session = SessionId::from_bits(u64::from_str_radix(session, 16).ok()?);
        Some(Self { session, secret: u128::from_str_radix(secret, 16).ok()?.to_be_bytes() })
    }
}

/// In constant time, as far as the secret goes: how long it takes does not tell how much of it was right.
impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.secret.iter().zip(other.secret).fold(0, |differing, (a, b)| differing | (a ^ b));
        core::hint::black_box(differing) == 0 && self.session == other.session
    }
}

impl Eq for SessionToken {}

impl core::fmt::Display for SessionToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}{:032x}", self.session.to_bits(), u128::from_be_bytes(self.secret))
    }
}

impl core::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SessionToken({:?}, secret)", self.session)
    }
}

/// When the hub wants [`Hub::handle_timeout`](crate::Hub::handle_timeout), and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// When; for `Output` and `Backlog` the time that was last passed in, so at once.
    pub at: Instant,
    /// Why.
    pub cause: Cause,
}

/// What a deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cause {
    /// Something is there to be polled: `poll_transmit`, `poll_effect`, `poll_event`.
    Output,
    /// More timers were due than one call handles.
    Backlog,
    /// A timer.
    Timer,
}
