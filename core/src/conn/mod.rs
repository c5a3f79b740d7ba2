//! A connection: its phase, what came in and is not done with, what goes out and has not left.

mod outbound;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;

pub(crate) use outbound::{Outbound, Outstanding, Pinned, PinnedMessage, Segment, Source};

use crate::config::{LaneLimits, Options};
use crate::dialect::Dialect;
use crate::id::{SessionId, TopicId};
use crate::lane::{Lane, Mark, Standing};
use crate::log::Log;
use crate::output::{EndReason, Mode, OwnedPayload};
use crate::policy::Policy;
use crate::stats::{Count, Level, Load};
use crate::time::Instant;
use crate::timers::TimerId;
use crate::watermark::{Gauge, HeldGauge, ToldLevel, fill};
use crate::wire::handshake::HeadReader;
use crate::wire::{Decoder, Role};

/// What an inbound message that waits costs beside its bytes, so that empty ones are not free.
pub(crate) const INBOX_ENTRY_BYTES: usize = size_of::<Waiting>();

/// A whole inbound message that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    message: OwnedPayload,
    came: Instant,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// A server awaits the opening request.
    Request(Box<Accepted>),
    /// A client awaits the answer to its opening request.
    Response(Box<Opening>),
    Open {
        /// When the peer was last heard, or pinged since.
        since: Instant,
        is_pinged: bool,
    },
    /// A Close frame (or a refusal) is to be flushed. Then the transport is closed, or first the peer's Close frame
    /// awaited.
    Closing { reason: EndReason, awaits_peer: bool, since: Instant },
    /// Nothing is left but to tell.
    Ended { reason: EndReason, owes_effect: bool },
}

/// A server's opening handshake.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) reader: HeadReader,
    pub(crate) mode: Mode,
    pub(crate) since: Instant,
}

/// A client's opening handshake.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) reader: HeadReader,
    pub(crate) key: [u8; 24],
    pub(crate) protocols: Vec<String>,
    pub(crate) since: Instant,
}

/// Who understands the messages.
#[derive(Debug)]
pub(crate) enum Speech {
    /// The application. A client's server may have chosen a subprotocol.
    Raw(Option<Box<Box<str>>>),
    Dialect {
        dialect: &'static &'static dyn Dialect,
        /// Whether it was chosen for the subprotocol that was offered.
        is_named: bool,
    },
}

/// A publish that waits for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    pub(crate) topic: TopicId,
    pub(crate) until: Instant,
}

/// What came in and is not done with.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) decoder: Decoder,
    /// The message whose end has not come.
    pub(crate) message: Vec<u8>,
    /// When its first byte came.
    pub(crate) message_began: Option<Instant>,
    /// Bytes that are not decoded: the beginning of a header or a control frame; while stopped, what was read.
    pub(crate) undecoded: Vec<u8>,
    /// Whole messages that wait for the application, or behind a parked publish (which is the first).
    inbox: VecDeque<Waiting>,
    /// What `inbox` counts towards `inbound_bytes_max`.
    inbox_bytes: usize,
    pub(crate) parked: Option<Parked>,
    /// A bound was reached: decoding stops and the connection is not read.
    pub(crate) is_stopped: bool,
    /// Of the inbox.
    pub(crate) gauge: HeldGauge,
}

impl Inbound {
    fn new(decoder: Decoder) -> Self {
        Self {
            decoder,
            message: Vec::new(),
            message_began: None,
            undecoded: Vec::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            parked: None,
            is_stopped: false,
            gauge: HeldGauge::default(),
        }
    }

    /// Whether there is nothing in it that a new one would not have.
    fn is_idle(&self) -> bool {
        self.decoder.is_as_new()
            && self.undecoded.is_empty()
            && self.inbox.is_empty()
            && !self.is_stopped
            && self.gauge.is_idle()
    }

    /// What waits, whole or not, and what is kept raw.
    pub(crate) fn bytes(&self) -> usize {
        self.inbox_bytes + self.undecoded.len() + self.message.len()
    }

