//! Acts that go on with what rarely comes about by itself.

use super::Swarm;
use crate::model::act::{Act, Op};
use crate::model::play::Play;
use crate::rng::Choices;

impl Swarm {
    /// One act in four, where there is such a situation.
    pub(super) fn aimed(&self, choices: &mut Choices, play: &Play, side: usize) -> Option<Act> {
        if !self.modes.sessions {
            return None;
        }
        // A session that is kept amid a message, and whose connection ends amid the rest.
        if self.has.partial
            && choices.one_in(4)
            && let Some(seat) = play.begun(side)
        {
            let op = *choices.pick(&[Op::Keep, Op::Writable, Op::Poll, Op::Eof]);
            return Some(Act::new(side, op, &if op == Op::Poll { [0, 8] } else { [seat, 0] }));
        }
        // A lane that rejected what its topic keeps, and is resumed from behind that.
        if self.modes.history
            && choices.one_in(4)
            && let Some((op, args)) = play.sides[side].towards_rejected()
        {
            return Some(Act::new(side, op, &args));
        }
        None
    }
}
