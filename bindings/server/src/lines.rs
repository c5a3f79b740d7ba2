//! Lines of any bytes, within bounded memory.

use std::io::{self, BufRead};

/// A line without its line feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// It had this many bytes, more than the bound; it was read past, not kept.
    TooLong(u64),
}

/// Reads lines of at most `bytes_max` bytes.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    bytes_max: usize,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, bytes_max: usize) -> Self {
        Self { reader, bytes_max, buffer: Vec::new() }
    }

    /// The next line; `None` at the end. A last line without line feed counts, unless it is empty.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        // One more than the bound, for the line feed.
        let limit = self.bytes_max as u64 + 1;
        let mut limited = io::Read::take(&mut self.reader, limit);
        if limited.read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() > self.bytes_max {
            let (skipped, has_feed) = skip_line(&mut self.reader)?;
            let bytes = self.buffer.len() as u64 + skipped - u64::from(has_feed);
            return Ok(Some(Line::TooLong(bytes)));
        }
        Ok(Some(Line::Whole(&self.buffer)))
    }
}

/// Reads past the end of the line: bytes taken, and whether the last one was a line feed.
fn skip_line(reader: &mut impl BufRead) -> io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok((skipped, false));
        }
        let feed = available.iter().position(|byte| *byte == b'\n');
        let taken = feed.map_or(available.len(), |at| at + 1);
        reader.consume(taken);
        skipped += taken as u64;
        if feed.is_some() {
            return Ok((skipped, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// What the lines are, whatever the size of the reader's buffer: bytes, or the length of what was too long.
    fn lines(input: &[u8], bytes_max: usize) -> Vec<Result<Vec<u8>, u64>> {
        let read = |capacity| {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, input), bytes_max);
            let mut all = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                all.push(match line {
                    Line::Whole(bytes) => Ok(bytes.to_vec()),
                    Line::TooLong(bytes) => Err(bytes),
                });
            }
            assert!(
                lines.buffer.capacity() <= (bytes_max + 1).next_power_of_two().max(8),
                "{}",
                lines.buffer.capacity()
            );
            all
        };
        let expected = read(1);
        for capacity in [2, 3, 5, 64] {
            assert_eq!(read(capacity), expected, "capacity {capacity}");
        }
        expected
    }

    fn ok(text: &str) -> Result<Vec<u8>, u64> {
        Ok(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_end_with_a_line_feed_or_with_the_input() {
        assert_eq!(lines(b"", 9), []);
        assert_eq!(lines(b"\n", 9), [ok("")]);
        assert_eq!(lines(b"a\nb", 9), [ok("a"), ok("b")]);
        assert_eq!(lines(b"a\nb\n", 9), [ok("a"), ok("b")]);
        assert_eq!(lines(b"\n\na\n", 9), [ok(""), ok(""), ok("a")]);
    }

    #[test]
    fn only_the_line_feed_goes() {
        assert_eq!(lines(b"a\r\n\rb \x00\n", 9), [ok("a\r"), ok("\rb \0")]);
        assert_eq!(lines(b"\xff\n", 9), [Ok(vec![0xff])]);
    }

    #[test]
    fn what_is_too_long_is_counted_and_passed() {
        assert_eq!(lines(b"1234\n5", 4), [ok("1234"), ok("5")]);
        assert_eq!(lines(b"1234", 4), [ok("1234")]);
        assert_eq!(lines(b"12345\n6\n", 4), [Err(5), ok("6")]);
        assert_eq!(lines(b"12345", 4), [Err(5)]);
        assert_eq!(lines(b"1234567890123456789\n\n", 4), [Err(19), ok("")]);
        assert_eq!(lines(b"1\n", 0), [Err(1)]);
    }
}
