//! What a topic keeps for those who come later, and where lanes start.

use std::rc::Rc;

use forebay_core::{Class, Count, Gap, Policy, Start, SubscribeError};

use super::clock::nanos;
use super::{LaneKey, Message, Reference, TopicKey, count};

impl Reference {
    /// A message is the newest of its topic's history.
    pub(super) fn keep_in_history(&mut self, topic: TopicKey, message: &Rc<Message>) {
        let state = self.topics.get_mut(&topic).expect("a topic");
        state.last = Some(message.clone());
        if state.options.history.is_some() {
            state.history.push_back(message.clone());
        }
        self.cut_history(topic);
    }

    /// What is too much, or too old, is not kept.
    fn cut_history(&mut self, topic: TopicKey) {
        let now = self.now;
        let state = self.topics.get_mut(&topic).expect("a topic");
        let Some(limits) = state.options.history else { return };
        loop {
            let kept = count(&state.history);
            let is_over = kept.messages > u64::from(limits.messages_max) || kept.bytes > limits.bytes_max;
            let Some(oldest) = state.history.front() else { return };
            let is_old = limits.age_max.is_some_and(|age| oldest.at.saturating_add(nanos(age)) <= now);
            if !is_over && !is_old {
                return;
            }
            state.history.pop_front();
        }
    }

    /// What is kept at most, and at least: what became too old may be found when somebody looks.
    pub(crate) fn history_of(&self, topic: TopicKey) -> (Count, Count) {
        let topic = &self.topics[&topic];
        let age = topic.options.history.and_then(|limits| limits.age_max);
        let is_young = |message: &&Rc<Message>| age.is_none_or(|age| message.at.saturating_add(nanos(age)) > self.now);
        (count(&topic.history), count(topic.history.iter().filter(is_young)))
    }

    /// The history gives room in the log: the hub keeps so many messages.
    pub(crate) fn shed_history(&mut self, topic: TopicKey, kept: u64) {
        let history = &mut self.topics.get_mut(&topic).expect("a topic").history;
        while history.len() as u64 > kept {
            history.pop_front();
        }
    }

    /// Whether a lane may start there.
    pub(super) fn may_start(&self, topic: TopicKey, from: Start) -> Result<(), SubscribeError> {
        let topic = &self.topics[&topic];
        match from {
            Start::After(position) if Some(position.epoch) == topic.epoch && position.seq > topic.head => {
                Err(SubscribeError::PositionAhead)
            }
            _ => Ok(()),
        }
    }

    /// The first number that is asked for, and whether the numbering is another.
    fn first_asked(&self, topic: TopicKey, policy: Policy, from: Start) -> (u64, bool) {
        let topic = &self.topics[&topic];
        let newest = |messages: u32| topic.head - u64::from(messages).min(topic.head) + 1;
        match from {
            Start::Snapshot if matches!(policy, Policy::LatestPerKey | Policy::LatestOnly) => (1, false),
            Start::Snapshot => (newest(1), false),
            Start::History(messages) => (newest(messages), false),
            Start::After(position) if Some(position.epoch) == topic.epoch => (position.seq + 1, false),
            Start::After(_) => (1, true),
            _ => (topic.head + 1, false),
        }
    }

    /// A new lane gets of what it asked for what is to be had; `also` is there besides the history.
    pub(super) fn start_lane(&mut self, key: LaneKey, from: Start, also: &[Rc<Message>]) {
        let (topic, policy) = (self.lanes[&key].topic, self.lanes[&key].policy);
        self.cut_history(topic);
        let (first, is_reset) = self.first_asked(topic, policy, from);
        let given = match policy {
            Policy::LatestPerKey | Policy::LatestOnly => self.latest_from(key, first),
            _ => self.newest_from(key, first, also),
        };
        let head = self.topics[&topic].head;
        let next = given.first().map_or(head + 1, |message| message.seq);
        for message in &given {
            self.enter(key, message);
        }
        let is_latest = matches!(policy, Policy::LatestPerKey | Policy::LatestOnly);
        let missed = if is_latest { 0 } else { next.saturating_sub(first) };
        let lane = self.lane(key);
        lane.asked_behind = first - 1;
        lane.waiting.extend(given);
        if is_reset {
            let to = if missed > 0 { next - 1 } else { 0 };
            lane.note_gap(Gap { from: 0, to, missed, reasons: 1 << 9 });
        } else if missed > 0 {
            lane.note_gap(Gap { from: first, to: next - 1, missed, reasons: 1 << 8 });
        }
        self.touch(key, false);
        self.look_at_touched();
    }

