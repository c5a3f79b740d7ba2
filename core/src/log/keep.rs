//! What a log keeps: what its readers need. The rest is freed.

use bytes::Bytes;
use core::ops::Range;

use super::{COMPACT_BYTES_MIN, DEAD_MIN, Log};
use crate::lane::{Mark, Needs, Run};

impl Log {
    /// What a lane needs has changed. The new needs are added before the old ones go, so that what is in both stays.
    pub(crate) fn change_needs(&mut self, before: &Needs, after: &Needs) {
        // Only who was the last to need a block lets it go: while one consumer keeps the front, others do not look at all
        // that lies between.
        let mut was_last = false;
        let number = |tail: Option<Mark>| tail.map(|mark| mark.messages);
        if number(before.tail) != number(after.tail) {
            after.tail.into_iter().for_each(|mark| self.add_start(mark));
            was_last |= before.tail.is_some_and(|mark| self.remove_start(mark));
        }
        let ends = |run: Run| (run.after.messages, run.through.messages);
        let (is_held_anew, is_older_anew) = (ends(before.held) != ends(after.held), before.older != after.older);
        if is_held_anew {
            for place in self.places(after.held) {
                let block = &mut self.blocks[place];
                (block.held, block.refs) = (block.held + 1, block.refs + 1);
            }
        }
        if is_older_anew {
            // What is in both stays as it is: a lane that rejects has runs of thousands of blocks, of which one moves at its
            // front.
            let is_in = |needs: &Needs, run: &Run| needs.older_runs().any(|other| other == *run);
            for run in after.older_runs().filter(|run| !is_in(before, run)) {
                let place = self.front_of(before, run);
                self.places(run).take_while(|at| *at < place).for_each(|at| self.blocks[at].refs += 1);
            }
            for run in before.older_runs().filter(|run| !is_in(after, run)) {
                let places = self.places(run);
                was_last |= self.release(places.start..places.end.min(self.front_of(after, run)));
            }
        }
        if is_held_anew {
            self.places(before.held).for_each(|place| self.blocks[place].held -= 1);
            was_last |= self.release(self.places(before.held));
        }
        if was_last {
            self.collect();
        }
    }

    /// The same, where a lane's tail moves over `run`, which is outstanding from now on and was not before.
    pub(crate) fn start(&mut self, run: Run) {
        self.add_start(run.through);
        for place in self.places(run) {
            let block = &mut self.blocks[place];
            (block.held, block.refs) = (block.held + 1, block.refs + 1);
        }
        self.remove_start(run.after);
    }

    /// The same, if `run` is all of the newest block, which is no longer than `bytes_max`: the usual case, without looking for
    /// anything. Whether it is.
    #[inline]
    pub(crate) fn start_newest_block(&mut self, run: Run, bytes_max: usize) -> bool {
        let Some(block) = self.blocks.back_mut() else { return false };
        if block.first != run.first() || block.last != run.last() || block.is_open || block.bytes.len() > bytes_max {
            return false;
        }
        block.starts = block.starts.checked_sub(1).expect("a tail is removed where it was added");
        (block.held, block.refs) = (block.held + 1, block.refs + 1);
        self.caught_up += 1;
        true
    }

    /// The same, where `run` was outstanding, directly before the tail, and was sent.
    #[inline]
    pub(crate) fn sent(&mut self, run: Run) {
        match self.blocks.back_mut() {
            // The usual case: others need the newest block, too.
            Some(block) if block.first <= run.first() && (block.refs > 1 || block.starts > 0) => {
                (block.held, block.refs) = (block.held - 1, block.refs - 1);
            }
            _ => self.sent_of_many(run),
        }
    }

    fn sent_of_many(&mut self, run: Run) {
        let places = self.places(run);
        places.clone().for_each(|place| self.blocks[place].held -= 1);
        if self.release(places) {
            self.collect();
        }
    }

    /// A message is needed for itself, whatever lanes need.
    pub(crate) fn keep(&mut self, seq: u64) {
        let place = self.find(seq);
        self.blocks[place].refs += 1;
    }

    /// It is not any more.
    pub(crate) fn let_go(&mut self, seq: u64) {
        let place = self.find(seq);
        if self.release(place..place + 1) {
            self.collect();
        }
    }

    /// A message that is needed for itself is outstanding.
    pub(crate) fn hold(&mut self, seq: u64) {
        let place = self.find(seq);
        self.blocks[place].held += 1;
    }

    /// It is not any more.
    pub(crate) fn unhold(&mut self, seq: u64) {
        let place = self.find(seq);
        self.blocks[place].held -= 1;
    }

    /// The places of a run's blocks. (No iterator over them: it is most often one, for every lane at every send.)
    fn places(&self, run: Run) -> Range<usize> {
        if run.is_empty() {
            return 0..0;
        }
        let from = self.find(run.first());
        let last = if self.blocks[from].last >= run.last() { from } else { self.find(run.last()) };
        from..last + 1
    }

