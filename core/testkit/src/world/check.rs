//! What must hold after every step.

use forebay_core::{
    Delivery, DisconnectScope, LaneId, LaneOptions, LanePressure, Options, Policy, Position, Start, SubscribeError,
    TopicId, TopicOptions, Totals,
};

use super::Side;
use super::draw::{OWN_CODES, TOPICS};
use crate::mini::{Client, Phase, Sub};

/// Whether a lane ends rather than lose anything, and brakes nobody.
pub(super) fn may_end(lane: &LanePressure) -> bool {
    lane.policy == Policy::Disconnect || (lane.acks.is_some() && lane.policy != Policy::Block)
}

fn conserved(totals: &Totals, what: &str) {
    assert_eq!(totals.conservation_error(), 0, "the queue law of {what}: {totals:?}");
}

fn lane(pressure: &LanePressure, topic: &TopicOptions) {
    conserved(&pressure.totals, "a lane");
    let (waiting, out) = (pressure.totals.waiting, pressure.outstanding);
    assert!(out.messages <= waiting.messages && out.bytes <= waiting.bytes, "outstanding waits: {pressure:?}");
    assert!(
        waiting.messages - out.messages <= u64::from(pressure.messages_max)
            && waiting.bytes - out.bytes <= pressure.bytes_max,
        "a lane above its bound: {pressure:?}"
    );
    let (messages, bytes) = (waiting.messages - out.messages, waiting.bytes - out.bytes);
    let good = match pressure.policy {
        Policy::LatestPerKey => messages <= u64::from(topic.keys_max) && bytes <= topic.keys_bytes_max,
        Policy::LatestOnly => messages <= 1,
        Policy::DropNewest | Policy::Disconnect | Policy::Block => {
            waiting.messages <= u64::from(pressure.messages_max) && waiting.bytes <= pressure.bytes_max
        }
        _ => true,
    };
    if let Some(acks) = pressure.acks {
        let unacknowledged = acks.unacknowledged;
        assert_eq!(acks.conservation_error(), 0, "the ack law of a lane: {pressure:?}");
        assert!(
            waiting.messages + unacknowledged.messages <= u64::from(pressure.messages_max)
                && waiting.bytes + unacknowledged.bytes <= pressure.bytes_max,
            "a lane above its bound with what is unacknowledged: {pressure:?}"
        );
        let Delivery::AtLeastOnce(terms) = topic.delivery else { panic!("at least once, unlike its topic") };
        assert!(
            unacknowledged.messages + out.messages <= u64::from(terms.in_flight_max),
            "in_flight_max: {pressure:?}"
        );
        let sent_again_max = u64::from(terms.attempts_max) * acks.sent.bytes;
        assert!(acks.retries.bytes <= sent_again_max, "more attempts than there may be: {pressure:?}");
    }
    assert!(good, "a lane above what its policy lets wait: {pressure:?} {topic:?}");
}

/// Whether a subscribe was answered as it must be, as far as the topic's options decide it.
pub(super) fn subscribed(
    topic: &TopicOptions,
    lane: &LaneOptions,
    is_local: bool,
    answer: Result<LaneId, SubscribeError>,
) {
    let policy = lane.policy.unwrap_or(topic.policy);
    let is_allowed = policy == topic.policy || topic.choices.contains(policy);
    let messages_max = lane.messages_max.unwrap_or(topic.lane.messages_max);
    let bytes_max = lane.bytes_max.unwrap_or(topic.lane.bytes_max);
    let holds_keys = messages_max >= topic.keys_max && bytes_max >= topic.keys_bytes_max;
    let can = topic.delivery != Delivery::BestEffort && policy.can_be_at_least_once() && !is_local;
    let is_at_least_once = can && lane.at_least_once != Some(false);
    let are_good = (1..=topic.lane.messages_max).contains(&messages_max)
        && (u64::from(topic.message_bytes_max)..=topic.lane.bytes_max).contains(&bytes_max)
        && (policy != Policy::LatestPerKey || holds_keys)
        && lane.age_max.is_none_or(|age| {
            let is_lossy = !matches!(policy, Policy::Block | Policy::Disconnect) && !is_at_least_once;
            is_lossy && age.as_millis() > 0 && topic.age_max.is_none_or(|most| age <= most)
        });
    match answer {
        Ok(_) => {
            assert!(is_allowed && are_good, "{lane:?} of {topic:?}");
            assert!(can || lane.at_least_once != Some(true), "{lane:?} of {topic:?}");
        }
        Err(SubscribeError::NotAtLeastOnce) => {
            assert!(lane.at_least_once == Some(true) && !can, "{lane:?} of {topic:?}");
        }
        Err(SubscribeError::PolicyNotAllowed) => assert!(!is_allowed, "{lane:?} of {topic:?}"),
        Err(SubscribeError::InvalidLimits) => assert!(!are_good, "{lane:?} of {topic:?}"),
        Err(_) => {}
    }
}

/// Whether it was taken for a place that is there.
pub(super) fn started(head: Position, from: Start, answer: Result<LaneId, SubscribeError>) {
    let is_ahead = matches!(from, Start::After(at) if at.epoch == head.epoch && at.seq > head.seq);
    match answer {
        Ok(_) => assert!(!is_ahead, "{from:?} of {head:?}"),
        Err(SubscribeError::PositionAhead) => assert!(is_ahead, "{from:?} of {head:?}"),
        Err(_) => {}
    }
}

