//! What is on its way when something happens: writes taken in part, and lanes and topics that end meanwhile.

use forebay_core::{LaneOptions, LossReason, Payload, Policy, Start};
use forebay_testkit::stage::{Stage, briefs, frame_len, json_of_len};

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
    assert_eq!((totals.sent.messages, totals.waiting.messages, totals.lost_by(LossReason::Oldest).messages), (1, 2, 2));
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
