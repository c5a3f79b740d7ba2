//! A lane as the table says it, in a hundred lines, beside a real one: random publishes, Transmits cut anywhere.

use std::collections::BTreeMap;

use forebay_core::{Count, Disconnect, DisconnectScope, LaneOptions, LossReason, Policy, PublishError};
use forebay_testkit::rng::Choices;

use crate::house::{House, Kind};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    seq: u64,
    key: String,
    len: u64,
}

#[derive(Debug)]
struct Model {
    policy: Policy,
    limits: (u64, u64),
    keys_max: (u64, u64),
    waiting: Vec<Sent>,
    out: Vec<Sent>,
    /// The latest message of each key that is known: number and length.
    keys: BTreeMap<String, (u64, u64)>,
    head: u64,
    received: Vec<u64>,
    lost: BTreeMap<LossReason, u64>,
    /// How many the oldest gave way to since the Transmit.
    dropped: u64,
    is_ended: bool,
}

fn sum(messages: &[Sent]) -> (u64, u64) {
    (messages.len() as u64, messages.iter().map(|sent| sent.len).sum())
}

impl Model {
    fn new(policy: Policy, choices: &mut Choices) -> Self {
        let limits = (choices.between(1, 12), choices.between(100, 300));
        Self {
            policy,
            limits,
            keys_max: (choices.between(1, limits.0), choices.between(100, limits.1)),
            waiting: Vec::new(),
            out: Vec::new(),
            keys: BTreeMap::new(),
            head: 0,
            received: Vec::new(),
            lost: BTreeMap::new(),
            dropped: 0,
            is_ended: false,
        }
    }

    /// A topic with the same limits.
    fn house(&self) -> House {
        House::new(|options| {
            options.policy = self.policy;
            options.message_bytes_max = 100;
            let small = |number: u64| u32::try_from(number).expect("few");
            (options.lane.messages_max, options.lane.bytes_max) = (small(self.limits.0), self.limits.1);
            (options.keys_max, options.keys_bytes_max) = (small(self.keys_max.0), self.keys_max.1);
            options.disconnect = Disconnect { scope: DisconnectScope::Topic, ..Disconnect::default() };
        })
    }

    fn lose(&mut self, reason: LossReason, messages: usize) {
        *self.lost.entry(reason).or_default() += messages as u64;
    }

    fn fits(&self, len: u64) -> bool {
        let (mut waiting, out) = (sum(&self.waiting), sum(&self.out));
        if matches!(self.policy, Policy::DropNewest | Policy::Disconnect | Policy::Block) {
            waiting = (waiting.0 + out.0, waiting.1 + out.1);
        }
        waiting.0 < self.limits.0 && waiting.1 + len <= self.limits.1
    }

    /// Pieces without a hole between them, what is out included.
    fn runs(&self) -> usize {
        let seqs: Vec<u64> = self.out.iter().chain(&self.waiting).map(|sent| sent.seq).collect();
        seqs.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() + usize::from(!seqs.is_empty())
    }

    /// How many lanes it enters; `None`: refused.
    fn publish(&mut self, key: &str, len: u64) -> Option<u32> {
        let sent = Sent { seq: self.head + 1, key: key.into(), len };
        let last = self.waiting.last().or(self.out.last()).map(|last| last.seq);
        let is_next = last.is_none_or(|last| last == self.head);
        let fits = self.fits(len);
        if self.policy == Policy::Block && !fits {
            return None;
        }
        self.head += 1;
        match self.policy {
            _ if self.is_ended => return Some(0),
            Policy::Disconnect if !fits => {
                self.is_ended = true;
                self.lose(LossReason::Closed, self.waiting.len());
                self.waiting.clear();
                return Some(0);
            }
            Policy::DropNewest if !fits || (!is_next && self.runs() == 8) => self.lose(LossReason::Newest, 1),
            _ => self.waiting.push(sent),
        }
        self.keys.insert(if self.policy == Policy::LatestOnly { "".into() } else { key.into() }, (self.head, len));
        self.judge();
        Some(1)
    }

