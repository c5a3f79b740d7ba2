//! `Policy::Block` over real sockets: who publishes faster than the slowest subscriber reads is held back by TCP, and
//! nothing is lost.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::common::{HANG, Running, number, say, start, text};
use super::raw;
use crate::binding::{
    ClientOptions, ConnectionPressure, Entry, LaneLimits, LaneOptions, Level, NextError, Options, Payload, Policy,
    ServerOptions, TopicOptions,
};

const LANE: LaneLimits = LaneLimits { messages_max: 64, bytes_max: 64 << 10 };

/// A server that keeps little of what it cannot serve.
fn braking(topics: &[&str]) -> Running {
    let topic =
        TopicOptions { policy: Policy::Block, lane: LANE, message_bytes_max: 4 << 10, ..TopicOptions::default() };
    let hub = Options {
        message_bytes_max: 8 << 10,
        inbound_bytes_max: 32 << 10,
        ping_interval: Duration::from_millis(100),
        stall_timeout: HANG,
        block_max: HANG,
        ..Options::default()
    };
    let topics = topics.iter().map(|name| ((*name).to_owned(), topic)).collect();
    start(ServerOptions { topics, hub, send_buffer_bytes: Some(16 << 10), ..ServerOptions::default() })
}

fn publish(topic: &str, id: u64) -> String {
    format!(r#"{{"op":"publish","topic":"{topic}","id":{id},"data":"{}"}}"#, "x".repeat(1_000))
}

/// A client that never waits: it writes and reads what TCP takes and has.
struct Client {
    stream: TcpStream,
    /// To be written.
    output: Vec<u8>,
    /// Was read and is no whole frame.
    input: Vec<u8>,
    /// The numbers of messages.
    received: Vec<u64>,
    /// The ids of its publishes that were acknowledged, and the numbers they got.
    acknowledged: Vec<(u64, u64)>,
    /// What else was said and, as `pong ...`, pongs.
    heard: Vec<String>,
    pings_answered: u64,
}

impl Client {
    fn subscribed(server: &Running, topic: &str) -> Self {
        let stream = raw::subscriber(server, topic);
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            output: Vec::new(),
            input: Vec::new(),
            received: Vec::new(),
            acknowledged: Vec::new(),
            heard: Vec::new(),
            pings_answered: 0,
        }
    }

    fn say(&mut self, text: &str) {
        if text.len() <= 125 {
            self.output.extend(raw::masked(0x81, text.as_bytes()));
        } else {
            self.output.extend([0x81, 0xFE]);
            self.output.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            self.output.extend([0; 4]);
            self.output.extend(text.as_bytes());
        }
    }

    /// Writes what TCP takes; whether that was less than everything.
    fn write(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(len) => drop(self.output.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) => panic!("{error}"),
            }
        }
        false
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("closed: {:?}", String::from_utf8_lossy(&self.input)),
            Ok(len) => self.input.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        while let Some((first, payload)) = self.next_frame() {
            match first {
                0x81 => self.hear(String::from_utf8(payload).unwrap()),
                0x89 => {
                    self.output.extend(raw::masked(0x8A, &payload));
                    self.pings_answered += 1;
                }
                0x8A => self.heard.push(format!("pong {}", String::from_utf8(payload).unwrap())),
                other => panic!("a frame that begins with {other:02x}: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }

    fn hear(&mut self, said: String) {
        if said.starts_with(r#"{"op":"message""#) {
            self.received.push(number(&said, "seq"));
        } else if said.starts_with(r#"{"op":"ok""#) && said.contains(r#""matched""#) {
            self.acknowledged.push((number(&said, "id"), number(&said, "seq")));
        } else {
            self.heard.push(said);
        }
    }

    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (begin, len) = match *self.input.get(..2)? {
            [_, 126] => (4, usize::from(u16::from_be_bytes([*self.input.get(2)?, *self.input.get(3)?]))),
            [_, len] => (2, usize::from(len)),
            _ => unreachable!("two bytes"),
        };
        let payload = self.input.get(begin..begin + len)?.to_vec();
        let first = self.input[0];
        self.input.drain(..begin + len);
        Some((first, payload))
    }

    /// How its connection is; it must have a lane.
    fn connection(&self, server: &Running) -> ConnectionPressure {
        let address = self.stream.local_addr().unwrap();
        let lanes = server.handle.snapshot(usize::MAX).unwrap().lanes;
        let lane = lanes.into_iter().find(|lane| lane.peer == Some(address)).expect("it has a lane");
        lane.connection.expect("it is a connection's")
    }
}

/// Fails instead of hanging.
struct Patience(Instant);

impl Patience {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn lasts(&self) -> bool {
        assert!(self.0.elapsed() < HANG, "it hangs");
        true
    }
}

#[test]
fn a_slow_subscriber_stalls_a_fast_client_and_nothing_is_lost() {
    const COUNT: u64 = 8_000;
    let patience = Patience::new();
    let server = braking(&["t", "own"]);
    let mut slow = Client::subscribed(&server, "t");
    let mut fast = Client::subscribed(&server, "own");
    const ROUNDS: usize = 20;
    (0..ROUNDS).for_each(|round| fast.say(&format!(r#"{{"op":"subscribe","topic":"gone{round}"}}"#)));
    let parked = || {
        let topics = server.handle.snapshot(0).unwrap().topics;
        topics.iter().find(|topic| topic.name == "t").unwrap().pressure.parked
    };

    // It publishes until one of its publishes waits for room, and goes on waiting while it says what passes that one.
    let mut published = 0;
    let mut rounds = 0..ROUNDS;
    let mut waited = 0;
    while waited == 0 {
        while patience.lasts() && parked() == 0 {
            published += 1;
            fast.say(&publish("t", published));
            while patience.lasts() && fast.write() {
                fast.read();
            }
        }
        let round = rounds.next().expect("TCP's buffers are full by now");
        fast.say(&format!(r#"{{"op":"unsubscribe","topic":"gone{round}","id":"gone{round}"}}"#));
        fast.output.extend(raw::masked(0x89, format!("{round}").as_bytes()));
        let pings_before = fast.pings_answered;
        for answer in [format!(r#"{{"op":"ok","id":"gone{round}""#), format!("pong {round}")] {
            while patience.lasts() && !fast.heard.iter().any(|said| said.starts_with(&answer)) {
                fast.write();
                fast.read();
            }
        }
        while patience.lasts() && fast.pings_answered == pings_before {
            fast.write();
            fast.read();
        }
        waited = parked();
    }
    assert!(!fast.connection(&server).is_paused, "a few waiting messages are not too many");

    // It goes on until the hub reads no more and TCP takes no more.
    while patience.lasts() {
        if fast.output.is_empty() {
            published += 1;
            fast.say(&publish("t", published));
        }
        if fast.write() && fast.connection(&server).is_paused && fast.write() {
            break;
        }
    }
    assert!(published < COUNT, "TCP holds it back");
    let topics = server.handle.snapshot(0).unwrap().topics;
    let pressure = &topics.iter().find(|topic| topic.name == "t").unwrap().pressure;
    assert_eq!((pressure.parked, pressure.level), (1, Level::Critical));
    assert!(pressure.totals.waiting.messages <= 64 && pressure.totals.lost_total().messages == 0, "{pressure:?}");
    assert_eq!(fast.connection(&server).inbound.level, Level::Critical);

    // The reader reads, and the writer can go on.
    while patience.lasts() && (slow.received.len() as u64) < COUNT {
        slow.read();
        slow.write();
        while fast.output.is_empty() && published < COUNT {
            published += 1;
            fast.say(&publish("t", published));
        }
        fast.write();
        fast.read();
    }
    while patience.lasts() && (fast.acknowledged.len() as u64) < COUNT {
        fast.read();
        fast.write();
    }
    assert_eq!(slow.received, (1..=COUNT).collect::<Vec<_>>());
    assert_eq!(fast.acknowledged, (1..=COUNT).map(|id| (id, id)).collect::<Vec<_>>());
    let totals = server.handle.topic_totals("t").unwrap();
    assert_eq!((totals.entered.messages, totals.lost_total().messages), (COUNT, 0));
    drop((slow, fast)); // They would not answer a Close frame.
    server.stop();
}

#[test]
fn two_clients_that_publish_to_each_other_do_not_lock_each_other_out() {
    const COUNT: u64 = 5_000;
    let server = braking(&["a", "b"]);
    let client = |listens: &str| {
        let client =
            server.connect_with(ClientOptions { receive_buffer_bytes: Some(4 << 10), ..ClientOptions::default() });
        super::common::subscribed(client, listens)
    };
    let (one, other) = (client("a"), client("b"));
    std::thread::scope(|scope| {
        for (client, topic) in [(&one, "b"), (&other, "a")] {
            scope.spawn(move || (1..=COUNT).for_each(|id| say(client, &publish(topic, id))));
            scope.spawn(move || {
                let (mut received, mut acknowledged) = (0, 0);
                while received < COUNT || acknowledged < COUNT {
                    let said = text(client);
                    let next = if said.starts_with(r#"{"op":"message""#) { &mut received } else { &mut acknowledged };
                    *next += 1;
                    assert_eq!(number(&said, "seq"), *next, "{said}");
                }
            });
        }
    });
    assert!(server.handle.stats().parked > 0, "they did wait for each other");
    for topic in ["a", "b"] {
        let totals = server.handle.topic_totals(topic).unwrap();
        assert_eq!((totals.sent.messages, totals.lost_total().messages), (COUNT, 0), "{topic}");
    }
    server.stop();
}

#[test]
fn a_source_is_ready_when_the_topic_brakes_no_more() {
    let server = braking(&["t"]);
    let ready = |timeout| server.handle.ready("t", timeout);
    assert_eq!((ready(HANG), server.handle.ready("nowhere", HANG)), (Ok(()), Ok(())));
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    // 48 of 64 are the high mark.
    let mut pulled = 0;
    while pulled < 48 {
        assert_eq!(ready(HANG), Ok(()));
        server.handle.publish("t", Payload::Text("0")).unwrap();
        pulled += 1;
    }
    assert_eq!(ready(Duration::from_millis(1)), Err(NextError::TimedOut));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ready(HANG));
        // One batch takes everything.
        assert!(matches!(subscription.next_timeout(HANG), Ok(Entry::Message { seq: 1, .. })));
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    for _ in 0..64 {
        server.handle.publish("t", Payload::Text("0")).unwrap();
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ready(HANG));
        drop(subscription);
        assert_eq!(waiting.join().unwrap(), Ok(()), "nobody is left to be waited for");
    });
    let handle = server.handle.clone();
    server.stop();
    assert_eq!(handle.ready("t", HANG), Err(NextError::Ended));
}
