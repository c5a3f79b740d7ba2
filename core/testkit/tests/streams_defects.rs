//! What went wrong in streams of SocketCluster, shown not to here. What concerns sockets and waiting is in
//! `bindings/threads/tests/suite`, which both bindings run: a slow reader shows
//! (`snapshots.rs`: `a_snapshot_shows_who_is_behind_and_what_the_kernel_holds_for_him`); what is not received is bounded, and
//! what comes before anybody listens is not lost
//! (`inbound.rs`: `what_an_application_does_not_receive_is_bounded_and_none_of_it_is_lost`); all who wait at one consumer are
//! answered (`streams.rs`: `all_who_share_a_consumer_are_answered`); what waits to be sent or asked is bounded
//! (`clients.rs`: `sending_is_bounded_and_the_rest_is_told_as_unsent`,
//! `snapshots.rs`: `who_is_not_answered_gives_up_even_if_there_is_no_room_for_the_question`).
#![forbid(unsafe_code)]

use std::sync::Arc;

use forebay_core::stream::{
    ConsumerOptions, End, Ending, Entry, Next, Stream, StreamOptions, Streams, StreamsOptions, WriteError,
};
use forebay_core::{Count, Instant, Policy};

const NOW: Instant = Instant::ZERO;

fn streams() -> Streams<u32> {
    Streams::new(StreamsOptions::default(), |_| 4).unwrap()
}

/// There: backpressure 0, consumer count 0, and every later write was kept.
#[test]
fn a_killed_consumer_that_somebody_holds_keeps_nothing() {
    let mut stream = Stream::new(StreamOptions::default(), |_: &Arc<()>| 1).unwrap();
    let killed = stream.consume(ConsumerOptions::bounded(Policy::DropOldest, 1_000)).unwrap();
    let overflowed = stream.consume(ConsumerOptions::bounded(Policy::Disconnect, 5)).unwrap();
    let closed = stream.consume(ConsumerOptions::bounded(Policy::DropOldest, 1_000)).unwrap();
    let value = Arc::new(());
    for _ in 0..10 {
        stream.write(Arc::clone(&value), NOW).unwrap();
    }
    stream.kill_consumer(killed, None);
    stream.close_consumer(closed, None);
    assert_eq!(stream.held().messages, 10, "what the closed one has yet to take");
    for _ in 0..100_000 {
        assert_eq!(stream.write(Arc::clone(&value), NOW), Ok(0));
    }
    assert_eq!(Arc::strong_count(&value), 11);
    while let Next::Entry(_) = stream.next(closed, NOW) {}
    assert_eq!(Arc::strong_count(&value), 1);
    for (id, how, missed) in [(killed, Ending::Killed, 10), (overflowed, Ending::Overflowed, 5)] {
        let Next::Done(end) = stream.next(id, NOW) else { panic!("it has ended") };
        assert_eq!((end.how, end.missed), (how, missed));
    }
    stream.check_invariants();
}

/// There, also in SC 17: an idle consumer of one name kept what was written to all others.
#[test]
fn an_idle_consumer_of_one_name_keeps_nothing_of_others() {
    let mut streams = streams();
    streams.consume("idle", ConsumerOptions::default()).unwrap();
    let busy = streams.consume("busy", ConsumerOptions::default()).unwrap();
    for number in 0..10_000 {
        streams.write("busy", number, NOW).unwrap();
        assert_eq!(streams.next(busy, NOW), Next::Entry(Entry::Item(number)));
        streams.write("nobody", number, NOW).unwrap();
    }
    let held = |name| streams.stream(name).map(|stream| stream.held());
    assert_eq!((held("idle"), held("busy"), held("nobody")), (Some(Count::default()), Some(Count::default()), None));
}

/// What a consumer holds at the front must not keep what others have taken behind it.
#[test]
fn a_consumer_that_takes_nothing_keeps_no_more_than_its_share() {
    let mut stream = Stream::new(StreamOptions::default(), |_: &Arc<()>| 1).unwrap();
    stream.consume(ConsumerOptions::bounded(Policy::DropNewest, 1)).unwrap();
    let reader = stream.consume(ConsumerOptions::bounded(Policy::Block, 1)).unwrap();
    let value = Arc::new(());
    for _ in 0..10_000 {
        stream.write(Arc::clone(&value), NOW).unwrap();
        assert!(matches!(stream.next(reader, NOW), Next::Entry(_)));
    }
    assert_eq!((stream.held(), Arc::strong_count(&value)), (Count::new(1, 1), 2));
}

/// There: it waited until somebody wrote, and that item was lost.
#[test]
fn a_consumer_that_was_busy_when_it_was_killed_is_told_at_its_next() {
    let mut stream = Stream::new(StreamOptions::default(), |_: &u32| 4).unwrap();
    let busy = stream.consume(ConsumerOptions::default()).unwrap();
    stream.write(1, NOW).unwrap();
    assert_eq!(stream.next(busy, NOW), Next::Entry(Entry::Item(1)));
    stream.kill(Some(&0));
    stream.write(2, NOW).unwrap();
    assert_eq!(stream.next(busy, NOW), Next::Done(End { how: Ending::Killed, value: Some(0), missed: 0 }));
}

