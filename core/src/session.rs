//! Sessions: whom lanes belong to.

use alloc::vec::Vec;

use crate::id::{ConnId, LaneId, TopicId};

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    /// By topic.
    lanes: Vec<(TopicId, LaneId)>,
    /// Lanes with something waiting or a gap to tell.
    pub(crate) active: Vec<LaneId>,
}

impl Session {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self { conn, lanes: Vec::new(), active: Vec::new() }
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
