//! Everything a hub says of itself, and what it must say.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_core::{Count, Instant, LaneId, Load, TopicId, Totals};

use super::{Side, same};
use crate::model::reference::{Counters, LaneKey, Phase, TopicKey, Verdict, count};

/// A lane without an `age_max` may say that its oldest message is as old as the first of its tick.
const AGES_ARE_OF_TICKS: bool = true;

const UNNAMED: u64 = u64::MAX;

/// Entered less sent, waiting and lost.
fn check_law(what: &str, totals: &Totals) -> Verdict {
    let mut out = totals.sent;
    out += totals.waiting;
    totals.lost.iter().for_each(|lost| out += *lost);
    same(what, totals.entered, out)
}

impl Side {
    /// Ages are compared for themselves.
    fn same_load(&self, what: &str, hub: Load, model: Load) -> Verdict {
        same(what, Load { oldest_age: model.oldest_age, ..hub }, model)
    }

    /// A topic that was made has an id that no other has.
    pub(super) fn name_topic(&mut self, key: TopicKey, id: TopicId) -> Verdict {
        if self.model.topics.values().any(|topic| topic.id == id) {
            return Err(format!("{id:?} is named twice"));
        }
        self.model.topics.get_mut(&key).expect("a topic").id = id;
        let epoch = self.hub.topic_pressure(id).ok_or("a topic without numbers")?.head.epoch;
        self.check_epoch(key, epoch)
    }

    pub(super) fn check_epoch(&mut self, key: TopicKey, epoch: u64) -> Verdict {
        let others = self.model.topics.iter().any(|(other, topic)| *other != key && topic.epoch == Some(epoch));
        let Some(topic) = self.model.topics.get_mut(&key) else { return Ok(()) };
        if others || *topic.epoch.get_or_insert(epoch) != epoch {
            return Err(format!("epoch {epoch} of {:?}, whose is {:?}", topic.name, topic.epoch));
        }
        Ok(())
    }

    /// Topics and lanes that clients have made get their names.
    fn name_new(&mut self) -> Verdict {
        let unnamed: Vec<TopicKey> =
            self.model.topics.iter().filter(|(_, topic)| topic.id.to_bits() == UNNAMED).map(|(key, _)| *key).collect();
        for key in unnamed {
            let name = self.model.topics[&key].name.clone();
            let Some(id) = self.hub.find_topic(&name) else { return Err(format!("there is no topic {name:?}")) };
            self.name_topic(key, id)?;
        }
        for lane in self.model.lanes.values_mut().filter(|lane| lane.id.is_none() && lane.ended.is_none()) {
            let session = lane.owner.session().and_then(|session| self.model.sessions.get(&session));
            let Some(conn) = session.and_then(|session| session.conn) else { continue };
            let topic = self.model.topics[&lane.topic].id;
            lane.id = self.hub.find_lane(conn, topic);
            if lane.id.is_none() {
                return Err(format!("{conn:?} has no lane on {topic:?}"));
            }
        }
        Ok(())
    }

    /// After every call: the hub's numbers.
    pub(super) fn compare_numbers(&mut self) -> Verdict {
        self.name_new()?;
        self.shed()?;
        self.shed_histories()?;
        self.compare_bounds()?;
        let stats = *self.hub.stats();
        let (lanes, direct) = (self.model.totals(), self.model.direct_totals());
        same("all lanes", stats.lanes, lanes)?;
        same("all direct lanes", stats.direct, direct)?;
        let counters = Counters {
            published: stats.published,
            refused_full: stats.refused_full,
            refused_too_large: stats.refused_too_large,
            refused_overloaded: stats.refused_overloaded,
            refused_volatile: stats.refused_volatile,
            parked: stats.parked,
            received: stats.received,
            accepted: stats.accepted,
            opened: stats.opened,
            closed: stats.closed,
            gaps_sent: stats.gaps_sent,
            stale_inputs: stats.stale_inputs,
            refused_limited: stats.refused_limited,
            duplicates: stats.duplicates,
            unknown_acks: stats.unknown_acks,
            resumed: stats.resumed,
        };
        same("counters", counters, self.model.counters)?;
        self.compare_acks()?;
        same("detached", stats.detached as usize, self.model.detached())?;
        let hub = &self.hub;
        if !self.is_tight {
            self.model.settle_levels(stats.levels, |lane| hub.lane(lane).map(|lane| lane.load.level))?;
            let (levels, expected) = (stats.levels, self.model.levels());
            same("levels of lanes", levels.lanes, expected.lanes)?;
            same("levels of sessions", levels.sessions, expected.sessions)?;
            same("levels of topics", levels.topics, expected.topics)?;
        }
        let lanes_now = self.model.lanes.values().filter(|lane| lane.ended.is_none()).count();
        same("topics there are", self.hub.topics().count(), self.model.topics.len())?;

        same("lanes now", stats.lanes_now, u32::try_from(lanes_now).expect("few"))?;
        check_law("the law over lanes", &lanes)?;
        check_law("the law over direct lanes", &direct)
    }

    /// Once in a while: everything.
    pub(super) fn compare_state(&self) -> Verdict {
        self.hub.check_invariants();
        let pressure = self.hub.pressure();
        let mut waiting = self.model.totals().waiting;
        waiting += self.model.direct_totals().waiting;
        same("pressure", pressure.waiting, waiting)?;
        if pressure.resident_bytes > pressure.resident_bytes_max {
            return Err(format!("{pressure:?}"));
        }
        same("connections", self.hub.connections(), self.model.conns.len())?;
        let names: BTreeSet<(&str, TopicId)> = self.hub.topics().collect();
        let expected = self.model.topics.values().map(|topic| (&*topic.name, topic.id)).collect();
        same("topics", names, expected)?;
        for key in self.model.topics.keys() {
            self.compare_topic(*key)?;
        }
        for key in self.model.lanes.keys() {
            self.compare_lane(*key)?;
        }
        self.model.conns.keys().try_for_each(|conn| self.compare_conn(*conn))
    }

