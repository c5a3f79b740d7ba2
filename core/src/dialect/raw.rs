//! No dialect: the payload is the message. For connections the application drives itself, and in-process consumers.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use bytes::{Bytes, BytesMut};

use super::{Code, Description, Dialect, Fault, Reply, Request};
use crate::output::{Gap, Message, OwnedPayload, Payload};
use crate::wire::{Opcode, frame};

/// The one raw dialect.
pub(crate) static RAW: &dyn Dialect = &Raw;

#[derive(Debug)]
struct Raw;

impl Dialect for Raw {
    fn description(&self) -> &'static Description {
        &Description { encoding: 0, subprotocol: "", join: None }
    }

    /// Never called: the application takes the messages of a raw connection.
    fn decode<'a>(&self, _is_text: bool, _message: &'a [u8]) -> Result<Request<'a>, Fault<'a>> {
        Err(Fault { id: None, code: Code::Unsupported, message: Cow::Borrowed("no dialect") })
    }

    fn prefix(&self, _topic: &str) -> Box<[u8]> {
        Box::default()
    }

    fn message_bytes(&self, _prefix: &[u8], _seq: u64, message: Message<'_>) -> usize {
        frame::frame_bytes(message.payload.as_bytes().len(), false)
    }

    fn put_message(&self, out: &mut BytesMut, _prefix: &[u8], _seq: u64, message: Message<'_>) {
        put_payload(out, None, message.payload);
    }

    fn put_gap(&self, _out: &mut BytesMut, _topic: &str, _gap: &Gap) {}

    fn put_reply(&self, _out: &mut BytesMut, _reply: &Reply<'_>, _id: Option<&str>) {}
}

/// Writes a payload as one frame.
pub(crate) fn put_payload(out: &mut BytesMut, mask: Option<[u8; 4]>, payload: Payload<'_>) {
    frame::put_frame(out, opcode(payload), mask, payload.as_bytes());
}

pub(crate) fn opcode(payload: Payload<'_>) -> Opcode {
    match payload {
        Payload::Text(_) => Opcode::Text,
        Payload::Binary(_) => Opcode::Binary,
    }
}

/// The payload of a frame that `put_payload` wrote without a mask.
pub(crate) fn payload(frame: &Bytes) -> OwnedPayload {
    let (header, len) = frame::parse_header(frame).ok().flatten().expect("a frame of our own");
    OwnedPayload { is_text: header.opcode == Opcode::Text, bytes: frame.slice(len..) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_comes_back_out_of_its_frame() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(len);
            for payload_in in [Payload::Text(&text), Payload::Binary(text.as_bytes())] {
                let mut out = BytesMut::new();
                RAW.put_message(&mut out, &[], 1, payload_in.into());
                assert_eq!(out.len(), RAW.message_bytes(&[], 1, payload_in.into()));
                let back = payload(&out.freeze());
                assert_eq!((back.is_text, &back.bytes[..]), (matches!(payload_in, Payload::Text(_)), text.as_bytes()));
            }
        }
    }
}
