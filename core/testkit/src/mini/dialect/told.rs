//! What a server may say.

use std::collections::BTreeMap;

/// Every code an error may have.
pub const CODES: [&str; 16] = [
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
];

/// Every policy, and the reasons a subscription with it may be told in a gap.
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
            Self::Published { seq, matched, .. } => format!("published {seq} {matched}"),
            Self::Error { code, .. } => format!("error {code}"),
            Self::Ended { topic, code } => format!("ended {topic} {code}"),
            Self::Pong { .. } => "pong".into(),
        }
    }
}
