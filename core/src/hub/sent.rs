//! What the transport took: messages are sent, or return to their lanes.

use alloc::boxed::Box;
use bytes::{Buf, Bytes};

use super::Hub;
use super::drain::SPARE_MAX;
use crate::conn::{Copied, Pinned, PinnedMessage, Segment, Source};
use crate::id::{ConnId, LaneId};
use crate::lane::{Mark, Run};
use crate::latest::{Taken, Which};
use crate::output::Gap;
use crate::wire::frame;

impl Hub {
    pub(super) fn sent(&mut self, id: ConnId, bytes: usize) {
        let now = self.now;
        self.spell_out(id);
        let Some(conn) = self.conns.get_mut(id) else { return self.stale() };
        let outstanding = conn.outbound_mut().and_then(|outbound| outbound.outstanding.take());
        let Some(mut outstanding) = outstanding else { return self.stale() };
        let bytes = bytes.min(outstanding.len);
        let is_partial = bytes < outstanding.len;
        self.pay_outbound(id, bytes);
        let conn = self.conns.get_mut(id).expect("just looked up");
        conn.is_blocked = is_partial;
        conn.stalled_since = match conn.stalled_since {
            _ if !is_partial => None,
            since if bytes == 0 => since,
            _ => Some(now),
        };
        let mut left = bytes;
        for segment in outstanding.segments.drain(..) {
            left = self.segment_sent(id, segment, left);
        }
        if self.spare.len() < SPARE_MAX {
            self.spare.push(outstanding.clear());
        }
        self.direct_progressed(id);
        self.pump(id);
    }

    /// Settles one segment of which `left` bytes or more were sent; what is left for the next.
    fn segment_sent(&mut self, id: ConnId, segment: Segment, left: usize) -> usize {
        if left == 0 && segment.is_own() {
            self.own_returned(id);
        }
        match segment {
            Segment::Pinned => {
                let mut pinned = self.work_mut(id).outbound.pinned.take().expect("it was in the Transmit");
                let len = pinned.rest.len();
                if left < len {
                    pinned.rest.advance(left);
                    self.work_mut(id).outbound.pinned = Some(pinned);
                    return 0;
                }
                match pinned.message {
                    PinnedMessage::Notice(..) => {}
                    PinnedMessage::Logged(source, through) => {
                        self.lane_sent(source, id, through);
                        self.source_progressed(source);
                    }
                    PinnedMessage::Again(lane, seq) => self.sent_again(lane, seq),
                    PinnedMessage::Latest(lane, message) => {
                        self.latest_sent(lane, *message);
                        self.remove_lane_if_settled(lane);
                    }
                }
                left - len
            }
            Segment::Control { len } => {
                let sent = left.min(len);
                self.work_mut(id).outbound.control_sent(sent);
                left - sent
            }
            Segment::Notice { lane, gap, frame } => {
                if left >= frame.len() {
                    self.stats.gaps_sent += 1;
                    return left - frame.len();
                }
                if left > 0 {
                    // It was begun, so it will be told.
                    self.stats.gaps_sent += 1;
                    let (rest, message) = (frame.slice(left..), PinnedMessage::Notice(lane, Box::new(gap)));
                    self.work_mut(id).outbound.pinned = Some(Box::new(Pinned { rest, message }));
                } else {
                    self.notice_returned(lane, gap);
                }
                0
            }
            Segment::Latest { lane, taken } => self.latest_answered(id, lane, taken, left),
            Segment::Again { lane, run, .. } if left == 0 => {
                self.returned_again(lane, run.last());
                0
            }
            Segment::Again { lane, run, len } if left < len => {
                let (_, rest) = self.source_log(id, Source::Lane(lane)).split(run, left);
                let rest = Bytes::copy_from_slice(rest.expect("it was sent in part").1);
                let message = PinnedMessage::Again(lane, run.last());
                self.work_mut(id).outbound.pinned = Some(Box::new(Pinned { rest, message }));
                0
            }
            Segment::Again { lane, run, len } => {
                self.sent_again(lane, run.last());
                left - len
            }
            Segment::Messages { source, run, len, is_formed: true, copy } if left >= len => {
                self.form_sent(id, source, copy.as_deref(), run);
                self.lane_sent(source, id, run.through);
                self.source_progressed(source);
                left - len
            }
            Segment::Messages { source, run, len, .. } if left >= len => {
                self.lane_sent(source, id, run.through);
                self.source_progressed(source);
                left - len
            }
            Segment::Messages { source: Source::Lane(lane), .. }
                if left == 0 && self.topics.of_lane(lane).is_none() =>
            {
                0 // It ended, and went when the first of its runs returned.
            }
            Segment::Messages { source, run, .. } if left == 0 => {
                // The first of several runs of a lane takes back all of them, and the log may have let go of them.
                self.lane_returned(source, id, run.after);
                self.source_progressed(source);
                0
            }
            Segment::Messages { source, run, is_formed, copy, .. } => {
                self.partly_sent(id, source, (run, is_formed), copy.as_deref(), left);
                self.source_progressed(source);
                0
            }
        }
    }

