//! Rates: a bucket that is filled drop by drop.

use forebay_core::{Class, ConnId, Excess, Rate};

use super::{Reference, TopicKey};

const SECOND: i128 = 1_000_000_000;

/// What is missing in a bucket, in billionths of a unit, at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    missing: i128,
    at: u64,
}

impl Bucket {
    fn missing(self, rate: Rate, now: u64) -> i128 {
        let filled = i128::from(now.saturating_sub(self.at)) * i128::from(rate.per_second);
        (self.missing - filled).max(0)
    }

    /// Whole units above so many.
    pub(super) fn units(self, rate: Rate, reserved: u32, now: u64) -> u64 {
        let above = (i128::from(rate.burst) - i128::from(reserved)) * SECOND - self.missing(rate, now);
        u64::try_from(above.div_euclid(SECOND)).unwrap_or(0)
    }

    pub(super) fn take(&mut self, rate: Rate, units: u64, now: u64) {
        (self.missing, self.at) = (self.missing(rate, now) + i128::from(units) * SECOND, now);
    }

    /// When there is a whole unit above so many; now, if there is.
    pub(super) fn next_at(self, rate: Rate, reserved: u32, now: u64) -> u64 {
        let most = (i128::from(rate.burst) - i128::from(reserved) - 1) * SECOND;
        let (over, speed) = ((self.missing(rate, now) - most).max(0), i128::from(rate.per_second));
        now.saturating_add(u64::try_from((over + speed - 1) / speed).unwrap_or(u64::MAX))
    }
}

impl Reference {
    /// When a publish to the topic may be taken; now, if it may.
    pub(super) fn publish_at(&self, topic: TopicKey) -> u64 {
        let topic = &self.topics[&topic];
        topic.options.publish_rate.map_or(self.now, |rate| topic.rate.next_at(rate, 0, self.now))
    }

    /// Whether a publish that comes too fast is refused, also where it has waited for room.
    pub(super) fn refuses_excess(&self, topic: TopicKey) -> bool {
        self.topics[&topic].options.publish_excess == Excess::Refuse
    }

    pub(super) fn pay_for_publish(&mut self, topic: TopicKey) {
        let now = self.now;
        let topic = self.topics.get_mut(&topic).expect("a topic");
        if let Some(rate) = topic.options.publish_rate {
            topic.rate.take(rate, 1, now);
        }
    }

    /// When the next message of a connection may be understood; now, if it may.
    pub(super) fn hear_at(&self, id: ConnId) -> u64 {
        let (conn, now) = (&self.conns[&id], self.now);
        let rates = [self.options.inbound_rate, self.options.inbound_bytes_rate];
        let at = conn.inbound.iter().zip(rates).filter_map(|(bucket, rate)| Some(bucket.next_at(rate?, 0, now)));
        at.max().unwrap_or(now)
    }

    /// Whether a connection is not heard because it speaks too fast.
    pub(crate) fn is_too_fast(&self, id: ConnId) -> bool {
        let waits = self.options.inbound_excess == Excess::Wait || self.conns[&id].is_raw;
        waits && self.hear_at(id) > self.now
    }

    pub(super) fn pay_for_message(&mut self, id: ConnId, bytes: u64) {
        let (now, rates) = (self.now, [self.options.inbound_rate, self.options.inbound_bytes_rate]);
        if self.hear_at(id) > now {
            return; // What passes all the same.
        }
        let conn = self.conn(id);
        for ((bucket, rate), units) in conn.inbound.iter_mut().zip(rates).zip([1, bytes]) {
            if let Some(rate) = rate {
                bucket.take(rate, units, now);
            }
        }
    }

    /// Units of the outbound bucket that messages of the highest class leave to others.
    fn reserved(&self, rate: Rate, is_high: bool) -> u32 {
        let percent = if is_high { 0 } else { u64::from(self.options.reserved_percent) };
        u32::try_from(u64::from(rate.burst) * percent / 100).expect("less than the burst")
    }

    /// Bytes of messages that may leave now; without a rate any number.
    pub(super) fn outbound_units(&self, id: ConnId, is_high: bool) -> u64 {
        self.options
            .outbound_bytes_rate
            .map_or(u64::MAX, |rate| self.conns[&id].outbound.units(rate, self.reserved(rate, is_high), self.now))
    }

    pub(super) fn outbound_at(&self, id: ConnId, is_high: bool) -> u64 {
        let rate = self.options.outbound_bytes_rate;
        rate.map_or(self.now, |rate| self.conns[&id].outbound.next_at(rate, self.reserved(rate, is_high), self.now))
    }

    pub(super) fn look_for_rates(&mut self) {
        self.looked_for = self.rate_alarms().min();
    }

    /// When a bucket has something for whoever waits for it.
    pub(super) fn rate_alarms(&self) -> impl Iterator<Item = u64> {
        let parked = self.topics.iter().filter(|(_, topic)| !topic.parked.is_empty());
        let publishes = parked.map(|(key, _)| self.publish_at(*key));
        let open = self.conns.iter().filter(|(_, conn)| conn.phase == super::Phase::Open);
        let heard = open.clone().filter(|(id, _)| self.is_too_fast(**id)).map(|(id, _)| self.hear_at(*id));
        let sent = open.filter(|(_, conn)| conn.out.is_none() && !conn.is_blocked);
        let sent = sent.filter_map(|(id, _)| Some(self.outbound_at(*id, self.next_class(*id)? == Class::High)));
        publishes.chain(heard).chain(sent).filter(|at| *at > self.now)
    }

    pub(super) fn pay_for_bytes(&mut self, id: ConnId, bytes: usize) {
        let now = self.now;
        if let Some(rate) = self.options.outbound_bytes_rate {
            self.conn(id).outbound.take(rate, bytes as u64, now);
        }
    }
}
