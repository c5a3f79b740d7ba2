//! The ledger recounted, for tests.

use alloc::vec::Vec;

use super::Hub;
use crate::conn::{Phase, Segment, Source, Work};
use crate::id::{ConnId, LaneId, TopicId};
use crate::lane::{Needs, Run, Standing};
use crate::stats::{Count, Totals};
use crate::topics::{Owner, PlainRun, Topic, TopicLane, Window, latest_place};
use crate::wire::decoder::WORK_CREDIT;

impl Hub {
    pub(super) fn check(&self) {
        let mut waiting = Count::default();
        let mut resident = 0;
        let (mut lanes, mut aging) = (0, 0);
        let mut taken = 0;
        for (id, topic) in self.topics.slab.iter() {
            waiting += topic.check();
            resident += topic.charged.hub;
            taken += topic.keyed.iter().flatten().map(|keyed| keyed.latest.taken()).sum::<u64>();
            lanes += topic.live_lanes;
            aging += topic.aging.len();
            assert!(topic.is_removed || self.topics.by_name.get(&*topic.name) == Some(&id), "a topic has its name");
            assert!(!topic.is_forgettable() || self.forgettable.contains(&id), "an empty topic is forgotten");
            assert_eq!(topic.has_room, self.room.contains(&id));
            self.check_levels(id, topic);
            self.check_publish_rate(topic);
            self.check_flush(topic);
            let is_aging = |place: &usize| topic.age_max(*place).is_some() && !topic.lanes[*place].is_ended();
            let aging = (0..topic.lanes.len()).filter(is_aging).map(|place| topic.lanes[place].index());
            assert!(topic.aging == aging.collect(), "lanes with an age_max");
            let armed = topic.history_timer.and_then(|timer| self.timers.deadline(timer));
            let at = topic.history_expires_at();
            assert!(at.is_none_or(|at| armed.is_some_and(|armed| armed <= at)), "a history is looked at in time");
            for place in 0..topic.lanes.len() {
                let armed = topic.age_timer.and_then(|timer| self.timers.deadline(timer));
                let at = topic.expires_at(place).filter(|_| !topic.lanes[place].is_ended());
                assert!(at.is_none_or(|at| armed.is_some_and(|armed| armed <= at)), "ages are looked at in time");
            }
            for (place, lane) in topic.lanes.iter().enumerate() {
                assert_eq!(self.topics.of_lane(self.topics.id(lane)), Some((id, place)), "a lane is where its id says");
                self.check_owner(id, topic, place);
                self.check_acks(topic, place);
            }
        }
        self.check_all_acks();
        assert_eq!(self.stats.lanes.waiting, waiting, "the hub's lanes");
        assert_eq!((self.stats.lanes_now, self.aging_lanes as usize), (lanes, aging));
        assert_eq!(self.stats.topics as usize, self.topics.slab.len());
        assert_eq!(self.stats.ended.iter().sum::<u64>(), self.stats.closed, "every end has a reason");
        assert_eq!(self.stats.lanes.conservation_error(), 0, "the queue law of the hub");
        assert_eq!(self.stats.direct.conservation_error(), 0, "the queue law of direct lanes");
        let mut direct = Count::default();
        self.check_sessions();
        self.check_hub_level();
        resident += self.check_contexts();
        for (id, conn) in self.conns.iter() {
            assert_eq!(conn.charged, conn.resident(), "a connection's charge");
            resident += conn.charged;
            if let Some(lane) = conn.direct() {
                lane.log.check();
                lane.log.check_needs(&[lane.lane.needs()]);
                let totals = lane.lane.totals(lane.log.head());
                assert_eq!(totals.conservation_error(), 0, "the queue law of a direct lane");
                direct += totals.waiting;
            }
            let segments = conn.outstanding().into_iter().flat_map(|out| &out.segments);
            taken -= segments.filter(|segment| matches!(segment, Segment::Latest { .. })).count() as u64;
            assert!(conn.work.as_ref().is_none_or(|work| !work.is_idle()), "an idle connection has no work");
            self.check_conn(conn);
            self.check_conn_levels(conn);
            self.check_limits(id, conn);
        }
        assert_eq!(self.stats.direct.waiting, direct, "direct lanes");
        let is_there = |id: &ConnId| self.conns.get(*id).is_some_and(|conn| !conn.is_ended());
        assert!(self.kernel_bytes.keys().all(is_there), "the kernel holds something for connections that are there");
        assert_eq!(taken, 0, "a latest message is taken for as long as it is in a Transmit");
        assert_eq!(self.stats.resident_bytes, resident, "resident bytes");
        assert!(resident <= self.config.resident_bytes_max, "the budget");
        self.emptied.check();
        assert!(self.rested.iter().all(|work| work.is_idle() && work.resident() == 0), "what rests holds nothing");
        assert!(self.overflowed.is_empty(), "consumers of full lanes are ended at the end of each call");
        assert!(self.room.is_empty(), "parked publishes are tried at the end of each call");
    }

