//! Faults stop, and everything must come right.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_core::wire::{HandshakeError, WireError};
use forebay_core::{AbandonReason, Cause, Class, ConnId, Level, LossReason, Payload, PublishError, TopicId, wire};

use super::draw::{FLUSH_INTERVAL_MAX_MS, TOPICS};
use super::{Side, Speaker, World};
use crate::mini::{Data, Reader};

impl World {
    pub(super) fn finish(&mut self) {
        self.heal();
        self.settle_down("quiet", Duration::from_secs(600));
        let mut heads = BTreeMap::new();
        for side in 0..2 {
            // Hub A first: what hub B hears of it, it publishes again.
            self.publish_markers(side, &mut heads);
            self.settle_down("quiet again", Duration::from_secs(60));
        }
        // Notices wait for the rate of their connection, and nobody says so.
        self.pass(Duration::from_secs(5));
        self.audit(&heads);
        self.leave();
        let everybody_left = |world: &World| {
            world.sides.iter().all(|side| side.hub.connections() == 0 && side.hub.stats().detached == 0)
        };
        self.until("empty", Duration::from_secs(120), everybody_left);
        for side in 0..2 {
            self.settle(side);
        }
        for side in &mut self.sides {
            side.nothing_is_left();
            let stats = side.hub.stats();
            self.summary.published += stats.published.messages;
            self.summary.refused_full += stats.refused_full;
            self.summary.parked += stats.parked;
            self.summary.acknowledged += stats.acks.acknowledged.messages;
            self.summary.retries += stats.acks.retries.messages;
            self.summary.abandoned += stats.acks.abandoned_by(AbandonReason::Attempts).messages;
            self.summary.superseded += stats.lanes.lost_by(LossReason::Superseded).messages;
            self.summary.rejected += stats.lanes.lost_by(LossReason::Newest).messages;
            self.summary.opened += stats.opened;
            self.summary.inflated += stats.inflated.messages;
            self.summary.compressed += stats.compression.sent.messages;
            self.summary.floods += stats.violations[WireError::Flood as usize];
            self.summary.strangers += stats.refused_requests[HandshakeError::OriginForbidden as usize];
        }
    }

    fn heal(&mut self) {
        self.is_healed = true;
        for pipe in self.pipes.values_mut() {
            pipe.frozen = false;
            pipe.capacity = 1 << 20;
            pipe.chunk = 1 << 16;
            pipe.latency = pipe.latency.min(Duration::from_millis(1));
        }
    }

    /// Carries bytes until nothing moves, at one moment.
    fn rest(&mut self) {
        for _ in 0..100_000 {
            let mut moved = false;
            for side in 0..2 {
                moved |= self.carry_all(side);
                moved |= self.settle(side);
                self.application(side, true);
                moved |= self.settle(side);
            }
            moved |= self.guests_turn(true);
            self.sides.iter().for_each(Side::check);
            if !moved {
                return;
            }
        }
        panic!("bytes move for ever");
    }

    /// Lets time pass until something is reached, in bounded time.
    fn until(&mut self, what: &str, limit: Duration, reached: impl Fn(&World) -> bool) {
        let start = self.now;
        loop {
            self.rest();
            if reached(self) {
                return;
            }
            assert!(self.now.since(start) <= limit, "not {what} after {limit:?}: {}", self.what_is_left());
            let next = self.next_event();
            self.now = next.unwrap_or_else(|| panic!("not {what}, and nothing will happen: {}", self.what_is_left()));
        }
    }

    fn what_is_left(&self) -> String {
        let guests: Vec<_> = self
            .guests
            .values()
            .filter(|guest| guest.keeps_book())
            .map(|guest| (guest.conn, guest.client.reader.as_ref().map(Reader::unanswered)))
            .collect();
        let sides: Vec<_> = self
            .sides
            .iter()
            .map(|side| {
                let conns: Vec<_> = side.lines.keys().map(|conn| (*conn, side.hub.connection(*conn))).collect();
                let ending: Vec<_> = side.ended.iter().filter(|(_, seen)| **seen != (true, true)).collect();
                (side.hub.poll_timeout(), side.hub.pressure(), side.hub.connections(), conns, ending)
            })
            .collect();
        format!("unanswered {guests:?}, hubs {sides:?}")
    }

