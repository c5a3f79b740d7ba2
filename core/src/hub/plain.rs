//! Plain Transmits: what most connections are sent most of the time, in fewer steps. Everything here does what `drain.rs` and
//! `sent.rs` do in general, where nothing of what these also look at is there.

use super::Hub;
use super::drain::SLICES_MAX;
use crate::config::Options;
use crate::conn::{Conn, Outstanding, Phase, Plain, Segment, Source};
use crate::id::{ConnId, TopicId};
use crate::topics::{PlainRun, TopicLane};

impl Conn {
    /// Whether nothing of the connection itself is to be thought of when it is sent messages.
    #[inline]
    fn is_plain(&self, options: &Options) -> bool {
        let Phase::Open { is_pinged, .. } = self.phase else { return false };
        // Its timer is armed for the silence, so it need not be armed for the stall.
        let silence = if is_pinged { options.pong_timeout } else { options.ping_interval };
        let is_excused = self.stalled_since.is_some() || self.excused_since.is_some();
        self.work.is_none()
            && self.agreed.is_none()
            && !self.is_limited
            && !is_excused
            && silence <= options.stall_timeout
    }
}

impl Hub {
    /// Makes the next Transmit of a connection that may be written to, if it is a plain one; whether it is.
    pub(super) fn start_plain(&mut self, id: ConnId) -> bool {
        let conn = self.conns.get(id).expect("the connection exists");
        let session = self.sessions.get(conn.session).expect("a connection's session exists");
        let [lane] = *session.active() else { return false };
        if !self.may_be_plain() || (self.acking_lanes > 0 && session.clock().is_some()) {
            return false;
        }
        let (topic_id, place) = self.topics.of_lane(lane).expect("the lane exists");
        let Some(is_cut) = self.begin_plain(id, topic_id, place) else { return false };
        if !is_cut {
            let (topic, place) = self.topics.lane_mut(lane);
            topic.lanes[place].set(TopicLane::ACTIVE, false);
            topic.list_idle(place);
            let session = self.conn_mut(id).session;
            self.sessions.get_mut(session).expect("a connection's session exists").rest(lane);
        }
        true
    }

    /// The same, for a lane that was to be woken, of a session with no other: then it need not be woken. The connection.
    pub(super) fn start_woken(&mut self, topic_id: TopicId, place: usize) -> Option<ConnId> {
        let topic = self.topics.slab.get(topic_id)?;
        let session = self.sessions.at(topic.lanes[place].session()?)?;
        let id = session.conn().filter(|_| session.lanes().len() == 1 && session.active().is_empty())?;
        if !self.may_be_plain() || (self.acking_lanes > 0 && session.clock().is_some()) {
            return None;
        }
        let conn = self.conns.get(id).filter(|conn| !conn.is_ready && !conn.is_writing())?;
        let session = conn.session;
        let is_cut = self.begin_plain(id, topic_id, place)?;
        if is_cut {
            let lane = self.topics.id_at(topic_id, place);
            let topic = self.topics.slab.get_mut(topic_id).expect("just looked up");
            topic.lanes[place].set(TopicLane::ACTIVE, true);
            self.sessions.get_mut(session).expect("a connection's session exists").activate(lane);
        } else {
            self.topics.slab.get_mut(topic_id).expect("just looked up").list_idle(place);
        }
        Some(id)
    }

    fn may_be_plain(&self) -> bool {
        self.config.outbound_bytes_rate.is_none() && self.draining.is_none()
    }

    /// What waits in the lane becomes the connection's plain Transmit; whether that was not all.
    #[inline]
    fn begin_plain(&mut self, id: ConnId, topic_id: TopicId, place: usize) -> Option<bool> {
        let options = &self.config;
        let conn = self.conns.get_mut(id).filter(|conn| conn.is_plain(options))?;
        let topic = self.topics.slab.get_mut(topic_id)?;
        let plain = Plain::new(topic.lanes[place].index())?;
        let is_cut = topic.start_plain(place, (options.transmit_bytes_max as usize, SLICES_MAX))?;
        conn.plain = Some(plain);
        (conn.stalled_since, conn.excused_since) = (Some(self.now), Some(self.now));
        Some(is_cut)
    }

    /// All of a connection's plain Transmit was sent; whether it has one, and nothing special has come up since.
    pub(super) fn plain_sent(&mut self, id: ConnId, bytes: usize) -> bool {
        self.wake_lanes_of(id); // Then it is its turn again behind all others.
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let Some(plain) = conn.plain.filter(|_| self.draining.is_none()) else { return false };
        let session = self.sessions.get(conn.session).expect("a connection's session exists");
        if self.acking_lanes > 0 && session.clock().is_some() {
            return false;
        }
        let (topic_id, topic, place) = self.topics.lane_at(plain.lane());
        let Some((count, is_smaller)) = topic.plain_sent(place, bytes) else { return false };
        self.stats.lanes.send(count);
        (conn.plain, conn.stalled_since) = (None, None);
        if conn.excused_since == Some(self.now) {
            conn.excused_since = None; // For no time at all.
        } else {
            conn.update_excused(self.now);
        }
        let has_more = !session.active().is_empty();
        if is_smaller {
            self.recharge_topic(topic_id);
        }
        if !self.limits.is_empty() {
            self.forget_limits(id);
        }
        if has_more {
            self.make_ready(id);
        }
        true
    }

    /// A connection's plain Transmit, if it has one, becomes one like others: something is to be done to it, or to be kept
    /// beside it.
    pub(super) fn spell_out(&mut self, id: ConnId) {
        let Some(plain) = self.conns.get_mut(id).and_then(|conn| conn.plain.take()) else { return };
        let PlainRun { run, bytes: len, .. } = self.topics.plain(plain);
        let source = Source::Lane(self.topics.id_of(plain.lane()));
        let Outstanding { mut segments, .. } = self.spare.pop().unwrap_or_default();
        segments.push(Segment::Messages { source, run, len, is_formed: false, copy: None });
        self.work_mut(id).outbound.outstanding = Some(Outstanding { segments, len });
    }
}
