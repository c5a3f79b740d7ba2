//! Rare states, each of which was once gone wrong.

use std::time::Duration;

use forebay_core::{
    Config, ConnId, Hub, Instant, LaneId, LaneOptions, Level, LossReason, Options, Payload, Policy, Start, TopicId,
};
use forebay_testkit::stage::Stage;

fn publish(hub: &mut Hub, topic: TopicId, now: Instant) {
    let text = "x".repeat(600);
    hub.publish(topic, Payload::Text(&format!("\"{text}\"")), now).expect("taken");
}

/// One message of 600 bytes is sent.
fn send_one(hub: &mut Hub, conn: ConnId, now: Instant) {
    let len = hub.poll_transmit().expect("something waits").len();
    hub.handle_sent(conn, len, now);
}

/// A lane of 100 messages with seven closed runs, 40 messages, level nominal; so it is not near any mark.
fn seven_runs() -> (Stage, ConnId, TopicId, LaneId) {
    let mut stage = Stage::new(|options| options.transmit_bytes_max = 1_024);
    let topic = stage.topic("t", |options| {
        (options.policy, options.age_max) = (Policy::DropNewest, Some(Duration::from_secs(10)));
        options.lane.messages_max = 100;
    });
    let conn = stage.join_raw();
    let now = stage.now;
    let lane = stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, now).expect("subscribed");
    (0..80).for_each(|_| publish(&mut stage.hub, topic, now));
    let now = now + Duration::from_secs(5);
    (0..20).for_each(|_| publish(&mut stage.hub, topic, now));
    publish(&mut stage.hub, topic, now); // Rejected: the first run is closed.
    for _ in 0..6 {
        send_one(&mut stage.hub, conn, now);
        publish(&mut stage.hub, topic, now);
        publish(&mut stage.hub, topic, now);
    }
    (0..60).for_each(|_| send_one(&mut stage.hub, conn, now));
    stage.now = now + Duration::from_secs(1);
    stage.hub.handle_timeout(stage.now);
    while stage.hub.poll_event().is_some() {}
    let pressure = stage.hub.lane(lane).expect("there");
    assert_eq!((pressure.totals.waiting.messages, pressure.load.level), (40, Level::Nominal));
    assert_eq!(pressure.totals.lost_by(LossReason::Newest).messages, 7);
    stage.hub.check_invariants();
    (stage, conn, topic, lane)
}

#[test]
fn age_that_parts_what_is_outstanding_from_the_rest_leaves_no_run_for_the_next_message() {
    let (mut stage, _, topic, lane) = seven_runs();
    assert!(stage.hub.poll_transmit().is_some(), "outstanding, before 13 others that are as old");
    let now = Instant::from_nanos(1_000_000_000) + Duration::from_secs(10);
    stage.hub.handle_timeout(now);
    let lost = |stage: &Stage, reason| stage.hub.lane(lane).expect("there").totals.lost_by(reason).messages;
    assert_eq!(lost(&stage, LossReason::Age), 13);
    publish(&mut stage.hub, topic, now);
    assert_eq!(lost(&stage, LossReason::Newest), 8, "seven runs, and what is outstanding apart from them: no ninth");
    stage.hub.check_invariants();
}

/// What a connection may be told of that nobody has heard of.
#[test]
fn no_level_is_told_of_a_connection_that_was_never_told_open() {
    use forebay_core::{Event, Peer};
    let mut hub = Hub::new(Config::try_from(Options::default()).expect("good"), [3; 32], Instant::ZERO);
    hub.document("/", "text/html", vec![b'x'; 100_000].into()).expect("added");
    let conn = hub.handle_accept(Peer::default(), Instant::ZERO).expect("accepted");
    hub.handle_bytes(conn, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Instant::ZERO);
    let events: Vec<Event> = core::iter::from_fn(|| hub.poll_event()).collect();
    assert_eq!(events, [], "nobody was told that there is a connection");
    assert_eq!(hub.stats().levels.outbound, forebay_core::Transitions::default());
}
