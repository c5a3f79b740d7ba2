//! What is published to a topic.

use std::time::Duration;

use forebay_core::{Event, Excess, Policy, PublishError, TopicId, TopicOptions};
use forebay_testkit::stage::{Stage, briefs, json_of_len};

use crate::{MS, NOTHING, NS, rate, retry_afters};

/// A topic `t` that takes two at once and ten a second.
fn house(change: impl FnOnce(&mut TopicOptions)) -> (Stage, TopicId) {
    let mut stage = Stage::new(|options| options.block_max = MS * 1_000);
    let topic = stage.topic("t", |options| {
        options.publish_rate = Some(rate(10, 2));
        change(options);
    });
    (stage, topic)
}

fn limited(millis: u32) -> PublishError {
    PublishError::Limited { retry_after: MS * millis }
}

fn publish(stage: &mut Stage, topic: TopicId) -> Result<u64, PublishError> {
    stage.publish(topic, "1").map(|published| published.position.seq)
}

#[test]
fn an_application_is_told_when_to_try_again() {
    for excess in [Excess::Wait, Excess::Refuse] {
        let (mut stage, topic) = house(|options| options.publish_excess = excess);
        assert_eq!((publish(&mut stage, topic), publish(&mut stage, topic)), (Ok(1), Ok(2)));
        assert_eq!((publish(&mut stage, topic), publish(&mut stage, topic)), (Err(limited(100)), Err(limited(100))));
        stage.advance(MS * 30);
        assert_eq!(publish(&mut stage, topic), Err(limited(70)), "what is refused costs nothing");
        stage.advance(MS * 70 - NS);
        assert_eq!(publish(&mut stage, topic), Err(PublishError::Limited { retry_after: NS }));
        stage.advance(NS);
        assert_eq!((publish(&mut stage, topic), publish(&mut stage, topic)), (Ok(3), Err(limited(100))));
        assert_eq!((stage.hub.stats().refused_limited, stage.hub.stats().refused_full), (5, 0));
        assert!(!stage.take_events().contains(&Event::Drained(topic)), "it knows when");
    }
}

#[test]
fn the_size_is_looked_at_before_the_rate_and_the_lanes_after_it() {
    let (mut stage, topic) = house(|options| {
        options.policy = Policy::Block;
        options.lane.messages_max = 1;
        options.message_bytes_max = 10;
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    assert_eq!(publish(&mut stage, topic), Ok(1));
    assert_eq!(publish(&mut stage, topic), Err(PublishError::Full), "there is a unit");
    assert_eq!(publish(&mut stage, topic), Err(PublishError::Full), "which was not taken");
    stage.thaw(conn);
    assert_eq!(publish(&mut stage, topic), Ok(2));
    stage.freeze(conn);
    assert_eq!(publish(&mut stage, topic), Err(limited(100)));
    assert_eq!(stage.publish(topic, &json_of_len(11)), Err(PublishError::TooLarge));
    stage.advance(MS * 100);
    assert_eq!(publish(&mut stage, topic), Ok(3), "the lane is empty");
    assert_eq!(publish(&mut stage, topic), Err(limited(100)), "the lane is full, too");
}

#[test]
fn clients_wait_in_order_of_arrival() {
    let (mut stage, topic) = house(|_| {});
    let (left, right) = (stage.join(), stage.join());
    for n in 1..=4 {
        stage.client(left).publish("t", &n.to_string(), 0);
    }
    stage.pump();
    stage.client(right).publish("t", "5", 0);
    stage.client(right).ask_ping();
    stage.pump();
    assert_eq!(briefs(&mut stage, left), ["published 1 0", "published 2 0"]);
    assert_eq!(briefs(&mut stage, right), ["pong"]);
    assert_eq!((stage.hub.stats().parked, stage.hub.topic_pressure(topic).expect("there").parked), (2, 2));
    assert_eq!(publish(&mut stage, topic), Err(limited(100)), "if nobody else takes it");
    let mut told = Vec::new();
    for _ in 0..3 {
        stage.advance(MS * 100 - NS);
        assert_eq!((briefs(&mut stage, left), briefs(&mut stage, right)), (vec![], vec![]));
        stage.advance(NS);
        told.push((briefs(&mut stage, left).join(" "), briefs(&mut stage, right).join(" ")));
    }
    let pair = |left: &str, right: &str| (left.to_string(), right.to_string());
    // The fourth came when the third was taken.
    assert_eq!(told, [pair("published 3 0", ""), pair("", "published 4 0"), pair("published 5 0", "")]);
    assert_eq!(stage.hub.stats().refused_limited, 1);
}

#[test]
fn clients_are_refused_where_that_is_configured() {
    let (mut stage, _) = house(|options| options.publish_excess = Excess::Refuse);
    let conn = stage.join();
    for _ in 0..3 {
        stage.client(conn).publish("t", "1", 0);
    }
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["published 1 0", "published 2 0", "error limited"]);
    assert_eq!(retry_afters(&mut stage, conn), [100]);
    assert_eq!((stage.hub.stats().refused_limited, stage.hub.stats().parked), (1, 0));
    stage.advance(MS * 100);
    stage.client(conn).publish("t", "1", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["published 3 0"]);
}

#[test]
fn what_waits_for_too_long_is_refused_for_what_it_waits_for() {
    // The third of ten a second after 1.1 s: too late.
    let (mut stage, topic) = house(|options| options.publish_rate = Some(rate(1, 1)));
    let (left, right) = (stage.join(), stage.join());
    publish(&mut stage, topic).expect("a unit");
    stage.advance(MS);
    stage.client(left).publish("t", "1", 0);
    stage.pump();
    stage.client(right).publish("t", "2", 0);
    stage.advance(MS * 999);
    assert_eq!((briefs(&mut stage, left), briefs(&mut stage, right)), (vec!["published 2 0".into()], vec![]));
    stage.advance(MS - NS);
    assert_eq!(briefs(&mut stage, right), NOTHING);
    stage.advance(NS);
    assert_eq!(briefs(&mut stage, right), ["error limited"]);
    assert_eq!(retry_afters(&mut stage, right), [999]);
    assert_eq!((stage.hub.stats().refused_limited, stage.hub.stats().refused_full), (1, 0));
    stage.advance(MS * 999);
    stage.client(right).publish("t", "2", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, right), ["published 3 0"]);
}

