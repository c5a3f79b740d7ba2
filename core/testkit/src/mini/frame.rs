//! WebSocket frames (RFC 6455 §5), written for strictness and not for speed.

use super::inflate::Inflater;

/// What a decoder gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A Close frame: code and reason, where it has them.
    Close(Option<(u16, String)>),
}

/// Writes one frame, with the shortest length.
#[must_use]
pub fn encode(fin: bool, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    let masked = u8::from(mask.is_some()) << 7;
    match payload.len() {
        len @ 0..=125 => frame.push(masked | u8::try_from(len).expect("at most 125")),
        len @ 126..=0xFFFF => {
            frame.push(masked | 126);
            frame.extend(u16::try_from(len).expect("at most 65535").to_be_bytes());
        }
        len => {
            frame.push(masked | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    if let Some(key) = mask {
        frame.extend(key);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        frame.extend(payload);
    }
    frame
}

/// The payload of a Close frame.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.as_bytes());
    payload
}

/// The bytes a server's frame takes on the wire: header and payload.
#[must_use]
pub const fn wire_len(payload: usize) -> usize {
    payload
        + match payload {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        }
}

/// Reads frames and puts messages together. The first violation ends it.
#[derive(Clone, Debug)]
pub struct Decoder {
    from_client: bool,
    buffer: Vec<u8>,
    message: Option<Message>,
    inflater: Option<Inflater>,
    closed: bool,
}

/// A message of which not every frame came.
#[derive(Clone, Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
    bytes: Vec<u8>,
}

impl Decoder {
    /// Reads what a server sends: unmasked.
    #[must_use]
    pub const fn of_server() -> Self {
        Self { from_client: false, buffer: Vec::new(), message: None, inflater: None, closed: false }
    }

    /// Reads what a client sends: masked.
    #[must_use]
    pub const fn of_client() -> Self {
        Self { from_client: true, buffer: Vec::new(), message: None, inflater: None, closed: false }
    }

    /// Messages may be compressed from now on (RFC 7692).
    pub fn inflate_with(&mut self, inflater: Inflater) {
        self.inflater = Some(inflater);
    }

    /// Compressed messages that referred to those before them.
    #[must_use]
    pub fn referred(&self) -> u64 {
        self.inflater.as_ref().map_or(0, |inflater| inflater.referred)
    }

    /// Whether nothing is half read.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.buffer.is_empty() && self.message.is_none()
    }

    /// Takes bytes in and gives what is whole.
    ///
    /// # Errors
    /// What the sender must not have done.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Item>, String> {
        Ok(self.feed_more(bytes)?.into_iter().map(|(item, _)| item).collect())
    }

    /// The same, and of each whether it was compressed.
    ///
    /// # Errors
    /// What the sender must not have done.
    pub fn feed_more(&mut self, bytes: &[u8]) -> Result<Vec<(Item, bool)>, String> {
        self.buffer.extend(bytes);
        let mut items = Vec::new();
        while let Some((header, payload)) = self.next_frame()? {
            if self.closed {
                return Err("a frame after Close (§5.5.1)".into());
            }
            if let Some(item) = self.frame(header, payload)? {
                self.closed = matches!(item.0, Item::Close(_));
                items.push(item);
            }
        }
        if self.closed && !self.buffer.is_empty() {
            return Err("bytes after Close (§5.5.1)".into());
        }
        Ok(items)
    }

    fn next_frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, String> {
        let [first, second, rest @ ..] = self.buffer.as_slice() else { return Ok(None) };
        let (first, masked) = (*first, second >> 7 == 1);
        let is_compressible = self.inflater.is_some() && matches!(first & 0x0F, 1 | 2);
        if first & 0x30 != 0 || (first & 0x40 != 0 && !is_compressible) {
            return Err(format!("reserved bits without an extension: {first:#04x} (§5.2)"));
        }
        if masked != self.from_client {
            return Err(format!("mask bit {masked} (§5.1)"));
        }
        let (len, used) = match second & 0x7F {
            126 => {
                let Some(bytes) = rest.first_chunk::<2>() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*bytes)), 4)
            }
            127 => {
                let Some(bytes) = rest.first_chunk::<8>() else { return Ok(None) };
                (u64::from_be_bytes(*bytes), 10)
            }
            short => (u64::from(short), 2),
        };
        let shortest = match len {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        if used != shortest || len >> 63 != 0 {
            return Err(format!("length {len} in a header of {used} bytes (§5.2)"));
        }
        if first & 0x08 != 0 && (len > 125 || first & 0x80 == 0) {
            return Err("a control frame that is long or fragmented (§5.5)".into());
        }
        let len = usize::try_from(len).map_err(|_| "a frame larger than memory".to_string())?;
        let start = used + if masked { 4 } else { 0 };
        if self.buffer.len() < start + len {
            return Ok(None);
        }
        let mut frame: Vec<u8> = self.buffer.drain(..start + len).collect();
        let mut payload = frame.split_off(start);
        if masked {
            for (place, byte) in payload.iter_mut().enumerate() {
                *byte ^= frame[used + place % 4];
            }
        }
        Ok(Some((first, payload)))
    }

    fn frame(&mut self, first: u8, payload: Vec<u8>) -> Result<Option<(Item, bool)>, String> {
        let fin = first & 0x80 != 0;
        match (first & 0x0F, self.message.take()) {
            (0, None) => Err("a continuation of nothing (§5.4)".into()),
            (0, Some(mut message)) => {
                message.bytes.extend(payload);
                self.message_frame(fin, message)
            }
            (1 | 2, Some(_)) => Err("a new message inside a fragmented one (§5.4)".into()),
            (opcode @ (1 | 2), None) => {
                let (is_text, is_compressed) = (opcode == 1, first & 0x40 != 0);
                self.message_frame(fin, Message { is_text, is_compressed, bytes: payload })
            }
            (opcode @ 8..=10, message) => {
                self.message = message;
                let item = match opcode {
                    8 => Item::Close(close(&payload)?),
                    9 => Item::Ping(payload),
                    _ => Item::Pong(payload),
                };
                Ok(Some((item, false)))
            }
            (opcode, _) => Err(format!("unknown opcode {opcode} (§5.2)")),
        }
    }

    fn message_frame(&mut self, fin: bool, message: Message) -> Result<Option<(Item, bool)>, String> {
        if !fin {
            self.message = Some(message);
            return Ok(None);
        }
        let Message { is_text, is_compressed, mut bytes } = message;
        if is_compressed {
            bytes = self.inflater.as_mut().ok_or("nobody agreed to compression")?.inflate(&bytes)?;
        }
        if !is_text {
            return Ok(Some((Item::Binary(bytes), is_compressed)));
        }
        let text = String::from_utf8(bytes).map_err(|_| "text that is not UTF-8 (§8.1)".to_string())?;
        Ok(Some((Item::Text(text), is_compressed)))
    }
}

