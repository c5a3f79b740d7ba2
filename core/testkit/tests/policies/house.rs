//! A consumer of any kind on one topic, and what it is told in a few words.

use forebay_core::{
    ConnId, Entry, Event, GapReason, LaneId, LaneOptions, LossReason, Message, Payload, Policy, PublishError,
    Published, Start, TopicId, TopicOptions, Totals,
};
use forebay_testkit::mini::{Item, Wish};
use forebay_testkit::stage::{Stage, briefs};

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

/// Ten bytes of JSON text that say which number a message has.
pub(crate) fn ten(seq: u64) -> String {
    format!("\"{seq:08}\"")
}

/// JSON text of so many bytes, at least ten, that says which number a message has.
pub(crate) fn sized(seq: u64, len: usize) -> String {
    format!("\"{seq:08}{}\"", "x".repeat(len - 10))
}

fn number_in(json: &str) -> String {
    json[1..9].parse::<u64>().expect("a number").to_string()
}

impl House {
    pub(crate) fn new(change: impl FnOnce(&mut TopicOptions)) -> Self {
        let mut stage = Stage::new(|_| {});
        let topic = stage.topic("t", change);
        Self { stage, topic }
    }

    /// A consumer whose policy is the topic's.
    pub(crate) fn consumer(&mut self, kind: Kind) -> Consumer {
        self.consumer_as(kind, LaneOptions::default())
    }

    /// A consumer with a policy and limits of its own.
    pub(crate) fn consumer_as(&mut self, kind: Kind, lane: LaneOptions) -> Consumer {
        let (stage, topic) = (&mut self.stage, self.topic);
        let (conn, lane) = match kind {
            Kind::Client => {
                let conn = stage.join();
                let policy = lane.policy.map(Policy::name);
                let (messages_max, bytes_max) = (lane.messages_max.map(u64::from), lane.bytes_max);
                let age_max_ms = lane.age_max.map(|age| u64::try_from(age.as_millis()).expect("short"));
                stage
                    .client(conn)
                    .subscribe_as("t", Wish { policy, messages_max, bytes_max, age_max_ms, ..Wish::default() });
                stage.pump();
                let told = briefs(stage, conn);
                assert!(told.len() == 1 && told[0].starts_with("subscribed t "), "{told:?}");
                (Some(conn), stage.hub.find_lane(conn, topic).expect("a lane"))
            }
            Kind::Raw => {
                let conn = stage.join_raw();
                (Some(conn), stage.hub.subscribe(conn, topic, lane, Start::Latest, stage.now).expect("a lane"))
            }
            Kind::Local => (None, stage.hub.subscribe_local(topic, lane, Start::Latest, stage.now).expect("a lane")),
        };
        Consumer { kind, conn, lane }
    }

    /// One whose kernel takes nothing.
    pub(crate) fn frozen(&mut self, kind: Kind, lane: LaneOptions) -> Consumer {
        let consumer = self.consumer_as(kind, lane);
        if let Some(conn) = consumer.conn {
            self.stage.freeze(conn);
        }
        consumer
    }

    /// Publishes ten bytes without polling anything.
    pub(crate) fn put(&mut self, key: &str) -> Result<Published, PublishError> {
        self.put_sized(key, 10)
    }

    /// Publishes so many bytes without polling anything.
    pub(crate) fn put_sized(&mut self, key: &str, len: usize) -> Result<Published, PublishError> {
        let next = self.stage.hub.topic_pressure(self.topic).expect("a topic").head.seq + 1;
        let text = sized(next, len);
        let message = Message::new(Payload::Text(&text)).with_key(key);
        let published = self.stage.hub.publish(self.topic, message, self.stage.now);
        self.stage.hub.check_invariants();
        assert!(published.is_err() || published.is_ok_and(|taken| taken.position.seq == next), "dense numbers");
        published
    }

    /// Publishes ten bytes for each letter, which is its key, and polls after each.
    pub(crate) fn put_all(&mut self, keys: &str) {
        for key in keys.chars() {
            self.put(&key.to_string()).expect("taken");
            self.stage.pump();
        }
    }

    /// The terms of the queue law, which are the same for the topic, the hub, and its only lane.
    pub(crate) fn totals(&self, lane: LaneId) -> Totals {
        let totals = self.stage.hub.topic_pressure(self.topic).expect("a topic").totals;
        assert_eq!(totals, self.stage.hub.stats().lanes, "topic and hub");
        if let Some(pressure) = self.stage.hub.lane(lane) {
            assert_eq!(totals, pressure.totals, "topic and lane");
        }
        totals
    }

    /// What a lane has lost, as `oldest 1, superseded 2`, and `-` for nothing.
    pub(crate) fn lost(&self, lane: LaneId) -> String {
        lost_in(&self.stage.hub.lane(lane).expect("a lane").totals)
    }

    /// What the consumer got since it was last asked: `1`, `gap 2-3 2 oldest`, `ended overflow`, `closed 1013 lane full`.
    pub(crate) fn told(&mut self, consumer: Consumer) -> Vec<String> {
        match (consumer.kind, consumer.conn) {
            (Kind::Client, Some(conn)) => {
                let mut told: Vec<String> = briefs(&mut self.stage, conn).iter().map(|brief| short(brief)).collect();
                told.extend(self.close_of(conn));
                told
            }
            (Kind::Raw, Some(conn)) => {
                let items: Vec<Item> = self.stage.client(conn).items.drain(..).collect();
                let mut told: Vec<String> = items
                    .into_iter()
                    .map(|item| match item {
                        Item::Text(text) => number_in(&text),
                        other => panic!("{other:?} was not published"),
                    })
                    .collect();
                told.extend(self.close_of(conn));
                told.extend(self.has_ended(consumer.lane).then(|| "ended overflow".into()));
                told
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
        told.extend(self.has_ended(lane).then(|| "ended overflow".into()));
        told
    }

    fn has_ended(&self, lane: LaneId) -> bool {
        self.stage.events.contains(&Event::LaneEnded(lane))
    }

    fn close_of(&mut self, conn: ConnId) -> Option<String> {
        let client = self.stage.client(conn);
        let code = client.close?.map_or("without a code".into(), |code| code.to_string());
        Some(format!("closed {code} {}", client.close_reason))
    }
}

/// `message t 3 "00000003"` → `3`, `gap t 1-2 2 oldest` → `gap 1-2 2 oldest`.
fn short(brief: &str) -> String {
    let words: Vec<&str> = brief.split(' ').collect();
    match words[..] {
        ["message", "t", seq, json] => {
            assert_eq!(number_in(json), seq, "what was published as number {seq}");
            seq.into()
        }
        [what, "t", ..] => format!("{what} {}", words[2..].join(" ")),
        _ => brief.into(),
    }
}

/// What was lost, as `oldest 1, superseded 2`, in the order of the reasons; `-` for nothing.
pub(crate) fn lost_in(totals: &Totals) -> String {
    let reasons = LossReason::ALL.into_iter().filter(|reason| totals.lost_by(*reason).messages > 0);
    let lost: Vec<String> =
        reasons.map(|reason| format!("{} {}", reason.name(), totals.lost_by(reason).messages)).collect();
    if lost.is_empty() { "-".into() } else { lost.join(", ") }
}
