//! Timers: an indexed heap, so that a deadline is moved in place.

use alloc::vec::Vec;

use crate::time::Instant;

const NOWHERE: u32 = u32::MAX;

/// Names a timer. It exists from `add` to `remove`, armed or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerId(u32);

#[derive(Debug)]
enum Timer<K> {
    Used {
        key: K,
        /// Place in the heap, or `NOWHERE`.
        place: u32,
    },
    /// The next free timer, or `NOWHERE`.
    Free(u32),
}

/// A binary heap of deadlines whose timers know their places. Equal deadlines fire in an order that depends only on the
/// calls made.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: Vec<(Instant, u32)>,
    timers: Vec<Timer<K>>,
    /// The timer that was freed last, or `NOWHERE`.
    free: u32,
}

impl<K: Copy> Timers<K> {
    /// What an armed timer takes.
    #[cfg(test)]
    pub(crate) const TIMER_BYTES: usize = size_of::<Timer<K>>() + size_of::<(Instant, u32)>();

    pub(crate) fn new() -> Self {
        Self { heap: Vec::new(), timers: Vec::new(), free: NOWHERE }
    }

    pub(crate) fn add(&mut self, key: K) -> TimerId {
        let timer = Timer::Used { key, place: NOWHERE };
        let index = self.free;
        match self.timers.get_mut(index as usize) {
            Some(slot) => {
                let Timer::Free(next) = core::mem::replace(slot, timer) else { panic!("a free timer is free") };
                self.free = next;
                TimerId(index)
            }
            None => {
                self.timers.push(timer);
                TimerId(u32::try_from(self.timers.len() - 1).expect("as many timers as connections"))
            }
        }
    }

    pub(crate) fn remove(&mut self, id: TimerId) {
        self.disarm(id);
        let timer = core::mem::replace(&mut self.timers[id.0 as usize], Timer::Free(self.free));
        assert!(matches!(timer, Timer::Used { .. }), "a timer is removed once");
        self.free = id.0;
    }

    fn place_mut(&mut self, index: u32) -> &mut u32 {
        match &mut self.timers[index as usize] {
            Timer::Used { place, .. } => place,
            Timer::Free(_) => panic!("a timer is not used after it was removed"),
        }
    }

    /// When the timer fires.
    pub(crate) fn deadline(&self, id: TimerId) -> Option<Instant> {
        match self.timers[id.0 as usize] {
            Timer::Used { place, .. } if place != NOWHERE => Some(self.heap[place as usize].0),
            _ => None,
        }
    }

    pub(crate) fn arm(&mut self, id: TimerId, at: Instant) {
        let place = *self.place_mut(id.0);
        if place == NOWHERE {
            self.heap.push((at, id.0));
            self.up(self.heap.len() - 1);
            return;
        }
        let place = place as usize;
        let before = core::mem::replace(&mut self.heap[place].0, at);
        if at < before { self.up(place) } else { self.down(place) }
    }

    pub(crate) fn disarm(&mut self, id: TimerId) {
        let place = core::mem::replace(self.place_mut(id.0), NOWHERE);
        if place == NOWHERE {
            return;
        }
        let place = place as usize;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.set_place(place);
            self.up(place);
            self.down(place);
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Disarms the earliest timer if its deadline is not after `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, index) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.disarm(TimerId(index));
        match self.timers[index as usize] {
            Timer::Used { key, .. } => Some(key),
            Timer::Free(_) => None,
        }
    }

    fn set_place(&mut self, place: usize) {
        *self.place_mut(self.heap[place].1) = u32::try_from(place).expect("as many places as timers");
    }

    fn up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.heap.swap(parent, place);
            self.set_place(place);
            place = parent;
        }
        self.set_place(place);
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.heap.len() && self.heap[child].0 < self.heap[least].0 {
                    least = child;
                }
            }
            if least == place {
                break;
            }
            self.heap.swap(least, place);
            self.set_place(place);
            place = least;
        }
        self.set_place(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn fires_what_a_sorted_map_would() {
        let mut timers = Timers::new();
        let ids: Vec<TimerId> = (0..50_usize).map(|key| timers.add(key)).collect();
        let mut model: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut seed, mut now) = (7_u64, 0_u64);
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = (seed >> 33) as usize % ids.len();
            match seed >> 60 {
                0..=9 => {
                    let at = now + (seed >> 20) % 1_000;
                    timers.arm(ids[key], Instant::from_nanos(at));
                    model.insert(key, at);
                }
                10..=12 => {
                    timers.disarm(ids[key]);
                    model.remove(&key);
                }
                _ => {
                    now += (seed >> 20) % 300;
                    while let Some(key) = timers.pop_due(Instant::from_nanos(now)) {
                        let at = model.remove(&key).expect("only armed timers fire");
                        assert!(at <= now && model.values().all(|other| *other >= at), "earliest first");
                    }
                    assert!(model.values().all(|at| *at > now), "all that were due fired");
                }
            }
            assert_eq!(timers.next().map(Instant::as_nanos), model.values().min().copied());
            assert_eq!(timers.deadline(ids[key]).map(Instant::as_nanos), model.get(&key).copied());
        }
    }

    #[test]
    fn a_removed_timer_never_fires() {
        let mut timers = Timers::new();
        let id = timers.add('a');
        timers.arm(id, Instant::ZERO);
        let (second, third) = (timers.add('c'), timers.add('d'));
        timers.remove(second);
        timers.remove(id);
        assert_eq!(timers.pop_due(Instant::from_nanos(9)), None);
        assert_eq!((timers.add('b'), timers.add('e')), (id, second), "places are used again");
        assert_eq!(timers.add('f'), TimerId(third.0 + 1));
        assert_eq!(timers.next(), None);
    }
}
