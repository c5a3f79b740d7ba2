//! Publishing and subscribing through real sockets.

use super::common::{HANG, close, number, say, start, start_with, subscribed, text};
use crate::binding::{
    CallError, Client, ClientOptions, CloseCode, Disconnect, DisconnectScope, Entry, Event, LaneLimits, LaneOptions,
    LossReason, Message, Mode, NextError, Options, Payload, Policy, PublishError, ServerOptions, TopicError,
    TopicOptions,
};

fn blocking(messages_max: u32) -> TopicOptions {
    TopicOptions {
        policy: Policy::Block,
        lane: LaneLimits { messages_max, bytes_max: 1 << 20 },
        ..TopicOptions::default()
    }
}

fn with_topic(name: &str, topic: TopicOptions) -> ServerOptions {
    ServerOptions { topics: vec![(name.to_owned(), topic)], ..ServerOptions::default() }
}

#[test]
fn a_message_reaches_every_subscriber_byte_for_byte() {
    let server = start(ServerOptions::default());
    let subscribers: Vec<_> = (0..20).map(|_| server.subscriber("t")).collect();
    let publisher = server.connect();
    say(&publisher, r#"{"op":"publish","topic":"t","data":{"a" : [1, 2]},"id":"p"}"#);
    assert_eq!(text(&publisher), r#"{"op":"ok","id":"p","seq":1,"matched":20}"#);
    for subscriber in &subscribers {
        assert_eq!(text(subscriber), r#"{"op":"message","topic":"t","seq":1,"data":{"a" : [1, 2]}}"#);
        close(subscriber);
    }
    let stats = server.handle.stats();
    assert_eq!((stats.published.messages, stats.lanes.sent.messages), (1, 20));
    assert_eq!(stats.lanes.conservation_error(), 0);
    server.stop();
}

#[test]
fn a_key_reaches_the_subscriber() {
    let server = start(ServerOptions::default());
    let subscriber = server.subscriber("t");
    let temperature = Message::new(Payload::Text("20.5")).with_key("kitchen");
    assert_eq!(server.handle.publish("t", temperature).unwrap().matched, 1);
    server.handle.publish_wait("t", temperature.with_key("\"attic\""), HANG).unwrap();
    server.handle.publish("t", temperature.payload).unwrap();
    assert_eq!(text(&subscriber), r#"{"op":"message","topic":"t","seq":1,"key":"kitchen","data":20.5}"#);
    assert_eq!(text(&subscriber), r#"{"op":"message","topic":"t","seq":2,"key":"\"attic\"","data":20.5}"#);
    assert_eq!(text(&subscriber), r#"{"op":"message","topic":"t","seq":3,"data":20.5}"#);
    let refused = server.handle.publish("t", temperature.with_key("\n"));
    assert_eq!(refused, Err(CallError::Refused(PublishError::InvalidKey)));
    server.stop();
}

#[test]
fn a_subscription_ends_with_its_topic() {
    // The application removes a topic when it says so itself.
    let server = start_with(ServerOptions::default(), |hub, event, now| {
        if let Event::Opened { .. } = event {
            let topic = hub.find_topic("t").unwrap();
            assert!(hub.remove_topic(topic, now));
        }
    });
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    server.handle.publish("t", Payload::Text("0")).unwrap();
    assert!(matches!(subscription.next_timeout(HANG), Ok(Entry::Message { seq: 1, .. })));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| subscription.next_timeout(HANG));
        server.connect();
        assert_eq!(waiting.join().unwrap(), Err(NextError::Ended));
    });
    // Its end is no end of a later one.
    let mut later = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    drop(subscription);
    server.handle.publish("t", Payload::Text("1")).unwrap();
    assert!(matches!(later.next_timeout(HANG), Ok(Entry::Message { seq: 1, .. })));
    server.stop();
}

#[test]
fn a_subscription_that_overflows_ends_and_is_told() {
    let topic = TopicOptions { policy: Policy::Disconnect, ..blocking(3) };
    let server = start(with_topic("t", topic));
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    let mut witness = server.handle.subscribe("t", LaneOptions::with_policy(Policy::DropOldest)).unwrap();
    let publish = || server.handle.publish("t", Payload::Text("0")).unwrap().position.seq;
    publish();
    // Taken before the end, and lost by it.
    assert!(matches!(subscription.next_timeout(HANG), Ok(Entry::Message { seq: 1, .. })));
    for seq in 2..=5 {
        assert_eq!(publish(), seq);
    }
    assert_eq!(subscription.next_timeout(HANG), Err(NextError::Ended));
    assert_eq!(subscription.next(), None);
    let totals = server.handle.topic_totals("t").unwrap();
    assert_eq!((totals.conservation_error(), totals.lost_by(LossReason::Closed).messages), (0, 3));

    // One that waits, and whose place a later one has taken.
    let mut later = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    drop(subscription);
    assert_eq!(publish(), 6);
    assert!(matches!(later.next_timeout(HANG), Ok(Entry::Message { seq: 6, .. })));
    assert!(witness.next_timeout(HANG).is_ok());
    server.stop();
}

#[test]
fn a_raw_connection_is_told_that_its_lane_overflowed() {
    // Only its lane ends; it is the application's to say so.
    let disconnect = Disconnect { scope: DisconnectScope::Topic, ..Disconnect::default() };
    let topic = TopicOptions { policy: Policy::Disconnect, disconnect, ..blocking(1) };
    let options = ServerOptions { mode: Mode::Raw, ..with_topic("t", topic) };
    let mut lanes = std::collections::BTreeMap::new();
    let server = start_with(options, move |hub, event, now| match event {
        Event::Opened { conn, .. } => {
            let topic = hub.find_topic("t").unwrap();
            let lane = hub.subscribe(conn, topic, LaneOptions::default(), Default::default(), now).unwrap();
            lanes.insert(lane, conn);
            hub.publish(topic, Payload::Text("1"), now).unwrap();
            hub.publish(topic, Payload::Text("2"), now).unwrap();
        }
        Event::LaneEnded(lane) => {
            if let Some(conn) = lanes.remove(&lane) {
                hub.send(conn, Payload::Text("overflow"), now).unwrap();
            }
        }
        _ => {}
    });
    let mut subscription = server.handle.subscribe("t", LaneOptions::with_policy(Policy::DropOldest)).unwrap();
    let client = Client::connect(&server.url(), ClientOptions::default()).unwrap();
    assert_eq!(text(&client), "overflow");
    assert!(subscription.next_timeout(HANG).is_ok(), "the others go on");
    drop(subscription);
    close(&client);
    server.stop();
}

#[test]
fn only_the_latest_of_each_key_waits() {
    let server = start(with_topic("t", TopicOptions { policy: Policy::LatestPerKey, ..TopicOptions::default() }));
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
        server.handle.publish("t", Message::new(Payload::Text(value)).with_key(key)).unwrap();
    }
    for (expected, value) in [(2, "2"), (4, "4")] {
        let Ok(Entry::Message { seq, payload }) = subscription.next_timeout(HANG) else { panic!("{expected}") };
        assert_eq!((seq, payload.as_text()), (expected, Some(value)));
    }
    let totals = server.handle.topic_totals("t").unwrap();
    assert_eq!((totals.sent.messages, totals.lost_by(LossReason::Superseded).messages), (2, 2));
    server.stop();
}

#[test]
fn the_subprotocol_is_negotiated() {
    let server = start(ServerOptions::default());
    let offer = |protocols: &[&str]| {
        let protocols = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
        let client = server.connect_with(ClientOptions { protocols, ..ClientOptions::default() });
        client.protocol().map(str::to_owned)
    };
    assert_eq!(offer(&["x", "forebay.v1"]).as_deref(), Some("forebay.v1"));
    assert_eq!(offer(&["x"]), None);
    assert_eq!(offer(&[]), None);
    server.stop();
}

#[test]
fn many_messages_arrive_in_order_while_both_sides_work() {
    const COUNT: u64 = 50_000;
    let server = start(with_topic("t", blocking(1_000)));
    let subscribers: Vec<_> = (0..2).map(|_| server.subscriber("t")).collect();
    let publisher = server.connect();
    std::thread::scope(|scope| {
        for subscriber in &subscribers {
            scope.spawn(move || {
                for seq in 1..=COUNT {
                    let expected = format!(r#"{{"op":"message","topic":"t","seq":{seq},"data":{}}}"#, seq - 1);
                    assert_eq!(text(subscriber), expected);
                }
            });
        }
        for n in 0..COUNT {
            say(&publisher, &format!(r#"{{"op":"publish","topic":"t","data":{n}}}"#));
        }
        publisher.flush().unwrap();
    });
    close(&publisher);
    server.stop();
}

#[test]
fn handles_publish_and_subscribe_from_any_thread() {
    const EACH: u64 = 500;
    let server = start(ServerOptions::default());
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    let client = server.subscriber("t");
    assert_eq!(subscription.next_timeout(std::time::Duration::ZERO), Err(NextError::TimedOut));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    assert_eq!(server.handle.publish("t", Payload::Text("true")).unwrap().matched, 2);
                }
            });
        }
        for seq in 1..=2 * EACH {
            match subscription.next_timeout(HANG).unwrap() {
                Entry::Message { seq: number, payload } => {
                    assert_eq!((number, payload.as_text()), (seq, Some("true")));
                }
                gap => panic!("nothing is lost: {gap:?}"),
            }
            assert_eq!(number(&text(&client), "seq"), seq);
        }
    });
    assert_eq!(server.handle.topic_totals("t").unwrap().sent.messages, 4 * EACH);
    drop(subscription);
    assert_eq!(server.handle.publish("t", Payload::Binary(b"\0")).unwrap().matched, 1);
    assert_eq!(text(&client), r#"{"op":"message","topic":"t","seq":1001,"data64":"AA=="}"#);
    server.stop();
}

