//! Effects and events: made from state when they are polled.

use super::{Hub, News};
use crate::conn::Phase;
use crate::id::{ConnId, LaneId, SessionId, TopicId};
use crate::output::{Cause, Deadline, Effect, Event};
use crate::stats::Scope;
use crate::topics::TopicLane;

/// For so many events there is always room, once there was.
const EVENTS_KEPT: usize = 1_024;

impl Hub {
    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        while let Some(id) = self.effects.pop_front() {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            conn.is_effect_listed = false;
            if let Phase::Ended { owes_effect, .. } = &mut conn.phase {
                if core::mem::replace(owes_effect, false) {
                    self.remove_if_told(id);
                    return Some(Effect::Close(id));
                }
                continue;
            }
            let is_paused = !conn.wants_read();
            if conn.was_paused != is_paused {
                conn.was_paused = is_paused;
                return Some(if is_paused { Effect::PauseRead(id) } else { Effect::ResumeRead(id) });
            }
        }
        None
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events_peak = self.events_peak.max(self.events.len());
        while let Some(news) = self.events.pop_front() {
            let event = match news {
                News::Conn(id) => self.conn_event(id),
                News::SessionEnded(session, reason) => Some(Event::SessionEnded { session, reason }),
                News::LaneEnded(id) => Some(Event::LaneEnded(id)),
                News::Abandoned(id) => self.abandoned_event(id),
                News::Session(id) => self.session_event(id),
                News::Lane(id) => self.lane_event(id),
                News::LaneLevel(id) => self.lane_level_event(id),
                News::Topic(id) => self.topic_event(id),
                News::Hub => self.level.tell().map(|level| Event::Pressure { scope: Scope::Hub, level }),
            };
            if event.is_some() {
                return event;
            }
        }
        // Many lanes that became ready once are no reason to keep room for as many.
        let peak = core::mem::take(&mut self.events_peak);
        if peak < self.events.capacity() / 4 {
            self.events.shrink_to(EVENTS_KEPT.max(peak));
        }
        None
    }

    /// It may have been taken empty since, or what is left may wait for a flush.
    fn lane_event(&mut self, id: LaneId) -> Option<Event> {
        let (topic, place) = self.topics.of_lane(id)?;
        self.topics.slab.get_mut(topic)?.lanes[place].set(TopicLane::ANNOUNCED, false);
        self.rest_if_empty(id);
        self.topics.slab.get_mut(topic)?.lanes[place].is(TopicLane::ACTIVE).then_some(Event::Ready(id))
    }

    fn topic_event(&mut self, id: TopicId) -> Option<Event> {
        let topic = self.topics.get_mut(id)?;
        topic.is_announced = false;
        if let Some(event) = self.topic_level_event(id) {
            self.topics.get_mut(id)?.is_announced = true; // There may be more.
            self.events.push_back(News::Topic(id));
            self.may_be_forgotten(id);
            return Some(event);
        }
        let topic = self.topics.get_mut(id)?;
        // It may have become full again, and others may have been refused since.
        if !topic.owes_drained || !topic.is_drained() {
            return None;
        }
        topic.owes_drained = false;
        self.may_be_forgotten(id);
        Some(Event::Drained(id))
    }

    fn conn_event(&mut self, id: ConnId) -> Option<Event> {
        let conn = self.conns.get_mut(id)?;
        let has_messages = conn.has_messages();
        let news = &mut conn.news;
        news.is_listed = false;
        if news.closed && has_messages && !news.received && !news.opened {
            return None; // `receive` lists it again after the last one.
        }
        let event = if let Phase::Gated(gated) = &mut conn.phase {
            if core::mem::replace(&mut gated.is_told, true) {
                return None;
            }
            Some(Event::UpgradeRequested(id))
        } else if core::mem::take(&mut news.opened) {
            // A connection that ended before anybody heard of it is only told as closed.
            match conn.phase {
                Phase::Ended { .. } => None,
                _ => Some(Event::Opened { conn: id, session: conn.session }),
            }
        } else if core::mem::take(&mut news.resumed) {
            (!conn.is_ended()).then_some(Event::Resumed { conn: id, session: conn.session })
        } else if core::mem::take(&mut news.received) {
            has_messages.then_some(Event::Received(id))
        } else if core::mem::take(&mut news.sendable) {
            Some(Event::Sendable(id))
        } else if let (true, Phase::Ended { reason, .. }) = (core::mem::take(&mut news.closed), &conn.phase) {
            let event = Event::Closed { conn: id, reason: *reason };
            self.remove_if_told(id);
            return Some(event);
        } else if let (false, Some(level)) = (conn.is_ended(), conn.inbound_level.tell()) {
            Some(Event::Pressure { scope: Scope::Inbound(id), level })
        } else if let (false, Some(level)) = (conn.is_ended(), conn.outbound_level.tell()) {
            Some(Event::Pressure { scope: Scope::Outbound(id), level })
        } else {
            return None;
        };
        self.announce_conn(id);
        event
    }

    /// Its level may have fallen back since.
    fn session_event(&mut self, id: SessionId) -> Option<Event> {
        let session = self.sessions.get_mut(id)?;
        session.is_listed = false;
        session.level.tell().map(|level| Event::Pressure { scope: Scope::Session(id), level })
    }

    /// A connection that ended goes when both the embedder and the application know.
    pub(super) fn remove_if_told(&mut self, id: ConnId) {
        let conn = self.conns.get(id).expect("just looked up");
        if let Phase::Ended { owes_effect: false, .. } = conn.phase
            && !conn.news.closed
        {
            let conn = self.conns.remove(id).expect("just looked up");
            self.recharge(conn.charged, 0);
            self.update_hub_level();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Deadline> {
        let has_output = !self.ready.is_empty()
            || !self.waking.is_empty()
            || !self.effects.is_empty()
            || !self.events.is_empty()
            || !self.unfrozen.is_empty()
            || !self.unfrozen_direct.is_empty()
            || !self.forgettable.is_empty();
        if has_output {
            return Some(Deadline { at: self.now, cause: Cause::Output });
        }
        if self.is_backlogged {
            return Some(Deadline { at: self.now, cause: Cause::Backlog });
        }
        self.timers.next().map(|at| Deadline { at, cause: Cause::Timer })
    }
}
