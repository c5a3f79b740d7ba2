//! What clients ask for through a dialect, in order; a publish without room is parked.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Hub;
use super::emptied::pop_inbox;
use super::publish::Publisher;
use crate::config::{CreateTopics, LaneOptions, Start};
use crate::conn::{Conn, Parked};
use crate::delivery::Delivery;
use crate::dialect::{Acked, Action, ActionLane, Code, Reply, Request, SubscribedLane};
use crate::error::{PublishError, ResumeError, TopicError};
use crate::id::{ConnId, LaneId, TopicId};
use crate::output::{LossReason, Message, OwnedPayload, Position, ResumeLane, SessionToken};

/// Whether a request was carried out (or refused), or has to wait for room in a topic.
enum Outcome {
    Done,
    Waits(TopicId),
}

impl Hub {
    /// A message of a connection with a dialect.
    pub(super) fn request(&mut self, id: ConnId, is_text: bool, bytes: &[u8], has_unit: bool) {
        if self.is_overflowed(id) || (!has_unit && self.refuse_limited(id, is_text, bytes)) {
            return;
        }
        let conn = self.conn_mut(id);
        if !conn.has_messages() {
            if let Outcome::Waits(topic) = self.carry_out(id, is_text, bytes, Publisher::Client) {
                self.park(id, topic, is_text, bytes);
            }
            return;
        }
        let dialect = conn.dialect().expect("only called with a dialect");
        match dialect.decode(is_text, bytes) {
            Ok(request) if request.action.passes_a_parked_publish() => {
                self.carry_out(id, is_text, bytes, Publisher::Client);
            }
            _ => drop(self.queue(id, is_text, bytes)),
        }
    }

    fn park(&mut self, id: ConnId, topic: TopicId, is_text: bool, bytes: &[u8]) {
        if !self.queue(id, is_text, bytes) {
            return;
        }
        self.mark_parked(id, topic);
    }

    /// The first message of the inbox waits for room in `topic`.
    fn mark_parked(&mut self, id: ConnId, topic: TopicId) {
        let until = self.now + self.config.block_max;
        self.work_mut(id).inbound.parked = Some(Parked { topic, until });
        self.topics.get_mut(topic).expect("a publish waits for a topic that exists").parked.push_back(id);
        self.stats.parked += 1;
    }

    /// Carries out what waits in the inbox until it is empty, a publish is parked, or a reply bound is reached; then
    /// decodes what was kept: what passes a parked publish may be there.
    pub(super) fn pump(&mut self, id: ConnId) {
        loop {
            let is_open = self.conns.get(id).is_some_and(Conn::is_open);
            // It looks at all of them, so not for those that are being closed.
            let is_overflowed = is_open && self.is_overflowed(id);
            let Some(conn) = self.conns.get_mut(id) else { return };
            if conn.is_ended() || is_overflowed {
                break;
            }
            conn.update_stopped(&self.config);
            let replies_full = conn.reply_bytes() >= self.config.reply_bytes_max as usize;
            let is_requesting = conn.dialect().is_some() && conn.is_open() && !replies_full;
            let Some(inbound) = conn.inbound() else { break };
            if is_requesting
                && inbound.parked.is_none()
                && let Some(OwnedPayload { is_text, bytes }) = inbound.first().cloned()
            {
                match self.carry_out(id, is_text, &bytes, Publisher::Client) {
                    Outcome::Done => self.pop_inbox(id),
                    Outcome::Waits(topic) => self.mark_parked(id, topic),
                }
                continue;
            }
            let before = inbound.undecoded.len();
            if conn.is_stopped() || before == 0 {
                break;
            }
            self.input_kept(id);
            let left = self.conns.get(id).and_then(Conn::inbound).map_or(0, |inbound| inbound.undecoded.len());
            if left >= before {
                break; // Only the beginning of a frame is left.
            }
        }
    }

