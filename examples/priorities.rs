//! Alerts beside a saturated feed, on one connection and port, over a slow link: what classes and a rate do for them.
//!
//! `cargo run --release --example priorities [SECONDS [ROUNDS [BINDING]]]` (2 seconds per case, 5 rounds, `threads` or `smol`)
//! prints a table. A relay between server and client is the link: 2 MB/s, 20 ms each way, small buffers. The feed is published
//! at 3 MB/s, an alert every 5 ms, by the same thread. How long alerts took is from their publish to their receipt; in the
//! table the medians of the rounds, whose cases are interleaved.
//!
//! `docs/priorities.md` has figures. Watch the last two columns. `behind`: the most bytes of the feed that were published after
//! an alert and came before it. By class there are none. `passed`: the most that were published before it and came after it. What
//! is still in front of an alert of class `High` is what the hub has given away: in sockets and in the link.
//! `outbound_bytes_rate` below the link's own keeps that empty, and `reserved_percent` is there for alerts when the feed has
//! used up the rest.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use forebay_threads::forebay_core::{Class, LaneLimits, Rate};
use forebay_threads::{Client, ClientOptions, Options, Payload, ServerOptions, TopicOptions};
use serde_json::Value;

const LINK_BYTES_PER_SECOND: u32 = 2_000_000;
/// A byte.
const LINK_TAKES: Duration = Duration::from_nanos(1_000_000_000 / LINK_BYTES_PER_SECOND as u64);
const LATENCY: Duration = Duration::from_millis(20);
/// What the link takes at once.
const CHUNK_BYTES: usize = 1_024;
/// A read that takes longer has waited for something to read.
const AT_ONCE: Duration = Duration::from_micros(100);
/// How many are on their way at a time, small ones included.
const CHUNKS_MAX: usize = 256;
/// In the kernel on the link's side.
const RECEIVE_BUFFER_BYTES: usize = 16 << 10;

/// What is given to the connection: 80 % of the link, and little at once, because what was given is in front of the next alert.
const RATE: Rate = Rate { per_second: LINK_BYTES_PER_SECOND / 10 * 8, burst: 2_048 };
const RESERVED_PERCENT: u8 = 50;

const FEED_BYTES: u32 = 1_000;
const FEED_PER_MS: u64 = 3;
const ALERT_EVERY_MS: u64 = 5;

struct Case {
    name: &'static str,
    has_feed: bool,
    has_classes: bool,
    has_rate: bool,
}

const CASES: [Case; 5] = [
    Case { name: "alerts alone", has_feed: false, has_classes: true, has_rate: true },
    Case { name: "with a feed: classes and rate", has_feed: true, has_classes: true, has_rate: true },
    Case { name: "with a feed: classes", has_feed: true, has_classes: true, has_rate: false },
    Case { name: "with a feed: rate", has_feed: true, has_classes: false, has_rate: true },
    Case { name: "with a feed: neither", has_feed: true, has_classes: false, has_rate: false },
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(2.0), |number| number.parse())?;
    let rounds = arguments.next().map_or(Ok(5), |number| number.parse())?;
    let binding = arguments.next().unwrap_or_else(|| "threads".to_owned());
    let mut measured: Vec<Vec<Measured>> = CASES.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (case, measured) in CASES.iter().zip(&mut measured) {
            measured.push(case.run(&binding, Duration::from_secs_f64(seconds))?);
        }
    }
    println!(
        "{:30} {:>6} {:>7} {:>7} {:>7} {:>9} {:>9} {:>9}",
        "", "alerts", "p50 ms", "p99 ms", "max ms", "feed MB/s", "behind", "passed"
    );
    for (case, measured) in CASES.iter().zip(&measured) {
        let median = |of: fn(&Measured) -> f64| {
            let mut values: Vec<_> = measured.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let most = |of: fn(&Measured) -> u64| measured.iter().map(of).max().unwrap_or(0);
        println!(
            "{:30} {:6} {:7.2} {:7.2} {:7.2} {:9.2} {:9} {:9}",
            case.name,
            measured.iter().map(|one| one.latencies.len()).sum::<usize>(),
            median(|one| one.percentile(50)),
            median(|one| one.percentile(99)),
            median(|one| one.percentile(100)),
            median(|one| one.feed_rate / 1e6),
            most(|one| one.behind),
            most(|one| one.passed),
        );
    }
    Ok(())
}

