//! The hub: the state machine that everything else is part of.

mod accept;
mod acks;
mod age;
mod agreements;
mod application;
mod batches;
mod calm;
mod check;
mod closing;
mod direct;
mod documents;
mod drain;
mod duplicates;
mod emptied;
mod forms;
mod getters;
mod inflate;
mod input;
mod lanes;
mod latest;
mod levels;
mod limits;
mod outputs;
mod overflow;
mod plain;
mod pressure;
mod publish;
mod request;
mod resume;
mod retention;
mod room;
mod sent;
mod sessions;
mod starts;
mod takeover;
mod timeouts;
mod upgrade;
mod wake;
mod work;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::BytesMut;

#[cfg(feature = "std")]
pub use drain::IoSlices;
pub use drain::Transmit;

use self::documents::Document;
use self::emptied::Emptied;
use self::overflow::Overflowed;
use self::pressure::HubLevel;
use crate::compressor::Compressor;
use crate::config::Config;
use crate::conn::{Conn, Contexts, Limits, Outstanding, Phase, Work};
use crate::entropy::Entropy;
use crate::error::AcceptError;
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::output::{Deadline, Effect, EndReason, Event, Peer, SessionEnd, Upgraded};
use crate::session::Session;
use crate::slab::Slab;
use crate::stats::{Count, Stats};
use crate::time::Instant;
use crate::timers::Timers;
use crate::topics::Topics;
use crate::watermark::least;
use crate::wire::deflate::Inflater;
use crate::wire::handshake::Origins;

/// Who wants to be woken, by its place in its table: a timer goes with what it is of.
#[derive(Clone, Copy, Debug)]
enum TimerKey {
    Conn(u32),
    /// A message may have become too old for a topic's lanes.
    Topic(u32),
    /// A message may have become too old for a topic's history.
    History(u32),
    /// A level of a topic's lanes may fall.
    Levels(u32),
    /// An at-least-once lane has waited for an acknowledgement.
    Acks(u32),
    /// A detached session was not resumed in time.
    Session(u32),
    /// What was published to a topic may be sent.
    Flush(u32),
    /// One more may be published to a topic.
    Rate(u32),
    /// The hub's level may fall.
    Hub,
    Drain,
}

/// Of what there is something to tell.
#[derive(Clone, Copy, Debug)]
enum News {
    Conn(ConnId),
    Session(SessionId),
    Lane(LaneId),
    LaneLevel(LaneId),
    LaneEnded(LaneId),
    Abandoned(LaneId),
    SessionEnded(SessionId, SessionEnd),
    Topic(TopicId),
    Hub,
}

#[doc = include_str!("manual.md")]
#[doc = include_str!("delivery.md")]
#[derive(Debug)]
pub struct Hub {
    config: Config,
    /// What fills a direct lane to its high mark.
    direct_high: Count,
    /// The same of an inbox, in bytes.
    inbox_high: u64,
    now: Instant,
    entropy: Entropy,
    conns: Slab<ConnId, Conn>,
    sessions: Slab<SessionId, Session>,
    /// What the kernel still held of what was written, where that was looked at and it held something.
    kernel_bytes: BTreeMap<ConnId, u32>,
    /// Of connections of which a bucket is not full, or was not a moment ago.
    limits: BTreeMap<ConnId, Limits>,
    /// Of connections that take over what was compressed before, or of which a part of a compressed message came.
    contexts: BTreeMap<ConnId, Contexts>,
    /// How much of `context_bytes_max` is spoken for.
    contexts_reserved: usize,
    /// For use by any connection: a few.
    inflaters: Vec<Inflater>,
    /// Where a piece is inflated.
    inflated: BytesMut,
    /// Sessions without a connection, by the order in which they lost it.
    detached: BTreeMap<u64, SessionId>,
    topics: Topics,
    timers: Timers<TimerKey>,
    /// Connections that have something to send and may; each at most once.
    ready: VecDeque<ConnId>,
    /// Topics with lanes that are to be woken, in the order in which they were published to: behind all of `ready`.
    waking: VecDeque<TopicId>,
    /// Topics, and connections with direct lanes, that were written to since the last poll.
    unfrozen: Vec<TopicId>,
    unfrozen_direct: Vec<ConnId>,
    /// Topics whose parked publishes may fit now; empty between calls.
    room: Vec<TopicId>,
    /// Lanes that were full and have ended, and what is to become of their consumers; empty between calls.
    overflowed: Vec<Overflowed>,
    /// Lanes with an `age_max` that have not ended.
    aging_lanes: u32,
    /// At-least-once lanes that have not ended.
    acking_lanes: u32,
    /// Topics that may have nothing left.
    forgettable: Vec<TopicId>,
    events: VecDeque<News>,
    /// The most of them since none was left.
    events_peak: usize,
    effects: VecDeque<ConnId>,
    stats: Stats,
    level: HubLevel,
    /// Numbers all publishes and direct messages.
    stamp: u64,
    /// Where a read is unmasked.
    scratch: Vec<u8>,
    /// What compresses for all; there once something was compressed.
    compressor: Option<Box<Compressor>>,
    /// Emptied Transmits, for use again.
    spare: Vec<Outstanding>,
    /// Emptied buffers of connections, for use again.
    emptied: Emptied,
    /// What connections had that are idle again, for use again.
    #[expect(clippy::vec_box, reason = "it is lent as it is, and never moved")]
    rested: Vec<Box<Work>>,
    draining: Option<Instant>,
    is_backlogged: bool,
    /// Served to plain HTTP requests, by path.
    documents: BTreeMap<Box<str>, Document>,
    /// Whose pages may open connections.
    origins: Origins,
    /// What raw connections may speak.
    protocols: Vec<Box<str>>,
}

