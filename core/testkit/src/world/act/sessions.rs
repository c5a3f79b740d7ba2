//! Sessions are kept, taken over, and given to somebody.

use std::collections::BTreeMap;

use forebay_core::{ConnId, LaneId, ResumeError, TopicId};

use super::super::draw::TOPICS;
use super::super::guest::{Guest, Stood};
use super::super::{Speaker, World};
use crate::mini::{Place, Sub};

impl World {
    pub(super) fn guest_keeps(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let ttl = self.choices.one_in(2).then(|| self.choices.below(20_000));
        let guest = self.guests.get_mut(&name).expect("a guest");
        self.sides[guest.side].may_be_kept.insert(guest.conn);
        guest.client.keep(ttl);
    }

    /// Somebody asks for the session of somebody who has left, or is still there.
    pub(super) fn guest_resumes(&mut self) {
        let Some(name) = self.some_guest(false) else { return };
        let side = self.guests[&name].side;
        let book = |guest: &Guest| {
            let reader = guest.client.reader.as_ref().filter(|_| guest.side == side)?;
            Some((reader.session.clone()?, reader.settled_subs()))
        };
        let there: Vec<(String, BTreeMap<String, Sub>)> = self.guests.values().filter_map(book).collect();
        let left = &self.sides[side].left;
        let (session, subs) = match self.choices.below(4) {
            0 if !there.is_empty() => self.choices.pick(&there).clone(),
            _ if !left.is_empty() => self.choices.pick(left).clone(),
            _ => return,
        };
        let is_first = self.sides[side].asked_for.insert(session.clone());
        let mut asked = BTreeMap::new();
        let mut places = Vec::new();
        for (topic, sub) in &subs {
            let is_placed = self.choices.one_in(2);
            let is_exact = is_placed && !sub.is_keyed();
            // What is at least once goes on with what is unacknowledged, wherever that is; a lane that has sent nothing may
            // owe a gap before where it started.
            let has_begun = sub.received > 0 || is_exact;
            if is_first && has_begun && sub.in_flight_max.is_none() {
                asked.insert(topic.clone(), Stood { epoch: sub.epoch.clone(), last: sub.last, is_exact });
            }
            let position = Some((sub.epoch.as_str(), sub.last));
            places.extend(is_placed.then_some(Place { topic, position, credit: None }));
        }
        let guest = self.guests.get_mut(&name).expect("a guest");
        self.sides[side].may_be_kept.insert(guest.conn);
        guest.client.resume(&session, &places);
        guest.asked.push_back(asked);
    }

    /// The application says who somebody is, or handles the session of a raw connection.
    pub(super) fn application_handles_sessions(&mut self, side: usize) {
        let principal = *self.choices.pick(&["", "", "a", "b"]);
        let what = self.choices.below(4);
        let conns = self.sides[side].conns();
        let is_raw = |conn: &&ConnId| matches!(self.sides[side].lines[*conn].speaker, Speaker::Raw(_));
        let raw: Vec<ConnId> = conns.iter().filter(is_raw).copied().collect();
        let from = if what == 0 { &conns } else { &raw };
        if from.is_empty() {
            return;
        }
        let conn = *self.choices.pick(from);
        let place = &mut self.sides[side];
        match what {
            0 => drop(place.hub.authenticate(conn, principal)),
            1 => {
                if let Ok(token) = place.hub.keep_session(conn, None) {
                    place.may_be_kept.insert(conn);
                    place.tokens.push(token);
                }
            }
            _ if !place.tokens.is_empty() => {
                let token = *self.choices.pick(&place.tokens);
                let before = place.hub.stats().resumed;
                match place.hub.resume(conn, token, &[], self.now) {
                    Ok(session) => {
                        place.may_be_kept.insert(conn);
                        assert_eq!(place.hub.session(session).and_then(|session| session.conn), Some(conn));
                        assert_eq!(place.hub.stats().resumed, before + 1);
                        let lanes: Vec<LaneId> = place.lanes_on(conn);
                        place.raw_lanes.extend(lanes);
                    }
                    Err(ResumeError::ClientRole) => panic!("a raw connection of a guest"),
                    Err(_) => assert_eq!(place.hub.stats().resumed, before),
                }
            }
            _ => {}
        }
    }
}

impl super::super::Side {
    fn lanes_on(&self, conn: ConnId) -> Vec<LaneId> {
        let topics: Vec<TopicId> = TOPICS.iter().filter_map(|name| self.hub.find_topic(name)).collect();
        topics.into_iter().filter_map(|topic| self.hub.find_lane(conn, topic)).collect()
    }
}
