//! Latest messages against a list of all messages, each of which is somewhere in each lane.

use super::*;
use bytes::BufMut as _;
use std::collections::{BTreeMap, BTreeSet};
use std::string::{String, ToString};
use std::vec::Vec;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    Outstanding,
    Sent,
    Lost(LossReason),
    /// It was published before the lane began, and did not enter it.
    Never,
}

struct Message {
    key: String,
    bytes: u64,
}

struct Model {
    messages: Vec<Message>,
    /// Known keys with the number of their latest message.
    keys: Vec<(String, u64)>,
    /// Why a key was forgotten last.
    forgotten_for: LossReason,
    /// By lane: the number of its first message, and the state of each from there.
    lanes: Vec<(u64, Vec<State>)>,
}

const KEYS_MAX: u32 = 4;
const BYTES_MAX: u64 = 100;

impl Model {
    fn message(&self, seq: u64) -> &Message {
        &self.messages[usize::try_from(seq - 1).unwrap()]
    }

    fn state(&mut self, lane: usize, seq: u64) -> &mut State {
        let (first, states) = &mut self.lanes[lane];
        &mut states[usize::try_from(seq - *first).unwrap()]
    }

    fn waiting_to(&mut self, seq: u64, state: State) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].0 <= seq && *self.state(lane, seq) == State::Waiting {
                *self.state(lane, seq) = state;
            }
        }
    }

    fn publish(&mut self, key: &str, bytes: u64) -> u64 {
        self.messages.push(Message { key: key.into(), bytes });
        let seq = self.messages.len() as u64;
        if let Some(place) = self.keys.iter().position(|(known, _)| known == key) {
            let (_, before) = self.keys.remove(place);
            self.waiting_to(before, State::Lost(LossReason::Superseded));
        }
        self.keys.push((key.into(), seq));
        self.lanes.iter_mut().for_each(|(_, states)| states.push(State::Waiting));
        while self.keys.len() > KEYS_MAX as usize
            || self.keys.iter().map(|(_, seq)| self.message(*seq).bytes).sum::<u64>() > BYTES_MAX
        {
            self.forget(LossReason::Oldest);
        }
        seq
    }

    fn forget(&mut self, reason: LossReason) {
        // They are in the order of their latest messages.
        let (_, seq) = self.keys.remove(0);
        self.forgotten_for = reason;
        self.waiting_to(seq, State::Lost(reason));
    }

    fn count(&self, lane: usize, state: State) -> Count {
        let (first, states) = &self.lanes[lane];
        let mut count = Count::default();
        for (seq, at) in (*first..).zip(states) {
            if *at == state {
                count += Count::new(1, self.message(seq).bytes);
            }
        }
        count
    }
}

/// An outstanding message, with its frame or without.
enum Out {
    Taken(Taken),
    Pinned(Unsettled),
}

impl Out {
    /// Of one that is taken, which frame.
    fn which(&self) -> Option<Which> {
        match self {
            Self::Taken(taken) => Some(taken.which),
            Self::Pinned(_) => None,
        }
    }

    fn message(&self) -> &Unsettled {
        match self {
            Self::Taken(taken) => &taken.message,
            Self::Pinned(message) => message,
        }
    }

    fn let_go(self, latest: &mut Latest) -> Unsettled {
        match self {
            Self::Taken(taken) => latest.let_go(taken),
            Self::Pinned(message) => message,
        }
    }
}

struct World {
    latest: Latest,
    lanes: Vec<LatestLane>,
    out: Vec<Vec<Out>>,
    /// What is allocated for the frames of each message.
    capacities: BTreeMap<u64, [usize; ENCODINGS]>,
    /// How long compressed frames are.
    forms: BTreeMap<(u64, usize), usize>,
    model: Model,
    head: Mark,
    state: u64,
}

