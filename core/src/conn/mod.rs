//! A connection: its phase, what came in and is not done with, what goes out and has not left.

mod outbound;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;

pub(crate) use outbound::{Outbound, Outstanding, Pinned, PinnedMessage, Segment, Source};

use crate::config::Options;
use crate::dialect::Dialect;
use crate::id::{SessionId, TopicId};
use crate::lane::Lane;
use crate::log::Log;
use crate::output::{EndReason, Mode, OwnedPayload};
use crate::time::Instant;
use crate::timers::TimerId;
use crate::watermark::ToldLevel;
use crate::wire::handshake::HeadReader;
use crate::wire::{Decoder, Role};

/// What an inbound message that waits costs beside its bytes, so that empty ones are not free.
pub(crate) const INBOX_ENTRY_BYTES: usize = size_of::<OwnedPayload>();

#[derive(Debug)]
pub(crate) enum Phase {
    /// A server awaits the opening request.
    Request(Box<HeadReader>),
    /// A client awaits the answer to its opening request.
    Response(Box<Opening>),
    Open,
    /// A Close frame (or a refusal) is to be flushed. Then the transport is closed, or first the peer's Close frame
    /// awaited.
    Closing {
        reason: EndReason,
        awaits_peer: bool,
    },
    /// Nothing is left but to tell.
    Ended {
        reason: EndReason,
        owes_effect: bool,
    },
}

/// A client's opening handshake.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) reader: HeadReader,
    pub(crate) key: [u8; 24],
    pub(crate) protocols: Vec<String>,
}

/// A publish that waits for room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parked {
    pub(crate) topic: TopicId,
    pub(crate) until: Instant,
}

/// What came in and is not done with.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// The message whose end has not come.
    pub(crate) message: Vec<u8>,
    /// When its first byte came.
    pub(crate) message_began: Option<Instant>,
    /// Bytes that are not decoded: the beginning of a header or a control frame; while stopped, what was read.
    pub(crate) undecoded: Vec<u8>,
    /// Whole messages that wait for the application, or behind a parked publish (which is the first).
    pub(crate) inbox: VecDeque<OwnedPayload>,
    /// What `inbox` counts towards `inbound_bytes_max`.
    pub(crate) inbox_bytes: usize,
    pub(crate) parked: Option<Parked>,
    /// A bound was reached: decoding stops and the connection is not read.
    pub(crate) is_stopped: bool,
}

impl Inbound {
    pub(crate) fn push(&mut self, message: OwnedPayload) {
        self.inbox_bytes += message.bytes.len() + INBOX_ENTRY_BYTES;
        self.inbox.push_back(message);
    }

    pub(crate) fn pop(&mut self) -> Option<OwnedPayload> {
        let message = self.inbox.pop_front()?;
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

/// The direct lane: a log with one reader.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) lane: Lane,
    pub(crate) log: Log,
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
    pub(crate) mode: Mode,
    pub(crate) session: SessionId,
    /// `None`: raw.
    pub(crate) dialect: Option<&'static dyn Dialect>,
    pub(crate) protocol: Option<Box<str>>,
    pub(crate) decoder: Decoder,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    pub(crate) direct: Option<Box<Direct>>,
    /// A direct message was refused and nobody was told of room since.
    pub(crate) owes_sendable: bool,
    pub(crate) timer: TimerId,
    /// When the phase began.
    pub(crate) since: Instant,
    pub(crate) last_heard: Instant,
    pub(crate) ping_sent: Option<Instant>,
    /// Since when the peer cannot be blamed for silence: output is blocked, or it is not read.
    pub(crate) excused_since: Option<Instant>,
    /// Whether the embedder was told to pause reading.
    pub(crate) was_paused: bool,
    /// Listed among the hub's effects.
    pub(crate) is_effect_listed: bool,
    pub(crate) news: ConnNews,
    /// Of what is to go to it.
    pub(crate) outbound_level: ToldLevel,
    /// Resident bytes, as charged to the hub.
    pub(crate) charged: usize,
}

impl Conn {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    pub(crate) fn wants_read(&self) -> bool {
        !self.is_ended() && !self.inbound.is_stopped
    }

    /// Resident bytes, by allocated capacity.
    pub(crate) fn resident(&self) -> usize {
        let head = match &self.phase {
            Phase::Request(reader) => reader.capacity(),
            Phase::Response(opening) => opening.reader.capacity(),
            _ => 0,
        };
        let direct = self.direct.as_ref().map_or(0, |direct| direct.log.resident());
        head + self.inbound.resident() + self.outbound.resident() + direct
    }

    /// Whether an inbound bound is reached: then decoding stops, until everything is at or below half of it.
    pub(crate) fn update_stopped(&mut self, options: &Options) {
        if let Phase::Closing { .. } = self.phase {
            self.inbound.is_stopped = false; // Only the peer's Close frame is still of interest; the rest is not kept.
            return;
        }
        let (inbox, replies) = (self.inbound.inbox_bytes, self.outbound.reply_bytes());
        let (inbox_max, replies_max) = (options.inbound_bytes_max as usize, options.reply_bytes_max as usize);
        self.inbound.is_stopped = if self.inbound.is_stopped {
            inbox > inbox_max / 2 || replies > replies_max / 2
        } else {
            inbox >= inbox_max || replies >= replies_max
        };
    }

    /// Deadlines stand still while the peer cannot be blamed: output is blocked or under way, or it is not read.
    pub(crate) fn update_excused(&mut self, now: Instant) {
        let is_writing = self.outbound.is_blocked || self.outbound.outstanding.is_some();
        let is_excused = is_writing || self.inbound.is_stopped;
        match (is_excused, self.excused_since) {
            (true, None) => self.excused_since = Some(now),
            (false, Some(since)) => {
                self.excused_since = None;
                let excused = now.since(since);
                // What happened meanwhile is excused only since then: `at + (now - at)`.
                let began = self.inbound.message_began.as_mut();
                for at in [&mut self.last_heard].into_iter().chain(self.ping_sent.as_mut()).chain(began) {
                    *at = (*at + excused).min(now);
                }
            }
            _ => {}
        }
    }

    /// The next moment something has to be done.
    pub(crate) fn deadline(&self, options: &Options) -> Option<Instant> {
        let opening = |timeout: Duration| Some(self.since + timeout);
        match &self.phase {
            Phase::Request(_) | Phase::Response(_) => opening(options.handshake_timeout),
            Phase::Closing { .. } => opening(options.close_timeout),
            Phase::Ended { .. } => None,
            Phase::Open => {
                let life = match self.ping_sent {
                    Some(sent) => sent + options.pong_timeout,
                    None => self.last_heard + options.ping_interval,
                };
                let is_heard = self.excused_since.is_none();
                [
                    is_heard.then_some(life),
                    self.inbound.message_began.filter(|_| is_heard).map(|began| began + options.message_timeout),
                    self.outbound.stalled_since.map(|since| since + options.stall_timeout),
                    self.inbound.parked.map(|parked| parked.until),
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
