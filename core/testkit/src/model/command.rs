//! `model`: runs the reference model beside hubs.

use std::time::Duration;

use super::campaign::{Campaign, Failure, Outcome};
use super::transcript::Transcript;

const USAGE: &str = "model [--steps N] [--seconds N] [--seed S] [--threads N] [--run NUMBER] [--replay FILE]";

/// What was asked for.
#[derive(Debug)]
struct Asked {
    steps: u64,
    seconds: Option<u64>,
    seed: u64,
    threads: usize,
    run: Option<u64>,
    replay: Option<String>,
}

impl Asked {
    fn read(words: &[String]) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut asked = Self { steps: 1_000_000, seconds: None, seed: 0, threads, run: None, replay: None };
        let mut has_steps = false;
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(USAGE.into()) };
            let number = || value.replace('_', "").parse::<u64>().map_err(|_| format!("{name} {value}: not a number"));
            match name.as_str() {
                "--steps" => (asked.steps, has_steps) = (number()?, true),
                "--seconds" => asked.seconds = Some(number()?),
                "--seed" => asked.seed = number()?,
                "--threads" => asked.threads = usize::try_from(number()?).map_err(|error| error.to_string())?,
                "--run" => asked.run = Some(number()?),
                "--replay" => asked.replay = Some(value.clone()),
                _ => return Err(format!("{name}: {USAGE}")),
            }
        }
        if asked.seconds.is_some() && !has_steps {
            asked.steps = u64::MAX / 2;
        }
        Ok(asked)
    }
}

/// Runs it; whether everything agreed.
///
/// # Errors
/// The arguments are wrong, or a file cannot be read or written.
pub fn run(words: &[String]) -> Result<bool, String> {
    let asked = Asked::read(words)?;
    if let Some(file) = &asked.replay {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let transcript: Transcript = text.parse()?;
        return Ok(match transcript.play() {
            Ok(tally) => {
                println!("{} acts, no disagreement", tally.steps);
                true
            }
            Err(fault) => {
                println!("{fault}");
                false
            }
        });
    }
    // A hub that panics is found like any other disagreement, and told once.
    std::panic::set_hook(Box::new(|_| {}));
    let campaign = Campaign::new(asked.seed, asked.steps, asked.threads);
    #[expect(clippy::disallowed_types, reason = "how long the command runs is asked of the real clock")]
    let began = std::time::Instant::now();
    let outcome = match asked.run {
        Some(number) => match campaign.run(number, 1_000.min(asked.steps)) {
            Ok(tally) => Outcome { tally, failure: None },
            Err(failure) => Outcome { failure: Some(failure), ..Outcome::default() },
        },
        None => {
            let most = asked.seconds.map(Duration::from_secs);
            campaign.play(|| most.is_some_and(|most| began.elapsed() >= most))
        }
    };
    summarize(&outcome, began.elapsed());
    match &outcome.failure {
        None => {
            let missing = outcome.tally.missing();
            if !missing.is_empty() {
                println!("no run had: {}", missing.join(", "));
            }
            Ok(missing.is_empty())
        }
        Some(failure) => report(failure, asked.seed).map(|()| false),
    }
}

fn summarize(outcome: &Outcome, took: Duration) {
    let tally = &outcome.tally;
    let names = ["superseded", "oldest", "newest", "age", "log_bound", "overload", "closed", "unsubscribed"];
    let lost: Vec<String> = names.iter().zip(tally.lost).map(|(name, lost)| format!("{name} {lost}")).collect();
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate that is shown")]
    let rate = tally.steps as f64 / seconds.max(1e-9);
    println!(
        "{} steps in {} runs, {seconds:.1} s, {rate:.0} steps/s; {} messages entered, {} sent; lost: {}; refused: full {}, \
         too large {}, overloaded {}",
        tally.steps,
        tally.runs,
        tally.entered,
        tally.sent,
        lost.join(", "),
        tally.refused_full,
        tally.refused_too_large,
        tally.refused_overloaded,
    );
    let had: Vec<String> = tally.had.runs().map(|(name, runs)| format!("{name} {runs}")).collect();
    println!("runs with: {}", had.join(", "));
    println!("room for several topics' publishes: {} runs, {} in another order", tally.open_orders, tally.other_orders);
}

fn report(failure: &Failure, seed: u64) -> Result<(), String> {
    let file = format!("model-{seed}-{}.txt", failure.run);
    let text = format!("# {}\n{}", failure.fault.replace('\n', "\n# "), failure.transcript);
    println!("run {} of seed {seed} disagrees:\n{text}", failure.run);
    std::fs::write(&file, text).map_err(|error| format!("{file}: {error}"))?;
    println!("written to {file}; play it again with --replay {file}");
    Ok(())
}
