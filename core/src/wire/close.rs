//! Close codes and the payload of a Close frame (RFC 6455 §5.5.1, §7.4).

use super::error::WireError;
use super::utf8::Utf8;

/// The longest reason a Close frame has room for: 125 bytes of control payload less two of code (RFC 6455 §5.5).
pub const REASON_BYTES_MAX: usize = 123;

/// Why a connection is closed (RFC 6455 §7.4).
///
/// Made by [`new`](CloseCode::new) it is one that may be sent; [`NO_STATUS`](CloseCode::NO_STATUS) and
/// [`ABNORMAL`](CloseCode::ABNORMAL) exist to report what happened and are never on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server is going down, or a page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that cannot be accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the Close frame carried no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: payload that contradicts its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated and no other code says it better.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the server did not negotiate an extension that the client needs.
    pub const EXTENSION_MISSING: Self = Self(1010);
    /// 1011: the server met a condition it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: overloaded, try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 4001: another connection has resumed the session (ours: RFC 6455 §7.4.2 leaves 4000–4999 to applications).
    pub const RESUMED: Self = Self(4001);
    /// 1014: a gateway got an invalid answer from its upstream (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code, if it may be sent in a Close frame: 1000–1003, 1007–1014 and 3000–4999 (RFC 6455 §7.4.1, §7.4.2,
    /// and the IANA registry for 1012–1014).
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the code may be sent in a Close frame.
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        Self::new(self.0).is_some()
    }
}

impl core::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The reason of a Close frame: at most 123 bytes of UTF-8 (RFC 6455 §5.5), held in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseReason {
    len: u8,
    /// UTF-8 up to `len`, zero behind it.
    text: [u8; REASON_BYTES_MAX],
}

impl CloseReason {
    /// The reason, if it is short enough.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut reason = Self::default();
        reason.text.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        reason.len = u8::try_from(text.len()).ok()?;
        Some(reason)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.text[..usize::from(self.len)]).expect("made from a str")
    }
}

impl Default for CloseReason {
    fn default() -> Self {
        Self { len: 0, text: [0; REASON_BYTES_MAX] }
    }
}

impl core::fmt::Debug for CloseReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// Reads the unmasked payload of a Close frame; `None` is a Close without a code.
///
/// # Errors
/// [`CloseTruncated`](WireError::CloseTruncated) for one byte, [`CloseCodeInvalid`](WireError::CloseCodeInvalid) for a
/// code that must not be sent, [`CloseReasonInvalid`](WireError::CloseReasonInvalid) for a reason that is not UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, WireError> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(WireError::CloseTruncated),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let code = CloseCode::new(code).ok_or(WireError::CloseCodeInvalid)?;
    let reason = core::str::from_utf8(reason).map_err(|_| WireError::CloseReasonInvalid)?;
    Ok(Some((code, reason)))
}

/// What is wrong already with the first bytes of a Close frame's payload.
pub(super) fn check_close_start(payload: &[u8]) -> Result<(), WireError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Ok(());
    };
    CloseCode::new(u16::from_be_bytes(*code)).ok_or(WireError::CloseCodeInvalid)?;
    Utf8::new().push(reason).map_err(|_| WireError::CloseReasonInvalid)
}

/// The longest prefix of `reason` that fits a Close frame and ends between two code points.
pub(super) fn cut_reason(reason: &str) -> &str {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_codes_of_the_rfc_and_the_registry_are_sendable() {
        for code in 0..=u16::MAX {
            let legal =
                (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code) || (3000..5000).contains(&code);
            assert_eq!(CloseCode::new(code).map(CloseCode::get), legal.then_some(code), "{code}");
            let payload = code.to_be_bytes();
            let parsed = parse_close(&payload);
            if legal {
                assert_eq!(parsed, Ok(Some((CloseCode(code), ""))));
            } else {
                assert_eq!(parsed, Err(WireError::CloseCodeInvalid));
            }
        }
        assert!(!CloseCode::NO_STATUS.is_sendable() && !CloseCode::ABNORMAL.is_sendable());
        assert_eq!(CloseCode::TRY_AGAIN_LATER.get(), 1013);
    }

    #[test]
    fn payloads() {
        assert_eq!(parse_close(b""), Ok(None));
        assert_eq!(parse_close(b"\x03"), Err(WireError::CloseTruncated));
        assert_eq!(parse_close(b"\x03\xe8bye"), Ok(Some((CloseCode::NORMAL, "bye"))));
        assert_eq!(parse_close(b"\x03\xe8\xc3"), Err(WireError::CloseReasonInvalid));
        assert_eq!(WireError::CloseReasonInvalid.close_code(), CloseCode::INVALID_PAYLOAD);
        assert_eq!(WireError::CloseTruncated.close_code(), CloseCode::PROTOCOL_ERROR);
    }

    #[test]
    fn reasons_are_cut_between_code_points() {
        use alloc::string::String;
        for pad in 0..6 {
            for wide in ["x", "é", "€", "😀"] {
                let mut text: String = core::iter::repeat_n('.', pad).collect();
                while text.len() < 200 {
                    text.push_str(wide);
                }
                let cut = cut_reason(&text);
                assert!(text.starts_with(cut));
                assert!(cut.len() <= REASON_BYTES_MAX && cut.len() + wide.len() > REASON_BYTES_MAX);
            }
        }
        assert_eq!(cut_reason("short"), "short");
    }
}
