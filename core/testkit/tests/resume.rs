//! What comes of what waits in the lanes of sessions that lost their connection.

use std::time::Duration;

use forebay_core::{
    ConnId, Event, History, LossReason, Options, Policy, PublishError, SessionEnd, TopicId, TopicOptions,
};
use forebay_testkit::mini::{Place, Told};
use forebay_testkit::stage::{Stage, briefs, frame_len, json_of_len};

const S: Duration = Duration::from_secs(1);

struct House {
    stage: Stage,
    topic: TopicId,
    conn: ConnId,
    session: String,
    epoch: String,
}

impl House {
    /// A kept client with a lane on `t`.
    fn new(change: impl FnOnce(&mut TopicOptions)) -> Self {
        Self::with(|_| {}, change)
    }

    fn with(hub: impl FnOnce(&mut Options), change: impl FnOnce(&mut TopicOptions)) -> Self {
        let mut stage = Stage::new(hub);
        let topic = stage.topic("t", change);
        let conn = stage.join();
        stage.client(conn).keep(None);
        stage.client(conn).subscribe("t");
        stage.pump();
        let told = stage.told(conn);
        let [Told::Kept { session, .. }, Told::Subscribed { epoch, .. }] = &told[..] else { panic!("{told:?}") };
        let (session, epoch) = (session.clone(), epoch.clone());
        stage.take_events();
        Self { stage, topic, conn, session, epoch }
    }

    fn publish(&mut self, json: &str) -> Result<u64, PublishError> {
        self.stage.publish(self.topic, json).map(|published| published.position.seq)
    }

    fn publish_all(&mut self, messages: u64) {
        for _ in 0..messages {
            let seq = self.stage.hub.topic_pressure(self.topic).expect("a topic").head.seq + 1;
            self.publish(&seq.to_string()).expect("taken");
        }
    }

    /// The client comes back; what it is told.
    fn resume(&mut self) -> Vec<String> {
        self.resume_at(&[])
    }

