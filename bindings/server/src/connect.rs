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

/// Whether it is worth coming back after this end: not if we wanted it, nor if the next connection would end the same way.
/// A session that somebody else has taken over is theirs.
pub(crate) fn is_worth_returning(closed: &Closed) -> bool {
    match closed.reason {
        EndReason::Closed(_) | EndReason::Protocol(_) => false,
        EndReason::PeerClosed(Some(code)) => ![1002, 1003, 1007, 1009, 1010, RESUMED_CODE].contains(&code.get()),
        _ => true,
    }
}

/// Another connection has resumed the session.
const RESUMED_CODE: u16 = 4001;

/// Whether somebody else has taken the session over.
pub(crate) fn is_taken_over(closed: &Closed) -> bool {
    matches!(closed.reason, EndReason::PeerClosed(Some(code)) if code.get() == RESUMED_CODE)
}

/// How long is waited before each attempt to come back: random, up to a bound that doubles. Begun anew whenever a connection was
/// of use.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const MOST: Duration = Duration::from_secs(10);

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.attempts)).min(Self::MOST);
        self.attempts += 1;
        // Many clients that lost the same server do not come back at once.
        bound.mul_f64(f64::from(random::<4>().map_or(u32::MAX, u32::from_ne_bytes)) / f64::from(u32::MAX))
    }
}

/// Random bytes; none if the system has no random source.
pub(crate) fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).is_ok().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        for bound in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            assert!(backoff.next() <= Duration::from_millis(bound));
        }
    }

    #[test]
    fn nobody_returns_to_what_is_not_theirs_or_would_end_again() {
        let closed = |reason| Closed { reason, unsent_messages: 0 };
        let peer = |code| closed(EndReason::PeerClosed(CloseCode::new(code)));
        for (end, is_worth) in [
            (closed(EndReason::PeerGone), true),
            (closed(EndReason::PongTimeout), true),
            (closed(EndReason::PeerClosed(None)), true),
            (peer(1000), true),
            (peer(1001), true),
            (peer(1013), true),
            (peer(1002), false),
            (peer(1009), false),
            (peer(4001), false),
            (closed(EndReason::Closed(CloseCode::NORMAL)), false),
        ] {
            assert_eq!(is_worth_returning(&end), is_worth, "{end:?}");
        }
    }
}
