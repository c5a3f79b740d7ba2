//! At least once, sessions, histories, rates and publish ids, through the bindings' own names.

use std::sync::mpsc;
use std::time::Duration;

use super::common::{HANG, say, start, start_with, text, until};
use super::raw;
use crate::binding::{
    AtLeastOnce, CallError, Client, ClientOptions, CloseCode, Delivery, EndReason, Entry, Event, GapReason, History,
    LaneOptions, Message, Mode, Payload, Policy, Position, PublishError, Rate, ResumeLane, ServerOptions, SessionEnd,
    SessionToken, Start, SubscribeError, TopicOptions,
};

fn with_topic(topic: TopicOptions) -> ServerOptions {
    ServerOptions { topics: vec![("t".to_owned(), topic)], ..ServerOptions::default() }
}

/// Nothing is sent again in the time of a test but after a resume.
fn acknowledged() -> TopicOptions {
    let numbers = AtLeastOnce { ack_timeout: Duration::from_secs(3_600), ..AtLeastOnce::default() };
    TopicOptions { policy: Policy::Block, delivery: Delivery::AtLeastOnce(numbers), ..TopicOptions::default() }
}

fn seqs(entries: &[Entry]) -> Vec<u64> {
    let seq = |entry: &Entry| match entry {
        Entry::Message { seq, .. } => Some(*seq),
        Entry::Gap(_) => None,
    };
    entries.iter().filter_map(seq).collect()
}

#[test]
fn a_subscription_starts_where_it_is_told() {
    let history = Some(History { messages_max: 4, ..History::default() });
    let server = start(with_topic(TopicOptions { history, ..TopicOptions::default() }));
    let handle = &server.handle;
    let mut epoch = 0;
    for number in 1..=6 {
        epoch = handle.publish("t", Payload::Text(&number.to_string())).unwrap().position.epoch;
    }
    let from = |from, entries: usize| {
        let mut subscription = handle.subscribe_from("t", LaneOptions::default(), from).unwrap();
        assert_eq!(subscription.epoch(), epoch);
        (0..entries).map(|_| subscription.next_timeout(HANG).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&from(Start::History(2), 2)), [5, 6]);
    assert_eq!(seqs(&from(Start::After(Position { epoch, seq: 3 }), 3)), [4, 5, 6]);
    assert_eq!(seqs(&from(Start::Snapshot, 1)), [6]);
    let all = from(Start::History(u32::MAX), 5);
    let Entry::Gap(gap) = &all[0] else { panic!("{all:?}") };
    assert_eq!((gap.from, gap.to, gap.missed, gap.reasons().collect::<Vec<_>>()), (1, 2, 2, vec![GapReason::History]));
    assert_eq!(seqs(&all), [3, 4, 5, 6]);
    let ahead = Start::After(Position { epoch, seq: 7 });
    let refused = handle.subscribe_from("t", LaneOptions::default(), ahead).err();
    assert_eq!(refused, Some(CallError::Refused(SubscribeError::PositionAhead)));
    server.stop();
}

#[test]
fn a_publish_that_is_repeated_is_published_once() {
    let server = start(with_topic(TopicOptions::default()));
    let mut subscription = server.handle.subscribe("t", LaneOptions::default()).unwrap();
    let message = Message::new(Payload::Text("1")).with_id("an id");
    let first = server.handle.publish("t", message).unwrap();
    let second = server.handle.publish_wait("t", message, HANG).unwrap();
    assert!(!first.is_duplicate && second.is_duplicate);
    assert_eq!((second.position, second.matched), (first.position, 0));
    assert_eq!(server.handle.publish("t", message.with_id("another")).unwrap().position.seq, 2);
    assert!(matches!(subscription.next_timeout(HANG), Ok(Entry::Message { seq: 1, .. })));
    assert!(matches!(subscription.next_timeout(HANG), Ok(Entry::Message { seq: 2, .. })));
    assert_eq!(server.handle.stats().duplicates, 1);
    server.stop();
}

#[test]
fn a_publish_that_waits_waits_for_the_rate_and_another_is_refused() {
    let publish_rate = Some(Rate { per_second: 50, burst: 1 });
    let server = start(with_topic(TopicOptions { publish_rate, ..TopicOptions::default() }));
    let handle = &server.handle;
    // The first takes the only unit there is. Those that wait come in order.
    for seq in 1..=5 {
        let published = handle.publish_wait("t", Payload::Text("1"), HANG).unwrap();
        assert_eq!(published.position.seq, seq);
    }
    // However fast the machine: of so many at once one is refused.
    let refused = (0..1_000).find_map(|_| handle.publish("t", Payload::Text("2")).err());
    let Some(CallError::Refused(PublishError::Limited { retry_after })) = refused else { panic!("{refused:?}") };
    assert!(retry_after <= Duration::from_millis(20), "{retry_after:?}");
    assert!(handle.stats().refused_limited > 0);
    // Slow: whoever gives up has published nothing.
    let slow = Some(Rate { per_second: 1, burst: 1 });
    handle.declare_topic("slow", TopicOptions { publish_rate: slow, ..TopicOptions::default() }).unwrap();
    handle.publish("slow", Payload::Text("1")).unwrap();
    let given_up = handle.publish_wait("slow", Payload::Text("2"), Duration::ZERO);
    assert_eq!(given_up, Err(CallError::Refused(PublishError::Full)));
    assert_eq!(handle.publish_wait("slow", Payload::Text("3"), HANG).unwrap().position.seq, 2);
    server.stop();
}

