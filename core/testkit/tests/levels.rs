//! Levels of lanes and topics: when they rise and fall, what is told and what is counted.

use std::time::Duration;

use forebay_core::{
    Cause, ConnId, Event, Flow, LaneId, LaneOptions, Level, Options, Payload, Policy, PublishError, Scope, Start,
    TopicId, TopicOptions, Watermarks,
};
use forebay_testkit::stage::{Stage, frame_len, json_of_len};

use Level::{Critical, High, Nominal};

const MS: Duration = Duration::from_millis(1);
const DWELL: Duration = Duration::from_millis(100);

/// A topic `t` whose lanes hold ten messages, or a hundred bytes.
struct House {
    stage: Stage,
    topic: TopicId,
}

impl House {
    fn new(policy: Policy, change: impl FnOnce(&mut Options)) -> Self {
        let mut stage = Stage::new(change);
        let topic = stage.topic("t", |options| limit(options, policy));
        Self { stage, topic }
    }

    fn local(&mut self, policy: Policy) -> LaneId {
        let options = LaneOptions::with_policy(policy);
        self.stage.hub.subscribe_local(self.topic, options, Start::Latest, self.stage.now).expect("a lane")
    }

    fn try_put(&mut self, len: usize) -> Result<(), PublishError> {
        let text = json_of_len(len);
        let published = self.stage.hub.publish(self.topic, Payload::Text(&text), self.stage.now);
        self.stage.hub.check_invariants();
        published.map(drop)
    }

    fn put(&mut self, messages: usize) {
        for _ in 0..messages {
            self.try_put(2).expect("taken");
        }
    }

    fn take(&mut self, lane: LaneId, messages: usize) {
        for _ in 0..messages {
            while let Some(forebay_core::Entry::Gap(_)) = self.stage.hub.take(lane, self.stage.now) {}
            self.stage.hub.check_invariants();
        }
    }

    fn level(&self, lane: LaneId) -> Level {
        self.stage.hub.lane(lane).expect("a lane").load.level
    }

    fn topic_level(&self) -> Level {
        self.stage.hub.topic_pressure(self.topic).expect("a topic").level
    }

    /// The levels that are told now, and what sources are told.
    fn told(&mut self) -> Vec<Event> {
        self.stage.pump();
        let events = self.stage.take_events();
        events.into_iter().filter(|event| matches!(event, Event::Pressure { .. } | Event::Upstream { .. })).collect()
    }

    fn counted(&self) -> [u64; 3] {
        let lanes = self.stage.hub.stats().levels.lanes;
        [lanes.nominal, lanes.high, lanes.critical]
    }
}

fn limit(options: &mut TopicOptions, policy: Policy) {
    options.policy = policy;
    (options.lane.messages_max, options.lane.bytes_max) = (10, 100);
    (options.keys_max, options.keys_bytes_max, options.message_bytes_max) = (10, 100, 100);
}

fn of_lane(lane: LaneId, level: Level) -> Event {
    Event::Pressure { scope: Scope::Lane(lane), level }
}

fn of_topic(topic: TopicId, level: Level) -> Event {
    Event::Pressure { scope: Scope::Topic(topic), level }
}

fn upstream(topic: TopicId, flow: Flow) -> Event {
    Event::Upstream { topic, flow }
}

#[test]
fn a_level_rises_at_its_mark_and_when_the_policy_acts() {
    let lossy = [Nominal, Nominal, High, High, High, Critical];
    for (policy, expected) in [
        (Policy::DropOldest, lossy),
        (Policy::DropNewest, lossy),
        (Policy::Block, lossy),
        (Policy::LatestOnly, [Nominal; 6]),
    ] {
        for steps in
            [[(6, 2), (1, 2), (1, 2), (1, 2), (1, 2), (1, 2)], [(1, 70), (1, 4), (1, 2), (1, 20), (1, 4), (1, 2)]]
        {
            let mut house = House::new(policy, |_| {});
            let lane = house.local(policy);
            for ((times, len), level) in steps.into_iter().zip(expected) {
                for _ in 0..times {
                    let is_refused = house.try_put(len).is_err();
                    assert_eq!(is_refused, policy == Policy::Block && level == Critical);
                }
                assert_eq!(house.level(lane), level, "{policy} {steps:?}");
            }
        }
    }
}

#[test]
fn marks_are_where_they_are_set_to_be() {
    for (high_percent, first) in [(1, 1), (10, 1), (11, 2), (50, 5), (75, 8), (80, 8), (81, 9), (91, 10), (100, 10)] {
        for policy in [Policy::DropOldest, Policy::Block] {
            let marks = Watermarks { high_percent: high_percent.max(2), low_percent: 1, dwell: DWELL };
            let mut house = House::new(policy, |options| options.watermarks = marks);
            let lane = house.local(policy);
            house.put(first - 1);
            assert_eq!(house.level(lane), Nominal, "{first} less one is below {high_percent} %");
            house.put(1);
            assert_eq!(house.level(lane), High, "{first} is {high_percent} %");
        }
    }
}