    fn check_owner(&self, topic_id: TopicId, topic: &Topic, place: usize) {
        let lane = &topic.lanes[place];
        let (id, is_active) = (self.topics.id(lane), lane.is(TopicLane::ACTIVE));
        let Owner::Session(session) = lane.owner(&self.sessions) else { return };
        let session = self.sessions.get(session).expect("a lane's session exists");
        if lane.is_ended() {
            return assert!(!session.active().contains(&id), "a lane that ended is not active");
        }
        assert_eq!(session.active().contains(&id), is_active, "active lanes are listed");
        let is_woken = topic.is_woken(place);
        assert!(!is_woken || self.waking.contains(&topic_id), "lanes are woken in time");
        assert!(!topic.has_something(place) || is_active || is_woken, "a lane with something waiting is active");
        let Some(conn_id) = session.conn() else { return };
        let conn = self.conns.get(conn_id).expect("a session's connection exists");
        if is_active && conn.is_open() && !conn.is_writing() {
            let waits_for_unit = self.limits.get(&conn_id).is_some_and(|limits| limits.starts_at.is_some());
            assert!(conn.is_ready || waits_for_unit, "a connection with an active lane is ready");
        }
    }

    fn check_conn(&self, conn: &crate::conn::Conn) {
        assert!(conn.spent(self.now) <= WORK_CREDIT, "no more is spent than there was");
        if let Some(plain) = conn.plain {
            assert!(conn.work.is_none() && conn.is_open() && !conn.is_blocked, "a plain Transmit is all there is");
            let PlainRun { log, run, bytes, .. } = self.topics.plain(plain);
            let pieces: usize = log.pieces(run).map(|(_, range)| range.len()).sum();
            assert!(bytes == pieces && bytes > 0, "the length of a plain Transmit");
        }
        let Some(Work { inbound, outbound, direct }) = conn.work.as_deref() else { return };
        let payloads: usize = inbound.messages().map(|m| m.bytes.len() + crate::conn::INBOX_ENTRY_BYTES).sum();
        assert_eq!(inbound.inbox_bytes(), payloads, "the inbox");
        if let Phase::Ended { .. } = conn.phase {
            return assert!(
                outbound.is_idle() && direct.as_ref().is_none_or(|direct| direct.is_idle()) && conn.has_messages(),
                "an ended connection owns nothing but what is to be received"
            );
        }
        if let Phase::Answering { is_answered, .. } = conn.phase {
            assert!(conn.dialect().is_none(), "a dialect answers at once");
            assert!(inbound.undecoded.is_empty() && inbound.message.is_empty(), "behind a last word nothing is kept");
            assert!(
                !is_answered || (!conn.has_messages() && conn.has_direct_waiting()),
                "its answers are on their way"
            );
        }
        if let Some(parked) = inbound.parked {
            assert!(conn.has_messages(), "a parked publish is in the inbox");
            let topic = self.topics.get(parked.topic).expect("a parked publish has a topic");
            let id = self.sessions.get(conn.session).expect("a connection's session exists").conn();
            assert_eq!(topic.parked.iter().filter(|waiting| Some(**waiting) == id).count(), 1, "it waits once");
        }
        if let Some(out) = &outbound.outstanding {
            let mut len = 0;
            for segment in &out.segments {
                len += match segment {
                    Segment::Pinned => outbound.pinned.as_ref().expect("pinned").rest.len(),
                    Segment::Control { len } => *len,
                    Segment::Notice { frame, .. } => frame.len(),
                    Segment::Latest { taken, .. } => taken.frame.len(),
                    Segment::Again { len, .. } => *len,
                    Segment::Messages { source, len, run, is_formed, copy } => {
                        if let Source::Lane(lane) = source {
                            let (topic, place) = self.topics.lane(*lane);
                            let lane = topic.run_lane(place).expect("a run is of a log");
                            assert!(lane.outstanding().last() >= run.last(), "a run is outstanding");
                            if *is_formed && copy.is_none() {
                                let (_, range) = topic.log(place).form(*run).piece(*run);
                                assert_eq!(range.len(), *len, "a form stays as it is while it is sent");
                            }
                        }
                        *len
                    }
                };
            }
            assert_eq!(len, out.len, "the length of a Transmit");
        }
    }
}

