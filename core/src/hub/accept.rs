//! Connections begin: the opening handshake in both roles.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::BytesMut;

use super::{Hub, TimerKey};
use crate::conn::{Accepted, Conn, ConnNews, Opening, Phase, Speech};
use crate::dialect::{self, Reply};
use crate::error::{AcceptError, ConnectError};
use crate::id::ConnId;
use crate::output::{ClientRequest, EndReason, Mode, Peer, Upgraded};
use crate::session::Session;
use crate::watermark::ToldLevel;
use crate::wire::deflate::{Agreed, Offer};
use crate::wire::handshake::{self, HeadReader};
use crate::wire::{ResponseError, Role};

impl Hub {
    pub(super) fn accept(&mut self, peer: Peer) -> Result<ConnId, AcceptError> {
        if self.draining.is_some() {
            return Err(AcceptError::Draining);
        }
        if self.conns.len() >= self.config.connections_max as usize {
            return Err(AcceptError::ConnectionsFull);
        }
        if self.stats.resident_bytes >= self.config.resident_bytes_max {
            self.level.is_at_limit = true;
            return Err(AcceptError::Overloaded);
        }
        let reader = HeadReader::new(self.config.head_bytes_max as usize);
        let accepted = Accepted { reader, peer, since: self.now };
        Ok(self.insert(Role::Server, Phase::Request(Box::new(accepted))))
    }

    pub(super) fn accept_upgraded(&mut self, upgraded: Upgraded<'_>) -> Result<ConnId, AcceptError> {
        let Upgraded { peer, protocol, .. } = upgraded;
        let chosen = match peer.mode {
            Mode::Raw => None,
            Mode::Dialect => dialect::choose(protocol.into_iter()),
        };
        if peer.mode == Mode::Dialect && protocol.is_some() && chosen.is_none_or(|(_, is_named)| !is_named) {
            return Err(AcceptError::UnknownProtocol);
        }
        let agreed = upgraded.deflate.map(|agreed| self.deflate_agreed(Role::Server, agreed));
        let agreed = agreed.map(|agreed| agreed.ok_or(AcceptError::NoDeflate)).transpose()?;
        let id = self.accept(peer)?;
        let speech = match chosen {
            Some((dialect, is_named)) => Speech::Dialect { dialect, is_named },
            None => Speech::Raw(protocol.map(|name| Box::new(name.into()))),
        };
        self.open(id, speech, agreed);
        Ok(id)
    }

    pub(super) fn start_client(&mut self, request: ClientRequest<'_>) -> Result<ConnId, ConnectError> {
        if self.draining.is_some() {
            return Err(ConnectError::Draining);
        }
        if self.conns.len() >= self.config.connections_max as usize {
            return Err(ConnectError::ConnectionsFull);
        }
        let key = handshake::client_key(self.entropy.bytes());
        let deflate = self.deflate_offer();
        let mut out = BytesMut::new();
        handshake::put_request(&mut out, &key, &request, deflate).map_err(ConnectError::InvalidRequest)?;
        let opening = Opening {
            reader: HeadReader::new(self.config.head_bytes_max as usize),
            key,
            protocols: request.protocols.iter().map(ToString::to_string).collect(),
            deflate,
            since: self.now,
        };
        let id = self.insert(Role::Client, Phase::Response(Box::new(opening)));
        self.reserve_contexts(id, deflate.map(|Offer(most)| most));
        self.work_mut(id).outbound.replies = out;
        self.refresh(id);
        Ok(id)
    }

    fn insert(&mut self, role: Role, phase: Phase) -> ConnId {
        let (sessions, timers) = (&mut self.sessions, &mut self.timers);
        let id = self.conns.insert_with(|id| Conn {
            phase,
            role,
            agreed: None,
            speech: Speech::Raw(None),
            session: sessions.insert_with(|_| Session::new(id)),
            timer: timers.add(TimerKey::Conn(id.index)),
            plain: None,
            work: None,
            is_limited: false,
            is_blocked: false,
            stalled_since: None,
            excused_since: None,
            is_ready: false,
            was_paused: false,
            is_effect_listed: false,
            news: ConnNews::default(),
            inbound_level: ToldLevel::default(),
            outbound_level: ToldLevel::default(),
            charged: 0,
        });
        self.stats.accepted += 1;
        self.stats.connections += 1;
        self.refresh(id);
        id
    }

    /// The head of the opening handshake came, perhaps with frames behind it.
    pub(super) fn input_head(&mut self, id: ConnId, bytes: &[u8]) {
        if !self.make_room_for(bytes.len().min(self.config.head_bytes_max as usize)) {
            return self.fail_overloaded(id);
        }
        let open = Phase::opened(self.now);
        let phase = core::mem::replace(&mut self.conn_mut(id).phase, open);
        match phase {
            Phase::Request(mut accepted) => match accepted.reader.read(bytes) {
                Ok(None) => self.conn_mut(id).phase = Phase::Request(accepted),
                Ok(Some((head, consumed))) => {
                    // The reader is borrowed for as long as the head is looked at.
                    self.requested(id, (accepted.peer, accepted.since), head, &bytes[consumed..]);
                }
                Err(error) => self.refuse(id, error),
            },
            Phase::Response(mut opening) => match opening.reader.read(bytes) {
                Ok(None) => self.conn_mut(id).phase = Phase::Response(opening),
                Ok(Some((head, consumed))) => {
                    let offered: Vec<&str> = opening.protocols.iter().map(|name| &**name).collect();
                    match handshake::parse_response(head, &opening.key, &offered, opening.deflate) {
                        Ok(response) => {
                            let protocol = response.protocol.map(|name| Box::new(name.into()));
                            self.open(id, Speech::Raw(protocol), response.deflate);
                            self.input(id, &bytes[consumed..]);
                        }
                        Err(error) => self.end(id, EndReason::BadResponse(error), true),
                    }
                }
                Err(error) => self.end(id, EndReason::BadResponse(ResponseError::Head(error)), true),
            },
            _ => unreachable!("only called while a head is awaited"),
        }
    }

    pub(super) fn open(&mut self, id: ConnId, speech: Speech, agreed: Option<Agreed>) {
        let (phase, config) = (Phase::opened(self.now), self.config);
        if let Speech::Dialect { dialect, .. } = speech {
            let session = self.conn_mut(id).session;
            let hello = Reply::Hello { session: self.token(session), options: &config };
            dialect.put_reply(&mut self.work_mut(id).outbound.replies, &hello, None);
        }
        self.reserve_contexts(id, agreed);
        let conn = self.conn_mut(id);
        (conn.phase, conn.speech, conn.agreed) = (phase, speech, agreed);
        conn.news.opened = true;
        self.stats.opened += 1;
        self.announce_conn(id);
        self.refresh(id);
    }
}
