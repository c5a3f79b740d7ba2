//! Levels: of each lane with hysteresis and a dwell, and what follows from them for sessions and topics.

use std::time::Duration;

use forebay_core::{Count, LaneId, Level, Levels, Load, Policy, Scope, Transitions, Watermarks};

use super::clock::nanos;
use super::{Lane, LaneKey, Owner, Reference, SessionKey, TopicKey, Verdict};

/// A level, and since when it is held: since it was entered, or the limit was last reached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) level: Level,
    since: u64,
    /// Since when at most: a publish that is parked may have been tried, and refused, once more.
    latest: u64,
    /// It fell in a call in which other things were due, in an order that is nobody's promise.
    is_loose: bool,
    /// What it is if it fell in this call, where it might have.
    fallen: Option<Level>,
    /// As it was told.
    pub(crate) told: Level,
}

/// How much of two limits is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) load: Count,
    pub(super) messages_max: u64,
    pub(super) bytes_max: u64,
}

impl Fill {
    /// Whether one of the limits is used to so many percent, or more: of thousandths, as they are told.
    fn is_high(self, percent: u64) -> bool {
        u64::from(self.thousandths()) >= percent * 10
    }

    /// Whether both limits are used to so many percent, or less.
    pub(super) fn is_low(self, percent: u64) -> bool {
        self.load.messages * 100 <= percent * self.messages_max && self.load.bytes * 100 <= percent * self.bytes_max
    }

    /// In thousandths of the tightest limit, rounded up.
    fn thousandths(self) -> u32 {
        let of = |used: u64, most: u64| u32::try_from((used * 1_000).div_ceil(most)).unwrap_or(u32::MAX);
        of(self.load.messages, self.messages_max).max(of(self.load.bytes, self.bytes_max))
    }
}

/// Lanes whose levels changed in a call. Where there are several of a session, or of a topic, what that was meanwhile
/// depends on their order, which is nobody's promise.
#[derive(Debug, Default)]
pub(super) struct Changes {
    lanes: Vec<(LaneKey, Owner, TopicKey)>,
    sessions_open: bool,
    topics_open: bool,
}

impl Mark {
    /// Where it belongs, however long it was held.
    fn target(self, fill: Fill, marks: Watermarks) -> Level {
        let is_high = fill.is_high(marks.high_percent.into());
        match self.level {
            _ if fill.is_low(marks.low_percent.into()) => Level::Nominal,
            Level::Critical if !is_high => Level::High,
            Level::Nominal if is_high => Level::High,
            level => level,
        }
    }

    /// When it may fall, if nothing changes.
    fn due(self, fill: Fill, marks: Watermarks) -> Option<u64> {
        (self.target(fill, marks) < self.level).then(|| self.since.saturating_add(nanos(marks.dwell)))
    }

    fn set(&mut self, level: Level, now: u64) {
        (self.level, self.since, self.latest) = (level, now, now);
    }

    /// When it must have fallen, if nothing changes.
    fn due_at_last(self, fill: Fill, marks: Watermarks) -> Option<u64> {
        Mark { since: self.latest.max(self.since), ..self }.due(fill, marks)
    }

    fn is_overdue(self, fill: Fill, marks: Watermarks, now: u64) -> bool {
        self.due(fill, marks).is_some_and(|due| due <= now)
    }

    /// Rises; whether it did.
    fn rise(&mut self, fill: Fill, is_reached: bool, marks: Watermarks, now: u64) -> bool {
        let before = self.level;
        if self.is_overdue(fill, marks, now) {
            let fallen = self.target(fill, marks);
            self.fallen = Some(self.fallen.map_or(fallen, |known| known.min(fallen)));
        }
        let from_fallen = self.fallen.map(|level| Mark { level, ..*self }.target(fill, marks).max(level));
        self.fallen = if is_reached { self.fallen.map(|_| Level::Critical) } else { from_fallen };
        if is_reached {
            self.set(Level::Critical, now);
        } else if self.target(fill, marks) > before {
            self.set(self.target(fill, marks), now);
        }
        self.level != before
    }
}

fn note(transitions: &mut Transitions, level: Level) {
    match level {
        Level::Nominal => transitions.nominal += 1,
        Level::High => transitions.high += 1,
        Level::Critical => transitions.critical += 1,
    }
}

impl Lane {
    pub(super) fn fill(&self) -> Fill {
        Fill { load: self.load(), messages_max: self.messages_max, bytes_max: self.bytes_max }
    }

    /// A lane of the latest messages cannot be full.
    fn has_level(&self) -> bool {
        self.ended.is_none() && !matches!(self.policy, Policy::LatestPerKey | Policy::LatestOnly)
    }

