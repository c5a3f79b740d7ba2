//! What the runtimes of Forebay share: everything between a hub and a socket that does not wait.
//!
//! An application uses `forebay-threads`; this crate is how that is made.
#![forbid(unsafe_code)]

mod calls;
mod clock;
mod driver;
mod error;
#[cfg(test)]
mod fake;
mod inbox;
mod linger;
mod mailbox;
mod options;
mod outbox;
mod reply;
mod sockets;
mod stats;
mod url;
mod wake;

pub use calls::{Calls, Command, KeptPayload, LaneInbox, Publish, Subscribed};
pub use clock::{Clock, entropy};
pub use driver::{Application, Driver};
pub use error::{CallError, Closed, ConnectError, NextError, ReceiveError, SendError};
pub use inbox::{BATCH_BYTES_MAX, BATCH_MAX, Inbox, Nothing};
pub use mailbox::Mailbox;
pub use options::{ClientOptions, ServerOptions};
pub use outbox::{Messages, Outbox};
pub use reply::{Answer, Reply, TimedOut, reply};
pub use sockets::{Interest, Socket};
pub use stats::sum_stats;
pub use url::{Url, UrlError};
pub use wake::Wake;
