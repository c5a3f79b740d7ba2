//! At least once, over one hub and transports that take exactly so much.

use std::time::Duration;

use forebay_core::{
    AbandonReason, AckError, Acks, AtLeastOnce, ConnId, Count, Delivery, EndReason, Event, LaneId, LaneOptions,
    Payload, Policies, Policy, PublishError, SessionId, Start, SubscribeError, TopicId, TopicOptions,
};
use forebay_testkit::mini::Wish;
use forebay_testkit::stage::{Stage, briefs, frame_len, is_open, json_of_len};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const NOTHING: [&str; 0] = [];

/// A hub with a topic `t` of this delivery, and a subscriber.
struct House {
    stage: Stage,
    topic: TopicId,
    conn: ConnId,
    lane: LaneId,
    session: SessionId,
}

fn terms(in_flight_max: u8, attempts_max: u16) -> AtLeastOnce {
    AtLeastOnce { in_flight_max, ack_timeout: S, attempts_max }
}

fn house_as(terms: AtLeastOnce, policy: Policy, change: impl FnOnce(&mut TopicOptions)) -> House {
    let mut stage = Stage::new(|options| {
        options.block_max = S * 100;
        options.ping_interval = S * 3_000;
        options.stall_timeout = S * 1_000;
    });
    let topic = stage.topic("t", |options| {
        options.policy = policy;
        options.delivery = Delivery::AtLeastOnce(terms);
        change(options);
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    let lane = stage.hub.find_lane(conn, topic).expect("subscribed");
    let session = stage.events.iter().find_map(|event| match event {
        Event::Opened { conn: other, session } if *other == conn => Some(*session),
        _ => None,
    });
    stage.take_events();
    House { stage, topic, conn, lane, session: session.expect("opened") }
}

fn house(terms: AtLeastOnce) -> House {
    house_as(terms, Policy::Block, |_| {})
}

impl House {
    fn publish(&mut self, json: &str) -> Result<u64, PublishError> {
        self.stage.publish(self.topic, json).map(|published| published.position.seq)
    }

    /// Publishes `1`, `2`, ...
    fn publish_all(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            assert_eq!(self.publish(&seq.to_string()), Ok(seq));
        }
    }

    fn told(&mut self) -> Vec<String> {
        briefs(&mut self.stage, self.conn)
    }

    /// What it was told of messages, by number.
    fn seqs(&mut self) -> Vec<u64> {
        let told = self.told();
        let seq = |text: &String| text.strip_prefix("message t ")?.split(' ').next()?.parse().ok();
        told.iter().map(|text| seq(text).unwrap_or_else(|| panic!("{told:?}"))).collect()
    }

    fn acks(&self) -> Acks {
        self.stage.hub.lane(self.lane).expect("a lane").acks.expect("an at-least-once lane")
    }

    fn unacknowledged(&self) -> u64 {
        self.acks().unacknowledged.messages
    }

    fn acknowledge(&mut self, through: u64) -> Result<u32, AckError> {
        let acknowledged = self.stage.hub.acknowledge(self.session, self.topic, through, self.stage.now);
        self.stage.pump();
        acknowledged
    }

    fn acknowledge_one(&mut self, seq: u64) -> Result<(), AckError> {
        let acknowledged = self.stage.hub.acknowledge_one(self.session, self.topic, seq, self.stage.now);
        self.stage.pump();
        acknowledged
    }
}

#[test]
fn what_was_sent_is_unacknowledged_until_it_is_acknowledged_together_or_one_by_one() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=5);
    assert_eq!((house.seqs(), house.unacknowledged()), (vec![1, 2, 3, 4, 5], 5));
    assert_eq!(house.acknowledge(2), Ok(2));
    assert_eq!(house.acknowledge_one(4), Ok(()));
    assert_eq!(house.acks().unacknowledged, Count::new(2, 2), "3 and 5");
    // Over the dialect the same.
    house.stage.client(house.conn).ack_each("t", &[3]);
    house.stage.pump();
    house.stage.client(house.conn).ack("t", 5);
    house.stage.pump();
    let acks = house.acks();
    assert_eq!(
        (acks.sent, acks.acknowledged, acks.unacknowledged),
        (Count::new(5, 5), Count::new(5, 5), Count::new(0, 0))
    );
    assert_eq!(house.stage.hub.topic_pressure(house.topic).unwrap().acks, acks);
    assert_eq!(house.stage.hub.stats().acks, acks);
    assert_eq!((house.told(), house.stage.hub.stats().unknown_acks), (Vec::<String>::new(), 0), "no answers");
    house.stage.advance(S * 10);
    assert_eq!(house.told(), NOTHING, "nothing comes again");
}

