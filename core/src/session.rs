//! Sessions: whom lanes belong to.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::clock::Clock;
use crate::id::{ConnId, LaneId, TopicId};
use crate::timers::TimerId;
use crate::watermark::ToldLevel;

#[derive(Debug)]
pub(crate) struct Session {
    /// While it is detached, the last one it had.
    conn: ConnId,
    is_detached: bool,
    lanes: Lanes,
    /// The highest of its lanes.
    pub(crate) level: ToldLevel,
    /// Listed among the hub's events.
    pub(crate) is_listed: bool,
    /// There while it says anything.
    rare: Option<Box<Rare>>,
}

/// What most sessions do not have: in one place, since an idle connection pays for each.
#[derive(Debug, Default)]
struct Rare {
    many: Many,
    principal: Box<str>,
    resumable: Option<Box<Resumable>>,
    /// There while it has at-least-once lanes.
    clock: Option<Box<SessionClock>>,
}

/// It shows the time in which the session's client could take and acknowledge: none passes while something is on its way
/// to it, nor while there is none.
#[derive(Debug)]
pub(crate) struct SessionClock {
    pub(crate) clock: Clock,
    /// At-least-once lanes.
    pub(crate) lanes: u32,
    /// Those whose timers are to be armed when the clock goes on.
    pub(crate) waiting: Vec<LaneId>,
}

/// A session that may outlive its connection.
#[derive(Debug)]
pub(crate) struct Resumable {
    /// How long it lives on.
    pub(crate) ttl: Duration,
    /// Armed while it is detached.
    pub(crate) timer: TimerId,
    /// The encoding of its connections' dialect.
    pub(crate) encoding: usize,
    /// Its number among the detached ones, while it is.
    pub(crate) detached: Option<u64>,
}

/// One lane, the usual case, is kept without an allocation.
#[derive(Debug)]
enum Lanes {
    None,
    One {
        lane: (TopicId, LaneId),
        is_active: bool,
    },
    /// In `Rare`.
    Many,
}

#[derive(Debug, Default)]
struct Many {
    /// By topic.
    lanes: Vec<(TopicId, LaneId)>,
    /// Those with something waiting or a gap to tell.
    active: Vec<LaneId>,
}

impl Session {
    pub(crate) fn new(conn: ConnId) -> Self {
        let (lanes, level) = (Lanes::None, ToldLevel::default());
        Self { conn, is_detached: false, lanes, level, is_listed: false, rare: None }
    }

    /// Its connection; `None`: it is detached.
    pub(crate) fn conn(&self) -> Option<ConnId> {
        (!self.is_detached).then_some(self.conn)
    }

    /// It has this connection from now on, or none.
    pub(crate) fn set_conn(&mut self, conn: Option<ConnId>) {
        (self.conn, self.is_detached) = (conn.unwrap_or(self.conn), conn.is_none());
    }

    /// Whom it belongs to; empty: nobody.
    pub(crate) fn principal(&self) -> &str {
        self.rare.as_ref().map_or("", |rare| &rare.principal)
    }

    pub(crate) fn set_principal(&mut self, principal: &str) {
        self.rare.get_or_insert_default().principal = principal.into();
        self.forget_rare();
    }

