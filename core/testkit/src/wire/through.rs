//! Streams through a whole hub, beside the reference: what a raw connection receives, what is written back, and when.

use forebay_core::wire::deflate::{Agreed, Direction, WindowBits};
use forebay_core::{
    ClientRequest, Config, ConnId, DeflateOptions, EndReason, Event, Hub, Instant, Mode, Options, Peer, Upgraded,
};

use super::compare::fault_of;
use super::reference::{Deflate, Reader, Rules, Told};
use crate::mini::{Decoder, Item, handshake};
use crate::stage;

/// The limits of messages that a hub can be asked to keep here.
pub const MESSAGE_BYTES: std::ops::RangeInclusive<u128> = 1..=100_000;

/// A hub with one connection, and what has come of it.
#[derive(Debug)]
struct House {
    hub: Hub,
    conn: ConnId,
    /// Reads what the hub writes.
    decoder: Decoder,
    /// Since it was compared.
    received: Vec<Told>,
    /// Since it was compared.
    pongs: Vec<Vec<u8>>,
    /// How much of what the reference told was compared.
    agreed: usize,
    close: Option<Option<u16>>,
    reason: Option<EndReason>,
}

impl House {
    /// An open raw connection: of a server to a client, or of a client to a server.
    fn new(rules: Rules) -> Self {
        let options = Options {
            message_bytes_max: u32::try_from(rules.message_bytes_max).expect("one of `MESSAGE_BYTES`"),
            // Nothing here is about back pressure: everything fits.
            inbound_bytes_max: 16 << 20,
            reply_bytes_max: 16 << 20,
            resident_bytes_max: 1 << 30,
            deflate: Some(DeflateOptions { context_bytes_max: 1 << 20, ..DeflateOptions::default() }),
            ..Options::default()
        };
        let mut hub = Hub::new(Config::try_from(options).expect("good options"), [3; 32], Instant::ZERO);
        let conn = if rules.from_client { accept(&mut hub, rules.deflate) } else { connect(&mut hub, rules.deflate) };
        let decoder = if rules.from_client { Decoder::of_server() } else { Decoder::of_client() };
        Self { hub, conn, decoder, received: Vec::new(), pongs: Vec::new(), agreed: 0, close: None, reason: None }
    }

    /// Polls and takes everything.
    fn drain(&mut self) {
        // First of all: a peer's last word is answered when what it said before was taken.
        while let Some(payload) = self.hub.receive(self.conn, Instant::ZERO) {
            let told =
                Told::Message { is_text: payload.is_text, is_compressed: false, payload: payload.bytes.to_vec() };
            self.received.push(told);
        }
        while let Some(transmit) = self.hub.poll_transmit() {
            let bytes = stage::copy(&transmit);
            self.hub.handle_sent(self.conn, bytes.len(), Instant::ZERO);
            for item in self.decoder.feed(&bytes).expect("good frames") {
                match item {
                    Item::Pong(payload) => self.pongs.push(payload),
                    Item::Close(close) => self.close = Some(close.map(|(code, _)| code)),
                    other => panic!("nobody asked for {other:?}"),
                }
            }
        }
        while self.hub.poll_effect().is_some() {}
        while let Some(event) = self.hub.poll_event() {
            if let Event::Closed { reason, .. } = event {
                assert_eq!(self.reason.replace(reason), None, "closed twice");
            }
        }
        self.hub.check_invariants();
    }

    /// What was received, answered and closed with is what the reference says, from where it was compared last.
    fn compare(&mut self, reader: &Reader, at: usize) {
        let (mut received, mut pongs) = (self.received.drain(..), self.pongs.drain(..));
        for told in &reader.told[self.agreed..] {
            match told {
                Told::Message { .. } => assert_eq!(received.next().as_ref(), Some(told), "received at byte {at}"),
                Told::Ping(payload) => assert_eq!(pongs.next().as_ref(), Some(payload), "pongs at byte {at}"),
                Told::Pong(_) | Told::Close(_) => {}
            }
        }
        assert_eq!((received.next(), pongs.next()), (None, None), "and no more at byte {at}");
        self.agreed = reader.told.len();
        let is_right = match (reader.told.last(), self.close) {
            (Some(Told::Close(theirs)), ours) => ours == Some(theirs.as_ref().map(|(code, _)| *code)),
            (_, None) => reader.faults.is_empty(),
            (_, Some(code)) => code.is_some_and(|code| reader.close_codes().contains(&code)),
        };
        assert!(is_right, "close at byte {at}: {:?} for {:?}", self.close, reader.faults);
    }
}

fn accept(hub: &mut Hub, deflate: Deflate) -> ConnId {
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    let direction = Direction::new(WindowBits::MAX, deflate == Deflate::TakesOver);
    let agreed = Agreed { server: direction, client: direction };
    let deflate = (deflate != Deflate::Declined).then_some(agreed);
    hub.handle_upgraded(Upgraded { peer, deflate, ..Upgraded::default() }, b"", Instant::ZERO).expect("room")
}

fn connect(hub: &mut Hub, deflate: Deflate) -> ConnId {
    let request = ClientRequest { host: "test", target: "/", ..ClientRequest::default() };
    let conn = hub.connect(request, Instant::ZERO).expect("room");
    let request = String::from_utf8(stage::copy(&hub.poll_transmit().expect("a request"))).expect("text");
    hub.handle_sent(conn, request.len(), Instant::ZERO);
    let (_, behind) = request.split_once("Sec-WebSocket-Key: ").expect("a key");
    let (key, _) = behind.split_once("\r\n").expect("a line");
    let extension = match deflate {
        Deflate::Declined => "",
        Deflate::Alone => "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        Deflate::TakesOver => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    };
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{extension}\r\n",
        handshake::accept_of(key)
    );
    hub.handle_bytes(conn, response.as_bytes(), Instant::ZERO);
    conn
}

/// Gives a stream to a hub and to the reference, in pieces of these sizes (for ever again), and compares after every piece
/// and when the peer has hung up. Returns the reference as it is at the end.
///
/// # Panics
/// If they do not agree, or if the limit of the rules is not one of [`MESSAGE_BYTES`].
pub fn through(rules: Rules, stream: &[u8], pieces: &[usize]) -> Reader {
    let (mut house, mut reader) = (House::new(rules), Reader::inflating(rules));
    let (mut sizes, mut rest) = (pieces.iter().cycle(), stream);
    while !rest.is_empty() {
        let size = *sizes.next().expect("for ever");
        let (piece, behind) = rest.split_at(size.clamp(1, rest.len()));
        rest = behind;
        for byte in piece {
            reader.take(*byte);
        }
        house.hub.handle_bytes(house.conn, piece, Instant::ZERO);
        house.drain();
        house.compare(&reader, stream.len() - rest.len());
    }
    house.hub.handle_eof(house.conn, Instant::ZERO);
    house.drain();
    let is_right = match (reader.told.last(), house.reason) {
        (Some(Told::Close(theirs)), Some(EndReason::PeerClosed(ours))) => {
            theirs.as_ref().map(|(code, _)| *code) == ours.map(|code| code.get())
        }
        (_, Some(EndReason::Protocol(error))) => reader.faults.contains(&fault_of(error)),
        (_, Some(EndReason::PeerGone)) => !reader.is_over(),
        _ => false,
    };
    assert!(is_right, "{:?} at the end, for {:?}", house.reason, reader.faults);
    assert_eq!(house.hub.connections(), 0, "nothing is left");
    reader
}
