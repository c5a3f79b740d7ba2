//! A hub and one connection, bytes by hand.

use forebay_core::wire::deflate::{Agreed, Direction, WindowBits};
use forebay_core::{
    Config, ConnId, DeflateOptions, Effect, EndReason, Event, Hub, Instant, Mode, Options, Peer, Upgraded,
};
use forebay_testkit::mini::frame::{self, Item};
use forebay_testkit::mini::inflate::{Compressor, Way};
use forebay_testkit::mini::{Decoder, handshake};

pub(crate) const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// The first reserved bit.
pub(crate) const RSV1: u8 = 0x40;

/// No takeover, both ways.
pub(crate) const ALONE: Agreed =
    Agreed { server: Direction::new(WindowBits::MAX, false), client: Direction::new(WindowBits::MAX, false) };

/// A client takes over what it sent.
pub(crate) const TAKES_OVER: Agreed = Agreed { client: Direction::new(WindowBits::MAX, true), ..ALONE };

pub(crate) struct House {
    pub(crate) hub: Hub,
    pub(crate) conn: ConnId,
    /// What was written to the client.
    pub(crate) out: Vec<u8>,
    pub(crate) ended: Option<EndReason>,
    pub(crate) received: Vec<(bool, Vec<u8>)>,
}

pub(crate) fn hub(change: impl FnOnce(&mut Options)) -> Hub {
    let mut options = Options { deflate: Some(DeflateOptions::default()), ..Options::default() };
    change(&mut options);
    Hub::new(Config::try_from(options).expect("good options"), [3; 32], NOW)
}

impl House {
    /// A raw connection of a hub, with what was agreed.
    pub(crate) fn new(change: impl FnOnce(&mut Options), agreed: Agreed) -> Self {
        let mut hub = hub(change);
        let conn = upgraded(&mut hub, agreed);
        Self { hub, conn, out: Vec::new(), ended: None, received: Vec::new() }
    }

    /// A connection that was accepted and has sent its request with this offer, if any.
    pub(crate) fn asking(change: impl FnOnce(&mut Options), offer: Option<&str>) -> Self {
        let mut hub = hub(change);
        let peer = Peer { mode: Mode::Raw, ..Peer::default() };
        let conn = hub.handle_accept(peer, NOW).expect("room");
        let mut house = Self { hub, conn, out: Vec::new(), ended: None, received: Vec::new() };
        house.feed(&request(offer));
        house
    }

    /// The value of the answer's `Sec-WebSocket-Extensions`.
    pub(crate) fn answer(&self) -> Option<String> {
        let response = handshake::ResponseReader::default().feed(&self.out).unwrap().expect("answered");
        assert_eq!(response.status, 101);
        let mut all = response.all("sec-websocket-extensions").map(str::to_owned);
        let first = all.next();
        assert_eq!(all.next(), None, "at most once");
        first
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.hub.handle_bytes(self.conn, bytes, NOW);
        self.hub.check_invariants();
        self.settle();
    }

    /// Everything that is there, and what comes of taking it.
    pub(crate) fn settle(&mut self) {
        while self.poll() {
            self.hub.check_invariants();
        }
    }

    fn poll(&mut self) -> bool {
        let mut moved = false;
        while let Some(transmit) = self.hub.poll_transmit() {
            let len = transmit.len();
            transmit.slices().for_each(|slice| self.out.extend_from_slice(slice));
            self.hub.handle_sent(self.conn, len, NOW);
            moved = true;
        }
        while let Some(effect) = self.hub.poll_effect() {
            assert!(!matches!(effect, Effect::PauseRead(_)), "it is read");
            moved = true;
        }
        while let Some(event) = self.hub.poll_event() {
            match event {
                Event::Received(conn) => {
                    while let Some(message) = self.hub.receive(conn, NOW) {
                        self.received.push((message.is_text, message.bytes.to_vec()));
                    }
                }
                Event::Closed { reason, .. } => self.ended = Some(reason),
                _ => {}
            }
            moved = true;
        }
        moved
    }

    /// The code it was closed with.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let items = Decoder::of_server().feed(&self.out).expect("frames");
        items.into_iter().find_map(|item| match item {
            Item::Close(Some((code, _))) => Some(code),
            _ => None,
        })
    }
}

pub(crate) fn upgraded(hub: &mut Hub, agreed: Agreed) -> ConnId {
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: Some(agreed) }, b"", NOW).expect("room")
}

pub(crate) fn request(offer: Option<&str>) -> Vec<u8> {
    let mut request = handshake::request("dGhlIHNhbXBsZSBub25jZQ==", "/", &[]);
    request.truncate(request.len() - 2);
    if let Some(offer) = offer {
        request.extend(format!("Sec-WebSocket-Extensions: {offer}\r\n").bytes());
    }
    request.extend(b"\r\n");
    request
}

/// A masked frame.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame::encode(fin, opcode, payload, Some([0x5a, 0xc3, 1, 0x80]))
}

/// A message, compressed alone, as one frame.
pub(crate) fn compressed(is_text: bool, message: &[u8]) -> Vec<u8> {
    frame(true, opcode(is_text) | RSV1, &payload(message))
}

/// Its payload.
pub(crate) fn payload(message: &[u8]) -> Vec<u8> {
    Compressor::new(Way { window_bits: 15, takes_over: false }).compress(message).expect("any message")
}

pub(crate) fn opcode(is_text: bool) -> u8 {
    if is_text { 1 } else { 2 }
}

/// The same payload in so many frames.
pub(crate) fn fragments(is_text: bool, payload: &[u8], count: usize) -> Vec<u8> {
    let size = payload.len().div_ceil(count).max(1);
    let last = payload.len().div_ceil(size) - 1;
    let frames = payload.chunks(size).enumerate();
    frames
        .flat_map(|(nth, piece)| frame(nth == last, if nth == 0 { opcode(is_text) | RSV1 } else { 0 }, piece))
        .collect()
}