    /// Of the history, and of what is there besides: the newest that fit together and are not too old.
    fn newest_from(&self, key: LaneKey, first: u64, also: &[Rc<Message>]) -> Vec<Rc<Message>> {
        let lane = &self.lanes[&key];
        let topic = &self.topics[&lane.topic];
        let mut there: Vec<Rc<Message>> = topic.history.iter().cloned().collect();
        let is_new = |message: &&Rc<Message>| topic.history.front().is_none_or(|oldest| message.seq < oldest.seq);
        there.splice(0..0, also.iter().filter(is_new).cloned().collect::<Vec<_>>());
        let (mut given, mut load, mut next) = (Vec::new(), Count::default(), topic.head);
        for message in there.into_iter().rev() {
            load += super::one(message.len());
            let fits = load.messages <= lane.messages_max && load.bytes <= lane.bytes_max;
            if message.seq < first || message.seq != next || !fits || lane.is_too_old(&message, self.now) {
                break;
            }
            next -= 1;
            given.push(message);
        }
        given.reverse();
        given
    }

    /// What still is the latest of its key.
    fn latest_from(&self, key: LaneKey, first: u64) -> Vec<Rc<Message>> {
        let lane = &self.lanes[&key];
        let topic = &self.topics[&lane.topic];
        let is_good = |message: &&Rc<Message>| message.seq >= first && !lane.is_too_old(message, self.now);
        let unwritten = topic.unwritten[self.kind_of(lane)];
        let is_known = |message: &&Rc<Message>| topic.options.keeps_latest || message.seq > unwritten;
        if lane.policy == Policy::LatestPerKey {
            return topic.keys.iter().filter(is_good).filter(is_known).cloned().collect();
        }
        topic.last.iter().filter(is_good).filter(is_known).cloned().collect()
    }

    /// Raw connections and readers in the process see the same bytes.
    fn kind_of(&self, lane: &super::Lane) -> usize {
        let session = lane.owner.session().map(|session| &self.sessions[&session]);
        usize::from(session.is_none_or(|session| session.is_raw))
    }

    /// A message is published: for whom it was written.
    pub(super) fn note_unwritten(&mut self, topic: TopicKey, seq: u64) {
        let is_latest = |lane: &&super::Lane| matches!(lane.policy, Policy::LatestPerKey | Policy::LatestOnly);
        let lanes = self.topics[&topic].lanes.iter().map(|lane| &self.lanes[lane]).filter(is_latest);
        let mut is_there = [false; 2];
        lanes.for_each(|lane| is_there[self.kind_of(lane)] = true);
        let unwritten = &mut self.topics.get_mut(&topic).expect("a topic").unwritten;
        unwritten.iter_mut().zip(is_there).filter(|(_, there)| !there).for_each(|(newest, _)| *newest = seq);
    }

    /// The number before the first message that will come.
    pub(super) fn number_before(&self, key: LaneKey) -> u64 {
        let lane = &self.lanes[&key];
        let head = self.topics[&lane.topic].head;
        if matches!(lane.policy, Policy::LatestPerKey | Policy::LatestOnly) {
            return lane.asked_behind;
        }
        let again = lane.acks.as_ref().and_then(|acks| acks.again());
        again.or(lane.waiting.front()).map_or(head, |message| message.seq - 1)
    }

    /// The last number that was sent and will not come again, and of which nothing is to be told.
    pub(super) fn number_done(&self, key: LaneKey) -> u64 {
        let before = self.number_before(key);
        self.lanes[&key].gap.map_or(before, |gap| before.min(gap.from.saturating_sub(1)))
    }

    /// A publish of a topic that is sent in batches.
    pub(super) fn await_flush(&mut self, topic: TopicKey) {
        let (now, is_draining) = (self.now, self.draining.is_some());
        let state = self.topics.get_mut(&topic).expect("a topic");
        match state.options.flush_interval.filter(|_| !is_draining) {
            Some(interval) => {
                state.flush_at.get_or_insert(now.saturating_add(nanos(interval)));
            }
            None => state.flushed = state.head,
        }
    }

    pub(super) fn flush(&mut self, topic: TopicKey) {
        let state = self.topics.get_mut(&topic).expect("a topic");
        (state.flushed, state.flush_at) = (state.head, None);
    }

    pub(super) fn class_of(&self, topic: TopicKey) -> Class {
        self.topics.get(&topic).map_or(Class::Normal, |topic| topic.options.class)
    }
}