#[test]
fn an_acknowledgement_of_nothing_changes_nothing_and_is_counted() {
    let mut house = house(terms(1, 5));
    house.publish_all(1..=2);
    assert_eq!(house.seqs(), [1], "one in flight");
    assert_eq!(house.acknowledge_one(2), Err(AckError::UnknownMessage), "not sent yet");
    assert_eq!(house.acknowledge(0), Err(AckError::UnknownMessage));
    assert_eq!(house.acknowledge_one(1), Ok(()));
    assert_eq!(house.acknowledge_one(1), Err(AckError::UnknownMessage), "acknowledged already");
    assert_eq!(house.stage.hub.stats().unknown_acks, 3);
    assert_eq!(house.seqs(), [2]);
    // Through more than was sent is of what was sent.
    assert_eq!(house.acknowledge(100), Ok(1));
    house.stage.client(house.conn).ack("nowhere", 1);
    house.stage.client(house.conn).ack_each("t", &[7, 8]);
    house.stage.pump();
    assert_eq!((house.told(), house.stage.hub.stats().unknown_acks), (Vec::<String>::new(), 6));

    let plain = house.stage.topic("plain", |_| {});
    assert_eq!(house.stage.hub.acknowledge(house.session, plain, 1, house.stage.now), Err(AckError::UnknownLane));
    house.stage.subscribe(house.conn, "plain");
    assert_eq!(house.stage.hub.acknowledge(house.session, plain, 1, house.stage.now), Err(AckError::NotAtLeastOnce));
    assert_eq!(house.stage.hub.stats().unknown_acks, 8);
}

#[test]
fn no_more_is_in_flight_than_agreed_from_1_to_128() {
    for in_flight_max in [1, 2, 127, 128] {
        let mut house = house(terms(in_flight_max, 5));
        let max = u64::from(in_flight_max);
        for seq in 1..=max + 3 {
            house.stage.hub.publish(house.topic, Payload::Text("0"), house.stage.now).unwrap();
            assert_eq!(seq, house.stage.hub.topic_pressure(house.topic).unwrap().head.seq);
        }
        house.stage.pump();
        assert_eq!(house.seqs(), (1..=max).collect::<Vec<_>>(), "N, and not N + 1");
        assert_eq!(house.stage.hub.lane(house.lane).unwrap().totals.waiting.messages, 3);
        assert_eq!(house.acknowledge_one(max), Ok(()));
        assert_eq!(house.seqs(), [max + 1], "selective: a place is a place");
        assert_eq!(house.acknowledge(max + 1), Ok(u32::from(in_flight_max)));
        let rest: Vec<u64> = (max + 2..=max + 3).collect();
        assert_eq!(house.seqs(), &rest[..rest.len().min(in_flight_max.into())]);
    }
    for in_flight_max in [0, 129] {
        let mut options = TopicOptions { policy: Policy::Block, ..TopicOptions::default() };
        options.delivery = Delivery::AtLeastOnce(terms(in_flight_max, 5));
        assert_eq!(options.check().unwrap_err().field, "delivery.in_flight_max");
    }
}