impl Topic {
    fn check_limits(&self, place: usize, totals: Totals) {
        let (lane, terms) = (&self.lanes[place], self.terms(place));
        match &lane.window {
            Window::Log(window) => {
                assert!(window.fits(terms, self.head, Count::default()), "a lane holds no more than its limits");
            }
            Window::Latest(window) => {
                let (waiting, out) = (totals.waiting, window.outstanding());
                assert!(waiting.messages - out.messages <= u64::from(terms.limits.messages_max), "messages_max");
                assert!(waiting.bytes - out.bytes <= terms.limits.bytes_max, "bytes_max");
            }
        }
    }

    /// What waits in its lanes.
    fn check(&self) -> Count {
        assert_eq!(self.totals.conservation_error(), 0, "the queue law of a topic");
        assert_eq!(self.charged, self.resident(), "a topic's charge");
        let mut sum = Totals::default();
        let mut needs: [Vec<Needs>; crate::dialect::ENCODINGS] = Default::default();
        let mut readers = [0; crate::dialect::ENCODINGS];
        let mut places: [Vec<u64>; 2] = Default::default();
        for (place, lane) in self.lanes.iter().enumerate() {
            let totals = self.lane_totals(place);
            assert_eq!(totals.conservation_error(), 0, "the queue law of a lane");
            sum.waiting += totals.waiting;
            match &lane.window {
                Window::Log(window) => {
                    readers[self.settings(place).encoding] += 1;
                    let needs = &mut needs[self.settings(place).encoding];
                    needs.push(window.needs());
                    self.check_gate(place, totals, needs);
                }
                Window::Latest(window) => {
                    let which = latest_place(self.policy(place)).expect("its policy is about the latest");
                    places[which].extend(window.place());
                }
            }
            if lane.is_ended() {
                assert!(!self.is_settled(place), "a settled lane is gone");
                continue;
            }
            self.check_limits(place, totals);
            let is_idle = self.is_idle(place);
            let is_woken =
                self.next_flushed(place).is_some() || is_idle || lane.is(TopicLane::ACTIVE) || self.is_shut(place);
            assert!(is_woken, "a lane with nothing to send is woken by the next publish, or flush");
        }
        for (keyed, places) in self.keyed.iter().zip(&places) {
            assert!(keyed.is_some() || places.is_empty(), "a lane's latest messages exist");
            if let Some(keyed) = keyed {
                assert_eq!(keyed.live_lanes as usize, places.len(), "lanes of the latest messages");
                keyed.latest.check(places);
            }
        }
        assert_eq!(self.totals.waiting, sum.waiting, "what waits in a topic");
        self.check_lists();
        let watched = || self.watched_places().filter_map(|place| self.watched(place));
        let refusing = watched().filter(|watched| watched.refusal.is_some()).count();
        assert_eq!(self.refusing as usize, refusing, "lanes that refused");
        let keeping = watched().filter(|watched| watched.keeps_parked.is_some()).count();
        assert_eq!(self.keeping_parked as usize, keeping, "lanes that keep a publish parked");
        let local = self.lanes.iter().filter(|lane| lane.is_local()).count();
        assert_eq!(self.local_lanes as usize, local, "in-process lanes");
        let live = self.lanes.iter().filter(|lane| !lane.is_ended()).count();
        assert_eq!(self.live_lanes as usize, live, "lanes that have not ended");
        self.check_gates();
        self.check_history();
        self.publish_ids.check();
        for ((log, mut needs), readers) in self.logs.iter().zip(needs).zip(readers) {
            assert_eq!(log.as_ref().map_or(0, |encoded| encoded.lanes), readers, "readers of a log");
            if let Some(encoded) = log {
                assert_eq!(encoded.log.head(), self.head, "a log reaches the head");
                needs.extend(self.history_needs());
                encoded.log.check();
                encoded.log.check_needs(&needs);
            }
        }
        assert!(self.charged.log <= self.options.log_bytes_max, "the log bound");
        sum.waiting
    }
}

