//! Acknowledgements and credit: in time, late, of the wrong message, or never.

use forebay_core::{ConnId, Delivery, TopicId};

use super::super::draw::TOPICS;
use super::super::{Side, Speaker, World};
use crate::mini::{Reader, Told};

impl World {
    /// How somebody acknowledges a message; `None`: not yet.
    fn acknowledgement(&mut self, topic: &str, seq: u64) -> Option<String> {
        match self.choices.below(8) {
            _ if self.is_healed => Some(Reader::ack(topic, seq)),
            0..=2 => Some(Reader::ack(topic, seq)),
            3 | 4 => Some(Reader::ack_each(topic, &[seq])),
            5 => Some(Reader::ack(topic, self.choices.below(seq + 1))),
            6 => Some(Reader::ack(topic, seq + self.choices.below(3))),
            _ => None,
        }
    }

    /// A guest acknowledges what it was just sent, or something else.
    pub(in super::super) fn guest_acknowledges(&mut self, name: usize, told: &[Told]) {
        for told in told {
            let Told::Message { topic, seq, .. } = told else { continue };
            let guest = &self.guests[&name];
            let is_best_effort =
                |reader: &Reader| reader.subs.get(topic).is_some_and(|sub| sub.in_flight_max.is_none());
            if !guest.is_usable() || guest.client.reader.as_ref().is_none_or(is_best_effort) {
                continue;
            }
            if let Some(text) = self.acknowledgement(topic, *seq) {
                self.guests.get_mut(&name).expect("a guest").client.text(&text);
            }
        }
    }

    /// The same for a hub that is a client.
    pub(in super::super) fn client_hub_acknowledges(&mut self, side: usize, conn: ConnId, told: &[Told]) {
        for told in told {
            let Told::Message { topic, seq, .. } = told else { continue };
            let Some(text) = self.acknowledgement(topic, *seq) else { continue };
            let line = self.sides[side].lines.get_mut(&conn);
            if let Some(Speaker::Client { reader, outbox, .. }) = line.map(|line| &mut line.speaker)
                && reader.subs.get(topic).is_some_and(|sub| sub.in_flight_max.is_some())
            {
                outbox.push_back(text);
            }
        }
    }

    /// The application acknowledges for raw connections, and at last grants everybody what they need.
    pub(in super::super) fn application_acknowledges(&mut self, side: usize, conn: ConnId, is_last: bool) {
        let now = self.now;
        let place = &mut self.sides[side];
        let Some(line) = place.lines.get(&conn) else { return };
        let (Some(session), is_raw) = (line.session, matches!(line.speaker, Speaker::Raw(_))) else { return };
        if place.hub.session(session).is_none_or(|session| session.conn != Some(conn)) {
            return; // Another connection has it, or nobody.
        }
        let topics: Vec<TopicId> = TOPICS.iter().filter_map(|name| place.hub.find_topic(name)).collect();
        for topic in topics {
            let Some(lane) = place.hub.find_lane(conn, topic).and_then(|lane| place.hub.lane(lane)) else { continue };
            let seq = place.hub.topic_pressure(topic).expect("found").head.seq;
            if is_last && lane.credit.is_some_and(|credit| credit < 1_000) {
                assert!(place.hub.grant(session, topic, 10_000, now));
            }
            let unacknowledged = lane.acks.map_or(0, |acks| acks.unacknowledged.messages);
            if unacknowledged == 0 || !is_raw {
                continue;
            }
            let number = if is_last { seq } else { seq.saturating_sub(self.choices.below(8)) };
            let is_one = !is_last && self.choices.one_in(2);
            let before = place.hub.stats().unknown_acks;
            let is_known = match is_one {
                true => place.hub.acknowledge_one(session, topic, number, now).is_ok(),
                false => place.hub.acknowledge(session, topic, number, now).is_ok(),
            };
            // What it made room for may have been others.
            let counted = place.hub.stats().unknown_acks - before;
            assert!(counted >= u64::from(!is_known), "an unknown one is counted");
            assert!(is_known || !is_last, "everything up to the head is something");
        }
    }
}

impl Side {
    /// Whether some topic may send a message more than once.
    pub(in super::super) fn may_send_again(&self) -> bool {
        let all = self.declared.values().map(|(_, options)| options).chain([&self.options.topic_defaults]);
        all.into_iter().any(|options| options.delivery != Delivery::BestEffort) || self.has_sent_again()
    }

    fn has_sent_again(&self) -> bool {
        self.hub.stats().acks.retries.messages > 0
    }
}
