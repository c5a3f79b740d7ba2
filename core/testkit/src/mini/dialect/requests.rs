//! What a client asks, as text, and the book of what awaits an answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Asked, Data, Reader, Request};

/// What a subscriber asks for; what is left out is as the topic says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wish<'a> {
    /// The policy.
    pub policy: Option<&'a str>,
    /// Waiting messages.
    pub messages_max: Option<u64>,
    /// Waiting payload bytes.
    pub bytes_max: Option<u64>,
    /// Age of what waits, in milliseconds.
    pub age_max_ms: Option<u64>,
    /// `best-effort` or `at-least-once`.
    pub delivery: Option<&'a str>,
    /// Where it starts, as it is written.
    pub from: Option<&'a str>,
    /// Messages it may be sent until more are granted.
    pub credit: Option<u64>,
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text")
}

impl Reader {
    pub(super) fn ask(&mut self, asked: Asked, with_id: bool, topic: &str, tag: u64, members: &str) -> String {
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
        self.pending.push_back(Request { asked, id, topic: topic.into(), tag, policy: None });
        format!("{{{members}{member}}}")
    }

    /// The text of a subscribe.
    pub fn subscribe(&mut self, topic: &str, with_id: bool) -> String {
        self.subscribe_as(topic, Wish::default(), with_id)
    }

    /// The text of a subscribe that asks for more.
    pub fn subscribe_as(&mut self, topic: &str, wish: Wish<'_>, with_id: bool) -> String {
        let mut members = format!("\"op\":\"subscribe\",\"topic\":{}", quoted(topic));
        if let Some(policy) = wish.policy {
            members += &format!(",\"policy\":{}", quoted(policy));
        }
        let numbers = [
            ("messages_max", wish.messages_max),
            ("bytes_max", wish.bytes_max),
            ("age_max_ms", wish.age_max_ms),
            ("credit", wish.credit),
        ];
        for (name, value) in numbers {
            members += &value.map_or(String::new(), |value| format!(",\"{name}\":{value}"));
        }
        members += &wish.delivery.map_or(String::new(), |delivery| format!(",\"delivery\":{}", quoted(delivery)));
        members += &wish.from.map_or(String::new(), |from| format!(",\"from\":{from}"));
        let text = self.ask(Asked::Subscribe, with_id, topic, 0, &members);
        self.pending.back_mut().expect("asked").policy = wish.policy.map(Into::into);
        text
    }

    /// The text of an unsubscribe.
    pub fn unsubscribe(&mut self, topic: &str) -> String {
        self.ask(Asked::Unsubscribe, true, topic, 0, &format!("\"op\":\"unsubscribe\",\"topic\":{}", quoted(topic)))
    }

    /// The text of a publish. `tag` comes back with the answer. `space` stands around the value.
    pub fn publish(&mut self, topic: &str, data: &Data, tag: u64, with_id: bool, space: &str) -> String {
        self.publish_keyed(topic, "", data, tag, with_id, space)
    }

    /// The text of a publish with a key; without one where it is empty.
    pub fn publish_keyed(
        &mut self,
        topic: &str,
        key: &str,
        data: &Data,
        tag: u64,
        with_id: bool,
        space: &str,
    ) -> String {
        let value = match data {
            Data::Json(text) => format!("\"data\":{space}{text}{space}"),
            Data::Bytes(bytes) => format!("\"data64\":{space}\"{}\"{space}", STANDARD.encode(bytes)),
        };
        let value = if key.is_empty() { value } else { format!("\"key\":{space}{},{value}", quoted(key)) };
        let members = if space.is_empty() {
            format!("\"op\":\"publish\",\"topic\":{},{value}", quoted(topic))
        } else {
            // Clients may order members as they like.
            format!("{value},\"topic\":{},\"extra\":[{{}}],\"op\":\"publish\"", quoted(topic))
        };
        self.ask(Asked::Publish, with_id, topic, tag, &members)
    }

    /// The text of a publish with an id of its own, which may be repeated.
    pub fn publish_once(&mut self, topic: &str, message_id: &str, data: &Data, tag: u64) -> String {
        let value = match data {
            Data::Json(text) => format!("\"data\":{text}"),
            Data::Bytes(bytes) => format!("\"data64\":\"{}\"", STANDARD.encode(bytes)),
        };
        let (name, message_id) = (quoted(topic), quoted(message_id));
        let members = format!("\"op\":\"publish\",\"topic\":{name},\"message_id\":{message_id},{value}");
        self.ask(Asked::Publish, true, topic, tag, &members)
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
}
