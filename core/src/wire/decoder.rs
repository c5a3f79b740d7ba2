//! Decoding frames into messages (RFC 6455 §5, §6.2, §8.1).

use core::ops::Range;

use super::close::{CloseCode, check_close_start, parse_close};
use super::error::WireError;
use super::frame::{CONTROL_BYTES_MAX, Opcode, RSV1, Role, parse_first, parse_len};
use super::mask::{self, Wide};
use super::utf8::{self, Utf8};

/// The work credit a connection starts with, and the most it can have.
///
/// RFC 6455 lets a peer cut a message as finely as it likes (§5.4) and send as many pings and pongs as it likes (§5.5), and so
/// make us work for nothing. So work is paid for:
///
/// - Every continuation frame, Ping and Pong costs [`FRAME_COST`], the first frame of a compressed message [`INFLATE_COST`]. The
///   first frame of another message costs nothing, nor does a Close: what whole messages come is a question of rates.
/// - Every payload byte of a data frame, first or not, fragmented or not, gives one back: `credit = min(WORK_CREDIT, credit -
///   cost + len)`. The bytes pay in advance, since the next frame can only follow when all of them have arrived. The
///   payload of control frames gives nothing. (What a compressed message is when it is inflated gives back as much again: who
///   inflates calls [`Decoder::refill`].)
/// - A frame that cannot be paid for (`credit + len < cost`) ends the connection: [`WireError::Flood`], 1008. That is told where
///   the header says how long the frame is, before its masking key and payload; other violations that the header shows by then
///   come first. What is refused, or incomplete, costs nothing.
/// - Time gives credit back as well, for the codec alone by [`Decoder::refill`]; a hub gives one for every
///   [`CREDIT_NANOS`]. So a lifetime of keep-alives does not add up, and some 119 pings a second can be sent forever.
///
/// Fragments of 32 bytes or more are therefore free, whatever their number. In a burst, of one byte there may be 16,912, of none,
/// or pings, 16,384.
pub const WORK_CREDIT: u32 = 16_384 * FRAME_COST;

/// What a continuation frame, a Ping or a Pong costs of the [`WORK_CREDIT`].
pub const FRAME_COST: u32 = 32;

/// What a compressed message costs of the [`WORK_CREDIT`], with its first frame.
pub const INFLATE_COST: u32 = 16;

/// How long a hub takes to give back one of the [`WORK_CREDIT`]: 2^18 ns, about a quarter of a millisecond.
pub const CREDIT_NANOS: u64 = 1 << 18;

/// What a data message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

/// What [`Decoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A piece of a message, unmasked; a whole message if it is both `first` and `last`. May be empty.
    Data {
        /// Text or binary, the same for all pieces of a message.
        kind: MessageKind,
        /// The bytes. Text is valid as far as it goes, but a piece may begin or end inside a code point unless it is `first`
        /// or `last`.
        payload: &'a [u8],
        /// This piece starts the message.
        first: bool,
        /// This piece ends the message.
        last: bool,
        /// It is to be inflated (RFC 7692): then the bytes are as they came, whatever the message is, and text is not checked.
        is_compressed: bool,
    },
    /// A Ping, to be answered with a Pong of the same payload (RFC 6455 §5.5.3).
    Ping(&'a [u8]),
    /// A Pong, solicited or not.
    Pong(&'a [u8]),
    /// A Close, with its code and reason if it has them. Nothing after it is decoded.
    Close(Option<(CloseCode, &'a str)>),
}

/// The answer of [`Decoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What they meant; `None` if nothing more can be said without more bytes.
    pub item: Option<Item<'a>>,
}

/// The state of the frame and the message in progress on one connection: 40 bytes and no heap.
///
/// It holds no payload: pieces of messages are lent out of the input as they arrive. To assemble them, or to refuse to, is the
/// caller's part.
#[derive(Clone, Debug)]
pub struct Decoder {
    message_bytes_max: u64,
    /// What the frames of the message in progress have announced so far; never above what may come of it, 0 between
    /// messages.
    message_bytes: u64,
    /// Payload of the data frame in progress that has not arrived; 0 between frames.
    frame_left: u64,
    /// How much of the [`WORK_CREDIT`] is gone.
    spent: u32,
    /// The key of the frame in progress, turned to fit its next byte.
    key: [u8; 4],
    /// Between messages complete, that is as new.
    text: Utf8,
    role: Role,
    /// The message in progress; `Some` whenever `frame_left > 0`.
    message: Option<Message>,
    /// The frame in progress ends its message.
    fin: bool,
    /// No piece of the message has been handed out yet.
    first: bool,
    takes: Takes,
}

/// What may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Messages as they are.
    Plain,
    /// Compressed ones, too (RFC 7692).
    Compressed,
    /// A Close was decoded, or a violation: the rest is ignored.
    Nothing,
}

/// A message in progress: in one byte, because there is one for each connection that is not idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Text,
    Binary,
    CompressedText,
    CompressedBinary,
}

