//! An inflater from RFC 1951 and RFC 7692 §7.2.2: bit by bit, from the start each time, and as far as the bits go.

/// Lengths of codes come in this order (RFC 1951 §3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What is appended to a message to inflate it (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Why it goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bits are used up.
    More,
    /// There would be one byte more than there may be.
    TooBig,
    /// The bits mean nothing.
    Corrupt,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, Stop> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.at / 8).ok_or(Stop::More)?;
            value |= usize::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Ok(value)
    }

    const fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    const fn are_used_up(&self) -> bool {
        self.at == self.bytes.len() * 8
    }
}

/// A Huffman code (RFC 1951 §3.2.2): how many symbols have a code of each length, and these symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    /// From the length of each symbol's code, 0 where it has none.
    fn new(lens: &[usize]) -> Self {
        let counts = std::array::from_fn(|len| lens.iter().filter(|other| **other == len).count());
        let of_len = |len| lens.iter().enumerate().filter(move |(_, other)| **other == len).map(|(symbol, _)| symbol);
        Self { counts, symbols: (1..16).flat_map(of_len).collect() }
    }

    /// Refuses codes that use some bits twice, or not at all. One of one bit, or none, is let through as zlib does, but
    /// not for the lengths of codes.
    fn check(&self, is_of_lens: bool) -> Result<(), Stop> {
        let used: usize = (1..16).map(|len| self.counts[len] << (15 - len)).sum();
        let is_short = self.symbols.len() == self.counts[1];
        if used == 1 << 15 || (used < 1 << 15 && is_short && !is_of_lens) { Ok(()) } else { Err(Stop::Corrupt) }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, Stop> {
        let longest = (1..16).rfind(|len| self.counts[*len] > 0).unwrap_or(1);
        let (mut code, mut first, mut before) = (0, 0, 0);
        for count in &self.counts[1..=longest] {
            code = code << 1 | bits.take(1)?;
            if code < first + count {
                return Ok(self.symbols[before + code - first]);
            }
            (first, before) = ((first + count) << 1, before + count);
        }
        Err(Stop::Corrupt)
    }
}

/// What is inflated so far: what a message may refer to, and behind it the message.
struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    bytes_max: u128,
    context: Vec<u8>,
    /// Where what may be referred to begins.
    from: usize,
}

impl Out<'_> {
    fn push(&mut self, byte: u8) -> Result<(), Stop> {
        if self.bytes.len() as u128 == self.bytes_max {
            return Err(Stop::TooBig);
        }
        self.bytes.push(byte);
        Ok(())
    }

    fn copy(&mut self, len: usize, distance: usize) -> Result<(), Stop> {
        let all = self.context.len() + self.bytes.len();
        if distance > all - self.from {
            return Err(Stop::Corrupt);
        }
        for at in all - distance..all - distance + len {
            let byte = self.context.get(at).copied().unwrap_or_else(|| self.bytes[at - self.context.len()]);
            self.push(byte)?;
        }
        Ok(())
    }
}

/// Inflates what came of a message, which may refer to `context`: all that follows from it goes to `out`, and why it goes no
/// further is returned. `None`: it is the whole message, and all is well.
pub fn inflate(context: &[u8], message: &[u8], is_whole: bool, out: &mut Vec<u8>, bytes_max: u128) -> Option<Stop> {
    out.clear();
    if message.is_empty() {
        return if is_whole { None } else { Some(Stop::More) };
    }
    let tail = if is_whole { &TAIL[..] } else { &[] };
    let input = [message, tail].concat();
    let mut out = Out { bytes: out, bytes_max, context: context.to_vec(), from: 0 };
    let mut bits = Bits { bytes: &input, at: 0 };
    loop {
        match block(&mut bits, &mut out) {
            Ok(is_last) => {
                if is_last {
                    // Another stream begins behind it (RFC 7692 §7.2.3.4).
                    bits.align();
                    out.from = out.context.len() + out.bytes.len();
                }
                if is_whole && (bits.are_used_up() || (is_last && bits.at == message.len() * 8)) {
                    return None;
                }
            }
            Err(Stop::More) if is_whole => return Some(Stop::Corrupt),
            Err(stop) => return Some(stop),
        }
    }
}

/// Reads a block, and says whether it is the last of a stream.
fn block(bits: &mut Bits<'_>, out: &mut Out<'_>) -> Result<bool, Stop> {
    let head = bits.take(3)?;
    match head >> 1 {
        0 => stored(bits, out)?,
        1 => {
            let lens: Vec<usize> = (0..288).map(fixed_len).collect();
            compressed(bits, out, &Code::new(&lens), &Code::new(&[5; 32]))?;
        }
        2 => {
            let (lens, distances) = codes(bits)?;
            compressed(bits, out, &lens, &distances)?;
        }
        _ => return Err(Stop::Corrupt),
    }
    Ok(head & 1 == 1)
}

