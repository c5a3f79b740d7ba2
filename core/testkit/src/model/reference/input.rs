//! What a client says, in order, and what waits behind a publish that is parked.

use std::rc::Rc;
use std::time::Duration;

use forebay_core::{
    ConnId, CreateTopics, EndReason, Excess, LaneOptions, Policy, PublishError, ResumeError, SessionToken, Start,
    SubscribeError, wire,
};

use super::output::masked;
use super::place::place_bytes;
use super::publish::{Draft, Taken};
use super::{Conn, Front, Open, Phase, Reference, Stand, TopicKey, one};
use crate::model::text;

/// The deadline of a message begins with its first payload byte: half a header, or half a control frame, has none.
/// `Options::message_timeout` says "from the first byte".
const HEADS_BEGIN_NOTHING: bool = true;

/// What a whole message or control frame of a client is.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// Nothing yet: a fragment.
    Piece,
    /// A request of the dialect, and its bytes; to a raw connection only the bytes.
    Request(Request, Vec<u8>),
    /// A message without meaning.
    Message {
        is_text: bool,
        bytes: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// Something that breaks RFC 6455, the code it is answered with, and what the hub calls it.
    Crime(u16, wire::WireError),
    /// A good opening request with this key.
    Handshake {
        key: String,
        protocols: Vec<&'static str>,
    },
}

/// Bytes of a client that mean something together.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) len: usize,
    /// Bytes of the frame's header, for those that are frames of a message.
    pub(crate) head: usize,
    pub(crate) said: Said,
}

/// Why a publish is refused.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Code(&'static str),
    /// For so many nanoseconds.
    Limited(u64),
}

/// A request of the dialect.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) id: Option<String>,
    /// Bytes of the message.
    pub(crate) len: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Subscribe(String, LaneOptions, Start),
    Unsubscribe(String),
    Publish(String, Draft),
    Ack(String, Acked),
    Credit(String, u32),
    Keep(Option<Duration>),
    Resume(Option<SessionToken>, Vec<Stand>),
    Ping,
    /// What is answered by an error whatever there is.
    Nonsense(&'static str),
}

/// What a client acknowledges.
#[derive(Clone, Debug)]
pub(crate) enum Acked {
    Through(u64),
    Each(Vec<u64>),
}

impl Ask {
    /// Whether it is carried out while a publish waits, and however fast it comes.
    fn overtakes(&self) -> bool {
        matches!(self, Self::Unsubscribe(_) | Self::Ping | Self::Ack(..) | Self::Credit(..))
    }
}

impl Conn {
    /// Bytes of messages that wait for the application or behind a parked publish.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let requests: usize = self.requests.iter().map(|request| request.len).sum();
        let inbox: usize = self.inbox.iter().map(|(_, bytes)| bytes.len()).sum();
        requests + inbox
    }

    /// What is compared with the bound: each message counts for its place, too.
    pub(crate) fn counted_bytes(&self) -> usize {
        self.waiting_bytes() + self.waiting_messages() * place_bytes()
    }

    /// Messages that wait.
    pub(crate) fn waiting_messages(&self) -> usize {
        self.requests.len() + self.inbox.len()
    }

    /// And what is kept because it was not understood yet.
    pub(crate) fn inbound_bytes(&self, is_too_fast: bool) -> usize {
        if self.last_word.is_some() {
            return self.counted_bytes(); // What comes behind it nobody keeps.
        }
        let head = self.wire.front().map_or(0, |segment| segment.head);
        let begun = if self.fed >= head { self.fed - head } else { self.fed };
        self.counted_bytes() + self.partial + if self.is_stopped || is_too_fast { self.fed } else { begun }
    }

    /// The publish that is parked.
    pub(super) fn parked_draft(&self) -> Option<&Draft> {
        match self.requests.front().map(|request| &request.ask) {
            Some(Ask::Publish(_, draft)) if self.parked_since.is_some() => Some(draft),
            _ => None,
        }
    }
}

