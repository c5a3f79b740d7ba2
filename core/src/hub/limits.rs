//! Rates: what comes from a connection, what goes to it, and what is published to a topic.

use super::publish::Publisher;
use super::{Hub, TimerKey};
use crate::conn::{Conn, reserved};
use crate::delivery::{Class, Excess};
use crate::dialect::{Code, Reply};
use crate::error::PublishError;
use crate::id::{ConnId, TopicId};
use crate::time::Instant;
use crate::topics::Topic;

/// How many bytes of messages a Transmit may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    /// For class `High`.
    all: usize,
    /// How many of these are not for others.
    reserved: usize,
}

impl Units {
    /// For messages of a class.
    pub(super) fn of(self, class: Class) -> usize {
        if class == Class::High { self.all } else { self.all.saturating_sub(self.reserved) }
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.all = self.all.saturating_sub(bytes);
    }
}

/// From a connection.
impl Hub {
    /// A whole inbound message came; whether there was a unit for it, which it took then. If it was the last of a connection
    /// that has to wait for the next, nothing more is decoded.
    pub(super) fn pay_inbound(&mut self, id: ConnId, bytes: usize) -> bool {
        if self.config.inbound_rate.is_none() && self.config.inbound_bytes_rate.is_none() {
            return true;
        }
        let now = self.now;
        let conn = self.conns.get_mut(id).expect("the connection exists");
        let waits = self.config.inbound_excess == Excess::Wait || conn.dialect().is_none();
        let limits = self.limits.entry(id).or_default();
        if limits.inbound_at(&self.config) > now {
            return false;
        }
        limits.take_inbound(&self.config, bytes as u64, now);
        conn.is_limited = waits && limits.inbound_at(&self.config) > now;
        true
    }

    /// A request came without a unit: it is refused, but for those that always pass (and what is none); whether it was.
    pub(super) fn refuse_limited(&mut self, id: ConnId, is_text: bool, bytes: &[u8]) -> bool {
        let dialect = self.conn_mut(id).dialect().expect("only called with a dialect");
        let request_id = match dialect.decode(is_text, bytes) {
            Ok(request) if !request.action.passes_a_parked_publish() => request.id,
            _ => return false,
        };
        let now = self.now;
        let at = self.limits.get(&id).map_or(now, |limits| limits.inbound_at(&self.config));
        self.stats.refused_limited += 1;
        self.reply(id, &Reply::Limited { retry_after: at.since(now) }, request_id);
        true
    }

    /// Whether there is a unit for a connection that was not read for want of one.
    pub(super) fn has_waited_for_unit(&self, id: ConnId) -> bool {
        let has_unit = || self.limits.get(&id).is_some_and(|limits| limits.inbound_at(&self.config) <= self.now);
        self.conns.get(id).is_some_and(|conn| conn.is_limited) && has_unit()
    }

    /// There may be a unit for a connection that was not read for want of one.
    pub(super) fn resume_limited(&mut self, id: ConnId) {
        if self.has_waited_for_unit(id) {
            self.conn_mut(id).is_limited = false;
            self.pump(id);
        }
    }
}

/// To a connection.
impl Hub {
    /// How many bytes of messages may go to a connection now.
    pub(super) fn units(&self, id: ConnId) -> Units {
        let Some(rate) = self.config.outbound_bytes_rate else { return Units { all: usize::MAX, reserved: 0 } };
        let all = self.limits.get(&id).map_or(rate.burst.into(), |limits| limits.outbound_units(rate, self.now));
        let as_usize = |units: u64| usize::try_from(units).unwrap_or(usize::MAX);
        let reserved = reserved(&self.config, rate, Class::Normal);
        Units { all: as_usize(all), reserved: as_usize(reserved.into()) }
    }

    /// So many bytes went to a connection, whatever they were.
    pub(super) fn pay_outbound(&mut self, id: ConnId, bytes: usize) {
        if let Some(rate) = self.config.outbound_bytes_rate.filter(|_| bytes > 0) {
            let now = self.now;
            self.limits.entry(id).or_default().take_outbound(rate, bytes as u64, now);
        }
    }

    /// Whether a message of class `Normal` may be sent to a connection now.
    pub(super) fn has_unit(&self, id: ConnId) -> bool {
        self.limits.get(&id).is_none_or(|limits| limits.outbound_at(&self.config, Class::Normal) <= self.now)
    }

