//! Lanes that are nearly at a mark, or have something to remember because they were. Only the former are looked at when a
//! message is published.
//!
//! What a lane comes near to is its high mark, and from there on its limit. Every other lane has more than an eighth of its
//! limits left to it when all lanes are looked at, and the topic remembers the first head at which one of them may reach it
//! (`Topic::due`). So that pass comes at most once per eighth of the smallest limit, and not within `FEW` messages of
//! the last: a lane with less room is near. A full lane costs for itself.

use super::{Topic, TopicLane, View};
use crate::config::Watermarks;
use crate::lane::{Mark, Standing};
use crate::stats::{Count, Level};
use crate::time::Instant;
use crate::watermark::Gauge;

/// A refused publish that a lane has to make room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// The largest payload refused.
    pub(crate) bytes: u64,
    /// The log was full because of this lane: it has to be empty, not only at its low mark.
    pub(crate) until_empty: bool,
}

/// A lane that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    place: u32,
    /// Where it is listed in `Topic::idle`, see there.
    idle_place: u32,
    pub(crate) refusal: Option<Refusal>,
    /// It has no room for the first parked publish, a payload of so many bytes.
    pub(crate) keeps_parked: Option<u64>,
    pub(super) gauge: Gauge,
    told: Level,
    /// Listed among the hub's events.
    is_listed: bool,
}

impl Watched {
    pub(crate) fn place(&self) -> usize {
        self.place as usize
    }

    /// Whether there is nothing to remember.
    fn is_forgettable(&self) -> bool {
        let is_nominal = self.level() == Level::Nominal && self.told == Level::Nominal && !self.is_listed;
        self.refusal.is_none() && self.keeps_parked.is_none() && is_nominal
    }

    pub(crate) fn level(&self) -> Level {
        self.gauge.level()
    }

    pub(crate) fn is_owed(&self) -> bool {
        self.told != self.level()
    }

    pub(crate) fn falls_at(&self, fill: u32, marks: &Watermarks) -> Option<Instant> {
        self.gauge.falls_at(fill, marks)
    }

    /// Whether its level is to be told and that is not listed yet: it is now.
    pub(crate) fn list(&mut self) -> bool {
        self.is_owed() && !core::mem::replace(&mut self.is_listed, true)
    }

    /// The level, if it is not the one last told: it is now.
    pub(crate) fn tell(&mut self) -> Option<Level> {
        self.is_listed = false;
        let level = self.level();
        (core::mem::replace(&mut self.told, level) != level).then_some(level)
    }
}

/// An eighth of a limit is near it; whoever has more than a quarter of it left is near no more.
const NEAR: u64 = 8;
const FAR: u64 = 4;

/// Who has room for so few messages is near, whatever its limits: consumers choose small ones, and would have all lanes looked
/// at for every message or two.
const FEW: u64 = 16;

fn place_of(index: usize) -> u32 {
    u32::try_from(index).expect("as many lanes as sessions")
}

/// Where a lane is listed, besides its own place.
impl Topic {
    /// Where it is listed in `Topic::idle`.
    pub(super) fn idle_listing(&mut self, place: usize) -> &mut u32 {
        let lane = &mut self.lanes[place];
        if lane.is(TopicLane::WATCHED) { &mut self.watched[lane.listed as usize].idle_place } else { &mut lane.listed }
    }

    /// The same, to be looked at.
    pub(super) fn idle_listed(&self, place: usize) -> u32 {
        let lane = &self.lanes[place];
        if lane.is(TopicLane::WATCHED) { self.watched[lane.listed as usize].idle_place } else { lane.listed }
    }

    /// Takes a lane out of the array; the last one takes its place, and is given back.
    pub(super) fn swap_remove(&mut self, place: usize) -> (TopicLane, Option<&TopicLane>) {
        self.unlist_idle(place);
        self.unwatch(place);
        let lane = self.lanes.swap_remove(place);
        if place < self.lanes.len() {
            self.move_idle(place);
            if let Some(index) = self.watch_place(place) {
                self.watched[index].place = place_of(place);
            }
        }
        (lane, self.lanes.get(place))
    }

    fn watch_place(&self, place: usize) -> Option<usize> {
        let lane = &self.lanes[place];
        lane.is(TopicLane::WATCHED).then_some(lane.listed as usize)
    }

    /// What is remembered of a lane, if it is watched.
    pub(crate) fn watched(&self, place: usize) -> Option<&Watched> {
        self.watch_place(place).map(|index| &self.watched[index])
    }

    /// What is remembered of a lane, from now on.
    pub(crate) fn watch(&mut self, place: usize) -> &mut Watched {
        let index = self.watch_place(place).unwrap_or_else(|| {
            let lane = &mut self.lanes[place];
            let idle_place = core::mem::replace(&mut lane.listed, place_of(self.watched.len()));
            lane.set(TopicLane::WATCHED, true);
            self.watched.push(Watched {
                place: place_of(place),
                idle_place,
                refusal: None,
                keeps_parked: None,
                gauge: Gauge::default(),
                told: Level::Nominal,
                is_listed: false,
            });
            self.watched.len() - 1
        });
        &mut self.watched[index]
    }

    fn unwatch(&mut self, place: usize) {
        self.set_near(place, false);
        let Some(index) = self.watch_place(place) else { return };
        let lane = &mut self.lanes[place];
        lane.listed = self.watched.swap_remove(index).idle_place;
        lane.set(TopicLane::WATCHED, false);
        self.relist(index);
    }

