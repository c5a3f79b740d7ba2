//! Many sends with one system call (io_uring).

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::process::abort;

use io_uring::{IoUring, opcode, types};

/// Sends to many sockets at once, where the kernel has io_uring.
pub struct SendRing {
    /// Between two calls nothing is in it.
    ring: IoUring,
}

impl SendRing {
    /// Sends of one system call.
    pub const SENDS_MAX: usize = 512;

    /// A ring.
    ///
    /// # Errors
    /// The kernel has no io_uring (Linux before 5.6), or does not let this process use it, as in many containers.
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::new(512)?;
        let mut probe = io_uring::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if probe.is_supported(opcode::Send::CODE) { Ok(Self { ring }) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Sends what it can of each, without waiting for room in a socket. `results` has in the same order what became of them, as of
    /// a `write`: bytes that were taken, [`io::ErrorKind::WouldBlock`], or another error. A socket that stands there twice is sent
    /// both in that order, but the second even if the first was taken in part.
    pub fn send(&mut self, sends: &[(&TcpStream, &[u8])], results: &mut Vec<io::Result<usize>>) {
        results.clear();
        results.resize_with(sends.len(), || Ok(0));
        for (sends, results) in sends.chunks(Self::SENDS_MAX).zip(results.chunks_mut(Self::SENDS_MAX)) {
            self.send_chunk(sends, results);
        }
    }

    fn send_chunk(&mut self, sends: &[(&TcpStream, &[u8])], results: &mut [io::Result<usize>]) {
        let mut queue = self.ring.submission();
        for (index, (socket, bytes)) in sends.iter().enumerate() {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX); // It is sent in part.
            let send = opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), len)
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
            // SAFETY: the kernel reads `bytes` and looks up the descriptor before it has told the completion. Both are lent until
            // this function returns, which it does only when all completions have been told; nothing in it panics before that,
            // for between here and there is no code of others.
            if unsafe { queue.push(&send.build().user_data(index as u64)) }.is_err() {
                abort(); // It was empty, and has room for as many as there are in a chunk.
            }
        }
        drop(queue);
        let mut missing = sends.len();
        while missing > 0 {
            match self.ring.submit_and_wait(missing) {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR | libc::EBUSY) => {}
                    Some(libc::EAGAIN | libc::ENOMEM) => std::thread::yield_now(), // No memory for requests at the moment.
                    _ => abort(), // What was lent cannot be given back: the kernel may have it.
                },
            }
            for completion in self.ring.completion() {
                let result = completion.result();
                let slot = usize::try_from(completion.user_data()).ok().and_then(|index| results.get_mut(index));
                let Some(slot) = slot else { abort() };
                *slot = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
                missing -= 1;
            }
        }
    }
}

impl fmt::Debug for SendRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendRing").finish_non_exhaustive()
    }
}
