//! Collecting an HTTP head, and its fields.

use alloc::vec::Vec;

use super::HandshakeError;
use super::token::trim;

/// Collects the head of an HTTP message across reads.
///
/// It looks at each byte once, whatever the size of the reads, and holds what has arrived and nothing more: a reader that
/// has read nothing, or that got the whole head at once, owns no memory.
///
/// ```
/// use forebay_core::wire::handshake::HeadReader;
/// let mut reader = HeadReader::new(16 * 1024);
/// assert_eq!(reader.read(b"GET / HTTP/1.1\r\nHost: a"), Ok(None));
/// let (head, consumed) = reader.read(b"\r\n\r\n\x81\x80").unwrap().unwrap();
/// assert_eq!((head, consumed), (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 4));
/// ```
#[derive(Clone, Debug)]
pub struct HeadReader {
    /// What was read of a head that is not complete; never more than `bytes_max`, in capacity too.
    buffer: Vec<u8>,
    bytes_max: usize,
    /// How much of CRLF CRLF the bytes so far end with; 4 is a complete head.
    matched: u8,
    failed: Option<HandshakeError>,
    /// How many bytes were looked at, and copied.
    #[cfg(test)]
    pub(super) work: (usize, usize),
}

impl HeadReader {
    /// A reader for heads of at most `bytes_max` bytes, the empty line at their end included. Allocates nothing.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            bytes_max,
            matched: 0,
            failed: None,
            #[cfg(test)]
            work: (0, 0),
        }
    }

    /// Takes the next bytes. Returns the whole head and how many bytes of `input` it took (what follows them is not
    /// HTTP), or `None` if it is not complete, when all of `input` was taken. After a head the next call begins another.
    ///
    /// # Errors
    /// [`HeadTooLarge`](HandshakeError::HeadTooLarge) at the first byte too many,
    /// [`StrayControl`](HandshakeError::StrayControl) at a CR or LF that is not part of a CRLF and at a NUL,
    /// [`OutOfMemory`](HandshakeError::OutOfMemory). An error stays: every later call returns it again.
    pub fn read<'a>(&'a mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, HandshakeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.matched == 4 {
            self.matched = 0;
            self.buffer.clear();
        }
        match self.scan(input).and_then(|end| self.keep(input, end)) {
            Ok(Some(end)) if self.buffer.is_empty() => Ok(Some((&input[..end], end))),
            Ok(Some(end)) => Ok(Some((&self.buffer, end))),
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                self.buffer = Vec::new();
                Err(error)
            }
        }
    }

    /// The memory held, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Where the head ends in `input`, if it does.
    ///
    /// What stands between line ends is passed over eight bytes at a time.
    fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let room = self.bytes_max - self.buffer.len();
        let within = &input[..room.min(input.len())];
        let mut rest = within;
        while !rest.is_empty() {
            let plain = if self.matched & 1 == 0 { plain_bytes(rest) } else { 0 };
            let (matched, len) = match (self.matched, rest) {
                _ if plain > 0 => (0, plain),
                (0 | 2, [b'\r', b'\n', ..]) => (self.matched + 2, 2),
                (0 | 2, [b'\r', ..]) | (1 | 3, [b'\n', ..]) => (self.matched + 1, 1),
                (_, [b'\r' | b'\n' | 0, ..]) | (1 | 3, _) => return Err(HandshakeError::StrayControl),
                _ => (0, 1),
            };
            self.matched = matched;
            rest = &rest[len..];
            #[cfg(test)]
            {
                self.work.0 += len;
            }
            if matched == 4 {
                return Ok(Some(within.len() - rest.len()));
            }
        }
        if within.len() < input.len() { Err(HandshakeError::HeadTooLarge) } else { Ok(None) }
    }

    /// Buffers what has to be: an incomplete head, or the end of one that is buffered already.
    fn keep(&mut self, input: &[u8], end: Option<usize>) -> Result<Option<usize>, HandshakeError> {
        if end.is_some() && self.buffer.is_empty() {
            return Ok(end);
        }
        let bytes = &input[..end.unwrap_or(input.len())];
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            // Doubling keeps byte-by-byte delivery linear; `scan` saw to it that `needed` is within the limit.
            let target = needed.max(self.buffer.capacity() * 2).min(self.bytes_max);
            let additional = target - self.buffer.len();
            #[cfg(test)]
            {
                self.work.1 += self.buffer.len();
            }
            self.buffer.try_reserve_exact(additional).map_err(|_| HandshakeError::OutOfMemory)?;
        }
        self.buffer.extend_from_slice(bytes);
        #[cfg(test)]
        {
            self.work.1 += bytes.len();
        }
        Ok(end)
    }
}

/// The header fields of a head that was parsed, in order: a view of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Field lines, each ended by CRLF, whose grammar has been checked.
    lines: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of a complete head, or an error if its lines do not all end with CRLF.
    pub(super) fn of(head: &'a [u8]) -> Result<Self, HandshakeError> {
        // All of it without a branch, so that the compiler turns it into vectors.
        let pairs = head.iter().zip(head.iter().skip(1));
        if pairs.fold(head.first() == Some(&b'\n'), |stray, (a, b)| stray | ((*b == b'\n') & (*a != b'\r'))) {
            return Err(HandshakeError::StrayControl);
        }
        let (_, rest) = split_line(head);
        let lines = rest.strip_suffix(b"\r\n").ok_or(HandshakeError::Malformed)?;
        Ok(Self { lines })
    }

    /// Names and values, as they came but for the white space around the values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.lines().map_while(|line| {
            let colon = find(line, b':')?;
            Some((core::str::from_utf8(&line[..colon]).ok()?, trim(&line[colon + 1..])))
        })
    }

    /// The value of the first field of that name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all fields of that name, in any case and in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.lines().filter_map(move |line| {
            let (start, rest) = line.split_at_checked(name.len())?;
            let (b':', value) = rest.split_first()? else { return None };
            start.eq_ignore_ascii_case(name.as_bytes()).then(|| trim(value))
        })
    }

    fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.lines;
        core::iter::from_fn(move || {
            let (line, after) = split_line(rest);
            let is_end = rest.is_empty();
            rest = after;
            (!is_end).then_some(line)
        })
    }
}

/// The first line without its CRLF, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match find(bytes, b'\n') {
        Some(end) => (&bytes[..end.saturating_sub(1)], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// How many bytes there are before the first that is below `limit`, which is at most 128, if there is one.
#[inline]
fn bytes_before_less(word: &[u8; 8], limit: u8) -> Option<usize> {
    let word = u64::from_le_bytes(*word);
    // The lowest of the bits that are set is right (those above it may be borrowed from): the highest bit of a byte that was
    // below the limit before it was taken away.
    let below = word.wrapping_sub(repeated(limit)) & !word & repeated(0x80);
    (below != 0).then(|| below.trailing_zeros() as usize / 8)
}

/// How many bytes there are before the first that could be CR, LF or NUL, not counting the last seven.
fn plain_bytes(bytes: &[u8]) -> usize {
    let words = bytes.as_chunks().0;
    for (at, word) in words.iter().enumerate() {
        if let Some(before) = bytes_before_less(word, b'\r' + 1) {
            return 8 * at + before;
        }
    }
    8 * words.len()
}

/// Where a byte is first, looked for eight at a time: `position` looks at one after the other.
fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let differences = (u64::from_le_bytes(*word) ^ repeated(wanted)).to_le_bytes();
        if let Some(before) = bytes_before_less(&differences, 1) {
            return Some(8 * at + before);
        }
    }
    let before = rest.iter().position(|byte| *byte == wanted)?;
    Some(8 * words.len() + before)
}
