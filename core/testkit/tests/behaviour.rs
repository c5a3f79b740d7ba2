//! Behaviour that is known exactly: policies, deadlines, back pressure, losses and what clients are told of them.

use std::time::Duration;

use forebay_core::{
    Effect, EndReason, Entry, Event, LaneOptions, LossReason, Payload, Policy, PublishError, SendError, Start,
};
use forebay_testkit::mini::Item;
use forebay_testkit::stage::{Stage, briefs, frame_len, is_open, json_of_len};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

// --- the main road ---

#[test]
fn what_is_published_is_received_byte_for_byte_and_in_order() {
    let mut stage = Stage::new(|_| {});
    let (left, right) = (stage.join(), stage.join());
    stage.subscribe(left, "t");
    stage.client(right).publish("t", " {\"a\" : [1,  2]}\t", 0);
    stage.client(right).publish("t", "\"\\u00e9 é 😀\"", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, right), ["published 1 1", "published 2 1"]);
    assert_eq!(briefs(&mut stage, left), ["message t 1 {\"a\" : [1,  2]}", "message t 2 \"\\u00e9 é 😀\""]);
    let topic = stage.hub.find_topic("t").unwrap();
    let published = stage.hub.publish(topic, Payload::Binary(&[0, 255]), stage.now).unwrap();
    assert_eq!((published.position.seq, published.matched), (3, 1));
    stage.pump();
    assert_eq!(briefs(&mut stage, left), ["message t 3 00ff"]);
}

#[test]
fn a_subscriber_hears_only_what_comes_later_and_nothing_after_its_unsubscribe() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    stage.publish(topic, "1").unwrap();
    let conn = stage.join();
    stage.client(conn).subscribe("t");
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["subscribed t 1"]);
    stage.publish(topic, "2").unwrap();
    stage.freeze(conn);
    stage.publish(topic, "3").unwrap();
    stage.client(conn).unsubscribe("t");
    stage.pump();
    stage.publish(topic, "4").unwrap();
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["message t 2 2", "unsubscribed t"]);
    let totals = stage.hub.topic_totals(topic).unwrap();
    assert_eq!(totals.lost[LossReason::Unsubscribed as usize].messages, 1);
    assert_eq!(totals.sent.messages, 1);
}

#[test]
fn an_undeclared_topic_is_forgotten_with_its_last_lane_and_made_anew() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        stage.subscribe(conn, "t");
        epochs.push(stage.client(conn).reader().subs["t"].epoch.clone());
        stage.client(conn).publish("t", "1", 0);
        stage.pump();
        let mut told = briefs(&mut stage, conn);
        told.sort();
        assert_eq!(told, ["message t 1 1", "published 1 1"]);
        stage.client(conn).unsubscribe("t");
        stage.pump();
        assert_eq!(briefs(&mut stage, conn), ["unsubscribed t"]);
        assert_eq!(stage.hub.find_topic("t"), None);
    }
    assert_ne!(epochs[0], epochs[1]);
    assert_eq!(stage.hub.stats().topics, 0);
}

#[test]
fn a_removed_topic_ends_its_subscriptions() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    let local = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    assert!(stage.hub.remove_topic(topic, stage.now));
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["ended t"]);
    assert!(stage.take_events().contains(&Event::LaneEnded(local)));
    assert!(stage.hub.lane(local).is_none() && is_open(&mut stage, conn));
    assert_eq!(stage.hub.publish(topic, Payload::Text("1"), stage.now), Err(PublishError::UnknownTopic));
    assert_eq!(stage.hub.stats().topics, 0);
}

// --- lanes that drop ---

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
    assert_eq!((pressure.totals.waiting.messages, pressure.totals.lost[0].messages), (3, 7));
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
    assert_eq!(stage.hub.lane(lane).unwrap().totals.lost[0].messages, 0, "exactly full");
    stage.publish(topic, "1").unwrap();
    assert_eq!(stage.hub.lane(lane).unwrap().totals.waiting.bytes, 61);
    stage.publish(topic, &json_of_len(100)).unwrap();
    assert_eq!(stage.hub.lane(lane).unwrap().totals.waiting.bytes, 100);
    assert_eq!(stage.publish(topic, &json_of_len(101)), Err(PublishError::TooLarge));
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn)[0], "gap t 1-4 4 oldest");
}

