//! How an application protocol maps onto subscribe, publish and deliver.
//!
//! A dialect turns inbound messages into requests and outbound messages, notices and replies into frames. It keeps no
//! state: one `static` each. Nothing outside this folder asks which dialect it has.
#![cfg_attr(not(feature = "json"), expect(dead_code, reason = "requests and replies belong to dialects"))]

#[cfg(feature = "json")]
mod forebay;
mod raw;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::BytesMut;
use core::time::Duration;

use crate::config::{LaneOptions, Options, Start};
use crate::delivery::Delivery;
use crate::error::{PublishError, ResumeError, SubscribeError, TopicError};
use crate::output::{Gap, Message, Payload, Position, Published, SessionToken};
use crate::policy::Policy;

pub(crate) use raw::{RAW, opcode, payload as raw_payload, put_payload};

/// How many encodings a topic may have: one per dialect, and `RAW`.
pub(crate) const ENCODINGS: usize = 2;

/// The dialect of the first offered subprotocol that is known, and whether there is one; without one, the first dialect.
/// `None`: no dialect is compiled in.
pub(crate) fn choose<'a>(mut offered: impl Iterator<Item = &'a str>) -> Option<(&'static &'static dyn Dialect, bool)> {
    let named = offered.find_map(|name| DIALECTS.iter().find(|dialect| dialect.subprotocol() == name));
    named.map(|dialect| (dialect, true)).or_else(|| DIALECTS.first().map(|dialect| (dialect, false)))
}

/// All of them, `RAW` included.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn Dialect> {
    core::iter::once(RAW).chain(DIALECTS.iter().copied())
}

#[cfg(feature = "json")]
static DIALECTS: &[&dyn Dialect] = &[&forebay::Forebay];
#[cfg(not(feature = "json"))]
static DIALECTS: &[&dyn Dialect] = &[];

/// One application protocol. Sealed: the hub knows all of them.
pub(crate) trait Dialect: Sync + core::fmt::Debug {
    /// What is the same for all its messages.
    fn description(&self) -> &'static Description;

    /// What an inbound message asks for.
    fn decode<'a>(&self, is_text: bool, message: &'a [u8]) -> Result<Request<'a>, Fault<'a>>;

    /// What frames of the topic have in common; handed back to `message_bytes` and `put_message`.
    fn prefix(&self, topic: &str) -> Box<[u8]>;

    /// The length of a message's frame.
    fn message_bytes(&self, prefix: &[u8], seq: u64, message: Message<'_>) -> usize;

    /// Writes a message's frame.
    fn put_message(&self, out: &mut BytesMut, prefix: &[u8], seq: u64, message: Message<'_>);

    /// Writes the frame of a gap notice; nothing in a dialect without them.
    fn put_gap(&self, out: &mut BytesMut, topic: &str, gap: &Gap);

    /// Writes the frame of a reply; nothing in a dialect without them.
    fn put_reply(&self, out: &mut BytesMut, reply: &Reply<'_>, id: Option<&str>);
}

/// A dialect, as others need to know it.
#[derive(Debug)]
pub(crate) struct Description {
    /// The place of its encoding among a topic's logs, below `ENCODINGS`.
    encoding: usize,
    /// The name in `Sec-WebSocket-Protocol`.
    subprotocol: &'static str,
    /// `None`: every message of a topic is a WebSocket message of its own.
    join: Option<Join>,
}

/// How several messages of a topic are written as one WebSocket text message: what stands before the first of them, between
/// two, and behind the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Join {
    pub(crate) open: &'static [u8],
    pub(crate) between: &'static [u8],
    pub(crate) close: &'static [u8],
}

impl dyn Dialect {
    pub(crate) fn encoding(&self) -> usize {
        self.description().encoding
    }

    pub(crate) fn subprotocol(&self) -> &'static str {
        self.description().subprotocol
    }

    pub(crate) fn join(&self) -> Option<Join> {
        self.description().join
    }
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// The client's name for the request, in the form in which it is to be repeated.
    pub(crate) id: Option<&'a str>,
    pub(crate) action: Action<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    Subscribe(Cow<'a, str>, LaneOptions, Start),
    Unsubscribe(Cow<'a, str>),
    Publish {
        topic: Cow<'a, str>,
        key: Cow<'a, str>,
        id: Cow<'a, str>,
        payload: ActionPayload<'a>,
    },
    /// The session is to be resumable, for so long.
    Keep(Option<Duration>),
    Resume(Option<SessionToken>, Vec<ActionLane<'a>>),
    Acknowledge(Cow<'a, str>, Acked),
    Grant(Cow<'a, str>, u32),
    Ping,
}

/// Where a client stands that resumes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ActionLane<'a> {
    pub(crate) topic: Cow<'a, str>,
    pub(crate) position: Option<Position>,
    pub(crate) credit: Option<u32>,
}

/// What is acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    Through(u64),
    Each(Vec<u64>),
}

/// A payload as a client sent it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ActionPayload<'a> {
    Text(&'a str),
    Binary(Vec<u8>),
}

impl ActionPayload<'_> {
    pub(crate) fn as_payload(&self) -> Payload<'_> {
        match self {
            Self::Text(text) => Payload::Text(text),
            Self::Binary(bytes) => Payload::Binary(bytes),
        }
    }
}

impl Action<'_> {
    /// Whether it is carried out while a publish of the connection waits (design §6: acks, credit, pongs, unsubscribe
    /// and close are processed), and however fast it comes.
    pub(crate) fn passes_a_parked_publish(&self) -> bool {
        matches!(self, Self::Unsubscribe(_) | Self::Ping | Self::Acknowledge(..) | Self::Grant(..))
    }
}