impl Message {
    const fn new(kind: MessageKind, is_compressed: bool) -> Self {
        match (kind, is_compressed) {
            (MessageKind::Text, false) => Self::Text,
            (MessageKind::Binary, false) => Self::Binary,
            (MessageKind::Text, true) => Self::CompressedText,
            (MessageKind::Binary, true) => Self::CompressedBinary,
        }
    }

    const fn kind(self) -> MessageKind {
        match self {
            Self::Text | Self::CompressedText => MessageKind::Text,
            Self::Binary | Self::CompressedBinary => MessageKind::Binary,
        }
    }

    const fn is_compressed(self) -> bool {
        matches!(self, Self::CompressedText | Self::CompressedBinary)
    }
}

/// How long a compressed message may be that is `bytes` long when it is inflated: compressors that find nothing to compress
/// store blocks, at worst of a few bytes each, and flush with five.
const fn compressed_bytes_max(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 8).saturating_add(64)
}

impl Decoder {
    /// A decoder for what arrives in our `role`, refusing messages over `message_bytes_max` bytes (the sum of all fragments).
    #[must_use]
    pub const fn new(role: Role, message_bytes_max: u64) -> Self {
        Self {
            message_bytes_max,
            message_bytes: 0,
            frame_left: 0,
            spent: 0,
            key: [0; 4],
            text: Utf8::new(),
            role,
            message: None,
            fin: false,
            first: false,
            takes: Takes::Plain,
        }
    }

    /// The same, but compressed messages may come, because that was agreed (RFC 7692 §6). Their length is limited where a
    /// header announces it, to what may be within `message_bytes_max` when it is inflated: these, an eighth of them, and 64
    /// bytes; the rest is for who inflates them.
    #[must_use]
    pub const fn with_deflate(self) -> Self {
        Self { takes: Takes::Compressed, ..self }
    }

