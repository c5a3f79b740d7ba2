//! The floor: what the kernel alone costs, `floor PORT MODE [NOTSENT_LOWAT]`. No policy, no text is validated; what a socket does
//! not take waits, and above 256 KiB is lost.
//!
//! - `batch`: all that one read of the publisher has brought goes to each subscriber with one send.
//! - `send`: each message goes to each subscriber with a send of its own.
//! - `uring`: as `send`, but up to 512 sends at a time go to the kernel, with one system call (io_uring).
//! - `echo`: all that one read has brought goes back with one send.
//!
//! The last argument is `TCP_NOTSENT_LOWAT` in bytes, as Forebay sets it.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;

use forebay_sys::SendRing;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LISTENER: u64 = u64::MAX;
const READ_BYTES: usize = 256 << 10;
const WAITING_BYTES_MAX: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Batch,
    Send,
    Uring,
    Echo,
}

struct Conn {
    stream: TcpStream,
    is_upgraded: bool,
    /// A part of a frame, or of the request.
    carry: Vec<u8>,
    /// What the socket did not take.
    waiting: Vec<u8>,
}

struct Floor {
    mode: Mode,
    epoll: OwnedFd,
    conns: Vec<Option<Conn>>,
    subscribers: Vec<usize>,
    /// The messages of one read as frames, one behind another, and where each of them is.
    frames: Vec<u8>,
    places: Vec<Range<usize>>,
    /// For the mode `uring`.
    ring: Option<SendRing>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let mode = match arguments.get(2).map(String::as_str) {
        Some("batch") => Mode::Batch,
        Some("send") => Mode::Send,
        Some("uring") => Mode::Uring,
        Some("echo") => Mode::Echo,
        _ => return Err("needs: PORT batch|send|uring|echo [NOTSENT_LOWAT]".into()),
    };
    let lowat = arguments.get(3).map(|bytes| bytes.parse()).transpose()?;
    let listener = TcpListener::bind(("127.0.0.1", arguments[1].parse()?))?;
    rustix::net::listen(&listener, 4096)?; // std's backlog is short.
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let (conns, subscribers, frames, places) = <_>::default();
    let ring = if mode == Mode::Uring { Some(SendRing::new()?) } else { None };
    let mut floor = Floor { mode, epoll, conns, subscribers, frames, places, ring };
    let (mut events, mut buffer) = (Vec::with_capacity(1024), vec![0; READ_BYTES]);
    loop {
        events.clear();
        epoll::wait(&floor.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match { event.data }.u64() {
                LISTENER => floor.accept(&listener, lowat)?,
                index => floor.turn(index as usize, event.flags, &mut buffer)?,
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, lowat: Option<u32>) -> io::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            if let Some(bytes) = lowat {
                socket2::SockRef::from(&stream).set_tcp_notsent_lowat(bytes)?;
            }
            epoll::add(&self.epoll, &stream, EventData::new_u64(self.conns.len() as u64), EventFlags::IN)?;
            self.conns.push(Some(Conn { stream, is_upgraded: false, carry: Vec::new(), waiting: Vec::new() }));
        }
        Ok(())
    }

