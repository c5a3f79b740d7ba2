//! Frame headers, and writing frames (RFC 6455 §5.2).

use bytes::{BufMut, BytesMut};

use super::close::{CloseCode, cut_reason};
use super::error::WireError;
use super::mask;

/// The longest frame header: two bytes, a 64-bit length and a masking key.
pub const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a Close, Ping or Pong frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The first reserved bit of a frame's first byte: the message is compressed (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;

/// Which side of the connection we are. A client masks what it sends, a server does not (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accepted the connection: what arrives must be masked.
    Server,
    /// We opened the connection: what arrives must not be masked.
    Client,
}

/// What a frame is (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// A question to be answered with a Pong of the same payload.
    Ping = 0x9,
    /// The answer to a Ping, or an unsolicited sign of life.
    Pong = 0xa,
}

impl Opcode {
    /// Close, Ping or Pong: never fragmented, at most 125 bytes, allowed between the fragments of a message.
    #[inline]
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    #[inline]
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }
}

/// A frame header without reserved bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The last (or only) frame of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// Payload length in bytes, below 2^63.
    pub len: u64,
}

/// The first byte of a header: FIN and opcode.
///
/// # Errors
/// Reserved bits and opcodes, fragmented control frames.
#[inline]
pub(super) fn parse_first(first: u8) -> Result<(bool, Opcode), WireError> {
    if first & 0x70 != 0 {
        return Err(WireError::ReservedBits);
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(WireError::ReservedOpcode)?;
    let fin = first & 0x80 != 0;
    if opcode.is_control() && !fin {
        return Err(WireError::FragmentedControl);
    }
    Ok((fin, opcode))
}

/// The payload length of a frame, and where its masking key, or else the payload, begins. `second` is the second byte of
/// the header, `rest` what has arrived behind it; `None` if that is not enough.
///
/// # Errors
/// Long control frames, lengths that are not minimal or over 63 bits: each with the first byte that shows it.
#[inline]
pub(super) fn parse_len(opcode: Opcode, second: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(WireError::ControlTooLong);
    }
    match short {
        126 => {
            let Some(bytes) = rest.first_chunk() else {
                return Ok(None);
            };
            let len = u16::from_be_bytes(*bytes);
            if len < 126 {
                return Err(WireError::LengthNotMinimal);
            }
            Ok(Some((u64::from(len), 4)))
        }
        127 => {
            if rest.first().is_some_and(|byte| byte >> 7 != 0) {
                return Err(WireError::LengthOverflow);
            }
            if rest.first_chunk() == Some(&[0; 6]) {
                return Err(WireError::LengthNotMinimal);
            }
            Ok(rest.first_chunk().map(|bytes| (u64::from_be_bytes(*bytes), 10)))
        }
        _ => Ok(Some((u64::from(short), 2))),
    }
}

/// Reads a frame header and how many bytes it took; `None` if more bytes are needed.
///
/// This judges the header alone: whether the peer should have masked it, and whether it may come at this point of a
/// message, is for [`Decoder`](super::Decoder).
///
/// # Errors
/// Reserved bits and opcodes, fragmented or long control frames, lengths that are not minimal or over 63 bits: each with
/// the first byte that shows it.
#[inline]
pub fn parse_header(input: &[u8]) -> Result<Option<(Header, usize)>, WireError> {
    let Some(&first) = input.first() else {
        return Ok(None);
    };
    let (fin, opcode) = parse_first(first)?;
    let Some(&second) = input.get(1) else {
        return Ok(None);
    };
    let masked = second & 0x80 != 0;
    let Some((len, end)) = parse_len(opcode, second, &input[2..])? else {
        return Ok(None);
    };
    if !masked {
        return Ok(Some((Header { fin, opcode, mask: None, len }, end)));
    }
    let Some(key) = input[end..].first_chunk() else {
        return Ok(None);
    };
    Ok(Some((Header { fin, opcode, mask: Some(*key), len }, end + 4)))
}

/// Writes a header in its shortest form to the front of `out` and returns its length.
#[inline]
pub fn encode_header(out: &mut [u8; HEADER_BYTES_MAX], header: &Header) -> usize {
    let mut rest = &mut out[..];
    put_header(&mut rest, header);
    HEADER_BYTES_MAX - rest.len()
}

/// Each part is written with a length known to the compiler: no call of `memcpy` for a handful of bytes.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each arm's range fits the type it is cast to")]
fn put_header(out: &mut impl BufMut, header: &Header) {
    let first = (u8::from(header.fin) << 7) | header.opcode as u8;
    let masked = if header.mask.is_some() { 0x80 } else { 0 };
    match (header.len, header.mask) {
        (0..=125, Some([a, b, c, d])) => return out.put_slice(&[first, 0x80 | header.len as u8, a, b, c, d]),
        (0..=125, None) => out.put_slice(&[first, header.len as u8]),
        (126..=0xffff, _) => {
            let [high, low] = (header.len as u16).to_be_bytes();
            out.put_slice(&[first, masked | 126, high, low]);
        }
        _ => {
            out.put_slice(&[first, masked | 127]);
            out.put_slice(&header.len.to_be_bytes());
        }
    }
    if let Some(key) = header.mask {
        out.put_slice(&key);
    }
}

/// How long the header of a frame with such a payload is.
#[inline]
#[must_use]
pub const fn header_bytes(payload_len: usize, masked: bool) -> usize {
    let length = match payload_len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    length + if masked { 4 } else { 0 }
}

/// How long a whole frame with such a payload is.
#[inline]
#[must_use]
pub const fn frame_bytes(payload_len: usize, masked: bool) -> usize {
    header_bytes(payload_len, masked) + payload_len
}

/// How long the payload of a whole frame without a mask is.
pub(crate) const fn payload_bytes(frame_bytes: usize) -> usize {
    let header = match frame_bytes {
        0..=127 => 2,
        128..=0x1_0003 => 4,
        _ => 10,
    };
    frame_bytes - header
}

/// Appends one unfragmented frame; the copy of the payload is masked if there is a key.
///
/// # Panics
/// If the payload of a control frame is longer than [`CONTROL_BYTES_MAX`]: no such frame exists.
#[inline]
pub fn put_frame(out: &mut BytesMut, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX, "control payload over 125 bytes");
    out.reserve(frame_bytes(payload.len(), mask.is_some()));
    put_header(out, &Header { fin: true, opcode, mask, len: payload.len() as u64 });
    match mask {
        Some(key) => mask::put(out, payload, key),
        None => out.extend_from_slice(payload),
    }
}

/// Appends a Close frame. The reason is cut between two code points so that it fits.
///
/// A code that is never on the wire ([`CloseCode::NO_STATUS`], [`CloseCode::ABNORMAL`]) gives the frame without a code,
/// which the peer reports as 1005.
pub fn put_close(out: &mut BytesMut, mask: Option<[u8; 4]>, close: Option<(CloseCode, &str)>) {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let mut len = 0;
    if let Some((code, reason)) = close.filter(|(code, _)| code.is_sendable()) {
        let reason = cut_reason(reason).as_bytes();
        len = 2 + reason.len();
        payload[..2].copy_from_slice(&code.get().to_be_bytes());
        payload[2..len].copy_from_slice(reason);
    }
    put_frame(out, Opcode::Close, mask, &payload[..len]);
}

#[cfg(test)]
#[path = "tests/frame.rs"]
mod tests;
