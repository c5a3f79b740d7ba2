//! What the runtimes of Forebay share: everything between a hub and a socket that does not wait.
//!
//! An application uses `forebay-threads` or `forebay-smol`; this crate is how those are made. They wait and wake: what
//! a server and a client do in between is [`ServerWork`] and [`ClientWork`].
#![forbid(unsafe_code)]

mod acceptor;
mod calls;
mod client;
mod clock;
mod driver;
mod error;
#[cfg(test)]
mod fake;
mod gate;
mod inbox;
mod linger;
mod mailbox;
#[cfg(feature = "metrics")]
mod metrics;
mod options;
mod outbox;
mod reply;
mod server;
mod snapshot;
mod sockets;
mod stream;
mod stream_drain;
mod stream_pipe;
mod subscription;
mod upgrade;
mod url;
mod wake;

pub use bytes::Bytes;
pub use calls::{Adopt, Command, Handover, KeptMessage, LaneInbox, Publish, Subscribed};
pub use client::{ClientLink, ClientWork, Opening};
pub use clock::{Clock, entropy};
pub use driver::{Application, Driver};
pub use error::{AdoptError, CallError, Closed, ConnectError, NextError, OnceError, ReceiveError, SendError};
pub use forebay_core::{UpgradeRequest, Verdict};
pub use gate::Place;
pub use inbox::{BATCH_BYTES_MAX, BATCH_MAX, Inbox, Nothing};
pub use mailbox::Mailbox;
#[cfg(feature = "metrics")]
pub use metrics::Collector;
pub use options::{ClientOptions, Document, ServerOptions};
pub use outbox::{Messages, Outbox};
pub use reply::{Answer, Reply, TimedOut, reply};
pub use server::{ServerLink, ServerWork, Step};
pub use snapshot::{LaneSnapshot, Snapshot, TopicSnapshot};
pub use sockets::{Interest, Socket};
pub use stream::{ConsumerLink, StreamLink, StreamsLink};
pub use stream_pipe::{BoxError, Broken, PipeError, Unread};
pub use subscription::SubscriptionLink;
pub use upgrade::UpgradeHook;
pub use url::{Url, UrlError};
pub use wake::Wake;
