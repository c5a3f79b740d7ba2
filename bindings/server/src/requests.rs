//! The `forebay` dialect from the client's side (`core/src/dialect/forebay.md`): what is asked of the server.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forebay_core::Policy;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::pointer::Pointer;

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// How to subscribe; what is not said is as the topic has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) policy: Option<Policy>,
    pub(crate) messages_max: Option<u32>,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) age_max: Option<Duration>,
    pub(crate) delivery: Option<String>,
    pub(crate) credit: Option<u32>,
    pub(crate) from: Option<Begin>,
}

/// Where a subscription starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    /// Behind the newest message.
    Latest,
    /// With the latest of each key.
    Snapshot,
    /// With everything there still is.
    Start,
    /// With so many of the newest.
    History(u32),
    /// Behind that message.
    After(Position),
}

/// Where a message stands.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub(crate) struct Position {
    /// 16 hexadecimal digits.
    pub(crate) epoch: String,
    /// Its number.
    pub(crate) seq: u64,
}

impl FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let after = || {
            let (epoch, seq) = text.split_once('/')?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let is_good = epoch.len() == 16 && epoch.bytes().all(is_hex);
            Some(Self::After(Position { epoch: epoch.to_owned(), seq: seq.parse().ok().filter(|_| is_good)? }))
        };
        let parsed = match text {
            "latest" => Some(Self::Latest),
            "snapshot" => Some(Self::Snapshot),
            "start" => Some(Self::Start),
            _ => match text.strip_prefix("history:") {
                Some(messages) => messages.parse().ok().map(Self::History),
                None => after(),
            },
        };
        parsed.ok_or_else(|| {
            "must be latest, snapshot, start, history:N or EPOCH/SEQ (16 hexadecimal digits/number)".to_owned()
        })
    }
}

