//! Streams against a model written independently: a plain queue per consumer. And everything is counted again after
//! every step.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use forebay_core::stream::{
    ConsumerOptions, End, Ending, Entry, NamedConsumerId, Next, StreamOptions, Streams, StreamsOptions, WriteError,
};
use forebay_core::{Count, Gap, Instant, LaneLimits, LossReason, Policy};
use forebay_testkit::rng::Choices;

type Value = Vec<u8>;

const NAMES: [&str; 5] = ["a", "b", "", "__proto__", "toString"];
const POLICIES: [Policy; 5] =
    [Policy::DropOldest, Policy::DropNewest, Policy::LatestOnly, Policy::Disconnect, Policy::Block];
const ITEM_BYTES_MAX: u32 = 8;

struct Waits {
    number: u64,
    value: Value,
    at: Instant,
}

struct Model {
    id: NamedConsumerId,
    name: &'static str,
    options: ConsumerOptions,
    waiting: VecDeque<Waits>,
    entered: u64,
    taken: u64,
    lost: [u64; LossReason::ALL.len()],
    gap: Option<Gap>,
    end: Option<End<Value>>,
    refused: Option<usize>,
    /// It was answered that there is nothing, and was not told since that there is something.
    is_asleep: bool,
}

impl Model {
    fn bytes(&self) -> usize {
        self.waiting.iter().map(|item| item.value.len()).sum()
    }

    fn fits(&self, bytes: usize) -> bool {
        self.waiting.len() < self.options.limits.messages_max as usize
            && (self.bytes() + bytes) as u64 <= self.options.limits.bytes_max
            && self.has_run_left()
    }

    fn has_run_left(&self) -> bool {
        let Some(last) = self.waiting.back() else { return true };
        let numbers: Vec<u64> = self.waiting.iter().map(|item| item.number).collect();
        let runs = 1 + numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        self.options.policy != Policy::DropNewest || last.number == self.entered || runs < 8
    }

    fn lose(&mut self, number: u64, reason: LossReason) {
        self.lost[reason as usize] += 1;
        if reason != LossReason::Superseded {
            let one = Gap { from: number, to: number, missed: 1, reasons: 1 << reason as u16 };
            self.gap = Some(self.gap.map_or(one, |gap| gap.merged(one)));
        }
    }

    fn lose_front(&mut self, reason: LossReason) {
        let item = self.waiting.pop_front().unwrap();
        self.lose(item.number, reason);
    }

    fn lose_all(&mut self, reason: LossReason) {
        while !self.waiting.is_empty() {
            self.lose_front(reason);
        }
    }

    fn cut_off(&mut self, how: Ending, value: Option<Value>) {
        if self.end.as_ref().is_none_or(|end| end.how == Ending::Closed) {
            self.lose_all(LossReason::Closed);
            self.end = Some(End { how, value, missed: self.gap.take().map_or(0, |gap| gap.missed) });
        }
        self.settle();
    }

    fn expire(&mut self, now: Instant) {
        let Some(age_max) = self.options.age_max else { return };
        while self.waiting.front().is_some_and(|item| item.at + age_max <= now) {
            self.lose_front(LossReason::Age);
        }
    }

    fn blocks(&self, bytes: usize) -> bool {
        self.options.policy == Policy::Block && self.end.is_none() && !self.fits(bytes)
    }

    /// Whether it is one of those that are told how many got it.
    fn receive(&mut self, value: &Value, now: Instant) -> bool {
        if self.end.is_some() {
            return false;
        }
        let fits = self.fits(value.len());
        match self.options.policy {
            Policy::LatestOnly => self.lose_all(LossReason::Superseded),
            Policy::DropOldest => {
                while !self.fits(value.len()) {
                    self.lose_front(LossReason::Oldest);
                }
            }
            Policy::Disconnect if !fits => {
                self.cut_off(Ending::Overflowed, None);
                return false;
            }
            Policy::DropNewest if !fits => {
                self.entered += 1;
                self.lose(self.entered, LossReason::Newest);
                return true;
            }
            _ => assert!(fits),
        }
        self.entered += 1;
        self.waiting.push_back(Waits { number: self.entered, value: value.clone(), at: now });
        true
    }

