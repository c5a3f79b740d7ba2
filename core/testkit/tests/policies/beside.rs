//! Several policies on one topic: each lane is judged by its own.

use forebay_core::{DisconnectScope, LaneOptions, Policies, Policy, PublishError};

use crate::house::{Consumer, House, Kind};

/// A `Block` topic, and a lane of each policy in the order of [`Policy::ALL`].
fn house(kind: Kind) -> (House, Vec<Consumer>) {
    let mut house = House::new(|options| {
        options.policy = Policy::Block;
        options.choices = Policies::LOSSY;
        options.lane.messages_max = 3;
        options.keys_max = 3;
        options.disconnect.scope = DisconnectScope::Topic;
    });
    let consumers = Policy::ALL.iter().map(|policy| house.frozen(kind, LaneOptions::with_policy(*policy))).collect();
    (house, consumers)
}

#[test]
fn a_publish_that_a_block_lane_refuses_changes_no_lane() {
    for kind in [Kind::Client, Kind::Raw, Kind::Local] {
        let (mut house, consumers) = house(kind);
        house.put_all("abc");
        let look = |house: &House| -> Vec<_> {
            let lanes = consumers.iter().map(|one| house.stage.hub.lane(one.lane).expect("a lane").totals);
            lanes.chain([house.stage.hub.stats().lanes]).collect()
        };
        let before = look(&house);
        for key in ["d", "a", "", "c"] {
            assert_eq!(house.put(key), Err(PublishError::Full));
            house.stage.pump();
            assert_eq!(look(&house), before, "{kind:?}");
        }
        // What was refused is not the latest of anything.
        house.stage.seats.keys().copied().collect::<Vec<_>>().into_iter().for_each(|conn| house.stage.thaw(conn));
        for (consumer, policy) in consumers.into_iter().zip(Policy::ALL) {
            let expected: &[&str] = if *policy == Policy::LatestOnly { &["3"] } else { &["1", "2", "3"] };
            assert_eq!(house.told(consumer), expected, "{kind:?}, {policy}");
        }
    }
}

#[test]
fn each_lane_is_judged_by_its_own() {
    for kind in [Kind::Client, Kind::Raw, Kind::Local] {
        let (mut house, consumers) = house(kind);
        house.put_all("abc");
        // The `Block` lane gives way, the others stay as they are.
        let block = consumers[5];
        if let Some(conn) = block.conn {
            house.stage.thaw(conn);
        }
        assert_eq!(house.told(block), ["1", "2", "3"]);
        assert_eq!(house.put("d").map(|published| published.matched), Ok(5), "all but the one that ends");
        house.stage.pump();
        assert_eq!(house.put("b").map(|published| published.matched), Ok(5));
        house.stage.pump();
        for (consumer, policy) in consumers.into_iter().zip(Policy::ALL) {
            if let Some(conn) = consumer.conn {
                house.stage.thaw(conn);
            }
            let expected: &[&str] = match policy {
                Policy::DropOldest => &["gap 1-2 2 oldest", "3", "4", "5"],
                Policy::DropNewest => &["1", "2", "3", "gap 4-5 2 newest"],
                Policy::LatestPerKey => &["gap 1-1 1 oldest", "3", "4", "5"],
                Policy::LatestOnly => &["5"],
                Policy::Disconnect => &["ended overflow"],
                _ => &["4", "5"],
            };
            let expected: Vec<&str> =
                expected.iter().copied().filter(|told| kind != Kind::Raw || !told.starts_with("gap")).collect();
            assert_eq!(house.told(consumer), expected, "{kind:?}, {policy}");
        }
        let totals = house.stage.hub.topic_pressure(house.topic).expect("a topic").totals;
        assert_eq!((totals.entered.messages, totals.waiting.messages), (6 * 3 + 5 * 2, 0));
        assert_eq!(crate::house::lost_in(&totals), "superseded 5, oldest 3, newest 2, closed 3");
    }
}

#[test]
fn lowered_limits_are_judged_one_by_one() {
    let mut house = House::new(|options| {
        options.lane.messages_max = 5;
        options.message_bytes_max = 20;
    });
    let lanes: Vec<(Consumer, u64)> =
        [(None, None, 5), (Some(2), None, 2), (None, Some(40), 4), (Some(3), Some(20), 2)]
            .into_iter()
            .map(|(messages_max, bytes_max, holds)| {
                let lane = LaneOptions { policy: None, messages_max, bytes_max, ..LaneOptions::default() };
                (house.frozen(Kind::Client, lane), holds)
            })
            .collect();
    house.put_all("abcdefgh");
    for (consumer, holds) in lanes {
        house.stage.thaw(consumer.conn.expect("a client"));
        let lost = 8 - holds;
        let mut expected = vec![format!("gap 1-{lost} {lost} oldest")];
        expected.extend((lost + 1..=8).map(|seq| seq.to_string()));
        assert_eq!(house.told(consumer), expected);
    }
}
