//! `Policy::Disconnect`: a lane that is full ends, and so does its consumer.

use super::{Hub, News};
use crate::conn::Conn;
use crate::dialect::Reply;
use crate::id::{ConnId, LaneId};
use crate::output::{EndReason, LossReason, SessionEnd};
use crate::policy::{Disconnect, DisconnectScope};
use crate::topics::{Owner, TopicLane};

/// A consumer whose lane has ended because it was full.
#[derive(Debug)]
pub(super) struct Overflowed {
    conn: ConnId,
    disconnect: Disconnect,
}

impl Hub {
    /// Ends a lane that is full; its consumer follows at the end of this call.
    pub(super) fn overflow(&mut self, lane: LaneId, reason: LossReason) {
        let (topic, place) = self.topics.lane(lane);
        let (owner, disconnect, name) =
            (topic.lanes[place].owner(&self.sessions), topic.options.disconnect, topic.name.clone());
        if let (true, Owner::Session(session)) = (topic.lanes[place].is(TopicLane::DETACHED), owner) {
            // Nobody is there to be told of a single lane.
            let is_full = reason == LossReason::Closed;
            let end = if is_full { SessionEnd::Overflowed } else { SessionEnd::Overloaded };
            return self.end_session(session, end, reason);
        }
        let topic_id = self.topics.of_lane(lane).expect("the lane exists").0;
        match owner {
            Owner::Local => self.events.push_back(News::LaneEnded(lane)),
            Owner::Session(session) => {
                let session = self.sessions.get_mut(session).expect("a lane's session exists");
                session.remove(topic_id);
                let conn = session.conn().expect("it is not detached");
                if disconnect.scope == DisconnectScope::Topic {
                    // Now, so that it comes before the answer to another subscribe.
                    self.tell_overflow(conn, lane, &name);
                }
                self.overflowed.push(Overflowed { conn, disconnect });
            }
        }
        self.end_lane(lane, reason);
    }

    /// Whether the connection is to end with this call: nothing more that it asks for is carried out.
    pub(super) fn is_overflowed(&self, conn: ConnId) -> bool {
        let ends = |other: &Overflowed| other.conn == conn && other.disconnect.scope == DisconnectScope::Connection;
        self.overflowed.iter().any(ends)
    }

    /// Ends those whose lane was full.
    pub(super) fn end_overflowed(&mut self) {
        while let Some(Overflowed { conn: id, disconnect }) = self.overflowed.pop() {
            let is_open = self.conns.get(id).is_some_and(Conn::is_open);
            if is_open && disconnect.scope == DisconnectScope::Connection {
                let close = (disconnect.code, disconnect.reason.as_str());
                self.begin_close(id, EndReason::Overflowed, close, true);
                self.pump(id);
            }
            self.refresh(id);
        }
    }

    fn tell_overflow(&mut self, id: ConnId, lane: LaneId, topic: &str) {
        match self.conn_mut(id).dialect() {
            None => self.events.push_back(News::LaneEnded(lane)),
            Some(_) => self.reply(id, &Reply::Ended { topic, code: "overflow" }, None),
        }
    }
}
