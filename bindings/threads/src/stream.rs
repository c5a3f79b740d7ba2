//! In-process streams: many consumers of one log of items, each behind its own bounded lane.
//!
//! ```
//! use std::thread;
//!
//! use forebay_threads::Policy;
//! use forebay_threads::stream::{ConsumerOptions, Ending, Entry, Stream, StreamOptions};
//!
//! let stream = Stream::<String>::new(StreamOptions::default(), String::len)?;
//! // At most ten wait; then whoever writes does.
//! let mut consumer = stream.consume(ConsumerOptions::bounded(Policy::Block, 10))?;
//! let writer = thread::spawn({
//!     let stream = stream.clone();
//!     move || {
//!         for number in 0..1_000 {
//!             stream.write_wait(number.to_string(), std::time::Duration::from_secs(60)).unwrap();
//!         }
//!         stream.close(None);
//!     }
//! });
//! let numbers: Vec<String> = consumer.by_ref().filter_map(Entry::item).collect();
//! assert_eq!(numbers.len(), 1_000);
//! assert_eq!(consumer.end().map(|end| end.how), Some(Ending::Closed));
//! writer.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Policies, bounds, close and kill, and what SocketCluster's numbers are here: [`forebay_core::stream`]. A [`Consumer`] is
//! an iterator; a [`Stream`] is a handle of what consumers take from, and a set of [`Streams`] has one for each name.
//! What these have in common with `forebay-smol`, all that does not wait, they say by [`StreamLink`], [`StreamsLink`] and
//! [`ConsumerLink`].
//!
//! An item is cloned, dropped and measured under the lock of its streams, so what its type does then must not use them: an item
//! that owns a consumer of the set it is written to waits for itself. (Let it own one of another set.)
//!
//! [`pipe`] brings what a source yields through a transform to a sink, with errors and ends both ways. A
//! [`Subscription`](crate::Subscription) is a source like any other iterator; a function that waits is a sink.
//!
//! ```
//! use std::io::{BufRead as _, Cursor};
//!
//! use forebay_threads::Policy;
//! use forebay_threads::stream::{ConsumerOptions, Stream, StreamOptions, pipe};
//!
//! let numbers = Stream::<u64>::new(StreamOptions::default(), |_| 8)?;
//! let consumer = numbers.consume(ConsumerOptions::bounded(Policy::Block, 2))?;
//! // A line is read when there is room for its number.
//! let piping = std::thread::spawn(|| pipe(Cursor::new("1\n2\n3\nfour\n").lines(), |line| line.parse().map(Some), numbers));
//! let sum: u64 = consumer.whole().map_while(Result::ok).sum();
//! assert!(sum <= 6, "a pipe that fails drops what waits");
//! assert_eq!(piping.join().unwrap().unwrap_err().to_string(), "transform: invalid digit found in string");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

use forebay_core::ConfigError;
pub use forebay_core::stream::{
    ConsumerError, ConsumerOptions, ConsumerStats, End, Ending, Entry, NamedConsumerId, Refused, StreamOptions,
    StreamPressure, StreamsOptions, WriteError,
};
pub use forebay_shell::{BoxError, Broken, ConsumerLink, OnceError, PipeError, StreamLink, StreamsLink, Unread};

use crate::NextError;
pub use crate::stream_pipe::{Sink, pipe};

/// Streams by name, which is any text. A name takes no room until it has consumers. A clone is another handle.
#[derive(Clone)]
pub struct Streams<T>(StreamsLink<T>);

impl<T: Clone> Streams<T> {
    /// No streams. `size_bytes` says how many bytes an item counts.
    ///
    /// # Errors
    /// A limit that is zero.
    pub fn new(options: StreamsOptions, size_bytes: fn(&T) -> usize) -> Result<Self, ConfigError> {
        StreamsLink::new(options, size_bytes).map(Self)
    }

    /// The stream of that name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Stream<T> {
        Stream(self.0.link(name))
    }
}

impl<T> Deref for Streams<T> {
    type Target = StreamsLink<T>;

    fn deref(&self) -> &StreamsLink<T> {
        &self.0
    }
}

