//! Documents for plain HTTP requests: pages and scripts that belong to the service.

use bytes::Bytes;

use super::Hub;
use crate::conn::Phase;
use crate::error::DocumentError;
use crate::id::ConnId;
use crate::output::EndReason;
use crate::wire::handshake::{self, HandshakeError};

#[derive(Debug)]
pub(super) struct Document {
    content_type: alloc::boxed::Box<str>,
    body: Bytes,
}

impl Hub {
    pub(super) fn add_document(&mut self, path: &str, content_type: &str, body: Bytes) -> Result<(), DocumentError> {
        let is_printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.starts_with('/') || !is_printable(path) || path.contains(['?', '#']) {
            return Err(DocumentError::InvalidPath);
        }
        let is_type = content_type.contains('/') && content_type.bytes().all(|byte| matches!(byte, 0x20..0x7F));
        if !is_type {
            return Err(DocumentError::InvalidContentType);
        }
        self.documents.insert(path.into(), Document { content_type: content_type.into(), body });
        Ok(())
    }

    /// An opening request that cannot be upgraded: the document it asks for, or a refusal.
    pub(super) fn answer_plain(&mut self, id: ConnId, head: &[u8], error: HandshakeError) {
        let path = match error {
            HandshakeError::UpgradeRequired => handshake::parse_get(head).ok(),
            _ => None,
        };
        let Some(Document { content_type, body }) = path.and_then(|path| self.documents.get(path)) else {
            return self.refuse(id, error);
        };
        let (content_type, body) = (content_type.clone(), body.clone());
        if !self.make_room_for(body.len()) {
            return self.end(id, EndReason::Overloaded, true);
        }
        handshake::put_document(&mut self.work_mut(id).outbound.replies, &content_type, &body);
        self.conn_mut(id).phase = Phase::Closing { reason: EndReason::Served, awaits_peer: false, since: self.now };
    }
}
