//! Who may connect: origins, subprotocols, and the application's verdict on opening requests.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::BytesMut;

use super::Hub;
use crate::conn::{Gated, Phase, Speech};
use crate::dialect::{self, Dialect};
use crate::error::{ProtocolError, VerdictError};
use crate::id::ConnId;
use crate::output::{EndReason, Mode, Peer};
use crate::time::Instant;
use crate::upgrade::{UpgradeRequest, Verdict};
use crate::wire::deflate::Answer;
use crate::wire::handshake::{self, HandshakeError, InvalidOrigin, InvalidResponse, Request, ResponseOptions};

/// C. the application wants something.
impl Hub {
    /// Answers pages of one more origin, for every connection from now on: `https://app.example.com` (exactly that scheme,
    /// host and port; no patterns), `null`, or `*` for any. Without it only pages of the host and port that the request
    /// names itself are answered, and whoever sends no Origin, because it is no browser (RFC 6455 §10.2).
    ///
    /// # Errors
    /// It is no origin.
    pub fn allow_origin(&mut self, origin: &str) -> Result<(), InvalidOrigin> {
        self.origins.allow(origin)
    }

    /// Has one more subprotocol chosen where a raw connection offers it ([`Mode::Raw`]): of several the first that the
    /// client offers. Without it none is. [`protocol`](Self::protocol) says which it became.
    ///
    /// # Errors
    /// See [`ProtocolError`].
    pub fn allow_protocol(&mut self, name: &str) -> Result<(), ProtocolError> {
        if !handshake::is_token(name.as_bytes()) {
            return Err(ProtocolError::Invalid);
        }
        if self.protocols.iter().any(|known| **known == *name) {
            return Err(ProtocolError::AlreadyAllowed);
        }
        self.protocols.push(name.into());
        Ok(())
    }

    /// The opening request of a connection that waits for a verdict
    /// ([`Event::UpgradeRequested`](crate::Event::UpgradeRequested)). It is parsed anew at each call.
    #[must_use]
    pub fn upgrade_request(&self, conn: ConnId) -> Option<UpgradeRequest<'_>> {
        let Phase::Gated(gated) = &self.conns.get(conn)?.phase else { return None };
        let request = handshake::parse_request(&gated.head).ok()?;
        let protocol = self.choose(gated.peer.mode, &request).protocol();
        let deflate = self.deflate_answer(&request).map(|answer| answer.agreed);
        Some(UpgradeRequest { request, address: gated.peer.address, protocol, deflate })
    }

    /// Opens a connection that waits for a verdict, or refuses its request ([`EndReason::Rejected`]).
    ///
    /// # Errors
    /// See [`VerdictError`]: nothing has changed then, and the connection goes on waiting.
    pub fn resolve_upgrade(&mut self, conn: ConnId, verdict: &Verdict, now: Instant) -> Result<(), VerdictError> {
        self.advance(now);
        let resolved = self.resolve(conn, verdict);
        self.settle(conn);
        resolved
    }
}

/// Who will understand a connection.
#[derive(Clone, Copy)]
enum Chosen<'a> {
    Raw(Option<&'a str>),
    /// Whether it was chosen for a subprotocol that was offered.
    Dialect(&'static &'static dyn Dialect, bool),
}

impl<'a> Chosen<'a> {
    /// What is answered.
    fn protocol(self) -> Option<&'a str> {
        match self {
            Self::Raw(name) => name,
            Self::Dialect(dialect, is_named) => is_named.then(|| dialect.subprotocol()),
        }
    }

    fn speech(self) -> Speech {
        match self {
            Self::Raw(name) => Speech::Raw(name.map(|name| Box::new(name.into()))),
            Self::Dialect(dialect, is_named) => Speech::Dialect { dialect, is_named },
        }
    }
}

impl Hub {
    /// A whole head came, and what is behind it.
    pub(super) fn requested(&mut self, id: ConnId, (peer, since): (Peer, Instant), head: &[u8], behind: &[u8]) {
        let request = match handshake::parse_request(head) {
            Ok(request) => request,
            Err(error) => return self.answer_plain(id, head, error),
        };
        if !self.origins.admits(request.origin, request.host) {
            return self.refuse(id, HandshakeError::OriginForbidden);
        }
        if peer.is_gated {
            return self.gate(id, Gated { head: head.into(), peer, since, is_told: false }, behind);
        }
        let chosen = self.choose(peer.mode, &request);
        let mut out = BytesMut::new();
        let deflate = self.deflate_answer(&request);
        match answer(&mut out, &request, (chosen, deflate), &[]) {
            Ok(()) => {
                self.upgrade(id, out, chosen.speech(), deflate);
                self.input(id, behind);
            }
            Err(_) => unreachable!("what may be chosen can be written"),
        }
    }

