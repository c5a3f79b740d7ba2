//! What is compressed for one peer alone, which takes over what it got before (RFC 7692 §7.1.1).
//!
//! A compressor cannot take bytes back, nor compress out of order. So it is given what waits only when that is sent, as a unit
//! that stands first in its Transmit: what was begun is sent to its end, and if nothing of it was, the peer knows nothing of
//! it, and the compressor begins anew (RFC 7692 §7.2.1 has nobody refer to anything).

use alloc::vec::Vec;
use bytes::Bytes;

use super::Hub;
use super::drain::start_part;
use super::room::{Part, Room, Turn};
use crate::compressor::{OwnUnit, own_unit};
use crate::conn::{Outstanding, Source};
use crate::dialect::Join;
use crate::id::{ConnId, LaneId};
use crate::lane::Run;
use crate::latest::Which;
use crate::topics::{View, ViewMut};
use crate::wire::Role;
use crate::wire::deflate::Deflater;

impl Hub {
    /// Adds what waits of a lane and was published before `limit`, as much as is one unit; whether there was any. `None`:
    /// there is no memory for it.
    pub(super) fn add_own(
        &mut self,
        id: ConnId,
        lane: LaneId,
        limit: u64,
        out: &mut Outstanding,
        room: &mut Room,
    ) -> Option<bool> {
        if !room.takes_any() {
            return Some(false); // It stands first.
        }
        let (topic, place) = self.topics.lane(lane);
        if matches!(topic.view(place), View::Latest(..)) {
            return self.add_own_latest(id, lane, limit, out, room);
        }
        let (front, turn) = (topic.allowed_front(place), (topic.options.class, limit));
        let join = topic.dialect(place).join();
        let part = self.own_part(id, Source::Lane(lane), (front, turn), join, room)?;
        let (topic, place) = self.topics.lane_mut(lane);
        if start_part(topic, place, lane, part, out, room) {
            let topic_id = self.topics.of_lane(lane).expect("the lane exists").0;
            self.look_at_level(topic_id, place, false);
        }
        Some(true)
    }

    /// The next messages of a log as one unit. `None`: there are none, or there is no memory for it.
    pub(super) fn own_part(
        &mut self,
        id: ConnId,
        source: Source,
        (front, turn): (Run, Turn),
        join: Option<Join>,
        room: &Room,
    ) -> Option<Part> {
        let log = self.source_log(id, source);
        let part = room.plan_own(log, front, turn)?;
        let frames: Vec<Bytes> = log.pieces(part.run).map(|(bytes, range)| bytes.slice(range)).collect();
        let own = self.compress_own(id, &frames, join)?;
        Some(part.own(own))
    }

    /// Adds the next latest message, as `add_own` does.
    fn add_own_latest(
        &mut self,
        id: ConnId,
        lane_id: LaneId,
        limit: u64,
        out: &mut Outstanding,
        room: &mut Room,
    ) -> Option<bool> {
        let (topic, place) = self.topics.lane(lane_id);
        let View::Latest(lane, latest) = topic.view(place) else { return Some(false) };
        let next = lane.next(latest).filter(|(seq, slot)| *seq <= topic.flushed.messages && slot.stamp < limit);
        let Some((_, slot)) = next.filter(|_| !topic.is_shut(place)) else { return Some(false) };
        let encoding = topic.settings(place).encoding;
        let frame = slot.frame(encoding).clone();
        let own = self.compress_own(id, &[frame], None)?;
        let (topic, place) = self.topics.lane_mut(lane_id);
        let ViewMut::Latest(lane, latest) = topic.view_mut(place) else { return Some(false) };
        let taken = lane.start(latest, encoding, Which::Own).expect("just looked at");
        out.push_latest(lane_id, taken.own(own.bytes), room);
        topic.spend_credit(place, 1);
        Some(true)
    }

    /// Compresses frames for a connection. `None`: there is no memory for it, and what is sent instead is not known to its
    /// compressor, which begins anew.
    fn compress_own(&mut self, id: ConnId, frames: &[Bytes], join: Option<Join>) -> Option<OwnUnit> {
        let deflater = self.contexts.get_mut(&id).and_then(|contexts| contexts.deflater.take());
        let frame_bytes: usize = frames.iter().map(Bytes::len).sum();
        let room = self.resident_bytes_max_for_logs().saturating_sub(self.stats.resident_bytes);
        let mut deflater = match deflater {
            Some(mut deflater) if room < frame_bytes => {
                deflater.reset();
                self.contexts.entry(id).or_default().deflater = Some(deflater);
                return None;
            }
            Some(deflater) => deflater,
            None => self.new_deflater(id, room.checked_sub(frame_bytes)?)?,
        };
        let is_client = self.conn_mut(id).role == Role::Client;
        let mask = || is_client.then(|| self.entropy.bytes());
        let own = own_unit(&mut deflater, frames, join, mask, &mut self.stats.compression);
        self.contexts.entry(id).or_default().deflater = Some(deflater);
        self.settle_contexts(id);
        Some(own)
    }

    /// What compresses for a connection from now on, if that takes no more than `room`.
    fn new_deflater(&self, id: ConnId, room: usize) -> Option<Deflater> {
        let options = self.config.deflate?;
        let window_bits = self.conns.get(id)?.inflates()?;
        let fits = window_bits.compressor_bytes(options.memory_level) <= room;
        fits.then(|| Deflater::new(window_bits, options.level, options.memory_level))
    }

    /// What was compressed for a connection last will not reach it.
    pub(super) fn own_returned(&mut self, id: ConnId) {
        if let Some(deflater) = self.contexts.get_mut(&id).and_then(|contexts| contexts.deflater.as_mut()) {
            deflater.reset();
        }
    }
}
