//! How full lanes, topics and connections are.

use core::time::Duration;

use super::{Hub, News, TimerKey};
use crate::config::Options;
use crate::conn::{Conn, Inbound, Outbound};
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::output::Position;
use crate::stats::{ConnectionPressure, Count, LanePressure, Level, Load, SessionPressure, TopicPressure};
use crate::timers::TimerId;
use crate::topics::{Owner, Topic};
use crate::watermark::{Gauge, ToldLevel, fill, least};

/// How full the hub's memory is.
#[derive(Debug)]
pub(super) struct HubLevel {
    gauge: Gauge,
    told: ToldLevel,
    /// From here on it is high.
    high_bytes: usize,
    /// Something was shed, or refused for want of memory, since the gauge was read.
    pub(super) is_at_limit: bool,
    /// Listed among the hub's events.
    is_listed: bool,
    /// There once the level was to fall.
    timer: Option<TimerId>,
}

impl HubLevel {
    pub(super) fn new(options: &Options) -> Self {
        let high_bytes = least(options.resident_bytes_max as u64, options.watermarks.high());
        Self {
            gauge: Gauge::default(),
            told: ToldLevel::default(),
            high_bytes: usize::try_from(high_bytes).unwrap_or(usize::MAX),
            is_at_limit: false,
            is_listed: false,
            timer: None,
        }
    }

    pub(super) fn level(&self) -> Level {
        self.gauge.level()
    }

    pub(super) fn tell(&mut self) -> Option<Level> {
        self.is_listed = false;
        self.told.tell()
    }
}

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
        let conn = session.conn();
        if !core::mem::replace(&mut session.is_listed, true) {
            self.events.push_back(News::Session(id));
        }
        if let Some(conn) = conn {
            self.update_outbound_level(conn);
        }
    }

    /// The levels of a connection follow what waits.
    pub(super) fn update_conn_levels(&mut self, id: ConnId) {
        let conn = self.conns.get_mut(id).expect("the connection exists");
        if !conn.was_open() {
            return; // Nobody was told of it.
        }
        let outbound_before = conn.own_outbound_level();
        match &mut conn.work {
            Some(work) if !work.is_quiet() => work.update_gauges(&self.config, self.now),
            _ => return,
        }
        let is_outbound_changed = conn.own_outbound_level() != outbound_before;
        let level = conn.inbox_level();
        if conn.inbound_level.set(level) {
            self.stats.levels.inbound.enter(level);
            self.announce_conn(id);
        }
        if is_outbound_changed {
            self.update_outbound_level(id);
        }
    }

    pub(super) fn update_outbound_level(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| !conn.is_ended()) else { return };
        let session = self.sessions.get(conn.session).expect("a connection's session exists").level.level();
        let level = session.max(conn.own_outbound_level());
        if conn.outbound_level.set(level) {
            self.stats.levels.outbound.enter(level);
            self.announce_conn(id);
        }
    }

    /// The hub's level follows its memory, at the end of each call.
    pub(super) fn update_hub_level(&mut self) {
        let HubLevel { gauge, told, high_bytes, is_at_limit, is_listed, timer } = &mut self.level;
        if gauge.level() == Level::Nominal && !*is_at_limit && self.stats.resident_bytes < *high_bytes {
            return; // The usual case, without a division.
        }
        let marks = &self.config.watermarks;
        let fill = fill(self.stats.resident_bytes as u64, self.config.resident_bytes_max as u64);
        if gauge.update(fill, core::mem::take(is_at_limit), self.now, marks) {
            told.set(gauge.level());
            self.stats.levels.hub.enter(gauge.level());
            if !core::mem::replace(is_listed, true) {
                self.events.push_back(News::Hub);
            }
        }
        if let Some(at) = gauge.falls_at(fill, marks) {
            let timer = *timer.get_or_insert_with(|| self.timers.add(TimerKey::Hub));
            if self.timers.deadline(timer).is_none_or(|armed| at < armed) {
                self.timers.arm(timer, at);
            }
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
            Owner::Session(session) => self.sessions.get(session).and_then(|session| session.conn()),
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
            acks: topic.acking(place).map(|acking| acking.acks),
            credit: topic.gate(place).and_then(|gate| gate.credit),
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
            acks: topic.acks,
            history: topic.kept(),
        })
    }

    pub(super) fn pressure_of_session(&self, id: SessionId) -> Option<SessionPressure> {
        let session = self.sessions.get(id)?;
        let loads = session.lanes().iter().map(|(_, lane)| {
            let (topic, place) = self.topics.lane(*lane);
            self.load_of_lane(topic, place)
        });
        let lanes = u32::try_from(session.lanes().len()).unwrap_or(u32::MAX);
        let load = Load { level: session.level.level(), ..loads.fold(Load::default(), Load::with) };
        Some(SessionPressure { conn: session.conn(), lanes, load })
    }

    pub(super) fn pressure_of_conn(&self, id: ConnId) -> Option<ConnectionPressure> {
        let conn = self.conns.get(id)?;
        let (options, now): (&Options, _) = (&self.config, self.now);
        let inbound = conn.inbound().map_or_else(Load::default, |inbound| inbound.load(options, now));
        let session = self.pressure_of_session(conn.session);
        let (lanes, lanes_load) = session.map_or((0, Load::default()), |session| (session.lanes, session.load));
        let direct = conn.direct().map_or_else(Load::default, |direct| direct.load(options, now));
        let reply_fill = conn.outbound().map_or(0, |outbound| outbound.reply_fill(options));
        let outbound = lanes_load.with(direct).with(Load { fill: reply_fill, ..Load::default() });
        Some(ConnectionPressure {
            inbound: Load { level: conn.inbound_level.level(), ..inbound },
            outbound: Load { level: conn.outbound_level.level(), ..outbound },
            inbound_bytes: conn.inbound().map_or(0, Inbound::bytes),
            reply_bytes: conn.reply_bytes(),
            outstanding_bytes: match conn.plain {
                Some(plain) => self.topics.plain(plain).bytes,
                None => conn.outbound().map_or(0, Outbound::outstanding_bytes),
            },
            kernel_bytes: self.kernel_bytes.get(&id).copied().unwrap_or(0),
            lanes,
            is_blocked: conn.is_blocked,
            is_paused: !conn.wants_read(),
        })
    }
}

