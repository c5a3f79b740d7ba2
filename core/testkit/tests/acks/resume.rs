//! What is unacknowledged goes on with its session.

use std::time::Duration;

use crate::house::{MS, S, terms};
use forebay_core::{AbandonReason, Acks, ConnId, Delivery, Policy, TopicId};
use forebay_testkit::mini::{Place, Told};
use forebay_testkit::stage::{Stage, briefs, frame_len};

/// A kept client with an at-least-once lane on `t`.
struct House {
    stage: Stage,
    topic: TopicId,
    conn: ConnId,
    session: String,
    epoch: String,
}

fn house(attempts_max: u16) -> House {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.delivery = Delivery::AtLeastOnce(terms(8, attempts_max));
    });
    let conn = stage.join();
    stage.client(conn).keep(None);
    stage.client(conn).subscribe("t");
    stage.pump();
    let told = stage.told(conn);
    let [Told::Kept { session, .. }, Told::Subscribed { epoch, .. }] = &told[..] else { panic!("{told:?}") };
    let (session, epoch) = (session.clone(), epoch.clone());
    House { stage, topic, conn, session, epoch }
}

impl House {
    fn publish_all(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            self.stage.publish(self.topic, &seq.to_string()).expect("taken");
        }
    }

    fn told(&mut self) -> Vec<String> {
        briefs(&mut self.stage, self.conn)
    }

    fn resume_at(&mut self, place: Place<'_>) -> Vec<String> {
        self.conn = self.stage.join();
        self.stage.client(self.conn).resume(&self.session, &[place]);
        self.stage.pump();
        self.told()
    }

    fn resume_behind(&mut self, epoch: &str, seq: u64) -> Vec<String> {
        self.resume_at(Place { topic: "t", position: Some((epoch, seq)), credit: None })
    }

    fn acks(&self) -> Acks {
        self.stage.hub.stats().acks
    }
}

#[test]
fn what_is_unacknowledged_comes_again_behind_what_was_dealt_with() {
    let mut house = house(5);
    house.publish_all(1..=4);
    house.stage.client(house.conn).ack_each("t", &[3]);
    house.stage.pump();
    house.stage.hang_up(house.conn);
    house.publish_all(5..=5);
    let epoch = house.epoch.clone();
    let told = house.resume_behind(&epoch, 1);
    assert_eq!(told, ["resumed 60000 t@1", "message t 2 2", "message t 4 4", "message t 5 5"]);
    let acks = house.acks();
    assert_eq!((acks.acknowledged.messages, acks.unacknowledged.messages, acks.retries.messages), (2, 3, 2));
    // A position acknowledges nothing twice, and an unknown one is not counted.
    house.stage.hang_up(house.conn);
    assert_eq!(house.resume_behind(&epoch, 1)[0], "resumed 60000 t@1");
    house.stage.hang_up(house.conn);
    assert_eq!(house.resume_behind("00000000000000ff", 5)[0], "resumed 60000 t@1", "another numbering says nothing");
    assert_eq!((house.acks().acknowledged.messages, house.stage.hub.stats().unknown_acks), (2, 0));
}

#[test]
fn each_resume_is_an_attempt_and_the_last_gives_up() {
    let mut house = house(2);
    house.publish_all(1..=1);
    for _ in 0..2 {
        house.stage.hang_up(house.conn);
        let told = house.resume_at(Place { topic: "t", ..Place::default() });
        assert_eq!(told, ["resumed 60000 t@0", "message t 1 1"]);
    }
    house.stage.hang_up(house.conn);
    let told = house.resume_at(Place { topic: "t", ..Place::default() });
    assert_eq!(told.last().expect("told"), "gap t 1-1 1 attempts", "{told:?}");
    assert_eq!(house.acks().abandoned_by(AbandonReason::Attempts).messages, 1);
}

#[test]
fn what_was_on_its_way_again_returns_with_its_attempt() {
    let mut house = house(1);
    house.publish_all(1..=2);
    house.stage.freeze(house.conn);
    house.stage.advance(S);
    house.stage.let_through(house.conn, frame_len("t", 1, "1") + 3);
    assert_eq!(house.acks().retries.messages, 1, "1 was sent again, 2 was begun");
    house.stage.hang_up(house.conn);
    let told = house.resume_at(Place { topic: "t", ..Place::default() });
    assert_eq!(told, ["resumed 60000 t@0", "gap t 1-1 1 attempts", "message t 2 2"], "1 had its attempt, 2 has it now");
    assert_eq!(house.acks().retries.messages, 2);
}

#[test]
fn what_was_sent_in_part_for_the_first_time_comes_as_a_whole() {
    let mut house = house(1);
    house.stage.freeze(house.conn);
    house.publish_all(1..=2);
    house.stage.let_through(house.conn, frame_len("t", 1, "1") + 3);
    house.stage.hang_up(house.conn);
    let told = house.resume_at(Place { topic: "t", ..Place::default() });
    assert_eq!(told, ["resumed 60000 t@0", "message t 1 1", "message t 2 2"]);
}

#[test]
fn the_clock_stands_still_without_a_connection() {
    let mut house = house(5);
    house.publish_all(1..=1);
    house.stage.advance(S / 2);
    house.stage.hang_up(house.conn);
    house.stage.advance(S * 30);
    assert_eq!(house.acks().unacknowledged.messages, 1);
    house.resume_at(Place { topic: "t", ..Place::default() });
    house.stage.advance(S - Duration::from_nanos(1));
    assert_eq!(house.told(), [""; 0], "a second from when it came again");
    house.stage.advance(Duration::from_nanos(1));
    assert_eq!(house.told(), ["message t 1 1"]);
}

#[test]
fn credit_is_set_by_a_resume() {
    let mut house = house(5);
    house.stage.client(house.conn).credit("t", 9);
    house.publish_all(1..=1);
    house.stage.hang_up(house.conn);
    house.publish_all(2..=4);
    let told = house.resume_at(Place { topic: "t", position: None, credit: Some(2) });
    assert_eq!(
        told,
        ["resumed 60000 t@0", "message t 1 1", "message t 2 2", "message t 3 3"],
        "what comes again is free"
    );
    house.stage.hang_up(house.conn);
    let told = house.resume_at(Place { topic: "t", position: None, credit: Some(0) });
    assert_eq!(told, ["resumed 60000 t@0", "message t 1 1", "message t 2 2", "message t 3 3"]);
    house.stage.client(house.conn).ack("t", 3);
    house.stage.pump();
    house.stage.advance(MS);
    assert_eq!(house.told(), [""; 0]);
    house.stage.client(house.conn).credit("t", 1);
    house.stage.pump();
    assert_eq!(house.told(), ["granted t", "message t 4 4"]);
}
