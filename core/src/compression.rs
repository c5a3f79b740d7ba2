//! What is compressed, and how well (RFC 7692).

use crate::config::{ConfigError, check};

/// Compression of messages (permessage-deflate, RFC 7692) with those that want it. What is sent compressed: messages of topics
/// with [`TopicOptions::deflate`](crate::TopicOptions::deflate), and where `direct` says so direct messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeflateOptions {
    /// How hard it is tried to find what repeats: 6. From 1 (fast) to 9 (small).
    pub level: u8,
    /// How much memory a compressor takes for symbols and output: 8. From 1 to 9: `7 * 2^(memory_level + 6)` bytes.
    pub memory_level: u8,
    /// How far back may be referred to in what is sent, at most: 15, that is 2^15 bytes. From 9 to 15. A peer may ask for less.
    pub window_bits: u8,
    /// Payloads of fewer bytes are sent as they are, unless several are sent as one message, or they may refer to those
    /// before them (`context_bytes_max`): 128.
    pub message_bytes_min: u32,
    /// Whether direct messages ([`Hub::send`](crate::Hub::send)) are compressed: they are not.
    pub direct: bool,
    /// Memory of all connections for contexts that are taken over from one message to the next (RFC 7692 §7.1.1), in
    /// bytes: 0, none is, and each is compressed once for all who get it. A part of [`Options::resident_bytes_max`](crate::Options::resident_bytes_max). 413 KB
    /// buy a connection of default parameters both directions. Those that come when it is used up are answered
    /// `server_no_context_takeover` and `client_no_context_takeover`.
    pub context_bytes_max: usize,
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self { level: 6, memory_level: 8, window_bits: 15, message_bytes_min: 128, direct: false, context_bytes_max: 0 }
    }
}

impl DeflateOptions {
    pub(crate) fn check(&self, resident_bytes_max: usize) -> Result<(), ConfigError> {
        check(cfg!(feature = "deflate"), "deflate", "needs the feature deflate of forebay-core")?;
        check((1..=9).contains(&self.level), "deflate.level", "must be from 1 to 9")?;
        check((1..=9).contains(&self.memory_level), "deflate.memory_level", "must be from 1 to 9")?;
        check((9..=15).contains(&self.window_bits), "deflate.window_bits", "must be from 9 to 15")?;
        check(
            self.context_bytes_max <= resident_bytes_max,
            "deflate.context_bytes_max",
            "must not exceed resident_bytes_max: it is a part of it",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Options};

    fn refused(change: impl FnOnce(&mut DeflateOptions)) -> Result<(), &'static str> {
        let mut deflate = DeflateOptions::default();
        change(&mut deflate);
        let options = Options { deflate: Some(deflate), ..Options::default() };
        Config::try_from(options).map(drop).map_err(|error| error.field)
    }

    #[cfg(not(feature = "deflate"))]
    #[test]
    fn without_the_feature_there_is_none() {
        assert_eq!(refused(|_| {}), Err("deflate"));
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn each_edge_is_named() {
        assert_eq!(refused(|_| {}), Ok(()));
        for (good, bad) in [(1, 0), (9, 10)] {
            assert_eq!(refused(|o| (o.level, o.memory_level) = (good, good)), Ok(()));
            assert_eq!(refused(|o| o.level = bad), Err("deflate.level"));
            assert_eq!(refused(|o| o.memory_level = bad), Err("deflate.memory_level"));
        }
        for (good, bad) in [(9, 8), (15, 16)] {
            assert_eq!(refused(|o| o.window_bits = good), Ok(()));
            assert_eq!(refused(|o| o.window_bits = bad), Err("deflate.window_bits"));
        }
        assert_eq!(refused(|o| o.context_bytes_max = 256 << 20), Ok(()));
        assert_eq!(refused(|o| o.context_bytes_max = (256 << 20) + 1), Err("deflate.context_bytes_max"));
    }
}
