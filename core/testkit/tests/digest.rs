//! The same inputs, the same bytes, events and deadlines; and however it is polled, the same deliveries.

use std::collections::BTreeMap;

use forebay_core::{ConnId, DisconnectScope, Message, Payload, Policy, TopicId};
use forebay_testkit::rng::Choices;
use forebay_testkit::stage::{Order, Stage};
use forebay_testkit::world::run;

#[test]
fn same_seed_same_digest() {
    for seed in [1, 2, 3, 6, 7] {
        let (first, again) = (run(seed, 300), run(seed, 300));
        assert_eq!(first, again, "seed {seed}");
        assert_ne!(first.digest, run(seed, 299).digest, "the digest sees everything");
    }
}

/// Plays a scenario in which every input is given by the seed, and answers every Transmit in full.
fn scenario(seed: u64, order: Order) -> BTreeMap<ConnId, Vec<u8>> {
    let mut choices = Choices::from_seed(seed);
    let mut stage = Stage::new(|options| {
        options.topic_defaults.lane.messages_max = 5;
        options.transmit_bytes_max = 1_024;
    });
    stage.order = order;
    let conns: Vec<ConnId> = (0..6).map(|_| stage.join()).collect();
    let blocking = stage.topic("b", |options| {
        options.policy = Policy::Block;
        options.lane.messages_max = 3;
    });
    let policies = [Policy::DropNewest, Policy::LatestPerKey, Policy::LatestOnly, Policy::Disconnect];
    for (name, policy) in ["c", "d", "e", "f"].into_iter().zip(policies) {
        stage.topic(name, |options| {
            options.policy = policy;
            (options.lane.messages_max, options.keys_max) = (4, 3);
            options.disconnect.scope = DisconnectScope::Topic;
        });
    }
    let names = ["a", "b", "c", "d", "e", "f"];
    let keys = ["", "k", "l", "m", "n"].map(String::from);
    for _ in 0..200 {
        let conn = *choices.pick(&conns);
        let name = *choices.pick(&names);
        match choices.below(9) {
            0 | 1 => stage.client(conn).subscribe(name),
            2 => stage.client(conn).unsubscribe(name),
            3..=5 => {
                for n in 0..choices.size(1, 9) {
                    stage.client(conn).publish_keyed(name, &keys[n % 5], &n.to_string());
                }
            }
            6 => {
                // Several ticks before anything is polled, more than the lanes hold.
                let topic: TopicId = stage.hub.find_topic(name).unwrap_or(blocking);
                for n in 0..choices.between(1, 12) {
                    let text = n.to_string();
                    let message = Message::new(Payload::Text(&text)).with_key(choices.pick::<String>(&keys));
                    let _ = stage.hub.publish(topic, message, stage.now);
                }
            }
            7 => stage.client(conn).ask_ping(),
            _ => stage.advance(std::time::Duration::from_millis(choices.below(3_000))),
        }
        if choices.one_in(2) {
            stage.pump();
        }
    }
    stage.pump();
    stage.seats.into_iter().map(|(conn, seat)| (conn, seat.stream)).collect()
}

#[test]
fn the_order_of_polls_changes_nothing_that_is_delivered() {
    for seed in 0..20 {
        let plain = scenario(seed, Order::Plain);
        assert!(plain.values().all(|stream| stream.len() > 200), "something happens");
        assert_eq!(plain, scenario(seed, Order::Reverse), "seed {seed}, events before effects before transmits");
        for other in 0..3 {
            let order = Order::Random(Choices::from_seed(other));
            assert_eq!(plain, scenario(seed, order), "seed {seed}, random order {other}");
        }
    }
}
