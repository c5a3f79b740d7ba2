//! A hub with a topic that is at least once, and a subscriber.

use std::time::Duration;

use forebay_core::{
    AckError, Acks, AtLeastOnce, ConnId, Delivery, Event, LaneId, Policy, PublishError, SessionId, TopicId,
    TopicOptions,
};
use forebay_testkit::stage::{Stage, briefs};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const S: Duration = Duration::from_secs(1);
pub(crate) const NOTHING: [&str; 0] = [];

/// A hub with a topic `t` of this delivery, and a subscriber.
pub(crate) struct House {
    pub(crate) stage: Stage,
    pub(crate) topic: TopicId,
    pub(crate) conn: ConnId,
    pub(crate) lane: LaneId,
    pub(crate) session: SessionId,
}

pub(crate) fn terms(in_flight_max: u8, attempts_max: u16) -> AtLeastOnce {
    AtLeastOnce { in_flight_max, ack_timeout: S, attempts_max }
}

pub(crate) fn house_as(terms: AtLeastOnce, policy: Policy, change: impl FnOnce(&mut TopicOptions)) -> House {
    let mut stage = Stage::new(|options| {
        options.block_max = S * 100;
        options.ping_interval = S * 3_000;
        options.stall_timeout = S * 1_000;
    });
    let topic = stage.topic("t", |options| {
        options.policy = policy;
        options.delivery = Delivery::AtLeastOnce(terms);
        change(options);
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    let lane = stage.hub.find_lane(conn, topic).expect("subscribed");
    let session = stage.events.iter().find_map(|event| match event {
        Event::Opened { conn: other, session } if *other == conn => Some(*session),
        _ => None,
    });
    stage.take_events();
    House { stage, topic, conn, lane, session: session.expect("opened") }
}

pub(crate) fn house(terms: AtLeastOnce) -> House {
    house_as(terms, Policy::Block, |_| {})
}

impl House {
    pub(crate) fn publish(&mut self, json: &str) -> Result<u64, PublishError> {
        self.stage.publish(self.topic, json).map(|published| published.position.seq)
    }

    /// Publishes `1`, `2`, ...
    pub(crate) fn publish_all(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            assert_eq!(self.publish(&seq.to_string()), Ok(seq));
        }
    }

    pub(crate) fn told(&mut self) -> Vec<String> {
        briefs(&mut self.stage, self.conn)
    }

    /// What it was told of messages, by number.
    pub(crate) fn seqs(&mut self) -> Vec<u64> {
        let told = self.told();
        let seq = |text: &String| text.strip_prefix("message t ")?.split(' ').next()?.parse().ok();
        told.iter().map(|text| seq(text).unwrap_or_else(|| panic!("{told:?}"))).collect()
    }

    pub(crate) fn acks(&self) -> Acks {
        self.stage.hub.lane(self.lane).expect("a lane").acks.expect("an at-least-once lane")
    }

    pub(crate) fn unacknowledged(&self) -> u64 {
        self.acks().unacknowledged.messages
    }

    pub(crate) fn acknowledge(&mut self, through: u64) -> Result<u32, AckError> {
        let acknowledged = self.stage.hub.acknowledge(self.session, self.topic, through, self.stage.now);
        self.stage.pump();
        acknowledged
    }

    pub(crate) fn acknowledge_one(&mut self, seq: u64) -> Result<(), AckError> {
        let acknowledged = self.stage.hub.acknowledge_one(self.session, self.topic, seq, self.stage.now);
        self.stage.pump();
        acknowledged
    }
}

impl House {
    pub(crate) fn seqs_are(&mut self, messages: u64) {
        assert_eq!(self.seqs(), (1..=messages).collect::<Vec<_>>());
    }
}
