#![doc = include_str!("manual.md")]

mod log;
mod member;
mod named;
mod options;
mod pressure;
mod queue;

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;

pub use named::{NamedConsumerId, Streams};
pub use options::{ConsumerOptions, StreamOptions, StreamsOptions};
pub use pressure::{ConsumerStats, StreamPressure};

use self::log::Log;
use self::member::{Member, Received};
use crate::config::{ConfigError, Watermarks};
use crate::output::{Gap, LossReason};
use crate::slab::Slab;
use crate::stats::{Count, Totals};
use crate::time::Instant;

crate::id::ids! {
    /// Names a consumer of one stream.
    ConsumerId, "consumer";
    /// Names a stream of one set.
    StreamId, "stream";
}

crate::error::errors! {
    /// A consumer was not made.
    ConsumerError {
        /// `LatestPerKey`: items have no keys.
        PolicyNotAllowed = "a policy for messages with keys",
        /// A limit that is zero, a `bytes_max` below `item_bytes_max`, or an `age_max` below 1 ms or with a policy that
        /// loses no single items.
        InvalidLimits = "limits that contradict each other, or too low for one item",
        /// `consumers_max` are there already.
        ConsumersFull = "consumers_max reached",
        /// `streams_max` are there already.
        StreamsFull = "streams_max reached",
        /// A name longer than `name_bytes_max`.
        NameTooLong = "a name longer than name_bytes_max",
        /// `reserved_bytes_max` are reserved already.
        Overloaded = "reserved_bytes_max reached",
    }
    /// An item was not written; nothing changed.
    WriteError {
        /// A consumer with the policy `Block` has no room; [`Stream::is_drained`] tells when to try again.
        Full = "a consumer with the policy block is full",
        /// Larger than `item_bytes_max`.
        TooLarge = "larger than item_bytes_max",
        /// The consumer it was for is gone, or takes no more.
        UnknownConsumer = "no such consumer",
    }
}

/// A write that was refused, with what was to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused<T> {
    /// Why.
    pub error: WriteError,
    /// The item.
    pub value: T,
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: fmt::Debug> core::error::Error for Refused<T> {}

/// What a consumer takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry<T> {
    /// The next item.
    Item(T),
    /// What was lost before it. The numbers count what entered this consumer, from 1.
    Gap(Gap),
}

impl<T> Entry<T> {
    /// The item, if it is one.
    #[must_use]
    pub fn item(self) -> Option<T> {
        match self {
            Self::Item(value) => Some(value),
            Self::Gap(_) => None,
        }
    }
}

/// How a consumer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Ending {
    /// Closed, and everything that came before was taken.
    Closed,
    /// Killed: what waited was lost.
    Killed,
    /// An item did not fit (`Disconnect`): what waited was lost.
    Overflowed,
    /// Its end was told before, or it was removed.
    Gone,
}

/// The end of a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End<T> {
    /// How.
    pub how: Ending,
    /// What it was closed or killed with.
    pub value: Option<T>,
    /// Items that were lost to it and not told by a gap.
    pub missed: u64,
}

impl<T> End<T> {
    /// Of a consumer that is not there.
    #[must_use]
    pub const fn gone() -> Self {
        Self { how: Ending::Gone, value: None, missed: 0 }
    }
}

/// What there is for a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next<T> {
    /// An item, or a gap.
    Entry(Entry<T>),
    /// Nothing now. [`Stream::poll_ready`] tells when there is.
    Empty,
    /// Nothing any more: the id is stale from now on.
    Done(End<T>),
}

/// Many consumers of one log of items: the page of this module is its manual.
#[derive(Debug)]
pub struct Stream<T> {
    options: StreamOptions,
    size_bytes: fn(&T) -> usize,
    log: Log<T>,
    members: Slab<ConsumerId, Member<T>>,
    books: Books,
    /// The totals of consumers that are gone.
    gone: Totals,
}

/// What is known of all consumers without looking at each.
#[derive(Debug)]
struct Books {
    watermarks: Watermarks,
    now: Instant,
    /// Consumers that waited and for whom there is something now.
    ready: BTreeSet<ConsumerId>,
    /// Consumers that refused and have not made room since.
    refusing: u32,
    /// The `bytes_max` of the active consumers.
    reserved_bytes: u64,
}

