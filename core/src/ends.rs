//! Why connections and sessions end, as classes that can be counted.

use crate::output::{EndReason, SessionEnd};

impl EndReason {
    /// The names of all reasons in metrics, in the order of [`Stats::ended`](crate::Stats::ended).
    pub const NAMES: [&'static str; 16] = [
        "peer_closed",
        "peer_gone",
        "closed",
        "drained",
        "protocol",
        "refused",
        "rejected",
        "bad_response",
        "handshake_timeout",
        "message_timeout",
        "pong_timeout",
        "stalled",
        "overflowed",
        "resumed",
        "served",
        "overloaded",
    ];

    /// Its place among [`NAMES`](Self::NAMES): a code or an error that it comes with is not asked.
    #[must_use]
    pub const fn place(self) -> usize {
        match self {
            Self::PeerClosed(_) => 0,
            Self::PeerGone => 1,
            Self::Closed(_) => 2,
            Self::Drained => 3,
            Self::Protocol(_) => 4,
            Self::Refused(_) => 5,
            Self::Rejected(_) => 6,
            Self::BadResponse(_) => 7,
            Self::HandshakeTimeout => 8,
            Self::MessageTimeout => 9,
            Self::PongTimeout => 10,
            Self::Stalled => 11,
            Self::Overflowed => 12,
            Self::Resumed => 13,
            Self::Served => 14,
            Self::Overloaded => 15,
        }
    }
}

impl SessionEnd {
    /// All reasons, in the order of [`Stats::sessions_ended`](crate::Stats::sessions_ended).
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::Expired, Self::Overflowed, Self::Overloaded, Self::Evicted, Self::Drained];

    /// The reason's name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Expired => "expired",
            Self::Overflowed => "overflowed",
            Self::Overloaded => "overloaded",
            Self::Evicted => "evicted",
            Self::Drained => "drained",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WireError;

    #[test]
    fn each_has_its_place() {
        assert!(SessionEnd::ALL.iter().enumerate().all(|(place, end)| *end as usize == place));
        assert!(WireError::ALL.iter().enumerate().all(|(place, error)| *error as usize == place));
        assert_eq!(EndReason::NAMES[EndReason::Overloaded.place()], "overloaded");
    }
}