#[test]
fn what_is_outstanding_for_the_first_time_is_in_flight() {
    let mut house = house(terms(3, 5));
    for _ in 0..5 {
        house.stage.hub.publish(house.topic, Payload::Text("1"), house.stage.now).unwrap();
    }
    let bytes = house.stage.hold(house.conn);
    assert_eq!(bytes.len(), 3 * frame_len("t", 1, "1"), "three in the Transmit");
    assert_eq!(house.stage.hub.lane(house.lane).unwrap().outstanding.messages, 3);
    // One is sent, one in part, one returns: nothing more has a place.
    house.stage.answer_by(house.conn, &bytes, frame_len("t", 1, "1") + 5);
    assert_eq!((house.seqs(), house.unacknowledged()), (vec![1], 1));
    house.stage.thaw(house.conn);
    assert_eq!(house.seqs(), [2, 3]);
}

#[test]
fn the_unacknowledged_come_again_in_order_before_what_is_new() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=4);
    assert_eq!(house.seqs(), [1, 2, 3, 4]);
    house.stage.advance(S / 2);
    house.publish_all(5..=5);
    house.acknowledge_one(2).unwrap();
    house.seqs();
    house.stage.advance(S / 2 - MS);
    assert_eq!(house.told(), NOTHING, "not before the time of the oldest");
    // What is published at that moment waits behind.
    house.stage.now = house.stage.now + MS;
    house.stage.hub.publish(house.topic, Payload::Text("6"), house.stage.now).unwrap();
    house.stage.hub.handle_timeout(house.stage.now);
    house.stage.pump();
    assert_eq!(house.seqs(), [1, 3, 4, 5, 6], "all, without the acknowledged, each as it was");
    let acks = house.acks();
    assert_eq!((acks.retries, acks.sent, acks.unacknowledged.messages), (Count::new(4, 4), Count::new(6, 6), 5));
    assert_eq!(house.acknowledge(6), Ok(5));
}

#[test]
fn the_timer_is_the_oldests_own_to_the_nanosecond() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=1);
    house.stage.now = house.stage.now + S / 4;
    house.publish_all(2..=2);
    assert_eq!(house.seqs(), [1, 2]);
    let first = house.stage.now + (S - S / 4);
    assert_eq!(house.stage.hub.poll_timeout().unwrap().at, first);
    // With the first acknowledged it is the second's. (The timer may look once at its old time.)
    house.acknowledge_one(1).unwrap();
    let nano = Duration::from_nanos(1);
    house.stage.advance(S - nano);
    assert_eq!(house.told(), NOTHING);
    house.stage.advance(nano);
    assert_eq!(house.seqs(), [2]);
    // From the last time it was sent.
    house.stage.advance(S - nano);
    assert_eq!(house.told(), NOTHING);
    house.stage.advance(nano);
    assert_eq!(house.seqs(), [2]);
}

#[test]
fn after_so_many_attempts_a_message_is_abandoned_and_told() {
    for attempts_max in [1, 2, 5] {
        let mut house = house(terms(2, attempts_max));
        let json = json_of_len(100);
        for _ in 1..=3 {
            house.publish(&json).unwrap();
        }
        assert_eq!(house.seqs(), [1, 2]);
        for attempt in 1..=u64::from(attempts_max) {
            assert_eq!(house.stage.take_events(), []);
            house.stage.advance(S);
            assert_eq!(house.seqs(), [1, 2], "attempt {attempt}");
            assert_eq!(house.acks().retries.messages, 2 * attempt);
        }
        house.stage.advance(S - MS);
        assert_eq!(house.told(), NOTHING);
        house.stage.advance(MS);
        assert_eq!(house.told(), ["gap t 1-2 2 attempts".to_string(), format!("message t 3 {json}")]);
        assert_eq!(house.stage.take_events(), [Event::Abandoned(house.lane)], "once for both");
        let acks = house.acks();
        assert_eq!(acks.abandoned_by(AbandonReason::Attempts), Count::new(2, 200));
        assert_eq!((acks.unacknowledged.messages, acks.conservation_error()), (1, 0));
        let sent = acks.sent.bytes + acks.retries.bytes;
        assert!(sent <= (1 + u64::from(attempts_max)) * acks.sent.bytes, "{sent} bytes");
        assert_eq!(house.acknowledge(2), Err(AckError::UnknownMessage), "too late");
    }
}

