//! One topic, 1,000 subscribers, in memory: publish, then hand every delivery to a socket that takes everything. The
//! system call, which costs far more, is not in it. Read "elem" as "delivery".
#![forbid(unsafe_code)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forebay_benches::{Fleet, Speech, json_text};
use forebay_core::Policy;

const SUBSCRIBERS: usize = 1_000;

fn fanout(c: &mut Criterion) {
    let mut group = c.benchmark_group("fanout");
    for speech in Speech::ALL {
        for (size_name, size) in [("128 B", 128), ("1 KiB", 1_024)] {
            for in_flight in [1, 16] {
                let mut fleet = Fleet::new(speech, SUBSCRIBERS, 1);
                let text = json_text(size);
                group.throughput(Throughput::Elements((SUBSCRIBERS * in_flight) as u64));
                let parameter = format!("{size_name}, {in_flight} in flight");
                group.bench_function(BenchmarkId::new(speech.name(), parameter), |b| {
                    b.iter(|| {
                        for _ in 0..in_flight {
                            fleet.publish(0, &text);
                        }
                        assert!(fleet.drain() > SUBSCRIBERS * in_flight * size);
                    });
                });
            }
        }
    }
    group.finish();
}

/// 100 more subscribers that have stopped reading, with full lanes: what that costs the other 1,000.
fn frozen(c: &mut Criterion) {
    let mut group = c.benchmark_group("fanout/100 more frozen");
    let policies = [Policy::DropOldest, Policy::DropNewest, Policy::LatestPerKey, Policy::LatestOnly];
    for (policy, in_flight) in policies.into_iter().flat_map(|policy| [(policy, 1), (policy, 16)]) {
        let mut fleet = Fleet::with_policy(Speech::Raw, SUBSCRIBERS + 100, 1, policy);
        let text = json_text(1_024);
        fleet.freeze(100);
        for _ in 0..2_000 {
            fleet.publish(0, &text);
            fleet.drain();
        }
        group.throughput(Throughput::Elements((SUBSCRIBERS * in_flight) as u64));
        group.bench_function(BenchmarkId::new(policy.name(), format!("1 KiB, {in_flight} in flight")), |b| {
            b.iter(|| {
                for _ in 0..in_flight {
                    fleet.publish(0, &text);
                }
                // Of the latest only one of these is left.
                let is_latest = matches!(policy, Policy::LatestPerKey | Policy::LatestOnly);
                let least = if is_latest { 1 } else { in_flight };
                assert!(fleet.drain() > SUBSCRIBERS * least * 1_024);
            });
        });
    }
    group.finish();
}

/// The publish alone, into lanes that were not empty: it does not depend on how many there are.
fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("fanout/publish into waiting lanes");
    for subscribers in [1, 1_000, 10_000] {
        let text = json_text(128);
        let mut fleet = Fleet::new(Speech::Raw, subscribers, 1);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(format!("{subscribers} lanes")), |b| {
            b.iter_custom(|publishes| {
                let mut spent = std::time::Duration::ZERO;
                let mut left = publishes;
                while left > 0 {
                    fleet.publish(0, &text);
                    let batch = left.min(500);
                    let started = std::time::Instant::now();
                    for _ in 0..batch {
                        fleet.publish(0, &text);
                    }
                    spent += started.elapsed();
                    left -= batch;
                    fleet.drain();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fanout, frozen, publish);
criterion_main!(benches);
