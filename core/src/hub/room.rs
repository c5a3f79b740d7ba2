//! What is left of a Transmit's bounds, and what goes into it.

use alloc::boxed::Box;

use super::limits::Units;
use crate::compressor::{JOINED_BYTES_MAX, OwnUnit};
use crate::conn::{Copied, Outstanding, Segment, Source};
use crate::delivery::Class;
use crate::id::LaneId;
use crate::lane::{Mark, Run};
use crate::latest::Taken;
use crate::log::{Log, Plan};

/// What is left of a Transmit's bounds.
pub(super) struct Room {
    pub(super) bytes: usize,
    /// How much of that may be messages.
    pub(super) units: Units,
    pub(super) slices: usize,
    pub(super) has_message: bool,
    /// How much of what is sent in forms, as it was before.
    pub(super) payload_bytes: u64,
    /// How much may still be compressed for it.
    pub(super) to_compress: usize,
}

/// When it is a message's turn: by class, and within a class by when it was published.
pub(super) type Turn = (Class, u64);

/// What is outstanding of a lane is less than 2^32 bytes, compressed as it may be; the message that crosses this included.
pub(super) const PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// Nothing is behind it.
pub(super) const LAST: Turn = (Class::Low, u64::MAX);

/// What goes into a Transmit of a lane that reads a log.
pub(super) struct Part {
    pub(super) run: Run,
    pub(super) len: usize,
    slices: usize,
    /// Whether it is sent as the units of a block's form.
    is_formed: bool,
    copy: Option<Box<Copied>>,
}

impl Part {
    /// `None`: there is nothing in it.
    pub(super) fn new(run: Run, plan: Plan, is_formed: bool) -> Option<Self> {
        let run = Run { after: run.after, through: plan.cut };
        (!run.is_empty()).then_some(Self { run, len: plan.bytes, slices: plan.slices, is_formed, copy: None })
    }

    /// The same messages, compressed for one connection alone.
    pub(super) fn own(self, own: OwnUnit) -> Self {
        let (len, copy) = (own.bytes.len(), Some(Box::new(Copied::Own(own))));
        Self { run: self.run, len, slices: 1, is_formed: true, copy }
    }
}

impl Room {
    /// For messages of a class.
    pub(super) fn message_bytes(&self, class: Class) -> usize {
        self.bytes.min(self.units.of(class))
    }

    /// Whether the next message goes however large it is.
    pub(super) fn takes_any(&self) -> bool {
        !self.has_message
    }

    /// How much of what was published before `limit` goes into the Transmit.
    pub(super) fn plan(&self, log: &Log, front: Run, turn: Turn) -> Option<Part> {
        self.plan_up_to(self.message_bytes(turn.0), log, front, turn)
    }

    /// The same, of what is compressed for one connection alone, as one. It is sent however long that is: of several messages
    /// twice as long at most (a frame of 2 bytes becomes one of 3, one of 3 one of 5).
    pub(super) fn plan_own(&self, log: &Log, front: Run, turn: Turn) -> Option<Part> {
        self.plan_up_to((self.message_bytes(turn.0) / 2).min(JOINED_BYTES_MAX), log, front, turn)
    }

    #[inline]
    fn plan_up_to(&self, bytes_max: usize, log: &Log, front: Run, (_, limit): Turn) -> Option<Part> {
        if front.is_empty() {
            return None;
        }
        let through: Mark = if limit == u64::MAX { front.through } else { log.last_before(front, limit) };
        let run = Run { after: front.after, through };
        let plan = log.plan(run, bytes_max, self.slices, !self.has_message);
        Part::new(run, plan, false)
    }

    pub(super) fn take(&mut self, bytes: usize, slices: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.slices -= slices;
    }
}

impl Outstanding {
    pub(super) fn push(&mut self, segment: Segment, len: usize, room: &mut Room) {
        self.segments.push(segment);
        self.len += len;
        room.take(len, 1);
    }

    pub(super) fn push_latest(&mut self, lane: LaneId, taken: Taken, room: &mut Room) {
        let len = taken.frame.len();
        room.has_message = true;
        self.push(Segment::Latest { lane, taken }, len, room);
        room.units.take(len);
    }

    pub(super) fn push_messages(&mut self, source: Source, part: Part, room: &mut Room) {
        let Part { run, len, slices, is_formed, copy } = part;
        self.segments.push(Segment::Messages { source, run, len, is_formed, copy });
        self.len += len;
        room.has_message = true;
        room.take(len, slices);
        room.units.take(len);
    }

    /// The parts, for use again.
    pub(super) fn clear(mut self) -> Self {
        self.segments.clear();
        Self { segments: self.segments, len: 0 }
    }
}
