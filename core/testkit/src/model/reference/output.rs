//! What goes out, in which order, and what becomes of it.

use std::collections::VecDeque;
use std::rc::Rc;

use forebay_core::{Class, ConnId, Count, Gap, Policy};

use super::front::{Front, Open};
use super::lanes::Next;
use super::{DIRECT, Error, LaneKey, Message, Phase, Reference, TopicKey, Verdict, one};
use crate::model::text;

/// What a piece of a Transmit is.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Front(Front),
    /// The beginning, or the middle, of what goes before all messages: that may be cut anywhere.
    Cut,
    Gap(LaneKey, Gap),
    Message(LaneKey, Rc<Message>),
    /// A message that was sent before.
    Again(LaneKey, Rc<Message>),
    Direct(Rc<Message>),
}

/// A piece of a Transmit.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) what: What,
    /// What is left of it.
    pub(crate) bytes: Vec<u8>,
    /// Whether some of it was sent before.
    is_begun: bool,
    /// Whether its session lived on by itself when it was begun: then all of it was kept.
    is_kept: bool,
    /// What was sent of it before, where it goes before all messages.
    prefix: Vec<u8>,
}

impl super::Conn {
    fn has_front(&self) -> bool {
        // Who is being closed needs no pong any more.
        let has_control = !self.pongs.is_empty() || self.pings > 0;
        !self.front.is_empty() || (has_control && self.phase == Phase::Open)
    }

    /// A pong or a ping, if the bytes begin with one that is due. They may stand anywhere before the messages.
    fn next_control(&mut self, bytes: &[u8]) -> Option<Front> {
        match bytes[0] {
            0x8A => {
                let place = self.pongs.iter().rposition(|due| {
                    let mut frame = Vec::new();
                    text::frame(&mut frame, 10, due);
                    bytes.starts_with(&frame) || frame.starts_with(bytes)
                })?;
                self.pongs.drain(..=place).next_back().map(Front::Pong)
            }
            0x89 => {
                self.pings = self.pings.checked_sub(1)?;
                Some(Front::Ping)
            }
            _ => None,
        }
    }

    /// What is in a Transmit that was not answered, and the rest of what was sent in part.
    pub(crate) fn outstanding_bytes(&self) -> usize {
        // The rest of a reply is a reply that waits.
        self.out.iter().flatten().chain(&self.pinned).map(|item| item.bytes.len()).sum()
    }
}

