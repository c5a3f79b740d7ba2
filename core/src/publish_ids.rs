//! The newest publish ids that a topic took, so that one that is repeated is taken once.
//!
//! What is kept is a keyed hash of 128 bits: nobody who does not know the hub's secret can make two ids that are taken for
//! one.

use alloc::collections::{BTreeMap, VecDeque};

/// What an id costs beside its place in the order: its place in the tree, whose nodes of 11 are at least half full.
const ENTRY_BYTES: usize = 2 * (size_of::<u128>() + size_of::<u64>()) + 16;
const ORDER_MIN: usize = 16;

#[derive(Debug)]
pub(crate) struct PublishIds {
    ids_max: usize,
    /// The number of the message that was published with it.
    seqs: BTreeMap<u128, u64>,
    /// The oldest first.
    order: VecDeque<u128>,
}

impl PublishIds {
    pub(crate) fn new(ids_max: u32) -> Self {
        Self { ids_max: ids_max as usize, seqs: BTreeMap::new(), order: VecDeque::new() }
    }

    /// The number of the message that was published with this id.
    pub(crate) fn find(&self, id: u128) -> Option<u64> {
        self.seqs.get(&id).copied()
    }

    /// Remembers an id that is not known. The oldest is forgotten for it where there are `ids_max`.
    pub(crate) fn insert(&mut self, id: u128, seq: u64) {
        if self.order.len() == self.ids_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seqs.remove(&oldest);
        }
        self.order.reserve_exact(self.order_growth());
        self.order.push_back(id);
        assert!(self.seqs.insert(id, seq).is_none(), "an id is taken once");
    }

    /// For how many ids more there is to be place, if one is added.
    fn order_growth(&self) -> usize {
        let is_full = self.order.len() == self.order.capacity() && self.order.len() < self.ids_max;
        if is_full { self.order.len().max(ORDER_MIN).min(self.ids_max - self.order.len()) } else { 0 }
    }

    /// How many resident bytes one more adds.
    pub(crate) fn growth(&self) -> usize {
        let entry = if self.order.len() < self.ids_max { ENTRY_BYTES } else { 0 };
        self.order_growth() * size_of::<u128>() + entry
    }

    /// How many resident bytes one more adds, whatever is forgotten before.
    pub(crate) fn growth_at_most(&self) -> usize {
        self.order.len().max(ORDER_MIN).min(self.ids_max) * size_of::<u128>() + ENTRY_BYTES
    }

    /// Forgets the older half; whether there was any.
    pub(crate) fn forget_half(&mut self) -> bool {
        let half = self.order.len().div_ceil(2);
        for id in self.order.drain(..half) {
            self.seqs.remove(&id);
        }
        self.order.shrink_to_fit();
        half > 0
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> usize {
        self.order.capacity() * size_of::<u128>() + self.order.len() * ENTRY_BYTES
    }

    /// Recounts what it holds.
    pub(crate) fn check(&self) {
        assert!(self.order.len() <= self.ids_max, "no more ids than may be");
        assert_eq!(self.order.len(), self.seqs.len(), "each id is known once");
        let seqs = self.order.iter().map(|id| self.seqs[id]);
        assert!(seqs.is_sorted(), "the oldest is forgotten first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_newest_ids_are_found_like_in_a_list() {
        for ids_max in [1, 2, 3, 16, 17, 100] {
            let mut ids = PublishIds::new(ids_max);
            let mut model: Vec<(u128, u64)> = Vec::new();
            let mut seed = 7_u64;
            for seq in 1..=1_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let id = u128::from(seed >> 56);
                let known = model.iter().find(|(other, _)| *other == id).map(|(_, seq)| *seq);
                assert_eq!(ids.find(id), known);
                if known.is_none() {
                    let (before, growth) = (ids.resident(), ids.growth());
                    ids.insert(id, seq);
                    assert_eq!(ids.resident(), before + growth, "it grows by what was announced");
                    model.push((id, seq));
                    model.drain(..model.len().saturating_sub(ids_max as usize));
                }
                ids.check();
            }
            assert_eq!(ids.order.len(), ids_max as usize);
            let most = ids_max as usize * (ENTRY_BYTES + size_of::<u128>());
            assert!(ids.resident() <= most, "{ids_max} ids have {} bytes", ids.resident());
        }
    }
}
