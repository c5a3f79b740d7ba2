//! Accepting connections, and not when there is no room for them.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use forebay_core::{Instant, Mode, Peer};
use forebay_sys::{Events, Poller, Tuning, Watched};

use crate::Driver;

/// The listener's key; the poller keeps `usize::MAX` for itself.
const LISTENER: usize = usize::MAX - 1;
/// Connections accepted per tick: those that are there are served in between.
const ACCEPTS_MAX: usize = 64;
/// How long nothing is accepted after the system had no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(100);

/// What becomes of a socket that comes in.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    pub(crate) poller: Arc<Poller>,
    pub(crate) tuning: Tuning,
    pub(crate) mode: Mode,
    pub(crate) is_gated: bool,
}

impl Entrance {
    /// Who comes in.
    pub(crate) fn peer(&self, address: Option<SocketAddr>) -> Peer {
        Peer { address, mode: self.mode, is_gated: self.is_gated }
    }

    /// Tunes a socket; it is watched once it has its place.
    pub(crate) fn tune(&self, stream: TcpStream) -> io::Result<Watched<TcpStream>> {
        forebay_sys::tune(&stream, self.tuning)?;
        Ok(Watched::new(stream, Arc::clone(&self.poller)))
    }
}

/// A listener and when it may be asked again.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Watched<TcpListener>,
    entrance: Entrance,
    /// The system had no descriptor left; the listener is not watched until then.
    paused_until: Option<Instant>,
    /// That it had none was logged, and nothing was accepted since.
    is_told: bool,
}

impl Acceptor {
    pub(crate) fn new(listener: TcpListener, entrance: Entrance) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = Watched::new(listener, Arc::clone(&entrance.poller));
        listener.watch(LISTENER, true, false)?;
        Ok(Self { listener, entrance, paused_until: None, is_told: false })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.source().local_addr()
    }

    /// When it wants to be asked although nothing came.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Accepts what is there, unless it pauses.
    pub(crate) fn accept(&mut self, driver: &mut Driver<Watched<TcpStream>>, events: &Events) -> io::Result<()> {
        match self.paused_until {
            Some(until) if driver.now() < until => return Ok(()),
            None if !events.iter().any(|event| event.key == LISTENER) => return Ok(()),
            _ => {}
        }
        for _ in 0..ACCEPTS_MAX {
            match self.listener.source().accept() {
                Ok((stream, address)) => {
                    self.is_told = false;
                    self.take(driver, stream, address);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if forebay_sys::is_exhaustion(&error) => return self.pause(driver.now(), &error),
                // The peer went away while it waited, or a signal came: the next one is not concerned.
                Err(error) => log::debug!("not accepted: {error}"),
            }
        }
        let was_paused = self.paused_until.take().is_some();
        if was_paused || !self.entrance.poller.supports_level() {
            self.listener.watch(LISTENER, true, false)?;
        }
        Ok(())
    }

    fn take(&self, driver: &mut Driver<Watched<TcpStream>>, stream: TcpStream, address: SocketAddr) {
        let peer = self.entrance.peer(Some(address));
        let accepted = self.entrance.tune(stream).map(|socket| driver.accept(socket, peer));
        match accepted {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log::debug!("{address} not accepted: {error}"),
            Err(error) => log::debug!("{address} not accepted: {error}"),
        }
    }

    /// Who waits stays in the kernel's queue. Asking again at once would be a busy loop.
    fn pause(&mut self, now: Instant, error: &io::Error) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_told, true) {
            log::warn!("no connection can be accepted, trying again every {} ms: {error}", PAUSE.as_millis());
        }
        if self.paused_until.replace(now + PAUSE).is_none() {
            self.listener.watch(LISTENER, false, false)?;
        }
        Ok(())
    }
}
