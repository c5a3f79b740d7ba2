//! A reference decoder, from RFC 6455 §5, §7.4 and §8.1 and RFC 7692 §6 and §7.2 alone: a byte at a time, in 128 bits, with
//! `std` for UTF-8 and [`inflate`](super::inflate) for compressed messages.
//!
//! What it says of a stream is what must have been told when the last of its bytes has arrived, neither less nor more. So
//! whoever is compared with it after every byte has told every fault at the earliest byte that shows it:
//!
//! - what one byte of a header shows, at that byte: reserved bits, opcodes, fragments that are out of place at the first;
//!   masking, the length of a control frame and half a close code at the second; lengths as soon as no further byte can
//!   make them legal;
//! - a message that is too big, or a frame too many, with the last byte of the length that makes it so, before any mask
//!   and payload;
//! - text at the first byte behind which no text can be valid (§8.1), also in the middle of a frame, and at the end of a
//!   message that ends inside a code point; a close code with its second byte, a close reason as other text;
//! - of a compressed message what follows from its bytes so far, as if it had come uncompressed; and what cannot be
//!   inflated with the first byte that shows it;
//! - everything else when its last byte is there.

use super::inflate::{Stop, inflate};

/// The work credit a connection starts with, and never exceeds.
pub const WORK_CREDIT: u128 = 16_384 * 32;
/// What a continuation, a ping and a pong cost of it. Each byte of data gives one back, and pays already for its own frame.
pub const FRAME_COST: u128 = 32;
/// What the first frame of a compressed message costs of it. Each byte that it inflates to gives one back, too.
pub const INFLATE_COST: u128 = 16;

/// What a peer can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// RSV1, RSV2 or RSV3 (§5.2).
    ReservedBits,
    /// Opcode 3–7 or 11–15 (§5.2).
    ReservedOpcode,
    /// A control frame without FIN (§5.5).
    FragmentedControl,
    /// A control frame with more than 125 bytes (§5.5).
    ControlTooLong,
    /// Not masked, by a client (§5.1).
    Unmasked,
    /// Masked, by a server (§5.1).
    Masked,
    /// A length that would have fitted a shorter form (§5.2).
    LengthNotMinimal,
    /// A length of 2^63 or more (§5.2).
    LengthOverflow,
    /// A continuation of nothing (§5.4).
    UnexpectedContinuation,
    /// A new message inside a fragmented one (§5.4).
    InterleavedMessage,
    /// More bytes in a message than are taken.
    MessageTooBig,
    /// More small fragments, pings, pongs and compressed messages than the credit pays for.
    Flood,
    /// Text that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A compressed message that cannot be inflated (RFC 7692 §7.2.2).
    CorruptDeflate,
    /// Half a close code (§5.5.1).
    CloseTruncated,
    /// A close code that is never on the wire (§7.4).
    CloseCodeInvalid,
    /// A close reason that is not UTF-8 (§5.5.1).
    CloseReasonInvalid,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::FragmentedControl,
        Self::ControlTooLong,
        Self::Unmasked,
        Self::Masked,
        Self::LengthNotMinimal,
        Self::LengthOverflow,
        Self::UnexpectedContinuation,
        Self::InterleavedMessage,
        Self::MessageTooBig,
        Self::Flood,
        Self::InvalidUtf8,
        Self::CorruptDeflate,
        Self::CloseTruncated,
        Self::CloseCodeInvalid,
        Self::CloseReasonInvalid,
    ];

    /// The close code it deserves (§7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::CorruptDeflate | Self::CloseReasonInvalid => 1007,
            Self::Flood => 1008,
            Self::MessageTooBig => 1009,
            _ => 1002,
        }
    }
}

/// What the reader goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether a server reads what a client sends: then every frame must be masked, else none.
    pub from_client: bool,
    /// Bytes of one message, over all of its frames, inflated.
    pub message_bytes_max: u128,
    /// Whether messages may be compressed.
    pub deflate: Deflate,
}

/// What was agreed on compression (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deflate {
    /// Nothing: RSV1 means nothing.
    Declined,
    /// Each message is compressed by itself.
    Alone,
    /// Messages may refer to those before them, up to 2^15 bytes back.
    TakesOver,
}

