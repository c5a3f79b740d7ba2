//! What the bound of a log and the budget do to others.

use forebay_core::LossReason;

use super::*;

#[test]
fn what_a_lane_that_drops_the_newest_holds_costs_others_nothing() {
    // Two frozen readers hold all of the log, in runs that ended when they were full.
    let options = TopicOptions {
        policy: Policy::DropNewest,
        lane: LaneLimits { messages_max: 8, bytes_max: 100_000 },
        message_bytes_max: 1_000,
        log_bytes_max: 20_000,
        ..TopicOptions::default()
    };
    let mut hub = hub(Options { topic_defaults: options, ..Options::default() });
    let topic = hub.topic("t", options).unwrap();
    let json = format!("\"{}\"", "x".repeat(998));
    let frozen: Vec<LaneId> = (0..2)
        .map(|_| {
            let lane = hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, NOW).unwrap();
            for _ in 0..9 {
                publish(&mut hub, topic, &json);
                assert_eq!(poll(&mut hub), None);
            }
            lane
        })
        .collect();
    let lane = LaneOptions::with_policy(Policy::DropOldest);
    let reader = hub.subscribe_local(topic, lane, Start::Latest, NOW).unwrap();
    for _ in 0..20 {
        publish(&mut hub, topic, &json);
        assert!(hub.take(reader, NOW).is_some());
        hub.check_invariants();
    }
    let lost = frozen.iter().map(|lane| hub.lane(*lane).unwrap().totals.lost_by(LossReason::LogBound).messages);
    assert!(lost.sum::<u64>() > 0);
}

#[test]
fn what_is_published_within_a_poll_may_push_out_what_it_is_about_to_send() {
    let limits = |messages_max| LaneLimits { messages_max, bytes_max: 4_000 };
    let mut hub = hub(Options {
        resident_bytes_max: 60_000,
        inbound_bytes_max: 20_000,
        message_bytes_max: 10_000,
        topic_name_bytes_max: 512,
        topic_defaults: TopicOptions {
            lane: limits(5),
            message_bytes_max: 4_000,
            log_bytes_max: 20_000,
            ..TopicOptions::default()
        },
        ..Options::default()
    });
    let with = |policy| TopicOptions { policy, lane: limits(5), message_bytes_max: 4_000, ..TopicOptions::default() };
    let name = "t".repeat(500);
    let topic = hub.topic(&name, with(Policy::Block)).unwrap();
    let other = hub.topic("other", with(Policy::Disconnect)).unwrap();
    let [told, publisher] = [(); 2].map(|()| connect(&mut hub, Mode::Dialect));
    let slow = connect(&mut hub, Mode::Raw);
    let padding = [(); 14].map(|()| connect(&mut hub, Mode::Raw));
    while let Some((conn, len)) = poll(&mut hub) {
        sent(&mut hub, conn, len);
    }
    let lane = LaneOptions { policy: Some(Policy::DropOldest), messages_max: Some(1), ..LaneOptions::default() };
    hub.subscribe(told, topic, lane, Start::Latest, NOW).unwrap();
    subscribe(&mut hub, slow, topic);
    subscribe(&mut hub, slow, other);
    publish(&mut hub, other, &format!("\"{}\"", "x".repeat(3_000)));
    assert_eq!(poll(&mut hub).unwrap().0, slow);
    sent(&mut hub, slow, 0);
    (0..5).for_each(|_| publish(&mut hub, topic, "1"));
    for _ in 0..4 {
        say(&mut hub, publisher, &format!(r#"{{"op":"publish","topic":"{name}","data":2}}"#));
    }
    assert_eq!(hub.topic_pressure(topic).unwrap().parked, 1);
    // No room is left for the notice that four messages were lost but what `slow` holds of the other topic.
    for conn in padding {
        let room = hub.pressure().resident_bytes_max - hub.stats().resident_bytes;
        if let Some(len) = (room / 2).checked_sub(200) {
            say(&mut hub, conn, &"x".repeat(len.min(9_000)));
        }
    }
    assert_eq!(hub.topic_pressure(topic).unwrap().parked, 1);
    let transmit = hub.poll_transmit().unwrap();
    assert_eq!(transmit.conn(), told);
    let text = String::from_utf8_lossy(&transmit.slices().flatten().copied().collect::<Vec<u8>>()).into_owned();
    assert!(text.contains(r#""missed":4"#) && text.contains(r#""seq":5"#), "{text}");
    hub.check_invariants();
    assert_eq!(hub.topic_pressure(topic).unwrap().head.seq, 9, "{:?}", hub.connection(slow));
}

#[test]
fn a_latest_message_in_many_transmits_is_charged_once() {
    let mut hub = hub(Options::default());
    let topic = hub.topic("t", TopicOptions { policy: Policy::LatestOnly, ..TopicOptions::default() }).unwrap();
    for _ in 0..100 {
        let conn = connect(&mut hub, Mode::Raw);
        subscribe(&mut hub, conn, topic);
    }
    let json = format!("\"{}\"", "x".repeat(100_000));
    publish(&mut hub, topic, &json);
    while poll(&mut hub).is_some() {}
    let resident = hub.stats().resident_bytes;
    assert!(resident < 200_000, "{resident} bytes for one message of 100,000");
    // Superseded, it is there for as long as somebody sends it.
    publish(&mut hub, topic, &json);
    let resident = hub.stats().resident_bytes;
    assert!((200_000..300_000).contains(&resident), "{resident} bytes for two messages of 100,000");
}

#[test]
fn superseded_messages_in_transmits_are_the_budget_s_and_not_the_log_s() {
    let options = TopicOptions {
        policy: Policy::LatestOnly,
        message_bytes_max: 100_002,
        log_bytes_max: 250_000,
        ..TopicOptions::default()
    };
    let mut hub = hub(Options {
        resident_bytes_max: 1_000_000,
        message_bytes_max: 500_000,
        inbound_bytes_max: 500_000,
        topic_defaults: options,
        ..Options::default()
    });
    let topic = hub.topic("t", options).unwrap();
    let json = format!("\"{}\"", "x".repeat(100_000));
    let mut stuck = Vec::new();
    loop {
        let conn = connect(&mut hub, Mode::Raw);
        subscribe(&mut hub, conn, topic);
        if hub.publish(topic, Payload::Text(&json), NOW).is_err() {
            break;
        }
        hub.check_invariants();
        // Each sends another message. The log is too small for three.
        stuck.push(poll(&mut hub).unwrap());
        assert_eq!(poll(&mut hub), None);
    }
    hub.check_invariants();
    assert_eq!(stuck.len(), 9, "15/16 of the budget");
    assert_eq!(hub.stats().closed, 0, "a publish that finds no room ends nobody");
    let (conn, len) = stuck[0];
    sent(&mut hub, conn, len);
    publish(&mut hub, topic, &json);
}
