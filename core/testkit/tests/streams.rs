//! What a stream and its consumers do, case by case.
#![forbid(unsafe_code)]

use std::time::Duration;

use forebay_core::stream::{
    ConsumerError, ConsumerId, ConsumerOptions, End, Ending, Entry, Next, Stream, StreamOptions, Streams,
    StreamsOptions, WriteError,
};
use forebay_core::{Count, Gap, Instant, LaneLimits, Level, LossReason, Policy};

const NOW: Instant = Instant::ZERO;

fn stream() -> Stream<&'static str> {
    Stream::new(StreamOptions { item_bytes_max: 8, ..StreamOptions::default() }, |text: &&str| text.len()).unwrap()
}

fn item(text: &'static str) -> Next<&'static str> {
    Next::Entry(Entry::Item(text))
}

fn done(how: Ending, value: Option<&'static str>, missed: u64) -> Next<&'static str> {
    Next::Done(End { how, value, missed })
}

/// Everything a consumer takes until there is nothing.
fn rest(stream: &mut Stream<&'static str>, id: ConsumerId) -> Vec<Next<&'static str>> {
    let mut rest = Vec::new();
    loop {
        let next = stream.next(id, NOW);
        stream.check_invariants();
        match next {
            Next::Empty | Next::Done(End { how: Ending::Gone, .. }) => return rest,
            next => rest.push(next),
        }
    }
}

#[test]
fn consumers_see_what_is_written_after_they_were_made() {
    let mut stream = stream();
    assert_eq!(stream.write("early", NOW), Ok(0), "nobody is there");
    assert_eq!(stream.held(), Count::default(), "and nobody keeps it");
    let one = stream.consume(ConsumerOptions::default()).unwrap();
    assert_eq!(stream.write("a", NOW), Ok(1));
    let other = stream.consume(ConsumerOptions::default()).unwrap();
    assert_eq!(stream.write("b", NOW), Ok(2));
    assert_eq!(stream.held(), Count::new(2, 2), "each once");
    assert_eq!(rest(&mut stream, one), [item("a"), item("b")]);
    assert_eq!(stream.held(), Count::new(1, 1));
    assert_eq!(rest(&mut stream, other), [item("b")]);
    assert_eq!(stream.held(), Count::default());
    assert_eq!(stream.totals().sent, Count::new(3, 3));
}

#[test]
fn what_is_written_to_one_comes_in_order_and_counts_for_that_one() {
    let mut stream = stream();
    let [one, other] = [(); 2].map(|()| stream.consume(ConsumerOptions::bounded(Policy::Block, 4)).unwrap());
    stream.write("a", NOW).unwrap();
    stream.write_to(one, "mine", NOW).unwrap();
    stream.write("b", NOW).unwrap();
    stream.write_to(other, "yours", NOW).unwrap();
    let waiting = |stream: &Stream<_>, id| stream.consumer(id, NOW).unwrap().load.waiting;
    assert_eq!(waiting(&stream, one), Count::new(3, 6));
    assert_eq!(waiting(&stream, other), Count::new(3, 7));
    assert_eq!(stream.pressure(NOW).load.largest, Count::new(3, 7));
    assert_eq!(stream.pressure(NOW).load.waiting, Count::new(6, 13));
    stream.write_to(one, "full", NOW).unwrap();
    assert_eq!(stream.write_to(one, "more", NOW).unwrap_err().error, WriteError::Full);
    assert_eq!(stream.write_to(other, "last", NOW), Ok(()), "it is not that one's fullness");
    assert_eq!(rest(&mut stream, one), ["a", "mine", "b", "full"].map(item));
    assert_eq!(rest(&mut stream, other), ["a", "b", "yours", "last"].map(item));
}

#[test]
fn a_write_that_is_refused_changes_nothing_and_drained_is_told_at_the_low_mark() {
    let mut stream = stream();
    let [one, other] = [4, 8].map(|max| stream.consume(ConsumerOptions::bounded(Policy::Block, max)).unwrap());
    let lossy = stream.consume(ConsumerOptions::bounded(Policy::DropOldest, 1)).unwrap();
    for text in ["1", "2", "3", "4"] {
        assert!(stream.has_room(NOW));
        assert_eq!(stream.write(text, NOW), Ok(3));
    }
    assert!(stream.is_drained());
    let before = stream.totals();
    let refused = stream.write("5", NOW).unwrap_err();
    assert_eq!((refused.error, refused.value), (WriteError::Full, "5"));
    assert_eq!(stream.totals(), before);
    assert_eq!(stream.consumer(lossy, NOW).unwrap().totals.lost_by(LossReason::Oldest).messages, 3);
    assert!(!stream.is_drained() && !stream.has_room(NOW));
    assert_eq!(stream.next(one, NOW), item("1"));
    assert!(!stream.is_drained(), "there is room, but more than half waits");
    assert_eq!(stream.next(one, NOW), item("2"));
    assert!(stream.is_drained(), "the other refused nothing");
    stream.check_invariants();
    // Whoever ends refuses nothing any more.
    for end in [Stream::close, Stream::kill] {
        let mut stream = self::stream();
        let id = stream.consume(ConsumerOptions::bounded(Policy::Block, 1)).unwrap();
        stream.write("1", NOW).unwrap();
        assert!(stream.write("2", NOW).is_err() && !stream.is_drained());
        end(&mut stream, None);
        assert!(stream.is_drained());
        assert_eq!(stream.write("3", NOW), Ok(0));
        assert!(stream.remove(id, NOW));
    }
    assert!(stream.remove(one, NOW) && stream.remove(other, NOW));
    assert_eq!(stream.write("5", NOW), Ok(1));
}

#[test]
fn room_is_told_at_half_and_for_the_largest_that_was_refused() {
    let mut stream = stream();
    let limits = LaneLimits { messages_max: 100, bytes_max: 12 };
    let id = stream.consume(ConsumerOptions { policy: Policy::Block, limits, age_max: None }).unwrap();
    for text in ["12345", "6", "78"] {
        stream.write(text, NOW).unwrap();
    }
    assert_eq!(stream.write("12345678", NOW).unwrap_err().error, WriteError::Full);
    assert_eq!(stream.write("12345", NOW).unwrap_err().error, WriteError::Full);
    assert_eq!(stream.write("1234", NOW), Ok(1), "what fits is taken");
    assert_eq!(stream.next(id, NOW), item("12345"));
    assert!(!stream.is_drained(), "7 bytes wait");
    assert_eq!(stream.next(id, NOW), item("6"));
    assert!(!stream.is_drained(), "6 bytes wait, and 8 do not fit");
    assert_eq!(stream.next(id, NOW), item("78"));
    assert!(stream.is_drained());
}

#[test]
fn each_policy_does_to_its_consumer_what_it_says() {
    let gap = |from, to, reason: LossReason| {
        let gap = Gap { from, to, missed: to - from + 1, reasons: 1 << reason as u16 };
        Next::Entry(Entry::Gap(gap))
    };
    let cases = [
        (Policy::DropOldest, vec![gap(1, 2, LossReason::Oldest), item("3"), item("4")]),
        (Policy::DropNewest, vec![item("1"), item("2"), gap(3, 4, LossReason::Newest)]),
        (Policy::LatestOnly, vec![item("4")]),
        (Policy::Disconnect, vec![done(Ending::Overflowed, None, 2)]),
        (Policy::Block, vec![item("1"), item("2")]),
    ];
    for (policy, expected) in cases {
        let mut stream = stream();
        let id = stream.consume(ConsumerOptions::bounded(policy, 2)).unwrap();
        for text in ["1", "2", "3", "4"] {
            let _ = stream.write(text, NOW); // `Block` refuses.
        }
        assert_eq!(rest(&mut stream, id), expected, "{policy}");
        assert_eq!(stream.held(), Count::default());
    }
}

#[test]
fn what_is_too_old_is_lost_when_somebody_looks() {
    let mut stream = stream();
    let age_max = Some(Duration::from_millis(10));
    let id = stream.consume(ConsumerOptions { age_max, ..ConsumerOptions::default() }).unwrap();
    let at = |millis| NOW + Duration::from_millis(millis);
    stream.write("old", at(0)).unwrap();
    stream.write("young", at(5)).unwrap();
    assert_eq!(stream.pressure(at(7)).load.oldest_age, Duration::from_millis(7));
    assert!(matches!(stream.next(id, at(10)), Next::Entry(Entry::Gap(Gap { from: 1, to: 1, .. }))));
    assert_eq!(stream.next(id, at(3)), item("young"), "time does not run backwards");
    stream.write("third", at(20)).unwrap();
    stream.expire(at(30));
    assert_eq!(stream.held(), Count::default());
    assert_eq!(stream.consumer(id, at(30)).unwrap().totals.lost_by(LossReason::Age).messages, 2);
}

/// Who is concerned by an end, and what each then is told.
#[test]
fn close_lets_what_waits_be_taken_and_kill_drops_it() {
    type Act = fn(&mut Stream<&'static str>, ConsumerId);
    let both = ["1", "2"].map(item).to_vec();
    let closed = |value| [both.clone(), vec![done(Ending::Closed, value, 0)]].concat();
    let killed = |value| vec![done(Ending::Killed, value, 2)];
    // What is done; what the consumer is told, and what another one.
    let cases: [(Act, Vec<_>, Vec<_>); 8] = [
        (|stream, _| stream.close(Some(&"end")), closed(Some("end")), closed(Some("end"))),
        (|stream, _| stream.close(None), closed(None), closed(None)),
        (|stream, _| stream.kill(Some(&"end")), killed(Some("end")), killed(Some("end"))),
        (|stream, id| assert!(stream.close_consumer(id, Some(&"end"))), closed(Some("end")), both.clone()),
        (|stream, id| assert!(stream.kill_consumer(id, Some(&"end"))), killed(Some("end")), both.clone()),
        (|stream, id| assert!(stream.remove(id, NOW)), vec![], both.clone()),
        (
            |stream, _| {
                stream.close(Some(&"first"));
                stream.close(Some(&"second"));
            },
            closed(Some("first")),
            closed(Some("first")),
        ),
        (
            |stream, id| {
                stream.close(Some(&"first"));
                stream.kill_consumer(id, Some(&"kill"));
                stream.kill_consumer(id, Some(&"again"));
                stream.close_consumer(id, Some(&"again"));
            },
            killed(Some("kill")),
            closed(Some("first")),
        ),
    ];
    for (number, (act, expected, expected_other)) in cases.into_iter().enumerate() {
        let mut stream = stream();
        let [one, other] = [(); 2].map(|()| stream.consume(ConsumerOptions::default()).unwrap());
        stream.write("1", NOW).unwrap();
        stream.write("2", NOW).unwrap();
        act(&mut stream, one);
        stream.check_invariants();
        let later = stream.consume(ConsumerOptions::default()).unwrap();
        stream.write("later", NOW).unwrap();
        assert_eq!(rest(&mut stream, one), expected, "case {number}");
        let is_open = expected_other == both;
        let later_too = is_open.then(|| item("later"));
        assert_eq!(rest(&mut stream, other), [expected_other, later_too.into_iter().collect()].concat(), "{number}");
        assert_eq!(rest(&mut stream, later), [item("later")], "case {number}: later ones are not concerned");
        assert_eq!(stream.next(one, NOW), Next::Done(End::gone()), "case {number}: it is told for ever");
        assert_eq!(stream.totals().waiting, Count::default());
    }
}

#[test]
fn a_gap_comes_before_the_end_that_follows_it() {
    let mut stream = stream();
    let id = stream.consume(ConsumerOptions::bounded(Policy::DropNewest, 1)).unwrap();
    stream.write("1", NOW).unwrap();
    stream.write("2", NOW).unwrap();
    stream.close(None);
    assert_eq!(stream.next(id, NOW), item("1"));
    assert!(matches!(stream.next(id, NOW), Next::Entry(Entry::Gap(Gap { from: 2, to: 2, missed: 1, .. }))));
    assert_eq!(stream.next(id, NOW), done(Ending::Closed, None, 0));
}

#[test]
fn whoever_waits_is_told_once_of_an_item_a_gap_and_an_end() {
    let mut stream = stream();
    let [one, other] = [(); 2].map(|()| stream.consume(ConsumerOptions::default()).unwrap());
    stream.write("nobody waits", NOW).unwrap_err();
    stream.write("1", NOW).unwrap();
    assert_eq!(stream.poll_ready(), None, "nobody has asked");
    assert_eq!(rest(&mut stream, one), [item("1")]);
    stream.write("2", NOW).unwrap();
    stream.write("3", NOW).unwrap();
    assert_eq!((stream.poll_ready(), stream.poll_ready()), (Some(one), None));
    assert_eq!(rest(&mut stream, one), ["2", "3"].map(item));
    stream.kill_consumer(one, None);
    assert_eq!(stream.poll_ready(), Some(one));
    assert_eq!(rest(&mut stream, other), ["1", "2", "3"].map(item));
    stream.write_to(one, "4", NOW).unwrap_err();
    assert_eq!(stream.poll_ready(), None, "it was for another one, which is no more");
    stream.close(None);
    assert!(stream.remove(other, NOW));
    assert_eq!(stream.poll_ready(), None, "it is gone");
}

/// As many names, consumers and bytes as are allowed, and then no more.
#[test]
fn limits_hold_and_have_names() {
    assert_eq!(
        Stream::<u8>::new(StreamOptions { item_bytes_max: 0, ..StreamOptions::default() }, |_| 1).unwrap_err().field,
        "item_bytes_max"
    );
    let stream = StreamOptions { item_bytes_max: 10, consumers_max: 2, ..StreamOptions::default() };
    for (options, field) in [
        (StreamsOptions { streams_max: 0, ..StreamsOptions::default() }, "streams_max"),
        (StreamsOptions { name_bytes_max: 0, ..StreamsOptions::default() }, "name_bytes_max"),
        (StreamsOptions { reserved_bytes_max: 0, ..StreamsOptions::default() }, "reserved_bytes_max"),
        (
            StreamsOptions { stream: StreamOptions { consumers_max: 0, ..stream }, ..StreamsOptions::default() },
            "consumers_max",
        ),
    ] {
        assert_eq!(Streams::<u8>::new(options, |_| 1).unwrap_err().field, field);
    }
    let options = StreamsOptions { stream, streams_max: 2, name_bytes_max: 3, reserved_bytes_max: 50 };
    let mut streams = Streams::new(options, |text: &&str| text.len()).unwrap();
    let of = |bytes_max| ConsumerOptions { limits: LaneLimits { messages_max: 1, bytes_max }, ..Default::default() };
    let aged = |policy, millis| ConsumerOptions { policy, age_max: Some(Duration::from_millis(millis)), ..of(10) };
    assert_eq!(streams.consume("abcd", of(10)), Err(ConsumerError::NameTooLong));
    assert_eq!(streams.consume("a", of(9)), Err(ConsumerError::InvalidLimits), "an item must fit");
    assert_eq!(streams.consume("a", aged(Policy::Block, 1)), Err(ConsumerError::InvalidLimits));
    assert_eq!(streams.consume("a", aged(Policy::DropOldest, 0)), Err(ConsumerError::InvalidLimits));
    let keyed = ConsumerOptions { policy: Policy::LatestPerKey, ..of(10) };
    assert_eq!(streams.consume("a", keyed), Err(ConsumerError::PolicyNotAllowed));
    let first = streams.consume("a", of(10)).unwrap();
    streams.consume("a", of(10)).unwrap();
    assert_eq!(streams.consume("a", of(10)), Err(ConsumerError::ConsumersFull));
    streams.consume("b", of(30)).unwrap();
    assert_eq!(streams.consume("c", of(10)), Err(ConsumerError::Overloaded));
    streams.kill("b", None);
    assert_eq!(streams.consume("c", of(10)), Err(ConsumerError::StreamsFull), "an end is to be told");
    assert_eq!(streams.names().collect::<Vec<_>>(), ["a"]);
    assert_eq!(streams.write("a", "eleven bytes", NOW).unwrap_err().error, WriteError::TooLarge);
    assert_eq!(streams.write("nobody", "eleven bytes", NOW).unwrap_err().error, WriteError::TooLarge);
    assert!(streams.remove(first, NOW));
    streams.consume("a", of(30)).unwrap();
    streams.consume("b", of(10)).unwrap();
    assert_eq!(streams.consume("b", of(10)), Err(ConsumerError::Overloaded));
    streams.check_invariants();
}

#[test]
fn pressure_is_told_of_a_consumer_a_name_and_all() {
    let mut streams = Streams::new(StreamsOptions::default(), |text: &&str| text.len()).unwrap();
    let slow = streams.consume("a", ConsumerOptions::bounded(Policy::DropOldest, 10)).unwrap();
    let quick = streams.consume("a", ConsumerOptions::bounded(Policy::DropOldest, 40)).unwrap();
    streams.consume("b", ConsumerOptions::bounded(Policy::Block, 50)).unwrap();
    let at = |millis| NOW + Duration::from_millis(millis);
    for number in 0..5 {
        streams.write("a", "12345678", at(number)).unwrap();
    }
    streams.write("b", "x", at(100)).unwrap();
    (0..4).for_each(|_| assert!(matches!(streams.next(quick, at(100)), Next::Entry(_))));
    let one = streams.consumer(slow, at(104)).unwrap().load;
    assert_eq!((one.waiting, one.oldest_age, one.fill), (Count::new(5, 40), Duration::from_millis(104), 500));
    let named = streams.stream("a").unwrap().pressure(at(104));
    assert_eq!((named.consumers, named.load.largest, named.load.waiting), (2, one.waiting, Count::new(6, 48)));
    assert_eq!((named.load.oldest_age, named.load.fill), (one.oldest_age, one.fill));
    let all = streams.pressure(at(104));
    assert_eq!((all.consumers, all.load.largest, all.load.waiting), (3, one.waiting, Count::new(7, 49)));
    let of_name: Vec<_> = streams.consumers("a", at(104)).map(|(id, stats)| (id, stats.totals.sent.messages)).collect();
    assert_eq!(of_name, [(slow, 0), (quick, 4)]);
    assert_eq!(streams.consumers("nobody", at(104)).count(), 0);
}

/// High from three quarters, critical when an item did not fit, and back no sooner than `dwell` later.
#[test]
fn levels_rise_at_once_and_fall_at_the_marks_and_in_time() {
    let mut stream = stream();
    let [id, other] =
        [Policy::Block, Policy::LatestOnly].map(|policy| stream.consume(ConsumerOptions::bounded(policy, 4)).unwrap());
    let at = |millis| NOW + Duration::from_millis(millis);
    let level = |stream: &Stream<_>, millis| stream.consumer(id, at(millis)).unwrap().load.level;
    (0..2).for_each(|_| assert_eq!(stream.write("x", at(0)), Ok(2)));
    assert_eq!(level(&stream, 0), Level::Nominal);
    (0..2).for_each(|_| assert_eq!(stream.write("x", at(1)), Ok(2)));
    assert_eq!((level(&stream, 1), stream.pressure(at(1)).load.level), (Level::High, Level::High));
    stream.write("x", at(2)).unwrap_err();
    assert_eq!(level(&stream, 2), Level::Critical);
    assert_eq!(stream.consumer(other, at(2)).unwrap().load.level, Level::Nominal, "only the latest waits");
    (0..3).for_each(|_| assert_eq!(stream.next(id, at(3)), item("x")));
    assert_eq!((level(&stream, 101), level(&stream, 102)), (Level::Critical, Level::Nominal));
}
