//! What came in and is not done with.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Options;
use crate::id::TopicId;
use crate::output::OwnedPayload;
use crate::stats::{Count, Level, Load};
use crate::time::Instant;
use crate::watermark::{HeldGauge, fill};
use crate::wire::Decoder;

/// What an inbound message that waits costs beside its bytes, so that empty ones are not free.
pub(crate) const INBOX_ENTRY_BYTES: usize = size_of::<Waiting>();

/// Whole inbound messages that wait, in the order in which they came.
pub(crate) type Inbox = VecDeque<Waiting>;

/// A whole inbound message that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    message: OwnedPayload,
    came: Instant,
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
    inbox: Inbox,
    /// What `inbox` counts towards `inbound_bytes_max`.
    inbox_bytes: usize,
    pub(crate) parked: Option<Parked>,
    /// A bound was reached: decoding stops and the connection is not read.
    pub(crate) is_stopped: bool,
    /// Of the inbox.
    pub(crate) gauge: HeldGauge,
}

impl Inbound {
    pub(super) fn new(decoder: Decoder) -> Self {
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
    pub(super) fn is_idle(&self) -> bool {
        self.decoder.is_as_new()
            && self.undecoded.is_empty()
            && self.inbox.is_empty()
            && !self.is_stopped
            && self.gauge.is_idle()
    }

    /// Whether nothing of it waits but whole messages.
    pub(crate) fn has_only_messages(&self) -> bool {
        self.undecoded.is_empty() && self.message_began.is_none() && self.parked.is_none()
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
        let waiting = Count::new(self.inbox.len() as u64, self.payload_bytes() as u64);
        let oldest_age = self.inbox.front().map_or(Duration::ZERO, |waiting| now.since(waiting.came));
        Load { waiting, largest: waiting, oldest_age, fill: self.fill(options), level: Level::Nominal }
    }

    pub(super) fn fill(&self, options: &Options) -> u32 {
        fill(self.inbox_bytes as u64, u64::from(options.inbound_bytes_max))
    }

    /// A whole message came; how much more is resident then.
    pub(crate) fn push(&mut self, message: OwnedPayload, came: Instant) -> usize {
        let (bytes, capacity) = (message.bytes.len(), self.inbox.capacity());
        self.inbox_bytes += bytes + INBOX_ENTRY_BYTES;
        self.inbox.push_back(Waiting { message, came });
        bytes + (self.inbox.capacity() - capacity) * INBOX_ENTRY_BYTES
    }

    /// The message that came first, and the inbox, if that was the last: an idle connection owns no buffers.
    pub(crate) fn pop(&mut self) -> Option<(OwnedPayload, Option<Inbox>)> {
        let Waiting { message, .. } = self.inbox.pop_front()?;
        self.inbox_bytes -= message.bytes.len() + INBOX_ENTRY_BYTES;
        Some((message, self.inbox.is_empty().then(|| core::mem::take(&mut self.inbox))))
    }

    /// Whether it has yet to be given an inbox.
    pub(crate) fn has_no_inbox(&self) -> bool {
        self.inbox.capacity() == 0
    }

    pub(crate) fn set_inbox(&mut self, inbox: Inbox) {
        debug_assert!(self.has_no_inbox() && inbox.is_empty(), "it is for the first message");
        self.inbox = inbox;
    }

    pub(super) fn resident(&self) -> usize {
        let inbox = self.payload_bytes() + self.inbox.capacity() * INBOX_ENTRY_BYTES;
        self.message.capacity() + self.undecoded.capacity() + inbox
    }

    fn payload_bytes(&self) -> usize {
        self.inbox_bytes - self.inbox.len() * INBOX_ENTRY_BYTES
    }
}
