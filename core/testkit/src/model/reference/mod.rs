//! What a hub has to do, as design §5–§8 and `forebay.md` say it, with plain lists: no log, no sharing, no runs.
//!
//! Each method does what the method of that name of `Hub` is told to do, and gives what that must give. It shares no code
//! with the hub but the names of what crosses its border.

mod acks;
mod aims;
mod clock;
mod closing;
mod consumers;
mod front;
mod history;
mod input;
mod lanes;
mod levels;
mod output;
mod place;
mod publish;
mod rates;
mod sessions;
mod subscribe;
mod topics;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use forebay_core::{
    Acks, ConnId, Count, EndReason, Gap, LaneId, Levels, LossReason, Options, Policy, SessionEnd, TopicId,
    TopicOptions, Totals,
};

use front::{Front, Open};
pub(crate) use input::{Acked, Ask, Request, Said, Segment};
pub(crate) use sessions::{Session, Stand};

use super::text;

/// A lane of one reference.
pub(crate) type LaneKey = u32;
/// A topic of one reference.
pub(crate) type TopicKey = u32;
/// A session of one reference.
pub(crate) type SessionKey = u32;
/// What is wrong with the hub.
pub(crate) type Verdict = Result<(), String>;

/// A message of a topic, or a direct one.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) seq: u64,
    /// Among all publishes and direct messages.
    pub(crate) stamp: u64,
    /// When it was published.
    pub(crate) at: u64,
    pub(crate) topic: Rc<str>,
    pub(crate) key: Rc<str>,
    pub(crate) is_text: bool,
    pub(crate) bytes: Rc<[u8]>,
    frames: [OnceCell<Vec<u8>>; 2],
}

impl Message {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// As it goes over the wire.
    fn frame(&self, is_raw: bool) -> &[u8] {
        self.frames[usize::from(is_raw)].get_or_init(|| {
            let mut frame = Vec::new();
            if is_raw {
                text::frame(&mut frame, if self.is_text { 1 } else { 2 }, &self.bytes);
            } else {
                let (topic, key) = (text::quoted(&self.topic), text::quoted(&self.key));
                text::frame(&mut frame, 1, text::message(&topic, self.seq, &key, self.is_text, &self.bytes).as_bytes());
            }
            frame
        })
    }
}

/// Who takes from a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Session(SessionKey),
    Local,
}

/// A lane: what waits in it, message by message.
#[derive(Debug)]
pub(crate) struct Lane {
    /// The hub's name of it, once known.
    pub(crate) id: Option<LaneId>,
    pub(crate) topic: TopicKey,
    pub(crate) owner: Owner,
    pub(crate) policy: Policy,
    pub(crate) messages_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) age_max: Option<u64>,
    pub(crate) waiting: VecDeque<Rc<Message>>,
    /// In a Transmit that was not answered, or partly sent.
    pub(crate) out: Vec<Rc<Message>>,
    /// Lost and not told.
    pub(crate) gap: Option<Gap>,
    pub(crate) entered: Count,
    pub(crate) sent: Count,
    pub(crate) lost: [Count; 8],
    /// So many newer messages were lost that what is outstanding is not kept any more.
    is_left: bool,
    /// The last message that was lost to age.
    aged: u64,
    pub(crate) mark: levels::Mark,
    /// Where it is at least once.
    pub(crate) acks: Option<acks::Ledger>,
    /// What it asked for is behind this number.
    asked_behind: u64,
    /// How many messages it may still be sent, where that is limited.
    pub(crate) credit: Option<u32>,
    /// Why it ended.
    pub(crate) ended: Option<LossReason>,
    /// An in-process consumer knows that there is something.
    is_told: bool,
}

/// Whom a refused publish keeps waiting.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Lanes that refused and were not low since, and the largest payload each refused.
    lanes: BTreeMap<LaneKey, u64>,
    /// Those that held the log at its bound: they must be empty.
    emptied: BTreeSet<LaneKey>,
    /// Lanes that had no room for the first publish that is parked, and have made none since: so many bytes.
    keeping: BTreeMap<LaneKey, u64>,
    /// It found no unit.
    awaits_unit: bool,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: Rc<str>,
    pub(crate) options: TopicOptions,
    pub(crate) is_declared: bool,
    pub(crate) epoch: Option<u64>,
    pub(crate) head: u64,
    /// Those that have not ended.
    pub(crate) lanes: Vec<LaneKey>,
    /// Connections whose publish waits, in order of arrival.
    pub(crate) parked: VecDeque<ConnId>,
    pub(crate) refused: Refused,
    /// An application that was refused is to be told when it may come again.
    pub(crate) is_awaited: bool,
    pub(crate) mark: levels::Mark,
    pub(crate) is_upstream_paused: bool,
    /// Known keys: the latest message of each.
    keys: Vec<Rc<Message>>,
    /// The newest message.
    last: Option<Rc<Message>>,
    /// The newest message for which no lane of the latest messages was there: of clients of the dialect, and of others.
    unwritten: [u64; 2],
    /// What is kept for those who come later.
    pub(crate) history: VecDeque<Rc<Message>>,
    /// Ids of publishes that were taken, and their numbers.
    ids: VecDeque<(Rc<str>, u64)>,
    rate: rates::Bucket,
    /// Numbers behind this wait for the next flush, which is then.
    flushed: u64,
    flush_at: Option<u64>,
    acks: Acks,
    entered: Count,
    sent: Count,
    lost: [Count; 8],
}

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Handshake,
    Open,
    /// A Close frame is to be sent, or was.
    Closing(EndReason),
    /// It has ended; whether the embedder has to close the socket.
    Ended(EndReason, bool),
}

