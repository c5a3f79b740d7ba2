//! Reading a log: what goes into a Transmit, and how far a partial send reached.

use bytes::Bytes;
use core::ops::Range;

use super::{Block, INDEX_MIN, Log, Message};
use crate::lane::{Mark, Run};
use crate::time::Instant;

/// Where a plan for a Transmit ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) cut: Mark,
    pub(crate) bytes: usize,
    pub(crate) slices: usize,
}

impl Log {
    /// How much of `run` goes into one Transmit: up to `bytes_max` and `slices_max`, at least one message if `one`.
    pub(crate) fn plan(&self, run: Run, bytes_max: usize, slices_max: usize, one: bool) -> Plan {
        let mut plan = Plan { cut: run.after, bytes: 0, slices: 0 };
        if run.is_empty() || slices_max == 0 {
            return plan;
        }
        let mut place = self.find(run.first());
        while plan.cut.messages < run.last() && plan.slices < slices_max {
            let block = &self.blocks[place];
            assert!(!block.is_open, "only frozen blocks are sent");
            let from = self.offset_before(block, plan.cut.messages + 1);
            let last = block.last.min(run.last());
            let room = bytes_max.saturating_sub(plan.bytes);
            let (cut, end) = match self.offset_after(block, last) {
                end if end - from <= room => (last, end),
                _ => self.fitting(block, plan.cut.messages, from + room),
            };
            let (cut, end) = if cut == plan.cut.messages && plan.bytes == 0 && one {
                (cut + 1, self.offset_after(block, cut + 1))
            } else {
                (cut, end)
            };
            if cut == plan.cut.messages {
                break;
            }
            let cut_at = if cut == run.last() { run.through } else { self.mark(cut) };
            plan = Plan { cut: cut_at, bytes: plan.bytes + end - from, slices: plan.slices + 1 };
            if cut < last {
                break;
            }
            place += 1;
        }
        plan
    }

    /// The last message behind `after` in the block whose frame ends at or before `limit`.
    fn fitting(&self, block: &Block, after: u64, limit: usize) -> (u64, usize) {
        let (mut low, mut high) = (after, block.last);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.offset_after(block, middle) <= limit { low = middle } else { high = middle - 1 }
        }
        (low, if low == after { limit } else { self.offset_after(block, low) })
    }

    fn offset_before(&self, block: &Block, seq: u64) -> usize {
        if seq == block.first { 0 } else { self.message(seq - 1).end as usize }
    }

    pub(super) fn offset_after(&self, block: &Block, seq: u64) -> usize {
        if seq == block.last && !block.is_open { block.bytes.len() } else { self.message(seq).end as usize }
    }

    /// The last message of `run` that was published before `stamp`.
    pub(crate) fn last_before(&self, run: Run, stamp: u64) -> Mark {
        let (mut low, mut high) = (run.after.messages, run.last());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.stamp(middle) < stamp { low = middle } else { high = middle - 1 }
        }
        if low == run.after.messages { run.after } else { self.mark(low) }
    }

    /// The last message at the front of `run` that was published when `is` holds; `None` if it does not for the first.
    pub(crate) fn last_at(&self, run: Run, is: impl Fn(Instant) -> bool) -> Option<Mark> {
        let from = (!run.is_empty()).then(|| self.find(run.first()))?;
        let blocks = self.blocks.range(from..).take_while(|block| block.first <= run.last() && is(block.at));
        blocks.last().map(|block| self.mark(block.last.min(run.last())))
    }

    /// The most resident bytes a copy of `run` may have.
    pub(crate) fn copy_bytes_max(&self, run: Run) -> usize {
        let messages = usize::try_from(run.count().messages).expect("in memory");
        let len: usize = self.pieces(run).map(|(_, range)| range.len()).sum();
        // Its index grows by doubling; it is one block.
        len + INDEX_MIN.max(2 * messages) * size_of::<Message>() + INDEX_MIN * size_of::<Block>()
    }

    /// A log of its own that holds a copy of `run` and nothing else.
    pub(crate) fn copy_of(&self, run: Run) -> Log {
        let len = self.pieces(run).map(|(_, range)| range.len()).sum();
        let mut copy = Log::new(run.after);
        copy.open_chunk(len, len);
        copy.caught_up = 1;
        let mut from = run.after;
        for (bytes, range) in self.pieces(run) {
            let block = &self.blocks[self.find(from.messages + 1)];
            let mut start = range.start;
            for seq in from.messages + 1..=block.last.min(run.last()) {
                let mark = self.mark(seq);
                let end = self.offset_after(block, seq);
                let payload_bytes = mark.bytes - from.bytes;
                copy.append((payload_bytes, end - start), (self.stamp(seq), block.at), 0, |out| {
                    out.extend_from_slice(&bytes[start..end]);
                });
                (from, start) = (mark, end);
            }
        }
        copy.freeze();
        copy
    }

    /// The bytes of `run`, one piece per block.
    pub(crate) fn pieces(&self, run: Run) -> impl Iterator<Item = (&Bytes, Range<usize>)> {
        let (from, to) = if run.is_empty() { (0, 0) } else { (self.find(run.first()), self.find(run.last()) + 1) };
        self.blocks.range(from..to).map(move |block| {
            let start = self.offset_before(block, block.first.max(run.first()));
            let end = self.offset_after(block, block.last.min(run.last()));
            (&block.bytes, start..end)
        })
    }

    /// The bytes of `run`, where they lie in one block.
    #[inline]
    pub(crate) fn single(&self, run: Run) -> Option<&[u8]> {
        match self.blocks.back() {
            Some(block) if block.first == run.first() && block.last == run.last() => Some(&block.bytes),
            _ => self.single_of_many(run),
        }
    }

    fn single_of_many(&self, run: Run) -> Option<&[u8]> {
        let (block, last) = (&self.blocks[self.find(run.first())], run.last());
        (block.last >= last)
            .then(|| &block.bytes[self.offset_before(block, run.first())..self.offset_after(block, last)])
    }

    /// How long `run` is, in bytes of frames.
    #[inline]
    pub(crate) fn run_bytes(&self, run: Run) -> usize {
        self.single(run).map_or_else(|| self.run_bytes_of_many(run), <[u8]>::len)
    }

    fn run_bytes_of_many(&self, run: Run) -> usize {
        self.pieces(run).map(|(_, range)| range.len()).sum()
    }

    /// How far `sent` bytes of `run` reach: the cut behind the last message covered, and of the message they end in the cut
    /// behind it and the rest.
    pub(crate) fn split(&self, run: Run, mut sent: usize) -> (Mark, Option<(Mark, &[u8])>) {
        let mut cut = run.after;
        for (bytes, range) in self.pieces(run) {
            let block = &self.blocks[self.find(cut.messages + 1)];
            if sent >= range.len() {
                sent -= range.len();
                cut = self.mark(block.last.min(run.last()));
                continue;
            }
            let (last, end) = self.fitting(block, cut.messages, range.start + sent);
            let is_whole = if last == cut.messages { sent == 0 } else { end == range.start + sent };
            if last != cut.messages {
                cut = self.mark(last);
            }
            let rest = || &bytes[range.start + sent..self.offset_after(block, last + 1)];
            return (cut, (!is_whole).then(|| (self.mark(last + 1), rest())));
        }
        (cut, None)
    }
}
