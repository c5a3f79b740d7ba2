//! What one consumer that takes nothing, or as little as it likes, makes the hub hold: the worst case for each policy.

use forebay_core::{
    Config, ConnId, Hub, Instant, LaneId, LaneOptions, Mode, Options, Payload, Peer, Policy, Start, TopicId,
    TopicOptions, Upgraded,
};
use forebay_testkit::rng::Choices;

const NOW: Instant = Instant::from_nanos(1);
const TRANSMIT_MAX: usize = 1_024;
const BYTES_MAX: usize = 2_048;
const MESSAGE: [u8; 100] = [7; 100];
/// The most that the log allocates at once, for messages as small as these.
const CHUNK: usize = 128 << 10;
/// Runs of messages in a lane, what is outstanding included.
const RUNS_MAX: usize = 9;
/// What the others cost that keep up: the newest chunk and the one before, and their places in the index.
const OTHERS: usize = 5 * CHUNK;

/// A topic with a consumer that keeps up and one that does not.
struct House {
    hub: Hub,
    topic: TopicId,
    quick: LaneId,
    slow: ConnId,
    /// The length of its Transmit that is not answered.
    held: Option<usize>,
}

impl House {
    fn new(policy: Policy) -> Self {
        let options = Options { transmit_bytes_max: u32::try_from(TRANSMIT_MAX).expect("small"), ..Options::default() };
        let mut hub = Hub::new(Config::try_from(options).expect("good"), [3; 32], NOW);
        let mut options = TopicOptions { policy, message_bytes_max: 1_024, ..TopicOptions::default() };
        (options.keys_max, options.keys_bytes_max) = (16, BYTES_MAX as u64);
        let topic = hub.topic("t", options).expect("declared");
        let quick = hub.subscribe_local(topic, LaneOptions::with_policy(policy), Start::Latest, NOW).expect("a lane");
        let peer = Peer { mode: Mode::Raw, ..Peer::default() };
        let slow = hub.handle_upgraded(Upgraded { peer, protocol: None, deflate: None }, b"", NOW).expect("accepted");
        let lane = LaneOptions {
            messages_max: Some(20),
            bytes_max: Some(BYTES_MAX as u64),
            ..LaneOptions::with_policy(policy)
        };
        hub.subscribe(slow, topic, lane, Start::Latest, NOW).expect("a lane");
        Self { hub, topic, quick, slow, held: None }
    }

    /// A tick: so many messages, and all is polled; a new Transmit is held.
    fn tick(&mut self, messages: usize) {
        for _ in 0..messages {
            if self.hub.publish(self.topic, Payload::Binary(&MESSAGE), NOW).is_err() {
                break;
            }
        }
        while let Some((conn, len)) = self.hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
            assert!(conn == self.slow && self.held.is_none());
            self.held = Some(len);
        }
        while self.hub.take(self.quick, NOW).is_some() {}
        while self.hub.poll_event().is_some() || self.hub.poll_effect().is_some() {}
        self.hub.check_invariants();
    }

    /// The slow one's kernel takes so many bytes of what it was given, and may be given more.
    fn answer(&mut self, bytes: usize) {
        if let Some(len) = self.held.take() {
            self.hub.handle_sent(self.slow, bytes.min(len), NOW);
        }
        self.hub.handle_writable(self.slow, NOW);
    }

    fn is_there(&self) -> bool {
        self.hub.find_lane(self.slow, self.topic).is_some()
    }
}

/// The most that was resident while `slow` did what it does, tick after tick.
fn most(policy: Policy, ticks: usize, mut slow: impl FnMut(&mut House)) -> usize {
    let mut house = House::new(policy);
    let mut most = 0;
    for number in 0..ticks {
        // Ticks of about a chunk, so that whoever needs one message of it holds all of it; and small ones between.
        house.tick(if number % 3 == 0 { 1_100 } else { 3 });
        if house.is_there() {
            slow(&mut house);
        }
        most = most.max(house.hub.stats().resident_bytes);
    }
    println!("{policy}: at most {} KiB", most >> 10);
    most
}

/// What its lane may hold, and a Transmit and the message before it, as frames, with their places in an index.
const SHARE: usize = 2 * (BYTES_MAX + TRANSMIT_MAX + MESSAGE.len());

#[test]
fn a_frozen_consumer_pins_the_chunks_at_the_ends_of_its_window_and_of_what_is_outstanding() {
    for policy in Policy::ALL.iter().copied() {
        for answer in [None, Some(0), Some(50), Some(500)] {
            let most = most(policy, 120, |house| {
                if let Some(bytes) = answer.filter(|_| house.held.is_some()) {
                    house.hub.handle_sent(house.slow, bytes, NOW);
                    house.held = None; // And then nothing: it is never writable again.
                }
            });
            assert!(most <= OTHERS + SHARE + 2 * 2 * CHUNK, "{policy}: {most}");
        }
    }
}

#[test]
fn a_consumer_that_takes_as_it_likes_pins_the_chunks_at_the_ends_of_its_runs() {
    for policy in Policy::ALL.iter().copied() {
        for seed in 0..6 {
            let mut choices = Choices::from_seed(seed);
            let most = most(policy, 200, |house| match choices.below(4) {
                0 => {}
                1 => house.answer(0),
                2 => house.answer(usize::try_from(choices.below(300)).expect("small")),
                _ => house.answer(102 * usize::try_from(choices.between(1, 3)).expect("small")),
            });
            assert!(most <= OTHERS + SHARE + 2 * RUNS_MAX * CHUNK, "{policy}: {most}");
        }
    }
}