/// What the hub answers.
#[derive(Debug)]
pub(crate) enum Reply<'a> {
    Hello { session: SessionToken, options: &'a Options },
    Subscribed(SubscribedLane<'a>),
    Done { topic: &'a str },
    Published(Published),
    Kept { session: SessionToken, ttl: Duration },
    Resumed { session: SessionToken, ttl: Duration, lanes: &'a [SubscribedLane<'a>] },
    Pong,
    Ended { topic: &'a str, code: &'static str },
    Error(Code, &'a str),
    Limited { retry_after: Duration },
}

impl Reply<'_> {
    /// Of what was refused: why.
    pub(crate) const fn error_code(&self) -> Option<Code> {
        match self {
            Reply::Error(code, _) => Some(*code),
            Reply::Limited { .. } => Some(Code::Limited),
            _ => None,
        }
    }
}

/// A lane, as its client is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscribedLane<'a> {
    pub(crate) topic: &'a str,
    /// What is behind this position will come.
    pub(crate) position: Position,
    pub(crate) policy: Policy,
    /// Of the lane.
    pub(crate) delivery: Delivery,
}

/// A request that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) code: Code,
    pub(crate) message: Cow<'static, str>,
}

macro_rules! codes {
    ($($variant:ident = $name:literal,)*) => {
        /// Why a request was not carried out: a stable list, the same in all dialects.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Code { $($variant,)* }

        /// The codes of errors that clients are told, in the order of
        /// [`Stats::error_replies`](crate::Stats::error_replies).
        pub const ERROR_CODES: [&str; [$($name),*].len()] = [$($name),*];

        impl Code {
            pub(crate) const fn name(self) -> &'static str {
                ERROR_CODES[self as usize]
            }
        }
    };
}

codes! {
    BadMessage = "bad-message",
    UnknownOp = "unknown-op",
    Unsupported = "unsupported",
    BadTopic = "bad-topic",
    UnknownTopic = "unknown-topic",
    TopicsFull = "topics-full",
    AlreadySubscribed = "already-subscribed",
    NotSubscribed = "not-subscribed",
    LanesFull = "lanes-full",
    PolicyNotAllowed = "policy-not-allowed",
    BadLimits = "bad-limits",
    BadKey = "bad-key",
    Full = "full",
    TooLarge = "too-large",
    Overloaded = "overloaded",
    Draining = "draining",
    BadPosition = "bad-position",
    BadId = "bad-id",
    NotAtLeastOnce = "not-at-least-once",
    UnknownSession = "unknown-session",
    Limited = "limited",
}

impl From<TopicError> for Code {
    fn from(error: TopicError) -> Code {
        match error {
            TopicError::TopicsFull => Code::TopicsFull,
            TopicError::InvalidName | TopicError::AlreadyDeclared | TopicError::InvalidOptions => Code::BadTopic,
        }
    }
}

impl From<SubscribeError> for Code {
    fn from(error: SubscribeError) -> Code {
        match error {
            SubscribeError::AlreadySubscribed => Code::AlreadySubscribed,
            SubscribeError::LanesFull => Code::LanesFull,
            SubscribeError::Draining => Code::Draining,
            SubscribeError::UnknownTopic | SubscribeError::UnknownConnection | SubscribeError::ClientRole => {
                Code::UnknownTopic
            }
            SubscribeError::PolicyNotAllowed => Code::PolicyNotAllowed,
            SubscribeError::InvalidLimits => Code::BadLimits,
            SubscribeError::NotAtLeastOnce => Code::NotAtLeastOnce,
            SubscribeError::PositionAhead => Code::BadPosition,
        }
    }
}

impl From<ResumeError> for Code {
    fn from(error: ResumeError) -> Code {
        match error {
            ResumeError::UnknownSession | ResumeError::UnknownConnection | ResumeError::ClientRole => {
                Code::UnknownSession
            }
            ResumeError::AlreadySubscribed => Code::AlreadySubscribed,
            ResumeError::Draining => Code::Draining,
        }
    }
}

impl From<PublishError> for Code {
    fn from(error: PublishError) -> Code {
        match error {
            PublishError::Full => Code::Full,
            PublishError::TooLarge => Code::TooLarge,
            PublishError::Overloaded => Code::Overloaded,
            PublishError::UnknownTopic | PublishError::Exhausted => Code::UnknownTopic,
            PublishError::NotJson => Code::BadMessage,
            PublishError::InvalidKey => Code::BadKey,
            PublishError::InvalidId => Code::BadId,
            PublishError::Limited { .. } => Code::Limited,
        }
    }
}

/// Whether a text payload may be published: one JSON text. Without the feature `json` nobody looks.
pub(crate) fn is_publishable(payload: Payload<'_>) -> bool {
    match payload {
        #[cfg(feature = "json")]
        Payload::Text(text) => forebay::is_json(text),
        _ => true,
    }
}