/// There: asked again it read the list anew, and counted down to -1 and -2.
#[test]
fn no_number_becomes_wrong_when_a_consumer_that_has_ended_is_asked_again() {
    for end in [Stream::close, Stream::kill] {
        let mut stream = Stream::new(StreamOptions::default(), |_: &u32| 4).unwrap();
        let [ended, other] = [(); 2].map(|()| stream.consume(ConsumerOptions::default()).unwrap());
        stream.write(1, NOW).unwrap();
        end(&mut stream, None);
        let again = stream.consume(ConsumerOptions::default()).unwrap();
        stream.write(2, NOW).unwrap();
        for _ in 0..10 {
            let _ = stream.next(ended, NOW);
        }
        assert_eq!(stream.next(ended, NOW), Next::Done(End::gone()));
        assert_eq!(stream.consumer(again, NOW).unwrap().load.waiting, Count::new(1, 4));
        assert_eq!(stream.pressure(NOW).load.largest, Count::new(1, 4), "what waits shows");
        stream.remove(other, NOW);
        assert_eq!(stream.totals().conservation_error(), 0);
        stream.check_invariants();
    }
}

/// There: everybody's number grew. Ends did the same.
#[test]
fn neither_items_for_others_nor_ends_are_counted() {
    let mut stream = Stream::new(StreamOptions::default(), |_: &u32| 4).unwrap();
    let [one, other] = [(); 2].map(|()| stream.consume(ConsumerOptions::default()).unwrap());
    (0..10).for_each(|number| stream.write_to(one, number, NOW).unwrap());
    let waiting = |stream: &Stream<_>, id| stream.consumer(id, NOW).unwrap().load.waiting.messages;
    assert_eq!((waiting(&stream, one), waiting(&stream, other)), (10, 0));
    stream.close(Some(&0));
    assert_eq!((waiting(&stream, one), waiting(&stream, other)), (10, 0));
    assert_eq!(stream.next(one, NOW), Next::Entry(Entry::Item(0)));
    assert_eq!(stream.totals().waiting, Count::new(9, 36));
}

/// There: a consumer that was told of its end, and asked again, waited at a stream that nobody wrote to any more.
#[test]
fn a_stale_id_is_answered_and_never_sees_what_is_not_its_own() {
    let mut streams = streams();
    let old = streams.consume("name", ConsumerOptions::default()).unwrap();
    streams.kill("name", Some(&7));
    assert_eq!(streams.next(old, NOW), Next::Done(End { how: Ending::Killed, value: Some(7), missed: 0 }));
    assert!(streams.stream("name").is_none(), "a name without consumers is not there");
    // The same places are used again.
    let new = streams.consume("name", ConsumerOptions::default()).unwrap();
    assert_eq!(streams.write("name", 1, NOW), Ok(1));
    for _ in 0..3 {
        assert_eq!(streams.next(old, NOW), Next::Done(End::gone()));
    }
    assert!(!streams.remove(old, NOW) && !streams.kill_consumer(old, None) && !streams.close_consumer(old, None));
    assert_eq!(streams.write_to(old, 2, NOW).unwrap_err().error, WriteError::UnknownConsumer);
    assert!(streams.consumer(old, NOW).is_none());
    assert_eq!(streams.next(new, NOW), Next::Entry(Entry::Item(1)));
    // Within one stream as well.
    let (first, second) = (new, streams.consume("name", ConsumerOptions::default()).unwrap());
    assert!(streams.remove(second, NOW));
    let third = streams.consume("name", ConsumerOptions::default()).unwrap();
    assert_eq!(streams.write("name", 3, NOW), Ok(2));
    assert_eq!(streams.next(second, NOW), Next::Done(End::gone()));
    for id in [first, third] {
        assert_eq!(streams.next(id, NOW), Next::Entry(Entry::Item(3)));
    }
    streams.check_invariants();
}

/// There: a lookup found `Object.prototype`'s members, and threw.
#[test]
fn any_text_is_a_name() {
    let mut streams = streams();
    for name in ["__proto__", "toString", "constructor", "hasOwnProperty", "", " ", "a/b", "\0", "\u{10FFFF}"] {
        assert_eq!(streams.write(name, 1, NOW), Ok(0));
        assert!(streams.stream(name).is_none());
        streams.kill(name, None);
        let id = streams.consume(name, ConsumerOptions::default()).unwrap();
        assert_eq!(streams.write(name, 1, NOW), Ok(1));
        assert_eq!(streams.next(id, NOW), Next::Entry(Entry::Item(1)));
        assert_eq!(streams.names().collect::<Vec<_>>(), [name]);
        streams.close(name, None);
        assert!(matches!(streams.next(id, NOW), Next::Done(_)));
    }
    assert_eq!(streams.names().count(), 0);
}

/// There: no queue had a limit, whatever its numbers said.
#[test]
fn nothing_is_unbounded() {
    let mut streams = streams();
    for policy in [Policy::DropOldest, Policy::DropNewest, Policy::LatestOnly, Policy::Disconnect, Policy::Block] {
        streams.consume(policy.name(), ConsumerOptions::bounded(policy, 100)).unwrap();
        let mut refused = 0;
        for number in 0..100_000 {
            refused += u64::from(streams.write(policy.name(), number, NOW).is_err());
        }
        let stream = streams.stream(policy.name()).unwrap();
        let (held, totals) = (stream.held().messages, stream.totals());
        let expected = match policy {
            Policy::LatestOnly => 1,
            Policy::Disconnect => 0,
            _ => 100,
        };
        assert_eq!((held, totals.waiting.messages), (expected, expected), "{policy}");
        let entered = if policy == Policy::Disconnect { 100 } else { 100_000 - refused };
        assert_eq!((totals.entered.messages, totals.conservation_error()), (entered, 0), "{policy}");
    }
    streams.check_invariants();
}
