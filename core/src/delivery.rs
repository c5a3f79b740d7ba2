//! How a topic is delivered: with acknowledgements or without, how fast, in what order, and what of it is kept.

use core::fmt;
use core::time::Duration;

use crate::config::{ConfigError, check};
use crate::policy::Policy;

/// Whether subscribers acknowledge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub enum Delivery {
    /// What was sent is done with.
    #[default]
    BestEffort,
    /// What was sent is kept until it is acknowledged, and sent again.
    AtLeastOnce(AtLeastOnce),
}

/// How a lane delivers at least once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct AtLeastOnce {
    /// Messages of a lane that are unacknowledged, or outstanding for the first time: 32. At most 128.
    pub in_flight_max: u8,
    /// From the `handle_sent` of the oldest unacknowledged message until all are sent again: 5 s. At least 1 ms, at most
    /// 1 h.
    pub ack_timeout: Duration,
    /// How often a message is sent again before it is abandoned: 5. At least 1.
    pub attempts_max: u16,
}

impl Default for AtLeastOnce {
    fn default() -> Self {
        Self { in_flight_max: 32, ack_timeout: Duration::from_secs(5), attempts_max: 5 }
    }
}

impl Delivery {
    /// At least once, with the default numbers.
    #[must_use]
    pub fn at_least_once() -> Self {
        Self::AtLeastOnce(AtLeastOnce::default())
    }

    /// Its name in the dialects, in configuration and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BestEffort => "best-effort",
            Self::AtLeastOnce(_) => "at-least-once",
        }
    }

    pub(crate) fn check(&self, policy: Policy) -> Result<(), ConfigError> {
        let Self::AtLeastOnce(AtLeastOnce { in_flight_max, ack_timeout, attempts_max }) = *self else { return Ok(()) };
        check(policy.can_be_at_least_once(), "delivery", "at-least-once needs block, disconnect or drop-newest")?;
        check(in_flight_max > 0, "delivery.in_flight_max", "must be at least 1")?;
        check(in_flight_max <= 128, "delivery.in_flight_max", "must be at most 128")?;
        check(ack_timeout >= Duration::from_millis(1), "delivery.ack_timeout", "must be at least 1 ms")?;
        check(ack_timeout <= Duration::from_secs(3_600), "delivery.ack_timeout", "must be at most 1 h")?;
        check(attempts_max > 0, "delivery.attempts_max", "must be at least 1")
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a topic keeps for those who come later: its newest messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct History {
    /// Messages: at least 1, at most 2^31.
    pub messages_max: u32,
    /// Payload bytes: at least 1, at most 1 TiB. (A message that is larger is not kept, nor anything before it.)
    pub bytes_max: u64,
    /// How old a message may be; `None`: as old as it likes. At least 1 ms.
    pub age_max: Option<Duration>,
}

impl Default for History {
    /// 1,024 messages, 1 MiB, of any age.
    fn default() -> Self {
        Self { messages_max: 1_024, bytes_max: 1 << 20, age_max: None }
    }
}

impl History {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Self { messages_max, bytes_max, age_max } = *self;
        check(messages_max > 0, "history.messages_max", "must be at least 1")?;
        check(messages_max <= 1 << 31, "history.messages_max", "must be at most 2147483648")?;
        check(bytes_max > 0, "history.bytes_max", "must be at least 1")?;
        check(bytes_max <= 1 << 40, "history.bytes_max", "must be at most 1 TiB")?;
        let is_long = age_max.is_none_or(|age| age >= Duration::from_millis(1));
        check(is_long, "history.age_max", "must be at least 1 ms")
    }
}

/// In which order the topics of a connection are sent, whatever waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub enum Class {
    /// Before everything else: for what is rare and urgent.
    High,
    /// Like direct messages.
    #[default]
    Normal,
    /// Behind everything else; and refused first when the hub's memory runs short.
    Low,
}