#[test]
fn a_level_falls_at_its_mark_but_not_before_the_dwell() {
    // (taken of ten that were one too many, level at once, after the dwell, after another)
    for (taken, then) in [
        (2, [Critical, Critical, Critical]),
        (3, [Critical, High, High]),
        (4, [Critical, High, High]),
        (5, [Critical, Nominal, Nominal]),
    ] {
        let mut house = House::new(Policy::DropOldest, |_| {});
        let lane = house.local(Policy::DropOldest);
        house.put(11);
        house.take(lane, taken);
        assert_eq!(house.stage.hub.lane(lane).unwrap().load.fill as usize, (10 - taken) * 100);
        assert_eq!(house.level(lane), then[0]);
        house.stage.advance(DWELL - MS);
        assert_eq!(house.level(lane), Critical, "held, {taken} taken");
        house.stage.advance(MS);
        assert_eq!(house.level(lane), then[1], "{taken} taken");
        house.stage.advance(DWELL);
        assert_eq!(house.level(lane), then[2], "{taken} taken");
    }
}

#[test]
fn a_limit_that_is_reached_again_begins_the_dwell_anew_and_the_hub_says_when_it_ends() {
    let mut house = House::new(Policy::DropOldest, |_| {});
    let lane = house.local(Policy::DropOldest);
    house.put(11);
    house.stage.advance(60 * MS);
    house.put(1);
    house.take(lane, 10);
    house.stage.pump();
    let deadline = house.stage.hub.poll_timeout().expect("a level is to fall");
    assert_eq!((deadline.at, deadline.cause), (house.stage.now + DWELL, Cause::Timer));
    house.stage.advance(99 * MS);
    assert_eq!(house.level(lane), Critical);
    house.stage.advance(MS);
    assert_eq!(house.level(lane), Nominal);
    assert_eq!(house.stage.hub.poll_timeout(), None);
    // After the dwell a level falls as soon as the consumer has taken enough.
    house.put(8);
    house.stage.advance(DWELL);
    assert_eq!(house.level(lane), High, "nothing was taken");
    house.take(lane, 2);
    assert_eq!(house.level(lane), High);
    house.take(lane, 1);
    assert_eq!((house.level(lane), house.stage.hub.poll_timeout().map(|d| d.cause)), (Nominal, Some(Cause::Output)));
}

#[test]
fn what_has_changed_is_told_once_and_every_change_is_counted() {
    let mut house = House::new(Policy::DropOldest, |_| {});
    let lane = house.local(Policy::DropOldest);
    house.put(7);
    assert_eq!((house.told(), house.counted()), (vec![], [0, 0, 0]));
    house.put(1);
    assert_eq!((house.told(), house.counted()), (vec![of_lane(lane, High)], [0, 1, 0]));
    house.put(2);
    assert_eq!(house.told(), []);
    house.put(3);
    assert_eq!((house.told(), house.counted()), (vec![of_lane(lane, Critical)], [0, 1, 1]));
    house.take(lane, 10);
    house.stage.advance(DWELL);
    assert_eq!((house.told(), house.counted()), (vec![of_lane(lane, Nominal)], [1, 1, 1]));
    // Between two polls: up, and down again.
    house.put(11);
    house.take(lane, 10);
    house.stage.now = house.stage.now + DWELL;
    house.stage.hub.handle_timeout(house.stage.now);
    assert_eq!((house.told(), house.counted()), (vec![], [2, 2, 2]));
    // Up, and gone.
    house.put(11);
    house.stage.hub.unsubscribe_local(lane, house.stage.now);
    assert_eq!((house.told(), house.counted()), (vec![], [2, 3, 3]));
    assert_eq!(house.stage.hub.poll_timeout(), None);
}

#[test]
fn sources_are_told_to_pause_for_lanes_that_are_waited_for_and_for_no_others() {
    let mut house = House::new(Policy::Block, |_| {});
    let (slow, lossy) = (house.local(Policy::Block), house.local(Policy::DropOldest));
    let topic = house.topic;
    house.put(8);
    house.take(slow, 8);
    assert_eq!((house.level(slow), house.topic_level()), (High, High), "held");
    let told = house.told();
    assert_eq!(told.len(), 4, "{told:?}");
    for event in [of_lane(slow, High), of_lane(lossy, High), of_topic(topic, High), upstream(topic, Flow::Pause)] {
        assert!(told.contains(&event), "{told:?}");
    }
    house.stage.advance(DWELL);
    assert_eq!(house.told(), [of_lane(slow, Nominal), of_topic(topic, Nominal), upstream(topic, Flow::Resume)]);
    house.put(7);
    assert_eq!((house.level(lossy), house.topic_level()), (Critical, Nominal), "a lossy lane brakes nobody");
    let second = house.local(Policy::Block);
    house.put(3);
    assert_eq!(house.try_put(2), Err(PublishError::Full));
    assert_eq!((house.level(slow), house.level(second), house.topic_level()), (Critical, Nominal, Critical));
    let told = house.told();
    assert!(told.ends_with(&[of_topic(topic, Critical), upstream(topic, Flow::Pause)]), "{told:?}");
    // It goes, and with it the reason.
    house.stage.hub.unsubscribe_local(slow, house.stage.now);
    assert_eq!(house.told(), [of_topic(topic, Nominal), upstream(topic, Flow::Resume)]);
    let topics = house.stage.hub.stats().levels.topics;
    assert_eq!((topics.nominal, topics.high, topics.critical), (2, 2, 1));
}

