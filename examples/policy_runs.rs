//! What each policy does to the same feed and the same client: the runs behind the pictures of `docs/policies.md`.
//!
//! `cargo run --release --example policy_runs [DIRECTORY [SECONDS]]` writes a CSV file per policy; `docs/draw-policies` draws
//! them.
//!
//! A server on loopback has one topic per policy, and each has its own feed and its own client over TCP. The feed has 40
//! messages of 1 KiB a second, and 50 more at once in second 1. The client reads at most 100 a second; from second 3 to
//! 6.5 it reads nothing, like a phone in a tunnel. All lanes hold 60 messages. With other `SECONDS` than 10 everything
//! happens so much faster or slower. Where the policy ends the client's connection, it connects and subscribes again.

use std::error::Error;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use forebay_threads::{
    CallError, Handle, LaneLimits, LossReason, Message, Options, Payload, Policy, PublishError, Server, ServerOptions,
    TopicOptions, TopicSnapshot,
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message as Frame, WebSocket};

const MESSAGES_MAX: u32 = 60;
const MESSAGE_BYTES: usize = 1 << 10;
const KEYS: [&str; 8] = ["AG", "AU", "CU", "FE", "NI", "PB", "PT", "ZN"];
/// In seconds of a run of [`SECONDS`].
const SECONDS: f64 = 10.0;
const FEED_PERIOD: f64 = 0.025;
const BURST: (f64, usize) = (1.0, 50);
const TUNNEL: (f64, f64) = (3.0, 6.5);
const READ_PERIOD: f64 = 0.01;
const SAMPLE_PERIOD: f64 = 0.05;
const AGE_MAX: f64 = 1.0;
/// Longer, and who is in the tunnel is taken for dead (`stall_timeout`).
const SECONDS_MAX: f64 = 60.0;

/// The kernel is to take little, or the pictures would show that: what it took no policy can take back.
const KERNEL_BYTES: u32 = 4 << 10;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "policies".to_owned()));
    let seconds: f64 = arguments.next().map_or(Ok(SECONDS), |number| number.parse())?;
    if !(seconds > 0.0 && seconds <= SECONDS_MAX) {
        return Err(format!("SECONDS must be above 0 and at most {SECONDS_MAX}").into());
    }
    std::fs::create_dir_all(&directory)?;

    let scale = seconds / SECONDS;
    let runs = runs(scale);
    let options = ServerOptions {
        // A client that is closed while it is in the tunnel is to be told when it is out of it.
        hub: Options { close_timeout: Duration::from_secs(60), ..Options::default() },
        topics: runs.iter().map(|run| (run.name.to_owned(), run.options)).collect(),
        notsent_lowat_bytes: KERNEL_BYTES,
        send_buffer_bytes: Some(KERNEL_BYTES),
        ..ServerOptions::default()
    };
    let server = Server::bind("127.0.0.1:0", options)?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let serving = thread::spawn(|| server.run());
    let sockets = runs.iter().map(|run| subscribed(address, run.name)).collect::<Result<Vec<_>, _>>()?;
    let plan = Plan::new(scale, address, handle);
    let files = thread::scope(|scope| {
        for (run, socket) in runs.iter().zip(sockets) {
            scope.spawn(|| plan.note(run.feed(&plan)));
            scope.spawn(|| plan.note(run.read(socket, &plan)));
        }
        let files = sample(&runs, &plan);
        plan.is_over.store(true, SeqCst);
        plan.handle.shutdown();
        files
    })?;
    serving.join().expect("the server does not panic")?;
    for (run, text) in runs.iter().zip(files) {
        let file = directory.join(run.name).with_extension("csv");
        std::fs::write(&file, text)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// When everything happens, and where.
struct Plan {
    /// Seconds per second of a run of [`SECONDS`].
    scale: f64,
    /// When the feed has each message; number `n` of the topic is at `n - 1`.
    due: Vec<Duration>,
    start: Instant,
    address: SocketAddr,
    handle: Handle,
    is_over: AtomicBool,
}

impl Plan {
    fn new(scale: f64, address: SocketAddr, handle: Handle) -> Self {
        let steady = (1..).map(|n| f64::from(n) * FEED_PERIOD).take_while(|at| *at < SECONDS);
        let mut due: Vec<f64> = steady.chain(std::iter::repeat_n(BURST.0, BURST.1)).collect();
        due.sort_by(f64::total_cmp);
        let due = due.into_iter().map(|at| Duration::from_secs_f64(at * scale)).collect();
        Self { scale, due, start: Instant::now(), address, handle, is_over: AtomicBool::new(false) }
    }

    /// That many seconds of a run of [`SECONDS`].
    fn seconds(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.scale)
    }

    /// How many messages the feed has had.
    fn offered(&self, elapsed: Duration) -> usize {
        self.due.partition_point(|due| *due <= elapsed)
    }

    fn sleep_until(&self, at: Duration) {
        thread::sleep(at.saturating_sub(self.start.elapsed()));
    }

    fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    /// Whoever fails stops all.
    fn note(&self, result: Result<(), Failure>) {
        if let Err(failure) = result
            && !self.is_over.swap(true, SeqCst)
        {
            eprintln!("{failure}");
            self.handle.shutdown();
        }
    }
}

