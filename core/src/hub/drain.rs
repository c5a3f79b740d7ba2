//! Out: what a connection has waiting becomes a Transmit.

use bytes::{Bytes, BytesMut};
use core::ops::Range;

use super::Hub;
use super::room::{LAST, PAYLOAD_BYTES_MAX, Part, Room, Turn};
use crate::conn::{Conn, Copied, Outstanding, Segment, Source};
use crate::delivery::Class;
use crate::dialect::RAW;
use crate::id::{ConnId, LaneId};
use crate::lane::Run;
use crate::latest::Which;
use crate::log::Log;
use crate::topics::{PlainRun, Topic, View, ViewMut};

/// Slices of one Transmit: what `writev` takes without a second thought (IOV_MAX is 1,024 on Linux, 16 by POSIX).
pub(super) const SLICES_MAX: usize = 64;

/// Up to `transmit_bytes_max` bytes of one connection (and the rest of the message that crosses it), in order, in at most
/// 64 slices. Write as much as the transport takes and answer with exactly one
/// [`handle_sent`](Hub::handle_sent).
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    hub: &'a Hub,
    conn: ConnId,
    len: usize,
    content: Content<'a>,
}

/// What is in a Transmit.
#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    /// A run of a log, and its bytes, where they lie in one block.
    Plain(&'a Log, Run, Option<&'a [u8]>),
    Spelled(&'a Outstanding),
}

impl<'a> Transmit<'a> {
    /// The connection to write to.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// All bytes; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a Transmit is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    fn pieces(self) -> impl Iterator<Item = (&'a Bytes, Range<usize>)> {
        let (plain, outstanding) = match self.content {
            Content::Plain(log, run, _) => (Some((log, run)), None),
            Content::Spelled(outstanding) => (None, Some(self.spelled(outstanding))),
        };
        plain.into_iter().flat_map(|(log, run)| log.pieces(run)).chain(outstanding.into_iter().flatten())
    }

    fn spelled(self, outstanding: &'a Outstanding) -> impl Iterator<Item = (&'a Bytes, Range<usize>)> {
        let Transmit { hub, conn, .. } = self;
        let outbound = hub.conns.get(conn).and_then(Conn::outbound).expect("a Transmit's connection exists");
        outstanding.segments.iter().flat_map(move |segment| {
            let whole = |bytes: &'a Bytes| (bytes, 0..bytes.len());
            let (one, run) = match segment {
                Segment::Pinned => (outbound.pinned.as_ref().map(|pinned| whole(&pinned.rest)), None),
                Segment::Control { len } => (Some((&outbound.control, 0..*len)), None),
                Segment::Notice { frame, .. } => (Some(whole(frame)), None),
                Segment::Latest { taken, .. } => (Some(whole(&taken.frame)), None),
                Segment::Again { lane, run, .. } => {
                    (None, Some((hub.source_log(self.conn, Source::Lane(*lane)), *run)))
                }
                Segment::Messages { source, run, is_formed: false, copy: None, .. } => {
                    (None, Some((hub.source_log(self.conn, *source), *run)))
                }
                // What a client published within the same poll may have pushed it out of the log.
                Segment::Messages { source, run, copy, .. } => match copy.as_deref() {
                    Some(Copied::Form(form)) => (Some(form.piece(*run)), None),
                    Some(Copied::Own(own)) => (Some(whole(&own.bytes)), None),
                    Some(Copied::Log(log)) => (None, Some((log, *run))),
                    None => (Some(hub.source_log(self.conn, *source).form(*run).piece(*run)), None),
                },
            };
            one.into_iter().chain(run.into_iter().flat_map(|(log, run)| log.pieces(run)))
        })
    }

    /// The bytes, lent.
    pub fn slices(&self) -> impl Iterator<Item = &'a [u8]> {
        self.pieces().map(|(bytes, range)| &bytes[range])
    }

    /// The bytes, where they are one slice, as they most often are: then a plain write will do.
    #[must_use]
    pub fn single(&self) -> Option<&'a [u8]> {
        if let Content::Plain(_, _, single) = self.content {
            return single;
        }
        if let Content::Spelled(Outstanding { segments, .. }) = self.content
            && let [Segment::Messages { source, run, is_formed: false, copy: None, .. }] = segments.as_slice()
        {
            return self.hub.source_log(self.conn, *source).single(*run); // The usual case.
        }
        let mut slices = self.slices();
        let first = slices.next();
        first.filter(|_| slices.next().is_none())
    }

    /// The bytes, lent in the form `write_vectored` takes.
    ///
    /// ```no_run
    /// # use std::io::Write;
    /// # fn write(transmit: forebay_core::Transmit<'_>, mut stream: impl Write) -> std::io::Result<usize> {
    /// let slices = transmit.io_slices();
    /// stream.write_vectored(&slices)
    /// # }
    /// ```
    #[cfg(feature = "std")]
    #[must_use]
    pub fn io_slices(&self) -> IoSlices<'a> {
        if let Some(single) = self.single() {
            return IoSlices(Slices::One([std::io::IoSlice::new(single)]));
        }
        let mut slices = [std::io::IoSlice::new(&[]); SLICES_MAX];
        let mut len = 0;
        for slice in self.slices() {
            slices[len] = std::io::IoSlice::new(slice);
            len += 1;
        }
        IoSlices(Slices::Many(slices, len))
    }

    /// The bytes, shared: for an embedder that writes them later. Drop them before `handle_sent`; what is kept longer is
    /// in nobody's account.
    pub fn segments(&self) -> impl Iterator<Item = Bytes> {
        self.pieces().map(|(bytes, range)| bytes.slice(range))
    }
}