#[test]
fn a_subscription_that_does_not_take_is_bounded_and_told() {
    let mut topic = TopicOptions::default();
    topic.lane.messages_max = 10;
    let server = start(with_topic("t", topic));
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    for _ in 0..100 {
        server.handle.publish("t", Payload::Text("0")).unwrap();
    }
    let totals = server.handle.topic_totals("t").unwrap();
    assert_eq!((totals.waiting.messages, totals.lost_total().messages), (10, 90));
    let Ok(Entry::Gap(gap)) = subscription.next_timeout(HANG) else { panic!("the gap comes first") };
    assert_eq!((gap.from, gap.to, gap.missed), (1, 90, 90));
    for seq in 91..=100 {
        assert!(matches!(subscription.next_timeout(HANG), Ok(Entry::Message { seq: number, .. }) if number == seq));
    }
    server.stop();
    assert_eq!(subscription.next(), None, "the server's end is the subscription's");
}

#[test]
fn a_publish_waits_for_room_or_is_refused() {
    let server = start(with_topic("t", blocking(4)));
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    for _ in 0..4 {
        server.handle.publish("t", Payload::Text("0")).unwrap();
    }
    let full = Err(CallError::Refused(PublishError::Full));
    assert_eq!(server.handle.publish("t", Payload::Text("1")), full);
    let in_no_time = std::time::Duration::from_millis(1);
    assert_eq!(server.handle.publish_wait("t", Payload::Text("1"), in_no_time), full);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| server.handle.publish_wait("t", Payload::Text("2"), HANG).unwrap()))
            .collect();
        for expected in ["0", "0", "0", "0", "2", "2", "2"] {
            match subscription.next_timeout(HANG).unwrap() {
                Entry::Message { payload, .. } => assert_eq!(payload.as_text(), Some(expected)),
                gap => panic!("nothing is lost: {gap:?}"),
            }
        }
        let mut seqs: Vec<u64> = waiting.into_iter().map(|one| one.join().unwrap().position.seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [5, 6, 7]);
    });
    assert_eq!(server.handle.topic_totals("t").unwrap().lost_total().messages, 0);
    server.stop();
}

