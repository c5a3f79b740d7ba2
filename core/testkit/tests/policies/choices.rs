//! What a subscriber may choose.

use forebay_core::{LaneOptions, Policies, Policy, Start, SubscribeError, TopicOptions};
use forebay_testkit::mini::{Told, Wish};
use forebay_testkit::stage::{Stage, briefs};

use crate::house::{House, Kind};

/// Asks for a lane in all three ways, and gives what holds, or the error.
fn ask(options: TopicOptions, lane: LaneOptions) -> Result<Policy, SubscribeError> {
    let mut stage = Stage::new(|_| {});
    let topic = stage.hub.topic("t", options).expect("declared");
    let (client, raw) = (stage.join(), stage.join_raw());
    let local = stage.hub.subscribe_local(topic, lane, Start::Latest, stage.now);
    let answer = local.map(|local| stage.hub.lane(local).expect("a lane").policy);
    let by_raw = stage.hub.subscribe(raw, topic, lane, Start::Latest, stage.now);
    assert_eq!(by_raw.map(|lane| stage.hub.lane(lane).expect("a lane").policy), answer);
    let wish = Wish {
        policy: lane.policy.map(Policy::name),
        messages_max: lane.messages_max.map(u64::from),
        bytes_max: lane.bytes_max,
        delivery: lane.at_least_once.map(|yes| if yes { "at-least-once" } else { "best-effort" }),
        from: None,
        credit: lane.credit.map(u64::from),
        age_max_ms: lane.age_max.map(|age| u64::try_from(age.as_millis()).expect("short")),
    };
    stage.client(client).subscribe_as("t", wish);
    stage.pump();
    match (&stage.told(client)[..], answer) {
        ([Told::Subscribed { policy, .. }], Ok(holds)) => {
            assert_eq!(policy, holds.name());
            let lane = stage.hub.lane(stage.hub.find_lane(client, topic).expect("a lane")).expect("a lane");
            assert_eq!(lane.policy, holds);
            assert_eq!(lane.messages_max, lane.messages_max.min(options.lane.messages_max));
        }
        ([Told::Error { code, .. }], Err(SubscribeError::PolicyNotAllowed)) => assert_eq!(code, "policy-not-allowed"),
        ([Told::Error { code, .. }], Err(SubscribeError::InvalidLimits)) => assert_eq!(code, "bad-limits"),
        (told, answer) => panic!("{answer:?} in the process, but a client was told {told:?}"),
    }
    assert_eq!(stage.hub.stats().lanes_now, if answer.is_ok() { 3 } else { 0 });
    answer
}

#[test]
fn a_policy_is_the_topics_own_or_among_its_choices() {
    let sets = [Policies::NONE, Policies::LOSSY, Policies::of(&[Policy::DropNewest, Policy::LatestOnly])];
    for own in Policy::ALL {
        for choices in sets {
            let options = TopicOptions { policy: *own, choices, ..TopicOptions::default() };
            assert_eq!(ask(options, LaneOptions::default()), Ok(*own));
            for policy in Policy::ALL {
                let good = policy == own || choices.contains(*policy);
                let expected = if good { Ok(*policy) } else { Err(SubscribeError::PolicyNotAllowed) };
                assert_eq!(ask(options, LaneOptions::with_policy(*policy)), expected, "{own}: {policy} of {choices:?}");
            }
        }
    }
}

#[test]
fn limits_are_at_most_the_topics_and_hold_one_message_and_the_keys() {
    let mut options =
        TopicOptions { message_bytes_max: 100, keys_max: 4, keys_bytes_max: 150, ..TopicOptions::default() };
    (options.lane.messages_max, options.lane.bytes_max) = (5, 200);
    for policy in Policy::ALL {
        let options = TopicOptions { policy: *policy, ..options };
        let is_keyed = *policy == Policy::LatestPerKey;
        for (messages_max, bytes_max, good) in [
            (None, None, true),
            (Some(5), Some(200), true),
            (Some(6), None, false),
            (Some(u32::MAX), None, false),
            (None, Some(201), false),
            (None, Some(u64::MAX), false),
            (Some(0), None, false),
            (None, Some(0), false),
            (None, Some(99), false),
            (Some(4), Some(150), true),
            (Some(3), None, !is_keyed),
            (Some(1), None, !is_keyed),
            (None, Some(149), !is_keyed),
            (None, Some(100), !is_keyed),
        ] {
            let answer = ask(options, LaneOptions { policy: None, messages_max, bytes_max, ..LaneOptions::default() });
            let expected = if good { Ok(*policy) } else { Err(SubscribeError::InvalidLimits) };
            assert_eq!(answer, expected, "{policy}: {messages_max:?}, {bytes_max:?}");
        }
    }
}

