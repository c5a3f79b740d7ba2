//! `forebay-smol` with the blocking surface of `forebay-threads`, so that both run the same tests.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) mod stream;

pub(crate) use forebay_smol::*;
// Without the reactor: the server's thread and smol's own serve that.
use smol::future::block_on;
use smol::stream::StreamExt;

pub(crate) struct Server(forebay_smol::Server);

impl Server {
    pub(crate) fn bind(addresses: &str, options: ServerOptions) -> io::Result<Self> {
        smol::block_on(forebay_smol::Server::bind(addresses, options)).map(Self)
    }

    pub(crate) fn unbound(options: ServerOptions) -> io::Result<Self> {
        forebay_smol::Server::unbound(options).map(Self)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(self.0.handle())
    }

    pub(crate) fn run(self) -> io::Result<()> {
        smol::block_on(self.0.run())
    }

    pub(crate) fn run_with(
        self,
        on_event: impl FnMut(&mut Hub, Event, forebay_core::Instant) + Send + 'static,
    ) -> io::Result<()> {
        smol::block_on(self.0.run_with(on_event))
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Handle(forebay_smol::Handle);

impl Handle {
    pub(crate) fn publish<'a>(
        &self,
        topic: &str,
        message: impl Into<Message<'a>>,
    ) -> Result<Published, CallError<PublishError>> {
        block_on(self.0.publish(topic, message))
    }

    pub(crate) fn publish_wait<'a>(
        &self,
        topic: &str,
        message: impl Into<Message<'a>>,
        timeout: Duration,
    ) -> Result<Published, CallError<PublishError>> {
        block_on(self.0.publish_wait(topic, message, timeout))
    }

    pub(crate) fn ready(&self, topic: &str, timeout: Duration) -> Result<(), NextError> {
        block_on(self.0.ready(topic, timeout))
    }

    pub(crate) fn declare_topic(&self, name: &str, options: TopicOptions) -> Result<(), CallError<TopicError>> {
        block_on(self.0.declare_topic(name, options))
    }

    pub(crate) fn subscribe(&self, topic: &str, lane: LaneOptions) -> Result<Subscription, CallError<SubscribeError>> {
        block_on(self.0.subscribe(topic, lane)).map(Subscription)
    }

    pub(crate) fn subscribe_from(
        &self,
        topic: &str,
        lane: LaneOptions,
        from: Start,
    ) -> Result<Subscription, CallError<SubscribeError>> {
        block_on(self.0.subscribe_from(topic, lane, from)).map(Subscription)
    }

    pub(crate) fn adopt(&self, stream: TcpStream, leftover: &[u8]) -> Result<(), AdoptError> {
        block_on(self.0.adopt(stream, leftover))
    }

    pub(crate) fn adopt_upgraded(
        &self,
        stream: TcpStream,
        protocol: Option<&str>,
        leftover: &[u8],
    ) -> Result<(), AdoptError> {
        block_on(self.0.adopt_upgraded(stream, protocol, leftover))
    }

    pub(crate) fn stats(&self) -> Stats {
        block_on(self.0.stats())
    }

    pub(crate) fn snapshot(&self, lanes_max: usize) -> Option<Snapshot> {
        block_on(self.0.snapshot(lanes_max))
    }

    pub(crate) fn snapshot_timeout(&self, lanes_max: usize, timeout: Duration) -> Option<Snapshot> {
        block_on(self.0.snapshot_timeout(lanes_max, timeout))
    }

    pub(crate) fn topic_totals(&self, topic: &str) -> Option<Totals> {
        block_on(self.0.topic_totals(topic))
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn collector(&self) -> Collector {
        self.0.collector()
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    pub(crate) fn shutdown(&self) {
        self.0.shutdown();
    }
}

#[derive(Debug)]
pub(crate) struct Subscription(forebay_smol::Subscription);

impl Subscription {
    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch()
    }

    pub(crate) fn next_timeout(&mut self, timeout: Duration) -> Result<Entry, NextError> {
        block_on(self.0.next_timeout(timeout))
    }
}

impl Iterator for Subscription {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        block_on(self.0.next())
    }
}

#[derive(Debug)]
pub(crate) struct Client(forebay_smol::Client);

impl Client {
    pub(crate) fn connect(url: &str, options: ClientOptions) -> Result<Self, ConnectError> {
        block_on(forebay_smol::Client::connect(url, options)).map(Self)
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.0.protocol()
    }

    pub(crate) fn send(&self, payload: Payload<'_>) -> Result<(), SendError> {
        block_on(self.0.send(payload))
    }

    pub(crate) fn try_send(&self, payload: Payload<'_>) -> Result<(), SendError> {
        self.0.try_send(payload)
    }

    pub(crate) fn flush(&self) -> Result<(), Closed> {
        block_on(self.0.flush())
    }

    pub(crate) fn receive(&self) -> Result<OwnedPayload, Closed> {
        block_on(self.0.receive())
    }

    pub(crate) fn receive_timeout(&self, timeout: Duration) -> Result<OwnedPayload, ReceiveError> {
        block_on(self.0.receive_timeout(timeout))
    }

    pub(crate) fn close(&self, code: CloseCode, reason: &str) -> Closed {
        block_on(self.0.close(code, reason))
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        self.0.closed()
    }
}
