//! Many subscribers, some of which stop reading: memory stays flat, everybody else gets everything, and all counts agree.
//!
//! `FOREBAY_SECONDS` says for how long messages are published (3); `.ci/full` sets 60.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::binding::{LossReason, Options, Payload, Server, ServerOptions};
use bytes::BytesMut;
use forebay_core::wire::{Decoder, Item, Opcode, Role, frame};
use forebay_sys::{Events, Poller, Watched};

const SUBSCRIBERS: usize = 1_000;
/// Every tenth.
const FROZEN: usize = SUBSCRIBERS / 10;
const PUBLISHERS: usize = 8;

/// A subscriber that counts.
struct Subscriber {
    socket: Watched<TcpStream>,
    decoder: Decoder,
    /// Bytes of an incomplete header.
    rest: Vec<u8>,
    message: Vec<u8>,
    received: u64,
    missed: u64,
    last_seq: u64,
}

impl Subscriber {
    fn connect(address: SocketAddr, poller: &Arc<Poller>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut subscribe = BytesMut::new();
        let text = br#"{"op":"subscribe","topic":"t","id":1}"#;
        frame::put_frame(&mut subscribe, Opcode::Text, Some([1, 2, 3, 4]), text);
        stream.write_all(&subscribe).unwrap();
        let decoder = Decoder::new(Role::Client, 1 << 20);
        stream.set_nonblocking(true).unwrap();
        let socket = Watched::new(stream, Arc::clone(poller));
        Self { socket, decoder, rest: Vec::new(), message: Vec::new(), received: 0, missed: 0, last_seq: 0 }
    }

    /// Reads what is there; whether the `ok` of the subscribe has come.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        let mut is_subscribed = false;
        loop {
            let start = self.rest.len();
            buffer[..start].copy_from_slice(&self.rest);
            let len = match self.socket.read(&mut buffer[start..]) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(len) => start + len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return is_subscribed,
                Err(error) => panic!("{error}"),
            };
            let mut from = 0;
            loop {
                let decoded = self.decoder.decode(&mut buffer[from..len]).expect("the server keeps to RFC 6455");
                let consumed = decoded.consumed;
                match decoded.item {
                    Some(Item::Data { payload, last, .. }) => {
                        self.message.extend_from_slice(payload);
                        if last {
                            let message = std::mem::take(&mut self.message);
                            is_subscribed |= self.count(&message);
                            self.message = message;
                            self.message.clear();
                        }
                    }
                    Some(Item::Ping(payload)) => {
                        let mut pong = BytesMut::new();
                        frame::put_frame(&mut pong, Opcode::Pong, Some([1, 2, 3, 4]), payload);
                        self.socket.write_all(&pong).unwrap();
                    }
                    None if consumed == 0 => break,
                    _ => {}
                }
                from += consumed;
            }
            self.rest = buffer[from..len].to_vec();
        }
    }

    fn count(&mut self, message: &[u8]) -> bool {
        let text = std::str::from_utf8(message).unwrap();
        if let Some(rest) = text.strip_prefix(r#"{"op":"message","topic":"t","seq":"#) {
            let seq: u64 = rest[..rest.find(',').unwrap()].parse().unwrap();
            assert_eq!(seq, self.last_seq + 1, "in order, and holes are told");
            self.last_seq = seq;
            self.received += 1;
        } else if text.starts_with(r#"{"op":"gap""#) {
            let number = |name: &str| -> u64 {
                let rest = &text[text.find(name).unwrap() + name.len()..];
                rest[..rest.find(',').unwrap()].parse().unwrap()
            };
            let (from, to, missed) = (number("\"from\":"), number("\"to\":"), number("\"missed\":"));
            assert_eq!((from, missed), (self.last_seq + 1, to - from + 1), "{text}");
            self.last_seq = to;
            self.missed += missed;
        } else {
            return text.starts_with(r#"{"op":"ok""#);
        }
        false
    }
}

struct Crowd {
    poller: Arc<Poller>,
    subscribers: Vec<Subscriber>,
    buffer: Vec<u8>,
}

impl Crowd {
    fn connect(address: SocketAddr) -> Self {
        let poller = Arc::new(Poller::new().unwrap());
        let subscribers = (0..SUBSCRIBERS).map(|_| Subscriber::connect(address, &poller)).collect();
        let mut crowd = Self { poller, subscribers, buffer: vec![0; 256 << 10] };
        (0..SUBSCRIBERS).for_each(|index| crowd.watch(index, true));
        let mut subscribed = 0;
        while subscribed < SUBSCRIBERS {
            subscribed += crowd.read(Duration::from_secs(10));
        }
        crowd
    }

    fn watch(&mut self, index: usize, reads: bool) {
        self.subscribers[index].socket.watch(index, reads, false).unwrap();
    }

    fn read(&mut self, timeout: Duration) -> usize {
        let mut events = Events::with_capacity(NonZeroUsize::new(1_024).unwrap());
        self.poller.wait(&mut events, Some(timeout)).unwrap();
        let mut subscribed = 0;
        for event in events.iter() {
            subscribed += usize::from(self.subscribers[event.key].read(&mut self.buffer));
            if !self.poller.supports_level() {
                self.watch(event.key, true);
            }
        }
        subscribed
    }