/// Acknowledgements recounted.
impl Hub {
    fn check_acks(&self, topic: &Topic, place: usize) {
        let Some(acking) = topic.acking(place).filter(|_| !topic.lanes[place].is_ended()) else { return };
        let Owner::Session(session) = topic.lanes[place].owner(&self.sessions) else { panic!("a session's lane") };
        let session = self.sessions.get(session).expect("a lane's session exists");
        let clock = session.clock().expect("an at-least-once lane has a clock");
        let is_listed = clock.waiting.contains(&self.topics.id(&topic.lanes[place]));
        assert_eq!(acking.is_listed, is_listed, "a lane knows whether it waits for the clock");
        let armed = acking.timer.and_then(|timer| self.timers.deadline(timer));
        let Some(due) = acking.flight.due() else { return };
        let at = clock.clock.shows_at(due, self.now);
        let is_in_time = armed.is_some_and(|armed| armed <= at) || (is_listed && clock.clock.is_stopped());
        assert!(is_in_time, "acknowledgements are waited for no longer than that");
    }

    fn check_all_acks(&self) {
        let mut unacknowledged = Count::default();
        self.topics.slab.iter().for_each(|(_, topic)| unacknowledged += topic.acks.unacknowledged);
        assert_eq!(self.stats.acks.unacknowledged, unacknowledged, "what is unacknowledged in the hub");
        assert_eq!(self.stats.acks.conservation_error(), 0, "the ack law of the hub");
        let mut all = 0;
        for (_, session) in self.sessions.iter() {
            let is_acking = |lane: &LaneId| {
                let (topic, place) = self.topics.lane(*lane);
                topic.acking(place).is_some()
            };
            let lanes = session.lanes().iter().filter(|(_, lane)| is_acking(lane)).count();
            assert_eq!(session.clock().map_or(0, |clock| clock.lanes as usize), lanes, "at-least-once lanes");
            all += lanes;
            let Some(clock) = session.clock() else { continue };
            let conn = session.conn().and_then(|conn| self.conns.get(conn));
            let is_running = conn.is_some_and(|conn| conn.is_open() && !conn.is_writing());
            assert_eq!(clock.clock.is_stopped(), !is_running, "a clock stands still while something is on its way");
            assert!(clock.clock.is_stopped() || clock.waiting.is_empty(), "nobody waits for a clock that runs");
        }
        assert_eq!(self.acking_lanes as usize, all, "at-least-once lanes of the hub");
    }
}

impl Topic {
    /// What is in flight in a lane, and what the log keeps for it.
    fn check_gate(&self, place: usize, totals: Totals, needs: &mut Vec<Needs>) {
        let unacknowledged = self.run_lane(place).map_or(Count::default(), Standing::unacknowledged);
        let Some(acking) = self.acking(place) else {
            return assert_eq!(unacknowledged, Count::default(), "only at-least-once lanes wait for acknowledgements");
        };
        acking.flight.check();
        assert_eq!((acking.flight.unacknowledged(), acking.acks.unacknowledged), (unacknowledged, unacknowledged));
        assert_eq!(acking.acks.conservation_error(), 0, "the ack law of a lane");
        assert_eq!(acking.acks.sent, totals.sent, "all that is sent is to be acknowledged");
        assert!(!self.lanes[place].is_ended() || unacknowledged == Count::default(), "what ends abandons");
        let none = Needs { tail: None, held: Run::default(), older: None };
        needs.extend(acking.flight.kept().map(|(run, is_held)| match is_held {
            true => Needs { held: run, ..none.clone() },
            false => Needs { older: Needs::older(&[run]), ..none.clone() },
        }));
    }

    fn check_gates(&self) {
        assert_eq!(self.acks.conservation_error(), 0, "the ack law of a topic");
        let mut unacknowledged = Count::default();
        let acking = (0..self.lanes.len()).filter_map(|place| self.acking(place));
        acking.for_each(|acking| unacknowledged += acking.acks.unacknowledged);
        assert_eq!(self.acks.unacknowledged, unacknowledged, "what is unacknowledged in a topic");
        let gates = (0..self.lanes.len()).filter(|place| self.gate(*place).is_some()).count();
        assert_eq!(self.gates(), gates, "gates are of lanes");
    }
}
