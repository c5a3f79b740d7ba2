//! Sessions: whom lanes belong to.

use alloc::vec::Vec;

use crate::id::{ConnId, LaneId, TopicId};
use crate::watermark::ToldLevel;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    /// By topic.
    lanes: Vec<(TopicId, LaneId)>,
    /// Lanes with something waiting or a gap to tell.
    pub(crate) active: Vec<LaneId>,
    /// The highest of its lanes.
    pub(crate) level: ToldLevel,
    /// Listed among the hub's events.
    pub(crate) is_listed: bool,
}

impl Session {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self { conn, lanes: Vec::new(), active: Vec::new(), level: ToldLevel::default(), is_listed: false }
    }

    pub(crate) fn lane_on(&self, topic: TopicId) -> Option<LaneId> {
        let place = self.lanes.binary_search_by_key(&topic, |(topic, _)| *topic).ok()?;
        Some(self.lanes[place].1)
    }

    pub(crate) fn lanes(&self) -> &[(TopicId, LaneId)] {
        &self.lanes
    }

    pub(crate) fn add(&mut self, topic: TopicId, lane: LaneId) {
        let place = self.lanes.binary_search_by_key(&topic, |(topic, _)| *topic).expect_err("one lane per topic");
        self.lanes.insert(place, (topic, lane));
    }

    pub(crate) fn remove(&mut self, topic: TopicId) {
        let place = self.lanes.binary_search_by_key(&topic, |(topic, _)| *topic).expect("the lane is listed");
        let (_, lane) = self.lanes.remove(place);
        self.active.retain(|active| *active != lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn lanes_are_found_by_topic_like_in_a_map() {
        let conn = ConnId::from_bits(0);
        let mut session = Session::new(conn);
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seed = 3_u64;
        for lane in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let topic = (seed >> 40) % 50;
            if model.remove(&topic).is_some() {
                session.remove(TopicId::from_bits(topic));
            } else {
                session.add(TopicId::from_bits(topic), LaneId::from_bits(lane));
                session.active.push(LaneId::from_bits(lane));
                model.insert(topic, lane);
            }
            let lanes: Vec<(u64, u64)> =
                session.lanes().iter().map(|(topic, lane)| (topic.to_bits(), lane.to_bits())).collect();
            assert_eq!(lanes, model.clone().into_iter().collect::<Vec<_>>());
            let found = session.lane_on(TopicId::from_bits(topic)).map(LaneId::to_bits);
            assert_eq!(found, model.get(&topic).copied());
            assert_eq!(session.active.len(), model.len(), "a lane that goes is not active any more");
        }
    }
}