impl Reference {
    /// So many more bytes arrived.
    pub(crate) fn bytes(&mut self, conn: ConnId, len: usize) {
        let ping_interval = self.options.ping_interval;
        match self.conns.get_mut(&conn).filter(|conn| !matches!(conn.phase, Phase::Ended(..))) {
            None => return self.stale(),
            Some(state) => {
                state.fed += len;
                if len > 0 {
                    state.clock.heard(ping_interval);
                }
            }
        }
        self.decode(conn);
        self.end_call();
    }

    /// Whether the connection is to be read.
    pub(crate) fn wants_read(&self, id: ConnId) -> bool {
        let is_read = |conn: &Conn| match conn.phase {
            Phase::Ended(..) => false,
            Phase::Open => !conn.is_stopped && !self.is_too_fast(id),
            _ => !conn.is_stopped,
        };
        self.conns.get(&id).is_some_and(is_read)
    }

    /// Understands what can be understood, as far as there is room for it.
    pub(super) fn decode(&mut self, id: ConnId) {
        loop {
            self.update_stop(id);
            let state = self.conn(id);
            let is_deaf = matches!(state.phase, Phase::Ended(..)) || state.peer_closed;
            if is_deaf || state.is_stopped || (state.phase == Phase::Open && self.is_too_fast(id)) {
                break;
            }
            let state = self.conn(id);
            let Some(segment) = state.wire.front().filter(|segment| segment.len <= state.fed) else { break };
            state.fed -= segment.len;
            let segment = state.wire.pop_front().expect("there is one");
            match segment.said {
                Said::Piece => {
                    state.partial += segment.len - segment.head;
                    state.is_inside_message = true;
                }
                Said::Request(..) | Said::Message { .. } => {
                    (state.partial, state.is_inside_message) = (0, false);
                    state.clock.message_ends();
                }
                _ => {}
            }
            self.said(id, segment.said);
        }
        let timeout = self.options.message_timeout;
        let state = self.conn(id);
        if !state.is_stopped {
            let head = state.wire.front().map_or(0, |segment| segment.head);
            let is_begun = if HEADS_BEGIN_NOTHING { head > 0 && state.fed > head } else { state.fed > 0 };
            state.clock.message(is_begun || state.is_inside_message, timeout);
        }
    }

    /// At the bound decoding stops; at half of it, it goes on.
    pub(super) fn update_stop(&mut self, id: ConnId) {
        let most = self.options.inbound_bytes_max as usize;
        let state = self.conn(id);
        let waiting = state.counted_bytes();
        if matches!(state.phase, Phase::Closing(_)) {
            state.is_stopped = false; // The peer's Close is waited for.
        } else if waiting >= most {
            state.is_stopped = true;
        } else if waiting * 2 <= most {
            state.is_stopped = false;
        }
    }

    fn said(&mut self, id: ConnId, said: Said) {
        let phase = self.conns[&id].phase;
        let is_closing = matches!(phase, Phase::Closing(_));
        match said {
            Said::Piece | Said::Pong => {}
            Said::Handshake { key, protocols } if phase == Phase::Handshake => self.open(id, Some((key, protocols))),
            Said::Ping(payload) if !is_closing => self.conn(id).pongs.push_back(payload),
            Said::Close(code) => self.peer_closes(id, code),
            Said::Crime(code, error) if !is_closing => self.protocol_error(id, code, error),
            // Its own Close is not waited for any more.
            Said::Crime(..) => self.conn(id).peer_closed = true,
            _ if is_closing => {}
            Said::Request(request, bytes) => {
                self.counters.received += one(bytes.len() as u64);
                if self.is_refused(id, &request) {
                    return;
                }
                self.pay_for_message(id, bytes.len() as u64);
                if self.conns[&id].is_raw {
                    self.put_inbox(id, true, bytes);
                } else if !self.conns[&id].is_doomed {
                    self.ask(id, request);
                }
            }
            Said::Message { is_text, bytes } => {
                self.counters.received += one(bytes.len() as u64);
                let request = Request { ask: Ask::Nonsense("bad-message"), id: None, len: bytes.len() };
                if self.is_refused(id, &request) {
                    return;
                }
                self.pay_for_message(id, bytes.len() as u64);
                if self.conns[&id].is_raw {
                    self.put_inbox(id, is_text, bytes);
                } else if !self.conns[&id].is_doomed {
                    self.ask(id, request);
                }
            }
            Said::Ping(_) | Said::Handshake { .. } => {}
        }
    }