impl<T> fmt::Debug for Streams<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What consumers take from. A clone is another handle; that somebody has one keeps nothing.
#[derive(Clone)]
pub struct Stream<T>(StreamLink<T>);

impl<T: Clone> Stream<T> {
    /// A stream without consumers. `size_bytes` says how many bytes an item counts.
    ///
    /// # Errors
    /// A limit that is zero.
    pub fn new(options: StreamOptions, size_bytes: fn(&T) -> usize) -> Result<Self, ConfigError> {
        let options = StreamsOptions { stream: options, reserved_bytes_max: u64::MAX, ..StreamsOptions::default() };
        Ok(Self(StreamsLink::new(options, size_bytes)?.link("")))
    }

    /// A consumer of what is written from now on, whether or not it takes anything yet.
    ///
    /// # Errors
    /// See [`ConsumerError`].
    pub fn consume(&self, options: ConsumerOptions) -> Result<Consumer<T>, ConsumerError> {
        self.0.link(options).map(Consumer)
    }

    /// The next item that is written; waits for it, for at most `timeout`.
    ///
    /// # Errors
    /// Nothing came in time, the stream was closed or killed, or there are too many consumers.
    pub fn once(&self, timeout: Duration) -> Result<T, OnceError> {
        let mut consumer = Consumer(self.0.link_once().map_err(OnceError::Refused)?);
        match consumer.next_timeout(timeout)? {
            Entry::Item(value) => Ok(value),
            Entry::Gap(_) => unreachable!("the first item is not lost"),
        }
    }

    /// Writes an item for all consumers there are, and says how many; where one with the policy `Block` has no room, waits
    /// for it.
    ///
    /// # Errors
    /// [`WriteError::Full`] after `timeout`, or [`WriteError::TooLarge`]; the item is given back.
    pub fn write_wait(&self, value: T, timeout: Duration) -> Result<u32, Refused<T>> {
        self.0.write_until(value, Instant::now().checked_add(timeout))
    }

    /// Waits until a write of any size would be taken, for at most `timeout`; whether it would.
    #[must_use]
    pub fn ready(&self, timeout: Duration) -> bool {
        self.0.wait_ready(Instant::now().checked_add(timeout))
    }

    /// Waits until every consumer that refused a write is at or below its low mark, or has ended, for at most
    /// `timeout`; whether that is so.
    #[must_use]
    pub fn drained(&self, timeout: Duration) -> bool {
        self.0.wait_drained(Instant::now().checked_add(timeout))
    }
}

impl<T> Deref for Stream<T> {
    type Target = StreamLink<T>;

    fn deref(&self) -> &StreamLink<T> {
        &self.0
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Takes what is written to a stream: a blocking iterator that ends when the consumer or its stream is closed (behind what
/// waits) or killed, or when it is full ([`Policy::Disconnect`](crate::Policy::Disconnect)). Dropped, it is removed.
#[derive(Debug)]
pub struct Consumer<T: Clone>(ConsumerLink<T>);

impl<T: Clone> Consumer<T> {
    /// The next item or gap; waits for at most `timeout`. Whoever gives up has missed nothing by it.
    ///
    /// # Errors
    /// Nothing came in time, or nothing will come.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Entry<T>, NextError> {
        self.0.next_until(Instant::now().checked_add(timeout))
    }

    /// All items, or an error where some are missing.
    #[must_use]
    pub fn whole(self) -> Whole<T> {
        Whole { consumer: self, is_told: false }
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
        self.0.next_until(None).ok()
    }
}

/// What a consumer takes, with an error for each gap, and one for an end that is not a close.
#[derive(Debug)]
pub struct Whole<T: Clone> {
    consumer: Consumer<T>,
    is_told: bool,
}

impl<T: Clone> Whole<T> {
    /// How it ended, with the value it was closed or killed with, once nothing came any more.
    #[must_use]
    pub fn end(&self) -> Option<&End<T>> {
        self.consumer.end()
    }
}

impl<T: Clone> Iterator for Whole<T> {
    type Item = Result<T, Broken>;

    fn next(&mut self) -> Option<Result<T, Broken>> {
        let taken = self.consumer.next();
        Broken::check(taken, &self.consumer, &mut self.is_told)
    }
}
