//! Streams between threads. What one stream does is tested in `core/testkit/tests/streams*.rs`; here it is who waits, and
//! who is woken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::common::{HANG, until};
use crate::binding::stream::{
    ConsumerError, ConsumerOptions, Ending, Entry, OnceError, Stream, StreamOptions, Streams, StreamsOptions,
    WriteError,
};
use crate::binding::{NextError, Policy};

const SHORT: Duration = Duration::from_millis(1);

fn stream() -> Stream<u32> {
    Stream::new(StreamOptions::default(), |_| 4).unwrap()
}

fn block(messages_max: u32) -> ConsumerOptions {
    ConsumerOptions::bounded(Policy::Block, messages_max)
}

#[test]
fn writers_that_wait_for_slow_consumers_lose_nothing() {
    const WRITERS: u32 = 4;
    const ITEMS: u32 = 2_000;
    let stream = stream();
    let consumers: Vec<_> = [1, 8, 100].into_iter().map(|max| stream.consume(block(max)).unwrap()).collect();
    thread::scope(|scope| {
        let takers: Vec<_> = consumers
            .into_iter()
            .map(|mut consumer| {
                scope.spawn(move || {
                    let items: Vec<u32> = consumer.by_ref().filter_map(Entry::item).collect();
                    (items, consumer.end().map(|end| (end.how, end.value)))
                })
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let stream = stream.clone();
                scope.spawn(move || {
                    let items = writer * ITEMS..(writer + 1) * ITEMS;
                    items.for_each(|item| assert_eq!(stream.write_wait(item, HANG), Ok(3)));
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        stream.close(Some(7));
        let mut taken: Vec<Vec<u32>> = Vec::new();
        for taker in takers {
            let (items, end) = taker.join().unwrap();
            assert_eq!(end, Some((Ending::Closed, Some(7))));
            taken.push(items);
        }
        assert!(taken.iter().all(|items| *items == taken[0]), "all see the same order");
        for writer in 0..WRITERS {
            let of_one = taken[0].iter().copied().filter(|item| item / ITEMS == writer);
            assert!(of_one.eq(writer * ITEMS..(writer + 1) * ITEMS), "nothing is missing, twice or out of order");
        }
    });
    assert_eq!(stream.pressure().consumers, 0);
    assert_eq!(stream.write(0), Ok(0));
}

#[test]
fn a_consumer_that_gives_up_waiting_has_missed_nothing() {
    const ITEMS: u32 = 1_000;
    let stream = stream();
    let mut consumer = stream.consume(block(10)).unwrap();
    assert_eq!(consumer.next_timeout(SHORT), Err(NextError::TimedOut));
    assert_eq!(consumer.next_timeout(Duration::ZERO), Err(NextError::TimedOut));
    let writer = thread::spawn({
        let stream = stream.clone();
        move || (0..ITEMS).for_each(|item| assert_eq!(stream.write_wait(item, HANG), Ok(1)))
    });
    let (mut next, mut given_up) = (0, 0);
    while next < ITEMS {
        match consumer.next_timeout(Duration::from_micros(given_up % 50)) {
            Ok(entry) => {
                assert_eq!(entry, Entry::Item(next));
                next += 1;
            }
            Err(error) => {
                assert_eq!(error, NextError::TimedOut);
                given_up += 1;
            }
        }
    }
    writer.join().unwrap();
    assert_eq!(consumer.stats().unwrap().totals.lost_total().messages, 0);
}

/// In SocketCluster each write began the wait anew, also one that was for another consumer.
#[test]
fn what_is_written_to_others_does_not_prolong_a_wait() {
    let stream = stream();
    let (mut one, other) = (stream.consume(block(10)).unwrap(), stream.consume(ConsumerOptions::default()).unwrap());
    let (is_over, other) = (AtomicBool::new(false), other.id());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                stream.write_to(other, 1).unwrap();
            }
        });
        assert_eq!(one.next_timeout(Duration::from_millis(20)), Err(NextError::TimedOut));
        is_over.store(true, SeqCst);
    });
    assert_eq!(one.stats().unwrap().load.waiting.messages, 0);
}

#[test]
fn a_writer_that_gives_up_waiting_gets_its_item_back() {
    let stream = stream();
    let mut consumer = stream.consume(block(2)).unwrap();
    assert!(stream.ready(Duration::ZERO) && stream.drained(Duration::ZERO));
    stream.write_wait(1, HANG).unwrap();
    stream.write_wait(2, HANG).unwrap();
    assert!(stream.drained(Duration::ZERO), "nothing was refused");
    let refused = stream.write_wait(3, SHORT).unwrap_err();
    assert_eq!((refused.error, refused.value), (WriteError::Full, 3));
    assert!(!stream.ready(SHORT) && !stream.drained(SHORT));
    assert_eq!(consumer.next(), Some(Entry::Item(1)));
    assert!(stream.ready(HANG) && stream.drained(HANG));
    assert_eq!(stream.write(4), Ok(1));
    assert_eq!((consumer.next(), consumer.next()), (Some(Entry::Item(2)), Some(Entry::Item(4))));
}

