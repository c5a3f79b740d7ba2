//! What a connection has while it is not idle.

use alloc::boxed::Box;
use core::time::Duration;

use super::{Inbound, Outbound};
use crate::config::{LaneLimits, Options};
use crate::lane::{Lane, Mark, Standing};
use crate::log::Log;
use crate::policy::Policy;
use crate::stats::{Count, Level, Load};
use crate::time::Instant;
use crate::watermark::Gauge;
use crate::wire::Decoder;

/// The direct lane: a log with one reader. Nobody is told its numbers: one with nothing left serves whoever comes next.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) lane: Lane,
    pub(crate) log: Log,
    /// A direct message was refused and nobody was told of room since.
    pub(crate) owes_sendable: bool,
    /// A direct message was refused since the gauge was read.
    pub(crate) was_full: bool,
    gauge: Gauge,
}

impl Direct {
    pub(crate) fn new(limits: LaneLimits) -> Self {
        let (lane, mut log) = (Lane::new(limits, Policy::Block, Mark::default()), Log::new(Mark::default()));
        log.change_needs(&Standing::NO_NEEDS, &lane.needs());
        Self { lane, log, owes_sendable: false, was_full: false, gauge: Gauge::default() }
    }

    pub(crate) fn is_idle(&self) -> bool {
        let is_at_rest = !self.owes_sendable && self.gauge.level() == Level::Nominal;
        is_at_rest && !self.lane.is_ended() && self.lane.load(self.log.head()) == Count::default()
    }

    /// How full it is, in thousandths.
    pub(crate) fn fill(&self, options: &Options) -> u32 {
        options.direct_lane.fill(self.lane.load(self.log.head()))
    }

    /// What waits; the level is its own.
    pub(crate) fn load(&self, options: &Options, now: Instant) -> Load {
        let waiting = self.lane.totals(self.log.head()).waiting;
        let oldest = self.lane.next(self.log.head()).map(|seq| self.log.at(seq));
        let oldest_age = oldest.map_or(Duration::ZERO, |at| now.since(at));
        Load { waiting, largest: waiting, oldest_age, fill: self.fill(options), level: self.gauge.level() }
    }
}

/// What an idle connection does not have: anything that came in or is to go out and is not done with.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    pub(crate) direct: Option<Box<Direct>>,
}

impl Work {
    pub(crate) fn new(decoder: Decoder) -> Self {
        Self { inbound: Inbound::new(decoder), outbound: Outbound::default(), direct: None }
    }

    /// Whether it can serve another connection, but for its decoder.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbound.is_idle() && self.outbound.is_idle() && self.direct.as_ref().is_none_or(|direct| direct.is_idle())
    }

    /// Whether the connection is not read for its inbox, and for its replies: they have to fall to half of their bounds
    /// before it is.
    fn are_full(&self, options: &Options) -> (bool, bool) {
        let is_full = |used: usize, max: u32| self.inbound.is_stopped && used > max as usize / 2;
        let inbox_is_full = is_full(self.inbound.inbox_bytes(), options.inbound_bytes_max);
        (inbox_is_full, is_full(self.outbound.reply_bytes(), options.reply_bytes_max))
    }

    /// Whether nothing waits that would make a level other than `Nominal`, and none is: the usual case.
    pub(crate) fn is_quiet(&self) -> bool {
        self.inbound.first().is_none()
            && self.outbound.reply_bytes() == 0
            && self.direct.as_ref().is_none_or(|direct| direct.is_idle())
            && self.inbound.gauge.is_idle()
            && self.outbound.gauge.is_idle()
    }

    /// Gauges follow what waits.
    pub(crate) fn update_gauges(&mut self, options: &Options, now: Instant) {
        let (inbox_is_full, replies_are_full) = self.are_full(options);
        let Work { inbound, outbound, direct } = self;
        let marks = &options.watermarks;
        inbound.gauge.update(inbound.fill(options), inbox_is_full, now, marks);
        outbound.gauge.update(outbound.reply_fill(options), replies_are_full, now, marks);
        if let Some(direct) = direct {
            let (fill, was_full) = (direct.fill(options), core::mem::take(&mut direct.was_full));
            direct.gauge.update(fill, was_full, now, marks);
        }
    }

    /// The higher of its replies' and its direct lane's.
    pub(super) fn outbound_level(&self) -> Level {
        let direct = self.direct.as_ref().map_or(Level::Nominal, |direct| direct.gauge.level());
        self.outbound.gauge.level().max(direct)
    }

    pub(super) fn levels_fall_at(&self, options: &Options) -> Option<Instant> {
        let Work { inbound, outbound, direct } = self;
        if inbound.gauge.is_idle() && self.outbound_level() == Level::Nominal {
            return None; // The usual case, without a division.
        }
        let marks = &options.watermarks;
        let inbox = inbound.gauge.falls_at(inbound.fill(options), marks);
        let replies = outbound.gauge.falls_at(outbound.reply_fill(options), marks);
        let direct = direct.as_ref().and_then(|direct| direct.gauge.falls_at(direct.fill(options), marks));
        inbox.into_iter().chain(replies).chain(direct).min()
    }

    /// Whether gauges say what waits, for tests.
    pub(crate) fn has_right_gauges(&self, options: &Options) -> bool {
        let (inbox_is_full, replies_are_full) = self.are_full(options);
        let Work { inbound, outbound, direct } = self;
        let marks = &options.watermarks;
        inbound.gauge.is_right(inbound.fill(options), inbox_is_full, marks)
            && outbound.gauge.is_right(outbound.reply_fill(options), replies_are_full, marks)
            && direct.as_ref().is_none_or(|direct| !direct.was_full && !direct.gauge.rises(direct.fill(options), marks))
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        let direct = self.direct.as_ref().map_or(0, |direct| direct.log.resident());
        self.inbound.resident() + self.outbound.resident() + direct
    }
}
