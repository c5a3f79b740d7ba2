//! One hub and a few clients whose transports take exactly as much as a test says: for behaviour that is known exactly.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_core::{
    Cause, Config, ConnId, Effect, EndReason, Event, Hub, Instant, Mode, Options, Payload, Peer, PublishError,
    Published, TopicId, TopicOptions, Transmit,
};

use crate::mini::{Client, Told, frame};
use crate::rng::Choices;

/// In which order a stage polls what a hub wants.
#[derive(Clone, Debug)]
pub enum Order {
    /// Transmits, effects, events.
    Plain,
    /// Events, effects, transmits.
    Reverse,
    /// As it comes, also when there is nothing.
    Random(Choices),
}

/// A client and its transport.
#[derive(Debug)]
pub struct Seat {
    /// The client.
    pub client: Client,
    /// Bytes the kernel takes before it says that the write would block.
    pub window: usize,
    /// Bytes of one read.
    pub read: usize,
    /// Whether the hub has asked to stop reading.
    pub is_paused: bool,
    /// Whether the transport has ended.
    pub is_cut: bool,
    /// Whether the stage has stopped carrying what the client writes.
    pub is_mute: bool,
    /// Everything that was written to it.
    pub stream: Vec<u8>,
    is_blocked: bool,
}

/// A hub with clients around it. Time moves only by [`advance`](Self::advance).
#[derive(Debug)]
pub struct Stage {
    /// The hub.
    pub hub: Hub,
    /// Now.
    pub now: Instant,
    /// The clients, by connection. They stay when their connection has ended.
    pub seats: BTreeMap<ConnId, Seat>,
    /// Events since they were last taken.
    pub events: Vec<Event>,
    /// Effects since they were last taken.
    pub effects: Vec<Effect>,
    /// How outputs are polled.
    pub order: Order,
    /// Whether invariants are checked after every round. On by default.
    pub checks: bool,
    seed: u64,
}

/// Copies a transmit and checks what is promised of it.
///
/// # Panics
/// If it is empty, has more than 64 slices, or its views disagree.
#[must_use]
pub fn copy(transmit: &Transmit<'_>) -> Vec<u8> {
    let bytes: Vec<u8> = transmit.slices().flatten().copied().collect();
    assert!(!bytes.is_empty(), "an empty transmit");
    assert_eq!(bytes.len(), transmit.len(), "len is the sum of the slices");
    assert!(transmit.slices().count() <= 64, "at most 64 slices");
    let buffers = transmit.io_slices();
    assert!(buffers.len() <= 64, "at most 64 slices");
    assert!(buffers.iter().flat_map(|slice| slice.iter()).eq(bytes.iter()), "io_slices are the slices");
    let single = (transmit.slices().count() == 1).then_some(&bytes[..]);
    assert_eq!(transmit.single(), single, "a slice that is all there is");
    let owned: Vec<u8> = transmit.segments().flat_map(|segment| segment.to_vec()).collect();
    assert_eq!(owned, bytes, "segments are the slices");
    bytes
}

/// What a client was told since it was last asked, in a few words each.
pub fn briefs(stage: &mut Stage, conn: ConnId) -> Vec<String> {
    stage.told(conn).iter().map(Told::brief).collect()
}

