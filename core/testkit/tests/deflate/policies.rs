//! Consumers that inflate beside such that do not, of every policy: they are told the same.

use forebay_core::{ConnId, DeflateOptions, LaneLimits, Payload, Policy, PublishError};
use forebay_testkit::stage::Stage;

use crate::{heard, inflating, plain, stage, ticks, topic};

struct Draw(u64);

impl Draw {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What both have heard since the start; the same.
fn compare(stage: &mut Stage, [one, other]: [ConnId; 2], told: &mut [Vec<String>; 2], what: &str) {
    told[0].extend(heard(stage, one));
    told[1].extend(heard(stage, other));
    let len = told[0].len().min(told[1].len());
    assert_eq!(told[0][..len], told[1][..len], "{what}");
}

#[test]
fn both_are_told_the_same() {
    for policy in [
        Policy::DropOldest,
        Policy::DropNewest,
        Policy::LatestPerKey,
        Policy::LatestOnly,
        Policy::Disconnect,
        Policy::Block,
    ] {
        let mut compressed = 0;
        for seed in 0..25 {
            compressed += run(policy, seed);
        }
        assert!(compressed > 20, "{policy}: {compressed} messages came compressed");
    }
}

/// Publishes, freezes and thaws at random; how much came compressed.
fn run(policy: Policy, seed: u64) -> u64 {
    let mut draw = Draw(seed);
    let mut stage = stage(|options| {
        options.transmit_bytes_max = 1 << 20;
        options.deflate = Some(DeflateOptions { message_bytes_min: 50, ..DeflateOptions::default() });
    });
    let topic = topic(&mut stage, |options| {
        options.policy = policy;
        options.lane = LaneLimits { messages_max: 20, bytes_max: 4_000 };
        options.message_bytes_max = 1_000;
        (options.keys_max, options.keys_bytes_max) = (20, 4_000);
    });
    let pair = [inflating(&mut stage), plain(&mut stage)];
    let mut told = [Vec::new(), Vec::new()];
    let mut number = 0;
    let mut is_frozen = false;
    for step in 0..40 {
        let what = format!("{policy}, seed {seed}, step {step}");
        match draw.below(5) {
            0 if is_frozen => {
                pair.iter().for_each(|conn| stage.thaw(*conn));
                is_frozen = false;
            }
            0 => {
                pair.iter().for_each(|conn| stage.freeze(*conn));
                is_frozen = true;
            }
            _ => {
                let count = 1 + draw.below(6);
                for tick in ticks(number, count) {
                    let key = ["a", "b", "c"][usize::try_from(draw.below(3)).unwrap()];
                    let message = forebay_core::Message::new(Payload::Text(&tick)).with_key(key);
                    match stage.hub.publish(topic, message, stage.now) {
                        Ok(_) | Err(PublishError::Full) => {}
                        Err(error) => panic!("{what}: {error}"),
                    }
                }
                number += count;
                stage.pump();
            }
        }
        compare(&mut stage, pair, &mut told, &what);
    }
    pair.iter().for_each(|conn| stage.thaw(*conn));
    compare(&mut stage, pair, &mut told, "at last");
    assert_eq!(told[0].len(), told[1].len(), "{policy}, seed {seed}: all of it");
    let closes = pair.map(|conn| stage.client(conn).close);
    assert_eq!(closes[0], closes[1]);
    stage.client(pair[0]).compressed
}