/// How long a compressed message may be, at its headers, that must not inflate to more than `bytes`.
#[must_use]
pub const fn compressed_bytes_max(bytes: u128) -> u128 {
    bytes + bytes / 8 + 64
}

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A whole message.
    Message {
        /// Text, else binary.
        is_text: bool,
        /// Its bytes are as they came, and are still to be inflated.
        is_compressed: bool,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The end, with code and reason where it has them. Nothing behind it counts.
    Close(Option<(u16, String)>),
}

/// A message that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Text, else binary.
    pub is_text: bool,
    /// Whether it came with RSV1.
    pub is_compressed: bool,
    /// What has arrived, or what follows from it.
    pub payload: Vec<u8>,
    /// What its headers have announced.
    announced: u128,
    /// What has arrived of a message that is to be inflated.
    deflated: Vec<u8>,
    /// Of the text, what has come of the code point that is not whole yet.
    cut: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Frame {
    fin: bool,
    opcode: u8,
    key: [u8; 4],
    len: u128,
    arrived: u128,
    /// Of a control frame.
    payload: Vec<u8>,
}

/// Reads a stream from its start.
#[derive(Clone, Debug)]
pub struct Reader {
    rules: Rules,
    /// Compressed messages are inflated, else told as they came.
    inflates: bool,
    /// What messages may refer to.
    context: Vec<u8>,
    /// The header in progress.
    head: Vec<u8>,
    frame: Option<Frame>,
    credit: u128,
    /// What was told so far.
    pub told: Vec<Told>,
    /// The message in progress.
    pub open: Option<Open>,
    /// What the last byte that counts has shown: any of these may be named. Empty while nothing is wrong.
    pub faults: Vec<Fault>,
}

/// What must have been told of this stream.
#[must_use]
pub fn read(rules: Rules, stream: &[u8]) -> Reader {
    let mut reader = Reader::new(rules);
    for byte in stream {
        reader.take(*byte);
    }
    reader
}