    /// The request waits for the application; what is behind it waits, too.
    fn gate(&mut self, id: ConnId, gated: Gated, behind: &[u8]) {
        if !self.make_room_for(gated.head.len()) {
            return self.refuse(id, HandshakeError::OutOfMemory);
        }
        self.conn_mut(id).phase = Phase::Gated(Box::new(gated));
        self.announce_conn(id);
        self.keep_undecoded(id, behind);
    }

    fn choose<'a>(&self, mode: Mode, request: &Request<'a>) -> Chosen<'a> {
        let dialect = match mode {
            Mode::Dialect => dialect::choose(request.protocols()),
            Mode::Raw => None,
        };
        match dialect {
            Some((dialect, is_named)) => Chosen::Dialect(dialect, is_named),
            None => Chosen::Raw(request.protocols().find(|name| self.protocols.iter().any(|known| **known == **name))),
        }
    }

    fn resolve(&mut self, id: ConnId, verdict: &Verdict) -> Result<(), VerdictError> {
        let Some(Phase::Gated(gated)) = self.conns.get(id).map(|conn| &conn.phase) else {
            self.stale();
            return Err(VerdictError::NotWaiting);
        };
        let mut out = BytesMut::new();
        match verdict {
            Verdict::Refuse { status, headers, text } => {
                handshake::put_refusal_with(&mut out, *status, &borrowed(headers), text)?;
                self.stats.rejected_requests += 1;
                self.refuse_with(id, out, EndReason::Rejected(*status));
            }
            Verdict::Accept { principal, protocol, headers } => {
                let principal_bytes = principal.as_ref().map_or(0, |principal| principal.len());
                if principal_bytes > self.config.principal_bytes_max as usize {
                    return Err(VerdictError::PrincipalTooLong);
                }
                let request = handshake::parse_request(&gated.head).expect("it was good when it came");
                let chosen = match protocol {
                    None => self.choose(gated.peer.mode, &request),
                    Some(name) => named(gated.peer.mode, &request, name).ok_or(VerdictError::InvalidProtocol)?,
                };
                let deflate = self.deflate_answer(&request);
                answer(&mut out, &request, (chosen, deflate), &borrowed(headers))?;
                let speech = chosen.speech();
                if let Some(principal) = principal {
                    let session = self.conn_mut(id).session;
                    self.sessions.get_mut(session).expect("a connection's session exists").set_principal(principal);
                }
                self.upgrade(id, out, speech, deflate);
                self.pump(id);
            }
        }
        Ok(())
    }

    fn upgrade(&mut self, id: ConnId, answer: BytesMut, speech: Speech, deflate: Option<Answer>) {
        self.work_mut(id).outbound.replies = answer;
        self.open(id, speech, deflate.map(|answer| answer.agreed));
    }

    /// Refuses an opening request.
    pub(super) fn refuse(&mut self, id: ConnId, error: HandshakeError) {
        self.stats.refused_requests[error as usize] += 1;
        let mut out = BytesMut::new();
        handshake::put_refusal(&mut out, error.status(), error.as_str());
        self.refuse_with(id, out, EndReason::Refused(error));
    }

    /// The only answer it gets: what else it has said, and says, is not looked at.
    pub(super) fn refuse_with(&mut self, id: ConnId, answer: BytesMut, reason: EndReason) {
        let work = self.work_mut(id);
        work.outbound.replies = answer;
        work.inbound.undecoded = Vec::new();
        self.conn_mut(id).phase = Phase::Closing { reason, awaits_peer: false, since: self.now };
    }
}

/// What the application named, if it was offered and can be spoken.
fn named<'a>(mode: Mode, request: &Request<'a>, name: &str) -> Option<Chosen<'a>> {
    let offered = request.protocols().find(|offered| *offered == name)?;
    match mode {
        Mode::Raw => Some(Chosen::Raw(Some(offered))),
        Mode::Dialect => {
            let (dialect, is_named) = dialect::choose(core::iter::once(offered))?;
            is_named.then_some(Chosen::Dialect(dialect, is_named))
        }
    }
}

fn answer(
    out: &mut BytesMut,
    request: &Request<'_>,
    (chosen, deflate): (Chosen<'_>, Option<Answer>),
    headers: &[(&str, &str)],
) -> Result<(), InvalidResponse> {
    let protocol = chosen.protocol();
    handshake::put_response(out, &handshake::accept_key(request.key), &ResponseOptions { protocol, deflate, headers })
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (&**name, &**value)).collect()
}