    /// Lets go of a lane that is not nearly full and has nothing to remember.
    pub(crate) fn unwatch_if_forgettable(&mut self, place: usize) {
        let Some(index) = self.watch_place(place) else { return };
        if index >= self.near && self.watched[index].is_forgettable() {
            self.unwatch(place);
        }
    }

    fn relist(&mut self, index: usize) {
        if let Some(watched) = self.watched.get(index) {
            self.lanes[watched.place()].listed = place_of(index);
        }
    }

    fn set_near(&mut self, place: usize, is_near: bool) {
        if is_near {
            self.watch(place);
        }
        let Some(index) = self.watch_place(place).filter(|index| (*index < self.near) != is_near) else { return };
        self.near -= usize::from(!is_near);
        let border = self.near;
        self.near += usize::from(is_near);
        self.watched.swap(index, border);
        self.relist(index);
        self.relist(border);
    }

    /// The place of the `nth` lane that is nearly full.
    pub(crate) fn near(&self, nth: usize) -> Option<usize> {
        self.watched[..self.near].get(nth).map(Watched::place)
    }

    /// Lanes that are watched, nearly full or not.
    pub(crate) fn watched_places(&self) -> impl Iterator<Item = usize> {
        self.watched.iter().map(Watched::place)
    }

    pub(crate) fn gauge_mut(&mut self, place: usize) -> &mut Gauge {
        &mut self.watch(place).gauge
    }

    /// The level of a lane.
    pub(crate) fn level_of(&self, place: usize) -> Level {
        self.watched(place).map_or(Level::Nominal, Watched::level)
    }

    /// How much of its tightest limit a lane uses, in thousandths, once `more` has entered it.
    pub(crate) fn fill_with(&self, place: usize, more: Count) -> u32 {
        let terms = self.terms(place);
        let mut load = match self.view(place) {
            View::Log(lane, _) => lane.load(terms, self.head),
            View::Latest(lane, latest) => lane.waiting(latest),
        };
        load += more;
        terms.limits.fill(load)
    }

    /// What may enter a lane before it has to be looked at; `None`: it never has to.
    fn room(&self, place: usize) -> Option<Count> {
        let terms = self.terms(place);
        let lane: &Standing = self.run_lane(place).filter(|lane| !lane.is_ended())?;
        let mut room = lane.room(terms, self.head);
        if self.level_of(place) == Level::Nominal {
            let (load, high) = (lane.load(terms, self.head), terms.limits.least(self.marks.high()));
            room.messages = room.messages.min((high.messages - 1).saturating_sub(load.messages));
            room.bytes = room.bytes.min((high.bytes - 1).saturating_sub(load.bytes));
        }
        Some(room)
    }

    /// Sees to it that a lane is looked at before it is full; `more` is about to be published.
    /// Whether it is among those nearly full.
    pub(crate) fn look_at_for(&mut self, place: usize, more: Count) -> bool {
        let Some(room) = self.room(place) else {
            self.unwatch(place);
            return false;
        };
        let limits = self.terms(place).limits;
        let was_near = self.watch_place(place).is_some_and(|index| index < self.near);
        let part = if was_near { FAR } else { NEAR };
        let is_near = room.messages <= (u64::from(limits.messages_max) / part).max(FEW)
            || room.bytes <= (limits.bytes_max / part).max(FEW * more.bytes);
        self.set_near(place, is_near);
        if !is_near {
            self.due.messages = self.due.messages.min(self.head.messages + room.messages);
            self.due.bytes = self.due.bytes.min(self.head.bytes + room.bytes);
            self.unwatch_if_forgettable(place);
        }
        is_near
    }

    /// A lane may be full sooner than was known.
    pub(crate) fn look_at(&mut self, place: usize) {
        self.look_at_for(place, Count::default());
    }

    /// Finds those that the next message, `more`, may not fit: afterwards they are among the ones nearly full.
    pub(crate) fn look_around(&mut self, more: Count) {
        let after = Mark { messages: self.head.messages + more.messages, bytes: self.head.bytes + more.bytes };
        if after.messages <= self.due.messages && after.bytes <= self.due.bytes {
            return;
        }
        self.due = Mark { messages: u64::MAX, bytes: u64::MAX };
        for place in 0..self.lanes.len() {
            self.look_at_for(place, more);
        }
    }

    /// No lane keeps a publish parked any more.
    pub(crate) fn forget_parked(&mut self) {
        for index in (0..self.watched.len()).rev() {
            self.watched[index].keeps_parked = None;
            self.unwatch_if_forgettable(self.watched[index].place());
        }
    }

    /// Recounts what is listed.
    pub(crate) fn check_lists(&self) {
        self.check_idle();
        for (index, watched) in self.watched.iter().enumerate() {
            assert_eq!(self.watch_place(watched.place()), Some(index), "a watched lane knows its place");
            assert!(index < self.near || !watched.is_forgettable(), "a lane is watched for a reason");
        }
        let watched = self.lanes.iter().filter(|lane| lane.is(TopicLane::WATCHED)).count();
        assert_eq!(self.watched.len(), watched, "watched lanes are listed once");
        assert!(self.near <= watched, "those nearly full are among them");
        for place in 0..self.lanes.len() {
            let is_near = self.watch_place(place).is_some_and(|index| index < self.near);
            let Some(room) = self.room(place).filter(|_| !is_near) else { continue };
            let is_later = self.head.messages + room.messages >= self.due.messages
                && self.head.bytes + room.bytes >= self.due.bytes;
            assert!(is_later, "no lane is at a mark before it is due");
        }
    }
}