impl Books {
    /// An item of so many bytes is refused for the sake of a consumer.
    fn refuse<T>(&mut self, member: &mut Member<T>, bytes: u64) {
        self.refusing += u32::from(member.refuse(bytes));
        member.gauge(&self.watermarks, self.now);
    }

    /// Changes a consumer and keeps the books.
    fn change<T, R>(&mut self, id: ConsumerId, member: &mut Member<T>, change: impl FnOnce(&mut Member<T>) -> R) -> R {
        let was_active = member.is_active();
        let result = change(member);
        if was_active && !member.is_active() {
            self.reserved_bytes -= member.limits().bytes_max;
        }
        member.gauge(&self.watermarks, self.now);
        if member.has_made_room(&self.watermarks) {
            member.refused_bytes = None;
            self.refusing -= 1;
        }
        if member.is_waiting && member.has_something() {
            member.is_waiting = false;
            self.ready.insert(id);
        }
        result
    }
}

impl<T: Clone> Stream<T> {
    /// A stream without consumers. `size_bytes` says how many bytes an item counts.
    ///
    /// # Errors
    /// A limit that is zero.
    pub fn new(options: StreamOptions, size_bytes: fn(&T) -> usize) -> Result<Self, ConfigError> {
        options.check()?;
        Ok(Self::checked(options, size_bytes))
    }

    fn checked(options: StreamOptions, size_bytes: fn(&T) -> usize) -> Self {
        let books = Books {
            watermarks: options.watermarks,
            now: Instant::ZERO,
            ready: BTreeSet::new(),
            refusing: 0,
            reserved_bytes: 0,
        };
        Self { options, size_bytes, log: Log::new(), members: Slab::new(), books, gone: Totals::default() }
    }