    fn pop_inbox(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            pop_inbox(conn, &mut self.emptied);
        }
    }

    /// Tries again the publishes that wait for room in topics that may have some.
    pub(super) fn retry_parked(&mut self) {
        if !self.overflowed.is_empty() || !self.room.is_empty() {
            self.wake_all();
        }
        self.end_overflowed();
        while let Some(topic_id) = self.room.pop() {
            let Some(topic) = self.topics.slab.get_mut(topic_id) else { continue };
            topic.has_room = false;
            while let Some(id) = self.topics.get(topic_id).and_then(|topic| topic.parked.front().copied()) {
                let message = self.work_mut(id).inbound.first().cloned();
                let OwnedPayload { is_text, bytes } = message.expect("a parked publish is the first of its inbox");
                if let Outcome::Waits(_) = self.carry_out(id, is_text, &bytes, Publisher::Parked) {
                    break;
                }
                self.unpark(id);
                self.pop_inbox(id);
                self.pump(id);
                self.refresh(id);
            }
            self.announce_drained(topic_id);
            self.end_overflowed();
        }
        self.update_hub_level();
    }

    /// The connection's publish waits no longer, for whatever reason.
    pub(super) fn unpark(&mut self, id: ConnId) {
        let work = self.conn_mut(id).work.as_mut();
        if let Some(parked) = work.and_then(|work| work.inbound.parked.take()) {
            if let Some(topic) = self.topics.slab.get_mut(parked.topic) {
                match topic.parked.front() {
                    Some(first) if *first == id => drop(topic.parked.pop_front()),
                    _ => topic.parked.retain(|waiting| *waiting != id),
                }
            }
            self.may_have_room(parked.topic);
            self.may_be_forgotten(parked.topic);
        }
    }

    /// A parked publish is refused after all.
    pub(super) fn refuse_parked(&mut self, id: ConnId, reply: &Reply<'_>) {
        let dialect = self.conn_mut(id).dialect().expect("only a dialect parks");
        let OwnedPayload { is_text, bytes } =
            self.work_mut(id).inbound.first().cloned().expect("a parked publish is the first of its inbox");
        let request_id = match dialect.decode(is_text, &bytes) {
            Ok(request) => request.id,
            Err(fault) => fault.id,
        };
        self.reply(id, reply, request_id);
        self.unpark(id);
        self.pop_inbox(id);
        self.pump(id);
    }

    fn carry_out(&mut self, id: ConnId, is_text: bool, bytes: &[u8], publisher: Publisher) -> Outcome {
        let dialect = self.conn_mut(id).dialect().expect("only called with a dialect");
        let Request { id: request_id, action } = match dialect.decode(is_text, bytes) {
            Ok(request) => request,
            Err(fault) => {
                self.reply(id, &Reply::Error(fault.code, &fault.message), fault.id);
                return Outcome::Done;
            }
        };
        let result = match action {
            Action::Ping => {
                self.reply(id, &Reply::Pong, request_id);
                Ok(())
            }
            Action::Subscribe(topic, lane, from) => self.carry_out_subscribe(id, &topic, (lane, from), request_id),
            Action::Unsubscribe(topic) => self.carry_out_unsubscribe(id, &topic, request_id),
            Action::Keep(ttl) => self.carry_out_keep(id, ttl, request_id),
            Action::Resume(token, lanes) => self.carry_out_resume(id, token, &lanes, request_id),
            Action::Acknowledge(topic, acked) => {
                self.carry_out_acknowledge(id, &topic, &acked);
                Ok(())
            }
            Action::Grant(topic, credit) => self.carry_out_grant(id, &topic, credit, request_id),
            Action::Publish { topic: name, key, id: message_id, payload } => {
                let message = Message::new(payload.as_payload()).with_key(&key).with_id(&message_id);
                match self.topic_for_client(&name) {
                    Err(refusal) => Err(refusal),
                    Ok(topic) => match self.admit(topic, message, publisher) {
                        Ok(published) => {
                            if request_id.is_some() {
                                self.reply(id, &Reply::Published(published), request_id);
                            }
                            Ok(())
                        }
                        Err(PublishError::Full) => return Outcome::Waits(topic),
                        Err(PublishError::Limited { retry_after }) => {
                            self.reply(id, &Reply::Limited { retry_after }, request_id);
                            Ok(())
                        }
                        Err(error) => Err((error.into(), text_of(&error))),
                    },
                }
            }
        };
        if let Err((code, text)) = result {
            self.reply(id, &Reply::Error(code, &text), request_id);
        }
        Outcome::Done
    }

    fn carry_out_subscribe(
        &mut self,
        id: ConnId,
        name: &str,
        (lane, from): (LaneOptions, Start),
        request_id: Option<&str>,
    ) -> Result<(), Refused> {
        let topic_id = self.topic_for_client(name)?;
        let added = self.add_session_lane(id, topic_id, lane, from);
        let lane = added.map_err(|error| (error.into(), text_of(&error)))?;
        if request_id.is_some() {
            let described = self.described(lane);
            let described = SubscribedLane { topic: name, ..described };
            self.reply(id, &Reply::Subscribed(described), request_id);
        }
        Ok(())
    }

    /// A lane as its client is told of it, but for its topic's name.
    fn described(&self, lane: LaneId) -> SubscribedLane<'static> {
        let (topic, place) = self.topics.lane(lane);
        let position = Position { epoch: topic.epoch, seq: topic.place_of(place) };
        let is_at_least_once = topic.acking(place).is_some();
        let delivery = if is_at_least_once { topic.options.delivery } else { Delivery::BestEffort };
        SubscribedLane { topic: "", position, policy: topic.policy(place), delivery }
    }

    fn carry_out_keep(&mut self, id: ConnId, ttl: Option<Duration>, request_id: Option<&str>) -> Result<(), Refused> {
        let session = self.make_resumable(id, ttl).map_err(|error| (error.into(), text_of(&error)))?;
        if request_id.is_some() {
            self.reply(id, &Reply::Kept { session, ttl: self.ttl(session.session) }, request_id);
        }
        Ok(())
    }

    fn carry_out_resume(
        &mut self,
        id: ConnId,
        token: Option<SessionToken>,
        lanes: &[ActionLane<'_>],
        request_id: Option<&str>,
    ) -> Result<(), Refused> {
        let lanes: Vec<ResumeLane<'_>> = lanes
            .iter()
            .map(|lane| ResumeLane { topic: &lane.topic, position: lane.position, credit: lane.credit })
            .collect();
        let resumed = token.ok_or(ResumeError::UnknownSession);
        let resumed = resumed.and_then(|token| Ok((token, self.resume_session(id, token, &lanes)?)));
        let (session, _) = resumed.map_err(|error| (error.into(), text_of(&error)))?;
        if request_id.is_some() {
            self.reply_resumed(id, session, request_id);
        }
        Ok(())
    }

    fn reply_resumed(&mut self, id: ConnId, session: SessionToken, request_id: Option<&str>) {
        let lanes = self.lanes_of(id);
        let names: Vec<Box<str>> = lanes.iter().map(|lane| self.topics.lane(*lane).0.name.clone()).collect();
        let described = lanes.iter().zip(&names).map(|(lane, name)| {
            let position = self.sent_through(*lane);
            SubscribedLane { topic: name, position, ..self.described(*lane) }
        });
        let described: Vec<SubscribedLane<'_>> = described.collect();
        let reply = Reply::Resumed { session, ttl: self.ttl(session.session), lanes: &described };
        self.reply(id, &reply, request_id);
    }

    fn carry_out_acknowledge(&mut self, id: ConnId, name: &str, acked: &Acked) {
        let session = self.conn_mut(id).session;
        let topic = self.topics.by_name.get(name).copied();
        let mut unknown = 0;
        match (topic, acked) {
            (None, Acked::Through(_)) => unknown = 1,
            (None, Acked::Each(seqs)) => unknown = seqs.len() as u64,
            (Some(topic), Acked::Through(seq)) => {
                let _ = self.acknowledge_through(session, topic, *seq); // Nobody is told what came of it.
            }
            (Some(topic), Acked::Each(seqs)) => {
                for seq in seqs {
                    let _ = self.acknowledge_message(session, topic, *seq);
                }
            }
        }
        self.stats.unknown_acks += unknown;
    }

    fn carry_out_grant(
        &mut self,
        id: ConnId,
        name: &str,
        credit: u32,
        request_id: Option<&str>,
    ) -> Result<(), Refused> {
        let session = self.conn_mut(id).session;
        let topic = self.topics.by_name.get(name).copied();
        if !topic.is_some_and(|topic| self.grant_credit(session, topic, credit)) {
            return Err((Code::NotSubscribed, Cow::Borrowed("this session has no lane on that topic")));
        }
        if request_id.is_some() {
            self.reply(id, &Reply::Done { topic: name }, request_id);
        }
        Ok(())
    }

    fn carry_out_unsubscribe(&mut self, id: ConnId, name: &str, request_id: Option<&str>) -> Result<(), Refused> {
        let topic_id = self.topics.by_name.get(name).copied();
        if !topic_id.is_some_and(|topic_id| self.end_session_lane(id, topic_id, LossReason::Unsubscribed)) {
            return Err((Code::NotSubscribed, Cow::Borrowed("this session has no lane on that topic")));
        }
        if request_id.is_some() {
            self.reply(id, &Reply::Done { topic: name }, request_id);
        }
        Ok(())
    }

    fn topic_for_client(&mut self, name: &str) -> Result<TopicId, Refused> {
        if self.draining.is_some() {
            return Err((Code::Draining, Cow::Borrowed("the server is shutting down")));
        }
        if let Some(topic) = self.topics.by_name.get(name) {
            return Ok(*topic);
        }
        self.check_name(name).map_err(|error| (error.into(), text_of(&error)))?;
        if self.config.create_topics == CreateTopics::Application {
            return Err((Code::UnknownTopic, Cow::Borrowed("no such topic, and clients may not create topics")));
        }
        let defaults = self.config.topic_defaults;
        self.create_topic(name, defaults, false).map_err(|error: TopicError| (error.into(), text_of(&error)))
    }

    pub(super) fn reply(&mut self, id: ConnId, reply: &Reply<'_>, request_id: Option<&str>) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Some(dialect) = conn.dialect().filter(|_| conn.is_open()) {
            if let Some(code) = reply.error_code() {
                self.stats.error_replies[code as usize] += 1;
            }
            dialect.put_reply(&mut self.work_mut(id).outbound.replies, reply, request_id);
        }
    }
}

type Refused = (Code, Cow<'static, str>);

fn text_of(error: &impl alloc::string::ToString) -> Cow<'static, str> {
    Cow::Owned(error.to_string())
}
