//! A run as text: a plan and acts. It can be read, cut, kept and played again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use super::act::Act;
use super::plan::Plan;
use super::play::{Play, Tally};
use super::reference::Error;

/// A plan and what is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transcript {
    pub(crate) plan: Box<Plan>,
    pub(crate) acts: Vec<Act>,
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut used = self.plan.fields().into_iter().filter(|(_, value)| *value != 0);
        used.try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))?;
        self.acts.iter().try_for_each(|act| writeln!(f, "{act}"))
    }
}

impl FromStr for Transcript {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut plan, mut acts) = (Plan::default(), Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(" = ") {
                Some((name, value)) => {
                    let field = plan.field(name).ok_or_else(|| format!("no {name} in a plan"))?;
                    *field = value.parse().map_err(|_| format!("not a number: {line}"))?;
                }
                None => acts.push(line.parse()?),
            }
        }
        Ok(Self { plan: Box::new(plan), acts })
    }
}

/// Does something that may panic, and gives what it panicked with as its fault.
pub(super) fn caught<T>(what: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(what)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    })
}

impl Transcript {
    /// Plays it.
    ///
    /// # Errors
    /// The first disagreement, or what the hub panicked with.
    pub fn play(&self) -> Result<Tally, String> {
        self.play_with(Error::None).map_err(|(_, fault)| fault)
    }

    /// Plays it against a reference that is wrong on purpose. A fault comes with the number of acts it took.
    pub(super) fn play_with(&self, error: Error) -> Result<Tally, (usize, String)> {
        let mut done = 0;
        let played = caught(|| {
            let mut play = Play::new(Plan::clone(&self.plan), error);
            for act in &self.acts {
                done += 1;
                play.act(*act)?;
            }
            play.finish()?;
            Ok(play.total())
        });
        played.map_err(|fault| (done, fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_are_text() {
        let text = "# why\nhubs = 1\nstart = 7\n\n0 publish 1 2 3\n1 timeout\n";
        let transcript: Transcript = text.parse().unwrap();
        assert_eq!((transcript.plan.start, transcript.acts.len()), (7, 2));
        assert_eq!(transcript.to_string().parse(), Ok(transcript));
        for text in ["hubs = x", "hub = 1", "dance"] {
            assert!(text.parse::<Transcript>().is_err(), "{text}");
        }
    }
}
