//! Topics and lanes: made, ended, taken from.

use core::time::Duration;

use super::publish::has_control_characters;
use super::{Hub, News};
use crate::config::{LaneLimits, LaneOptions, Start, TopicOptions};
use crate::conn::{Conn, Source};
use crate::delivery::Delivery;
use crate::dialect::{Code, Dialect, RAW, Reply};
use crate::error::{SubscribeError, TopicError};
use crate::id::{ConnId, LaneId, TopicId};
use crate::lane::{Mark, Standing, Terms};
use crate::latest::{Taken, Unsettled};
use crate::log::Log;
use crate::output::{Entry, LossReason};
use crate::policy::Policy;
use crate::stats::{Count, Level};
use crate::topics::{Owner, Settings, Topic, TopicLane, ViewMut, Window};
use crate::wire::Role;

impl Hub {
    pub(super) fn check_name(&self, name: &str) -> Result<(), TopicError> {
        let is_short = name.len() <= self.config.topic_name_bytes_max as usize;
        let is_plain = !name.is_empty() && !has_control_characters(name);
        if is_short && is_plain { Ok(()) } else { Err(TopicError::InvalidName) }
    }

    pub(super) fn create_topic(
        &mut self,
        name: &str,
        options: TopicOptions,
        is_declared: bool,
    ) -> Result<TopicId, TopicError> {
        self.check_name(name)?;
        if self.topics.slab.len() >= self.config.topics_max as usize {
            return Err(TopicError::TopicsFull);
        }
        let (epoch, marks) = (self.entropy.u64(), self.config.watermarks);
        let id = self.topics.slab.insert_with(|_| Topic::new(name, epoch, (options, marks), is_declared));
        self.topics.by_name.insert(name.into(), id);
        self.stats.topics += 1;
        self.may_be_forgotten(id);
        Ok(id)
    }

    pub(super) fn declare_topic(&mut self, name: &str, options: TopicOptions) -> Result<TopicId, TopicError> {
        options.check().map_err(|_| TopicError::InvalidOptions)?;
        match self.topics.by_name.get(name) {
            Some(_) => Err(TopicError::AlreadyDeclared),
            None => self.create_topic(name, options, true),
        }
    }

    pub(super) fn remove_topic_now(&mut self, id: TopicId) -> bool {
        let Some(topic) = self.topics.get_mut(id) else { return false };
        topic.is_removed = true;
        topic.cut_history(topic.head);
        let name = topic.name.clone();
        let topic = self.topics.slab.get(id).expect("just looked up");
        let live = topic.lanes.iter().filter(|lane| !lane.is_ended());
        let lanes: alloc::vec::Vec<(LaneId, Owner)> =
            live.map(|lane| (self.topics.id(lane), lane.owner(&self.sessions))).collect();
        self.topics.by_name.remove(&*name);
        for (lane, owner) in lanes {
            // A reply to one of them may have made room at the cost of others.
            let is_live = self.topics.of_lane(lane).is_some_and(|(topic, place)| {
                self.topics.slab.get(topic).is_some_and(|topic| !topic.lanes[place].is_ended())
            });
            if !is_live {
                continue;
            }
            self.end_lane(lane, LossReason::Closed);
            match owner {
                Owner::Local => self.events.push_back(News::LaneEnded(lane)),
                Owner::Session(session) => {
                    let session = self.sessions.get_mut(session).expect("a lane's session exists");
                    session.remove(id);
                    if let Some(conn) = session.conn() {
                        self.reply(conn, &Reply::Ended { topic: &name, code: "removed" }, None);
                        self.refresh(conn);
                    }
                }
            }
        }
        while let Some(conn) = self.topics.slab.get(id).and_then(|topic| topic.parked.front().copied()) {
            self.refuse_parked(conn, &Reply::Error(Code::UnknownTopic, "the topic was removed"));
            self.refresh(conn);
        }
        self.recharge_topic(id); // Its history went.
        self.may_be_forgotten(id);
        true
    }

    /// The topic is forgotten at the next poll if nothing would be missed.
    pub(super) fn may_be_forgotten(&mut self, id: TopicId) {
        if self.topics.slab.get(id).is_some_and(Topic::is_forgettable) {
            self.forgettable.push(id);
        }
    }

