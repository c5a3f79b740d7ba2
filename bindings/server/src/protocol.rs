//! The `forebay` dialect from the client's side (`core/src/dialect/forebay.md`).

use std::borrow::Cow;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forebay_core::Policy;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::pointer::Pointer;

/// The subprotocol.
pub(crate) const PROTOCOL: &str = "forebay.v1";

/// A message from the server.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// The first one.
    Hello(Hello),
    /// A message of a topic.
    Message(Message<'a>),
    /// A request was carried out.
    Ok(Answer),
    /// Anything else.
    Other(Other),
}

/// What the server says first.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Hello {
    /// What it takes.
    pub(crate) limits: Limits,
}

/// What the server takes.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Limits {
    /// Bytes of one WebSocket message to it.
    pub(crate) message_bytes_max: u32,
}

/// A message of a topic.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    /// JSON text, byte for byte as it was published.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) data: Option<&'a RawValue>,
    /// Bytes, in base64.
    #[serde(borrow, default)]
    pub(crate) data64: Option<Cow<'a, str>>,
}

/// A request was carried out.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct Answer {
    /// The request's.
    pub(crate) id: Option<u64>,
    /// Of a publish: the message's number. Of a subscribe: messages behind this number will come.
    pub(crate) seq: Option<u64>,
    /// Of a publish: lanes it entered.
    pub(crate) matched: Option<u64>,
    /// Of a subscribe: the one that holds.
    pub(crate) policy: Option<String>,
}

/// What comes seldom.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Other {
    /// A request was not carried out.
    Error {
        /// For programs.
        code: String,
        /// For people.
        #[serde(default)]
        message: String,
        /// The request's.
        id: Option<u64>,
    },
    /// Messages were lost.
    Gap {
        /// Where.
        topic: String,
        /// The first number of the range they lie in.
        from: u64,
        /// The last.
        to: u64,
        /// How many.
        missed: u64,
        /// Why.
        reasons: Vec<String>,
    },
    /// A subscription was ended by the server.
    Ended {
        /// Which.
        topic: String,
        /// Why.
        code: String,
    },
    /// Something newer than this program, or of no interest to it.
    #[serde(other)]
    Unknown,
}

/// `null` is a payload like any other; only an absent member is none.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Takes a server's message apart. What comes often is told by its first bytes: `op` is the first member.
pub(crate) fn parse(text: &str) -> Result<Incoming<'_>, serde_json::Error> {
    if text.starts_with(r#"{"op":"message","#) {
        serde_json::from_str(text).map(Incoming::Message)
    } else if text.starts_with(r#"{"op":"ok","#) {
        serde_json::from_str(text).map(Incoming::Ok)
    } else if text.starts_with(r#"{"op":"hello","#) {
        serde_json::from_str(text).map(Incoming::Hello)
    } else {
        serde_json::from_str(text).map(Incoming::Other)
    }
}

impl Message<'_> {
    /// Appends the payload as a line: a JSON string as its text (unless `as_json`), other JSON as it is, bytes as they
    /// are.
    pub(crate) fn write_line(&self, as_json: bool, line: &mut Vec<u8>) -> Result<(), &'static str> {
        match (self.data, &self.data64) {
            (Some(data), None) => {
                let json = data.get();
                // A string with half a surrogate pair has no text: it stays JSON.
                let text = if as_json || !json.starts_with('"') { None } else { serde_json::from_str(json).ok() };
                line.extend_from_slice(text.unwrap_or(Cow::Borrowed(json)).as_bytes());
            }
            (None, Some(data64)) => {
                STANDARD.decode_vec(data64.as_bytes(), line).map_err(|_| "data64 that is not base64")?;
            }
            _ => return Err("neither data nor data64"),
        }
        line.push(b'\n');
        Ok(())
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// How to subscribe; what is not said is as the topic has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) policy: Option<Policy>,
    pub(crate) messages_max: Option<u32>,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) age_max: Option<Duration>,
}

