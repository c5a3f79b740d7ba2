//! What an emptied log leaves for another one to begin with: a lane that fills and empties in each tick allocates nothing then.

use alloc::collections::VecDeque;
use bytes::BytesMut;

use super::{Block, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, COMPACT_BYTES_MIN, Chunk, Log, Message};

/// The capacity of a log that holds nothing.
#[derive(Debug)]
pub(crate) struct Parts {
    index: VecDeque<Message>,
    blocks: VecDeque<Block>,
    /// A chunk as it was opened; empty where somebody still had some of it.
    buffer: BytesMut,
}

impl Parts {
    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        self.buffer.capacity()
            + self.index.capacity() * size_of::<Message>()
            + self.blocks.capacity() * size_of::<Block>()
    }
}

impl Log {
    /// Begins with what another one has left; this one has no capacity of its own.
    pub(crate) fn equip(&mut self, parts: Parts) {
        debug_assert_eq!(self.resident, 0, "it has none");
        self.resident = parts.resident();
        (self.index, self.blocks, self.buffer) = (parts.index, parts.blocks, parts.buffer);
        let capacity = self.buffer.capacity();
        if capacity > 0 {
            self.chunks.insert(self.next_chunk, Chunk { capacity, live: 0, blocks: 0 });
            self.next_chunk += 1;
            self.next_chunk_bytes = (capacity * 2).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
        }
    }

    /// Takes all capacity from a log that holds nothing; `None`, and its newest chunk is closed, if it holds something.
    pub(crate) fn strip(&mut self) -> Option<Parts> {
        self.freeze();
        let buffer = self.close_chunk();
        if !self.blocks.is_empty() {
            return None;
        }
        let before = self.index_bytes();
        self.resident -= before;
        self.next_chunk_bytes = CHUNK_BYTES_MIN;
        Some(Parts { index: core::mem::take(&mut self.index), blocks: core::mem::take(&mut self.blocks), buffer })
    }

    /// Takes the chunk it began with from a log that has frozen one block, and that one small: what waits alone is not to
    /// keep what was made for much more.
    pub(crate) fn leave_large_chunk(&mut self) -> Option<Parts> {
        let (&number, chunk) = self.chunks.first_key_value().filter(|_| self.chunks.len() == 1)?;
        let is_sparse = chunk.live * 4 < chunk.capacity && chunk.capacity >= COMPACT_BYTES_MIN;
        if !is_sparse || self.is_open() || self.blocks.len() != 1 {
            return None;
        }
        self.copy_survivors(number);
        let buffer = self.close_chunk();
        self.next_chunk_bytes = CHUNK_BYTES_MIN;
        Some(Parts { index: VecDeque::new(), blocks: VecDeque::new(), buffer })
    }

    /// Nothing more is written to the newest chunk, which is charged no longer once nobody needs its blocks; its buffer, if
    /// that is now.
    pub(super) fn close_chunk(&mut self) -> BytesMut {
        let mut buffer = core::mem::take(&mut self.buffer);
        let Some(newest) = self.next_chunk.checked_sub(1) else { return buffer };
        let capacity = self.chunks.get(&newest).map_or(0, |chunk| chunk.capacity);
        self.collect_chunk(newest);
        let is_free = !self.chunks.contains_key(&newest) && buffer.try_reclaim(capacity);
        if is_free { buffer } else { BytesMut::new() }
    }
}
