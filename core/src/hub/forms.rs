//! Compressed forms of what waits in logs (RFC 7692): made when the first connection that takes them is drained, and sent to
//! all that do.

use alloc::boxed::Box;

use super::Hub;
use super::drain::start_part;
use super::room::{Part, Room, Turn};
use crate::compressor::Compressor;
use crate::conn::{Copied, Outstanding, Source};
use crate::id::{ConnId, LaneId};
use crate::lane::{Mark, Run};
use crate::latest::{Latest, Which};
use crate::log::{Form, FormRoom, Front};
use crate::stats::Count;
use crate::topics::{Topic, View, ViewMut};

impl Hub {
    /// Adds what waits of a lane and was published before `limit`, to whom it may be sent compressed; whether there was any.
    pub(super) fn add_compressed(
        &mut self,
        id: ConnId,
        lane: LaneId,
        limit: u64,
        out: &mut Outstanding,
        room: &mut Room,
    ) -> bool {
        if self.conn_mut(id).takes_over()
            && let Some(is_added) = self.add_own(id, lane, limit, out, room)
        {
            return is_added;
        }
        let window_bytes = self.window_bytes(id).unwrap_or(0);
        let (topic, place) = self.topics.lane(lane);
        if matches!(topic.view(place), View::Latest(..)) {
            return self.add_compressed_latest(lane, window_bytes, limit, out, room);
        }
        let (front, class) = (topic.allowed_front(place), topic.options.class);
        let Some(part) = self.plan_formed(lane, window_bytes, front, (class, limit), room) else { return false };
        let (topic, place) = self.topics.lane_mut(lane);
        if start_part(topic, place, lane, part, out, room) {
            let topic_id = self.topics.of_lane(lane).expect("the lane exists").0;
            self.look_at_level(topic_id, place, false);
        }
        true
    }

    /// How far back a peer remembers that inflates what it gets.
    pub(super) fn window_bytes(&self, id: ConnId) -> Option<usize> {
        let (conn, options) = (self.conns.get(id)?, self.config.deflate.as_ref()?);
        let window = conn.inflates()?;
        // One that remembers as much as is ever referred to is not asked.
        Some(if window.get() >= options.window_bits { usize::MAX } else { window.bytes() })
    }

    /// What of a run goes into a Transmit: up to the end of a block, and all of it as units of its form, or none.
    fn plan_formed(
        &mut self,
        lane: LaneId,
        window_bytes: usize,
        front: Run,
        (class, limit): Turn,
        room: &mut Room,
    ) -> Option<Part> {
        let (topic, place) = self.topics.lane(lane);
        let log = topic.log(place);
        if front.is_empty() {
            return None;
        }
        let through: Mark = if limit == u64::MAX { front.through } else { log.last_before(front, limit) };
        let run = Run { through, ..front };
        if run.is_empty() || !self.form(lane, run.first(), room) {
            return None;
        }
        let form_room = FormRoom {
            bytes: room.message_bytes(class),
            payload_bytes: room.payload_bytes,
            one: room.takes_any(),
            window_bytes,
        };
        let (topic, place) = self.topics.lane(lane);
        let log = topic.log(place);
        match log.front(run, form_room) {
            Front::Plain(last) => {
                let run = Run { through: log.mark(last), ..run };
                room.plan(log, run, (class, u64::MAX))
            }
            Front::Units(plan) => {
                let part = Part::new(run, plan, true)?;
                room.payload_bytes = room.payload_bytes.saturating_sub(part.run.count().bytes);
                Some(part)
            }
        }
    }

    /// Sees to it that it is known what the form of the block is that a lane's next message lies in, if there is room for one.
    /// `false`: for one Transmit enough was compressed.
    fn form(&mut self, lane: LaneId, seq: u64, room: &mut Room) -> bool {
        let (topic_id, place) = self.topics.of_lane(lane).expect("the lane exists");
        let topic = self.topics.slab.get(topic_id).expect("a lane's topic exists");
        let (log, join) = (topic.log(place), topic.dialect(place).join());
        let Some((bytes, messages)) = log.unformed(seq) else { return true };
        let Some(options) = &self.config.deflate else { return true };
        let has_room = self.has_room_for_form(topic, Form::resident_max(bytes, messages));
        if !has_room || !Compressor::is_of_use(options, bytes, messages, join) {
            return true; // It is sent as it is.
        }
        if room.to_compress == 0 && !room.takes_any() {
            return false;
        }
        room.to_compress = room.to_compress.saturating_sub(bytes);
        let compressor = self.compressor.get_or_insert_with(|| Box::new(Compressor::new(options)));
        let (after, frames) = log.frames(seq);
        let form = compressor.form(after, frames, join, &mut self.stats.compression);
        let topic = self.topics.slab.get_mut(topic_id).expect("a lane's topic exists");
        topic.log_mut(place).set_form(seq, form);
        self.recharge_topic(topic_id);
        true
    }

