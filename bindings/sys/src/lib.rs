//! Socket options, queries, poller registration, wide vectors, sends by io_uring: the only crate of Forebay in which `unsafe` may stand.
//!
//! Everything it offers is safe to use.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

mod mask;
#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "poller_epoll.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "poller_portable.rs")]
mod poller;
#[cfg(all(target_os = "linux", feature = "uring"))]
mod send_ring;

pub use mask::{WideMask, wide_mask};
pub use poller::{Events, Poller};
#[cfg(all(target_os = "linux", feature = "uring"))]
pub use send_ring::SendRing;

mod sealed {
    pub trait Sealed: crate::poller::System {}
    impl Sealed for std::net::TcpStream {}
    impl Sealed for std::net::TcpListener {}
}

/// What is to be told of a socket, or was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The socket, as whoever watches it calls it. Not `usize::MAX`.
    pub key: usize,
    /// It can be read.
    pub readable: bool,
    /// It can be written to.
    pub writable: bool,
}

/// What can be watched. Sealed, because it must be certain that the socket stays the same and open while it is owned.
pub trait Source: sealed::Sealed {}
impl Source for TcpStream {}
impl Source for TcpListener {}

/// A socket that is taken out of its poller before it is closed, as pollers demand.
#[derive(Debug)]
pub struct Watched<S: Source> {
    // Only ever lent as `&S`: neither std type can be closed or exchanged through that.
    source: S,
    poller: Arc<Poller>,
    is_added: bool,
}

impl<S: Source> Watched<S> {
    /// Takes a socket, which is not watched until [`watch`](Self::watch).
    pub fn new(source: S, poller: Arc<Poller>) -> Self {
        Self { source, poller, is_added: false }
    }

    /// The socket.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Says what of the socket is to be told: level-triggered where the poller can, else once until it is said again.
    ///
    /// # Errors
    /// The system refused.
    pub fn watch(&mut self, key: usize, reads: bool, writes: bool) -> io::Result<()> {
        let interest = Event { key, readable: reads, writable: writes };
        if self.is_added {
            return self.poller.modify(&self.source, interest);
        }
        self.poller.add(&self.source, interest)?;
        self.is_added = true;
        Ok(())
    }
}

impl<S: Source> Drop for Watched<S> {
    fn drop(&mut self) {
        if self.is_added {
            // It fails only for a socket that is not there, which is what is wanted.
            let _ = self.poller.delete(&self.source);
        }
    }
}

impl Read for Watched<TcpStream> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.source).read(buffer)
    }
}

impl Write for Watched<TcpStream> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&self.source).write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.source).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How the kernel is to buffer a connection.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// `TCP_NOTSENT_LOWAT`, where there is such a thing (Linux, Android).
    pub notsent_lowat_bytes: u32,
    /// `SO_SNDBUF`; `None` leaves it to the system.
    pub send_buffer_bytes: Option<u32>,
}

/// Makes a socket non-blocking, without Nagle's delay, and its kernel buffers small.
///
/// # Errors
/// The system refused.
pub fn tune(stream: &TcpStream, tuning: Tuning) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(tuning.notsent_lowat_bytes)?;
    match tuning.send_buffer_bytes {
        Some(bytes) => socket.set_send_buffer_size(bytes as usize),
        None => Ok(()),
    }
}

/// Connects. The receive buffer is set before, while the window is still to be negotiated.
///
/// # Errors
/// Not connected, or not in time.
pub fn connect(address: SocketAddr, timeout: Duration, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    socket.connect_timeout(&address.into(), timeout)?;
    Ok(socket.into())
}

/// Begins to connect; the socket can be written to when that is over, and then [`TcpStream::take_error`] says how it went.
///
/// # Errors
/// Not connected, and that is certain already.
pub fn start_connect(address: SocketAddr, receive_buffer_bytes: Option<u32>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        #[cfg(unix)]
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        _ => {}
    }
    Ok(socket.into())
}

/// Says that nothing more will be written: a FIN follows what the kernel holds.
///
/// # Errors
/// The connection is broken.
pub fn shutdown_write(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)
}

/// Makes the kernel drop what it holds for the peer when the socket is closed: a peer that does not read would keep it.
///
/// # Errors
/// The system refused.
pub fn abort_on_close(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Bytes that were written and are not acknowledged by the peer (`SIOCOUTQ`); `None` where the system does not say.
#[must_use]
pub fn unsent_bytes(stream: &TcpStream) -> Option<u32> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::AsRawFd as _;
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open while `stream` is borrowed; the request writes one int (tcp(7), SIOCOUTQ, which
        // has the number of TIOCOUTQ).
        let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 { u32::try_from(bytes).ok() } else { None }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = stream;
        None
    }
}

/// Raises the limit of open files to what the system allows, and says it (`None`: there is none).
///
/// # Errors
/// The system refused.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        Ok(limit.maximum)
    }
    #[cfg(not(unix))]
    Ok(None)
}

/// Whether a socket could not be made because there are too many, in this process or on this machine, or no memory.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    #[cfg(not(unix))]
    let codes = [10024, 10055]; // WSAEMFILE, WSAENOBUFS
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