    /// Reads until everybody who reads has been told of all messages.
    fn catch_up(&mut self, published: u64, reads: impl Fn(usize) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let is_behind = |crowd: &Self| {
            crowd.subscribers.iter().enumerate().any(|(index, one)| reads(index) && one.last_seq < published)
        };
        while is_behind(self) {
            assert!(Instant::now() < deadline, "they never catch up");
            self.read(Duration::from_millis(100));
        }
    }
}

fn is_frozen(index: usize) -> bool {
    index.is_multiple_of(SUBSCRIBERS / FROZEN)
}

/// Resident bytes of this process: the server's, and the subscribers', which hold nothing that grows.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// Kernel memory of all TCP sockets of this machine.
fn kernel_bytes() -> u64 {
    let sockstat = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let line = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap();
    line.rsplit(' ').next().unwrap().parse::<u64>().unwrap() * 4_096
}

fn seconds() -> u64 {
    std::env::var("FOREBAY_SECONDS").map_or(3, |seconds| seconds.parse().expect("FOREBAY_SECONDS is a number"))
}

#[test]
#[cfg(target_os = "linux")]
fn frozen_subscribers_cost_the_others_nothing_and_every_count_agrees() {
    let _ = forebay_sys::raise_open_files();
    let hour = Duration::from_secs(3_600);
    let hub = Options { stall_timeout: hour, ..Options::default() };
    let server = Server::bind("127.0.0.1:0", ServerOptions { hub, ..ServerOptions::default() }).unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let running = std::thread::spawn(move || server.run());
    let mut crowd = Crowd::connect(address);
    (0..SUBSCRIBERS).filter(|index| is_frozen(*index)).for_each(|index| crowd.watch(index, false));
    let kernel_before = kernel_bytes();

    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (handle, stop) = (handle.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let payload = format!("\"{}\"", "x".repeat(1_022));
                let mut published = 0_u64;
                while !stop.load(SeqCst) {
                    let answer = handle.publish("t", Payload::Text(&payload)).unwrap();
                    assert_eq!(answer.matched as usize, SUBSCRIBERS);
                    published += 1;
                }
                published
            })
        })
        .collect();
    // What fills once (the frozen lanes' window on the log, kernel buffers, this process's own) is full after a third.
    let (began, length) = (Instant::now(), Duration::from_secs(seconds()));
    let mut resident = None;
    let mut resident_peak = 0;
    let has_lost = || handle.stats().lanes.lost_by(LossReason::Oldest).messages > 0;
    // On a busy machine not even the frozen lanes are full by then.
    while began.elapsed() < length || !has_lost() {
        crowd.read(Duration::from_millis(10));
        if began.elapsed() > length / 3 {
            resident.get_or_insert_with(resident_bytes);
            resident_peak = resident_peak.max(resident_bytes());
        }
    }
    stop.store(true, SeqCst);
    // Those who publish wait for an answer while everybody has to be read.
    while !publishers.iter().all(std::thread::JoinHandle::is_finished) {
        crowd.read(Duration::from_millis(10));
    }
    let published: u64 = publishers.into_iter().map(|publisher| publisher.join().unwrap()).sum();

    crowd.catch_up(published, |index| !is_frozen(index));
    // Other sockets of this machine are in it, too: the least of a second is nearest to ours.
    let samples = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        kernel_bytes()
    });
    let kernel_per_frozen = samples.min().unwrap().saturating_sub(kernel_before) / FROZEN as u64;
    let stats = handle.stats();
    assert_eq!(stats.lanes.conservation_error(), 0);
    assert_eq!(stats.lanes.entered.messages, published * SUBSCRIBERS as u64);
    let grown = resident_peak.saturating_sub(resident.expect("it was measured"));
    eprintln!(
        "{published} messages of 1 KiB in {} s, {} deliveries/s; resident {} MiB, grown by {} KiB; hub {} KiB; kernel {} KiB per frozen socket",
        length.as_secs(),
        stats.lanes.sent.messages / length.as_secs(),
        resident_peak >> 20,
        grown >> 10,
        stats.resident_bytes >> 10,
        kernel_per_frozen >> 10
    );

    // Continued, the frozen are told exactly what they missed.
    (0..SUBSCRIBERS).filter(|index| is_frozen(*index)).for_each(|index| crowd.watch(index, true));
    crowd.catch_up(published, |_| true);
    let (mut received, mut missed) = (0, 0);
    let (reading, frozen): (Vec<usize>, Vec<usize>) = (0..SUBSCRIBERS).partition(|index| !is_frozen(*index));
    let missed_by = |who: &[usize]| who.iter().map(|index| crowd.subscribers[*index].missed).sum::<u64>();
    eprintln!("missed by those who read: {}, by the frozen: {}", missed_by(&reading), missed_by(&frozen));
    for (index, one) in crowd.subscribers.iter().enumerate() {
        assert_eq!(one.received + one.missed, published, "subscriber {index}");
        (received, missed) = (received + one.received, missed + one.missed);
    }
    let stats = handle.stats();
    assert_eq!(stats.lanes.sent.messages, received, "what the server sent is what they received");
    assert_eq!(stats.lanes.lost_by(LossReason::Oldest).messages, missed, "what it lost is what they missed");
    assert_eq!(stats.lanes.waiting.messages, 0);
    assert!(missed > 0, "the frozen lost something");
    assert!(grown < 4 << 20, "resident memory grew by {grown} bytes");
    assert!(kernel_per_frozen < 200 << 10, "the kernel holds {kernel_per_frozen} bytes per frozen socket");
    handle.shutdown();
    drop(crowd);
    running.join().unwrap().unwrap();
}