    /// A notice that was not sent, or not to its end, is still to be told.
    pub(super) fn notice_returned(&mut self, lane: LaneId, gap: Gap) {
        if self.topics.of_lane(lane).is_some() {
            let (topic, place) = self.topics.lane_mut(lane);
            topic.lanes[place].window.losses_mut().return_gap(gap);
            if !topic.lanes[place].is_ended() {
                self.activate(lane);
            }
        }
    }

    /// Settles a latest message of which `left` bytes or more were sent; what is left for the next.
    fn latest_answered(&mut self, id: ConnId, lane: LaneId, taken: Taken, left: usize) -> usize {
        let len = taken.frame.len();
        let rest = if left == 0 || left >= len { Bytes::new() } else { Bytes::copy_from_slice(&taken.frame[left..]) };
        if taken.which != Which::Plain && left > 0 {
            self.compressed_sent(frame::payload_bytes(taken.plain_bytes as usize), len); // What was begun will be sent.
        }
        let message = self.latest_let_go(lane, taken);
        if left >= len {
            self.latest_sent(lane, message);
            self.remove_lane_if_settled(lane);
            return left - len;
        }
        if left == 0 {
            self.latest_returned(lane, message);
            self.remove_lane_if_settled(lane);
            return 0;
        }
        let message = PinnedMessage::Latest(lane, Box::new(message));
        self.work_mut(id).outbound.pinned = Some(Box::new(Pinned { rest, message }));
        0
    }

    /// `left` bytes of a run were sent: whole messages count as sent, the one they end in is pinned, the others return.
    fn partly_sent(
        &mut self,
        id: ConnId,
        source: Source,
        (run, is_formed): (Run, bool),
        copy: Option<&Copied>,
        left: usize,
    ) {
        let (cut, rest) = match copy {
            Some(Copied::Own(own)) => (run.after, Some((run.through, &own.bytes[left..]))),
            Some(Copied::Form(form)) => form.split(run, left),
            None if is_formed => self.source_log(id, source).form(run).split(run, left),
            Some(Copied::Log(log)) => log.split(run, left),
            None => self.source_log(id, source).split(run, left),
        };
        let rest: Option<(Mark, Bytes)> = rest.map(|(through, rest)| (through, Bytes::copy_from_slice(rest)));
        if is_formed {
            // What was begun will be sent.
            let through = rest.as_ref().map_or(cut, |(through, _)| *through);
            self.form_sent(id, source, copy, Run { through, ..run });
        }
        if cut != run.after {
            self.lane_sent(source, id, cut);
        }
        match rest {
            None => self.lane_returned(source, id, cut),
            Some((through, rest)) => {
                self.lane_pinned(source, id, through);
                let message = PinnedMessage::Logged(source, through);
                self.work_mut(id).outbound.pinned = Some(Box::new(Pinned { rest, message }));
            }
        }
    }

    pub(super) fn source_progressed(&mut self, source: Source) {
        if let Source::Lane(id) = source
            && self.topics.of_lane(id).is_some()
        {
            self.lane_progressed(id);
            let topic = self.topics.of_lane(id).expect("just looked up").0;
            self.recharge_topic(topic);
            self.remove_lane_if_settled(id);
        }
    }
}
