//! Random streams to the core's decoder, to a whole hub and to the reference decoder. `FOREBAY_SEEDS` makes them more,
//! `FOREBAY_SEED` plays one again.

use std::collections::BTreeMap;

use forebay_testkit::rng::Choices;
use forebay_testkit::wire::reference::{Fault, Reader, Told};
use forebay_testkit::wire::{compare, draw, through};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What was seen, and how often.
#[derive(Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    fn count_all(&mut self, drawn: &draw::Drawn, reader: &Reader) {
        self.count(if drawn.rules.from_client { "from a client" } else { "from a server" });
        for told in &reader.told {
            match told {
                Told::Message { is_text: true, .. } => self.count("text"),
                Told::Message { is_text: false, .. } => self.count("binary"),
                Told::Ping(_) => self.count("ping"),
                Told::Pong(_) => self.count("pong"),
                Told::Close(None) => self.count("close without a code"),
                Told::Close(Some(_)) => self.count("close"),
            }
            if matches!(told, Told::Message { payload, .. } if payload.len() as u128 == drawn.rules.message_bytes_max) {
                self.count("message as big as may be");
            }
        }
        for fault in &reader.faults {
            self.count(format!("{fault:?}"));
            if reader.open.is_some() {
                self.count(format!("{fault:?} inside a message"));
            }
        }
        if !reader.is_over() {
            self.count("all is well");
        }
        if reader.open.is_some() && !reader.is_over() {
            self.count("ends inside a message");
        }
    }
}

#[test]
fn random_streams_are_decoded_as_by_the_reference() {
    let one = std::env::var("FOREBAY_SEED").ok().and_then(|text| text.parse().ok());
    let seeds = one.map_or(0..number("FOREBAY_SEEDS", 1_500), |seed: u64| seed..seed + 1);
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for seed in seeds.clone() {
        let mut choices = Choices::from_seed(seed);
        let drawn = draw::stream(&mut choices);
        let played = std::panic::catch_unwind(|| {
            let mut choices = Choices::from_seed(!seed);
            compare::compare(drawn.rules, &drawn.stream, &draw::pieces(&mut choices));
            compare::compare(drawn.rules, &drawn.stream, &draw::pieces(&mut choices));
            if through::MESSAGE_BYTES.contains(&drawn.rules.message_bytes_max) {
                through::through(drawn.rules, &drawn.stream, &draw::pieces(&mut choices));
            }
            compare::compare(drawn.rules, &drawn.stream, &[1])
        });
        match played {
            Ok(reader) => tally.count_all(&drawn, &reader),
            Err(_) => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?} of {seeds:?}");
    println!("{:#?}", tally.0);
    if seeds.end - seeds.start >= 1_500 {
        // Streams in which nothing happens are decoded alike, too.
        let mut expected: Vec<String> = Fault::ALL.iter().map(|fault| format!("{fault:?}")).collect();
        let inside = [Fault::InterleavedMessage, Fault::Flood, Fault::InvalidUtf8, Fault::MessageTooBig];
        expected.extend(inside.iter().map(|fault| format!("{fault:?} inside a message")));
        let others = [
            "from a client",
            "from a server",
            "text",
            "binary",
            "ping",
            "pong",
            "close",
            "close without a code",
            "message as big as may be",
            "all is well",
            "ends inside a message",
        ];
        expected.extend(others.map(String::from));
        for what in expected {
            assert!(tally.0.get(&what).is_some_and(|times| *times >= 3), "{what}: too rare to say anything");
        }
    }
}