    fn put_inbox(&mut self, id: ConnId, is_text: bool, bytes: Vec<u8>) {
        let state = self.conn(id);
        state.inbox.push_back((is_text, bytes));
        (state.news.is_received, state.owes_answers) = (true, true);
    }

    /// A request: carried out, or put behind a publish that waits.
    fn ask(&mut self, id: ConnId, request: Request) {
        if self.conns[&id].requests.is_empty() || request.ask.overtakes() {
            self.carry_out(id, request);
        } else {
            self.conn(id).requests.push_back(request);
        }
    }

    /// A request that comes too fast, and does not wait, is refused.
    fn is_refused(&mut self, id: ConnId, request: &Request) -> bool {
        let is_spared = self.conns[&id].is_raw || request.ask.overtakes() || self.conns[&id].is_doomed;
        let is_spared = is_spared || matches!(request.ask, Ask::Nonsense(_));
        let at = self.hear_at(id);
        if is_spared || at <= self.now {
            return false;
        }
        self.counters.refused_limited += 1;
        self.limited(id, at - self.now, request.id.as_deref());
        true
    }

    pub(super) fn limited(&mut self, conn: ConnId, nanos: u64, id: Option<&str>) {
        let start = "{\"op\":\"error\",\"code\":\"limited\",\"message\":\"".into();
        let end = format!("\",\"retry_after_ms\":{}{}}}", nanos.div_ceil(1_000_000), text::id_member(id));
        self.reply(conn, Front::Text { start, end: Some(end), open: Open::Free });
    }

    pub(super) fn error(&mut self, id: ConnId, code: &str, request: Option<&str>) {
        self.reply(id, Front::error(code, request));
    }

    fn carry_out(&mut self, conn: ConnId, request: Request) {
        let id = request.id.as_deref();
        match &request.ask {
            Ask::Nonsense(code) => self.error(conn, code, id),
            Ask::Ping => {
                let text = format!("{{\"op\":\"pong\"{}}}", text::id_member(id));
                self.reply(conn, Front::exact(&text));
            }
            Ask::Unsubscribe(name) => {
                let topic = self.names.get(name.as_str()).copied();
                if self.unsubscribe(conn, topic) {
                    self.ok(conn, id, &format!(",\"topic\":{}", text::quoted(name)));
                } else {
                    self.error(conn, "not-subscribed", id);
                }
            }
            Ask::Subscribe(name, wish, from) => self.ask_subscribe(conn, name, *wish, *from, id),
            Ask::Publish(name, draft) => match self.ask_publish(conn, name, draft) {
                Ok(None) => {
                    self.conn(conn).requests.push_front(request);
                }
                Ok(Some(taken)) => self.ok_published(conn, id, taken),
                Err(Refusal::Code(code)) => self.error(conn, code, id),
                Err(Refusal::Limited(nanos)) => self.limited(conn, nanos, id),
            },
            Ask::Ack(name, acked) => {
                let topic = self.names.get(name.as_str()).copied();
                match acked {
                    Acked::Through(through) => _ = self.acknowledge(conn, topic, |seq| seq <= *through),
                    Acked::Each(seqs) => {
                        seqs.iter().for_each(|one| _ = self.acknowledge(conn, topic, |seq| seq == *one));
                    }
                }
            }
            Ask::Credit(name, credit) => {
                let topic = self.names.get(name.as_str()).copied();
                if self.grant(conn, topic, *credit) {
                    self.ok(conn, id, &format!(",\"topic\":{}", text::quoted(name)));
                } else {
                    self.error(conn, "not-subscribed", id);
                }
            }
            Ask::Keep(ttl) => self.ask_keep(conn, *ttl, id),
            Ask::Resume(token, stands) => self.ask_resume(conn, *token, stands, id),
        }
    }