    fn next(&mut self) -> Next<Value> {
        let next = self.waiting.front().map(|item| item.number);
        if let Some(gap) = self.gap.take_if(|gap| next.is_none_or(|next| gap.from < next)) {
            return Next::Entry(Entry::Gap(gap));
        }
        let next = match self.waiting.pop_front() {
            Some(item) => {
                self.taken += 1;
                Next::Entry(Entry::Item(item.value))
            }
            None => self.end.clone().map_or(Next::Empty, Next::Done),
        };
        self.settle();
        next
    }

    fn settle(&mut self) {
        let limits = self.options.limits;
        let is_low = self.waiting.len() <= limits.messages_max as usize / 2
            && self.bytes() as u64 <= limits.bytes_max / 2
            && self.refused.is_some_and(|bytes| self.fits(bytes));
        if is_low || self.end.is_some() {
            self.refused = None;
        }
    }

    fn numbers(&self) -> [u64; 3] {
        [self.entered, self.taken, self.lost.iter().sum()]
    }

    fn is_active(&self) -> bool {
        self.end.is_none() || !self.waiting.is_empty()
    }
}

/// Both, side by side.
struct Both {
    streams: Streams<Value>,
    models: Vec<Model>,
    now: Instant,
    serial: u32,
    /// What entered consumers that are gone, was taken and was lost.
    gone: [u64; 3],
}

impl Both {
    fn new() -> Self {
        let stream = StreamOptions { item_bytes_max: ITEM_BYTES_MAX, consumers_max: 4, ..StreamOptions::default() };
        let options = StreamsOptions { stream, streams_max: 4, name_bytes_max: 9, reserved_bytes_max: 300 };
        let streams = Streams::new(options, Vec::len).unwrap();
        Self { streams, models: Vec::new(), now: Instant::ZERO, serial: 0, gone: [0; 3] }
    }

    fn of<'a>(&'a mut self, name: &'a str) -> impl Iterator<Item = &'a mut Model> {
        self.models.iter_mut().filter(move |model| model.name == name)
    }

    fn value(&mut self, choices: &mut Choices) -> Value {
        self.serial += 1;
        let mut value = self.serial.to_le_bytes().to_vec();
        let longest = ITEM_BYTES_MAX as usize + usize::from(choices.one_in(20));
        value.resize(choices.size(4, longest), 0);
        value
    }

    fn consume(&mut self, choices: &mut Choices) {
        let (name, policy) = (*choices.pick(&NAMES), *choices.pick(&POLICIES));
        let limits = LaneLimits { messages_max: choices.small(1, 12), bytes_max: choices.between(8, 60) };
        let ages = policy.is_lossy() && choices.one_in(2);
        let age_max = ages.then(|| Duration::from_millis(choices.between(1, 20)));
        let options = ConsumerOptions { policy, limits, age_max };
        let made = self.streams.consume(name, options);
        let of_name = self.of(name).count();
        let mut names: Vec<_> = self.models.iter().map(|model| model.name).collect();
        names.sort_unstable();
        names.dedup();
        let reserved: u64 =
            self.models.iter().filter(|model| model.is_active()).map(|model| model.options.limits.bytes_max).sum();
        let is_refused = of_name == 4 || (of_name == 0 && names.len() == 4) || reserved + limits.bytes_max > 300;
        assert_eq!(made.is_err(), is_refused, "{made:?}");
        self.models.extend(made.ok().map(|id| Model {
            id,
            name,
            options,
            waiting: VecDeque::new(),
            entered: 0,
            taken: 0,
            lost: Default::default(),
            gap: None,
            end: None,
            refused: None,
            is_asleep: false,
        }));
    }

    fn write(&mut self, choices: &mut Choices) {
        let (name, value) = (*choices.pick(&NAMES), self.value(choices));
        let written = self.streams.write(name, value.clone(), self.now);
        let now = self.now;
        self.of(name).for_each(|model| {
            model.expire(now);
            model.settle();
        });
        if value.len() > ITEM_BYTES_MAX as usize {
            return assert_eq!(written.unwrap_err().error, WriteError::TooLarge);
        }
        if self.of(name).any(|model| model.blocks(value.len())) {
            let refused = written.unwrap_err();
            assert_eq!((refused.error, &refused.value), (WriteError::Full, &value));
            return self.of(name).filter(|model| model.blocks(value.len())).for_each(|model| {
                model.refused = model.refused.max(Some(value.len()));
            });
        }
        let matched = self.of(name).map(|model| u32::from(model.receive(&value, now))).sum();
        assert_eq!(written, Ok(matched));
    }