impl Reference {
    /// Something is to be said before all messages.
    pub(super) fn reply(&mut self, conn: ConnId, front: Front) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if !matches!(state.phase, Phase::Ended(..)) && !state.close_sent {
            state.front.push_back(front);
        }
    }

    fn tells_gaps(&self, conn: ConnId) -> bool {
        !self.conns[&conn].is_raw
    }

    /// Whether there is something to be written.
    pub(crate) fn has_output(&self, id: ConnId) -> bool {
        let conn = &self.conns[&id];
        if matches!(conn.phase, Phase::Ended(..)) {
            return false;
        }
        if conn.pinned.is_some() || conn.has_front() {
            return true;
        }
        if conn.phase != Phase::Open {
            return false;
        }
        self.next_class(id).is_some_and(|class| self.outbound_units(id, class == Class::High) > 0)
    }

    /// Numbers up to this may be sent; the largest there is where nothing waits for a flush.
    pub(super) fn flushed(&self, key: LaneKey) -> u64 {
        let topic = self.topics.get(&self.lanes[&key].topic).filter(|topic| topic.flushed < topic.head);
        topic.map_or(u64::MAX, |topic| topic.flushed)
    }

    /// Whether a Transmit may come of it.
    pub(crate) fn is_ready(&self, id: ConnId) -> bool {
        let conn = &self.conns[&id];
        conn.out.is_none() && !conn.is_blocked && self.has_output(id)
    }

    /// Before a connection is drained, what is too old is lost, of lanes that may send something.
    pub(crate) fn expire_conn(&mut self, id: ConnId) {
        let may_send = |key: &&LaneKey| self.lanes[key].next(self.flushed(**key)).is_some();
        let lanes: Vec<LaneKey> = self.lanes_of(id).iter().filter(may_send).copied().collect();
        lanes.into_iter().for_each(|lane| self.expire(lane));
    }

    /// A Transmit of these bytes: it must be what comes next, in whole messages.
    pub(crate) fn transmit(&mut self, id: ConnId, bytes: &[u8]) -> Verdict {
        if !self.conns.contains_key(&id) || !self.is_ready(id) {
            return Err(format!("a Transmit of {id:?}, which has nothing to send or may not"));
        }
        self.expire_conn(id);
        let mut items = Vec::new();
        let (mut rest, mut begun) = (bytes, 0);
        if let Some(item) = self.conn(id).pinned.take() {
            rest = rest.strip_prefix(&item.bytes[..]).ok_or("not the rest of what was sent in part")?;
            begun = item.bytes.len() as u64;
            items.push(item);
        }
        let limit = self.options.transmit_bytes_max as usize;
        let units = [self.outbound_units(id, false), self.outbound_units(id, true)];
        let mut messages = begun;
        while !rest.is_empty() {
            let before = bytes.len() - rest.len();
            if before > limit {
                return Err(format!("a Transmit of {} bytes goes on at {before}", bytes.len()));
            }
            let prefix = self.conn(id).begun.clone();
            let (what, len) = if prefix.is_empty() { self.next_item(id, rest)? } else { self.next_rest(id, rest)? };
            if matches!(what, What::Message(..) | What::Again(..) | What::Direct(_) | What::Gap(..)) {
                let is_high = matches!(&what, What::Message(key, _) | What::Again(key, _) | What::Gap(key, _)
                    if self.class_of(self.lanes[key].topic) == Class::High);
                let least = if matches!(what, What::Gap(..)) { 1 } else { len as u64 };
                if messages > 0 && messages + least > units[usize::from(is_high)] {
                    return Err(format!("{messages} and {len} bytes of messages, where there are {units:?} units"));
                }
                messages += len as u64;
            }
            if matches!(what, What::Cut) && bytes.len() != limit {
                return Err(format!("cut at {} bytes without need", bytes.len()));
            }
            items.push(Item {
                what,
                bytes: rest[..len].to_vec(),
                is_begun: !prefix.is_empty(),
                is_kept: false,
                prefix,
            });
            rest = &rest[len..];
        }
        let now = self.now;
        let conn = self.conn(id);
        conn.clock.handed(now);
        conn.out = Some(items);
        self.look_at_touched();
        self.update_patience(id);
        self.update_session_clock(id);
        self.look_for_rates();
        Ok(())
    }

    /// What continues a reply, or the like, of which a part was sent.
    fn next_rest(&mut self, id: ConnId, bytes: &[u8]) -> Result<(What, usize), String> {
        let conn = self.conn(id);
        let whole = [&conn.begun[..], bytes].concat();
        let front = conn.front.front().expect("what was begun");
        if front.is_cut(&whole) {
            return Ok((What::Cut, bytes.len()));
        }
        let (begun, front) = (std::mem::take(&mut conn.begun), conn.front.pop_front().expect("there is one"));
        let (len, told) = front.read(&whole)?;
        self.learn(&front, &told)?;
        let len = len.checked_sub(begun.len()).filter(|len| *len > 0).ok_or("less than was sent of it")?;
        Ok((What::Front(front), len))
    }

    /// What these bytes begin with, if it is what must come now.
    fn next_item(&mut self, id: ConnId, bytes: &[u8]) -> Result<(What, usize), String> {
        if let Some(control) = self.conn(id).next_control(bytes) {
            if control.is_cut(bytes) {
                self.conn(id).front.push_front(control);
                return Ok((What::Cut, bytes.len()));
            }
            let (len, _) = control.read(bytes)?;
            return Ok((What::Front(control), len));
        }
        if let Some(front) = self.conn(id).front.pop_front() {
            if front.is_cut(bytes) {
                self.conn(id).front.push_front(front);
                return Ok((What::Cut, bytes.len()));
            }
            let (len, told) = front.read(bytes)?;
            self.learn(&front, &told)?;
            return Ok((What::Front(front), len));
        }
        if matches!(self.conns[&id].phase, Phase::Closing(_)) {
            return Err("something follows Close".into());
        }
        if self.conns[&id].has_front() {
            return Err("a message before a control frame".into());
        }
        let next = self.next_of_lanes(id);
        self.next_message(id, next, bytes)
    }

    /// The first class, the oldest publish of it that waits in any lane, and which; `None` for the direct lane.
    fn next_of_lanes(&self, id: ConnId) -> Option<(Class, u64, Option<LaneKey>)> {
        let conn = &self.conns[&id];
        let heads = self.lanes_of(id).iter().filter_map(|key| {
            let lane = &self.lanes[key];
            let next = lane.next(self.flushed(*key))?;
            Some((self.class_of(lane.topic), next.message().stamp, Some(*key)))
        });
        let direct = conn.direct.front().map(|message| (Class::Normal, message.stamp, None));
        heads.chain(direct).min()
    }

    /// The class of what is sent next.
    pub(super) fn next_class(&self, id: ConnId) -> Option<Class> {
        let tells = self.tells_gaps(id);
        let gaps = self.lanes_of(id).iter().filter(|lane| tells && self.lanes[lane].has_lone_gap(self.flushed(**lane)));
        let gaps = gaps.map(|lane| self.class_of(self.lanes[lane].topic));
        gaps.chain(self.next_of_lanes(id).map(|(class, ..)| class)).min()
    }

    /// What these bytes begin with, where that is of a lane.
    fn next_message(
        &mut self,
        id: ConnId,
        next: Option<(Class, u64, Option<LaneKey>)>,
        bytes: &[u8],
    ) -> Result<(What, usize), String> {
        let tells = self.tells_gaps(id);
        // A gap that is told by itself may stand anywhere between the others.
        let lone = self.lanes_of(id).iter().find(|key| {
            let lane = &self.lanes[key];
            let is_told = lane.has_lone_gap(self.flushed(**key)) || next.is_none_or(|(_, _, next)| next == Some(**key));
            let is_next = tells && is_told && lane.gap_is_next(self.flushed(**key));
            is_next && self.gap_frame(**key).is_some_and(|gap| bytes.starts_with(&gap))
        });
        if let Some(key) = lone.copied() {
            let len = self.gap_frame(key).expect("a gap").len();
            let gap = self.lane(key).gap.take().expect("a gap");
            return Ok((What::Gap(key, gap), len));
        }
        let shown = |expected: &[u8]| {
            let shown = &bytes[..bytes.len().min(200)];
            format!("{:?}, not {:?}", String::from_utf8_lossy(shown), String::from_utf8_lossy(expected))
        };
        let Some((_, _, lane)) = next else { return Err(shown(b"the end")) };
        let is_raw = self.conns[&id].is_raw;
        let Some(key) = lane else {
            let conn = self.conn(id);
            let message = conn.direct.front().expect("the next").clone();
            let len = message.frame(true).len();
            if !bytes.starts_with(message.frame(true)) {
                return Err(shown(message.frame(true)));
            }
            conn.direct.pop_front();
            conn.direct_out += one(message.len());
            return Ok((What::Direct(message), len));
        };
        let flushed = self.flushed(key);
        if tells && self.lanes[&key].gap_is_next(flushed) {
            return Err(shown(&self.gap_frame(key).expect("a gap")));
        }
        let next = self.lanes[&key].next(flushed).expect("the next");
        let (message, is_again) = (next.message().clone(), matches!(next, Next::Again(_)));
        let len = message.frame(is_raw).len();
        if !bytes.starts_with(message.frame(is_raw)) {
            return Err(shown(message.frame(is_raw)));
        }
        if is_again {
            self.goes_again(key, &message);
            return Ok((What::Again(key, message), len));
        }
        let lane = self.lane(key);
        lane.credit = lane.credit.map(|credit| credit - 1);
        lane.waiting.pop_front();
        if lane.out.is_empty() {
            lane.is_left = false;
        }
        lane.out.push(message.clone());
        self.touch(key, false);
        Ok((What::Message(key, message), len))
    }

    fn gap_frame(&self, key: LaneKey) -> Option<Vec<u8>> {
        let lane = &self.lanes[&key];
        let gap = lane.gap?;
        let names = [
            "superseded",
            "oldest",
            "newest",
            "age",
            "log_bound",
            "overload",
            "closed",
            "unsubscribed",
            "history",
            "reset",
            "attempts",
        ];
        let reasons = names.iter().enumerate().filter(|(place, _)| gap.reasons >> place & 1 == 1);
        let reasons: Vec<String> = reasons.map(|(_, name)| text::quoted(name)).collect();
        let topic = text::quoted(&self.topics[&lane.topic].name);
        let (from, to, missed, reasons) = (gap.from, gap.to, gap.missed, reasons.join(","));
        let text = format!(
            "{{\"op\":\"gap\",\"topic\":{topic},\"from\":{from},\"to\":{to},\"missed\":{missed},\"reasons\":[{reasons}]}}"
        );
        let mut frame = Vec::new();
        text::frame(&mut frame, 1, text.as_bytes());
        Some(frame)
    }

    /// What a text says in its open part.
    fn learn(&mut self, front: &Front, told: &str) -> Verdict {
        match front {
            Front::Text { open: Open::Epoch(topic), .. } => self.learn_epoch(*topic, told),
            Front::Text { open: Open::EpochAndSeq(topic, least), .. } => {
                let (epoch, seq) = told.split_once("\",\"seq\":").ok_or("an ok without a number")?;
                if !seq.parse().is_ok_and(|seq: u64| seq >= *least) {
                    return Err(format!("the number {seq}, not {least} or above"));
                }
                self.learn_epoch(*topic, epoch)
            }
            Front::Text { open: Open::Token(session), .. } => self.learn_token(*session, told),
            Front::Text { open: Open::Pieces(expected), .. } => {
                let mut pieces: Vec<String> =
                    told.split("},{").map(|piece| format!("{{{}}}", piece.trim_matches(['{', '}']))).collect();
                pieces.retain(|piece| piece != "{}");
                pieces.iter_mut().for_each(|piece| *piece = masked(piece));
                pieces.sort_unstable();
                if pieces == *expected { Ok(()) } else { Err(format!("lanes {told}, not {expected:?}")) }
            }
            _ => Ok(()),
        }
    }

    fn learn_epoch(&mut self, key: TopicKey, told: &str) -> Verdict {
        let told = u64::from_str_radix(told, 16).ok().filter(|_| told.len() == 16);
        let others = self.topics.iter().any(|(other, topic)| *other != key && topic.epoch == told);
        let Some(topic) = self.topics.get_mut(&key) else { return Ok(()) };
        match (topic.epoch, told) {
            (Some(known), Some(told)) if known == told => Ok(()),
            (None, Some(_)) if !others => {
                topic.epoch = told;
                Ok(())
            }
            (known, _) => Err(format!("the epoch {told:?}, where it is {known:?}, or another topic has it")),
        }
    }

    /// So many bytes of the Transmit were taken.
    pub(crate) fn sent(&mut self, id: ConnId, bytes: usize) {
        let now = self.now;
        let Some(items) = self.conns.get_mut(&id).and_then(|conn| conn.out.take()) else {
            return self.stale();
        };
        let total: usize = items.iter().map(|item| item.bytes.len()).sum();
        let mut left = bytes.min(total);
        let conn = self.conn(id);
        conn.is_blocked = left < total;
        conn.clock.answered(left, left < total, now);
        self.pay_for_bytes(id, left);
        let (mut back, mut begun) = (Vec::new(), None);
        for item in items {
            if left >= item.bytes.len() && back.is_empty() && begun.is_none() {
                left -= item.bytes.len();
                self.piece_sent(id, item);
            } else if back.is_empty() && begun.is_none() && (left > 0 || item.is_begun) {
                begun = Some((item, std::mem::take(&mut left)));
            } else {
                back.push(item.what);
            }
        }
        self.take_back_items(id, back, None);
        if let Some((mut item, taken)) = begun {
            self.piece_begun(id, &mut item, taken);
        }
        self.find_sendable(id);
        self.end_call();
    }

    /// All of a piece was taken.
    fn piece_sent(&mut self, id: ConnId, item: Item) {
        match item.what {
            What::Cut => self.conn(id).begun.extend(item.bytes),
            // It was counted when it was begun.
            What::Gap(..) if item.is_begun => {}
            what => self.item_sent(id, what),
        }
    }

    /// Some of a piece was taken, or of its beginning before.
    fn piece_begun(&mut self, id: ConnId, item: &mut Item, taken: usize) {
        let rest = item.bytes.split_off(taken);
        match &item.what {
            What::Cut => self.conn(id).begun.extend(&item.bytes),
            What::Front(front) => {
                let conn = self.conn(id);
                conn.front.push_front(front.clone());
                conn.begun = [&item.prefix[..], &item.bytes].concat();
            }
            what => {
                // A notice counts when it is begun: then it is not merged any more.
                let is_notice = !item.is_begun && matches!(what, What::Gap(..));
                let what = what.clone();
                self.counters.gaps_sent += u64::from(is_notice);
                let is_new = !item.is_begun && self.is_kept(id);
                let is_kept = item.is_kept || is_new;
                self.conn(id).pinned = Some(Item { what, bytes: rest, is_begun: true, is_kept, prefix: Vec::new() });
            }
        }
    }

    fn item_sent(&mut self, id: ConnId, what: What) {
        match what {
            What::Front(Front::Close(..)) => self.conn(id).close_sent = true,
            What::Front(Front::Ping) => self.seen.pings += 1,
            What::Front(Front::Refusal(_)) => self.refusal_sent(id),
            What::Front(_) | What::Cut => {}
            What::Gap(..) => self.counters.gaps_sent += 1,
            What::Message(key, message) => {
                self.lane(key).out.retain(|other| !Rc::ptr_eq(other, &message));
                self.lane_sent(key, &message);
                self.forget_lane(key);
            }
            What::Again(key, message) => self.was_sent_again(key, &message),
            What::Direct(message) => {
                self.sent[DIRECT] += one(message.len());
                self.direct_out_less(id, &message);
            }
        }
    }

    /// The message that was begun, and cannot return because the rest is all there is of it.
    pub(super) fn lost_beginning(&self, id: ConnId) -> Option<(LaneKey, Rc<Message>)> {
        let conn = &self.conns[&id];
        let begun = conn.out.iter().flatten().chain(&conn.pinned).find(|item| item.is_begun && !item.is_kept)?;
        match &begun.what {
            // The latest of its key is known without being in the lane, and what is to be acknowledged is kept until then.
            What::Message(key, _)
                if matches!(self.lanes[key].policy, Policy::LatestPerKey | Policy::LatestOnly)
                    || self.lanes[key].acks.is_some() =>
            {
                None
            }
            What::Message(key, message) => Some((*key, message.clone())),
            _ => None,
        }
    }

    fn direct_out_less(&mut self, id: ConnId, message: &Message) {
        let out = &mut self.conn(id).direct_out;
        *out = Count::new(out.messages - 1, out.bytes - message.len());
    }

    /// What was not touched returns to where it came from.
    pub(super) fn take_back_items(&mut self, id: ConnId, items: Vec<What>, lost: Option<&(LaneKey, Rc<Message>)>) {
        let mut lanes: Vec<(LaneKey, Vec<Rc<Message>>)> = Vec::new();
        let is_closing = self.conns[&id].phase != Phase::Open && self.conns[&id].phase != Phase::Handshake;
        for what in items.into_iter().rev() {
            match what {
                What::Cut => {}
                What::Front(Front::Pong(payload)) => self.conn(id).pongs.push_front(payload),
                What::Front(Front::Ping) => self.conn(id).pings += 1,
                What::Front(front) => self.conn(id).front.push_front(front),
                What::Gap(key, gap) => {
                    if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.ended.is_none()) {
                        lane.note_gap(gap);
                    }
                }
                What::Message(key, message) => match lanes.iter_mut().find(|(other, _)| *other == key) {
                    Some((_, list)) => list.insert(0, message),
                    None => lanes.push((key, vec![message])),
                },
                What::Again(key, message) => self.returns_again(key, &message),
                What::Direct(message) => {
                    self.direct_out_less(id, &message);
                    if is_closing {
                        self.lost[DIRECT][6] += one(message.len());
                    } else {
                        self.conn(id).direct.push_front(message);
                    }
                }
            }
        }
        for (key, mut back) in lanes {
            if let Some((_, lost)) = lost.filter(|(other, _)| *other == key && self.lanes[&key].ended.is_none()) {
                back.retain(|message| !Rc::ptr_eq(message, lost));
                self.lose_begun(key, lost);
            }
            if self.error == Error::Returned {
                for message in back {
                    self.item_sent(id, What::Message(key, message));
                }
            } else {
                self.take_back(key, back);
            }
        }
    }

    /// A reader whose lane has ended takes nothing.
    pub(crate) fn take_of_nobody(&mut self) {
        self.end_call();
    }

    pub(crate) fn kernel(&mut self, id: ConnId, unsent: u32) {
        match self.conns.get_mut(&id) {
            None => self.stale(),
            Some(conn) => conn.kernel_bytes = unsent,
        }
    }

    /// Whether nothing waits and nobody is waited for.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_quiet = |conn: &super::Conn| conn.requests.is_empty() && conn.inbox.is_empty();
        let is_done = |lane: &super::Lane| {
            let is_local = lane.owner == super::Owner::Local;
            lane.out.is_empty() && !(is_local && lane.ended.is_none() && lane.has_output(true, u64::MAX))
        };
        self.lanes.values().all(is_done)
            && self.direct_totals().waiting.messages == 0
            && self.conns.keys().all(|id| !self.has_output(*id))
            && self.conns.values().all(is_quiet)
    }

    /// Where there is nothing to be sent, and nothing in the way, nothing stalls. It is looked for when the connection is
    /// written to or polled.
    pub(crate) fn look_for_rest(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if !conn.is_blocked && conn.out.is_none() && !self.has_output(id) {
            self.conn(id).clock.rests();
        }
    }

    /// The connection may be written to again.
    pub(crate) fn writable(&mut self, id: ConnId) {
        match self.conns.get_mut(&id).filter(|conn| !matches!(conn.phase, Phase::Ended(..))) {
            None => self.stale(),
            Some(conn) => {
                if conn.out.is_none() && conn.is_blocked {
                    conn.is_blocked = false;
                }
                self.look_for_rest(id);
                self.end_call();
            }
        }
    }
}

/// What is told of a lane, without a number where it is one of the latest messages: what it knows is the hub's to say.
pub(super) fn masked(told: &str) -> String {
    match told.split_once("\"seq\":") {
        Some((before, behind)) if told.contains("\"policy\":\"latest") => {
            format!("{before}\"seq\":*{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ => told.to_string(),
    }
}

/// Items that were taken out of a Transmit, for those that end it.
pub(super) fn whats(items: Vec<Item>) -> VecDeque<What> {
    items.into_iter().map(|item| item.what).collect()
}
