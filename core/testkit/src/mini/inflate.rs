//! Compressed messages (RFC 7692 §7.2): inflating, written from RFC 1951 bit by bit, for strictness and not for speed; and
//! compressing.

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output};

/// What one side may do when it compresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// It refers back at most 2 to the power of this many bytes.
    pub window_bits: u8,
    /// It may refer to messages before.
    pub takes_over: bool,
}

/// Inflates messages; remembers what they may refer to.
#[derive(Clone, Debug)]
pub struct Inflater {
    way: Way,
    /// All that was inflated, as far as it may be referred to.
    before: Vec<u8>,
    /// Messages that referred to those before them.
    pub referred: u64,
}

impl Inflater {
    /// One for what comes this way.
    #[must_use]
    pub const fn new(way: Way) -> Self {
        Self { way, before: Vec::new(), referred: 0 }
    }

    /// What a message says (§7.2.2).
    ///
    /// # Errors
    /// Why its sender must not have written it.
    pub fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        if payload.is_empty() {
            return Ok(Vec::new()); // It should have a byte (§7.2.3.6), but everybody takes it for what it must mean.
        }
        let mut out = std::mem::take(&mut self.before);
        let start = out.len();
        let bytes = [payload, &[0, 0, 0xff, 0xff]].concat();
        let mut bits = Bits { bytes: &bytes, at: 0 };
        let window = 1 << self.way.window_bits;
        let mut farthest = start;
        // Blocks, until the bytes are used up to the last; bits that fill a byte up belong to the stored block before them.
        while bits.at < bytes.len() * 8 {
            if block(&mut bits, window, &mut out, &mut farthest)? {
                // The last of a stream (§7.2.3.4): the next begins with a byte.
                bits.align();
                if bits.at / 8 + 4 == bytes.len() {
                    break; // Without the octet that should follow it.
                }
            }
        }
        self.referred += u64::from(farthest < start);
        let message = out[start..].to_vec();
        if self.way.takes_over {
            let keep = out.len().saturating_sub(window);
            self.before = out.split_off(keep);
        }
        Ok(message)
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<usize, String> {
        let byte = self.bytes.get(self.at / 8).ok_or("the end within a block")?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    /// A number, its lowest bit first.
    fn number(&mut self, bits: usize) -> Result<usize, String> {
        (0..bits).try_fold(0, |number, place| Ok(number | self.bit()? << place))
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// Codes of symbols by their lengths (RFC 1951 §3.2.2).
struct Codes {
    /// Length, code, symbol.
    all: Vec<(usize, usize, usize)>,
}

impl Codes {
    /// `one_will_do`: a single code, or none, need not be a complete set.
    fn new(lengths: &[usize], one_will_do: bool) -> Result<Self, String> {
        // How much of all there is of the longest code is used.
        let used: usize = lengths.iter().filter(|length| **length > 0).map(|length| 1 << (15 - length)).sum();
        let is_small = one_will_do && lengths.iter().all(|length| *length <= 1);
        let is_empty = lengths.iter().all(|length| *length == 0);
        if used > 1 << 15 || (used < 1 << 15 && !is_small && !is_empty) {
            return Err("too many codes, or too few".into());
        }
        Ok(Self::of(lengths))
    }

    fn of(lengths: &[usize]) -> Self {
        let mut all = Vec::new();
        let mut code = 0;
        for length in 1..=15 {
            code <<= 1;
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, of)| **of == length) {
                all.push((length, code, symbol));
                code += 1;
            }
        }
        Self { all }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, String> {
        let (mut length, mut code) = (0, 0);
        for (of_length, of_code, symbol) in &self.all {
            while length < *of_length {
                code = code << 1 | bits.bit()?;
                length += 1;
            }
            if code == *of_code {
                return Ok(*symbol);
            }
        }
        Err("a code that there is not".into())
    }
}

/// One block; whether it was the last. `farthest` is the first byte that was referred to.
fn block(bits: &mut Bits<'_>, window: usize, out: &mut Vec<u8>, farthest: &mut usize) -> Result<bool, String> {
    let is_last = bits.bit()? == 1;
    match bits.number(2)? {
        0 => {
            bits.align();
            let (len, complement) = (bits.number(16)?, bits.number(16)?);
            if len ^ complement != 0xffff {
                return Err("a length that is not its complement's".into());
            }
            for _ in 0..len {
                out.push(u8::try_from(bits.number(8)?).expect("eight bits"));
            }
        }
        1 => {
            let lengths: Vec<usize> = [(8, 144), (9, 112), (7, 24), (8, 8)]
                .into_iter()
                .flat_map(|(length, times)| std::iter::repeat_n(length, times))
                .collect();
            symbols(bits, [&Codes::of(&lengths), &Codes::of(&[5; 30])], window, out, farthest)?;
        }
        2 => {
            let (literals, distances) = tables(bits)?;
            symbols(bits, [&literals, &distances], window, out, farthest)?;
        }
        _ => return Err("a block type that there is not".into()),
    }
    Ok(is_last)
}

/// The codes of a block that brings its own (RFC 1951 §3.2.7).
fn tables(bits: &mut Bits<'_>) -> Result<(Codes, Codes), String> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, count) = (bits.number(5)? + 257, bits.number(5)? + 1, bits.number(4)? + 4);
    if literals > 286 || distances > 30 {
        return Err("more symbols than there are".into());
    }
    let mut of_lengths = [0; 19];
    for place in &ORDER[..count] {
        of_lengths[*place] = bits.number(3)?;
    }
    let codes = Codes::new(&of_lengths, false)?;
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match codes.symbol(bits)? {
            16 => (*lengths.last().ok_or("nothing to repeat")?, bits.number(2)? + 3),
            17 => (0, bits.number(3)? + 3),
            18 => (0, bits.number(7)? + 11),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    if lengths.len() > literals + distances {
        return Err("more lengths than announced".into());
    }
    if lengths[256] == 0 {
        return Err("no end of the block".into());
    }
    Ok((Codes::new(&lengths[..literals], true)?, Codes::new(&lengths[literals..], true)?))
}

/// Literals and references, up to the end of a block (RFC 1951 §3.2.5).
fn symbols(
    bits: &mut Bits<'_>,
    [literals, distances]: [&Codes; 2],
    window: usize,
    out: &mut Vec<u8>,
    farthest: &mut usize,
) -> Result<(), String> {
    loop {
        let length = match literals.symbol(bits)? {
            256 => return Ok(()),
            byte @ 0..=255 => {
                out.push(u8::try_from(byte).expect("below 256"));
                continue;
            }
            symbol @ 257..=264 => symbol - 254,
            285 => 258,
            symbol @ 265..=284 => {
                let extra = (symbol - 261) / 4;
                (((symbol - 265) % 4 + 4) << extra) + 3 + bits.number(extra)?
            }
            symbol => return Err(format!("length symbol {symbol}")),
        };
        let distance = match distances.symbol(bits)? {
            symbol @ 0..=3 => symbol + 1,
            symbol @ 4..=29 => {
                let extra = symbol / 2 - 1;
                ((2 + symbol % 2) << extra) + 1 + bits.number(extra)?
            }
            symbol => return Err(format!("distance symbol {symbol}")),
        };
        if distance > window {
            return Err(format!("a reference {distance} back, beyond the window of {window}"));
        }
        let from = out.len().checked_sub(distance).ok_or("a reference before the beginning")?;
        *farthest = from.min(*farthest);
        for place in from..from + length {
            out.push(out[place]);
        }
    }
}

/// Compresses messages, each for itself or referring to those before.
pub struct Compressor {
    way: Way,
    state: Box<CompressorOxide>,
}

impl Compressor {
    /// One for what goes this way.
    #[must_use]
    pub fn new(way: Way) -> Self {
        Self { way, state: Box::new(new_state()) }
    }

    /// The payload of a compressed message (§7.2.1); `None` where it could refer too far back.
    #[must_use]
    pub fn compress(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        // The library knows no window but the largest: what is no longer than the window refers to nothing beyond it.
        let is_largest = self.way.window_bits == 15;
        if !is_largest && message.len() > 1 << self.way.window_bits {
            return None;
        }
        if message.is_empty() {
            return Some(vec![0]);
        }
        if !self.way.takes_over || !is_largest {
            *self.state = new_state();
        }
        let mut out = Vec::new();
        let (status, _) = compress_to_output(&mut self.state, message, TDEFLFlush::Sync, |bytes| {
            out.extend_from_slice(bytes);
            true
        });
        assert_eq!(status, TDEFLStatus::Okay, "it can be compressed");
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "a flush ends so");
        out.truncate(out.len() - 4);
        Some(out)
    }
}

fn new_state() -> CompressorOxide {
    let flags = miniz_oxide::deflate::core::create_comp_flags_from_zip_params(6, -15, 0);
    CompressorOxide::new(flags)
}

impl Clone for Compressor {
    /// Without what it could refer to: it need not.
    fn clone(&self) -> Self {
        Self::new(self.way)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("way", &self.way).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Way = Way { window_bits: 15, takes_over: true };

    #[test]
    fn examples_of_the_rfc() {
        let alone = |payload: &[u8]| Inflater::new(ALL).inflate(payload);
        let hello = Ok(b"Hello".to_vec());
        assert_eq!(alone(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), hello);
        assert_eq!(alone(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]), hello);
        assert_eq!(alone(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]), hello);
        assert_eq!(alone(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), hello);
        assert_eq!(alone(&[0x00]), Ok(Vec::new()));
        let mut inflater = Inflater::new(ALL);
        assert_eq!(inflater.inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), hello);
        assert_eq!(inflater.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00]), hello);
        assert_eq!(inflater.referred, 1, "the second to the first");
        assert!(alone(&[0xf2, 0x00, 0x11, 0x00, 0x00]).is_err());
        for bad in [&[0x06][..], &[0x00, 0x05, 0x00, 0xfb, 0xff], &[0xf2, 0x48, 0xcd]] {
            assert!(alone(bad).is_err(), "{bad:02x?}");
        }
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let mut compressor = Compressor::new(ALL);
        let mut inflater = Inflater::new(ALL);
        for len in [0, 1, 2, 100, 70_000, 100, 0, 3] {
            let message: Vec<u8> = (0..len).map(|n: u32| (n.wrapping_mul(n) % 251).to_le_bytes()[0]).collect();
            assert_eq!(inflater.inflate(&compressor.compress(&message).unwrap()), Ok(message));
        }
        assert_eq!(Compressor::new(Way { window_bits: 9, ..ALL }).compress(&[0; 513]), None);
    }
}
