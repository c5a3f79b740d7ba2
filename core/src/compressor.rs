//! Frames with compressed payloads (RFC 7692 §7.2.1): single messages, and the forms of blocks.

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
const JOINED_BYTES_MAX: usize = 16 << 10;

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
                let between = messages
                    .iter()
                    .enumerate()
                    .flat_map(|(nth, message)| [if nth == 0 { join.open } else { join.between }, message.payload]);
                let pieces: Vec<&[u8]> = between.chain([join.close]).collect();
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
