//! Streams by name.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{
    ConsumerError, ConsumerId, ConsumerOptions, ConsumerStats, End, Next, Refused, Stream, StreamId, StreamPressure,
    StreamsOptions, WriteError,
};
use crate::config::ConfigError;
use crate::slab::Slab;
use crate::stats::Totals;
use crate::time::Instant;

/// Names a consumer of a stream of a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct NamedConsumerId {
    /// The stream.
    pub stream: StreamId,
    /// Its consumer.
    pub consumer: ConsumerId,
}

#[derive(Debug)]
struct Named<T> {
    name: Box<str>,
    stream: Stream<T>,
}

/// Streams by name: any text of at most `name_bytes_max` bytes. A stream is there while it has consumers.
///
/// Every method is that of [`Stream`], for one of them or for all.
#[derive(Debug)]
pub struct Streams<T> {
    options: StreamsOptions,
    size_bytes: fn(&T) -> usize,
    streams: Slab<StreamId, Named<T>>,
    by_name: BTreeMap<Box<str>, StreamId>,
    /// Streams with consumers that waited and for whom there is something now.
    ready: BTreeSet<StreamId>,
    reserved_bytes: u64,
    /// The totals of streams that are gone.
    gone: Totals,
}

impl<T: Clone> Streams<T> {
    /// No streams. `size_bytes` says how many bytes an item counts.
    ///
    /// # Errors
    /// A limit that is zero.
    pub fn new(options: StreamsOptions, size_bytes: fn(&T) -> usize) -> Result<Self, ConfigError> {
        options.check()?;
        Ok(Self {
            options,
            size_bytes,
            streams: Slab::new(),
            by_name: BTreeMap::new(),
            ready: BTreeSet::new(),
            reserved_bytes: 0,
            gone: Totals::default(),
        })
    }

    /// Makes a consumer of what is written to that name from now on.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn consume(&mut self, name: &str, options: ConsumerOptions) -> Result<NamedConsumerId, ConsumerError> {
        if name.len() > self.options.name_bytes_max as usize {
            return Err(ConsumerError::NameTooLong);
        }
        options.check(&self.options.stream)?;
        if self.options.reserved_bytes_max - self.reserved_bytes < options.limits.bytes_max {
            return Err(ConsumerError::Overloaded);
        }
        let stream = match self.by_name.get(name) {
            Some(stream) => *stream,
            None if self.streams.len() >= self.options.streams_max as usize => return Err(ConsumerError::StreamsFull),
            None => self.create(name),
        };
        let consumer = self.change(stream, |stream| stream.consume(options)).expect("it was found or made")?;
        Ok(NamedConsumerId { stream, consumer })
    }

    fn create(&mut self, name: &str) -> StreamId {
        let stream = Stream::checked(self.options.stream, self.size_bytes);
        let id = self.streams.insert_with(|_| Named { name: name.into(), stream });
        self.by_name.insert(name.into(), id);
        id
    }

    /// Changes a stream and keeps the books. One that has no consumers is not there any more.
    fn change<R>(&mut self, id: StreamId, change: impl FnOnce(&mut Stream<T>) -> R) -> Option<R> {
        let stream = &mut self.streams.get_mut(id)?.stream;
        let reserved_bytes = stream.books.reserved_bytes;
        let result = change(stream);
        self.reserved_bytes = self.reserved_bytes - reserved_bytes + stream.books.reserved_bytes;
        if !stream.books.ready.is_empty() {
            self.ready.insert(id);
        }
        if stream.members.len() == 0 {
            let Named { name, stream } = self.streams.remove(id)?;
            self.by_name.remove(&name);
            self.gone += &stream.totals();
        }
        Some(result)
    }

    fn change_named<R>(&mut self, name: &str, change: impl FnOnce(&mut Stream<T>) -> R) -> Option<R> {
        let id = *self.by_name.get(name)?;
        self.change(id, change)
    }

    fn change_all(&mut self, mut change: impl FnMut(&mut Stream<T>)) {
        let ids: Vec<StreamId> = self.by_name.values().copied().collect();
        for id in ids {
            self.change(id, &mut change);
        }
    }

    /// As [`Stream::write`]. A name without consumers has nobody to refuse anything.
    ///
    /// # Errors
    /// As [`Stream::write`].
    pub fn write(&mut self, name: &str, value: T, now: Instant) -> Result<u32, Refused<T>> {
        match self.by_name.get(name).copied() {
            Some(id) => self.change(id, |stream| stream.write(value, now)).expect("every name has a stream"),
            None if (self.size_bytes)(&value) > self.options.stream.item_bytes_max as usize => {
                Err(Refused { error: WriteError::TooLarge, value })
            }
            None => Ok(0),
        }
    }

    /// As [`Stream::write_to`].
    ///
    /// # Errors
    /// As [`Stream::write_to`].
    pub fn write_to(&mut self, id: NamedConsumerId, value: T, now: Instant) -> Result<(), Refused<T>> {
        if self.streams.get(id.stream).is_none() {
            return Err(Refused { error: WriteError::UnknownConsumer, value });
        }
        self.change(id.stream, |stream| stream.write_to(id.consumer, value, now)).expect("just looked up")
    }

    /// As [`Stream::has_room`].
    pub fn has_room(&mut self, name: &str, now: Instant) -> bool {
        self.change_named(name, |stream| stream.has_room(now)).unwrap_or(true)
    }

    /// As [`Stream::is_drained`].
    #[must_use]
    pub fn is_drained(&self, name: &str) -> bool {
        self.stream(name).is_none_or(Stream::is_drained)
    }

    /// As [`Stream::is_drained`]; a stream that is not there any more is. A call changes that for the stream it names, by
    /// a name or a consumer, or for any if it names none: whoever wakes those that wait for a stream looks at no others.
    #[must_use]
    pub fn is_stream_drained(&self, id: StreamId) -> bool {
        self.streams.get(id).is_none_or(|named| named.stream.is_drained())
    }

    /// As [`Stream::next`].
    pub fn next(&mut self, id: NamedConsumerId, now: Instant) -> Next<T> {
        let next = self.change(id.stream, |stream| stream.next(id.consumer, now));
        next.unwrap_or_else(|| Next::Done(End::gone()))
    }

    /// As [`Stream::poll_ready`].
    pub fn poll_ready(&mut self) -> Option<NamedConsumerId> {
        loop {
            let stream = *self.ready.first()?;
            let consumer = self.streams.get_mut(stream).and_then(|named| named.stream.poll_ready());
            match consumer {
                Some(consumer) => return Some(NamedConsumerId { stream, consumer }),
                None => drop(self.ready.pop_first()),
            }
        }
    }

    /// As [`Stream::remove`].
    pub fn remove(&mut self, id: NamedConsumerId, now: Instant) -> bool {
        self.change(id.stream, |stream| stream.remove(id.consumer, now)).unwrap_or(false)
    }

    /// As [`Stream::close`].
    pub fn close(&mut self, name: &str, value: Option<&T>) {
        self.change_named(name, |stream| stream.close(value));
    }

    /// As [`Stream::kill`].
    pub fn kill(&mut self, name: &str, value: Option<&T>) {
        self.change_named(name, |stream| stream.kill(value));
    }

    /// As [`Stream::close`], for every name.
    pub fn close_all(&mut self, value: Option<&T>) {
        self.change_all(|stream| stream.close(value));
    }

    /// As [`Stream::kill`], for every name.
    pub fn kill_all(&mut self, value: Option<&T>) {
        self.change_all(|stream| stream.kill(value));
    }

    /// As [`Stream::close_consumer`].
    pub fn close_consumer(&mut self, id: NamedConsumerId, value: Option<&T>) -> bool {
        self.change(id.stream, |stream| stream.close_consumer(id.consumer, value)).unwrap_or(false)
    }

    /// As [`Stream::kill_consumer`].
    pub fn kill_consumer(&mut self, id: NamedConsumerId, value: Option<&T>) -> bool {
        self.change(id.stream, |stream| stream.kill_consumer(id.consumer, value)).unwrap_or(false)
    }

    /// As [`Stream::expire`], for every name.
    pub fn expire(&mut self, now: Instant) {
        self.change_all(|stream| stream.expire(now));
    }
}