impl fmt::Display for Begin {
    /// As a JSON value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(r#""latest""#),
            Self::Snapshot => f.write_str(r#""snapshot""#),
            Self::Start => f.write_str(r#""start""#),
            Self::History(messages) => write!(f, r#"{{"history":{messages}}}"#),
            Self::After(Position { epoch, seq }) => write!(f, r#"{{"epoch":"{epoch}","seq":{seq}}}"#),
        }
    }
}

/// A member with a value, if there is one.
fn member(name: &str, value: Option<impl fmt::Display>) -> String {
    value.map(|value| format!(r#","{name}":{value}"#)).unwrap_or_default()
}

/// A subscribe request.
pub(crate) fn subscribe(topic: &str, lane: &Lane, id: u64) -> String {
    let members = [
        member("policy", lane.policy.map(|policy| quoted(policy.name()))),
        member("messages_max", lane.messages_max),
        member("bytes_max", lane.bytes_max),
        member("age_max_ms", lane.age_max.map(|age| age.as_millis())),
        member("delivery", lane.delivery.as_deref().map(quoted)),
        member("credit", lane.credit),
        member("from", lane.from.as_ref()),
    ];
    format!(r#"{{"op":"subscribe","topic":{}{},"id":{id}}}"#, quoted(topic), members.concat())
}

/// A subscribe request that wants no `ok`.
pub(crate) fn subscribe_without_id(topic: &str) -> String {
    format!(r#"{{"op":"subscribe","topic":{}}}"#, quoted(topic))
}

/// An unsubscribe request that wants no `ok`.
pub(crate) fn unsubscribe(topic: &str) -> String {
    format!(r#"{{"op":"unsubscribe","topic":{}}}"#, quoted(topic))
}

/// Acknowledges everything up to a number.
pub(crate) fn acknowledge(topic: &str, seq: u64) -> String {
    format!(r#"{{"op":"ack","topic":{},"seq":{seq}}}"#, quoted(topic))
}

/// Lets so many messages more come.
pub(crate) fn grant(topic: &str, credit: u32) -> String {
    format!(r#"{{"op":"credit","topic":{},"credit":{credit}}}"#, quoted(topic))
}

/// Asks that the session lives on without a connection.
pub(crate) fn keep(id: u64) -> String {
    format!(r#"{{"op":"keep","id":{id}}}"#)
}

/// Takes a session over; `lanes` says where its client stands in which topics, and what credit it has.
pub(crate) fn resume<'a>(
    session: &str,
    lanes: impl Iterator<Item = (&'a str, &'a Position)>,
    credit: Option<u32>,
    id: u64,
) -> String {
    let lanes: Vec<_> = lanes
        .map(|(topic, Position { epoch, seq })| {
            let credit = member("credit", credit);
            format!(r#"{{"topic":{},"epoch":{},"seq":{seq}{credit}}}"#, quoted(topic), quoted(epoch))
        })
        .collect();
    format!(r#"{{"op":"resume","session":{},"lanes":[{}],"id":{id}}}"#, quoted(session), lanes.join(","))
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
    /// What all message ids begin with.
    ids: String,
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
    /// Bytes around the topic and the payload: the message id, `,"data":`, the longest id twice and the last brace.
    const AROUND: usize = br#"18446744073709551615,"message_id":"-18446744073709551615","data":}"#.len();

    /// Requests for a topic. Lines with a key are JSON text. Each is given a message id that begins with `ids`, which nobody
    /// can guess.
    pub(crate) fn new(topic: &str, is_json: bool, key: Option<Pointer>, ids: String) -> Self {
        let text = format!(r#"{{"op":"publish","topic":{},"id":"#, quoted(topic)).into_bytes();
        Self { prefix: text.len(), text, is_json: is_json || key.is_some(), key, ids }
    }

    /// The longest line whose request can be within `request_bytes_max`.
    pub(crate) fn line_bytes_max(&self, request_bytes_max: usize) -> usize {
        // Quotes are not subtracted: it is a bound for reading, and the whole request is measured later.
        request_bytes_max.saturating_sub(self.prefix + self.ids.len() + Self::AROUND)
    }

    /// The request that publishes a line.
    pub(crate) fn make(&mut self, id: u64, line: &[u8]) -> Result<&str, Unfit> {
        use std::io::Write;
        self.text.truncate(self.prefix);
        let start = format!(r#"{id},"message_id":"{}-{id}""#, self.ids);
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
                write!(self.text, r#"{start}{key},"data":{json}}}"#)
            }
            (false, Ok(text)) => write!(self.text, r#"{start},"data":"#)
                .and_then(|()| serde_json::to_writer(&mut self.text, text).map_err(Into::into))
                .and_then(|()| self.text.write_all(b"}")),
            (false, Err(_)) => write!(self.text, r#"{start},"data64":"{}"}}"#, STANDARD.encode(line)),
        };
        written.expect("a Vec takes everything");
        Ok(std::str::from_utf8(&self.text).expect("made of text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_lines() {
        let mut plain = PublishRequest::new("a\"b", false, None, "0f".to_owned());
        assert_eq!(plain.make(1, b"x"), Ok(r#"{"op":"publish","topic":"a\"b","id":1,"message_id":"0f-1","data":"x"}"#));
        assert_eq!(
            plain.make(22, b"\"\r"),
            Ok(r#"{"op":"publish","topic":"a\"b","id":22,"message_id":"0f-22","data":"\"\r"}"#)
        );
        assert_eq!(
            plain.make(3, b"\xff\0"),
            Ok(r#"{"op":"publish","topic":"a\"b","id":3,"message_id":"0f-3","data64":"/wA="}"#)
        );
        let mut json = PublishRequest::new("t", true, None, "0f".to_owned());
        assert_eq!(
            json.make(1, b" [1, 2]\r"),
            Ok(r#"{"op":"publish","topic":"t","id":1,"message_id":"0f-1","data":[1, 2]}"#)
        );
        for bad in [&b""[..], b"{", b"1 2", b"\xff", b"\"\xff\"", b"nul"] {
            assert_eq!(json.make(2, bad), Err(Unfit::NotJson), "{bad:?}");
        }
        let mut keyed = PublishRequest::new("t", false, Some(Pointer::parse("/k").unwrap()), "0f".to_owned());
        let request =
            r#"{"op":"publish","topic":"t","id":1,"message_id":"0f-1","key":"a\"\u0001","data":{"k":"a\"\u0001"}}"#;
        assert_eq!(keyed.make(1, br#" {"k":"a\"\u0001"} "#), Ok(request));
        assert_eq!(keyed.make(2, b"{}"), Err(Unfit::NoKey));
        assert_eq!(keyed.make(2, b"{"), Err(Unfit::NotJson));

        assert_eq!(subscribe("t", &Lane::default(), 1), r#"{"op":"subscribe","topic":"t","id":1}"#);
        let lane = Lane {
            policy: Some(Policy::LatestOnly),
            messages_max: Some(2),
            bytes_max: Some(3),
            age_max: Some(Duration::from_millis(4)),
            delivery: Some("at-least-once".to_owned()),
            credit: Some(0),
            from: Some(Begin::History(7)),
        };
        let request = r#"{"op":"subscribe","topic":"t","policy":"latest-only","messages_max":2,"bytes_max":3,"age_max_ms":4,"delivery":"at-least-once","credit":0,"from":{"history":7},"id":1}"#;
        assert_eq!(subscribe("t", &lane, 1), request);
    }

    #[test]
    fn a_line_within_the_bound_fits_its_request() {
        let mut request = PublishRequest::new("t", true, None, "0f".to_owned());
        let bytes_max = request.line_bytes_max(200);
        let line = "1".repeat(bytes_max);
        assert_eq!(request.make(u64::MAX, line.as_bytes()).map(str::len), Ok(200));
    }

    #[test]
    fn a_start_is_written_as_it_is_said() {
        let after = "0123456789abcdef/7";
        for (text, json) in [
            ("latest", r#""latest""#),
            ("snapshot", r#""snapshot""#),
            ("start", r#""start""#),
            ("history:0", r#"{"history":0}"#),
            (after, r#"{"epoch":"0123456789abcdef","seq":7}"#),
        ] {
            assert_eq!(text.parse::<Begin>().unwrap().to_string(), json);
        }
        for bad in
            ["", "Latest", "history", "history:-1", "0123456789abcde/7", "0123456789abcdeF/7", "0123456789abcdef/", "7"]
        {
            assert!(bad.parse::<Begin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sessions_acknowledgements_and_credit_are_asked_for() {
        assert_eq!(keep(4), r#"{"op":"keep","id":4}"#);
        assert_eq!(acknowledge("a\"b", 7), r#"{"op":"ack","topic":"a\"b","seq":7}"#);
        assert_eq!(grant("t", 7), r#"{"op":"credit","topic":"t","credit":7}"#);
        assert_eq!(unsubscribe("t"), r#"{"op":"unsubscribe","topic":"t"}"#);
        let position = Position { epoch: "ab".to_owned(), seq: 3 };
        let lanes = [("t", &position)];
        let request = r#"{"op":"resume","session":"0f","lanes":[{"topic":"t","epoch":"ab","seq":3}],"id":2}"#;
        assert_eq!(resume("0f", lanes.into_iter(), None, 2), request);
        let request =
            r#"{"op":"resume","session":"0f","lanes":[{"topic":"t","epoch":"ab","seq":3,"credit":9}],"id":2}"#;
        assert_eq!(resume("0f", lanes.into_iter(), Some(9), 2), request);
    }
}
