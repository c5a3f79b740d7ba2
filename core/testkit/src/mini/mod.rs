//! A small WebSocket client, written from RFC 6455 and `forebay.md` alone: it shares no code with the core, so that a
//! mistake made twice has to be made by two.
//!
//! It is strict: whatever the server must not do becomes a violation.

pub mod deflate;
pub mod dialect;
pub mod frame;
pub mod handshake;
pub mod inflate;
pub mod json;

use std::collections::VecDeque;

pub use deflate::Agreement;
pub use dialect::{Asked, Data, Place, Reader, Sub, Told, Wish};
pub use frame::{Decoder, Item};

use crate::rng::SplitMix;
use handshake::{Response, ResponseReader};

/// Where a client is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The answer to its request is awaited.
    Connecting,
    /// Open.
    Open,
    /// The request was refused with this status.
    Refused(u16),
    /// It has asked for a document, and this much came.
    Served(Vec<u8>),
}

/// How a client behaves towards control frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manners {
    /// Answers pings.
    pub answers_pings: bool,
    /// Answers Close with Close.
    pub answers_close: bool,
    /// Splits its messages into frames of so many bytes.
    pub fragment: Option<usize>,
    /// Compresses its messages where that was agreed.
    pub compresses: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self { answers_pings: true, answers_close: true, fragment: None, compresses: false }
    }
}

/// A WebSocket client without a transport: bytes in, bytes out.
#[derive(Clone, Debug)]
pub struct Client {
    /// How it behaves.
    pub manners: Manners,
    /// Where it is.
    pub phase: Phase,
    /// The subprotocol the server chose.
    pub protocol: Option<String>,
    /// The reader of the dialect; `None`: raw.
    pub reader: Option<Reader>,
    /// Messages received (raw only).
    pub items: VecDeque<Item>,
    /// Pings received.
    pub pings: u64,
    /// Pongs received.
    pub pongs: VecDeque<Vec<u8>>,
    /// The server's Close frame: its code, where it has one.
    pub close: Option<Option<u16>>,
    /// The reason in the server's Close frame.
    pub close_reason: String,
    /// Whether the server has ended the transport.
    pub is_ended: bool,
    /// The server's HTTP answer.
    pub response: Option<Response>,
    /// What the server agreed to; `None`: nothing is compressed.
    pub agreement: Option<Agreement>,
    /// Messages that came compressed.
    pub compressed: u64,
    /// What the server must not have done.
    pub violation: Option<String>,
    /// Statuses with which its request may be refused, beside 408 and 503.
    pub refusals: Vec<u16>,
    /// All bytes received.
    pub received_bytes: u64,
    key: String,
    offered: Vec<String>,
    /// Its offer of compression.
    offer: Option<String>,
    answer: ResponseReader,
    decoder: Decoder,
    compressor: Option<inflate::Compressor>,
    out: VecDeque<u8>,
    masks: SplitMix,
    sent_close: bool,
    is_lawless: bool,
    is_fetching: bool,
    /// Its request is of a page that the server is not for.
    is_stranger: bool,
}

impl Client {
    /// A client that asks for these subprotocols. The request is the first thing it writes.
    #[must_use]
    pub fn new(seed: u64, protocols: &[&str], is_raw: bool) -> Self {
        let mut client = Self::silent(seed, is_raw);
        client.offered = protocols.iter().map(ToString::to_string).collect();
        client.out.extend(handshake::request(&client.key, "/", protocols));
        client
    }

    /// The same, that offers compression: `permessage-deflate; ...` (RFC 7692 §7.1).
    #[must_use]
    pub fn offering(seed: u64, protocols: &[&str], is_raw: bool, offer: &str) -> Self {
        let mut client = Self::silent(seed, is_raw);
        client.offered = protocols.iter().map(ToString::to_string).collect();
        client.offer = Some(offer.into());
        let mut request = handshake::request(&client.key, "/", protocols);
        request.truncate(request.len() - 2);
        request.extend(format!("Sec-WebSocket-Extensions: {offer}\r\n\r\n").as_bytes());
        client.out.extend(request);
        client
    }

