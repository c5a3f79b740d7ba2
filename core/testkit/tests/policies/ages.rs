//! `age_max`: which of what waits is lost when, by policy and by where it is.

use std::time::Duration;

use forebay_core::{Cause, LaneOptions, Policies, Policy, Start, SubscribeError, TopicOptions};

use crate::house::{House, Kind, lost_in};

const AGE: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(30);

const LOSSY: [Policy; 4] = [Policy::DropOldest, Policy::DropNewest, Policy::LatestPerKey, Policy::LatestOnly];
const KINDS: [Kind; 3] = [Kind::Client, Kind::Raw, Kind::Local];

fn house(policy: Policy) -> House {
    House::new(|options| (options.policy, options.age_max) = (policy, Some(AGE)))
}

/// What waits of the messages 1, 2 and 3, published at 0, 30 and 60 ms with the keys a, b and c.
fn all(policy: Policy) -> u64 {
    if policy == Policy::LatestOnly { 1 } else { 3 }
}

fn fill(house: &mut House) {
    for key in ["a", "b", "c"] {
        house.put(key).expect("taken");
        house.stage.pump();
        house.stage.advance(STEP);
    }
}

/// Without the superseded: those are the same at every time.
fn aged(house: &House, lane: forebay_core::LaneId) -> u64 {
    let totals = house.totals(lane);
    let lost = lost_in(&totals);
    lost.split(", ").find_map(|lost| lost.strip_prefix("age ")).map_or(0, |count| count.parse().expect("a number"))
}

#[test]
fn what_waits_is_lost_at_its_time_and_not_before() {
    for (policy, kind) in LOSSY.into_iter().flat_map(|policy| KINDS.map(|kind| (policy, kind))) {
        let mut house = house(policy);
        let consumer = house.frozen(kind, LaneOptions::default());
        fill(&mut house); // now 90 ms
        house.stage.advance(Duration::from_millis(9)); // 99 ms
        assert_eq!(aged(&house, consumer.lane), 0, "{policy} {kind:?}");
        let waiting = house.totals(consumer.lane).waiting.messages;
        assert_eq!(waiting, all(policy));
        for (millis, lost) in [(100, 1), (129, 1), (130, 2), (159, 2), (160, 3)] {
            let now = house.stage.now.as_nanos() / 1_000_000 - 1_000;
            house.stage.advance(Duration::from_millis(millis - now));
            // What is in the kernel's hands, of a connection, is outstanding no more: it was refused and returned.
            let expected = if policy == Policy::LatestOnly { u64::from(lost == 3) } else { lost };
            assert_eq!(aged(&house, consumer.lane), expected, "{policy} {kind:?} at {millis} ms");
        }
        assert_eq!(house.totals(consumer.lane).waiting.messages, 0);
        if let Some(conn) = consumer.conn {
            house.stage.thaw(conn);
        }
        let gap = if policy == Policy::LatestOnly { "gap 3-3 1 age" } else { "gap 1-3 3 age" };
        let told = house.told(consumer);
        let expected = if kind == Kind::Raw { &[][..] } else { &[gap][..] };
        assert_eq!(told, expected, "{policy} {kind:?}");
    }
}

#[test]
fn what_is_outstanding_has_no_age_and_what_returns_is_judged_then() {
    for (policy, kind) in LOSSY.into_iter().flat_map(|policy| [Kind::Client, Kind::Raw].map(|kind| (policy, kind))) {
        for returns in [false, true] {
            let mut house = house(policy);
            let consumer = house.frozen(kind, LaneOptions::default());
            let conn = consumer.conn.expect("a connection");
            house.put("a").expect("taken");
            let bytes = house.stage.hold(conn);
            house.stage.now = house.stage.now + AGE * 2;
            house.stage.hub.handle_timeout(house.stage.now);
            assert_eq!(aged(&house, consumer.lane), 0, "{policy} {kind:?}: it is outstanding");
            house.stage.answer_by(conn, &bytes, if returns { 0 } else { bytes.len() });
            house.stage.thaw(conn);
            house.stage.advance(Duration::from_millis(1));
            let (told, lost) = match (returns, kind) {
                (false, _) => (&["1"][..], 0),
                (true, Kind::Raw) => (&[][..], 1),
                (true, _) => (&["gap 1-1 1 age"][..], 1),
            };
            assert_eq!(
                (house.told(consumer), aged(&house, consumer.lane)),
                (told.iter().map(|t| (*t).into()).collect(), lost)
            );
        }
    }
}

