//! A reader of `forebay.v1` that keeps book of everything it is told and believes none of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json;

/// Every code an error may have.
pub const CODES: [&str; 13] = [
    "bad-message",
    "unknown-op",
    "unsupported",
    "bad-topic",
    "unknown-topic",
    "topics-full",
    "already-subscribed",
    "not-subscribed",
    "lanes-full",
    "full",
    "too-large",
    "overloaded",
    "draining",
];

/// A payload as it was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// JSON text, as written.
    Json(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Data {
    /// Its bytes: JSON text, or the decoded ones.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Whether it is JSON text.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Json(_))
    }
}

/// One thing the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// The greeting: session and the members of `limits`.
    Hello {
        /// The session's text.
        session: String,
        /// The limits.
        limits: BTreeMap<String, u64>,
    },
    /// A message of a topic.
    Message {
        /// The topic.
        topic: String,
        /// The numbering, where it is known.
        epoch: Option<String>,
        /// Its number.
        seq: u64,
        /// Its payload.
        data: Data,
    },
    /// A gap notice.
    Gap {
        /// The topic.
        topic: String,
        /// First lost.
        from: u64,
        /// Last lost.
        to: u64,
        /// How many.
        missed: u64,
        /// Why.
        reasons: Vec<String>,
    },
    /// A subscribe was carried out.
    Subscribed {
        /// The request's id as written.
        id: String,
        /// The topic.
        topic: String,
        /// The numbering.
        epoch: String,
        /// Messages from `seq + 1` on will come.
        seq: u64,
    },
    /// An unsubscribe was carried out.
    Unsubscribed {
        /// The request's id as written.
        id: String,
        /// The topic.
        topic: String,
    },
    /// A publish was carried out.
    Published {
        /// The request's id as written.
        id: String,
        /// The message's number.
        seq: u64,
        /// How many lanes it entered.
        matched: u64,
        /// What was published.
        tag: u64,
    },
    /// A request was not carried out.
    Error {
        /// The request's id as written, where it had one.
        id: Option<String>,
        /// The code.
        code: String,
        /// The `tag` of the publish it belongs to.
        tag: u64,
    },
    /// A subscription was ended.
    Ended {
        /// The topic.
        topic: String,
    },
    /// The answer to a ping.
    Pong {
        /// The request's id as written.
        id: Option<String>,
    },
}

impl Told {
    /// The same in a few words, for tables: `message t 3 {"a":1}`, `gap t 1-7 7 oldest`, `error full`.
    #[must_use]
    pub fn brief(&self) -> String {
        match self {
            Self::Hello { .. } => "hello".into(),
            Self::Message { topic, seq, data: Data::Json(text), .. } => format!("message {topic} {seq} {text}"),
            Self::Message { topic, seq, data: Data::Bytes(bytes), .. } => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("message {topic} {seq} {hex}")
            }
            Self::Gap { topic, from, to, missed, reasons } => {
                format!("gap {topic} {from}-{to} {missed} {}", reasons.join("+"))
            }
            Self::Subscribed { topic, seq, .. } => format!("subscribed {topic} {seq}"),
            Self::Unsubscribed { topic, .. } => format!("unsubscribed {topic}"),
            Self::Published { seq, matched, .. } => format!("published {seq} {matched}"),
            Self::Error { code, .. } => format!("error {code}"),
            Self::Ended { topic } => format!("ended {topic}"),
            Self::Pong { .. } => "pong".into(),
        }
    }
}

/// A subscription and its ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sub {
    /// The numbering.
    pub epoch: String,
    /// Messages from `start + 1` on will come.
    pub start: u64,
    /// The last message received, or `start`.
    pub last: u64,
    /// The highest number told, by a message or a gap.
    pub told: u64,
    /// Messages received.
    pub received: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Messages told as lost.
    pub missed: u64,
    /// Gap notices.
    pub gaps: u64,
}

