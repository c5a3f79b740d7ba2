//! `forebay demo`: one feed under every policy, with consumers that are fast, slow and frozen.

mod consumers;
mod feed;
mod publishing;
mod screen;
mod table;

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use forebay_core::Policy;
use forebay_threads::{LaneLimits, Options, ServerOptions, Snapshot, TopicOptions};

use crate::cli::DemoArguments;
use crate::serve::{cannot_listen, program, reachable};
use crate::serving::{Handle, Serving};
use crate::{Failure, admin, process, signals};
use consumers::{Consumer, Pace};
use screen::Screen;
use table::{Frame, Row};

/// The topic that is there to be followed.
const FEED_TOPIC: &str = "machine";
/// Between two looks at the consumers.
const LOOK: Duration = Duration::from_millis(250);
/// Looks per line of the table.
const LOOKS_PER_FRAME: u32 = 4;
/// With `block` nothing would move if the frozen consumer never read anything.
const BLOCK_WAKE_SECONDS: u32 = 5;
const BLOCK_MESSAGES_MAX: u32 = 10;
/// Lanes that are looked at: those of the demo, and of a few visitors.
const LANES_MAX: usize = 1_000;
/// How long the end waits for the server.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The topic with a policy.
fn topic_name(policy: Policy) -> String {
    format!("demo.{policy}")
}

/// Limits that are reached within seconds: 200 messages are a second and a half of the feed, 512 KiB hold them.
fn options() -> ServerOptions {
    let hour = Duration::from_secs(3_600);
    let limits = TopicOptions {
        lane: LaneLimits { messages_max: 200, bytes_max: 512 << 10 },
        message_bytes_max: 8 << 10,
        log_bytes_max: 4 << 20,
        keys_max: 100,
        keys_bytes_max: 256 << 10,
        ..TopicOptions::default()
    };
    let mut topics = Vec::new();
    for policy in Policy::ALL {
        // A full topic has room again at half of the limit: with few messages that is soon, and the pace shows.
        let messages_max = if *policy == Policy::Block { BLOCK_MESSAGES_MAX } else { limits.lane.messages_max };
        let lane = LaneLimits { messages_max, ..limits.lane };
        topics.push((topic_name(*policy), TopicOptions { policy: *policy, lane, ..limits }));
    }
    topics.push((FEED_TOPIC.to_owned(), TopicOptions { policy: Policy::LatestPerKey, ..limits }));
    ServerOptions {
        // A frozen consumer is what is to be seen: it is not given up.
        hub: Options { resident_bytes_max: 64 << 20, stall_timeout: hour, pong_timeout: hour, ..Options::default() },
        topics,
        // Little of what a frozen consumer does not read is in the kernel.
        send_buffer_bytes: Some(32 << 10),
        drain_timeout: Duration::from_millis(100),
        ..ServerOptions::default()
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &DemoArguments) -> Result<ExitCode, Failure> {
    let listen = &arguments.listen;
    let Serving { address, handle, run } = Serving::bind(arguments.binding, listen, options())
        .map_err(|error| Failure::runtime(cannot_listen(listen, "--listen", &error)))?;
    let admin = admin::start("127.0.0.1:0", handle.clone())
        .map_err(|error| Failure::runtime(format!("cannot listen on 127.0.0.1: {error}")))?;
    let no_thread = |error| Failure::runtime(format!("cannot start a thread: {error}"));
    // Whatever ends the demo: a signal, or the server.
    let (end, ended) = channel();
    let server_end = end.clone();
    let serve = move || drop(server_end.send(End::Server(run())));
    std::thread::Builder::new().name("server".to_owned()).spawn(serve).map_err(no_thread)?;

    let url = format!("ws://{}", reachable(address));
    let is_synthetic = publishing::start(&handle).map_err(no_thread)?;
    let mut consumers = Vec::new();
    for policy in Policy::ALL {
        for pace in Pace::ALL {
            consumers.push(Consumer::start(&url, &topic_name(*policy), *policy, pace)?);
        }
    }
    let mut screen = Screen::start(&intro(&url, &format!("http://{admin}"), is_synthetic));
    signals::on_first(move |_| {
        // Whoever shows the table may be busy; a second signal finds the cursor where it belongs, too.
        screen::restore();
        drop(end.send(End::Signal));
    })
    .map_err(|error| Failure::runtime(format!("cannot handle signals: {error}")))?;
    let shown = show(&mut screen, &handle, &consumers, arguments, &ended);
    screen::restore();
    handle.shutdown();
    // Those who read are told; those who do not are not waited for.
    let _ = ended.recv_timeout(STOP_TIMEOUT);
    match shown {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever closed standard output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::runtime(error.to_string())),
    }
}