    /// The messages that wait.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &OwnedPayload> {
        self.inbox.iter().map(|waiting| &waiting.message)
    }

    /// The message that came first of those.
    pub(crate) fn first(&self) -> Option<&OwnedPayload> {
        self.inbox.front().map(|waiting| &waiting.message)
    }

    pub(crate) fn inbox_bytes(&self) -> usize {
        self.inbox_bytes
    }

    /// Forgets everything but the messages that wait.
    pub(crate) fn keep_messages(&mut self, before: Inbound) {
        (self.inbox, self.inbox_bytes) = (before.inbox, before.inbox_bytes);
    }

    /// Forgets the messages that wait.
    pub(crate) fn clear(&mut self) {
        (self.inbox, self.inbox_bytes) = (VecDeque::new(), 0);
    }

    /// What waits, and how full that is; the level is the connection's to say.
    pub(crate) fn load(&self, options: &Options, now: Instant) -> Load {
        let bytes = self.messages().map(|message| message.bytes.len() as u64).sum();
        let waiting = Count::new(self.inbox.len() as u64, bytes);
        let oldest_age = self.inbox.front().map_or(Duration::ZERO, |waiting| now.since(waiting.came));
        Load { waiting, largest: waiting, oldest_age, fill: self.fill(options), level: Level::Nominal }
    }

    fn fill(&self, options: &Options) -> u32 {
        fill(self.inbox_bytes as u64, u64::from(options.inbound_bytes_max))
    }

    pub(crate) fn push(&mut self, message: OwnedPayload, came: Instant) {
        self.inbox_bytes += message.bytes.len() + INBOX_ENTRY_BYTES;
        self.inbox.push_back(Waiting { message, came });
    }

    pub(crate) fn pop(&mut self) -> Option<OwnedPayload> {
        let Waiting { message, .. } = self.inbox.pop_front()?;
        self.inbox_bytes -= message.bytes.len() + INBOX_ENTRY_BYTES;
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new(); // An idle connection owns no buffers.
        }
        Some(message)
    }

    fn resident(&self) -> usize {
        let payloads = self.inbox_bytes - self.inbox.len() * INBOX_ENTRY_BYTES;
        self.message.capacity() + self.undecoded.capacity() + payloads + self.inbox.capacity() * INBOX_ENTRY_BYTES
    }
}

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
        let inbox_is_full = is_full(self.inbound.inbox_bytes, options.inbound_bytes_max);
        (inbox_is_full, is_full(self.outbound.reply_bytes(), options.reply_bytes_max))
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        let direct = self.direct.as_ref().map_or(0, |direct| direct.log.resident());
        self.inbound.resident() + self.outbound.resident() + direct
    }
}

/// What is to be told of a connection, each at most once until it is polled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnNews {
    /// Listed among the hub's events.
    pub(crate) is_listed: bool,
    pub(crate) opened: bool,
    pub(crate) received: bool,
    pub(crate) sendable: bool,
    pub(crate) closed: bool,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) phase: Phase,
    pub(crate) role: Role,
    pub(crate) speech: Speech,
    pub(crate) session: SessionId,
    pub(crate) timer: TimerId,
    pub(crate) work: Option<Box<Work>>,
    /// The last Transmit was sent in part; nothing is written until `handle_writable`.
    pub(crate) is_blocked: bool,
    /// Since when there is something on its way to the peer without progress: since the Transmit, or the last partial
    /// send.
    pub(crate) stalled_since: Option<Instant>,
    /// Since when the peer cannot be blamed for silence: output is blocked, or it is not read.
    pub(crate) excused_since: Option<Instant>,
    /// Listed in the hub's `ready`.
    pub(crate) is_ready: bool,
    /// Whether the embedder was told to pause reading.
    pub(crate) was_paused: bool,
    /// Listed among the hub's effects.
    pub(crate) is_effect_listed: bool,
    pub(crate) news: ConnNews,
    /// Of its inbox.
    pub(crate) inbound_level: ToldLevel,
    /// Of what is to go to it: the highest of its session, its direct lane and its replies.
    pub(crate) outbound_level: ToldLevel,
    pub(crate) kernel_bytes: u32,
    /// Resident bytes, as charged to the hub.
    pub(crate) charged: usize,
}

