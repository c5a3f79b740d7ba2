//! A. Getters: nouns, which change nothing.

use super::Hub;
use crate::config::TopicOptions;
use crate::conn::Conn;
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::stats::{ConnectionPressure, LanePressure, Load, Pressure, SessionPressure, Stats, TopicPressure};
use crate::watermark::fill;
use crate::wire::deflate::Agreed;

impl Hub {
    /// Whether the connection is to be read. Changes with [`Effect::PauseRead`](crate::Effect::PauseRead) and
    /// [`Effect::ResumeRead`](crate::Effect::ResumeRead), or earlier; a pause
    /// that begins and ends between two polls is told by neither. So ask before each read, or go by the effects, or ask
    /// when everything was polled: an answer from between two polls is not to be remembered.
    #[must_use]
    pub fn wants_read(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(Conn::wants_read)
    }

    /// Connections that are there, those included whose end was not polled yet.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// The subprotocol that was chosen.
    #[must_use]
    pub fn protocol(&self, conn: ConnId) -> Option<&str> {
        self.conns.get(conn)?.protocol()
    }

    /// Whom the connection belongs to, as [`authenticate`](Self::authenticate) or a [`Verdict`](crate::Verdict) said. `None`:
    /// nobody said.
    #[must_use]
    pub fn principal(&self, conn: ConnId) -> Option<&str> {
        let principal = self.sessions.get(self.conns.get(conn)?.session)?.principal();
        (!principal.is_empty()).then_some(principal)
    }

    /// What compression was agreed with the peer (RFC 7692): what either side may send compressed, and how.
    #[must_use]
    pub fn agreed(&self, conn: ConnId) -> Option<Agreed> {
        self.conns.get(conn)?.agreed
    }

    /// The topic of that name, if it is there.
    #[must_use]
    pub fn find_topic(&self, name: &str) -> Option<TopicId> {
        self.topics.by_name.get(name).copied()
    }

    /// The lane of a connection's session on a topic.
    #[must_use]
    pub fn find_lane(&self, conn: ConnId, topic: TopicId) -> Option<LaneId> {
        self.sessions.get(self.conns.get(conn)?.session)?.lane_on(topic)
    }

    /// The hub's pressure.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let mut waiting = self.stats.lanes.waiting;
        waiting += self.stats.direct.waiting;
        Pressure {
            waiting,
            resident_bytes: self.stats.resident_bytes,
            resident_bytes_max: self.config.resident_bytes_max,
            fill: fill(self.stats.resident_bytes as u64, self.config.resident_bytes_max as u64),
            level: self.level.level(),
        }
    }

    /// A lane's pressure. A lane that ended is there until what is outstanding of it is settled.
    #[must_use]
    pub fn lane(&self, lane: LaneId) -> Option<LanePressure> {
        self.lane_pressure(lane)
    }

    /// A topic's pressure.
    #[must_use]
    pub fn topic_pressure(&self, topic: TopicId) -> Option<TopicPressure> {
        self.pressure_of_topic(topic)
    }

    /// What waits in a topic's lanes, with the highest fill and level of all of them. It looks at each lane.
    #[must_use]
    pub fn topic_load(&self, topic: TopicId) -> Option<Load> {
        self.topics.get(topic).map(|topic| self.load_of_topic(topic))
    }

    /// A session's pressure.
    #[must_use]
    pub fn session(&self, session: SessionId) -> Option<SessionPressure> {
        self.pressure_of_session(session)
    }

    /// All topics by name, declared or not.
    pub fn topics(&self) -> impl Iterator<Item = (&str, TopicId)> {
        self.topics.by_name.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// What a topic was made with.
    #[must_use]
    pub fn topic_options(&self, topic: TopicId) -> Option<&TopicOptions> {
        self.topics.get(topic).map(|topic| &topic.options)
    }

    /// The lanes of a topic.
    pub fn lanes(&self, topic: TopicId) -> impl Iterator<Item = LaneId> {
        let lanes = self.topics.get(topic).into_iter().flat_map(|topic| &topic.lanes);
        lanes.filter(|lane| !lane.is_ended()).map(|lane| self.topics.id(lane))
    }

    /// A connection's pressure.
    #[must_use]
    pub fn connection(&self, conn: ConnId) -> Option<ConnectionPressure> {
        self.pressure_of_conn(conn)
    }

    /// The hub's numbers.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Recounts everything and panics where the ledger disagrees. For tests: it looks at everything there is.
    pub fn check_invariants(&self) {
        self.check();
    }
}