    /// Makes a consumer of what is written from now on.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn consume(&mut self, options: ConsumerOptions) -> Result<ConsumerId, ConsumerError> {
        options.check(&self.options)?;
        if self.members.len() >= self.options.consumers_max as usize {
            return Err(ConsumerError::ConsumersFull);
        }
        self.books.reserved_bytes += options.limits.bytes_max;
        Ok(self.members.insert_with(|_| Member::new(options)))
    }

    /// Writes an item for all consumers there are, and says how many. What is for nobody is not kept.
    ///
    /// # Errors
    /// [`WriteError::Full`], [`WriteError::TooLarge`]: nothing changed, and the item is given back.
    pub fn write(&mut self, value: T, now: Instant) -> Result<u32, Refused<T>> {
        let bytes = match self.judge(&value, now) {
            Ok(bytes) if self.refuses(bytes) => return Err(Refused { error: WriteError::Full, value }),
            Ok(bytes) => bytes,
            Err(error) => return Err(Refused { error, value }),
        };
        let (mut takers, mut matched) = (0, 0);
        for (id, member) in self.members.iter_mut() {
            let received = self.books.change(id, member, |member| member.receive(&mut self.log, bytes));
            takers += u32::from(received == Received::Waits);
            matched += u32::from(received != Received::Not);
        }
        self.log.push(value, bytes, self.books.now, takers);
        Ok(matched)
    }

    /// Writes an item for one consumer, in its order with what is for all. It counts for that one alone.
    ///
    /// # Errors
    /// Nothing changed, and the item is given back.
    pub fn write_to(&mut self, id: ConsumerId, value: T, now: Instant) -> Result<(), Refused<T>> {
        let bytes = match self.judge(&value, now) {
            Ok(bytes) => bytes,
            Err(error) => return Err(Refused { error, value }),
        };
        let Some(member) = self.members.get_mut(id).filter(|member| member.end.is_none()) else {
            return Err(Refused { error: WriteError::UnknownConsumer, value });
        };
        if member.blocks(bytes) {
            self.books.refuse(member, bytes);
            return Err(Refused { error: WriteError::Full, value });
        }
        let received = self.books.change(id, member, |member| member.receive(&mut self.log, bytes));
        self.log.push(value, bytes, self.books.now, u32::from(received == Received::Waits));
        Ok(())
    }

    /// Whether a write of any size would be taken now. If not, that counts as a refusal: [`is_drained`](Self::is_drained)
    /// tells when to ask again.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.expire(now);
        !self.refuses(self.options.item_bytes_max.into())
    }

    /// The next thing for a consumer. After `Done` the id is stale, and answered `Done` with [`Ending::Gone`], always.
    pub fn next(&mut self, id: ConsumerId, now: Instant) -> Next<T> {
        self.tick(now);
        let Some(member) = self.members.get_mut(id) else { return Next::Done(End::gone()) };
        let log = &mut self.log;
        let now = self.books.now;
        let entry = self.books.change(id, member, |member| {
            member.expire(log, now);
            let gap = member.queue.take_due_gap().map(Entry::Gap);
            gap.or_else(|| member.take(log).map(Entry::Item))
        });
        self.books.ready.remove(&id);
        match (entry, member.end.take()) {
            (Some(entry), end) => {
                member.end = end;
                Next::Entry(entry)
            }
            (None, None) => {
                member.is_waiting = true;
                Next::Empty
            }
            (None, Some(end)) => {
                self.forget(id);
                Next::Done(end)
            }
        }
    }

    /// A consumer that was answered [`Next::Empty`] and for which there is something now; each is told once per answer.
    pub fn poll_ready(&mut self) -> Option<ConsumerId> {
        self.books.ready.pop_first()
    }

    /// Removes a consumer; what waits for it is lost (`unsubscribed`). Whether it was there.
    pub fn remove(&mut self, id: ConsumerId, now: Instant) -> bool {
        self.tick(now);
        let Some(member) = self.members.get_mut(id) else { return false };
        self.books.change(id, member, |member| {
            member.lose_all(&mut self.log, LossReason::Unsubscribed);
            member.close(None);
        });
        self.forget(id);
        true
    }

    fn forget(&mut self, id: ConsumerId) {
        self.books.ready.remove(&id);
        let member = self.members.remove(id).expect("it is there");
        self.gone += &member.queue.totals();
    }

    /// Ends all consumers behind what waits for them, with this value. Consumers that are made later are not concerned.
    pub fn close(&mut self, value: Option<&T>) {
        for (id, member) in self.members.iter_mut() {
            self.books.change(id, member, |member| member.close(value.cloned()));
        }
    }

    /// Ends all consumers now, with this value: what waits for them is lost (`closed`). Consumers that are made later are
    /// not concerned.
    pub fn kill(&mut self, value: Option<&T>) {
        for (id, member) in self.members.iter_mut() {
            self.books.change(id, member, |member| member.cut_off(&mut self.log, Ending::Killed, value.cloned()));
        }
    }

    /// Ends one consumer behind what waits for it. Whether it was there.
    pub fn close_consumer(&mut self, id: ConsumerId, value: Option<&T>) -> bool {
        let Some(member) = self.members.get_mut(id) else { return false };
        self.books.change(id, member, |member| member.close(value.cloned()));
        true
    }

    /// Ends one consumer now: what waits for it is lost (`closed`). Whether it was there.
    pub fn kill_consumer(&mut self, id: ConsumerId, value: Option<&T>) -> bool {
        let Some(member) = self.members.get_mut(id) else { return false };
        self.books.change(id, member, |member| member.cut_off(&mut self.log, Ending::Killed, value.cloned()));
        true
    }

    /// What has waited for its consumer's `age_max` is lost. Every call with a time does that for the consumers it
    /// concerns; nothing else does.
    pub fn expire(&mut self, now: Instant) {
        self.tick(now);
        let now = self.books.now;
        for (id, member) in self.members.iter_mut() {
            self.books.change(id, member, |member| member.expire(&mut self.log, now));
        }
    }

    fn tick(&mut self, now: Instant) {
        self.books.now = self.books.now.max(now);
    }

    /// The size of an item to be written.
    fn judge(&mut self, value: &T, now: Instant) -> Result<u64, WriteError> {
        self.expire(now);
        let bytes = (self.size_bytes)(value) as u64;
        if bytes > u64::from(self.options.item_bytes_max) { Err(WriteError::TooLarge) } else { Ok(bytes) }
    }

    /// Whether an item of so many bytes has to be refused; remembers for whose sake.
    fn refuses(&mut self, bytes: u64) -> bool {
        let mut is_refused = false;
        for (_, member) in self.members.iter_mut().filter(|(_, member)| member.blocks(bytes)) {
            self.books.refuse(member, bytes);
            is_refused = true;
        }
        is_refused
    }
}

