//! What the hub wants: Transmits, effects, events, deadlines.

use forebay_core::{Cause, ConnId, Effect, Event, Flow, Hub, Level, LossReason, Scope};

use super::client::small;
use super::{Play, Side, same};
use crate::model::reference::{LaneKey, Phase, Verdict};
use crate::stage;

/// A full drain that takes longer never comes to rest.
const POLLS_MAX: u64 = 100_000;

impl Play {
    /// Polls so many times.
    pub(super) fn poll(&mut self, side: usize, what: u64, times: u64) -> Verdict {
        for _ in 0..times.clamp(1, 64) {
            if !self.poll_once(side, what % 3)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether there was something.
    fn poll_once(&mut self, side: usize, what: u64) -> Result<bool, String> {
        self.show(|| {
            let topics = self.sides[side].model.topics.values();
            let shown = topics
                .map(|topic| format!("{} {:?} {:?} {}", topic.name, topic.parked, topic.refused, topic.is_awaited));
            format!("{side} polls {what}: {}", shown.collect::<Vec<_>>().join(", "))
        });
        if what == 0 && self.plan.outbound_per_second > 0 {
            // A hub wakes for a unit that nobody needs any more, too, and what came meanwhile waits until it did.
            self.timeout(side)?;
        }
        let place = &mut self.sides[side];
        let polled = match what {
            0 => place.poll_transmit(self.is_shown)?,
            1 => place.poll_effect()?,
            _ => match place.hub.poll_event() {
                Some(event) => {
                    self.tally.event(&event);
                    place.event(event)?;
                    true
                }
                None => {
                    place.no_event()?;
                    false
                }
            },
        };
        place.compare_numbers()?;
        Ok(polled)
    }

    /// A Transmit is answered.
    pub(super) fn answer(&mut self, side: usize, args: &[u64]) -> Verdict {
        self.tick()?;
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(seat) = place.seat(args[0]).filter(|seat| seat.has_socket) else { return Ok(()) };
        let Some(len) = seat.out.take() else { return Ok(()) };
        let sent = small(args[1]).min(len);
        seat.is_blocked = sent < len;
        let conn = seat.conn;
        self.tally.partial_writes += u64::from(sent < len);
        if self.is_shown {
            println!("{conn:?} answers {sent} of {len}");
        }
        place.hub.handle_sent(conn, sent, now);
        place.model.advance(now.as_nanos());
        place.model.sent(conn, sent);
        place.compare_numbers()
    }

    pub(super) fn writable(&mut self, side: usize, seat: u64) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(seat) = place.seat(seat).filter(|seat| seat.has_socket) else { return Ok(()) };
        seat.is_blocked &= seat.out.is_some();
        let conn = seat.conn;
        place.hub.handle_writable(conn, now);
        place.model.advance(now.as_nanos());
        place.model.writable(conn);
        place.compare_numbers()
    }

    pub(super) fn eof(&mut self, side: usize, seat: u64) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        let Some(seat) = place.seat(seat).filter(|seat| seat.has_socket) else { return Ok(()) };
        seat.has_socket = false;
        let conn = seat.conn;
        self.tally.resets += 1;
        place.hub.handle_eof(conn, now);
        place.model.advance(now.as_nanos());
        place.model.eof(conn);
        place.leave(conn);
        place.compare_numbers()
    }

    pub(super) fn timeout(&mut self, side: usize) -> Verdict {
        let now = self.told_now();
        let place = &mut self.sides[side];
        place.hub.handle_timeout(now);
        place.model.advance(now.as_nanos());
        place.model.timeout();
        place.compare_numbers()
    }

    /// Handles what is due, and polls and answers until nothing is left.
    pub(super) fn settle(&mut self, side: usize) -> Verdict {
        self.back = 0;
        for _ in 0..POLLS_MAX {
            self.timeout(side)?;
            let mut progress = 0_u64;
            loop {
                let mut moved = false;
                for what in 0..3 {
                    while self.poll_once(side, what)? {
                        moved = true;
                        progress += 1;
                    }
                }
                for seat in 0..super::SEATS as u64 {
                    let out = self.sides[side].seat(seat).filter(|seat| seat.has_socket).and_then(|seat| seat.out);
                    if out.is_some() {
                        self.answer(side, &[seat, u64::MAX])?;
                        // What stood still goes on, and may be due.
                        progress += 1;
                        moved = true;
                    }
                }
                if !moved {
                    break;
                }
                if progress > POLLS_MAX {
                    return Err("the hub does not come to rest".into());
                }
            }
            let now = self.told_now().max(forebay_core::Instant::from_nanos(self.sides[side].model.now));
            let deadline = self.sides[side].hub.poll_timeout();
            match deadline {
                Some(deadline) if deadline.at <= now => {
                    if progress == 0 && deadline.cause != Cause::Backlog {
                        return Err(format!("a hot loop: {deadline:?} at {now:?}"));
                    }
                }
                _ => return self.sides[side].compare_deadline(deadline.map(|deadline| deadline.at.as_nanos())),
            }
        }
        Err("deadlines do not move on".into())
    }
}