    /// Adds latest messages, one slice each; whether there was any.
    fn add_compressed_latest(
        &mut self,
        id: LaneId,
        window_bytes: usize,
        limit: u64,
        out: &mut Outstanding,
        room: &mut Room,
    ) -> bool {
        let mut is_added = false;
        while room.slices > 0 {
            let (topic, place) = self.topics.lane(id);
            let View::Latest(lane, latest) = topic.view(place) else { break };
            let Some((seq, slot)) = lane.next(latest).filter(|_| !topic.is_shut(place)) else { break };
            if seq > topic.flushed.messages || slot.stamp >= limit {
                break;
            }
            let (encoding, class) = (topic.settings(place).encoding, topic.options.class);
            let plain_bytes = slot.frame_bytes(encoding);
            let is_asked = latest.compressed_bytes(seq, encoding).is_some();
            if !is_asked && plain_bytes <= window_bytes {
                self.compress_latest(id, (seq, encoding), room);
            }
            let (topic, place) = self.topics.lane_mut(id);
            let ViewMut::Latest(lane, latest) = topic.view_mut(place) else { break };
            let compressed = latest.compressed_bytes(seq, encoding).filter(|bytes| *bytes > 0);
            let (which, len) = match compressed.filter(|_| plain_bytes <= window_bytes) {
                Some(len) => (Which::Compressed, len),
                None => (Which::Plain, plain_bytes),
            };
            if len > room.message_bytes(class) && !room.takes_any() {
                break;
            }
            let Some(taken) = lane.start(latest, encoding, which) else { break };
            out.push_latest(id, taken, room);
            topic.spend_credit(place, 1);
            is_added = true;
        }
        is_added
    }

    /// Makes the compressed frame of a latest message, if it is worth it and there is room.
    fn compress_latest(&mut self, lane: LaneId, (seq, encoding): (u64, usize), room: &mut Room) {
        let (topic, place) = self.topics.lane(lane);
        let View::Latest(lane_state, latest) = topic.view(place) else { return };
        let Some((_, slot)) = lane_state.next(latest) else { return };
        let Some(options) = &self.config.deflate else { return };
        let frame = slot.frame(encoding);
        let is_enough = room.to_compress == 0 && !room.takes_any();
        let has_room = self.has_room_for_form(topic, Latest::form_bytes_max(frame.len()));
        if !has_room || is_enough || frame.len() < options.message_bytes_min as usize {
            return;
        }
        room.to_compress = room.to_compress.saturating_sub(frame.len());
        let compressor = self.compressor.get_or_insert_with(|| Box::new(Compressor::new(options)));
        let compressed = compressor.compressed_frame(frame, &mut self.stats.compression).unwrap_or_default();
        let (topic, place) = self.topics.lane_mut(lane);
        if let ViewMut::Latest(_, latest) = topic.view_mut(place) {
            latest.set_form(seq, encoding, compressed);
        }
        let topic_id = self.topics.of_lane(lane).expect("the lane exists").0;
        self.recharge_topic(topic_id);
    }

    /// Forms are not made at the cost of anything else.
    fn has_room_for_form(&self, topic: &Topic, resident: usize) -> bool {
        topic.charged.log + resident <= topic.options.log_bytes_max
            && self.stats.resident_bytes + resident <= self.resident_bytes_max_for_logs()
    }

    /// A latest message with so long a payload was sent compressed, or begun to be.
    pub(super) fn compressed_sent(&mut self, payload_bytes: usize, sent_bytes: usize) {
        let stats = &mut self.stats.compression;
        stats.sent += Count::new(1, payload_bytes as u64);
        stats.sent_bytes += sent_bytes as u64;
    }

    /// A run of whole units was sent.
    pub(super) fn form_sent(&mut self, id: ConnId, source: Source, copy: Option<&Copied>, run: Run) {
        if run.is_empty() {
            return;
        }
        let (before, sent_bytes) = match copy {
            Some(Copied::Form(form)) => form.saved(run),
            Some(Copied::Own(own)) => (own.before, own.bytes.len() as u64),
            _ => self.source_log(id, source).form(run).saved(run),
        };
        let stats = &mut self.stats.compression;
        stats.sent += Count::new(before.messages, before.bytes);
        stats.sent_bytes += sent_bytes;
    }
}