    /// What waits is brought within the limits.
    fn judge(&mut self) {
        match self.policy {
            Policy::DropOldest => {
                while sum(&self.waiting).0 > self.limits.0 || sum(&self.waiting).1 > self.limits.1 {
                    self.waiting.remove(0);
                    self.lose(LossReason::Oldest, 1);
                    self.dropped += 1;
                }
            }
            Policy::LatestPerKey | Policy::LatestOnly => {
                let bytes = |keys: &BTreeMap<String, (u64, u64)>| keys.values().map(|(_, len)| len).sum::<u64>();
                while self.keys.len() as u64 > self.keys_max.0 || bytes(&self.keys) > self.keys_max.1 {
                    let oldest = self.keys.iter().min_by_key(|(_, (seq, _))| *seq).map(|(key, _)| key.clone());
                    self.keys.remove(&oldest.expect("a key"));
                }
                for sent in std::mem::take(&mut self.waiting) {
                    let key = if self.policy == Policy::LatestOnly { "" } else { &sent.key };
                    match self.keys.get(key) {
                        Some((seq, _)) if *seq == sent.seq => self.waiting.push(sent),
                        Some(_) => self.lose(LossReason::Superseded, 1),
                        None => self.lose(LossReason::Oldest, 1),
                    }
                }
            }
            _ => {}
        }
    }

    /// So many of those that are out were sent; the next is partly sent, or nothing more was.
    fn answer(&mut self, sent: usize, is_partly: bool) {
        self.received.extend(self.out.drain(..sent).map(|sent| sent.seq));
        let mut back = self.out.split_off(usize::from(is_partly));
        if self.is_ended {
            return self.lose(LossReason::Closed, back.len());
        }
        if self.policy == Policy::DropOldest && self.dropped > self.limits.0 {
            // The manual: a Transmit that is not answered does not keep the log.
            return self.lose(LossReason::Oldest, back.len());
        }
        back.append(&mut self.waiting);
        self.waiting = back;
        self.judge();
    }
}

/// Where each frame ends, and the message it holds.
fn frames(mut bytes: &[u8]) -> Vec<(usize, Option<u64>)> {
    let (mut frames, mut end) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let (head, len) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            len => (2, usize::from(len)),
        };
        let text = std::str::from_utf8(&bytes[head..head + len]).expect("text");
        let seq = text.strip_prefix(r#"{"op":"message","topic":"t","seq":"#);
        end += head + len;
        frames.push((end, seq.map(|rest| rest.split(',').next().expect("a number").parse().expect("a number"))));
        bytes = &bytes[head + len..];
    }
    frames
}

/// How many messages a Transmit cut here has sent, whether another is partly sent, and what is left of a frame. `rest`: what
/// was left of one before, and whether it is a message's.
fn cut_at(parsed: &[(usize, Option<u64>)], rest: (usize, bool), cut: usize) -> (usize, bool, usize) {
    let mut ends: Vec<(usize, bool)> = parsed.iter().map(|(end, seq)| (end + rest.0, seq.is_some())).collect();
    if rest.0 > 0 {
        ends.insert(0, rest);
    }
    let sent = ends.iter().filter(|(end, is_message)| *end <= cut && *is_message).count();
    let Some(next) = ends.iter().position(|(end, _)| *end > cut) else { return (sent, false, 0) };
    let was_begun = next == 0 && rest.0 > 0;
    let start = if next == 0 { 0 } else { ends[next - 1].0 };
    if cut > start || was_begun { (sent, ends[next].1, ends[next].0 - cut) } else { (sent, false, 0) }
}

fn compare(house: &House, lane: forebay_core::LaneId, model: &Model) {
    let totals = house.stage.hub.topic_pressure(house.topic).expect("a topic").totals;
    for reason in LossReason::ALL {
        let lost = model.lost.get(&reason).copied().unwrap_or(0);
        assert_eq!(totals.lost_by(reason).messages, lost, "{reason:?}: {model:?}");
    }
    let (waiting, out) = (sum(&model.waiting), sum(&model.out));
    assert_eq!(totals.waiting, Count::new(waiting.0 + out.0, waiting.1 + out.1), "{model:?}");
    assert_eq!(totals.sent.messages, model.received.len() as u64, "{model:?}");
    if let Some(pressure) = house.stage.hub.lane(lane) {
        assert_eq!(pressure.outstanding, Count::new(out.0, out.1), "{model:?}");
    }
}

