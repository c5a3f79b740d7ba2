//! Frames with compressed payloads (RFC 7692 §7.2.1): single messages, and the forms of blocks.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

use crate::compression::DeflateOptions;
use crate::dialect::Join;
use crate::lane::Mark;
use crate::log::{Form, Unit};
use crate::stats::{Compression, Count};
use crate::wire::deflate::{Deflater, WindowBits};
use crate::wire::{Header, Opcode, frame, mask};

/// Messages that are sent as one are at most so long together, before compression. Larger ones gain little, and are what a lane
/// that gets only a part of them cannot use.
pub(crate) const JOINED_BYTES_MAX: usize = 16 << 10;

/// The first reserved bit: the payload is compressed (RFC 7692 §6).
const RSV1: u8 = 0x40;

/// Buffers that are larger go when they were used.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Compresses for all connections: no message refers to another.
#[derive(Debug)]
pub(crate) struct Compressor {
    deflater: Deflater,
    message_bytes_min: usize,
    /// What was compressed last.
    compressed: BytesMut,
    /// A form as it is written.
    form: BytesMut,
    units: Vec<Unit>,
}

impl Compressor {
    pub(crate) fn new(options: &DeflateOptions) -> Self {
        let window_bits = WindowBits::new(options.window_bits).expect("options were checked");
        Self {
            deflater: Deflater::new(window_bits, options.level, options.memory_level),
            message_bytes_min: options.message_bytes_min as usize,
            compressed: BytesMut::new(),
            form: BytesMut::new(),
            units: Vec::new(),
        }
    }

    /// Compresses a payload; whether its frame is shorter than `plain_bytes` then.
    fn compress<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        (bytes, plain_bytes): (usize, usize),
        stats: &mut Compression,
    ) -> bool {
        self.compressed.clear();
        self.deflater.reset();
        self.deflater.compress(pieces, &mut self.compressed);
        stats.compressed += Count::new(1, bytes as u64);
        stats.compressed_to += self.compressed.len() as u64;
        frame::frame_bytes(self.compressed.len(), false) < plain_bytes
    }

    /// The frame of a message, where compression is of use and the peer remembers so much.
    pub(crate) fn frame(
        &mut self,
        (opcode, mask): (Opcode, Option<[u8; 4]>),
        payload: &[u8],
        window_bytes: usize,
        stats: &mut Compression,
    ) -> Option<Bytes> {
        let len = payload.len();
        if len < self.message_bytes_min || len > window_bytes {
            return None;
        }
        if !self.compress([payload], (len, frame::frame_bytes(len, false)), stats) {
            return None;
        }
        let mut out = BytesMut::with_capacity(frame::frame_bytes(self.compressed.len(), mask.is_some()));
        put_compressed(&mut out, opcode, mask, &self.compressed);
        self.shrink();
        Some(out.freeze())
    }

    /// The same of a frame that is written already, for whoever inflates it.
    pub(crate) fn compressed_frame(&mut self, frame: &[u8], stats: &mut Compression) -> Option<Bytes> {
        let (header, start) = frame::parse_header(frame).ok().flatten().expect("a frame of our own");
        self.frame((header.opcode, None), &frame[start..], usize::MAX, stats)
    }

    /// Whether a block of so many bytes and messages may have a form of any use.
    pub(crate) fn is_of_use(options: &DeflateOptions, len: usize, messages: usize, join: Option<Join>) -> bool {
        len >= options.message_bytes_min as usize || (messages > 1 && join.is_some())
    }

    /// The form of a block of these frames, whose first message is behind `after`.
    pub(crate) fn form<'a>(
        &mut self,
        after: u64,
        frames: impl Iterator<Item = (Mark, &'a [u8])>,
        join: Option<Join>,
        stats: &mut Compression,
    ) -> Form {
        self.form.clear();
        self.units.clear();
        let mut unit = Vec::new();
        let mut bytes = 0;
        for (through, frame) in frames {
            let (header, start) = frame::parse_header(frame).ok().flatten().expect("a frame of our own");
            let message = Message { through, opcode: header.opcode, frame, payload: &frame[start..] };
            if !unit.is_empty() && (join.is_none() || bytes + message.payload.len() > JOINED_BYTES_MAX) {
                self.put_unit(&unit, join, stats);
                unit.clear();
                bytes = 0;
            }
            bytes += message.payload.len() + 1;
            unit.push(message);
        }
        self.put_unit(&unit, join, stats);
        if self.units.iter().all(|unit| unit.window_bytes == 0) {
            self.units.clear();
            self.form.clear();
        }
        let form = Form::new(after, Bytes::copy_from_slice(&self.form), &self.units);
        self.shrink();
        form
    }

    /// Writes consecutive messages as one, or as they are where that is shorter.
    fn put_unit(&mut self, messages: &[Message<'_>], join: Option<Join>, stats: &mut Compression) {
        let plain_bytes = messages.iter().map(|message| message.frame.len()).sum();
        let (is_shorter, bytes) = match (messages, join) {
            ([message], _) => {
                let bytes = message.payload.len();
                let is_long = bytes >= self.message_bytes_min;
                (is_long && self.compress([message.payload], (bytes, plain_bytes), stats), bytes)
            }
            (_, Some(join)) => {
                let pieces = joined(join, messages.iter().map(|message| message.payload));
                let bytes = pieces.iter().map(|piece| piece.len()).sum();
                (self.compress(pieces, (bytes, plain_bytes), stats), bytes)
            }
            (_, None) => unreachable!("only a dialect that joins makes one message of several"),
        };
        let end = |form: &BytesMut| u32::try_from(form.len()).expect("shorter than the block");
        if !is_shorter {
            for message in messages {
                self.form.extend_from_slice(message.frame);
                self.units.push(Unit { through: message.through, end: end(&self.form), window_bytes: 0 });
            }
        } else if let Some(last) = messages.last() {
            put_compressed(&mut self.form, last.opcode, None, &self.compressed);
            let window_bytes = u32::try_from(bytes).expect("not much longer than the block");
            self.units.push(Unit { through: last.through, end: end(&self.form), window_bytes });
        }
    }

    /// Gives back buffers that were for something large.
    fn shrink(&mut self) {
        if self.compressed.capacity() > BUFFER_BYTES_MAX {
            self.compressed = BytesMut::new();
        }
        if self.form.capacity() > BUFFER_BYTES_MAX {
            self.form = BytesMut::new();
        }
        if self.units.capacity() * size_of::<Unit>() > BUFFER_BYTES_MAX {
            self.units = Vec::new();
        }
    }
}