#[test]
fn an_undeclared_topic_stays_until_its_sources_were_told_to_go_on() {
    let mut stage = Stage::new(|options| limit(&mut options.topic_defaults, Policy::Block));
    let topic = stage.hub.open_topic("u").expect("room");
    let lane = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).expect("a lane");
    for _ in 0..9 {
        stage.publish(topic, "1").expect("taken");
    }
    assert!(stage.take_events().contains(&upstream(topic, Flow::Pause)));
    stage.hub.unsubscribe_local(lane, stage.now);
    assert!(stage.hub.poll_transmit().is_none());
    assert_eq!(stage.hub.find_topic("u"), Some(topic));
    stage.pump();
    assert_eq!(stage.take_events(), [of_topic(topic, Nominal), upstream(topic, Flow::Resume)]);
    assert_eq!(stage.hub.find_topic("u"), None, "forgotten");
}

#[test]
fn drained_comes_at_the_low_mark_whatever_the_dwell() {
    for (low_percent, taken) in [(20, 8), (29, 8), (30, 7), (50, 5), (74, 3)] {
        let marks = Watermarks { low_percent, high_percent: 75, dwell: Duration::from_secs(9) };
        let mut house = House::new(Policy::Block, |options| options.watermarks = marks);
        let lane = house.local(Policy::Block);
        house.put(10);
        assert_eq!(house.try_put(2), Err(PublishError::Full));
        house.told();
        house.take(lane, taken - 1);
        house.stage.pump();
        assert!(!house.stage.take_events().contains(&Event::Drained(house.topic)), "{low_percent} %");
        house.take(lane, 1);
        house.stage.pump();
        assert!(house.stage.take_events().contains(&Event::Drained(house.topic)), "{low_percent} %");
        assert_eq!(house.level(lane), Critical);
    }
}

/// A client with a lane of this policy whose kernel takes nothing, in a house.
fn client(house: &mut House) -> (ConnId, LaneId) {
    let conn = house.stage.join();
    house.stage.subscribe(conn, "t");
    house.stage.freeze(conn);
    (conn, house.stage.hub.find_lane(conn, house.topic).expect("a lane"))
}

#[test]
fn what_is_outstanding_counts_where_it_counts_towards_the_limits() {
    for (policy, while_held) in [(Policy::DropOldest, Nominal), (Policy::DropNewest, High), (Policy::Block, High)] {
        let mut house = House::new(policy, |options| options.watermarks.dwell = Duration::ZERO);
        let (conn, lane) = client(&mut house);
        house.put(9);
        assert_eq!(house.level(lane), High);
        house.stage.pump();
        assert_eq!(house.level(lane), High, "{policy}: nothing was taken, all returned");
        let bytes = house.stage.hold(conn);
        assert_eq!(house.level(lane), while_held, "{policy}");
        house.put(1);
        house.stage.answer_by(conn, &bytes, 0);
        assert_eq!(house.level(lane), High, "{policy}: ten");
        house.stage.let_through(conn, (1..=5).map(|seq| frame_len("t", seq, &json_of_len(2))).sum());
        assert_eq!(house.level(lane), Nominal, "{policy}: five of ten");
    }
}

#[test]
fn what_returns_without_room_makes_its_lane_critical() {
    let mut house = House::new(Policy::DropOldest, |_| {});
    let (conn, lane) = client(&mut house);
    house.put(5);
    house.stage.pump();
    let bytes = house.stage.hold(conn);
    house.put(6);
    assert_eq!(house.level(lane), Nominal, "what is outstanding does not count");
    house.stage.answer_by(conn, &bytes, 0);
    assert_eq!(house.level(lane), Critical, "eleven, of which one was lost");
    assert_eq!(house.stage.hub.lane(lane).unwrap().totals.lost_total().messages, 1);
}

#[test]
fn what_becomes_too_old_makes_a_level_fall() {
    let mut stage = Stage::new(|options| options.watermarks.dwell = MS);
    let topic = stage.topic("t", |options| {
        limit(options, Policy::DropOldest);
        options.age_max = Some(10 * MS);
    });
    let lane = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).expect("a lane");
    let level = |stage: &Stage| stage.hub.lane(lane).unwrap().load.level;
    for _ in 0..8 {
        stage.publish(topic, "1").expect("taken");
    }
    stage.advance(9 * MS);
    assert_eq!(level(&stage), High);
    stage.advance(MS);
    assert_eq!(level(&stage), Nominal);
}
