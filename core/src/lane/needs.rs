//! What a log must keep for a lane.

use super::{Mark, RUNS_MAX, Run};

/// One more than `RUNS_MAX`: a loss at a bound may part what is outstanding from the rest, and it may return.
pub(super) const OLDER_MAX: usize = RUNS_MAX + 1;

/// What a log must keep for a lane: everything behind the tail, and the closed runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Needs {
    pub(crate) tail: Option<Mark>,
    pub(crate) held: Run,
    /// Filled up with empty ones. (No `Vec`: that would be an allocation per change of a lane.)
    pub(crate) older: Option<[Run; OLDER_MAX]>,
}

impl Needs {
    pub(crate) fn older(runs: &[Run]) -> Option<[Run; OLDER_MAX]> {
        let filled = || core::array::from_fn(|place| runs.get(place).copied().unwrap_or_default());
        (!runs.is_empty()).then(filled)
    }

    pub(crate) fn older_runs(&self) -> impl Iterator<Item = Run> {
        self.older.iter().flatten().copied().filter(|run| !run.is_empty())
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        core::iter::once(self.held).filter(|run| !run.is_empty()).chain(self.older_runs())
    }
}