/// How a peer has ended, and whether the application has no more answers to what came before that.
#[derive(Clone, Copy, Debug)]
struct LastWord {
    reason: EndReason,
    code: Option<u16>,
    since: u64,
    is_answered: bool,
}

/// What is to be told of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    pub(crate) is_opened: bool,
    pub(crate) is_received: bool,
    pub(crate) is_sendable: bool,
    pub(crate) is_closed: bool,
}

/// A connection, and its session.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) is_raw: bool,
    pub(crate) phase: Phase,
    pub(crate) session: SessionKey,
    pub(crate) news: News,
    // In.
    pub(crate) wire: VecDeque<Segment>,
    /// Bytes that arrived and were not understood yet.
    pub(crate) fed: usize,
    /// Payload bytes of a message whose last frame is not there yet.
    partial: usize,
    is_inside_message: bool,
    requests: VecDeque<input::Request>,
    parked_since: Option<u64>,
    pub(crate) inbox: VecDeque<(bool, Vec<u8>)>,
    is_stopped: bool,
    /// Whether the embedder was told to pause.
    pub(crate) is_paused: bool,
    peer_closed: bool,
    /// The application may still answer what came.
    owes_answers: bool,
    /// The peer has ended, but what it said before is answered first.
    last_word: Option<LastWord>,
    is_doomed: bool,
    // Out.
    front: VecDeque<Front>,
    /// What was sent of the first of them.
    begun: Vec<u8>,
    /// Payloads of pings that are to be answered; the last will do (RFC 6455 §5.5.3).
    pongs: VecDeque<Vec<u8>>,
    /// Pings that are to be sent: one for each silence.
    pings: u32,
    pinned: Option<output::Item>,
    pub(crate) out: Option<Vec<output::Item>>,
    pub(crate) is_blocked: bool,
    close_sent: bool,
    pub(crate) direct: VecDeque<Rc<Message>>,
    pub(crate) direct_out: Count,
    direct_refused: bool,
    pub(crate) kernel_bytes: u32,
    inbound: [rates::Bucket; 2],
    outbound: rates::Bucket,
    clock: clock::Clock,
}

/// What the numbers of `Stats` must be, as far as lists can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) published: Count,
    pub(crate) refused_full: u64,
    pub(crate) refused_too_large: u64,
    pub(crate) refused_overloaded: u64,
    pub(crate) refused_volatile: u64,
    pub(crate) parked: u64,
    pub(crate) received: Count,
    pub(crate) accepted: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) gaps_sent: u64,
    pub(crate) stale_inputs: u64,
    pub(crate) refused_limited: u64,
    pub(crate) duplicates: u64,
    pub(crate) unknown_acks: u64,
    pub(crate) resumed: u64,
}

/// What happened that no number of the hub tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) pings: u64,
    pub(crate) parked_too_long: u64,
    pub(crate) pauses: u64,
    pub(crate) resumes: u64,
    /// Parked publishes of several topics had room at the same time: whose turn it is first nobody says.
    pub(crate) open_orders: u64,
}

/// A disagreement that is made on purpose, to see that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Error {
    /// None.
    #[default]
    None,
    /// Lanes have room for one message more.
    Room,
    /// What returns unsent is sent.
    Returned,
}

