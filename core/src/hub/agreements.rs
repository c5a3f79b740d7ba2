//! What compression is agreed with whom, and the memory for contexts that are taken over (RFC 7692 §7.1).

use super::Hub;
use crate::compression::DeflateOptions;
use crate::conn::Contexts;
use crate::id::ConnId;
use crate::wire::Role;
use crate::wire::deflate::{self, Agreed, Answer, Direction, Offer, WindowBits};
use crate::wire::handshake;

impl Hub {
    /// What a client that we are offers.
    pub(super) fn deflate_offer(&self) -> Option<Offer> {
        let options = self.config.deflate?;
        Some(Offer(self.afford(&options, Role::Client, most(&options, Role::Client))))
    }

    /// What a server that we are answers.
    pub(super) fn deflate_answer(&self, request: &handshake::Request<'_>) -> Option<Answer> {
        let options = self.config.deflate?;
        let mut answer = deflate::negotiate(request.fields.all(handshake::EXTENSIONS), most(&options, Role::Server))?;
        answer.agreed = self.afford(&options, Role::Server, answer.agreed);
        Some(answer)
    }

    /// What was agreed by others, if we can have it: nobody can be told any more not to take over what it sends.
    pub(super) fn deflate_agreed(&self, role: Role, agreed: Agreed) -> Option<Agreed> {
        let afforded = self.afford(&self.config.deflate?, role, agreed);
        (afforded.received_by(role) == agreed.received_by(role)).then_some(afforded)
    }

    /// Less what there is no memory for.
    fn afford(&self, options: &DeflateOptions, role: Role, agreed: Agreed) -> Agreed {
        let room = options.context_bytes_max - self.contexts_reserved;
        let fits = |agreed: Agreed| context_bytes(options, role, agreed) <= room;
        let Agreed { server, client } = agreed;
        // What is sent is worth more than what is received, and costs more.
        let (only_sent, only_received) = match role {
            Role::Server => (Agreed { client: client.alone(), ..agreed }, Agreed { server: server.alone(), ..agreed }),
            Role::Client => (Agreed { server: server.alone(), ..agreed }, Agreed { client: client.alone(), ..agreed }),
        };
        let neither = Agreed { server: server.alone(), client: client.alone() };
        [agreed, only_sent, only_received].into_iter().find(|agreed| fits(*agreed)).unwrap_or(neither)
    }

    /// Has memory for what is agreed, or offered, with a connection, and no more than that.
    pub(super) fn reserve_contexts(&mut self, id: ConnId, agreed: Option<Agreed>) {
        let role = self.conn_mut(id).role;
        let bytes = match (&self.config.deflate, agreed) {
            (Some(options), Some(agreed)) => context_bytes(options, role, agreed),
            _ => 0,
        };
        if bytes == 0 {
            return self.forget_contexts(id);
        }
        let contexts = self.contexts.entry(id).or_default();
        self.contexts_reserved = self.contexts_reserved - contexts.reserved + bytes;
        contexts.reserved = bytes;
    }
}

/// What we agree to at most, memory aside.
fn most(options: &DeflateOptions, role: Role) -> Agreed {
    let takes_over = options.context_bytes_max > 0;
    let ours = Direction::new(WindowBits::new(options.window_bits).expect("options were checked"), takes_over);
    let theirs = Direction::new(WindowBits::MAX, takes_over);
    match role {
        Role::Server => Agreed { server: ours, client: theirs },
        Role::Client => Agreed { server: theirs, client: ours },
    }
}

/// What the contexts of a connection may take.
fn context_bytes(options: &DeflateOptions, role: Role, agreed: Agreed) -> usize {
    let sent = agreed.sent_by(role);
    let compressor = sent.compressor().filter(|_| sent.takes_over());
    let received = agreed.received_by(role).context();
    compressor.map_or(0, |bits| bits.compressor_bytes(options.memory_level)) + received.map_or(0, WindowBits::bytes)
}

/// Contexts end.
impl Hub {
    /// A connection has no contexts any more.
    pub(super) fn forget_contexts(&mut self, id: ConnId) {
        let Some(Contexts { reserved, inflating, charged, .. }) = self.contexts.remove(&id) else { return };
        self.contexts_reserved -= reserved;
        self.recharge(charged, 0);
        if let Some(inflating) = inflating {
            self.keep_inflater(inflating.into_inflater());
        }
    }
}
