//! From a source through a transform to a sink.

use std::future::Future;

use forebay_shell::{BoxError, PipeError, Unread};
use smol::stream::StreamExt;

use crate::stream::Stream;

/// Where a [`pipe`] ends. A function whose future waits until it is rid of an item is
/// one.
pub trait Sink<T> {
    /// Waits until there is room: before that nothing is pulled from the source.
    ///
    /// # Errors
    /// The pipe ends.
    fn ready(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }

    /// Takes an item; waits until there is room for it.
    ///
    /// # Errors
    /// The pipe ends.
    fn put(&mut self, value: T) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// The source has ended: there is nothing more.
    fn end(&mut self) {}

    /// The pipe has failed: what was put is not all.
    fn fail(&mut self) {}
}

impl<T, E: Into<BoxError>, F: FnMut(T) -> Waits, Waits: Future<Output = Result<(), E>> + Send> Sink<T> for F {
    fn put(&mut self, value: T) -> impl Future<Output = Result<(), BoxError>> + Send {
        let waits = self(value);
        async { waits.await.map_err(Into::into) }
    }
}

/// It is closed when the source has ended and killed when the pipe fails, for all its consumers. Without consumers it fails
/// ([`Unread`]).
impl<T: Clone + Send> Sink<T> for Stream<T> {
    async fn ready(&mut self) -> Result<(), BoxError> {
        self.wait_ready_async().await;
        Ok(())
    }

    async fn put(&mut self, value: T) -> Result<(), BoxError> {
        match self.write_async(value).await {
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
/// sink ends all three: the source is dropped, so that whoever writes to it finds nobody there, and the sink is told; as it
/// is when this future is dropped. Whether the sink has failed is seen when it is next used.
///
/// # Errors
/// The first of these errors.
pub async fn pipe<I, IE: Into<BoxError>, O: IntoIterator, OE: Into<BoxError>>(
    source: impl smol::stream::Stream<Item = Result<I, IE>>,
    mut transform: impl FnMut(I) -> Result<O, OE>,
    mut sink: impl Sink<O::Item>,
) -> Result<u64, PipeError> {
    let mut source = std::pin::pin!(source);
    let mut outcome = Outcome { sink: &mut sink, is_good: false, item: std::marker::PhantomData };
    let mut count = 0;
    loop {
        outcome.sink.ready().await.map_err(PipeError::Sink)?;
        let Some(item) = source.next().await else { break };
        count += 1;
        let item = item.map_err(|error| PipeError::Source(error.into()))?;
        for made in transform(item).map_err(|error| PipeError::Transform(error.into()))? {
            outcome.sink.put(made).await.map_err(PipeError::Sink)?;
        }
    }
    outcome.is_good = true;
    Ok(count)
}