    fn write_to(&mut self, choices: &mut Choices) {
        if self.models.is_empty() {
            return;
        }
        let (index, value, now) = (choices.index(self.models.len()), self.value(choices), self.now);
        let (id, name) = (self.models[index].id, self.models[index].name);
        let written = self.streams.write_to(id, value.clone(), now).map_err(|refused| refused.error);
        self.of(name).for_each(|model| {
            model.expire(now);
            model.settle();
        });
        let model = &mut self.models[index];
        let expected = if value.len() > ITEM_BYTES_MAX as usize {
            Err(WriteError::TooLarge)
        } else if model.end.is_some() {
            Err(WriteError::UnknownConsumer)
        } else if model.blocks(value.len()) {
            model.refused = model.refused.max(Some(value.len()));
            Err(WriteError::Full)
        } else {
            model.receive(&value, now);
            Ok(())
        };
        assert_eq!(written, expected);
    }

    fn take(&mut self, choices: &mut Choices) {
        for _ in 0..choices.between(1, 6) {
            if self.models.is_empty() {
                return;
            }
            let index = choices.index(self.models.len());
            let model = &mut self.models[index];
            let taken = self.streams.next(model.id, self.now);
            model.expire(self.now);
            assert_eq!(taken, model.next(), "{:?}", model.options);
            model.is_asleep = taken == Next::Empty;
            if let Next::Done(_) = taken {
                let gone = self.forget(index);
                assert_eq!(self.streams.next(gone, self.now), Next::Done(End::gone()));
                assert!(self.streams.consumer(gone, self.now).is_none());
            }
        }
    }

    fn end(&mut self, choices: &mut Choices) {
        let value = choices.one_in(2).then(|| b"end".to_vec());
        let name = *choices.pick(&NAMES);
        let index = choices.index(self.models.len().max(1));
        let one = self.models.get(index).map(|model| model.id);
        let (what, kills) = (choices.below(8), choices.one_in(2));
        match (what, one, kills) {
            (0, _, false) => self.streams.close_all(value.as_ref()),
            (0, _, true) => self.streams.kill_all(value.as_ref()),
            (1..=3, _, false) => self.streams.close(name, value.as_ref()),
            (1..=3, _, true) => self.streams.kill(name, value.as_ref()),
            (4..=6, Some(id), false) => assert!(self.streams.close_consumer(id, value.as_ref())),
            (4..=6, Some(id), true) => assert!(self.streams.kill_consumer(id, value.as_ref())),
            (_, Some(id), _) => {
                assert!(self.streams.remove(id, self.now));
                assert!(!self.streams.remove(id, self.now));
                self.models[index].lose_all(LossReason::Unsubscribed);
                self.forget(index);
                return;
            }
            _ => return,
        }
        let concerned = |model: &Model| match what {
            0 => true,
            1..=3 => model.name == name,
            _ => Some(model.id) == one,
        };
        for model in self.models.iter_mut().filter(|model| concerned(model)) {
            if kills {
                model.cut_off(Ending::Killed, value.clone());
            } else {
                model.end.get_or_insert(End { how: Ending::Closed, value: value.clone(), missed: 0 });
                model.settle();
            }
        }
    }

    fn forget(&mut self, index: usize) -> NamedConsumerId {
        let model = self.models.remove(index);
        self.gone.iter_mut().zip(model.numbers()).for_each(|(gone, more)| *gone += more);
        model.id
    }

    /// Who sleeps is woken once when there is something, and nobody else is.
    fn wake(&mut self) {
        let mut woken: Vec<_> = std::iter::from_fn(|| self.streams.poll_ready()).collect();
        let wakes = |model: &&mut Model| {
            model.is_asleep && (model.end.is_some() || model.gap.is_some() || !model.waiting.is_empty())
        };
        let mut expected: Vec<_> = self.models.iter_mut().filter(wakes).collect();
        expected.iter_mut().for_each(|model| model.is_asleep = false);
        let mut expected: Vec<_> = expected.iter().map(|model| model.id).collect();
        woken.sort_unstable();
        expected.sort_unstable();
        assert_eq!(woken, expected);
    }