/// Whether a key may be published.
pub(super) fn is_good_key(options: &Options, key: &str) -> bool {
    key.len() <= options.key_bytes_max as usize && !key.chars().any(|c| c < ' ' || c == '\x7f')
}

/// The largest message on the wire: base64 in an envelope with a name in which every byte is escaped.
pub(super) fn frame_bytes_max(options: &Options, message_bytes_max: u32) -> usize {
    let topic = message_bytes_max.max(options.topic_defaults.message_bytes_max) as usize * 4 / 3
        + (options.topic_name_bytes_max + options.key_bytes_max) as usize * 6
        + 128;
    let direct = usize::try_from(options.direct_lane.bytes_max).expect("small") + 14;
    topic.max(direct).max(1_024)
}

impl Side {
    /// Checks the hub against everything it promises.
    pub(super) fn check(&self) {
        self.hub.check_invariants();
        let stats = self.hub.stats();
        conserved(&stats.lanes, "the hub");
        conserved(&stats.direct, "the direct lanes");
        assert_eq!(stats.acks.conservation_error(), 0, "the ack law: {stats:?}");
        assert!(stats.resident_bytes <= self.options.resident_bytes_max, "above the budget: {stats:?}");
        // A connection that has ended is still there until that was polled.
        assert!(stats.connections as usize <= self.hub.connections(), "{stats:?}");
        assert!(stats.connections <= self.options.connections_max && stats.topics <= self.options.topics_max);
        let pressure = self.hub.pressure();
        assert_eq!(pressure.resident_bytes, stats.resident_bytes);
        assert_eq!(pressure.resident_bytes_max, self.options.resident_bytes_max);
        assert!(pressure.waiting.messages >= stats.lanes.waiting.messages, "{pressure:?}");
        let topics: Vec<TopicId> = TOPICS.iter().filter_map(|name| self.hub.find_topic(name)).collect();
        for topic in &topics {
            conserved(&self.hub.topic_pressure(*topic).expect("a topic that was found").totals, "a topic");
        }
        let outstanding_max = self.options.transmit_bytes_max as usize + self.frame_bytes_max;
        for (conn, line) in &self.lines {
            let Some(connection) = self.hub.connection(*conn) else { continue };
            assert!(connection.outstanding_bytes <= outstanding_max, "{connection:?}");
            assert!(connection.lanes <= self.options.lanes_per_session_max, "{connection:?}");
            // Whole messages up to the bound, the one that crosses it, and one read kept raw.
            let inbound_max = self.options.inbound_bytes_max + self.options.message_bytes_max;
            assert!(connection.inbound_bytes <= inbound_max as usize + super::carry::READ_MAX, "{connection:?}");
            // One that is given up, and was not polled since, has nothing out any more.
            if let Some(out) = line.out.as_ref().filter(|_| !connection.is_paused) {
                assert!(connection.outstanding_bytes >= out.len(), "{connection:?} with {} bytes out", out.len());
            }
            for topic in &topics {
                if let Some(id) = self.hub.find_lane(*conn, *topic) {
                    let options = self.hub.topic_options(*topic).expect("a topic that was found");
                    lane(&self.hub.lane(id).expect("a lane that was found"), options);
                }
            }
        }
        for (id, local) in &self.locals {
            if let (Some(pressure), Some(options)) = (self.hub.lane(*id), self.hub.topic_options(local.topic)) {
                lane(&pressure, options);
            }
        }
    }

    /// Lanes of a topic of this kind may be full and end their connections.
    pub(super) fn may_disconnect(&mut self, topic: &TopicOptions) {
        let ends = |policy: Policy| {
            let is_acked = topic.delivery != Delivery::BestEffort && policy == Policy::DropNewest;
            (policy == topic.policy || topic.choices.contains(policy)) && (policy == Policy::Disconnect || is_acked)
        };
        let can = Policy::ALL.iter().copied().any(ends);
        if can && topic.disconnect.scope == DisconnectScope::Connection {
            self.disconnects.insert((topic.disconnect.code.get(), topic.disconnect.reason.as_str().into()));
        }
    }

    /// Whether a peer that asked for the document got it whole; one that takes its time is cut (`close_timeout`).
    pub(super) fn check_document(&self, client: &Client) -> bool {
        let Phase::Served(body) = &client.phase else { return false };
        let response = client.response.as_ref().expect("it was answered");
        assert_eq!(response.one("content-length").expect("a length"), self.page.len().to_string());
        assert!(self.page.starts_with(body), "another document");
        *body == self.page
    }

    /// Whether the hub could end a peer in this way.
    pub(super) fn check_close(&self, client: &Client) {
        let Some(code) = client.close.flatten().filter(|code| OWN_CODES.contains(code)) else { return };
        if client.close_reason == "session resumed elsewhere" {
            return assert!(code == 4_001 && !self.may_be_kept.is_empty(), "nobody has resumed");
        }
        assert!(self.disconnects.contains(&(code, client.close_reason.clone())), "{code} {}", client.close_reason);
        if let Some(reader) = &client.reader {
            let has_one = reader.subs.values().any(Sub::may_end);
            // An `ok` may have stood behind the Close.
            assert!(has_one || reader.unanswered() > 0 || !reader.loose.is_empty(), "closed with {code}: {reader:?}");
        }
    }
}
