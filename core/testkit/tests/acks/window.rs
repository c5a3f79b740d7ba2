//! What counts as in flight, and towards what.

use crate::house::{NOTHING, S, house, house_as, terms};
use forebay_core::{
    AbandonReason, AckError, Count, Delivery, EndReason, Event, LaneOptions, Payload, Policies, Policy, PublishError,
    Start, SubscribeError, TopicOptions,
};
use forebay_testkit::mini::Wish;
use forebay_testkit::stage::{Stage, briefs, frame_len, is_open, json_of_len};

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
    assert!(kept < 8 * 10_000 * 2 + 3 * (128 << 10), "{kept} bytes for eight messages");
    house.told();
    house.stage.advance(S);
    assert_eq!(house.seqs(), (1..=8).map(|nth| nth * 16).collect::<Vec<_>>());
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
