//! Every bound holds, what it costs is told, and back pressure keeps what comes in below it. Lanes that block: see
//! `block.rs`.

use forebay_core::{Effect, Event, LaneOptions, LossReason, Payload, Policy, PublishError, Start};
use forebay_testkit::stage::{Stage, briefs, json_of_len};

#[test]
fn drop_oldest_tells_exactly_what_was_lost() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.lane.messages_max = 3);
    let (frozen, other) = (stage.join(), stage.join());
    stage.subscribe(frozen, "t");
    stage.subscribe(other, "t");
    stage.freeze(frozen);
    for n in 1..=10 {
        stage.publish(topic, &n.to_string()).unwrap();
    }
    assert_eq!(briefs(&mut stage, other).len(), 10, "a frozen consumer costs its peers nothing");
    let lane = stage.hub.find_lane(frozen, topic).unwrap();
    let pressure = stage.hub.lane(lane).unwrap();
    assert_eq!((pressure.totals.waiting.messages, pressure.totals.lost_by(LossReason::Oldest).messages), (3, 7));
    stage.thaw(frozen);
    assert_eq!(briefs(&mut stage, frozen), ["gap t 1-7 7 oldest", "message t 8 8", "message t 9 9", "message t 10 10"]);
    assert_eq!(stage.hub.stats().gaps_sent, 1);
}

#[test]
fn drop_oldest_counts_bytes_too() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        options.message_bytes_max = 100;
        options.lane.bytes_max = 100;
    });
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    for len in [40, 40, 20] {
        stage.publish(topic, &json_of_len(len)).unwrap();
    }
    let lane = stage.hub.find_lane(conn, topic).unwrap();
    assert_eq!(stage.hub.lane(lane).unwrap().totals.lost_by(LossReason::Oldest).messages, 0, "exactly full");
    stage.publish(topic, "1").unwrap();
    assert_eq!(stage.hub.lane(lane).unwrap().totals.waiting.bytes, 61);
    stage.publish(topic, &json_of_len(100)).unwrap();
    assert_eq!(stage.hub.lane(lane).unwrap().totals.waiting.bytes, 100);
    assert_eq!(stage.publish(topic, &json_of_len(101)), Err(PublishError::TooLarge));
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn)[0], "gap t 1-4 4 oldest");
}

#[test]
fn the_log_bound_takes_from_the_slowest() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        options.message_bytes_max = 1_024;
        options.log_bytes_max = 16 << 10;
        options.lane.bytes_max = 1 << 20;
    });
    let (frozen, other) = (stage.join(), stage.join());
    stage.subscribe(frozen, "t");
    stage.subscribe(other, "t");
    stage.freeze(frozen);
    for _ in 0..100 {
        stage.publish(topic, &json_of_len(1_000)).unwrap();
        assert!(stage.hub.pressure().resident_bytes <= (16 << 10) + 4_096, "{:?}", stage.hub.pressure());
    }
    assert!(briefs(&mut stage, other).iter().all(|told| told.starts_with("message")));
    stage.thaw(frozen);
    let told = briefs(&mut stage, frozen);
    assert!(told[0].starts_with("gap t 1-") && told[0].ends_with(" log_bound"), "{}", told[0]);
    let sub = &stage.client(frozen).reader().subs["t"];
    assert_eq!((sub.received + sub.missed, sub.told), (100, 100));
    assert!(sub.received >= 4, "a log of 16 KiB holds more than {} messages", sub.received);
}

#[test]
fn the_log_bound_holds_for_logs_of_any_size() {
    for (policy, with_local) in [(Policy::DropOldest, false), (Policy::Block, false), (Policy::DropOldest, true)] {
        for case in 0..200_u32 {
            let mut stage = Stage::new(|_| {});
            let size = 1 + case * 7 % 400;
            let topic = stage.topic("t", |options| {
                options.policy = policy;
                options.message_bytes_max = size.max(8);
                options.lane.bytes_max = u64::from(size.max(8)) * u64::from(1 + case % 5);
                options.log_bytes_max = size.max(8) as usize * 2 + 4_096 + case as usize * 13;
            });
            let conn = stage.join();
            stage.subscribe(conn, "t");
            if with_local {
                stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
            }
            for n in 0..60 {
                let bytes = vec![7; (size as usize * (n % 3 + 1)).div_ceil(3)];
                let _ = stage.hub.publish(topic, Payload::Binary(&bytes), stage.now);
                stage.hub.check_invariants();
                if n % 16 == 15 {
                    stage.pump();
                }
            }
        }
    }
}

