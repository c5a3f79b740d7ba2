//! Sessions: whom lanes belong to.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::clock::Clock;
use crate::id::{ConnId, LaneId, TopicId};
use crate::watermark::ToldLevel;

#[derive(Debug)]
pub(crate) struct Session {
    /// `None`: it is detached.
    pub(crate) conn: Option<ConnId>,
    lanes: Lanes,
    /// The highest of its lanes.
    pub(crate) level: ToldLevel,
    /// Listed among the hub's events.
    pub(crate) is_listed: bool,
}

/// What most sessions do not have.
#[derive(Debug, Default)]
struct Rare {
    /// There while it has at-least-once lanes.
    clock: Option<SessionClock>,
}

impl Rare {
    /// Whether it says nothing.
    fn is_idle(&self) -> bool {
        let Self { clock } = self;
        clock.is_none()
    }
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

/// One lane, the usual case, is kept without an allocation.
#[derive(Debug)]
enum Lanes {
    None,
    One {
        lane: (TopicId, LaneId),
        is_active: bool,
    },
    /// Also of one or none, in a session that has what most have not.
    Many(Box<Many>),
}

#[derive(Debug, Default)]
struct Many {
    /// By topic.
    lanes: Vec<(TopicId, LaneId)>,
    /// Those with something waiting or a gap to tell.
    active: Vec<LaneId>,
    rare: Rare,
}

impl Session {
    pub(crate) fn new(conn: ConnId) -> Self {
        Self { conn: Some(conn), lanes: Lanes::None, level: ToldLevel::default(), is_listed: false }
    }

    pub(crate) fn clock(&self) -> Option<&SessionClock> {
        self.rare()?.clock.as_ref()
    }

    pub(crate) fn clock_mut(&mut self) -> Option<&mut SessionClock> {
        match &mut self.lanes {
            Lanes::Many(many) => many.rare.clock.as_mut(),
            _ => None,
        }
    }

    /// One at-least-once lane more.
    pub(crate) fn add_clocked_lane(&mut self) {
        let clock = &mut self.many().rare.clock;
        let new = || SessionClock { clock: Clock::new(), lanes: 0, waiting: Vec::new() };
        clock.get_or_insert_with(new).lanes += 1;
    }

    /// One less.
    pub(crate) fn remove_clocked_lane(&mut self) {
        let clock = &mut self.many().rare.clock;
        clock.as_mut().expect("it has at-least-once lanes").lanes -= 1;
        clock.take_if(|clock| clock.lanes == 0);
        self.shrink();
    }

    fn rare(&self) -> Option<&Rare> {
        match &self.lanes {
            Lanes::Many(many) => Some(&many.rare),
            _ => None,
        }
    }

    /// What is kept of it in an allocation, from now on.
    fn many(&mut self) -> &mut Many {
        match self.lanes {
            Lanes::Many(_) => {}
            Lanes::None => self.lanes = Lanes::Many(Box::default()),
            Lanes::One { lane, .. } => {
                let active = self.active().to_vec();
                self.lanes = Lanes::Many(Box::new(Many { lanes: vec![lane], active, rare: Rare::default() }));
            }
        }
        match &mut self.lanes {
            Lanes::Many(many) => many,
            _ => unreachable!("made just now"),
        }
    }

    /// Gives back the allocation where one lane, or none, is all there is.
    fn shrink(&mut self) {
        let Lanes::Many(many) = &self.lanes else { return };
        if many.rare.is_idle() {
            match many.lanes[..] {
                [] => self.lanes = Lanes::None,
                [lane] => self.lanes = Lanes::One { lane, is_active: !many.active.is_empty() },
                _ => {}
            }
        }
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
            Lanes::Many(many) => &many.lanes,
        }
    }

    /// Lanes with something waiting or a gap to tell.
    pub(crate) fn active(&self) -> &[LaneId] {
        match &self.lanes {
            Lanes::One { lane, is_active: true } => core::slice::from_ref(&lane.1),
            Lanes::None | Lanes::One { .. } => &[],
            Lanes::Many(many) => &many.active,
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
            Lanes::Many(many) => many.active.push(lane),
        }
    }

    /// A lane is not active any more.
    pub(crate) fn rest(&mut self, lane: LaneId) {
        match &mut self.lanes {
            Lanes::None => {}
            Lanes::One { lane: (_, only), is_active } => *is_active &= *only != lane,
            Lanes::Many(many) => {
                if let Some(place) = many.active.iter().position(|active| *active == lane) {
                    many.active.swap_remove(place);
                }
            }
        }
    }

    pub(crate) fn add(&mut self, topic: TopicId, lane: LaneId) {
        let place = self.lanes().binary_search_by_key(&topic, |(topic, _)| *topic).expect_err("one lane per topic");
        match &mut self.lanes {
            lanes @ Lanes::None => *lanes = Lanes::One { lane: (topic, lane), is_active: false },
            _ => self.many().lanes.insert(place, (topic, lane)),
        }
    }

    pub(crate) fn remove(&mut self, topic: TopicId) {
        let place = self.lanes().binary_search_by_key(&topic, |(topic, _)| *topic).expect("the lane is listed");
        let Lanes::Many(many) = &mut self.lanes else {
            self.lanes = Lanes::None;
            return;
        };
        let (_, lane) = many.lanes.remove(place);
        many.active.retain(|active| *active != lane);
        self.shrink();
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
            assert_eq!(matches!(session.lanes, Lanes::Many(_)), model.len() > 1, "one is kept in place");
        }
    }
}