#[test]
fn a_partly_sent_message_is_pinned() {
    for cut in 1..60 {
        let mut stage = Stage::new(|_| {});
        let topic = stage.topic("t", |options| options.lane.messages_max = 2);
        let conn = stage.join();
        stage.subscribe(conn, "t");
        stage.seat_of(conn).window = cut;
        for n in 11..=16 {
            stage.publish(topic, &n.to_string()).unwrap();
        }
        let first = frame_len("t", 1, "11");
        assert!(cut >= first || stage.hub.connection(conn).unwrap().is_blocked);
        stage.thaw(conn);
        // What the kernel has begun to take is delivered; what it has not touched may be lost.
        let told = briefs(&mut stage, conn);
        let sub = stage.client(conn).reader().subs["t"].clone();
        assert_eq!(sub.received + sub.missed, 6, "{told:?}");
        assert_eq!(told[0], "message t 1 11", "cut at {cut}");
        assert_eq!(told[told.len() - 2..], ["message t 5 15", "message t 6 16"]);
    }
}

#[test]
fn one_byte_at_a_time() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    for n in 1..=5 {
        stage.publish(topic, &n.to_string()).unwrap();
    }
    let before = stage.seat_of(conn).stream.len();
    let all: usize = (1..=5).map(|n| frame_len("t", n, "1")).sum();
    for sent in 1..=all {
        stage.let_through(conn, 1);
        assert_eq!(stage.seat_of(conn).stream.len(), before + sent);
    }
    assert_eq!(briefs(&mut stage, conn).len(), 5);
}