/// Consecutive messages, compressed for one connection alone: sent as a whole, or not at all.
#[derive(Debug)]
pub(crate) struct OwnUnit {
    /// Frames.
    pub(crate) bytes: Bytes,
    /// The WebSocket messages, as they were before.
    pub(crate) before: Count,
}

/// The unit that consists of these frames of our own, for a peer that remembers all that `deflater` was given. It is compressed
/// whatever comes of that: what `deflater` was given has to be sent.
pub(crate) fn own_unit(
    deflater: &mut Deflater,
    frames: &[Bytes],
    join: Option<Join>,
    mut mask: impl FnMut() -> Option<[u8; 4]>,
    stats: &mut Compression,
) -> OwnUnit {
    let messages: Vec<(Opcode, Cow<'_, [u8]>)> = frames.iter().flat_map(|frames| split(frames)).collect();
    let (mut out, mut compressed, mut before) = (BytesMut::new(), BytesMut::new(), Count::default());
    let mut put = |opcode: Opcode, pieces: &[&[u8]]| {
        compressed.clear();
        deflater.compress(pieces.iter().copied(), &mut compressed);
        before += Count::new(1, pieces.iter().map(|piece| piece.len() as u64).sum());
        stats.compressed_to += compressed.len() as u64;
        put_compressed(&mut out, opcode, mask(), &compressed);
    };
    match (join, &*messages) {
        (Some(join), [(opcode, _), _, ..]) => {
            put(*opcode, &joined(join, messages.iter().map(|(_, payload)| &**payload)));
        }
        _ => messages.iter().for_each(|(opcode, payload)| put(*opcode, &[&**payload])),
    }
    stats.compressed += before;
    OwnUnit { bytes: Bytes::copy_from_slice(&out), before }
}

/// The opcodes and payloads of frames of our own, one behind another, without their masks.
fn split(mut frames: &[u8]) -> impl Iterator<Item = (Opcode, Cow<'_, [u8]>)> {
    core::iter::from_fn(move || {
        let (header, start) = frame::parse_header(frames).ok().flatten()?;
        let end = start + usize::try_from(header.len).expect("in memory");
        let mut payload = Cow::Borrowed(&frames[start..end]);
        if let Some(key) = header.mask {
            mask::apply(payload.to_mut(), key, 0);
        }
        frames = &frames[end..];
        Some((header.opcode, payload))
    })
}

/// The pieces of messages that are sent as one.
fn joined<'a>(join: Join, payloads: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let between = payloads.enumerate().flat_map(|(nth, payload)| {
        let before = if nth == 0 { join.open } else { join.between };
        [before, payload]
    });
    between.chain([join.close]).collect()
}

/// A message of a block.
struct Message<'a> {
    through: Mark,
    opcode: Opcode,
    frame: &'a [u8],
    payload: &'a [u8],
}

/// Writes the frame of a payload that is compressed.
fn put_compressed(out: &mut BytesMut, opcode: Opcode, key: Option<[u8; 4]>, payload: &[u8]) {
    let mut header = [0; frame::HEADER_BYTES_MAX];
    let len = payload.len() as u64;
    let end = frame::encode_header(&mut header, &Header { fin: true, opcode, mask: key, len });
    header[0] |= RSV1;
    out.extend_from_slice(&header[..end]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        mask::apply(&mut out[start..], key, 0);
    }
}
