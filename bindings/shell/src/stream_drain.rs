//! Who waits until a stream is drained: woken by that stream alone, however many others there are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use forebay_core::stream::{StreamId, Streams};

use crate::gate::Gate;

/// The streams that a call may drain.
#[derive(Clone, Copy)]
pub(crate) enum Concerned<'a> {
    Name(&'a str),
    Stream(StreamId),
    All,
}

/// A gate for each stream that is waited for, until it opens or nobody waits any more. It opens once: a stream that refuses
/// again has another.
#[derive(Debug, Default)]
pub(crate) struct Awaited(BTreeMap<StreamId, Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    gate: Arc<Gate<bool>>,
    count: usize,
}

impl Awaited {
    /// One more waits for a stream that is not drained.
    pub(crate) fn enter(&mut self, stream: StreamId) -> Arc<Gate<bool>> {
        let waiters = self.0.entry(stream).or_default();
        waiters.count += 1;
        Arc::clone(&waiters.gate)
    }

    /// One of those who wait at a gate does not any more, whether or not it has opened.
    pub(crate) fn leave(&mut self, stream: StreamId, gate: &Arc<Gate<bool>>) {
        let Entry::Occupied(mut waiters) = self.0.entry(stream) else { return };
        if Arc::ptr_eq(&waiters.get().gate, gate) {
            waiters.get_mut().count -= 1;
            if waiters.get().count == 0 {
                waiters.remove();
            }
        }
    }

    /// Forgets the concerned streams that are drained; their gates are to be opened.
    pub(crate) fn forget_drained<T: Clone>(
        &mut self,
        streams: &Streams<T>,
        concerned: Concerned<'_>,
    ) -> Vec<Arc<Gate<bool>>> {
        let mut gates = Vec::new();
        if self.0.is_empty() {
            return gates;
        }
        let stream = match concerned {
            Concerned::Stream(stream) => Some(stream),
            Concerned::Name(name) => streams.id(name),
            Concerned::All => {
                self.0.retain(|stream, waiters| {
                    let is_drained = streams.is_stream_drained(*stream);
                    gates.extend(is_drained.then(|| Arc::clone(&waiters.gate)));
                    !is_drained
                });
                None
            }
        };
        if let Some(stream) = stream.filter(|stream| streams.is_stream_drained(*stream)) {
            gates.extend(self.0.remove(&stream).map(|waiters| waiters.gate));
        }
        gates
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
