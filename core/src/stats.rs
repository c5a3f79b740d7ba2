//! The numbers: what entered, was sent, waits and was lost, and how full everything is.

use core::time::Duration;

use crate::dialect::ERROR_CODES;
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::output::{EndReason, LossReason, Position, SessionEnd};
use crate::policy::Policy;
use crate::wire::{HandshakeError, WireError};

/// Messages and payload bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Payload bytes.
    pub bytes: u64,
}

impl Count {
    /// A count.
    #[must_use]
    pub const fn new(messages: u64, bytes: u64) -> Self {
        Self { messages, bytes }
    }
}

impl core::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// The terms of the queue law: `entered = sent + waiting + lost`, at every moment, per lane, topic and hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Entered a lane.
    pub entered: Count,
    /// Covered by `handle_sent` to the last byte: accepted by the kernel, not received by the peer.
    pub sent: Count,
    /// Waiting, outstanding included.
    pub waiting: Count,
    /// Lost, by reason in the order of [`LossReason::ALL`].
    pub lost: [Count; LossReason::ALL.len()],
}

impl Totals {
    /// What was lost for a reason.
    #[must_use]
    pub const fn lost_by(&self, reason: LossReason) -> Count {
        self.lost[reason as usize]
    }

    /// All that was lost.
    #[must_use]
    pub fn lost_total(&self) -> Count {
        let mut total = Count::default();
        self.lost.iter().for_each(|lost| total += *lost);
        total
    }

    /// Entered less sent, waiting and lost, in messages: 0.
    #[must_use]
    pub fn conservation_error(&self) -> i128 {
        let lost = self.lost_total();
        let error = |entered: u64, sent: u64, waiting: u64, lost: u64| {
            i128::from(entered) - i128::from(sent) - i128::from(waiting) - i128::from(lost)
        };
        let messages = error(self.entered.messages, self.sent.messages, self.waiting.messages, lost.messages);
        let bytes = error(self.entered.bytes, self.sent.bytes, self.waiting.bytes, lost.bytes);
        if messages == 0 { bytes } else { messages }
    }
}

/// The terms of the ack law: `sent = acknowledged + unacknowledged + abandoned`, at every moment, per at-least-once lane,
/// topic and hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Acks {
    /// Sent for the first time.
    pub sent: Count,
    /// Acknowledged.
    pub acknowledged: Count,
    /// Sent, and not done with.
    pub unacknowledged: Count,
    /// Given up, by reason in the order of [`AbandonReason::ALL`].
    pub abandoned: [Count; AbandonReason::ALL.len()],
    /// Sent again. (These are in no law: they stay unacknowledged.)
    pub retries: Count,
}

impl Acks {
    /// What was given up for a reason.
    #[must_use]
    pub const fn abandoned_by(&self, reason: AbandonReason) -> Count {
        self.abandoned[reason as usize]
    }

    /// Sent less acknowledged, unacknowledged and abandoned, in messages or, where these agree, in bytes: 0.
    #[must_use]
    pub fn conservation_error(&self) -> i128 {
        let mut known = self.acknowledged;
        known += self.unacknowledged;
        self.abandoned.iter().for_each(|count| known += *count);
        let error = |sent: u64, known: u64| i128::from(sent) - i128::from(known);
        let messages = error(self.sent.messages, known.messages);
        if messages == 0 { error(self.sent.bytes, known.bytes) } else { messages }
    }
}

/// Why a message that was sent is not waited for any more, though nobody acknowledged it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum AbandonReason {
    /// It had been sent again `attempts_max` times.
    Attempts,
    /// The session, its lane or the topic ended.
    SessionEnded,
    /// The lane was unsubscribed.
    Unsubscribed,
}

impl AbandonReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Attempts, Self::SessionEnded, Self::Unsubscribed];

    /// The reason's name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::SessionEnded => "session_ended",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// How full something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub enum Level {
    /// Below the high mark, or fallen to the low mark since.
    #[default]
    Nominal,
    /// At or above the high mark of a limit, and since then not at or below the low mark.
    High,
    /// At a limit: the policy acted.
    Critical,
}

/// What a level is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Scope {
    /// A lane.
    Lane(LaneId),
    /// The lanes of a session.
    Session(SessionId),
    /// What came from a connection and was not taken.
    Inbound(ConnId),
    /// What is to go to a connection: its session's lanes, direct messages and replies.
    Outbound(ConnId),
    /// The lanes of a topic that brake its sources: those with `Policy::Block`.
    Topic(TopicId),
    /// The hub's memory.
    Hub,
}

