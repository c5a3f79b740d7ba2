//! Publishing and subscribing from other threads.

use std::fmt;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_core::{
    Entry, LaneOptions, Message, PublishError, Published, Start, Stats, SubscribeError, TopicError, TopicOptions,
    Totals,
};
#[cfg(feature = "metrics")]
use forebay_shell::Collector;
use forebay_shell::{
    Adopt, AdoptError, Answer, CallError, Command, Handover, NextError, Publish, ServerLink, Snapshot,
    SubscriptionLink, reply,
};

/// A server's handle, for any thread.
///
/// Every method but [`wake`](Self::wake) and [`shutdown`](Self::shutdown) waits for the worker's answer.
#[derive(Clone)]
pub struct Handle {
    /// One per worker. A topic belongs to one of them.
    links: Arc<[Arc<ServerLink>]>,
}

impl Handle {
    pub(crate) fn new(links: Vec<Arc<ServerLink>>) -> Self {
        Self { links: links.into() }
    }

    fn link(&self, topic: &str) -> &Arc<ServerLink> {
        ServerLink::of_topic(&self.links, topic)
    }

    /// Publishes a message (a [`Payload`](forebay_core::Payload), whose text is JSON, or one with a key or an id) and waits for the
    /// answer. An undeclared topic is made with the defaults.
    ///
    /// # Errors
    /// [`PublishError::Full`] at once, if a lane with the policy `Block` has no room, and [`PublishError::Limited`], if the topic's
    /// rate is used up; the others as the hub says.
    pub fn publish<'a>(
        &self,
        topic: &str,
        message: impl Into<Message<'a>>,
    ) -> Result<Published, CallError<PublishError>> {
        let message = message.into().into();
        let publish = |answer| Command::Publish(Publish { topic: topic.into(), message, waits: false, answer });
        Self::call(self.link(topic), publish).unwrap_or(Err(CallError::Stopped))
    }

    /// Publishes; where a lane with the policy `Block` has no room, or the topic's rate is used up, waits for it. Publishes of
    /// one topic that wait are carried out in order.
    ///
    /// # Errors
    /// [`PublishError::Full`] after `timeout`, whatever it waited for; the others as the hub says.
    pub fn publish_wait<'a>(
        &self,
        topic: &str,
        message: impl Into<Message<'a>>,
        timeout: Duration,
    ) -> Result<Published, CallError<PublishError>> {
        let deadline = Instant::now().checked_add(timeout);
        let (answer, reply) = reply();
        let message = message.into().into();
        let command = Command::Publish(Publish { topic: topic.into(), message, waits: true, answer });
        let mailbox = &self.link(topic).mailbox;
        // Refused because the server stopped, the command is dropped, and the reply tells.
        let posted = mailbox.post_until(command, deadline).map(drop);
        let answered = posted.and_then(|()| reply.wait_until(deadline).ok());
        answered.map_or(Err(CallError::Refused(PublishError::Full)), |answer| answer.unwrap_or(Err(CallError::Stopped)))
    }

    /// Waits until the lanes of a topic with the policy `Block` have emptied to the low mark, if one of them is at the high
    /// mark ([`Event::Upstream`](forebay_core::Event::Upstream)): for whoever makes messages on demand (reads a file, asks a
    /// database) and need not make them yet. A topic that is not there, or whose lanes have other policies, brakes nobody.
    ///
    /// # Errors
    /// It took longer than `timeout`, or the server has stopped.
    pub fn ready(&self, topic: &str, timeout: Duration) -> Result<(), NextError> {
        let deadline = Instant::now().checked_add(timeout);
        let (answer, reply) = reply();
        let posted = self.link(topic).mailbox.post_until(Command::Ready(topic.into(), answer), deadline);
        drop(posted.ok_or(NextError::TimedOut)?); // Refused because the server stopped, it is dropped: the reply tells.
        reply.wait_until(deadline).map_err(|_| NextError::TimedOut)?.ok_or(NextError::Ended)
    }

    /// Posts a command with an answer and waits for it; `None` if the server has stopped.
    fn call<T>(link: &ServerLink, command: impl FnOnce(Answer<T>) -> Command) -> Option<T> {
        let (answer, reply) = reply();
        drop(link.mailbox.post(command(answer)));
        reply.wait()
    }

    /// Declares a topic.
    ///
    /// # Errors
    /// As [`Hub::topic`](forebay_core::Hub::topic).
    pub fn declare_topic(&self, name: &str, options: TopicOptions) -> Result<(), CallError<TopicError>> {
        Self::call(self.link(name), |answer| Command::Declare(name.into(), options, answer))
            .ok_or(CallError::Stopped)?
            .map_err(CallError::Refused)
    }

    /// Subscribes this process: from now on what is published waits in a lane of the hub until it is taken.
    ///
    /// # Errors
    /// As [`Hub::subscribe_local`](forebay_core::Hub::subscribe_local).
    pub fn subscribe(&self, topic: &str, lane: LaneOptions) -> Result<Subscription, CallError<SubscribeError>> {
        self.subscribe_from(topic, lane, Start::Latest)
    }

    /// Subscribes this process, with messages that were published before: [`Subscription::epoch`] and the number of the last
    /// message that was taken say where to go on ([`Start::After`]).
    ///
    /// # Errors
    /// As [`Hub::subscribe_local`](forebay_core::Hub::subscribe_local).
    pub fn subscribe_from(
        &self,
        topic: &str,
        lane: LaneOptions,
        from: Start,
    ) -> Result<Subscription, CallError<SubscribeError>> {
        let subscribe = |answer| Command::Subscribe(topic.into(), lane, from, answer);
        Self::call(self.link(topic), subscribe).unwrap_or(Err(CallError::Stopped)).map(Subscription)
    }

    /// Takes over a connection of an HTTP server that has read `leftover`, its request or a part of it or more, and has
    /// answered nothing: the hub answers the opening handshake. From now on it counts like any other. Of several workers
    /// one takes it.
    ///
    /// # Errors
    /// It was not taken, and is closed; with a 503 if the hub takes no more.
    pub fn adopt(&self, stream: TcpStream, leftover: &[u8]) -> Result<(), AdoptError> {
        self.hand_over(stream, leftover, Handover::Request)
    }

    /// Takes over a connection of an HTTP server that has answered the opening handshake, with this subprotocol (`None`:
    /// without one), and has read `leftover` behind the request.
    ///
    /// # Errors
    /// It was not taken, and is closed.
    pub fn adopt_upgraded(&self, stream: TcpStream, protocol: Option<&str>, leftover: &[u8]) -> Result<(), AdoptError> {
        self.hand_over(stream, leftover, Handover::Upgraded(protocol.map(Into::into)))
    }

    fn hand_over(&self, stream: TcpStream, leftover: &[u8], handover: Handover) -> Result<(), AdoptError> {
        let link = ServerLink::of_stream(&self.links, &stream);
        let adopt = |answer| Command::Adopt(Adopt { stream, leftover: leftover.into(), handover, answer });
        Self::call(link, adopt).unwrap_or(Err(AdoptError::Stopped))
    }

    /// The hubs' numbers; after the server has stopped, the last ones.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let of_link = |link: &Arc<ServerLink>| Self::call(link, Command::Stats).unwrap_or_else(|| link.last().stats);
        self.links.iter().map(of_link).fold(Stats::default(), |mut sum, more| {
            sum += &more;
            sum
        })
    }

    /// Everything there is to see, with at most `lanes_max` lanes; `None` if the server has stopped. A worker looks at
    /// each of its topics and each lane listed, and asks the kernel about their connections.
    #[must_use]
    pub fn snapshot(&self, lanes_max: usize) -> Option<Snapshot> {
        let mut all = Snapshot::default();
        for link in &*self.links {
            let lanes_left = lanes_max - all.lanes.len();
            all.add(Self::call(link, |answer| Command::Snapshot(lanes_left, answer))?);
        }
        Some(all)
    }

    /// The same, unless it takes longer than `timeout`: `None`.
    #[must_use]
    pub fn snapshot_timeout(&self, lanes_max: usize, timeout: Duration) -> Option<Snapshot> {
        let deadline = Instant::now().checked_add(timeout);
        let mut all = Snapshot::default();
        for link in &*self.links {
            let (answer, reply) = reply();
            let command = Command::Snapshot(lanes_max - all.lanes.len(), answer);
            link.mailbox.post_until(command, deadline)?.ok()?;
            all.add(reply.wait_until(deadline).ok()??);
        }
        Some(all)
    }

    /// The terms of a topic's queue law; `None` if there is no such topic, or the server has stopped.
    #[must_use]
    pub fn topic_totals(&self, topic: &str) -> Option<Totals> {
        Self::call(self.link(topic), |answer| Command::TopicTotals(topic.into(), answer)).flatten()
    }

    /// The server's numbers for an application's own registry (feature `metrics`), in which they need no port of their own.
    ///
    /// ```
    /// # let server = forebay_threads::Server::unbound(Default::default())?;
    /// # let handle = server.handle();
    /// # let running = std::thread::spawn(|| server.run());
    /// let mut registry = prometheus_client::registry::Registry::default();
    /// registry.register_collector(Box::new(handle.collector()));
    /// let mut text = String::new();
    /// prometheus_client::encoding::text::encode(&mut text, &registry)?;
    /// assert!(text.contains("\nforebay_connections 0\n"));
    /// # handle.shutdown();
    /// # running.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn collector(&self) -> Collector {
        Collector::new(Arc::clone(&self.links))
    }

    /// Wakes the application: each `on_event` of [`Server::run_with`](crate::Server::run_with) is called with
    /// [`Event::Woken`](forebay_core::Event::Woken), once for any number of wakes before that. So it can go on with what it
    /// left, for instance [`Hub::receive`](forebay_core::Hub::receive), when another thread has made room for it. Does not
    /// wait for that.
    pub fn wake(&self) {
        self.links.iter().for_each(|link| link.wake_application());
    }

    /// Stops the server: it takes no new connections and subscriptions, hands out what waits, for at most `drain_timeout`,
    /// and [`Server::run`](crate::Server::run) returns. Until then it publishes; whoever still waits then is told that it
    /// has stopped. Does not wait for that.
    pub fn shutdown(&self) {
        for link in &*self.links {
            // It comes before whoever waits for room; one that has stopped needs no telling.
            drop(link.mailbox.post_bounded_otherwise(Command::Shutdown));
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.links.len()).finish_non_exhaustive()
    }
}

/// An in-process consumer of a topic: a blocking iterator that ends when the topic is removed, the
/// lane is full ([`Policy::Disconnect`](forebay_core::Policy::Disconnect)) or the server stops.
///
/// What was not asked for waits in the hub's lane, whose limits and policy hold; asking brings a batch of at most
/// 512 messages or 256 KiB. Dropping the subscription ends the lane.
#[derive(Debug)]
pub struct Subscription(SubscriptionLink);

impl Subscription {
    /// The epoch of the topic's numbering, which a [`Position`](forebay_core::Position) needs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch()
    }

    /// The next message or gap; waits for at most `timeout`.
    ///
    /// # Errors
    /// Nothing came in time, or the subscription has ended.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Entry, NextError> {
        self.0.next_until(Instant::now().checked_add(timeout))
    }
}

impl Iterator for Subscription {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.0.next_until(None).ok()
    }
}