impl Hub {
    /// A hub. `entropy` must come from the operating system: it seeds session ids, epochs and client masks.
    #[must_use]
    pub fn new(config: Config, entropy: [u8; 32], now: Instant) -> Self {
        Self {
            level: HubLevel::new(&config),
            direct_high: config.direct_lane.least(config.watermarks.high()),
            inbox_high: least(u64::from(config.inbound_bytes_max), config.watermarks.high()),
            config,
            now,
            entropy: Entropy::new(entropy),
            conns: Slab::new(),
            sessions: Slab::new(),
            kernel_bytes: BTreeMap::new(),
            limits: BTreeMap::new(),
            contexts: BTreeMap::new(),
            contexts_reserved: 0,
            inflaters: Vec::new(),
            inflated: BytesMut::new(),
            detached: BTreeMap::new(),
            topics: Topics::new(),
            timers: Timers::new(),
            ready: VecDeque::new(),
            waking: VecDeque::new(),
            unfrozen: Vec::new(),
            unfrozen_direct: Vec::new(),
            room: Vec::new(),
            overflowed: Vec::new(),
            aging_lanes: 0,
            acking_lanes: 0,
            forgettable: Vec::new(),
            events: VecDeque::new(),
            events_peak: 0,
            effects: VecDeque::new(),
            stats: Stats::default(),
            stamp: 0,
            scratch: Vec::new(),
            compressor: None,
            spare: Vec::new(),
            emptied: Emptied::default(),
            rested: Vec::new(),
            draining: None,
            is_backlogged: false,
            documents: BTreeMap::new(),
            origins: Origins::new(),
            protocols: Vec::new(),
        }
    }

    // ---- B. something happened outside -------------------------------------------------------------------------------

    /// A connection was accepted; its opening handshake is awaited.
    ///
    /// # Errors
    /// When no more connections are taken: close the socket.
    pub fn handle_accept(&mut self, peer: Peer, now: Instant) -> Result<ConnId, AcceptError> {
        self.advance(now);
        let accepted = self.accept(peer);
        self.stats.refused_accepts += u64::from(accepted.is_err());
        self.retry_parked();
        accepted
    }

    /// A connection was accepted whose opening handshake somebody else has answered; `leftover` is what was read behind
    /// it.
    ///
    /// # Errors
    /// When no more connections are taken, or the subprotocol is not one of ours: close the socket.
    pub fn handle_upgraded(
        &mut self,
        upgraded: Upgraded<'_>,
        leftover: &[u8],
        now: Instant,
    ) -> Result<ConnId, AcceptError> {
        self.advance(now);
        let accepted = self.accept_upgraded(upgraded);
        self.stats.refused_accepts += u64::from(accepted.is_err());
        match accepted {
            Ok(conn) if !self.conn_mut(conn).is_ended() => self.handle_bytes(conn, leftover, now),
            _ => self.retry_parked(), // It ended for the budget, which may have made room.
        }
        accepted
    }

