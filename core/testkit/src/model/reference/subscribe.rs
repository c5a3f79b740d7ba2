//! Lanes come and go.

use std::collections::VecDeque;

use forebay_core::{ConnId, Delivery, LaneId, LaneOptions, Level, LossReason, Policy, Start, SubscribeError};

use super::acks::Ledger;
use super::clock::nanos;
use super::{Lane, LaneKey, Owner, Phase, Reference, TopicKey};

impl Lane {
    pub(super) fn new(
        topic: TopicKey,
        owner: Owner,
        policy: Policy,
        [messages_max, bytes_max]: [u64; 2],
        age_max: Option<u64>,
        credit: Option<u32>,
    ) -> Self {
        Self {
            id: None,
            topic,
            owner,
            policy,
            messages_max,
            bytes_max,
            age_max,
            waiting: VecDeque::new(),
            out: Vec::new(),
            gap: None,
            entered: Default::default(),
            sent: Default::default(),
            lost: Default::default(),
            is_left: false,
            aged: 0,
            mark: Default::default(),
            acks: None,
            asked_behind: 0,
            credit,
            ended: None,
            is_told: false,
        }
    }
}

impl Reference {
    /// What holds for a lane: policy, messages, bytes, age.
    fn agree(&self, topic: TopicKey, wish: LaneOptions) -> Result<(Policy, u64, u64, Option<u64>), SubscribeError> {
        let options = &self.topics[&topic].options;
        let policy = wish.policy.unwrap_or(options.policy);
        if policy != options.policy && !options.choices.contains(policy) {
            return Err(SubscribeError::PolicyNotAllowed);
        }
        let messages = u64::from(wish.messages_max.unwrap_or(options.lane.messages_max));
        let bytes = wish.bytes_max.unwrap_or(options.lane.bytes_max);
        let mut good = messages >= 1 && messages <= u64::from(options.lane.messages_max);
        good &= bytes <= options.lane.bytes_max && bytes >= u64::from(options.message_bytes_max);
        if policy == Policy::LatestPerKey {
            good &= u64::from(options.keys_max) <= messages && options.keys_bytes_max <= bytes;
            good &= options.keys_bytes_max >= u64::from(options.message_bytes_max);
        }
        let age = match wish.age_max {
            Some(age) => {
                good &= policy.is_lossy() && age.as_millis() >= 1;
                good &= options.age_max.is_none_or(|most| age <= most);
                Some(age)
            }
            None => options.age_max.filter(|_| policy.is_lossy()),
        };
        if good { Ok((policy, messages, bytes, age.map(nanos))) } else { Err(SubscribeError::InvalidLimits) }
    }

    /// A lane for a connection's session.
    pub(crate) fn subscribe(
        &mut self,
        conn: ConnId,
        topic: Option<TopicKey>,
        wish: LaneOptions,
        from: Start,
    ) -> Result<LaneKey, SubscribeError> {
        if self.conns.get(&conn).is_none_or(|conn| conn.phase != Phase::Open) {
            return Err(SubscribeError::UnknownConnection);
        }
        let session = self.conns[&conn].session;
        let lanes = &self.sessions[&session].lanes;
        if lanes.iter().any(|lane| Some(self.lanes[lane].topic) == topic) {
            return Err(SubscribeError::AlreadySubscribed);
        }
        if lanes.len() >= self.options.lanes_per_session_max as usize {
            return Err(SubscribeError::LanesFull);
        }
        self.add_lane(topic, Owner::Session(session), wish, from)
    }

    /// A lane for a reader in the process.
    pub(crate) fn subscribe_local(
        &mut self,
        topic: Option<TopicKey>,
        wish: LaneOptions,
        from: Start,
    ) -> Result<LaneKey, SubscribeError> {
        self.add_lane(topic, Owner::Local, wish, from)
    }

