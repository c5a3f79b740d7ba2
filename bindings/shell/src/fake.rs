//! A socket in memory, for tests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use crate::sockets::{Interest, Socket};

/// What a peer, the kernel and a poller see of a socket.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What is to be read; then it would block, unless the peer has closed.
    pub(crate) input: VecDeque<u8>,
    pub(crate) peer_has_closed: bool,
    /// What the kernel still takes; then it would block. Broken: nothing can be written.
    pub(crate) room: usize,
    pub(crate) is_broken: bool,
    pub(crate) output: Vec<u8>,
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    /// The poller takes it no more.
    pub(crate) is_unwatchable: bool,
    /// All that the poller was told.
    pub(crate) watched: Vec<(usize, Interest)>,
    pub(crate) is_shut_down: bool,
    pub(crate) is_aborted: bool,
    pub(crate) is_dropped: bool,
}

#[derive(Debug)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<Seen>>);

impl Fake {
    pub(crate) fn new(room: usize) -> (Self, Rc<RefCell<Seen>>) {
        let seen = Rc::new(RefCell::new(Seen { room, ..Seen::default() }));
        (Self(Rc::clone(&seen)), seen)
    }
}

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut seen = self.0.borrow_mut();
        seen.reads += 1;
        if seen.input.is_empty() && !seen.peer_has_closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        seen.input.read(buffer)
    }
}

impl Write for Fake {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut seen = self.0.borrow_mut();
        seen.writes += 1;
        let bytes = buffer.len().min(seen.room);
        if seen.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        seen.room -= bytes;
        seen.output.extend_from_slice(&buffer[..bytes]);
        Ok(bytes)
    }

    fn write_vectored(&mut self, buffers: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        self.write(&all)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Fake {
    fn watch(&mut self, key: usize, interest: Interest) -> io::Result<()> {
        let mut seen = self.0.borrow_mut();
        if seen.is_unwatchable {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        seen.watched.push((key, interest));
        Ok(())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().is_shut_down = true;
        Ok(())
    }

    fn abort(&mut self) {
        self.0.borrow_mut().is_aborted = true;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.borrow_mut().is_dropped = true;
    }
}
