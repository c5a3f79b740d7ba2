//! A hub under a seeded storm of everything that is legal, recounted after every call and judged by what consumers got.
#![cfg(all(feature = "json", feature = "std"))]

mod acts;
mod judge;
mod world;

use std::collections::BTreeMap;

use world::World;

fn storm(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for step in 0..steps {
        world.step();
        if step % 200 == 199 {
            world.heal();
        }
    }
    world.heal();
    world.drain();
}

/// To look at one seed: `FOREBAY_SEED=7 FOREBAY_SEEDS=1 FOREBAY_TRACE=1 cargo test -p forebay-core --test storm`.
#[expect(clippy::disallowed_methods, reason = "the test reads it, not the core")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn storms() {
    let (from, seeds) = (number("FOREBAY_SEED", 0), number("FOREBAY_SEEDS", 30));
    let mut failed = BTreeMap::new();
    // A publish into a topic that shedding had just emptied; a connection that ended for the budget within a poll; a topic
    // whose removal made room at the cost of its own lanes.
    let known = [1_200, 2_102, 2_264, 2_323, 13_835].into_iter().filter(|_| from == 0);
    for seed in (from..from + seeds).chain(known) {
        if let Err(panic) = std::panic::catch_unwind(|| storm(seed, 2_000)) {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            failed.entry(text).or_insert_with(Vec::new).push(seed);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
