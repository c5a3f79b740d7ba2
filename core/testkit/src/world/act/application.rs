//! What the application of a hub does.

use forebay_core::{
    ConnId, LaneId, LanePressure, Message, Payload, Position, PublishError, SendError, Start, TopicId, wire,
};

use super::super::guest::direct_text;
use super::super::{Local, Side, Speaker, World, check, draw};
use crate::mini::Data;

impl World {
    pub(super) fn application_publishes(&mut self, side: usize) {
        let topic = self.topic_name();
        for _ in 0..self.choices.size(1, 4) {
            let data = self.data(side, topic);
            let key = self.key(side);
            self.publish(side, topic, &key, &data);
        }
    }

    /// The application publishes, and knows exactly what must come of it.
    pub(in crate::world) fn publish(&mut self, side: usize, topic: &str, key: &str, data: &Data) {
        let place = &mut self.sides[side];
        let id = match place.hub.find_topic(topic) {
            Some(id) => id,
            None if self.choices.one_in(2) => match place.open_topic(topic) {
                Some(id) => id,
                None => return,
            },
            None => return,
        };
        let payload = match data {
            Data::Json(text) => Payload::Text(text),
            Data::Bytes(bytes) => Payload::Binary(bytes),
        };
        let tag = self.truth.tried(side, topic, key, data);
        let (lanes, may_end) = place.lanes_of(id);
        let is_good_key = check::is_good_key(&place.options, key);
        let publish_id = if self.choices.one_in(4) { format!("id {}", self.choices.below(8)) } else { String::new() };
        let before = place.published_before(id, &publish_id);
        let result = place.hub.publish(id, Message::new(payload).with_key(key).with_id(&publish_id), self.now);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{side} publish {topic} {:?} {} bytes: {result:?}", id, payload.as_bytes().len()));
        }
        match result {
            Ok(published) if published.is_duplicate => {
                assert_eq!(
                    (Some(published.position), published.matched),
                    (before, 0),
                    "{publish_id} was published before"
                );
                self.truth.refused(side, tag);
            }
            Ok(published) => {
                // Where memory ran out ids are forgotten.
                let is_forgotten = place.hub.stats().levels.hub.critical > 0;
                assert!(before.is_none() || is_forgotten, "{publish_id} was published before");
                place.publishes(id, publish_id, published.position);
                assert!(is_good_key, "published with the key {key:?}");
                // What ends a lane did not enter it.
                let matched = published.matched as usize;
                assert!((lanes - may_end..=lanes).contains(&matched), "{matched} of {lanes} lanes of {topic}");
                self.truth.numbered(side, tag, published.position.seq, Some(published.position.epoch));
            }
            Err(error) => {
                self.truth.refused(side, tag);
                // Where memory ran out ids are forgotten.
                let is_forgotten = place.hub.stats().levels.hub.critical > 0;
                assert!(before.is_none() || is_forgotten, "{publish_id} was published before");
                match error {
                    PublishError::Full => {
                        place.awaited.insert(id);
                    }
                    PublishError::InvalidKey => assert!(!is_good_key, "refused the key {key:?}"),
                    PublishError::TooLarge | PublishError::Overloaded | PublishError::UnknownTopic => {}
                    PublishError::Limited { retry_after } => assert!(!retry_after.is_zero(), "there is a unit now"),
                    other => panic!("{other:?} for {data:?}"),
                }
            }
        }
    }

    pub(super) fn application_sends(&mut self, side: usize) {
        let conns = self.raw_conns(side);
        if conns.is_empty() {
            return;
        }
        let conn = *self.choices.pick(&conns);
        let number = self.fresh();
        match self.sides[side].hub.send(conn, Payload::Text(&direct_text(number)), self.now) {
            Ok(()) | Err(SendError::Full | SendError::UnknownConnection | SendError::Overloaded) => {}
            Err(other) => panic!("{other:?} for a small message"),
        }
    }

    fn raw_conns(&self, side: usize) -> Vec<ConnId> {
        let lines = self.sides[side].lines.iter();
        lines.filter(|(_, line)| matches!(line.speaker, Speaker::Raw(_))).map(|(conn, _)| *conn).collect()
    }

    pub(super) fn application_subscribes(&mut self, side: usize) {
        let topic = self.topic_name();
        let conns = self.raw_conns(side);
        if conns.is_empty() {
            return;
        }
        let conn = *self.choices.pick(&conns);
        let options = self.sides[side].options_of(topic);
        let lane = draw::lane(&mut self.choices, Some(&options));
        let leaves = self.choices.one_in(3);
        let Some(id) = self.sides[side].open_topic(topic) else { return };
        let head = self.sides[side].head_of(topic).expect("just opened");
        let from = draw::start(&mut self.choices, Some(head));
        let hub = &mut self.sides[side].hub;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{side} {conn:?} {topic} {id:?}: {}", if leaves { "unsubscribe" } else { "subscribe" }));
        }
        if leaves {
            let had = hub.find_lane(conn, id).is_some();
            assert_eq!(hub.unsubscribe(conn, id, self.now), had, "unsubscribe says whether there was a lane");
        } else {
            let answer = hub.subscribe(conn, id, lane, from, self.now);
            check::subscribed(hub.topic_options(id).expect("a topic"), &lane, false, answer);
            check::started(head, from, answer);
            if let Ok(lane) = answer {
                assert_eq!(hub.find_lane(conn, id), Some(lane));
                self.sides[side].raw_lanes.insert(lane);
                let guests = self.guests.values_mut().filter(|guest| (guest.side, guest.conn) == (side, conn));
                for guest in guests.filter(|_| from != Start::Latest) {
                    guest.past.insert(topic.into());
                }
            }
        }
    }

    pub(super) fn local_comes_or_goes(&mut self, side: usize) {
        let topic = self.topic_name();
        let options = self.sides[side].options_of(topic);
        let limits = draw::lane(&mut self.choices, Some(&options));
        let place = &mut self.sides[side];
        if place.locals.len() > 2 || (self.choices.one_in(3) && !place.locals.is_empty()) {
            let lanes: Vec<LaneId> = place.locals.keys().copied().collect();
            let lane = *self.choices.pick(&lanes);
            let is_there = place.hub.lane(lane).is_some();
            assert_eq!(place.hub.unsubscribe_local(lane, self.now), is_there, "says whether there was a lane");
            if is_there {
                place.locals.remove(&lane);
                place.old_lanes.push(lane);
            }
            return;
        }
        let Some(id) = place.open_topic(topic) else { return };
        let head = place.head_of(topic).expect("just opened");
        let from = draw::start(&mut self.choices, Some(head));
        let answer = place.hub.subscribe_local(id, limits, from, self.now);
        check::subscribed(place.hub.topic_options(id).expect("a topic"), &limits, true, answer);
        check::started(head, from, answer);
        if let Ok(lane) = answer {
            let was = place.locals.insert(lane, Local::new(topic.into(), id));
            assert!(was.is_none(), "{lane:?} is named twice");
        }
    }

    pub(super) fn topic_comes_or_goes(&mut self, side: usize) {
        let name = self.topic_name();
        let place = &mut self.sides[side];
        match place.hub.find_topic(name) {
            Some(id) if self.choices.one_in(2) => {
                if let Some(trace) = &mut self.trace {
                    trace.push(format!("{side} remove_topic {name} {id:?}"));
                }
                assert!(place.hub.remove_topic(id, self.now), "a topic that is there");
                // A publish that waited for it may have made it anew.
                assert_ne!(place.hub.find_topic(name), Some(id), "removed, but found");
                place.declared.remove(name);
                place.awaited.remove(&id);
                place.old_topics.push(id);
            }
            there => {
                let options = draw::topic(&mut self.choices);
                let declared = place.hub.topic(name, options);
                assert!(there.is_none() || declared.is_err(), "{name} is declared twice");
                if let Ok(id) = declared {
                    place.declared.insert(name.into(), (id, options));
                    place.may_disconnect(&options);
                }
            }
        }
    }

    pub(super) fn application_closes(&mut self, side: usize) {
        let conns = self.sides[side].conns();
        if !conns.is_empty() {
            let conn = *self.choices.pick(&conns);
            let reason = *self.choices.pick(&["", "bye", "é"]);
            self.sides[side].hub.close(conn, wire::CloseCode::GOING_AWAY, reason, self.now);
        }
    }
}

