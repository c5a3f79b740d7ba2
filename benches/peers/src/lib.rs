//! What the benches beside other libraries share: the bytes that go in, a socket in memory, and our reader.
#![forbid(unsafe_code)]

mod reader;
mod socket;

pub use reader::{BUFFER_BYTES, Reader};
pub use socket::Socket;

/// Payload bytes per message.
pub const SIZES: [usize; 5] = [16, 125, 1 << 10, 16 << 10, 1 << 20];

/// The longest message that any library is told to take.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What one read of a [`Socket`] brings at most.
pub const READ_BYTES: usize = 64 << 10;

/// Whose frames arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// We are the server: frames are masked.
    Server,
    /// We are the client: they are not.
    Client,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// What is in the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Binary messages.
    Binary,
    /// Text messages of ASCII.
    Text,
    /// Compressed text messages.
    Compressed,
}

impl Kind {
    /// Those that are not compressed.
    pub const PLAIN: [Self; 2] = [Self::Binary, Self::Text];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Text => "text",
            Self::Compressed => "compressed",
        }
    }
}

/// The payload of every message of a size.
#[must_use]
pub fn payload(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

/// JSON-like text of `size` bytes: what is published in practice, and what compresses as such things do.
#[must_use]
pub fn json(size: usize) -> String {
    let mut seed = 0x9e37_79b9_u32;
    let mut text = String::from("[");
    while text.len() < size {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        let side = if seed & 1 == 0 { "buy" } else { "sell" };
        text += &format!(
            "{{\"id\":{},\"side\":\"{side}\",\"price\":{}.{:02},\"size\":{}}},",
            seed >> 8,
            100 + seed % 7,
            seed % 100,
            seed % 13
        );
    }
    text.truncate(size);
    text
}

/// Whole frames of one message each, back to back, each with a key of its own where they are masked.
#[must_use]
pub fn frames(side: Side, kind: Kind, payload: &[u8]) -> Vec<u8> {
    const TOTAL_BYTES_MIN: usize = 1 << 20;
    let first = match kind {
        Kind::Binary => 0x82,
        Kind::Text => 0x81,
        Kind::Compressed => 0xc1,
    };
    let mask = if side == Side::Server { 0x80 } else { 0 };
    let mut bytes = Vec::new();
    let mut key = 0x9e37_79b9_u32;
    for count in 0.. {
        if count >= 4 && bytes.len() >= TOTAL_BYTES_MIN {
            break;
        }
        bytes.push(first);
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(len @ 0..=125), _) => bytes.push(mask | len),
            (_, Ok(len)) => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&len.to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        if side == Side::Client {
            bytes.extend_from_slice(payload);
            continue;
        }
        key ^= key << 13;
        key ^= key >> 17;
        key ^= key << 5;
        let key = key.to_ne_bytes();
        bytes.extend_from_slice(&key);
        bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    bytes
}
