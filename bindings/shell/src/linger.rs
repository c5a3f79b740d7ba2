//! Sockets that were closed by the hub and whose peer may still be reading.
//!
//! A socket that is closed with unread input answers with a reset, and a reset can overtake the last bytes: the Close
//! frame, or an HTTP refusal. So the write side is shut down first and what still comes is read and forgotten, for a
//! bounded time, number of bytes and number of sockets.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use forebay_core::Instant;

use crate::sockets::{Interest, Socket};

/// How long a peer has to take its last bytes and close.
const TIME_MAX: Duration = Duration::from_secs(2);
/// How much of its input is read meanwhile.
const BYTES_MAX: usize = 1 << 20;
/// How many sockets linger at a time; one more ends the oldest.
const SOCKETS_MAX: usize = 1_024;

#[derive(Debug)]
struct Lingering<S> {
    socket: S,
    bytes_left: usize,
    serial: u64,
}

#[derive(Debug)]
pub(crate) struct Linger<S> {
    slots: Vec<Option<Lingering<S>>>,
    free: Vec<usize>,
    /// All have the same time, so the first to come is the first to go: until when, where, and which.
    order: VecDeque<(Instant, usize, u64)>,
    serial: u64,
    count: usize,
}

impl<S: Socket> Linger<S> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), order: VecDeque::new(), serial: 0, count: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Closes a socket, at once if the peer did too. `key` makes a poller's key of a place.
    pub(crate) fn close(&mut self, mut socket: S, key: impl Fn(usize) -> usize, buffer: &mut [u8], now: Instant) {
        let mut bytes_left = BYTES_MAX;
        if socket.shutdown_write().is_err() || !drain(&mut socket, buffer, &mut bytes_left) {
            return;
        }
        if self.count == SOCKETS_MAX {
            let oldest = self.order.front().map(|(until, ..)| *until);
            oldest.into_iter().for_each(|until| self.expire_one(until));
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if socket.watch(key(index), Interest::READ).is_err() {
            self.free.push(index);
            return;
        }
        self.serial += 1;
        self.count += 1;
        self.order.push_back((now + TIME_MAX, index, self.serial));
        self.slots[index] = Some(Lingering { socket, bytes_left, serial: self.serial });
    }

    /// A lingering socket has input, or its end.
    pub(crate) fn readable(&mut self, index: usize, key: usize, rearms: bool, buffer: &mut [u8]) {
        let Some(Some(lingering)) = self.slots.get_mut(index) else { return };
        let goes_on = drain(&mut lingering.socket, buffer, &mut lingering.bytes_left);
        if !goes_on || rearms && lingering.socket.watch(key, Interest::READ).is_err() {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) -> Option<S> {
        let lingering = self.slots[index].take()?;
        self.free.push(index);
        self.count -= 1;
        // The front of `order` is somebody who is there, so that it says the next deadline.
        while let Some((_, index, serial)) = self.order.front() {
            if self.slots[*index].as_ref().is_some_and(|lingering| lingering.serial == *serial) {
                break;
            }
            self.order.pop_front();
        }
        Some(lingering.socket)
    }

    fn expire_one(&mut self, now: Instant) {
        if let Some((_, index, _)) = self.order.front().filter(|(until, ..)| *until <= now).copied()
            && let Some(mut socket) = self.remove(index)
        {
            socket.abort();
        }
    }

    /// Ends those whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.deadline().is_some_and(|until| until <= now) {
            self.expire_one(now);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(until, ..)| *until)
    }
}

/// Reads what is there, in a few pieces; `false` when it is over.
fn drain(socket: &mut impl Socket, buffer: &mut [u8], bytes_left: &mut usize) -> bool {
    for _ in 0..4 {
        match socket.read(buffer) {
            Ok(0) => return false,
            Ok(bytes) if bytes >= *bytes_left => return false,
            Ok(bytes) => *bytes_left -= bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn time_is_bounded_and_who_has_not_taken_everything_is_aborted() {
        let (mut linger, mut buffer) = (Linger::new(), [0; 64]);
        let (socket, seen) = Fake::new(0);
        linger.close(socket, |index| index, &mut buffer, NOW);
        assert_eq!(linger.deadline(), Some(NOW + TIME_MAX));
        linger.expire(NOW + (TIME_MAX - Duration::from_nanos(1)));
        assert!(!seen.borrow().is_dropped);
        linger.expire(NOW + TIME_MAX);
        assert!(seen.borrow().is_aborted && seen.borrow().is_dropped);
        assert!(linger.is_empty() && linger.deadline().is_none());
        linger.readable(0, 0, false, &mut buffer);
    }

    #[test]
    fn bytes_are_bounded() {
        let (mut linger, mut buffer) = (Linger::new(), [0; 4_096]);
        let (socket, seen) = Fake::new(0);
        linger.close(socket, |index| index, &mut buffer, NOW);
        let mut told = 0;
        while !seen.borrow().is_dropped {
            seen.borrow_mut().input.extend([0; 8_192]);
            linger.readable(0, 0, false, &mut buffer);
            told += 8_192;
            assert!(told <= BYTES_MAX + 8_192);
        }
        assert!(linger.is_empty() && linger.deadline().is_none());
    }

    #[test]
    fn the_number_is_bounded_and_the_oldest_goes() {
        let (mut linger, mut buffer) = (Linger::new(), [0; 64]);
        let all: Vec<_> = (0..SOCKETS_MAX as u64 + 2)
            .map(|n| {
                let (socket, seen) = Fake::new(0);
                linger.close(socket, |index| index, &mut buffer, NOW + Duration::from_nanos(n));
                seen
            })
            .collect();
        let dropped: Vec<usize> = (0..all.len()).filter(|n| all[*n].borrow().is_dropped).collect();
        assert_eq!(dropped, [0, 1]);
        assert_eq!(linger.count, SOCKETS_MAX);

        // One that ends early leaves the others their deadlines, and its place to a later one.
        all[2].borrow_mut().peer_has_closed = true;
        linger.readable(2, 2, false, &mut buffer);
        assert_eq!(linger.deadline(), Some(NOW + TIME_MAX + Duration::from_nanos(3)));
        let (socket, seen) = Fake::new(0);
        linger.close(socket, |index| index, &mut buffer, NOW + TIME_MAX);
        assert_eq!(seen.borrow().watched, [(2, Interest::READ)]);
        linger.expire(NOW + (TIME_MAX * 2 - Duration::from_nanos(1)));
        assert_eq!(linger.count, 1);
        assert!(!seen.borrow().is_dropped && all.iter().all(|seen| seen.borrow().is_dropped));
    }

    #[test]
    fn a_peer_that_has_closed_needs_no_lingering() {
        let (mut linger, mut buffer) = (Linger::new(), [0; 64]);
        let (socket, seen) = Fake::new(0);
        seen.borrow_mut().input.extend([0; 100]);
        seen.borrow_mut().peer_has_closed = true;
        linger.close(socket, |index| index, &mut buffer, NOW);
        assert!(seen.borrow().is_dropped && !seen.borrow().is_aborted && linger.is_empty());
    }
}
