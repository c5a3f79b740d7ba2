//! A connection: its phase, what came in and is not done with, what goes out and has not left.

mod contexts;
mod inbound;
mod limits;
mod outbound;
mod work;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

pub(crate) use contexts::{Contexts, Inflating};
pub(crate) use inbound::{INBOX_ENTRY_BYTES, Inbound, Inbox, Parked};
pub(crate) use limits::{Limits, reserved};
pub(crate) use outbound::{Copied, Outbound, Outstanding, Pinned, PinnedMessage, Plain, Segment, Source};
pub(crate) use work::{Direct, Work};

use crate::config::Options;
use crate::dialect::Dialect;
use crate::id::SessionId;
use crate::output::{EndReason, Peer};
use crate::stats::Level;
use crate::time::Instant;
use crate::timers::TimerId;
use crate::watermark::ToldLevel;
use crate::wire::decoder::CREDIT_NANOS;
use crate::wire::deflate::{Agreed, Offer, WindowBits};
use crate::wire::handshake::HeadReader;
use crate::wire::{CloseCode, Role, WireError};

#[derive(Debug)]
pub(crate) enum Phase {
    /// A server awaits the opening request.
    Request(Box<Accepted>),
    /// The application is to decide about the opening request; what comes behind it is kept, and not read any more.
    Gated(Box<Gated>),
    /// A client awaits the answer to its opening request.
    Response(Box<Opening>),
    Open {
        /// When the peer was last heard, or pinged since.
        since: Instant,
        is_pinged: bool,
        /// Of its work credit at `since`; time gives it back.
        spent: u32,
        /// The application may have an answer to what came: there were messages, and it did not hear since that there are
        /// none.
        owes_answers: bool,
    },
    /// The peer has said its last word. The application is asked for its answers to what came before that, which go first:
    /// it has none left when it asked for more (`is_answered`), and no more time after `close_timeout`.
    Answering { last: LastWord, is_answered: bool, since: Instant },
    /// A Close frame (or a refusal) is to be flushed. Then the transport is closed, or first the peer's Close frame
    /// awaited.
    Closing { reason: EndReason, awaits_peer: bool, since: Instant },
    /// Nothing is left but to tell.
    Ended { reason: EndReason, owes_effect: bool },
}

impl Phase {
    /// Since now, with nothing said.
    pub(crate) fn opened(now: Instant) -> Self {
        Self::Open { since: now, is_pinged: false, spent: 0, owes_answers: false }
    }
}

/// Behind which nothing that a peer says is of interest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LastWord {
    Close(Option<CloseCode>),
    Violation(WireError),
}

impl LastWord {
    pub(crate) fn reason(self) -> EndReason {
        match self {
            Self::Close(code) => EndReason::PeerClosed(code),
            Self::Violation(error) => EndReason::Protocol(error),
        }
    }
}

/// A server's opening handshake.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) reader: HeadReader,
    pub(crate) peer: Peer,
    pub(crate) since: Instant,
}

/// A server's opening request that the application decides about.
#[derive(Debug)]
pub(crate) struct Gated {
    /// The request, which is a good one.
    pub(crate) head: Box<[u8]>,
    pub(crate) peer: Peer,
    /// When the connection was accepted.
    pub(crate) since: Instant,
    /// Whether the application was asked.
    pub(crate) is_told: bool,
}

/// A client's opening handshake.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) reader: HeadReader,
    pub(crate) key: [u8; 24],
    pub(crate) protocols: Vec<String>,
    pub(crate) deflate: Option<Offer>,
    pub(crate) since: Instant,
}

/// Who understands the messages.
#[derive(Debug)]
pub(crate) enum Speech {
    /// The application. A subprotocol may have been chosen.
    Raw(Option<Box<Box<str>>>),
    Dialect {
        dialect: &'static &'static dyn Dialect,
        /// Whether it was chosen for the subprotocol that was offered.
        is_named: bool,
    },
}