#[test]
fn a_message_that_had_its_attempts_waits_for_its_own_time() {
    let mut house = house(terms(32, 1));
    house.publish_all(1..=1);
    house.stage.advance(S);
    assert_eq!(house.seqs(), [1, 1], "its only attempt");
    house.stage.advance(S / 2);
    house.publish_all(2..=2);
    house.stage.advance(S / 2);
    // 1 is abandoned, 2 comes again though its own time has not passed.
    assert_eq!(house.told(), ["message t 2 2", "gap t 1-1 1 attempts", "message t 2 2"]);
    house.publish_all(3..=3);
    house.stage.advance(S / 2);
    house.publish_all(4..=4);
    house.seqs();
    house.stage.advance(S / 2);
    assert_eq!(house.told(), ["gap t 2-2 1 attempts", "message t 3 3", "message t 4 4"]);
    // 3 and 4 had theirs at the same time; 5 is new. When 3 is acknowledged nothing is due before 4's own time.
    house.publish_all(5..=5);
    house.acknowledge_one(3).unwrap();
    house.seqs();
    house.stage.advance(S - MS);
    assert_eq!(house.told(), NOTHING);
    house.stage.advance(MS);
    assert_eq!(house.told(), ["gap t 4-4 1 attempts", "message t 5 5"]);
}

#[test]
fn what_returns_unsent_comes_again_without_another_attempt() {
    let mut house = house(terms(32, 1));
    house.publish_all(1..=3);
    house.seqs();
    house.stage.freeze(house.conn);
    house.stage.advance(S);
    // The kernel takes a message and a half, then a part of the half, then the rest of it.
    let len = frame_len("t", 1, "1");
    house.stage.let_through(house.conn, len + 5);
    assert_eq!((house.seqs(), house.acks().retries.messages), (vec![1], 1));
    house.stage.let_through(house.conn, 3);
    assert_eq!((house.told(), house.acks().retries.messages), (Vec::<String>::new(), 1));
    // An acknowledgement of what is sent in part changes what is counted, not what is written.
    house.acknowledge_one(2).unwrap();
    assert_eq!(house.unacknowledged(), 2);
    house.stage.thaw(house.conn);
    assert_eq!((house.seqs(), house.acks().retries.messages), (vec![2, 3], 3));
    house.stage.advance(S);
    assert_eq!(house.told(), ["gap t 1-3 2 attempts"], "each had one attempt");
}

#[test]
fn an_acknowledgement_crosses_what_is_on_its_way_again() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=3);
    house.seqs();
    house.stage.freeze(house.conn);
    house.stage.advance(S);
    let bytes = house.stage.hold(house.conn);
    assert_eq!(house.stage.hub.acknowledge(house.session, house.topic, 2, house.stage.now), Ok(2));
    house.stage.hub.check_invariants();
    assert_eq!(house.unacknowledged(), 1);
    // It returns unsent: what is done with does not come again.
    house.stage.answer_by(house.conn, &bytes, 0);
    house.stage.thaw(house.conn);
    assert_eq!((house.seqs(), house.acks().retries.messages), (vec![3], 1));
}