impl World {
    fn draw(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.state >> 33) % below as u64).unwrap()
    }

    fn publish(&mut self) {
        let key = ["", "a", "b", "c", "d", "e"][self.draw(6)];
        let bytes = self.draw(60) as u64;
        let seq = self.model.publish(key, bytes);
        self.head = Mark { messages: seq, bytes: self.head.bytes + bytes };
        let (stamp, lanes) = (seq, u32::try_from(self.lanes.len()).unwrap());
        let new = New { key, through: self.head, bytes, stamp, at: Instant::from_nanos(seq), lanes };
        let text = std::format!("{seq} {key}");
        let more = std::format!("{text}{}", "x".repeat(self.draw(40)));
        // Nobody reads the other encoding while there is one lane.
        let frame_bytes = [more.len(), if lanes > 1 { text.len() } else { 0 }];
        let growth = self.latest.growth(key, frame_bytes);
        let before = self.latest.resident();
        self.latest.put(new, frame_bytes, |encoding, out| out.put_slice([&more, &text][encoding].as_bytes()));
        let (after, most) = (self.latest.resident(), before + growth);
        assert!(after.log <= most.log && after.hub <= most.hub, "it grows as announced at most");
        self.capacities.insert(seq, self.latest.by_seq[&seq].capacities);
        while self.latest.is_over() {
            self.forget(LossReason::Oldest);
        }
    }

    fn forget(&mut self, reason: LossReason) {
        let before = self.latest.resident();
        let forgotten = self.latest.forget_oldest(reason).unwrap();
        assert!(self.latest.resident().hub < before.hub, "its entry goes at least");
        self.lanes.iter_mut().for_each(|lane| lane.forget(forgotten));
    }

    fn step(&mut self) {
        let lane = self.draw(self.lanes.len());
        match self.draw(9) {
            0..=3 => self.publish(),
            4 | 5 => {
                let next = self.lanes[lane].next(&self.latest).map(|(seq, _)| seq);
                let which = next.map_or(Which::Plain, |seq| self.form(seq, lane % 2));
                let taken = self.lanes[lane].start(&mut self.latest, lane % 2, which);
                assert_eq!(taken.as_ref().map(|taken| taken.message.seq), next);
                if let Some(taken) = taken {
                    *self.model.state(lane, taken.message.seq) = State::Outstanding;
                    self.out[lane].push(Out::Taken(taken));
                }
            }
            6 => {
                let sent = self.draw(self.out[lane].len() + 1);
                for out in self.out[lane].drain(..sent) {
                    let seq = out.message().seq;
                    if let Out::Taken(taken) = &out {
                        let compressed = if taken.which == Which::Compressed { "compressed " } else { "" };
                        let text = std::format!("{compressed}{seq} {}", self.model.message(seq).key);
                        assert!(taken.frame.starts_with(text.as_bytes()), "its own frame");
                    }
                    self.lanes[lane].sent(out.let_go(&mut self.latest));
                    *self.model.state(lane, seq) = State::Sent;
                }
            }
            7 => {
                // What was not sent returns: all of it, but for what is pinned.
                let pinned = self.draw(2).min(self.out[lane].len());
                for out in self.out[lane].split_off(pinned) {
                    let seq = out.message().seq;
                    let message = out.let_go(&mut self.latest);
                    let reason = self.lanes[lane].returned(&mut self.latest, message, None);
                    let key = self.model.message(seq).key.clone();
                    let known = self.model.keys.iter().find(|(known, _)| *known == key).map(|(_, seq)| *seq);
                    let expected = match known {
                        Some(latest) if latest == seq => State::Waiting,
                        Some(_) => State::Lost(LossReason::Superseded),
                        None => State::Lost(self.model.forgotten_for),
                    };
                    assert_eq!(reason.map_or(State::Waiting, State::Lost), expected);
                    *self.model.state(lane, seq) = expected;
                }
                let pinned = self.out[lane].pop().map(|out| Out::Pinned(out.let_go(&mut self.latest)));
                self.out[lane].extend(pinned);
            }
            _ if self.draw(4) == 0 && self.latest.oldest().is_some() => {
                self.forget(LossReason::LogBound);
                self.model.forget(LossReason::LogBound);
            }
            _ if self.lanes.len() < 5 => self.join(),
            _ => self.drop_forms(),
        }
    }

    /// Which frame of a message a lane takes; it may be made for that, or found to be of no use.
    fn form(&mut self, seq: u64, encoding: usize) -> Which {
        let text = std::format!("compressed {seq} {}", self.model.message(seq).key);
        let known = self.latest.compressed_bytes(seq, encoding);
        assert_eq!(known, self.forms.get(&(seq, encoding)).copied(), "a form is there until it goes");
        let len = known.unwrap_or_else(|| {
            let frame = if self.draw(3) == 0 { Bytes::new() } else { Bytes::from(text) };
            let (len, before) = (frame.len(), self.latest.resident());
            self.latest.set_form(seq, encoding, frame);
            self.forms.insert((seq, encoding), len);
            let grown = Resident::of_both(Latest::form_bytes_max(len));
            assert_eq!(self.latest.resident(), before + grown, "it grows as announced");
            len
        });
        if len > 0 && self.draw(2) == 0 { Which::Compressed } else { Which::Plain }
    }

    /// Forms go that nobody has.
    fn drop_forms(&mut self) {
        self.latest.drop_forms();
        let out = self.out.iter().enumerate().flat_map(|(nth, out)| out.iter().map(move |out| (nth % 2, out)));
        let kept: BTreeSet<(u64, usize)> = out
            .filter(|(_, out)| out.which() == Some(Which::Compressed))
            .map(|(enc, out)| (out.message().seq, enc))
            .collect();
        self.forms.retain(|form, _| kept.contains(form));
    }

    /// One more lane, at the head or with what is known behind a place in the past.
    fn join(&mut self) {
        let encoding = self.lanes.len() % 2;
        let mut lane = LatestLane::new(self.head);
        let mut states = Vec::new();
        if self.draw(2) == 0 {
            let place = self.draw(usize::try_from(self.head.messages).unwrap() + 1) as u64;
            // Nothing is known at or before the newest of which there is no frame, or which is too old.
            let too_old = Instant::from_nanos(self.draw(usize::try_from(self.head.messages).unwrap() + 1) as u64 / 3);
            let is_bad = |slot: &Slot| slot.frames[encoding].is_empty() || slot.at <= too_old;
            let bad = self.latest.by_seq.iter().filter(|(_, slot)| is_bad(slot)).map(|(seq, _)| *seq).max();
            lane.enter(&mut self.latest, place, encoding, |at| at <= too_old);
            let from = place.max(bad.unwrap_or(0));
            let is_known = |seq: u64| seq > from && self.model.keys.iter().any(|(_, latest)| *latest == seq);
            states
                .extend((1..=self.head.messages).map(|seq| if is_known(seq) { State::Waiting } else { State::Never }));
            self.model.lanes.push((1, states));
        } else {
            self.model.lanes.push((self.head.messages + 1, states));
        }
        self.lanes.push(lane);
        self.out.push(Vec::new());
    }

    fn check(&self) {
        let places: Vec<u64> = self.lanes.iter().filter_map(LatestLane::place).collect();
        self.latest.check(&places);
        let out = self.out.iter().enumerate().flat_map(|(nth, out)| out.iter().map(move |out| (nth % 2, out)));
        let taken =
            out.filter_map(|(encoding, out)| Some((out.message().seq, encoding, out.which()? == Which::Compressed)));
        assert_eq!(self.latest.taken(), taken.clone().count() as u64);
        let allocated = |frames: BTreeSet<(u64, usize, bool)>| -> usize {
            let bytes = |(seq, encoding, is_compressed): (u64, usize, bool)| match is_compressed {
                true => Latest::form_bytes_max(std::format!("compressed {seq} {}", self.model.message(seq).key).len()),
                false => self.capacities[&seq][encoding],
            };
            frames.into_iter().map(bytes).sum()
        };
        let is_latest = |seq: u64| self.model.keys.iter().any(|(_, latest)| *latest == seq);
        let (resident, freeable) = (self.latest.resident(), self.latest.freeable());
        let lent = allocated(taken.clone().filter(|(seq, ..)| !is_latest(*seq)).collect());
        assert_eq!(resident.hub - resident.log, lent, "each frame that is lent counts once");
        assert_eq!(resident.hub - freeable.hub, allocated(taken.collect()), "what is taken stays");
        for (nth, lane) in self.lanes.iter().enumerate() {
            let totals = lane.totals(&self.latest, self.head);
            assert_eq!(totals.conservation_error(), 0);
            assert_eq!(lane.waiting(&self.latest), self.model.count(nth, State::Waiting));
            assert_eq!(lane.outstanding(), self.model.count(nth, State::Outstanding));
            assert_eq!(totals.sent, self.model.count(nth, State::Sent));
            for reason in LossReason::ALL {
                assert_eq!(totals.lost_by(reason), self.model.count(nth, State::Lost(reason)), "{reason:?}");
            }
        }
    }
}

