//! WebSocket clients on one epoll.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

use crate::Failure;
use crate::scan::{Scanner, push_text};

/// One read: of what 16 messages of 8 KiB are, more than enough.
const READ_BYTES: usize = 256 << 10;

/// One client.
pub(crate) struct Client {
    stream: TcpStream,
    scanner: Scanner,
    /// What the socket did not take yet.
    out: Vec<u8>,
    /// Messages so far.
    pub(crate) received: u64,
}

impl Client {
    /// Sends, as far as the socket takes it.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether something waits.
    pub(crate) fn is_sending(&self) -> bool {
        !self.out.is_empty()
    }

    /// Messages that have come, until there is nothing to be read.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<u64, Failure> {
        let mut messages = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server has closed a connection".into()),
                Ok(read) => {
                    messages += self.scanner.feed(&buffer[..read]).ok_or("the server has said Close")?;
                    if read < buffer.len() {
                        break; // What comes later is another edge.
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.received += messages;
        Ok(messages)
    }
}

/// All clients.
pub(crate) struct Clients {
    epoll: OwnedFd,
    events: Vec<Event>,
    buffer: Vec<u8>,
    pub(crate) list: Vec<Client>,
}

impl Clients {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(4096), buffer: vec![0; READ_BYTES], list: Vec::new() })
    }

    /// One more client; `receive_buffer`: its `SO_RCVBUF`, in bytes.
    pub(crate) fn open(&mut self, port: u16, receive_buffer: Option<usize>) -> Result<(), Failure> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_linger(Some(Duration::ZERO))?; // So that no ports are used up by connections that have ended.
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
        let mut stream = TcpStream::from(socket);
        let scanner = upgrade(&mut stream)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(self.list.len() as u64), EventFlags::IN | EventFlags::ET)?;
        self.list.push(Client { stream, scanner, out: Vec::new(), received: 0 });
        Ok(())
    }

    /// Client `index` reads no more.
    pub(crate) fn freeze(&mut self, index: usize) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, &self.list[index].stream)?)
    }

    /// Waits at most `wait`, then reads whatever there is: `on` is told whose it is and how many messages.
    pub(crate) fn poll(
        &mut self,
        wait: Duration,
        mut on: impl FnMut(&mut Client, u64) -> io::Result<()>,
    ) -> Result<(), Failure> {
        self.events.clear();
        let wait = Timespec::try_from(wait)?;
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&wait))?;
        for event in &self.events {
            let client = &mut self.list[{ event.data }.u64() as usize];
            let messages = client.receive(&mut self.buffer)?;
            if messages > 0 || client.is_sending() {
                on(client, messages)?;
            }
        }
        Ok(())
    }

    /// Reads until nothing has come for `pause`.
    pub(crate) fn settle(&mut self, pause: Duration) -> Result<(), Failure> {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < pause {
            self.poll(pause / 4, |_, _| {
                quiet_since = Instant::now();
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Asks for a WebSocket; what comes behind the answer is the scanner's.
fn upgrade(stream: &mut TcpStream) -> Result<Scanner, Failure> {
    stream.write_all(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    let end = loop {
        let read = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        match answer.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None if read == 0 => return Err("the server has closed before it answered".into()),
            None => {}
        }
    };
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        return Err(String::from_utf8_lossy(&answer).into());
    }
    let mut scanner = Scanner::default();
    scanner.feed(&answer[end..]);
    Ok(scanner)
}

/// A frame with `bytes` of payload that begins with `first`.
pub(crate) fn frame(first: u8, bytes: usize) -> Vec<u8> {
    let mut payload = vec![first];
    payload.extend((b'a'..=b'z').cycle().take(bytes.saturating_sub(1)));
    let mut frame = Vec::new();
    push_text(&mut frame, &payload);
    frame
}
