//! A topic's log in one encoding: blocks of frames, and an index of their messages.
//!
//! A publish writes one message behind the others of this tick. At the first poll after it the tick's bytes are frozen
//! into a block. Blocks are cut from *chunks*, one allocation each, so that ticks of a few messages share one. Resident
//! bytes are counted by allocated capacity: chunks, and the index.
//!
//! Those who take compressed messages share a *form* of the block: see `form.rs`.
//!
//! The log keeps no list of its readers. Per block it counts the lanes whose tail starts there (`starts`: they need it
//! and everything behind it) and the closed runs that touch it (`refs`). Lanes at the head are one number, `caught_up`:
//! the next message starts them all.
//!
//! A run may be needed long after everything around it is gone (`Policy::DropNewest`). Its neighbours' bytes go at once,
//! their places in the index when more than half of the index is of such: then it has *holes*.

mod check;
mod form;
mod keep;
mod parts;
mod read;

use alloc::collections::{BTreeMap, VecDeque};
use bytes::{Bytes, BytesMut};

use crate::lane::Mark;
use crate::time::Instant;
pub(crate) use form::{Form, FormRoom, Front, Unit};
pub(crate) use parts::Parts;
pub(crate) use read::Plan;

/// The first chunk of a log; each further one is twice as large, up to `CHUNK_BYTES_MAX`.
const CHUNK_BYTES_MIN: usize = 1 << 10;
/// The index is not compacted for fewer messages than this.
const DEAD_MIN: usize = 64;
/// So much of an open block goes with it into the next chunk, so that a tick is one block.
const MOVED_BYTES_MAX: usize = 16 << 10;
/// Large enough for a whole Transmit in one slice.
const CHUNK_BYTES_MAX: usize = 128 << 10;
/// A chunk with less than a quarter of it alive has its survivors copied out; below this size it is not worth it.
const COMPACT_BYTES_MIN: usize = 4 << 10;
const INDEX_MIN: usize = 16;

#[derive(Debug)]
struct Message {
    /// Payload bytes of the topic up to and with this message.
    bytes: u64,
    /// Its place in the order of all publishes of the hub.
    stamp: u64,
    /// Where its frame ends in the block.
    end: u32,
}

#[derive(Debug)]
struct Block {
    first: u64,
    last: u64,
    /// The place of its first message in the index, counted from the first one ever.
    place: u64,
    /// When its first message was published.
    at: Instant,
    /// Empty while the block is open, and when nobody needs it any more but a block before it is still needed.
    bytes: Bytes,
    is_open: bool,
    starts: u32,
    refs: u32,
    /// Of these, how many are outstanding: nobody can drop them.
    held: u32,
    /// The number of its chunk; `None`: an allocation of its own.
    chunk: Option<u64>,
}

#[derive(Debug)]
struct Chunk {
    capacity: usize,
    /// Frozen bytes of blocks that are needed.
    live: usize,
    /// Blocks that are needed, the open one included.
    blocks: u32,
}

#[derive(Debug)]
pub(crate) struct Log {
    head: Mark,
    index: VecDeque<Message>,
    /// How many messages have left the index.
    index_base: u64,
    /// Messages in the index whose block is dead.
    dead: usize,
    /// How often a block is not followed by the next message's.
    holes: usize,
    blocks: VecDeque<Block>,
    /// Blocks at the front that no tail needs: those of them that are alive are needed by closed runs.
    swept: usize,
    /// The rest of the newest chunk, behind the bytes of the open block.
    buffer: BytesMut,
    chunks: BTreeMap<u64, Chunk>,
    /// The number of the next chunk.
    next_chunk: u64,
    next_chunk_bytes: usize,
    caught_up: u32,
    /// Of blocks, by the number of their first message.
    forms: BTreeMap<u64, Form>,
    resident: usize,
}

impl Block {
    fn len(&self) -> usize {
        usize::try_from(self.last + 1 - self.first).expect("in memory")
    }

    /// Whether it only keeps its place.
    fn is_dead(&self) -> bool {
        !self.is_open && self.bytes.is_empty()
    }
}

impl Log {
    pub(crate) fn new(head: Mark) -> Self {
        Self {
            head,
            index: VecDeque::new(),
            index_base: 0,
            dead: 0,
            holes: 0,
            blocks: VecDeque::new(),
            swept: 0,
            buffer: BytesMut::new(),
            chunks: BTreeMap::new(),
            next_chunk: 0,
            next_chunk_bytes: CHUNK_BYTES_MIN,
            caught_up: 0,
            forms: BTreeMap::new(),
            resident: 0,
        }
    }

    pub(crate) fn head(&self) -> Mark {
        self.head
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        self.resident
    }

    pub(crate) fn is_open(&self) -> bool {
        self.blocks.back().is_some_and(|block| block.is_open)
    }

    /// Whether `len` bytes can be appended with nothing to be made for them: the usual case within a tick.
    fn takes_one_more(&self, len: usize) -> bool {
        self.index.len() < self.index.capacity()
            && self.blocks.len() < self.blocks.capacity()
            && self.is_open()
            && self.buffer.capacity() - self.buffer.len() >= len
    }

