//! From a source through a transform to a sink.

use forebay_shell::{BoxError, PipeError, Unread};

use crate::stream::Stream;

/// Where a [`pipe`] ends. A function that waits until it is rid of an item is one.
///
/// ```
/// # use forebay_threads::{LaneOptions, Payload, Server, ServerOptions};
/// # let server = Server::unbound(ServerOptions::default())?;
/// # let handle = server.handle();
/// # let running = std::thread::spawn(|| server.run());
/// # let subscription = handle.subscribe("squares", LaneOptions::default())?;
/// use std::num::ParseIntError;
/// use std::time::Duration;
///
/// use forebay_threads::stream::pipe;
///
/// let publish = |text: String| handle.publish_wait("squares", Payload::Text(&text), Duration::from_secs(60)).map(drop);
/// let square = |number: u32| Ok::<_, ParseIntError>(Some((number * number).to_string()));
/// assert_eq!(pipe(["1", "2", "3"].map(str::parse), square, publish)?, 3);
/// # assert_eq!(subscription.take(3).count(), 3);
/// # handle.shutdown();
/// # running.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Sink<T> {
    /// Waits until there is room: before that nothing is pulled from the source.
    ///
    /// # Errors
    /// The pipe ends.
    fn ready(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Takes an item; waits until there is room for it.
    ///
    /// # Errors
    /// The pipe ends.
    fn put(&mut self, value: T) -> Result<(), BoxError>;

    /// The source has ended: there is nothing more.
    fn end(&mut self) {}

    /// The pipe has failed: what was put is not all.
    fn fail(&mut self) {}
}

impl<T, E: Into<BoxError>, F: FnMut(T) -> Result<(), E>> Sink<T> for F {
    fn put(&mut self, value: T) -> Result<(), BoxError> {
        self(value).map_err(Into::into)
    }
}

/// It is closed when the source has ended and killed when the pipe fails, for all its consumers. Without consumers it fails
/// ([`Unread`]).
impl<T: Clone> Sink<T> for Stream<T> {
    fn ready(&mut self) -> Result<(), BoxError> {
        assert!(self.wait_ready(None), "it waits without a deadline");
        Ok(())
    }

    fn put(&mut self, value: T) -> Result<(), BoxError> {
        match self.write_until(value, None) {
            Ok(0) => Err(Unread.into()),
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.error.into()),
        }
    }

    fn end(&mut self) {
        self.close(None);
    }

    fn fail(&mut self) {
        self.kill(None);
    }
}

/// Tells the sink how it ended, however that is.
struct Outcome<'a, T, S: Sink<T>> {
    sink: &'a mut S,
    is_good: bool,
    item: std::marker::PhantomData<fn(T)>,
}

impl<T, S: Sink<T>> Drop for Outcome<'_, T, S> {
    fn drop(&mut self) {
        if self.is_good {
            self.sink.end();
        } else {
            self.sink.fail();
        }
    }
}

/// Puts into the sink what the transform makes of each item of the source: nothing, one item or more. How many items the
/// source yielded.
///
/// The source is pulled only when the sink is ready. Its end closes the sink. An error of the source, the transform or the
/// sink ends all three: the source is dropped, so that whoever writes to it finds nobody there, and the sink is told.
/// Whether the sink has failed is seen when it is next used.
///
/// # Errors
/// The first of these errors.
pub fn pipe<I, IE: Into<BoxError>, O: IntoIterator, OE: Into<BoxError>>(
    source: impl IntoIterator<Item = Result<I, IE>>,
    mut transform: impl FnMut(I) -> Result<O, OE>,
    mut sink: impl Sink<O::Item>,
) -> Result<u64, PipeError> {
    let mut source = source.into_iter();
    let mut outcome = Outcome { sink: &mut sink, is_good: false, item: std::marker::PhantomData };
    let mut count = 0;
    loop {
        outcome.sink.ready().map_err(PipeError::Sink)?;
        let Some(item) = source.next() else { break };
        count += 1;
        let item = item.map_err(|error| PipeError::Source(error.into()))?;
        for made in transform(item).map_err(|error| PipeError::Transform(error.into()))? {
            outcome.sink.put(made).map_err(PipeError::Sink)?;
        }
    }
    outcome.is_good = true;
    Ok(count)
}
