//! Consumers over real sockets: clients that read as they come, slowly, or not at all.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_core::Policy;
use forebay_threads::{Client, ClientOptions, EndReason, Payload, ReceiveError};

use crate::protocol::{self, Incoming};
use crate::requests::{self, Lane};
use crate::{Failure, connect};

/// In the kernel and ahead of what is taken: little, so that what is not taken waits at the server.
const RECEIVE_BUFFER_BYTES: u32 = 8 << 10;
const AHEAD_BYTES_MAX: u32 = 16 << 10;
/// A slow consumer takes five messages a second.
const SLOW_PAUSE: Duration = Duration::from_millis(200);
/// How long somebody reads who was woken.
const AWAKE: Duration = Duration::from_secs(1);
/// How long whoever is slow or was woken waits for a message.
const LOOK: Duration = Duration::from_millis(200);
/// Before somebody whose connection ended comes back.
const AWAY: Duration = Duration::from_millis(500);

/// How a consumer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Whatever comes.
    Fast,
    /// A few messages a second.
    Slow,
    /// Nothing, until it is woken.
    Frozen,
}

impl Pace {
    pub(super) const ALL: [Self; 3] = [Self::Fast, Self::Slow, Self::Frozen];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Frozen => "frozen",
        }
    }
}

/// A consumer, with a thread of its own.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) policy: Policy,
    pub(super) pace: Pace,
    shared: Arc<Shared>,
}

/// What is known of a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct State {
    /// Its address while it is subscribed.
    pub(super) peer: Option<SocketAddr>,
    /// How often its connection ended.
    pub(super) ends: u64,
    /// The last code it was closed with; `None`: without a Close frame.
    pub(super) end_code: Option<u16>,
    /// Somebody wants it to read for a while.
    pub(super) is_woken: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consumer {
    /// Starts one that subscribes to `topic` at `url`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(url: &str, topic: &str, policy: Policy, pace: Pace) -> Result<Self, Failure> {
        let consumer = Self { policy, pace, shared: Arc::default() };
        let (url, request) = (url.to_owned(), requests::subscribe(topic, &Lane::default(), 1));
        let its = consumer.clone();
        std::thread::Builder::new()
            .name(format!("{} {policy}", pace.name()))
            .spawn(move || its.consume(&url, &request))
            .map_err(|error| Failure::runtime(format!("cannot start a thread: {error}")))?;
        Ok(consumer)
    }

    pub(super) fn state(&self) -> State {
        *self.shared.lock()
    }

    /// Makes it read for a while, however slow it is.
    pub(super) fn wake(&self) {
        self.shared.lock().is_woken = true;
        self.shared.woken.notify_all();
    }

    /// For as long as the process lives: whoever is ended comes back.
    fn consume(&self, url: &str, request: &str) {
        loop {
            let end = self.consume_once(url, request);
            {
                let mut state = self.shared.lock();
                if state.peer.take().is_some() {
                    state.ends += 1;
                    state.end_code = match end {
                        Err(EndReason::PeerClosed(code)) => code.map(|code| code.get()),
                        _ => None,
                    };
                }
            }
            std::thread::sleep(AWAY);
        }
    }

    /// From connecting to the end of the connection.
    fn consume_once(&self, url: &str, request: &str) -> Result<std::convert::Infallible, EndReason> {
        let mut options =
            ClientOptions { receive_buffer_bytes: Some(RECEIVE_BUFFER_BYTES), ..ClientOptions::default() };
        options.hub.message_bytes_max = AHEAD_BYTES_MAX;
        options.hub.inbound_bytes_max = AHEAD_BYTES_MAX;
        let gone = EndReason::PeerGone;
        let (client, _) = connect::connect(url, options).map_err(|_| gone)?;
        client.send(Payload::Text(request)).map_err(|_| gone)?;
        let answer = client.receive().map_err(|closed| closed.reason)?;
        if !matches!(answer.as_text().map(protocol::parse), Some(Ok(Incoming::Ok(_)))) {
            return Err(gone);
        }
        {
            let mut state = self.shared.lock();
            (state.peer, state.is_woken) = (Some(client.local_addr()), false);
        }
        loop {
            match self.pace {
                Pace::Fast => drop(client.receive().map_err(|closed| closed.reason)?),
                Pace::Slow if self.rest(Some(SLOW_PAUSE)) => receive_all(&client)?,
                Pace::Slow => receive(&client)?,
                Pace::Frozen => {
                    self.rest(None);
                    receive_all(&client)?;
                }
            }
        }
    }

    /// Waits for a time, or until it is woken (`None`: however long that takes); whether it was.
    fn rest(&self, pause: Option<Duration>) -> bool {
        let is_asleep = |state: &mut State| !state.is_woken;
        let state = self.shared.lock();
        let mut state = match pause {
            Some(pause) => {
                let rested = self.shared.woken.wait_timeout_while(state, pause, is_asleep);
                rested.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.shared.woken.wait_while(state, is_asleep).unwrap_or_else(PoisonError::into_inner),
        };
        std::mem::take(&mut state.is_woken)
    }
}

/// Takes a message, if one comes.
fn receive(client: &Client) -> Result<(), EndReason> {
    match client.receive_timeout(LOOK) {
        Ok(_) | Err(ReceiveError::TimedOut) => Ok(()),
        Err(ReceiveError::Closed(closed)) => Err(closed.reason),
    }
}

/// Takes what comes for a while.
fn receive_all(client: &Client) -> Result<(), EndReason> {
    let until = Instant::now() + AWAKE;
    while Instant::now() < until {
        receive(client)?;
    }
    Ok(())
}
