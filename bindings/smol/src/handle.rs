//! Publishing and subscribing from other tasks and threads.

use std::fmt;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

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
use smol::Timer;
use smol::future::FutureExt;
use smol::stream::{Stream, StreamExt};

/// A server's handle, for any task and thread.
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
    pub async fn publish<'a>(
        &self,
        topic: &str,
        message: impl Into<Message<'a>>,
    ) -> Result<Published, CallError<PublishError>> {
        let message = message.into().into();
        let publish = |answer| Command::Publish(Publish { topic: topic.into(), message, waits: false, answer });
        Self::call(self.link(topic), publish).await.unwrap_or(Err(CallError::Stopped))
    }

    /// Publishes; where a lane with the policy `Block` has no room, or the topic's rate is used up, waits for it. Publishes of
    /// one topic that wait are carried out in order.
    ///
    /// # Errors
    /// [`PublishError::Full`] after `timeout`, whatever it waited for; the others as the hub says.
    pub async fn publish_wait<'a>(
        &self,
        topic: &str,
        message: impl Into<Message<'a>>,
        timeout: Duration,
    ) -> Result<Published, CallError<PublishError>> {
        let (answer, mut reply) = reply();
        let publish = Publish { topic: topic.into(), message: message.into().into(), waits: true, answer };
        let answered = async {
            // Refused because the server stopped, the command is dropped, and the reply tells.
            drop(self.link(topic).mailbox.post_async(Command::Publish(publish)).await);
            Some((&mut reply).await.unwrap_or(Err(CallError::Stopped)))
        };
        let timer = async {
            Timer::after(timeout).await;
            None
        };
        match answered.or(timer).await {
            Some(answer) => answer,
            // Given up, it is certain that nothing was published, unless the answer came at this moment.
            None => match reply.wait_timeout(Duration::ZERO) {
                Ok(Some(answer)) => answer,
                _ => Err(CallError::Refused(PublishError::Full)),
            },
        }
    }

    /// Waits until the lanes of a topic with the policy `Block` have emptied to the low mark, if one of them is at the high
    /// mark ([`Event::Upstream`](forebay_core::Event::Upstream)): for whoever makes messages on demand (reads a file, asks a
    /// database) and need not make them yet. A topic that is not there, or whose lanes have other policies, brakes nobody.
    ///
    /// # Errors
    /// It took longer than `timeout`, or the server has stopped.
    pub async fn ready(&self, topic: &str, timeout: Duration) -> Result<(), NextError> {
        let ready = async {
            let link = self.link(topic);
            Self::call(link, |answer| Command::Ready(topic.into(), answer)).await.ok_or(NextError::Ended)
        };
        let timer = async {
            Timer::after(timeout).await;
            Err(NextError::TimedOut)
        };
        ready.or(timer).await
    }

    /// Posts a command with an answer and waits for it; `None` if the server has stopped.
    async fn call<T>(link: &ServerLink, command: impl FnOnce(Answer<T>) -> Command) -> Option<T> {
        let (answer, reply) = reply();
        drop(link.mailbox.post_async(command(answer)).await);
        reply.await
    }

    /// Declares a topic.
    ///
    /// # Errors
    /// As [`Hub::topic`](forebay_core::Hub::topic).
    pub async fn declare_topic(&self, name: &str, options: TopicOptions) -> Result<(), CallError<TopicError>> {
        Self::call(self.link(name), |answer| Command::Declare(name.into(), options, answer))
            .await
            .ok_or(CallError::Stopped)?
            .map_err(CallError::Refused)
    }

    /// Subscribes this process: from now on what is published waits in a lane of the hub until it is taken.
    ///
    /// # Errors
    /// As [`Hub::subscribe_local`](forebay_core::Hub::subscribe_local).
    pub async fn subscribe(&self, topic: &str, lane: LaneOptions) -> Result<Subscription, CallError<SubscribeError>> {
        self.subscribe_from(topic, lane, Start::Latest).await
    }

    /// Subscribes this process, with messages that were published before: [`Subscription::epoch`] and the number of the last
    /// message that was taken say where to go on ([`Start::After`]).
    ///
    /// # Errors
    /// As [`Hub::subscribe_local`](forebay_core::Hub::subscribe_local).
    pub async fn subscribe_from(
        &self,
        topic: &str,
        lane: LaneOptions,
        from: Start,
    ) -> Result<Subscription, CallError<SubscribeError>> {
        let subscribe = |answer| Command::Subscribe(topic.into(), lane, from, answer);
        Self::call(self.link(topic), subscribe).await.unwrap_or(Err(CallError::Stopped)).map(Subscription)
    }

    /// Takes over a connection of an HTTP server that has read `leftover`, its request or a part of it or more, and has
    /// answered nothing: the hub answers the opening handshake. From now on it counts like any other. Of several workers
    /// one takes it. (`smol::Async::into_inner` gives such a stream.)
    ///
    /// # Errors
    /// It was not taken, and is closed; with a 503 if the hub takes no more.
    pub async fn adopt(&self, stream: TcpStream, leftover: &[u8]) -> Result<(), AdoptError> {
        self.hand_over(stream, leftover, Handover::Request).await
    }

    /// Takes over a connection of an HTTP server that has answered the opening handshake, with this subprotocol (`None`:
    /// without one), and has read `leftover` behind the request.
    ///
    /// # Errors
    /// It was not taken, and is closed.
    pub async fn adopt_upgraded(
        &self,
        stream: TcpStream,
        protocol: Option<&str>,
        leftover: &[u8],
    ) -> Result<(), AdoptError> {
        self.hand_over(stream, leftover, Handover::Upgraded(protocol.map(Into::into))).await
    }

    async fn hand_over(&self, stream: TcpStream, leftover: &[u8], handover: Handover) -> Result<(), AdoptError> {
        let link = ServerLink::of_stream(&self.links, &stream);
        let adopt = |answer| Command::Adopt(Adopt { stream, leftover: leftover.into(), handover, answer });
        Self::call(link, adopt).await.unwrap_or(Err(AdoptError::Stopped))
    }

    /// The hubs' numbers; after the server has stopped, the last ones.
    pub async fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for link in &*self.links {
            let stats = Self::call(link, Command::Stats).await.unwrap_or_else(|| link.last().stats);
            sum += &stats;
        }
        sum
    }

    /// Everything there is to see, with at most `lanes_max` lanes; `None` if the server has stopped. A worker looks at
    /// each of its topics and each lane listed, and asks the kernel about their connections.
    pub async fn snapshot(&self, lanes_max: usize) -> Option<Snapshot> {
        let mut all = Snapshot::default();
        for link in &*self.links {
            let lanes_left = lanes_max - all.lanes.len();
            all.add(Self::call(link, |answer| Command::Snapshot(lanes_left, answer)).await?);
        }
        Some(all)
    }

    /// The same, unless it takes longer than `timeout`: `None`.
    pub async fn snapshot_timeout(&self, lanes_max: usize, timeout: Duration) -> Option<Snapshot> {
        let timer = async {
            Timer::after(timeout).await;
            None
        };
        self.snapshot(lanes_max).or(timer).await
    }

    /// The terms of a topic's queue law; `None` if there is no such topic, or the server has stopped.
    pub async fn topic_totals(&self, topic: &str) -> Option<Totals> {
        Self::call(self.link(topic), |answer| Command::TopicTotals(topic.into(), answer)).await.flatten()
    }

    /// The server's numbers for an application's own registry (feature `metrics`), in which they need no port of their own.
    ///
    /// ```
    /// # let server = forebay_smol::Server::unbound(Default::default())?;
    /// # let handle = server.handle();
    /// # let running = smol::spawn(server.run());
    /// let mut registry = prometheus_client::registry::Registry::default();
    /// registry.register_collector(Box::new(handle.collector()));
    /// let mut text = String::new();
    /// prometheus_client::encoding::text::encode(&mut text, &registry)?;
    /// assert!(text.contains("\nforebay_connections 0\n"));
    /// # handle.shutdown();
    /// # smol::block_on(running)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A scrape does not await: it blocks its thread for up to a second until the server's task has answered. On the
    /// thread that runs that task nobody answers, and it shows the numbers of the scrape before: scrape from another
    /// thread (`smol::unblock`).
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

/// An in-process consumer of a topic: a stream that ends when the topic is removed, the
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
    pub async fn next_timeout(&mut self, timeout: Duration) -> Result<Entry, NextError> {
        let next = async { self.next().await.ok_or(NextError::Ended) };
        let timer = async {
            Timer::after(timeout).await;
            Err(NextError::TimedOut)
        };
        next.or(timer).await
    }
}

impl Stream for Subscription {
    type Item = Entry;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Entry>> {
        self.get_mut().0.poll_next(context)
    }
}