#[test]
fn the_clock_stands_still_while_something_is_on_its_way() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=1);
    assert_eq!(house.seqs(), [1]);
    house.stage.advance(S / 2);
    // A Transmit that is not answered.
    house.stage.hub.publish(house.topic, Payload::Text("2"), house.stage.now).unwrap();
    let bytes = house.stage.hold(house.conn);
    for _ in 0..3 {
        house.stage.now = house.stage.now + S;
        house.stage.hub.handle_timeout(house.stage.now);
        house.stage.hub.check_invariants();
        assert!(house.stage.hub.poll_transmit().is_none());
    }
    // Then blocked output.
    house.stage.answer_by(house.conn, &bytes, 3);
    house.stage.seat_of(house.conn).window = 0;
    house.stage.advance(S * 3);
    assert_eq!(house.told(), NOTHING);
    house.stage.thaw(house.conn);
    assert_eq!(house.seqs(), [2]);
    house.stage.advance(S / 2 - Duration::from_nanos(1));
    assert_eq!(house.told(), NOTHING, "half a second is left, to the nanosecond");
    house.stage.advance(Duration::from_nanos(1));
    assert_eq!(house.seqs(), [1, 2]);
}

#[test]
fn a_pause_of_reading_does_not_stop_it() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=1);
    house.seqs();
    house.stage.seat_of(house.conn).is_mute = true;
    house.stage.advance(S);
    assert_eq!(house.seqs(), [1]);
}

#[test]
fn an_acknowledgement_is_progress_of_one_that_is_stalled() {
    let mut house = house(terms(32, 5));
    let mut stage = Stage::new(|options| options.stall_timeout = S * 10);
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.delivery = Delivery::at_least_once();
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.publish(topic, "1").unwrap();
    stage.freeze(conn);
    stage.publish(topic, "2").unwrap();
    stage.advance(S * 9);
    stage.client(conn).ack("t", 7);
    stage.pump();
    stage.client(conn).ack_each("t", &[5]);
    stage.pump();
    assert_eq!(stage.hub.stats().unknown_acks, 1, "the first was of message 1");
    stage.advance(S * 10 - MS);
    assert_eq!(stage.ended(conn), None);
    stage.advance(MS);
    assert_eq!(stage.ended(conn), Some(EndReason::Stalled));
    assert_eq!(house.publish("1"), Ok(1));
}

#[test]
fn unacknowledged_messages_count_towards_the_limits() {
    for (policy, messages_max) in [(Policy::Block, 4), (Policy::Disconnect, 4), (Policy::DropNewest, 4)] {
        let mut house = house_as(terms(32, 5), policy, |options| options.lane.messages_max = messages_max);
        house.publish_all(1..=4);
        assert_eq!(house.seqs(), [1, 2, 3, 4]);
        assert_eq!(house.stage.hub.lane(house.lane).unwrap().load.fill, 1_000);
        let published = house.publish("5");
        match policy {
            Policy::Block => {
                assert_eq!(published, Err(PublishError::Full));
                house.stage.take_events();
                house.acknowledge(1).unwrap();
                assert_eq!(house.stage.take_events(), [], "above the low mark");
                house.acknowledge(2).unwrap();
                assert!(house.stage.take_events().contains(&Event::Drained(house.topic)));
                assert_eq!(house.publish("5"), Ok(5));
            }
            Policy::Disconnect => {
                assert_eq!(published, Ok(5));
                assert_eq!(house.stage.ended(house.conn), Some(EndReason::Overflowed));
                let acks = house.stage.hub.topic_pressure(house.topic).unwrap().acks;
                assert_eq!(acks.abandoned_by(AbandonReason::SessionEnded), Count::new(4, 4));
            }
            _ => {
                assert_eq!(published, Ok(5));
                assert_eq!(house.told(), ["gap t 5-5 1 newest"]);
                house.acknowledge_one(2).unwrap();
                assert_eq!(house.publish("6"), Ok(6));
                house.stage.advance(S);
                assert_eq!(house.seqs(), [6, 1, 3, 4, 6], "a hole is no hole for what comes again");
            }
        }
    }
}

