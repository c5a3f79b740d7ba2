//! The accounts of everybody who is still there when all is at rest.

use std::collections::BTreeMap;

use forebay_core::{ConnId, LossReason, Policy};

use super::truth::Truth;
use super::{Side, Speaker, World};
use crate::mini::{Reader, Sub};

/// Where each topic's numbering stands, by side and name.
pub(super) type Heads = BTreeMap<(usize, String), u64>;

impl Sub {
    /// Whether a number was received, or may have been told as lost.
    fn is_accounted_for(&self, seq: u64) -> bool {
        self.seen.contains(&seq) || self.gaps.iter().any(|(from, to, _)| (*from..=*to).contains(&seq))
    }

    /// What was neither received nor told as lost had a later message of its key, which was.
    fn check_superseded(&self, truth: &Truth, side: usize, head: u64) {
        let keys = truth.keys(side, &self.epoch);
        let key_of = |seq: u64| match self.policy.as_str() {
            "latest-only" => Some(""),
            _ => keys.get(&seq).copied(),
        };
        // Where each key stands; `None`: of what nobody knows the key, because nobody has ever received it.
        let mut latest: BTreeMap<Option<&str>, u64> = BTreeMap::new();
        for seq in (self.start + 1..=head).filter(|seq| self.is_accounted_for(*seq)) {
            latest.insert(key_of(seq), seq);
        }
        for seq in (self.start + 1..=head).filter(|seq| !self.is_accounted_for(*seq)) {
            let Some(key) = key_of(seq) else { continue };
            let last = latest.get(&Some(key)).max(latest.get(&None));
            assert!(last.is_some_and(|last| *last > seq), "{seq}, the latest of {key:?}, never came: {self:?}");
        }
    }
}

impl World {
    /// The ledgers of everybody who is still there.
    pub(super) fn audit(&mut self, heads: &Heads) {
        let mut found = 0;
        for guest in self.guests.values().filter(|guest| guest.keeps_book()) {
            let reader = guest.client.reader.as_ref().expect("keeps book");
            let side = &self.sides[guest.side];
            if side.ended.contains_key(&guest.conn) {
                continue; // The hub has closed the connection; its end is still on the way.
            }
            for (topic, sub) in &reader.subs {
                let head = heads[&(guest.side, topic.clone())];
                let is_past = guest.past.contains(topic);
                side.audit_sub(guest.conn, topic, (sub, is_past), head);
                if sub.is_keyed() && !is_past && !sub.is_resumed {
                    sub.check_superseded(&self.truth, guest.side, head);
                    self.summary.keyed_ledgers += 1;
                }
                found += 1;
            }
            side.audit_lanes(guest.conn, reader);
        }
        for line in self.sides[1].lines.values() {
            let Speaker::Client { reader, server, .. } = &line.speaker else { continue };
            for (topic, sub) in &reader.subs {
                let id = self.sides[0].hub.find_topic(topic);
                if id.and_then(|id| self.sides[0].hub.find_lane(*server, id)).is_none() {
                    // Hub A has closed the connection; hub B has not seen its end yet.
                    continue;
                }
                let head = heads[&(0, topic.clone())];
                self.sides[0].audit_sub(*server, topic, (sub, false), head);
                if sub.is_keyed() {
                    sub.check_superseded(&self.truth, 0, head);
                    self.summary.keyed_ledgers += 1;
                }
                found += 1;
            }
        }
        self.summary.ledgers += found;
        self.sides.iter().for_each(Side::audit_locals);
    }
}

impl Side {
    /// `is_past`: the latest messages before it began are in no sum.
    fn audit_sub(&self, conn: ConnId, topic: &str, (sub, is_past): (&Sub, bool), head: u64) {
        let id = self.hub.find_topic(topic).expect("a topic with a lane");
        let lane = self.hub.find_lane(conn, id).expect("the lane of a subscription");
        let pressure = self.hub.lane(lane).expect("a lane");
        assert_eq!(sub.policy, pressure.policy.name(), "{conn:?} {topic}");
        let totals = pressure.totals;
        if sub.is_resumed {
            // Much of what it was told is with another connection. But nothing is missing silently.
            // (Of the latest messages, those are not known that no lane was there for.)
            assert!(sub.told == head || sub.is_keyed(), "{conn:?} {topic}: {sub:?}, head {head}");
            let missing = (sub.start + 1..=head).find(|seq| !sub.is_accounted_for(*seq));
            let is_known = sub.in_flight_max.is_none() && !sub.is_keyed();
            return assert!(!is_known || missing.is_none(), "{conn:?} {topic}: {missing:?} of {sub:?}");
        }
        let superseded = totals.lost_by(LossReason::Superseded).messages;
        assert!(superseded == 0 || sub.is_keyed(), "{totals:?} {sub:?}");
        let acks = pressure.acks.unwrap_or_default();
        assert_eq!(acks.unacknowledged.messages, 0, "{conn:?} {topic}: {sub:?}");
        if let Some(in_flight_max) = sub.in_flight_max {
            assert_eq!(acks.sent, totals.sent, "{conn:?} {topic}: at most {in_flight_max} in flight");
            assert!(sub.again <= acks.retries.messages, "{acks:?} {sub:?}");
        }
        let known = sub.received + sub.missed + superseded;
        let is_even = !(sub.is_uneven || is_past && sub.is_keyed());
        assert!(
            !is_even || known == head - sub.start,
            "{conn:?} {topic}: {sub:?}, {superseded} superseded, head {head}: {pressure:?}"
        );
        assert!(sub.told == head || (is_past && sub.is_keyed()), "{conn:?} {topic}: {sub:?}, head {head}");
        if pressure.policy == Policy::Block {
            assert_eq!(sub.missed, 0, "a block lane lost something: {conn:?} {topic} {sub:?}");
        }
        assert_eq!((totals.sent.messages, totals.sent.bytes), (sub.received, sub.bytes), "{totals:?} {sub:?}");
        let lost = totals.lost_total().messages;
        assert!(sub.is_uneven || lost == sub.missed + superseded, "{totals:?} {sub:?}");
        let entered = totals.entered.messages;
        assert!(entered == head - sub.start || (is_past && sub.is_keyed()), "{totals:?} {sub:?}");
        let ended = totals.lost_by(LossReason::Closed).messages + totals.lost_by(LossReason::Unsubscribed).messages;
        assert_eq!(ended, 0, "a lane that lives: {totals:?}");
    }

    fn audit_lanes(&self, conn: ConnId, reader: &Reader) {
        if let Some(connection) = self.hub.connection(conn) {
            assert_eq!(connection.lanes as usize, reader.subs.len(), "{conn:?}");
        }
    }

    fn audit_locals(&self) {
        for (lane, local) in &self.locals {
            let pressure = self.hub.lane(*lane).expect("a lane");
            let totals = pressure.totals;
            assert_eq!((totals.sent.messages, totals.sent.bytes), (local.received, local.bytes), "{lane:?}");
            let superseded = totals.lost_by(LossReason::Superseded).messages;
            let lost = totals.lost_total().messages;
            assert!(local.is_uneven || lost == local.missed + superseded, "{lane:?}");
            if pressure.policy == Policy::Block {
                assert_eq!(local.missed, 0, "a block lane lost something");
            }
        }
        // A topic that was forgotten tells nobody that it has drained.
        let waits: Vec<_> = self.awaited.iter().filter(|id| self.hub.topic_pressure(**id).is_some()).collect();
        assert!(waits.is_empty(), "Drained never came for {waits:?}");
    }
}
