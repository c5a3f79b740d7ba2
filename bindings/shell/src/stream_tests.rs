//! Wakers of all kinds.

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