    pub(super) fn forget_topics(&mut self) {
        while let Some(id) = self.forgettable.pop() {
            if self.topics.slab.get(id).is_some_and(Topic::is_forgettable) {
                let topic = self.topics.slab.remove(id).expect("just looked up");
                self.forget_timer(topic.age_timer);
                self.forget_timer(topic.history_timer);
                self.forget_timer(topic.level_timer);
                self.forget_timer(topic.rate_timer);
                self.forget_timer(topic.flush_timer);
                self.recharge(topic.charged.hub, 0);
                self.stats.topics -= 1;
                if !topic.is_removed {
                    self.topics.by_name.remove(&*topic.name);
                }
            }
        }
    }

    pub(super) fn add_session_lane(
        &mut self,
        conn_id: ConnId,
        topic_id: TopicId,
        options: LaneOptions,
        from: Start,
    ) -> Result<LaneId, SubscribeError> {
        let conn = self.conns.get(conn_id).filter(|conn| conn.is_open()).ok_or(SubscribeError::UnknownConnection)?;
        if conn.role == Role::Client {
            return Err(SubscribeError::ClientRole);
        }
        let (session_id, dialect) = (conn.session, conn.dialect().unwrap_or(RAW));
        let session = self.sessions.get(session_id).expect("a connection's session exists");
        if session.lane_on(topic_id).is_some() {
            return Err(SubscribeError::AlreadySubscribed);
        }
        if session.lanes().len() >= self.config.lanes_per_session_max as usize {
            return Err(SubscribeError::LanesFull);
        }
        let lane = self.add_lane(topic_id, Owner::Session(session_id), dialect, options, from)?;
        self.sessions.get_mut(session_id).expect("a connection's session exists").add(topic_id, lane);
        self.begin(lane);
        Ok(lane)
    }

    /// Makes a lane, for its owner to list and to [`begin`](Self::begin).
    fn add_lane(
        &mut self,
        topic_id: TopicId,
        owner: Owner,
        dialect: &'static dyn Dialect,
        options: LaneOptions,
        from: Start,
    ) -> Result<LaneId, SubscribeError> {
        if self.draining.is_some() {
            return Err(SubscribeError::Draining);
        }
        let topic = self.topics.get(topic_id).ok_or(SubscribeError::UnknownTopic)?;
        let declared = topic.options.lane;
        let policy = options.policy.unwrap_or(topic.options.policy);
        if policy != topic.options.policy && !topic.options.choices.contains(policy) {
            return Err(SubscribeError::PolicyNotAllowed);
        }
        let limits = LaneLimits {
            messages_max: options.messages_max.unwrap_or(declared.messages_max),
            bytes_max: options.bytes_max.unwrap_or(declared.bytes_max),
        };
        let is_lower = limits.messages_max <= declared.messages_max && limits.bytes_max <= declared.bytes_max;
        let is_enough = limits.messages_max > 0 && limits.bytes_max >= u64::from(topic.options.message_bytes_max);
        let TopicOptions { keys_max, keys_bytes_max, message_bytes_max, .. } = topic.options;
        let holds_keys = policy != Policy::LatestPerKey
            || (limits.messages_max >= keys_max
                && limits.bytes_max >= keys_bytes_max
                && keys_bytes_max >= u64::from(message_bytes_max));
        if !is_lower || !is_enough || !holds_keys {
            return Err(SubscribeError::InvalidLimits);
        }
        let can_acknowledge = policy.can_be_at_least_once() && owner != Owner::Local;
        let can_acknowledge = can_acknowledge && topic.options.delivery != Delivery::BestEffort;
        if options.at_least_once == Some(true) && !can_acknowledge {
            return Err(SubscribeError::NotAtLeastOnce);
        }
        let is_at_least_once = can_acknowledge && options.at_least_once != Some(false);
        let has_ages = policy.is_lossy() && !is_at_least_once;
        let declared = topic.options.age_max;
        let age_max = options.age_max.or(declared).filter(|_| has_ages);
        let is_younger = options.age_max.is_none_or(|age| {
            has_ages && age >= Duration::from_millis(1) && declared.is_none_or(|declared| age <= declared)
        });
        if !is_younger {
            return Err(SubscribeError::InvalidLimits);
        }
        let settings = Settings { terms: Terms { limits, policy }, age_max, encoding: dialect.encoding() };
        let id = self.make_lane(topic_id, settings, (owner, dialect), from)?;
        if let Owner::Session(session) = owner {
            let (topic, place) = self.topics.lane_mut(id);
            topic.add_gate(place, is_at_least_once, options.credit);
            if is_at_least_once {
                self.add_acking(session);
            }
        }
        Ok(id)
    }

