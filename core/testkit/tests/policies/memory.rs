//! What lanes by key hold: the latest messages, within every bound.

use forebay_core::{
    Config, ConnId, DisconnectScope, Hub, Instant, LaneOptions, LossReason, Message, Mode, Options, Payload, Peer,
    Policy, Start, TopicId, TopicOptions, Upgraded,
};
use forebay_testkit::stage::{Stage, json_of_len};

use crate::house::{House, Kind};

const NOW: Instant = Instant::from_nanos(1);

/// Raw connections whose kernels take nothing, each with a lane of this policy.
fn frozen(policy: Policy, lanes: usize) -> (Hub, TopicId, Vec<ConnId>) {
    let mut hub = Hub::new(Config::try_from(Options::default()).expect("good"), [3; 32], NOW);
    let topic = hub.topic("t", TopicOptions::default()).expect("declared");
    let peer = Peer { mode: Mode::Raw, ..Peer::default() };
    let conns = (0..lanes)
        .map(|_| {
            let conn =
                hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: None }, b"", NOW).expect("accepted");
            hub.subscribe(conn, topic, LaneOptions::with_policy(policy), Start::Latest, NOW).expect("subscribed");
            conn
        })
        .collect();
    (hub, topic, conns)
}

#[test]
fn superseded_messages_hold_nothing() {
    let text = json_of_len(100);
    let keys: Vec<String> = (0..50).map(|n| format!("key {n}")).collect();
    for (policy, latest) in [(Policy::LatestPerKey, 50), (Policy::LatestOnly, 1)] {
        let (mut hub, topic, conns) = frozen(policy, 1_000);
        let mut most = 0;
        for n in 0..100_000 {
            let message = Message::new(Payload::Text(&text)).with_key(&keys[n * 7 % 50]);
            hub.publish(topic, message, NOW).expect("taken");
            if n % 100 == 0 {
                while let Some(conn) = hub.poll_transmit().map(|transmit| transmit.conn()) {
                    hub.handle_sent(conn, 0, NOW);
                }
            }
            most = most.max(hub.stats().resident_bytes);
        }
        hub.check_invariants();
        println!("{policy}: at most {most} bytes");
        // Four times what lives, a tick, and what the keys are known by.
        assert!(most <= 128 << 10, "{policy}: {most} bytes for {latest} messages of 100");
        for conn in conns {
            let totals = hub.lane(hub.find_lane(conn, topic).expect("a lane")).expect("a lane").totals;
            assert_eq!((totals.entered.messages, totals.waiting.messages), (100_000, latest));
            assert_eq!(totals.lost_by(LossReason::Superseded).messages, 100_000 - latest);
        }
    }
}

#[test]
fn the_log_bound_takes_the_oldest_keys_first() {
    for (kind, len) in [(Kind::Client, 1_000), (Kind::Raw, 1_000), (Kind::Local, 1_000), (Kind::Client, 90)] {
        let mut house = House::new(|options| {
            options.policy = Policy::LatestPerKey;
            options.message_bytes_max = 1_024;
            options.log_bytes_max = 16 << 10;
        });
        let consumer = house.frozen(kind, LaneOptions::default());
        for n in 0..400 {
            house.put_sized(&format!("key {n}"), len).expect("a lossy lane refuses nobody");
            house.stage.pump();
            let pressure = house.stage.hub.topic_pressure(house.topic).expect("a topic");
            assert!(pressure.resident_bytes <= 16 << 10, "{pressure:?}");
        }
        let totals = house.totals(consumer.lane);
        let (waiting, lost) = (totals.waiting.messages, totals.lost_by(LossReason::LogBound).messages);
        assert_eq!((waiting + lost, totals.lost_total().messages), (400, lost), "{kind:?}");
        assert!(waiting >= 4 && lost >= 300 - 16_384 / len as u64, "{kind:?}: {totals:?}");
        if let Some(conn) = consumer.conn {
            house.stage.thaw(conn);
        }
        let mut expected: Vec<String> = (lost + 1..=400).map(|seq| seq.to_string()).collect();
        if kind != Kind::Raw {
            expected.insert(0, format!("gap 1-{lost} {lost} log_bound"));
        }
        assert_eq!(house.told(consumer), expected, "{kind:?}");
    }
}

#[test]
fn a_key_that_is_published_again_is_not_the_oldest() {
    let mut house = House::new(|options| {
        options.policy = Policy::LatestPerKey;
        options.message_bytes_max = 1_024;
        options.log_bytes_max = 16 << 10;
    });
    let consumer = house.frozen(Kind::Client, LaneOptions::default());
    let mut last = 0;
    for n in 0..200 {
        house.put_sized(&format!("key {n}"), 1_000).unwrap();
        house.stage.pump();
        last = house.put_sized("again", 1_000).unwrap().position.seq;
        house.stage.pump();
    }
    house.stage.thaw(consumer.conn.unwrap());
    let told = house.told(consumer);
    assert_eq!(told.last(), Some(&last.to_string()), "{told:?}");
    let totals = house.totals(consumer.lane);
    assert_eq!(totals.lost_by(LossReason::Superseded).messages, 199, "the other key is never the oldest");
    assert_eq!(totals.sent.messages + totals.lost_by(LossReason::LogBound).messages, 201);
}