impl Reader {
    /// Nothing has arrived. Compressed messages are told as they come: not inflated, and text is not checked.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            inflates: false,
            context: Vec::new(),
            head: Vec::new(),
            frame: None,
            credit: WORK_CREDIT,
            told: Vec::new(),
            open: None,
            faults: Vec::new(),
        }
    }

    /// Nothing has arrived. Compressed messages are inflated.
    #[must_use]
    pub const fn inflating(rules: Rules) -> Self {
        let mut reader = Self::new(rules);
        reader.inflates = true;
        reader
    }

    /// Whether what follows means nothing: a Close was told, or a fault.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.faults.is_empty() || matches!(self.told.last(), Some(Told::Close(_)))
    }

    /// The codes to close with, if something is wrong. What no peer may do goes before what we do not take.
    #[must_use]
    pub fn close_codes(&self) -> Vec<u16> {
        let codes: Vec<u16> = self.faults.iter().map(|fault| fault.close_code()).collect();
        if codes.contains(&1002) { vec![1002] } else { codes }
    }

    /// The next byte of the stream.
    pub fn take(&mut self, byte: u8) {
        if self.is_over() {
            return;
        }
        let Some(mut frame) = self.frame.take() else { return self.take_of_head(byte) };
        let byte = byte ^ frame.key[usize::try_from(frame.arrived % 4).expect("below 4")];
        frame.arrived += 1;
        if frame.opcode >= 8 {
            frame.payload.push(byte);
            self.faults = if frame.opcode == 8 { faults_of_close(&frame.payload) } else { Vec::new() };
        } else {
            let open = self.open.as_mut().expect("a data frame is of a message");
            if open.is_compressed && self.inflates {
                open.deflated.push(byte);
                self.inflate(false);
            } else {
                self.faults = open.push(byte);
            }
        }
        if self.faults.is_empty() {
            self.advance(frame);
        }
    }

    fn take_of_head(&mut self, byte: u8) {
        self.head.push(byte);
        self.faults = self.faults_of_head();
        let len = length(&self.head);
        let key_bytes = if self.rules.from_client { 4 } else { 0 };
        let whole = self.head.len() >= 2 && self.head.len() == 2 + length_bytes(self.head[1]) + key_bytes;
        if !self.faults.is_empty() || !whole {
            return;
        }
        let head = std::mem::take(&mut self.head);
        let (lowest, highest) = len.expect("a whole header has a length");
        assert_eq!(lowest, highest, "all of the length is known");
        let key = if self.rules.from_client { *head.last_chunk().expect("a key") } else { [0; 4] };
        let (fin, opcode) = (head[0] & 0x80 != 0, head[0] & 0x0F);
        self.credit = (self.credit + use_of(opcode, lowest) - cost_of(head[0])).min(WORK_CREDIT);
        match opcode {
            0 => {
                let open = self.open.as_mut().expect("a continuation continues something");
                open.announced += lowest;
            }
            1 | 2 => {
                self.open = Some(Open {
                    is_text: opcode == 1,
                    is_compressed: head[0] & 0x40 != 0,
                    payload: Vec::new(),
                    announced: lowest,
                    deflated: Vec::new(),
                    cut: Vec::new(),
                });
            }
            _ => {}
        }
        self.advance(Frame { fin, opcode, key, len: lowest, arrived: 0, payload: Vec::new() });
    }

    /// Everything that the bytes of this header show to be wrong.
    fn faults_of_head(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let first = self.head[0];
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        let mut check = |is_wrong: bool, fault| {
            if is_wrong {
                faults.push(fault);
            }
        };
        // RFC 7692 §6: RSV1 says of the first frame of a message that the message is compressed.
        let may_be_compressed = self.rules.deflate != Deflate::Declined && matches!(opcode, 1 | 2);
        check(first & if may_be_compressed { 0x30 } else { 0x70 } != 0, Fault::ReservedBits);
        check(matches!(opcode, 3..=7 | 11..=15), Fault::ReservedOpcode);
        check(opcode >= 8 && !fin, Fault::FragmentedControl);
        check(opcode == 0 && self.open.is_none(), Fault::UnexpectedContinuation);
        check(matches!(opcode, 1 | 2) && self.open.is_some(), Fault::InterleavedMessage);
        let Some((lowest, highest)) = length(&self.head) else { return faults };
        let (second, len_bytes) = (self.head[1], length_bytes(self.head[1]));
        check(self.rules.from_client && second & 0x80 == 0, Fault::Unmasked);
        check(!self.rules.from_client && second & 0x80 != 0, Fault::Masked);
        check(opcode >= 8 && second & 0x7F > 125, Fault::ControlTooLong);
        check(opcode == 8 && second & 0x7F == 1, Fault::CloseTruncated);
        check(lowest >= 1 << 63, Fault::LengthOverflow);
        let shortest = match len_bytes {
            0 => 0,
            2 => 126,
            _ => 65_536,
        };
        check(highest < shortest, Fault::LengthNotMinimal);
        let before = self.open.as_ref().map_or(0, |open| open.announced);
        let is_known = self.head.len() >= 2 + len_bytes;
        let is_compressed = self.open.as_ref().map_or(first & 0x40 != 0, |open| open.is_compressed);
        let most = self.rules.message_bytes_max;
        let most = if is_compressed { compressed_bytes_max(most) } else { most };
        check(opcode < 8 && is_known && before + lowest > most, Fault::MessageTooBig);
        check(self.credit + use_of(opcode, highest) < cost_of(first), Fault::Flood);
        faults
    }

    /// A frame goes on, or has ended.
    fn advance(&mut self, frame: Frame) {
        if frame.arrived < frame.len {
            self.frame = Some(frame);
            return;
        }
        match frame.opcode {
            8 => match close(frame.payload) {
                Ok(close) => self.told.push(Told::Close(close)),
                Err(fault) => self.faults = vec![fault],
            },
            9 => self.told.push(Told::Ping(frame.payload)),
            10 => self.told.push(Told::Pong(frame.payload)),
            _ if !frame.fin => {}
            _ => {
                if self.inflates && self.open.as_ref().is_some_and(|open| open.is_compressed) {
                    self.inflate(true);
                }
                let open = self.open.take().expect("a data frame is of a message");
                if self.faults.is_empty() && !open.cut.is_empty() {
                    self.faults = vec![Fault::InvalidUtf8];
                }
                if self.faults.is_empty() {
                    self.whole(open);
                } else {
                    self.open = Some(open);
                }
            }
        }
    }

    /// More of a compressed message came. What it says pays for work.
    fn inflate(&mut self, is_whole: bool) {
        let open = self.open.as_mut().expect("a message in progress");
        let before = open.payload.len();
        self.faults = open.inflate(&self.context, is_whole, self.rules.message_bytes_max);
        self.credit = (self.credit + (open.payload.len() - before) as u128).min(WORK_CREDIT);
    }

    /// A message is whole.
    fn whole(&mut self, open: Open) {
        let Open { is_text, is_compressed, payload, .. } = open;
        if is_compressed && self.rules.deflate == Deflate::TakesOver {
            self.context.extend(&payload);
            let excess = self.context.len().saturating_sub(1 << 15);
            self.context.drain(..excess);
        }
        self.told.push(Told::Message { is_text, is_compressed: is_compressed && !self.inflates, payload });
    }
}