#[test]
fn a_unit_that_comes_at_the_last_moment_is_used() {
    let (mut stage, topic) = house(|options| options.publish_rate = Some(rate(1, 1)));
    let conn = stage.join();
    publish(&mut stage, topic).expect("a unit");
    stage.client(conn).publish("t", "1", 0);
    stage.pump();
    stage.advance(MS * 1_000);
    assert_eq!(briefs(&mut stage, conn), ["published 2 0"]);
}

#[test]
fn a_publish_waits_first_for_its_rate_then_for_room() {
    let (mut stage, topic) = house(|options| {
        options.policy = Policy::Block;
        options.lane.messages_max = 2;
    });
    let (conn, publisher) = (stage.join(), stage.join());
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    assert_eq!((publish(&mut stage, topic), publish(&mut stage, topic)), (Ok(1), Ok(2)));
    stage.client(publisher).publish("t", "3", 0);
    stage.advance(MS * 150);
    assert_eq!(briefs(&mut stage, publisher), NOTHING, "there is a unit, but no room");
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, publisher), ["published 3 1"]);
    stage.freeze(conn);
    publish(&mut stage, topic).expect_err("150 ms, less one unit");
    stage.client(publisher).publish("t", "4", 0);
    stage.advance(MS * 50);
    assert_eq!(briefs(&mut stage, publisher), ["published 4 1"], "there is room");
    stage.client(publisher).publish("t", "5", 0);
    stage.advance(MS * 100);
    assert_eq!(briefs(&mut stage, publisher), ["published 5 1"]);
    stage.client(publisher).publish("t", "6", 0);
    stage.advance(Duration::from_secs(1));
    assert_eq!(briefs(&mut stage, publisher), ["error full"], "its rate is not what it waits for");
    assert_eq!((stage.hub.stats().refused_full, stage.hub.stats().refused_limited), (1, 1));
}

#[test]
fn who_waits_may_leave_and_the_topic_may_go() {
    let (mut stage, topic) = house(|_| {});
    let (left, right) = (stage.join(), stage.join());
    assert_eq!((publish(&mut stage, topic), publish(&mut stage, topic)), (Ok(1), Ok(2)));
    for conn in [left, right] {
        stage.client(conn).publish("t", "1", 0);
        stage.pump();
    }
    stage.hang_up(left);
    stage.advance(MS * 100);
    assert_eq!(briefs(&mut stage, right), ["published 3 0"]);
    stage.client(right).publish("t", "1", 0);
    stage.pump();
    assert!(stage.hub.remove_topic(topic, stage.now));
    stage.advance(MS * 100);
    assert_eq!(briefs(&mut stage, right), ["error unknown-topic"]);
}
