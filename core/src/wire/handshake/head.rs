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
    fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let room = self.bytes_max - self.buffer.len();
        for (at, &byte) in input.iter().enumerate() {
            #[cfg(test)]
            {
                self.work.0 += 1;
            }
            if at == room {
                return Err(HandshakeError::HeadTooLarge);
            }
            self.matched = match (byte, self.matched) {
                (b'\r', 0 | 2) | (b'\n', 1 | 3) => self.matched + 1,
                (b'\r' | b'\n' | 0, _) | (_, 1 | 3) => return Err(HandshakeError::StrayControl),
                _ => 0,
            };
            if self.matched == 4 {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
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
        let stray = |(at, &byte): (usize, &u8)| byte == b'\n' && (at == 0 || head[at - 1] != b'\r');
        if head.iter().enumerate().any(stray) {
            return Err(HandshakeError::StrayControl);
        }
        let (_, rest) = split_line(head);
        let lines = rest.strip_suffix(b"\r\n").ok_or(HandshakeError::Malformed)?;
        Ok(Self { lines })
    }

    /// Names and values, as they came but for the white space around the values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let mut rest = self.lines;
        core::iter::from_fn(move || {
            let (line, after) = split_line(rest);
            rest = after;
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((core::str::from_utf8(&line[..colon]).ok()?, trim(&line[colon + 1..])))
        })
    }

    /// The value of the first field of that name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The values of all fields of that name, in any case and in order.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The first line without its CRLF, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&bytes[..end.saturating_sub(1)], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}