/// What a hub must do.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) options: Options,
    pub(crate) error: Error,
    pub(crate) now: u64,
    pub(crate) topics: BTreeMap<TopicKey, Topic>,
    pub(crate) names: BTreeMap<Rc<str>, TopicKey>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) lanes: BTreeMap<LaneKey, Lane>,
    pub(crate) sessions: BTreeMap<SessionKey, Session>,
    /// Tokens that were told, and of which session.
    pub(crate) tokens: Vec<(String, SessionKey)>,
    /// When a rate lets something pass, as of the last call.
    looked_for: Option<u64>,
    /// Bytes that were sent again.
    pub(crate) retried: u64,
    /// Sessions whose end is to be told, and why.
    pub(crate) ended_sessions: Vec<(sessions::Name, SessionEnd)>,
    pub(crate) counters: Counters,
    pub(crate) seen: Seen,
    entered: [Count; 2],
    sent: [Count; 2],
    lost: [[Count; 8]; 2],
    acks: Acks,
    next: u32,
    stamp: u64,
    pub(crate) draining: Option<u64>,
    /// In-process lanes, and raw connections' lanes, whose end is to be told.
    pub(crate) ended_lanes: BTreeSet<LaneId>,
    /// Topics that may have room for a publish that is parked.
    room: Vec<TopicKey>,
    /// Topics that were removed and are still counted.
    pub(crate) removed_topics: Vec<TopicKey>,
    /// Undeclared topics that may be forgotten at the next poll.
    forgettable: bool,
    /// Levels are not followed: where memory is short, what is shed in the midst of a call makes them fall and rise unseen.
    pub(crate) has_no_levels: bool,
    /// Lanes in which something changed since their levels were looked at, and whether a message did not fit.
    touched: Vec<(LaneKey, bool)>,
    transitions: Levels,
    /// A level was looked at that may have fallen.
    is_open: bool,
    changes: levels::Changes,
}

/// Topics' lanes and direct lanes, in what is counted over the hub.
const TOPICS: usize = 0;
const DIRECT: usize = 1;

pub(crate) const fn one(bytes: u64) -> Count {
    Count::new(1, bytes)
}

pub(crate) fn count<'a>(messages: impl IntoIterator<Item = &'a Rc<Message>>) -> Count {
    let mut count = Count::default();
    messages.into_iter().for_each(|message| count += one(message.len()));
    count
}

impl Reference {
    pub(crate) fn new(options: Options, now: u64) -> Self {
        Self {
            options,
            error: Error::None,
            now,
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            conns: BTreeMap::new(),
            lanes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tokens: Vec::new(),
            looked_for: None,
            retried: 0,
            ended_sessions: Vec::new(),
            counters: Counters::default(),
            seen: Seen::default(),
            entered: Default::default(),
            sent: Default::default(),
            lost: Default::default(),
            acks: Acks::default(),
            next: 0,
            stamp: 0,
            draining: None,
            ended_lanes: BTreeSet::new(),
            room: Vec::new(),
            removed_topics: Vec::new(),
            forgettable: false,
            has_no_levels: false,
            touched: Vec::new(),
            transitions: Levels::default(),
            is_open: false,
            changes: Default::default(),
        }
    }

    /// Every call is told the time; it does not go back.
    pub(crate) fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    fn name_next(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn stamp_next(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// The terms of the queue law over all lanes.
    pub(crate) fn totals(&self) -> Totals {
        let mut waiting = Count::default();
        for lane in self.lanes.values() {
            waiting += lane.all_waiting();
        }
        Totals { entered: self.entered[TOPICS], sent: self.sent[TOPICS], waiting, lost: self.lost[TOPICS] }
    }

    /// The terms of the queue law over all direct lanes.
    pub(crate) fn direct_totals(&self) -> Totals {
        let mut waiting = Count::default();
        for conn in self.conns.values() {
            waiting += count(&conn.direct);
            waiting += conn.direct_out;
        }
        Totals { entered: self.entered[DIRECT], sent: self.sent[DIRECT], waiting, lost: self.lost[DIRECT] }
    }

    /// The terms of the queue law over all lanes a topic ever had.
    pub(crate) fn topic_totals(&self, key: TopicKey) -> Totals {
        let topic = &self.topics[&key];
        let mut waiting = Count::default();
        for lane in self.lanes.values().filter(|lane| lane.topic == key) {
            waiting += lane.all_waiting();
        }
        Totals { entered: topic.entered, sent: topic.sent, waiting, lost: topic.lost }
    }

    fn conn(&mut self, id: ConnId) -> &mut Conn {
        self.conns.get_mut(&id).expect("a connection of the reference")
    }

    fn stale(&mut self) {
        self.counters.stale_inputs += 1;
    }

    /// What every call that may make room ends with.
    pub(crate) fn end_call(&mut self) {
        self.look_at_touched();
        self.leave_answered();
        loop {
            self.close_doomed();
            self.find_low();
            self.retry_parked();
            if !self.conns.values().any(|conn| conn.is_doomed) {
                break;
            }
        }
        self.find_low();
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in ids {
            self.settle_conn(id);
            self.update_patience(id);
            self.update_session_clock(id);
        }
        self.look_for_rates();
    }
}
