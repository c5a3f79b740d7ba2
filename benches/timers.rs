//! 10,000 idle connections: what looking at the clock costs, and what keeping them alive costs.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay_benches::{Fleet, Speech};
use forebay_core::wire::{Opcode, frame};

const CONNS: usize = 10_000;

fn pong() -> BytesMut {
    let mut pong = BytesMut::new();
    frame::put_frame(&mut pong, Opcode::Pong, Some([0x37, 0xfa, 0x21, 0x3d]), b"");
    pong
}

fn clock(c: &mut Criterion) {
    let mut group = c.benchmark_group("timers/10,000 idle");
    let mut fleet = Fleet::new(Speech::Forebay, CONNS, 0);
    group.bench_function("poll_timeout", |b| b.iter(|| black_box(fleet.hub.poll_timeout())));
    group.bench_function("handle_timeout, nothing due", |b| b.iter(|| fleet.hub.handle_timeout(black_box(fleet.now))));
    let (pong, mut next) = (pong(), 0);
    group.bench_function("handle_bytes, a pong", |b| {
        b.iter(|| {
            fleet.hub.handle_bytes(fleet.conns[next], &pong, fleet.now);
            next = (next + 1) % CONNS;
        });
    });
    group.finish();
}

/// A ping and its pong, for all of them. Read "elem" as "connection".
fn keepalive(c: &mut Criterion) {
    let mut group = c.benchmark_group("timers/10,000 idle");
    let mut fleet = Fleet::new(Speech::Forebay, CONNS, 0);
    let pong = pong();
    group.throughput(Throughput::Elements(CONNS as u64));
    group.bench_function("a round of pings and pongs", |b| {
        b.iter(|| {
            fleet.now = fleet.now + Duration::from_secs(25);
            let mut bytes = 0;
            while fleet.hub.poll_timeout().is_some_and(|deadline| deadline.at <= fleet.now) {
                fleet.hub.handle_timeout(fleet.now);
                bytes += fleet.drain();
            }
            assert!(bytes >= CONNS * 2);
            for conn in &fleet.conns {
                fleet.hub.handle_bytes(*conn, &pong, fleet.now);
            }
            assert_eq!(fleet.hub.connections(), CONNS);
        });
    });
    group.finish();
}

criterion_group!(benches, clock, keepalive);
criterion_main!(benches);