impl Class {
    /// All of them, the first to be sent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Its name in configuration and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// The class of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// What becomes of what comes faster than a rate allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Excess {
    /// It waits.
    #[default]
    Wait,
    /// It is refused (`limited`), and told when to try again.
    Refuse,
}

/// How much may pass: a bucket of `burst` units that fills with `per_second`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Rate {
    /// Units in a second: at least 1, at most 10^9.
    pub per_second: u32,
    /// Units at once: at least 1, at most 2^31.
    pub burst: u32,
}

impl Rate {
    /// So much in a second, and at once.
    #[must_use]
    pub const fn per_second(units: u32) -> Self {
        Self { per_second: units, burst: units }
    }

    pub(crate) fn check(&self, per_second: &'static str, burst: &'static str) -> Result<(), ConfigError> {
        check(self.per_second > 0, per_second, "must be at least 1")?;
        check(self.per_second <= 1_000_000_000, per_second, "must be at most 1000000000")?;
        check(self.burst > 0, burst, "must be at least 1")?;
        check(self.burst <= 1 << 31, burst, "must be at most 2147483648")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_edge_is_named() {
        let field = |result: Result<(), ConfigError>| result.map_err(|error| error.field);
        let delivery = |in_flight_max, millis, attempts_max| {
            let ack_timeout = Duration::from_millis(millis);
            field(Delivery::AtLeastOnce(AtLeastOnce { in_flight_max, ack_timeout, attempts_max }).check(Policy::Block))
        };
        assert_eq!((delivery(1, 1, 1), delivery(128, 3_600_000, u16::MAX)), (Ok(()), Ok(())));
        assert_eq!((delivery(0, 1, 1), delivery(129, 1, 1)), (Err("delivery.in_flight_max"), delivery(0, 1, 1)));
        assert_eq!((delivery(1, 0, 1), delivery(1, 3_600_001, 1)), (Err("delivery.ack_timeout"), delivery(1, 0, 1)));
        assert_eq!(delivery(1, 1, 0), Err("delivery.attempts_max"));
        for policy in Policy::ALL.iter().copied() {
            let is_good = matches!(policy, Policy::Block | Policy::Disconnect | Policy::DropNewest);
            assert_eq!(Delivery::at_least_once().check(policy).is_ok(), is_good);
            assert!(Delivery::BestEffort.check(policy).is_ok());
        }

        let history = |messages_max, bytes_max, age_max: Option<Duration>| {
            field(History { messages_max, bytes_max, age_max }.check())
        };
        let (ms, less) = (Some(Duration::from_millis(1)), Some(Duration::from_nanos(999_999)));
        assert_eq!((history(1, 1, ms), history(1 << 31, 1 << 40, None)), (Ok(()), Ok(())));
        assert_eq!(
            (history(0, 1, ms), history((1 << 31) + 1, 1, ms)),
            (Err("history.messages_max"), history(0, 1, ms))
        );
        assert_eq!((history(1, 0, ms), history(1, (1 << 40) + 1, ms)), (Err("history.bytes_max"), history(1, 0, ms)));
        assert_eq!(history(1, 1, less), Err("history.age_max"));

        let rate = |per_second, burst| field(Rate { per_second, burst }.check("per_second", "burst"));
        assert_eq!((rate(1, 1), rate(1_000_000_000, 1 << 31)), (Ok(()), Ok(())));
        assert_eq!((rate(0, 1), rate(1_000_000_001, 1)), (Err("per_second"), Err("per_second")));
        assert_eq!((rate(1, 0), rate(1, (1 << 31) + 1)), (Err("burst"), Err("burst")));
    }

    #[test]
    fn names_name_their_classes() {
        for class in Class::ALL {
            assert_eq!(Class::from_name(class.name()), Some(class));
        }
        assert_eq!(Class::from_name("High"), None);
        assert!(Class::High < Class::Normal && Class::Normal < Class::Low);
    }
}
