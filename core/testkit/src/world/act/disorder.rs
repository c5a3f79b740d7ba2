//! What nobody should have to expect: inputs too late or for nothing, pipes that change, clocks that jump.

use std::time::Duration;

use forebay_core::{ConnId, Instant, LaneId, Payload, PublishError, SendError, TopicId, wire};

use super::super::World;
use crate::pipe::Pipe;

impl World {
    pub(super) fn stale(&mut self, side: usize) {
        let place = &mut self.sides[side];
        let before = place.hub.stats().stale_inputs;
        let ended: Vec<ConnId> =
            place.ended.iter().filter(|(_, (cut, closed))| *cut && *closed).map(|(conn, _)| *conn).collect();
        let conn = if ended.is_empty() || self.choices.one_in(3) {
            ConnId::from_bits(self.choices.bits() | 1 << 63)
        } else {
            *self.choices.pick(&ended)
        };
        let hub = &mut place.hub;
        match self.choices.below(9) {
            0 => hub.handle_bytes(conn, b"x", self.now),
            1 => hub.handle_sent(conn, 5, self.now),
            2 => hub.handle_writable(conn, self.now),
            3 => hub.handle_eof(conn, self.now),
            4 => hub.handle_kernel(conn, 7),
            5 => hub.close(conn, wire::CloseCode::NORMAL, "", self.now),
            6 => {
                assert_eq!(hub.send(conn, Payload::Text("x"), self.now), Err(SendError::UnknownConnection));
                assert!(hub.receive(conn, self.now).is_none() && !hub.wants_read(conn));
                assert!(hub.connection(conn).is_none() && hub.protocol(conn).is_none());
                return;
            }
            7 => {
                let topic = place.old_topics.last().copied().unwrap_or(TopicId::from_bits(u64::MAX));
                assert!(hub.topic_pressure(topic).is_none() && !hub.remove_topic(topic, self.now));
                assert!(!hub.unsubscribe(conn, topic, self.now));
                assert_eq!(hub.publish(topic, Payload::Text("1"), self.now), Err(PublishError::UnknownTopic));
                return;
            }
            _ => {
                let lane = place.old_lanes.last().copied().unwrap_or(LaneId::from_bits(u64::MAX));
                assert!(hub.lane(lane).is_none() && hub.take(lane, self.now).is_none());
                assert!(!hub.unsubscribe_local(lane, self.now));
                return;
            }
        }
        assert!(hub.stats().stale_inputs > before, "a stale input is counted");
    }

    pub(super) fn spurious(&mut self, side: usize) {
        let conns = self.sides[side].conns();
        let what = self.choices.below(3);
        let number = self.choices.small(0, 1 << 20);
        if what == 0 || conns.is_empty() {
            self.sides[side].hub.handle_timeout(self.now);
            return;
        }
        let conn = *self.choices.pick(&conns);
        let place = &mut self.sides[side];
        if what == 1 {
            place.hub.handle_kernel(conn, number);
        } else if let Some(line) = place.lines.get_mut(&conn).filter(|line| line.out.is_none()) {
            line.is_blocked = false;
            place.hub.handle_writable(conn, self.now);
        }
    }

    pub(super) fn pipe_changes(&mut self) {
        let names: Vec<usize> = self.guests.values().flat_map(|guest| [guest.rx, guest.tx]).collect();
        if names.is_empty() {
            return;
        }
        let name = *self.choices.pick(&names);
        let capacity = match self.choices.below(3) {
            0 => self.choices.index(16),
            1 => self.choices.index(4_096),
            _ => 65_536,
        };
        let chunk = if self.choices.one_in(3) { 1 } else { 1 << 16 };
        let pipe: &mut Pipe = self.pipes.get_mut(&name).expect("a pipe");
        (pipe.capacity, pipe.chunk) = (capacity, chunk);
    }

    /// The embedder's clock stands still or goes backwards: the hub's does not.
    pub(super) fn clock_jumps(&mut self, side: usize) {
        let back = self.choices.below(10_000_000_000);
        let earlier = Instant::from_nanos(self.now.as_nanos().saturating_sub(back));
        self.sides[side].hub.handle_timeout(earlier);
    }

    /// Seldom, and once: a hundred years.
    pub(super) fn leap(&mut self) {
        if !self.has_leapt && self.choices.one_in(40) {
            self.has_leapt = true;
            self.now = self.now + Duration::from_secs(100 * 365 * 86_400);
        }
    }
}