/// A topic with its feed and its client.
struct Run {
    name: &'static str,
    options: TopicOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    published: usize,
    /// Publishes that were refused at first.
    held_up: u64,
    received: u64,
    /// The number of the last message read.
    read_seq: u64,
    /// What gap notices have told.
    missed: u64,
    /// How old the message was that was read last since the last sample, from when the feed had it.
    read_age: Option<Duration>,
    /// Whether it is in the tunnel.
    is_away: bool,
}

/// One per policy, and one with a limit of age.
fn runs(scale: f64) -> Vec<Run> {
    let common = TopicOptions {
        lane: LaneLimits { messages_max: MESSAGES_MAX, bytes_max: 1 << 20 },
        message_bytes_max: 4 << 10,
        keys_max: MESSAGES_MAX,
        ..TopicOptions::default()
    };
    let aging = TopicOptions { age_max: Some(Duration::from_secs_f64(AGE_MAX * scale)), ..common };
    let of_policy = |policy: &Policy| (policy.name(), TopicOptions { policy: *policy, ..common });
    let all = Policy::ALL.iter().map(of_policy).chain([("age-max", aging)]);
    all.map(|(name, options)| Run { name, options, state: Mutex::default() }).collect()
}

impl Run {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("nobody panics with it"))
    }

    /// Publishes what the feed has, when it has it. Where a full lane refuses it, waits: only `block` does.
    fn feed(&self, plan: &Plan) -> Result<(), Failure> {
        for (at, due) in plan.due.iter().enumerate() {
            plan.sleep_until(*due);
            let key = KEYS[at % KEYS.len()];
            let json = format!(r#"{{"key":"{key}","fill":"{}"}}"#, ".".repeat(MESSAGE_BYTES));
            let message = Message::new(Payload::Text(&json[..])).with_key(key);
            match plan.handle.publish(self.name, message) {
                Err(CallError::Refused(PublishError::Full)) => {
                    self.change(|state| state.held_up += 1);
                    plan.handle.publish_wait(self.name, message, Duration::from_secs(60))?
                }
                answer => answer?,
            };
            self.change(|state| state.published = at + 1);
        }
        Ok(())
    }

    /// Reads, at most one message per [`READ_PERIOD`], until the server closes.
    fn read(&self, mut socket: WebSocket<TcpStream>, plan: &Plan) -> Result<(), Failure> {
        let mut is_ahead = true;
        loop {
            if is_ahead && plan.start.elapsed() >= plan.seconds(TUNNEL.0) {
                self.be_away(plan);
                is_ahead = false;
            }
            match socket.read() {
                Ok(Frame::Text(text)) => self.count(&serde_json::from_str(&text)?, plan),
                Ok(Frame::Close(_)) | Err(_) if plan.is_over() => return Ok(()),
                Ok(Frame::Close(_)) | Err(_) => socket = subscribed(plan.address, self.name)?,
                Ok(_) => {}
            }
            thread::sleep(plan.seconds(READ_PERIOD));
        }
    }

    /// Half the time, and then the other half; each lasts until the feed has published what belongs in it, or cannot.
    /// On a machine that is busy elsewhere this is what makes the lane full all the same, and its messages old.
    fn be_away(&self, plan: &Plan) {
        self.change(|state| state.is_away = true);
        for end in [(TUNNEL.0 + TUNNEL.1) / 2.0, TUNNEL.1] {
            thread::sleep(plan.seconds((TUNNEL.1 - TUNNEL.0) / 2.0));
            let offered = plan.offered(plan.seconds(end));
            while !self.change(|state| state.published >= offered || state.held_up > 0) && !plan.is_over() {
                thread::sleep(plan.seconds(READ_PERIOD));
            }
        }
        self.change(|state| state.is_away = false);
    }

    fn count(&self, message: &Value, plan: &Plan) {
        self.change(|state| match (message["op"].as_str(), message["seq"].as_u64()) {
            (Some("message"), Some(seq)) => {
                let due = usize::try_from(seq).ok().and_then(|seq| plan.due.get(seq - 1));
                state.received += 1;
                state.read_seq = seq;
                state.read_age = due.map(|due| plan.start.elapsed().saturating_sub(*due));
            }
            (Some("gap"), _) => state.missed += message["missed"].as_u64().unwrap_or(0),
            _ => {}
        });
    }

    /// How it stands; what was read from now on is for the next sample.
    fn look(&self) -> State {
        self.change(|state| State { read_age: state.read_age.take(), ..*state })
    }
}

