//! Plain Transmits, and lanes that are woken when it is their turn, differ in nothing from what is done in general.
//!
//! Three hubs are told the same: one that goes the short way wherever it can; one with a rate that never limits anything, so
//! that no Transmit is a plain one; and one that hears of time after each publish, so that all lanes are woken at once.

use std::time::Duration;

use forebay_core::{
    Config, ConnId, Effect, Event, Hub, Instant, LaneLimits, LaneOptions, Message, Mode, Options, Payload, Peer,
    Policy, Rate, Start, TopicId, TopicOptions, Upgraded,
};
use forebay_testkit::rng::Choices;
use forebay_testkit::stage::copy;

const POLICIES: [Policy; 5] =
    [Policy::DropOldest, Policy::DropOldest, Policy::DropNewest, Policy::LatestPerKey, Policy::Block];

struct Trio {
    hubs: [Hub; 3],
    now: Instant,
    conns: Vec<ConnId>,
    topics: Vec<TopicId>,
    /// Transmits that were not answered.
    unanswered: Vec<(ConnId, usize)>,
    transmits: u64,
}

impl Trio {
    fn new(rng: &mut Choices) -> Self {
        let rate = Rate { per_second: 1_000_000_000, burst: 1_000_000_000 };
        let options = Options { transmit_bytes_max: 2_000, ..Options::default() };
        let now = Instant::from_nanos(1_000_000);
        let hubs = [None, Some(rate), None].map(|outbound_bytes_rate| {
            let config = Config::try_from(Options { outbound_bytes_rate, ..options }).expect("good options");
            Hub::new(config, [9; 32], now)
        });
        let mut trio = Self { hubs, now, conns: Vec::new(), topics: Vec::new(), unanswered: Vec::new(), transmits: 0 };
        for (nth, policy) in POLICIES.into_iter().enumerate() {
            let lane = LaneLimits { messages_max: 40, bytes_max: 8_000 };
            let topic = TopicOptions {
                policy,
                lane,
                keys_max: 8,
                keys_bytes_max: 4_000,
                message_bytes_max: 1_000,
                age_max: (nth == 1).then_some(Duration::from_millis(500)),
                ..TopicOptions::default()
            };
            let id = trio.all(|hub, _| hub.topic(&format!("t{nth}"), topic).expect("a new topic"));
            trio.topics.push(id);
        }
        (0..6).for_each(|_| trio.connect(rng));
        trio
    }

    /// Tells all hubs the same, which answer the same.
    fn all<T: PartialEq + std::fmt::Debug>(&mut self, mut tell: impl FnMut(&mut Hub, Instant) -> T) -> T {
        let now = self.now;
        let [first, second, third] = self.hubs.each_mut().map(|hub| tell(hub, now));
        assert_eq!(first, second, "as in general");
        assert_eq!(first, third, "as if all were woken at once");
        first
    }

    fn connect(&mut self, rng: &mut Choices) {
        let peer = Peer { mode: Mode::Raw, ..Peer::default() };
        let upgraded = Upgraded { peer, protocol: None, deflate: None };
        let conn = self.all(|hub, now| hub.handle_upgraded(upgraded, b"", now).expect("room"));
        self.conns.push(conn);
        let topic = self.topics[rng.index(self.topics.len())];
        self.all(|hub, now| hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, now).is_ok());
    }

    fn publish(&mut self, rng: &mut Choices) {
        let topic = self.topics[rng.index(self.topics.len())];
        let (text, key) = ("x".repeat(rng.index(400)), ["a", "b", "c"][rng.index(3)]);
        let text = format!("\"{text}\"");
        let message = Message::new(Payload::Text(&text)).with_key(key);
        let now = self.now;
        let [first, second, third] = self.hubs.each_mut().map(|hub| hub.publish(topic, message, now));
        self.hubs[2].handle_timeout(now);
        assert_eq!((&first, &first), (&second, &third));
    }

    /// Takes the next Transmit, and answers it, or not yet.
    fn poll(&mut self, rng: &mut Choices) -> bool {
        let transmit = self.all(|hub, _| hub.poll_transmit().map(|transmit| (transmit.conn(), copy(&transmit))));
        let Some((conn, bytes)) = transmit else { return false };
        self.transmits += 1;
        if rng.index(4) == 0 {
            self.unanswered.push((conn, bytes.len()));
        } else {
            self.answer(rng, conn, bytes.len());
        }
        true
    }

    fn answer(&mut self, rng: &mut Choices, conn: ConnId, len: usize) {
        let sent = if rng.index(5) == 0 { rng.index(len) } else { len };
        self.all(|hub, now| hub.handle_sent(conn, sent, now));
        if sent < len && rng.index(3) > 0 {
            self.all(|hub, now| hub.handle_writable(conn, now));
        }
    }

    fn step(&mut self, rng: &mut Choices) {
        let conn = self.conns[rng.index(self.conns.len())];
        let topic = self.topics[rng.index(self.topics.len())];
        match rng.index(40) {
            0..=13 => self.publish(rng),
            14..=27 => drop(self.poll(rng)),
            28..=30 if !self.unanswered.is_empty() => {
                let (conn, len) = self.unanswered.swap_remove(rng.index(self.unanswered.len()));
                self.answer(rng, conn, len);
            }
            31 | 32 => {
                self.all(|hub, now| hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, now).is_ok());
            }
            33 => drop(self.all(|hub, now| hub.unsubscribe(conn, topic, now))),
            34 => self.all(|hub, now| hub.handle_writable(conn, now)),
            35 => drop(self.all(|hub, now| hub.send(conn, Payload::Text("\"direct\""), now).is_ok())),
            36 => {
                self.now = self.now + Duration::from_millis(100);
                self.all(|hub, now| hub.handle_timeout(now));
            }
            37 if rng.index(8) == 0 => {
                self.all(|hub, now| hub.handle_eof(conn, now));
                self.conns.retain(|other| *other != conn);
                self.unanswered.retain(|(other, _)| *other != conn);
                self.connect(rng);
            }
            38 => while self.poll(rng) {},
            _ => self.outputs(),
        }
    }

    fn outputs(&mut self) {
        while self.all(|hub, _| hub.poll_effect()).is_some_and(|effect| !matches!(effect, Effect::Close(_))) {}
        while let Some(event) = self.all(|hub, _| hub.poll_event()) {
            if let Event::Closed { conn, .. } = event {
                assert!(!self.conns.contains(&conn), "only who was made to end ends");
            }
        }
    }

    fn check(&mut self) {
        self.all(|hub, _| hub.stats().lanes);
        for topic in self.topics.clone() {
            self.all(|hub, _| hub.topic_pressure(topic));
            self.all(|hub, _| hub.topic_load(topic));
        }
        for conn in self.conns.clone() {
            self.all(|hub, _| hub.connection(conn));
        }
        self.hubs.iter().for_each(Hub::check_invariants);
    }
}

#[test]
fn the_short_way_leads_where_the_long_one_does() {
    for seed in 0..12 {
        let mut rng = Choices::from_seed(seed);
        let mut trio = Trio::new(&mut rng);
        for _ in 0..400 {
            trio.step(&mut rng);
            trio.check();
        }
        assert!(trio.transmits > 50, "seed {seed}: {} Transmits", trio.transmits);
    }
}
