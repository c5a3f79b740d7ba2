//! Classes: in which order the topics of a connection are sent, and who is refused first when memory is short.

use forebay_core::{Class, ConnId, Level, Payload, Policy, PublishError, TopicId};
use forebay_testkit::stage::{Stage, briefs, frame_len, json_of_len};

/// A subscriber of topics `h`, `n` and `l`, one of each class, whose kernel takes nothing.
fn house() -> (Stage, [TopicId; 3], ConnId) {
    let mut stage = Stage::new(|options| {
        options.resident_bytes_max = 4 << 20;
        (options.topic_defaults.log_bytes_max, options.inbound_bytes_max) = (1 << 20, 1 << 20);
    });
    let conn = stage.join();
    let topics = Class::ALL.map(|class| {
        let name = &class.name()[..1];
        let topic = stage.topic(name, |options| options.class = class);
        stage.subscribe(conn, name);
        topic
    });
    stage.freeze(conn);
    (stage, topics, conn)
}

fn publish(stage: &mut Stage, topic: TopicId, json: &str) {
    stage.publish(topic, json).expect("taken");
}

#[test]
fn a_higher_class_goes_first_and_within_a_class_the_oldest() {
    let (mut stage, [high, normal, low], conn) = house();
    let other = stage.topic("m", |_| {});
    stage.seat_of(conn).window = usize::MAX;
    stage.hub.handle_writable(conn, stage.now);
    stage.subscribe(conn, "m");
    stage.freeze(conn);
    for (nth, topic) in [low, normal, high, other, low, normal, high].into_iter().enumerate() {
        publish(&mut stage, topic, &nth.to_string());
    }
    drop(stage.client(conn).reader().ping(false)); // It is as if it were asked.
    stage.hub.send(conn, Payload::Text("{\"op\":\"pong\"}"), stage.now).expect("room");
    publish(&mut stage, normal, "7");
    publish(&mut stage, high, "8");
    stage.thaw(conn);
    let told = briefs(&mut stage, conn);
    let expected = [
        "message h 1 2",
        "message h 2 6",
        "message h 3 8",
        "message n 1 1",
        "message m 1 3",
        "message n 2 5",
        "pong",
        "message n 3 7",
        "message l 1 0",
        "message l 2 4",
    ];
    assert_eq!(told, expected);
}

#[test]
fn there_is_no_fairness_between_classes() {
    let (mut stage, [high, _, low], conn) = house();
    publish(&mut stage, low, "0");
    for n in 1..=20 {
        publish(&mut stage, high, "1");
        publish(&mut stage, high, "1");
        stage.let_through(conn, frame_len("h", n, "1"));
    }
    let told = briefs(&mut stage, conn);
    assert!(told.len() == 20 && told.iter().all(|told| told.starts_with("message h")), "{told:?}");
    stage.let_through(conn, (21..=40).map(|n| frame_len("h", n, "1")).sum());
    assert_eq!(briefs(&mut stage, conn).len(), 20);
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message l 1 0"], "when nothing else waits");
}

#[test]
fn a_message_that_was_begun_is_finished_first() {
    let (mut stage, [high, _, low], conn) = house();
    stage.seat_of(conn).window = 5;
    publish(&mut stage, low, "0");
    publish(&mut stage, low, "1");
    publish(&mut stage, high, "2");
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message l 1 0", "message h 1 2", "message l 2 1"]);
}

/// A topic whose lanes reject: its second message is missing, so that the third cannot be in a Transmit with the first.
fn with_a_hole(stage: &mut Stage, conn: ConnId, name: &str, class: Class) {
    let topic = stage.topic(name, |options| {
        options.class = class;
        options.policy = Policy::DropNewest;
        options.lane.messages_max = 2;
    });
    stage.thaw(conn);
    stage.subscribe(conn, name);
    stage.freeze(conn);
    publish(stage, topic, "1");
    publish(stage, topic, "2");
    publish(stage, topic, "3"); // rejected
    stage.let_through(conn, frame_len(name, 1, "1"));
    publish(stage, topic, "4");
    assert_eq!(briefs(stage, conn), [format!("message {name} 1 1")]);
}

