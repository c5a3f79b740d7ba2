//! Delta debugging: what can be left out of a transcript so that it still fails (Zeller, Hildebrandt 2002).

use super::transcript::Transcript;

/// Plays at most so many transcripts.
const TRIES_MAX: usize = 3_000;

/// The part of a transcript for which `fails` still holds.
pub(super) fn shrink(transcript: Transcript, fails: impl Fn(&Transcript) -> bool) -> Transcript {
    let mut best = transcript;
    let mut tries = 0;
    let mut is_failing = |candidate: &Transcript| {
        tries += 1;
        tries <= TRIES_MAX && fails(candidate)
    };
    let mut size = best.acts.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut is_smaller) = (0, false);
        while at < best.acts.len() {
            let mut candidate = best.clone();
            candidate.acts.drain(at..(at + size).min(best.acts.len()));
            if is_failing(&candidate) {
                best = candidate;
                is_smaller = true;
            } else {
                at += size;
            }
        }
        if size == 1 && !is_smaller {
            break;
        }
        size = size.div_ceil(2).max(1);
    }
    // Smaller numbers are easier to read.
    for act in 0..best.acts.len() {
        for arg in 0..best.acts[act].args.len() {
            for value in [0, 1, 2, best.acts[act].args[arg] / 2] {
                if value >= best.acts[act].args[arg] {
                    continue;
                }
                let mut candidate = best.clone();
                candidate.acts[act].args[arg] = value;
                if is_failing(&candidate) {
                    best = candidate;
                }
            }
        }
    }
    best
}