struct Measured {
    /// In milliseconds, sorted.
    latencies: Vec<f64>,
    /// Bytes per second.
    feed_rate: f64,
    behind: u64,
    passed: u64,
}

impl Measured {
    fn percentile(&self, percent: usize) -> f64 {
        self.latencies[(self.latencies.len() * percent / 100).min(self.latencies.len() - 1)]
    }
}

impl Case {
    fn options(&self) -> ServerOptions {
        let class = |class| if self.has_classes { class } else { Class::Normal };
        let feed = TopicOptions {
            class: class(Class::Low),
            lane: LaneLimits { messages_max: 16_384, bytes_max: 512 << 10 },
            ..TopicOptions::default()
        };
        let alerts = TopicOptions { class: class(Class::High), ..TopicOptions::default() };
        let outbound_bytes_rate = self.has_rate.then_some(RATE);
        ServerOptions {
            hub: Options { outbound_bytes_rate, reserved_percent: RESERVED_PERCENT, ..Options::default() },
            topics: vec![("feed".to_owned(), feed), ("alerts".to_owned(), alerts)],
            ..ServerOptions::default()
        }
    }

    fn run(&self, binding: &str, how_long: Duration) -> Result<Measured, Box<dyn Error>> {
        let server = Server::start(binding, self.options())?;
        let link = link(server.address)?;
        let client = Client::connect(&format!("ws://{link}/"), ClientOptions::default())?;
        for (id, topic) in ["alerts", "feed"].into_iter().enumerate() {
            client.send(Payload::Text(&format!(r#"{{"op":"subscribe","topic":"{topic}","id":{id}}}"#)))?;
        }
        while !text(&client)?.starts_with(r#"{"op":"ok","id":1,"#) {} // Behind the hello and the other answer.
        let (began, is_over) = (Instant::now(), AtomicBool::new(false));
        let measured = thread::scope(|scope| {
            let measuring = scope.spawn(|| measure(&client, began));
            let published = self.publish(&server, began, how_long);
            is_over.store(true, SeqCst);
            published.and(measuring.join().expect("it does not panic"))
        });
        server.stop()?;
        measured.map_err(Into::into)
    }

    /// Publishes the feed and the alerts. An alert says when it was published, and behind which message of the feed.
    fn publish(&self, server: &Server, began: Instant, how_long: Duration) -> Result<(), String> {
        let fill = format!("\"{}\"", "x".repeat(FEED_BYTES as usize));
        let mut feed_seq = 0;
        for millisecond in 0.. {
            let at = Duration::from_millis(millisecond);
            if at > how_long {
                break;
            }
            thread::sleep(at.saturating_sub(began.elapsed()));
            if self.has_feed {
                for _ in 0..FEED_PER_MS {
                    feed_seq = server.publish("feed", &fill)?;
                }
            }
            if millisecond % ALERT_EVERY_MS == 0 {
                server.publish("alerts", &format!(r#"{{"at":{},"feed":{feed_seq}}}"#, began.elapsed().as_nanos()))?;
            }
        }
        server.publish("alerts", r#"{"end":true}"#).map(drop)
    }
}

/// Reads until the end is told.
fn measure(client: &Client, began: Instant) -> Result<Measured, String> {
    let (mut latencies, mut came, mut feed_seq) = (Vec::new(), 0_u32, 0);
    let (mut behind, mut passed) = (0, 0);
    // Alerts that came, by the last message of the feed that was published before: what of the feed comes later was passed.
    let mut before = VecDeque::new();
    loop {
        let text = text(client).map_err(|error| error.to_string())?;
        let now = began.elapsed();
        let message: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let seq = message["seq"].as_u64().unwrap_or(0);
        match (message["op"].as_str(), message["topic"].as_str()) {
            (Some("message"), Some("feed")) => {
                (came, feed_seq) = (came + 1, seq);
                let mut seen = 0;
                before.retain_mut(|(last, count): &mut (u64, u64)| {
                    *count += u64::from(seq <= *last);
                    seen = seen.max(*count);
                    seq < *last
                });
                passed = passed.max(seen);
            }
            (Some("message"), Some("alerts")) => {
                let data = &message["data"];
                let (Some(at), Some(last)) = (data["at"].as_u64(), data["feed"].as_u64()) else { break };
                latencies.push((now - Duration::from_nanos(at)).as_secs_f64() * 1e3);
                behind = behind.max(feed_seq.saturating_sub(last));
                before.push_back((last, 0));
            }
            _ => {} // Gaps of the feed.
        }
    }
    latencies.sort_by(f64::total_cmp);
    let bytes = u64::from(FEED_BYTES);
    let feed_rate = f64::from(came) * f64::from(FEED_BYTES) / began.elapsed().as_secs_f64();
    Ok(Measured { latencies, feed_rate, behind: behind * bytes, passed: passed * bytes })
}

fn text(client: &Client) -> Result<String, Box<dyn Error>> {
    Ok(client.receive()?.as_text().ok_or("not a text")?.to_owned())
}

/// A server of one of the bindings.
struct Server {
    address: SocketAddr,
    handle: Handle,
    running: thread::JoinHandle<io::Result<()>>,
}

enum Handle {
    Threads(forebay_threads::Handle),
    Smol(forebay_smol::Handle),
}

impl Server {
    fn start(binding: &str, options: ServerOptions) -> io::Result<Self> {
        if binding == "smol" {
            let server = smol::block_on(forebay_smol::Server::bind("127.0.0.1:0", options))?;
            let (address, handle) = (server.local_addr()?, Handle::Smol(server.handle()));
            return Ok(Self { address, handle, running: thread::spawn(|| smol::block_on(server.run())) });
        }
        let server = forebay_threads::Server::bind("127.0.0.1:0", options)?;
        let (address, handle) = (server.local_addr()?, Handle::Threads(server.handle()));
        Ok(Self { address, handle, running: thread::spawn(|| server.run()) })
    }

    fn publish(&self, topic: &str, json: &str) -> Result<u64, String> {
        let published = match &self.handle {
            Handle::Threads(handle) => handle.publish(topic, Payload::Text(json)),
            Handle::Smol(handle) => smol::future::block_on(handle.publish(topic, Payload::Text(json))),
        };
        published.map(|published| published.position.seq).map_err(|error| error.to_string())
    }

    fn stop(self) -> io::Result<()> {
        match &self.handle {
            Handle::Threads(handle) => handle.shutdown(),
            Handle::Smol(handle) => handle.shutdown(),
        }
        self.running.join().expect("it does not panic")
    }
}

/// Where to connect to for a slow link to a server. It is for one connection.
fn link(server: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || -> io::Result<()> {
        let (client, _) = listener.accept()?;
        let socket = socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?; // Before it is connected, or the window is larger.
        socket.connect(&server.into())?;
        let server = TcpStream::from(socket);
        for (from, to) in [(server.try_clone()?, client.try_clone()?), (client, server)] {
            to.set_nodelay(true)?;
            let (sender, receiver) = sync_channel(CHUNKS_MAX);
            thread::spawn(move || transmit(from, &sender));
            thread::spawn(move || deliver(to, &receiver));
        }
        Ok(())
    });
    Ok(address)
}

/// Takes no more than the link does: what it does not take waits in the sockets.
fn transmit(mut from: TcpStream, to: &SyncSender<(Instant, Vec<u8>)>) {
    let (mut free_at, mut asked, mut chunk) = (Instant::now(), Instant::now(), [0; CHUNK_BYTES]);
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        // What waited already goes on at the moment the last one was through, though this thread was woken later.
        if asked.elapsed() > AT_ONCE {
            free_at = free_at.max(Instant::now());
        }
        free_at += LINK_TAKES * u32::try_from(len).expect("a chunk is small");
        if to.send((free_at + LATENCY, chunk[..len].to_vec())).is_err() {
            return;
        }
        thread::sleep(free_at.saturating_duration_since(Instant::now()));
        asked = Instant::now();
    }
}

fn deliver(mut to: TcpStream, from: &Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in from {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    drop(to.shutdown(std::net::Shutdown::Write));
}