impl Sub {
    const fn new(epoch: String, start: u64) -> Self {
        Self { epoch, start, last: start, told: start, received: 0, bytes: 0, missed: 0, gaps: 0 }
    }
}

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// `subscribe`
    Subscribe,
    /// `unsubscribe`
    Unsubscribe,
    /// `publish`
    Publish,
    /// `ping`
    Ping,
    /// Something that can only be answered by an error.
    Nonsense,
}

#[derive(Clone, Debug)]
struct Request {
    asked: Asked,
    id: Option<String>,
    topic: String,
    tag: u64,
}

/// One side's book of a `forebay.v1` connection.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// The session, once greeted.
    pub session: Option<String>,
    /// Subscriptions now.
    pub subs: BTreeMap<String, Sub>,
    /// Topics subscribed to without an id: nothing is known of where they start.
    pub loose: BTreeSet<String>,
    told: Vec<Told>,
    pending: VecDeque<Request>,
    last_id: u64,
    silent_errors: u64,
    /// Gap notices whose range is larger than what was missed, or that do not start at the next number.
    pub uneven_gaps: u64,
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text")
}

impl Reader {
    /// What was said since it was last asked.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Requests with an id that were not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.pending.iter().filter(|request| request.id.is_some()).count()
    }

    /// The unanswered requests of one kind.
    #[must_use]
    pub fn unanswered_of(&self, asked: Asked) -> usize {
        self.pending.iter().filter(|request| request.id.is_some() && request.asked == asked).count()
    }

    fn ask(&mut self, asked: Asked, with_id: bool, topic: &str, tag: u64, members: &str) -> String {
        self.last_id += 1;
        // Numbers, texts and texts with escapes take turns.
        let id = with_id.then(|| match self.last_id % 3 {
            0 => format!("\"i-{}\"", self.last_id),
            1 => self.last_id.to_string(),
            _ => format!("\"\\u0069 \\\"{}\"", self.last_id),
        });
        let member = id.as_ref().map_or(String::new(), |id| format!(",\"id\":{id}"));
        if asked == Asked::Subscribe && !with_id {
            self.loose.insert(topic.into());
        }
        if !with_id && asked != Asked::Ping {
            self.silent_errors += 1;
        }
        // Also without an id: a publish that waits lets others overtake, and gives no answer.
        self.pending.push_back(Request { asked, id, topic: topic.into(), tag });
        format!("{{{members}{member}}}")
    }

    /// The text of a subscribe.
    pub fn subscribe(&mut self, topic: &str, with_id: bool) -> String {
        self.ask(Asked::Subscribe, with_id, topic, 0, &format!("\"op\":\"subscribe\",\"topic\":{}", quoted(topic)))
    }

    /// The text of an unsubscribe.
    pub fn unsubscribe(&mut self, topic: &str) -> String {
        self.ask(Asked::Unsubscribe, true, topic, 0, &format!("\"op\":\"unsubscribe\",\"topic\":{}", quoted(topic)))
    }

    /// The text of a publish. `tag` comes back with the answer. `space` stands around the value.
    pub fn publish(&mut self, topic: &str, data: &Data, tag: u64, with_id: bool, space: &str) -> String {
        let value = match data {
            Data::Json(text) => format!("\"data\":{space}{text}{space}"),
            Data::Bytes(bytes) => format!("\"data64\":{space}\"{}\"{space}", STANDARD.encode(bytes)),
        };
        let members = if space.is_empty() {
            format!("\"op\":\"publish\",\"topic\":{},{value}", quoted(topic))
        } else {
            // Clients may order members as they like.
            format!("{value},\"topic\":{},\"extra\":[{{}}],\"op\":\"publish\"", quoted(topic))
        };
        self.ask(Asked::Publish, with_id, topic, tag, &members)
    }

    /// The text of a ping.
    pub fn ping(&mut self, with_id: bool) -> String {
        self.ask(Asked::Ping, with_id, "", 0, "\"op\":\"ping\"")
    }

    /// The text of something that must be answered by an error; `members` without braces and id.
    pub fn nonsense(&mut self, members: &str) -> String {
        self.ask(Asked::Nonsense, true, "", 0, members)
    }

    /// Counts a request whose error has no id, written by the caller.
    pub const fn expect_silent_error(&mut self) {
        self.silent_errors += 1;
    }

    /// Takes a text message of the server in.
    ///
    /// # Errors
    /// What the server must not have said.
    pub fn text(&mut self, text: &str) -> Result<(), String> {
        self.said(text).map_err(|error| format!("{error}; in {text:.300}"))
    }

    fn said(&mut self, text: &str) -> Result<(), String> {
        let members = json::members(text)?;
        let said = Said { members: &members };
        let op = match members.first() {
            Some((name, _)) if name == "op" => said.text("op")?,
            _ => return Err("op is not the first member".into()),
        };
        if self.session.is_none() != (op == "hello") {
            return Err("hello comes first, and once".into());
        }
        if !matches!(op.as_str(), "message") && json::has_white_space(text) {
            return Err("white space".into());
        }
        let told = match op.as_str() {
            "hello" => self.hello(&said)?,
            "message" => self.message(&said)?,
            "gap" => self.gap(&said)?,
            "ok" => self.ok(&said)?,
            "error" => self.error(&said)?,
            "ended" => self.ended(&said)?,
            "pong" => {
                let id = said.find("id").map(str::to_string);
                self.answered(id.as_deref(), |asked| asked == Asked::Ping)?;
                Told::Pong { id }
            }
            other => return Err(format!("unknown op {other}")),
        };
        self.told.push(told);
        Ok(())
    }

    fn hello(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let session = said.text("session")?;
        if session.len() != 32 || !session.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("session is not 32 hexadecimal digits".into());
        }
        if said.number("version")? != 1 {
            return Err("version".into());
        }
        let mut limits = BTreeMap::new();
        for (name, value) in json::members(said.get("limits")?)? {
            limits.insert(name, value.parse().map_err(|_| "a limit that is not a number")?);
        }
        for name in ["message_bytes_max", "inbound_bytes_max", "topic_name_bytes_max", "lanes_max", "ping_interval_ms"]
        {
            if !limits.contains_key(name) {
                return Err(format!("no limit {name}"));
            }
        }
        self.session = Some(session.clone());
        Ok(Told::Hello { session, limits })
    }

    fn message(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let (topic, seq) = (said.text("topic")?, said.number("seq")?);
        let data = match (said.find("data"), said.find("data64")) {
            (Some(text), None) => Data::Json(text.into()),
            (None, Some(_)) => {
                let bytes = STANDARD.decode(said.text("data64")?).map_err(|error| format!("data64: {error}"))?;
                Data::Bytes(bytes)
            }
            _ => return Err("neither data nor data64, or both".into()),
        };
        if seq == 0 || seq >= 1 << 53 {
            return Err(format!("seq {seq}"));
        }
        let mut epoch = None;
        if let Some(sub) = self.subs.get_mut(&topic) {
            epoch = Some(sub.epoch.clone());
            if seq <= sub.last {
                return Err(format!("{seq} after {}", sub.last));
            }
            sub.last = seq;
            sub.told = sub.told.max(seq);
            sub.received += 1;
            sub.bytes += data.bytes().len() as u64;
            // Every number up to here was received or told as missed; what a gap told beyond may come on top.
            let covered = sub.received + sub.missed;
            if covered < seq - sub.start {
                return Err(format!("a hole before {seq} that no gap has told: {sub:?}"));
            }
            if sub.told == seq && covered > seq - sub.start {
                return Err(format!("more told as missed than there was: {sub:?}"));
            }
        } else if !self.loose.contains(&topic) {
            return Err("a message without a subscription".into());
        }
        Ok(Told::Message { topic, epoch, seq, data })
    }

    fn gap(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let topic = said.text("topic")?;
        let (from, to, missed) = (said.number("from")?, said.number("to")?, said.number("missed")?);
        let reasons: Vec<String> =
            serde_json::from_str(said.get("reasons")?).map_err(|error| format!("reasons: {error}"))?;
        let known = ["oldest", "log_bound", "overload"];
        let unique: BTreeSet<&String> = reasons.iter().collect();
        if reasons.is_empty() || unique.len() < reasons.len() || reasons.iter().any(|r| !known.contains(&r.as_str())) {
            return Err("reasons".into());
        }
        if from == 0 || from > to || missed == 0 || missed > to - from + 1 {
            return Err("a range that cannot be".into());
        }
        if let Some(sub) = self.subs.get_mut(&topic) {
            if from <= sub.last {
                return Err(format!("a gap over what was received: {sub:?}"));
            }
            if from != sub.told + 1 || missed != to - from + 1 {
                self.uneven_gaps += 1;
            }
            sub.told = sub.told.max(to);
            sub.missed += missed;
            sub.gaps += 1;
            if sub.received + sub.missed > sub.told - sub.start {
                return Err(format!("more missed than there was: {sub:?}"));
            }
        } else if !self.loose.contains(&topic) {
            return Err("a gap without a subscription".into());
        }
        Ok(Told::Gap { topic, from, to, missed, reasons })
    }

    fn ok(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let id = said.get("id")?.to_string();
        let request = self.answered(Some(&id), |asked| !matches!(asked, Asked::Ping | Asked::Nonsense))?;
        if request.asked != Asked::Publish && said.text("topic")? != request.topic {
            return Err("the topic of another request".into());
        }
        Ok(match request.asked {
            Asked::Subscribe => {
                let (epoch, seq, topic) = (said.text("epoch")?, said.number("seq")?, request.topic);
                if self.subs.insert(topic.clone(), Sub::new(epoch.clone(), seq)).is_some() {
                    return Err("subscribed twice".into());
                }
                Told::Subscribed { id, topic, epoch, seq }
            }
            Asked::Unsubscribe => {
                let known = self.subs.remove(&request.topic).is_some();
                if !self.loose.remove(&request.topic) && !known {
                    return Err("unsubscribed from what was not subscribed".into());
                }
                Told::Unsubscribed { id, topic: request.topic }
            }
            _ => {
                let (seq, matched) = (said.number("seq")?, said.number("matched")?);
                Told::Published { id, seq, matched, tag: request.tag }
            }
        })
    }

    fn error(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let code = said.text("code")?;
        if !CODES.contains(&code.as_str()) {
            return Err("an unknown code".into());
        }
        if said.text("message")?.is_empty() {
            return Err("an empty text for people".into());
        }
        let Some(id) = said.find("id").map(str::to_string) else {
            self.silent_errors =
                self.silent_errors.checked_sub(1).ok_or("an error without id, and no request it could belong to")?;
            return Ok(Told::Error { id: None, code, tag: 0 });
        };
        let request = self.answered(Some(&id), |asked| asked != Asked::Ping)?;
        match (request.asked, code.as_str()) {
            (Asked::Subscribe, "already-subscribed") if !self.is_subscribed(&request.topic) => {
                return Err("already-subscribed, but it is not".into());
            }
            (Asked::Unsubscribe, "not-subscribed") if self.subs.contains_key(&request.topic) => {
                return Err("not-subscribed, but it is".into());
            }
            (Asked::Subscribe, "full" | "not-subscribed" | "too-large")
            | (Asked::Unsubscribe, "full" | "already-subscribed" | "too-large" | "overloaded")
            | (Asked::Publish, "already-subscribed" | "not-subscribed" | "lanes-full") => {
                return Err("a code that does not belong to the request".into());
            }
            _ => {}
        }
        Ok(Told::Error { id: Some(id), code, tag: request.tag })
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        self.subs.contains_key(topic) || self.loose.contains(topic)
    }

    fn ended(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let topic = said.text("topic")?;
        if said.text("code")? != "removed" {
            return Err("an unknown code".into());
        }
        let known = self.subs.remove(&topic).is_some();
        if !self.loose.remove(&topic) && !known {
            return Err("the end of what was not subscribed".into());
        }
        Ok(Told::Ended { topic })
    }

    /// Finds the request an answer belongs to, and checks that the answer may come now.
    fn answered(&mut self, id: Option<&str>, fits: fn(Asked) -> bool) -> Result<Request, String> {
        let place = self
            .pending
            .iter()
            .position(|request| request.id.as_deref() == id && (id.is_some() || fits(request.asked)))
            .ok_or("an answer nobody has asked for")?;
        let overtakes = |asked| matches!(asked, Asked::Unsubscribe | Asked::Ping);
        let request = &self.pending[place];
        if !fits(request.asked) {
            return Err(format!("the answer to something else than {request:?}"));
        }
        if overtakes(request.asked) {
            // Only what waits behind a publish may be overtaken, never another of its own kind.
            let mut behind_publish = false;
            for earlier in self.pending.range(..place) {
                behind_publish |= earlier.asked == Asked::Publish;
                if earlier.id.is_some() && (!behind_publish || overtakes(earlier.asked)) {
                    return Err(format!("out of order: {earlier:?} was asked before {request:?}"));
                }
            }
        } else {
            let earlier = self.pending.range(..place).find(|earlier| earlier.id.is_some() && !overtakes(earlier.asked));
            if let Some(earlier) = earlier {
                return Err(format!("out of order: {earlier:?} was asked before {request:?}"));
            }
            if let Some(earlier) = self.pending.range(..place).find(|earlier| earlier.id.is_some()) {
                return Err(format!("an {earlier:?} waited behind {request:?}"));
            }
        }
        let request = self.pending.remove(place).expect("found");
        if !overtakes(request.asked) {
            // Whatever was asked before without an id is over too.
            self.pending.drain(..place);
        }
        Ok(request)
    }
}

