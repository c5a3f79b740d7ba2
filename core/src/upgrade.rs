//! Opening requests that the application decides about.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::wire::deflate::Agreed;
use crate::wire::handshake::Request;

/// An opening request that waits for the application's [`Verdict`]. It is a valid one, and its origin is admitted.
///
/// It derefs to the [`Request`], with path, query, host, origin, subprotocols and all header fields. These are as the peer
/// wrote them: escape what is logged.
#[derive(Clone, Copy, Debug)]
pub struct UpgradeRequest<'a> {
    /// The request.
    pub request: Request<'a>,
    /// The peer's address, as [`Peer::address`](crate::Peer::address) gave it.
    pub address: Option<SocketAddr>,
    /// The subprotocol that is answered if the verdict names no other.
    pub protocol: Option<&'a str>,
    /// The compression that would be agreed to now.
    pub deflate: Option<Agreed>,
}

impl<'a> core::ops::Deref for UpgradeRequest<'a> {
    type Target = Request<'a>;

    fn deref(&self) -> &Request<'a> {
        &self.request
    }
}

/// What an application says to an [`UpgradeRequest`].
///
/// ```
/// use forebay_core::Verdict;
/// let welcome = Verdict::accept_as("alice").with_header("Set-Cookie", "seen=1; HttpOnly");
/// let refused = Verdict::refuse(401, "who are you?").with_header("WWW-Authenticate", "Bearer");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The connection is opened.
    Accept {
        /// Whom it belongs to, as [`Hub::authenticate`](crate::Hub::authenticate) says.
        principal: Option<String>,
        /// The subprotocol, one of those offered (and of a dialect, where the connection speaks one). `None`: as
        /// [`UpgradeRequest::protocol`] says.
        protocol: Option<String>,
        /// Further fields of the answer.
        headers: Vec<(String, String)>,
    },
    /// The request is refused and the connection ends.
    Refuse {
        /// 400 to 599.
        status: u16,
        /// Further fields of the answer, such as WWW-Authenticate or Retry-After.
        headers: Vec<(String, String)>,
        /// Its body: a short text.
        text: String,
    },
}

impl Verdict {
    /// Opens the connection.
    #[must_use]
    pub const fn accept() -> Self {
        Self::Accept { principal: None, protocol: None, headers: Vec::new() }
    }

    /// Opens the connection, which belongs to this principal.
    #[must_use]
    pub fn accept_as(principal: &str) -> Self {
        Self::Accept { principal: Some(principal.into()), protocol: None, headers: Vec::new() }
    }

    /// Refuses the request with a status from 400 to 599 and a short text.
    #[must_use]
    pub fn refuse(status: u16, text: &str) -> Self {
        Self::Refuse { status, headers: Vec::new(), text: text.into() }
    }

    /// The verdict with one more field in its answer.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let (Self::Accept { headers, .. } | Self::Refuse { headers, .. }) = &mut self;
        headers.push((name.into(), value.into()));
        self
    }
}
