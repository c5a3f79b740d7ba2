//! Streams between tasks: what may be dropped, spawned, and run on one thread. The rest is in the suite of
//! `forebay-threads`, which `sockets.rs` runs.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use forebay_smol::stream::{
    ConsumerOptions, Ending, Entry, PipeError, Stream, StreamOptions, Streams, StreamsOptions, pipe,
};
use forebay_smol::{LaneOptions, Message, Payload, Policy, Server, ServerOptions, TopicOptions, forebay_core};
use smol::future::{self, FutureExt};
use smol::stream::{self, StreamExt};
use smol::{LocalExecutor, Timer};

/// Nothing takes so long; a test that hangs is ended by it.
const HANG: Duration = Duration::from_secs(60);

fn bounded<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(test.or(async {
        Timer::after(HANG).await;
        panic!("it hangs")
    }))
}

fn numbers() -> Stream<u64> {
    Stream::new(StreamOptions::default(), |_| 8).unwrap()
}

fn block(messages_max: u32) -> ConsumerOptions {
    ConsumerOptions::bounded(Policy::Block, messages_max)
}

#[test]
fn a_thread_is_enough_for_writers_and_consumers() {
    const COUNT: u64 = 1_000;
    let executor = LocalExecutor::new();
    bounded(executor.run(async {
        let streams = Streams::new(StreamsOptions::default(), |_: &u64| 8).unwrap();
        let takers: Vec<_> = ["a", "a", "b"]
            .into_iter()
            .map(|name| {
                let consumer = streams.stream(name).consume(block(3)).unwrap();
                executor.spawn(async move { consumer.whole().map(Result::unwrap).collect::<Vec<_>>().await })
            })
            .collect();
        let writers: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|name| {
                let stream = streams.stream(name);
                executor.spawn(async move {
                    for number in 0..COUNT {
                        stream.write_wait(number, HANG).await.unwrap();
                    }
                    stream.close(None);
                })
            })
            .collect();
        for writer in writers {
            writer.await;
        }
        for taker in takers {
            assert!(taker.await.into_iter().eq(0..COUNT));
        }
        assert!(streams.names().is_empty());
    }));
}

#[test]
fn whoever_gives_up_has_done_nothing() {
    bounded(async {
        let stream = numbers();
        let mut consumer = stream.consume(block(1)).unwrap();
        for number in 0..100 {
            // Looked at, and dropped, where it has to wait.
            assert_eq!(future::poll_once(consumer.next()).await, None);
            assert_eq!(stream.write_wait(number, HANG).await, Ok(1));
            assert!(future::poll_once(stream.write_wait(1_000, HANG)).await.is_none());
            assert!(future::poll_once(stream.drained(HANG)).await.is_none());
            assert_eq!(consumer.next().await, Some(Entry::Item(number)));
        }
        assert_eq!(stream.pressure().load.waiting.messages, 0, "what was given up was not written");
        assert!(future::poll_once(stream.once(HANG)).await.is_none());
        assert_eq!(stream.consumers().len(), 1);
    });
}

#[test]
fn a_pipe_that_is_dropped_tells_its_sink() {
    bounded(async {
        let (source, sink) = (numbers(), numbers());
        let from = source.consume(block(1)).unwrap().whole();
        let mut consumer = sink.consume(block(1)).unwrap();
        let piping = smol::spawn(pipe(from, |number| Ok::<_, Infallible>(Some(number)), sink.clone()));
        assert_eq!(source.write_wait(1, HANG).await, Ok(1));
        assert_eq!(consumer.next().await, Some(Entry::Item(1)));
        piping.cancel().await;
        assert_eq!(consumer.next().await, None);
        assert_eq!(consumer.end().unwrap().how, Ending::Killed);
        assert_eq!(source.write(2), Ok(0), "and its source finds nobody there");
    });
}

#[test]
fn a_topic_is_a_source_and_a_sink() {
    const COUNT: u64 = 200;
    bounded(async {
        let lane = forebay_smol::LaneLimits { messages_max: 4, bytes_max: 1 << 20 };
        let topic = TopicOptions { policy: Policy::Block, lane, ..TopicOptions::default() };
        let topics = ["from", "to"].map(|name| (name.to_owned(), topic));
        let server = Server::unbound(ServerOptions { topics: topics.into(), ..ServerOptions::default() }).unwrap();
        let handle = server.handle();
        let running = smol::spawn(server.run());
        let from = handle.subscribe("from", LaneOptions::default()).await.unwrap();
        let mut to = handle.subscribe("to", LaneOptions::default()).await.unwrap();
        let text = |entry| match entry {
            forebay_core::Entry::Message { payload, .. } => Ok(payload.as_text().map(str::to_owned)),
            forebay_core::Entry::Gap(_) => Err("lost"),
        };
        let put = |handle: &forebay_smol::Handle, topic: &'static str| {
            let handle = handle.clone();
            move |text: String| {
                let handle = handle.clone();
                async move { handle.publish_wait(topic, Message::from(Payload::Text(&text)), HANG).await.map(drop) }
            }
        };
        let through = smol::spawn(pipe(from.map(Ok::<_, Infallible>), text, put(&handle, "to")));
        let source = stream::iter(0..COUNT).map(Ok::<_, Infallible>);
        let into = pipe(source, |number| Ok::<_, Infallible>(Some(number.to_string())), put(&handle, "from"));
        let into = smol::spawn(into);
        for expected in 0..COUNT {
            let Some(forebay_core::Entry::Message { payload, .. }) = to.next().await else { panic!("nothing is lost") };
            assert_eq!(payload.as_text(), Some(&*expected.to_string()));
        }
        assert_eq!(into.await.unwrap(), COUNT);
        handle.shutdown();
        running.await.unwrap();
        assert_eq!(through.await.unwrap(), COUNT);
    });
}

#[test]
fn a_sink_that_fails_ends_its_pipe() {
    bounded(async {
        let sink = |number: u64| async move { if number < 3 { Ok(()) } else { Err("three") } };
        let source = stream::repeat(1).map(Ok::<_, Infallible>);
        let mut sum = 0;
        let running_sum = |number: u64| {
            sum += number;
            Ok::<_, Infallible>(Some(sum))
        };
        let error = pipe(source, running_sum, sink).await.unwrap_err();
        assert!(matches!(error, PipeError::Sink(_)));
        assert_eq!((error.to_string(), sum), ("sink: three".to_owned(), 3));
    });
}