/// A subscribe request.
pub(crate) fn subscribe(topic: &str, lane: Lane, id: u64) -> String {
    let policy = lane.policy.map(|policy| format!(r#","policy":"{policy}""#)).unwrap_or_default();
    let messages_max = lane.messages_max.map(|messages| format!(r#","messages_max":{messages}"#)).unwrap_or_default();
    let bytes_max = lane.bytes_max.map(|bytes| format!(r#","bytes_max":{bytes}"#)).unwrap_or_default();
    let age_max = lane.age_max.map(|age| format!(r#","age_max_ms":{}"#, age.as_millis())).unwrap_or_default();
    format!(r#"{{"op":"subscribe","topic":{}{policy}{messages_max}{bytes_max}{age_max},"id":{id}}}"#, quoted(topic))
}

/// A subscribe request that wants no `ok`.
pub(crate) fn subscribe_without_id(topic: &str) -> String {
    format!(r#"{{"op":"subscribe","topic":{}}}"#, quoted(topic))
}

/// Makes publish requests for one topic, all in the same buffer.
#[derive(Debug)]
pub(crate) struct PublishRequest {
    text: Vec<u8>,
    prefix: usize,
    /// Whether lines are JSON text.
    is_json: bool,
    /// Where they say their key.
    key: Option<Pointer>,
}

/// Why a line cannot be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unfit {
    /// It should be JSON text.
    NotJson,
    /// It has no key where it should.
    NoKey,
}

impl Unfit {
    /// For programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NoKey => "no-key",
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "the line is not JSON text",
            Self::NoKey => "the line has no string, number, true or false at the place that --key names",
        })
    }
}

impl PublishRequest {
    /// Bytes around the topic and the payload: `,"data":`, the longest id and the last brace.
    const AROUND: usize = br#"18446744073709551615,"data":}"#.len();

    /// Requests for a topic. Lines with a key are JSON text.
    pub(crate) fn new(topic: &str, is_json: bool, key: Option<Pointer>) -> Self {
        let text = format!(r#"{{"op":"publish","topic":{},"id":"#, quoted(topic)).into_bytes();
        Self { prefix: text.len(), text, is_json: is_json || key.is_some(), key }
    }

    /// The longest line whose request can be within `request_bytes_max`.
    pub(crate) fn line_bytes_max(&self, request_bytes_max: usize) -> usize {
        // Quotes are not subtracted: it is a bound for reading, and the whole request is measured later.
        request_bytes_max.saturating_sub(self.prefix + Self::AROUND)
    }

    /// The request that publishes a line.
    pub(crate) fn make(&mut self, id: u64, line: &[u8]) -> Result<&str, Unfit> {
        use std::io::Write;
        self.text.truncate(self.prefix);
        let written = match (self.is_json, std::str::from_utf8(line)) {
            (true, text) => {
                let json: Option<&RawValue> = text.ok().and_then(|text| serde_json::from_str(text).ok());
                let json = json.ok_or(Unfit::NotJson)?;
                let key = match &self.key {
                    Some(pointer) => {
                        format!(r#","key":{}"#, quoted(&pointer.key(json.get()).ok_or(Unfit::NoKey)?))
                    }
                    None => String::new(),
                };
                write!(self.text, r#"{id}{key},"data":{json}}}"#)
            }
            (false, Ok(text)) => write!(self.text, r#"{id},"data":"#)
                .and_then(|()| serde_json::to_writer(&mut self.text, text).map_err(Into::into))
                .and_then(|()| self.text.write_all(b"}")),
            (false, Err(_)) => write!(self.text, r#"{id},"data64":"{}"}}"#, STANDARD.encode(line)),
        };
        written.expect("a Vec takes everything");
        Ok(std::str::from_utf8(&self.text).expect("made of text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, as_json: bool) -> Vec<u8> {
        let Ok(Incoming::Message(message)) = parse(message) else { panic!("{message}") };
        let mut line = Vec::new();
        message.write_line(as_json, &mut line).unwrap();
        line
    }

    #[test]
    fn payloads_become_lines() {
        for (payload, plain, json) in [
            (r#""data":"a b""#, "a b\n", "\"a b\"\n"),
            (r#""data":"a\"\u00e4\t""#, "a\"\u{e4}\t\n", "\"a\\\"\\u00e4\\t\"\n"),
            (r#""data":"""#, "\n", "\"\"\n"),
            (r#""data":"\ud800""#, "\"\\ud800\"\n", "\"\\ud800\"\n"),
            (r#""data":null"#, "null\n", "null\n"),
            (r#""data":{ "a" : [1.50, "x"] }"#, "{ \"a\" : [1.50, \"x\"] }\n", "{ \"a\" : [1.50, \"x\"] }\n"),
            (r#""data":12345678901234567890123"#, "12345678901234567890123\n", "12345678901234567890123\n"),
            (r#""data64":"YWI=""#, "ab\n", "ab\n"),
            (r#""data64":"""#, "\n", "\n"),
            (r#""new":{"data":1},"data":2"#, "2\n", "2\n"),
        ] {
            let message = format!(r#"{{"op":"message","topic":"t","seq":17,{payload}}}"#);
            assert_eq!(line(&message, false), plain.as_bytes(), "{message}");
            assert_eq!(line(&message, true), json.as_bytes(), "{message}");
        }
        assert_eq!(line(r#"{"op":"message","topic":"t","seq":1,"data64":"/wA="}"#, false), b"\xff\0\n");
    }

    #[test]
    fn broken_payloads_are_told() {
        for payload in [r#""data64":"?""#, r#""x":1"#, r#""data":1,"data64":"""#] {
            let text = format!(r#"{{"op":"message","topic":"t","seq":17,{payload}}}"#);
            let Ok(Incoming::Message(message)) = parse(&text) else { panic!("{text}") };
            assert!(message.write_line(false, &mut Vec::new()).is_err(), "{text}");
        }
        assert!(parse(r#"{"op":"message","topic":"t","seq":1,"data":}"#).is_err());
        assert!(parse("[]").is_err());
    }

    #[test]
    fn answers_gaps_and_the_unknown() {
        let Ok(Incoming::Ok(answer)) = parse(r#"{"op":"ok","id":7,"seq":18,"matched":2}"#) else { panic!() };
        assert_eq!(answer, Answer { id: Some(7), seq: Some(18), matched: Some(2), policy: None });
        let text = r#"{"op":"ok","id":1,"topic":"t","epoch":"ab","seq":0,"policy":"block"}"#;
        let Ok(Incoming::Ok(answer)) = parse(text) else { panic!() };
        assert_eq!(answer, Answer { id: Some(1), seq: Some(0), matched: None, policy: Some("block".into()) });
        let hello = r#"{"op":"hello","version":1,"session":"00","limits":{"message_bytes_max":5,"lanes_max":3}}"#;
        let Ok(Incoming::Hello(hello)) = parse(hello) else { panic!() };
        assert_eq!(hello.limits.message_bytes_max, 5);

        let other = |text: &str| match parse(text) {
            Ok(Incoming::Other(other)) => other,
            incoming => panic!("{incoming:?}"),
        };
        assert_eq!(
            other(r#"{"op":"gap","topic":"t","from":5,"to":124,"missed":120,"reasons":["oldest"]}"#),
            Other::Gap { topic: "t".into(), from: 5, to: 124, missed: 120, reasons: vec!["oldest".into()] }
        );
        assert_eq!(
            other(r#"{"op":"error","code":"full","message":"m","id":3}"#),
            Other::Error { code: "full".into(), message: "m".into(), id: Some(3) }
        );
        assert_eq!(
            other(r#"{"op":"error","code":"bad-message","message":"m"}"#),
            Other::Error { code: "bad-message".into(), message: "m".into(), id: None }
        );
        assert_eq!(
            other(r#"{"op":"ended","topic":"t","code":"removed"}"#),
            Other::Ended { topic: "t".into(), code: "removed".into() }
        );
        assert_eq!(other(r#"{"op":"pong"}"#), Other::Unknown);
        assert_eq!(other(r#"{"op":"later","x":[1]}"#), Other::Unknown);
    }

    #[test]
    fn requests_carry_lines() {
        let mut plain = PublishRequest::new("a\"b", false, None);
        assert_eq!(plain.make(1, b"x"), Ok(r#"{"op":"publish","topic":"a\"b","id":1,"data":"x"}"#));
        assert_eq!(plain.make(22, b"\"\r"), Ok(r#"{"op":"publish","topic":"a\"b","id":22,"data":"\"\r"}"#));
        assert_eq!(plain.make(3, b"\xff\0"), Ok(r#"{"op":"publish","topic":"a\"b","id":3,"data64":"/wA="}"#));
        let mut json = PublishRequest::new("t", true, None);
        assert_eq!(json.make(1, b" [1, 2]\r"), Ok(r#"{"op":"publish","topic":"t","id":1,"data":[1, 2]}"#));
        for bad in [&b""[..], b"{", b"1 2", b"\xff", b"\"\xff\"", b"nul"] {
            assert_eq!(json.make(2, bad), Err(Unfit::NotJson), "{bad:?}");
        }
        let mut keyed = PublishRequest::new("t", false, Some(Pointer::parse("/k").unwrap()));
        let request = r#"{"op":"publish","topic":"t","id":1,"key":"a\"\u0001","data":{"k":"a\"\u0001"}}"#;
        assert_eq!(keyed.make(1, br#" {"k":"a\"\u0001"} "#), Ok(request));
        assert_eq!(keyed.make(2, b"{}"), Err(Unfit::NoKey));
        assert_eq!(keyed.make(2, b"{"), Err(Unfit::NotJson));

        assert_eq!(subscribe("t", Lane::default(), 1), r#"{"op":"subscribe","topic":"t","id":1}"#);
        let lane = Lane {
            policy: Some(Policy::LatestOnly),
            messages_max: Some(2),
            bytes_max: Some(3),
            age_max: Some(Duration::from_millis(4)),
        };
        let request = r#"{"op":"subscribe","topic":"t","policy":"latest-only","messages_max":2,"bytes_max":3,"age_max_ms":4,"id":1}"#;
        assert_eq!(subscribe("t", lane, 1), request);
    }

    #[test]
    fn a_line_within_the_bound_fits_its_request() {
        let mut request = PublishRequest::new("t", true, None);
        let bytes_max = request.line_bytes_max(200);
        let line = "1".repeat(bytes_max);
        assert_eq!(request.make(u64::MAX, line.as_bytes()).map(str::len), Ok(200));
    }
}
