//! Every seed of the fuzz targets, on stable Rust.

use std::fs;
use std::path::Path;

fn replay(target: &str, body: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpora").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    for seed in seeds {
        // Captured, and shown only when the body panics: which seed it was.
        println!("{}", seed.display());
        body(&fs::read(&seed).expect("a readable seed"));
    }
}

#[test]
fn handshakes() {
    replay("handshake", forebay_testkit::fuzz::handshake);
}

#[test]
fn frames() {
    replay("frame", forebay_testkit::fuzz::frame);
}

#[test]
fn wires() {
    replay("wire", forebay_testkit::fuzz::wire_differential);
}

#[test]
fn inflated() {
    replay("inflate", forebay_testkit::fuzz::inflate);
}

#[test]
fn models() {
    replay("model", forebay_testkit::fuzz::model);
}

#[test]
fn hubs() {
    replay("hub", forebay_testkit::fuzz::hub);
}