    /// Decodes the next item from `input`, unmasking it in place.
    ///
    /// Call it again with what follows the consumed bytes until it returns no item. What is then left unconsumed, an
    /// incomplete header or control frame of less than 2 + 4 + 125 bytes, must be presented again in front of the bytes that
    /// arrive next; it is untouched. Every call consumes bytes or returns no item, so the loop ends.
    ///
    /// After a Close item, or an error, every call consumes all of its input and returns no item: what a peer says behind its
    /// Close means nothing (RFC 6455 §5.5.1), and what follows a violation cannot be trusted (§7.1.7).
    ///
    /// # Errors
    /// The first violation, once everything before it has been returned: with the first byte that shows it, however the input
    /// is cut. Of a header, what an earlier byte shows goes before what a later one does; too much is told with the last byte
    /// of the length; bad text, a bad close code and a bad reason with their first bad byte.
    #[inline]
    pub fn decode<'a>(&mut self, input: &'a mut [u8]) -> Result<Decoded<'a>, WireError> {
        self.decode_with(input, None)
    }

    /// The same, with another loop for long payloads: what a reader of messages of many kilobytes gains by it is in
    /// `benches/README.md`.
    ///
    /// # Errors
    /// Those of [`decode`](Self::decode).
    #[inline]
    pub fn decode_with<'a>(&mut self, input: &'a mut [u8], wide: Option<Wide>) -> Result<Decoded<'a>, WireError> {
        let Some((kind, key, place)) = self.find_whole(input) else {
            return self.decode_any(input, wide);
        };
        self.spent = self.spent.saturating_sub(u32::try_from(place.len()).unwrap_or(u32::MAX));
        let consumed = place.end;
        let payload = &mut input[place];
        let is_text = kind == MessageKind::Text;
        let is_ascii = key.is_some_and(|key| mask::unmask(payload, key, is_text, wide));
        if is_text && !is_ascii && !utf8::is_text(payload) {
            self.takes = Takes::Nothing;
            return Err(WireError::InvalidUtf8);
        }
        let item = Item::Data { kind, payload, first: true, last: true, is_compressed: false };
        Ok(Decoded { consumed, item: Some(item) })
    }

    /// How many payload bytes of the data frame in progress have not arrived: who reads just these reads to its end, where they
    /// are to lie, and not into the next one. 0 between frames, and amid a header.
    #[inline]
    #[must_use]
    pub const fn frame_left(&self) -> u64 {
        self.frame_left
    }

    /// What is left of the [`WORK_CREDIT`].
    #[inline]
    #[must_use]
    pub const fn credit(&self) -> u32 {
        WORK_CREDIT - self.spent
    }

    /// Gives back so much of the [`WORK_CREDIT`], for time that passed or for anything else of use.
    #[inline]
    pub const fn refill(&mut self, credit: u32) {
        self.spent = self.spent.saturating_sub(credit);
    }

    /// How much of the [`WORK_CREDIT`] is gone.
    #[inline]
    pub(crate) const fn spent(&self) -> u32 {
        self.spent
    }

    /// Has so much of the [`WORK_CREDIT`] gone.
    #[inline]
    pub(crate) const fn set_spent(&mut self, spent: u32) {
        self.spent = if spent < WORK_CREDIT { spent } else { WORK_CREDIT };
    }

    /// Whether no message is in progress: an end of the stream here cuts none off.
    #[inline]
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        self.message.is_none()
    }

    /// Whether a compressed message is in progress of which a piece was handed out.
    pub(crate) fn is_inflating(&self) -> bool {
        !self.first && self.message.is_some_and(Message::is_compressed)
    }

    /// Whether it is as it was made, but for what is spent: no message is in progress, and none was the last.
    pub(crate) const fn is_as_new(&self) -> bool {
        self.message.is_none() && !matches!(self.takes, Takes::Nothing)
    }

    /// A message of one short frame that is all there, as most are: its key and where its payload is. Nothing of it has to be
    /// remembered, and nothing violated but by its text; whatever is not so is for [`step`](Self::step).
    #[inline]
    fn find_whole(&self, input: &[u8]) -> Option<(MessageKind, Option<[u8; 4]>, Range<usize>)> {
        let &[first, second, high, low, ..] = input.first_chunk::<8>()?;
        let kind = match first {
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return None,
        };
        if self.takes == Takes::Nothing || self.message.is_some() {
            return None;
        }
        let (len, end) = match second & 0x7f {
            127 => return None,
            126 => match u16::from_be_bytes([high, low]) {
                ..126 => return None,
                len => (len, 4),
            },
            len => (u16::from(len), 2),
        };
        if u64::from(len) > self.message_bytes_max {
            return None;
        }
        let (key, start) = match (self.role, second & 0x80 != 0) {
            (Role::Server, true) => (Some(*input[end..].first_chunk()?), end + 4),
            (Role::Client, false) => (None, end),
            _ => return None,
        };
        let end = start + usize::from(len);
        (end <= input.len()).then_some((kind, key, start..end))
    }

    #[inline(never)]
    fn decode_any<'a>(&mut self, input: &'a mut [u8], wide: Option<Wide>) -> Result<Decoded<'a>, WireError> {
        if self.takes == Takes::Nothing {
            return Ok(Decoded { consumed: input.len(), item: None });
        }
        let decoded = self.step(input, wide);
        if decoded.is_err() {
            self.takes = Takes::Nothing;
        }
        decoded
    }

    fn step<'a>(&mut self, input: &'a mut [u8], wide: Option<Wide>) -> Result<Decoded<'a>, WireError> {
        if self.frame_left > 0 {
            return self.piece(input, 0, wide);
        }
        let more = Ok(Decoded { consumed: 0, item: None });
        let Some(&first) = input.first() else {
            return more;
        };
        // Of the reserved bits only this one may be agreed on, and only for the first frame of a message (RFC 7692 §6.1).
        let is_compressed =
            first & 0x70 == RSV1 && matches!(first & 0x0f, 0x1 | 0x2) && self.takes == Takes::Compressed;
        let (fin, opcode) = parse_first(if is_compressed { first & !RSV1 } else { first })?;
        self.check_opcode(opcode)?;
        let Some(&second) = input.get(1) else {
            return more;
        };
        let masked = self.check_masked(second)?;
        let Some((len, end)) = parse_len(opcode, second, &input[2..])? else {
            return more;
        };
        let spent = self.check_len(opcode, len, is_compressed)?;
        let (key, start) = if masked {
            let Some(key) = input[end..].first_chunk() else {
                return more;
            };
            (*key, end + 4)
        } else {
            ([0; 4], end)
        };
        if opcode.is_control() {
            let end = start + usize::try_from(len).unwrap_or(usize::MAX);
            let decoded = control(opcode, key, start..end, input)?;
            match decoded.item {
                Some(Item::Close(_)) => self.takes = Takes::Nothing,
                Some(_) => self.spent = spent,
                None => {}
            }
            return Ok(decoded);
        }
        self.spent = spent;
        let message = match opcode {
            Opcode::Text => Some(Message::new(MessageKind::Text, is_compressed)),
            Opcode::Binary => Some(Message::new(MessageKind::Binary, is_compressed)),
            _ => None,
        };
        self.begin(message, fin, len, key);
        self.piece(input, start, wide)
    }

    // What a header violates at this point, in this role, under this limit, is asked in the order of its bytes, so that the same
    // is told however they are cut. It changes nothing: an incomplete header is judged again when it is presented again.

    #[inline]
    const fn check_opcode(&self, opcode: Opcode) -> Result<(), WireError> {
        match (opcode, self.message) {
            (Opcode::Continuation, None) => Err(WireError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(WireError::InterleavedMessage),
            _ => Ok(()),
        }
    }

    /// Whether the frame is masked.
    #[inline]
    const fn check_masked(&self, second: u8) -> Result<bool, WireError> {
        match (self.role, second & 0x80 != 0) {
            (Role::Server, false) => Err(WireError::Unmasked),
            (Role::Client, true) => Err(WireError::Masked),
            (_, masked) => Ok(masked),
        }
    }

    /// Whether the frame may be so long, and so short, and can be paid for; what is spent when it has begun.
    #[inline]
    fn check_len(&self, opcode: Opcode, len: u64, is_compressed: bool) -> Result<u32, WireError> {
        match opcode {
            Opcode::Close if len == 1 => return Err(WireError::CloseTruncated),
            Opcode::Close => return Ok(self.spent),
            Opcode::Ping | Opcode::Pong => return self.pay(FRAME_COST, 0),
            _ => {}
        }
        let is_compressed = self.message.map_or(is_compressed, Message::is_compressed);
        let bytes = self.message_bytes.checked_add(len).ok_or(WireError::MessageTooBig)?;
        if bytes > self.message_bytes_max && !(is_compressed && bytes <= compressed_bytes_max(self.message_bytes_max)) {
            return Err(WireError::MessageTooBig);
        }
        // The bytes pay in advance: the next frame can only follow when all of them have arrived.
        match opcode {
            Opcode::Continuation => self.pay(FRAME_COST, len),
            _ if is_compressed => self.pay(INFLATE_COST, len),
            _ if self.spent == 0 => Ok(0),
            _ => self.pay(0, len),
        }
    }

    /// What is spent after something of that cost, with so many bytes of use.
    fn pay(&self, cost: u32, useful: u64) -> Result<u32, WireError> {
        let useful = u32::try_from(useful).unwrap_or(u32::MAX);
        let spent = (self.spent + cost).saturating_sub(useful);
        if spent <= WORK_CREDIT { Ok(spent) } else { Err(WireError::Flood) }
    }

    /// Enters a data frame whose header is complete and checked; `message`: it begins this.
    #[inline]
    const fn begin(&mut self, message: Option<Message>, fin: bool, len: u64, key: [u8; 4]) {
        if message.is_some() {
            self.message = message;
            self.first = true;
        }
        self.message_bytes += len;
        self.frame_left = len;
        self.key = key;
        self.fin = fin;
    }

    /// Lends what has arrived of the frame in progress, from `start` on.
    #[inline]
    fn piece<'a>(&mut self, input: &'a mut [u8], start: usize, wide: Option<Wide>) -> Result<Decoded<'a>, WireError> {
        let arrived = &mut input[start..];
        let len = usize::try_from(self.frame_left).unwrap_or(usize::MAX).min(arrived.len());
        if len == 0 && self.frame_left > 0 {
            return Ok(Decoded { consumed: start, item: None });
        }
        let payload = &mut arrived[..len];
        let message = self.message.expect("a data frame belongs to a message");
        let mut is_ascii = false;
        if matches!(self.role, Role::Server) {
            is_ascii = mask::unmask(payload, self.key, message == Message::Text, wide);
            self.key = mask::rotate(self.key, len);
        }
        self.frame_left -= len as u64;
        let last = self.fin && self.frame_left == 0;
        let first = core::mem::replace(&mut self.first, false);
        if message == Message::Text {
            if !(is_ascii && self.text.is_complete()) {
                self.text.push(payload)?;
            }
            if last && !self.text.is_complete() {
                return Err(WireError::InvalidUtf8);
            }
        }
        if last {
            self.message = None;
            self.message_bytes = 0;
        }
        let (kind, is_compressed) = (message.kind(), message.is_compressed());
        let item = Item::Data { kind, payload, first, last, is_compressed };
        Ok(Decoded { consumed: start + len, item: Some(item) })
    }
}

/// A Close, Ping or Pong whose payload is at `place`, lent whole: it is left where it is until all of it has arrived.
fn control(opcode: Opcode, key: [u8; 4], place: Range<usize>, input: &mut [u8]) -> Result<Decoded<'_>, WireError> {
    let (start, end) = (place.start, place.end);
    if input.len() < end {
        if opcode == Opcode::Close {
            let mut begun = [0; CONTROL_BYTES_MAX];
            let begun = &mut begun[..input.len() - start];
            begun.copy_from_slice(&input[start..]);
            mask::apply(begun, key, 0);
            check_close_start(begun)?;
        }
        return Ok(Decoded { consumed: 0, item: None });
    }
    let payload = &mut input[place];
    mask::apply(payload, key, 0);
    let item = match opcode {
        Opcode::Ping => Item::Ping(payload),
        Opcode::Pong => Item::Pong(payload),
        _ => Item::Close(parse_close(payload)?),
    };
    Ok(Decoded { consumed: end, item: Some(item) })
}

#[cfg(test)]
#[path = "tests/decoder.rs"]
mod tests;
