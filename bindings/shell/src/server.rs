//! What a server's worker does between two waits.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_core::{Config, Event, Hub, Instant, Upgraded};
use forebay_sys::{Events, Poller, Tuning, Watched};

use crate::acceptor::{Acceptor, Entrance};
use crate::calls::{Adopt, Calls, Handover};
use crate::gate::lock;
use crate::{
    AdoptError, Application, Clock, Command, Document, Driver, Mailbox, ServerOptions, Snapshot, SubscriptionLink,
    UpgradeHook, Wake,
};

/// What comes after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A wait, of at most that long if that is said; then the input.
    Wait(Option<Duration>),
    /// Nothing: the work is done.
    Over,
}

/// What other threads and tasks know of a worker.
#[derive(Debug)]
pub struct ServerLink {
    /// What they want of it.
    pub mailbox: Mailbox<Command>,
    /// A wake is on its way to it.
    is_woken: AtomicBool,
    /// How the hub was at its end; until then, how it began.
    last: Mutex<Snapshot>,
}

impl ServerLink {
    /// How the hub was at its end, without lanes; until then, how it began.
    #[must_use]
    pub fn last(&self) -> Snapshot {
        lock(&self.last).clone()
    }

    /// Wakes the application: it is told [`Event::Woken`] after this, once for any number of wakes before that.
    pub fn wake_application(&self) {
        if !self.is_woken.swap(true, SeqCst) {
            drop(self.mailbox.post_bounded_otherwise(Command::Wake));
        }
    }

    /// The worker a topic belongs to: by FNV-1a of its name.
    #[must_use]
    pub fn of_topic<'a>(links: &'a [Arc<Self>], topic: &str) -> &'a Arc<Self> {
        let hash = topic
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
        let index = hash % links.len() as u64;
        &links[usize::try_from(index).expect("an index of a slice")]
    }

    /// The worker that takes a socket: by the port of its peer.
    #[must_use]
    pub fn of_stream<'a>(links: &'a [Arc<Self>], stream: &TcpStream) -> &'a Arc<Self> {
        let port = stream.peer_addr().map_or(0, |address| address.port());
        &links[usize::from(port) % links.len()]
    }
}

/// A server's hub with everything it has to do but to wait: [`turn`](Self::turn), wait (not if it
/// [has work](Self::has_work)), [`input`](Self::input), and so on.
#[derive(Debug)]
pub struct ServerWork {
    driver: Driver<Watched<TcpStream>>,
    calls: Calls,
    commands: VecDeque<Command>,
    entrance: Entrance,
    on_upgrade: Option<UpgradeHook>,
    /// `None` if it listens nowhere, or not any more.
    acceptor: Option<Acceptor>,
    link: Arc<ServerLink>,
    drain_timeout: Duration,
    drain_until: Option<Instant>,
}

/// The other threads' commands and the application behind one ear.
struct Listening<'a, F> {
    calls: &'a mut Calls,
    on_upgrade: Option<&'a UpgradeHook>,
    on_event: &'a mut F,
}

impl<F: FnMut(&mut Hub, Event, Instant)> Application for Listening<'_, F> {
    fn before_events(&mut self, hub: &mut Hub, now: Instant) {
        self.calls.before_events(hub, now);
        if std::mem::take(&mut self.calls.is_woken) {
            (self.on_event)(hub, Event::Woken, now);
        }
    }

    fn event(&mut self, hub: &mut Hub, event: Event, now: Instant) {
        if let (Event::UpgradeRequested(conn), Some(hook)) = (event, self.on_upgrade)
            && hook.decide(hub, conn, now)
        {
            return;
        }
        self.calls.event(hub, event, now);
        (self.on_event)(hub, event, now);
    }
}

impl ServerWork {
    /// Listens on the first of the addresses that can be had, with topics and documents.
    ///
    /// # Errors
    /// No address can be had, or the options contradict each other ([`io::ErrorKind::InvalidInput`]).
    pub fn bind(
        addresses: impl ToSocketAddrs,
        options: &ServerOptions,
        poller: &Arc<Poller>,
        wake: &Arc<Wake>,
    ) -> io::Result<Self> {
        let mut work = Self::unbound(options, poller, wake)?;
        work.acceptor = Some(Acceptor::new(TcpListener::bind(addresses)?, work.entrance.clone())?);
        Ok(work)
    }

