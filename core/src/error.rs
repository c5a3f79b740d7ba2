//! What the application did wrong, as values. A peer's fault is never an error here: it ends as
//! [`Event::Closed`](crate::Event::Closed).

use core::fmt;
use core::time::Duration;

use crate::wire::handshake::{InvalidRequest, InvalidResponse};

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }

        impl core::error::Error for $name {}
    )*};
}
pub(crate) use errors;

errors! {
    /// A connection was not taken.
    AcceptError {
        /// `connections_max` are there already.
        ConnectionsFull = "connections_max reached",
        /// The hub's memory budget is used up.
        Overloaded = "the hub's memory budget is used up",
        /// The hub is draining.
        Draining = "draining",
        /// The subprotocol of an upgraded connection is not one of the hub's dialects.
        UnknownProtocol = "unknown subprotocol",
        /// Compression was agreed that the hub is not configured for, or has no memory to take over.
        NoDeflate = "compression that cannot be had",
    }
    /// A topic was not declared.
    TopicError {
        /// Empty, longer than `topic_name_bytes_max`, or with control characters.
        InvalidName = "empty, too long, or with control characters",
        /// `topics_max` are there already.
        TopicsFull = "topics_max reached",
        /// There is a topic of that name.
        AlreadyDeclared = "declared already",
        /// The options contradict each other: see `TopicOptions::check`.
        InvalidOptions = "options that contradict each other",
    }
    /// A lane was not made.
    SubscribeError {
        /// No such connection, or it is not open.
        UnknownConnection = "no such open connection",
        /// The connection is in the client role: frames of topics carry no masks (RFC 6455 §5.3).
        ClientRole = "the connection is in the client role",
        /// No such topic.
        UnknownTopic = "no such topic",
        /// The session has a lane on that topic.
        AlreadySubscribed = "subscribed already",
        /// `lanes_per_session_max` reached.
        LanesFull = "lanes_per_session_max reached",
        /// A policy that is not among the topic's `choices`.
        PolicyNotAllowed = "the topic does not allow this policy",
        /// A limit above the topic's, zero, or below the topic's `message_bytes_max`; with `LatestPerKey` also below the
        /// topic's `keys_max` or `keys_bytes_max`; an `age_max` with `Disconnect` or `Block`.
        InvalidLimits = "limits above the topic's, too low for one message or for the topic's keys, or an age where no message may be lost",
        /// The hub is draining.
        Draining = "draining",
        /// At least once was asked for, of a topic that does not deliver so, with a policy that cannot, or in-process.
        NotAtLeastOnce = "at least once is not to be had of this topic, with this policy, or in-process",
        /// [`Start::After`](crate::Start::After) a message that is not there yet.
        PositionAhead = "a position beyond the newest message",
    }
    /// A subprotocol was not allowed.
    ProtocolError {
        /// Not a token (RFC 9110 §5.6.2).
        Invalid = "not a token",
        /// It is allowed already.
        AlreadyAllowed = "allowed already",
    }
    /// A verdict on an opening request had no effect.
    VerdictError {
        /// No such connection, or it waits for no verdict (any more): its time is over, its peer went, or it was decided
        /// already. Counted as stale.
        NotWaiting = "the connection waits for no verdict",
        /// A subprotocol that was not offered, or is not of a dialect where the connection is to speak one.
        InvalidProtocol = "a subprotocol that was not offered, or is not of a dialect",
        /// A field that the handshake writes itself, or a name or value that cannot stand in one.
        InvalidHeader = "a header that is reserved or cannot be written",
        /// A refusal with a status that is not within 400 to 599.
        InvalidStatus = "a status that is not within 400 to 599",
        /// A principal longer than `principal_bytes_max`.
        PrincipalTooLong = "longer than principal_bytes_max",
    }
    /// A connection was not given a principal.
    AuthenticateError {
        /// No such connection, or it is not open.
        UnknownConnection = "no such open connection",
        /// Longer than `principal_bytes_max`.
        TooLong = "longer than principal_bytes_max",
    }
    /// A session was not made resumable, or not resumed.
    ResumeError {
        /// No such connection, or it is not open.
        UnknownConnection = "no such open connection",
        /// No such session: it has ended, is another principal's, or speaks another dialect.
        UnknownSession = "no such session",
        /// The connection's own session has lanes.
        AlreadySubscribed = "this connection has subscriptions of its own",
        /// The connection is in the client role.
        ClientRole = "the connection is in the client role",
        /// The hub is draining.
        Draining = "draining",
    }
    /// An acknowledgement, or a grant, changed nothing.
    AckError {
        /// No such session, or it has no lane on that topic.
        UnknownLane = "no such lane",
        /// The lane is best-effort.
        NotAtLeastOnce = "the lane is best-effort",
        /// No message that is unacknowledged.
        UnknownMessage = "not of an unacknowledged message",
    }
    /// A document was not taken.
    DocumentError {
        /// Not a path (RFC 3986 §3.3) that begins with a slash.
        InvalidPath = "not a path that begins with a slash",
        /// A content type that cannot stand in a header field.
        InvalidContentType = "not a content type",
    }
    /// A direct message was refused; nothing changed.
    SendError {
        /// No such connection, or it is not open.
        UnknownConnection = "no such open connection",
        /// The direct lane has no room; `Event::Sendable` tells when it has.
        Full = "the direct lane is full",
        /// A volatile message, and the connection cannot be written to now.
        NotWritable = "the connection cannot be written to now",
        /// Longer than the direct lane's `bytes_max`.
        TooLarge = "larger than the direct lane's bytes_max",
        /// The hub's memory budget is used up.
        Overloaded = "the hub's memory budget is used up",
    }
}

