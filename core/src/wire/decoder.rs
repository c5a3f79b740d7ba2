//! Decoding frames into messages (RFC 6455 §5, §6.2, §8.1).

use super::close::{CloseCode, parse_close};
use super::error::WireError;
use super::frame::{Opcode, Prefix, Role, parse_prefix};
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
    /// The first violation, once everything before it has been returned. What a header shows is told at the header, a bad byte of
    /// text when it arrives.
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
        let Some(prefix) = parse_prefix(input)? else {
            return more;
        };
        self.check(&prefix)?;
        let (key, start) = if prefix.masked {
            let Some(key) = input[prefix.end..].first_chunk() else {
                return more;
            };
            (*key, prefix.end + 4)
        } else {
            ([0; 4], prefix.end)
        };
        if prefix.opcode.is_control() {
            let decoded = control(&prefix, key, start, input)?;
            if decoded.item.is_some() {
                self.spent = self.spent_with(&prefix);
            }
            return Ok(decoded);
        }
        let arrived = input.len() - start;
        if prefix.fin && self.message.is_none() && prefix.len <= arrived as u64 {
            if self.spent > 0 {
                self.spent = self.spent_with(&prefix);
            }
            return whole(&prefix, key, start, input);
        }
        self.begin(&prefix, key);
        self.piece(input, start)
    }

    /// What the header violates in this role, at this point, under this limit. Changes nothing: an incomplete header is
    /// judged again when it is presented again.
    #[inline]
    fn check(&self, prefix: &Prefix) -> Result<(), WireError> {
        match (self.role, prefix.masked) {
            (Role::Server, false) => return Err(WireError::Unmasked),
            (Role::Client, true) => return Err(WireError::Masked),
            _ => {}
        }
        if prefix.opcode.is_control() {
            return self.check_credit(prefix);
        }
        let continues = prefix.opcode == Opcode::Continuation;
        if continues != self.message.is_some() {
            return Err(if continues { WireError::UnexpectedContinuation } else { WireError::InterleavedMessage });
        }
        match self.message_bytes.checked_add(prefix.len) {
            Some(bytes) if bytes <= self.message_bytes_max => {}
            _ => return Err(WireError::MessageTooBig),
        }
        if continues { self.check_credit(prefix) } else { Ok(()) }
    }

    #[inline]
    fn check_credit(&self, prefix: &Prefix) -> Result<(), WireError> {
        if self.spent_with(prefix) <= WORK_CREDIT { Ok(()) } else { Err(WireError::Flood) }
    }

    /// What is spent when a frame has begun.
    #[inline]
    fn spent_with(&self, prefix: &Prefix) -> u32 {
        let len = u32::try_from(prefix.len).unwrap_or(u32::MAX);
        match prefix.opcode {
            Opcode::Close => self.spent,
            Opcode::Ping | Opcode::Pong => self.spent + FRAME_COST,
            Opcode::Continuation => (self.spent + FRAME_COST).saturating_sub(len),
            Opcode::Text | Opcode::Binary => self.spent.saturating_sub(len),
        }
    }

    /// Enters a data frame whose header is complete and checked.
    #[inline]
    fn begin(&mut self, prefix: &Prefix, key: [u8; 4]) {
        match prefix.opcode {
            Opcode::Text => self.begin_message(MessageKind::Text),
            Opcode::Binary => self.begin_message(MessageKind::Binary),
            _ => {}
        }
        self.spent = self.spent_with(prefix);
        self.message_bytes += prefix.len;
        self.frame_left = prefix.len;
        self.key = key;
        self.fin = prefix.fin;
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
        }
        self.frame_left -= len as u64;
        if self.frame_left > 0 {
            self.key = mask::rotate(self.key, len);
        }
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

/// A message of one frame that is all there, as most are: it changes nothing.
#[inline]
fn whole<'a>(prefix: &Prefix, key: [u8; 4], start: usize, input: &'a mut [u8]) -> Result<Decoded<'a>, WireError> {
    let end = start + usize::try_from(prefix.len).expect("it is all there");
    let payload = &mut input[start..end];
    if prefix.masked {
        mask::apply(payload, key, 0);
    }
    let kind = if prefix.opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
    if kind == MessageKind::Text && core::str::from_utf8(payload).is_err() {
        return Err(WireError::InvalidUtf8);
    }
    Ok(Decoded { consumed: end, item: Some(Item::Data { kind, payload, first: true, last: true }) })
}

/// A Close, Ping or Pong, lent whole: it is left where it is until all of it has arrived.
fn control<'a>(prefix: &Prefix, key: [u8; 4], start: usize, input: &'a mut [u8]) -> Result<Decoded<'a>, WireError> {
    let end = start + usize::try_from(prefix.len).unwrap_or(usize::MAX);
    let Some(payload) = input.get_mut(start..end) else {
        return Ok(Decoded { consumed: 0, item: None });
    };
    if prefix.masked {
        mask::apply(payload, key, 0);
    }
    let item = match prefix.opcode {
        Opcode::Ping => Item::Ping(payload),
        Opcode::Pong => Item::Pong(payload),
        _ => Item::Close(parse_close(payload)?),
    };
    Ok(Decoded { consumed: end, item: Some(item) })
}

#[cfg(test)]
#[path = "tests/decoder.rs"]
mod tests;