/// Numbers.
impl<T> Streams<T> {
    /// The names that have consumers which receive or have yet to take something, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.streams().filter(|(_, stream)| stream.is_active()).map(|(name, _)| name)
    }

    fn streams(&self) -> impl Iterator<Item = (&str, &Stream<T>)> {
        let stream = |id: &StreamId| &self.streams.get(*id).expect("every name has a stream").stream;
        self.by_name.iter().map(move |(name, id)| (&**name, stream(id)))
    }

    /// The stream that has that name while it has consumers. Made again, it is another.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<StreamId> {
        self.by_name.get(name).copied()
    }

    /// The stream of that name, if it has consumers.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Stream<T>> {
        self.by_name.get(name).and_then(|id| self.streams.get(*id)).map(|named| &named.stream)
    }

    /// What there is to know of a consumer; `None` for a stale id.
    #[must_use]
    pub fn consumer(&self, id: NamedConsumerId, now: Instant) -> Option<ConsumerStats> {
        self.streams.get(id.stream)?.stream.consumer(id.consumer, now)
    }

    /// The consumers of a name.
    pub fn consumers(&self, name: &str, now: Instant) -> impl Iterator<Item = (NamedConsumerId, ConsumerStats)> {
        let found = self.by_name.get(name).and_then(|id| Some((*id, self.streams.get(*id)?)));
        found.into_iter().flat_map(move |(stream, named)| {
            let id = move |consumer| NamedConsumerId { stream, consumer };
            named.stream.consumers(now).map(move |(consumer, stats)| (id(consumer), stats))
        })
    }

    /// How much waits, over the consumers of all names.
    #[must_use]
    pub fn pressure(&self, now: Instant) -> StreamPressure {
        self.streams().map(|(_, stream)| stream.pressure(now)).fold(StreamPressure::default(), StreamPressure::with)
    }

    /// The terms of the queue law, over all consumers of all names of all time.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.gone;
        self.streams().for_each(|(_, stream)| totals += &stream.totals());
        totals
    }

    /// Recounts everything. For tests.
    ///
    /// # Panics
    /// A number is wrong.
    pub fn check_invariants(&self) {
        assert_eq!(self.by_name.len(), self.streams.len());
        let mut reserved_bytes = 0;
        for (name, stream) in self.streams() {
            stream.check_invariants();
            assert!(stream.members.len() > 0, "{name:?} has no consumers");
            reserved_bytes += stream.books.reserved_bytes;
        }
        assert_eq!(reserved_bytes, self.reserved_bytes);
        assert!(reserved_bytes <= self.options.reserved_bytes_max);
        assert_eq!(self.totals().conservation_error(), 0);
    }
}