#[test]
fn behind_a_message_that_waits_for_what_is_outstanding_waits_every_lower_class() {
    for (class, expected) in [
        (Class::High, ["message x 2 2", "gap x 3-3 1 newest", "message x 4 4", "message n 1 9", "message l 1 8"]),
        (Class::Normal, ["message x 2 2", "gap x 3-3 1 newest", "message x 4 4", "message n 1 9", "message l 1 8"]),
        (Class::Low, ["message n 1 9", "message x 2 2", "gap x 3-3 1 newest", "message x 4 4", "message l 1 8"]),
    ] {
        let (mut stage, [_, normal, low], conn) = house();
        with_a_hole(&mut stage, conn, "x", class);
        publish(&mut stage, low, "8");
        publish(&mut stage, normal, "9");
        stage.thaw(conn);
        assert_eq!(briefs(&mut stage, conn), expected, "{class:?}");
    }
}

#[test]
fn a_message_that_waits_for_what_is_outstanding_holds_up_no_higher_class() {
    let (mut stage, [high, ..], conn) = house();
    with_a_hole(&mut stage, conn, "x", Class::Normal);
    // The first run of `x` is on its way, the second waits for it.
    let first = stage.hold(conn);
    publish(&mut stage, high, "9");
    stage.answer_by(conn, &first, 3);
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message x 2 2", "message h 1 9", "gap x 3-3 1 newest", "message x 4 4"]);
}

#[test]
fn a_lower_class_that_waits_cuts_no_run() {
    let (mut stage, [high, normal, _], conn) = house();
    for topic in [normal, high, normal, high, normal, high] {
        publish(&mut stage, topic, "1");
    }
    stage.seat_of(conn).window = usize::MAX;
    stage.hub.handle_writable(conn, stage.now);
    let transmit = stage.hub.poll_transmit().expect("all of them");
    let frames = |name| (1..=3).map(|seq| frame_len(name, seq, "1")).sum::<usize>();
    assert_eq!(transmit.len(), frames("h") + frames("n"), "one write for both classes");
}

#[test]
fn low_is_refused_while_the_hub_is_high() {
    let (mut stage, [high, normal, low], conn) = house();
    let publisher = stage.join();
    let max = stage.hub.pressure().resident_bytes_max;
    let filler = stage.topic("f", |options| {
        (options.log_bytes_max, options.lane.bytes_max) = (max, max as u64);
        options.lane.messages_max = 1 << 20;
    });
    stage.thaw(conn);
    stage.subscribe(conn, "f");
    stage.freeze(conn);
    let json = json_of_len(50 << 10);
    while stage.hub.pressure().level == Level::Nominal {
        publish(&mut stage, low, "1"); // taken, as long as the level is not there
        publish(&mut stage, filler, &json);
    }
    assert_eq!(stage.hub.pressure().level, Level::High);
    let refused = |stage: &Stage| (stage.hub.stats().refused_overloaded, stage.hub.stats().refused_too_large);
    assert_eq!(refused(&stage), (0, 0));
    assert_eq!(stage.publish(low, "1"), Err(PublishError::Overloaded));
    stage.client(publisher).publish("l", "1", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, publisher), ["error overloaded"]);
    assert_eq!(refused(&stage), (2, 0));
    assert_eq!(stage.publish(low, &json_of_len((256 << 10) + 1)), Err(PublishError::TooLarge), "looked at before");
    assert_eq!(refused(&stage), (2, 1));
    publish(&mut stage, normal, "1");
    publish(&mut stage, high, "1");
    stage.thaw(conn);
    stage.advance(std::time::Duration::from_secs(1));
    assert_eq!(stage.hub.pressure().level, Level::Nominal);
    publish(&mut stage, low, "1");
}