    fn compare_topic(&self, key: TopicKey) -> Verdict {
        let topic = &self.model.topics[&key];
        let Some(pressure) = self.hub.topic_pressure(topic.id) else { return Err(format!("no {:?}", topic.id)) };
        let totals = self.model.topic_totals(key);
        same("a topic's totals", pressure.totals, totals)?;
        check_law("the law of a topic", &totals)?;
        same("declared", pressure.is_declared, topic.is_declared)?;
        same("head", pressure.head.seq, topic.head)?;
        same("lanes", pressure.lanes as usize, topic.lanes.len())?;
        same("parked", pressure.parked as usize, topic.parked.len())?;
        same("options", self.hub.topic_options(topic.id), Some(&topic.options))?;
        let (most, least) = self.model.history_of(key);
        if !(least.messages..=most.messages).contains(&pressure.history.messages)
            || !(least.bytes..=most.bytes).contains(&pressure.history.bytes)
        {
            return Err(format!("{:?} keeps {:?}, not {least:?} to {most:?}", topic.name, pressure.history));
        }
        same("position", Some(pressure.head.epoch), topic.epoch)?;
        same("log bound", pressure.log_bytes_max, topic.options.log_bytes_max)?;
        if !self.is_tight {
            same("level of a topic", pressure.level, topic.mark.level)?;
        }
        let load = self.hub.topic_load(topic.id).ok_or("no load")?;
        if !self.is_tight {
            self.same_load("load of a topic", load, self.model.load_of_topic(key))?;
        }
        let lanes: BTreeSet<LaneId> = self.hub.lanes(topic.id).collect();
        let expected = topic.lanes.iter().filter_map(|lane| self.model.lanes[lane].id).collect();
        same("a topic's lanes", lanes, expected)
    }

    fn compare_lane(&self, key: LaneKey) -> Verdict {
        let lane = &self.model.lanes[&key];
        let Some(id) = lane.id else { return Ok(()) };
        let Some(pressure) = self.hub.lane(id) else { return Err(format!("no {id:?}")) };
        let totals = lane.totals();
        same("a lane's totals", pressure.totals, totals)?;
        check_law("the law of a lane", &totals)?;
        same("outstanding", pressure.outstanding, count(&lane.out))?;
        same("policy", pressure.policy, lane.policy)?;
        same("messages_max", u64::from(pressure.messages_max), lane.messages_max)?;
        same("bytes_max", pressure.bytes_max, lane.bytes_max)?;
        same("age_max", pressure.age_max, lane.age_max.map(Duration::from_nanos))?;
        let oldest = lane.waiting.iter().map(|message| message.at).min();
        let age = oldest.map_or(0, |at| self.model.now.saturating_sub(at));
        let age = Duration::from_nanos(age);
        // Of the messages between two polls one has the time of all, unless ages are limited.
        if !AGES_ARE_OF_TICKS || lane.age_max.is_some() || pressure.load.oldest_age < age {
            same("age of the oldest", pressure.load.oldest_age, age)?;
        }
        if lane.ended.is_none() && !self.is_tight {
            self.same_load("load of a lane", pressure.load, lane.as_load(self.model.now))?;
        }
        let load = if lane.ended.is_some() { Count::default() } else { count(&lane.waiting) };
        if load.messages > lane.messages_max || load.bytes > lane.bytes_max {
            return Err(format!("{id:?} is over its limits: {load:?}"));
        }
        same("credit", pressure.credit, lane.credit)?;
        let session = lane.owner.session().and_then(|session| self.model.sessions.get(&session));
        // Of one that has ended, and whose session goes on elsewhere, it may be either.
        let conn = session.and_then(|session| session.conn);
        if lane.ended.is_none() { same("whose lane", pressure.conn, conn) } else { Ok(()) }
    }

    fn compare_conn(&self, id: forebay_core::ConnId) -> Verdict {
        let conn = &self.model.conns[&id];
        if conn.phase != Phase::Open {
            return Ok(());
        }
        let Some(pressure) = self.hub.connection(id) else { return Err(format!("no {id:?}")) };
        same("lanes of a session", pressure.lanes as usize, self.model.lanes_of(id).len())?;
        same("blocked", pressure.is_blocked, conn.is_blocked)?;
        same("kernel", pressure.kernel_bytes, conn.kernel_bytes)?;
        same("inbound", pressure.inbound_bytes, conn.inbound_bytes(self.model.is_too_fast(id)))?;
        same("outstanding", pressure.outstanding_bytes, conn.outstanding_bytes())?;
        same("wants_read", self.hub.wants_read(id), self.model.wants_read(id))
    }

    /// After everything was polled the hub wakes no later than something must happen.
    pub(super) fn compare_deadline(&self, hub: Option<u64>) -> Verdict {
        // This number may follow only at the next `poll_transmit`.
        same(
            "topics now",
            self.hub.stats().topics as usize,
            self.model.topics.len() + self.model.removed_topics.len(),
        )?;
        match self.model.next_deadline() {
            Some(due) if hub.is_none_or(|at| at > due) => {
                let hub = hub.map(Instant::from_nanos);
                Err(format!("the hub sleeps until {hub:?}, but something is due at {:?}", Instant::from_nanos(due)))
            }
            _ => Ok(()),
        }
    }
}
