//! A WebSocket topic server and client on plain threads.
#![forbid(unsafe_code)]

pub use forebay_core;

mod accept;
mod client;
mod handle;
mod server;
mod worker;

pub use client::Client;
pub use forebay_core::wire::CloseCode;
pub use forebay_core::{
    ConfigError, Count, CreateTopics, EndReason, Entry, Event, Gap, Hub, LaneLimits, LaneOptions, LossReason, Mode,
    Options, OwnedPayload, Payload, Policy, Position, PublishError, Published, Stats, SubscribeError, TopicError,
    TopicOptions, Totals,
};
pub use forebay_shell::{
    CallError, ClientOptions, Closed, ConnectError, NextError, ReceiveError, SendError, ServerOptions, UrlError,
};
pub use handle::{Handle, Subscription};
pub use server::Server;
