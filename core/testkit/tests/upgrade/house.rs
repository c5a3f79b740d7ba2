//! A hub that is spoken to by hand.

use std::time::Duration;

use forebay_core::{Config, ConnId, Effect, EndReason, Event, Hub, Instant, Mode, Options, Peer};
use forebay_testkit::mini::handshake::{Response, ResponseReader};
use forebay_testkit::stage;

pub(crate) const S: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// A request that is answered with 101.
pub(crate) const GOOD: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: h.example:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The good request with these lines among its fields.
pub(crate) fn with(lines: &str) -> String {
    GOOD.replace("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{lines}\r\n"))
}

/// The good request, changed.
pub(crate) fn replaced(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

pub(crate) struct House {
    pub(crate) hub: Hub,
    pub(crate) now: Instant,
    /// What was written, closed and told since the last look.
    pub(crate) written: Vec<(ConnId, Vec<u8>)>,
    pub(crate) closed: Vec<ConnId>,
    pub(crate) events: Vec<Event>,
}

impl House {
    pub(crate) fn new(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        let now = Instant::from_nanos(1_000_000_000);
        let hub = Hub::new(Config::try_from(options).expect("good"), [5; 32], now);
        Self { hub, now, written: Vec::new(), closed: Vec::new(), events: Vec::new() }
    }

    pub(crate) fn accept(&mut self, peer: Peer) -> ConnId {
        self.hub.handle_accept(peer, self.now).expect("room")
    }

    pub(crate) fn read(&mut self, conn: ConnId, bytes: impl AsRef<[u8]>) {
        self.hub.handle_bytes(conn, bytes.as_ref(), self.now);
        self.hub.check_invariants();
        self.drain();
    }

    /// Takes everything there is to poll; every socket takes everything.
    pub(crate) fn drain(&mut self) {
        loop {
            let mut moved = false;
            while let Some(transmit) = self.hub.poll_transmit() {
                let (conn, bytes) = (transmit.conn(), stage::copy(&transmit));
                self.hub.handle_sent(conn, bytes.len(), self.now);
                self.written.push((conn, bytes));
                moved = true;
            }
            while let Some(effect) = self.hub.poll_effect() {
                if let Effect::Close(conn) = effect {
                    self.closed.push(conn);
                }
                moved = true;
            }
            while let Some(event) = self.hub.poll_event() {
                self.events.push(event);
                moved = true;
            }
            self.hub.check_invariants();
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.hub.handle_timeout(self.now);
        self.drain();
    }

    /// All that was written to a connection.
    pub(crate) fn output(&self, conn: ConnId) -> Vec<u8> {
        let of_conn = self.written.iter().filter(|(other, _)| *other == conn);
        of_conn.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    /// The answer to its opening request, if there was one.
    pub(crate) fn answer(&self, conn: ConnId) -> Option<Response> {
        let bytes = self.output(conn);
        (!bytes.is_empty()).then(|| ResponseReader::default().feed(&bytes).expect("an answer").expect("a whole one"))
    }

    pub(crate) fn ended(&self, conn: ConnId) -> Option<EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed { conn: other, reason } if *other == conn => Some(*reason),
            _ => None,
        })
    }

    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Opened { conn: other, .. } if *other == conn))
    }

    /// A connection that was refused: the status, after everything that holds for refusals was checked.
    pub(crate) fn refused(&self, conn: ConnId) -> u16 {
        let response = self.answer(conn).expect("an answer");
        let length: usize = response.one("content-length").expect("a length").parse().expect("a number");
        assert_eq!(length, response.rest.len(), "the body is as long as it says, and nothing is behind it");
        assert!(length > 0 && response.rest.is_ascii(), "a short text");
        assert!(response.one("content-type").expect("a type").starts_with("text/plain"));
        let connection = response.one("connection").expect("what becomes of the connection");
        assert_eq!(connection, if response.status == 426 { "close, Upgrade" } else { "close" });
        if response.status == 426 {
            assert_eq!(response.one("sec-websocket-version"), Ok("13"), "RFC 6455 §4.4");
            assert_eq!(response.one("upgrade"), Ok("websocket"), "RFC 9110 §15.5.22");
        }
        if response.status == 405 {
            assert_eq!(response.one("allow"), Ok("GET"), "RFC 9110 §15.5.6");
        }
        assert_eq!(self.closed.iter().filter(|other| **other == conn).count(), 1, "it is closed, once");
        assert!(!self.is_open(conn) && self.ended(conn).is_some());
        response.status
    }
}

pub(crate) fn gated(mode: Mode) -> Peer {
    Peer { mode, is_gated: true, address: Some(([192, 0, 2, 7], 4_711).into()) }
}

pub(crate) fn raw() -> Peer {
    Peer { mode: Mode::Raw, ..Peer::default() }
}

/// A masked text frame.
pub(crate) fn text(text: &str) -> Vec<u8> {
    forebay_testkit::mini::frame::encode(true, 1, text.as_bytes(), Some([1, 2, 3, 4]))
}
