//! What can go wrong between a handle and its hub.

use std::{fmt, io};

use forebay_core::stream::ConsumerError;
use forebay_core::{AcceptError, ConfigError, EndReason, TopicError};

use crate::url::UrlError;

/// A command to a hub was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError<E> {
    /// The server has stopped.
    Stopped,
    /// There is no such topic and it could not be made.
    Topic(TopicError),
    /// The hub refused; nothing changed.
    Refused(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the server has stopped"),
            Self::Topic(error) => write!(f, "the topic cannot be had: {error}"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}

/// A socket was not taken over; it is closed, with a 503 if its opening handshake was to be answered and the hub takes no more.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptError {
    /// The server has stopped.
    Stopped,
    /// The hub takes no more connections, or not with that subprotocol.
    Refused(AcceptError),
    /// The socket cannot be used.
    Io(io::Error),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the server has stopped"),
            Self::Refused(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AdoptError {}

/// There was no next entry of a subscription, or of a consumer of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextError {
    /// Nothing came in time.
    TimedOut,
    /// A subscription has ended: its topic was removed, its lane was full (`Policy::Disconnect`), or the server has
    /// stopped. A consumer has ended: it says how.
    Ended,
}

impl fmt::Display for NextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "nothing came in time",
            Self::Ended => "the end was reached",
        })
    }
}

impl std::error::Error for NextError {}

/// There was no one item of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnceError {
    /// The stream takes no consumer for it.
    Refused(ConsumerError),
    /// Nothing came in time.
    TimedOut,
    /// The stream was closed or killed.
    Ended,
}

impl fmt::Display for OnceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::TimedOut => f.write_str("nothing came in time"),
            Self::Ended => f.write_str("the stream was closed or killed"),
        }
    }
}

impl std::error::Error for OnceError {}

impl From<NextError> for OnceError {
    fn from(error: NextError) -> Self {
        match error {
            NextError::TimedOut => Self::TimedOut,
            NextError::Ended => Self::Ended,
        }
    }
}

/// A client's connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Why.
    pub reason: EndReason,
    /// Messages that were sent with `Ok` and were not handed to the kernel to the last byte.
    pub unsent_messages: u64,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            EndReason::PeerClosed(Some(code)) => write!(f, "closed by the peer with code {}", code.get())?,
            EndReason::PeerClosed(None) => f.write_str("closed by the peer")?,
            EndReason::PeerGone => f.write_str("the connection broke")?,
            EndReason::Closed(code) => write!(f, "closed with code {}", code.get())?,
            EndReason::Drained => f.write_str("shut down")?,
            EndReason::Protocol(error) => write!(f, "the peer broke the protocol: {error}")?,
            EndReason::Refused(error) => write!(f, "opening request refused: {error}")?,
            EndReason::BadResponse(error) => write!(f, "no usable answer to the opening request: {error}")?,
            EndReason::HandshakeTimeout => f.write_str("no opening handshake in time")?,
            EndReason::MessageTimeout => f.write_str("a message was not finished in time")?,
            EndReason::PongTimeout => f.write_str("no answer to a ping")?,
            EndReason::Stalled => f.write_str("the peer stopped reading")?,
            EndReason::Overloaded => f.write_str("out of memory budget")?,
            other => write!(f, "ended: {other:?}")?,
        }
        match self.unsent_messages {
            0 => Ok(()),
            count => write!(f, "; {count} messages were not sent"),
        }
    }
}

impl std::error::Error for Closed {}

/// A message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// Too much waits to be sent; try again later. Only `try_send` says this.
    Full,
    /// Longer than the direct lane's `bytes_max`.
    TooLarge,
    /// The connection has ended.
    Closed(Closed),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("too much waits to be sent"),
            Self::TooLarge => f.write_str("larger than direct_lane.bytes_max"),
            Self::Closed(closed) => closed.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

/// No message was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveError {
    /// Nothing came in time.
    TimedOut,
    /// The connection has ended and everything that came before was received.
    Closed(Closed),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("nothing came in time"),
            Self::Closed(closed) => closed.fmt(f),
        }
    }
}

impl std::error::Error for ReceiveError {}

/// A client could not connect.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one to connect to.
    Url(UrlError),
    /// The limits contradict each other.
    Options(ConfigError),
    /// Something in the request may not stand there.
    Request(forebay_core::ConnectError),
    /// The network.
    Io(io::Error),
    /// No connection, or no answer to the opening request, within `connect_timeout`.
    TimedOut,
    /// There was no opening handshake, and this is why.
    Refused(Closed),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Options(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::TimedOut => f.write_str("not connected in time"),
            Self::Refused(closed) => closed.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}
