//! Topics: declared, opened, removed, forgotten.

use std::collections::VecDeque;

use forebay_core::{Level, LossReason, TopicError, TopicId, TopicOptions};

use super::{Front, Owner, Reference, Topic, TopicKey};
use crate::model::text;

/// A topic that was removed counts for `topics_max` until the next `poll_transmit` after nothing of it is outstanding, although
/// nobody can find it any more.
const REMOVED_COUNT_UNTIL_POLLED: bool = true;

/// Characters that no name and no key may have.
pub(super) fn is_control(c: char) -> bool {
    c.is_ascii_control()
}

impl Reference {
    pub(super) fn is_good_name(&self, name: &str) -> bool {
        !name.is_empty() && name.len() <= self.options.topic_name_bytes_max as usize && !name.chars().any(is_control)
    }

    fn topics_full(&self) -> bool {
        let removed = if REMOVED_COUNT_UNTIL_POLLED { self.removed_topics.len() } else { 0 };
        self.topics.len() + removed >= self.options.topics_max as usize
    }

    /// What declaring gives: `None` where the hub makes a topic, whose id it says.
    pub(crate) fn may_declare(&self, name: &str, options: &TopicOptions) -> Option<TopicError> {
        if !self.is_good_name(name) {
            Some(TopicError::InvalidName)
        } else if options.check().is_err() {
            Some(TopicError::InvalidOptions)
        } else if let Some(key) = self.names.get(name) {
            let _ = key;
            Some(TopicError::AlreadyDeclared)
        } else if self.topics_full() {
            Some(TopicError::TopicsFull)
        } else {
            None
        }
    }

    /// What opening a topic that is not there gives.
    pub(crate) fn may_open(&self, name: &str) -> Option<TopicError> {
        if !self.is_good_name(name) {
            Some(TopicError::InvalidName)
        } else if self.topics_full() {
            Some(TopicError::TopicsFull)
        } else {
            None
        }
    }

    /// A topic is made; the hub's name of it follows where it is not known yet.
    pub(crate) fn make_topic(&mut self, name: &str, options: TopicOptions, is_declared: bool) -> TopicKey {
        let key = self.name_next();
        let topic = Topic {
            id: TopicId::from_bits(u64::MAX),
            name: name.into(),
            options,
            is_declared,
            epoch: None,
            head: 0,
            lanes: Vec::new(),
            parked: VecDeque::new(),
            refused: Default::default(),
            is_awaited: false,
            mark: Default::default(),
            is_upstream_paused: false,
            keys: Vec::new(),
            last: None,
            unwritten: [0; 2],
            history: VecDeque::new(),
            ids: VecDeque::new(),
            rate: Default::default(),
            flushed: 0,
            flush_at: None,
            acks: Default::default(),
            entered: Default::default(),
            sent: Default::default(),
            lost: Default::default(),
        };
        self.names.insert(topic.name.clone(), key);
        self.topics.insert(key, topic);
        self.forgettable |= !is_declared;
        key
    }

    /// Removes a topic: lanes end, parked publishes are refused.
    pub(crate) fn remove_topic(&mut self, key: TopicKey) {
        let topic = &self.topics[&key];
        let (name, lanes, parked) = (topic.name.clone(), topic.lanes.clone(), topic.parked.clone());
        let quoted = text::quoted(&name);
        self.names.remove(&name);
        for lane in lanes {
            let (owner, id) = (self.lanes[&lane].owner, self.lanes[&lane].id);
            self.end_lane(lane, LossReason::Closed);
            match owner {
                Owner::Local => self.ended_lanes.extend(id),
                Owner::Session(session) => {
                    // Of a raw connection nobody is told, the application has removed it itself; and nobody who is away.
                    let ended = format!("{{\"op\":\"ended\",\"topic\":{quoted},\"code\":\"removed\"}}");
                    self.reply_to_session(session, Front::exact(&ended));
                }
            }
        }
        for conn in parked {
            // What one of them asked for behind its publish may have ended another.
            if self.topics[&key].parked.contains(&conn) {
                self.refuse_parked(conn, "unknown-topic");
            }
        }
        self.topics.remove(&key);
        self.removed_topics.push(key);
    }

    /// At the first `poll_transmit` undeclared topics are forgotten that nobody needs.
    /// One whose level was told stays until it was told that this is over; `is_there` says whether the hub has it.
    pub(crate) fn polled(&mut self, is_there: impl Fn(&str) -> bool) {
        let lanes = &self.lanes;
        self.removed_topics.retain(|key| lanes.values().any(|lane| lane.topic == *key));
        if !self.forgettable {
            return;
        }
        self.forgettable = !self.topics.is_empty();
        let idle: Vec<TopicKey> = self
            .topics
            .iter()
            .filter(|(_, topic)| !topic.is_declared && topic.lanes.is_empty() && topic.parked.is_empty())
            .filter(|(key, _)| !lanes.values().any(|lane| lane.topic == **key))
            .filter(|(_, topic)| {
                let is_high = topic.mark.told != Level::Nominal || topic.is_upstream_paused;
                let is_kept = is_high && is_there(&topic.name);
                !topic.is_awaited && !is_kept
            })
            .map(|(key, _)| *key)
            .collect();
        for key in idle {
            let topic = self.topics.remove(&key).expect("a topic of the list");
            self.names.remove(&topic.name);
        }
    }
}
