//! The items that somebody has yet to take, each once.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::{Entry, OccupiedEntry};

use crate::stats::Count;
use crate::time::Instant;

/// Sparse: what a consumer that takes nothing holds at the front does not keep what others have taken behind it.
#[derive(Debug)]
pub(super) struct Log<T> {
    slots: BTreeMap<u64, Slot<T>>,
    next: u64,
    held: Count,
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    bytes: u64,
    at: Instant,
    /// Consumers for whom it waits; at least one.
    takers: u32,
}

impl<T> Log<T> {
    pub(super) fn new() -> Self {
        Self { slots: BTreeMap::new(), next: 0, held: Count::default() }
    }

    /// The number of the next item.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// What is kept, each item once.
    pub(super) fn held(&self) -> Count {
        self.held
    }

    /// Keeps an item that waits for so many consumers.
    pub(super) fn push(&mut self, value: T, bytes: u64, at: Instant, takers: u32) {
        if takers > 0 {
            self.slots.insert(self.next, Slot { value, bytes, at, takers });
            self.held += Count::new(1, bytes);
        }
        self.next += 1;
    }

    /// When an item that is kept was written.
    pub(super) fn at(&self, item: u64) -> Instant {
        self.slots.get(&item).expect("an item that waits is kept").at
    }

    /// One consumer takes it. The last one gets it as it is. And its bytes.
    pub(super) fn take(&mut self, item: u64) -> (T, u64)
    where
        T: Clone,
    {
        let mut slot = self.occupied(item);
        let bytes = slot.get().bytes;
        if slot.get().takers > 1 {
            let value = slot.get().value.clone();
            slot.get_mut().takers -= 1;
            return (value, bytes);
        }
        let slot = slot.remove();
        self.held.messages -= 1;
        self.held.bytes -= bytes;
        (slot.value, bytes)
    }

    /// One consumer loses it. Its bytes.
    pub(super) fn release(&mut self, item: u64) -> u64 {
        let mut slot = self.occupied(item);
        let bytes = slot.get().bytes;
        slot.get_mut().takers -= 1;
        if slot.get().takers == 0 {
            drop(slot.remove());
            self.held.messages -= 1;
            self.held.bytes -= bytes;
        }
        bytes
    }

    fn occupied(&mut self, item: u64) -> OccupiedEntry<'_, u64, Slot<T>> {
        match self.slots.entry(item) {
            Entry::Occupied(slot) => slot,
            Entry::Vacant(_) => panic!("an item that waits is kept"),
        }
    }

    /// Counts everything again. Says how many bytes an item has.
    pub(super) fn check(&self, takers: &BTreeMap<u64, u32>) -> impl Fn(u64) -> u64 {
        let counted: BTreeMap<u64, u32> = self.slots.iter().map(|(item, slot)| (*item, slot.takers)).collect();
        assert_eq!(counted, *takers, "an item is kept for those for whom it waits");
        let mut held = Count::default();
        self.slots.values().for_each(|slot| held += Count::new(1, slot.bytes));
        assert_eq!(held, self.held);
        |item| self.slots[&item].bytes
    }
}