    fn ask_keep(&mut self, conn: ConnId, ttl: Option<Duration>, id: Option<&str>) {
        let Ok(ttl) = self.keep(conn, ttl) else { return self.error(conn, "draining", id) };
        if let Some(id) = id {
            let session = self.conns[&conn].session;
            let start = format!("{{\"op\":\"ok\",\"id\":{id},\"session\":\"");
            let end = format!("\",\"ttl_ms\":{}}}", ttl.as_millis());
            self.reply(conn, Front::Text { start, end: Some(end), open: Open::Token(session) });
        }
    }

    fn ask_resume(&mut self, conn: ConnId, token: Option<SessionToken>, stands: &[Stand], id: Option<&str>) {
        let resumed = if token.is_none() { Err(ResumeError::UnknownSession) } else { self.resume(conn, token, stands) };
        match resumed {
            Ok(session) => {
                let Some(id) = id else { return };
                let known = &self.sessions[&session];
                let ttl = Duration::from_nanos(known.ttl.unwrap_or(0)).as_millis();
                let token = known.token.map_or(String::new(), |token| token.to_string());
                let start = format!("{{\"op\":\"ok\",\"id\":{id},\"session\":\"{token}\",\"ttl_ms\":{ttl},\"lanes\":[");
                let mut lanes: Vec<String> = known
                    .lanes
                    .iter()
                    .map(|lane| masked(&format!("{{{}}}", self.described(*lane, self.number_done(*lane)))))
                    .collect();
                lanes.sort_unstable();
                self.reply(conn, Front::Text { start, end: Some("]}".into()), open: Open::Pieces(lanes) });
            }
            Err(error) => {
                let code = match error {
                    ResumeError::AlreadySubscribed => "already-subscribed",
                    ResumeError::Draining => "draining",
                    _ => "unknown-session",
                };
                self.error(conn, code, id);
            }
        }
    }

    fn ok_published(&mut self, conn: ConnId, id: Option<&str>, (seq, matched, is_duplicate): Taken) {
        let duplicate = if is_duplicate { ",\"duplicate\":true" } else { "" };
        self.ok(conn, id, &format!(",\"seq\":{seq},\"matched\":{matched}{duplicate}"));
    }

    fn ok(&mut self, conn: ConnId, id: Option<&str>, members: &str) {
        if let Some(id) = id {
            self.reply(conn, Front::exact(&format!("{{\"op\":\"ok\",\"id\":{id}{members}}}")));
        }
    }

