//! Sources, transforms and sinks: who is slow, who fails and who leaves.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use super::common::{HANG, start, until};
use crate::binding::stream::{ConsumerOptions, End, Ending, Entry, PipeError, Stream, StreamOptions, pipe};
use crate::binding::{LaneOptions, Payload, Policy, ServerOptions, TopicOptions, forebay_core};

fn stream() -> Stream<u64> {
    Stream::new(StreamOptions::default(), |_| 8).unwrap()
}

fn block(messages_max: u32) -> ConsumerOptions {
    ConsumerOptions::bounded(Policy::Block, messages_max)
}

fn good(number: u64) -> Result<Option<u64>, Infallible> {
    Ok(Some(number))
}

#[test]
fn a_source_is_not_pulled_while_its_sink_has_no_room() {
    const ITEMS: u64 = 1_000;
    const ROOM: u64 = 4;
    let (pulled, sink) = (AtomicU64::new(0), stream());
    thread::scope(|scope| {
        let mut consumer = sink.consume(block(4)).unwrap();
        let source = (0..ITEMS).map(|number| {
            pulled.fetch_add(1, SeqCst);
            Ok::<_, Infallible>(number)
        });
        let piping = scope.spawn({
            let sink = sink.clone();
            move || pipe(source, good, sink)
        });
        until(|| !sink.is_drained());
        assert_eq!(pulled.load(SeqCst), ROOM);
        for expected in 0..ITEMS {
            let ahead = pulled.load(SeqCst) - expected;
            assert!(ahead <= ROOM + 1, "{ahead} were pulled and not taken");
            assert_eq!(consumer.next(), Some(Entry::Item(expected)));
        }
        assert_eq!(consumer.next(), None, "the end of the source ends the sink");
        assert_eq!(consumer.end().unwrap().how, Ending::Closed);
        assert_eq!(piping.join().unwrap().unwrap(), ITEMS);
    });
}

#[test]
fn a_transform_makes_nothing_one_or_more_of_an_item() {
    let sink = stream();
    let consumer = sink.consume(block(100)).unwrap();
    let source = [1, 2, 3].map(Ok::<u64, Infallible>);
    let repeated = |number: u64| Ok::<_, Infallible>((1..number).map(move |_| number));
    assert_eq!(pipe(source, repeated, sink).unwrap(), 3);
    assert_eq!(consumer.whole().map(Result::unwrap).collect::<Vec<_>>(), [2, 3, 3]);
}

/// A producer, a pipe, a stream, another pipe, a consumer; each end and each error goes through all of it.
#[test]
fn ends_and_errors_go_both_ways() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Case {
        SourceEnds,
        SourceIsKilled,
        TransformFails,
        SinkLeaves,
    }
    for case in [Case::SourceEnds, Case::SourceIsKilled, Case::TransformFails, Case::SinkLeaves] {
        let [first, second, third] = [(); 3].map(|()| stream());
        let (one, two) = (first.consume(block(3)).unwrap().whole(), second.consume(block(3)).unwrap().whole());
        let mut last = third.consume(block(3)).unwrap();
        thread::scope(|scope| {
            let pipe_one = scope.spawn({
                let second = second.clone();
                move || pipe(one, good, second)
            });
            let pipe_two = scope.spawn({
                let third = third.clone();
                let transform = move |number| match number {
                    50 if case == Case::TransformFails => Err("fifty"),
                    number => Ok(Some(number + 1)),
                };
                move || pipe(two, transform, third)
            });
            // Writes until it finds nobody there.
            let producer = scope.spawn(|| (0..100).find(|number| first.write_wait(*number, HANG) == Ok(0)));
            let taken = |count| (0..count).all(|number| last.next() == Some(Entry::Item(number + 1)));
            let mut taken = taken;
            match case {
                Case::SourceEnds => {
                    assert!(taken(97));
                    assert_eq!(producer.join().unwrap(), None);
                    first.close(None);
                    assert!((97..100).all(|number| last.next() == Some(Entry::Item(number + 1))));
                    assert_eq!((last.next(), last.end().unwrap().how), (None, Ending::Closed));
                    assert_eq!((pipe_one.join().unwrap().unwrap(), pipe_two.join().unwrap().unwrap()), (100, 100));
                }
                Case::SourceIsKilled => {
                    assert!(taken(10));
                    first.kill(None);
                    while last.next().is_some() {}
                    assert_eq!(last.end().unwrap().how, Ending::Killed);
                    assert!(producer.join().unwrap().is_some());
                    for error in [pipe_one.join().unwrap(), pipe_two.join().unwrap()] {
                        let error = error.unwrap_err();
                        assert!(matches!(error, PipeError::Source(_)), "{error}");
                    }
                }
                Case::TransformFails => {
                    assert!(taken(40));
                    while last.next().is_some() {}
                    assert_eq!(last.end().unwrap().how, Ending::Killed);
                    assert!(producer.join().unwrap().is_some(), "its producer sees it");
                    assert_eq!(pipe_one.join().unwrap().unwrap_err().to_string(), "sink: nobody is left to take it");
                    assert_eq!(pipe_two.join().unwrap().unwrap_err().to_string(), "transform: fifty");
                }
                Case::SinkLeaves => {
                    assert!(taken(10));
                    drop(last);
                    assert!(producer.join().unwrap().is_some(), "its producer sees it");
                    for error in [pipe_one.join().unwrap(), pipe_two.join().unwrap()] {
                        assert_eq!(error.unwrap_err().to_string(), "sink: nobody is left to take it");
                    }
                }
            }
        });
        for stream in [first, second, third] {
            assert_eq!(stream.pressure().load.waiting.messages, 0, "{case:?}: nothing is left behind");
        }
    }
}

