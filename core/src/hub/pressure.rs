//! How full lanes, topics and connections are.

use core::time::Duration;

use super::Hub;
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::output::Position;
use crate::stats::{ConnectionPressure, LanePressure, Level, Load, SessionPressure, TopicPressure};
use crate::topics::{Owner, Topic};

impl Hub {
    fn load_of_lane(&self, topic: &Topic, place: usize) -> Load {
        let waiting = topic.lane_totals(place).waiting;
        let oldest_age = topic.oldest_at(place).map_or(Duration::ZERO, |at| self.now.since(at));
        Load { waiting, largest: waiting, oldest_age, ..Load::default() }
    }

    pub(super) fn load_of_topic(&self, topic: &Topic) -> Load {
        (0..topic.lanes.len()).map(|place| self.load_of_lane(topic, place)).fold(Load::default(), Load::with)
    }

    pub(super) fn lane_pressure(&self, lane: LaneId) -> Option<LanePressure> {
        let (topic, place) = self.topics.of_lane(lane)?;
        let topic = self.topics.slab.get(topic)?;
        let (state, settings) = (&topic.lanes[place], topic.settings(place));
        let conn = match state.owner(&self.sessions) {
            Owner::Session(session) => self.sessions.get(session).map(|session| session.conn),
            Owner::Local => None,
        };
        Some(LanePressure {
            conn,
            policy: settings.terms.policy,
            totals: topic.lane_totals(place),
            outstanding: state.window.outstanding(),
            messages_max: settings.terms.limits.messages_max,
            bytes_max: settings.terms.limits.bytes_max,
            age_max: settings.age_max,
            load: self.load_of_lane(topic, place),
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
            level: Level::Nominal,
        })
    }

    pub(super) fn pressure_of_session(&self, id: SessionId) -> Option<SessionPressure> {
        let session = self.sessions.get(id)?;
        let loads = session.lanes().iter().map(|(_, lane)| {
            let (topic, place) = self.topics.lane(*lane);
            self.load_of_lane(topic, place)
        });
        let lanes = u32::try_from(session.lanes().len()).unwrap_or(u32::MAX);
        Some(SessionPressure { conn: session.conn, lanes, load: loads.fold(Load::default(), Load::with) })
    }

    pub(super) fn pressure_of_conn(&self, conn: ConnId) -> Option<ConnectionPressure> {
        let conn = self.conns.get(conn)?;
        let lanes = self.sessions.get(conn.session).map_or(0, |session| session.lanes().len());
        Some(ConnectionPressure {
            inbound: Load::default(),
            outbound: Load::default(),
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