struct Said<'a> {
    members: &'a [(String, &'a str)],
}

impl<'a> Said<'a> {
    fn find(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    fn get(&self, name: &str) -> Result<&'a str, String> {
        self.find(name).ok_or_else(|| format!("no {name}"))
    }

    fn text(&self, name: &str) -> Result<String, String> {
        serde_json::from_str(self.get(name)?).map_err(|error| format!("{name}: {error}"))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        serde_json::from_str(self.get(name)?).map_err(|error| format!("{name}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"{"op":"hello","version":1,"session":"0123456789abcdef0123456789abcdef","limits":{"message_bytes_max":1,"inbound_bytes_max":2,"topic_name_bytes_max":3,"lanes_max":4,"ping_interval_ms":5}}"#;

    fn subscribed() -> Reader {
        let mut reader = Reader::default();
        reader.text(HELLO).unwrap();
        assert_eq!(reader.subscribe("t", true), r#"{"op":"subscribe","topic":"t","id":1}"#);
        reader.text(r#"{"op":"ok","id":1,"topic":"t","epoch":"e","seq":10}"#).unwrap();
        reader
    }

    fn message(seq: u64) -> String {
        format!(r#"{{"op":"message","topic":"t","seq":{seq},"data":{{"a" : 1}}}}"#)
    }

    #[test]
    fn messages_gaps_and_the_ledger() {
        let mut reader = subscribed();
        reader.text(&message(11)).unwrap();
        reader.text(r#"{"op":"gap","topic":"t","from":12,"to":13,"missed":2,"reasons":["oldest"]}"#).unwrap();
        reader.text(r#"{"op":"message","topic":"t","seq":14,"data64":"AQI="}"#).unwrap();
        let sub = &reader.subs["t"];
        assert_eq!((sub.received, sub.missed, sub.bytes, sub.told), (2, 2, 11, 14));
        let told = reader.take_told();
        assert!(told.iter().any(|told| told.brief() == "message t 14 0102"));
        // Told ahead: 16 was lost while 15 was on its way.
        reader.text(r#"{"op":"gap","topic":"t","from":16,"to":16,"missed":1,"reasons":["oldest"]}"#).unwrap();
        reader.text(&message(15)).unwrap();
        reader.text(&message(17)).unwrap();
        assert_eq!(reader.uneven_gaps, 1);
    }

    #[test]
    fn violations_of_a_subscription() {
        for (texts, why) in [
            (vec![message(12)], "hole"),
            (vec![message(11), message(11)], "after"),
            (vec![message(10)], "after"),
            (vec![r#"{"op":"gap","topic":"t","from":10,"to":11,"missed":1,"reasons":["oldest"]}"#.into()], "over"),
            (vec![r#"{"op":"gap","topic":"t","from":11,"to":11,"missed":2,"reasons":["oldest"]}"#.into()], "range"),
            (vec![r#"{"op":"gap","topic":"t","from":11,"to":11,"missed":1,"reasons":[]}"#.into()], "reasons"),
            (
                vec![
                    r#"{"op":"gap","topic":"t","from":11,"to":13,"missed":1,"reasons":["oldest"]}"#.into(),
                    message(13),
                ],
                "hole",
            ),
            (vec![r#"{"op":"message","topic":"u","seq":1,"data":1}"#.into()], "without"),
            (vec![r#"{"topic":"t","op":"message","seq":11,"data":1}"#.into()], "first"),
            (vec![r#"{"op":"message","topic":"t","seq":11,"data":1,"data64":""}"#.into()], "both"),
            (vec![HELLO.into()], "hello"),
            (vec![r#"{"op":"ended","topic":"t","code":"removed"}"#.into(), message(11)], "without"),
            (vec![r#"{"op":"pong"}"#.into()], "nobody"),
            (vec![r#"{"op":"error","code":"full","message":"x"}"#.into()], "no request"),
            (vec![r#"{"op":"error","code":"new","message":"x"}"#.into()], "code"),
        ] {
            let mut reader = subscribed();
            let error = texts.iter().map(|text| reader.text(text)).find_map(Result::err).expect(why);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn answers_come_in_order_but_for_what_overtakes_a_publish() {
        let ask = |reader: &mut Reader| {
            reader.publish("t", &Data::Json("1".into()), 7, true, ""); // "\u0069 \"2"
            reader.subscribe("u", true); // "i-3"
            reader.ping(true); // 4
            reader.unsubscribe("t"); // "\u0069 \"5"
        };
        let published = r#"{"op":"ok","id":"\u0069 \"2","seq":11,"matched":0}"#;
        let subscribed_u = r#"{"op":"ok","id":"i-3","topic":"u","epoch":"e","seq":0}"#;
        let pong = r#"{"op":"pong","id":4}"#;
        let unsubscribed = r#"{"op":"ok","id":"\u0069 \"5","topic":"t"}"#;
        for (order, good) in [
            ([published, subscribed_u, pong, unsubscribed], true),
            ([pong, unsubscribed, published, subscribed_u], true),
            ([pong, published, subscribed_u, unsubscribed], true),
            ([subscribed_u, published, pong, unsubscribed], false),
            ([unsubscribed, pong, published, subscribed_u], false),
            ([published, pong, subscribed_u, unsubscribed], false),
        ] {
            let mut reader = subscribed();
            ask(&mut reader);
            let results: Vec<_> = order.iter().map(|text| reader.text(text)).collect();
            assert_eq!(results.iter().all(Result::is_ok), good, "{results:?}");
            assert!(!good || reader.unanswered() == 0);
        }
    }

    #[test]
    fn requests_without_id_and_errors() {
        let mut reader = subscribed();
        let text = reader.publish("t", &Data::Bytes(vec![1, 2]), 0, false, " \n");
        assert_eq!(text, "{\"data64\": \n\"AQI=\" \n,\"topic\":\"t\",\"extra\":[{}],\"op\":\"publish\"}");
        reader.text(r#"{"op":"error","code":"full","message":"x"}"#).unwrap();
        assert!(reader.text(r#"{"op":"error","code":"full","message":"x"}"#).is_err());
        assert_eq!(reader.subscribe("t", true), r#"{"op":"subscribe","topic":"t","id":"i-3"}"#);
        reader.text(r#"{"op":"error","code":"already-subscribed","message":"x","id":"i-3"}"#).unwrap();
        assert_eq!(reader.nonsense("\"op\":\"ack\""), r#"{"op":"ack","id":4}"#);
        reader.text(r#"{"op":"error","code":"unsupported","message":"x","id":4}"#).unwrap();
        assert_eq!(reader.unanswered(), 0);
        assert_eq!(reader.ping(false), r#"{"op":"ping"}"#);
        reader.text(r#"{"op":"pong"}"#).unwrap();
    }
}
