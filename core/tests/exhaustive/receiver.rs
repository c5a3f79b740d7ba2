//! A decoder whose pieces are put together.

use forebay_core::wire::{Decoder, Item, MessageKind, Role, WireError};

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(WireError),
}

#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    decoder: Decoder,
    left: Vec<u8>,
    message: Vec<u8>,
    pub(crate) events: Vec<Event>,
}

impl Receiver {
    pub(crate) const fn new(role: Role, message_bytes_max: u64) -> Self {
        let decoder = Decoder::new(role, message_bytes_max);
        Self { decoder, left: Vec::new(), message: Vec::new(), events: Vec::new() }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.left.extend(bytes);
        let mut at = 0;
        loop {
            let decoded = match self.decoder.decode(&mut self.left[at..]) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.events.push(Event::Failed(error));
                    continue;
                }
            };
            at += decoded.consumed;
            let event = match decoded.item {
                None => break,
                Some(Item::Data { kind, payload, last, .. }) => {
                    self.message.extend(payload);
                    if !last {
                        continue;
                    }
                    let message = std::mem::take(&mut self.message);
                    if kind == MessageKind::Text { Event::Text(message) } else { Event::Binary(message) }
                }
                Some(Item::Ping(payload)) => Event::Ping(payload.into()),
                Some(Item::Pong(payload)) => Event::Pong(payload.into()),
                Some(Item::Close(close)) => Event::Close(close.map(|(code, reason)| (code.get(), reason.to_owned()))),
            };
            self.events.push(event);
        }
        self.left.drain(..at);
    }
}
