//! What lanes cost however many there are, and how those that are 1,000 messages behind catch up. Read "elem" as "delivery";
//! in "wake" as "lane that was empty", in "publish" as "publish".
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::hint::black_box;
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

/// An unoptimised run only shows that it runs.
const LANES: &[usize] = if cfg!(debug_assertions) { &[1_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
/// In one tick, where lanes of `topic_options` hold 1,000.
const PUBLISHES: usize = 500;

/// Takes everything there is, and looks at it no more than a write would. How many Transmits that was.
fn drain(fleet: &mut Fleet) -> usize {
    let mut transmits = 0;
    while let Some(transmit) = fleet.hub.poll_transmit() {
        let (conn, len) = (transmit.conn(), transmit.len());
        transmit.slices().for_each(|slice| {
            black_box(slice);
        });
        fleet.hub.handle_sent(conn, len, fleet.now);
        transmits += 1;
    }
    transmits
}

/// Connections with a lane each on one topic; so many percent of them have stopped reading, and have full lanes.
fn fleet(lanes: usize, frozen_percent: usize, text: &str) -> Fleet {
    let mut fleet = Fleet::new(Speech::Raw, lanes, 1);
    let frozen = lanes * frozen_percent / 100;
    if frozen > 0 {
        fleet.freeze(frozen);
        for _ in 0..3 {
            (0..PUBLISHES).for_each(|_| fleet.publish(0, text));
            assert_eq!(drain(&mut fleet), lanes - frozen);
        }
        fleet.forget_outputs();
    }
    fleet
}

/// The time of `body`, over `rounds` of it; `after` is not counted.
fn timed(rounds: u64, fleet: &mut Fleet, body: impl Fn(&mut Fleet), after: impl Fn(&mut Fleet)) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let started = Instant::now();
        body(fleet);
        spent += started.elapsed();
        after(fleet);
        fleet.forget_outputs();
    }
    spent
}

fn numbers_of_lanes(c: &mut Criterion) {
    let mut group = c.benchmark_group("lanes");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(10);
    let text = json_text(128);
    for (lanes, frozen_percent) in LANES.iter().flat_map(|lanes| [(*lanes, 0), (*lanes, 10)]) {
        // Made by the first that is not filtered out.
        let house = RefCell::new(None);
        let with = |body: &mut dyn FnMut(&mut Fleet) -> Duration| {
            body(house.borrow_mut().get_or_insert_with(|| fleet(lanes, frozen_percent, &text)))
        };
        let reading = lanes - lanes * frozen_percent / 100;
        let of = format!("{lanes} lanes, {frozen_percent} % frozen");
        group.throughput(Throughput::Elements(reading as u64));
        group.bench_function(BenchmarkId::new("wake: the first publish", &of), |b| {
            let after = |fleet: &mut Fleet| assert_eq!(drain(fleet), reading);
            b.iter_custom(|rounds| with(&mut |fleet| timed(rounds, fleet, |fleet| fleet.publish(0, &text), after)));
        });
        group.throughput(Throughput::Elements(PUBLISHES as u64));
        group.bench_function(BenchmarkId::new("publish to waiting lanes", &of), |b| {
            let publish = |fleet: &mut Fleet| (0..PUBLISHES).for_each(|_| fleet.publish(0, &text));
            let after = |fleet: &mut Fleet| {
                drain(fleet);
                fleet.publish(0, &text);
            };
            b.iter_custom(|rounds| {
                with(&mut |fleet| {
                    fleet.publish(0, &text);
                    let spent = timed(rounds, fleet, publish, after);
                    drain(fleet);
                    spent
                })
            });
        });
        for waiting in [16, 64] {
            group.throughput(Throughput::Elements((reading * waiting) as u64));
            group.bench_function(BenchmarkId::new(format!("drain: {waiting} messages each"), &of), |b| {
                let publish = |fleet: &mut Fleet| (0..waiting).for_each(|_| fleet.publish(0, &text));
                b.iter_custom(|rounds| {
                    with(&mut |fleet| {
                        publish(fleet);
                        let spent = timed(rounds, fleet, |fleet| assert_eq!(drain(fleet), reading), publish);
                        drain(fleet);
                        spent
                    })
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, numbers_of_lanes, behind, many_topics, partial_sends);
criterion_main!(benches);
