//! Consumers of every kind that start where they like, and what they are told in a few words.

use std::time::Duration;

use forebay_core::{
    ConnId, Entry, GapReason, LaneId, LaneOptions, Message, Options, Payload, Policy, Position, Published, Start,
    SubscribeError, TopicId, TopicOptions, Totals,
};
use forebay_testkit::mini::{Item, Told, Wish};
use forebay_testkit::stage::Stage;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// As the topic says.
pub(crate) const PLAIN: LaneOptions =
    LaneOptions { policy: None, messages_max: None, bytes_max: None, age_max: None, at_least_once: None, credit: None };

/// Who takes from a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A client of `forebay.v1`.
    Client,
    /// A raw connection.
    Raw,
    /// A reader in the process.
    Local,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Client, Kind::Raw, Kind::Local];

/// A consumer and its lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consumer {
    pub(crate) kind: Kind,
    pub(crate) conn: Option<ConnId>,
    pub(crate) lane: LaneId,
}

/// A stage with the topic `t`.
pub(crate) struct House {
    pub(crate) stage: Stage,
    pub(crate) topic: TopicId,
}

fn text_of(from: Start) -> String {
    match from {
        Start::Latest => "\"latest\"".into(),
        Start::Snapshot => "\"snapshot\"".into(),
        Start::History(u32::MAX) => "\"start\"".into(),
        Start::History(messages) => format!("{{\"history\":{messages}}}"),
        Start::After(Position { epoch, seq }) => format!("{{\"epoch\":\"{epoch:016x}\",\"seq\":{seq}}}"),
        _ => panic!("a new start"),
    }
}

impl House {
    pub(crate) fn new(change: impl FnOnce(&mut TopicOptions)) -> Self {
        Self::of(|_| {}, change)
    }

    pub(crate) fn of(options: impl FnOnce(&mut Options), change: impl FnOnce(&mut TopicOptions)) -> Self {
        let mut stage = Stage::new(options);
        let topic = stage.topic("t", change);
        Self { stage, topic }
    }

    /// Publishes a number of ten bytes for each letter, which is its key; a space: without a key. Polls after each.
    pub(crate) fn put_all(&mut self, keys: &str) {
        for key in keys.chars() {
            self.put(key.to_string().trim(), 10);
            self.stage.pump();
        }
    }

    /// Publishes so many bytes without polling anything.
    pub(crate) fn put(&mut self, key: &str, len: usize) -> Published {
        let text = format!("\"{:08}{}\"", self.head().seq + 1, "x".repeat(len - 10));
        let message = Message::new(Payload::Text(&text)).with_key(key);
        let published = self.stage.hub.publish(self.topic, message, self.stage.now).expect("taken");
        self.stage.hub.check_invariants();
        published
    }

    pub(crate) fn head(&self) -> Position {
        self.stage.hub.topic_pressure(self.topic).expect("a topic").head
    }

    /// What the history has: the numbers of its first and its last message.
    pub(crate) fn kept(&self) -> Option<(u64, u64)> {
        let pressure = self.stage.hub.topic_pressure(self.topic).expect("a topic");
        let last = pressure.head.seq;
        (pressure.history.messages > 0).then_some((last + 1 - pressure.history.messages, last))
    }

    pub(crate) fn after(&self, seq: u64) -> Start {
        Start::After(Position { seq, ..self.head() })
    }

    /// A consumer with the topic's policy.
    pub(crate) fn start(&mut self, kind: Kind, from: Start) -> Consumer {
        self.start_as(kind, LaneOptions::default(), from).expect("a lane")
    }

    /// A consumer of its own kind; a client's error is a code, as the application's is.
    pub(crate) fn start_as(&mut self, kind: Kind, lane: LaneOptions, from: Start) -> Result<Consumer, SubscribeError> {
        let (stage, topic) = (&mut self.stage, self.topic);
        let (conn, lane) = match kind {
            Kind::Client => {
                let conn = stage.join();
                let (policy, from) = (lane.policy.map(Policy::name), text_of(from));
                let age_max_ms = lane.age_max.map(|age| u64::try_from(age.as_millis()).expect("short"));
                let (messages_max, bytes_max) = (lane.messages_max.map(u64::from), lane.bytes_max);
                let wish = Wish { policy, messages_max, bytes_max, age_max_ms, from: Some(&from), ..Wish::default() };
                // What it starts with comes behind the answer.
                stage.client(conn).subscribe_as("t", wish);
                stage.pump();
                match stage.hub.find_lane(conn, topic) {
                    Some(lane) => (Some(conn), lane),
                    None => {
                        let told = stage.told(conn);
                        assert!(matches!(&told[..], [Told::Error { code, .. }] if code == "bad-position"), "{told:?}");
                        return Err(SubscribeError::PositionAhead);
                    }
                }
            }
            Kind::Raw => {
                let conn = stage.join_raw();
                (Some(conn), stage.hub.subscribe(conn, topic, lane, from, stage.now)?)
            }
            Kind::Local => (None, stage.hub.subscribe_local(topic, lane, from, stage.now)?),
        };
        stage.hub.check_invariants();
        Ok(Consumer { kind, conn, lane })
    }