#[test]
fn a_publish_that_waits_goes_on_when_the_full_lane_ends_and_its_topic_with_it() {
    let hub = Options { topic_defaults: blocking(1), ..Options::default() };
    let server = start(ServerOptions { hub, ..ServerOptions::default() });
    let subscription = server.handle.subscribe("undeclared", LaneOptions::default()).unwrap();
    server.handle.publish("undeclared", Payload::Text("0")).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.handle.publish_wait("undeclared", Payload::Text("1"), HANG));
        while server.handle.stats().refused_full == 0 {
            std::thread::yield_now();
        }
        drop(subscription);
        assert_eq!(waiting.join().unwrap().unwrap().matched, 0);
    });
    server.stop();
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let server = start(with_topic("declared", TopicOptions::default()));
    let handle = server.handle.clone();
    assert_eq!(
        handle.declare_topic("declared", TopicOptions::default()),
        Err(CallError::Refused(TopicError::AlreadyDeclared))
    );
    assert_eq!(handle.declare_topic("more", blocking(1)), Ok(()));
    assert_eq!(handle.publish("", Payload::Text("0")), Err(CallError::Topic(TopicError::InvalidName)));
    assert_eq!(handle.publish("t", Payload::Text("{")), Err(CallError::Refused(PublishError::NotJson)));
    assert!(handle.topic_totals("nowhere").is_none());
    let published = handle.stats().published;
    server.stop();
    assert_eq!(handle.publish("t", Payload::Text("0")), Err(CallError::Stopped));
    assert!(matches!(handle.subscribe("t", LaneOptions::default()), Err(CallError::Stopped)));
    assert_eq!(handle.stats().published, published, "the last numbers stay");
    handle.shutdown();

    let twice = vec![("t".to_owned(), TopicOptions::default()), ("t".to_owned(), TopicOptions::default())];
    let options = ServerOptions { topics: twice, ..ServerOptions::default() };
    let error = crate::binding::Server::bind("127.0.0.1:0", options).unwrap_err();
    assert_eq!(error.to_string(), r#"topic "t": declared already"#);
}

