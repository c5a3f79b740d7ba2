//! The table of sockets, by the place of their connection in the hub.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use forebay_core::ConnId;
use forebay_sys::Watched;

/// What of a socket is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    /// When it can be read.
    pub read: bool,
    /// When it can be written to.
    pub write: bool,
}

impl Interest {
    /// Reading only, as an idle connection.
    pub const READ: Self = Self { read: true, write: false };
}

/// A non-blocking socket and its place in a poller or reactor.
pub trait Socket: Read + Write {
    /// What is to be told of it from now on, under which key.
    ///
    /// # Errors
    /// The system refused: the connection cannot be had.
    fn watch(&mut self, key: usize, interest: Interest) -> io::Result<()>;

    /// A FIN follows what was written.
    ///
    /// # Errors
    /// The connection is broken.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Called before a socket is dropped whose peer had time to take what was written and has not: the kernel is to
    /// forget it.
    fn abort(&mut self);
}

impl Socket for Watched<TcpStream> {
    fn watch(&mut self, key: usize, interest: Interest) -> io::Result<()> {
        Watched::watch(self, key, interest.read, interest.write)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        forebay_sys::shutdown_write(self.source())
    }

    fn abort(&mut self) {
        if forebay_sys::unsent_bytes(self.source()) != Some(0) {
            // If it fails the kernel gives up by itself, later.
            let _ = forebay_sys::abort_on_close(self.source());
        }
    }
}

/// A connection's socket.
#[derive(Debug)]
pub(crate) struct Slot<S> {
    /// The whole id: its index alone may name a later connection.
    pub(crate) conn: ConnId,
    pub(crate) socket: S,
    pub(crate) wanted: Interest,
    /// What the poller was told.
    pub(crate) armed: Interest,
}

#[derive(Debug)]
pub(crate) struct Sockets<S> {
    slots: Vec<Option<Slot<S>>>,
    /// Where `wanted` may differ from `armed`. An index may stand twice, or be empty by now.
    changed: Vec<usize>,
}

impl<S> Sockets<S> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), changed: Vec::new() }
    }

    pub(crate) fn insert(&mut self, conn: ConnId, socket: S) -> &mut Slot<S> {
        let index = conn.index();
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let slot = &mut self.slots[index];
        debug_assert!(slot.is_none(), "the hub gave the index away twice");
        slot.insert(Slot { conn, socket, wanted: Interest::READ, armed: Interest::default() })
    }

    pub(crate) fn at(&mut self, index: usize) -> Option<&mut Slot<S>> {
        self.slots.get_mut(index)?.as_mut()
    }

    pub(crate) fn get(&mut self, conn: ConnId) -> Option<&mut Slot<S>> {
        self.at(conn.index()).filter(|slot| slot.conn == conn)
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<S> {
        self.get(conn)?;
        self.slots[conn.index()].take().map(|slot| slot.socket)
    }

    /// Changes what is wanted of a connection; the poller is told at the end of the turn.
    pub(crate) fn want(&mut self, conn: ConnId, change: impl FnOnce(&mut Interest)) {
        if let Some(slot) = self.get(conn) {
            change(&mut slot.wanted);
            if slot.wanted != slot.armed {
                self.changed.push(conn.index());
            }
        }
    }

    /// One-shot pollers forget what they were told with every event.
    pub(crate) fn forget_armed(&mut self, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.armed = Interest::default();
            self.changed.push(index);
        }
    }

    pub(crate) fn pop_changed(&mut self) -> Option<&mut Slot<S>> {
        loop {
            let index = self.changed.pop()?;
            // The borrow checker does not see that `at` could be returned here.
            if self.at(index).is_some_and(|slot| slot.wanted != slot.armed) {
                return self.at(index);
            }
        }
    }
}