    pub(super) fn add_local_lane(
        &mut self,
        topic: TopicId,
        options: LaneOptions,
        from: Start,
    ) -> Result<LaneId, SubscribeError> {
        let lane = self.add_lane(topic, Owner::Local, RAW, options, from)?;
        self.begin(lane);
        Ok(lane)
    }

    pub(super) fn end_session_lane(&mut self, conn: ConnId, topic: TopicId, reason: LossReason) -> bool {
        let Some(session) = self.conns.get(conn).map(|conn| conn.session) else { return false };
        let Some(session) = self.sessions.get_mut(session) else { return false };
        let Some(lane) = session.lane_on(topic) else { return false };
        session.remove(topic);
        self.end_lane(lane, reason);
        true
    }

    /// Ends a lane: what waits is lost; what is outstanding is settled when its Transmit is answered.
    pub(super) fn end_lane(&mut self, id: LaneId, reason: LossReason) {
        let (topic, place) = self.topics.lane_mut(id);
        let level = topic.level_of(place);
        self.acking_lanes -= u32::from(topic.acking(place).is_some());
        self.aging_lanes -= u32::from(topic.age_max(place).is_some());
        let lost = topic.end_window(place, reason);
        topic.totals.lose(reason, lost);
        self.stats.lanes.lose(reason, lost);
        self.stats.lanes_now -= 1;
        self.end_flight(id, reason);
        self.lane_progressed(id);
        let (topic, place) = self.topics.lane_mut(id);
        topic.look_at(place); // It is not watched any more.
        if level > Level::Nominal {
            self.level_ended(id, level);
        }
        let topic_id = self.topics.of_lane(id).expect("the lane exists").0;
        self.recharge_topic(topic_id);
        self.remove_lane_if_settled(id);
    }

    pub(super) fn remove_lane_if_settled(&mut self, id: LaneId) {
        let (topic, place) = self.topics.lane(id);
        if topic.is_settled(place) {
            let topic_id = self.topics.of_lane(id).expect("the lane exists").0;
            self.topics.remove_lane(id);
            self.recharge_topic(topic_id);
            self.may_be_forgotten(topic_id);
        }
    }

    /// The lane has nothing to send and nothing to tell: the next publish wakes it, or what opens it where it is shut.
    pub(super) fn rest_if_empty(&mut self, id: LaneId) -> bool {
        let (topic, place) = self.topics.lane_mut(id);
        if topic.has_something(place) {
            return false;
        }
        topic.lanes[place].set(TopicLane::ACTIVE, false);
        if !topic.is_shut(place) {
            topic.list_idle(place);
        }
        true
    }

    pub(super) fn take_entry(&mut self, id: LaneId) -> Option<Entry> {
        let (topic_id, place) = self.topics.of_lane(id)?;
        if !self.topics.get(topic_id)?.lanes[place].is_local() {
            return None;
        }
        self.expire_lane(id);
        let topic = self.topics.get_mut(topic_id)?;
        if let Some(gap) = topic.take_due_gap(place) {
            self.rest_if_empty(id);
            return Some(Entry::Gap(gap));
        }
        let Some((seq, payload, sent)) = topic.take(place) else {
            self.recharge_topic(topic_id);
            self.rest_if_empty(id);
            return None;
        };
        topic.totals.send(sent);
        self.stats.lanes.send(sent);
        self.recharge_topic(topic_id);
        self.lane_progressed(id);
        self.rest_if_empty(id);
        Some(Entry::Message { seq, payload })
    }

    /// The frame of an outstanding latest message is let go.
    pub(super) fn latest_let_go(&mut self, id: LaneId, taken: Taken) -> Unsettled {
        let (topic_id, place) = self.topics.of_lane(id).expect("the lane exists");
        let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
        let ViewMut::Latest(_, latest) = topic.view_mut(place) else { panic!("it was taken from there") };
        let message = latest.let_go(taken);
        self.recharge_topic(topic_id);
        message
    }

    /// An outstanding latest message was sent.
    pub(super) fn latest_sent(&mut self, id: LaneId, message: Unsettled) {
        let (topic, place) = self.topics.lane_mut(id);
        let Window::Latest(lane) = &mut topic.lanes[place].window else { panic!("it was taken from there") };
        let count = lane.sent(message);
        topic.totals.send(count);
        self.stats.lanes.send(count);
    }