    fn add_lane(
        &mut self,
        topic: Option<TopicKey>,
        owner: Owner,
        wish: LaneOptions,
        from: Start,
    ) -> Result<LaneKey, SubscribeError> {
        if self.draining.is_some() {
            return Err(SubscribeError::Draining);
        }
        let Some(topic) = topic else { return Err(SubscribeError::UnknownTopic) };
        // Which of two errors is told nobody promises: first the limits, then how it delivers, then ages.
        let (policy, messages_max, bytes_max, _) = self.agree(topic, LaneOptions { age_max: None, ..wish })?;
        self.agree_on_delivery(topic, policy, owner, wish.at_least_once)?;
        let (.., age_max) = self.agree(topic, wish)?;
        let acks = self.agree_on_delivery(topic, policy, owner, wish.at_least_once)?;
        if acks.is_some() && wish.age_max.is_some() {
            return Err(SubscribeError::InvalidLimits);
        }
        let age_max = age_max.filter(|_| acks.is_none());
        let credit = wish.credit.filter(|_| owner != Owner::Local);
        self.may_start(topic, from)?;
        let key = self.name_next();
        let lane = Lane::new(topic, owner, policy, [messages_max, bytes_max], age_max, credit);
        self.lanes.insert(key, Lane { acks, ..lane });
        self.topics.get_mut(&topic).expect("a topic").lanes.push(key);
        if let Some(session) = owner.session().and_then(|session| self.sessions.get_mut(&session)) {
            session.lanes.push(key);
        }
        self.start_lane(key, from, &[]);
        Ok(key)
    }

    /// Whether a lane is at least once.
    fn agree_on_delivery(
        &self,
        topic: TopicKey,
        policy: Policy,
        owner: Owner,
        wish: Option<bool>,
    ) -> Result<Option<Ledger>, SubscribeError> {
        let can_be = matches!(policy, Policy::Block | Policy::Disconnect | Policy::DropNewest) && owner != Owner::Local;
        match self.topics[&topic].options.delivery {
            Delivery::AtLeastOnce(options) if can_be && wish != Some(false) => Ok(Some(Ledger::new(options))),
            _ if wish == Some(true) => Err(SubscribeError::NotAtLeastOnce),
            _ => Ok(None),
        }
    }

    /// Ends the lane of a connection on a topic; whether there was one.
    pub(crate) fn unsubscribe(&mut self, conn: ConnId, topic: Option<TopicKey>) -> bool {
        let lane = self.lane_on(conn, topic);
        if let Some(lane) = lane {
            self.end_lane(lane, LossReason::Unsubscribed);
        }
        lane.is_some()
    }

    pub(crate) fn lane_on(&self, conn: ConnId, topic: Option<TopicKey>) -> Option<LaneKey> {
        let topic = topic?;
        self.lanes_of(conn).iter().copied().find(|lane| self.lanes[lane].topic == topic)
    }

    /// The lane that has this id and has not ended.
    pub(crate) fn lane_of(&self, id: LaneId) -> Option<LaneKey> {
        self.lanes.iter().find(|(_, lane)| lane.id == Some(id) && lane.ended.is_none()).map(|(key, _)| *key)
    }

    /// A lane ends: what waits is lost, what is outstanding is sent or lost later.
    pub(crate) fn end_lane(&mut self, key: LaneKey, reason: LossReason) {
        self.look_at_last(key);
        let lane = self.lane(key);
        lane.ended = Some(reason);
        lane.gap = None;
        self.abandon_all(key, reason);
        let lane = self.lane(key);
        let level = std::mem::take(&mut lane.mark).level;
        let (waiting, topic, owner) = (std::mem::take(&mut lane.waiting), lane.topic, lane.owner);
        for message in waiting {
            self.lose(key, &message, reason);
        }
        let is_keyed = |lane: &Lane| lane.policy == Policy::LatestPerKey;
        let state = self.topics.get_mut(&topic).expect("a lane's topic");
        state.lanes.retain(|other| *other != key);
        let is_known = state.options.keeps_latest;
        if !is_known && !state.lanes.iter().any(|lane| is_keyed(&self.lanes[lane])) {
            state.keys.clear();
        }
        if let Some(state) = owner.session().and_then(|session| self.sessions.get_mut(&session)) {
            state.lanes.retain(|other| *other != key);
        }
        let head = self.topics[&topic].head;
        self.note_unwritten(topic, head);
        if level != Level::Nominal {
            self.look_above(key, owner, topic);
        }
        self.forgettable = true;
        self.made_room(topic);
        self.forget_lane(key);
    }

    /// A lane that ended is kept while something of it is outstanding.
    pub(super) fn forget_lane(&mut self, key: LaneKey) {
        let lane = &self.lanes[&key];
        let has_strays = lane.acks.as_ref().is_some_and(|acks| acks.strays > 0);
        if lane.ended.is_some() && lane.out.is_empty() && !has_strays {
            self.lanes.remove(&key);
        }
    }
}
