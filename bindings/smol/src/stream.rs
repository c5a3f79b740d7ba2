//! In-process streams: many consumers of one log of items, each behind its own bounded lane.
//!
//! ```
//! use std::time::Duration;
//!
//! use forebay_smol::Policy;
//! use forebay_smol::stream::{ConsumerOptions, Ending, Entry, Stream, StreamOptions};
//! use smol::stream::StreamExt;
//!
//! # smol::block_on(async {
//! let stream = Stream::<String>::new(StreamOptions::default(), String::len)?;
//! // At most ten wait; then whoever writes does.
//! let mut consumer = stream.consume(ConsumerOptions::bounded(Policy::Block, 10))?;
//! let writer = smol::spawn({
//!     let stream = stream.clone();
//!     async move {
//!         for number in 0..1_000 {
//!             stream.write_wait(number.to_string(), Duration::from_secs(60)).await.unwrap();
//!         }
//!         stream.close(None);
//!     }
//! });
//! let numbers: Vec<String> = (&mut consumer).filter_map(Entry::item).collect().await;
//! assert_eq!(numbers.len(), 1_000);
//! assert_eq!(consumer.end().map(|end| end.how), Some(Ending::Closed));
//! writer.await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Policies, bounds, close and kill, and what SocketCluster's numbers are here: [`forebay_core::stream`]. A [`Consumer`] is
//! an async stream; a [`Stream`] is a handle of what consumers take from, and a set of [`Streams`] has one for each name.
//! What these have in common with `forebay-threads`, all that does not wait, they say by [`StreamLink`], [`StreamsLink`] and
//! [`ConsumerLink`].
//!
//! An item is cloned, dropped and measured under the lock of its streams, so what its type does then must not use them: an item
//! that owns a consumer of the set it is written to waits for itself. (Let it own one of another set.)
//!
//! [`pipe`] brings what a source yields through a transform to a sink, with errors and ends both ways. A
//! [`Subscription`](crate::Subscription) is a source like any other async stream; a function that waits is a sink.
//!
//! ```
//! use forebay_smol::Policy;
//! use forebay_smol::stream::{ConsumerOptions, Stream, StreamOptions, pipe};
//! use smol::io::{AsyncBufReadExt as _, Cursor};
//! use smol::stream::StreamExt;
//!
//! # smol::block_on(async {
//! let numbers = Stream::<u64>::new(StreamOptions::default(), |_| 8)?;
//! let consumer = numbers.consume(ConsumerOptions::bounded(Policy::Block, 2))?;
//! // A line is read when there is room for its number.
//! let lines = Cursor::new("1\n2\n3\nfour\n").lines();
//! let piping = smol::spawn(pipe(lines, |line: String| line.parse().map(Some), numbers));
//! let sum: u64 = consumer.whole().map_while(Result::ok).fold(0, |sum, number| sum + number).await;
//! assert!(sum <= 6, "a pipe that fails drops what waits");
//! assert_eq!(piping.await.unwrap_err().to_string(), "transform: invalid digit found in string");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use forebay_core::ConfigError;
pub use forebay_core::stream::{
    ConsumerError, ConsumerOptions, ConsumerStats, End, Ending, Entry, NamedConsumerId, Refused, StreamOptions,
    StreamPressure, StreamsOptions, WriteError,
};
pub use forebay_shell::{BoxError, Broken, ConsumerLink, OnceError, PipeError, StreamLink, StreamsLink, Unread};
use smol::Timer;
use smol::future::FutureExt;
use smol::stream::StreamExt;

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
    pub async fn once(&self, timeout: Duration) -> Result<T, OnceError> {
        let mut consumer = Consumer(self.0.link_once().map_err(OnceError::Refused)?);
        match consumer.next_timeout(timeout).await? {
            Entry::Item(value) => Ok(value),
            Entry::Gap(_) => unreachable!("the first item is not lost"),
        }
    }

    /// Writes an item for all consumers there are, and says how many; where one with the policy `Block` has no room, waits
    /// for it.
    ///
    /// # Errors
    /// [`WriteError::Full`] after `timeout`, or [`WriteError::TooLarge`]; the item is given back.
    pub async fn write_wait(&self, value: T, timeout: Duration) -> Result<u32, Refused<T>> {
        let mut timer = Timer::after(timeout);
        let mut value = value;
        loop {
            match self.write(value) {
                Err(Refused { error: WriteError::Full, value: again }) => value = again,
                result => return result,
            }
            if !in_time(self.wait_drained_async(), &mut timer).await {
                return Err(Refused { error: WriteError::Full, value });
            }
        }
    }

    /// Waits until a write of any size would be taken, for at most `timeout`; whether it would.
    #[must_use]
    pub async fn ready(&self, timeout: Duration) -> bool {
        in_time(self.0.wait_ready_async(), &mut Timer::after(timeout)).await
    }

    /// Waits until every consumer that refused a write is at or below its low mark, or has ended, for at most
    /// `timeout`; whether that is so.
    #[must_use]
    pub async fn drained(&self, timeout: Duration) -> bool {
        in_time(self.0.wait_drained_async(), &mut Timer::after(timeout)).await
    }
}

/// Whether it is done before the timer fires.
async fn in_time(wait: impl Future<Output = ()>, timer: &mut Timer) -> bool {
    let done = async {
        wait.await;
        true
    };
    let late = async {
        timer.await;
        false
    };
    done.or(late).await
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

/// Takes what is written to a stream: an async stream that ends when the consumer or its stream is closed (behind what
/// waits) or killed, or when it is full ([`Policy::Disconnect`](crate::Policy::Disconnect)). Dropped, it is removed.
#[derive(Debug)]
pub struct Consumer<T: Clone>(ConsumerLink<T>);

impl<T: Clone> Consumer<T> {
    /// The next item or gap; waits for at most `timeout`. Whoever gives up has missed nothing by it.
    ///
    /// # Errors
    /// Nothing came in time, or nothing will come.
    pub async fn next_timeout(&mut self, timeout: Duration) -> Result<Entry<T>, NextError> {
        let next = async { self.next().await.ok_or(NextError::Ended) };
        let timer = async {
            Timer::after(timeout).await;
            Err(NextError::TimedOut)
        };
        next.or(timer).await
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

impl<T: Clone> smol::stream::Stream for Consumer<T> {
    type Item = Entry<T>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Entry<T>>> {
        self.get_mut().0.poll_next(context)
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

impl<T: Clone> smol::stream::Stream for Whole<T> {
    type Item = Result<T, Broken>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T, Broken>>> {
        let Self { consumer, is_told } = self.get_mut();
        consumer.0.poll_next(context).map(|taken| Broken::check(taken, consumer, is_told))
    }
}
