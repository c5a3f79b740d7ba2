//! The `forebay` dialect from the client's side (`core/src/dialect/forebay.md`): what the server says.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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
    /// Of which topic.
    #[serde(borrow)]
    pub(crate) topic: Cow<'a, str>,
    /// Its number.
    pub(crate) seq: u64,
    /// JSON text, byte for byte as it was published.
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) data: Option<&'a RawValue>,
    /// Bytes, in base64.
    #[serde(borrow, default)]
    pub(crate) data64: Option<Cow<'a, str>>,
}

/// A request was carried out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub(crate) struct Answer {
    /// The request's.
    pub(crate) id: Option<u64>,
    /// Of a publish: the message's number. Of a subscribe: messages behind this number will come.
    pub(crate) seq: Option<u64>,
    /// Of a publish: lanes it entered.
    pub(crate) matched: Option<u64>,
    /// Of a publish: it was published before.
    #[serde(default)]
    pub(crate) duplicate: bool,
    /// Of a subscribe: where the topic's numbering began.
    pub(crate) epoch: Option<String>,
    /// Of a subscribe: the one that holds.
    pub(crate) policy: Option<String>,
    /// Of a subscribe: `best-effort` or `at-least-once`.
    pub(crate) delivery: Option<String>,
    /// Of `keep` and `resume`: what resumes the session.
    pub(crate) session: Option<String>,
    /// Of `keep` and `resume`: how long it lives on without a connection.
    pub(crate) ttl_ms: Option<u64>,
    /// Of `resume`: what it is subscribed to.
    pub(crate) lanes: Option<Vec<ResumedLane>>,
}

/// A subscription of a session that was resumed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(crate) struct ResumedLane {
    /// Its topic.
    pub(crate) topic: String,
    /// Where the topic's numbering began.
    pub(crate) epoch: String,
    /// The last message that was sent and will not come again.
    pub(crate) seq: u64,
    /// The one that holds.
    pub(crate) policy: String,
    /// `best-effort` or `at-least-once`.
    pub(crate) delivery: String,
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

/// What is in a server's WebSocket message: one message of the dialect, or an array of several.
pub(crate) fn split(text: &str) -> Result<impl Iterator<Item = &str>, serde_json::Error> {
    let is_array = text.starts_with('[');
    let several: Vec<&RawValue> = if is_array { serde_json::from_str(text)? } else { Vec::new() };
    Ok((!is_array).then_some(text).into_iter().chain(several.into_iter().map(RawValue::get)))
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
    fn several_messages_may_come_as_one() {
        let split = |text| split(text).map(|several| several.map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(split(r#"{"op":"pong"}"#).unwrap(), [r#"{"op":"pong"}"#]);
        assert_eq!(
            split(r#"[{"op":"message","data":[1 ]},{"a":2}]"#).unwrap(),
            [r#"{"op":"message","data":[1 ]}"#, r#"{"a":2}"#]
        );
        assert_eq!(split("not JSON").unwrap(), ["not JSON"], "`parse` tells");
        assert!(split(r#"[{"op":"pong"}"#).is_err());
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
        assert_eq!(answer, Answer { id: Some(7), seq: Some(18), matched: Some(2), ..Answer::default() });
        let text = r#"{"op":"ok","id":1,"topic":"t","epoch":"ab","seq":0,"policy":"block"}"#;
        let Ok(Incoming::Ok(answer)) = parse(text) else { panic!() };
        let (epoch, policy) = (Some("ab".into()), Some("block".into()));
        assert_eq!(answer, Answer { id: Some(1), seq: Some(0), epoch, policy, ..Answer::default() });
        let text = r#"{"op":"ok","id":7,"seq":18,"matched":0,"duplicate":true}"#;
        let Ok(Incoming::Ok(answer)) = parse(text) else { panic!() };
        assert!(answer.duplicate);
        let lane =
            r#"{"topic":"t","epoch":"ab","seq":5,"policy":"block","delivery":"at-least-once","in_flight_max":32}"#;
        let text = format!(r#"{{"op":"ok","id":3,"session":"0f","ttl_ms":60000,"lanes":[{lane}]}}"#);
        let Ok(Incoming::Ok(answer)) = parse(&text) else { panic!() };
        assert_eq!((answer.session.as_deref(), answer.ttl_ms), (Some("0f"), Some(60_000)));
        let [lane] = &answer.lanes.unwrap()[..] else { panic!() };
        assert_eq!((&*lane.topic, &*lane.epoch, lane.seq, &*lane.delivery), ("t", "ab", 5, "at-least-once"));
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
}
