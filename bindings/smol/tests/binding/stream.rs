//! Streams of `forebay-smol` with the blocking surface of those of `forebay-threads`.

use std::ops::Deref;
use std::time::Duration;

pub(crate) use forebay_smol::stream::*;
use forebay_smol::{ConfigError, NextError, stream as smol_stream};
use smol::future::block_on;
use smol::stream::StreamExt;

#[derive(Clone, Debug)]
pub(crate) struct Streams<T>(smol_stream::Streams<T>);

impl<T: Clone> Streams<T> {
    pub(crate) fn new(options: StreamsOptions, size_bytes: fn(&T) -> usize) -> Result<Self, ConfigError> {
        smol_stream::Streams::new(options, size_bytes).map(Self)
    }

    pub(crate) fn stream(&self, name: &str) -> Stream<T> {
        Stream(self.0.stream(name))
    }
}

impl<T> Deref for Streams<T> {
    type Target = StreamsLink<T>;

    fn deref(&self) -> &StreamsLink<T> {
        &self.0
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stream<T>(smol_stream::Stream<T>);

impl<T: Clone> Stream<T> {
    pub(crate) fn new(options: StreamOptions, size_bytes: fn(&T) -> usize) -> Result<Self, ConfigError> {
        smol_stream::Stream::new(options, size_bytes).map(Self)
    }

    pub(crate) fn consume(&self, options: ConsumerOptions) -> Result<Consumer<T>, ConsumerError> {
        self.0.consume(options).map(Consumer)
    }

    pub(crate) fn once(&self, timeout: Duration) -> Result<T, OnceError> {
        block_on(self.0.once(timeout))
    }

    pub(crate) fn write_wait(&self, value: T, timeout: Duration) -> Result<u32, Refused<T>> {
        block_on(self.0.write_wait(value, timeout))
    }

    pub(crate) fn ready(&self, timeout: Duration) -> bool {
        block_on(self.0.ready(timeout))
    }

    pub(crate) fn drained(&self, timeout: Duration) -> bool {
        block_on(self.0.drained(timeout))
    }
}

impl<T> Deref for Stream<T> {
    type Target = StreamLink<T>;

    fn deref(&self) -> &StreamLink<T> {
        &self.0
    }
}

#[derive(Debug)]
pub(crate) struct Consumer<T: Clone>(smol_stream::Consumer<T>);

impl<T: Clone> Consumer<T> {
    pub(crate) fn next_timeout(&mut self, timeout: Duration) -> Result<Entry<T>, NextError> {
        block_on(self.0.next_timeout(timeout))
    }

    pub(crate) fn whole(self) -> Whole<T> {
        Whole(self.0.whole())
    }
}

impl<T: Clone> Deref for Consumer<T> {
    type Target = ConsumerLink<T>;

    fn deref(&self) -> &ConsumerLink<T> {
        &self.0
    }
}

impl<T: Clone> Iterator for Consumer<T> {
    type Item = Entry<T>;

    fn next(&mut self) -> Option<Entry<T>> {
        block_on(self.0.next())
    }
}

#[derive(Debug)]
pub(crate) struct Whole<T: Clone>(smol_stream::Whole<T>);

impl<T: Clone> Whole<T> {
    pub(crate) fn end(&self) -> Option<&End<T>> {
        self.0.end()
    }
}

impl<T: Clone> Iterator for Whole<T> {
    type Item = Result<T, Broken>;

    fn next(&mut self) -> Option<Result<T, Broken>> {
        block_on(self.0.next())
    }
}

/// From an iterator, which may block: it has the thread.
pub(crate) fn pipe<I, IE, O, OE, T>(
    source: impl IntoIterator<Item = Result<I, IE>>,
    transform: impl FnMut(I) -> Result<O, OE>,
    sink: Stream<T>,
) -> Result<u64, PipeError>
where
    IE: Into<BoxError>,
    O: IntoIterator<Item = T>,
    OE: Into<BoxError>,
    T: Clone + Send,
{
    block_on(smol_stream::pipe(smol::stream::iter(source), transform, sink.0))
}
