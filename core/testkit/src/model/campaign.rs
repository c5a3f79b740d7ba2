//! Many runs, on as many threads as there are; what comes of them does not depend on how many.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::draw::Swarm;
use super::play::{Play, Tally};
use super::reference::Error;
use super::shrink::shrink;
use super::transcript::{Transcript, caught};
use crate::rng::{Choices, SplitMix};

/// Acts of one run.
const STEPS_PER_RUN: u64 = 1_000;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// Runs are drawn from it and their number.
    pub seed: u64,
    /// Acts in all; a run more is not begun.
    pub steps: u64,
    /// Threads.
    pub threads: usize,
    /// A disagreement that is made on purpose: for tests of the driver.
    pub(crate) error: Error,
}

/// A disagreement.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which run it was.
    pub run: u64,
    /// What is wrong, in the shrunk run.
    pub fault: String,
    /// Acts that are enough.
    pub transcript: Transcript,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Sums over all runs.
    pub tally: Tally,
    /// The first run that failed.
    pub failure: Option<Failure>,
}

/// Draws and plays a run: what it came to, or what failed.
fn run(choices: &mut Choices, steps: u64, error: Error) -> Result<Tally, (Transcript, String)> {
    let swarm = Swarm::draw(choices);
    let mut transcript = Transcript { plan: Box::new(swarm.plan.clone()), acts: Vec::new() };
    let acts = &mut transcript.acts;
    let played = caught(|| {
        let mut play = Play::new(swarm.plan.clone(), error);
        for _ in 0..steps {
            if choices.is_exhausted() {
                break;
            }
            let act = swarm.act(choices, &play);
            acts.push(act);
            play.act(act)?;
        }
        play.finish()?;
        let mut tally = play.total();
        tally.had.add(&swarm.had());
        Ok(tally)
    });
    played.map_err(|fault| (transcript, fault))
}

/// Plays a run from a fuzzer's bytes.
///
/// # Errors
/// What failed, shrunk.
pub fn run_bytes(data: &[u8]) -> Result<Tally, Failure> {
    let campaign = Campaign::new(0, 0, 1);
    run(&mut Choices::from_bytes(data), 2_000, Error::None)
        .map_err(|(transcript, fault)| campaign.shrunk(0, transcript, fault))
}

/// The first words of a fault: what is left of a transcript must fail for the same reason, as far as these tell.
fn kind_of(fault: &str) -> String {
    let words = fault.split([':', '{', '(']).next().unwrap_or_default();
    words.chars().filter(|c| !c.is_ascii_digit()).collect()
}

impl Campaign {
    /// A campaign.
    #[must_use]
    pub const fn new(seed: u64, steps: u64, threads: usize) -> Self {
        Self { seed, steps, threads, error: Error::None }
    }

    /// A campaign against a reference whose lanes have room for one message too many, to see that it is found.
    #[must_use]
    pub const fn with_wrong_room(self) -> Self {
        Self { error: Error::Room, ..self }
    }

    /// A campaign against a reference that takes what returns for sent, to see that it is found.
    #[must_use]
    pub const fn with_wrong_return(self) -> Self {
        Self { error: Error::Returned, ..self }
    }

    fn seed_of(&self, run: u64) -> u64 {
        SplitMix::new(self.seed ^ run.wrapping_mul(0xD134_2543_DE82_EF95)).next_u64()
    }

    /// Plays one of its runs.
    ///
    /// # Errors
    /// What failed, shrunk.
    pub fn run(&self, number: u64, steps: u64) -> Result<Tally, Failure> {
        let mut choices = Choices::from_seed(self.seed_of(number));
        run(&mut choices, steps, self.error).map_err(|(transcript, fault)| self.shrunk(number, transcript, fault))
    }

    fn shrunk(&self, run: u64, transcript: Transcript, fault: String) -> Failure {
        let wanted = kind_of(&fault);
        let fails =
            |candidate: &Transcript| candidate.play_with(self.error).is_err_and(|(_, fault)| kind_of(&fault) == wanted);
        if !fails(&transcript) {
            return Failure { run, fault: format!("not found again: {fault}"), transcript };
        }
        let transcript = shrink(transcript, fails);
        let fault = transcript.play_with(self.error).err().map_or(fault, |(_, fault)| fault);
        Failure { run, fault, transcript }
    }

    /// Plays its runs until all steps are done, one has failed, or it is enough.
    pub fn play(&self, is_enough: impl Fn() -> bool + Sync) -> Outcome {
        let runs = self.steps.div_ceil(STEPS_PER_RUN);
        let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
        let work = || {
            let mut outcome = Outcome::default();
            while !failed.load(Ordering::Relaxed) && !is_enough() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= runs {
                    break;
                }
                let steps = STEPS_PER_RUN.min(self.steps - number * STEPS_PER_RUN);
                match self.run(number, steps) {
                    Ok(tally) => outcome.tally.add(&tally),
                    Err(failure) => {
                        failed.store(true, Ordering::Relaxed);
                        outcome.failure = Some(failure);
                    }
                }
            }
            outcome
        };
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().expect("runs catch their panics")).collect()
        });
        let mut sum = Outcome::default();
        for outcome in outcomes {
            sum.tally.add(&outcome.tally);
            let is_earlier = |failure: &Failure| sum.failure.as_ref().is_none_or(|known| failure.run < known.run);
            if outcome.failure.as_ref().is_some_and(is_earlier) {
                sum.failure = outcome.failure;
            }
        }
        sum
    }
}
