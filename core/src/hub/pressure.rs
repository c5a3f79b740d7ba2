//! How full lanes, topics and connections are.

use core::time::Duration;

use super::Hub;
use crate::id::{ConnId, LaneId, TopicId};
use crate::output::Position;
use crate::stats::{ConnectionPressure, LanePressure, TopicPressure};
use crate::topics::Owner;

impl Hub {
    pub(super) fn lane_pressure(&self, lane: LaneId) -> Option<LanePressure> {
        let (topic, place) = self.topics.of_lane(lane)?;
        let topic = self.topics.slab.get(topic)?;
        let oldest = topic.oldest_at(place);
        let state = &topic.lanes[place];
        let conn = match topic.lanes[place].owner {
            Owner::Session(session) => self.sessions.get(session).map(|session| session.conn),
            Owner::Local => None,
        };
        Some(LanePressure {
            conn,
            policy: topic.lanes[place].policy,
            totals: topic.lane_totals(place),
            outstanding: state.window.outstanding(),
            messages_max: state.window.limits().messages_max,
            bytes_max: state.window.limits().bytes_max,
            age_max: state.age_max,
            oldest_age: oldest.map_or(Duration::ZERO, |at| self.now.since(at)),
        })
    }

    pub(super) fn pressure_of_topic(&self, topic: TopicId) -> Option<TopicPressure> {
        self.topics.get(topic).map(|topic| TopicPressure {
            is_declared: topic.is_declared,
            totals: topic.totals,
            head: Position { epoch: topic.epoch, seq: topic.head.messages },
            lanes: topic.live_lanes,
            parked: u32::try_from(topic.parked.len()).unwrap_or(u32::MAX),
            resident_bytes: topic.charged.log,
            log_bytes_max: topic.options.log_bytes_max,
        })
    }

    pub(super) fn pressure_of_conn(&self, conn: ConnId) -> Option<ConnectionPressure> {
        let conn = self.conns.get(conn)?;
        let lanes = self.sessions.get(conn.session).map_or(0, |session| session.lanes().len());
        Some(ConnectionPressure {
            inbound_bytes: conn.inbound.inbox_bytes + conn.inbound.undecoded.len() + conn.inbound.message.len(),
            reply_bytes: conn.outbound.reply_bytes(),
            outstanding_bytes: conn.outbound.outstanding_bytes(),
            kernel_bytes: conn.outbound.kernel_bytes,
            lanes: u32::try_from(lanes).unwrap_or(u32::MAX),
            is_blocked: conn.outbound.is_blocked,
            is_paused: !conn.wants_read(),
        })
    }
}