    /// Listens nowhere: connections are adopted. With topics and documents.
    ///
    /// # Errors
    /// The options contradict each other ([`io::ErrorKind::InvalidInput`]).
    pub fn unbound(options: &ServerOptions, poller: &Arc<Poller>, wake: &Arc<Wake>) -> io::Result<Self> {
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let config = Config::try_from(options.hub).map_err(|error| invalid(error.to_string()))?;
        let clock = Clock::start();
        let mut hub = Hub::new(config, crate::entropy()?, clock.now());
        for (name, topic) in &options.topics {
            topic.check().map_err(|error| invalid(format!("topic {name:?}: {error}")))?;
            hub.topic(name, *topic).map_err(|error| invalid(format!("topic {name:?}: {error}")))?;
        }
        for Document { path, content_type, body } in &options.documents {
            let added = hub.document(path, content_type, body.clone());
            added.map_err(|error| invalid(format!("document {path:?}: {error}")))?;
        }
        for origin in &options.origins {
            hub.allow_origin(origin).map_err(|error| invalid(format!("origin {origin:?}: {error}")))?;
        }
        for name in &options.protocols {
            hub.allow_protocol(name).map_err(|error| invalid(format!("subprotocol {name:?}: {error}")))?;
        }
        let tuning =
            Tuning { notsent_lowat_bytes: options.notsent_lowat_bytes, send_buffer_bytes: options.send_buffer_bytes };
        let entrance =
            Entrance { poller: Arc::clone(poller), tuning, mode: options.mode, is_gated: options.on_upgrade.is_some() };
        let mut driver = Driver::new(hub, clock, !poller.supports_level());
        let last = Mutex::new(driver.snapshot(0));
        Ok(Self {
            driver,
            calls: Calls::default(),
            commands: VecDeque::new(),
            entrance,
            on_upgrade: options.on_upgrade.clone(),
            acceptor: None,
            link: Arc::new(ServerLink {
                mailbox: Mailbox::new(options.mailbox_max, Arc::clone(wake)),
                is_woken: AtomicBool::new(false),
                last,
            }),
            drain_timeout: options.drain_timeout,
            drain_until: None,
        })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// The system does not say; or it listens nowhere ([`io::ErrorKind::NotConnected`]).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.acceptor.as_ref().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// What others know of it.
    #[must_use]
    pub fn link(&self) -> &Arc<ServerLink> {
        &self.link
    }

    /// Everything there is to write and to tell. Over once it was shut down and is drained.
    pub fn turn(&mut self, on_event: &mut impl FnMut(&mut Hub, Event, Instant)) -> Step {
        let timeout =
            self.driver.turn(&mut Listening { calls: &mut self.calls, on_upgrade: self.on_upgrade.as_ref(), on_event });
        self.calls.release(self.driver.hub());
        let now = self.driver.now();
        if let Some(until) = self.drain_until {
            let is_drained = now >= until || self.calls.is_drained(self.driver.hub());
            if is_drained && self.driver.is_empty() && timeout != Some(Duration::ZERO) {
                return Step::Over;
            }
        }
        let deadlines = [
            timeout,
            self.calls.deadline().map(|at| at.since(now)),
            self.acceptor.as_ref().and_then(Acceptor::deadline).map(|at| at.since(now)),
            self.drain_until.filter(|until| *until > now).map(|until| until.since(now)),
        ];
        Step::Wait(deadlines.into_iter().flatten().min())
    }

    /// Whether there are commands, which no poller tells.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.link.mailbox.is_empty()
    }

    /// What the poller told, new sockets, and commands.
    ///
    /// # Errors
    /// The listener cannot be watched.
    pub fn input(&mut self, events: &Events) -> io::Result<()> {
        self.driver.input(events);
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.accept(&mut self.driver, events)?;
        }
        self.link.mailbox.take(&mut self.commands);
        while let Some(command) = self.commands.pop_front() {
            self.carry_out(command);
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command) {
        let now = self.driver.now();
        let hub = self.driver.hub();
        match command {
            Command::Publish(publish) => self.calls.publish(hub, publish, now),
            Command::Declare(name, options, answer) => answer.give(hub.topic(&name, options).map(drop)),
            Command::Subscribe(topic, lane, from, answer) => {
                let link = |(lane, epoch, inbox)| SubscriptionLink::new(Arc::clone(&self.link), lane, epoch, inbox);
                answer.attempt(|| Some(self.calls.subscribe(hub, &topic, (lane, from), now).map(link)));
            }
            Command::Take(lane) => self.calls.serve(hub, lane, now),
            Command::Unsubscribe(lane) => self.calls.unsubscribe(hub, lane, now),
            Command::Ready(topic, answer) => self.calls.ready(hub, &topic, answer),
            Command::Stats(answer) => answer.give(*hub.stats()),
            Command::TopicTotals(topic, answer) => {
                let topic = hub.find_topic(&topic).and_then(|topic| hub.topic_pressure(topic));
                answer.give(topic.map(|topic| topic.totals));
            }
            Command::Snapshot(lanes_max, answer) => {
                if answer.is_awaited() {
                    hub.handle_timeout(now); // Ages are as of the hub's time.
                    answer.give(self.driver.snapshot(lanes_max));
                }
            }
            Command::Adopt(Adopt { stream, leftover, handover, answer }) => {
                if answer.is_awaited() {
                    answer.give(self.adopt(stream, &leftover, &handover));
                }
            }
            Command::Wake => {
                // What woke it was left before; whoever leaves more from now on wakes it again.
                self.link.is_woken.store(false, SeqCst);
                self.calls.is_woken = true;
            }
            Command::Shutdown => self.shut_down(),
        }
    }

    fn adopt(&mut self, stream: TcpStream, leftover: &[u8], handover: &Handover) -> Result<(), AdoptError> {
        let peer = self.entrance.peer(stream.peer_addr().ok());
        let socket = self.entrance.tune(stream).map_err(AdoptError::Io)?;
        let adopted = match handover {
            Handover::Request => self.driver.adopt(socket, peer, leftover),
            Handover::Upgraded(protocol) => self.driver.adopt_upgraded(
                socket,
                Upgraded { peer, protocol: protocol.as_deref(), deflate: None },
                leftover,
            ),
        };
        adopted.map(drop).map_err(AdoptError::Refused)
    }

    fn shut_down(&mut self) {
        if self.drain_until.is_none() {
            self.acceptor = None;
            let now = self.driver.now();
            let until = now + self.drain_timeout;
            self.driver.hub().drain(until, now);
            self.drain_until = Some(until);
        }
    }
}

impl Drop for ServerWork {
    /// However it ends, nobody waits for it in vain.
    fn drop(&mut self) {
        let mut last = lock(&self.link.last);
        if std::thread::panicking() {
            last.stats = *self.driver.hub().stats(); // Perhaps of the hub: it is asked no more than that.
        } else {
            *last = self.driver.snapshot(0);
        }
        drop(last);
        self.link.mailbox.close();
    }
}