#[test]
fn nothing_outstanding_is_dropped_and_what_returns_is_judged_again() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.lane.messages_max = 2);
    let conn = stage.join();
    stage.subscribe(conn, "t");
    let publish = |stage: &mut Stage, json: &str| stage.hub.publish(topic, Payload::Text(json), stage.now).unwrap();
    publish(&mut stage, "1");
    publish(&mut stage, "2");
    let len = stage.hub.poll_transmit().unwrap().len();
    for json in ["3", "4", "5"] {
        publish(&mut stage, json);
    }
    let lane = stage.hub.find_lane(conn, topic).unwrap();
    let pressure = stage.hub.lane(lane).unwrap();
    assert_eq!((pressure.outstanding.messages, pressure.totals.waiting.messages), (2, 4), "outstanding does not count");
    // The first went, the second returns: it and 3 are lost, so that 4 and 5 fit.
    assert_eq!(len, 2 * frame_len("t", 1, "1"));
    stage.hub.handle_sent(conn, len / 2, stage.now);
    let totals = stage.hub.lane(lane).unwrap().totals;
    assert_eq!((totals.sent.messages, totals.waiting.messages, totals.lost[0].messages), (1, 2, 2));
    stage.hub.check_invariants();
    stage.hub.handle_writable(conn, stage.now);
    let bytes: Vec<u8> = stage.hub.poll_transmit().unwrap().slices().flatten().copied().collect();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let gap = text.find(r#"{"op":"gap","topic":"t","from":2,"to":3,"missed":2,"reasons":["oldest"]}"#).unwrap();
    assert!(gap < text.find(r#""seq":4"#).unwrap() && !text.contains(r#""seq":2"#), "{text}");
}

#[test]
fn a_lane_that_ends_while_its_messages_are_out() {
    // However much of the Transmit was sent before, whatever stands before the messages, and whatever ended the lane.
    let len = frame_len("t", 1, "1");
    for (how, with_reply) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        for cut in 0..=3 * len + if with_reply { 64 } else { 0 } {
            let mut stage = Stage::new(|_| {});
            let topic = stage.topic("t", |_| {});
            let conn = stage.join();
            stage.subscribe(conn, "t");
            if with_reply {
                stage.client(conn).ask_ping();
                let bytes: Vec<u8> = stage.client(conn).out().drain(..).collect();
                stage.hub.handle_bytes(conn, &bytes, stage.now);
                // The rest of the reply stands before the messages.
                let first = forebay_testkit::stage::copy(&stage.hub.poll_transmit().unwrap());
                stage.seat_of(conn).client.feed(&first[..3]);
                stage.hub.handle_sent(conn, 3, stage.now);
            }
            for json in ["1", "2", "3"] {
                stage.hub.publish(topic, Payload::Text(json), stage.now).unwrap();
                if with_reply {
                    // A tick each: what is polled is frozen, so that the Transmit is made of several pieces.
                    assert!(stage.hub.poll_transmit().is_none(), "blocked");
                }
            }
            if with_reply {
                stage.hub.handle_writable(conn, stage.now);
            }
            let bytes = forebay_testkit::stage::copy(&stage.hub.poll_transmit().unwrap());
            let reply = bytes.len() - 3 * len;
            let cut = cut.min(bytes.len());
            match how {
                0 => assert!(stage.hub.unsubscribe(conn, topic, stage.now)),
                1 => assert!(stage.hub.remove_topic(topic, stage.now)),
                _ => stage.hub.close(conn, forebay_core::wire::CloseCode::NORMAL, "", stage.now),
            }
            stage.hub.check_invariants();
            stage.seat_of(conn).client.feed(&bytes[..cut]);
            stage.hub.handle_sent(conn, cut, stage.now);
            stage.hub.check_invariants();
            if cut < bytes.len() {
                stage.hub.handle_writable(conn, stage.now);
            }
            if how == 0 {
                // The application ended the lane: the client was not told, and still believes in it.
                stage.client(conn).reader().loose.insert("t".into());
            }
            stage.pump();
            let whole = cut.saturating_sub(reply).div_ceil(len);
            let received = briefs(&mut stage, conn).iter().filter(|told| told.starts_with("message")).count();
            assert_eq!(received, whole, "how {how}, {cut} bytes: begun is finished, the rest is lost");
            assert_eq!(stage.hub.stats().lanes.sent.messages, whole as u64);
        }
    }
}

#[test]
fn a_lane_that_ends_while_its_messages_are_out_between_those_of_another() {
    let len = frame_len("t", 1, "1");
    for how in 0..3 {
        for cut in 0..=4 * len {
            let mut stage = Stage::new(|_| {});
            let topics = [stage.topic("t", |_| {}), stage.topic("u", |_| {})];
            let conn = stage.join();
            stage.subscribe(conn, "t");
            stage.subscribe(conn, "u");
            stage.freeze(conn);
            stage.client(conn).ask_ping();
            stage.pump();
            for number in [0, 1, 0, 1] {
                stage.publish(topics[number], "1").unwrap();
            }
            // As one queue would have shown it: t, u, t, u behind the reply.
            let bytes = stage.hold(conn);
            let reply = bytes.len() - 4 * len;
            match how {
                0 => assert!(stage.hub.unsubscribe(conn, topics[0], stage.now)),
                1 => assert!(stage.hub.remove_topic(topics[0], stage.now)),
                _ => assert!(stage.hub.unsubscribe(conn, topics[1], stage.now)),
            }
            stage.hub.check_invariants();
            let cut = (reply + cut).saturating_sub(3);
            stage.client(conn).reader().loose.extend(["t".into(), "u".into()]);
            stage.answer_by(conn, &bytes, cut);
            stage.thaw(conn);
            let totals = stage.hub.stats().lanes;
            assert_eq!((totals.entered.messages, totals.waiting.messages), (4, 0));
            assert!(totals.sent.messages >= 2, "the other topic loses nothing: {totals:?}");
        }
    }
}

#[test]
fn what_returns_between_the_messages_of_another_topic() {
    let len = frame_len("t", 1, "11");
    for (policy, late) in
        [(Policy::DropOldest, 0), (Policy::DropOldest, 3), (Policy::DropOldest, 9), (Policy::Block, 3)]
    {
        for cut in 0..=4 * len {
            let mut stage = Stage::new(|_| {});
            let topics = ["t", "u"].map(|name| {
                stage.topic(name, |options| {
                    options.policy = policy;
                    options.lane.messages_max = 5;
                })
            });
            let conn = stage.join();
            stage.subscribe(conn, "t");
            stage.subscribe(conn, "u");
            stage.freeze(conn);
            stage.client(conn).ask_ping();
            stage.pump();
            let mut taken = [0, 0];
            for n in 0..4 {
                taken[n % 2] += u64::from(stage.publish(topics[n % 2], "11").is_ok());
            }
            let bytes = stage.hold(conn);
            let cut = (bytes.len() - 4 * len + cut).saturating_sub(3);
            for n in 0..late * 2 {
                // Two ticks each.
                taken[n % 2] += u64::from(stage.hub.publish(topics[n % 2], Payload::Text("222"), stage.now).is_ok());
                assert!(n % 4 != 3 || stage.hub.poll_transmit().is_none(), "one transmit at a time");
                stage.hub.check_invariants();
            }
            stage.answer_by(conn, &bytes, cut);
            stage.thaw(conn);
            for (topic, taken) in ["t", "u"].into_iter().zip(taken) {
                let sub = stage.client(conn).reader().subs[topic].clone();
                assert_eq!(sub.received + sub.missed, taken, "{topic}, late {late}, cut {cut}: {sub:?}");
                assert!(policy == Policy::DropOldest || sub.missed == 0);
            }
        }
    }
}

#[test]
fn a_topic_is_removed_while_all_kinds_of_consumers_are_at_it() {
    for ticks in 1..4 {
        for cut in 0..120 {
            let mut stage = Stage::new(|_| {});
            let topic = stage.topic("t", |_| {});
            let (text, raw, behind) = (stage.join(), stage.join_raw(), stage.join());
            stage.subscribe(text, "t");
            stage.subscribe(behind, "t");
            stage.freeze(behind);
            stage.hub.subscribe(raw, topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
            let local = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
            stage.publish(topic, "0").unwrap();
            let mut held = Vec::new();
            for _ in 0..ticks {
                for json in ["1", "22", "333"] {
                    stage.hub.publish(topic, Payload::Text(json), stage.now).unwrap();
                }
                while let Some(transmit) = stage.hub.poll_transmit() {
                    held.push((transmit.conn(), forebay_testkit::stage::copy(&transmit)));
                }
            }
            assert!(stage.hub.take(local, stage.now).is_some());
            assert_eq!(held.len(), 2);
            assert!(stage.hub.remove_topic(topic, stage.now));
            stage.hub.check_invariants();
            for (conn, bytes) in &held {
                stage.answer_by(*conn, bytes, cut.min(bytes.len()));
            }
            stage.thaw(behind);
            assert_eq!(stage.hub.take(local, stage.now), None, "its lane has ended");
            for (conn, _) in &held {
                stage.thaw(*conn);
            }
            assert_eq!((stage.hub.stats().topics, stage.hub.stats().lanes_now), (0, 0));
            assert_eq!(stage.hub.pressure().waiting.messages, 0);
            assert!(stage.hub.pressure().resident_bytes <= 4_096, "{:?}", stage.hub.pressure());
        }
    }
}

#[test]
fn a_transmit_that_is_not_answered_pins_no_more_than_itself() {
    for policy in [Policy::DropOldest, Policy::Block] {
        let mut stage = Stage::new(|_| {});
        let topic = stage.topic("t", |options| {
            options.policy = policy;
            options.message_bytes_max = 300;
            options.lane.bytes_max = 1_200;
            options.log_bytes_max = 300 * 2 + 4_096;
        });
        let conns = [(); 4].map(|()| stage.join());
        conns.iter().for_each(|conn| stage.subscribe(*conn, "t"));
        // Every round one more is left with a Transmit that covers other messages than the others'.
        for left_out in conns {
            for n in 0..20 {
                let _ = stage.hub.publish(topic, Payload::Text(&json_of_len(50 + n * 10)), stage.now);
                stage.hub.check_invariants();
            }
            let mut sent = Vec::new();
            while let Some(transmit) = stage.hub.poll_transmit() {
                sent.push((transmit.conn(), transmit.len()));
            }
            stage.hub.check_invariants();
            for (conn, len) in sent {
                if left_out != conn {
                    stage.hub.handle_sent(conn, len, stage.now);
                    stage.hub.check_invariants();
                }
            }
        }
        assert!(stage.hub.pressure().resident_bytes <= 4 * 1_700 + 4_696 + 4_096, "{:?}", stage.hub.pressure());
    }
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
fn an_in_process_reader_is_a_consumer_like_any_other() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.lane.messages_max = 2);
    let lane = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    for json in ["1", "2", "3", "4"] {
        assert_eq!(stage.publish(topic, json).unwrap().matched, 1);
    }
    assert_eq!(stage.take_events(), [Event::Ready(lane)]);
    let Some(Entry::Gap(gap)) = stage.hub.take(lane, stage.now) else { panic!("a gap comes first") };
    assert_eq!((gap.from, gap.to, gap.missed), (1, 2, 2));
    for expected in [3, 4] {
        let Some(Entry::Message { seq, payload }) = stage.hub.take(lane, stage.now) else { panic!("a message") };
        assert_eq!((seq, payload.as_text()), (expected, Some(&expected.to_string()[..])));
    }
    assert_eq!(stage.hub.take(lane, stage.now), None);
    assert_eq!(stage.hub.lane(lane).unwrap().totals.sent.messages, 2, "taken is sent");
    assert!(stage.hub.unsubscribe_local(lane, stage.now) && !stage.hub.unsubscribe_local(lane, stage.now));
}

// --- lanes that block: see block.rs; deadlines: see deadlines.rs ---

// --- back pressure on what comes in ---

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

// --- direct messages ---

#[test]
fn the_direct_lane_refuses_when_it_is_full_and_tells_when_it_is_not() {
    let mut stage = Stage::new(|options| {
        options.direct_lane.messages_max = 4;
        options.direct_lane.bytes_max = 100;
    });
    let conn = stage.join_raw();
    stage.freeze(conn);
    let send = |stage: &mut Stage, text: &str| {
        let result = stage.hub.send(conn, Payload::Text(text), stage.now);
        stage.pump();
        result
    };
    assert_eq!(send(&mut stage, &"x".repeat(101)), Err(SendError::TooLarge));
    for n in 0..4 {
        assert_eq!(send(&mut stage, &n.to_string()), Ok(()));
    }
    assert_eq!(send(&mut stage, "4"), Err(SendError::Full));
    stage.take_events();
    stage.let_through(conn, 3);
    assert!(stage.take_events().is_empty(), "three of four wait");
    stage.let_through(conn, 3);
    assert_eq!(stage.take_events(), [Event::Sendable(conn)], "half");
    stage.thaw(conn);
    assert!(stage.take_events().is_empty(), "once");
    let texts: Vec<_> = stage.client(conn).items.drain(..).collect();
    assert_eq!(texts, ["0", "1", "2", "3"].map(|text| Item::Text(text.into())));
    assert_eq!(stage.hub.stats().direct.sent.messages, 4);
}

#[test]
fn a_raw_subscriber_gets_payloads_as_they_are() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.lane.messages_max = 2);
    let conn = stage.join_raw();
    stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    stage.freeze(conn);
    for payload in [Payload::Text("1"), Payload::Binary(&[2]), Payload::Text("{\"a\": 3}")] {
        stage.hub.publish(topic, payload, stage.now).unwrap();
        stage.pump();
    }
    stage.thaw(conn);
    let items: Vec<_> = stage.client(conn).items.drain(..).collect();
    assert_eq!(items, [Item::Binary(vec![2]), Item::Text("{\"a\": 3}".into())], "no notice of the gap");
    assert_eq!(stage.hub.topic_totals(topic).unwrap().lost[0].messages, 1);
}

