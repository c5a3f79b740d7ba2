//! A WebSocket topic server and client on [smol]: every consumer behind its own bounded lane.
//!
//! A [`Server`] is one task: whoever awaits [`Server::run`]. Its [`Handle`] publishes and subscribes from any other task
//! or thread. Browsers speak `forebay.v1` with it (JSON text, `{"op":"subscribe","topic":"t"}`), which is specified in
//! the core's `dialect/forebay.md`; `new WebSocket(url)` is all they need.
//!
//! ```
//! use forebay_smol::{Entry, LaneOptions, Payload, Policies, Policy, Server, ServerOptions, TopicOptions};
//! use smol::stream::StreamExt;
//!
//! # smol::block_on(async {
//! // Nothing of "orders" is lost: whoever publishes waits for the slowest.
//! let orders = TopicOptions { policy: Policy::Block, ..TopicOptions::default() };
//! let options = ServerOptions { topics: vec![("orders".to_owned(), orders)], ..ServerOptions::default() };
//! let server = Server::bind("127.0.0.1:0", options).await?;
//! let handle = server.handle();
//! let running = smol::spawn(server.run());
//!
//! let mut subscription = handle.subscribe("orders", LaneOptions::default()).await?;
//! let published = handle.publish("orders", Payload::Text(r#"{"id":1}"#)).await?;
//! assert_eq!((published.position.seq, published.matched), (1, 1));
//! match subscription.next().await {
//!     Some(Entry::Message { seq, payload }) => assert_eq!((seq, payload.as_text()), (1, Some(r#"{"id":1}"#))),
//!     other => panic!("{other:?}"),
//! }
//! handle.shutdown();
//! running.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! A [`Client`] sends and receives messages of any WebSocket server.
//!
//! ```
//! # smol::block_on(async {
//! # let server = forebay_smol::Server::bind("127.0.0.1:0", Default::default()).await?;
//! # let url = format!("ws://{}/", server.local_addr()?);
//! # let handle = server.handle();
//! # let running = smol::spawn(server.run());
//! use forebay_smol::{Client, ClientOptions, CloseCode, Payload};
//!
//! let client = Client::connect(&url, ClientOptions::default()).await?;
//! assert!(client.receive().await?.as_text().unwrap().starts_with(r#"{"op":"hello","#));
//! client.send(Payload::Text(r#"{"op":"ping","id":7}"#)).await?;
//! assert_eq!(client.receive().await?.as_text(), Some(r#"{"op":"pong","id":7}"#));
//! assert_eq!(client.close(CloseCode::NORMAL, "done").await.unsent_messages, 0);
//! # handle.shutdown();
//! # running.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! A [`Handle`] also takes over connections of an HTTP server that is there already ([`Handle::adopt`]), so that one port
//! serves both; [`Server::unbound`] makes a server that has no other connections.
//!
//! ```
//! # smol::block_on(async {
//! use smol::io::AsyncReadExt as _;
//!
//! use forebay_smol::{Server, ServerOptions};
//!
//! let server = Server::unbound(ServerOptions::default())?;
//! let handle = server.handle();
//! let running = smol::spawn(server.run());
//! # let listener = smol::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0))?;
//! # let url = format!("ws://{}/live", listener.get_ref().local_addr()?);
//! # let client = smol::spawn(async move { forebay_smol::Client::connect(&url, Default::default()).await.is_ok() });
//!
//! // In an HTTP server that has just read this much, and sees that it begins a request for "/live":
//! let (mut stream, _) = listener.accept().await?;
//! let mut request = [0; 9];
//! stream.read_exact(&mut request).await?;
//! if request == *b"GET /live" {
//!     handle.adopt(stream.into_inner()?, &request).await?; // What comes behind it the hub reads itself.
//! }
//! # assert!(client.await);
//! # handle.shutdown();
//! # running.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Within a process, [`stream`] has the same control for values of any type, whose consumers are async streams, and pipes
//! from a source through a transform to a sink that pull no faster than the sink takes.
//!
//! The numbers of everything that waits, was sent or was lost are in [`Handle::snapshot`]; with the feature `metrics`,
//! `Handle::collector` shows them in an application's own registry of `prometheus-client`.
//!
//! # Who may connect
//!
//! Programs, and pages of the host and port that a request names; pages from elsewhere only if [`ServerOptions::origins`] has
//! theirs, by exact scheme, host and port (RFC 6455 §10.2), else they get 403. Beyond that [`ServerOptions::on_upgrade`] decides,
//! by path, query, headers and address: an [`UpgradeHook`] accepts, perhaps as a principal, or refuses with a status. Whoever
//! finds no room is answered with 503.
//!
//! # What it costs
//!
//! One task per server and one per client ([`smol::spawn`]), each with a poller for all its sockets; smol's reactor knows
//! that poller, not the sockets, so that an idle connection costs it nothing and a message that comes while the task
//! works never reaches it (on Windows a thread of smol's blocking pool waits in its place). A message that is sent costs no system call and no wake of its own while the task works: it is
//! handed over in batches, both ways. What is sent or not received is bounded; what exceeds the bounds waits in TCP, at
//! whoever sends it.
//!
//! A turn of the task is bounded (16,384 writes, or 256 MiB of them, which is some 0.1 s), and between two turns it yields to
//! others of its thread, once it has worked for 1 ms. Where others must not wait for a message that goes to thousands, the
//! server is better run on a thread of its own: `std::thread::spawn(|| smol::block_on(server.run()))`.
//!
//! Whatever is awaited here may be dropped: it leaves nothing behind. A message that was to be sent or published is then not
//! sent, or, if it has happened at that moment, sent once.
#![forbid(unsafe_code)]

pub use forebay_core;

mod client;
mod handle;
mod server;
pub mod stream;
mod stream_pipe;
#[cfg(unix)]
mod worker;
#[cfg(not(unix))]
#[path = "worker_blocking.rs"]
mod worker;

pub use client::Client;
pub use forebay_core::wire::handshake::InvalidOrigin;
pub use forebay_core::wire::{CloseCode, CloseReason};
pub use forebay_core::{
    AbandonReason, AcceptError, AckError, Acks, AtLeastOnce, AuthenticateError, Class, ConfigError, ConnectionPressure,
    Count, CreateTopics, DeflateOptions, Delivery, Disconnect, DisconnectScope, DocumentError, EndReason, Entry, Event,
    Excess, Flow, Gap, GapReason, History, Hub, LaneLimits, LaneOptions, LanePressure, Level, Levels, Load, LossReason,
    Message, Mode, Options, OwnedPayload, Payload, Policies, Policy, Position, Pressure, ProtocolError, PublishError,
    Published, Rate, ResumeError, ResumeLane, Scope, SessionEnd, SessionPressure, SessionToken, Start, Stats,
    SubscribeError, TopicError, TopicOptions, TopicPressure, Totals, Transitions, UpgradeRequest, Verdict,
    VerdictError, Watermarks,
};
#[cfg(feature = "metrics")]
pub use forebay_shell::Collector;
pub use forebay_shell::{
    AdoptError, Bytes, CallError, ClientOptions, Closed, ConnectError, Document, LaneSnapshot, NextError, ReceiveError,
    SendError, ServerOptions, Snapshot, TopicSnapshot, UpgradeHook, UrlError,
};
pub use forebay_sys::raise_open_files;
pub use handle::{Handle, Subscription};
pub use server::Server;
