//! A log recounted, for tests.

use super::Log;
use crate::lane::Needs;

impl Log {
    /// Index bytes and capacity of chunks, counted anew.
    pub(crate) fn check(&self) {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.capacity).sum();
        let own: usize = self.blocks.iter().filter(|block| block.chunk.is_none()).map(|block| block.bytes.len()).sum();
        assert_eq!(self.resident, chunks + own + self.index_bytes(), "resident bytes of a log");
        assert_eq!(self.index.len() as u64, self.head.messages - self.base.messages, "one index entry per message");
        let mut seq = self.base.messages;
        for block in &self.blocks {
            assert_eq!(block.first, seq + 1, "blocks are dense");
            assert!(block.last >= block.first);
            seq = block.last;
        }
        assert_eq!(seq, self.head.messages, "blocks reach the head");
    }

    /// Whether exactly these lanes need it.
    pub(crate) fn check_needs(&self, needs: &[Needs]) {
        let mut starts = alloc::vec![0_u32; self.blocks.len()];
        let mut refs = starts.clone();
        let mut caught_up = 0;
        for need in needs {
            match need.tail {
                Some(mark) if mark.messages == self.head.messages => caught_up += 1,
                Some(mark) => starts[self.find(mark.messages + 1)] += 1,
                None => {}
            }
            for run in core::iter::once(&need.held).chain(&need.older).filter(|run| !run.is_empty()) {
                (self.find(run.first())..=self.find(run.last())).for_each(|place| refs[place] += 1);
            }
        }
        assert_eq!(self.caught_up, caught_up, "lanes at the head");
        assert!(self.blocks.iter().map(|block| block.starts).eq(starts.iter().copied()), "tails by block");
        assert!(self.blocks.iter().map(|block| block.refs).eq(refs.iter().copied()), "runs by block");
        let mut is_live = false;
        for block in &self.blocks {
            is_live |= block.starts > 0;
            let is_needed = is_live || block.refs > 0;
            assert!(block.is_open || is_needed != block.bytes.is_empty(), "a block lives while it is needed");
        }
    }
}
