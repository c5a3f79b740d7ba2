//! Connections begin: the opening handshake in both roles.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::BytesMut;

use super::{Hub, TimerKey};
use crate::conn::{Conn, ConnNews, Inbound, Opening, Outbound, Phase};
use crate::dialect::{self, Reply};
use crate::error::{AcceptError, ConnectError};
use crate::id::ConnId;
use crate::output::{ClientRequest, EndReason, Mode, Peer, Upgraded};
use crate::session::Session;
use crate::watermark::ToldLevel;
use crate::wire::handshake::{self, HandshakeError, HeadReader};
use crate::wire::{Decoder, ResponseError, Role};

impl Hub {
    pub(super) fn accept(&mut self, peer: Peer) -> Result<ConnId, AcceptError> {
        if self.draining.is_some() {
            return Err(AcceptError::Draining);
        }
        if self.conns.len() >= self.config.connections_max as usize {
            return Err(AcceptError::ConnectionsFull);
        }
        if self.stats.resident_bytes >= self.config.resident_bytes_max {
            return Err(AcceptError::Overloaded);
        }
        let reader = HeadReader::new(self.config.head_bytes_max as usize);
        Ok(self.insert(Role::Server, peer, Phase::Request(Box::new(reader))))
    }

    pub(super) fn accept_upgraded(&mut self, upgraded: Upgraded<'_>) -> Result<ConnId, AcceptError> {
        let chosen = match (upgraded.peer.mode, upgraded.protocol) {
            (Mode::Raw, _) => None,
            (Mode::Dialect, protocol) => dialect::choose(protocol.into_iter()),
        };
        if upgraded.peer.mode == Mode::Dialect
            && upgraded.protocol.is_some()
            && chosen.is_none_or(|(_, protocol)| protocol.is_none())
        {
            return Err(AcceptError::UnknownProtocol);
        }
        let id = self.accept(upgraded.peer)?;
        self.open(id, chosen);
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
        let mut out = BytesMut::new();
        handshake::put_request(&mut out, &key, &request).map_err(ConnectError::InvalidRequest)?;
        let opening = Opening {
            reader: HeadReader::new(self.config.head_bytes_max as usize),
            key,
            protocols: request.protocols.iter().map(ToString::to_string).collect(),
        };
        let peer = Peer { address: None, mode: Mode::Raw };
        let id = self.insert(Role::Client, peer, Phase::Response(Box::new(opening)));
        self.conn_mut(id).outbound.replies = out;
        self.refresh(id);
        Ok(id)
    }

    fn insert(&mut self, role: Role, peer: Peer, phase: Phase) -> ConnId {
        let now = self.now;
        let (sessions, timers, config) = (&mut self.sessions, &mut self.timers, &self.config);
        let id = self.conns.insert_with(|id| Conn {
            phase,
            role,
            mode: peer.mode,
            session: sessions.insert_with(|_| Session::new(id)),
            dialect: None,
            protocol: None,
            decoder: Decoder::new(role, u64::from(config.message_bytes_max)),
            inbound: Inbound::default(),
            outbound: Outbound::new(),
            direct: None,
            owes_sendable: false,
            timer: timers.add(TimerKey::Conn(id.index)),
            since: now,
            last_heard: now,
            ping_sent: None,
            excused_since: None,
            was_paused: false,
            is_effect_listed: false,
            news: ConnNews::default(),
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
            return self.end(id, EndReason::Overloaded, true);
        }
        let phase = core::mem::replace(&mut self.conn_mut(id).phase, Phase::Open);
        match phase {
            Phase::Request(mut reader) => match reader.read(bytes) {
                Ok(None) => self.conn_mut(id).phase = Phase::Request(reader),
                Ok(Some((head, consumed))) => match handshake::parse_request(head) {
                    Ok(request) => {
                        self.upgrade(id, &request);
                        self.input(id, &bytes[consumed..]);
                    }
                    Err(error) => self.answer_plain(id, head, error),
                },
                Err(error) => self.refuse(id, error, EndReason::Refused(error)),
            },
            Phase::Response(mut opening) => match opening.reader.read(bytes) {
                Ok(None) => self.conn_mut(id).phase = Phase::Response(opening),
                Ok(Some((head, consumed))) => {
                    let offered: Vec<&str> = opening.protocols.iter().map(|name| &**name).collect();
                    match handshake::parse_response(head, &opening.key, &offered) {
                        Ok(response) => {
                            self.conn_mut(id).protocol = response.protocol.map(Into::into);
                            self.open(id, None);
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

    fn upgrade(&mut self, id: ConnId, request: &handshake::Request<'_>) {
        let chosen = match self.conn_mut(id).mode {
            Mode::Dialect => dialect::choose(request.protocols()),
            Mode::Raw => None,
        };
        let accept = handshake::accept_key(request.key);
        let protocol = chosen.and_then(|(_, protocol)| protocol);
        handshake::put_response(&mut self.conn_mut(id).outbound.replies, &accept, protocol);
        self.open(id, chosen);
    }

    fn open(&mut self, id: ConnId, chosen: Option<(&'static dyn dialect::Dialect, Option<&'static str>)>) {
        let (token, now) = (self.entropy.bytes(), self.now);
        let conn = self.conns.get_mut(id).expect("the connection exists");
        conn.phase = Phase::Open;
        conn.since = now;
        if let Some((dialect, protocol)) = chosen {
            conn.dialect = Some(dialect);
            conn.protocol = protocol.map(Into::into);
            let hello = Reply::Hello { session: token, options: &self.config };
            dialect.put_reply(&mut conn.outbound.replies, &hello, None);
        }
        conn.news.opened = true;
        self.stats.opened += 1;
        self.announce_conn(id);
        self.refresh(id);
    }

    pub(super) fn refuse(&mut self, id: ConnId, error: HandshakeError, reason: EndReason) {
        let now = self.now;
        let conn = self.conn_mut(id);
        handshake::put_refusal(&mut conn.outbound.replies, error.status(), error.as_str());
        conn.phase = Phase::Closing { reason, awaits_peer: false };
        conn.since = now;
    }
}