/// The bytes on the wire of one message of a topic.
#[must_use]
pub fn frame_len(topic: &str, seq: u64, json: &str) -> usize {
    frame::wire_len(format!(r#"{{"op":"message","topic":"{topic}","seq":{seq},"data":{json}}}"#).len())
}

/// JSON text of so many bytes, at least two.
#[must_use]
pub fn json_of_len(len: usize) -> String {
    format!("\"{}\"", "x".repeat(len - 2))
}

/// Whether a client is open.
pub fn is_open(stage: &mut Stage, conn: ConnId) -> bool {
    stage.client(conn).is_open()
}

impl Stage {
    /// A stage with default options, changed.
    #[must_use]
    pub fn new(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        let config = Config::try_from(options).expect("good options");
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            hub: Hub::new(config, [7; 32], now),
            now,
            seats: BTreeMap::new(),
            events: Vec::new(),
            effects: Vec::new(),
            order: Order::Plain,
            checks: true,
            seed: 0,
        }
    }

    /// Seats a client that has connected.
    pub fn seat(&mut self, client: Client, mode: Mode) -> ConnId {
        let conn = self.hub.handle_accept(Peer { mode, ..Peer::default() }, self.now).expect("accepted");
        self.place(conn, client);
        conn
    }

    /// Gives a connection a client.
    pub fn place(&mut self, conn: ConnId, client: Client) {
        let seat = Seat {
            client,
            window: usize::MAX,
            read: usize::MAX,
            is_paused: false,
            is_cut: false,
            is_mute: false,
            stream: Vec::new(),
            is_blocked: false,
        };
        assert!(self.seats.insert(conn, seat).is_none(), "{conn:?} is named twice");
    }

    /// A seed for the next client.
    pub const fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    /// An open client of the dialect, greeted.
    pub fn join(&mut self) -> ConnId {
        let client = Client::new(self.next_seed(), &["forebay.v1"], false);
        let conn = self.seat(client, Mode::Dialect);
        self.pump();
        assert!(matches!(self.told(conn)[..], [Told::Hello { .. }]), "greeted, and nothing else");
        conn
    }

    /// An open raw client.
    pub fn join_raw(&mut self) -> ConnId {
        let client = Client::new(self.next_seed(), &[], true);
        let conn = self.seat(client, Mode::Raw);
        self.pump();
        assert!(self.client(conn).is_open(), "open");
        conn
    }

    /// An open client that offers compression: greeted if it speaks the dialect, else raw.
    pub fn join_offering(&mut self, mode: Mode, offer: &str) -> ConnId {
        let (protocols, is_raw): (&[&str], bool) =
            if mode == Mode::Raw { (&[], true) } else { (&["forebay.v1"], false) };
        let client = Client::offering(self.next_seed(), protocols, is_raw, offer);
        let conn = self.seat(client, mode);
        self.pump();
        assert!(self.client(conn).agreement.is_some(), "agreed");
        if !is_raw {
            assert!(matches!(self.told(conn)[..], [Told::Hello { .. }]), "greeted, and nothing else");
        }
        conn
    }

    /// A declared topic.
    pub fn topic(&mut self, name: &str, change: impl FnOnce(&mut TopicOptions)) -> TopicId {
        let mut options = TopicOptions::default();
        change(&mut options);
        self.hub.topic(name, options).expect("declared")
    }

    /// A client.
    pub fn client(&mut self, conn: ConnId) -> &mut Client {
        &mut self.seat_of(conn).client
    }

    /// A seat.
    ///
    /// # Panics
    /// If there is none.
    pub fn seat_of(&mut self, conn: ConnId) -> &mut Seat {
        self.seats.get_mut(&conn).expect("a seat")
    }

    /// What a client was told since it was last asked.
    pub fn told(&mut self, conn: ConnId) -> Vec<Told> {
        self.client(conn).reader().take_told()
    }

    /// Subscribes a client and expects the `ok`.
    pub fn subscribe(&mut self, conn: ConnId, topic: &str) {
        self.client(conn).subscribe(topic);
        self.pump();
        let told = self.told(conn);
        assert!(matches!(told[..], [Told::Subscribed { .. }]), "{told:?}");
    }

    /// A text frame's bytes the kernel takes, and then no more.
    pub fn let_through(&mut self, conn: ConnId, bytes: usize) {
        self.seat_of(conn).window = bytes;
        self.pump();
    }

    /// Polls one transmit of a connection that was blocked or not, to be answered by [`answer_by`](Self::answer_by).
    pub fn hold(&mut self, conn: ConnId) -> Vec<u8> {
        self.seat_of(conn).is_blocked = false;
        self.hub.handle_writable(conn, self.now);
        let transmit = self.hub.poll_transmit().expect("a transmit");
        assert_eq!(transmit.conn(), conn, "the only one that has something");
        copy(&transmit)
    }

    /// The kernel takes so many bytes of a transmit that was held.
    pub fn answer_by(&mut self, conn: ConnId, bytes: &[u8], taken: usize) {
        let seat = self.seat_of(conn);
        seat.client.feed(&bytes[..taken]);
        seat.stream.extend(&bytes[..taken]);
        seat.is_blocked = taken < bytes.len();
        self.hub.handle_sent(conn, taken, self.now);
        self.check();
    }

    /// The kernel takes nothing more.
    pub fn freeze(&mut self, conn: ConnId) {
        self.seat_of(conn).window = 0;
    }

    /// The kernel takes everything again.
    pub fn thaw(&mut self, conn: ConnId) {
        self.let_through(conn, usize::MAX);
    }

    /// The application publishes JSON text.
    ///
    /// # Errors
    /// The publish was refused.
    pub fn publish(&mut self, topic: TopicId, json: &str) -> Result<Published, PublishError> {
        let published = self.hub.publish(topic, Payload::Text(json), self.now);
        self.pump();
        published
    }

    /// The peer is gone.
    pub fn hang_up(&mut self, conn: ConnId) {
        self.seat_of(conn).is_cut = true;
        self.client(conn).eof();
        self.hub.handle_eof(conn, self.now);
        self.pump();
    }

    /// Takes the events.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes the effects.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Why a connection ended, if it has.
    #[must_use]
    pub fn ended(&self, conn: ConnId) -> Option<EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed { conn: other, reason } if *other == conn => Some(*reason),
            _ => None,
        })
    }

    /// Carries bytes until nothing moves any more. Time stands still.
    ///
    /// # Panics
    /// If the hub never comes to rest or breaks a promise.
    pub fn pump(&mut self) {
        for _ in 0..100_000 {
            let moved = self.carry_in() | self.drain() | self.wake();
            self.check();
            if !moved {
                let idle = self.hub.poll_timeout().is_none_or(|deadline| deadline.cause != Cause::Output);
                assert!(idle, "nothing moves, but output is said to be there: {:?}", self.hub.poll_timeout());
                return;
            }
        }
        panic!("the hub does not come to rest");
    }

    /// Hands the hub what the clients have written.
    fn carry_in(&mut self) -> bool {
        let mut moved = false;
        for (conn, seat) in &mut self.seats {
            if seat.is_cut || seat.is_mute || seat.is_paused || seat.client.out().is_empty() {
                continue;
            }
            let len = seat.read.min(seat.client.out().len());
            let bytes: Vec<u8> = seat.client.out().drain(..len).collect();
            self.hub.handle_bytes(*conn, &bytes, self.now);
            moved = true;
        }
        moved
    }

    /// Polls everything there is, then answers the transmits in the order of connections.
    fn drain(&mut self) -> bool {
        let mut written = BTreeMap::new();
        let mut empty = [false; 3];
        let mut moved = false;
        while empty != [true; 3] {
            let what = match &mut self.order {
                Order::Plain => empty.iter().position(|empty| !empty).expect("not all"),
                Order::Reverse => empty.iter().rposition(|empty| !empty).expect("not all"),
                Order::Random(choices) => choices.index(3),
            };
            empty[what] = !self.poll(what, &mut written);
            moved |= !empty[what];
        }
        for (conn, bytes) in written {
            self.answer(conn, &bytes);
        }
        moved
    }

    fn poll(&mut self, what: usize, written: &mut BTreeMap<ConnId, Vec<u8>>) -> bool {
        match what {
            0 => self.hub.poll_transmit().is_some_and(|transmit| {
                let before = written.insert(transmit.conn(), copy(&transmit));
                assert!(before.is_none(), "a second transmit of {:?}", transmit.conn());
                true
            }),
            1 => self.hub.poll_effect().is_some_and(|effect| {
                self.effects.push(effect);
                self.obey(effect);
                true
            }),
            _ => self.hub.poll_event().is_some_and(|event| {
                self.events.push(event);
                true
            }),
        }
    }

    fn obey(&mut self, effect: Effect) {
        match effect {
            Effect::Close(conn) => {
                let seat = self.seat_of(conn);
                assert!(!seat.is_cut, "closed twice");
                seat.is_cut = true;
                seat.client.eof();
            }
            Effect::PauseRead(conn) => self.seat_of(conn).is_paused = true,
            Effect::ResumeRead(conn) => self.seat_of(conn).is_paused = false,
            other => panic!("an effect that is not of this version: {other:?}"),
        }
    }

    fn answer(&mut self, conn: ConnId, bytes: &[u8]) {
        let seat = self.seats.get_mut(&conn).expect("a seat");
        assert!(!seat.is_blocked, "a transmit of a blocked connection");
        if seat.is_cut {
            return;
        }
        let taken = bytes.len().min(seat.window);
        seat.window = if seat.window == usize::MAX { seat.window } else { seat.window - taken };
        seat.is_blocked = taken < bytes.len();
        seat.stream.extend(&bytes[..taken]);
        seat.client.feed(&bytes[..taken]);
        assert_eq!(seat.client.violation, None, "{conn:?}");
        self.hub.handle_sent(conn, taken, self.now);
    }

    fn wake(&mut self) -> bool {
        let mut moved = false;
        for (conn, seat) in &mut self.seats {
            if seat.is_blocked && seat.window > 0 && !seat.is_cut {
                seat.is_blocked = false;
                self.hub.handle_writable(*conn, self.now);
                moved = true;
            }
        }
        moved
    }

    fn check(&self) {
        if !self.checks {
            return;
        }
        self.hub.check_invariants();
        let stats = self.hub.stats();
        assert_eq!((stats.lanes.conservation_error(), stats.direct.conservation_error()), (0, 0));
        assert!(stats.resident_bytes <= self.hub.pressure().resident_bytes_max, "{stats:?}");
    }

    /// Lets time pass, stopping at every deadline of the hub.
    ///
    /// # Panics
    /// If deadlines do not move on.
    pub fn advance(&mut self, duration: Duration) {
        let target = self.now + duration;
        self.pump();
        for _ in 0..100_000 {
            let Some(deadline) = self.hub.poll_timeout().filter(|deadline| deadline.at <= target) else {
                self.now = target;
                self.hub.handle_timeout(target);
                return self.pump();
            };
            let before = (self.hub.poll_timeout(), self.events.len(), self.effects.len());
            self.now = self.now.max(deadline.at);
            self.hub.handle_timeout(self.now);
            self.pump();
            let after = (self.hub.poll_timeout(), self.events.len(), self.effects.len());
            let is_later = after.0.is_none_or(|deadline| deadline.at > self.now);
            assert!(is_later || before != after, "a hot loop: {after:?} at {:?}", self.now);
        }
        panic!("deadlines do not move on");
    }
}
