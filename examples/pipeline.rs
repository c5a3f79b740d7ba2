//! Node's `pipeline(source, transform, sink)`, with the sink at the other end of a WebSocket: a file of JSON texts, one a
//! line, is read, parsed and sent, as fast as whoever receives it can take it and no faster.
//!
//! `cargo run --example pipeline [ADDRESS [FILE]]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
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
    let file = arguments.next();
    smol::block_on(async {
        let server = Server::bind(address, options()).await?;
        let (handle, address) = (server.handle(), server.local_addr()?);
        let (sender, left) = smol::channel::bounded(1);
        // Where the sink is, and a source that is a client.
        let mut ends = vec![End { topic: "parsed", is_there: false }];
        ends.extend(file.is_none().then_some(End { topic: "outcome", is_there: false }));
        let running = server.run_with(move |hub, event, _| {
            ends.iter_mut().filter_map(|end| end.left(hub, event)).for_each(|why| drop(sender.try_send(why)));
        });
        let piping = async {
            let mut lines = handle.subscribe("lines", LaneOptions::default()).await?;
            let mut ready = handle.subscribe("ready", LaneOptions::default()).await?;
            println!("listening on ws://{address}");
            ready.next().await;
            let source = async {
                match &file {
                    Some(file) => read(&handle, file).await,
                    None => Ok(()),
                }
            };
            let left = async { Err(left.recv().await?.into()) };
            // The first that fails ends the others.
            let outcome = left.or(try_zip(source, parse(&handle, &mut lines))).await.map(|((), count)| count);
            let last = match &outcome {
                Ok(count) => json!({ "end": count }),
                Err(error) => json!({ "error": error.to_string() }),
            };
            for topic in ["parsed", "outcome"] {
                let _ = put(&handle, topic, &last).await; // Perhaps nobody is left to be told.
            }
            handle.shutdown(); // When everything was taken.
            outcome
        };
        let (stopped, outcome) = zip(running, piping).await;
        stopped?;
        let count = outcome?;
        let lost = handle.stats().await.lanes.lost_by(LossReason::Closed).messages;
        if lost > 0 {
            return Err(format!("the sink left without the last {lost} lines").into());
        }
        println!("{count} lines");
        Ok(())
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

/// An end of the pipeline that is a client, and the topic it is subscribed to.
struct End {
    topic: &'static str,
    is_there: bool,
}

impl End {
    /// Tells when it has left. (Who is there and unsubscribes is noticed by the next `put`.)
    fn left(&mut self, hub: &Hub, event: Event) -> Option<String> {
        let pressure = hub.find_topic(self.topic).and_then(|topic| hub.topic_pressure(topic));
        let was_there = self.is_there;
        let is_there = pressure.is_some_and(|topic| topic.lanes > 0);
        let Event::Closed { reason, .. } = event else {
            self.is_there |= is_there;
            return None;
        };
        self.is_there = is_there;
        (was_there && !is_there).then(|| format!("nobody is left to take {}: {reason:?}", self.topic))
    }
}
