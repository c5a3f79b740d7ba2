//! Compressed forms of what waits in logs (RFC 7692): made when the first connection that takes them is drained, and sent to
//! all that do.

use alloc::boxed::Box;

use super::Hub;
use super::drain::{Part, Room, Turn};
use crate::compressor::Compressor;
use crate::conn::{Copied, Source};
use crate::id::{ConnId, LaneId};
use crate::lane::{Mark, Run};
use crate::log::{Form, FormRoom, Front};
use crate::stats::Count;

impl Hub {
    /// What of a lane goes into a Transmit of a connection that inflates and remembers so many bytes: up to the end of a block, and
    /// all of it as units of its form, or none.
    pub(super) fn plan_formed(
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
        let resident = Form::resident_max(bytes, messages);
        let has_room = topic.charged.log + resident <= topic.options.log_bytes_max
            && self.stats.resident_bytes + resident <= self.resident_bytes_max_for_logs();
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

    /// A run of whole units was sent.
    pub(super) fn form_sent(&mut self, id: ConnId, source: Source, copy: Option<&Copied>, run: Run) {
        if run.is_empty() {
            return;
        }
        let (before, sent_bytes) = match copy {
            Some(Copied::Form(form)) => form.saved(run),
            _ => self.source_log(id, source).form(run).saved(run),
        };
        let stats = &mut self.stats.compression;
        stats.sent += Count::new(before.messages, before.bytes);
        stats.sent_bytes += sent_bytes;
    }
}
