//! Lanes that are 1,000 messages behind, and how they catch up. Read "elem" as "delivery".
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay_benches::{Fleet, Speech, json_text};

const BEHIND: usize = 1_000;
const CONNS: usize = 100;

/// Lets every lane fall behind by `BEHIND` messages, spread over the topics, a tick each; then measures `drain`.
fn measure(b: &mut Bencher<'_>, fleet: &mut Fleet, text: &str, mut drain: impl FnMut(&mut Fleet) -> usize) {
    let topics = fleet.topics.len();
    b.iter_custom(|rounds| {
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            for number in 0..BEHIND {
                fleet.publish(number % topics, text);
                fleet.forget_outputs(); // a poll: the tick's block is frozen
            }
            let started = Instant::now();
            let bytes = drain(fleet);
            spent += started.elapsed();
            assert!(bytes > BEHIND * CONNS * text.len());
        }
        spent
    });
}

fn behind(c: &mut Criterion) {
    let mut group = c.benchmark_group("drain/1,000 behind");
    group.throughput(Throughput::Elements((BEHIND * CONNS) as u64));
    for speech in Speech::ALL {
        for (name, size) in [("128 B", 128), ("1 KiB", 1_000)] {
            let (mut fleet, text) = (Fleet::new(speech, CONNS, 1), json_text(size));
            group.bench_function(BenchmarkId::new(speech.name(), name), |b| {
                measure(b, &mut fleet, &text, Fleet::drain);
            });
        }
    }
    group.finish();
}

fn many_topics(c: &mut Criterion) {
    let mut group = c.benchmark_group("drain/many topics");
    group.throughput(Throughput::Elements((BEHIND * CONNS) as u64));
    for topics in [2, 16, 128] {
        let (mut fleet, text) = (Fleet::new(Speech::Raw, CONNS, topics), json_text(128));
        group.bench_function(BenchmarkId::from_parameter(topics), |b| measure(b, &mut fleet, &text, Fleet::drain));
    }
    group.finish();
}

fn partial_sends(c: &mut Criterion) {
    let mut group = c.benchmark_group("drain/partial sends");
    group.throughput(Throughput::Elements((BEHIND * CONNS) as u64));
    for (name, write_max) in [("1,448 B", 1_448), ("16 KiB", 16 << 10)] {
        let (mut fleet, text) = (Fleet::new(Speech::Raw, CONNS, 1), json_text(128));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            measure(b, &mut fleet, &text, |fleet| fleet.drain_in_part(write_max));
        });
    }
    group.finish();
}

criterion_group!(benches, behind, many_topics, partial_sends);
criterion_main!(benches);
