//! One direction of a transport, in virtual time: limited room, latency, small reads, faults.

use forebay_core::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes on their way from one writer to one reader.
#[derive(Clone, Debug)]
pub struct Pipe {
    /// Bytes that may be on the way or unread: both kernels' buffers. A write takes no more than fits.
    pub capacity: usize,
    /// From a write to when it can be read.
    pub latency: Duration,
    /// Bytes of one read, at most.
    pub chunk: usize,
    /// Whether the reader has stopped reading.
    pub frozen: bool,
    queue: VecDeque<(Instant, VecDeque<u8>)>,
    used: usize,
    end: Option<Instant>,
    reset: bool,
}

impl Pipe {
    /// An empty pipe.
    #[must_use]
    pub fn new(capacity: usize, latency: Duration, chunk: usize) -> Self {
        Self {
            capacity,
            latency,
            chunk: chunk.max(1),
            frozen: false,
            queue: VecDeque::new(),
            used: 0,
            end: None,
            reset: false,
        }
    }

    /// How much a write would take now.
    #[must_use]
    pub const fn room(&self) -> usize {
        if self.end.is_some() || self.reset { 0 } else { self.capacity.saturating_sub(self.used) }
    }

    /// Bytes on the way or unread.
    #[must_use]
    pub const fn unread(&self) -> usize {
        self.used
    }

    /// Writes what fits and says how much that was.
    pub fn write(&mut self, bytes: &[u8], now: Instant) -> usize {
        let taken = bytes.len().min(self.room());
        if taken > 0 {
            self.queue.push_back((now + self.latency, bytes[..taken].iter().copied().collect()));
            self.used += taken;
        }
        taken
    }

    /// The writer is done: behind what was written comes the end.
    pub fn finish(&mut self, now: Instant) {
        if self.end.is_none() {
            self.end = Some(now + self.latency);
        }
    }

    /// The transport is torn: what was on the way is lost and the reader sees the end at once.
    pub fn reset(&mut self) {
        self.reset = true;
        self.queue.clear();
        self.used = 0;
    }

    /// Reads at most `max` bytes of what has arrived.
    pub fn read(&mut self, max: usize, now: Instant) -> Vec<u8> {
        let mut bytes = Vec::new();
        let max = max.min(self.chunk);
        while !self.frozen && bytes.len() < max {
            let Some((at, piece)) = self.queue.front_mut() else { break };
            if *at > now {
                break;
            }
            let take = piece.len().min(max - bytes.len());
            bytes.extend(piece.drain(..take));
            if piece.is_empty() {
                self.queue.pop_front();
            }
        }
        self.used -= bytes.len();
        bytes
    }

    /// Whether there is something to read.
    #[must_use]
    pub fn is_readable(&self, now: Instant) -> bool {
        !self.frozen && self.queue.front().is_some_and(|(at, _)| *at <= now)
    }

    /// Whether everything was read and no more will come.
    #[must_use]
    pub fn is_ended(&self, now: Instant) -> bool {
        self.reset || (!self.frozen && self.queue.is_empty() && self.end.is_some_and(|at| at <= now))
    }

    /// Whether the transport was torn.
    #[must_use]
    pub const fn is_reset(&self) -> bool {
        self.reset
    }

    /// Whether the writer has ended it.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.end.is_some()
    }

    /// The next moment after `now` at which something arrives.
    #[must_use]
    pub fn next_event(&self, now: Instant) -> Option<Instant> {
        if self.frozen || self.reset {
            return None;
        }
        let data = self.queue.iter().map(|(at, _)| *at).find(|at| *at > now);
        data.into_iter().chain(self.end.filter(|at| *at > now)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn room_latency_chunks_and_end() {
        let mut pipe = Pipe::new(10, MS, 3);
        let start = Instant::ZERO;
        assert_eq!(pipe.write(&[1; 7], start), 7);
        assert_eq!(pipe.write(&[2; 7], start), 3, "a write takes what fits");
        assert_eq!(pipe.write(&[3; 7], start), 0, "zero window");
        assert!(!pipe.is_readable(start) && pipe.next_event(start) == Some(start + MS));
        let later = start + MS;
        assert_eq!(pipe.read(100, later), [1; 3], "small reads");
        assert_eq!(pipe.room(), 3);
        pipe.frozen = true;
        assert!(pipe.read(100, later).is_empty() && !pipe.is_readable(later));
        pipe.frozen = false;
        pipe.finish(later);
        assert_eq!(pipe.room(), 0);
        pipe.chunk = 100;
        assert_eq!(pipe.read(100, later + MS), [1, 1, 1, 1, 2, 2, 2]);
        assert!(!pipe.is_ended(later) && pipe.is_ended(later + MS));
    }

    #[test]
    fn reset_loses_what_was_on_the_way() {
        let mut pipe = Pipe::new(10, MS, 3);
        pipe.write(&[1; 7], Instant::ZERO);
        pipe.reset();
        assert!(pipe.is_ended(Instant::ZERO) && pipe.read(9, Instant::ZERO + MS).is_empty());
        assert_eq!((pipe.room(), pipe.unread()), (0, 0));
    }
}