#[test]
fn the_budget_holds_also_where_writes_are_taken_in_part() {
    // Every rest of a partly sent message is copied to its connection: that is charged too.
    for policy in [Policy::DropOldest, Policy::Block] {
        for spare in (0..3_000).step_by(37) {
            let mut stage = Stage::new(|options| {
                options.message_bytes_max = 2_000;
                options.inbound_bytes_max = 2_000;
                options.transmit_bytes_max = 1_024;
                options.topic_defaults.policy = policy;
                options.topic_defaults.message_bytes_max = 400;
                options.topic_defaults.lane.bytes_max = 1_600;
                options.topic_defaults.log_bytes_max = 4_896;
                options.resident_bytes_max = 5_000 + spare;
            });
            let conns = [(); 5].map(|()| stage.join());
            for conn in conns {
                for topic in ["a", "b"] {
                    stage.subscribe(conn, topic);
                }
            }
            let topics = ["a", "b"].map(|name| stage.hub.find_topic(name).unwrap());
            let local = LaneOptions::default();
            let _ = stage.hub.subscribe_local(topics[0], local, Start::Latest, stage.now);
            for n in 0..40 {
                let _ = stage.hub.publish(topics[n % 2], Payload::Text(&json_of_len(9 + n * 10)), stage.now);
                stage.hub.check_invariants();
                if n % 4 == 3 {
                    let number = n / 4 % conns.len();
                    for (place, conn) in conns.into_iter().enumerate() {
                        stage.let_through(conn, if place == number { usize::MAX } else { 1 + place * 60 });
                    }
                }
            }
            conns.into_iter().for_each(|conn| stage.thaw(conn));
            for conn in conns {
                for sub in stage.client(conn).reader().subs.values() {
                    assert_eq!(sub.received + sub.missed, sub.told - sub.start);
                    assert!(policy == Policy::DropOldest || sub.missed == 0);
                }
            }
        }
    }
}

#[test]
fn what_idle_topics_keep_gives_way() {
    // As many topics as you like, each used once: what they keep for the next publish is not worth a refusal.
    for policy in [Policy::DropOldest, Policy::Block] {
        let mut stage = Stage::new(|options| {
            options.message_bytes_max = 2_000;
            options.inbound_bytes_max = 2_000;
            options.topic_defaults.policy = policy;
            options.topic_defaults.message_bytes_max = 400;
            options.topic_defaults.log_bytes_max = 12_000;
            options.resident_bytes_max = 13_000;
        });
        let conn = stage.join();
        for round in 0..3 {
            for n in 0..40 {
                let name = format!("topic {n}");
                if round == 0 {
                    stage.subscribe(conn, &name);
                }
                let topic = stage.hub.find_topic(&name).unwrap();
                let published = stage.publish(topic, &json_of_len(300));
                let _ = stage.told(conn);
                let pressure = stage.hub.pressure();
                assert!(published.is_ok(), "{published:?} on {name} in round {round}, {policy:?}, {pressure:?}");
            }
        }
    }
}

#[test]
fn a_message_that_the_whole_budget_does_not_hold_is_refused() {
    let mut answers = Vec::new();
    for resident_bytes_max in (4_224..4_800).step_by(8) {
        let mut stage = Stage::new(|options| {
            options.message_bytes_max = 64;
            options.inbound_bytes_max = 64;
            options.topic_defaults.message_bytes_max = 64;
            options.topic_defaults.lane.bytes_max = 64;
            options.topic_defaults.keys_bytes_max = 64;
            options.topic_defaults.log_bytes_max = 4_224;
            options.resident_bytes_max = resident_bytes_max;
        });
        let topic = stage.topic("t", |options| {
            (options.message_bytes_max, options.lane.bytes_max, options.keys_bytes_max) = (64, 64, 64);
            options.log_bytes_max = 1 << 20;
        });
        let conn = stage.join();
        stage.subscribe(conn, "t");
        // A second encoding.
        let local = LaneOptions::default();
        let local = stage.hub.subscribe_local(topic, local, Start::Latest, stage.now).expect("a lane");
        let published = stage.publish(topic, &json_of_len(60));
        stage.hub.check_invariants();
        assert!(stage.hub.pressure().resident_bytes <= resident_bytes_max);
        assert_eq!(stage.hub.take(local, stage.now).is_some(), published.is_ok());
        assert_eq!(stage.hub.stats().refused_overloaded, u64::from(published.is_err()));
        answers.push(published.is_ok());
    }
    assert!(answers.is_sorted(), "what a budget has room for, a larger one has, too");
    assert!(!answers[0] && answers[answers.len() - 1], "{answers:?}");
}