    /// Up to where what ends like `run` does not reach in these needs: they have the places from there on.
    fn front_of(&self, needs: &Needs, run: Run) -> usize {
        let same = needs.older_runs().find(|other| other.last() == run.last());
        same.map_or(usize::MAX, |other| self.places(other).start)
    }

    /// Whether nobody needs one of these blocks of a run any more.
    fn release(&mut self, places: Range<usize>) -> bool {
        let mut was_last = false;
        for place in places {
            let block = &mut self.blocks[place];
            block.refs = block.refs.checked_sub(1).expect("a run is released where it was held");
            if block.refs == 0 && block.starts == 0 {
                was_last = true;
                if place < self.swept {
                    self.free_block(place);
                }
            }
        }
        was_last
    }

    fn add_start(&mut self, tail: Mark) {
        if tail.messages == self.head.messages {
            self.caught_up += 1;
        } else {
            let place = self.find(tail.messages + 1);
            self.blocks[place].starts += 1;
            self.swept = self.swept.min(place);
        }
    }

    /// Whether it was the last of its block.
    fn remove_start(&mut self, tail: Mark) -> bool {
        let starts = if tail.messages == self.head.messages {
            &mut self.caught_up
        } else {
            let place = self.find(tail.messages + 1);
            &mut self.blocks[place].starts
        };
        *starts = starts.checked_sub(1).expect("a tail is removed where it was added");
        *starts == 0
    }

    /// Frees what nobody needs: blocks before the first tail that no closed run touches.
    pub(super) fn collect(&mut self) {
        while let Some(block) = self.blocks.get(self.swept) {
            if block.is_open || block.starts > 0 {
                break;
            }
            if block.refs == 0 {
                self.free_block(self.swept);
            }
            self.swept += 1;
        }
        while self.swept > 0 && self.blocks[0].is_dead() {
            let block = self.blocks.pop_front().expect("it was swept");
            self.swept -= 1;
            self.dead -= block.len();
            self.index.drain(..block.len());
            self.index_base += block.len() as u64;
            self.holes -= usize::from(self.blocks.front().is_some_and(|next| block.last + 1 != next.first));
        }
        if self.dead > DEAD_MIN && self.dead * 2 > self.index.len() {
            self.compact();
        }
    }

    /// Takes dead blocks out from among the others.
    fn compact(&mut self) {
        let (mut kept, mut swept) = (0, 0);
        for (nth, block) in self.blocks.iter_mut().enumerate() {
            if block.is_dead() {
                continue;
            }
            swept += usize::from(nth < self.swept);
            let from = usize::try_from(block.place - self.index_base).expect("in memory");
            block.place = self.index_base + kept as u64;
            for place in from..from + block.len() {
                self.index.swap(kept, place);
                kept += 1;
            }
        }
        self.index.truncate(kept);
        self.blocks.retain(|block| !block.is_dead());
        let pairs = self.blocks.iter().zip(self.blocks.iter().skip(1));
        self.holes = pairs.filter(|(block, next)| block.last + 1 != next.first).count();
        (self.dead, self.swept) = (0, swept);
    }

    fn free_block(&mut self, place: usize) {
        let block = &mut self.blocks[place];
        let len = core::mem::take(&mut block.bytes).len();
        if len == 0 {
            return;
        }
        self.dead += block.len();
        let (first, chunk) = (block.first, block.chunk);
        if !self.forms.is_empty() {
            self.drop_form(first);
        }
        let Some(number) = chunk else {
            self.resident -= len;
            return;
        };
        let chunk = self.chunks.get_mut(&number).expect("a block that is alive has its chunk");
        chunk.live -= len;
        chunk.blocks -= 1;
        let is_sparse = chunk.live * 4 < chunk.capacity && chunk.capacity >= COMPACT_BYTES_MIN;
        if self.is_newest(number) {
            return;
        }
        if is_sparse {
            self.copy_survivors(number);
        }
        self.collect_chunk(number);
    }

    /// Whether the chunk is the one that is written to.
    pub(super) fn is_newest(&self, number: u64) -> bool {
        self.buffer.capacity() > 0 && number + 1 == self.next_chunk
    }

    pub(super) fn copy_survivors(&mut self, number: u64) {
        let mut copied = 0;
        for block in &mut self.blocks {
            if block.chunk == Some(number) && !block.bytes.is_empty() {
                block.bytes = Bytes::copy_from_slice(&block.bytes);
                block.chunk = None;
                copied += block.bytes.len();
            }
        }
        let chunk = self.chunks.get_mut(&number).expect("just looked up");
        chunk.blocks = 0;
        chunk.live = 0;
        self.resident += copied;
    }

    pub(super) fn collect_chunk(&mut self, number: u64) {
        if self.chunks.get(&number).is_some_and(|chunk| chunk.blocks == 0) {
            let chunk = self.chunks.remove(&number).expect("just looked up");
            self.resident -= chunk.capacity;
        }
    }
}
