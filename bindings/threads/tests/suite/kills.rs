//! Clients and publishers that are killed at random moments, while an at-least-once topic is fed: nothing that was not
//! acknowledged is missing, what comes again was not acknowledged and comes in order, what was published twice is stored once.
//!
//! `FOREBAY_KILLS` says how many of each are killed in each test (by default 1,000 in all):
//! `FOREBAY_KILLS=20000 cargo test --release -p forebay-threads --test sockets kills -- --nocapture`, and with `forebay-smol`.

mod publisher;
mod subscriber;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::common::{HANG, Running, start, until};
use crate::binding::forebay_core::{AtLeastOnce, Delivery, LossReason};
use crate::binding::{LaneLimits, Options, Policy, ServerOptions, TopicOptions};
use publisher::Publisher;
use subscriber::Subscriber;

const SUBSCRIBERS: usize = 4;
const PUBLISHERS: usize = 3;
/// How far publishers run ahead of the slowest subscriber, where nothing may be lost.
const LAG_MAX: u64 = 512;
const LONG: Duration = Duration::from_secs(3_600);

/// How many subscribers, and how many publishers, are killed in one test, when all tests are to have so many by default.
fn kills(by_default: u64) -> u64 {
    std::env::var("FOREBAY_KILLS").map_or(by_default, |kills| kills.parse().expect("FOREBAY_KILLS is a number"))
}

/// What a message says: who published it, and as which of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Said {
    publisher: usize,
    number: u64,
}

/// Of one test.
struct World {
    address: SocketAddr,
    policy: Policy,
    in_flight_max: u8,
    /// Whether what is not acknowledged comes again by itself, and not only after a resume.
    has_timer: bool,
    target: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By subscriber.
    seen: Vec<u64>,
    /// The newest message that was answered.
    head: u64,
    subscribers_killed: u64,
    publishers_killed: u64,
    /// Subscribers that are killed no more.
    safe: usize,
    is_finished: bool,
    has_failed: bool,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Whether subscribers are still killed.
    fn kills_subscribers(&self) -> bool {
        let state = self.state();
        assert!(!state.has_failed, "another one failed");
        state.subscribers_killed < self.target
    }

    /// Whether publishers go on.
    fn is_fed(&self) -> bool {
        let state = self.state();
        assert!(!state.has_failed, "another one failed");
        state.safe < SUBSCRIBERS || state.publishers_killed < self.target
    }

    /// Waits until the slowest subscriber is not too far behind.
    fn pace(&self) {
        if self.policy != Policy::Block {
            return;
        }
        let is_early = |state: &mut State| {
            !state.has_failed && state.head > state.seen.iter().min().expect("there are subscribers") + LAG_MAX
        };
        let (state, waited) = self.changed.wait_timeout_while(self.state(), HANG, is_early).unwrap();
        assert!(!waited.timed_out() && !state.has_failed, "a subscriber gets nothing more");
    }
}

/// Tells the others when a thread has failed, that they do not wait for it.
struct Alarm<'a>(&'a World);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.change(|state| state.has_failed = true);
        }
    }
}

/// A server whose topic delivers at least once.
fn serve(policy: Policy, messages_max: u32, in_flight_max: u8, ack_timeout: Duration) -> Running {
    let topic = TopicOptions {
        policy,
        lane: LaneLimits { messages_max, bytes_max: 1 << 20 },
        delivery: Delivery::AtLeastOnce(AtLeastOnce { in_flight_max, ack_timeout, attempts_max: u16::MAX }),
        publish_ids_max: 1 << 20,
        ..TopicOptions::default()
    };
    let hub = Options { session_ttl: LONG, ping_interval: LONG, ..Options::default() };
    start(ServerOptions { hub, topics: vec![("orders".to_owned(), topic)], ..ServerOptions::default() })
}

fn run(server: &Running, policy: Policy, in_flight_max: u8, has_timer: bool, target: u64) {
    let state = State { seen: vec![0; SUBSCRIBERS], ..State::default() };
    let (state, changed) = (Mutex::new(state), Condvar::new());
    let world = World { address: server.address, policy, in_flight_max, has_timer, target, state, changed };
    let subscribers: Vec<_> = (0..SUBSCRIBERS).map(|index| Subscriber::new(&world, index)).collect();
    let publishers = (0..PUBLISHERS).map(|index| Publisher::new(&world, index));
    let (stored, tallies) = std::thread::scope(|scope| {
        let subscribers: Vec<_> = subscribers.into_iter().map(|subscriber| scope.spawn(|| subscriber.run())).collect();
        let publishers: Vec<_> = publishers.map(|publisher| scope.spawn(|| publisher.run())).collect();
        let mut stored = BTreeMap::new();
        for publisher in publishers {
            for (seq, said) in publisher.join().unwrap() {
                assert_eq!(stored.insert(seq, said), None, "each number is one message");
            }
        }
        until(|| {
            let lanes = server.handle.stats().lanes;
            lanes.waiting.messages == 0 && server.handle.stats().acks.unacknowledged.messages == 0
        });
        world.change(|state| state.is_finished = true);
        (stored, subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).collect::<Vec<_>>())
    });
    let head = stored.len() as u64;
    assert_eq!(
        stored.last_key_value().map(|(seq, _)| *seq),
        Some(head),
        "each number was answered: nothing is stored twice"
    );
    let stats = server.handle.stats();
    assert_eq!(stats.published.messages, head);
    let mut received = 0;
    for tally in &tallies {
        assert!(tally.received.iter().all(|(seq, said)| stored.get(seq) == Some(said)), "what was published");
        received += tally.received.len() as u64;
    }
    // What entered a lane was received: what is not there was never in it, and is counted.
    let lost = stats.lanes.lost_by(LossReason::Newest).messages;
    assert_eq!(stats.lanes.lost_total().messages, lost, "only the policy loses");
    assert_eq!(received + lost, SUBSCRIBERS as u64 * head);
    assert!(policy != Policy::Block || lost == 0);
    assert_eq!((stats.lanes.sent.messages, stats.acks.sent.messages), (received, received));
    assert_eq!(stats.acks.acknowledged.messages, received, "and acknowledged");
    assert_eq!((stats.acks.conservation_error(), stats.lanes.conservation_error()), (0, 0));
    let again: u64 = tallies.iter().map(|tally| tally.again).sum();
    assert!(again <= stats.acks.retries.messages, "{again} came again, {} were sent", stats.acks.retries.messages);
    let state = world.state();
    println!(
        "{policy}: {} subscribers and {} publishers killed; {head} messages stored, {received} received, {again} came again, {lost} lost",
        state.subscribers_killed, state.publishers_killed
    );
    assert!(state.subscribers_killed >= target && state.publishers_killed >= target);
}

#[test]
fn nothing_unacknowledged_is_missing() {
    let server = serve(Policy::Block, 2_048, 16, LONG);
    run(&server, Policy::Block, 16, false, kills(600));
    server.stop();
}

#[test]
fn nothing_that_entered_is_missing_where_the_newest_are_dropped() {
    let server = serve(Policy::DropNewest, 40, 8, LONG);
    run(&server, Policy::DropNewest, 8, false, kills(200));
    server.stop();
}

#[test]
fn what_comes_again_by_itself_comes_in_order() {
    let server = serve(Policy::Block, 2_048, 32, Duration::from_millis(10));
    run(&server, Policy::Block, 32, true, kills(200));
    server.stop();
}