impl Conn {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// `None`: raw.
    pub(crate) fn dialect(&self) -> Option<&'static dyn Dialect> {
        match &self.speech {
            Speech::Raw(_) => None,
            Speech::Dialect { dialect, .. } => Some(**dialect),
        }
    }

    /// The subprotocol that was chosen.
    pub(crate) fn protocol(&self) -> Option<&str> {
        match &self.speech {
            Speech::Raw(protocol) => protocol.as_ref().map(|name| &***name),
            Speech::Dialect { dialect, is_named } => is_named.then(|| dialect.subprotocol()),
        }
    }

    pub(crate) fn inbound(&self) -> Option<&Inbound> {
        self.work.as_ref().map(|work| &work.inbound)
    }

    pub(crate) fn outbound(&self) -> Option<&Outbound> {
        self.work.as_ref().map(|work| &work.outbound)
    }

    pub(crate) fn outbound_mut(&mut self) -> Option<&mut Outbound> {
        self.work.as_mut().map(|work| &mut work.outbound)
    }

    pub(crate) fn direct(&self) -> Option<&Direct> {
        self.work.as_ref().and_then(|work| work.direct.as_deref())
    }

    pub(crate) fn direct_mut(&mut self) -> Option<&mut Direct> {
        self.work.as_mut().and_then(|work| work.direct.as_deref_mut())
    }

    pub(crate) fn outstanding(&self) -> Option<&Outstanding> {
        self.outbound().and_then(|outbound| outbound.outstanding.as_ref())
    }

    pub(crate) fn reply_bytes(&self) -> usize {
        self.outbound().map_or(0, Outbound::reply_bytes)
    }

    /// Whether anything but messages is to be written.
    pub(crate) fn has_control(&self) -> bool {
        self.outbound().is_some_and(Outbound::has_control)
    }

    /// Whether something is on its way to the peer.
    pub(crate) fn is_writing(&self) -> bool {
        self.is_blocked || self.outstanding().is_some()
    }

    /// A bound was reached: decoding stops and the connection is not read.
    pub(crate) fn is_stopped(&self) -> bool {
        self.inbound().is_some_and(|inbound| inbound.is_stopped)
    }

    pub(crate) fn has_messages(&self) -> bool {
        self.inbound().is_some_and(|inbound| !inbound.inbox.is_empty())
    }

    pub(crate) fn wants_read(&self) -> bool {
        !self.is_ended() && !self.is_stopped()
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        let head = match &self.phase {
            Phase::Request(accepted) => accepted.reader.capacity(),
            Phase::Response(opening) => opening.reader.capacity(),
            _ => 0,
        };
        head + self.work.as_ref().map_or(0, |work| work.resident())
    }

    /// The peer was heard.
    pub(crate) fn heard(&mut self, now: Instant) {
        if let Phase::Open { since, is_pinged } = &mut self.phase {
            (*since, *is_pinged) = (now, false);
        }
    }

    /// Whether an inbound bound is reached: then decoding stops, until everything is at or below half of it.
    pub(crate) fn update_stopped(&mut self, options: &Options) {
        let is_closing = matches!(self.phase, Phase::Closing { .. });
        let Some(Work { inbound, outbound, .. }) = self.work.as_deref_mut() else { return };
        if is_closing {
            inbound.is_stopped = false; // Only the peer's Close frame is still of interest; the rest is not kept.
            return;
        }
        let (inbox, replies) = (inbound.inbox_bytes, outbound.reply_bytes());
        let (inbox_max, replies_max) = (options.inbound_bytes_max as usize, options.reply_bytes_max as usize);
        inbound.is_stopped = if inbound.is_stopped {
            inbox > inbox_max / 2 || replies > replies_max / 2
        } else {
            inbox >= inbox_max || replies >= replies_max
        };
    }

    /// Gauges follow what waits.
    pub(crate) fn update_gauges(&mut self, options: &Options, now: Instant) {
        let Some(work) = self.work.as_deref_mut() else { return };
        let (inbox_is_full, replies_are_full) = work.are_full(options);
        let Work { inbound, outbound, direct } = work;
        let marks = &options.watermarks;
        inbound.gauge.update(inbound.fill(options), inbox_is_full, now, marks);
        outbound.gauge.update(outbound.reply_fill(options), replies_are_full, now, marks);
        if let Some(direct) = direct {
            let (fill, was_full) = (direct.fill(options), core::mem::take(&mut direct.was_full));
            direct.gauge.update(fill, was_full, now, marks);
        }
    }

    /// Whether gauges say what waits, for tests.
    pub(crate) fn has_right_gauges(&self, options: &Options) -> bool {
        let Some(work) = self.work.as_deref() else { return true };
        let (inbox_is_full, replies_are_full) = work.are_full(options);
        let Work { inbound, outbound, direct } = work;
        let marks = &options.watermarks;
        inbound.gauge.is_right(inbound.fill(options), inbox_is_full, marks)
            && outbound.gauge.is_right(outbound.reply_fill(options), replies_are_full, marks)
            && direct
                .as_ref()
                .is_none_or(|direct| !direct.was_full && direct.gauge.is_high_enough(direct.fill(options), marks))
    }

    /// Of what came from it and waits.
    pub(crate) fn inbox_level(&self) -> Level {
        self.inbound().map_or(Level::Nominal, |inbound| inbound.gauge.level())
    }

    /// Of what is to go to it, but for its session's lanes: the higher of its replies' and its direct lane's.
    pub(crate) fn own_outbound_level(&self) -> Level {
        let replies = self.outbound().map_or(Level::Nominal, |outbound| outbound.gauge.level());
        replies.max(self.direct().map_or(Level::Nominal, |direct| direct.gauge.level()))
    }

    /// When a level is to be looked at again.
    pub(crate) fn levels_fall_at(&self, options: &Options) -> Option<Instant> {
        let Work { inbound, outbound, direct } = self.work.as_deref()?;
        let marks = &options.watermarks;
        let inbound = inbound.gauge.falls_at(inbound.fill(options), marks);
        let outbound = outbound.gauge.falls_at(outbound.reply_fill(options), marks);
        let direct = direct.as_ref().and_then(|direct| direct.gauge.falls_at(direct.fill(options), marks));
        inbound.into_iter().chain(outbound).chain(direct).min()
    }

    /// Deadlines stand still while the peer cannot be blamed: output is blocked or under way, or it is not read.
    pub(crate) fn update_excused(&mut self, now: Instant) {
        let is_excused = self.is_writing() || self.is_stopped();
        match (is_excused, self.excused_since) {
            (true, None) => self.excused_since = Some(now),
            (false, Some(since)) => {
                self.excused_since = None;
                let excused = now.since(since);
                // What happened meanwhile is excused only since then: `at + (now - at)`.
                let heard = match &mut self.phase {
                    Phase::Open { since, .. } => Some(since),
                    _ => None,
                };
                let began = self.work.as_mut().and_then(|work| work.inbound.message_began.as_mut());
                for at in heard.into_iter().chain(began) {
                    *at = (*at + excused).min(now);
                }
            }
            _ => {}
        }
    }

    /// The next moment something has to be done.
    pub(crate) fn deadline(&self, options: &Options) -> Option<Instant> {
        self.phase_deadline(options).into_iter().chain(self.levels_fall_at(options)).min()
    }

    fn phase_deadline(&self, options: &Options) -> Option<Instant> {
        match &self.phase {
            Phase::Request(accepted) => Some(accepted.since + options.handshake_timeout),
            Phase::Response(opening) => Some(opening.since + options.handshake_timeout),
            Phase::Closing { since, .. } => Some(*since + options.close_timeout),
            Phase::Ended { .. } => None,
            Phase::Open { since, is_pinged } => {
                let silence = if *is_pinged { options.pong_timeout } else { options.ping_interval };
                let is_heard = self.excused_since.is_none();
                let began = self.inbound().and_then(|inbound| inbound.message_began);
                [
                    is_heard.then_some(*since + silence),
                    began.filter(|_| is_heard).map(|began| began + options.message_timeout),
                    self.stalled_since.map(|since| since + options.stall_timeout),
                    self.inbound().and_then(|inbound| inbound.parked).map(|parked| parked.until),
                ]
                .into_iter()
                .flatten()
                .min()
            }
        }
    }
}

/// Bytes that stand at the front of what is to be written.
pub(crate) fn joined(first: &Bytes, second: &[u8]) -> Bytes {
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(first);
    both.extend_from_slice(second);
    both.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert_eq!((size_of::<Phase>(), size_of::<Speech>(), size_of::<Conn>()), (16, 16, 96));
        assert!(size_of::<Work>() <= 360, "{} bytes, lent to those that are not idle", size_of::<Work>());
    }
}
