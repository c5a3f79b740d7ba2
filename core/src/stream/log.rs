//! The items that somebody has yet to take, each once.

use alloc::collections::BTreeMap;

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

    pub(super) fn bytes(&self, item: u64) -> u64 {
        self.slot(item).bytes
    }

    pub(super) fn at(&self, item: u64) -> Instant {
        self.slot(item).at
    }

    fn slot(&self, item: u64) -> &Slot<T> {
        self.slots.get(&item).expect("an item that waits is kept")
    }

    /// One consumer less waits for it. The last one gets it as it is.
    pub(super) fn take(&mut self, item: u64) -> T
    where
        T: Clone,
    {
        let slot = self.slot(item);
        let copy = (slot.takers > 1).then(|| slot.value.clone());
        copy.or(self.release(item)).expect("the last one gets it")
    }

    /// One consumer less waits for it. What nobody waits for any more.
    pub(super) fn release(&mut self, item: u64) -> Option<T> {
        let slot = self.slots.get_mut(&item).expect("an item that waits is kept");
        slot.takers -= 1;
        if slot.takers > 0 {
            return None;
        }
        let slot = self.slots.remove(&item)?;
        self.held.messages -= 1;
        self.held.bytes -= slot.bytes;
        Some(slot.value)
    }

    /// Counts everything again.
    pub(super) fn check(&self, takers: &BTreeMap<u64, u32>) {
        let counted: BTreeMap<u64, u32> = self.slots.iter().map(|(item, slot)| (*item, slot.takers)).collect();
        assert_eq!(counted, *takers, "an item is kept for those for whom it waits");
        let mut held = Count::default();
        self.slots.values().for_each(|slot| held += Count::new(1, slot.bytes));
        assert_eq!(held, self.held);
    }
}