#[test]
fn a_lane_is_not_drained_of_what_is_too_old_even_when_no_timer_was_called() {
    for (policy, kind) in LOSSY.into_iter().flat_map(|policy| KINDS.map(|kind| (policy, kind))) {
        let mut house = house(policy);
        let consumer = house.frozen(kind, LaneOptions::default());
        house.put("a").expect("taken");
        house.stage.pump();
        house.stage.now = house.stage.now + AGE;
        house.put("b").expect("taken");
        if let Some(conn) = consumer.conn {
            house.stage.thaw(conn);
        }
        let told = house.told(consumer);
        let expected: &[&str] = match (kind, policy) {
            // The first was superseded before it was too old.
            (Kind::Raw, _) | (_, Policy::LatestOnly) => &["2"],
            _ => &["gap 1-1 1 age", "2"],
        };
        assert_eq!(told, expected, "{policy} {kind:?}");
    }
}

#[test]
fn the_deadline_is_the_oldest_messages_and_goes_with_it() {
    let mut house = house(Policy::DropOldest);
    let consumer = house.frozen(Kind::Local, LaneOptions::default());
    let quick = house.consumer(Kind::Local);
    let began = house.stage.now;
    house.put("a").expect("taken");
    house.stage.pump();
    let deadline = house.stage.hub.poll_timeout().expect("a deadline");
    assert_eq!((deadline.at, deadline.cause), (began + AGE, Cause::Timer));
    assert_eq!(house.told(quick), ["1"], "what is taken in time is not lost");
    house.stage.advance(AGE);
    assert_eq!(house.told(consumer), ["gap 1-1 1 age"]);
    assert_eq!(house.told(quick), Vec::<String>::new());
    let next = house.stage.hub.poll_timeout();
    assert!(next.is_none_or(|next| next.cause == Cause::Timer && next.at > house.stage.now), "{next:?}");
}

#[test]
fn each_lane_has_its_own_age_within_the_topics() {
    let short = LaneOptions { age_max: Some(STEP), ..LaneOptions::default() };
    let mut house = house(Policy::DropOldest);
    let (young, old) = (house.frozen(Kind::Local, short), house.frozen(Kind::Local, LaneOptions::default()));
    house.put("").expect("taken");
    house.stage.advance(STEP);
    assert_eq!((house.lost(young.lane), house.lost(old.lane)), ("age 1".into(), "-".into()));
    assert_eq!(house.stage.hub.lane(young.lane).expect("a lane").age_max, Some(STEP));
    house.stage.advance(AGE - STEP);
    assert_eq!(house.lost(old.lane), "age 1");
}

#[test]
fn an_age_goes_with_policies_that_lose_single_messages() {
    let ask = |topic: TopicOptions, lane: LaneOptions| {
        let mut house = House::new(|options| *options = topic);
        let (hub, now) = (&mut house.stage.hub, house.stage.now);
        let lane = hub.subscribe_local(house.topic, lane, Start::Latest, now);
        lane.map(|lane| hub.lane(lane).expect("a lane").age_max)
    };
    let aged = TopicOptions { age_max: Some(AGE), ..TopicOptions::default() };
    let with = |policy, age_max| LaneOptions { policy: Some(policy), age_max, ..LaneOptions::default() };
    for policy in LOSSY {
        assert_eq!(ask(aged, with(policy, None)), Ok(Some(AGE)), "{policy}");
        assert_eq!(ask(aged, with(policy, Some(AGE))), Ok(Some(AGE)));
        let more = Some(AGE + Duration::from_nanos(1));
        assert_eq!(ask(aged, with(policy, more)), Err(SubscribeError::InvalidLimits));
        assert_eq!(ask(TopicOptions::default(), with(policy, more)), Ok(more), "the topic has none");
        let less = Some(Duration::from_micros(999));
        assert_eq!(ask(TopicOptions::default(), with(policy, less)), Err(SubscribeError::InvalidLimits));
    }
    assert_eq!(ask(aged, with(Policy::Disconnect, None)), Ok(None), "it loses nothing, it ends");
    assert_eq!(ask(aged, with(Policy::Disconnect, Some(AGE))), Err(SubscribeError::InvalidLimits));
    let block = TopicOptions { policy: Policy::Block, choices: Policies::NONE, ..TopicOptions::default() };
    assert_eq!(ask(block, with(Policy::Block, Some(AGE))), Err(SubscribeError::InvalidLimits));
}
