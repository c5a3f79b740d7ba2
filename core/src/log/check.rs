//! A log recounted, for tests.

use alloc::vec::Vec;

use super::{Block, DEAD_MIN, Log};
use crate::lane::Needs;

impl Log {
    /// Index bytes and capacity of chunks, counted anew.
    pub(crate) fn check(&self) {
        let chunks: usize = self.chunks.values().map(|chunk| chunk.capacity).sum();
        let own: usize = self.blocks.iter().filter(|block| block.chunk.is_none()).map(|block| block.bytes.len()).sum();
        assert_eq!(self.resident, chunks + own + self.index_bytes() + self.forms_bytes(), "resident bytes of a log");
        let mut place = self.index_base;
        let mut seq = self.blocks.front().map_or(self.head.messages, |block| block.first - 1);
        let mut holes = 0;
        for block in &self.blocks {
            assert!(block.first > seq, "blocks are in order");
            holes += usize::from(block.first != seq + 1);
            assert_eq!(block.place, place, "a block knows its place");
            assert!(block.last >= block.first);
            (seq, place) = (block.last, place + block.len() as u64);
        }
        assert_eq!(place - self.index_base, self.index.len() as u64, "one index entry per message");
        assert_eq!(self.holes, holes, "holes");
        let dead: usize = self.blocks.iter().filter(|block| block.is_dead()).map(Block::len).sum();
        assert_eq!(self.dead, dead, "dead messages");
        assert!(dead <= DEAD_MIN || dead * 2 <= self.index.len(), "at most half of the index is dead");
        assert!(!self.blocks.front().is_some_and(Block::is_dead), "the first block is alive");
        assert!(seq <= self.head.messages, "no block is behind the head");
        for (first, form) in &self.forms {
            let block = &self.blocks[self.find(*first)];
            assert!(block.first == *first && !block.is_open && !block.is_dead(), "a form is of a block that is there");
            form.check(first - 1, &(block.first..=block.last).map(|seq| self.mark(seq)).collect::<Vec<_>>());
        }
        for (number, chunk) in &self.chunks {
            assert!(chunk.blocks > 0 || self.is_newest(*number), "a chunk that nobody needs is gone");
        }
    }

    /// Whether exactly these lanes need it.
    pub(crate) fn check_needs(&self, needs: &[Needs]) {
        let mut starts = alloc::vec![0_u32; self.blocks.len()];
        let (mut refs, mut held) = (starts.clone(), starts.clone());
        let mut caught_up = 0;
        for need in needs {
            match need.tail {
                Some(mark) if mark.messages == self.head.messages => caught_up += 1,
                Some(mark) => starts[self.find(mark.messages + 1)] += 1,
                None => {}
            }
            for run in need.runs() {
                (self.find(run.first())..=self.find(run.last())).for_each(|place| refs[place] += 1);
            }
            if !need.held.is_empty() {
                let places = self.find(need.held.first())..=self.find(need.held.last());
                places.for_each(|place| held[place] += 1);
            }
        }
        assert_eq!(self.caught_up, caught_up, "lanes at the head");
        assert!(self.blocks.iter().map(|block| block.starts).eq(starts.iter().copied()), "tails by block");
        assert!(self.blocks.iter().map(|block| block.refs).eq(refs.iter().copied()), "runs by block");
        assert!(self.blocks.iter().map(|block| block.held).eq(held.iter().copied()), "outstanding runs by block");
        let mut is_live = false;
        for block in &self.blocks {
            is_live |= block.starts > 0;
            let is_needed = is_live || block.refs > 0;
            assert!(block.is_open || is_needed != block.bytes.is_empty(), "a block lives while it is needed");
        }
    }
}
