//! Wakers of all kinds.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Wake, Waker};

use forebay_core::stream::{StreamOptions, WriteError};

use super::*;

fn link() -> StreamLink<u32> {
    StreamsLink::new(StreamsOptions::default(), |_| 4).unwrap().link("")
}

/// Uses the stream when it is woken, which it could not if somebody held its lock.
struct Nosy {
    link: StreamLink<u32>,
    wakes: AtomicU32,
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, SeqCst);
        let _ = (self.link.pressure(), self.link.write(100));
    }
}

#[test]
fn no_lock_is_held_over_a_wake() {
    let link = link();
    let mut consumer = link.link(ConsumerOptions::bounded(Policy::Block, 2)).unwrap();
    let nosy = Arc::new(Nosy { link: link.clone(), wakes: AtomicU32::new(0) });
    let waker = Waker::from(Arc::clone(&nosy));
    let mut context = Context::from_waker(&waker);
    assert_eq!(consumer.poll_next(&mut context), Poll::Pending);
    link.write(1).unwrap();
    assert_eq!(nosy.wakes.load(SeqCst), 1);
    let item = |value| Poll::Ready(Some(Entry::Item(value)));
    // A writer that waits for room.
    let mut waits = Box::pin(link.wait_ready_async());
    assert_eq!(waits.as_mut().poll(&mut context), Poll::Pending);
    assert_eq!(consumer.poll_next(&mut context), item(1));
    assert_eq!(nosy.wakes.load(SeqCst), 2);
    assert_eq!((consumer.poll_next(&mut context), consumer.poll_next(&mut context)), (item(100), item(100)));
    assert_eq!(consumer.poll_next(&mut context), Poll::Pending);
    link.kill(None);
    assert_eq!(nosy.wakes.load(SeqCst), 3);
    assert_eq!(consumer.poll_next(&mut context), Poll::Ready(None));
    assert_eq!(waits.as_mut().poll(&mut context), Poll::Ready(()));
}

#[test]
fn only_those_are_woken_for_whom_there_is_something() {
    let streams = StreamsLink::new(StreamsOptions::default(), |_: &u32| 4).unwrap();
    let links = ["a", "b"].map(|name| streams.link(name));
    let mut consumers: Vec<_> = links.iter().map(|link| link.link(ConsumerOptions::default()).unwrap()).collect();
    consumers.push(links[0].link(ConsumerOptions::default()).unwrap());
    let counters: Vec<_> =
        consumers.iter().map(|_| Arc::new(Nosy { link: link(), wakes: AtomicU32::new(0) })).collect();
    for (consumer, counter) in consumers.iter_mut().zip(&counters) {
        let waker = Waker::from(Arc::clone(counter));
        assert_eq!(consumer.poll_next(&mut Context::from_waker(&waker)), Poll::Pending);
    }
    let wakes = || counters.iter().map(|counter| counter.wakes.load(SeqCst)).collect::<Vec<_>>();
    links[0].write_to(consumers[0].id(), 1).unwrap();
    assert_eq!(wakes(), [1, 0, 0]);
    (0..3).for_each(|item| assert_eq!(links[0].write(item), Ok(2)));
    assert_eq!(wakes(), [1, 0, 1], "once");
    links[1].close(None);
    assert_eq!(wakes(), [1, 1, 1]);
}

#[test]
fn nothing_is_left_of_consumers_that_are_gone() {
    let link = link();
    let told = |link: &StreamLink<u32>| {
        let mut consumer = link.link(ConsumerOptions::default()).unwrap();
        link.kill(None);
        assert_eq!(consumer.next_until(None), Err(NextError::Ended));
        consumer
    };
    let kept = told(&link);
    drop(told(&link));
    drop(link.link(ConsumerOptions::default()).unwrap());
    assert!(lock(&link.shared.state).bells.is_empty());
    assert!(link.consumers().is_empty() && kept.stats().is_none());
    let small = StreamOptions { item_bytes_max: 3, ..StreamOptions::default() };
    let options = StreamsOptions { stream: small, ..StreamsOptions::default() };
    let small = StreamsLink::new(options, |_: &u32| 4).unwrap().link("");
    assert_eq!(small.write_until(0, None).unwrap_err().error, WriteError::TooLarge, "it is not waited for");
}

fn full(streams: &StreamsLink<u32>, name: &str) -> (StreamLink<u32>, ConsumerLink<u32>) {
    let link = streams.link(name);
    let consumer = link.link(ConsumerOptions::bounded(Policy::Block, 1)).unwrap();
    link.write(0).unwrap();
    assert!(!link.has_room());
    (link, consumer)
}

