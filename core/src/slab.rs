//! A table with generations: the one place where ids are given out and looked up.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::marker::PhantomData;

pub(crate) trait Key: Copy {
    fn new(index: u32, generation: u32) -> Self;
    fn index(self) -> u32;
    fn generation(self) -> u32;
}

const NOWHERE: u32 = u32::MAX;

/// Makes room for one more by growing by an eighth, not twofold: for tables that are most of what their entries cost.
pub(crate) fn grow_by_an_eighth<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact((vec.len() / 8).max(16));
    }
}

/// The same of a deque.
pub(crate) fn grow_deque_by_an_eighth<T>(deque: &mut VecDeque<T>) {
    if deque.len() == deque.capacity() {
        deque.reserve_exact((deque.len() / 8).max(16));
    }
}

#[derive(Debug)]
enum Entry<T> {
    Used(T),
    /// The next free slot, or `NOWHERE`. (No `Option`: it fits beside a value's niche.)
    Free(u32),
}

#[derive(Debug)]
struct Slot<T> {
    /// Grows by one at each removal, so that the ids given out before name nothing.
    generation: u32,
    entry: Entry<T>,
}

#[derive(Debug)]
pub(crate) struct Slab<K, T> {
    slots: Vec<Slot<T>>,
    /// The slot that was freed last, or `NOWHERE`. Free slots are a list, so that a full table is slots and nothing else.
    free: u32,
    len: usize,
    key: PhantomData<K>,
}

impl<K: Key, T> Slab<K, T> {
    /// What a value takes, its id's place included.
    #[cfg(test)]
    pub(crate) const SLOT_BYTES: usize = size_of::<Slot<T>>();

    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: NOWHERE, len: 0, key: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Room for one more, see `grow_by_an_eighth`.
    pub(crate) fn make_room(&mut self) {
        if self.free == NOWHERE {
            grow_by_an_eighth(&mut self.slots);
        }
    }

    pub(crate) fn insert_with(&mut self, make: impl FnOnce(K) -> T) -> K {
        self.len += 1;
        let index = self.free;
        if index == NOWHERE {
            let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 slots: every table has a limit");
            let key = K::new(index, 0);
            self.slots.push(Slot { generation: 0, entry: Entry::Used(make(key)) });
            return key;
        }
        let slot = &mut self.slots[index as usize];
        let Entry::Free(next) = slot.entry else { panic!("a free slot is free") };
        self.free = next;
        let key = K::new(index, slot.generation);
        slot.entry = Entry::Used(make(key));
        key
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        match self.slots.get(key.index() as usize)? {
            Slot { generation, entry: Entry::Used(value) } if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        match self.slots.get_mut(key.index() as usize)? {
            Slot { generation, entry: Entry::Used(value) } if *generation == key.generation() => Some(value),
            _ => None,
        }
    }

    /// The id of what is at a place now.
    pub(crate) fn key_at(&self, index: u32) -> Option<K> {
        match self.slots.get(index as usize)? {
            Slot { generation, entry: Entry::Used(_) } => Some(K::new(index, *generation)),
            _ => None,
        }
    }

    /// What is at a place now.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        match self.slots.get(index as usize)? {
            Slot { entry: Entry::Used(value), .. } => Some(value),
            _ => None,
        }
    }

    /// The same, to be changed, with its id.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<(K, &mut T)> {
        match self.slots.get_mut(index as usize)? {
            Slot { generation, entry: Entry::Used(value) } => Some((K::new(index, *generation), value)),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        self.get(key)?;
        let slot = &mut self.slots[key.index() as usize];
        // After 2^32 uses of one slot an id kept since the first would name the newest: years at full speed.
        slot.generation = slot.generation.wrapping_add(1);
        let entry = core::mem::replace(&mut slot.entry, Entry::Free(self.free));
        self.free = key.index();
        self.len -= 1;
        match entry {
            Entry::Used(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.slots.iter_mut().zip(0..).filter_map(|(slot, index)| match &mut slot.entry {
            Entry::Used(value) => Some((K::new(index, slot.generation), value)),
            Entry::Free(_) => None,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| match &slot.entry {
            Entry::Used(value) => Some((K::new(index, slot.generation), value)),
            Entry::Free(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ConnId;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_a_map_that_never_reuses_a_key() {
        let mut slab: Slab<ConnId, u32> = Slab::new();
        let mut model: BTreeMap<u64, u32> = BTreeMap::new();
        let mut gone = Vec::new();
        let mut seed = 1_u32;
        for step in 0..5_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let nth = (seed >> 8) as usize;
            if seed.is_multiple_of(3) && !model.is_empty() {
                let bits = *model.keys().nth(nth % model.len()).unwrap();
                assert_eq!(slab.remove(ConnId::from_bits(bits)), model.remove(&bits));
                gone.push(bits);
            } else {
                let key = slab.insert_with(|_| step);
                assert_eq!(slab.key_at(key.index).map(ConnId::to_bits), Some(key.to_bits()));
                assert_eq!(slab.at(key.index), Some(&step));
                assert_eq!(
                    slab.at_mut(key.index).map(|(key, value)| (key.to_bits(), *value)),
                    Some((key.to_bits(), step))
                );
                assert!(model.insert(key.to_bits(), step).is_none());
                assert!(!gone.contains(&key.to_bits()));
            }
            assert_eq!(slab.len(), model.len());
        }
        for bits in gone {
            assert!(slab.get(ConnId::from_bits(bits)).is_none());
            assert_eq!(
                slab.at(ConnId::from_bits(bits).index).is_some(),
                slab.key_at(ConnId::from_bits(bits).index).is_some()
            );
            assert!(slab.remove(ConnId::from_bits(bits)).is_none());
            assert!(slab.key_at(ConnId::from_bits(bits).index).is_none_or(|key| key.to_bits() != bits));
        }
        for (bits, value) in &model {
            assert_eq!(slab.get(ConnId::from_bits(*bits)), Some(value));
        }
        assert_eq!(slab.iter().count(), model.len());
    }
}