    /// How many resident bytes appending `len` bytes adds at the least.
    pub(crate) fn growth(&mut self, len: usize) -> usize {
        if self.takes_one_more(len) {
            return 0;
        }
        let chunk = if self.has_room(len) { 0 } else { len };
        chunk + self.index_growth()
    }

    fn has_room(&mut self, len: usize) -> bool {
        let open = if self.is_open() { self.buffer.len() } else { 0 };
        // Reclaiming moves what is not frozen to the front of the chunk; it never allocates.
        self.buffer.capacity() - open >= len || (self.buffer.capacity() > 0 && self.buffer.try_reclaim(len))
    }

    fn index_growth(&self) -> usize {
        let index = if self.index.len() == self.index.capacity() { self.index.capacity().max(INDEX_MIN) } else { 0 };
        let blocks =
            if self.blocks.len() == self.blocks.capacity() { self.blocks.capacity().max(INDEX_MIN) } else { 0 };
        index * size_of::<Message>() + blocks * size_of::<Block>()
    }

    /// Appends a message whose frame of `len` bytes `write` writes. At most `room` resident bytes are added, or
    /// [`growth`](Self::growth) if that is more.
    pub(crate) fn append(
        &mut self,
        (payload_bytes, len): (u64, usize),
        (stamp, now): (u64, Instant),
        room: usize,
        write: impl FnOnce(&mut BytesMut),
    ) {
        let seq = self.head.messages + 1;
        if !self.takes_one_more(len) {
            let index_growth = self.index_growth();
            if !self.has_room(len) {
                self.open_chunk(len, room.saturating_sub(index_growth));
            }
            self.grow_index();
        }
        if !self.is_open() {
            let chunk = self.next_chunk - 1;
            self.chunks.get_mut(&chunk).expect("a chunk was opened").blocks += 1;
            self.holes += usize::from(self.blocks.back().is_some_and(|block| block.last + 1 != seq));
            self.blocks.push_back(Block {
                first: seq,
                last: seq,
                place: self.index_base + self.index.len() as u64,
                at: now,
                bytes: Bytes::new(),
                is_open: true,
                starts: 0,
                refs: 0,
                held: 0,
                chunk: Some(chunk),
            });
        }
        self.append_behind((payload_bytes, len), stamp, write);
    }

    /// Whether `len` bytes can be appended to the block that was begun at that time, with nothing to be made for them.
    pub(crate) fn takes_behind(&self, len: usize, now: Instant) -> bool {
        self.takes_one_more(len) && self.blocks.back().is_some_and(|block| block.at == now)
    }

    /// The same as [`append`](Self::append), where that is so.
    #[inline]
    pub(crate) fn append_behind(
        &mut self,
        (payload_bytes, len): (u64, usize),
        stamp: u64,
        write: impl FnOnce(&mut BytesMut),
    ) {
        let seq = self.head.messages + 1;
        let block = self.blocks.back_mut().expect("a block is open");
        let before = self.buffer.len();
        write(&mut self.buffer);
        assert_eq!(self.buffer.len() - before, len, "a dialect writes what it announces");
        block.last = seq;
        block.starts += core::mem::take(&mut self.caught_up);
        self.head = Mark { messages: seq, bytes: self.head.bytes + payload_bytes };
        let end = u32::try_from(self.buffer.len()).expect("a block is shorter than 2^32 bytes");
        self.index.push_back(Message { bytes: self.head.bytes, stamp, end });
    }

    fn open_chunk(&mut self, len: usize, room: usize) {
        let capacity = len.max(self.next_chunk_bytes.min(room));
        let open = if self.is_open() { self.buffer.len() } else { 0 };
        // Not where memory is short: what lies in one block goes together.
        let is_roomy = room >= 2 * CHUNK_BYTES_MAX;
        let is_moved = is_roomy && open > 0 && open <= MOVED_BYTES_MAX && open + len <= capacity;
        if !is_moved {
            self.seal();
        }
        self.next_chunk_bytes = (self.next_chunk_bytes * 2).min(CHUNK_BYTES_MAX);
        let before = core::mem::replace(&mut self.buffer, BytesMut::with_capacity(capacity));
        let (number, capacity) = (self.next_chunk, self.buffer.capacity());
        self.chunks.insert(number, Chunk { capacity, live: 0, blocks: 0 });
        self.next_chunk += 1;
        self.resident += capacity;
        if is_moved {
            self.buffer.extend_from_slice(&before);
            self.chunks.get_mut(&number).expect("just opened").blocks = 1;
            let block = self.blocks.back_mut().expect("a block is open");
            let left = block.chunk.replace(number).expect("the open block has a chunk");
            self.chunks.get_mut(&left).expect("the open block has a chunk").blocks -= 1;
            self.collect_chunk(left);
        }
    }

    fn grow_index(&mut self) {
        let before = self.index_bytes();
        if self.index.len() == self.index.capacity() {
            self.index.reserve_exact(self.index.capacity().max(INDEX_MIN));
        }
        if self.blocks.len() == self.blocks.capacity() {
            self.blocks.reserve_exact(self.blocks.capacity().max(INDEX_MIN));
        }
        self.resident += self.index_bytes() - before;
    }

