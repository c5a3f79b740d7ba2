//! The wire of forebay-core beside that of other libraries, in memory: the same bytes in, the same work delivered.
//!
//! A benchmark is `row/library`; `table` makes the tables of `benches/README.md` of them.
#![forbid(unsafe_code)]

mod deflate;
mod encode;
mod handshake;
mod kernels;
mod parse;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main};

/// A library under way in one row: does the row's work so many times.
type Work = Box<dyn FnMut(u64)>;

/// Measures one library in one row. Polling a future costs a few nanoseconds, so it is `work` that repeats.
fn bench(group: &mut BenchmarkGroup<'_, WallTime>, library: &str, mut work: Work) {
    work(1);
    group.bench_function(library, |bencher| {
        bencher.iter_custom(|count| {
            let start = Instant::now();
            work(count);
            start.elapsed()
        });
    });
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

/// Many short rounds say more on a machine that does other things too than one long one.
fn config() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(15)
        .nresamples(1_000)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
}

criterion_group! {
    name = benches;
    config = config();
    targets = parse::rows, encode::rows, kernels::rows, handshake::rows, deflate::rows
}
criterion_main!(benches);