/// RFC 1951 §3.2.6.
const fn fixed_len(symbol: usize) -> usize {
    match symbol {
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Out<'_>) -> Result<(), Stop> {
    bits.align();
    let (len, inverted) = (bits.take(16)?, bits.take(16)?);
    if len != !inverted & 0xFFFF {
        return Err(Stop::Corrupt);
    }
    for _ in 0..len {
        let byte = bits.take(8)?;
        out.push(u8::try_from(byte).expect("8 bits"))?;
    }
    Ok(())
}

/// The codes of a block that brings its own (RFC 1951 §3.2.7).
fn codes(bits: &mut Bits<'_>) -> Result<(Code, Code), Stop> {
    let counts = bits.take(14)?;
    let (lens, distances, of_lens) = ((counts & 31) + 257, (counts >> 5 & 31) + 1, (counts >> 10) + 4);
    if lens > 286 || distances > 30 {
        return Err(Stop::Corrupt);
    }
    let mut code = [0; 19];
    for place in &ORDER[..of_lens] {
        code[*place] = bits.take(3)?;
    }
    // Where no symbol has a code there can be no end of a block. zlib finds that out when it has read a bit for each length.
    let code = (code != [0; 19]).then(|| Code::new(&code));
    code.as_ref().map_or(Ok(()), |code| code.check(true))?;
    let mut all = Vec::new();
    while all.len() < lens + distances {
        let symbol = if let Some(code) = &code { code.symbol(bits)? } else { bits.take(1).map(|_| 0)? };
        let (len, times) = match symbol {
            16 => {
                let times = 3 + bits.take(2)?;
                (*all.last().ok_or(Stop::Corrupt)?, times)
            }
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            len => (len, 1),
        };
        all.extend(std::iter::repeat_n(len, times));
        if all.len() > lens + distances {
            return Err(Stop::Corrupt);
        }
    }
    if all[256] == 0 {
        return Err(Stop::Corrupt);
    }
    let (of_lens, of_distances) = (Code::new(&all[..lens]), Code::new(&all[lens..]));
    of_lens.check(false)?;
    of_distances.check(false)?;
    Ok((of_lens, of_distances))
}

fn compressed(bits: &mut Bits<'_>, out: &mut Out<'_>, lens: &Code, distances: &Code) -> Result<(), Stop> {
    loop {
        let symbol = lens.symbol(bits)?;
        let len = match symbol {
            0..=255 => {
                out.push(u8::try_from(symbol).expect("8 bits"))?;
                continue;
            }
            256 => return Ok(()),
            257..=264 => symbol - 254,
            265..=284 => {
                let extra = (symbol - 261) / 4;
                ((4 + (symbol - 265) % 4) << extra) + 3 + bits.take(extra)?
            }
            285 => 258,
            _ => return Err(Stop::Corrupt),
        };
        let symbol = distances.symbol(bits)?;
        let distance = match symbol {
            0..=3 => symbol + 1,
            4..=29 => {
                let extra = (symbol - 2) / 2;
                ((2 + symbol % 2) << extra) + 1 + bits.take(extra)?
            }
            _ => return Err(Stop::Corrupt),
        };
        out.copy(len, distance)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(message: &[u8]) -> (Option<Stop>, Vec<u8>) {
        let mut out = Vec::new();
        (inflate(b"", message, true, &mut out, 100), out)
    }

    #[test]
    fn examples_of_the_rfc() {
        // RFC 7692 §7.2.3: one block, taken over, stored, marked as the last, in two blocks.
        let hello: [&[u8]; 4] = [
            b"\xF2\x48\xCD\xC9\xC9\x07\x00",
            b"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00",
            b"\xF3\x48\xCD\xC9\xC9\x07\x00\x00",
            b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00",
        ];
        for message in hello {
            assert_eq!(whole(message), (None, b"Hello".to_vec()), "{message:02x?}");
        }
        let mut out = Vec::new();
        assert_eq!(inflate(b"Hello", b"\xF2\x00\x11\x00\x00", true, &mut out, 5), None);
        assert_eq!(out, b"Hello");
        assert_eq!(inflate(b"Hello", b"\xF2\x00\x11\x00\x00", true, &mut out, 4), Some(Stop::TooBig));
        assert_eq!((whole(b""), whole(b"\x00")), ((None, vec![]), (None, vec![])));
    }

    #[test]
    fn what_is_not_whole_or_means_nothing() {
        let hello = b"\xF2\x48\xCD\xC9\xC9\x07\x00";
        assert_eq!(whole(&hello[..6]).0, Some(Stop::Corrupt));
        let mut out = Vec::new();
        assert_eq!((inflate(b"", &hello[..4], false, &mut out, 100), out.len()), (Some(Stop::More), 3));
        assert_eq!(whole(b"\x06").0, Some(Stop::Corrupt), "a block of the fourth kind");
        assert_eq!(whole(b"\x00\x05\x00\xFA\xFE").0, Some(Stop::Corrupt), "a length and not its complement");
        assert_eq!(whole(b"\xF2\x00\x11\x00\x00").0, Some(Stop::Corrupt), "too far back");
    }
}