impl Side {
    fn poll_transmit(&mut self, is_shown: bool) -> Result<bool, String> {
        let Some(transmit) = self.hub.poll_transmit() else {
            self.model.polled(|name| self.hub.find_topic(name).is_some());
            return self.no_transmit().map(|()| false);
        };
        let (conn, bytes) = (transmit.conn(), copy(&transmit));
        if is_shown {
            println!("{conn:?} transmits {:?}", String::from_utf8_lossy(&bytes));
        }
        self.model.polled(|name| self.hub.find_topic(name).is_some());
        self.model.transmit(conn, &bytes).map_err(|fault| format!("a Transmit of {conn:?}: {fault}"))?;
        let seat = self.seats.iter_mut().flatten().find(|seat| seat.conn == conn && seat.has_socket);
        let Some(seat) = seat else { return Err(format!("a Transmit of {conn:?}, which has no socket")) };
        seat.out = Some(bytes.len());
        self.expire_passed_over();
        let resting: Vec<ConnId> = self.model.conns.keys().copied().collect();
        resting.into_iter().for_each(|id| self.model.look_for_rest(id));
        Ok(true)
    }

    /// Before it came to the connection of a Transmit the hub may have found that what others waited for is too old.
    fn expire_passed_over(&mut self) {
        let model = &self.model;
        let found = |key: &LaneKey| {
            let lane = &model.lanes[key];
            let age = LossReason::Age as usize;
            let hub = lane.id.and_then(|id| self.hub.lane(id));
            hub.is_some_and(|hub| hub.totals.lost[age] != lane.lost[age])
        };
        let ready = model.conns.keys().copied().filter(|id| model.is_ready(*id));
        let found: Vec<ConnId> = ready.filter(|id| model.lanes_of(*id).iter().any(found)).collect();
        found.into_iter().for_each(|id| self.model.expire_conn(id));
    }

    /// The hub has nothing to send: whoever has something may not.
    fn no_transmit(&mut self) -> Verdict {
        let ids: Vec<ConnId> = self.model.conns.keys().copied().collect();
        for id in ids {
            if !self.model.is_ready(id) {
                self.model.look_for_rest(id);
                continue;
            }
            self.model.expire_conn(id);
            if self.model.is_ready(id) {
                return Err(format!("no Transmit, but {id:?} has something to send"));
            }
        }
        Ok(())
    }

    fn poll_effect(&mut self) -> Result<bool, String> {
        let effect = self.hub.poll_effect();
        match effect {
            None => {
                for (id, conn) in &self.model.conns {
                    if matches!(conn.phase, Phase::Ended(_, true)) {
                        return Err(format!("{id:?} has ended, but the hub does not say Close"));
                    }
                    if conn.is_paused == self.model.wants_read(*id) && conn.phase == Phase::Open {
                        return Err(format!("{id:?} is paused: {}, which is wrong", conn.is_paused));
                    }
                }
                return Ok(false);
            }
            Some(Effect::Close(conn)) => {
                if !self.model.close_is_obeyed(conn) {
                    return Err(format!("Close of {conn:?}, which has not ended, or has no socket"));
                }
                self.leave(conn);
            }
            Some(Effect::PauseRead(conn)) => self.pause(conn, true)?,
            Some(Effect::ResumeRead(conn)) => self.pause(conn, false)?,
            Some(_) => {}
        }
        Ok(true)
    }

    fn pause(&mut self, conn: ConnId, is_paused: bool) -> Verdict {
        let wants = self.model.wants_read(conn);
        let Some(state) = self.model.conns.get_mut(&conn) else { return Err(format!("a pause of {conn:?}")) };
        if state.is_paused == is_paused || wants == is_paused {
            return Err(format!("{conn:?}: a change of reading to paused {is_paused}, which it is or should not be"));
        }
        state.is_paused = is_paused;
        let seen = &mut self.model.seen;
        *(if is_paused { &mut seen.pauses } else { &mut seen.resumes }) += 1;
        Ok(())
    }

    /// The socket is gone; the seat is free when the connection is forgotten.
    pub(super) fn leave(&mut self, conn: ConnId) {
        for seat in &mut self.seats {
            let Some(taken) = seat.as_mut().filter(|seat| seat.conn == conn) else { continue };
            taken.has_socket = false;
            taken.out = None;
            // An inbox may be left.
            if !self.model.conns.contains_key(&conn) {
                *seat = None;
            }
        }
    }

