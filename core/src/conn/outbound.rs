//! What a connection has to write: the rest of a message, replies, and what is in a Transmit.

use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use core::num::NonZeroU32;

use super::joined;
use crate::compressor::OwnUnit;
use crate::config::Options;
use crate::id::LaneId;
use crate::lane::{Mark, Run};
use crate::latest::{Taken, Unsettled, Which};
use crate::log::{Form, Log};
use crate::output::Gap;
use crate::watermark::{HeldGauge, fill};
use crate::wire::{Opcode, frame};

/// Where messages come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Lane(LaneId),
    Direct,
}

/// The message a partly sent Transmit ended in.
#[derive(Debug)]
pub(crate) enum PinnedMessage {
    /// Of a log, with the cut behind it.
    Logged(Source, Mark),
    /// Of an at-least-once lane, by its number: it was being sent again.
    Again(LaneId, u64),
    Latest(LaneId, Box<Unsettled>),
    /// In nobody's account, but to be told again where the session lives on.
    Notice(LaneId, Box<Gap>),
}

/// The rest of what was sent in part. Nothing else may be written before it.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) rest: Bytes,
    pub(crate) message: PinnedMessage,
}

/// A piece of a Transmit.
#[derive(Debug)]
pub(crate) enum Segment {
    /// `Outbound::pinned`.
    Pinned,
    /// The first bytes of `Outbound::control`.
    Control {
        len: usize,
    },
    Notice {
        lane: LaneId,
        gap: Gap,
        frame: Bytes,
    },
    Messages {
        source: Source,
        run: Run,
        len: usize,
        /// Whether it is sent as the units of a block's form.
        is_formed: bool,
        /// A copy, once the log should not keep the run any longer.
        copy: Option<Box<Copied>>,
    },
    /// A message of an at-least-once lane that is sent again.
    Again {
        lane: LaneId,
        run: Run,
        len: usize,
    },
    Latest {
        lane: LaneId,
        taken: Taken,
    },
}

impl Segment {
    /// Whether it was compressed for its connection alone, which cannot be taken back.
    pub(crate) fn is_own(&self) -> bool {
        match self {
            Self::Messages { copy: Some(copy), .. } => matches!(**copy, Copied::Own(_)),
            Self::Latest { taken, .. } => taken.which == Which::Own,
            _ => false,
        }
    }
}

/// What is in a Transmit and not in its log, or not any more.
#[derive(Debug)]
pub(crate) enum Copied {
    Log(Log),
    Form(Form),
    /// Compressed for its connection alone.
    Own(OwnUnit),
}

impl Copied {
    fn resident(&self) -> usize {
        match self {
            Self::Log(log) => log.resident(),
            // The log may have it, too: then it is charged twice.
            Self::Form(form) => form.resident(),
            Self::Own(own) => own.bytes.len(),
        }
    }
}

/// The usual Transmit: nothing but what is outstanding of one lane, as it is in its log. What is in it follows from where the
/// lane stands, so no more is kept than the lane's place among all lanes, from 1, and no [`Work`](super::Work) is needed. (The
/// lane does not go while something of it is outstanding.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain(NonZeroU32);

impl Plain {
    /// `None`: no lane has that place.
    pub(crate) fn new(lane: u32) -> Option<Self> {
        lane.checked_add(1).and_then(NonZeroU32::new).map(Self)
    }

    /// The lane's place among all lanes.
    pub(crate) fn lane(self) -> u32 {
        self.0.get() - 1
    }
}

/// A Transmit that was not answered.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    pub(crate) segments: Vec<Segment>,
    pub(crate) len: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Outbound {
    pub(crate) pinned: Option<Box<Pinned>>,
    /// Replies and control frames on their way, in the order in which they were written.
    pub(crate) control: Bytes,
    /// The allocation behind `control`.
    control_capacity: usize,
    /// Replies and control frames behind them.
    pub(crate) replies: BytesMut,
    /// The newest ping that came while output was blocked, to be answered (RFC 6455 §5.5.3 allows to answer only it).
    pong: Option<Box<[u8]>>,
    pub(crate) outstanding: Option<Outstanding>,
    /// Of the replies.
    pub(crate) gauge: HeldGauge,
}

