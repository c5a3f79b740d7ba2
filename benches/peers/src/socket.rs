//! A socket in memory.

use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use crate::READ_BYTES;

/// Gives the same bytes for ever, at most [`READ_BYTES`] per read, copied as a kernel would; swallows what is written.
///
/// As the other side of a client's handshake it answers the request instead ([`Socket::answering`]).
#[derive(Debug, Default)]
pub struct Socket {
    input: Vec<u8>,
    at: usize,
    once: bool,
    /// What was written, if somebody wants to know.
    written: Option<Vec<u8>>,
    /// Who reads and found nothing.
    reader: Option<Waker>,
    /// How many bytes were written.
    pub written_bytes: usize,
}

impl Socket {
    /// Gives `input` over and over.
    #[must_use]
    pub fn endless(input: Vec<u8>) -> Self {
        Self { input, ..Self::default() }
    }

    /// Gives `input` once; then nothing more comes.
    #[must_use]
    pub fn once(input: &[u8]) -> Self {
        Self { input: input.to_vec(), once: true, ..Self::default() }
    }

    /// Gives the answer to the upgrade request that is written to it.
    #[must_use]
    pub fn answering() -> Self {
        Self { once: true, written: Some(Vec::with_capacity(512)), ..Self::default() }
    }

    /// The next bytes.
    #[inline]
    pub fn pull(&mut self, room: usize) -> &[u8] {
        if self.at == self.input.len() && !self.once {
            self.at = 0;
        }
        let from = self.at;
        self.at += room.min(READ_BYTES).min(self.input.len() - from);
        &self.input[from..self.at]
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) -> usize {
        black_box(bytes.as_ptr());
        self.written_bytes += bytes.len();
        if self.written.is_some() {
            self.answer(bytes);
        }
        bytes.len()
    }

    #[inline]
    fn push_all(&mut self, slices: &[IoSlice<'_>]) -> usize {
        slices.iter().map(|slice| self.push(slice)).sum()
    }

    /// Stands in for the server of a client's handshake: finds the key, and answers with what it hashes to.
    fn answer(&mut self, bytes: &[u8]) {
        const KEY: &[u8] = b"sec-websocket-key: ";
        let Some(request) = &mut self.written else { return };
        request.extend_from_slice(bytes);
        if !request.ends_with(b"\r\n\r\n") {
            return;
        }
        let at = request.windows(KEY.len()).position(|window| window.eq_ignore_ascii_case(KEY)).expect("a key");
        let key = std::str::from_utf8(&request[at + KEY.len()..][..24]).expect("a key of 24 characters");
        let accept = forebay_core::wire::handshake::accept_key(key);
        self.input.clear();
        self.input.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nServer: example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        self.input.extend_from_slice(&accept);
        self.input.extend_from_slice(b"\r\n\r\n");
        self.at = 0;
        self.written = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Read for Socket {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.pull(buffer.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.push(bytes))
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.push_all(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tokio::io::AsyncRead for Socket {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = self.pull(buffer.remaining());
        if bytes.is_empty() {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        buffer.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Socket {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.push(bytes)))
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.push_all(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl futures::io::AsyncRead for Socket {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.read(buffer))
    }
}

impl futures::io::AsyncWrite for Socket {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.push(bytes)))
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.push_all(slices)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
