//! What `publish` and `subscribe` have in common: a connection, and the server's first message.

use std::time::Duration;

use forebay_threads::{Client, ClientOptions, CloseCode, Closed, EndReason, OwnedPayload, ReceiveError};

use crate::Failure;
use crate::protocol::{self, Hello, Incoming};

/// How long the server may take for its first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, and waits for `hello`.
pub(crate) fn connect(url: &str, mut options: ClientOptions) -> Result<(Client, Hello), Failure> {
    options.protocols = vec![protocol::PROTOCOL.to_owned()];
    // A server that does not answer our Close keeps the operator waiting no longer than this.
    options.hub.close_timeout = Duration::from_secs(1);
    let client = Client::connect(url, options).map_err(|error| match error {
        forebay_threads::ConnectError::Url(error) => Failure::usage(format!("{url}: {error}")),
        error => Failure::runtime(format!("cannot connect to {url}: {error}")),
    })?;
    let first = client.receive_timeout(HELLO_TIMEOUT).map_err(|error| {
        let problem = match error {
            ReceiveError::TimedOut => "no hello from the server within 10 s; is it a forebay server?".to_owned(),
            ReceiveError::Closed(closed) => format!("the connection ended: {closed}"),
        };
        Failure::runtime(format!("{url}: {problem}"))
    })?;
    match protocol::parse(text(&first)?) {
        Ok(Incoming::Hello(hello)) => Ok((client, hello)),
        _ => {
            Err(Failure::runtime(format!("{url}: the server's first message is not a hello of {}", protocol::PROTOCOL)))
        }
    }
}

/// A message's text.
pub(crate) fn text(payload: &OwnedPayload) -> Result<&str, Failure> {
    payload.as_text().ok_or_else(|| Failure::runtime("the server sent a binary message: not a forebay server"))
}

/// Whether the connection ended in good order: we closed it, or the server did, with 1000 or 1001.
pub(crate) fn ended_well(closed: &Closed) -> bool {
    match closed.reason {
        EndReason::Closed(code) => code == CloseCode::NORMAL,
        EndReason::PeerClosed(code) => matches!(code, Some(CloseCode::NORMAL | CloseCode::GOING_AWAY)),
        _ => false,
    }
}
