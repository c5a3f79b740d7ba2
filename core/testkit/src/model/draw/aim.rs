//! Acts that go on with what rarely comes about by itself.

use super::Swarm;
use crate::model::act::{Act, Op};
use crate::model::play::Side;
use crate::rng::Choices;

/// What the next act in a situation is, where it is there.
type Aim = fn(&Side) -> Option<(Op, [u64; 3])>;

impl Swarm {
    /// One act in four, where there is such a situation.
    pub(super) fn aimed(&self, choices: &mut Choices, sides: &[Side], side: usize) -> Option<Act> {
        let aims: [(bool, Aim); 2] =
            [(self.has.partial, Side::towards_lost_beginning), (self.modes.history, Side::towards_rejected)];
        let (op, args) = aims
            .into_iter()
            .filter(|(may_be, _)| *may_be && self.modes.sessions)
            .find_map(|(_, aim)| if choices.one_in(4) { aim(&sides[side]) } else { None })?;
        Some(Act::new(side, op, &args))
    }
}