#[test]
fn a_parked_publish_is_taken_when_an_acknowledgement_makes_room() {
    let mut house = house_as(terms(32, 5), Policy::Block, |options| options.lane.messages_max = 1);
    house.publish_all(1..=1);
    house.seqs();
    let conn = house.conn;
    house.stage.client(conn).publish("t", "2", 0);
    house.stage.client(conn).ask_ping();
    house.stage.pump();
    assert_eq!(house.told(), ["pong"], "it waits");
    // The same connection's acknowledgement overtakes its own publish.
    house.stage.client(conn).ack("t", 1);
    house.stage.pump();
    assert_eq!(house.told(), ["published 2 1", "message t 2 2"]);
}

#[test]
fn a_lane_that_ends_abandons_what_is_unacknowledged() {
    type End = fn(&mut House);
    let ends: [(End, AbandonReason); 4] = [
        (
            |house| {
                house.stage.client(house.conn).unsubscribe("t");
                house.stage.pump();
                house.told();
            },
            AbandonReason::Unsubscribed,
        ),
        (
            |house| {
                assert!(house.stage.hub.remove_topic(house.topic, house.stage.now));
                house.stage.pump();
                house.told();
            },
            AbandonReason::SessionEnded,
        ),
        (
            |house| {
                house.stage.client(house.conn).close(Some(1_000));
                house.stage.pump();
            },
            AbandonReason::SessionEnded,
        ),
        (|house| house.stage.hang_up(house.conn), AbandonReason::SessionEnded),
    ];
    for (end, reason) in ends {
        let mut house = house(terms(32, 5));
        house.publish_all(1..=3);
        house.acknowledge(1).unwrap();
        house.seqs();
        end(&mut house);
        let acks = house.stage.hub.stats().acks;
        assert_eq!(
            (acks.abandoned_by(reason), acks.unacknowledged),
            (Count::new(2, 2), Count::new(0, 0)),
            "{reason:?}"
        );
        assert_eq!(acks.conservation_error(), 0);
        house.stage.advance(S * 20);
        assert_eq!((house.told(), house.stage.hub.lane(house.lane)), (Vec::<String>::new(), None));
    }
}

#[test]
fn what_is_on_its_way_again_goes_on_and_counts_no_more_when_its_lane_ends() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=3);
    house.seqs();
    house.stage.freeze(house.conn);
    house.stage.advance(S);
    house.stage.seat_of(house.conn).is_mute = true;
    let bytes = house.stage.hold(house.conn);
    assert!(house.stage.hub.unsubscribe(house.conn, house.topic, house.stage.now));
    house.stage.hub.check_invariants();
    let acks = house.stage.hub.stats().acks;
    assert_eq!(acks.abandoned_by(AbandonReason::Unsubscribed).messages, 3);
    assert!(house.stage.hub.lane(house.lane).is_some(), "until its Transmit is answered");
    let taken = frame_len("t", 1, "1") + 4;
    house.stage.hub.handle_sent(house.conn, taken, house.stage.now);
    house.stage.hub.check_invariants();
    house.stage.hub.handle_writable(house.conn, house.stage.now);
    let rest = house.stage.hub.poll_transmit().expect("the rest of what was begun").len();
    assert_eq!(rest + taken, 2 * frame_len("t", 1, "1"), "and not the third");
    house.stage.hub.handle_sent(house.conn, rest, house.stage.now);
    house.stage.hub.check_invariants();
    assert_eq!(house.stage.hub.stats().acks, acks, "it counts no more");
    assert!(house.stage.hub.lane(house.lane).is_none());
    assert_eq!(bytes.len(), 3 * frame_len("t", 1, "1"));
}