/// The slices of a [`Transmit`], on the stack.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct IoSlices<'a>(Slices<'a>);

/// One, as most often, is not laid out among 64.
#[cfg(feature = "std")]
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is on the stack")]
enum Slices<'a> {
    One([std::io::IoSlice<'a>; 1]),
    Many([std::io::IoSlice<'a>; SLICES_MAX], usize),
}

#[cfg(feature = "std")]
impl<'a> core::ops::Deref for IoSlices<'a> {
    type Target = [std::io::IoSlice<'a>];

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Slices::One(slice) => slice,
            Slices::Many(slices, len) => &slices[..*len],
        }
    }
}

/// What a lane has next.
enum Front {
    Next(Turn, Source),
    /// It has to wait for what is outstanding.
    Held(Turn),
}

impl Hub {
    /// Freezes what was published since the last poll.
    pub(super) fn freeze(&mut self) {
        while let Some(id) = self.unfrozen.pop() {
            if let Some(topic) = self.topics.slab.get_mut(id) {
                topic.is_unfrozen = false;
                topic.logs.iter_mut().flatten().for_each(|encoded| encoded.log.freeze());
                self.recharge_topic(id); // What nobody needs any more went.
            }
        }
        while let Some(id) = self.unfrozen_direct.pop() {
            if let Some(direct) = self.conns.get_mut(id).and_then(Conn::direct_mut) {
                direct.log.freeze();
                direct.log.leave_large_chunk().into_iter().for_each(|parts| self.emptied.put_log(parts));
                self.recharge_conn(id);
            }
        }
    }

    pub(super) fn next_transmit(&mut self) -> Option<ConnId> {
        self.freeze();
        self.forget_topics();
        loop {
            if let Some(id) = self.wake_next() {
                return Some(id);
            }
            let id = self.ready.pop_front()?;
            self.wake_lanes_of(id);
            let Some(conn) = self.conns.get_mut(id) else { continue };
            conn.is_ready = false;
            if conn.is_ended() || conn.is_writing() {
                continue;
            }
            if self.start_plain(id) {
                return Some(id);
            }
            self.expire_session(id);
            let outstanding = self.build(id);
            if outstanding.len == 0 {
                self.spare.push(outstanding);
                self.refresh(id); // Its lanes had nothing left: it is not stalled, and may be closed when draining.
                self.retry_parked_and_freeze();
                continue;
            }
            let now = self.now;
            self.work_mut(id).outbound.outstanding = Some(outstanding);
            self.conn_mut(id).stalled_since.get_or_insert(now);
            self.update_conn_levels(id); // A pong that was put off is a reply now.
            self.update_deadline(id);
            self.hold_budget(id);
            if !self.overflowed.is_empty() || self.conn_mut(id).is_ended() {
                self.retry_parked_and_freeze();
            }
            if self.conn_mut(id).is_ended() {
                continue;
            }
            return Some(id);
        }
    }

    /// A connection, or a lane, ended within a poll: what is published in its place is to be sent by the same poll.
    fn retry_parked_and_freeze(&mut self) {
        self.retry_parked();
        self.freeze();
    }

    pub(super) fn transmit(&self, id: ConnId) -> Transmit<'_> {
        let conn = self.conns.get(id).expect("just built");
        if let Some(plain) = conn.plain {
            let PlainRun { log, run, single, bytes } = self.topics.plain(plain);
            return Transmit { hub: self, conn: id, len: bytes, content: Content::Plain(log, run, single) };
        }
        let outstanding = conn.outstanding().expect("just built");
        Transmit { hub: self, conn: id, len: outstanding.len, content: Content::Spelled(outstanding) }
    }

    pub(super) fn source_log(&self, conn: ConnId, source: Source) -> &Log {
        match source {
            Source::Lane(id) => {
                let (topic, place) = self.topics.lane(id);
                topic.log(place)
            }
            Source::Direct => {
                let direct = self.conns.get(conn).and_then(Conn::direct);
                &direct.expect("what is outstanding has a lane").log
            }
        }
    }

    fn build(&mut self, id: ConnId) -> Outstanding {
        let mut out = self.spare.pop().unwrap_or_default();
        let (bytes, units) = (self.config.transmit_bytes_max as usize, self.units(id));
        let mut room = Room {
            bytes,
            units,
            slices: SLICES_MAX,
            has_message: false,
            payload_bytes: PAYLOAD_BYTES_MAX,
            to_compress: bytes,
        };
        let conn = self.conns.get_mut(id).expect("the connection exists");
        let mut is_control_whole = true;
        if let Some(outbound) = conn.outbound_mut() {
            outbound.flush_replies();
            if let Some(pinned) = &outbound.pinned {
                room.has_message = true;
                out.push(Segment::Pinned, pinned.rest.len(), &mut room);
                room.units.take(pinned.rest.len());
            }
            let control = outbound.control.len();
            let len = control.min(room.bytes);
            if len > 0 {
                out.push(Segment::Control { len }, len, &mut room);
            }
            is_control_whole = len == control;
        }
        if conn.is_open() && is_control_whole {
            while room.slices > 0 && (room.bytes > 0 || !room.has_message) && self.add_next(id, &mut out, &mut room) {}
        }
        out
    }

    /// Adds what the connection's client would have seen next, had it one queue per class: of the first class the oldest
    /// publish. Behind one that has to wait for what is outstanding wait all newer ones of its class, and all of lower ones.
    fn add_next(&mut self, id: ConnId, out: &mut Outstanding, room: &mut Room) -> bool {
        let conn = self.conns.get(id).expect("the connection exists");
        let session = self.sessions.get(conn.session).expect("a connection's session exists");
        let mut best: Option<(Turn, Source)> = None;
        let (mut limit, mut held) = (LAST, LAST);
        let direct = conn.direct().and_then(|direct| {
            let run = direct.lane.front(direct.log.head());
            (!run.is_empty()).then(|| Front::Next((Class::Normal, direct.log.stamp(run.first())), Source::Direct))
        });
        let lanes = session.active().iter().filter_map(|lane| self.front(*lane));
        for front in direct.into_iter().chain(lanes) {
            let (turn, source) = match front {
                Front::Next(turn, source) => (turn, source),
                Front::Held(turn) => {
                    held = held.min(turn);
                    continue;
                }
            };
            match best {
                Some((first, _)) if first <= turn => limit = limit.min(turn),
                _ => limit = limit.min(best.replace((turn, source)).map_or(LAST, |(second, _)| second)),
            }
        }
        let Some(((class, _), source)) = best.filter(|(turn, _)| *turn < held) else { return false };
        // Whatever waits of a lower class is no limit.
        let (_, limit) = Some(limit.min(held)).filter(|(next, _)| *next == class).unwrap_or(LAST);
        match source {
            _ if room.units.of(class) == 0 => false, // Nor is there one for lower classes.
            Source::Direct => self.add_direct(id, limit, out, room),
            Source::Lane(lane) => self.add_lane_messages(id, lane, limit, out, room),
        }
    }

    /// The lane's next message; `None` if only a notice is left, which waits for what is outstanding.
    fn front(&self, id: LaneId) -> Option<Front> {
        let (topic, place) = self.topics.lane(id);
        let class = topic.options.class;
        let (again, is_shut) = (topic.next_again(place), topic.is_shut(place));
        if is_shut && again.is_none() {
            return None;
        }
        let stamp = match topic.view(place) {
            View::Log(lane, log) => {
                let next = lane.next(topic.head).filter(|seq| topic.is_flushed(*seq));
                let next = again.map_or(next, |run| Some(run.first()));
                let outstanding = lane.outstanding();
                let is_apart = again.is_none() && outstanding.through != lane.front(topic.head).after;
                let owes_notice = !is_shut && lane.losses().due_gap(next).is_some();
                // What is outstanding is one run, so that it can be put back as one.
                if !outstanding.is_empty() && (is_apart || owes_notice) {
                    return next.map(|seq| Front::Held((class, log.stamp(seq))));
                }
                next.map(|seq| log.stamp(seq))
            }
            View::Latest(lane, latest) => {
                let next = lane.next(latest).filter(|(seq, _)| topic.is_flushed(*seq));
                next.map(|(_, slot)| slot.stamp)
            }
        };
        Some(Front::Next((class, stamp.unwrap_or(0)), Source::Lane(id))) // A notice alone goes first.
    }

    fn add_direct(&mut self, id: ConnId, limit: u64, out: &mut Outstanding, room: &mut Room) -> bool {
        let conn = self.conns.get(id).expect("the connection exists");
        let direct = conn.direct().expect("its front was just looked at");
        let (head, turn) = (direct.log.head(), (Class::Normal, limit));
        let front = direct.lane.front(head);
        let is_own = self.has_own_direct(id);
        if is_own && !room.takes_any() {
            return false; // It stands first.
        }
        let own = if is_own { self.own_part(id, Source::Direct, (front, turn), None, room) } else { None };
        let direct = self.conn_mut(id).direct_mut().expect("just looked at");
        let Some(part) = own.or_else(|| room.plan(&direct.log, front, turn)) else { return false };
        crate::topics::change_lane(&mut direct.lane, &mut direct.log, |lane, _| lane.start(head, part.run.through));
        out.push_messages(Source::Direct, part, room);
        true
    }

    fn add_lane_messages(
        &mut self,
        id: ConnId,
        lane_id: LaneId,
        limit: u64,
        out: &mut Outstanding,
        room: &mut Room,
    ) -> bool {
        let conn = self.conn_mut(id);
        let (dialect, inflates) = (conn.dialect().unwrap_or(RAW), conn.agreed.is_some());
        let (topic, place) = self.topics.lane_mut(lane_id);
        if let Some(gap) = topic.take_due_gap(place) {
            let mut frame = BytesMut::new();
            dialect.put_gap(&mut frame, &topic.name, &gap);
            if !frame.is_empty() {
                let len = frame.len();
                room.has_message = true; // It may cross the bound like one.
                out.push(Segment::Notice { lane: lane_id, gap, frame: frame.freeze() }, len, room);
                room.units.take(len);
            }
        } else if topic.next_again(place).is_some() {
            if !add_again(topic, place, (lane_id, limit), out, room) {
                return false;
            }
        } else if topic.options.deflate && inflates {
            if !self.add_compressed(id, lane_id, limit, out, room) {
                return self.drop_from_active(id, lane_id);
            }
        } else if let View::Log(_, log) = topic.view(place) {
            let (front, turn) = (topic.allowed_front(place), (topic.options.class, limit));
            let Some(part) = room.plan(log, front, turn) else {
                // Either the Transmit is full, or the lane was listed for nothing.
                return self.drop_from_active(id, lane_id);
            };
            if start_part(topic, place, lane_id, part, out, room) {
                let topic_id = self.topics.of_lane(lane_id).expect("the lane exists").0;
                self.look_at_level(topic_id, place, false);
            }
        } else if !add_latest(topic, place, (lane_id, limit), out, room) {
            return self.drop_from_active(id, lane_id);
        }
        self.drop_from_active(id, lane_id);
        true
    }

    /// Takes a lane with nothing left off its session's active ones; whether it was.
    fn drop_from_active(&mut self, id: ConnId, lane: LaneId) -> bool {
        if !self.rest_if_empty(lane) {
            return false;
        }
        let session = self.conn_mut(id).session;
        self.sessions.get_mut(session).expect("a connection's session exists").rest(lane);
        true
    }
}

/// What goes into a Transmit of a lane is outstanding from now on; whether the lane is watched.
#[inline]
pub(super) fn start_part(
    topic: &mut Topic,
    place: usize,
    lane: LaneId,
    part: Part,
    out: &mut Outstanding,
    room: &mut Room,
) -> bool {
    let head = topic.head;
    topic.change(place, |lane, _| lane.start(head, part.run.through));
    topic.spend_credit(place, part.run.count().messages);
    let is_watched = topic.watched(place).is_some();
    out.push_messages(Source::Lane(lane), part, room);
    is_watched
}

/// Adds what waits of a lane of the latest messages and was published before `limit`, one slice each; whether there was any.
fn add_latest(
    topic: &mut Topic,
    place: usize,
    (lane_id, limit): (LaneId, u64),
    out: &mut Outstanding,
    room: &mut Room,
) -> bool {
    let (encoding, class, flushed) = (topic.settings(place).encoding, topic.options.class, topic.flushed.messages);
    let mut is_added = false;
    while room.slices > 0
        && !topic.is_shut(place)
        && let ViewMut::Latest(lane, latest) = topic.view_mut(place)
        && let Some((seq, slot)) = lane.next(latest)
        && seq <= flushed
        && slot.stamp < limit
        && (slot.frame_bytes(encoding) <= room.message_bytes(class) || !room.has_message)
        && let Some(taken) = lane.start(latest, encoding, Which::Plain)
    {
        out.push_latest(lane_id, taken, room);
        topic.spend_credit(place, 1);
        is_added = true;
    }
    is_added
}

/// Adds what is to be sent again of a lane and was published before `limit`, one slice each; whether there was any.
fn add_again(
    topic: &mut Topic,
    place: usize,
    (lane, limit): (LaneId, u64),
    out: &mut Outstanding,
    room: &mut Room,
) -> bool {
    let mut is_added = false;
    while let Some(run) = topic.next_again(place)
        && let Some(Part { run, len, .. }) = room.plan(topic.log(place), run, (topic.options.class, limit))
    {
        topic.start_again(place, run.last());
        room.has_message = true;
        out.push(Segment::Again { lane, run, len }, len, room);
        room.units.take(len);
        is_added = true;
    }
    is_added
}

/// How many emptied Transmits are kept for use again.
pub(super) const SPARE_MAX: usize = 64;