impl Open {
    /// The next byte of the payload as it is told.
    fn push(&mut self, byte: u8) -> Vec<Fault> {
        self.payload.push(byte);
        let is_checked = self.is_text && (!self.is_compressed || !self.deflated.is_empty());
        if !is_checked || still_text(&mut self.cut, byte) { Vec::new() } else { vec![Fault::InvalidUtf8] }
    }

    /// What follows from the compressed bytes that came, beyond what followed before.
    fn inflate(&mut self, context: &[u8], is_whole: bool, message_bytes_max: u128) -> Vec<Fault> {
        let mut inflated = Vec::new();
        let stop = inflate(context, &self.deflated, is_whole, &mut inflated, message_bytes_max);
        let mut faults = Vec::new();
        for byte in &inflated[self.payload.len()..] {
            // Behind what is no text nothing is text.
            if faults.is_empty() {
                faults = self.push(*byte);
            }
        }
        match stop {
            None | Some(Stop::More) => {}
            Some(Stop::TooBig) => faults.push(Fault::MessageTooBig),
            Some(Stop::Corrupt) => faults.push(Fault::CorruptDeflate),
        }
        faults
    }
}

/// What a frame costs of the credit.
const fn cost_of(first: u8) -> u128 {
    match first & 0x4F {
        0 | 9 | 10 => FRAME_COST,
        0x41 | 0x42 => INFLATE_COST,
        _ => 0,
    }
}

/// What a frame with so long a payload gives back.
const fn use_of(opcode: u8, len: u128) -> u128 {
    if opcode < 8 { len } else { 0 }
}

/// How many bytes follow the second one to say how long the frame is (§5.2).
const fn length_bytes(second: u8) -> usize {
    match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// The lowest and the highest payload length that a header so far can have; `None` before its second byte.
fn length(head: &[u8]) -> Option<(u128, u128)> {
    let second = *head.get(1)?;
    let bytes = length_bytes(second);
    if bytes == 0 {
        return Some((u128::from(second & 0x7F), u128::from(second & 0x7F)));
    }
    let at = |missing: u8| {
        (2..2 + bytes).fold(0, |len: u128, place| len * 256 + u128::from(*head.get(place).unwrap_or(&missing)))
    };
    Some((at(0), at(255)))
}

/// Adds a byte to the beginning of a code point; false if nothing can follow that makes it valid.
fn still_text(cut: &mut Vec<u8>, byte: u8) -> bool {
    cut.push(byte);
    match std::str::from_utf8(cut) {
        Ok(_) => {
            cut.clear();
            true
        }
        Err(error) => error.error_len().is_none(),
    }
}

/// What so much of a Close frame's payload shows to be wrong.
fn faults_of_close(payload: &[u8]) -> Vec<Fault> {
    let Some((code, reason)) = payload.split_first_chunk() else { return Vec::new() };
    if !may_be_sent(u16::from_be_bytes(*code)) {
        return vec![Fault::CloseCodeInvalid];
    }
    match std::str::from_utf8(reason) {
        Err(error) if error.error_len().is_some() => vec![Fault::CloseReasonInvalid],
        _ => Vec::new(),
    }
}

fn close(mut payload: Vec<u8>) -> Result<Option<(u16, String)>, Fault> {
    if payload.is_empty() {
        return Ok(None);
    }
    let reason = payload.split_off(2);
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    String::from_utf8(reason).map(|reason| Some((code, reason))).map_err(|_| Fault::CloseReasonInvalid)
}

/// Whether a close code may be on the wire: §7.4.1 without 1004, 1005, 1006 and 1015, with 1012 to 1014 as IANA has
/// registered them since, and what §7.4.2 leaves to libraries and applications.
#[must_use]
pub const fn may_be_sent(code: u16) -> bool {
    match code {
        1004..=1006 | 1015 => false,
        1000..=1014 | 3000..=4999 => true,
        _ => false,
    }
}

#[cfg(test)]
#[path = "tests/reference.rs"]
mod tests;