impl Side {
    /// Where a message with this id was published, if the topic has to know.
    fn published_before(&self, topic: TopicId, id: &str) -> Option<Position> {
        self.publish_ids.get(&topic)?.iter().find(|(known, _)| known == id).map(|(_, position)| *position)
    }

    fn publishes(&mut self, topic: TopicId, id: String, position: Position) {
        if !id.is_empty() {
            let most = self.hub.topic_options(topic).expect("a topic").publish_ids_max as usize;
            let known = self.publish_ids.entry(topic).or_default();
            known.retain(|(other, _)| *other != id);
            known.push_back((id, position));
            known.drain(..known.len().saturating_sub(most));
        }
    }

    /// How many lanes a topic has, and how many of them may end when there is no room.
    fn lanes_of(&self, topic: TopicId) -> (usize, usize) {
        let lanes = self.hub.lanes(topic).map(|id| (id, self.hub.lane(id).expect("a lane of a topic")));
        let lanes: Vec<(LaneId, LanePressure)> = lanes.collect();
        let is_detached = |id: &LaneId, lane: &LanePressure| lane.conn.is_none() && !self.locals.contains_key(id);
        let known = self.lines.keys().filter(|conn| self.hub.find_lane(**conn, topic).is_some()).count()
            + self.locals.iter().filter(|(id, local)| local.topic == topic && self.hub.lane(**id).is_some()).count()
            + lanes.iter().filter(|(id, lane)| is_detached(id, lane)).count();
        assert_eq!(lanes.len(), known, "lanes of connections, readers and detached sessions that are there");
        // A connection that is closing counts as detached.
        let may_end = |(id, lane): &&(LaneId, LanePressure)| {
            check::may_end(lane)
                || is_detached(id, lane)
                || lane.conn.is_some_and(|conn| self.may_be_kept.contains(&conn))
        };
        (known, lanes.iter().filter(may_end).count())
    }
}