#[test]
fn what_is_sent_of_a_lane_that_has_ended_is_abandoned_at_once() {
    let mut house = house(terms(32, 5));
    house.stage.hub.publish(house.topic, Payload::Text("1"), house.stage.now).unwrap();
    let bytes = house.stage.hold(house.conn);
    assert!(house.stage.hub.unsubscribe(house.conn, house.topic, house.stage.now));
    house.stage.hub.handle_sent(house.conn, bytes.len(), house.stage.now);
    house.stage.hub.check_invariants();
    let acks = house.stage.hub.stats().acks;
    assert_eq!((acks.sent.messages, acks.abandoned_by(AbandonReason::Unsubscribed).messages), (1, 1));
}

#[test]
fn who_is_at_least_once() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        options.policy = Policy::DropNewest;
        options.choices = Policies::LOSSY;
        options.delivery = Delivery::at_least_once();
    });
    let plain = stage.topic("plain", |options| options.policy = Policy::Block);
    let conn = stage.join();
    let now = stage.now;
    let mut lane = |topic, policy, at_least_once| {
        let options = LaneOptions { policy, at_least_once, ..LaneOptions::default() };
        let id = stage.hub.subscribe(conn, topic, options, Start::Latest, now)?;
        let is_at_least_once = stage.hub.lane(id).unwrap().acks.is_some();
        assert!(stage.hub.unsubscribe(conn, topic, now));
        Ok(is_at_least_once)
    };
    let refused = Err(SubscribeError::NotAtLeastOnce);
    assert_eq!(lane(topic, None, None), Ok(true), "as the topic");
    assert_eq!(lane(topic, None, Some(true)), Ok(true));
    assert_eq!(lane(topic, None, Some(false)), Ok(false), "not asked for");
    assert_eq!(lane(topic, Some(Policy::DropOldest), None), Ok(false), "a policy that cannot");
    assert_eq!(lane(topic, Some(Policy::LatestOnly), Some(true)), refused);
    assert_eq!(lane(plain, None, None), Ok(false));
    assert_eq!(lane(plain, None, Some(true)), refused);
    let at_least_once = LaneOptions { at_least_once: Some(true), ..LaneOptions::default() };
    assert_eq!(
        stage.hub.subscribe_local(topic, at_least_once, Start::Latest, now),
        refused.map(|_: bool| unreachable!())
    );
    let local = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, now).unwrap();
    assert_eq!(stage.hub.lane(local).unwrap().acks, None, "never in the process");
    // An age would thin it.
    let aged = LaneOptions { age_max: Some(S), ..LaneOptions::default() };
    assert_eq!(stage.hub.subscribe(conn, topic, aged, Start::Latest, now), Err(SubscribeError::InvalidLimits));
    // Over the dialect.
    for (delivery, expected) in [(None, Some(32)), (Some("at-least-once"), Some(32)), (Some("best-effort"), None)] {
        stage.client(conn).subscribe_as("t", Wish { delivery, ..Wish::default() });
        stage.pump();
        assert_eq!(stage.client(conn).reader().subs["t"].in_flight_max, expected);
        stage.client(conn).unsubscribe("t");
        stage.pump();
    }
    stage.told(conn);
    stage.client(conn).subscribe_as("plain", Wish { delivery: Some("at-least-once"), ..Wish::default() });
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["error not-at-least-once"]);
}

#[test]
fn across_topics_what_comes_again_goes_by_the_time_of_its_publish() {
    let mut house = house(terms(32, 5));
    let plain = house.stage.topic("u", |_| {});
    house.stage.subscribe(house.conn, "u");
    house.publish_all(1..=1);
    house.stage.publish(plain, "\"between\"").unwrap();
    house.publish_all(2..=2);
    house.told();
    house.stage.freeze(house.conn);
    house.stage.publish(plain, "\"later\"").unwrap();
    house.stage.thaw(house.conn);
    assert_eq!(house.told(), ["message u 2 \"later\""]);
    house.stage.now = house.stage.now + S;
    house.stage.hub.publish(plain, Payload::Text("\"new\""), house.stage.now).unwrap();
    house.stage.hub.handle_timeout(house.stage.now);
    house.stage.pump();
    assert_eq!(house.told(), ["message t 1 1", "message t 2 2", "message u 3 \"new\""], "they are the older ones");
}