#[test]
fn a_topic_whose_keys_do_not_fit_its_lanes_can_be_had_but_not_by_key() {
    let keyed = LaneOptions::with_policy(Policy::LatestPerKey);
    let mut options =
        TopicOptions { message_bytes_max: 100, keys_max: 4, keys_bytes_max: 150, ..TopicOptions::default() };
    (options.lane.messages_max, options.lane.bytes_max) = (4, 150);
    assert_eq!(ask(options, keyed), Ok(Policy::LatestPerKey));
    for (keys_max, keys_bytes_max) in [(5, 150), (4, 151), (4, 99)] {
        let options = TopicOptions { keys_max, keys_bytes_max, ..options };
        assert_eq!(ask(options, keyed), Err(SubscribeError::InvalidLimits), "{keys_max} keys, {keys_bytes_max} bytes");
        for policy in [Policy::DropOldest, Policy::DropNewest, Policy::LatestOnly, Policy::Disconnect] {
            assert_eq!(ask(options, LaneOptions::with_policy(policy)), Ok(policy));
        }
    }
}

#[test]
fn lowered_limits_act_at_their_edge() {
    // (policy, messages, bytes, how many of ten bytes fit, what a client is told of one more)
    for policy in [Policy::DropOldest, Policy::DropNewest, Policy::Disconnect, Policy::Block] {
        for (messages_max, bytes_max, fit) in
            [(Some(1), None, 1), (Some(4), None, 4), (None, Some(40), 4), (None, Some(49), 4), (Some(3), Some(40), 3)]
        {
            for kind in [Kind::Client, Kind::Raw, Kind::Local] {
                let mut house = House::new(|options| {
                    options.policy = policy;
                    options.message_bytes_max = 10;
                    options.lane.messages_max = 100;
                });
                let consumer = house.frozen(
                    kind,
                    LaneOptions { policy: Some(policy), messages_max, bytes_max, ..LaneOptions::default() },
                );
                let fits = "abcdefgh".get(..fit).expect("few");
                house.put_all(fits);
                assert_eq!(house.lost(consumer.lane), "-", "{policy}: {fit} fit {messages_max:?}, {bytes_max:?}");
                let more = house.put("x").map(|published| published.matched);
                let expected = match policy {
                    Policy::Block => (Err(forebay_core::PublishError::Full), "-".into(), fit),
                    Policy::Disconnect => (Ok(0), format!("closed {fit}"), fit),
                    Policy::DropNewest => (Ok(1), "newest 1".into(), fit + 1),
                    _ => (Ok(1), "oldest 1".into(), fit + 1),
                };
                let totals = house.totals(consumer.lane);
                let found =
                    (more, crate::house::lost_in(&totals), usize::try_from(totals.entered.messages).expect("few"));
                assert_eq!(found, expected, "{policy}: {messages_max:?}, {bytes_max:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_asked_for_over_the_dialect() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.message_bytes_max = 100);
    let conn = stage.join();
    let wish = |policy| Wish { policy: Some(policy), ..Wish::default() };
    let limits = |messages_max, bytes_max| Wish { policy: None, messages_max, bytes_max, ..Wish::default() };
    for (wish, code) in [
        (wish(""), "policy-not-allowed"),
        (wish("Drop-Oldest"), "policy-not-allowed"),
        (wish("spill"), "policy-not-allowed"),
        (wish("block"), "policy-not-allowed"),
        (limits(Some(1 << 32), None), "bad-limits"),
        (limits(Some((1 << 32) + 1), None), "bad-limits"),
        (limits(None, Some(u64::MAX)), "bad-limits"),
    ] {
        stage.client(conn).subscribe_as("t", wish);
        stage.pump();
        assert_eq!(briefs(&mut stage, conn), [format!("error {code}")], "{wish:?}");
        assert_eq!(stage.hub.find_lane(conn, topic), None);
    }
    for members in
        ["\"policy\":1", "\"policy\":null", "\"messages_max\":\"3\"", "\"messages_max\":-1", "\"bytes_max\":1.5"]
    {
        let text = stage.client(conn).reader().nonsense(&format!(r#""op":"subscribe","topic":"t",{members}"#));
        stage.client(conn).text(&text);
        stage.pump();
        let told = briefs(&mut stage, conn);
        assert!(told == ["error bad-message"] || told == ["error bad-limits"], "{members}: {told:?}");
        assert_eq!(stage.hub.find_lane(conn, topic), None, "{members}");
    }
    // A refused subscribe leaves no topic behind.
    stage.client(conn).subscribe_as("made", wish("block"));
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["error policy-not-allowed"]);
    assert_eq!((stage.hub.find_topic("made"), stage.hub.stats().topics), (None, 1));
}