/// Gives how many messages were received, missed and superseded.
fn play(policy: Policy, seed: u64) -> [u64; 3] {
    let mut choices = Choices::from_seed(seed);
    let mut model = Model::new(policy, &mut choices);
    let mut house = model.house();
    let consumer = house.consumer_as(Kind::Client, LaneOptions::default());
    let conn = consumer.conn.expect("a client");
    let mut rest = 0;
    for _ in 0..60 {
        if model.is_ended && model.out.is_empty() {
            break;
        }
        // Publishes while nothing is out, or only what was partly sent; then while a Transmit is; then it is cut.
        for is_out in [false, true] {
            let held = if is_out && rest + model.waiting.len() > 0 { house.stage.hold(conn) } else { Vec::new() };
            let parsed = frames(&held[rest.min(held.len())..]);
            if !held.is_empty() {
                let seqs: Vec<u64> = parsed.iter().filter_map(|(_, seq)| *seq).collect();
                // What was partly sent may go alone, and a run too.
                assert!(held.len() >= rest, "{} bytes, {rest} of them left over: {model:?}", held.len());
                let handed: Vec<Sent> = model.waiting.drain(..seqs.len()).collect();
                assert!(handed.iter().map(|sent| sent.seq).eq(seqs), "{handed:?} of {model:?}");
                model.out.extend(handed);
                model.dropped = 0;
            }
            let most = if policy == Policy::Disconnect { 3 } else { 6 };
            for _ in 0..choices.below(most) {
                let (key, len) = (*choices.pick(&["a", "b", "c", "d", "e", "f"]), choices.between(10, 100));
                let published = house.put_sized(key, usize::try_from(len).expect("few"));
                let expected = model.publish(key, len).ok_or(PublishError::Full);
                assert_eq!(published.map(|published| published.matched), expected, "{model:?}");
                compare(&house, consumer.lane, &model);
            }
            if held.is_empty() {
                continue;
            }
            // Often a byte or two beside the end of a frame.
            let near = parsed.get(choices.index(parsed.len().max(1))).map_or(rest, |(end, _)| end + rest);
            let cut = match choices.below(4) {
                0 => choices.index(held.len() + 1),
                1 => held.len(),
                _ => (near + choices.index(3)).saturating_sub(1).min(held.len()),
            };
            let is_message = model.out.len() > parsed.iter().filter(|(_, seq)| seq.is_some()).count();
            let (sent, is_partly, left) = cut_at(&parsed, (rest, is_message), cut);
            house.stage.answer_by(conn, &held, cut);
            rest = left;
            model.answer(sent, is_partly);
            compare(&house, consumer.lane, &model);
        }
    }
    house.stage.thaw(conn);
    let (all, lost) = (model.out.len() + model.waiting.len(), model.lost.clone());
    let mut expected = model.received;
    expected.extend(model.out.iter().chain(&model.waiting).map(|sent| sent.seq));
    let told = house.told(consumer);
    let received: Vec<u64> = told.iter().filter_map(|told| told.parse().ok()).collect();
    assert_eq!(received, expected, "{all} at last: {told:?}");
    let lost = |reason| lost.get(&reason).copied().unwrap_or(0);
    let missed = lost(LossReason::Oldest) + lost(LossReason::Newest);
    match house.stage.client(conn).reader().subs.get("t") {
        Some(sub) => assert_eq!(sub.missed, missed, "{told:?}"),
        None => assert_eq!(told.last().map(String::as_str), Some("ended overflow")),
    }
    [received.len() as u64, missed, lost(LossReason::Superseded)]
}

#[test]
fn every_policy_does_what_a_model_of_it_does() {
    for policy in Policy::ALL {
        let mut sums = [0; 3];
        for seed in 0..60 {
            let played = std::panic::catch_unwind(|| play(*policy, seed));
            let counts = played.unwrap_or_else(|_| panic!("{policy}, seed {seed}"));
            (0..3).for_each(|place| sums[place] += counts[place]);
        }
        println!("{policy}: received, missed, superseded {sums:?}");
        assert!(sums[0] > if *policy == Policy::Disconnect { 150 } else { 2_000 }, "{policy}: {sums:?}");
    }
}
