//! The embedder's part: reading, writing, polling; late, in parts and in any order.

use forebay_core::{Cause, ConnId, Effect, EndReason, Entry, Event, GapReason, Payload};

use super::truth::tag_of;
use super::{Side, Speaker, World};
use crate::mini::{Data, Told};
use crate::stage;

/// Bytes of one read, at most.
pub(super) const READ_MAX: usize = 4_096;

/// Bytes for people.
fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl World {
    /// Moves some bytes of some connections.
    pub(super) fn carry_some(&mut self, side: usize) {
        for conn in self.sides[side].conns() {
            if !self.choices.one_in(3) {
                self.read(side, conn);
            }
            if !self.choices.one_in(3) {
                self.write(side, conn, false);
            }
        }
    }

    /// Moves everything that can be moved now.
    pub(super) fn carry_all(&mut self, side: usize) -> bool {
        let mut moved = false;
        for conn in self.sides[side].conns() {
            moved |= self.read(side, conn);
            moved |= self.write(side, conn, true);
        }
        moved
    }

    fn read(&mut self, side: usize, conn: ConnId) -> bool {
        let place = &mut self.sides[side];
        let Some(line) = place.lines.get(&conn) else { return false };
        let rx = self.pipes.get_mut(&line.rx).expect("a pipe");
        if rx.is_reset() {
            self.hang_up(side, conn);
            return true;
        }
        if !place.hub.wants_read(conn) {
            return false;
        }
        let bytes = rx.read(READ_MAX, self.now);
        if !bytes.is_empty() {
            place.hub.handle_bytes(conn, &bytes, self.now);
            self.note(|| format!("{side} {conn:?} handle_bytes {:?}", show(&bytes)));
            return true;
        }
        if rx.is_ended(self.now) {
            self.hang_up(side, conn);
            return true;
        }
        false
    }

    fn write(&mut self, side: usize, conn: ConnId, all: bool) -> bool {
        let place = &mut self.sides[side];
        let Some(line) = place.lines.get_mut(&conn) else { return false };
        let tx = self.pipes.get_mut(&line.tx).expect("a pipe");
        if let Some(bytes) = line.out.take() {
            let offered = if !all && self.choices.one_in(4) { self.choices.size(0, bytes.len()) } else { bytes.len() };
            let taken = tx.write(&bytes[..offered], self.now);
            line.is_blocked = taken < bytes.len();
            self.summary.partial_writes += u64::from(line.is_blocked && taken > 0);
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{side} {conn:?} handle_sent {taken} of {}", bytes.len()));
            }
            place.hub.handle_sent(conn, taken, self.now);
            return taken > 0;
        }
        if line.is_blocked && tx.room() > 0 {
            line.is_blocked = false;
            place.hub.handle_writable(conn, self.now);
            self.note(|| format!("{side} {conn:?} handle_writable"));
            return true;
        }
        false
    }

    /// The hub learns that the transport has ended.
    fn hang_up(&mut self, side: usize, conn: ConnId) {
        let place = &mut self.sides[side];
        let Some(line) = place.lines.remove(&conn) else { return };
        place.hub.handle_eof(conn, self.now);
        let out = line.out.is_some();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{side} {conn:?} handle_eof, transmit out: {out}"));
        }
        place.ended.entry(conn).or_default().0 = true;
        if self.choices.one_in(2) {
            // The answer to the transmit that was out comes too late.
            place.hub.handle_sent(conn, line.out.map_or(0, |bytes| bytes.len()), self.now);
        }
        self.pipes.get_mut(&line.tx).expect("a pipe").reset();
        self.pipes.get_mut(&line.rx).expect("a pipe").reset();
        self.sides[side].leave_estate(conn, line.speaker);
    }

    /// Polls so many times, in any order, whether there is something or not.
    pub(super) fn drain(&mut self, side: usize, polls: usize) {
        for _ in 0..polls {
            let what = self.choices.below(3);
            self.poll(side, what);
        }
    }

    /// Handles what is due and polls until nothing is left. Gives whether there was anything.
    ///
    /// This is the test against hot loops: afterwards the deadline is later than now, or there was progress.
    pub(super) fn settle(&mut self, side: usize) -> bool {
        let mut total = 0;
        for _ in 0..10_000 {
            let before = self.sides[side].hub.poll_timeout();
            self.sides[side].hub.handle_timeout(self.now);
            let mut polled = 0_u64;
            while self.poll(side, 0) | self.poll(side, 1) | self.poll(side, 2) {
                polled += 1;
                assert!(polled < 100_000, "the hub does not come to rest");
            }
            let after = self.sides[side].hub.poll_timeout();
            if after.is_none_or(|deadline| deadline.at > self.now) {
                self.check_reading(side);
                return total + polled > 0;
            }
            total += polled;
            let had_backlog = before.is_some_and(|deadline| deadline.cause == Cause::Backlog);
            let is_backlog = after.is_some_and(|deadline| deadline.cause == Cause::Backlog);
            assert!(
                polled > 0 || had_backlog || is_backlog,
                "a hot loop: {before:?}, then {after:?} at {:?}",
                self.now
            );
        }
        panic!("deadlines do not move on: {:?} at {:?}", self.sides[side].hub.poll_timeout(), self.now);
    }

    /// After a full drain the effects and the getter say the same.
    fn check_reading(&self, side: usize) {
        let place = &self.sides[side];
        for (conn, line) in place.lines.iter().filter(|(_, line)| line.is_opened && !line.is_over) {
            if let Some(pressure) = place.hub.connection(*conn) {
                assert_eq!(pressure.is_paused, line.is_paused, "{conn:?}: {pressure:?}");
            }
            assert!(!(line.is_paused && place.hub.wants_read(*conn)), "{conn:?} is paused, but wants to be read");
        }
    }

    fn poll(&mut self, side: usize, what: u64) -> bool {
        match what {
            0 => self.poll_transmit(side),
            1 => self.poll_effect(side),
            _ => self.poll_event(side),
        }
    }

    fn poll_transmit(&mut self, side: usize) -> bool {
        let place = &mut self.sides[side];
        let Some(transmit) = place.hub.poll_transmit() else { return false };
        let (conn, bytes) = (transmit.conn(), stage::copy(&transmit));
        let limit = place.options.transmit_bytes_max as usize + place.frame_bytes_max;
        assert!(bytes.len() <= limit, "a transmit of {} bytes", bytes.len());
        self.digest.number(conn.to_bits());
        self.digest.bytes(&bytes);
        let line = place.lines.get_mut(&conn).unwrap_or_else(|| panic!("a transmit of {conn:?}, which has ended"));
        assert!(!line.is_over, "a transmit of {conn:?} after Event::Closed");
        assert!(!line.is_blocked, "a transmit of {conn:?}, which is blocked");
        assert!(line.out.is_none(), "a second transmit of {conn:?}");
        line.out = Some(bytes.clone());
        self.note(|| format!("{side} {conn:?} transmit {:?}", show(&bytes)));
        true
    }

    fn poll_effect(&mut self, side: usize) -> bool {
        let place = &mut self.sides[side];
        let Some(effect) = place.hub.poll_effect() else { return false };
        self.digest.debug(&effect);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{side} {effect:?}"));
        }
        match effect {
            Effect::Close(conn) => {
                let line = place.lines.remove(&conn).unwrap_or_else(|| panic!("{conn:?} is closed twice"));
                place.ended.entry(conn).or_default().0 = true;
                self.pipes.get_mut(&line.tx).expect("a pipe").finish(self.now);
                self.pipes.get_mut(&line.rx).expect("a pipe").finish(self.now);
                place.leave_estate(conn, line.speaker);
            }
            Effect::PauseRead(conn) => {
                let line = place.lines.get_mut(&conn).expect("a connection to pause");
                assert!(!line.is_paused, "{conn:?} is paused twice");
                line.is_paused = true;
                self.summary.pauses += 1;
            }
            Effect::ResumeRead(conn) => {
                let line = place.lines.get_mut(&conn).expect("a connection to resume");
                assert!(line.is_paused, "{conn:?} is resumed, but was not paused");
                line.is_paused = false;
            }
            other => panic!("an effect that is not of this version: {other:?}"),
        }
        true
    }

    fn poll_event(&mut self, side: usize) -> bool {
        let place = &mut self.sides[side];
        let Some(event) = place.hub.poll_event() else { return false };
        self.digest.debug(&event);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{side} {event:?}"));
        }
        match event {
            Event::UpgradeRequested(conn) => {
                place.is_news(conn);
                self.is_asked(side, conn);
            }
            Event::Opened { conn, session } => {
                place.is_news(conn);
                if let Some(line) = place.lines.get_mut(&conn) {
                    assert!(!line.is_opened, "{conn:?} is opened twice");
                    line.is_opened = true;
                    line.session = Some(session);
                }
            }
            Event::Received(conn) => {
                place.is_news(conn);
                if let Some(line) = place.lines.get_mut(&conn) {
                    assert!(!matches!(line.speaker, Speaker::Dialect), "a dialect's connection has nothing to take");
                    line.has_received = true;
                }
            }
            Event::Sendable(conn) => place.is_news(conn),
            Event::Closed { conn, reason } => {
                place.is_news(conn);
                place.ended.entry(conn).or_default().1 = true;
                if let Some(Speaker::Client { reader, .. }) = place.estates.remove(&conn) {
                    self.summary.uneven_gaps += reader.uneven_gaps;
                }
                self.summary.stalled += u64::from(reason == EndReason::Stalled);
                if reason == EndReason::Overflowed {
                    assert!(!place.disconnects.is_empty(), "{conn:?} has overflowed without a lane that can");
                    self.summary.overflowed += 1;
                }
                if let Some(line) = place.lines.get_mut(&conn) {
                    line.is_over = true;
                }
            }
            Event::Ready(lane) => {
                if let Some(local) = place.locals.get_mut(&lane) {
                    local.is_ready = true;
                }
            }
            Event::LaneEnded(lane) => {
                if place.locals.remove(&lane).is_some() {
                    place.old_lanes.push(lane);
                } else {
                    // What is outstanding of it may still be shown.
                    assert!(place.raw_lanes.remove(&lane), "{lane:?} ends twice, or never was");
                    self.summary.overflowed_lanes += 1;
                }
            }
            Event::Resumed { conn, session } => {
                place.is_news(conn);
                assert!(!place.ended_sessions.contains(&session), "{session:?} is resumed after its end");
                self.summary.resumed += 1;
                if let Some(line) = place.lines.get_mut(&conn) {
                    line.session = Some(session);
                }
            }
            Event::SessionEnded { session, .. } => {
                assert!(place.ended_sessions.insert(session), "{session:?} ends twice");
                assert!(place.hub.session(session).is_none_or(|session| session.lanes == 0), "it has nothing any more");
            }
            Event::Abandoned(_) => {} // Of a lane that may have ended since.
            Event::Drained(topic) => {
                place.awaited.remove(&topic);
            }
            other => place.levels.hear(&place.hub, &other),
        }
        true
    }

    /// The application takes, forwards and retries.
    pub(super) fn application(&mut self, side: usize, all: bool) {
        let estates: Vec<ConnId> = self.sides[side].estates.keys().copied().collect();
        for conn in self.sides[side].conns().into_iter().chain(estates) {
            if all || self.choices.one_in(3) {
                self.receive(side, conn);
                self.application_acknowledges(side, conn, all);
                self.flush(side, conn);
            }
        }
        self.decide(side, all);
        let lanes: Vec<_> = self.sides[side].locals.keys().copied().collect();
        for lane in lanes {
            let most = if all { u64::MAX } else { self.choices.below(4) };
            self.take(side, lane, most);
        }
    }

    fn receive(&mut self, side: usize, conn: ConnId) {
        let mut heard = Vec::new();
        let place = &mut self.sides[side];
        let speaker = match (place.lines.get_mut(&conn), place.estates.get_mut(&conn)) {
            (Some(line), _) if line.has_received => {
                line.has_received = false;
                &mut line.speaker
            }
            (None, Some(speaker)) => speaker,
            _ => return,
        };
        while let Some(payload) = place.hub.receive(conn, self.now) {
            match speaker {
                Speaker::Raw(None) => {}
                Speaker::Raw(Some(expected)) => {
                    let tag = tag_of(payload.is_text, &payload.bytes);
                    assert_eq!(expected.pop_front(), Some(tag), "received something else than was sent: {payload:?}");
                }
                Speaker::Client { reader, .. } => {
                    let text = payload.as_text().expect("the dialect is text");
                    reader.joined(text).unwrap_or_else(|violation| panic!("hub A to hub B: {violation}"));
                    heard.extend(reader.take_told());
                }
                Speaker::Dialect => panic!("a message of a dialect's connection"),
            }
        }
        self.heard(0, &heard);
        self.client_hub_acknowledges(side, conn, &heard);
        for told in heard {
            if let Told::Message { data, .. } = told {
                self.summary.forwarded += 1;
                let number = self.fresh();
                let json = format!("{{\"forwarded\":{number},\"bytes\":{}}}", data.bytes().len());
                self.publish(side, "b", "", &Data::Json(json));
            }
        }
    }

    /// A client's application sends what it has to say, as far as there is room.
    fn flush(&mut self, side: usize, conn: ConnId) {
        let place = &mut self.sides[side];
        let Some(line) = place.lines.get_mut(&conn).filter(|line| line.is_opened) else { return };
        let Speaker::Client { outbox, .. } = &mut line.speaker else { return };
        while let Some(text) = outbox.front() {
            if place.hub.send(conn, Payload::Text(text), self.now).is_err() {
                return;
            }
            outbox.pop_front();
        }
    }

    fn take(&mut self, side: usize, lane: forebay_core::LaneId, most: u64) {
        let place = &mut self.sides[side];
        let Some(local) = place.locals.get_mut(&lane).filter(|local| local.is_ready) else { return };
        for _ in 0..most {
            match place.hub.take(lane, self.now) {
                None => {
                    local.is_ready = false;
                    return;
                }
                Some(Entry::Message { seq, payload }) => {
                    assert!(seq > local.last, "{seq} after {}", local.last);
                    local.last = seq;
                    local.received += 1;
                    local.bytes += payload.bytes.len() as u64;
                    self.summary.delivered += 1;
                    let tag = tag_of(payload.is_text, &payload.bytes);
                    self.truth.received(side, tag, seq, &local.name, None);
                }
                Some(Entry::Gap(gap)) if gap.reasons().any(|reason| !matches!(reason, GapReason::Lost(_))) => {
                    // What never entered is told once, at first; what was lost since may have been told with it.
                    assert!(local.received == 0 && gap.from <= gap.to, "{gap:?}");
                    local.is_uneven |= gap.reasons().any(|reason| matches!(reason, GapReason::Lost(_)));
                }
                Some(Entry::Gap(gap)) => {
                    assert!(gap.from > local.last && gap.from <= gap.to && gap.missed > 0, "{gap:?}");
                    assert!(gap.missed <= gap.to - gap.from + 1 && gap.reasons().next().is_some(), "{gap:?}");
                    local.missed += gap.missed;
                    self.summary.lost += gap.missed;
                }
            }
        }
    }
}

impl Side {
    pub(super) fn conns(&self) -> Vec<ConnId> {
        self.lines.keys().copied().collect()
    }

    /// What is left of a connection that has no transport any more.
    fn leave_estate(&mut self, conn: ConnId, speaker: Speaker) {
        let is_closed = self.ended.get(&conn).is_some_and(|(_, closed)| *closed);
        if !is_closed && !matches!(speaker, Speaker::Dialect) {
            self.estates.insert(conn, speaker);
        }
    }

    /// An event may not name a connection after its `Closed`.
    fn is_news(&self, conn: ConnId) {
        let known = self.lines.contains_key(&conn) || self.ended.contains_key(&conn);
        assert!(known, "an event of {conn:?}, which never was");
        assert!(!self.ended.get(&conn).is_some_and(|(_, closed)| *closed), "an event of {conn:?} after its Closed");
    }
}