#[test]
fn every_message_is_where_the_model_says() {
    for seed in 0..40 {
        let (forgotten_for, lanes) = (LossReason::Oldest, std::vec![(1, Vec::new())]);
        let model = Model { messages: Vec::new(), keys: Vec::new(), forgotten_for, lanes };
        let mut world = World {
            latest: Latest::new(KEYS_MAX, BYTES_MAX),
            lanes: std::vec![LatestLane::new(Mark::default())],
            out: std::vec![Vec::new()],
            capacities: BTreeMap::new(),
            forms: BTreeMap::new(),
            model,
            head: Mark::default(),
            state: seed,
        };
        for _ in 0..300 {
            world.step();
            world.check();
        }
        for nth in 0..world.lanes.len() {
            let waited = world.model.count(nth, State::Waiting);
            let lost = world.lanes[nth].end(&mut world.latest, world.head, LossReason::Closed);
            assert_eq!(lost, waited);
            for out in core::mem::take(&mut world.out[nth]) {
                let message = out.let_go(&mut world.latest);
                let reason = world.lanes[nth].returned(&mut world.latest, message, Some(LossReason::Closed));
                assert_eq!(reason, Some(LossReason::Closed));
            }
            let later = Mark { messages: world.head.messages + 5, bytes: world.head.bytes + 50 };
            let totals = world.lanes[nth].totals(&world.latest, later);
            assert_eq!((totals.waiting, totals.conservation_error()), (Count::default(), 0));
        }
        world.latest.check(&[]);
        assert_eq!(world.latest.resident(), world.latest.freeable(), "nothing is lent any more");
    }
}

#[test]
fn a_key_costs_what_is_said() {
    assert_eq!(ENTRY_BYTES, 192);
}

#[test]
fn a_key_that_is_published_again_and_again_uses_one_buffer() {
    let mut latest = Latest::new(10, 1_000);
    let mut pointers = Vec::new();
    for seq in 1..=10 {
        let text = (100 + seq).to_string();
        let through = Mark { messages: seq, bytes: seq };
        let new = New { key: "k", through, bytes: 1, stamp: seq, at: Instant::ZERO, lanes: 0 };
        latest.put(new, [3, 0], |_, out| out.put_slice(text.as_bytes()));
        pointers.push(latest.by_seq[&seq].frames[0].as_ptr());
    }
    assert!(pointers.iter().all(|pointer| *pointer == pointers[0]));
}
