//! The hub.

use crate::*;

/// One shard's state machine.
#[derive(Debug)]
pub struct Hub {
    config: Config,
}

/// Up to `transmit_bytes_max` bytes of one connection, to be answered by exactly one `handle_sent`.
#[derive(Debug)]
pub struct Transmit<'a> {
    hub: &'a Hub,
}

impl<'a> Transmit<'a> {
    /// The connection.
    pub fn conn(&self) -> ConnId { unimplemented!() }
    /// All bytes.
    pub fn len(&self) -> usize { unimplemented!() }
    /// The bytes, in order: at most 64 slices.
    pub fn slices(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> { core::iter::empty() }
    /// The slices for `write_vectored`: `let buffers = transmit.io_slices(); stream.write_vectored(&buffers)`
    #[cfg(feature = "std")]
    pub fn io_slices(&self) -> IoSlices<'a> { unimplemented!() }
    /// The bytes as owned pieces, for an embedder that writes later.
    pub fn segments(&self) -> impl Iterator<Item = bytes::Bytes> + use<'a> { core::iter::empty() }
}

/// Derefs to `[std::io::IoSlice<'a>]`.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct IoSlices<'a> { slices: alloc::vec::Vec<std::io::IoSlice<'a>> }
#[cfg(feature = "std")]
impl<'a> core::ops::Deref for IoSlices<'a> { type Target = [std::io::IoSlice<'a>]; fn deref(&self) -> &Self::Target { &self.slices } }

impl Hub {
    /// A hub.
    pub fn new(config: Config, entropy: [u8; 32], now: Instant) -> Self { unimplemented!() }

    // B. something happened outside
    /// A connection was accepted: its opening handshake is awaited.
    pub fn handle_accept(&mut self, peer: Peer, now: Instant) -> Result<ConnId, AcceptError> { unimplemented!() }
    /// A connection was accepted whose handshake is done.
    pub fn handle_upgraded(&mut self, upgraded: Upgraded<'_>, leftover: &[u8], now: Instant) -> Result<ConnId, AcceptError> { unimplemented!() }
    /// Bytes were read.
    pub fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) { unimplemented!() }
    /// `bytes` of the outstanding Transmit were written; fewer than its length: not writable until handle_writable.
    pub fn handle_sent(&mut self, conn: ConnId, bytes: usize, now: Instant) { unimplemented!() }
    /// The connection may be written to again.
    pub fn handle_writable(&mut self, conn: ConnId, now: Instant) { unimplemented!() }
    /// The peer closed its side, or the transport failed. The id is stale from now on (no Effect::Close follows).
    pub fn handle_eof(&mut self, conn: ConnId, now: Instant) { unimplemented!() }
    /// What the kernel still holds, in bytes.
    pub fn handle_kernel(&mut self, conn: ConnId, unsent: u32) { unimplemented!() }
    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) { unimplemented!() }

    // C. the application wants something
    /// Starts the client role on a transport that is (being) connected: the opening request is the first Transmit.
    pub fn connect(&mut self, request: ClientRequest<'_>, now: Instant) -> Result<ConnId, ConnectError> { unimplemented!() }
    /// Declares a topic.
    pub fn topic(&mut self, name: &str, options: TopicOptions) -> Result<TopicId, TopicError> { unimplemented!() }
    /// The topic of that name; an undeclared one is made with the defaults (whoever may create) and forgotten when it has no lanes.
    pub fn open_topic(&mut self, name: &str) -> Result<TopicId, TopicError> { unimplemented!() }
    /// Removes a topic; its lanes end.
    pub fn remove_topic(&mut self, topic: TopicId, now: Instant) -> bool { unimplemented!() }
    /// Subscribes a connection's session.
    pub fn subscribe(&mut self, conn: ConnId, topic: TopicId, lane: LaneOptions, from: Start, now: Instant) -> Result<LaneId, SubscribeError> { unimplemented!() }
    /// Ends the session's lane on the topic.
    pub fn unsubscribe(&mut self, conn: ConnId, topic: TopicId, now: Instant) -> bool { unimplemented!() }
    /// An in-process consumer.
    pub fn subscribe_local(&mut self, topic: TopicId, lane: LaneOptions, from: Start, now: Instant) -> Result<LaneId, SubscribeError> { unimplemented!() }
    /// Ends an in-process lane.
    pub fn unsubscribe_local(&mut self, lane: LaneId, now: Instant) -> bool { unimplemented!() }
    /// The next entry of an in-process lane; a message taken is a message sent.
    pub fn take(&mut self, lane: LaneId, now: Instant) -> Option<Entry> { unimplemented!() }
    /// Publishes.
    pub fn publish(&mut self, topic: TopicId, payload: Payload<'_>, now: Instant) -> Result<Published, PublishError> { unimplemented!() }
    /// Sends a message to one connection through its direct lane.
    pub fn send(&mut self, conn: ConnId, payload: Payload<'_>, now: Instant) -> Result<(), SendError> { unimplemented!() }
    /// Takes the next inbound message of a raw (or client) connection.
    pub fn receive(&mut self, conn: ConnId, now: Instant) -> Option<OwnedPayload> { unimplemented!() }
    /// Starts the closing handshake. What waits in the connection's lanes is lost (`closed`).
    pub fn close(&mut self, conn: ConnId, code: wire::CloseCode, reason: &str, now: Instant) { unimplemented!() }
    /// Takes nothing new; ends each connection (1001) as soon as nothing waits for it, at the latest at `until`. Over when `connections()` is 0.
    pub fn drain(&mut self, until: Instant, now: Instant) { unimplemented!() }

    // D. the hub wants something
    /// The next bytes to write, of a connection that may be written to.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> { unimplemented!() }
    /// The next thing to do to a connection.
    pub fn poll_effect(&mut self) -> Option<Effect> { unimplemented!() }
    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> { unimplemented!() }
    /// When to call `handle_timeout`, at the latest. Cause::Output: something is there to be polled.
    pub fn poll_timeout(&self) -> Option<Deadline> { unimplemented!() }

    // A. getters
    /// Whether the connection wants input.
    pub fn wants_read(&self, conn: ConnId) -> bool { unimplemented!() }
    /// Connections now.
    pub fn connections(&self) -> usize { unimplemented!() }
    /// The subprotocol of an open connection.
    pub fn protocol(&self, conn: ConnId) -> Option<&str> { unimplemented!() }
    /// A topic's id by name.
    pub fn find_topic(&self, name: &str) -> Option<TopicId> { unimplemented!() }
    /// The hub's pressure.
    pub fn pressure(&self) -> Pressure { unimplemented!() }
    /// A lane's pressure.
    pub fn lane(&self, lane: LaneId) -> Option<LanePressure> { unimplemented!() }
    /// The lane of a connection's session on a topic.
    pub fn find_lane(&self, conn: ConnId, topic: TopicId) -> Option<LaneId> { unimplemented!() }
    /// A topic's terms of the queue law.
    pub fn topic_totals(&self, topic: TopicId) -> Option<Totals> { unimplemented!() }
    /// A connection's pressure.
    pub fn connection(&self, conn: ConnId) -> Option<ConnectionPressure> { unimplemented!() }
    /// The hub's numbers.
    pub fn stats(&self) -> &Stats { unimplemented!() }
    /// Recounts everything and panics where the ledger disagrees. For tests: O(everything).
    pub fn check_invariants(&self) { unimplemented!() }
}