#[test]
fn the_budget_takes_the_oldest_keys_first() {
    let mut stage = Stage::new(|options| {
        options.resident_bytes_max = 64 << 10;
        options.topic_defaults.log_bytes_max = 64 << 10;
        options.topic_defaults.message_bytes_max = 1_024;
        options.topic_defaults.policy = Policy::LatestPerKey;
        options.message_bytes_max = 8 << 10;
        options.inbound_bytes_max = 8 << 10;
    });
    let (slow, quick) = (stage.join(), stage.join());
    let topics: Vec<TopicId> = ["a", "b", "c"]
        .into_iter()
        .map(|name| {
            stage.subscribe(slow, name);
            stage.subscribe(quick, name);
            stage.hub.find_topic(name).unwrap()
        })
        .collect();
    stage.freeze(slow);
    for n in 0..300 {
        let (key, text) = (format!("key {n}"), json_of_len(1_000));
        let message = Message::new(Payload::Text(&text)).with_key(&key);
        stage.hub.publish(topics[n % 3], message, stage.now).expect("lossy lanes refuse nobody");
        stage.pump();
        assert!(stage.hub.pressure().resident_bytes <= 64 << 10);
    }
    stage.thaw(slow);
    let mut lost = 0;
    for name in ["a", "b", "c"] {
        let sub = stage.client(slow).reader().subs[name].clone();
        assert_eq!((sub.received + sub.missed, sub.told), (100, 100), "{name}: {sub:?}");
        // Each topic loses its oldest, and keeps its newest.
        assert!(sub.seen.iter().copied().eq(101 - sub.received..=100), "{name}: {sub:?}");
        lost += sub.missed;
        assert_eq!(stage.client(quick).reader().subs[name].received, 100, "who reads loses nothing");
    }
    let totals = stage.hub.stats().lanes;
    assert!(lost > 200, "64 KiB hold no {} messages", 300 - lost);
    assert_eq!(totals.lost_by(LossReason::Overload).messages, lost, "{totals:?}");
}

#[test]
fn a_lane_that_ends_when_it_is_full_ends_at_the_log_bound_too() {
    for (scope, end) in
        [(DisconnectScope::Connection, "closed 1013 lane full"), (DisconnectScope::Topic, "ended overflow")]
    {
        for kind in [Kind::Client, Kind::Raw, Kind::Local] {
            let mut house = House::new(|options| {
                options.policy = Policy::Disconnect;
                options.message_bytes_max = 1_024;
                options.log_bytes_max = 16 << 10;
                options.disconnect.scope = scope;
            });
            let consumer = house.frozen(kind, LaneOptions::default());
            let quick = house.consumer(Kind::Client);
            let mut held = 0;
            while house.put_sized("", 1_000).expect("taken").matched == 2 {
                held += 1;
                house.stage.pump();
                assert!(held < 17, "a log of 16 KiB");
            }
            house.stage.pump();
            let pressure = house.stage.hub.topic_pressure(house.topic).expect("a topic");
            assert!(held >= 4 && pressure.resident_bytes <= 16 << 10, "{held}: {pressure:?}");
            assert_eq!(crate::house::lost_in(&pressure.totals), format!("log_bound {held}"), "{kind:?}");
            if let Some(conn) = consumer.conn {
                house.stage.thaw(conn);
            }
            let end = if kind == Kind::Local { "ended overflow" } else { end };
            assert_eq!(house.told(consumer), [end], "{kind:?}");
            assert_eq!(house.told(quick).len(), held + 1, "who reads loses nothing");
        }
    }
}

#[test]
fn every_bound_holds_for_logs_and_keys_of_any_size() {
    for policy in [Policy::LatestPerKey, Policy::LatestOnly, Policy::DropNewest, Policy::Disconnect] {
        for case in 0..120_u32 {
            let mut stage = Stage::new(|_| {});
            let size = 8 + case * 7 % 400;
            let log_bytes_max = size as usize * 2 + 4_096 + case as usize * 13;
            let topic = stage.topic("t", |options| {
                options.message_bytes_max = size;
                options.lane.bytes_max = u64::from(size) * u64::from(1 + case % 5);
                (options.keys_max, options.keys_bytes_max) = (1 + case % 9, options.lane.bytes_max);
                options.policy = policy;
                options.log_bytes_max = log_bytes_max;
                options.disconnect.scope = DisconnectScope::Topic;
            });
            let conn = stage.join();
            stage.subscribe(conn, "t");
            stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
            for n in 0..60_u32 {
                let bytes = vec![7; (size * (n % 3 + 1)).div_ceil(3) as usize];
                let key = (n * 5 % 11).to_string();
                let _ = stage.hub.publish(topic, Message::new(Payload::Binary(&bytes)).with_key(&key), stage.now);
                stage.hub.check_invariants();
                let pressure = stage.hub.topic_pressure(topic).unwrap();
                assert!(pressure.resident_bytes <= log_bytes_max, "{pressure:?}");
                if n % 16 == 15 {
                    stage.let_through(conn, if case % 2 == 0 { usize::MAX } else { 50 });
                }
            }
        }
    }
}
