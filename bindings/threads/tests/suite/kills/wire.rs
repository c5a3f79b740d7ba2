//! A connection that is killed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::BytesMut;
use forebay_core::wire::{Opcode, frame};

use super::super::common::HANG;

const OPENING: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// SplitMix64.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}

/// The moment at which a connection is killed.
#[derive(Debug)]
pub(super) enum Death {
    /// When it has read so many bytes: in the middle of a frame, of the answer to a resume, of the opening handshake.
    Read(usize),
    /// When it has written so many bytes.
    Written(usize),
    /// Before it says so manieth a thing.
    Before(usize),
    /// When it has said so many things.
    Behind(usize),
    /// Not at all.
    Never,
}

impl Death {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        match draw.below(4) {
            0 => Self::Read(draw.index(8_000)),
            1 => Self::Written(draw.index(4_000)),
            2 => Self::Before(draw.index(10)),
            _ => Self::Behind(1 + draw.index(10)),
        }
    }
}

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(super) enum Lost {
    /// It was killed.
    Killed,
    /// The server closed it, with this code.
    Ended(Option<u16>),
}

pub(super) struct Wire {
    stream: TcpStream,
    /// Read, and not heard yet.
    read: Vec<u8>,
    death: Death,
}

impl Wire {
    pub(super) fn new(address: SocketAddr, death: Death) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new(), death }
    }

    /// Nobody kills it any more.
    pub(super) fn spare(&mut self) {
        self.death = Death::Never;
    }

    /// The process that had it is gone: the kernel says so with a FIN, or where something was not read with a reset.
    pub(super) fn reset(self) {
        forebay_sys::abort_on_close(&self.stream).unwrap();
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let len = match &mut self.death {
            Death::Written(left) => {
                let len = bytes.len().min(*left);
                *left -= len;
                len
            }
            Death::Before(0) => 0,
            Death::Before(left) => {
                *left -= 1;
                bytes.len()
            }
            _ => bytes.len(),
        };
        // A server that has ended the connection is heard when it is listened to.
        let _ = self.stream.write_all(&bytes[..len]);
        if let Death::Behind(left) = &mut self.death {
            *left -= 1;
        }
        let is_killed = len < bytes.len() || matches!(self.death, Death::Written(0) | Death::Behind(0));
        if is_killed { Err(Lost::Killed) } else { Ok(()) }
    }

    pub(super) fn say(&mut self, text: &str) -> Result<(), Lost> {
        let mut bytes = BytesMut::new();
        frame::put_frame(&mut bytes, Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes());
        self.write(&bytes)
    }

    fn fill(&mut self) -> Result<(), Lost> {
        let mut buffer = [0; 1_024];
        let len = match self.death {
            Death::Read(0) => return Err(Lost::Killed),
            Death::Read(left) => left.min(buffer.len()),
            _ => buffer.len(),
        };
        let len = match self.stream.read(&mut buffer[..len]) {
            Ok(0) => return Err(Lost::Ended(None)),
            Ok(len) => len,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the server is silent")
            }
            Err(_) => return Err(Lost::Ended(None)),
        };
        if let Death::Read(left) = &mut self.death {
            *left -= len;
        }
        self.read.extend_from_slice(&buffer[..len]);
        Ok(())
    }

    /// The opening handshake, and what the server says first.
    pub(super) fn open(&mut self) -> Result<String, Lost> {
        self.write(OPENING.as_bytes())?;
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        assert!(self.read.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&self.read));
        self.read.drain(..end);
        let hello = self.hear()?;
        assert!(hello.starts_with(r#"{"op":"hello""#), "{hello}");
        Ok(hello)
    }

    /// The next text message.
    pub(super) fn hear(&mut self) -> Result<String, Lost> {
        let (first, payload) = self.frame()?;
        match first {
            0x81 => Ok(String::from_utf8(payload).unwrap()),
            0x88 => Err(Lost::Ended(payload.first_chunk().map(|code| u16::from_be_bytes(*code)))),
            _ => panic!("a frame that begins with {first:#x}"),
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), Lost> {
        loop {
            if let Some((head, len)) = measure(&self.read)
                && self.read.len() >= head + len
            {
                let frame: Vec<u8> = self.read.drain(..head + len).collect();
                return Ok((frame[0], frame[head..].to_vec()));
            }
            self.fill()?;
        }
    }
}

/// Bytes of the header and of the payload, if the header is there.
fn measure(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])))),
        len @ 0..126 => Some((2, len.into())),
        127.. => panic!("a frame that is long, or masked"),
    }
}