#[test]
fn the_budget_is_kept_by_shedding() {
    let mut stage = Stage::new(|options| {
        options.resident_bytes_max = 64 << 10;
        options.topic_defaults.log_bytes_max = 64 << 10;
        options.topic_defaults.message_bytes_max = 1_024;
        options.message_bytes_max = 8 << 10;
        options.inbound_bytes_max = 8 << 10;
    });
    let (frozen, other) = (stage.join(), stage.join());
    let topics: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|name| {
            stage.subscribe(frozen, name);
            stage.subscribe(other, name);
            stage.hub.find_topic(name).unwrap()
        })
        .collect();
    stage.freeze(frozen);
    for n in 0..150 {
        stage.publish(topics[n % 3], &json_of_len(1_000)).expect("only lossy lanes: a publish is never refused");
        assert!(stage.hub.pressure().resident_bytes <= 64 << 10);
    }
    assert!(briefs(&mut stage, other).iter().all(|told| told.starts_with("message")), "who reads loses nothing");
    stage.thaw(frozen);
    let told = briefs(&mut stage, frozen);
    assert!(
        told.iter().any(|told| told.contains("overload")),
        "{told:?}, {:?}, {:?}",
        stage.events,
        stage.hub.connection(frozen)
    );
    for name in ["a", "b", "c"] {
        let sub = &stage.client(frozen).reader().subs[name];
        assert_eq!((sub.received + sub.missed, sub.told), (50, 50), "{name}");
    }
}

#[test]
fn a_raw_connection_is_not_read_while_its_application_does_not_take() {
    let mut stage = Stage::new(|options| {
        options.message_bytes_max = 1_000;
        options.inbound_bytes_max = 1_000;
    });
    let conn = stage.join_raw();
    stage.take_effects();
    let texts: Vec<String> = (0..8).map(|n| format!("{n}{}", "x".repeat(399))).collect();
    for text in &texts {
        stage.client(conn).text(text);
    }
    stage.pump();
    assert_eq!(stage.take_effects(), [Effect::PauseRead(conn)]);
    assert!(!stage.hub.wants_read(conn) && stage.hub.connection(conn).unwrap().is_paused);
    assert!(stage.take_events().contains(&Event::Received(conn)));
    let mut received = Vec::new();
    for _ in 0..20 {
        while let Some(payload) = stage.hub.receive(conn, stage.now) {
            received.push(payload.as_text().unwrap().to_string());
        }
        stage.pump();
    }
    assert_eq!(received, texts, "everything, in order");
    assert_eq!(stage.take_effects().last(), Some(&Effect::ResumeRead(conn)));
    assert!(stage.hub.wants_read(conn));
}

#[test]
fn replies_that_are_not_read_stop_the_reading_of_requests() {
    let mut stage = Stage::new(|options| options.reply_bytes_max = 4_096);
    let conn = stage.join();
    stage.seat_of(conn).read = 512;
    stage.freeze(conn);
    for _ in 0..1_000 {
        stage.client(conn).ask_ping();
    }
    stage.pump();
    assert!(stage.hub.connection(conn).unwrap().is_paused);
    let kept = stage.hub.connection(conn).unwrap().reply_bytes;
    assert!(kept <= 4_096 + 256, "{kept} bytes of replies");
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn).len(), 1_000);
    assert!(!stage.hub.connection(conn).unwrap().is_paused);
}

#[test]
fn no_transmit_is_larger_than_it_may_be_also_of_replies() {
    let mut stage = Stage::new(|options| {
        options.transmit_bytes_max = 1_024;
        options.reply_bytes_max = 16 << 10;
    });
    let conn = stage.join();
    stage.freeze(conn);
    for _ in 0..300 {
        stage.client(conn).ask_ping();
    }
    stage.pump();
    stage.hub.handle_writable(conn, stage.now);
    for _ in 0..100 {
        let Some(len) = stage.hub.poll_transmit().map(|transmit| transmit.len()) else { return };
        assert!(len <= 1_024 + 64, "a transmit of {len} bytes");
        assert!(stage.hub.connection(conn).unwrap().outstanding_bytes >= len);
        stage.hub.handle_sent(conn, 15, stage.now);
        stage.hub.handle_writable(conn, stage.now);
    }
}

#[test]
fn lane_limits_are_checked_against_the_topics() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.message_bytes_max = 100;
        options.lane.bytes_max = 200;
        options.lane.messages_max = 5;
    });
    let ask = |messages_max, bytes_max| LaneOptions { messages_max, bytes_max, ..LaneOptions::default() };
    for (options, good) in [
        (ask(None, None), true),
        (ask(Some(5), Some(200)), true),
        (ask(Some(1), Some(100)), true),
        (ask(Some(6), None), false),
        (ask(Some(0), None), false),
        (ask(None, Some(99)), false),
        (ask(None, Some(201)), false),
    ] {
        let lane = stage.hub.subscribe_local(topic, options, Start::Latest, stage.now);
        assert_eq!(lane.is_ok(), good, "{options:?}: {lane:?}");
    }
}