    /// What it needs to live on without a connection.
    pub(crate) fn resumable(&self) -> Option<&Resumable> {
        self.rare.as_ref()?.resumable.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn resumable_mut(&mut self) -> Option<&mut Resumable> {
        self.rare.as_mut()?.resumable.as_deref_mut()
    }

    pub(crate) fn set_resumable(&mut self, resumable: Resumable) {
        self.rare.get_or_insert_default().resumable = Some(Box::new(resumable));
    }

    /// It ends with its connection after all.
    pub(crate) fn take_resumable(&mut self) -> Option<Resumable> {
        let resumable = self.rare.as_mut()?.resumable.take();
        self.forget_rare();
        resumable.map(|resumable| *resumable)
    }

    pub(crate) fn clock(&self) -> Option<&SessionClock> {
        self.rare.as_ref()?.clock.as_deref()
    }

    pub(crate) fn clock_mut(&mut self) -> Option<&mut SessionClock> {
        self.rare.as_mut()?.clock.as_deref_mut()
    }

    /// One at-least-once lane more.
    pub(crate) fn add_clocked_lane(&mut self) {
        let new = || Box::new(SessionClock { clock: Clock::new(), lanes: 0, waiting: Vec::new() });
        self.rare.get_or_insert_default().clock.get_or_insert_with(new).lanes += 1;
    }

    /// One less.
    pub(crate) fn remove_clocked_lane(&mut self) {
        let Some(rare) = &mut self.rare else { panic!("it has at-least-once lanes") };
        rare.clock.as_mut().expect("it has at-least-once lanes").lanes -= 1;
        rare.clock.take_if(|clock| clock.lanes == 0);
        self.forget_rare();
    }

    /// Gives back what says nothing.
    fn forget_rare(&mut self) {
        self.rare.take_if(|rare| {
            let Rare { many, principal, resumable, clock } = &**rare;
            many.lanes.is_empty() && principal.is_empty() && resumable.is_none() && clock.is_none()
        });
    }

    fn many(&self) -> &Many {
        &self.rare.as_ref().expect("it has many lanes").many
    }

    fn many_mut(&mut self) -> &mut Many {
        &mut self.rare.as_mut().expect("it has many lanes").many
    }

    pub(crate) fn lane_on(&self, topic: TopicId) -> Option<LaneId> {
        let place = self.lanes().binary_search_by_key(&topic, |(topic, _)| *topic).ok()?;
        Some(self.lanes()[place].1)
    }

    /// By topic.
    pub(crate) fn lanes(&self) -> &[(TopicId, LaneId)] {
        match &self.lanes {
            Lanes::None => &[],
            Lanes::One { lane, .. } => core::slice::from_ref(lane),
            Lanes::Many => &self.many().lanes,
        }
    }

    /// Lanes with something waiting or a gap to tell.
    pub(crate) fn active(&self) -> &[LaneId] {
        match &self.lanes {
            Lanes::One { lane, is_active: true } => core::slice::from_ref(&lane.1),
            Lanes::None | Lanes::One { .. } => &[],
            Lanes::Many => &self.many().active,
        }
    }

    /// A lane that was not active is.
    pub(crate) fn activate(&mut self, lane: LaneId) {
        match &mut self.lanes {
            Lanes::None => panic!("the lane is listed"),
            Lanes::One { lane: (_, only), is_active } => {
                assert_eq!(*only, lane, "the lane is listed");
                *is_active = true;
            }
            Lanes::Many => self.many_mut().active.push(lane),
        }
    }

    /// A lane is not active any more.
    pub(crate) fn rest(&mut self, lane: LaneId) {
        match &mut self.lanes {
            Lanes::None => {}
            Lanes::One { lane: (_, only), is_active } => *is_active &= *only != lane,
            Lanes::Many => {
                let many = self.many_mut();
                if let Some(place) = many.active.iter().position(|active| *active == lane) {
                    many.active.swap_remove(place);
                }
            }
        }
    }

    pub(crate) fn add(&mut self, topic: TopicId, lane: LaneId) {
        let place = self.lanes().binary_search_by_key(&topic, |(topic, _)| *topic).expect_err("one lane per topic");
        if let Lanes::One { lane: first, .. } = self.lanes {
            let active = self.active().to_vec();
            self.rare.get_or_insert_default().many = Many { lanes: vec![first], active };
            self.lanes = Lanes::Many;
        }
        match self.lanes {
            Lanes::Many => self.many_mut().lanes.insert(place, (topic, lane)),
            _ => self.lanes = Lanes::One { lane: (topic, lane), is_active: false },
        }
    }

    pub(crate) fn remove(&mut self, topic: TopicId) {
        let place = self.lanes().binary_search_by_key(&topic, |(topic, _)| *topic).expect("the lane is listed");
        let Lanes::Many = self.lanes else {
            self.lanes = Lanes::None;
            return;
        };
        let many = self.many_mut();
        let (_, lane) = many.lanes.remove(place);
        many.active.retain(|active| *active != lane);
        if let [last] = many.lanes[..] {
            self.lanes = Lanes::One { lane: last, is_active: !many.active.is_empty() };
            *self.many_mut() = Many::default();
            self.forget_rare();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_session_is_small() {
        assert_eq!(size_of::<Session>(), 40);
    }

    #[test]
    fn lanes_are_found_by_topic_like_in_a_map() {
        let conn = ConnId::from_bits(0);
        let mut session = Session::new(conn);
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut active: Vec<u64> = Vec::new();
        let mut seed = 3_u64;
        for lane in 0..4_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Now many, now one or two.
            let topic = (seed >> 40) % if lane % 200 < 100 { 50 } else { 2 };
            match model.remove(&topic) {
                Some(lane) if seed >> 62 > 0 => {
                    session.remove(TopicId::from_bits(topic));
                    active.retain(|other| *other != lane);
                }
                Some(lane) => {
                    model.insert(topic, lane);
                    match active.iter().position(|other| *other == lane) {
                        Some(place) => {
                            session.rest(LaneId::from_bits(lane));
                            active.swap_remove(place);
                        }
                        None => {
                            session.activate(LaneId::from_bits(lane));
                            active.push(lane);
                        }
                    }
                }
                None => {
                    session.add(TopicId::from_bits(topic), LaneId::from_bits(lane));
                    model.insert(topic, lane);
                }
            }
            let lanes: Vec<(u64, u64)> =
                session.lanes().iter().map(|(topic, lane)| (topic.to_bits(), lane.to_bits())).collect();
            assert_eq!(lanes, model.clone().into_iter().collect::<Vec<_>>());
            let found = session.lane_on(TopicId::from_bits(topic)).map(LaneId::to_bits);
            assert_eq!(found, model.get(&topic).copied());
            let listed: Vec<u64> = session.active().iter().map(|lane| lane.to_bits()).collect();
            assert_eq!(listed, active, "in the order in which they became active");
            assert_eq!(session.rare.is_some(), model.len() > 1, "one is kept in place");
        }
    }
}
