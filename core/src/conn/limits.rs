//! How fast a connection may be: buckets, there while one of them is not full.

use core::time::Duration;

use crate::config::Options;
use crate::delivery::{Class, Rate};
use crate::rate::Bucket;
use crate::time::Instant;

/// How long buckets that are full are kept: a connection that is busy is not to ask for a timer after each message.
const KEPT: Duration = Duration::from_secs(1);

/// What a connection has used of its rates, and when it may go on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    inbound: Bucket,
    inbound_bytes: Bucket,
    outbound_bytes: Bucket,
    /// When the first message that waits to be sent may be. Only of a connection that could write and waits for nothing
    /// else.
    pub(crate) starts_at: Option<Instant>,
}

/// Of the bucket for bytes to a connection, units that are not for a class.
pub(crate) fn reserved(options: &Options, rate: Rate, class: Class) -> u32 {
    match class {
        Class::High => 0,
        Class::Normal | Class::Low => {
            let units = u64::from(rate.burst) * u64::from(options.reserved_percent) / 100;
            u32::try_from(units).expect("at most 90 % of the burst")
        }
    }
}

impl Limits {
    /// When there is a unit for the next inbound message.
    pub(crate) fn inbound_at(&self, options: &Options) -> Instant {
        let at = |rate: Option<Rate>, bucket: Bucket| rate.map_or(Instant::ZERO, |rate| bucket.next_at(rate, 0));
        at(options.inbound_rate, self.inbound).max(at(options.inbound_bytes_rate, self.inbound_bytes))
    }

    /// A whole inbound message of so many bytes came.
    pub(crate) fn take_inbound(&mut self, options: &Options, bytes: u64, now: Instant) {
        if let Some(rate) = options.inbound_rate {
            self.inbound.take(rate, 1, now);
        }
        if let Some(rate) = options.inbound_bytes_rate {
            self.inbound_bytes.take(rate, bytes, now);
        }
    }

    /// When a message of a class may be sent.
    pub(crate) fn outbound_at(&self, options: &Options, class: Class) -> Instant {
        let next_at = |rate| self.outbound_bytes.next_at(rate, reserved(options, rate, class));
        options.outbound_bytes_rate.map_or(Instant::ZERO, next_at)
    }

    /// How many bytes of messages may be sent now, the reserved ones included.
    pub(crate) fn outbound_units(&self, rate: Rate, now: Instant) -> u64 {
        self.outbound_bytes.units(rate, 0, now)
    }

    /// So many bytes were sent, whatever they were.
    pub(crate) fn take_outbound(&mut self, rate: Rate, bytes: u64, now: Instant) {
        self.outbound_bytes.take(rate, bytes, now);
    }

    fn full_at(&self) -> Instant {
        self.inbound.full_at().max(self.inbound_bytes.full_at()).max(self.outbound_bytes.full_at())
    }

    /// Whether it says nothing of a connection that does not wait to be read.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.starts_at.is_none() && self.full_at() <= now
    }

    /// When something has to be done; `is_limited`: the connection is not read for its rate.
    pub(crate) fn deadline(&self, options: &Options, is_limited: bool) -> Instant {
        let idle_at = self.full_at() + KEPT;
        let inbound_at = if is_limited { self.inbound_at(options) } else { idle_at };
        self.starts_at.unwrap_or(idle_at).min(inbound_at)
    }
}