/// What is to be told of a connection, each at most once until it is polled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnNews {
    /// Listed among the hub's events.
    pub(crate) is_listed: bool,
    pub(crate) opened: bool,
    /// It has taken over a session.
    pub(crate) resumed: bool,
    pub(crate) received: bool,
    pub(crate) sendable: bool,
    pub(crate) closed: bool,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) phase: Phase,
    pub(crate) role: Role,
    /// What compression was agreed.
    pub(crate) agreed: Option<Agreed>,
    pub(crate) speech: Speech,
    pub(crate) session: SessionId,
    pub(crate) timer: TimerId,
    /// A Transmit that was not answered, where it is a plain one: then there is no `work`.
    pub(crate) plain: Option<Plain>,
    pub(crate) work: Option<Box<Work>>,
    /// There is no unit for the next message from it: decoding stops and it is not read.
    pub(crate) is_limited: bool,
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
    /// Resident bytes, as charged to the hub.
    pub(crate) charged: usize,
}

impl Conn {
    /// Whether messages may be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. } | Phase::Answering { .. })
    }

    /// Whether the peer has nothing more to say.
    pub(crate) fn is_heard_out(&self) -> bool {
        matches!(self.phase, Phase::Answering { .. })
    }

    /// Whether its opening handshake was done.
    pub(crate) fn was_open(&self) -> bool {
        match self.phase {
            Phase::Request(_) | Phase::Gated(_) | Phase::Response(_) => false,
            Phase::Closing { reason, .. } | Phase::Ended { reason, .. } => !matches!(
                reason,
                EndReason::Served | EndReason::Refused(_) | EndReason::Rejected(_) | EndReason::HandshakeTimeout
            ),
            Phase::Open { .. } | Phase::Answering { .. } => true,
        }
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

    /// How far back it remembers, if it inflates what it gets (RFC 7692).
    pub(crate) fn inflates(&self) -> Option<WindowBits> {
        self.agreed?.sent_by(self.role).compressor()
    }

    /// Whether what is compressed for it may refer to what was before.
    pub(crate) fn takes_over(&self) -> bool {
        self.agreed.map(|agreed| agreed.sent_by(self.role)).is_some_and(|sent| sent.takes_over())
            && self.inflates().is_some()
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

    /// Whether a direct message was not sent yet.
    pub(crate) fn has_direct_waiting(&self) -> bool {
        self.direct().is_some_and(|direct| direct.lane.load(direct.log.head()).messages > 0)
    }

    /// Whether a Transmit was not answered.
    pub(crate) fn has_outstanding(&self) -> bool {
        self.plain.is_some() || self.outstanding().is_some()
    }

    /// A Transmit that was not answered, unless it is a plain one.
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
        self.is_blocked || self.has_outstanding()
    }

    /// A bound, or a rate, was reached: decoding stops and the connection is not read.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_limited || self.inbound().is_some_and(|inbound| inbound.is_stopped)
    }

    pub(crate) fn has_messages(&self) -> bool {
        self.inbound().is_some_and(|inbound| inbound.first().is_some())
    }

    pub(crate) fn wants_read(&self) -> bool {
        !self.is_ended() && !self.is_stopped()
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        let head = match &self.phase {
            Phase::Request(accepted) => accepted.reader.capacity(),
            Phase::Gated(gated) => gated.head.len(),
            Phase::Response(opening) => opening.reader.capacity(),
            _ => 0,
        };
        head + self.work.as_ref().map_or(0, |work| work.resident())
    }

    /// The peer was heard, or is pinged.
    pub(crate) fn heard(&mut self, now: Instant, pings: bool) {
        if let Phase::Open { since, is_pinged, spent, .. } = &mut self.phase {
            *spent = spent.saturating_sub(credit_of(*since, now));
            (*since, *is_pinged) = (now, pings);
        }
    }

    /// How much of its work credit is gone.
    pub(crate) fn spent(&self, now: Instant) -> u32 {
        match self.phase {
            Phase::Open { since, spent, .. } => spent.saturating_sub(credit_of(since, now)),
            _ => 0,
        }
    }

    /// Keeps what its decoder knows of that.
    pub(crate) fn keep_spent(&mut self, now: Instant) {
        if let (Phase::Open { since, spent, .. }, Some(work)) = (&mut self.phase, &self.work) {
            *spent = work.inbound.decoder.spent().saturating_add(credit_of(*since, now));
        }
    }

    /// Whether an inbound bound is reached: then decoding stops, until everything is at or below half of it.
    pub(crate) fn update_stopped(&mut self, options: &Options) {
        let is_closing = matches!(self.phase, Phase::Closing { .. });
        // Of one that is closing only the peer's Close frame is still of interest; the rest is not kept.
        self.is_limited &= !is_closing;
        let is_gated = matches!(self.phase, Phase::Gated(_));
        let Some(Work { inbound, outbound, .. }) = self.work.as_deref_mut() else { return };
        if is_gated {
            // One read may be kept; who says nothing is read, so that its end is seen.
            inbound.is_stopped = !inbound.undecoded.is_empty();
            return;
        }
        if is_closing {
            inbound.is_stopped = false;
            return;
        }
        let (inbox, replies) = (inbound.inbox_bytes(), outbound.reply_bytes());
        let (inbox_max, replies_max) = (options.inbound_bytes_max as usize, options.reply_bytes_max as usize);
        inbound.is_stopped = if inbound.is_stopped {
            inbox > inbox_max / 2 || replies > replies_max / 2
        } else {
            inbox >= inbox_max || replies >= replies_max
        };
    }

    /// Of what came from it and waits.
    pub(crate) fn inbox_level(&self) -> Level {
        self.inbound().map_or(Level::Nominal, |inbound| inbound.gauge.level())
    }

    /// Of what is to go to it, but for its session's lanes.
    pub(crate) fn own_outbound_level(&self) -> Level {
        self.work.as_ref().map_or(Level::Nominal, |work| work.outbound_level())
    }

    /// When a level is to be looked at again.
    pub(crate) fn levels_fall_at(&self, options: &Options) -> Option<Instant> {
        self.work.as_ref()?.levels_fall_at(options)
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
                if let Phase::Open { since, is_pinged, .. } = self.phase {
                    self.heard((since + excused).min(now), is_pinged);
                }
                if let Some(at) = self.work.as_mut().and_then(|work| work.inbound.message_began.as_mut()) {
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
            Phase::Gated(gated) => Some(gated.since + options.handshake_timeout),
            Phase::Response(opening) => Some(opening.since + options.handshake_timeout),
            Phase::Answering { since, .. } | Phase::Closing { since, .. } => Some(*since + options.close_timeout),
            Phase::Ended { .. } => None,
            Phase::Open { since, is_pinged, .. } => {
                let silence = if *is_pinged { options.pong_timeout } else { options.ping_interval };
                let is_heard = self.excused_since.is_none();
                let began = self.inbound().and_then(|inbound| inbound.message_began);
                [
                    is_heard.then_some(*since + silence),
                    began.filter(|_| is_heard).map(|began| began + options.message_timeout),
                    self.stalled_since.filter(|_| self.is_writing()).map(|since| since + options.stall_timeout),
                    self.inbound().and_then(|inbound| inbound.parked).map(|parked| parked.until),
                ]
                .into_iter()
                .flatten()
                .min()
            }
        }
    }
}

/// What time gives back of the work credit. These add up: nothing is lost between two moments, however close.
fn credit_of(from: Instant, to: Instant) -> u32 {
    let ticks = |at: Instant| at.as_nanos() / CREDIT_NANOS;
    u32::try_from(ticks(to).saturating_sub(ticks(from))).unwrap_or(u32::MAX)
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
        assert_eq!(size_of::<Gated>(), 64, "beside its request");
        assert!(size_of::<Work>() <= 328, "{} bytes, lent to those that are not idle", size_of::<Work>());
    }
}
