//! Decoding frames into messages (RFC 6455 §5, §6.2, §8.1).

use core::ops::Range;

use super::close::{CloseCode, check_close_start, parse_close};
use super::error::WireError;
use super::frame::{CONTROL_BYTES_MAX, Opcode, Role, parse_first, parse_len};
use super::mask;
use super::utf8::Utf8;

/// The work credit a connection starts with, and the most it can have.
///
/// RFC 6455 lets a peer cut a message as finely as it likes (§5.4) and send as many pings and pongs as it likes (§5.5), and so
/// make us work for nothing. So work is paid for:
///
/// - Every continuation frame, Ping and Pong costs [`FRAME_COST`]. The first frame of a message costs nothing, nor does a
///   Close: what whole messages come is a question of rates.
/// - Every payload byte of a data frame, first or not, fragmented or not, gives one back: `credit = min(WORK_CREDIT, credit -
///   cost + len)`. The bytes pay in advance, since the next frame can only follow when all of them have arrived. The
///   payload of control frames gives nothing.
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
    /// What the frames of the message in progress have announced so far; never above `message_bytes_max`, 0 between
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
    /// The kind of the message in progress; `Some` whenever `frame_left > 0`.
    message: Option<MessageKind>,
    /// The frame in progress ends its message.
    fin: bool,
    /// No piece of the message has been handed out yet.
    first: bool,
    /// A Close was decoded, or a violation: the rest is ignored.
    done: bool,
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
            done: false,
        }
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
        if self.done {
            return Ok(Decoded { consumed: input.len(), item: None });
        }
        let decoded = self.step(input);
        self.done = matches!(decoded, Err(_) | Ok(Decoded { item: Some(Item::Close(_)), .. }));
        decoded
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

    /// Whether it is as it was made, but for what is spent: no message is in progress, and none was the last.
    pub(crate) const fn is_as_new(&self) -> bool {
        self.message.is_none() && !self.done
    }

    #[inline]
    fn step<'a>(&mut self, input: &'a mut [u8]) -> Result<Decoded<'a>, WireError> {
        if self.frame_left > 0 {
            return self.piece(input, 0);
        }
        let more = Ok(Decoded { consumed: 0, item: None });
        let Some(&first) = input.first() else {
            return more;
        };
        let (fin, opcode) = parse_first(first)?;
        self.check_opcode(opcode)?;
        let Some(&second) = input.get(1) else {
            return more;
        };
        let masked = self.check_masked(second)?;
        let Some((len, end)) = parse_len(opcode, second, &input[2..])? else {
            return more;
        };
        self.check_len(opcode, len)?;
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
            if decoded.item.is_some() {
                self.spent = self.spent_with(opcode, len);
            }
            return Ok(decoded);
        }
        if fin && opcode != Opcode::Continuation && len <= (input.len() - start) as u64 {
            if self.spent > 0 {
                self.spent = self.spent_with(opcode, len);
            }
            let end = start + usize::try_from(len).expect("it is all there");
            return whole(opcode, key, start..end, input);
        }
        self.begin(opcode, fin, len, key);
        self.piece(input, start)
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

    /// Whether the frame may be so long, and so short.
    #[inline]
    fn check_len(&self, opcode: Opcode, len: u64) -> Result<(), WireError> {
        match opcode {
            Opcode::Close if len == 1 => return Err(WireError::CloseTruncated),
            Opcode::Close => return Ok(()),
            Opcode::Ping | Opcode::Pong => return self.check_credit(opcode, len),
            _ => {}
        }
        if self.message_bytes.checked_add(len).is_none_or(|bytes| bytes > self.message_bytes_max) {
            return Err(WireError::MessageTooBig);
        }
        if opcode == Opcode::Continuation { self.check_credit(opcode, len) } else { Ok(()) }
    }

    /// Whether the frame can be paid for.
    #[inline]
    fn check_credit(&self, opcode: Opcode, len: u64) -> Result<(), WireError> {
        if self.spent_with(opcode, len) <= WORK_CREDIT { Ok(()) } else { Err(WireError::Flood) }
    }

    /// What is spent when a frame has begun.
    #[inline]
    fn spent_with(&self, opcode: Opcode, len: u64) -> u32 {
        let useful = u32::try_from(len).unwrap_or(u32::MAX);
        match opcode {
            Opcode::Close => self.spent,
            Opcode::Ping | Opcode::Pong => self.spent + FRAME_COST,
            Opcode::Continuation => (self.spent + FRAME_COST).saturating_sub(useful),
            Opcode::Text | Opcode::Binary => self.spent.saturating_sub(useful),
        }
    }

    /// Enters a data frame whose header is complete and checked.
    #[inline]
    fn begin(&mut self, opcode: Opcode, fin: bool, len: u64, key: [u8; 4]) {
        match opcode {
            Opcode::Text => self.begin_message(MessageKind::Text),
            Opcode::Binary => self.begin_message(MessageKind::Binary),
            _ => {}
        }
        self.spent = self.spent_with(opcode, len);
        self.message_bytes += len;
        self.frame_left = len;
        self.key = key;
        self.fin = fin;
    }

    #[inline]
    const fn begin_message(&mut self, kind: MessageKind) {
        self.message = Some(kind);
        self.first = true;
    }

    /// Lends what has arrived of the frame in progress, from `start` on.
    #[inline]
    fn piece<'a>(&mut self, input: &'a mut [u8], start: usize) -> Result<Decoded<'a>, WireError> {
        let arrived = &mut input[start..];
        let len = usize::try_from(self.frame_left).unwrap_or(usize::MAX).min(arrived.len());
        if len == 0 && self.frame_left > 0 {
            return Ok(Decoded { consumed: start, item: None });
        }
        let payload = &mut arrived[..len];
        if matches!(self.role, Role::Server) {
            mask::apply(payload, self.key, 0);
            self.key = mask::rotate(self.key, len);
        }
        self.frame_left -= len as u64;
        let last = self.fin && self.frame_left == 0;
        let first = core::mem::replace(&mut self.first, false);
        let kind = self.message.expect("a data frame belongs to a message");
        if kind == MessageKind::Text {
            self.text.push(payload)?;
            if last && !self.text.is_complete() {
                return Err(WireError::InvalidUtf8);
            }
        }
        if last {
            self.message = None;
            self.message_bytes = 0;
        }
        Ok(Decoded { consumed: start + len, item: Some(Item::Data { kind, payload, first, last }) })
    }
}

/// A message of one frame whose payload is at `place`, all of it, as that of most is: nothing of it has to be remembered.
#[inline]
fn whole(opcode: Opcode, key: [u8; 4], place: Range<usize>, input: &mut [u8]) -> Result<Decoded<'_>, WireError> {
    let consumed = place.end;
    let payload = &mut input[place];
    mask::apply(payload, key, 0);
    let kind = if opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
    if kind == MessageKind::Text && core::str::from_utf8(payload).is_err() {
        return Err(WireError::InvalidUtf8);
    }
    Ok(Decoded { consumed, item: Some(Item::Data { kind, payload, first: true, last: true }) })
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