#[test]
fn what_a_consumer_lost_is_an_error_of_the_source() {
    let (source, sink) = (stream(), stream());
    let lossy = source.consume(ConsumerOptions::bounded(Policy::DropOldest, 2)).unwrap();
    let mut consumer = sink.consume(block(10)).unwrap();
    (0..5).for_each(|number| assert_eq!(source.write(number), Ok(1)));
    source.close(None);
    assert_eq!(pipe(lossy.whole(), good, sink).unwrap_err().to_string(), "source: 3 items were lost");
    assert_eq!((consumer.next(), consumer.end().unwrap().how), (None, Ending::Killed));
}

#[test]
fn what_a_stream_was_closed_with_is_there_behind_the_whole() {
    let stream = stream();
    let mut whole = stream.consume(block(2)).unwrap().whole();
    stream.write(1).unwrap();
    stream.close(Some(7));
    assert_eq!((whole.next(), whole.end()), (Some(Ok(1)), None), "that comes first");
    assert_eq!(whole.next(), None);
    assert_eq!(whole.end(), Some(&End { how: Ending::Closed, value: Some(7), missed: 0 }));
}

#[test]
fn a_pipe_that_panics_tells_its_sink() {
    let sink = stream();
    let mut consumer = sink.consume(block(10)).unwrap();
    let piping = thread::spawn(move || {
        let transform = |number: u64| -> Result<Option<u64>, Infallible> { panic!("{number} is too much") };
        pipe([1].map(Ok::<_, Infallible>), transform, sink)
    });
    assert_eq!((consumer.next(), consumer.end().unwrap().how), (None, Ending::Killed));
    assert!(piping.join().is_err());
}

#[test]
fn a_topic_is_a_source() {
    let topic = TopicOptions { policy: Policy::Block, ..TopicOptions::default() };
    let server = start(ServerOptions { topics: vec![("numbers".to_owned(), topic)], ..ServerOptions::default() });
    let subscription = server.handle.subscribe("numbers", LaneOptions::default()).unwrap();
    let sink = stream();
    let consumer = sink.consume(block(2)).unwrap();
    let piping = thread::spawn(move || {
        let parse = |entry| match entry {
            forebay_core::Entry::Message { payload, .. } => payload.as_text().unwrap_or_default().parse().map(Some),
            forebay_core::Entry::Gap(_) => Ok(None),
        };
        pipe(subscription.map(Ok::<_, Infallible>), parse, sink)
    });
    let mut numbers = consumer.whole().map(Result::unwrap);
    for number in 0..100 {
        server.handle.publish_wait("numbers", Payload::Text(&number.to_string()), HANG).unwrap();
        assert_eq!(numbers.next(), Some(number));
    }
    server.stop();
    assert_eq!(numbers.next(), None, "the end of the server ends the sink");
    assert_eq!(piping.join().unwrap().unwrap(), 100);
}