    /// The topic of a client's request, which may make it.
    fn topic_for(&mut self, name: &str) -> Result<TopicKey, &'static str> {
        if !self.is_good_name(name) {
            return Err("bad-topic");
        }
        if let Some(topic) = self.names.get(name) {
            return Ok(*topic);
        }
        if self.options.create_topics == CreateTopics::Application {
            return Err("unknown-topic");
        }
        if self.may_open(name).is_some() {
            return Err("topics-full");
        }
        let defaults = self.options.topic_defaults;
        Ok(self.make_topic(name, defaults, false))
    }

    fn ask_subscribe(&mut self, conn: ConnId, name: &str, wish: LaneOptions, from: Start, id: Option<&str>) {
        if self.draining.is_some() {
            return self.error(conn, "draining", id);
        }
        let topic = match self.topic_for(name) {
            Ok(topic) => topic,
            Err(code) => return self.error(conn, code, id),
        };
        match self.subscribe(conn, Some(topic), wish, from) {
            Ok(lane) => {
                if let Some(id) = id {
                    let known = self.described(lane, self.number_before(lane));
                    let (before, behind) = known.split_once(",\"epoch\":\"").expect("it has one");
                    let start = format!("{{\"op\":\"ok\",\"id\":{id},{before},\"epoch\":\"");
                    let is_latest = matches!(self.lanes[&lane].policy, Policy::LatestPerKey | Policy::LatestOnly);
                    let (end, open) = if is_latest {
                        let policy = behind.find(",\"policy\"").expect("it has one");
                        (&behind[policy..], Open::EpochAndSeq(topic, self.number_before(lane)))
                    } else {
                        (&behind[16..], Open::Epoch(topic))
                    };
                    let end = Some(format!("{end}}}"));
                    self.reply(conn, Front::Text { start, end, open });
                }
            }
            Err(error) => {
                let code = match error {
                    SubscribeError::AlreadySubscribed => "already-subscribed",
                    SubscribeError::LanesFull => "lanes-full",
                    SubscribeError::PolicyNotAllowed => "policy-not-allowed",
                    SubscribeError::InvalidLimits => "bad-limits",
                    SubscribeError::NotAtLeastOnce => "not-at-least-once",
                    SubscribeError::PositionAhead => "bad-position",
                    other => unreachable!("{other:?}"),
                };
                self.error(conn, code, id);
            }
        }
    }

    /// What it came to; or nothing: it waits.
    fn ask_publish(&mut self, conn: ConnId, name: &str, draft: &Draft) -> Result<Option<Taken>, Refusal> {
        if self.draining.is_some() {
            return Err(Refusal::Code("draining"));
        }
        let topic = self.topic_for(name).map_err(Refusal::Code)?;
        let checked = self.check_draft(topic, draft).map_err(|error| match error {
            PublishError::InvalidKey => Refusal::Code("bad-key"),
            PublishError::InvalidId => Refusal::Code("bad-id"),
            _ => Refusal::Code("too-large"),
        })?;
        if checked.is_some() {
            return Ok(checked);
        }
        let (room_at, excess) = (self.publish_at(topic), self.topics[&topic].options.publish_excess);
        let is_slowed = room_at > self.now;
        if is_slowed && excess == Excess::Refuse {
            self.counters.refused_limited += 1;
            return Err(Refusal::Limited(room_at - self.now));
        }
        let len = draft.bytes.len() as u64;
        let is_first = self.topics[&topic].parked.is_empty() && !is_slowed;
        let full = if is_first { self.full_lanes(topic, len) } else { Vec::new() };
        if is_first && full.is_empty() {
            return Ok(Some(self.publish_now(topic, draft)));
        }
        self.note_refusal(topic, &full, len);
        let now = self.now;
        let state = self.topics.get_mut(&topic).expect("a topic");
        state.refused.awaits_unit |= is_slowed;
        state.parked.push_back(conn);
        self.counters.parked += 1;
        self.conn(conn).parked_since = Some(now);
        Ok(None)
    }

    fn unpark(&mut self, conn: ConnId) -> Request {
        self.is_open = true;
        let parked = self.topics.iter_mut().find(|(_, topic)| topic.parked.contains(&conn));
        let (key, topic) = parked.expect("the topic of a parked publish");
        let key = *key;
        topic.parked.retain(|other| *other != conn);
        // The next is tried, and may be refused for another size.
        self.try_parked(key);
        self.forgettable = true;
        let state = self.conn(conn);
        state.parked_since = None;
        state.requests.pop_front().expect("the parked publish")
    }

    /// There is room for a parked publish.
    pub(super) fn carry_out_parked(&mut self, topic: TopicKey, conn: ConnId) {
        let is_known = self.conns[&conn].parked_draft().is_some_and(|draft| self.taken_before(topic, draft).is_some());
        if !is_known && self.publish_at(topic) > self.now {
            return self.refuse_parked(conn, "full"); // For the rate, which is answered in its place.
        }
        let request = self.unpark(conn);
        let Ask::Publish(name, draft) = &request.ask else { unreachable!("a publish is parked") };
        let topic = self.names[name.as_str()];
        let taken = self.taken_before(topic, draft);
        self.counters.duplicates += u64::from(taken.is_some());
        let taken = taken.unwrap_or_else(|| self.publish_now(topic, draft));
        self.ok_published(conn, request.id.as_deref(), taken);
        self.pump(conn);
    }

    /// A publish was parked for `block_max`.
    pub(super) fn give_up_parked(&mut self, conn: ConnId) {
        let topic = self.topics.iter().find(|(_, topic)| topic.parked.contains(&conn));
        let (key, has_rate) =
            topic.map(|(key, topic)| (*key, topic.options.publish_rate.is_some())).expect("its topic");
        let since = self.conns[&conn].parked_since;
        if has_rate && self.publish_at(key) <= self.now {
            // There is a unit at the same moment: it may be for this one.
            self.try_parked(key);
            self.retry_parked();
        }
        if self.conns.get(&conn).is_some_and(|conn| conn.parked_since == since) {
            self.seen.parked_too_long += 1;
            self.refuse_parked(conn, "full");
        }
    }

    /// A parked publish is refused after all.
    pub(super) fn refuse_parked(&mut self, conn: ConnId, code: &str) {
        let topic = self.topics.iter().find(|(_, topic)| topic.parked.contains(&conn)).map(|(key, _)| *key);
        let slowed = topic.map(|topic| self.publish_at(topic)).filter(|at| code == "full" && *at > self.now);
        let request = self.unpark(conn);
        let id = request.id.as_deref();
        if let Some(at) = slowed {
            self.counters.refused_limited += 1;
            self.limited(conn, at - self.now, id);
        } else {
            self.counters.refused_full += u64::from(code == "full");
            self.error(conn, code, id);
        }
        self.pump(conn);
    }

    /// A connection ends: what it asked for is not carried out.
    pub(super) fn drop_requests(&mut self, conn: ConnId) {
        if self.conns[&conn].parked_since.is_some() {
            self.unpark(conn);
        }
        self.conn(conn).requests.clear();
    }

    /// What waited is carried out in order, until a publish waits again.
    pub(super) fn pump(&mut self, conn: ConnId) {
        loop {
            let state = self.conn(conn);
            if state.is_doomed || state.phase != Phase::Open {
                return;
            }
            if state.parked_since.is_some() {
                break;
            }
            let Some(request) = state.requests.pop_front() else { break };
            // What is carried out finds nothing before it: it may be parked in its place.
            let rest = std::mem::take(&mut self.conn(conn).requests);
            self.carry_out(conn, request);
            self.conn(conn).requests.extend(rest);
        }
        self.decode(conn);
    }

    /// The application takes a message of a raw connection.
    pub(crate) fn receive(&mut self, id: ConnId) -> Option<(bool, Vec<u8>)> {
        let state = self.conns.get_mut(&id).filter(|conn| conn.is_raw)?;
        let message = state.inbox.pop_front();
        state.news.is_received &= !state.inbox.is_empty();
        if matches!(state.phase, Phase::Ended(..)) {
            return message;
        }
        if message.is_none() {
            state.owes_answers = false;
            state.last_word.as_mut().into_iter().for_each(|last| last.is_answered = true);
        }
        self.decode(id);
        self.end_call();
        message
    }

    fn protocol_error(&mut self, id: ConnId, code: u16, error: wire::WireError) {
        self.hear_last(id, EndReason::Protocol(error), Some(code));
    }

    /// Kept for messages that are told apart by their bytes.
    pub(crate) fn draft(key: &str, is_text: bool, bytes: Vec<u8>) -> Draft {
        Draft { key: Rc::from(key), is_text, bytes: bytes.into(), id: Rc::from("") }
    }
}
