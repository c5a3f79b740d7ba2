//! A table with generations: the one place where ids are given out and looked up.

use alloc::vec::Vec;
use core::marker::PhantomData;

pub(crate) trait Key: Copy {
    fn new(index: u32, generation: u32) -> Self;
    fn index(self) -> u32;
    fn generation(self) -> u32;
}

#[derive(Debug)]
struct Slot<T> {
    /// Grows by one at each removal, so that the ids given out before name nothing.
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Slab<K, T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    key: PhantomData<K>,
}

impl<K: Key, T> Slab<K, T> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), key: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert_with(&mut self, make: impl FnOnce(K) -> T) -> K {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 slots: every table has a limit");
                self.slots.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        let key = K::new(index, slot.generation);
        slot.value = Some(make(key));
        key
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let slot = self.slots.get(key.index() as usize)?;
        if slot.generation == key.generation() { slot.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index() as usize)?;
        if slot.generation == key.generation() { slot.value.as_mut() } else { None }
    }

    /// The id of what is at a place now.
    pub(crate) fn key_at(&self, index: u32) -> Option<K> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref().map(|_| K::new(index, slot.generation))
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let slot = self.slots.get_mut(key.index() as usize)?;
        if slot.generation != key.generation() {
            return None;
        }
        let value = slot.value.take()?;
        // After 2^32 uses of one slot an id kept since the first would name the newest: years at full speed.
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index());
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).ok()?;
            slot.value.as_ref().map(|value| (K::new(index, slot.generation), value))
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
                assert!(model.insert(key.to_bits(), step).is_none());
                assert!(!gone.contains(&key.to_bits()));
            }
            assert_eq!(slab.len(), model.len());
        }
        for bits in gone {
            assert!(slab.get(ConnId::from_bits(bits)).is_none());
            assert!(slab.remove(ConnId::from_bits(bits)).is_none());
        }
        for (bits, value) in &model {
            assert_eq!(slab.get(ConnId::from_bits(*bits)), Some(value));
        }
        assert_eq!(slab.iter().count(), model.len());
    }
}
