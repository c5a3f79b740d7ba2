//! What a peer can do wrong on an open connection.

use super::close::CloseCode;
use super::deflate::InflateError;
use super::utf8::InvalidUtf8;

/// A violation of RFC 6455, or of a limit, by the peer.
///
/// Each names the rule that was broken; [`close_code`](WireError::close_code) is what the Close frame that answers it
/// should carry (RFC 6455 §7.1.7, §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireError {
    /// A reserved header bit is set and no extension was negotiated (§5.2).
    ReservedBits,
    /// The opcode is one of 3–7 or 11–15 (§5.2).
    ReservedOpcode,
    /// A Close, Ping or Pong frame without FIN (§5.5).
    FragmentedControl,
    /// A Close, Ping or Pong frame with more than 125 bytes (§5.5).
    ControlTooLong,
    /// A client's frame is not masked (§5.1).
    Unmasked,
    /// A server's frame is masked (§5.1).
    Masked,
    /// A length in a longer form than it needs (§5.2: "the minimal number of bytes MUST be used").
    LengthNotMinimal,
    /// A 64-bit length with its most significant bit set (§5.2).
    LengthOverflow,
    /// A continuation frame while no message is in progress (§5.4).
    UnexpectedContinuation,
    /// A Text or Binary frame inside a fragmented message (§5.4).
    InterleavedMessage,
    /// The frames of one message announce more bytes than the limit, told before any of the excess has arrived.
    MessageTooBig,
    /// More small fragments, pings and pongs than [`WORK_CREDIT`](super::decoder::WORK_CREDIT) pays for.
    Flood,
    /// A compressed message that cannot be inflated (RFC 7692 §7.2.2).
    CorruptDeflate,
    /// Text that is not UTF-8, or that ends inside a code point (§8.1).
    InvalidUtf8,
    /// A Close frame whose payload is a single byte, half a code (§5.5.1).
    CloseTruncated,
    /// A Close code that must not be on the wire (§7.4).
    CloseCodeInvalid,
    /// A Close reason that is not UTF-8 (§5.5.1).
    CloseReasonInvalid,
}

impl WireError {
    /// All of them, in the order of [`Stats::violations`](crate::Stats::violations).
    pub const ALL: [Self; 17] = [
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::FragmentedControl,
        Self::ControlTooLong,
        Self::Unmasked,
        Self::Masked,
        Self::LengthNotMinimal,
        Self::LengthOverflow,
        Self::UnexpectedContinuation,
        Self::InterleavedMessage,
        Self::MessageTooBig,
        Self::Flood,
        Self::CorruptDeflate,
        Self::InvalidUtf8,
        Self::CloseTruncated,
        Self::CloseCodeInvalid,
        Self::CloseReasonInvalid,
    ];

    /// The violation's name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode => "reserved_opcode",
            Self::FragmentedControl => "fragmented_control",
            Self::ControlTooLong => "control_too_long",
            Self::Unmasked => "unmasked",
            Self::Masked => "masked",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::LengthOverflow => "length_overflow",
            Self::UnexpectedContinuation => "unexpected_continuation",
            Self::InterleavedMessage => "interleaved_message",
            Self::MessageTooBig => "message_too_big",
            Self::Flood => "flood",
            Self::CorruptDeflate => "corrupt_deflate",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::CloseTruncated => "close_truncated",
            Self::CloseCodeInvalid => "close_code_invalid",
            Self::CloseReasonInvalid => "close_reason_invalid",
        }
    }

    /// The code to close the connection with.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::Unmasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthOverflow
            | Self::UnexpectedContinuation
            | Self::InterleavedMessage
            | Self::CloseTruncated
            | Self::CloseCodeInvalid => CloseCode::PROTOCOL_ERROR,
            Self::MessageTooBig => CloseCode::TOO_BIG,
            Self::Flood => CloseCode::POLICY,
            Self::InvalidUtf8 | Self::CorruptDeflate | Self::CloseReasonInvalid => CloseCode::INVALID_PAYLOAD,
        }
    }

    /// A short text, fit for the reason of a Close frame.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved header bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::FragmentedControl => "fragmented control frame",
            Self::ControlTooLong => "control frame over 125 bytes",
            Self::Unmasked => "client frame not masked",
            Self::Masked => "server frame masked",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthOverflow => "length over 63 bits",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::InterleavedMessage => "new message inside a fragmented one",
            Self::MessageTooBig => "message too big",
            Self::Flood => "too many frames that bring nothing",
            Self::CorruptDeflate => "compressed message is corrupt",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::CloseTruncated => "close frame of one byte",
            Self::CloseCodeInvalid => "close code not allowed",
            Self::CloseReasonInvalid => "close reason is not UTF-8",
        }
    }
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for WireError {}

impl From<InflateError> for WireError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooBig => Self::MessageTooBig,
            InflateError::Corrupt => Self::CorruptDeflate,
        }
    }
}

impl From<InvalidUtf8> for WireError {
    fn from(_: InvalidUtf8) -> Self {
        Self::InvalidUtf8
    }
}