/// A line of a file.
fn row(plan: &Plan, elapsed: Duration, state: &State, topic: &TopicSnapshot, outstanding: u64) -> String {
    let totals = &topic.pressure.totals;
    let mut row = format!("{:.3},{}", elapsed.as_secs_f64(), plan.offered(elapsed));
    let counts = [topic.pressure.head.seq, totals.entered.messages, totals.sent.messages, totals.waiting.messages];
    let lost = LossReason::ALL.map(|reason| totals.lost_by(reason).messages);
    for count in counts.iter().chain(&[totals.waiting.bytes, outstanding]).chain(&lost) {
        let _ = write!(row, ",{count}");
    }
    let oldest_age = topic.oldest_age.unwrap_or_default().as_secs_f64();
    let read_age = state.read_age.map_or(String::new(), |age| format!("{:.3}", age.as_secs_f64()));
    let State { held_up, received, read_seq, missed, is_away, .. } = state;
    let is_away = u8::from(*is_away);
    let _ = writeln!(row, ",{oldest_age:.3},{held_up},{received},{read_seq},{missed},{read_age},{is_away}");
    row
}

/// The first line of each file. Messages but for `waiting_bytes`; times and ages in seconds. `offered` is what the feed has
/// had, `outstanding` what of `waiting` is being written, `received` to `read_age` what the client has read and was told.
fn head() -> String {
    let lost = LossReason::ALL.map(LossReason::name).join(",");
    format!(
        "seconds,offered,published,entered,sent,waiting,waiting_bytes,outstanding,{lost},oldest_age,held_up,received,\
         read_seq,missed,read_age,is_away\n"
    )
}

/// The rows of each run, until all feeds have ended, everything sent is received and every gap is told.
fn sample(runs: &[Run], plan: &Plan) -> Result<Vec<String>, Failure> {
    let mut files = vec![head(); runs.len()];
    let mut is_over = false;
    for n in 0.. {
        if is_over {
            break;
        }
        plan.sleep_until(plan.seconds(f64::from(n) * SAMPLE_PERIOD + FEED_PERIOD / 2.0)); // Between two messages.
        // First the clients: what they have read was sent then.
        let states: Vec<State> = runs.iter().map(Run::look).collect();
        let snapshot = plan.handle.snapshot(usize::MAX).ok_or("the server has stopped")?;
        let elapsed = plan.start.elapsed();
        is_over = true;
        for ((run, state), file) in runs.iter().zip(&states).zip(&mut files) {
            let topic = snapshot.topics.iter().find(|topic| topic.name == run.name).ok_or("no such topic")?;
            let lanes = snapshot.lanes.iter().filter(|lane| lane.topic == run.name);
            let outstanding = lanes.map(|lane| lane.pressure.outstanding.messages).sum();
            file.push_str(&row(plan, elapsed, state, topic, outstanding));
            let totals = &topic.pressure.totals;
            let untold = [LossReason::Superseded, LossReason::Closed].map(|reason| totals.lost_by(reason).messages);
            is_over &= totals.waiting.messages == 0
                && state.missed + untold.iter().sum::<u64>() == totals.lost_total().messages
                && state.published == plan.due.len()
                && state.received == totals.sent.messages;
        }
    }
    Ok(files)
}

/// A client that has subscribed. It keeps next to nothing that it has not read.
fn subscribed(address: SocketAddr, topic: &str) -> Result<WebSocket<TcpStream>, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(KERNEL_BYTES as usize)?;
    socket.connect(&address.into())?;
    let config = WebSocketConfig::default().read_buffer_size(MESSAGE_BYTES);
    let url = format!("ws://{address}/");
    let (mut client, _) = tungstenite::client::client_with_config(url, TcpStream::from(socket), Some(config))?;
    client.send(Frame::text(format!(r#"{{"op":"subscribe","topic":"{topic}","id":1}}"#)))?;
    while !client.read()?.to_text()?.starts_with(r#"{"op":"ok""#) {}
    Ok(client)
}