/// A publish was refused; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum PublishError {
    /// No such topic.
    UnknownTopic,
    /// A `Block` lane has no room, or other publishes wait for it; `Event::Drained` tells when to try again.
    Full,
    /// Longer than the topic's `message_bytes_max`.
    TooLarge,
    /// A key longer than `key_bytes_max`, or with control characters.
    InvalidKey,
    /// The hub's memory budget is used up and no lane could be shed.
    Overloaded,
    /// A text payload that is not JSON text (checked with the feature `json`).
    NotJson,
    /// The topic has used all sequence numbers below 2^53.
    Exhausted,
    /// An id longer than [`PUBLISH_ID_BYTES_MAX`](crate::PUBLISH_ID_BYTES_MAX), or with control characters.
    InvalidId,
    /// Faster than the topic's rate allows.
    Limited {
        /// When there is room for one again, if nobody else takes it.
        retry_after: Duration,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownTopic => "no such topic",
            Self::Full => "a lane with the policy block is full",
            Self::TooLarge => "larger than message_bytes_max",
            Self::InvalidKey => "a key that is too long, or with control characters",
            Self::Overloaded => "the hub's memory budget is used up",
            Self::NotJson => "not JSON text",
            Self::Exhausted => "no sequence number is left",
            Self::InvalidId => "an id that is too long, or with control characters",
            Self::Limited { retry_after } => {
                return write!(f, "faster than the topic's rate; try again after {retry_after:?}");
            }
        })
    }
}

impl core::error::Error for PublishError {}

impl From<InvalidResponse> for VerdictError {
    fn from(error: InvalidResponse) -> Self {
        match error {
            InvalidResponse::Protocol => Self::InvalidProtocol,
            InvalidResponse::HeaderName | InvalidResponse::HeaderValue => Self::InvalidHeader,
            InvalidResponse::Status => Self::InvalidStatus,
        }
    }
}

/// A client's connection could not be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// `connections_max` are there already.
    ConnectionsFull,
    /// The hub is draining.
    Draining,
    /// Something in the request may not stand there.
    InvalidRequest(InvalidRequest),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionsFull => f.write_str("connections_max reached"),
            Self::Draining => f.write_str("draining"),
            Self::InvalidRequest(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConnectError {}