    /// When the first message that waits for a connection may be sent, for all its rate knows; `None`: none waits.
    pub(super) fn starts_at(&self, id: ConnId) -> Option<Instant> {
        let conn = self.conns.get(id).expect("the connection exists");
        let lanes = self.sessions.get(conn.session).expect("a connection's session exists").active();
        let has_direct = || conn.direct().is_some_and(|direct| !direct.lane.front(direct.log.head()).is_empty());
        if !conn.is_open() || (lanes.is_empty() && !has_direct()) {
            return None;
        }
        let Some(limits) = self.limits.get(&id) else { return Some(Instant::ZERO) };
        let classes = lanes.iter().map(|lane| self.topics.lane(*lane).0.options.class);
        Some(limits.outbound_at(&self.config, classes.min().unwrap_or_default()))
    }
}

/// Buckets that are full.
impl Hub {
    pub(super) fn forget_limits(&mut self, id: ConnId) {
        let is_limited = self.conn_mut(id).is_limited;
        if self.limits.get(&id).is_some_and(|limits| !is_limited && limits.is_idle(self.now)) {
            self.limits.remove(&id);
        }
    }
}

/// To a topic.
impl Hub {
    /// Whether one more may be published now. A client's that is to wait gets `Full`, like where a lane is full.
    pub(super) fn look_at_rate(&mut self, topic_id: TopicId, publisher: Publisher) -> Result<(), PublishError> {
        let topic = self.topics.slab.get_mut(topic_id).expect("the topic exists");
        let at = topic.publish_at();
        if at <= self.now {
            return Ok(());
        }
        if publisher == Publisher::Application || topic.options.publish_excess == Excess::Refuse {
            self.stats.refused_limited += 1;
            return Err(PublishError::Limited { retry_after: at.since(self.now) });
        }
        let timer = *topic.rate_timer.get_or_insert_with(|| self.timers.add(TimerKey::Rate(topic_id.index)));
        self.timers.arm(timer, at);
        Err(PublishError::Full)
    }

    fn parked_for_too_long(&self, id: ConnId) -> Option<TopicId> {
        let parked = self.conns.get(id).and_then(Conn::inbound).and_then(|inbound| inbound.parked);
        parked.filter(|parked| parked.until <= self.now).map(|parked| parked.topic)
    }

    /// Whether `block_max` is over for a publish of the connection that is parked.
    pub(super) fn has_waited_for_room(&self, id: ConnId) -> bool {
        self.parked_for_too_long(id).is_some()
    }

    /// Where `block_max` is over for a publish that is parked, it is refused, for what it waits for now.
    pub(super) fn give_up_waiting(&mut self, id: ConnId) {
        let Some(topic_id) = self.parked_for_too_long(id) else { return };
        let topic = self.topics.slab.get(topic_id).expect("a publish waits for a topic that exists");
        if topic.options.publish_rate.is_some() && topic.publish_at() <= self.now {
            // It may be the turn of this one, and at the same moment.
            self.may_have_room(topic_id);
            self.retry_parked();
            if self.parked_for_too_long(id) != Some(topic_id) {
                return;
            }
        }
        let topic = self.topics.slab.get(topic_id).expect("a publish waits for a topic that exists");
        let at = topic.publish_at();
        if at > self.now {
            self.stats.refused_limited += 1;
            return self.refuse_parked(id, &Reply::Limited { retry_after: at.since(self.now) });
        }
        self.stats.refused_full += 1;
        let text = "a lane with the policy block stayed full for block_max";
        self.refuse_parked(id, &Reply::Error(Code::Full, text));
    }
}

/// Recounted, for tests.
impl Hub {
    pub(super) fn check_limits(&self, id: ConnId, conn: &Conn) {
        let Some(limits) = self.limits.get(&id) else {
            return assert!(!conn.is_limited, "who waits for a unit has a bucket");
        };
        assert!(!conn.is_ended(), "a connection that has ended has no buckets");
        if let Some(at) = limits.starts_at {
            assert!(!conn.is_ready && !conn.is_writing(), "who waits for a unit waits for nothing else");
            assert_eq!(self.starts_at(id), Some(at), "when the first message may be sent");
        }
        let armed = self.timers.deadline(conn.timer);
        let deadline = limits.deadline(&self.config, conn.is_limited);
        assert!(armed.is_some_and(|armed| armed <= deadline), "who waits for a unit goes on in time");
    }

    pub(super) fn check_publish_rate(&self, topic: &Topic) {
        let armed = topic.rate_timer.and_then(|timer| self.timers.deadline(timer));
        let is_in_time = armed.is_some_and(|armed| armed <= topic.publish_at());
        assert!(
            topic.parked.is_empty() || topic.keeping_parked > 0 || is_in_time,
            "a parked publish waits for something"
        );
    }
}

impl Topic {
    /// When one more may be published; at or before now: it may.
    fn publish_at(&self) -> Instant {
        self.options.publish_rate.map_or(Instant::ZERO, |rate| self.published.next_at(rate, 0))
    }
}