    fn event(&mut self, event: Event) -> Verdict {
        let model = &mut self.model;
        let is_due = match event {
            Event::Opened { conn, session } => {
                let is_opened = model.conns.get_mut(&conn).is_some_and(|conn| std::mem::take(&mut conn.news.is_opened));
                is_opened && model.learn_session(conn, session)
            }
            Event::Resumed { conn, session } => model.resumed_is_told(conn, session),
            Event::SessionEnded { session, reason } => model.end_is_told(session, reason),
            Event::Abandoned(lane) => model.abandoned_is_told(lane),
            Event::Received(conn) => {
                model.conns.get_mut(&conn).is_some_and(|conn| std::mem::take(&mut conn.news.is_received))
            }
            Event::Sendable(conn) => model.conns.get_mut(&conn).is_some_and(|conn| {
                // Of one that is ending nobody cares.
                std::mem::take(&mut conn.news.is_sendable) || conn.phase != Phase::Open
            }),
            Event::Closed { conn, reason } => {
                let expected = model.closed_is_told(conn);
                same("why it ended", Some(reason), expected)?;
                self.leave(conn);
                true
            }
            Event::Ready(lane) => match model.lane_of(lane) {
                Some(key) if model.ready_lanes().any(|ready| ready == key) => {
                    model.ready_is_told(key);
                    true
                }
                _ => false,
            },
            Event::LaneEnded(lane) => {
                self.locals.iter_mut().filter(|local| **local == Some(lane)).for_each(|local| *local = None);
                model.ended_lanes.remove(&lane)
            }
            Event::Drained(topic) => {
                let key = model.topics.iter().find(|(_, known)| known.id == topic).map(|(key, _)| *key);
                key.is_some_and(|key| model.drained_is_told(key))
            }
            Event::Pressure { .. } if self.is_tight => true,
            Event::Pressure { scope: scope @ (Scope::Lane(_) | Scope::Session(_) | Scope::Topic(_)), level } => {
                if let Scope::Session(id) = scope {
                    let conn = self.hub.session(id).and_then(|session| session.conn);
                    if conn.is_some_and(|conn| !model.learn_session(conn, id)) {
                        return Err(format!("{id:?} is another session"));
                    }
                }
                let mark = model.mark_of(scope);
                mark.is_some_and(|mark| level == mark.level && std::mem::replace(&mut mark.told, level) != level)
            }
            Event::Upstream { topic, flow } => {
                let known = model.topics.values_mut().find(|known| known.id == topic);
                let is_paused = flow == Flow::Pause;
                known.is_some_and(|topic| {
                    topic.is_braked() == is_paused
                        && std::mem::replace(&mut topic.is_upstream_paused, is_paused) != is_paused
                })
            }
            // Of other levels it is known that what is told is so.
            Event::Pressure { scope, level } => {
                let told = self.told.insert(scope, level).unwrap_or_default();
                told != level && own_level(&self.hub, scope) == Some(level)
            }
            _ => true,
        };
        if is_due { Ok(()) } else { Err(format!("{event:?}, which is not so")) }
    }

    /// The hub has nothing to tell.
    fn no_event(&mut self) -> Verdict {
        let model = &self.model;
        for (id, conn) in &model.conns {
            let news = conn.news;
            let is_closed = news.is_closed && conn.inbox.is_empty();
            let is_received = news.is_received && !conn.inbox.is_empty();
            // That one that has ended was ready for more nobody needs to know.
            let is_sendable = news.is_sendable && conn.phase == Phase::Open;
            let is_opened = news.is_opened && conn.phase == Phase::Open;
            if is_closed || is_received || is_opened || is_sendable {
                return Err(format!("nothing is told of {id:?}, but {news:?}"));
            }
        }
        if let Some(lane) = model.ready_lanes().next() {
            return Err(format!("nothing is told, but {:?} has something", model.lanes[&lane].id));
        }
        if let Some(untold) = model.untold_of_sessions() {
            return Err(format!("nothing is told, but {untold}"));
        }
        if let Some(lane) = model.ended_lanes.first() {
            return Err(format!("nothing is told, but {lane:?} has ended"));
        }
        let ids = model.conns.iter().filter(|(_, conn)| conn.phase == Phase::Open).map(|(id, _)| *id);
        let of_conns = ids.flat_map(|id| [Scope::Inbound(id), Scope::Outbound(id)]);
        for scope in of_conns.chain([Scope::Hub]).filter(|_| !self.is_tight) {
            let told = self.told.get(&scope).copied().unwrap_or_default();
            same("a level that is not told", own_level(&self.hub, scope), Some(told))?;
        }
        if let Some(level) = model.untold().filter(|_| !self.is_tight) {
            return Err(format!("nothing is told, but {level}"));
        }
        if let Some(topic) = model.drained().next() {
            return Err(format!("nothing is told, but {:?} has drained", model.topics[&topic].name));
        }
        Ok(())
    }
}

/// What the hub says of a level that is not modelled.
fn own_level(hub: &Hub, scope: Scope) -> Option<Level> {
    match scope {
        Scope::Inbound(conn) => hub.connection(conn).map(|conn| conn.inbound.level),
        Scope::Outbound(conn) => hub.connection(conn).map(|conn| conn.outbound.level),
        Scope::Hub => Some(hub.pressure().level),
        _ => None,
    }
}

/// Most Transmits are copied as they are; some are looked at in all ways there are.
fn copy(transmit: &forebay_core::Transmit<'_>) -> Vec<u8> {
    if transmit.len().is_multiple_of(16) {
        stage::copy(transmit)
    } else {
        transmit.slices().flatten().copied().collect()
    }
}