// --- ids ---

#[test]
fn what_comes_too_late_is_counted_and_ignored() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.hang_up(conn);
    assert_eq!(stage.ended(conn), Some(EndReason::PeerGone));
    assert!(!stage.take_effects().contains(&Effect::Close(conn)), "the embedder knows");
    let before = stage.hub.stats().stale_inputs;
    stage.hub.handle_bytes(conn, b"x", stage.now);
    stage.hub.handle_sent(conn, 1, stage.now);
    stage.hub.handle_writable(conn, stage.now);
    stage.hub.handle_eof(conn, stage.now);
    stage.pump();
    assert_eq!(stage.hub.stats().stale_inputs, before + 4);
    assert_eq!(stage.hub.connections(), 0);
    let next = stage.join();
    assert_ne!(next, conn, "an id is never used again");
}

#[test]
fn no_close_follows_an_end_of_file_also_when_it_was_due() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.client(conn).close(Some(1000));
    let bytes: Vec<u8> = stage.client(conn).out().drain(..).collect();
    stage.hub.handle_bytes(conn, &bytes, stage.now);
    let len = stage.hub.poll_transmit().expect("the answer to Close").len();
    stage.hub.handle_sent(conn, len, stage.now);
    // Now Effect::Close is due; before it was polled the peer is gone.
    stage.hang_up(conn);
    assert_eq!(stage.take_effects(), [], "the id was stale");
    assert_eq!(stage.ended(conn).map(|_| ()), Some(()));
    assert_eq!(stage.hub.connections(), 0);
}

