//! What a publish and a drain cost, in rounds: to be counted by a profiler (`valgrind --tool=callgrind`), or timed by itself.
//!
//! `rounds CONNS WAITING ROUNDS`: so many subscribers of one topic; each round publishes so many messages of 128 B, of
//! which the first wakes all lanes, and drains them.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use forebay_benches::{Fleet, Speech, json_text};

/// Takes everything there is, and looks at it no more than a write would. How many Transmits that was.
fn drain(fleet: &mut Fleet) -> usize {
    let mut transmits = 0;
    while let Some(transmit) = fleet.hub.poll_transmit() {
        let (conn, len) = (transmit.conn(), transmit.len());
        match transmit.single() {
            Some(slice) => _ = black_box(slice),
            None => transmit.slices().for_each(|slice| _ = black_box(slice)),
        }
        fleet.hub.handle_sent(conn, len, fleet.now);
        transmits += 1;
    }
    transmits
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default| arguments.get(place).map_or(default, |text| text.parse().expect("a number"));
    let (conns, waiting, rounds) = (number(0, 1_000), number(1, 16), number(2, 10));
    let text = json_text(128);
    let mut fleet = Fleet::new(Speech::Raw, conns, 1);
    let (mut first, mut others, mut drained) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        let started = Instant::now();
        fleet.publish(0, &text);
        first = first.min(started.elapsed());
        let started = Instant::now();
        (1..waiting).for_each(|_| fleet.publish(0, &text));
        others = others.min(started.elapsed());
        let started = Instant::now();
        assert_eq!(drain(&mut fleet), conns);
        drained = drained.min(started.elapsed());
        fleet.forget_outputs();
    }
    let each = |spent: Duration, by: usize| spent.as_nanos() as f64 / by.max(1) as f64;
    println!(
        "{conns} subscribers, {waiting} waiting: wake {:.2} ns per subscriber, publish {:.0} ns each, \
         drain {:.1} ns per Transmit, {:.2} per message (best of {rounds})",
        each(first, conns),
        each(others, waiting - 1),
        each(drained, conns),
        each(drained, conns * waiting),
    );
}