/// Levels recounted, for tests.
impl Hub {
    pub(super) fn check_conn_levels(&self, conn: &Conn) {
        if conn.is_ended() {
            return;
        }
        let session = self.sessions.get(conn.session).expect("a connection's session exists");
        let lanes = session.lanes().iter().map(|(_, lane)| self.level_of_lane(*lane)).max();
        assert_eq!(session.level.level(), lanes.unwrap_or_default(), "a session's level is the highest of its lanes");
        let is_right = !conn.was_open() || conn.work.as_ref().is_none_or(|work| work.has_right_gauges(&self.config));
        assert!(is_right, "gauges say what waits");
        assert_eq!(conn.inbound_level.level(), conn.inbox_level(), "the level of what came in");
        let outbound = session.level.level().max(conn.own_outbound_level());
        assert_eq!(conn.outbound_level.level(), outbound, "the level of what is to go out");
        let falls_at = conn.levels_fall_at(&self.config);
        let armed = self.timers.deadline(conn.timer);
        assert!(falls_at.is_none_or(|at| armed.is_some_and(|armed| armed <= at)), "levels are looked at in time");
        assert!(session.is_listed || !session.level.is_owed(), "a session's level is told");
        let is_owed = conn.inbound_level.is_owed() || conn.outbound_level.is_owed();
        assert!(conn.news.is_listed || !is_owed, "a connection's levels are told");
    }

    pub(super) fn check_hub_level(&self) {
        let HubLevel { gauge, told, is_at_limit, is_listed, timer, .. } = &self.level;
        let fill = fill(self.stats.resident_bytes as u64, self.config.resident_bytes_max as u64);
        assert!(!gauge.rises(fill, &self.config.watermarks) && !is_at_limit, "the hub's level is no lower");
        assert_eq!(told.level(), gauge.level(), "the hub's level");
        assert!(*is_listed || !told.is_owed(), "the hub's level is told");
        let armed = timer.and_then(|timer| self.timers.deadline(timer));
        let falls_at = gauge.falls_at(fill, &self.config.watermarks);
        assert!(
            falls_at.is_none_or(|at| armed.is_some_and(|armed| armed <= at)),
            "the hub's level is looked at in time"
        );
    }
}