#[test]
fn the_numbers_follow_at_once() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    assert_eq!(stage.hub.stats().topics, 1);
    let conn = stage.join();
    stage.subscribe(conn, "t");
    assert_eq!((stage.hub.stats().connections, stage.hub.stats().lanes_now), (1, 1));
    stage.hang_up(conn);
    assert_eq!((stage.hub.stats().connections, stage.hub.stats().lanes_now), (0, 0));
    stage.hub.remove_topic(topic, stage.now);
    stage.pump();
    assert_eq!(stage.hub.stats().topics, 0);
    assert!(stage.hub.stats().resident_bytes <= 1_024, "{}", stage.hub.stats().resident_bytes);
}

#[test]
fn drain_ends_everybody_who_has_everything() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let (idle, slow, stuck) = (stage.join(), stage.join(), stage.join());
    for conn in [slow, stuck] {
        stage.subscribe(conn, "t");
        stage.freeze(conn);
    }
    stage.publish(topic, "1").unwrap();
    stage.hub.drain(stage.now + S * 10, stage.now);
    stage.pump();
    assert_eq!(stage.client(idle).close, Some(Some(1001)));
    assert_eq!(stage.ended(idle), Some(EndReason::Drained));
    stage.advance(S);
    assert_eq!((stage.ended(slow), stage.client(slow).close), (None, None));
    stage.thaw(slow);
    assert_eq!(briefs(&mut stage, slow), ["message t 1 1"]);
    assert_eq!(stage.client(slow).close, Some(Some(1001)));
    assert_eq!(stage.ended(stuck), None);
    stage.advance(S * 20);
    assert_eq!(stage.hub.connections(), 0);
    assert!(stage.hub.handle_accept(Default::default(), stage.now).is_err());
}

#[test]
fn a_clock_that_goes_backwards_stands_still() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.advance(S * 10);
    let back = forebay_core::Instant::from_nanos(5);
    stage.client(conn).ask_ping();
    let bytes: Vec<u8> = stage.client(conn).out().drain(..).collect();
    stage.hub.handle_bytes(conn, &bytes, back);
    stage.hub.handle_timeout(back);
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["pong"]);
    stage.advance(S * 24);
    assert_eq!(stage.client(conn).pings, 0, "the silence began at 10 s, not at 0");
    stage.advance(S + MS);
    assert_eq!(stage.client(conn).pings, 1);
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
    let ask = |messages_max, bytes_max| LaneOptions { messages_max, bytes_max };
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