/// An application of its own protocol: `keep`, `resume TOKEN`, `ack N`, `credit N`.
fn application(options: ServerOptions) -> (super::common::Running, mpsc::Receiver<Event>) {
    let (tell, told) = mpsc::channel();
    let mut sessions = std::collections::BTreeMap::new();
    let options = ServerOptions { mode: Mode::Raw, ..options };
    let server = start_with(options, move |hub, event, now| {
        match event {
            Event::Opened { conn, session } | Event::Resumed { conn, session } => drop(sessions.insert(conn, session)),
            Event::Received(conn) => {
                let topic = hub.find_topic("t").unwrap();
                while let Some(message) = hub.receive(conn, now) {
                    let (word, rest) = message.as_text().unwrap().split_once(' ').unwrap();
                    match word {
                        "keep" => {
                            hub.authenticate(conn, rest).unwrap();
                            let token = hub.keep_session(conn, None).unwrap().to_string();
                            hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, now).unwrap();
                            hub.send(conn, Payload::Text(&token), now).unwrap();
                        }
                        "resume" => {
                            let (name, token) = rest.split_once(' ').unwrap();
                            hub.authenticate(conn, name).unwrap();
                            let token = SessionToken::parse(token).unwrap();
                            let lanes = [ResumeLane { topic: "t", position: None, credit: None }];
                            let answer = match hub.resume(conn, token, &lanes, now) {
                                Ok(session) => {
                                    sessions.insert(conn, session);
                                    "resumed".to_owned()
                                }
                                Err(error) => error.to_string(),
                            };
                            hub.send(conn, Payload::Text(&answer), now).unwrap();
                        }
                        "ack" => {
                            let acknowledged = hub.acknowledge(sessions[&conn], topic, rest.parse().unwrap(), now);
                            assert!(acknowledged.is_ok_and(|messages| messages > 0));
                        }
                        "credit" => assert!(hub.grant(sessions[&conn], topic, rest.parse().unwrap(), now)),
                        _ => panic!("{message:?}"),
                    }
                }
            }
            _ => {}
        }
        let _ = tell.send(event); // The test may be over.
    });
    (server, told)
}

#[test]
fn an_application_drives_sessions_of_raw_connections() {
    let (server, told) = application(with_topic(acknowledged()));
    let handle = &server.handle;
    let mut first = raw::opened(&server);
    raw::say(&mut first, "keep ann");
    let token = raw::hear(&mut first);
    for number in 1..=3 {
        assert_eq!(handle.publish("t", Payload::Text(&number.to_string())).unwrap().matched, 1);
    }
    for number in 1..=3 {
        assert_eq!(raw::hear(&mut first), number.to_string());
    }
    raw::say(&mut first, "ack 1");
    until(|| handle.stats().acks.acknowledged.messages == 1);
    drop(first);
    until(|| handle.stats().detached == 1);
    handle.publish("t", Payload::Text("4")).unwrap();

    let mut second = raw::opened(&server);
    raw::say(&mut second, &format!("resume bob {token}"));
    assert_eq!(raw::hear(&mut second), "no such session");
    raw::say(&mut second, &format!("resume ann {token}"));
    let mut heard: Vec<_> = (0..4).map(|_| raw::hear(&mut second)).collect();
    heard.retain(|text| text != "resumed");
    assert_eq!(heard, ["2", "3", "4"], "what was not acknowledged comes again, and before what is new");
    raw::say(&mut second, "ack 4");
    until(|| handle.stats().acks.unacknowledged.messages == 0);
    let stats = handle.stats();
    assert_eq!((stats.resumed, stats.detached, stats.acks.retries.messages), (1, 0, 2));
    assert_eq!((stats.acks.sent.messages, stats.acks.conservation_error()), (4, 0));

    // A newer connection takes it over, and a good end ends it.
    let client = Client::connect(&server.url(), ClientOptions::default()).unwrap();
    say(&client, &format!("resume ann {token}"));
    assert_eq!(text(&client), "resumed");
    client.close(CloseCode::NORMAL, "");
    drop(second); // It is closed, and does not answer.
    let mut events = Vec::new();
    let ended = |event: &Event| matches!(event, Event::SessionEnded { reason: SessionEnd::Closed, .. });
    let closed = |wanted| move |event: &Event| matches!(event, Event::Closed { reason, .. } if *reason == wanted);
    while !(events.iter().any(ended) && events.iter().any(closed(EndReason::Resumed))) {
        events.push(told.recv_timeout(HANG).unwrap());
    }
    assert!(events.iter().any(closed(EndReason::PeerGone)), "{events:?}");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Resumed { .. })).count(), 2, "{events:?}");
    server.stop();
}

#[test]
fn an_application_grants_credit() {
    let (server, _told) = application(with_topic(acknowledged()));
    let client = Client::connect(&server.url(), ClientOptions::default()).unwrap();
    say(&client, "keep ann");
    text(&client);
    say(&client, "credit 2");
    until(|| server.handle.snapshot(1).unwrap().lanes[0].pressure.credit == Some(2));
    for number in 1..=3 {
        server.handle.publish("t", Payload::Text(&number.to_string())).unwrap();
    }
    assert_eq!((text(&client), text(&client)), ("1".to_owned(), "2".to_owned()));
    until(|| server.handle.snapshot(1).unwrap().lanes[0].pressure.acks.unwrap().unacknowledged.messages == 2);
    assert_eq!(server.handle.snapshot(1).unwrap().lanes[0].pressure.credit, Some(0), "the third waits for credit");
    say(&client, "credit 1");
    assert_eq!(text(&client), "3");
    client.close(CloseCode::NORMAL, "");
    server.stop();
}
