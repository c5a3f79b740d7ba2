//! What ends when a lane with `Disconnect` is full.

use forebay_core::wire::{CloseCode, CloseReason};
use forebay_core::{Disconnect, DisconnectScope, EndReason, Event, LaneOptions, Policy, Start};
use forebay_testkit::stage::{Stage, briefs, is_open};

use crate::house::{House, Kind, lost_in};

fn house(messages_max: u32, disconnect: Disconnect) -> House {
    House::new(|options| {
        options.policy = Policy::Disconnect;
        options.lane.messages_max = messages_max;
        options.disconnect = disconnect;
    })
}

#[test]
fn the_code_and_the_reason_are_the_topics() {
    let own = Disconnect {
        code: CloseCode::new(4_001).expect("a code"),
        reason: CloseReason::new("too slow, é").expect("short"),
        ..Disconnect::default()
    };
    for (disconnect, expected) in [(Disconnect::default(), "closed 1013 lane full"), (own, "closed 4001 too slow, é")]
    {
        for kind in [Kind::Client, Kind::Raw] {
            let mut house = house(1, disconnect);
            let consumer = house.frozen(kind, LaneOptions::default());
            house.put_all("ab");
            house.stage.thaw(consumer.conn.unwrap());
            assert_eq!(house.told(consumer), [expected], "{kind:?}");
            assert_eq!(house.stage.ended(consumer.conn.unwrap()), Some(EndReason::Overflowed));
        }
    }
}

#[test]
fn a_connection_ends_with_all_its_lanes() {
    let mut stage = Stage::new(|_| {});
    let topics = [("t", Policy::Disconnect), ("u", Policy::DropOldest), ("v", Policy::Block)].map(|(name, policy)| {
        stage.topic(name, |options| {
            options.policy = policy;
            options.lane.messages_max = 2;
        })
    });
    let (frozen, other) = (stage.join(), stage.join());
    for conn in [frozen, other] {
        ["t", "u", "v"].into_iter().for_each(|name| stage.subscribe(conn, name));
    }
    stage.freeze(frozen);
    for topic in [topics[1], topics[1], topics[2], topics[2], topics[0], topics[0]] {
        assert_eq!(stage.publish(topic, "1").map(|published| published.matched), Ok(2));
    }
    assert!(stage.publish(topics[2], "2").is_err(), "the block lane is full");
    stage.take_events();
    assert_eq!(stage.publish(topics[0], "3").map(|published| published.matched), Ok(1), "not the one that it ends");
    for topic in topics {
        assert_eq!(stage.hub.find_lane(frozen, topic), None);
        let totals = stage.hub.topic_pressure(topic).unwrap().totals;
        assert_eq!((lost_in(&totals), totals.waiting.messages), ("closed 2".into(), 0));
    }
    assert!(stage.take_events().contains(&Event::Drained(topics[2])), "whom the block lane kept waiting goes on");
    assert_eq!(stage.publish(topics[2], "2").map(|published| published.matched), Ok(1));
    stage.thaw(frozen);
    assert_eq!(stage.ended(frozen), Some(EndReason::Overflowed));
    assert_eq!(briefs(&mut stage, frozen), [""; 0]);
    assert_eq!((stage.hub.stats().lanes_now, stage.hub.stats().connections), (3, 1));
    assert!(is_open(&mut stage, other));
    assert_eq!(briefs(&mut stage, other).len(), 8);
}

#[test]
fn with_the_scope_of_the_topic_only_the_lane_ends() {
    let disconnect = Disconnect { scope: DisconnectScope::Topic, ..Disconnect::default() };
    for kind in [Kind::Client, Kind::Raw, Kind::Local] {
        let mut house = house(2, disconnect);
        let consumer = house.frozen(kind, LaneOptions::default());
        let other = house.stage.topic("u", |_| {});
        if let Some(conn) = consumer.conn {
            house.stage.hub.subscribe(conn, other, LaneOptions::default(), Start::Latest, house.stage.now).unwrap();
        }
        house.put_all("abc");
        let ended = house.stage.events.contains(&Event::LaneEnded(consumer.lane));
        assert_eq!(ended, kind != Kind::Client, "a client is told itself");
        if let Some(conn) = consumer.conn {
            assert!(house.stage.hub.find_lane(conn, other).is_some(), "the other lane stays");
            house.stage.thaw(conn);
        }
        assert_eq!(house.told(consumer), ["ended overflow"], "{kind:?}");
        let Some(conn) = consumer.conn else { continue };
        assert_eq!(house.stage.ended(conn), None);
        // It may come again, and hears what comes from then on.
        let again = match kind {
            Kind::Client => {
                house.stage.subscribe(conn, "t");
                house.stage.hub.find_lane(conn, house.topic).unwrap()
            }
            _ => {
                let (lane, now) = (LaneOptions::default(), house.stage.now);
                house.stage.hub.subscribe(conn, house.topic, lane, Start::Latest, now).unwrap()
            }
        };
        assert_ne!(again, consumer.lane);
        house.stage.take_events();
        house.put_all("d");
        assert_eq!(house.told(crate::house::Consumer { lane: again, ..consumer }), ["4"]);
    }
}

