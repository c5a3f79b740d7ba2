//! Just enough of RFC 6455 for a client that counts: masked frames out, headers in.

/// Appends a masked text frame. The key is always the same: a server cannot tell, and the load needs its core for more.
pub(crate) fn push_text(out: &mut Vec<u8>, payload: &[u8]) {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    out.push(0x81);
    match payload.len() {
        length @ ..126 => out.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Counts the messages of one server, in whatever pieces they come, and looks at nothing but their headers.
#[derive(Default)]
pub(crate) struct Scanner {
    /// A header that is not complete.
    head: [u8; 10],
    have: usize,
    /// What is left of a payload.
    skip: u64,
}

impl Scanner {
    /// How many messages begin in `bytes`; none after the server has said Close.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Option<u64> {
        let mut messages = 0;
        loop {
            let skipped = self.skip.min(bytes.len() as u64);
            bytes = &bytes[skipped as usize..];
            self.skip -= skipped;
            let (have, mut head) = (self.have, self.head);
            let begin = if have == 0 {
                bytes
            } else {
                let more = bytes.len().min(head.len() - have);
                head[have..have + more].copy_from_slice(&bytes[..more]);
                &head[..have + more]
            };
            let Some((used, length)) = header(begin) else {
                self.head[..begin.len()].copy_from_slice(begin);
                self.have = begin.len();
                return Some(messages);
            };
            match begin[0] & 15 {
                1 | 2 => messages += 1,
                8 => return None,
                _ => {} // The rest of a message, Ping, Pong.
            }
            bytes = &bytes[used - have..];
            self.have = 0;
            self.skip = length;
        }
    }
}

/// The bytes of a server's header and of its payload, if the header is complete.
fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    match *bytes {
        [_, 127, a, b, c, d, e, f, g, h, ..] => Some((10, u64::from_be_bytes([a, b, c, d, e, f, g, h]))),
        [_, 126, a, b, ..] => Some((4, u16::from_be_bytes([a, b]).into())),
        [_, length @ ..126, ..] => Some((2, length.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_they_are_cut() {
        let mut all = Vec::new();
        for (first, length) in [(0x81, 0), (0x82, 125), (0x89, 3), (1, 126), (0x80, 4), (0x82, 70_000), (0x81, 1)] {
            all.push(first);
            match length {
                ..126 => all.push(length as u8),
                126..0x1_0000 => all.extend([126, (length >> 8) as u8, length as u8]),
                _ => all.extend([&[127][..], &(length as u64).to_be_bytes()].concat()),
            }
            all.resize(all.len() + length, 0x88);
        }
        for piece in [1, 2, 3, 7, 11, 100, 4096, all.len()] {
            let mut scanner = Scanner::default();
            let messages: u64 = all.chunks(piece).map(|bytes| scanner.feed(bytes).unwrap()).sum();
            assert_eq!(messages, 5, "pieces of {piece}");
            assert_eq!((scanner.have, scanner.skip), (0, 0));
            assert_eq!(scanner.feed(&[0x88, 0]), None);
        }
    }

    #[test]
    fn what_is_sent_is_masked() {
        let mut out = Vec::new();
        push_text(&mut out, b"Hello"); // RFC 6455 §5.7
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