    /// Bytes were read. Whatever is not understood yet is kept; while [`wants_read`](Self::wants_read) is false, all of
    /// it, so at most one read should be under way then.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        self.advance(now);
        let now = self.now;
        let mut is_awaited = false; // Then the next deadline may be before that of its pong.
        match self.conns.get_mut(conn).filter(|conn| !conn.is_ended()) {
            None => return self.stale(),
            Some(conn) if !bytes.is_empty() => {
                is_awaited = matches!(conn.phase, Phase::Open { is_pinged: true, .. });
                conn.heard(now, false);
            }
            Some(_) => {}
        }
        self.input(conn, bytes);
        if is_awaited || !self.is_settled_with_input(conn) {
            self.refresh(conn);
        }
        self.retry_parked();
    }

    /// `bytes` of the outstanding Transmit were written. Answers exactly one [`Transmit`]; fewer than its length: the
    /// connection is blocked until [`handle_writable`](Self::handle_writable).
    pub fn handle_sent(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        self.pass(now);
        if self.plain_sent(conn, bytes) {
            return self.update_hub_level(); // What was freed.
        }
        self.wake_all();
        self.sent(conn, bytes);
        self.settle(conn);
    }

    /// The connection may be written to again. One that is not blocked is left as it is.
    pub fn handle_writable(&mut self, conn: ConnId, now: Instant) {
        self.advance(now);
        match self.conns.get_mut(conn).filter(|conn| !conn.is_ended()) {
            None => self.stale(),
            Some(state) => {
                // While a Transmit is outstanding its answer decides.
                state.is_blocked &= state.has_outstanding();
                self.settle(conn);
            }
        }
    }

    /// The peer closed its side, or the transport failed. The embedder closes the socket; no [`Effect::Close`] follows. A
    /// Transmit that was not answered needs no answer any more.
    /// [`Event::Closed`] of a raw connection comes when its last message was received.
    pub fn handle_eof(&mut self, conn: ConnId, now: Instant) {
        self.advance(now);
        match self.conns.get_mut(conn).map(|conn| &mut conn.phase) {
            Some(Phase::Ended { owes_effect, .. }) if *owes_effect => {
                *owes_effect = false;
                self.remove_if_told(conn);
            }
            None | Some(Phase::Ended { .. }) => self.stale(),
            Some(Phase::Closing { reason, .. }) => {
                let reason = *reason;
                self.end(conn, reason, false);
            }
            Some(Phase::Answering { last, .. }) => {
                let reason = last.reason();
                self.end(conn, reason, false);
            }
            Some(_) => self.end(conn, EndReason::PeerGone, false),
        }
        self.settle(conn);
    }

    /// What the kernel still holds of what was written, in bytes. Optional; shown by [`connection`](Self::connection).
    pub fn handle_kernel(&mut self, conn: ConnId, unsent: u32) {
        match self.conns.get(conn) {
            None => self.stale(),
            Some(state) if unsent == 0 || state.is_ended() => _ = self.kernel_bytes.remove(&conn),
            Some(_) => _ = self.kernel_bytes.insert(conn, unsent),
        }
    }

    /// Time passed. At most 1,024 timers are handled; [`poll_timeout`](Self::poll_timeout) says if there are more.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.fire_timers();
        self.retry_parked();
    }

    // ---- C. the application wants something: `application.rs` -------------------------------------------------------

    // ---- D. the hub wants something ----------------------------------------------------------------------------------

    /// The next bytes to write, of a connection that may be written to. `None` until something else happens.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        let conn = self.next_transmit();
        self.update_hub_level(); // What was freed by freezing.
        Some(self.transmit(conn?))
    }

    /// The next thing to do to a connection.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.next_effect()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.next_event()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest. [`Cause::Output`](crate::Cause::Output):
    /// there is something to be polled. `None`: nothing is waited for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.next_deadline()
    }
}
