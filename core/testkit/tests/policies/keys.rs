//! Which messages wait in a lane that keeps the latest of each key.

use forebay_core::{LaneOptions, Message, Payload, Policy, PublishError};
use forebay_testkit::mini::Told;
use forebay_testkit::stage::{Stage, briefs};

use crate::house::{House, Kind};

/// A topic whose lanes keep the latest of so many keys and so many bytes.
fn house(keys_max: u32, keys_bytes_max: u64) -> House {
    House::new(|options| {
        options.policy = Policy::LatestPerKey;
        options.message_bytes_max = 100;
        (options.keys_max, options.keys_bytes_max) = (keys_max, keys_bytes_max);
    })
}

#[test]
fn the_key_with_the_oldest_latest_message_is_forgotten() {
    // (keys, bytes, messages as key and length, what is lost, what is received)
    type Case<'a> = (u32, u64, &'a [(&'a str, usize)], &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        (2, 1_000, &[("a", 10), ("b", 10), ("c", 10)], "oldest 1", &["gap 1-1 1 oldest", "2", "3"]),
        // A key is as old as its latest message, not as its first.
        (
            2,
            1_000,
            &[("a", 10), ("b", 10), ("a", 10), ("c", 10)],
            "superseded 1, oldest 1",
            &["gap 2-2 1 oldest", "3", "4"],
        ),
        // One that was forgotten is a key like a new one.
        (2, 1_000, &[("a", 10), ("b", 10), ("c", 10), ("a", 10)], "oldest 2", &["gap 1-2 2 oldest", "3", "4"]),
        // Bytes count those of the latest messages only.
        (9, 100, &[("a", 90), ("a", 90), ("a", 90), ("b", 10)], "superseded 2", &["3", "4"]),
        (9, 100, &[("a", 40), ("b", 40), ("c", 20)], "-", &["1", "2", "3"]),
        (9, 100, &[("a", 40), ("b", 40), ("b", 61)], "superseded 1, oldest 1", &["gap 1-1 1 oldest", "3"]),
        // As many as it takes.
        (9, 100, &[("a", 20), ("b", 20), ("c", 20), ("d", 81)], "oldest 3", &["gap 1-3 3 oldest", "4"]),
    ];
    for (keys, bytes, messages, lost, received) in cases {
        for kind in [Kind::Client, Kind::Raw, Kind::Local] {
            let mut house = house(keys, bytes);
            let consumer = house.frozen(kind, LaneOptions::default());
            for (key, len) in messages {
                assert_eq!(house.put_sized(key, *len).map(|published| published.matched), Ok(1));
                house.stage.pump();
                let waiting = house.stage.hub.lane(consumer.lane).expect("a lane").totals.waiting;
                assert!(waiting.messages <= u64::from(keys) && waiting.bytes <= bytes, "{waiting:?}");
            }
            assert_eq!(house.lost(consumer.lane), lost, "{messages:?}");
            if let Some(conn) = consumer.conn {
                house.stage.thaw(conn);
            }
            let expected: Vec<&str> =
                received.iter().copied().filter(|told| kind != Kind::Raw || !told.starts_with("gap")).collect();
            assert_eq!(house.told(consumer), expected, "{kind:?}: {messages:?}");
        }
    }
}

#[test]
fn no_key_is_the_empty_key() {
    let mut house = house(2, 1_000);
    let consumer = house.frozen(Kind::Client, LaneOptions::default());
    for key in ["", "a", ""] {
        house.put(key).unwrap();
        house.stage.pump();
    }
    assert_eq!(house.lost(consumer.lane), "superseded 1", "the empty key is one of two");
    house.put("b").unwrap();
    house.stage.thaw(consumer.conn.unwrap());
    assert_eq!(house.told(consumer), ["gap 2-2 1 oldest", "3", "4"]);
}

#[test]
fn who_has_read_a_message_does_not_lose_it_with_its_key() {
    let mut house = house(2, 1_000);
    let (slow, quick) = (house.frozen(Kind::Client, LaneOptions::default()), house.consumer(Kind::Client));
    house.put_all("abcd");
    assert_eq!(house.told(quick), ["1", "2", "3", "4"]);
    house.stage.thaw(slow.conn.unwrap());
    assert_eq!(house.told(slow), ["gap 1-2 2 oldest", "3", "4"]);
    assert_eq!((house.lost(slow.lane), house.lost(quick.lane)), ("oldest 2".into(), "-".into()));
}

#[test]
fn a_late_joiner_waits_for_what_comes_later_only() {
    // The topic knows a and b from before; that they are forgotten or replaced is nothing to who came later.
    let mut house = house(2, 1_000);
    let first = house.frozen(Kind::Local, LaneOptions::default());
    house.put_all("ab");
    let second = house.frozen(Kind::Local, LaneOptions::default());
    house.put_all("ca");
    assert_eq!(house.told(second), ["3", "4"]);
    assert_eq!((house.lost(second.lane), house.lost(first.lane)), ("-".into(), "oldest 2".into()));
    let entered = [first, second].map(|one| house.stage.hub.lane(one.lane).unwrap().totals.entered.messages);
    assert_eq!(entered, [4, 2]);
}

#[test]
fn keys_are_known_only_while_a_lane_asks_for_them() {
    // What was published before the first such lane, or after the last, keeps no memory and forgets nobody's key.
    let mut house = House::new(|options| {
        options.message_bytes_max = 1_000;
        (options.keys_max, options.keys_bytes_max) = (1_000, 1 << 20);
    });
    let publish_many = |house: &mut House| {
        for n in 0..500 {
            house.put_sized(&format!("key {n}"), 1_000).unwrap();
            house.stage.pump();
        }
        house.stage.hub.pressure().resident_bytes
    };
    let without = publish_many(&mut house);
    assert!(without < 32 << 10, "{without} bytes for nobody");
    let keyed = house.consumer_as(Kind::Local, LaneOptions::with_policy(Policy::LatestPerKey));
    let with = publish_many(&mut house);
    assert!(with >= 500_000, "500 latest messages wait in {with} bytes");
    assert_eq!(house.lost(keyed.lane), "-");
    assert!(house.stage.hub.unsubscribe_local(keyed.lane, house.stage.now));
    house.put("last").unwrap();
    house.stage.pump();
    let after = house.stage.hub.pressure().resident_bytes;
    assert!(after < 64 << 10, "{after} bytes when the last has left");
    assert!(publish_many(&mut house) < 64 << 10);
}

#[test]
fn a_key_goes_with_its_message_to_clients() {
    for policy in [Policy::DropOldest, Policy::LatestPerKey, Policy::LatestOnly, Policy::Block] {
        let mut stage = Stage::new(|_| {});
        let topic = stage.topic("t", |options| options.policy = policy);
        let conn = stage.join();
        stage.subscribe(conn, "t");
        stage.client(conn).publish_keyed("t", "k\"é\\", "1");
        stage.pump();
        stage.client(conn).publish("t", "2", 0);
        stage.pump();
        for (key, payload) in [("App", Payload::Text("3")), ("bytes", Payload::Binary(b"4")), ("", Payload::Text("5"))]
        {
            stage.hub.publish(topic, Message::new(payload).with_key(key), stage.now).unwrap();
            stage.pump();
        }
        let told = stage.told(conn);
        let keys: Vec<(u64, &str)> = told
            .iter()
            .filter_map(|told| match told {
                Told::Message { seq, key, .. } => Some((*seq, key.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(keys, [(1, "k\"é\\"), (2, ""), (3, "App"), (4, "bytes"), (5, "")], "{policy}");
    }
}

#[test]
fn keys_that_cannot_be() {
    let mut stage = Stage::new(|options| options.key_bytes_max = 5);
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    let mut taken = 0;
    for (key, good) in [
        ("12345", true),
        ("123456", false),
        ("éé", true),
        ("ééé", false),
        ("a\n", false),
        ("\u{7f}", false),
        (" ", true),
    ] {
        let published = stage.hub.publish(topic, Message::new(Payload::Text("1")).with_key(key), stage.now);
        assert_eq!(published.map(|_| ()), if good { Ok(()) } else { Err(PublishError::InvalidKey) }, "{key:?}");
        stage.client(conn).publish_keyed("t", key, "1");
        stage.pump();
        let told = briefs(&mut stage, conn);
        assert_eq!(told.contains(&"error bad-key".to_string()), !good, "{key:?}: {told:?}");
        taken += if good { 2 } else { 0 };
        assert_eq!(stage.hub.topic_pressure(topic).unwrap().head.seq, taken, "{key:?}");
    }
}

#[test]
fn the_oldest_publish_of_a_connection_goes_first_also_by_key() {
    for (first, second) in [
        (Policy::LatestPerKey, Policy::DropOldest),
        (Policy::LatestPerKey, Policy::LatestPerKey),
        (Policy::LatestOnly, Policy::DropOldest),
        (Policy::DropNewest, Policy::LatestPerKey),
    ] {
        let mut stage = Stage::new(|_| {});
        let topics = [("t", first), ("u", second)].map(|(name, policy)| stage.topic(name, |o| o.policy = policy));
        let conn = stage.join();
        stage.subscribe(conn, "t");
        stage.subscribe(conn, "u");
        stage.freeze(conn);
        let script = [(0, "a"), (1, "x"), (0, "b"), (1, "y"), (0, "a"), (1, "x"), (0, "c"), (1, "z")];
        for (place, (which, key)) in script.into_iter().enumerate() {
            let text = place.to_string();
            stage.hub.publish(topics[which], Message::new(Payload::Text(&text)).with_key(key), stage.now).unwrap();
            stage.pump();
        }
        stage.thaw(conn);
        let told = briefs(&mut stage, conn);
        // The payload is the publish's place.
        let places: Vec<usize> = told.iter().map(|told| told.split(' ').nth(3).unwrap().parse().unwrap()).collect();
        let expected: Vec<usize> = (0..script.len())
            .filter(|place| {
                let (which, key) = script[*place];
                let later = &script[place + 1..];
                match [first, second][which] {
                    Policy::LatestPerKey => !later.contains(&(which, key)),
                    Policy::LatestOnly => !later.iter().any(|(other, _)| *other == which),
                    _ => true,
                }
            })
            .collect();
        assert_eq!(places, expected, "{first}, {second}: {told:?}");
    }
}