    /// What waits, at this time. Of ages the specification leaves open how exact they are.
    pub(crate) fn as_load(&self, now: u64) -> Load {
        let oldest = self.waiting.iter().map(|message| message.at).min();
        Load {
            waiting: self.all_waiting(),
            largest: self.all_waiting(),
            oldest_age: Duration::from_nanos(oldest.map_or(0, |at| now.saturating_sub(at))),
            fill: self.fill().thousandths(),
            level: self.mark.level,
        }
    }
}

impl super::Topic {
    /// Whether its sources are to pause.
    pub(crate) fn is_braked(&self) -> bool {
        self.mark.level != Level::Nominal
    }
}

impl Reference {
    /// What counts in a lane changed, or a message did not fit.
    pub(super) fn touch(&mut self, key: LaneKey, is_reached: bool) {
        match self.touched.iter_mut().find(|(other, _)| *other == key) {
            Some((_, known)) => *known |= is_reached,
            None => self.touched.push((key, is_reached)),
        }
    }

    /// Looks at the lanes that were touched.
    pub(super) fn look_at_touched(&mut self) {
        for (key, is_reached) in std::mem::take(&mut self.touched) {
            self.look_at(key, is_reached);
        }
    }

    /// What was outstanding is gone, and some of it returns: between the two a level may fall.
    pub(super) fn may_fall_meanwhile(&mut self, key: LaneKey) {
        let (marks, now) = (self.options.watermarks, self.now);
        let lane = self.lane(key);
        if lane.has_level() && lane.mark.is_overdue(lane.fill(), marks, now) {
            let fallen = lane.mark.target(lane.fill(), marks);
            lane.mark.fallen = Some(lane.mark.fallen.map_or(fallen, |known| known.min(fallen)));
            self.is_open = true;
        }
    }