#[test]
fn nothing_follows_the_end_of_a_lane_and_what_was_begun_is_finished() {
    // However much of the Transmit was sent when the lane overflows.
    for scope in [DisconnectScope::Connection, DisconnectScope::Topic] {
        for cut in 0..400 {
            let mut house = house(3, Disconnect { scope, ..Disconnect::default() });
            let consumer = house.consumer(Kind::Client);
            let conn = consumer.conn.unwrap();
            for key in ["a", "b", "c"] {
                house.put(key).unwrap();
            }
            let bytes = house.stage.hold(conn);
            assert_eq!(house.put("d").map(|published| published.matched), Ok(0));
            house.stage.answer_by(conn, &bytes, cut.min(bytes.len()));
            house.stage.thaw(conn);
            let told = house.told(consumer);
            let begun = (cut * 3).div_ceil(bytes.len()).min(3);
            let end = if scope == DisconnectScope::Topic { "ended overflow" } else { "closed 1013 lane full" };
            let mut expected: Vec<String> = (1..=begun).map(|seq| seq.to_string()).collect();
            expected.push(end.into());
            assert_eq!(told, expected, "cut at {cut}");
            let totals = house.totals(consumer.lane);
            assert_eq!((totals.entered.messages, totals.sent.messages), (3, begun as u64));
            assert_eq!(totals.lost_total().messages, 3 - begun as u64);
        }
    }
}

#[test]
fn many_lanes_end_in_one_publish() {
    for scope in [DisconnectScope::Connection, DisconnectScope::Topic] {
        let mut house = house(2, Disconnect { scope, ..Disconnect::default() });
        let consumers: Vec<_> = (0..30)
            .map(|n| house.frozen([Kind::Client, Kind::Raw, Kind::Local][n % 3], LaneOptions::default()))
            .collect();
        let quick = house.consumer(Kind::Client);
        house.put_all("ab");
        assert_eq!(house.put("c").map(|published| published.matched), Ok(1));
        assert_eq!(house.stage.hub.stats().lanes_now, 1);
        consumers.iter().filter_map(|one| one.conn).for_each(|conn| house.stage.thaw(conn));
        for consumer in consumers {
            let ends = scope == DisconnectScope::Topic || consumer.kind == Kind::Local;
            let end = if ends { "ended overflow" } else { "closed 1013 lane full" };
            assert_eq!(house.told(consumer), [end], "{:?}", consumer.kind);
        }
        assert_eq!(house.told(quick), ["1", "2", "3"]);
        let totals = house.stage.hub.topic_pressure(house.topic).unwrap().totals;
        assert_eq!((lost_in(&totals), totals.entered.messages, totals.sent.messages), ("closed 60".into(), 63, 3));
    }
}

#[test]
fn a_client_may_overflow_by_its_own_publish() {
    for scope in [DisconnectScope::Connection, DisconnectScope::Topic] {
        let mut house = house(2, Disconnect { scope, ..Disconnect::default() });
        let consumer = house.frozen(Kind::Client, LaneOptions::default());
        let conn = consumer.conn.unwrap();
        for seq in 1..=3 {
            house.stage.client(conn).publish("t", &crate::house::ten(seq), 0);
        }
        house.stage.pump();
        assert_eq!(house.stage.hub.stats().lanes_now, 0);
        house.stage.thaw(conn);
        let told = house.told(consumer);
        assert!(!told.iter().any(|told| told.parse::<u64>().is_ok()), "{told:?}");
        match scope {
            DisconnectScope::Connection => assert_eq!(told.last().unwrap(), "closed 1013 lane full"),
            DisconnectScope::Topic => {
                let answers: Vec<_> = told.iter().filter(|told| told.starts_with("published")).collect();
                assert_eq!(answers.len(), 3, "{told:?}");
                assert!(
                    told.contains(&"ended overflow".to_string()) && told.contains(&"published 3 0".into()),
                    "{told:?}"
                );
            }
        }
    }
}

#[test]
fn the_end_is_told_before_a_new_subscription_or_an_answer_that_knows_of_it() {
    // All in one read: the second publish ends the lane, and what follows finds none.
    let mut house = house(1, Disconnect { scope: DisconnectScope::Topic, ..Disconnect::default() });
    let consumer = house.consumer(Kind::Client);
    let conn = consumer.conn.unwrap();
    for again in [true, false] {
        for seq in 1..=2 {
            house.stage.client(conn).publish("t", &crate::house::ten(seq), 0);
        }
        if again {
            house.stage.client(conn).subscribe("t");
        } else {
            house.stage.client(conn).unsubscribe("t");
        }
        house.stage.pump();
        let told = house.told(consumer);
        let place = |start: &str| told.iter().position(|told| told.starts_with(start));
        let answer = place(if again { "subscribed" } else { "error not-subscribed" });
        assert!(place("ended overflow").is_some() && place("ended overflow") < answer, "{told:?}");
    }
}
