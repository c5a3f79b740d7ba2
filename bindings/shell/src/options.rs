//! What a server and a client are started with.

use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_core::{LaneLimits, Mode, Options, TopicOptions};

use crate::UpgradeHook;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Every limit of the hub.
    pub hub: Options,
    /// Topics that are there from the beginning.
    pub topics: Vec<(String, TopicOptions)>,
    /// What plain HTTP requests are answered with.
    pub documents: Vec<Document>,
    /// Who understands what clients send: the negotiated dialect, or the application ([`Mode::Raw`]).
    pub mode: Mode,
    /// Origins whose pages may connect, beside those of the host and port that the request names: none.
    /// `https://app.example.com` (exactly that scheme, host and port), `null`, or `*` for any
    /// ([`Hub::allow_origin`](forebay_core::Hub::allow_origin)).
    pub origins: Vec<String>,
    /// Subprotocols that are chosen with [`Mode::Raw`] where a client offers them: none
    /// ([`Hub::allow_protocol`](forebay_core::Hub::allow_protocol)). With a dialect its own are.
    pub protocols: Vec<String>,
    /// Who decides about opening requests, by path, query, headers and address: nobody, all good ones are accepted.
    pub on_upgrade: Option<UpgradeHook>,
    /// `TCP_NOTSENT_LOWAT` of every connection: 16 KiB. Without it the kernel takes megabytes on behalf of a peer that
    /// does not read, and what it took can no longer be dropped, counted as lost or overtaken.
    pub notsent_lowat_bytes: u32,
    /// `SO_SNDBUF` of every connection; `None` leaves it to the system.
    pub send_buffer_bytes: Option<u32>,
    /// How long a shutdown waits for what waits in lanes: 5 s.
    pub drain_timeout: Duration,
    /// Commands of other threads that wait for the hub at a time: 1,024. One more waits outside.
    pub mailbox_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            hub: Options::default(),
            topics: Vec::new(),
            documents: Vec::new(),
            mode: Mode::Dialect,
            origins: Vec::new(),
            protocols: Vec::new(),
            on_upgrade: None,
            notsent_lowat_bytes: 16 << 10,
            send_buffer_bytes: None,
            drain_timeout: Duration::from_secs(5),
            mailbox_max: 1_024,
        }
    }
}

/// A page or a script that belongs to the service: what a `GET` of its path is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// The path, without a query: `/` or `/app.js`.
    pub path: String,
    /// Its content type: `text/html; charset=utf-8`.
    pub content_type: String,
    /// Its bytes.
    pub body: Bytes,
}

/// What a client is started with.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Subprotocols to offer, most wanted first.
    pub protocols: Vec<String>,
    /// Further fields of the opening request, such as `Authorization`.
    pub headers: Vec<(String, String)>,
    /// The limits: `direct_lane` bounds what was sent and not yet written (16,384 messages, 1 MiB),
    /// `inbound_bytes_max` what was not received.
    pub hub: Options,
    /// `SO_RCVBUF`; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<u32>,
    /// `SO_SNDBUF`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<u32>,
    /// `TCP_NOTSENT_LOWAT`: 128 KiB.
    pub notsent_lowat_bytes: u32,
    /// From the first attempt to the end of the opening handshake: 10 s.
    pub connect_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            protocols: Vec::new(),
            headers: Vec::new(),
            hub: Options { direct_lane: LaneLimits { messages_max: 16_384, bytes_max: 1 << 20 }, ..Options::default() },
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
            notsent_lowat_bytes: 128 << 10,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

impl ClientOptions {
    /// When `connect_timeout` from now is over.
    #[must_use]
    pub fn connect_deadline(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.connect_timeout).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX)))
    }
}
