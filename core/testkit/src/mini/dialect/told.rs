//! What a server may say.

use std::collections::BTreeMap;

use super::Asked;

/// Every code an error may have.
pub const CODES: [&str; 21] = [
    "bad-message",
    "unknown-op",
    "unsupported",
    "bad-topic",
    "unknown-topic",
    "topics-full",
    "already-subscribed",
    "not-subscribed",
    "lanes-full",
    "policy-not-allowed",
    "bad-limits",
    "bad-key",
    "full",
    "too-large",
    "overloaded",
    "draining",
    "bad-position",
    "bad-id",
    "not-at-least-once",
    "unknown-session",
    "limited",
];

/// Reasons that have nothing to do with a policy: what was asked for is not there, or was sent in vain.
pub const OTHER_REASONS: [&str; 3] = ["history", "reset", "attempts"];

/// Every policy, and the other reasons a subscription with it may be told in a gap.
pub const POLICIES: [(&str, &[&str]); 6] = [
    ("drop-oldest", &["oldest", "age", "log_bound", "overload"]),
    ("drop-newest", &["newest", "age", "log_bound", "overload"]),
    // `oldest`: a key that was forgotten.
    ("latest-per-key", &["oldest", "age", "log_bound", "overload"]),
    ("latest-only", &["age", "log_bound", "overload"]),
    // These end, or refuse, rather than lose anything.
    ("disconnect", &[]),
    ("block", &[]),
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
        /// Its key, empty where it has none.
        key: String,
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
        /// The policy that holds.
        policy: String,
        /// How many may be unacknowledged; `None`: best effort.
        in_flight_max: Option<u64>,
    },
    /// The session is resumable.
    Kept {
        /// The request's id as written.
        id: String,
        /// The session's text.
        session: String,
        /// For how long, in milliseconds.
        ttl_ms: u64,
    },
    /// A session was taken over.
    Resumed {
        /// The request's id as written.
        id: String,
        /// The session's text.
        session: String,
        /// For how long it is kept, in milliseconds.
        ttl_ms: u64,
        /// Its subscriptions: topic, numbering, and the last message that was sent and will not come again.
        lanes: Vec<(String, String, u64)>,
    },
    /// Credit was granted.
    Granted {
        /// The request's id as written.
        id: String,
        /// The topic.
        topic: String,
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
        /// Whether it had been published before.
        is_duplicate: bool,
    },
    /// A request was not carried out.
    Error {
        /// The request's id as written, where it had one.
        id: Option<String>,
        /// The code.
        code: String,
        /// The `tag` of the publish it belongs to.
        tag: u64,
        /// What was asked, where that is known.
        asked: Option<Asked>,
        /// When to try again, where it came too fast, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// A subscription was ended.
    Ended {
        /// The topic.
        topic: String,
        /// Why.
        code: String,
    },
    /// The answer to a ping.
    Pong {
        /// The request's id as written.
        id: Option<String>,
    },
}

impl Told {
    /// The same in a few words, for tables: `message t 3 {"a":1}`, `gap t 1-7 7 oldest`, `error full`. Keys are left out.
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
            Self::Kept { ttl_ms, .. } => format!("kept {ttl_ms}"),
            Self::Resumed { ttl_ms, lanes, .. } => {
                let lanes: Vec<String> = lanes.iter().map(|(topic, _, seq)| format!(" {topic}@{seq}")).collect();
                format!("resumed {ttl_ms}{}", lanes.concat())
            }
            Self::Granted { topic, .. } => format!("granted {topic}"),
            Self::Published { seq, is_duplicate: true, .. } => format!("published {seq} before"),
            Self::Published { seq, matched, .. } => format!("published {seq} {matched}"),
            Self::Error { code, .. } => format!("error {code}"),
            Self::Ended { topic, code } => format!("ended {topic} {code}"),
            Self::Pong { .. } => "pong".into(),
        }
    }
}