impl Outbound {
    /// Whether there is nothing in it that a new one would not have.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.is_none() && !self.has_control() && self.gauge.is_idle()
    }

    /// Replies and control frames that wait.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.control.len() + self.replies.len()
    }

    /// How much of the room for replies is used, in thousandths.
    pub(crate) fn reply_fill(&self, options: &Options) -> u32 {
        fill(self.reply_bytes() as u64, u64::from(options.reply_bytes_max))
    }

    pub(crate) fn outstanding_bytes(&self) -> usize {
        let pinned = self.pinned.as_ref().map_or(0, |pinned| pinned.rest.len());
        let is_counted =
            self.outstanding.as_ref().is_some_and(|out| matches!(out.segments.first(), Some(Segment::Pinned)));
        self.outstanding.as_ref().map_or(0, |out| out.len) + if is_counted { 0 } else { pinned }
    }

    /// Whose messages are on their way, some more than once.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = LaneId> {
        let pinned = self.pinned.as_ref().and_then(|pinned| match &pinned.message {
            PinnedMessage::Logged(Source::Lane(lane), _)
            | PinnedMessage::Again(lane, _)
            | PinnedMessage::Latest(lane, _)
            | PinnedMessage::Notice(lane, _) => Some(*lane),
            PinnedMessage::Logged(Source::Direct, _) => None,
        });
        let segments = self.outstanding.iter().flat_map(|out| &out.segments);
        let lanes = segments.filter_map(|segment| match segment {
            Segment::Messages { source: Source::Lane(lane), .. }
            | Segment::Again { lane, .. }
            | Segment::Latest { lane, .. }
            | Segment::Notice { lane, .. } => Some(*lane),
            Segment::Messages { source: Source::Direct, .. } | Segment::Pinned | Segment::Control { .. } => None,
        });
        pinned.into_iter().chain(lanes)
    }

    /// Whether anything but messages is to be written.
    pub(crate) fn has_control(&self) -> bool {
        self.pinned.is_some() || !self.control.is_empty() || !self.replies.is_empty() || self.pong.is_some()
    }

    pub(crate) fn resident(&self) -> usize {
        let copies = self.outstanding.iter().flat_map(|out| &out.segments).map(|segment| match segment {
            Segment::Messages { copy: Some(copy), .. } => copy.resident(),
            Segment::Notice { frame, .. } => frame.len(),
            Segment::Latest { taken, .. } if taken.which == Which::Own => taken.frame.len(),
            _ => 0, // In a log, or lent by a topic.
        });
        self.pinned.as_ref().map_or(0, |pinned| pinned.rest.len())
            + self.control_capacity
            + self.replies.capacity()
            + self.pong.as_ref().map_or(0, |pong| pong.len())
            + copies.sum::<usize>()
    }

    /// Answers a ping, at once where there is room for the answer.
    pub(crate) fn answer_ping(
        &mut self,
        mask: Option<[u8; 4]>,
        payload: &[u8],
        is_blocked: bool,
        reply_bytes_max: usize,
    ) {
        if is_blocked || self.reply_bytes() + frame::frame_bytes(payload.len(), true) > reply_bytes_max {
            let mut pong = BytesMut::with_capacity(frame::frame_bytes(payload.len(), mask.is_some()));
            frame::put_frame(&mut pong, Opcode::Pong, mask, payload);
            self.pong = Some(pong[..].into());
        } else {
            self.pong = None;
            frame::put_frame(&mut self.replies, Opcode::Pong, mask, payload);
        }
    }

    /// Gathers replies into `control`.
    pub(crate) fn flush_replies(&mut self) {
        if let Some(pong) = self.pong.take() {
            self.replies.extend_from_slice(&pong);
        }
        if self.replies.is_empty() {
            return;
        }
        let replies = core::mem::take(&mut self.replies);
        if self.control.is_empty() {
            self.control_capacity = replies.capacity();
            self.control = replies.freeze();
        } else {
            self.control = joined(&self.control, &replies);
            self.control_capacity = self.control.len();
        }
    }

    /// `bytes` of `control` were sent.
    pub(crate) fn control_sent(&mut self, bytes: usize) {
        self.control.advance(bytes);
        if self.control.is_empty() {
            self.control = Bytes::new();
            self.control_capacity = 0;
        }
    }

    /// Forgets everything but what is pinned: the connection is closing, and nothing is to follow the Close frame.
    pub(crate) fn forget_pong(&mut self) {
        self.pong = None;
    }
}