    pub(crate) fn totals(&self, consumer: Consumer) -> Totals {
        self.stage.hub.lane(consumer.lane).expect("a lane").totals
    }

    /// What the consumer got since it was last asked: `ok 3` (a client only), `gap 2-3 2 oldest` (not a raw connection), `4`,
    /// `5 key` (a client only).
    pub(crate) fn told(&mut self, consumer: Consumer) -> Vec<String> {
        self.stage.pump();
        match (consumer.kind, consumer.conn) {
            (Kind::Client, Some(conn)) => self.stage.told(conn).iter().map(brief).collect(),
            (Kind::Raw, Some(conn)) => {
                let items = self.stage.client(conn).items.drain(..);
                let number = |item| match item {
                    Item::Text(text) => number_in(&text),
                    other => panic!("{other:?} was not published"),
                };
                items.map(number).collect()
            }
            _ => self.taken(consumer.lane),
        }
    }

    fn taken(&mut self, lane: LaneId) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(entry) = self.stage.hub.take(lane, self.stage.now) {
            self.stage.hub.check_invariants();
            told.push(match entry {
                Entry::Message { seq, payload } => {
                    assert_eq!(number_in(payload.as_text().expect("text")), seq.to_string());
                    seq.to_string()
                }
                Entry::Gap(gap) => {
                    let reasons: Vec<_> = gap.reasons().map(GapReason::name).collect();
                    format!("gap {}-{} {} {}", gap.from, gap.to, gap.missed, reasons.join("+"))
                }
            });
        }
        self.stage.pump();
        told
    }

    /// Starts one of every kind, and expects what a client of `forebay.v1` is told, as far as they are told it; then that the
    /// next message comes.
    pub(crate) fn expect(&mut self, lane: LaneOptions, from: Start, expected: &[&str]) {
        for kind in KINDS {
            let entered_before = self.stage.hub.stats().lanes.entered;
            let one = self.start_as(kind, lane, from).expect("a lane");
            let messages =
                expected.iter().filter(|told| told.starts_with(|first: char| first.is_ascii_digit())).count();
            let entered = self.totals(one).entered;
            assert_eq!(entered.messages, messages as u64, "{kind:?} {from:?}: what it gets entered");
            let of_hub = self.stage.hub.stats().lanes.entered;
            assert_eq!(of_hub.messages - entered_before.messages, entered.messages, "the hub counts it");
            assert_eq!(of_hub.bytes - entered_before.bytes, entered.bytes, "the hub counts its bytes");
            let seen: Vec<String> = expected.iter().filter_map(|told| as_seen_by(kind, told)).collect();
            assert_eq!(self.told(one), seen, "{kind:?} {from:?}");
            self.stop(one);
        }
    }

    pub(crate) fn stop(&mut self, consumer: Consumer) {
        match consumer.conn {
            Some(conn) => self.stage.hang_up(conn),
            None => assert!(self.stage.hub.unsubscribe_local(consumer.lane, self.stage.now)),
        }
        self.stage.pump();
    }
}

/// What is left of it for a consumer that is told less.
fn as_seen_by(kind: Kind, told: &str) -> Option<String> {
    let without_key = || told.split(' ').next().expect("a word").to_owned();
    match (kind, told.split(' ').next()) {
        (Kind::Client, _) => Some(told.into()),
        (_, Some("ok")) | (Kind::Raw, Some("gap")) => None,
        (Kind::Local, Some("gap")) => Some(told.into()),
        _ => Some(without_key()),
    }
}

fn number_in(json: &str) -> String {
    json[1..9].parse::<u64>().expect("a number").to_string()
}

fn brief(told: &Told) -> String {
    match told {
        Told::Message { seq, key, data, .. } => {
            let json = String::from_utf8(data.bytes().to_vec()).expect("text");
            assert_eq!(number_in(&json), seq.to_string(), "what was published as that number");
            format!("{seq} {key}").trim_end().into()
        }
        Told::Gap { from, to, missed, reasons, .. } => format!("gap {from}-{to} {missed} {}", reasons.join("+")),
        Told::Subscribed { seq, .. } => format!("ok {seq}"),
        other => other.brief(),
    }
}