    /// An outstanding latest message was not sent.
    pub(super) fn latest_returned(&mut self, id: LaneId, message: Unsettled) {
        let (topic, place) = self.topics.lane_mut(id);
        let end_reason = topic.lanes[place].end_reason();
        let ViewMut::Latest(lane, latest) = topic.view_mut(place) else { panic!("it was taken from there") };
        let count = Count::new(1, message.bytes);
        if let Some(reason) = lane.returned(latest, message, end_reason) {
            topic.totals.lose(reason, count);
            self.stats.lanes.lose(reason, count);
        }
        topic.return_credit(place, 1);
        if end_reason.is_none() {
            self.activate(id);
            self.look_at_age_of(id);
        }
    }

    /// Part of what is outstanding of a lane was sent: up to `cut`.
    pub(super) fn lane_sent(&mut self, source: Source, conn: ConnId, cut: Mark) {
        match source {
            Source::Lane(id) => {
                let (topic, place) = self.topics.lane_mut(id);
                let is_acking = topic.acking(place).is_some();
                if is_acking {
                    self.begin_flight(id, cut);
                }
                let (topic, place) = self.topics.lane_mut(id);
                let count = topic.change(place, |lane, _| lane.sent(cut));
                topic.totals.send(count);
                self.stats.lanes.send(count);
                if is_acking {
                    self.entered_flight(id, count);
                }
            }
            Source::Direct => {
                let direct = self.conns.get_mut(conn).and_then(Conn::direct_mut);
                let direct = direct.expect("what is outstanding has a lane");
                let count = crate::topics::change_lane(&mut direct.lane, &mut direct.log, |lane, _| lane.sent(cut));
                self.stats.direct.send(count);
            }
        }
    }

    /// What is outstanding of a lane after `cut` was not sent.
    pub(super) fn lane_returned(&mut self, source: Source, conn: ConnId, cut: Mark) {
        match source {
            Source::Lane(id) => {
                let (topic, place) = self.topics.lane_mut(id);
                let head = topic.head;
                let (terms, end_reason) = (*topic.terms(place), topic.lanes[place].end_reason());
                let reason = end_reason.unwrap_or(LossReason::Oldest);
                let outstanding = topic.lanes[place].window.outstanding().messages;
                let judge = end_reason.is_none() && terms.policy == Policy::DropOldest;
                let lost = topic.change(place, |lane, log| {
                    let mut lost = lane.returned(&terms, cut, reason);
                    if judge {
                        let nothing = (head, Count::default());
                        lost += lane.trim(&terms, nothing, LossReason::Oldest, |seq| log.mark(seq));
                    }
                    lost
                });
                topic.totals.lose(reason, lost);
                self.stats.lanes.lose(reason, lost);
                let returned = outstanding - topic.lanes[place].window.outstanding().messages;
                topic.return_credit(place, returned);
                if end_reason.is_none() {
                    topic.look_at(place);
                    let topic_id = self.topics.of_lane(id).expect("the lane exists").0;
                    self.look_at_level(topic_id, place, lost.messages > 0);
                    self.activate(id);
                    self.look_at_age_of(id);
                }
            }
            Source::Direct => {
                let direct = self.conns.get_mut(conn).and_then(Conn::direct_mut);
                let direct = direct.expect("what is outstanding has a lane");
                let reason = LossReason::Closed;
                let terms = direct.lane.terms;
                let returned = |lane: &mut Standing, _: &Log| lane.returned(&terms, cut, reason);
                let lost = crate::topics::change_lane(&mut direct.lane, &mut direct.log, returned);
                self.stats.direct.lose(reason, lost);
            }
        }
    }

    /// The partly sent message before `cut` was copied to its connection.
    pub(super) fn lane_pinned(&mut self, source: Source, conn: ConnId, cut: Mark) {
        self.lane_returned(source, conn, cut);
        match source {
            Source::Lane(id) => {
                // What lives on without its connection loses nothing with it, and at least once it may have to be sent again.
                let is_kept = self.may_outlive_its_connection(id);
                let (topic, place) = self.topics.lane_mut(id);
                let is_kept = is_kept || (topic.acking(place).is_some() && !topic.lanes[place].is_ended());
                if !is_kept {
                    topic.change(place, |lane, _| lane.unhold());
                }
            }
            Source::Direct => {
                let direct = self.conns.get_mut(conn).and_then(Conn::direct_mut);
                let direct = direct.expect("what is outstanding has a lane");
                crate::topics::change_lane(&mut direct.lane, &mut direct.log, |lane, _| lane.unhold());
            }
        }
    }
}