/// Whether the sources of a topic are to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Flow {
    /// Publish no more than must be.
    Pause,
    /// Go on.
    Resume,
}

/// What waits somewhere, and how full that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// What waits, outstanding included; over several lanes the sum.
    pub waiting: Count,
    /// The most that waits in a single lane, in messages and in bytes (which may be two lanes).
    pub largest: Count,
    /// The age of the oldest message that waits and is not outstanding.
    pub oldest_age: Duration,
    /// How much of the tightest limit is used, in thousandths; over several lanes the highest. What counts towards a
    /// lane's limits is its policy's matter.
    pub fill: u32,
    /// The level; over several lanes the highest.
    pub level: Level,
}

impl Load {
    /// This and another, seen as one.
    #[must_use]
    pub fn with(mut self, other: Load) -> Self {
        self.waiting += other.waiting;
        self.largest.messages = self.largest.messages.max(other.largest.messages);
        self.largest.bytes = self.largest.bytes.max(other.largest.bytes);
        self.oldest_age = self.oldest_age.max(other.oldest_age);
        self.fill = self.fill.max(other.fill);
        self.level = self.level.max(other.level);
        self
    }
}

/// How often a level was entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Transitions {
    /// Fallen to `Nominal`.
    pub nominal: u64,
    /// Risen or fallen to `High`.
    pub high: u64,
    /// Risen to `Critical`.
    pub critical: u64,
}

/// How often levels were entered, by what they are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// Of lanes.
    pub lanes: Transitions,
    /// Of sessions.
    pub sessions: Transitions,
    /// Of what came from connections.
    pub inbound: Transitions,
    /// Of what is to go to connections.
    pub outbound: Transitions,
    /// Of topics.
    pub topics: Transitions,
    /// Of the hub.
    pub hub: Transitions,
}

/// The pressure of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LanePressure {
    /// The connection it belongs to; `None`: an in-process consumer's.
    pub conn: Option<ConnId>,
    /// What happens when it is full.
    pub policy: Policy,
    /// The terms of the queue law.
    pub totals: Totals,
    /// Of what waits, how much is outstanding (in a Transmit, or partly sent).
    pub outstanding: Count,
    /// The lane's limit in messages.
    pub messages_max: u32,
    /// The lane's limit in payload bytes.
    pub bytes_max: u64,
    /// The lane's limit in age.
    pub age_max: Option<Duration>,
    /// What waits, and how full the lane is. (A lane of the latest messages is always `Nominal`: it cannot be full.)
    pub load: Load,
    /// The terms of the ack law; `None`: it is best-effort.
    pub acks: Option<Acks>,
    /// How many messages it may still be sent; `None`: it needs no credit.
    pub credit: Option<u32>,
}

/// The pressure of a session: of all its lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionPressure {
    /// Its connection; `None`: it is detached.
    pub conn: Option<ConnId>,
    /// Its lanes.
    pub lanes: u32,
    /// What waits in them.
    pub load: Load,
}

/// The pressure of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicPressure {
    /// Whether it was declared. If not, it is forgotten when it has neither lanes nor parked publishes.
    pub is_declared: bool,
    /// The terms of the queue law, over its lanes of all time.
    pub totals: Totals,
    /// Where its numbering stands: the last message published, 0 before the first.
    pub head: Position,
    /// Lanes now.
    pub lanes: u32,
    /// Clients' publishes that wait for room.
    pub parked: u32,
    /// Resident bytes that count for the bound of its log, by allocated capacity.
    pub resident_bytes: usize,
    /// Their bound.
    pub log_bytes_max: usize,
    /// The highest level of its lanes with `Policy::Block`: they brake its sources.
    pub level: Level,
    /// The terms of the ack law, over its at-least-once lanes of all time.
    pub acks: Acks,
    /// What is kept for those who come later.
    pub history: Count,
}

/// The pressure of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConnectionPressure {
    /// Whole inbound messages that wait for the application or behind a parked publish, in bytes, and what is kept raw.
    pub inbound_bytes: usize,
    /// The whole messages of it.
    pub inbound: Load,
    /// What waits to go to it: its session's lanes and its direct lane. (Replies count towards fill and level alone.)
    pub outbound: Load,
    /// Replies that wait, in bytes.
    pub reply_bytes: usize,
    /// What is in a Transmit that was not answered, and the rest of a partly sent message, in bytes.
    pub outstanding_bytes: usize,
    /// What the kernel still held at the last `handle_kernel`, in bytes.
    pub kernel_bytes: u32,
    /// Lanes of its session.
    pub lanes: u32,
    /// Whether output is blocked: the last Transmit was sent in part, or not at all, and `handle_writable` did not come yet.
    /// Until then the socket is to be watched for writability.
    pub is_blocked: bool,
    /// Whether the hub wants no more input from it.
    pub is_paused: bool,
}