/// Every way in which somebody who waits is released.
#[test]
fn whoever_waits_is_told_of_ends() {
    type Act = fn(&Stream<u32>, crate::binding::stream::NamedConsumerId);
    let acts: [(Act, Ending); 4] = [
        (|stream, _| stream.close(Some(9)), Ending::Closed),
        (|stream, _| stream.kill(Some(9)), Ending::Killed),
        (|stream, id| assert!(stream.close_consumer(id, Some(9))), Ending::Closed),
        (|stream, id| assert!(stream.kill_consumer(id, Some(9))), Ending::Killed),
    ];
    for (act, how) in acts {
        let stream = stream();
        let mut consumer = stream.consume(ConsumerOptions::default()).unwrap();
        let id = consumer.id();
        let waiting = thread::spawn(move || (consumer.next(), consumer.next(), consumer.end().cloned()));
        act(&stream, id);
        let (first, again, end) = waiting.join().unwrap();
        assert_eq!((first, again), (None, None), "and whoever asks again is not left waiting");
        let end = end.unwrap();
        assert_eq!((end.how, end.value, end.missed), (how, Some(9), 0));
        assert!(stream.consumers().is_empty());
    }
    // Writers, when those who have no room go.
    let ways: [fn(&Stream<u32>); 2] = [|stream| stream.close(None), |stream| stream.kill(None)];
    for way in ways {
        let stream = stream();
        let consumer = stream.consume(block(1)).unwrap();
        stream.write(1).unwrap();
        let writer = thread::spawn({
            let stream = stream.clone();
            move || stream.write_wait(2, HANG)
        });
        until(|| !stream.is_drained());
        way(&stream);
        assert_eq!(writer.join().unwrap(), Ok(0));
        drop(consumer);
    }
    let stream = stream();
    let consumer = stream.consume(block(1)).unwrap();
    stream.write(1).unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| (stream.drained(HANG), stream.ready(HANG)));
        until(|| !stream.has_room());
        drop(consumer);
        assert_eq!(waits.join().unwrap(), (true, true));
    });
}

#[test]
fn once_is_one_item_or_the_reason_why_not() {
    let stream = stream();
    assert_eq!(stream.once(SHORT), Err(OnceError::TimedOut));
    assert_eq!(stream.pressure().consumers, 0, "who gave up is gone");
    thread::scope(|scope| {
        let once = scope.spawn(|| stream.once(HANG));
        until(|| stream.write(1).unwrap() == 1);
        (2..10).for_each(|item| assert!(stream.write(item).is_ok()));
        assert_eq!(once.join().unwrap(), Ok(1));
        // In SocketCluster it was never told of these.
        for end in [|stream: &Stream<u32>| stream.close(Some(1)), |stream: &Stream<u32>| stream.kill(Some(1))] {
            let once = scope.spawn(|| stream.once(HANG));
            until(|| stream.pressure().consumers == 1);
            end(&stream);
            assert_eq!(once.join().unwrap(), Err(OnceError::Ended));
        }
    });
    assert_eq!(stream.pressure().consumers, 0);
    let few = Stream::<u32>::new(StreamOptions { consumers_max: 1, ..StreamOptions::default() }, |_| 4).unwrap();
    let _one = few.consume(ConsumerOptions::default()).unwrap();
    assert_eq!(few.once(HANG), Err(OnceError::Refused(ConsumerError::ConsumersFull)));
}

/// In SocketCluster the first of two waits at one consumer was never answered. Here a consumer is borrowed to be waited at;
/// whoever shares one takes turns.
#[test]
fn all_who_share_a_consumer_are_answered() {
    const ITEMS: u32 = 1_000;
    let stream = stream();
    let consumer = Mutex::new(stream.consume(block(4)).unwrap());
    let mut all = thread::scope(|scope| {
        let takers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let take = || consumer.lock().unwrap().next().and_then(Entry::item);
                    std::iter::from_fn(take).collect::<Vec<_>>()
                })
            })
            .collect();
        (0..ITEMS).for_each(|item| assert_eq!(stream.write_wait(item, HANG), Ok(1)));
        stream.close(None);
        takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect::<Vec<u32>>()
    });
    all.sort_unstable();
    assert!(all.into_iter().eq(0..ITEMS));
}

#[test]
fn names_are_apart() {
    let streams = Streams::new(StreamsOptions::default(), |_: &u32| 4).unwrap();
    let (orders, prices) = (streams.stream("orders"), streams.stream("__proto__"));
    assert!(streams.names().is_empty());
    let mut order = orders.consume(block(1)).unwrap();
    let mut price = prices.consume(ConsumerOptions::with_policy(Policy::LatestOnly)).unwrap();
    assert_eq!(streams.names(), ["__proto__", "orders"]);
    assert_eq!((orders.name(), streams.stream("nobody").write(1)), ("orders", Ok(0)));
    orders.write(1).unwrap();
    assert_eq!(orders.write(2).unwrap_err().error, WriteError::Full);
    assert!(prices.is_drained() && !orders.is_drained(), "the one does not hold up the other");
    (0..10).for_each(|item| assert_eq!(prices.write(item), Ok(1)));
    let pressure = streams.pressure();
    assert_eq!((pressure.consumers, pressure.load.waiting.messages, pressure.load.fill), (2, 2, 1_000));
    prices.kill(None);
    assert_eq!((price.next(), order.next()), (None, Some(Entry::Item(1))));
    drop(price);
    assert_eq!(streams.names(), ["orders"]);
    let (waiting, again) = thread::scope(|scope| {
        let waiting = scope.spawn(|| (order.next(), order.end().cloned()));
        streams.close_all(Some(5));
        (waiting.join().unwrap(), prices.consume(ConsumerOptions::default()).unwrap())
    });
    assert_eq!((waiting.0, waiting.1.unwrap().value), (None, Some(5)));
    streams.kill_all(None);
    drop((order, again));
    assert!(streams.names().is_empty());
    let totals = streams.totals();
    assert_eq!((totals.entered.messages, totals.sent.messages, totals.conservation_error()), (11, 1, 0));
    assert_eq!(totals.lost_total().messages, 10);
}