/// Numbers.
impl<T> Stream<T> {
    /// Whether every consumer that refused (a write, or [`has_room`](Self::has_room)) is at or below its low mark
    /// since then and has room for the largest item it refused, or has ended. May change with each call that lets
    /// consumers take, lose or end.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.books.refusing == 0
    }

    /// Whether the id names a consumer that is there.
    #[must_use]
    pub fn has_consumer(&self, id: ConsumerId) -> bool {
        self.members.get(id).is_some()
    }

    /// What there is to know of a consumer; `None` for a stale id.
    #[must_use]
    pub fn consumer(&self, id: ConsumerId, now: Instant) -> Option<ConsumerStats> {
        let now = self.books.now.max(now);
        self.members.get(id).map(|member| member.stats(&self.log, &self.books.watermarks, now))
    }

    /// All consumers there are; those that have ended and were not told yet are among them.
    pub fn consumers(&self, now: Instant) -> impl Iterator<Item = (ConsumerId, ConsumerStats)> {
        let (marks, now) = (&self.books.watermarks, self.books.now.max(now));
        self.members.iter().map(move |(id, member)| (id, member.stats(&self.log, marks, now)))
    }

    /// How much waits.
    #[must_use]
    pub fn pressure(&self, now: Instant) -> StreamPressure {
        let (marks, now) = (&self.books.watermarks, self.books.now.max(now));
        let active = self.members.iter().filter(|(_, member)| member.is_active());
        let loads = active.map(|(_, member)| StreamPressure { consumers: 1, load: member.load(&self.log, marks, now) });
        loads.fold(StreamPressure::default(), StreamPressure::with)
    }

    /// The terms of the queue law, over all consumers of all time.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.gone;
        self.members.iter().for_each(|(_, member)| totals += &member.queue.totals());
        totals
    }

    /// What is kept: every item that somebody has yet to take, once.
    #[must_use]
    pub fn held(&self) -> Count {
        self.log.held()
    }

    /// Whether there is a consumer that receives, or has yet to take something.
    fn is_active(&self) -> bool {
        self.members.iter().any(|(_, member)| member.is_active())
    }

    /// Recounts everything. For tests.
    ///
    /// # Panics
    /// A number is wrong.
    pub fn check_invariants(&self) {
        let mut takers = BTreeMap::<u64, u32>::new();
        let items = self.members.iter().flat_map(|(_, member)| member.queue.items());
        items.for_each(|item| *takers.entry(item).or_default() += 1);
        let bytes = self.log.check(&takers);
        let (mut refusing, mut reserved_bytes) = (0, 0);
        for (id, member) in self.members.iter() {
            let mut waiting = Count::default();
            member.queue.items().for_each(|item| waiting += Count::new(1, bytes(item)));
            let totals = member.queue.totals();
            assert_eq!((totals.waiting, member.queue.waiting()), (waiting, waiting), "{id:?}");
            assert_eq!(totals.conservation_error(), 0, "{id:?}");
            let limits = member.limits();
            assert!(waiting.messages <= limits.messages_max.into() && waiting.bytes <= limits.bytes_max, "{id:?}");
            assert!(!member.is_waiting || !member.has_something(), "{id:?} waits for nothing");
            refusing += u32::from(member.refused_bytes.is_some());
            reserved_bytes += if member.is_active() { limits.bytes_max } else { 0 };
        }
        assert_eq!((refusing, reserved_bytes), (self.books.refusing, self.books.reserved_bytes));
        assert_eq!(self.totals().conservation_error(), 0);
        assert!(self.books.ready.iter().all(|id| self.members.get(*id).is_some_and(Member::has_something)));
    }
}