    fn is_quiet(&self) -> bool {
        let guests = self.guests.values().all(|guest| {
            let is_settled = guest.client.is_lawless() || guest.has_left || !guest.client.is_open() || {
                let asked = guest.client.reader.as_ref();
                asked.is_none_or(|reader| reader.session.is_some() && reader.unanswered() == 0)
            };
            let is_connecting =
                guest.client.phase == crate::mini::Phase::Connecting && !guest.client.is_lawless() && !guest.has_left;
            is_settled && !is_connecting
        });
        let sides = self.sides.iter().all(|side| {
            let lines = side.lines.values().all(|line| match &line.speaker {
                Speaker::Client { reader, outbox, .. } => {
                    line.is_over || (line.is_opened && outbox.is_empty() && reader.unanswered() == 0)
                }
                _ => true,
            });
            // A rate may be what they wait for.
            let is_read = side.lines.iter().all(|(conn, line)| line.is_over || side.hub.wants_read(*conn));
            let parked = |name: &&str| side.hub.find_topic(name).and_then(|id| side.hub.topic_pressure(id));
            let is_unparked = TOPICS.iter().filter_map(parked).all(|topic| topic.parked == 0);
            let deadline = side.hub.poll_timeout();
            lines
                && is_read
                && is_unparked
                && deadline.is_none_or(|deadline| deadline.cause != Cause::Output)
                && side.hub.pressure().waiting.messages == 0
                && side.hub.stats().acks.unacknowledged.messages == 0
        });
        // What nobody reads any more does not count.
        let readers = self.guests.values().filter(|guest| !guest.has_left).map(|guest| guest.rx);
        let lines = self.sides.iter().flat_map(|side| {
            let reads = side.lines.iter().filter(|(conn, line)| !line.is_over && side.hub.wants_read(**conn));
            reads.map(|(_, line)| line.rx)
        });
        guests && sides && readers.chain(lines).all(|pipe| self.pipes[&pipe].unread() == 0)
    }

    /// Lets time pass until nothing waits any more, nor does a notice for its flush.
    fn settle_down(&mut self, what: &str, limit: Duration) {
        self.until(what, limit, World::is_quiet);
        self.pass(Duration::from_millis(FLUSH_INTERVAL_MAX_MS));
        self.until(what, limit, World::is_quiet);
    }

    /// Lets time pass.
    fn pass(&mut self, duration: Duration) {
        let target = self.now + duration;
        while self.now < target {
            self.now = self.next_event().map_or(target, |next| next.min(target));
            self.rest();
        }
    }

    /// One more message on every topic tells where its numbering stands.
    fn publish_markers(&mut self, side: usize, heads: &mut BTreeMap<(usize, String), u64>) {
        for name in TOPICS {
            let Some(id) = self.sides[side].hub.find_topic(name) else { continue };
            let data = Data::Json(format!("[\"marker\",{}]", self.fresh()));
            let tag = self.truth.tried(side, name, "", &data);
            let Data::Json(text) = &data else { continue };
            let head = loop {
                let place = &mut self.sides[side];
                let (pressure, class) = (place.hub.pressure(), place.hub.topic_options(id).expect("found").class);
                match place.hub.publish(id, Payload::Text(text), self.now) {
                    Ok(published) => {
                        self.truth.numbered(side, tag, published.position.seq, Some(published.position.epoch));
                        break published.position.seq;
                    }
                    Err(PublishError::Limited { retry_after }) => self.pass(retry_after),
                    Err(PublishError::Overloaded) if class == Class::Low && pressure.level > Level::Nominal => {
                        self.truth.refused(side, tag);
                        break self.sides[side].hub.topic_pressure(id).expect("found").head.seq;
                    }
                    Err(PublishError::Overloaded) if self.sides[side].is_small(id) => {
                        self.truth.refused(side, tag);
                        break self.sides[side].hub.topic_pressure(id).expect("found").head.seq;
                    }
                    Err(error) => panic!("{error:?} on {name}, but all is at rest: {pressure:?}"),
                }
            };
            heads.insert((side, name.to_string()), head);
            self.until("quiet between markers", Duration::from_secs(60), World::is_quiet);
        }
    }