    fn turn(&mut self, index: usize, flags: EventFlags, buffer: &mut [u8]) -> io::Result<()> {
        if flags.contains(EventFlags::OUT) {
            self.send(index, 0..0)?;
        }
        let Some(conn) = &mut self.conns[index] else { return Ok(()) };
        let carried = conn.carry.len();
        buffer[..carried].copy_from_slice(&conn.carry);
        match conn.stream.read(&mut buffer[carried..]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) | Ok(0) => {
                self.subscribers.retain(|subscriber| *subscriber != index);
                self.conns[index] = None;
                Ok(())
            }
            Ok(read) => self.input(index, &mut buffer[..carried + read]),
        }
    }

    fn input(&mut self, index: usize, input: &mut [u8]) -> io::Result<()> {
        let Some(conn) = &mut self.conns[index] else { return Ok(()) };
        let mut used = 0;
        if !conn.is_upgraded {
            let text = String::from_utf8_lossy(input);
            let (Some(end), Some((_, key))) = (text.find("\r\n\r\n"), text.split_once("Sec-WebSocket-Key: ")) else {
                conn.carry = input.to_vec();
                return Ok(());
            };
            let accept = derive_accept_key(key.split("\r\n").next().unwrap_or_default().as_bytes());
            let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
            conn.stream.write_all(format!("{head}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes())?;
            (conn.is_upgraded, used) = (true, end + 4);
        }
        self.frames.clear();
        self.places.clear();
        while let Some((opcode, payload)) = next_frame(input, &mut used) {
            match input[payload.clone()] {
                [b'S', b'U', b'B', b' ', ..] => self.subscribers.push(index),
                _ if opcode == 8 => {}
                ref message => {
                    let begin = self.frames.len();
                    push_frame(&mut self.frames, opcode, message);
                    self.places.push(begin..self.frames.len());
                }
            }
        }
        if let Some(conn) = &mut self.conns[index] {
            conn.carry = input[used..].to_vec();
        }
        self.output(index)
    }

    fn output(&mut self, index: usize) -> io::Result<()> {
        let all = 0..self.frames.len();
        match self.mode {
            _ if all.is_empty() => Ok(()),
            Mode::Echo => self.send(index, all),
            Mode::Batch => (0..self.subscribers.len()).try_for_each(|at| self.send(self.subscribers[at], all.clone())),
            Mode::Send => (0..self.places.len()).try_for_each(|message| {
                let place = self.places[message].clone();
                (0..self.subscribers.len()).try_for_each(|at| self.send(self.subscribers[at], place.clone()))
            }),
            Mode::Uring => (0..self.places.len()).try_for_each(|message| self.send_all(self.places[message].clone())),
        }
    }

    /// One message to all subscribers, by the ring.
    fn send_all(&mut self, place: Range<usize>) -> io::Result<()> {
        let Some(mut ring) = self.ring.take() else { return Ok(()) };
        let (mut results, mut waiting) = (Vec::new(), Vec::new());
        for at in (0..self.subscribers.len()).step_by(SendRing::SENDS_MAX) {
            let some = &self.subscribers[at..self.subscribers.len().min(at + SendRing::SENDS_MAX)];
            let is_free = |index: &usize| self.conns[*index].as_ref().is_some_and(|conn| conn.waiting.is_empty());
            let (free, behind): (Vec<usize>, _) = some.iter().partition(|index| is_free(index));
            waiting.extend(behind.into_iter().map(|index: usize| (index, 0)));
            let streams = free.iter().filter_map(|index| self.conns[*index].as_ref());
            let sends: Vec<_> = streams.map(|conn| (&conn.stream, &self.frames[place.clone()])).collect();
            ring.send(&sends, &mut results);
            let sent = free.into_iter().zip(results.drain(..).map(|result| result.unwrap_or(0)));
            waiting.extend(sent.filter(|(_, sent)| *sent < place.len()));
        }
        self.ring = Some(ring);
        waiting.into_iter().try_for_each(|(index, sent)| self.send(index, place.start + sent..place.end))
    }

    /// What waits goes first; what a socket does not take waits until it does.
    fn send(&mut self, index: usize, place: Range<usize>) -> io::Result<()> {
        let Some(conn) = &mut self.conns[index] else { return Ok(()) };
        let frames = &self.frames[place];
        if conn.waiting.is_empty() {
            let sent = conn.stream.write(frames).unwrap_or(0); // Errors come again with the next read.
            if sent == frames.len() {
                return Ok(());
            }
            conn.waiting.extend_from_slice(&frames[sent..]);
        } else {
            if conn.waiting.len() + frames.len() <= WAITING_BYTES_MAX {
                conn.waiting.extend_from_slice(frames);
            }
            let sent = conn.stream.write(&conn.waiting).unwrap_or(0);
            conn.waiting.drain(..sent);
        }
        let out = if conn.waiting.is_empty() { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
        Ok(epoll::modify(&self.epoll, &conn.stream, EventData::new_u64(index as u64), out)?)
    }
}

/// Opcode and place of the payload, unmasked, of the frame that begins at `used`, if all of it is there.
fn next_frame(input: &mut [u8], used: &mut usize) -> Option<(u8, Range<usize>)> {
    let (head, length) = match input[*used..] {
        [_, 0xfe, a, b, ..] => (4, u16::from_be_bytes([a, b]).into()),
        [_, 0xff, _, _, _, _, a, b, c, d, ..] => (10, u32::from_be_bytes([a, b, c, d]) as usize),
        [_, length @ 0x80..0xfe, ..] => (2, (length - 0x80).into()),
        _ => return None,
    };
    let begin = *used + head + 4;
    let payload = input.get_mut(begin - 4..begin + length)?;
    let (key, payload) = payload.split_first_chunk_mut::<4>()?;
    let wide = u32::from_ne_bytes(*key);
    let wide = u64::from(wide) << 32 | u64::from(wide);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    chunks.iter_mut().for_each(|chunk| *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes());
    rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    let opcode = input[*used] & 15;
    *used = begin + length;
    Some((opcode, begin..*used))
}

fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ ..126 => out.push(length as u8),
        length @ 126..0x1_0000 => out.extend([126, (length >> 8) as u8, length as u8]),
        length => out.extend([&[127][..], &(length as u64).to_be_bytes()].concat()),
    }
    out.extend_from_slice(payload);
}
