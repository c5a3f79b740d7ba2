//! What can go wrong between a source, a transform and a sink.

use std::error::Error;
use std::fmt;

use forebay_core::Gap;
use forebay_core::stream::{Ending, Entry};

use crate::stream::ConsumerLink;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a pipe ended before its source did.
#[derive(Debug)]
pub enum PipeError {
    /// The source failed.
    Source(BoxError),
    /// The transform failed.
    Transform(BoxError),
    /// The sink failed, or nobody is left to take what it gets ([`Unread`]).
    Sink(BoxError),
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "source: {error}"),
            Self::Transform(error) => write!(f, "transform: {error}"),
            Self::Sink(error) => write!(f, "sink: {error}"),
        }
    }
}

impl Error for PipeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Source(error) | Self::Transform(error) | Self::Sink(error) => Some(&**error),
        }
    }
}

/// A stream that a pipe writes to has no consumers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unread;

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody is left to take it")
    }
}

impl Error for Unread {}

/// A consumer did not get everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// Items were lost, before the next one.
    Gap(Gap),
    /// It was ended, and not by a close.
    Ended {
        /// How.
        how: Ending,
        /// Items that were lost with it.
        missed: u64,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(gap) => write!(f, "{} items were lost", gap.missed),
            Self::Ended { how: Ending::Overflowed, missed } => write!(f, "too slow; {missed} items were lost"),
            Self::Ended { missed, .. } => write!(f, "ended from outside; {missed} items were lost"),
        }
    }
}

impl Error for Broken {}

impl Broken {
    /// What a consumer took, as an item or what is wrong. An end that is not a close is told once.
    pub fn check<T: Clone>(
        taken: Option<Entry<T>>,
        consumer: &ConsumerLink<T>,
        is_told: &mut bool,
    ) -> Option<Result<T, Self>> {
        match taken {
            Some(Entry::Item(value)) => Some(Ok(value)),
            Some(Entry::Gap(gap)) => Some(Err(Self::Gap(gap))),
            None if std::mem::replace(is_told, true) => None,
            None => {
                let end = consumer.end().filter(|end| end.how != Ending::Closed)?;
                Some(Err(Self::Ended { how: end.how, missed: end.missed }))
            }
        }
    }
}