    fn leave(&mut self) {
        let drains = self.choices.one_in(4);
        for side in 0..2 {
            let place = &mut self.sides[side];
            for lane in std::mem::take(&mut place.locals).into_keys() {
                assert!(place.hub.unsubscribe_local(lane, self.now), "a lane that is there");
            }
            if drains {
                place.hub.drain(self.now + Duration::from_secs(5), self.now);
                continue;
            }
            let clients: Vec<ConnId> = place
                .lines
                .iter()
                .filter(|(_, line)| matches!(line.speaker, Speaker::Client { .. }))
                .map(|(conn, _)| *conn)
                .collect();
            for conn in clients {
                place.hub.close(conn, wire::CloseCode::NORMAL, "done", self.now);
            }
        }
        if drains {
            return;
        }
        for guest in self.guests.values_mut() {
            if guest.is_usable() {
                guest.client.close(Some(1000));
            } else {
                guest.has_left = true;
                self.pipes.get_mut(&guest.tx).expect("a pipe").finish(self.now);
            }
        }
    }
}

impl Side {
    /// Everybody has left: every number is back where it was.
    fn nothing_is_left(&mut self) {
        let stats = *self.hub.stats();
        let (accepted, closed, opened) = (stats.accepted, stats.closed, stats.opened);
        assert_eq!(accepted, closed, "accepted (left) have closed (right), {opened} opened, {:?}", self.ended);
        assert_eq!((stats.connections, stats.lanes_now), (0, 0), "{stats:?}");
        assert_eq!(stats.lanes.waiting.messages + stats.direct.waiting.messages, 0, "{stats:?}");
        assert_eq!(self.hub.pressure().waiting.messages, 0);
        assert!(self.lines.is_empty(), "sockets that were never closed: {:?}", self.conns());
        assert!(self.ended.values().all(|seen| *seen == (true, true)), "an end that was not told: {:?}", self.ended);
        assert_eq!(self.ended.len() as u64, stats.accepted, "every connection has ended once");
        let now = forebay_core::Instant::from_nanos(u64::MAX / 2);
        let mut topics = 0;
        for id in TOPICS.iter().filter_map(|name| self.hub.find_topic(name)).collect::<Vec<_>>() {
            let is_declared = self.declared.values().any(|(declared, _)| *declared == id);
            // What the application has opened and never used stays; what clients have made must be forgotten.
            assert!(is_declared || self.opened_topics.contains(&id), "an undeclared topic was not forgotten");
            assert!(self.hub.remove_topic(id, now), "a topic that was found");
            topics += 1;
        }
        assert_eq!(stats.topics, topics, "topics nobody knows");
        self.hub.handle_timeout(now);
        assert!(self.hub.poll_transmit().is_none() && self.hub.poll_effect().is_none(), "nothing to do");
        // What the topics kept goes with them; the level falls when it was held for its dwell.
        self.hub.handle_timeout(now + Duration::from_secs(3_600));
        while let Some(event) = self.hub.poll_event() {
            self.levels.hear(&self.hub, &event); // Only that the hub's level has fallen.
        }
        assert_eq!(self.hub.pressure().level, forebay_core::Level::Nominal);
        self.hub.check_invariants();
        let stats = self.hub.stats();
        assert_eq!((stats.topics, self.hub.poll_timeout()), (0, None));
        assert!(stats.resident_bytes <= 4_096, "resident in an empty hub: {}", stats.resident_bytes);
    }
}

impl Side {
    /// Whether the topic's log, or the hub's budget, has no room for a largest message in two encodings
    /// (`TopicOptions::log_bytes_max`, `Options::resident_bytes_max`).
    fn is_small(&self, topic: TopicId) -> bool {
        let options = self.hub.topic_options(topic).expect("found");
        let budget = self.options.resident_bytes_max;
        options.log_bytes_max.min(budget - budget / 16) < 2 * (2 * options.message_bytes_max as usize + 4_096)
    }
}