    fn index_bytes(&self) -> usize {
        self.index.capacity() * size_of::<Message>() + self.blocks.capacity() * size_of::<Block>()
    }

    /// Freezes the open block: from now on it can be sent.
    pub(crate) fn freeze(&mut self) {
        let Some(block) = self.blocks.back_mut() else { return };
        if !block.is_open {
            return;
        }
        block.is_open = false;
        block.bytes = self.buffer.split().freeze();
        let chunk = self.chunks.get_mut(&(self.next_chunk - 1)).expect("the open block has a chunk");
        chunk.live += block.bytes.len();
        self.collect();
    }

    /// Freezes the open block if it was begun at another time: then a block's time is that of each of its messages.
    pub(crate) fn begin_tick(&mut self, now: Instant) {
        if self.blocks.back().is_some_and(|block| block.is_open && block.at != now) {
            self.freeze();
        }
    }

    /// Closes the newest chunk, so that it goes as soon as nobody needs its blocks.
    pub(crate) fn seal(&mut self) {
        self.freeze();
        self.close_chunk();
    }

    /// Gives back all capacity of a log that holds nothing.
    pub(crate) fn shrink(&mut self) {
        self.strip();
    }

    /// The cut after message `seq`, which somebody needs.
    pub(crate) fn mark(&self, seq: u64) -> Mark {
        Mark { messages: seq, bytes: self.message(seq).bytes }
    }

    fn message(&self, seq: u64) -> &Message {
        let block = if self.holes == 0 { &self.blocks[0] } else { &self.blocks[self.find(seq)] };
        let place = block.place - self.index_base + (seq - block.first);
        &self.index[usize::try_from(place).expect("in memory")]
    }

    /// The place of message `seq` in the order of all publishes of the hub.
    pub(crate) fn stamp(&self, seq: u64) -> u64 {
        self.message(seq).stamp
    }

    /// When the block of message `seq` was begun.
    pub(crate) fn at(&self, seq: u64) -> Instant {
        self.blocks[self.find(seq)].at
    }

    fn find(&self, seq: u64) -> usize {
        match self.blocks.back() {
            Some(block) if block.first <= seq => self.blocks.len() - 1,
            _ => self.blocks.partition_point(|block| block.last < seq),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The last message of the oldest block that would go if lanes dropped what waits up to its end; up to message `limit`.
    pub(crate) fn oldest_droppable(&self, limit: u64) -> Option<Mark> {
        let block = self.blocks.iter().find(|block| block.held == 0 && !block.bytes.is_empty())?;
        (block.last <= limit).then(|| self.mark(block.last))
    }

    /// The last message of the first block that a reader at `tail` needs, where nobody else has a tail in it or before it.
    pub(crate) fn kept_only_behind(&self, tail: Mark) -> Option<Mark> {
        let block = self.blocks.get(self.swept).filter(|_| tail.messages < self.head.messages)?;
        (block.starts == 1 && self.find(tail.messages + 1) == self.swept).then(|| self.mark(block.last))
    }

    /// How many resident bytes appending `len` bytes may add once nobody needs the messages up to `seq`.
    pub(crate) fn growth_without(&mut self, seq: u64, len: usize) -> usize {
        if self.is_whole_freeable(seq) {
            // It begins anew.
            return len + INDEX_MIN * (size_of::<Message>() + size_of::<Block>());
        }
        let is_front_freed = self.blocks.front().is_some_and(|block| block.held == 0 && block.last <= seq);
        let index = if is_front_freed { 0 } else { self.index_growth() };
        index + if self.has_room(len) { 0 } else { len }
    }

    /// How many resident bytes appending `len` bytes may add, whatever the log loses before.
    pub(crate) fn growth_at_most(&self, len: usize) -> usize {
        len + self.index_growth().max(INDEX_MIN * (size_of::<Message>() + size_of::<Block>()))
    }

    fn is_whole_freeable(&self, seq: u64) -> bool {
        self.head.messages <= seq && self.blocks.iter().all(|block| block.held == 0)
    }

    /// Resident bytes that would go if nobody needed the messages up to `seq`. The log is sealed.
    pub(crate) fn freeable(&self, seq: u64) -> usize {
        if self.is_whole_freeable(seq) {
            return self.resident;
        }
        let mut freed = 0;
        let mut is_held = false;
        for (place, block) in self.blocks.iter().enumerate() {
            if block.last > seq {
                break;
            }
            match block.chunk {
                None if block.held > 0 => {}
                None => freed += block.bytes.len(),
                Some(number) => {
                    let ends = self.blocks.get(place + 1).is_none_or(|next| next.chunk != Some(number));
                    is_held |= block.held > 0;
                    if ends && !core::mem::take(&mut is_held) {
                        // A dead block outlives its chunk.
                        freed += self.chunks.get(&number).map_or(0, |chunk| chunk.capacity);
                    }
                }
            }
        }
        freed
    }
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod tests;
