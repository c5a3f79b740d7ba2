//! A hub and its sockets.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use forebay_core::wire::handshake::put_refusal;
use forebay_core::{
    AcceptError, Cause, ClientRequest, ConnId, ConnectError, Effect, Event, Hub, Instant, Peer, Upgraded,
};
use forebay_sys::{Events, Watched};

use crate::Clock;
use crate::linger::Linger;
use crate::sockets::{Interest, Slot, Socket, Sockets};

/// One read: what a publisher sends in a tick is to come in one.
const READ_BYTES: usize = 256 << 10;
/// Reads of one connection per readiness, the second only if the first was full: nobody is starved by one who floods.
const READS_MAX: usize = 2;
/// Writes per turn, and what they take at most, but for the last one (0.1 s of either); then there is input again. A turn
/// writes to everybody who is ready, where it can: input that comes in between is one write more to each of them. (Measured: of
/// 5,000 subscribers 4,096 at a time cost 1.6 times as much per message of 128 B as all, and 32 MiB 1.3 times as much per KiB.)
const WRITES_MAX: usize = 16_384;
const WRITE_BYTES_MAX: usize = if cfg!(test) { 32 << 20 } else { 256 << 20 };
/// Events per turn.
const EVENTS_MAX: usize = 4_096;
/// Rounds of a turn: what is said while events are told is written at once, but not without end.
const ROUNDS_MAX: usize = 64;
/// A clock is read again after so many writes: they are what takes time.
const WRITES_PER_CLOCK: usize = 16;

/// What an application does with what a hub tells.
pub trait Application {
    /// Before events are polled: what belongs to a connection is gone once its end was told.
    fn before_events(&mut self, hub: &mut Hub, now: Instant) {
        let _ = (hub, now);
    }

    /// Something happened.
    fn event(&mut self, hub: &mut Hub, event: Event, now: Instant);
}

/// A hub with its sockets, its clock and one read buffer: everything a worker has, but the waiting.
///
/// A tick is: wait; [`tick`](Self::tick); [`readable`](Self::readable) and [`writable`](Self::writable) for what the
/// poller told; new sockets; commands; and then one [`turn`](Self::turn), which says how long to wait: all input before
/// any output.
#[derive(Debug)]
pub struct Driver<S> {
    hub: Hub,
    clock: Clock,
    now: Instant,
    sockets: Sockets<S>,
    linger: Linger<S>,
    buffer: Box<[u8]>,
    rearms: bool,
}

/// A poller's key is the place of a connection, or of a lingering socket.
fn conn_key(index: usize) -> usize {
    index << 1
}

fn linger_key(index: usize) -> usize {
    index << 1 | 1
}

/// What a turn may still write.
struct Writes {
    count: usize,
    bytes: usize,
}

impl Default for Writes {
    fn default() -> Self {
        Self { count: WRITES_MAX, bytes: WRITE_BYTES_MAX }
    }
}

impl Writes {
    fn is_none(&self) -> bool {
        self.count == 0 || self.bytes == 0
    }