    fn resume_at(&mut self, places: &[Place<'_>]) -> Vec<String> {
        self.conn = self.stage.join();
        self.stage.client(self.conn).resume(&self.session, places);
        self.stage.pump();
        briefs(&mut self.stage, self.conn)
    }

    fn resume_behind(&mut self, seq: u64) -> Vec<String> {
        let epoch = self.epoch.clone();
        self.resume_at(&[Place { topic: "t", position: Some((&epoch, seq)), credit: None }])
    }

    fn hang_up(&mut self) {
        self.stage.hang_up(self.conn);
    }

    /// Why the session ended, if it did.
    fn ended(&mut self) -> Option<SessionEnd> {
        self.stage.take_events().into_iter().find_map(|event| match event {
            Event::SessionEnded { reason, .. } => Some(reason),
            _ => None,
        })
    }

    fn lost(&self, reason: LossReason) -> u64 {
        self.stage.hub.topic_pressure(self.topic).expect("a topic").totals.lost_by(reason).messages
    }
}

fn with_policy(policy: Policy, messages_max: u32) -> impl FnOnce(&mut TopicOptions) {
    move |options| {
        options.policy = policy;
        options.lane.messages_max = messages_max;
        options.keys_max = options.keys_max.min(messages_max);
    }
}

/// What the client gets that missed messages 2 to 6, of five that fit.
#[test]
fn lanes_go_on_without_a_connection() {
    let five: Vec<String> = (2..=6).map(|seq| format!("message t {seq} {seq}")).collect();
    let latest = vec!["message t 6 6".to_string()];
    for (policy, expected) in [
        (Policy::DropOldest, &five),
        (Policy::DropNewest, &five),
        (Policy::Disconnect, &five),
        (Policy::Block, &five),
        (Policy::LatestOnly, &latest),
        (Policy::LatestPerKey, &latest),
    ] {
        let mut house = House::new(with_policy(policy, 5));
        house.publish_all(1);
        house.hang_up();
        house.publish_all(5);
        let told = house.resume();
        assert_eq!(told[0], "resumed 60000 t@1", "{policy}");
        assert_eq!(told[1..], expected[..], "{policy}");
        house.publish_all(1);
        assert_eq!(briefs(&mut house.stage, house.conn), ["message t 7 7"], "{policy}");
    }
}

/// One message more than fits.
#[test]
fn lanes_are_full_without_a_connection() {
    for (policy, expected) in [
        (Policy::DropOldest, Some(["gap t 1-1 1 oldest", "message t 2 2", "message t 3 3"])),
        (Policy::DropNewest, Some(["message t 1 1", "message t 2 2", "gap t 3-3 1 newest"])),
        (Policy::Disconnect, None),
        (Policy::Block, None),
    ] {
        let mut house = House::new(with_policy(policy, 2));
        let other = house.stage.join();
        house.stage.subscribe(other, "t");
        house.hang_up();
        house.publish_all(2);
        assert_eq!(house.ended(), None, "{policy}");
        assert_eq!(house.publish("3"), Ok(3), "{policy}: nobody waits for it");
        assert_eq!(briefs(&mut house.stage, other).len(), 3, "{policy}");
        match expected {
            Some(expected) => {
                let told = house.resume();
                assert_eq!(told[0], "resumed 60000 t@0", "{policy}: what is to be told was not sent");
                assert_eq!(told[1..], expected, "{policy}");
            }
            None => {
                assert_eq!(house.ended(), Some(SessionEnd::Overflowed), "{policy}");
                assert_eq!((house.lost(LossReason::Closed), house.stage.hub.stats().detached), (2, 0), "{policy}");
                assert_eq!(house.resume(), ["error unknown-session"], "{policy}");
            }
        }
    }
}

#[test]
fn a_full_lane_ends_all_lanes_of_the_session() {
    let mut house = House::new(with_policy(Policy::Block, 1));
    let other = house.stage.topic("other", |_| {});
    house.stage.subscribe(house.conn, "other");
    house.hang_up();
    house.stage.publish(other, "1").expect("taken");
    house.publish_all(2);
    assert_eq!(house.ended(), Some(SessionEnd::Overflowed));
    let totals = house.stage.hub.topic_pressure(other).expect("a topic").totals;
    assert_eq!((totals.lost_by(LossReason::Closed).messages, totals.waiting.messages), (1, 0));
    assert_eq!(house.stage.hub.stats().lanes_now, 0);
}

#[test]
fn a_lane_that_refused_ends_with_the_connection() {
    for (drained, lives_on) in [(0, false), (1, false), (2, true), (4, true)] {
        let mut house = House::new(with_policy(Policy::Block, 4));
        house.stage.freeze(house.conn);
        house.publish_all(4);
        assert_eq!(house.publish("5"), Err(PublishError::Full));
        let conn = house.conn;
        for seq in 1..=drained {
            house.stage.let_through(conn, frame_len("t", seq, "1"));
        }
        house.stage.take_events();
        house.hang_up();
        // The low mark is two of four; at that it has drained.
        let expected = if lives_on { None } else { Some(SessionEnd::Overflowed) };
        assert_eq!(house.ended(), expected, "{drained} drained");
        assert_eq!(house.publish("5"), Ok(5), "{drained} drained");
    }
}

#[test]
fn nobody_waits_for_who_is_closing() {
    let mut house = House::new(with_policy(Policy::Block, 1));
    let conn = house.conn;
    house.stage.freeze(conn);
    house.publish_all(1);
    house.stage.client(conn).close(Some(1001));
    house.stage.pump();
    assert!(house.stage.ended(conn).is_none(), "the Close frame waits");
    assert_eq!(house.publish("2"), Ok(2));
    assert_eq!(house.ended(), Some(SessionEnd::Overflowed));
    // One that refused before is over as soon as its connection begins to close.
    let mut house = House::new(with_policy(Policy::Block, 1));
    let conn = house.conn;
    house.stage.freeze(conn);
    house.publish_all(1);
    assert_eq!(house.publish("2"), Err(PublishError::Full));
    house.stage.client(conn).close(Some(1001));
    house.stage.pump();
    let events = house.stage.take_events();
    assert!(events.contains(&Event::Drained(house.topic)), "{events:?}");
    assert_eq!(house.publish("2"), Ok(2));
    // While one that had room goes on.
    let mut house = House::new(with_policy(Policy::Block, 2));
    let conn = house.conn;
    house.stage.freeze(conn);
    house.publish_all(1);
    house.stage.client(conn).close(Some(1001));
    house.stage.pump();
    house.publish_all(1);
    assert_eq!(house.resume(), ["resumed 60000 t@0", "message t 1 1", "message t 2 2"]);
    assert_eq!(house.stage.hub.stats().detached, 0);
}

/// The connection is lost at each byte of three messages.
#[test]
fn nothing_is_lost_by_the_end_of_the_connection() {
    let len = frame_len("t", 1, "1");
    for policy in Policy::ALL.iter().copied() {
        for taken in 0..=3 * len {
            for answered in [true, false] {
                let mut house = House::new(with_policy(policy, 3));
                let conn = house.conn;
                if answered {
                    house.stage.let_through(conn, taken);
                    house.publish_all(3);
                } else {
                    house.stage.let_through(conn, taken);
                    house.publish_all(1);
                    house
                        .stage
                        .hub
                        .publish(house.topic, forebay_core::Payload::Text("2"), house.stage.now)
                        .expect("room");
                    house
                        .stage
                        .hub
                        .publish(house.topic, forebay_core::Payload::Text("3"), house.stage.now)
                        .expect("room");
                    if house.stage.hub.poll_transmit().is_none() {
                        house.stage.hub.handle_writable(conn, house.stage.now);
                        assert!(house.stage.hub.poll_transmit().is_some());
                    }
                }
                house.stage.told(conn);
                house.hang_up();
                assert_eq!(house.ended(), None, "{policy}, {taken} bytes");
                let lost: u64 =
                    [LossReason::Oldest, LossReason::Newest, LossReason::Closed].map(|r| house.lost(r)).iter().sum();
                assert_eq!(lost, 0, "{policy}, {taken} bytes, {answered}");
                let told = house.resume();
                let is_keyed = matches!(policy, Policy::LatestOnly | Policy::LatestPerKey);
                let whole = if answered { taken / len } else { (taken / len).min(1) } as u64;
                if !is_keyed {
                    assert_eq!(told[0], format!("resumed 60000 t@{whole}"), "{policy}, {taken} bytes, {answered}");
                    let rest: Vec<String> = (whole + 1..=3).map(|seq| format!("message t {seq} {seq}")).collect();
                    assert_eq!(told[1..], rest[..], "{policy}, {taken} bytes, {answered}");
                } else if taken < 3 * len {
                    assert_eq!(told.last().map(String::as_str), Some("message t 3 3"), "{policy}, {taken} bytes");
                }
            }
        }
    }
}

/// A notice that was not taken whole is told again.
#[test]
fn a_notice_is_told_again() {
    let notice = r#"{"op":"gap","topic":"t","from":1,"to":1,"missed":1,"reasons":["oldest"]}"#.len() + 2;
    for taken in 0..notice {
        let mut house = House::new(with_policy(Policy::DropOldest, 1));
        let conn = house.conn;
        house.stage.freeze(conn);
        house.publish_all(2);
        assert_eq!(house.lost(LossReason::Oldest), 1);
        house.stage.let_through(conn, taken);
        house.hang_up();
        assert_eq!(house.resume(), ["resumed 60000 t@0", "gap t 1-1 1 oldest", "message t 2 2"], "{taken} bytes");
    }
}

/// What is left of a lane that has ended is nobody's to lose.
#[test]
fn a_message_begun_before_keep_is_not_lost_silently() {
    let policies = [Policy::Block, Policy::Disconnect, Policy::DropNewest, Policy::DropOldest];
    for (policy, has_ended) in policies.into_iter().flat_map(|policy| [(policy, false), (policy, true)]) {
        let mut stage = Stage::new(|_| {});
        let topic = stage.topic("t", with_policy(policy, 5));
        let conn = stage.join_raw();
        stage
            .hub
            .subscribe(conn, topic, Default::default(), forebay_core::Start::Latest, stage.now)
            .expect("subscribed");
        stage.let_through(conn, 2);
        stage.publish(topic, "1").expect("taken");
        assert!(!has_ended || stage.hub.unsubscribe(conn, topic, stage.now));
        stage.hub.keep_session(conn, None).expect("kept");
        stage.hang_up(conn);
        let may_lose = has_ended || policy == Policy::DropOldest;
        assert_eq!(stage.hub.stats().detached, u32::from(may_lose), "{policy}: it ends rather than lose it");
        assert_eq!(stage.hub.topic_pressure(topic).expect("a topic").totals.waiting.messages, 0);
    }
}

#[test]
fn where_the_client_says_it_stands() {
    // Four wait of six: 3 to 6.
    let waiting = |policy| {
        let mut house = House::new(with_policy(policy, 4));
        house.publish_all(2);
        house.hang_up();
        house.publish_all(4);
        house
    };
    let from = |seq: u64| (seq..=6).map(|seq| format!("message t {seq} {seq}")).collect::<Vec<_>>();
    for policy in [Policy::DropOldest, Policy::DropNewest, Policy::Disconnect, Policy::Block] {
        for (seq, gap, first) in [
            (6, None, 7),
            (5, None, 6),
            (3, None, 4),
            (2, None, 3),
            (1, Some("gap t 2-2 1 history"), 3),
            (0, Some("gap t 1-2 2 history"), 3),
            // Not there yet: as if it had not been said.
            (7, None, 3),
        ] {
            let mut house = waiting(policy);
            let told = house.resume_behind(seq);
            let seq = if seq == 7 { 2 } else { seq };
            assert_eq!(told[0], format!("resumed 60000 t@{seq}"), "{policy}");
            let expected: Vec<String> = gap.into_iter().map(Into::into).chain(from(first)).collect();
            assert_eq!(told[1..], expected[..], "{policy} behind {seq}");
            house.publish_all(1);
            assert_eq!(briefs(&mut house.stage, house.conn), ["message t 7 7"]);
        }
    }
    let mut house = waiting(Policy::DropOldest);
    let told = house.resume_at(&[Place { topic: "t", position: Some(("00000000000000ff", 4)), credit: None }]);
    assert_eq!(told[0], "resumed 60000 t@0");
    assert_eq!(told[1..], [vec!["gap t 0-2 2 reset".to_string()], from(3)].concat(), "another numbering");
    let mut house = waiting(Policy::DropOldest);
    let told = house.resume_at(&[Place { topic: "none", ..Place::default() }, Place { topic: "", ..Place::default() }]);
    assert_eq!(told[1..], from(3), "it has no lanes there");
}

#[test]
fn the_history_helps_where_the_lane_has_let_go() {
    let mut house = House::new(|options| {
        options.lane.messages_max = 3;
        options.history = Some(History::default());
    });
    house.publish_all(4);
    house.hang_up();
    house.publish_all(1);
    assert_eq!(
        house.resume_behind(2),
        ["resumed 60000 t@2", "message t 3 3", "message t 4 4", "message t 5 5"],
        "3 and 4 were lost on the way"
    );
    house.hang_up();
    let told = house.resume_behind(0);
    assert_eq!(told[1..], ["gap t 1-2 2 history", "message t 3 3", "message t 4 4", "message t 5 5"], "three fit");
    assert_eq!(house.lost(LossReason::Unsubscribed), 1, "5, which waited, and came by the other lane");
}

#[test]
fn limits_policy_and_age_are_kept() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.message_bytes_max = 1_000);
    let conn = stage.join();
    stage.client(conn).keep(None);
    let wish = forebay_testkit::mini::Wish {
        policy: Some("drop-newest"),
        messages_max: Some(3),
        bytes_max: Some(70_000),
        age_max_ms: Some(7),
        ..Default::default()
    };
    stage.client(conn).subscribe_as("t", wish);
    stage.pump();
    let told = stage.told(conn);
    let [Told::Kept { session, .. }, Told::Subscribed { epoch, .. }] = &told[..] else { panic!("{told:?}") };
    let before = stage.hub.lane(stage.hub.find_lane(conn, topic).expect("a lane")).expect("a lane");
    stage.hang_up(conn);
    stage.publish(topic, "1").expect("taken");
    let conn = stage.join();
    stage.client(conn).resume(session, &[Place { topic: "t", position: Some((epoch, 0)), credit: None }]);
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["resumed 60000 t@0", "message t 1 1"]);
    let after = stage.hub.lane(stage.hub.find_lane(conn, topic).expect("a lane")).expect("a lane");
    assert_eq!(
        (before.policy, before.messages_max, before.bytes_max, before.age_max),
        (after.policy, after.messages_max, after.bytes_max, after.age_max)
    );
    assert_eq!(after.totals.entered.messages, 1, "it is another lane");
    assert_eq!(stage.hub.topic_pressure(topic).expect("a topic").totals.lost_by(LossReason::Unsubscribed).messages, 1);
}