    /// A client that has written nothing yet; see [`write`](Self::write).
    #[must_use]
    pub fn silent(seed: u64, is_raw: bool) -> Self {
        let mut masks = SplitMix::new(seed);
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&masks.next_u64().to_le_bytes());
        nonce[8..].copy_from_slice(&masks.next_u64().to_le_bytes());
        Self {
            manners: Manners::default(),
            phase: Phase::Connecting,
            protocol: None,
            reader: (!is_raw).then(Reader::default),
            items: VecDeque::new(),
            pings: 0,
            pongs: VecDeque::new(),
            close: None,
            close_reason: String::new(),
            is_ended: false,
            response: None,
            agreement: None,
            compressed: 0,
            violation: None,
            refusals: Vec::new(),
            received_bytes: 0,
            key: handshake::key_of(nonce),
            offered: Vec::new(),
            offer: None,
            answer: ResponseReader::default(),
            decoder: Decoder::of_server(),
            compressor: None,
            out: VecDeque::new(),
            masks,
            sent_close: false,
            is_lawless: false,
            is_fetching: false,
            is_stranger: false,
        }
    }

    /// A plain HTTP client that asks for a document.
    #[must_use]
    pub fn fetching(seed: u64, path: &str) -> Self {
        let mut client = Self::silent(seed, false);
        client.is_fetching = true;
        client.write(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        client
    }

    /// Its request, which it has not written yet, comes from a page of this origin; whether the server is for such pages.
    pub fn come_from(&mut self, origin: &str, is_welcome: bool) {
        let end = self.out.len().saturating_sub(2);
        let behind = self.out.split_off(end);
        self.out.extend(format!("Origin: {origin}\r\n").bytes().chain(behind));
        if !is_welcome && !self.is_fetching {
            self.is_stranger = true;
            self.refusals.push(403);
        }
    }

    /// A client on a connection whose handshake somebody else has done.
    #[must_use]
    pub fn upgraded(seed: u64, is_raw: bool) -> Self {
        let mut client = Self::silent(seed, is_raw);
        client.phase = Phase::Open;
        client
    }

    /// The same, where compression was agreed.
    #[must_use]
    pub fn upgraded_with(seed: u64, is_raw: bool, agreement: Agreement) -> Self {
        let mut client = Self::upgraded(seed, is_raw);
        client.agree_to(agreement);
        client
    }

    fn agree_to(&mut self, agreement: Agreement) {
        self.agreement = Some(agreement);
        self.decoder.inflate_with(inflate::Inflater::new(agreement.server()));
        self.compressor = Some(inflate::Compressor::new(agreement.client()));
    }

    /// Messages that came compressed and referred to those before them.
    #[must_use]
    pub fn referred(&self) -> u64 {
        self.decoder.referred()
    }

    /// The key of its request.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The reader of the dialect.
    ///
    /// # Panics
    /// If it is raw.
    pub const fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("a client that speaks the dialect")
    }

    /// Whether it is open in both directions.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open && !self.sent_close && self.close.is_none() && !self.is_ended
    }

    /// Whether it has sent a Close frame.
    #[must_use]
    pub const fn has_sent_close(&self) -> bool {
        self.sent_close
    }

    /// Whether it broke the protocol on purpose.
    #[must_use]
    pub const fn is_lawless(&self) -> bool {
        self.is_lawless
    }

    /// Bytes it wants to write.
    pub const fn out(&mut self) -> &mut VecDeque<u8> {
        &mut self.out
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    /// Writes bytes that break the protocol: nothing the server does to this connection from now on is a surprise, as
    /// long as its own frames are well formed.
    pub fn misbehave(&mut self, bytes: &[u8]) {
        self.is_lawless = true;
        self.out.extend(bytes);
    }

    /// Writes one masked frame.
    pub fn frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        let mask = self.masks.four();
        self.out.extend(frame::encode(fin, opcode, payload, Some(mask)));
    }

    fn message(&mut self, opcode: u8, payload: &[u8]) {
        let compressor = self.compressor.as_mut().filter(|_| self.manners.compresses);
        match compressor.and_then(|compressor| compressor.compress(payload)) {
            // The first reserved bit says so (RFC 7692 §6).
            Some(compressed) => self.pieces(0x40 | opcode, &compressed),
            None => self.pieces(opcode, payload),
        }
    }

    fn pieces(&mut self, opcode: u8, payload: &[u8]) {
        let Some(size) = self.manners.fragment.filter(|size| *size < payload.len()) else {
            return self.frame(true, opcode, payload);
        };
        let count = payload.len().div_ceil(size.max(1));
        for (number, piece) in payload.chunks(size.max(1)).enumerate() {
            self.frame(number + 1 == count, if number == 0 { opcode } else { 0 }, piece);
            if number == 0 {
                // Control frames may stand between fragments (§5.4).
                self.frame(true, 10, b"unasked");
            }
        }
    }

    /// Sends a text message.
    pub fn text(&mut self, text: &str) {
        self.message(1, text.as_bytes());
    }

    /// Sends a binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.message(2, bytes);
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: &[u8]) {
        self.frame(true, 9, payload);
    }

    /// Sends many of the same frame. Of fragments a message's first comes before, and no last.
    pub fn flood(&mut self, opcode: u8, payload: &[u8], count: usize) {
        if opcode == 0 {
            self.frame(false, 2, b"");
        }
        for _ in 0..count {
            self.frame(opcode != 0, opcode, payload);
        }
    }

    /// Sends a Close frame.
    pub fn close(&mut self, code: Option<u16>) {
        if !self.sent_close {
            self.sent_close = true;
            let payload = code.map_or(Vec::new(), |code| frame::close_payload(code, "bye"));
            self.frame(true, 8, &payload);
        }
    }

    /// Subscribes.
    pub fn subscribe(&mut self, topic: &str) {
        let text = self.reader().subscribe(topic, true);
        self.text(&text);
    }

    /// Subscribes and asks for more than the topic.
    pub fn subscribe_as(&mut self, topic: &str, wish: Wish<'_>) {
        let text = self.reader().subscribe_as(topic, wish, true);
        self.text(&text);
    }

    /// Unsubscribes.
    pub fn unsubscribe(&mut self, topic: &str) {
        let text = self.reader().unsubscribe(topic);
        self.text(&text);
    }

    /// Publishes JSON text.
    pub fn publish(&mut self, topic: &str, json: &str, tag: u64) {
        let text = self.reader().publish(topic, &Data::Json(json.into()), tag, true, "");
        self.text(&text);
    }

    /// Publishes JSON text with a key.
    pub fn publish_keyed(&mut self, topic: &str, key: &str, json: &str) {
        let text = self.reader().publish_keyed(topic, key, &Data::Json(json.into()), 0, true, "");
        self.text(&text);
    }

    /// Publishes JSON text with an id of its own.
    pub fn publish_once(&mut self, topic: &str, message_id: &str, json: &str, tag: u64) {
        let text = self.reader().publish_once(topic, message_id, &Data::Json(json.into()), tag);
        self.text(&text);
    }

    /// Makes its session resumable.
    pub fn keep(&mut self, ttl_ms: Option<u64>) {
        let text = self.reader().keep(ttl_ms);
        self.text(&text);
    }

    /// Takes a session over.
    pub fn resume(&mut self, session: &str, places: &[Place<'_>]) {
        let text = self.reader().resume(session, places);
        self.text(&text);
    }

    /// Acknowledges everything up to a number.
    pub fn ack(&mut self, topic: &str, seq: u64) {
        self.text(&Reader::ack(topic, seq));
    }

    /// Acknowledges some messages.
    pub fn ack_each(&mut self, topic: &str, seqs: &[u64]) {
        self.text(&Reader::ack_each(topic, seqs));
    }

    /// Grants messages.
    pub fn credit(&mut self, topic: &str, credit: u64) {
        let text = self.reader().credit(topic, credit);
        self.text(&text);
    }

    /// Sends a `ping` of the dialect.
    pub fn ask_ping(&mut self) {
        let text = self.reader().ping(true);
        self.text(&text);
    }

    /// Takes in what the server wrote.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.received_bytes += bytes.len() as u64;
        if self.violation.is_some() || bytes.is_empty() {
            return;
        }
        if let Err(violation) = self.fed(bytes) {
            self.violation = Some(violation);
        }
    }

    fn fed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.is_ended {
            return Err("bytes after the end of the transport".into());
        }
        match &mut self.phase {
            Phase::Open => self.frames(bytes),
            // The body of the refusal.
            Phase::Refused(_) => Ok(()),
            Phase::Served(body) => {
                body.extend(bytes);
                Ok(())
            }
            Phase::Connecting => {
                let Some(response) = self.answer.feed(bytes)? else { return Ok(()) };
                let rest = response.rest.clone();
                if response.status == 200 && self.is_fetching {
                    self.phase = Phase::Served(Vec::new());
                } else if response.status == 101 {
                    if self.is_stranger {
                        return Err("a stranger was let in".into());
                    }
                    let offered: Vec<&str> = self.offered.iter().map(String::as_str).collect();
                    if !self.is_lawless {
                        self.protocol = response.check(&self.key, &offered, self.offer.is_some())?;
                        self.agree(&response)?;
                    }
                    self.phase = Phase::Open;
                } else if (400..600).contains(&response.status) {
                    // 408: too slow, 503: the server is shutting down or full. Neither is the request's fault.
                    let is_known = matches!(response.status, 408 | 503) || self.refusals.contains(&response.status);
                    if !self.is_lawless && !self.is_fetching && !is_known {
                        return Err(format!("a good request was refused: {response:?}"));
                    }
                    self.phase = Phase::Refused(response.status);
                } else {
                    return Err(format!("status {}", response.status));
                }
                self.response = Some(response);
                if rest.is_empty() { Ok(()) } else { self.fed(&rest) }
            }
        }
    }

    /// Holds what the server says of extensions against the offer.
    fn agree(&mut self, response: &Response) -> Result<(), String> {
        let mut answers = response.all("sec-websocket-extensions");
        let Some(answer) = answers.next() else { return Ok(()) };
        if answers.next().is_some() {
            return Err("Sec-WebSocket-Extensions twice".into());
        }
        let offer = self.offer.as_deref().ok_or("an extension that was not offered")?;
        let agreement = Agreement::read(answer, offer)?;
        self.agree_to(agreement);
        Ok(())
    }

    fn frames(&mut self, bytes: &[u8]) -> Result<(), String> {
        for (item, is_compressed) in self.decoder.feed_more(bytes)? {
            self.compressed += u64::from(is_compressed);
            match item {
                Item::Ping(payload) => {
                    self.pings += 1;
                    if self.manners.answers_pings && !self.sent_close {
                        self.frame(true, 10, &payload);
                    }
                }
                Item::Pong(payload) => self.pongs.push_back(payload),
                Item::Close(close) => {
                    self.close = Some(close.as_ref().map(|(code, _)| *code));
                    self.close_reason = close.map_or(String::new(), |(_, reason)| reason);
                    if self.manners.answers_close {
                        self.close(None);
                    }
                }
                item => match (&mut self.reader, item) {
                    (None, item) => self.items.push_back(item),
                    (Some(reader), Item::Text(text)) => {
                        // What somebody lawless has said, nobody knows: its answers are not expected.
                        let told = if is_compressed { reader.joined(&text) } else { reader.text(&text) };
                        if !self.is_lawless {
                            told?;
                        }
                    }
                    (Some(_), item) => return Err(format!("not a text message: {item:?}")),
                },
            }
        }
        Ok(())
    }

    /// The server has ended the transport.
    pub fn eof(&mut self) {
        self.is_ended = true;
        if self.close.is_some() && !self.decoder.is_between_messages() && self.violation.is_none() {
            self.violation = Some("half a frame behind Close".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's side of a connection, by hand.
    fn answer(key: &str, protocol: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
            handshake::accept_of(key)
        )
        .into_bytes()
    }

    #[test]
    fn a_client_against_a_hand_written_server() {
        let mut client = Client::new(1, &["forebay.v1"], true);
        let request: Vec<u8> = client.out().drain(..).collect();
        assert!(request.starts_with(b"GET / HTTP/1.1\r\n"));
        let mut bytes = answer(client.key(), "Sec-WebSocket-Protocol: forebay.v1\r\n");
        bytes.extend(frame::encode(true, 1, b"early", None));
        for byte in bytes {
            client.feed(&[byte]);
        }
        assert_eq!((client.violation.clone(), client.is_open()), (None, true));
        assert_eq!(client.items.pop_front(), Some(Item::Text("early".into())));

        client.manners.fragment = Some(3);
        client.text("fragmented");
        client.feed(&frame::encode(true, 9, b"x", None));
        client.feed(&frame::encode(true, 8, &frame::close_payload(1001, ""), None));
        let written: Vec<u8> = client.out().drain(..).collect();
        let items = Decoder::of_client().feed(&written).unwrap();
        let expected = [
            Item::Pong(b"unasked".into()),
            Item::Text("fragmented".into()),
            Item::Pong(b"x".into()),
            Item::Close(None),
        ];
        assert_eq!(items, expected);
        assert_eq!((client.close, client.is_open()), (Some(Some(1001)), false));
    }

    #[test]
    fn two_mini_clients_against_each_other_by_way_of_their_frames() {
        // What one writes, masked, the other's kind of decoder reads; what it would get unmasked, it reads itself.
        let (mut left, mut right) = (Client::upgraded(1, true), Client::upgraded(2, true));
        for size in [0, 1, 125, 126, 65_535, 65_536] {
            left.binary(&vec![7; size]);
            let bytes: Vec<u8> = left.out().drain(..).collect();
            for item in Decoder::of_client().feed(&bytes).unwrap() {
                let Item::Binary(payload) = item else { panic!("{item:?}") };
                right.feed(&frame::encode(true, 2, &payload, None));
            }
            assert_eq!(right.items.pop_front(), Some(Item::Binary(vec![7; size])));
        }
        assert_eq!(right.violation, None);
    }

    #[test]
    fn violations_of_the_handshake_and_after() {
        let mut client = Client::new(1, &[], true);
        client.feed(&answer("AAAAAAAAAAAAAAAAAAAAAA==", ""));
        assert!(client.violation.unwrap().contains("Accept"));
        let mut client = Client::new(1, &[], true);
        let answer = answer(client.key(), "Sec-WebSocket-Protocol: forebay.v1\r\n");
        client.feed(&answer);
        assert!(client.violation.unwrap().contains("not offered"));
        let mut client = Client::new(1, &[], true);
        client.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert!(client.violation.unwrap().contains("refused"));
        let mut client = Client::silent(1, true);
        client.misbehave(b"GET / HTTP/1.0\r\n\r\n");
        client.feed(b"HTTP/1.1 400 Bad Request\r\n\r\nbody");
        assert_eq!((client.violation, client.phase), (None, Phase::Refused(400)));
        let mut client = Client::upgraded(1, true);
        client.feed(&frame::encode(true, 1, b"x", Some([1; 4])));
        assert!(client.violation.unwrap().contains("mask"));
        let mut client = Client::upgraded(1, false);
        client.feed(&frame::encode(true, 2, b"x", None));
        assert!(client.violation.unwrap().contains("text"));
    }
}
