//! Why a server refuses an opening handshake.

/// What is wrong with an HTTP head, or with a request to upgrade.
///
/// After any of them the connection is to be closed: where the next request would begin cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeError {
    /// The head is longer than the limit (431).
    HeadTooLarge,
    /// More than [`FIELDS_MAX`](super::FIELDS_MAX) fields (431).
    TooManyFields,
    /// No memory for the head (503).
    OutOfMemory,
    /// A CR or LF that is not part of a CRLF, or a NUL (400; RFC 9112 §2.2, RFC 9110 §5.5).
    StrayControl,
    /// Not an HTTP/1.1 head: request line or a field does not fit the grammar (400).
    Malformed,
    /// The request target is longer than [`TARGET_BYTES_MAX`](super::TARGET_BYTES_MAX) (414).
    TargetTooLong,
    /// The request target is neither a path nor a URI of the host named by Host (400).
    TargetInvalid,
    /// A method other than GET (405; RFC 6455 §4.2.1).
    MethodNotAllowed,
    /// A version other than HTTP/1.1 (505).
    VersionNotSupported,
    /// Not exactly one valid Host (400; RFC 9112 §3.2).
    HostInvalid,
    /// The request announces a body (400). It would be read as frames by us and as a body by others.
    BodyNotAllowed,
    /// More than one Origin, or one that is not ASCII text (400).
    OriginInvalid,
    /// The page the request comes from is not one the server is for (403; RFC 6455 §10.2).
    OriginForbidden,
    /// No `Upgrade: websocket` with `Connection: Upgrade`: an ordinary GET (426).
    UpgradeRequired,
    /// Not exactly one `Sec-WebSocket-Version: 13` (426; RFC 6455 §4.4).
    WebSocketVersion,
    /// Not exactly one Sec-WebSocket-Key of 16 bytes in base64 (400; RFC 6455 §4.2.1).
    KeyInvalid,
    /// A Sec-WebSocket-Protocol element that is not a token (400; RFC 6455 §4.1).
    ProtocolInvalid,
}

impl HandshakeError {
    /// All of them, in the order of [`Stats::refused_requests`](crate::Stats::refused_requests).
    pub const ALL: [Self; 17] = [
        Self::HeadTooLarge,
        Self::TooManyFields,
        Self::OutOfMemory,
        Self::StrayControl,
        Self::Malformed,
        Self::TargetTooLong,
        Self::TargetInvalid,
        Self::MethodNotAllowed,
        Self::VersionNotSupported,
        Self::HostInvalid,
        Self::BodyNotAllowed,
        Self::OriginInvalid,
        Self::OriginForbidden,
        Self::UpgradeRequired,
        Self::WebSocketVersion,
        Self::KeyInvalid,
        Self::ProtocolInvalid,
    ];

    /// The error's name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::OutOfMemory => "out_of_memory",
            Self::StrayControl => "stray_control",
            Self::Malformed => "malformed",
            Self::TargetTooLong => "target_too_long",
            Self::TargetInvalid => "target_invalid",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::VersionNotSupported => "version_not_supported",
            Self::HostInvalid => "host_invalid",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::OriginInvalid => "origin_invalid",
            Self::OriginForbidden => "origin_forbidden",
            Self::UpgradeRequired => "upgrade_required",
            Self::WebSocketVersion => "websocket_version",
            Self::KeyInvalid => "key_invalid",
            Self::ProtocolInvalid => "protocol_invalid",
        }
    }

    /// The HTTP status to refuse with.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::StrayControl
            | Self::Malformed
            | Self::TargetInvalid
            | Self::HostInvalid
            | Self::BodyNotAllowed
            | Self::OriginInvalid
            | Self::KeyInvalid
            | Self::ProtocolInvalid => 400,
            Self::OriginForbidden => 403,
            Self::MethodNotAllowed => 405,
            Self::TargetTooLong => 414,
            Self::UpgradeRequired | Self::WebSocketVersion => 426,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::OutOfMemory => 503,
            Self::VersionNotSupported => 505,
        }
    }

    /// A short text, fit for the body of the refusal.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::HeadTooLarge => "request head too large",
            Self::TooManyFields => "too many header fields",
            Self::OutOfMemory => "out of memory",
            Self::StrayControl => "bare CR, bare LF or NUL in the head",
            Self::Malformed => "not an HTTP/1.1 head",
            Self::TargetTooLong => "request target too long",
            Self::TargetInvalid => "request target not valid",
            Self::MethodNotAllowed => "only GET can be upgraded",
            Self::VersionNotSupported => "only HTTP/1.1 can be upgraded",
            Self::HostInvalid => "not exactly one valid Host",
            Self::BodyNotAllowed => "an upgrade cannot have a body",
            Self::OriginInvalid => "Origin not valid",
            Self::OriginForbidden => "not for pages of this origin",
            Self::UpgradeRequired => "this is a WebSocket endpoint",
            Self::WebSocketVersion => "only WebSocket version 13 is spoken here",
            Self::KeyInvalid => "Sec-WebSocket-Key not valid",
            Self::ProtocolInvalid => "Sec-WebSocket-Protocol not valid",
        }
    }
}

impl core::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for HandshakeError {}