/// The pressure of a hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pressure {
    /// Waiting in all lanes, direct ones included.
    pub waiting: Count,
    /// Resident bytes, by allocated capacity.
    pub resident_bytes: usize,
    /// Their bound.
    pub resident_bytes_max: usize,
    /// How full memory is, in thousandths.
    pub fill: u32,
    /// How full memory is.
    pub level: Level,
}

/// What compression makes of what is sent (RFC 7692), in bytes of payloads of WebSocket messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compression {
    /// What was given to a compressor: messages (several that are sent as one are one), each once for all who get it,
    /// or for one that takes over what it got before (again, if nothing of it was sent).
    pub compressed: Count,
    /// What became of that, in bytes. Where it is no less it is not used, but for one that takes over.
    pub compressed_to: u64,
    /// What was sent compressed, as it was before.
    pub sent: Count,
    /// The same, as it was sent, with the headers of its frames.
    pub sent_bytes: u64,
}

/// The hub's numbers. Counters never fall.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// All lanes of topics, of all time.
    pub lanes: Totals,
    /// All direct lanes, of all time.
    pub direct: Totals,
    /// Publishes that were taken.
    pub published: Count,
    /// Publishes refused because a `Block` lane was full (a parked one counts when `block_max` is over).
    pub refused_full: u64,
    /// Publishes refused because they were too large.
    pub refused_too_large: u64,
    /// Publishes refused because the budget left no room, or because it is used up so far that class `Low` has to wait.
    pub refused_overloaded: u64,
    /// Publishes refused because they came faster than their topic's rate (a parked one counts when `block_max` is over),
    /// and requests because they came faster than their connection's.
    pub refused_limited: u64,
    /// Publishes that were not taken because a message with their id was.
    pub duplicates: u64,
    /// Client publishes that were parked.
    pub parked: u64,
    /// Volatile messages that were not sent because their connection could not be written to.
    pub refused_volatile: u64,
    /// How often levels of pressure were entered.
    pub levels: Levels,
    /// The ack law over all at-least-once lanes, of all time.
    pub acks: Acks,
    /// Acknowledgements of what was not unacknowledged.
    pub unknown_acks: u64,
    /// Sessions that were resumed.
    pub resumed: u64,
    /// What compression makes of what is sent.
    pub compression: Compression,
    /// Inbound messages.
    pub received: Count,
    /// Of these, those that came compressed (RFC 7692), and all bytes that were inflated.
    pub inflated: Count,
    /// As how many bytes those came.
    pub inflated_from: u64,
    /// Connections accepted or started.
    pub accepted: u64,
    /// Opening handshakes done.
    pub opened: u64,
    /// Connections that were not accepted: see [`AcceptError`](crate::AcceptError).
    pub refused_accepts: u64,
    /// Opening requests that were refused, by reason in the order of [`HandshakeError::ALL`].
    pub refused_requests: [u64; HandshakeError::ALL.len()],
    /// Opening requests that the application refused.
    pub rejected_requests: u64,
    /// Connections that ended.
    pub closed: u64,
    /// The same, by reason in the order of [`EndReason::NAMES`].
    pub ended: [u64; EndReason::NAMES.len()],
    /// What peers did wrong on open connections, each of which it ends, in the order of [`WireError::ALL`].
    pub violations: [u64; WireError::ALL.len()],
    /// Resumable sessions that ended, by reason in the order of [`SessionEnd::ALL`].
    pub sessions_ended: [u64; SessionEnd::ALL.len()],
    /// Requests of clients that were answered with an error, by its code in the order of [`ERROR_CODES`].
    pub error_replies: [u64; ERROR_CODES.len()],
    /// Gap notices handed to the kernel.
    pub gaps_sent: u64,
    /// Calls with an id that names nothing any more.
    pub stale_inputs: u64,
    /// Connections now.
    pub connections: u32,
    /// Topics now.
    pub topics: u32,
    /// Lanes now, without direct lanes.
    pub lanes_now: u32,
    /// Sessions without a connection now.
    pub detached: u32,
    /// Resident bytes now, by allocated capacity.
    pub resident_bytes: usize,
}