    fn compare(&mut self) {
        self.streams.check_invariants();
        let mut maximum = Count::default();
        for model in &self.models {
            let stats = self.streams.consumer(model.id, self.now).expect("it is there");
            let totals = stats.totals;
            assert_eq!(totals.entered.messages, model.entered);
            assert_eq!(totals.sent.messages, model.taken);
            assert_eq!(totals.waiting, Count::new(model.waiting.len() as u64, model.bytes() as u64));
            assert_eq!(totals.lost.map(|lost| lost.messages), model.lost);
            let oldest_age = model.waiting.front().map_or(Duration::ZERO, |item| self.now.since(item.at));
            assert_eq!(stats.load.oldest_age, oldest_age);
            maximum.messages = maximum.messages.max(totals.waiting.messages);
            maximum.bytes = maximum.bytes.max(totals.waiting.bytes);
        }
        let pressure = self.streams.pressure(self.now);
        assert_eq!(pressure.load.largest, maximum);
        assert_eq!(pressure.load.waiting, self.streams.totals().waiting);
        assert_eq!(pressure.consumers, self.models.iter().filter(|model| model.is_active()).count() as u64);
        let mut numbers = self.gone;
        self.models.iter().for_each(|model| numbers.iter_mut().zip(model.numbers()).for_each(|(sum, one)| *sum += one));
        let totals = self.streams.totals();
        assert_eq!([totals.entered, totals.sent, totals.lost_total()].map(|count| count.messages), numbers);
        for name in NAMES {
            let is_drained = self.of(name).all(|model| model.refused.is_none());
            assert_eq!(self.streams.is_drained(name), is_drained, "{name:?}");
            let id = self.streams.id(name);
            assert_eq!(id.is_none_or(|id| self.streams.is_stream_drained(id)), is_drained, "{name:?}");
            let mut waiting: Vec<&Value> = self
                .models
                .iter()
                .filter(|m| m.name == name)
                .flat_map(|m| &m.waiting)
                .map(|item| &item.value)
                .collect();
            waiting.sort_unstable();
            waiting.dedup(); // Every value is another.
            let held = self.streams.stream(name).map_or(0, |stream| stream.held().messages);
            assert_eq!(held, waiting.len() as u64, "{name:?} keeps each item that waits once, and no other");
            let is_active = self.of(name).any(|model| model.is_active());
            assert_eq!(self.streams.names().any(|there| there == name), is_active);
        }
    }
}

fn run(seed: u64, steps: u64) {
    let mut choices = Choices::from_seed(seed);
    let mut both = Both::new();
    // Each run has habits of its own.
    let weights = [2, choices.between(1, 20), choices.between(0, 6), choices.between(1, 12), choices.between(0, 2), 2];
    for _ in 0..steps {
        let mut drawn = choices.below(weights.iter().sum());
        let step = weights.iter().position(|weight| {
            let is_it = drawn < *weight;
            drawn = drawn.wrapping_sub(if is_it { 0 } else { *weight });
            is_it
        });
        match step {
            Some(0) => both.consume(&mut choices),
            Some(1) => both.write(&mut choices),
            Some(2) => both.write_to(&mut choices),
            Some(3) => both.take(&mut choices),
            Some(4) => both.end(&mut choices),
            _ => {
                // Backwards as well: it stands still then.
                let nanos = both.now.as_nanos() + choices.below(5_000_000);
                both.now = Instant::from_nanos(nanos);
                both.streams.expire(both.now);
                let now = both.now;
                both.models.iter_mut().for_each(|model| {
                    model.expire(now);
                    model.settle();
                });
            }
        }
        both.compare();
        if choices.one_in(4) {
            both.wake();
        }
    }
}

#[test]
fn streams_do_what_a_queue_for_each_consumer_would() {
    let seeds = std::env::var("FOREBAY_SEEDS").map_or(200, |seeds| seeds.parse().expect("a number"));
    (0..seeds).for_each(|seed| run(seed, 400));
}