/// How often it is woken.
#[derive(Default)]
struct Counter(AtomicU32);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls it; it is woken by way of this counter.
fn poll<F: Future + Unpin>(counter: &Arc<Counter>, future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(counter))))
}

#[test]
fn a_writer_is_woken_by_its_own_name_alone() {
    let streams = StreamsLink::new(StreamsOptions::default(), |_: &u32| 4).unwrap();
    let (links, consumers): (Vec<_>, Vec<_>) = (0..100).map(|name| full(&streams, &name.to_string())).unzip();
    let mut writes: Vec<_> = links.iter().map(|link| (Arc::default(), Box::pin(link.write_async(1)))).collect();
    assert!(writes.iter_mut().all(|(counter, write)| poll(counter, write).is_pending()));
    let (busy, mut consumer) = full(&streams, "busy");
    let counter = Arc::default();
    for drained in 0..1_000 {
        let mut write = Box::pin(busy.write_async(0));
        assert!(poll(&counter, &mut write).is_pending());
        assert_eq!(consumer.next_until(None), Ok(Entry::Item(0)));
        assert_eq!(counter.0.load(SeqCst), drained + 1);
        assert_eq!(poll(&counter, &mut write), Poll::Ready(Ok(1)));
    }
    for ((counter, write), mut consumer) in writes.iter_mut().zip(consumers) {
        assert_eq!(counter.0.load(SeqCst), 0);
        assert_eq!(consumer.next_until(None), Ok(Entry::Item(0)));
        assert_eq!(counter.0.load(SeqCst), 1);
        assert_eq!(poll(counter, write), Poll::Ready(Ok(1)));
    }
    assert!(writes.iter().all(|(counter, _)| counter.0.load(SeqCst) == 1));
    drop(writes);
    assert!(lock(&busy.shared.state).awaited.is_empty());
}

#[test]
fn whatever_drains_a_stream_wakes_who_waits_for_it() {
    type Drains = fn(&StreamsLink<u32>, &StreamLink<u32>, ConsumerLink<u32>);
    let all: [Drains; 8] = [
        |_, _, mut consumer| assert_eq!(consumer.next_until(None), Ok(Entry::Item(0))),
        |_, _, consumer| drop(consumer),
        |_, link, _consumer| link.close(None),
        |_, link, _consumer| link.kill(None),
        |streams, _, _consumer| streams.close_all(None),
        |streams, _, _consumer| streams.kill_all(None),
        // By way of another name: it is the id that counts.
        |streams, _, consumer| assert!(streams.link("other").close_consumer(consumer.id(), None)),
        |streams, _, consumer| assert!(streams.link("other").kill_consumer(consumer.id(), None)),
    ];
    for drains in all {
        let streams = StreamsLink::new(StreamsOptions::default(), |_: &u32| 4).unwrap();
        let (link, consumer) = full(&streams, "");
        let (counter, mut wait) = (Arc::default(), Box::pin(link.wait_drained_async()));
        assert!(poll(&counter, &mut wait).is_pending());
        drains(&streams, &link, consumer);
        assert_eq!(counter.0.load(SeqCst), 1);
        assert!(poll(&counter, &mut wait).is_ready());
        assert!(link.wait_drained(None) && lock(&link.shared.state).awaited.is_empty());
    }
}

#[test]
fn nothing_is_left_of_who_gives_up_and_nobody_else_is_concerned() {
    let streams = StreamsLink::new(StreamsOptions::default(), |_: &u32| 4).unwrap();
    let (link, mut consumer) = full(&streams, "");
    let counter = Arc::default();
    let [mut first, mut second] = [(); 2].map(|()| Box::pin(link.wait_drained_async()));
    assert!(poll(&counter, &mut first).is_pending() && poll(&counter, &mut second).is_pending());
    assert!(!link.wait_drained(Some(Instant::now())));
    // It is woken, and full again before it looks; the other gives up after somebody else began to wait.
    assert_eq!(consumer.next_until(None), Ok(Entry::Item(0)));
    assert_eq!(counter.0.load(SeqCst), 2);
    link.write(1).unwrap();
    assert!(!link.has_room());
    assert!(poll(&counter, &mut first).is_pending());
    drop(second);
    assert!(!lock(&link.shared.state).awaited.is_empty());
    assert_eq!(consumer.next_until(None), Ok(Entry::Item(1)));
    assert_eq!(counter.0.load(SeqCst), 3);
    assert!(poll(&counter, &mut first).is_ready());
    // The last one gives up.
    link.write(2).unwrap();
    assert!(!link.has_room());
    let mut given_up = Box::pin(link.wait_drained_async());
    assert!(poll(&counter, &mut given_up).is_pending());
    drop(given_up);
    assert!(lock(&link.shared.state).awaited.is_empty());
}