#[test]
fn lanes_of_the_latest_messages_behind_a_position() {
    let mut house = House::new(with_policy(Policy::LatestOnly, 4));
    house.publish_all(2);
    house.hang_up();
    assert_eq!(house.resume_behind(1), ["resumed 60000 t@1", "message t 2 2"], "it was lost on the way");
    house.hang_up();
    house.publish_all(2);
    assert_eq!(house.resume_behind(2), ["resumed 60000 t@2", "message t 4 4"]);
    house.hang_up();
    assert_eq!(house.resume_behind(4), ["resumed 60000 t@4"]);
}

#[test]
fn what_is_too_old_is_lost_without_a_connection_too() {
    let mut house = House::new(|options| options.age_max = Some(S));
    house.hang_up();
    house.publish_all(1);
    house.stage.advance(S);
    assert_eq!(house.lost(LossReason::Age), 1);
    house.publish_all(1);
    assert_eq!(house.resume(), ["resumed 60000 t@0", "gap t 1-1 1 age", "message t 2 2"]);
}

/// At the log's bound a detached session ends before others lose anything.
#[test]
fn the_logs_bound() {
    for policy in [Policy::DropOldest, Policy::Block, Policy::Disconnect, Policy::DropNewest] {
        let mut house = House::new(|options| {
            options.policy = policy;
            options.choices = forebay_core::Policies::LOSSY;
            options.message_bytes_max = 1_000;
            options.log_bytes_max = 64 << 10;
        });
        let other = house.stage.join();
        let wish = forebay_testkit::mini::Wish { policy: Some("drop-oldest"), ..Default::default() };
        house.stage.client(other).subscribe_as("t", wish);
        house.stage.pump();
        house.hang_up();
        let mut published = 0;
        while house.stage.hub.stats().detached == 1 {
            published += 1;
            assert!(published < 1_000, "{policy}: the bound is never reached");
            house.publish(&json_of_len(1_000)).expect("taken");
        }
        assert!(published > 32, "{policy}: {published} fit");
        assert_eq!(house.ended(), Some(SessionEnd::Overloaded), "{policy}");
        assert_eq!(
            house.lost(LossReason::LogBound),
            published - 1,
            "{policy}: all that waited in it, and nothing else"
        );
        assert_eq!(house.stage.told(other).len() as u64, published + 1, "{policy}");
        assert_eq!(house.resume(), ["error unknown-session"]);
    }
}

#[test]
fn the_hubs_budget() {
    for policy in [Policy::DropOldest, Policy::Block] {
        let mut house = House::with(
            |options| {
                options.resident_bytes_max = 256 << 10;
                options.inbound_bytes_max = 64 << 10;
                options.message_bytes_max = 64 << 10;
                options.topic_defaults.message_bytes_max = 1_000;
                options.topic_defaults.log_bytes_max = 128 << 10;
            },
            |options| {
                options.policy = policy;
                options.log_bytes_max = 250 << 10;
                options.lane.messages_max = 10_000;
                options.message_bytes_max = 10_000;
            },
        );
        house.hang_up();
        let mut published = 0;
        while house.stage.hub.stats().detached == 1 {
            published += 1;
            assert!(published < 1_000, "{policy}: the budget is never used up");
            house.publish(&json_of_len(10_000)).expect("taken");
        }
        assert_eq!(house.ended(), Some(SessionEnd::Overloaded), "{policy}");
        let lost = house.lost(LossReason::Overload) + house.lost(LossReason::LogBound);
        assert_eq!(lost, published - 1, "{policy}");
    }
}