#[test]
fn a_connection_with_something_unacknowledged_is_not_drained_before_the_end() {
    for is_acknowledged in [true, false] {
        let mut house = house(terms(32, 1));
        house.publish_all(1..=1);
        let until = house.stage.now + S * 10;
        house.stage.hub.drain(until, house.stage.now);
        house.stage.advance(S / 2);
        assert!(is_open(&mut house.stage, house.conn));
        if is_acknowledged {
            house.acknowledge(1).unwrap();
            assert!(!is_open(&mut house.stage, house.conn), "nothing is left");
        } else {
            house.stage.advance(S * 3 / 2 - MS);
            assert!(is_open(&mut house.stage, house.conn));
            house.stage.advance(MS);
            assert!(!is_open(&mut house.stage, house.conn), "it was given up");
        }
    }
}

#[test]
fn the_log_keeps_what_is_unacknowledged_and_no_more() {
    let mut house = house_as(terms(128, 100), Policy::DropNewest, |options| {
        options.lane.messages_max = 128;
        options.lane.bytes_max = 4 << 20;
    });
    let json = json_of_len(10_000);
    for _ in 0..128 {
        house.publish(&json).unwrap();
    }
    house.seqs_are(128);
    let full = house.stage.hub.topic_pressure(house.topic).unwrap().resident_bytes;
    assert!(full >= 128 * 10_000, "{full}");
    // All but every 16th are acknowledged, and new ones come and are acknowledged: the holes pin nothing.
    for seq in (1..=128).filter(|seq| seq % 16 > 0) {
        house.acknowledge_one(seq).unwrap();
    }
    for _ in 0..200 {
        let seq = house.publish(&json).unwrap();
        house.acknowledge_one(seq).unwrap();
    }
    let kept = house.stage.hub.topic_pressure(house.topic).unwrap().resident_bytes;
    assert!(kept < 8 * 10_000 * 2 + (3 * 128 << 10), "{kept} bytes for eight messages");
    house.told();
    house.stage.advance(S);
    assert_eq!(house.seqs(), (1..=8).map(|nth| nth * 16).collect::<Vec<_>>());
}

impl House {
    fn seqs_are(&mut self, messages: u64) {
        assert_eq!(self.seqs(), (1..=messages).collect::<Vec<_>>());
    }
}

#[test]
fn at_the_logs_bound_block_makes_its_topic_full_and_the_others_end() {
    for policy in [Policy::Block, Policy::Disconnect, Policy::DropNewest] {
        let mut house = house_as(terms(128, 100), policy, |options| {
            options.lane.messages_max = 10_000;
            options.log_bytes_max = 2 * options.message_bytes_max as usize + 4_096;
        });
        let json = json_of_len(10_000);
        let mut published = 0;
        let refused = loop {
            match house.publish(&json) {
                Ok(seq) => published = seq,
                Err(error) => break Some(error),
            }
            if !is_open(&mut house.stage, house.conn) {
                break None;
            }
        };
        let acks = house.stage.hub.stats().acks;
        if policy == Policy::Block {
            assert_eq!(refused, Some(PublishError::Full));
            assert_eq!(acks.unacknowledged.messages, published);
            house.stage.take_events();
            house.acknowledge(published - 1).unwrap();
            assert_eq!(house.stage.take_events(), [], "it has to be empty");
            house.acknowledge(published).unwrap();
            assert!(house.stage.take_events().contains(&Event::Drained(house.topic)));
            house.publish(&json).unwrap();
        } else {
            assert_eq!(refused, None);
            assert!(published > 10, "{published}");
            assert_eq!(
                acks.abandoned_by(AbandonReason::SessionEnded).messages,
                published - 1,
                "the last is the others'"
            );
            assert_eq!(acks.unacknowledged.messages, 0);
        }
    }
}
