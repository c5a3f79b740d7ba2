//! The `forebay` dialect: JSON text. Specified in `forebay.md` beside this file.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use core::fmt::Write as _;
use core::time::Duration;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Action, ActionPayload, Code, Dialect, Fault, Reply, Request};
use crate::config::LaneOptions;
use crate::output::{Gap, Message, Payload};
use crate::policy::Policy;
use crate::wire::{Header, Opcode, frame};

/// Bytes of a request's `id`, as written.
const ID_BYTES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Forebay;

/// Every member a request may have, not yet looked into. A member that stands twice is an error.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    op: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    topic: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data64: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    policy: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    messages_max: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    bytes_max: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    age_max_ms: Option<&'a RawValue>,
}

/// Without it `"data":null` would be the same as no `data`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn text<'a>(value: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    serde_json::from_str::<Text<'a>>(value?.get()).ok().map(|text| text.0)
}

impl Dialect for Forebay {
    fn encoding(&self) -> usize {
        1
    }

    fn subprotocol(&self) -> &'static str {
        "forebay.v1"
    }

    fn decode<'a>(&self, is_text: bool, message: &'a [u8]) -> Result<Request<'a>, Fault<'a>> {
        let bad = |id, text: &'static str| Fault { id, code: Code::BadMessage, message: Cow::Borrowed(text) };
        if !is_text {
            return Err(bad(None, "binary messages are not part of forebay.v1"));
        }
        if message.trim_ascii_start().first() != Some(&b'{') {
            return Err(bad(None, "not a JSON object"));
        }
        let members: Members<'a> = serde_json::from_slice(message).map_err(|error| Fault {
            id: None,
            code: Code::BadMessage,
            message: Cow::Owned(format!("not a JSON object of this dialect: {error}")),
        })?;
        let id = match members.id.map(RawValue::get) {
            None => None,
            Some(id) if id.len() <= ID_BYTES_MAX && !id.starts_with(['{', '[', 't', 'f', 'n']) => Some(id),
            Some(_) => return Err(bad(None, "id must be a number or a string of at most 64 bytes")),
        };
        let op = text(members.op).ok_or_else(|| bad(id, "op must be a string"))?;
        let topic = || text(members.topic).ok_or_else(|| bad(id, "topic must be a string"));
        let action = match &*op {
            "subscribe" => Action::Subscribe(topic()?, lane_options(&members, id)?),
            "unsubscribe" => Action::Unsubscribe(topic()?),
            "publish" => {
                let topic = topic()?;
                let key = match members.key {
                    None => Cow::Borrowed(""),
                    key => text(key).ok_or_else(|| bad(id, "key must be a string"))?,
                };
                Action::Publish { topic, key, payload: payload(&members).map_err(|text| bad(id, text))? }
            }
            "ping" => Action::Ping,
            "ack" | "credit" | "resume" => {
                let message = Cow::Borrowed("not offered by this server");
                return Err(Fault { id, code: Code::Unsupported, message });
            }
            _ => return Err(Fault { id, code: Code::UnknownOp, message: Cow::Borrowed("no such op") }),
        };
        Ok(Request { id, action })
    }

    fn prefix(&self, topic: &str) -> Box<[u8]> {
        format!(r#"{{"op":"message","topic":{},"seq":"#, quoted(topic)).into_bytes().into_boxed_slice()
    }

    fn message_bytes(&self, prefix: &[u8], seq: u64, message: Message<'_>) -> usize {
        frame::frame_bytes(body_bytes(prefix, seq, message), false)
    }

    fn put_message(&self, out: &mut BytesMut, prefix: &[u8], seq: u64, message: Message<'_>) {
        let len = body_bytes(prefix, seq, message) as u64;
        let mut header = [0; frame::HEADER_BYTES_MAX];
        let end = frame::encode_header(&mut header, &Header { fin: true, opcode: Opcode::Text, mask: None, len });
        out.extend_from_slice(&header[..end]);
        out.extend_from_slice(prefix);
        put_number(out, seq);
        if !message.key.is_empty() {
            out.extend_from_slice(KEY);
            put_escaped(out, message.key);
            out.put_u8(b'"');
        }
        match message.payload {
            Payload::Text(json) => {
                out.extend_from_slice(DATA);
                out.extend_from_slice(json.as_bytes());
                out.put_u8(b'}');
            }
            Payload::Binary(bytes) => {
                out.extend_from_slice(DATA64);
                let start = out.len();
                out.put_bytes(0, base64_bytes(bytes.len()));
                STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room was measured");
                out.extend_from_slice(b"\"}");
            }
        }
    }

    fn put_gap(&self, out: &mut BytesMut, topic: &str, gap: &Gap) {
        let mut body = format!(
            r#"{{"op":"gap","topic":{},"from":{},"to":{},"missed":{},"reasons":["#,
            quoted(topic),
            gap.from,
            gap.to,
            gap.missed
        );
        for (nth, reason) in gap.reasons().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            write!(body, "{comma}\"{}\"", reason.name()).expect("a String takes everything");
        }
        body.push_str("]}");
        frame::put_frame(out, Opcode::Text, None, body.as_bytes());
    }

    fn put_reply(&self, out: &mut BytesMut, reply: &Reply<'_>, id: Option<&str>) {
        let id = id.map(|id| format!(",\"id\":{id}")).unwrap_or_default();
        let body = match reply {
            Reply::Hello { session, options } => hello(session, options),
            Reply::Subscribed { topic, epoch, seq, policy } => {
                let topic = quoted(topic);
                format!(r#"{{"op":"ok"{id},"topic":{topic},"epoch":"{epoch:016x}","seq":{seq},"policy":"{policy}"}}"#)
            }
            Reply::Unsubscribed { topic } => format!(r#"{{"op":"ok"{id},"topic":{}}}"#, quoted(topic)),
            Reply::Published { seq, matched } => format!(r#"{{"op":"ok"{id},"seq":{seq},"matched":{matched}}}"#),
            Reply::Pong => format!(r#"{{"op":"pong"{id}}}"#),
            Reply::Ended { topic, code } => {
                format!(r#"{{"op":"ended","topic":{},"code":"{code}"}}"#, quoted(topic))
            }
            Reply::Error(code, message) => {
                format!(r#"{{"op":"error","code":"{}","message":{}{id}}}"#, code.name(), quoted(message))
            }
        };
        frame::put_frame(out, Opcode::Text, None, body.as_bytes());
    }
}

fn payload<'a>(members: &Members<'a>) -> Result<ActionPayload<'a>, &'static str> {
    match (members.data, members.data64) {
        (Some(data), None) => Ok(ActionPayload::Text(data.get())),
        (None, Some(_)) => text(members.data64)
            .and_then(|text| STANDARD.decode(text.as_bytes()).ok())
            .map(ActionPayload::Binary)
            .ok_or("data64 must be a string in base64 with padding"),
        (None, None) => Err("publish needs data or data64"),
        (Some(_), Some(_)) => Err("publish takes data or data64, not both"),
    }
}

fn lane_options<'a>(members: &Members<'a>, id: Option<&'a str>) -> Result<LaneOptions, Fault<'a>> {
    let fault = |code, text: &'static str| Fault { id, code, message: Cow::Borrowed(text) };
    let policy = match members.policy {
        None => None,
        policy => {
            let name = text(policy).ok_or_else(|| fault(Code::BadMessage, "policy must be a string"))?;
            Some(Policy::from_name(&name).ok_or_else(|| fault(Code::PolicyNotAllowed, "no such policy"))?)
        }
    };
    let number = |value: Option<&RawValue>, problem| match value {
        None => Ok(None),
        Some(value) => value.get().parse::<u64>().map(Some).map_err(|_| fault(Code::BadMessage, problem)),
    };
    let messages_max = number(members.messages_max, "messages_max must be a whole number")?;
    Ok(LaneOptions {
        policy,
        // Above 2^32 it is above every topic's limit, too.
        messages_max: messages_max.map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
        bytes_max: number(members.bytes_max, "bytes_max must be a whole number")?,
        age_max: number(members.age_max_ms, "age_max_ms must be a whole number")?.map(Duration::from_millis),
    })
}

/// The length of a text without control characters inside a JSON string.
fn escaped_bytes(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// Writes a text without control characters as the inside of a JSON string (RFC 8259 §7).
fn put_escaped(out: &mut BytesMut, text: &str) {
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(byte);
    }
}

fn hello(session: &[u8; 16], options: &crate::config::Options) -> String {
    format!(
        "{{\"op\":\"hello\",\"version\":1,\"session\":\"{:032x}\",\"limits\":{{\"message_bytes_max\":{},\
         \"inbound_bytes_max\":{},\"topic_name_bytes_max\":{},\"lanes_max\":{},\"ping_interval_ms\":{}}}}}",
        u128::from_be_bytes(*session),
        options.message_bytes_max,
        options.inbound_bytes_max,
        options.topic_name_bytes_max,
        options.lanes_per_session_max,
        options.ping_interval.as_millis()
    )
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

const KEY: &[u8] = b",\"key\":\"";
const DATA: &[u8] = b",\"data\":";
const DATA64: &[u8] = b",\"data64\":\"";

fn body_bytes(prefix: &[u8], seq: u64, message: Message<'_>) -> usize {
    let key = if message.key.is_empty() { 0 } else { KEY.len() + escaped_bytes(message.key) + 1 };
    prefix.len()
        + digits(seq)
        + key
        + match message.payload {
            Payload::Text(json) => DATA.len() + json.len() + 1,
            Payload::Binary(bytes) => DATA64.len() + base64_bytes(bytes.len()) + 2,
        }
}

fn base64_bytes(len: usize) -> usize {
    len.div_ceil(3) * 4
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn put_number(out: &mut BytesMut, mut number: u64) {
    let mut text = [b'0'; 20];
    let mut start = text.len();
    loop {
        start -= 1;
        text[start] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[start..]);
}

/// Whether the text is one JSON text.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
#[path = "forebay_tests.rs"]
mod tests;
