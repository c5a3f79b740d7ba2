//! What is published is received, by whomever: subscribers, raw connections, readers in the process.

use forebay_core::{Entry, Event, LaneOptions, Level, LossReason, Payload, PublishError, Scope, SendError, Start};
use forebay_testkit::mini::Item;
use forebay_testkit::stage::{Stage, briefs, is_open};

#[test]
fn what_is_published_is_received_byte_for_byte_and_in_order() {
    let mut stage = Stage::new(|_| {});
    let (left, right) = (stage.join(), stage.join());
    stage.subscribe(left, "t");
    stage.client(right).publish("t", " {\"a\" : [1,  2]}\t", 0);
    stage.client(right).publish("t", "\"\\u00e9 é 😀\"", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, right), ["published 1 1", "published 2 1"]);
    assert_eq!(briefs(&mut stage, left), ["message t 1 {\"a\" : [1,  2]}", "message t 2 \"\\u00e9 é 😀\""]);
    let topic = stage.hub.find_topic("t").unwrap();
    let published = stage.hub.publish(topic, Payload::Binary(&[0, 255]), stage.now).unwrap();
    assert_eq!((published.position.seq, published.matched), (3, 1));
    stage.pump();
    assert_eq!(briefs(&mut stage, left), ["message t 3 00ff"]);
}

#[test]
fn a_subscriber_hears_only_what_comes_later_and_nothing_after_its_unsubscribe() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    stage.publish(topic, "1").unwrap();
    let conn = stage.join();
    stage.client(conn).subscribe("t");
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["subscribed t 1"]);
    stage.publish(topic, "2").unwrap();
    stage.freeze(conn);
    stage.publish(topic, "3").unwrap();
    stage.client(conn).unsubscribe("t");
    stage.pump();
    stage.publish(topic, "4").unwrap();
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 2 2", "unsubscribed t"]);
    let totals = stage.hub.topic_pressure(topic).unwrap().totals;
    assert_eq!(totals.lost_by(LossReason::Unsubscribed).messages, 1);
    assert_eq!(totals.sent.messages, 1);
}

#[test]
fn an_undeclared_topic_is_forgotten_with_its_last_lane_and_made_anew() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        stage.subscribe(conn, "t");
        epochs.push(stage.client(conn).reader().subs["t"].epoch.clone());
        stage.client(conn).publish("t", "1", 0);
        stage.pump();
        let mut told = briefs(&mut stage, conn);
        told.sort();
        assert_eq!(told, ["message t 1 1", "published 1 1"]);
        stage.client(conn).unsubscribe("t");
        stage.pump();
        assert_eq!(briefs(&mut stage, conn), ["unsubscribed t"]);
        assert_eq!(stage.hub.find_topic("t"), None);
    }
    assert_ne!(epochs[0], epochs[1]);
    assert_eq!(stage.hub.stats().topics, 0);
}

#[test]
fn a_removed_topic_ends_its_subscriptions() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    let local = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    assert!(stage.hub.remove_topic(topic, stage.now));
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["ended t removed"]);
    assert!(stage.take_events().contains(&Event::LaneEnded(local)));
    assert!(stage.hub.lane(local).is_none() && is_open(&mut stage, conn));
    assert_eq!(stage.hub.publish(topic, Payload::Text("1"), stage.now), Err(PublishError::UnknownTopic));
    assert_eq!(stage.hub.stats().topics, 0);
}

#[test]
fn an_in_process_reader_is_a_consumer_like_any_other() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.lane.messages_max = 2);
    let lane = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    for json in ["1", "2", "3", "4"] {
        assert_eq!(stage.publish(topic, json).unwrap().matched, 1);
    }
    let events = stage.take_events();
    assert!(events.contains(&Event::Ready(lane)), "{events:?}");
    assert!(events.contains(&Event::Pressure { scope: Scope::Lane(lane), level: Level::Critical }), "{events:?}");
    let Some(Entry::Gap(gap)) = stage.hub.take(lane, stage.now) else { panic!("a gap comes first") };
    assert_eq!((gap.from, gap.to, gap.missed), (1, 2, 2));
    for expected in [3, 4] {
        let Some(Entry::Message { seq, payload }) = stage.hub.take(lane, stage.now) else { panic!("a message") };
        assert_eq!((seq, payload.as_text()), (expected, Some(&expected.to_string()[..])));
    }
    assert_eq!(stage.hub.take(lane, stage.now), None);
    assert_eq!(stage.hub.lane(lane).unwrap().totals.sent.messages, 2, "taken is sent");
    assert!(stage.hub.unsubscribe_local(lane, stage.now) && !stage.hub.unsubscribe_local(lane, stage.now));
}

#[test]
fn the_direct_lane_refuses_when_it_is_full_and_tells_when_it_is_not() {
    let mut stage = Stage::new(|options| {
        options.direct_lane.messages_max = 4;
        options.direct_lane.bytes_max = 100;
    });
    let conn = stage.join_raw();
    stage.freeze(conn);
    let send = |stage: &mut Stage, text: &str| {
        let result = stage.hub.send(conn, Payload::Text(text), stage.now);
        stage.pump();
        result
    };
    assert_eq!(send(&mut stage, &"x".repeat(101)), Err(SendError::TooLarge));
    for n in 0..4 {
        assert_eq!(send(&mut stage, &n.to_string()), Ok(()));
    }
    assert_eq!(send(&mut stage, "4"), Err(SendError::Full));
    stage.take_events();
    stage.let_through(conn, 3);
    assert!(stage.take_events().is_empty(), "three of four wait");
    stage.let_through(conn, 3);
    assert_eq!(stage.take_events(), [Event::Sendable(conn)], "half");
    stage.thaw(conn);
    assert!(stage.take_events().is_empty(), "once");
    let texts: Vec<_> = stage.client(conn).items.drain(..).collect();
    assert_eq!(texts, ["0", "1", "2", "3"].map(|text| Item::Text(text.into())));
    assert_eq!(stage.hub.stats().direct.sent.messages, 4);
}

#[test]
fn a_raw_subscriber_gets_payloads_as_they_are() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.lane.messages_max = 2);
    let conn = stage.join_raw();
    stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    stage.freeze(conn);
    for payload in [Payload::Text("1"), Payload::Binary(&[2]), Payload::Text("{\"a\": 3}")] {
        stage.hub.publish(topic, payload, stage.now).unwrap();
        stage.pump();
    }
    stage.thaw(conn);
    let items: Vec<_> = stage.client(conn).items.drain(..).collect();
    assert_eq!(items, [Item::Binary(vec![2]), Item::Text("{\"a\": 3}".into())], "no notice of the gap");
    assert_eq!(stage.hub.topic_pressure(topic).unwrap().totals.lost_by(LossReason::Oldest).messages, 1);
}