#[test]
fn a_shutdown_hands_out_what_waits() {
    const COUNT: u64 = 10_000;
    let server = start(with_topic("t", blocking(20_000)));
    let client = server.subscriber("t");
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    for _ in 0..COUNT {
        server.handle.publish("t", Payload::Text("0")).unwrap();
    }
    server.handle.shutdown();
    for seq in 1..=COUNT {
        assert_eq!(number(&text(&client), "seq"), seq);
        assert!(matches!(subscription.next_timeout(HANG), Ok(Entry::Message { seq: number, .. }) if number == seq));
    }
    assert_eq!(subscription.next_timeout(HANG), Err(NextError::Ended));
    let closed = client.receive().unwrap_err();
    assert_eq!(closed.reason, crate::binding::EndReason::PeerClosed(Some(CloseCode::GOING_AWAY)));
    server.stop();
}

#[test]
fn a_frozen_reader_disturbs_nobody() {
    const COUNT: u64 = 2_000;
    let server = start(ServerOptions::default());
    // It reads as far as its own bounds go, and then not.
    let small = ClientOptions {
        receive_buffer_bytes: Some(4 << 10),
        hub: Options { message_bytes_max: 16 << 10, inbound_bytes_max: 16 << 10, ..Options::default() },
        ..ClientOptions::default()
    };
    let frozen = subscribed(server.connect_with(small), "t");
    let reader = server.subscriber("t");
    let payload = format!("\"{}\"", "x".repeat(4_094));
    for seq in 1..=COUNT {
        assert_eq!(server.handle.publish("t", Payload::Text(&payload)).unwrap().position.seq, seq);
        assert_eq!(number(&text(&reader), "seq"), seq);
    }
    let totals = server.handle.topic_totals("t").unwrap();
    assert!(totals.waiting.bytes <= (1 << 20) + (128 << 10) + 4_096, "bounded: {totals:?}");
    assert!(totals.lost_total().messages > 0, "8 MB do not fit where 1 MiB may wait: {totals:?}");
    assert_eq!(totals.conservation_error(), 0);

    // Thawed, it is told exactly what it missed.
    let (mut received, mut missed, mut next) = (0, 0, 1);
    while received + missed < COUNT {
        let message = text(&frozen);
        if message.starts_with(r#"{"op":"gap""#) {
            let (from, to) = (number(&message, "from"), number(&message, "to"));
            assert_eq!((from, number(&message, "missed")), (next, to - from + 1));
            missed += to - from + 1;
            next = to + 1;
        } else {
            assert_eq!(number(&message, "seq"), next);
            received += 1;
            next += 1;
        }
    }
    assert_eq!(server.handle.topic_totals("t").unwrap().lost_total().messages, missed);
    server.stop();
}