fn close(payload: &[u8]) -> Result<Option<(u16, String)>, String> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err("half a close code (§5.5.1)".into()) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(format!("close code {code} (§7.4)"));
    }
    let reason = String::from_utf8(reason.to_vec()).map_err(|_| "a close reason that is not UTF-8".to_string())?;
    Ok(Some((code, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(bytes: &[u8]) -> Result<Vec<Item>, String> {
        let whole = Decoder::of_server().feed(bytes);
        let mut decoder = Decoder::of_server();
        let mut pieces = Ok(Vec::new());
        for byte in bytes {
            match (decoder.feed(&[*byte]), &mut pieces) {
                (Ok(more), Ok(list)) => list.extend(more),
                (Err(error), _) => {
                    pieces = Err(error);
                    break;
                }
                _ => break,
            }
        }
        assert_eq!(whole.is_err(), pieces.is_err(), "in one piece and in bytes");
        if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
            assert_eq!(whole, pieces);
        }
        whole
    }

    #[test]
    fn examples_of_the_rfc() {
        // §5.7
        assert_eq!(items(b"\x81\x05Hello").unwrap(), [Item::Text("Hello".into())]);
        let masked = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
        assert_eq!(Decoder::of_client().feed(&masked).unwrap(), [Item::Text("Hello".into())]);
        assert_eq!(encode(true, 1, b"Hello", Some([0x37, 0xFA, 0x21, 0x3D])), masked);
        assert_eq!(items(b"\x01\x03Hel\x80\x02lo").unwrap(), [Item::Text("Hello".into())]);
        assert_eq!(items(b"\x89\x05Hello").unwrap(), [Item::Ping(b"Hello".into())]);
        let mut long = vec![0x82, 0x7E, 1, 0];
        long.extend([7; 256]);
        assert_eq!(items(&long).unwrap(), [Item::Binary(vec![7; 256])]);
        assert_eq!(encode(true, 2, &[7; 256], None), long);
        assert_eq!(encode(true, 2, &[7; 65_536], None)[..10], [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn control_frames_between_fragments_and_close() {
        let bytes = b"\x01\x01a\x8A\x00\x80\x01b\x88\x05\x03\xE8bye";
        let expected = [Item::Pong(vec![]), Item::Text("ab".into()), Item::Close(Some((1000, "bye".into())))];
        assert_eq!(items(bytes).unwrap(), expected);
        assert_eq!(items(b"\x88\x00").unwrap(), [Item::Close(None)]);
    }

    #[test]
    fn violations() {
        for (bytes, why) in [
            (&b"\x81\x80\x00\x00\x00\x00"[..], "mask"),
            (b"\xC1\x00", "reserved"),
            (b"\x83\x00", "opcode"),
            (b"\x8B\x00", "opcode"),
            (b"\x80\x00", "continuation"),
            (b"\x01\x00\x81\x00", "inside"),
            (b"\x09\x00", "control"),
            (b"\x89\x7E\x00\x7E", "control"),
            (b"\x81\x7E\x00\x7D", "length"),
            (b"\x81\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF", "length"),
            (b"\x81\x7F\x80\x00\x00\x00\x00\x00\x00\x00", "length"),
            (b"\x81\x01\xFF", "UTF-8"),
            (b"\x88\x01\x03", "half"),
            (b"\x88\x02\x03\xED", "1005"),
            (b"\x88\x03\x03\xE8\xFF", "UTF-8"),
            (b"\x88\x00\x81\x00", "after Close"),
            (b"\x88\x00\x81", "after Close"),
        ] {
            let error = items(bytes).expect_err(why);
            assert!(error.contains(why), "{bytes:?}: {error}");
        }
    }
}