    fn take(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl<S: Socket> Driver<S> {
    /// A driver. `rearms`: the poller tells things once, and then has to be told again what is wanted.
    #[must_use]
    pub fn new(hub: Hub, clock: Clock, rearms: bool) -> Self {
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        Self { hub, clock, now: clock.now(), sockets: Sockets::new(), linger: Linger::new(), buffer, rearms }
    }

    /// The hub, for commands.
    pub fn hub(&mut self) -> &mut Hub {
        &mut self.hub
    }

    /// The time of this tick.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Begins a tick: reads the clock.
    pub fn tick(&mut self) -> Instant {
        self.now = self.clock.now();
        self.now
    }

    /// Takes an accepted socket; one that is not taken is answered with 503 and closed.
    ///
    /// # Errors
    /// As the hub says.
    pub fn accept(&mut self, socket: S, peer: Peer) -> Result<ConnId, AcceptError> {
        match self.hub.handle_accept(peer, self.now) {
            Ok(conn) => {
                self.insert(conn, socket);
                Ok(conn)
            }
            Err(error) => {
                self.turn_away(socket, error);
                Err(error)
            }
        }
    }

    /// Says why a socket is not taken. It speaks HTTP so far, and has not been written to: there is room for so little.
    fn turn_away(&mut self, mut socket: S, error: AcceptError) {
        let mut answer = BytesMut::new();
        put_refusal(&mut answer, 503, &error.to_string());
        if written(|| socket.write(&answer)).is_ok_and(|written| written == answer.len()) {
            // What it has sent, or is sending, must not make a reset that overtakes the answer.
            self.linger.close(socket, linger_key, &mut self.buffer, self.now);
        }
    }

    /// Takes an accepted socket from which `leftover` was read already, which is part of the opening request or goes on
    /// behind it; one that is not taken is answered with 503 and closed.
    ///
    /// # Errors
    /// As the hub says.
    pub fn adopt(&mut self, socket: S, peer: Peer, leftover: &[u8]) -> Result<ConnId, AcceptError> {
        let conn = self.accept(socket, peer)?;
        // What the kernel still holds is told, because the poller is level-triggered or has just been asked.
        if self.sockets.get(conn).is_some() {
            self.hub.handle_bytes(conn, leftover, self.now);
        }
        Ok(conn)
    }

    /// Takes a socket whose opening handshake somebody else has answered, and what was read behind it; one that is not
    /// taken is closed.
    ///
    /// # Errors
    /// As the hub says.
    pub fn adopt_upgraded(
        &mut self,
        socket: S,
        upgraded: Upgraded<'_>,
        leftover: &[u8],
    ) -> Result<ConnId, AcceptError> {
        let conn = self.hub.handle_upgraded(upgraded, leftover, self.now)?;
        self.insert(conn, socket);
        Ok(conn)
    }

    /// Starts the client role on a connected socket.
    ///
    /// # Errors
    /// As the hub says.
    pub fn connect(&mut self, socket: S, request: ClientRequest<'_>) -> Result<ConnId, ConnectError> {
        let conn = self.hub.connect(request, self.now)?;
        self.insert(conn, socket);
        Ok(conn)
    }

    fn insert(&mut self, conn: ConnId, socket: S) {
        let slot = self.sockets.insert(conn, socket);
        match slot.socket.watch(conn_key(conn.index()), Interest::READ) {
            Ok(()) => slot.armed = Interest::READ,
            Err(error) => self.broken(conn, &error),
        }
    }

    /// The socket with that key can be read, or has broken.
    pub fn readable(&mut self, key: usize) {
        let index = key >> 1;
        if key == linger_key(index) {
            return self.linger.readable(index, key, self.rearms, &mut self.buffer);
        }
        let Some(slot) = self.sockets.at(index) else { return };
        let conn = slot.conn;
        if !slot.armed.read {
            // Nobody asked, so it can only be that both directions are at their end, which is told unasked.
            return self.end(conn);
        }
        if self.rearms {
            self.sockets.forget_armed(index);
        }
        for _ in 0..READS_MAX {
            let Some(slot) = self.sockets.get(conn) else { return };
            match slot.socket.read(&mut self.buffer) {
                Ok(0) => return self.end(conn),
                Ok(bytes) => {
                    self.hub.handle_bytes(conn, &self.buffer[..bytes], self.now);
                    if bytes < self.buffer.len() || !self.hub.wants_read(conn) {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.broken(conn, &error),
            }
        }
    }

    /// The socket with that key can be written to again.
    pub fn writable(&mut self, key: usize) {
        let index = key >> 1;
        if key == linger_key(index) {
            return;
        }
        let Some(slot) = self.sockets.at(index).filter(|slot| slot.wanted.write) else { return };
        let conn = slot.conn;
        if self.rearms {
            self.sockets.forget_armed(index);
        }
        self.sockets.want(conn, |interest| interest.write = false);
        self.hub.handle_writable(conn, self.now);
    }

    fn broken(&mut self, conn: ConnId, error: &io::Error) {
        log::debug!("{conn:?}: {error}");
        self.end(conn);
    }

    fn end(&mut self, conn: ConnId) {
        self.sockets.remove(conn);
        self.hub.handle_eof(conn, self.now);
    }

    /// Everything the hub wants: writes, closes, pauses, and tells what happened. Says after how long it wants the next
    /// turn at the latest; zero: there is more to do.
    pub fn turn(&mut self, application: &mut impl Application) -> Option<Duration> {
        let now = self.tick();
        self.hub.handle_timeout(now);
        self.linger.expire(now);
        let (mut writes_left, mut events_left, mut rounds_left) = (Writes::default(), EVENTS_MAX, ROUNDS_MAX);
        let hub_deadline = loop {
            self.write(&mut writes_left);
            self.carry_out_effects();
            application.before_events(&mut self.hub, self.now);
            self.tell(application, &mut events_left);
            self.tell_interests();
            match self.hub.poll_timeout() {
                Some(deadline) if deadline.cause == Cause::Output => {
                    rounds_left -= 1;
                    if writes_left.is_none() || events_left == 0 || rounds_left == 0 {
                        break Some(self.now);
                    }
                }
                deadline => break deadline.map(|deadline| deadline.at),
            }
        };
        let deadline = hub_deadline.into_iter().chain(self.linger.deadline()).min()?;
        Some(deadline.since(self.clock.now()))
    }

    fn write(&mut self, writes_left: &mut Writes) {
        while !writes_left.is_none() {
            let Some(transmit) = self.hub.poll_transmit() else { return };
            let (conn, len) = (transmit.conn(), transmit.len());
            let result = match self.sockets.get(conn) {
                Some(Slot { socket, .. }) => match transmit.single() {
                    Some(slice) => written(|| socket.write(slice)),
                    None => written(|| socket.write_vectored(&transmit.io_slices())),
                },
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            writes_left.take(len);
            if writes_left.count.is_multiple_of(WRITES_PER_CLOCK) {
                self.now = self.clock.now();
            }
            match result {
                Ok(sent) => {
                    self.hub.handle_sent(conn, sent, self.now);
                    if sent < len {
                        self.sockets.want(conn, |interest| interest.write = true);
                    }
                }
                Err(error) => {
                    self.hub.handle_sent(conn, 0, self.now);
                    self.broken(conn, &error);
                }
            }
        }
    }

    fn carry_out_effects(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Close(conn) => {
                    if let Some(socket) = self.sockets.remove(conn) {
                        self.linger.close(socket, linger_key, &mut self.buffer, self.now);
                    }
                }
                Effect::PauseRead(conn) => self.sockets.want(conn, |interest| interest.read = false),
                Effect::ResumeRead(conn) => self.sockets.want(conn, |interest| interest.read = true),
                other => log::warn!("not carried out: {other:?}"),
            }
        }
    }

    fn tell(&mut self, application: &mut impl Application, events_left: &mut usize) {
        while *events_left > 0 {
            let Some(event) = self.hub.poll_event() else { return };
            *events_left -= 1;
            application.event(&mut self.hub, event, self.now);
        }
    }

    fn tell_interests(&mut self) {
        while let Some(slot) = self.sockets.pop_changed() {
            let (conn, wanted) = (slot.conn, slot.wanted);
            match slot.socket.watch(conn_key(conn.index()), wanted) {
                Ok(()) => slot.armed = wanted,
                Err(error) => self.broken(conn, &error),
            }
        }
    }

    /// A connection's socket, unless it has ended.
    pub(crate) fn socket(&mut self, conn: ConnId) -> Option<&S> {
        self.sockets.get(conn).map(|slot| &slot.socket)
    }

    /// Whether no socket is left, not even one whose peer has yet to read its last bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Not `connections()`: an application that does not take what came before an end would keep them.
        self.hub.stats().connections == 0 && self.linger.is_empty()
    }
}

impl Driver<Watched<TcpStream>> {
    /// Begins a tick with what the poller told. Keys that are not sockets' are passed over.
    pub fn input(&mut self, events: &Events) {
        self.tick();
        for event in events.iter() {
            if event.readable {
                self.readable(event.key);
            }
            if event.writable {
                self.writable(event.key);
            }
        }
    }
}

/// What the socket takes now: nothing where it would block.
fn written(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
