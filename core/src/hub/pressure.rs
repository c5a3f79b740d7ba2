//! How full lanes, topics and connections are.

use core::time::Duration;

use super::{Hub, News};
use crate::conn::{Inbound, Outbound};
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::output::Position;
use crate::stats::{ConnectionPressure, Count, LanePressure, Level, Load, SessionPressure, TopicPressure};
use crate::topics::{Owner, Topic};

impl Hub {
    /// The level of a lane that exists: `Nominal` once it has ended.
    pub(super) fn level_of_lane(&self, lane: LaneId) -> Level {
        let (topic, place) = self.topics.lane(lane);
        topic.level_of(place)
    }

    /// A lane's level is not what it was; or it was not `Nominal`, and the lane has ended.
    pub(super) fn lane_level_changed(&mut self, lane: LaneId) {
        let (topic, place) = self.topics.lane(lane);
        let Owner::Session(id) = topic.lanes[place].owner(&self.sessions) else { return };
        let Some(session) = self.sessions.get(id) else { return };
        let levels = session.lanes().iter().map(|(_, lane)| self.level_of_lane(*lane));
        let level = levels.max().unwrap_or_default();
        let session = self.sessions.get_mut(id).expect("just looked up");
        if !session.level.set(level) {
            return;
        }
        self.stats.levels.sessions.enter(level);
        let conn = session.conn;
        if !core::mem::replace(&mut session.is_listed, true) {
            self.events.push_back(News::Session(id));
        }
        self.update_outbound_level(conn);
    }

    /// The level of what is to go to a connection: the highest of its session, its direct lane and its replies.
    fn update_outbound_level(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| !conn.is_ended()) else { return };
        let level = self.sessions.get(conn.session).expect("a connection's session exists").level.level();
        if conn.outbound_level.set(level) {
            self.stats.levels.outbound.enter(level);
            self.announce_conn(id);
        }
    }

    fn load_of_lane(&self, topic: &Topic, place: usize) -> Load {
        let waiting = topic.lane_totals(place).waiting;
        let oldest_age = topic.oldest_at(place).map_or(Duration::ZERO, |at| self.now.since(at));
        let (fill, level) = (topic.fill_with(place, Count::default()), topic.level_of(place));
        Load { waiting, largest: waiting, oldest_age, fill, level }
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
            level: topic.level.level(),
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
            inbound_bytes: conn.inbound().map_or(0, Inbound::bytes),
            reply_bytes: conn.reply_bytes(),
            outstanding_bytes: conn.outbound().map_or(0, Outbound::outstanding_bytes),
            kernel_bytes: conn.kernel_bytes,
            lanes: u32::try_from(lanes).unwrap_or(u32::MAX),
            is_blocked: conn.is_blocked,
            is_paused: !conn.wants_read(),
        })
    }
}
