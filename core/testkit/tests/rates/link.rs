//! Alerts beside a saturated feed, on one connection whose link carries so much and no more, in simulated time.

use std::time::Duration;

use forebay_core::{Class, ConnId, Instant, LaneOptions, Options, Payload, Start, TopicId};
use forebay_testkit::stage::Stage;

use crate::{MS, rate};

const BYTES_PER_SECOND: u64 = 1_000_000;
/// What a kernel holds behind the write.
const BUFFER_BYTES: usize = 256 << 10;
const LATENCY: Duration = Duration::from_millis(20);
const ALERTS: u64 = 1_000;

/// Takes what fits its buffer, and carries it at its speed.
struct Link {
    /// When everything that was written will have left.
    free_at: Instant,
    written: usize,
    /// Of each write: where in the stream it ends, and when its last byte leaves.
    writes: Vec<(usize, Instant)>,
}

fn takes(bytes: usize) -> Duration {
    Duration::from_nanos(bytes as u64 * 1_000_000_000 / BYTES_PER_SECOND)
}

impl Link {
    fn write(&mut self, bytes: usize, now: Instant) -> usize {
        let waiting = self.free_at.since(now).as_nanos() * u128::from(BYTES_PER_SECOND) / 1_000_000_000;
        let taken = bytes.min(BUFFER_BYTES - usize::try_from(waiting).expect("a buffer").min(BUFFER_BYTES));
        self.free_at = self.free_at.max(now) + takes(taken);
        self.written += taken;
        self.writes.push((self.written, self.free_at));
        taken
    }

    /// When the byte before `end` arrives.
    fn arrives(&self, end: usize) -> Instant {
        let (through, leaves) = self.writes[self.writes.partition_point(|(through, _)| *through < end)];
        let early = takes(through - end);
        Instant::from_nanos(leaves.as_nanos() - u64::try_from(early.as_nanos()).expect("short")) + LATENCY
    }
}

struct Scene {
    stage: Stage,
    conn: ConnId,
    link: Link,
    stream: Vec<u8>,
    is_blocked: bool,
}

impl Scene {
    fn drain(&mut self) {
        let now = self.stage.now;
        loop {
            let room = self.link.free_at.since(now) < takes(BUFFER_BYTES / 2);
            if self.is_blocked && room {
                self.is_blocked = false;
                self.stage.hub.handle_writable(self.conn, now);
            }
            let Some(transmit) = self.stage.hub.poll_transmit() else { return };
            let (bytes, len) = (forebay_testkit::stage::copy(&transmit), transmit.len());
            let taken = self.link.write(len, now);
            self.stream.extend(&bytes[..taken]);
            self.is_blocked = taken < len;
            self.stage.hub.handle_sent(self.conn, taken, now);
        }
    }

    /// The hub's timers, and the link's room, up to a moment.
    fn until(&mut self, at: Instant) {
        loop {
            while self.stage.hub.poll_event().is_some() || self.stage.hub.poll_effect().is_some() {}
            self.drain();
            let writable = self
                .link
                .free_at
                .as_nanos()
                .saturating_sub(u64::try_from(takes(BUFFER_BYTES / 2).as_nanos()).expect("short") - 1);
            let writable = self.is_blocked.then(|| Instant::from_nanos(writable));
            let timer = self.stage.hub.poll_timeout().map(|deadline| deadline.at);
            let next = writable.into_iter().chain(timer).min().filter(|next| *next < at);
            self.stage.now = self.stage.now.max(next.unwrap_or(at));
            self.stage.hub.handle_timeout(self.stage.now);
            if next.is_none() {
                return self.drain();
            }
        }
    }
}

/// The 99th percentile of how long alerts take, in microseconds.
fn p99_of_alerts(class: Class, has_feed: bool, change: impl FnOnce(&mut Options)) -> u64 {
    let mut stage = Stage::new(change);
    stage.checks = false;
    let conn = stage.join_raw();
    let topics: Vec<TopicId> =
        [("alerts", class), ("feed", Class::Normal)].map(|(name, class)| stage.topic(name, |o| o.class = class)).into();
    for topic in &topics {
        stage.hub.subscribe(conn, *topic, LaneOptions::default(), Start::Latest, stage.now).expect("a lane");
    }
    let start = stage.now;
    let link = Link { free_at: start, written: 0, writes: Vec::new() };
    let mut scene = Scene { stage, conn, link, stream: Vec::new(), is_blocked: false };
    let mut published = Vec::new();
    let feed = [b'f'; 200];
    for tick in 0..ALERTS * 17 {
        scene.until(start + MS * u32::try_from(tick).expect("few"));
        // Twice what the link carries.
        for _ in 0..if has_feed { 10 } else { 0 } {
            scene.stage.hub.publish(topics[1], Payload::Binary(&feed), scene.stage.now).expect("taken");
        }
        if tick % 17 == 0 {
            scene.stage.hub.publish(topics[0], Payload::Binary(&[b'a'; 100]), scene.stage.now).expect("taken");
            published.push(scene.stage.now);
        }
    }
    scene.until(scene.stage.now + MS * 5_000);
    let (mut at, mut took) = (0, Vec::new());
    while at < scene.stream.len() {
        let (header, len) = match scene.stream[at + 1] {
            126 => (4, usize::from(u16::from_be_bytes([scene.stream[at + 2], scene.stream[at + 3]]))),
            short => (2, usize::from(short)),
        };
        let payload = at + header;
        at = payload + len;
        if scene.stream.get(payload) == Some(&b'a') && len == 100 {
            took.push(scene.link.arrives(at).since(published[took.len()]));
        }
    }
    assert_eq!(took.len(), published.len(), "every alert comes");
    took.sort_unstable();
    u64::try_from(took[took.len() * 99 / 100].as_micros()).expect("short")
}

/// A little less than the link carries, and so little at once that nothing waits in the link.
fn limited(options: &mut Options) {
    options.outbound_bytes_rate = Some(rate(950_000, 1_000));
    options.reserved_percent = 50;
}

#[test]
fn alerts_take_no_longer_beside_a_saturated_feed() {
    let alone = p99_of_alerts(Class::High, false, limited);
    let beside = p99_of_alerts(Class::High, true, limited);
    println!("{alone} us alone, {beside} us beside the feed");
    assert!((20_000..20_500).contains(&alone), "{alone} us alone");
    assert!(beside <= alone + alone / 10, "{alone} us alone, {beside} us beside the feed");
}

#[test]
fn it_takes_both_a_class_and_a_rate() {
    let alone = p99_of_alerts(Class::High, false, limited);
    let without_class = p99_of_alerts(Class::Normal, true, limited);
    let without_rate = p99_of_alerts(Class::High, true, |_| {});
    let without_both = p99_of_alerts(Class::Normal, true, |_| {});
    for (what, p99) in [("class", without_class), ("rate", without_rate), ("either", without_both)] {
        println!("without {what}: {p99} us");
        assert!(p99 > alone * 5, "without {what}: {p99} us, {alone} us alone");
    }
}