    fn look_at(&mut self, key: LaneKey, is_reached: bool) {
        let (marks, now) = (self.options.watermarks, self.now);
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.has_level()) else { return };
        let fill = lane.fill();
        let has_changed = lane.mark.rise(fill, is_reached, marks, now);
        self.is_open |= lane.mark.fallen.is_some();
        if has_changed {
            self.changed(key);
        }
    }

    fn changed(&mut self, key: LaneKey) {
        let lane = &self.lanes[&key];
        let (level, owner, topic) = (lane.mark.level, lane.owner, lane.topic);
        note(&mut self.transitions.lanes, level);
        self.look_above(key, owner, topic);
    }

    /// A level that was held long enough falls when somebody looks, at the latest when time is said to have passed. Until
    /// then it may be what the hub says, and the hub may count it as it likes.
    pub(crate) fn settle_levels(&mut self, hub: Levels, level_of: impl Fn(LaneId) -> Option<Level>) -> Verdict {
        let (marks, now) = (self.options.watermarks, self.now);
        let is_open = |lane: &Lane| {
            let is_overdue = lane.mark.is_overdue(lane.fill(), marks, now);
            lane.has_level() && (lane.mark.fallen.is_some() || lane.mark.is_loose || is_overdue)
        };
        let keys: Vec<LaneKey> = self.lanes.iter().filter(|(_, lane)| is_open(lane)).map(|(key, _)| *key).collect();
        self.is_open |= !keys.is_empty();
        for key in keys {
            let lane = self.lane(key);
            let level = lane.id.and_then(&level_of).ok_or("a lane without a level")?;
            let mark = lane.mark;
            let target =
                if mark.is_overdue(lane.fill(), marks, now) { mark.target(lane.fill(), marks) } else { mark.level };
            let mut range = mark.fallen.map_or(target, |fallen| fallen.min(target))..=mark.level;
            if mark.is_loose {
                // A lane that starts with something may never have been tried.
                let least = Mark { level: Level::High, ..mark }.target(lane.fill(), marks).min(*range.start());
                range = least..=Level::Critical;
            }
            if !range.contains(&level) {
                return Err(format!("{:?} is {level:?}, not within {range:?}", lane.id));
            }
            (lane.mark.fallen, lane.mark.is_loose) = (None, false);
            if mark.fallen.is_some() || mark.is_loose {
                // It may have fallen and risen again.
                lane.mark.latest = now;
            }
            if level != mark.level {
                lane.mark.set(level, now);
                self.changed(key);
            }
            let lane = self.lane(key);
            if level == mark.level && lane.mark.is_overdue(lane.fill(), marks, now) {
                // In the midst of the next call, too.
                lane.mark.fallen = Some(target);
            }
        }
        let (changes, known) = (std::mem::take(&mut self.changes), &mut self.transitions);
        let is_open = std::mem::take(&mut self.is_open);
        if is_open {
            known.lanes = hub.lanes;
        }
        if is_open || changes.sessions_open {
            known.sessions = hub.sessions;
        }
        if is_open || changes.topics_open {
            known.topics = hub.topics;
        }
        Ok(())
    }

    /// The levels that follow from those of lanes.
    pub(super) fn look_above(&mut self, key: LaneKey, owner: Owner, topic: TopicKey) {
        let changes = &mut self.changes;
        changes.sessions_open |= changes.lanes.iter().any(|(lane, other, _)| *lane != key && *other == owner);
        changes.topics_open |= changes.lanes.iter().any(|(lane, _, other)| *lane != key && *other == topic);
        changes.lanes.push((key, owner, topic));
        if let Owner::Session(session) = owner {
            self.look_at_session(session);
        }
        let lanes = &self.lanes;
        let Some(state) = self.topics.get_mut(&topic) else { return };
        let braking = state.lanes.iter().map(|key| &lanes[key]).filter(|lane| lane.policy == Policy::Block);
        let level = braking.map(|lane| lane.mark.level).max().unwrap_or_default();
        if std::mem::replace(&mut state.mark.level, level) != level {
            note(&mut self.transitions.topics, level);
        }
    }

    fn look_at_session(&mut self, session: SessionKey) {
        let lanes = &self.lanes;
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let level = state.lanes.iter().map(|key| lanes[key].mark.level).max().unwrap_or_default();
        if std::mem::replace(&mut state.mark.level, level) != level {
            note(&mut self.transitions.sessions, level);
        }
    }

    /// When levels fall by themselves, and of which lanes.
    pub(super) fn falls(&self) -> impl Iterator<Item = (u64, LaneKey)> {
        let marks = self.options.watermarks;
        let lanes = self.lanes.iter().filter(|(_, lane)| lane.has_level() && !self.has_no_levels);
        lanes.filter_map(move |(key, lane)| Some((lane.mark.due_at_last(lane.fill(), marks)?, *key)))
    }

    /// A lane ends: its level might have fallen before.
    pub(super) fn look_at_last(&mut self, key: LaneKey) {
        let lane = &self.lanes[&key];
        self.is_open |= lane.mark.is_overdue(lane.fill(), self.options.watermarks, self.now);
        self.is_open |= lane.mark.fallen.is_some() || lane.mark.is_loose;
    }

    /// A level was held long enough.
    pub(super) fn fall(&mut self, key: LaneKey, is_loose: bool) {
        let (marks, now) = (self.options.watermarks, self.now);
        let lane = self.lane(key);
        let target = lane.mark.target(lane.fill(), marks);
        lane.mark.set(target, now);
        lane.mark.fallen = None;
        lane.mark.is_loose |= is_loose;
        self.is_open |= is_loose;
        self.changed(key);
    }

    /// What waits in a topic's lanes; of those that ended, what is outstanding.
    pub(crate) fn load_of_topic(&self, topic: TopicKey) -> Load {
        let lanes = self.lanes.values().filter(|lane| lane.topic == topic);
        lanes.fold(Load::default(), |load, lane| load.with(lane.as_load(self.now)))
    }

    /// The mark of what a level is told of, where it is modelled.
    pub(crate) fn mark_of(&mut self, scope: Scope) -> Option<&mut Mark> {
        match scope {
            Scope::Lane(lane) => self.lane_of(lane).map(|key| &mut self.lane(key).mark),
            Scope::Session(id) => {
                let known = self.sessions.iter().find(|(_, session)| session.id == Some(id)).map(|(key, _)| *key);
                // One that was detached before anybody asked what it is called.
                let is_unnamed =
                    |session: &super::Session| session.id.is_none() && session.mark.level != session.mark.told;
                let key = known
                    .or_else(|| self.sessions.iter().find(|(_, session)| is_unnamed(session)).map(|(key, _)| *key))?;
                let session = self.sessions.get_mut(&key)?;
                session.id = Some(id);
                Some(&mut session.mark)
            }
            Scope::Topic(topic) => {
                self.topics.values_mut().find(|known| known.id == topic).map(|known| &mut known.mark)
            }
            _ => None,
        }
    }

    /// What is to be told of levels.
    pub(crate) fn untold(&self) -> Option<String> {
        let lanes =
            self.lanes.values().filter(|lane| lane.ended.is_none()).map(|lane| (format!("{:?}", lane.id), lane.mark));
        let is_there = |session: &&super::Session| {
            session.conn.is_none_or(|conn| self.conns[&conn].phase == super::Phase::Open) || session.ttl.is_some()
        };
        let sessions = self.sessions.values().filter(is_there);
        let sessions = sessions.map(|session| (format!("{:?}", session.id), session.mark));
        let topics = self.topics.values().map(|topic| (format!("topic {:?}", topic.name), topic.mark));
        if let Some(topic) = self.topics.values().find(|topic| topic.is_braked() != topic.is_upstream_paused) {
            return Some(format!("the sources of {:?} are to pause: {}", topic.name, topic.is_braked()));
        }
        let mut all = lanes.chain(sessions).chain(topics);
        all.find(|(_, mark)| mark.level != mark.told)
            .map(|(what, mark)| format!("{what} is {:?}, told {:?}", mark.level, mark.told))
    }

    /// How often levels were entered.
    pub(crate) fn levels(&self) -> Levels {
        self.transitions
    }
}
