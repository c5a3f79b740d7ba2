//! Node's `pipeline(source, transform, sink)`, with the sink at the other end of a WebSocket: a file of JSON texts, one a
//! line, is read, parsed and sent, as fast as whoever receives it can take it and no faster.
//!
//! `cargo run --example pipeline [ADDRESS [FILE]]`, then from a browser's console:
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"parsed"}'); s.send('{"op":"publish","topic":"ready","data":1}')`
//!
//! Without FILE the source is a client as well: it subscribes to `outcome`, publishes `{"line":TEXT}` to `lines` and awaits
//! the `ok` of each (`tests/pipeline.mjs` does it with streams of Node's), at last `{"end":COUNT}`.
//!
//! Watch: nothing here pauses or drains anything. The topics have the policy `block`, so whoever publishes waits while the
//! next does not take: a sink that does not read stops the reading of the file, and memory stays as it is. (For longer than
//! `stall_timeout`, 30 s, it is not waited for: it is gone.) Whoever fails or leaves ends the others, and they are told why;
//! the source's end ends the sink when it has everything.

use std::error::Error as StdError;
use std::fs::File;
use std::time::Duration;

use forebay_smol::{
    CreateTopics, Entry, Event, Handle, Hub, LaneLimits, LaneOptions, LossReason, Options, Payload, Policies, Policy,
    Server, ServerOptions, Subscription, TopicOptions,
};
use serde_json::{Value, json};
use smol::Unblock;
use smol::future::{FutureExt, try_zip, zip};
use smol::io::{AsyncBufReadExt, BufReader};
use smol::stream::StreamExt;

type Error = Box<dyn StdError + Send + Sync>;

/// How long a slow sink is waited for, whichever way.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// `smol::fs::File` reads 8 MiB ahead.
const READ_AHEAD_BYTES_MAX: usize = 64 << 10;

fn options() -> ServerOptions {
    let pipe = TopicOptions {
        policy: Policy::Block,
        choices: Policies::NONE,
        lane: LaneLimits { messages_max: 256, bytes_max: 64 << 10 },
        message_bytes_max: 16 << 10,
        ..TopicOptions::default()
    };
    let said = TopicOptions::default();
    let topics = [("lines", pipe), ("parsed", pipe), ("ready", said), ("outcome", said)];
    ServerOptions {
        hub: Options { create_topics: CreateTopics::Application, block_max: PATIENCE, ..Options::default() },
        topics: topics.map(|(name, topic)| (name.to_owned(), topic)).into(),
        drain_timeout: PATIENCE,
        ..ServerOptions::default()
    }
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    smol::block_on(async {
        let server = Server::bind(address, options()).await?;
        let (handle, address) = (server.handle(), server.local_addr()?);
        let (sender, left) = smol::channel::bounded(1);
        let running = server.run_with({
            let mut watch = watch(["parsed", "outcome"]);
            move |hub, event, _| watch(hub, event).into_iter().for_each(|why| drop(sender.try_send(why)))
        });
        let piping = async {
            let mut lines = handle.subscribe("lines", LaneOptions::default()).await?;
            let mut ready = handle.subscribe("ready", LaneOptions::default()).await?;
            println!("listening on ws://{address}");
            ready.next().await;
            let source = async {
                match arguments.next() {
                    Some(file) => read(&handle, &file).await,
                    None => Ok(()), // A client.
                }
            };
            let left = async { Err(left.recv().await?.into()) };
            // The first that fails ends the others.
            let outcome = left.or(try_zip(source, parse(&handle, &mut lines))).await.map(|((), count)| count);
            let last = outcome
                .as_ref()
                .map_or_else(|error| json!({ "error": error.to_string() }), |count| json!({ "end": count }));
            for topic in ["parsed", "outcome"] {
                let _ = put(&handle, topic, &last).await; // Perhaps nobody is left to be told.
            }
            handle.shutdown(); // When everything was taken.
            outcome
        };
        let (stopped, outcome) = zip(running, piping).await;
        stopped?;
        let count = outcome?;
        match handle.stats().await.lanes.lost_by(LossReason::Closed).messages {
            0 => Ok(println!("{count} lines")),
            lost => Err(format!("the sink left without the last {lost} lines").into()),
        }
    })
}

/// The source.
async fn read(handle: &Handle, file: &str) -> Result<(), Error> {
    let file = Unblock::with_capacity(READ_AHEAD_BYTES_MAX, File::open(file)?);
    let (mut lines, mut count) = (BufReader::new(file).lines(), 0);
    while let Some(line) = lines.next().await {
        put(handle, "lines", &json!({ "line": line? })).await?;
        count += 1;
    }
    put(handle, "lines", &json!({ "end": count })).await
}

/// The transform.
async fn parse(handle: &Handle, lines: &mut Subscription) -> Result<u64, Error> {
    for count in 0.. {
        let Some(Entry::Message { payload, .. }) = lines.next().await else { return Err("lines were lost".into()) };
        let message: Value = serde_json::from_slice(&payload.bytes)?;
        let Some(line) = message["line"].as_str() else {
            return if message["end"] == count { Ok(count) } else { Err("the source did not send all".into()) };
        };
        let value: Value = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", count + 1))?;
        put(handle, "parsed", &json!({ "line": count + 1, "value": value })).await?;
    }
    unreachable!("there are not so many lines")
}

/// Waits until the next one takes it.
async fn put(handle: &Handle, topic: &str, value: &Value) -> Result<(), Error> {
    let published = handle.publish_wait(topic, Payload::Text(&value.to_string()), PATIENCE).await?;
    if published.matched == 0 { Err(format!("nobody is left to take {topic}").into()) } else { Ok(()) }
}

/// Tells when a topic has lost its last subscriber.
fn watch(topics: [&'static str; 2]) -> impl FnMut(&mut Hub, Event) -> Option<String> {
    let mut was_taken = [false; 2];
    move |hub, event| {
        let lanes = |name| hub.find_topic(name).and_then(|topic| hub.topic_pressure(topic)).map_or(0, |it| it.lanes);
        let is_taken = topics.map(|name| lanes(name) > 0);
        let left = (0..topics.len()).find(|at| was_taken[*at] && !is_taken[*at]);
        was_taken = is_taken;
        left.map(|at| format!("nobody is left to take {}: {event:?}", topics[at]))
    }
}
