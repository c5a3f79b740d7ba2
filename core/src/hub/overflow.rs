//! `Policy::Disconnect`: a lane that is full ends, and so does its consumer.

use alloc::boxed::Box;

use super::{Hub, News};
use crate::dialect::Reply;
use crate::id::{ConnId, LaneId};
use crate::output::{EndReason, LossReason};
use crate::policy::{Disconnect, DisconnectScope};
use crate::topics::Owner;

/// A consumer whose lane has ended because it was full.
#[derive(Debug)]
pub(super) struct Overflowed {
    lane: LaneId,
    conn: ConnId,
    topic: Box<str>,
    disconnect: Disconnect,
}

impl Hub {
    /// Ends a lane that is full; its consumer follows at the end of this call.
    pub(super) fn overflow(&mut self, lane: LaneId, reason: LossReason) {
        let (topic, place) = self.topics.lane(lane);
        let (owner, disconnect, name) = (topic.lanes[place].owner, topic.options.disconnect, topic.name.clone());
        let topic_id = self.topics.of_lane(lane).expect("the lane exists").0;
        match owner {
            Owner::Local => self.events.push_back(News::LaneEnded(lane)),
            Owner::Session(session) => {
                let session = self.sessions.get_mut(session).expect("a lane's session exists");
                session.remove(topic_id);
                self.overflowed.push(Overflowed { lane, conn: session.conn, topic: name, disconnect });
            }
        }
        self.end_lane(lane, reason);
    }

    /// Ends those whose lane was full.
    pub(super) fn end_overflowed(&mut self) {
        while let Some(Overflowed { lane, conn: id, topic, disconnect }) = self.overflowed.pop() {
            let Some(conn) = self.conns.get(id).filter(|conn| conn.is_open()) else { continue };
            let is_raw = conn.dialect.is_none();
            match disconnect.scope {
                DisconnectScope::Connection => {
                    let close = (disconnect.code, disconnect.reason.as_str());
                    self.begin_close(id, EndReason::Overflowed, close, true);
                    self.pump(id);
                }
                DisconnectScope::Topic if is_raw => self.events.push_back(News::LaneEnded(lane)),
                DisconnectScope::Topic => {
                    self.reply(id, &Reply::Ended { topic: &topic, code: "overflow" }, None);
                }
            }
            self.refresh(id);
        }
    }
}
