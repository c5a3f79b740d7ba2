//! The `forebay` dialect: JSON text. Specified in `forebay.md` beside this file.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use core::fmt::Write as _;
use core::time::Duration;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{
    Acked, Action, ActionLane, ActionPayload, Code, Description, Dialect, Fault, Join, Reply, Request, SubscribedLane,
};
use crate::config::{LaneOptions, Start};
use crate::delivery::{AtLeastOnce, Delivery};
use crate::output::{Gap, Message, Payload, Position, SessionToken};
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
    #[serde(borrow, default, deserialize_with = "present")]
    delivery: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    from: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    credit: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    message_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    session: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ttl_ms: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    lanes: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    seq: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    seqs: Option<&'a RawValue>,
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
    fn description(&self) -> &'static Description {
        &Description {
            encoding: 1,
            subprotocol: "forebay.v1",
            join: Some(Join { open: b"[", between: b",", close: b"]" }),
        }
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
            "subscribe" => {
                let from = start(members.from).ok_or_else(|| bad(id, FROM))?;
                Action::Subscribe(topic()?, lane_options(&members, id)?, from)
            }
            "unsubscribe" => Action::Unsubscribe(topic()?),
            "publish" => {
                let topic = topic()?;
                let optional = |value: Option<&'a RawValue>, problem| match value {
                    None => Ok(Cow::Borrowed("")),
                    value => text(value).ok_or_else(|| bad(id, problem)),
                };
                let key = optional(members.key, "key must be a string")?;
                let message_id = optional(members.message_id, "message_id must be a string")?;
                let payload = payload(&members).map_err(|text| bad(id, text))?;
                Action::Publish { topic, key, id: message_id, payload }
            }
            "keep" => {
                let ttl = number(members.ttl_ms).map_err(|()| bad(id, "ttl_ms must be a whole number"))?;
                Action::Keep(ttl.map(Duration::from_millis))
            }
            "resume" => {
                let session = text(members.session).ok_or_else(|| bad(id, "session must be a string"))?;
                let lanes = resume_lanes(members.lanes).ok_or_else(|| bad(id, LANES))?;
                Action::Resume(SessionToken::parse(&session), lanes)
            }
            "ack" => Action::Acknowledge(topic()?, acked(&members).ok_or_else(|| bad(id, ACKED))?),
            "credit" => {
                let credit = credit(members.credit).ok().flatten().ok_or_else(|| bad(id, CREDIT))?;
                Action::Grant(topic()?, credit)
            }
            "ping" => Action::Ping,
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
            Reply::Subscribed(lane) => format!(r#"{{"op":"ok"{id},{}}}"#, described(lane)),
            Reply::Done { topic } => format!(r#"{{"op":"ok"{id},"topic":{}}}"#, quoted(topic)),
            Reply::Published(published) => {
                let (seq, matched) = (published.position.seq, published.matched);
                let duplicate = if published.is_duplicate { r#","duplicate":true"# } else { "" };
                format!(r#"{{"op":"ok"{id},"seq":{seq},"matched":{matched}{duplicate}}}"#)
            }
            Reply::Kept { session, ttl } => {
                format!(r#"{{"op":"ok"{id},"session":"{session}","ttl_ms":{}}}"#, ttl.as_millis())
            }
            Reply::Resumed { session, ttl, lanes } => {
                let lanes: Vec<String> = lanes.iter().map(|lane| format!("{{{}}}", described(lane))).collect();
                let (ttl, lanes) = (ttl.as_millis(), lanes.join(","));
                format!(r#"{{"op":"ok"{id},"session":"{session}","ttl_ms":{ttl},"lanes":[{lanes}]}}"#)
            }
            Reply::Limited { retry_after } => {
                let millis = retry_after.as_nanos().div_ceil(1_000_000);
                let text = "faster than the rate allows";
                format!(r#"{{"op":"error","code":"limited","message":"{text}","retry_after_ms":{millis}{id}}}"#)
            }
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
    let number = |value, problem| number(value).map_err(|()| fault(Code::BadMessage, problem));
    let messages_max = number(members.messages_max, "messages_max must be a whole number")?;
    let at_least_once = match members.delivery.map(RawValue::get) {
        None => None,
        Some(r#""at-least-once""#) => Some(true),
        Some(r#""best-effort""#) => Some(false),
        Some(_) => return Err(fault(Code::BadMessage, r#"delivery must be "best-effort" or "at-least-once""#)),
    };
    Ok(LaneOptions {
        policy,
        // Above 2^32 it is above every topic's limit, too.
        messages_max: messages_max.map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
        bytes_max: number(members.bytes_max, "bytes_max must be a whole number")?,
        age_max: number(members.age_max_ms, "age_max_ms must be a whole number")?.map(Duration::from_millis),
        at_least_once,
        credit: credit(members.credit).map_err(|()| fault(Code::BadMessage, CREDIT))?,
    })
}

fn number(value: Option<&RawValue>) -> Result<Option<u64>, ()> {
    value.map(|value| value.get().parse::<u64>()).transpose().map_err(drop)
}

const CREDIT: &str = "credit must be a whole number below 2^32";

fn credit(value: Option<&RawValue>) -> Result<Option<u32>, ()> {
    number(value)?.map(u32::try_from).transpose().map_err(drop)
}

const FROM: &str = r#"from must be "latest", "snapshot", "start", {"history":N} or {"epoch":E,"seq":N}"#;

/// A position: the epoch as it was told, and a sequence number.
#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, default)]
    epoch: Option<Cow<'a, str>>,
    seq: Option<u64>,
    history: Option<u32>,
}

impl Place<'_> {
    fn position(&self) -> Option<Position> {
        let epoch = self.epoch.as_deref().filter(|epoch| epoch.len() == 16)?;
        Some(Position { epoch: u64::from_str_radix(epoch, 16).ok()?, seq: self.seq? })
    }
}

fn start(from: Option<&RawValue>) -> Option<Start> {
    let Some(from) = from.map(RawValue::get) else { return Some(Start::Latest) };
    match from {
        r#""latest""# => return Some(Start::Latest),
        r#""snapshot""# => return Some(Start::Snapshot),
        r#""start""# => return Some(Start::History(u32::MAX)),
        _ => {}
    }
    let place: Place<'_> = serde_json::from_str(from).ok()?;
    match place.history {
        Some(messages) if place.epoch.is_none() && place.seq.is_none() => Some(Start::History(messages)),
        Some(_) => None,
        None => place.position().map(Start::After),
    }
}

const LANES: &str = r#"lanes must be an array of {"topic":T,"epoch":E,"seq":N,"credit":C}"#;

/// As it is written; all but the topic may be left out.
#[derive(Deserialize)]
struct ResumePlace<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default)]
    epoch: Option<Cow<'a, str>>,
    seq: Option<u64>,
    credit: Option<u32>,
}

impl<'a> ResumePlace<'a> {
    /// `None`: half a position.
    fn lane(self) -> Option<ActionLane<'a>> {
        let Self { topic, epoch, seq, credit } = self;
        let is_named = epoch.is_some() || seq.is_some();
        let position = Place { epoch, seq, history: None }.position();
        (position.is_some() == is_named).then_some(ActionLane { topic, position, credit })
    }
}

fn resume_lanes(lanes: Option<&RawValue>) -> Option<Vec<ActionLane<'_>>> {
    let Some(lanes) = lanes else { return Some(Vec::new()) };
    let lanes: Vec<ResumePlace<'_>> = serde_json::from_str(lanes.get()).ok()?;
    lanes.into_iter().map(ResumePlace::lane).collect()
}

const ACKED: &str = "ack needs seq, a whole number, or seqs, an array of 1 to 128 of them";

fn acked(members: &Members<'_>) -> Option<Acked> {
    match (members.seq, members.seqs) {
        (seq @ Some(_), None) => number(seq).ok().flatten().map(Acked::Through),
        (None, Some(seqs)) => {
            let seqs: Vec<u64> = serde_json::from_str(seqs.get()).ok()?;
            (1..=128).contains(&seqs.len()).then_some(Acked::Each(seqs))
        }
        _ => None,
    }
}

/// A lane's members.
fn described(lane: &SubscribedLane<'_>) -> String {
    let SubscribedLane { topic, position: Position { epoch, seq }, policy, delivery } = *lane;
    let topic = quoted(topic);
    let in_flight = match delivery {
        Delivery::BestEffort => String::new(),
        Delivery::AtLeastOnce(AtLeastOnce { in_flight_max, .. }) => format!(r#","in_flight_max":{in_flight_max}"#),
    };
    format!(
        r#""topic":{topic},"epoch":"{epoch:016x}","seq":{seq},"policy":"{policy}","delivery":"{delivery}"{in_flight}"#
    )
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

fn hello(session: &SessionToken, options: &crate::config::Options) -> String {
    format!(
        "{{\"op\":\"hello\",\"version\":1,\"session\":\"{session}\",\"limits\":{{\"message_bytes_max\":{},\
         \"inbound_bytes_max\":{},\"topic_name_bytes_max\":{},\"lanes_max\":{},\"ping_interval_ms\":{},\"session_ttl_ms\":{}}}}}",
        options.message_bytes_max,
        options.inbound_bytes_max,
        options.topic_name_bytes_max,
        options.lanes_per_session_max,
        options.ping_interval.as_millis(),
        options.session_ttl.as_millis()
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
