//! Lanes with nothing waiting, which the next publish wakes.
//!
//! Waking all of them is most of what a publish costs, and most of them are drained right after. So a publish of the application
//! only notes how many are to be woken, and they are one by one when it is their turn to be drained, or all of them before
//! anything else happens (`hub/wake.rs`).

use alloc::collections::VecDeque;

use super::Topic;
use crate::slab::grow_deque_by_an_eighth;

/// Not listed.
pub(super) const NOWHERE: u32 = u32::MAX;
/// Was listed, to be woken, and is gone.
const GONE: u32 = u32::MAX;
/// Places in the list are counted modulo this, so that none is `NOWHERE`.
const PLACES: u32 = 1 << 31;

/// Lanes with nothing waiting, by place.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// The first `woken` of them are to be woken. (Of these, one that has gone left a hole.)
    places: VecDeque<u32>,
    woken: usize,
    /// What the first of them knows as its place.
    base: u32,
}

impl Idle {
    /// Where what is listed there is now.
    fn place(&self, listed: u32) -> usize {
        (listed.wrapping_sub(self.base) % PLACES) as usize
    }

    /// What is known as its place by the one that is there.
    fn listing(&self, place: usize) -> u32 {
        let place = u32::try_from(place).expect("as many lanes as sessions");
        self.base.wrapping_add(place) % PLACES
    }

    /// Whether none of them is to be woken.
    pub(crate) fn are_asleep(&self) -> bool {
        self.woken == 0
    }

    /// Whether there are some that are not to be woken yet.
    pub(crate) fn has_asleep(&self) -> bool {
        self.woken < self.places.len()
    }

    /// All of them are to be woken.
    pub(crate) fn wake(&mut self) {
        self.woken = self.places.len();
    }
}

impl Topic {
    /// The next publish wakes the lane.
    pub(crate) fn list_idle(&mut self, place: usize) {
        if self.idle_listed(place) == NOWHERE {
            *self.idle_listing(place) = self.idle.listing(self.idle.places.len());
            grow_deque_by_an_eighth(&mut self.idle.places);
            self.idle.places.push_back(u32::try_from(place).expect("as many lanes as sessions"));
        }
    }

    /// The next lane that is to be woken, which is idle no more.
    pub(crate) fn next_woken(&mut self) -> Option<usize> {
        while self.idle.woken > 0 {
            self.idle.woken -= 1;
            self.idle.base = self.idle.listing(1);
            let place = self.idle.places.pop_front().expect("it is counted");
            if place != GONE {
                *self.idle_listing(place as usize) = NOWHERE;
                return Some(place as usize);
            }
        }
        None
    }

    /// Whether a lane is to be woken.
    pub(crate) fn is_woken(&self, place: usize) -> bool {
        let listed = self.idle_listed(place);
        listed != NOWHERE && self.idle.place(listed) < self.idle.woken
    }

    /// A lane goes.
    pub(super) fn unlist_idle(&mut self, place: usize) {
        let listed = self.idle_listed(place);
        if listed == NOWHERE {
            return;
        }
        *self.idle_listing(place) = NOWHERE;
        let at = self.idle.place(listed);
        if at < self.idle.woken {
            self.idle.places[at] = GONE; // The others are woken in the order in which they became idle.
            return;
        }
        self.idle.places.swap_remove_back(at);
        if let Some(moved) = self.idle.places.get(at).copied() {
            *self.idle_listing(moved as usize) = listed;
        }
    }

    /// Another lane has taken this place.
    pub(super) fn move_idle(&mut self, place: usize) {
        let listed = self.idle_listed(place);
        if listed != NOWHERE {
            let at = self.idle.place(listed);
            self.idle.places[at] = u32::try_from(place).expect("as many lanes as sessions");
        }
    }

    /// Whether a lane is idle, or was before it was to be woken.
    pub(crate) fn is_idle(&self, place: usize) -> bool {
        self.idle_listed(place) != NOWHERE
    }

    /// Recounts what is listed.
    pub(super) fn check_idle(&self) {
        let Idle { places, woken, .. } = &self.idle;
        let mut listed = 0;
        for (at, place) in places.iter().enumerate().filter(|(_, place)| **place != GONE) {
            let knows = self.idle_listed(*place as usize);
            assert!(knows != NOWHERE && self.idle.place(knows) == at, "an idle lane knows its place");
            listed += 1;
        }
        assert!(places.iter().skip(*woken).all(|place| *place != GONE), "holes are among those to be woken");
        assert!(*woken <= places.len(), "those to be woken were idle");
        let idle = (0..self.lanes.len()).filter(|place| self.is_idle(*place)).count();
        assert_eq!(listed, idle, "idle lanes are listed once");
    }
}
