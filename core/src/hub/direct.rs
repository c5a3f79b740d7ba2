//! Direct messages: a connection's own log with one reader, bounded like every lane.

use alloc::boxed::Box;
use bytes::Bytes;

use super::Hub;
use crate::compressor::Compressor;
use crate::config::LaneLimits;
use crate::conn::{Conn, Direct};
use crate::dialect;
use crate::error::SendError;
use crate::id::ConnId;
use crate::output::Payload;
use crate::stats::Count;
use crate::wire::{Role, frame};

impl Hub {
    pub(super) fn send_if_writable(&mut self, id: ConnId, payload: Payload<'_>) -> Result<(), SendError> {
        let bytes = payload.as_bytes().len() as u64;
        if bytes > self.config.direct_lane.bytes_max {
            return Err(SendError::TooLarge);
        }
        let conn = self.conns.get(id).filter(|conn| conn.is_open()).ok_or(SendError::UnknownConnection)?;
        let has_room = conn.direct().is_none_or(|direct| direct.lane.fits(direct.log.head(), Count::new(1, bytes)));
        if !conn.is_writing() && has_room && self.has_unit(id) {
            return self.send_direct(id, payload);
        }
        self.stats.refused_volatile += 1;
        Err(SendError::NotWritable)
    }

    pub(super) fn send_direct(&mut self, id: ConnId, payload: Payload<'_>) -> Result<(), SendError> {
        let bytes = payload.as_bytes().len() as u64;
        let limits: LaneLimits = self.config.direct_lane;
        if bytes > limits.bytes_max {
            return Err(SendError::TooLarge);
        }
        if self.send_behind(id, payload) {
            return Ok(());
        }
        let conn = self.conns.get_mut(id).filter(|conn| conn.is_open()).ok_or(SendError::UnknownConnection)?;
        if conn.work.is_none() {
            self.work_mut(id);
        }
        let conn = self.conns.get_mut(id).expect("just looked up");
        let is_client = conn.role == Role::Client;
        let work = conn.work.as_mut().expect("just made");
        let direct = work.direct.get_or_insert_with(|| Box::new(Direct::new(limits)));
        if !direct.lane.fits(direct.log.head(), Count::new(1, bytes)) {
            (direct.owes_sendable, direct.was_full) = (true, true);
            self.refresh(id);
            return Err(SendError::Full);
        }
        let mask = if is_client { self.mask(id) } else { None };
        let compressed = self.compress_direct(id, mask, payload);
        let plain = frame::frame_bytes(payload.as_bytes().len(), is_client);
        let len = compressed.as_ref().map_or(plain, Bytes::len);
        let room = self.config.resident_bytes_max.saturating_sub(self.stats.resident_bytes);
        let direct = self.conns.get_mut(id).and_then(Conn::direct_mut).expect("just made");
        let resident = direct.log.resident();
        self.emptied.equip_log(&mut direct.log, room);
        let room = room - (direct.log.resident() - resident);
        let growth = direct.log.growth(len);
        if growth > room && !self.make_room_for(growth) {
            self.direct_progressed(id);
            self.rest(id);
            return Err(SendError::Overloaded);
        }
        let (stamp, now) = (self.stamp + 1, self.now);
        let direct = self.conn_mut(id).direct_mut().expect("just made");
        let was_frozen = !direct.log.is_open();
        direct.log.begin_tick(now);
        direct.log.append((bytes, len), (stamp, now), room, |out| match &compressed {
            Some(frame) => out.extend_from_slice(frame),
            None => dialect::put_payload(out, mask, payload),
        });
        self.stamp = stamp;
        self.stats.direct.enter(1, bytes);
        if was_frozen {
            self.unfrozen_direct.push(id);
        }
        if !self.is_settled_with_more(id, resident) {
            self.refresh(id);
        }
        Ok(())
    }

    /// Puts a message directly behind another of the same tick, where nothing has to be made for it and nothing follows from it;
    /// `false`, and nothing is done, where that is not so.
    fn send_behind(&mut self, id: ConnId, payload: Payload<'_>) -> bool {
        let is_plain = |conn: &&Conn| conn.role == Role::Server && conn.is_ready && !conn.is_writing();
        let conn =
            self.conns.get(id).filter(is_plain).filter(|conn| self.config.deflate.is_none() && self.is_calm(conn));
        let Some(direct) = conn.filter(|conn| conn.excused_since.is_none()).and_then(Conn::direct) else {
            return false;
        };
        let bytes = payload.as_bytes().len();
        let (load, len) = (direct.lane.load(direct.log.head()), frame::frame_bytes(bytes, false));
        let is_low =
            load.messages + 1 < self.direct_high.messages && load.bytes + (bytes as u64) < self.direct_high.bytes;
        if !is_low || !direct.log.takes_behind(len, self.now) {
            return false;
        }
        self.stamp += 1;
        let stamp = self.stamp;
        let log = &mut self.conn_mut(id).direct_mut().expect("just looked at").log;
        log.append_behind((bytes as u64, len), stamp, |out| dialect::put_payload(out, None, payload));
        self.stats.direct.enter(1, bytes as u64);
        true
    }

    /// The frame of a direct message, where it is sent compressed.
    fn compress_direct(&mut self, id: ConnId, mask: Option<[u8; 4]>, payload: Payload<'_>) -> Option<Bytes> {
        let options = self.config.deflate.as_ref().filter(|options| options.direct)?;
        if self.has_own_direct(id) {
            return None; // It is when it is sent.
        }
        let window_bytes = self.window_bytes(id)?;
        let opcode = dialect::opcode(payload);
        let compressor = self.compressor.get_or_insert_with(|| Box::new(Compressor::new(options)));
        compressor.frame((opcode, mask), payload.as_bytes(), window_bytes, &mut self.stats.compression)
    }

    /// Whether direct messages are compressed for a connection alone, when they are sent.
    pub(super) fn has_own_direct(&self, id: ConnId) -> bool {
        let is_compressed = self.config.deflate.is_some_and(|options| options.direct);
        is_compressed && self.conns.get(id).is_some_and(Conn::takes_over)
    }

    /// The direct lane may have room again, which whoever was refused is told.
    pub(super) fn direct_progressed(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Some(direct) = conn.work.as_mut().and_then(|work| work.direct.as_mut()) else { return };
        if direct.lane.load(direct.log.head()) == Count::default() {
            direct.log.strip().into_iter().for_each(|parts| self.emptied.put_log(parts)); // An idle connection owns no buffers.
        }
        if direct.owes_sendable && direct.lane.is_drained(direct.log.head(), 0, self.config.watermarks.low()) {
            direct.owes_sendable = false;
            conn.news.sendable = true;
            self.announce_conn(id);
        }
    }
}
