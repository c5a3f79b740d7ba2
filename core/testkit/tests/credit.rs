//! Credit: a client says how many messages it may be sent.

use std::time::Duration;

use forebay_core::{
    ConnId, Delivery, Event, LaneId, LaneOptions, Payload, Policies, Policy, SessionId, Start, TopicId, TopicOptions,
};
use forebay_testkit::mini::Wish;
use forebay_testkit::stage::{Stage, briefs, frame_len, is_open};

const S: Duration = Duration::from_secs(1);
const NOTHING: [&str; 0] = [];

struct House {
    stage: Stage,
    topic: TopicId,
    conn: ConnId,
    session: SessionId,
}

/// A topic `t`, and a subscriber who grants so much with its subscribe.
fn house_as(credit: Option<u64>, change: impl FnOnce(&mut TopicOptions)) -> House {
    let mut stage = Stage::new(|options| options.ping_interval = S * 3_000);
    let topic = stage.topic("t", change);
    let conn = stage.join();
    stage.client(conn).subscribe_as("t", Wish { credit, ..Wish::default() });
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["subscribed t 0"]);
    let session = stage.events.iter().find_map(|event| match event {
        Event::Opened { conn: other, session } if *other == conn => Some(*session),
        _ => None,
    });
    House { stage, topic, conn, session: session.expect("opened") }
}

fn house(credit: Option<u64>) -> House {
    house_as(credit, |_| {})
}

impl House {
    fn publish(&mut self, json: &str) {
        self.stage.publish(self.topic, json).unwrap();
    }

    fn told(&mut self) -> Vec<String> {
        briefs(&mut self.stage, self.conn)
    }

    fn grant(&mut self, credit: u64) {
        self.stage.client(self.conn).credit("t", credit);
        self.stage.pump();
    }

    fn lane(&self) -> LaneId {
        self.stage.hub.find_lane(self.conn, self.topic).expect("subscribed")
    }

    fn credit(&self) -> Option<u32> {
        self.stage.hub.lane(self.lane()).expect("a lane").credit
    }
}

#[test]
fn so_many_are_sent_and_not_one_more() {
    for credit in [0, 1, 3] {
        let mut house = house(Some(credit));
        for json in ["1", "2", "3", "4", "5"] {
            house.publish(json);
        }
        let sent: Vec<String> = (1..=credit).map(|seq| format!("message t {seq} {seq}")).collect();
        assert_eq!((house.told(), house.credit()), (sent, Some(0)));
        house.grant(2);
        let sent: Vec<String> = (credit + 1..=credit + 2).map(|seq| format!("message t {seq} {seq}")).collect();
        assert_eq!(house.told(), [vec!["granted t".to_string()], sent].concat());
    }
}

#[test]
fn it_adds_up_and_ends_at_2_to_the_32_less_1() {
    let mut house = house(Some(u64::from(u32::MAX) - 1));
    house.grant(1);
    assert_eq!(house.credit(), Some(u32::MAX));
    house.grant(1);
    assert_eq!(house.credit(), Some(u32::MAX));
    house.publish("1");
    assert_eq!(house.credit(), Some(u32::MAX - 1));
}

#[test]
fn without_a_grant_none_is_needed_and_from_the_first_on_it_is() {
    let mut house = house(None);
    house.publish("1");
    assert_eq!((house.told(), house.credit()), (vec!["message t 1 1".into()], None));
    house.grant(1);
    house.publish("2");
    house.publish("3");
    assert_eq!(house.told(), ["granted t", "message t 2 2"]);
    let (session, topic, now) = (house.session, house.topic, house.stage.now);
    assert!(house.stage.hub.grant(session, topic, 1, now));
    house.stage.pump();
    assert_eq!(house.told(), ["message t 3 3"]);
    house.stage.client(house.conn).credit("nowhere", 1);
    house.stage.pump();
    assert_eq!(house.told(), ["error not-subscribed"]);
    let other = house.stage.topic("other", |_| {});
    assert!(!house.stage.hub.grant(session, other, 1, now));
}

#[test]
fn what_returns_unsent_gives_it_back() {
    let mut house = house(Some(3));
    house.stage.freeze(house.conn);
    for json in ["1", "2", "3", "4"] {
        house.stage.hub.publish(house.topic, Payload::Text(json), house.stage.now).unwrap();
    }
    let bytes = house.stage.hold(house.conn);
    assert_eq!((bytes.len(), house.credit()), (3 * frame_len("t", 1, "1"), Some(0)));
    house.stage.answer_by(house.conn, &bytes, frame_len("t", 1, "1") + 3);
    assert_eq!(house.credit(), Some(1), "1 was sent, 2 was begun, 3 returned");
    house.stage.thaw(house.conn);
    assert_eq!(house.told(), ["message t 1 1", "message t 2 2", "message t 3 3"]);
    assert_eq!(house.credit(), Some(0));
}