/// Why it is over.
enum End {
    Signal,
    Server(io::Result<()>),
}

fn intro(url: &str, admin: &str, is_synthetic: bool) -> Vec<String> {
    let program = program();
    let mut lines = vec![
        format!(
            "forebay {} serves {url}. While this runs, in another terminal or a browser:",
            env!("CARGO_PKG_VERSION")
        ),
        format!("  {program} subscribe --topic {FEED_TOPIC} {url}"),
        format!("  {admin}/stats  (JSON), {admin}/metrics  (Prometheus)"),
    ];
    if is_synthetic {
        lines.push("This system has no /proc: the numbers that are published are made up.".to_owned());
    }
    lines
}

/// Shows a frame every second until it is over.
fn show(
    screen: &mut Screen,
    handle: &Handle,
    consumers: &[Consumer],
    arguments: &DemoArguments,
    ended: &Receiver<End>,
) -> io::Result<()> {
    let mut published = vec![0; consumers.len()];
    let mut next = Instant::now();
    for look in 1.. {
        next += LOOK;
        match ended.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(End::Server(Err(error))) => return Err(error),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let second = look / LOOKS_PER_FRAME;
        let rows = look_at(handle, consumers);
        let Some((snapshot, mut rows)) = rows else { return Ok(()) };
        wake(consumers, &rows, look);
        if look % LOOKS_PER_FRAME > 0 {
            continue;
        }
        for (row, before) in rows.iter_mut().zip(&mut published) {
            row.published_per_second = row.published - std::mem::replace(before, row.published);
        }
        let frame = Frame { second, rows, snapshot: &snapshot, process_bytes: process::resident_bytes() };
        screen.show(&frame)?;
        if arguments.seconds.is_some_and(|seconds| second >= seconds.get()) {
            return Ok(());
        }
    }
    Ok(())
}

/// A snapshot and each consumer's row of it; `None` if the server has stopped.
fn look_at(handle: &Handle, consumers: &[Consumer]) -> Option<(Snapshot, Vec<Row>)> {
    // In this order: whoever was subscribed before the snapshot and has no lane in it has been ended.
    let states: Vec<_> = consumers.iter().map(Consumer::state).collect();
    let snapshot = handle.snapshot(LANES_MAX)?;
    let row = |(consumer, state): (&Consumer, consumers::State)| {
        let name = topic_name(consumer.policy);
        let lane = snapshot.lanes.iter().find(|lane| state.peer.is_some() && lane.peer == state.peer);
        let topic = snapshot.topics.iter().find(|topic| topic.name == name);
        Row {
            policy: consumer.policy,
            pace: consumer.pace,
            state,
            lane: lane.filter(|lane| lane.topic == name).map(|lane| lane.pressure),
            kernel_bytes: lane.and_then(|lane| lane.connection).map_or(0, |connection| connection.kernel_bytes),
            published: topic.map_or(0, |topic| topic.pressure.head.seq),
            published_per_second: 0,
        }
    };
    let rows = consumers.iter().zip(states).map(row).collect();
    Some((snapshot, rows))
}

/// Wakes who has been ended, so that it reads its Close frame and comes back; and now and then whoever stops `block`.
fn wake(consumers: &[Consumer], rows: &[Row], look: u32) {
    let is_time = look.is_multiple_of(BLOCK_WAKE_SECONDS * LOOKS_PER_FRAME);
    for (consumer, row) in consumers.iter().zip(rows) {
        let is_ended = row.state.peer.is_some() && row.lane.is_none();
        let stops_others = row.policy == Policy::Block && row.pace == Pace::Frozen;
        if is_ended || stops_others && is_time {
            consumer.wake();
        }
    }
}
