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

    /// Counts what the reference found, `through` the decoder or a hub.
    fn count_all(&mut self, through: &str, drawn: &draw::Drawn, reader: &Reader) {
        let mut count = |what: &str| self.count(format!("{through}: {what}"));
        count(if drawn.rules.from_client { "from a client" } else { "from a server" });
        for told in &reader.told {
            count(match told {
                Told::Message { is_compressed: true, .. } => "compressed",
                Told::Message { is_text: true, .. } => "text",
                Told::Message { is_text: false, .. } => "binary",
                Told::Ping(_) => "ping",
                Told::Pong(_) => "pong",
                Told::Close(None) => "close without a code",
                Told::Close(Some(_)) => "close",
            });
            if matches!(told, Told::Message { payload, .. } if payload.len() as u128 == drawn.rules.message_bytes_max) {
                count("message as big as may be");
            }
        }
        for fault in &reader.faults {
            count(&format!("{fault:?}"));
            if reader.open.is_some() {
                count(&format!("{fault:?} inside a message"));
            }
        }
        if !reader.is_over() {
            count(if reader.open.is_some() { "ends inside a message" } else { "all is well" });
        }
    }

    /// Streams in which nothing happens are decoded alike, too.
    fn check(&self, through: &str, also: &[&str], but: &[Fault]) {
        let faults = Fault::ALL.iter().filter(|fault| !but.contains(fault));
        let mut expected: Vec<String> = faults.map(|fault| format!("{fault:?}")).collect();
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
        expected.extend(others.iter().chain(also).map(|what| (*what).to_owned()));
        for what in expected {
            let times = self.0.get(&format!("{through}: {what}")).copied().unwrap_or(0);
            assert!(times >= 3, "{through}: {what}: {times} times is too rare to say anything");
        }
    }
}

#[test]
fn random_streams_are_decoded_as_by_the_reference() {
    let one = std::env::var("FOREBAY_SEED").ok().and_then(|text| text.parse().ok());
    let seeds = one.map_or(0..number("FOREBAY_SEEDS", 1_000), |seed: u64| seed..seed + 1);
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for seed in seeds.clone() {
        let mut choices = Choices::from_seed(seed);
        let drawn = draw::stream(&mut choices);
        let fits_hub = through::MESSAGE_BYTES.contains(&drawn.rules.message_bytes_max);
        let played = std::panic::catch_unwind(|| {
            let mut choices = Choices::from_seed(!seed);
            compare::compare(drawn.rules, &drawn.stream, &draw::pieces(&mut choices));
            compare::compare(drawn.rules, &drawn.stream, &draw::pieces(&mut choices));
            let of_hub = fits_hub.then(|| through::through(drawn.rules, &drawn.stream, &draw::pieces(&mut choices)));
            (compare::compare(drawn.rules, &drawn.stream, &[1]), of_hub)
        });
        let Ok((reader, of_hub)) = played else {
            failed.push(seed);
            continue;
        };
        tally.count_all("decoder", &drawn, &reader);
        if let Some(reader) = of_hub {
            tally.count_all("hub", &drawn, &reader);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?} of {seeds:?}");
    println!("{:#?}", tally.0);
    if seeds.end - seeds.start >= 1_000 {
        // The decoder lends compressed messages; a hub inflates them.
        tally.check("decoder", &["compressed"], &[Fault::CorruptDeflate]);
        tally.check("hub", &["CorruptDeflate inside a message"], &[]);
    }
}