#[test]
fn a_lane_that_waits_for_it_tells_no_gaps_and_keeps_to_its_policy() {
    let mut house = house_as(Some(1), |options| {
        options.policy = Policy::DropOldest;
        options.lane.messages_max = 2;
    });
    for json in ["1", "2", "3", "4", "5"] {
        house.publish(json);
    }
    assert_eq!(house.told(), ["message t 1 1"], "2 and 3 were dropped, which is told later");
    house.stage.advance(S * 100);
    assert_eq!(house.told(), NOTHING);
    house.grant(1);
    assert_eq!(house.told(), ["granted t", "gap t 2-3 2 oldest", "message t 4 4"]);
}

#[test]
fn of_the_latest_messages_it_counts_each() {
    for (policy, expected) in [
        (Policy::LatestOnly, vec!["granted t", "message t 4 4"]),
        (Policy::LatestPerKey, vec!["granted t", "message t 3 3"]),
    ] {
        let mut house = house_as(Some(1), |options| options.policy = policy);
        house.stage.hub.publish(house.topic, Payload::Text("1"), house.stage.now).unwrap();
        house.stage.pump();
        for (key, json) in [("a", "2"), ("b", "3"), ("a", "4")] {
            let message = forebay_core::Message::new(Payload::Text(json)).with_key(key);
            house.stage.hub.publish(house.topic, message, house.stage.now).unwrap();
            house.stage.pump();
        }
        assert_eq!(house.told(), ["message t 1 1"]);
        house.grant(1);
        assert_eq!((house.told(), house.credit()), (expected.iter().map(ToString::to_string).collect(), Some(0)));
    }
}

#[test]
fn ages_go_on_while_it_waits() {
    let mut house = house_as(Some(0), |options| options.age_max = Some(S));
    house.publish("1");
    house.stage.advance(S * 2);
    assert_eq!((house.told(), house.stage.hub.lane(house.lane()).unwrap().totals.waiting.messages), (vec![], 0));
    house.publish("2");
    house.grant(1);
    assert_eq!(house.told(), ["granted t", "gap t 1-1 1 age", "message t 2 2"]);
    house.stage.hub.check_invariants();
}

#[test]
fn attempts_cost_nothing() {
    let mut house = house_as(Some(2), |options| {
        options.policy = Policy::Block;
        options.delivery = Delivery::at_least_once();
    });
    for json in ["1", "2", "3"] {
        house.publish(json);
    }
    assert_eq!(house.told(), ["message t 1 1", "message t 2 2"]);
    house.stage.advance(S * 5);
    assert_eq!(house.told(), ["message t 1 1", "message t 2 2"]);
    // An acknowledgement is no grant, nor the other way round.
    house.stage.client(house.conn).ack("t", 2);
    house.stage.pump();
    assert_eq!(house.told(), NOTHING);
    house.grant(1);
    assert_eq!(house.told(), ["granted t", "message t 3 3"]);
}

#[test]
fn what_waits_for_it_keeps_a_draining_hub_waiting() {
    let mut house = house(Some(0));
    house.publish("1");
    let until = house.stage.now + S * 10;
    house.stage.hub.drain(until, house.stage.now);
    house.stage.advance(S * 9);
    assert!(is_open(&mut house.stage, house.conn));
    house.grant(1);
    assert_eq!(house.told(), ["granted t", "message t 1 1"]);
    assert!(!is_open(&mut house.stage, house.conn), "nothing is left");
}

#[test]
fn what_becomes_too_old_keeps_a_draining_hub_waiting_no_longer() {
    let mut house = house_as(Some(0), |options| options.age_max = Some(S));
    house.publish("1");
    let until = house.stage.now + S * 10;
    house.stage.hub.drain(until, house.stage.now);
    house.stage.pump();
    assert!(is_open(&mut house.stage, house.conn));
    house.stage.advance(S);
    assert!(!is_open(&mut house.stage, house.conn), "nothing is left");
}

#[test]
fn in_the_process_nobody_needs_any() {
    let mut house = house_as(None, |options| options.choices = Policies::LOSSY);
    let lane = LaneOptions { credit: Some(0), ..LaneOptions::default() };
    let local = house.stage.hub.subscribe_local(house.topic, lane, Start::Latest, house.stage.now).unwrap();
    house.publish("1");
    assert_eq!(house.stage.hub.lane(local).unwrap().credit, None);
    assert!(house.stage.hub.take(local, house.stage.now).is_some());
}

#[test]
fn a_publisher_is_braked_by_a_lane_without_it() {
    let mut house = house_as(Some(0), |options| {
        options.policy = Policy::Block;
        options.lane.messages_max = 2;
    });
    house.publish("1");
    house.publish("2");
    assert!(house.stage.publish(house.topic, "3").is_err());
    house.stage.take_events();
    house.grant(1);
    assert!(house.stage.take_events().contains(&Event::Drained(house.topic)));
    house.publish("3");
}
