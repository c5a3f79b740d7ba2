//! Rates: a burst, and one more; the time until there is a unit, and a nanosecond less.

use std::time::Duration;

use forebay_core::{Excess, Payload, Rate, Stats};
use forebay_testkit::stage::Stage;

use super::*;

pub(crate) const ROWS: &[Row] = &[
    row("Options.inbound_rate.per_second", "None", Reply("limited"), By(|s| s.refused_limited), inbound_per_second),
    row("Options.inbound_rate.burst", "None", Reply("limited"), By(|s| s.refused_limited), inbound_burst),
    row("Options.inbound_bytes_rate.per_second", "None", Waits, WAITS, inbound_bytes_per_second),
    row("Options.inbound_bytes_rate.burst", "None", Waits, WAITS, inbound_bytes_burst),
    row("Options.outbound_bytes_rate.per_second", "None", Waits, WAITS, outbound_per_second),
    row("Options.outbound_bytes_rate.burst", "None", Waits, WAITS, outbound_burst),
    row("Options.reserved_percent", "10", Waits, WAITS, reserved),
    row(
        "TopicOptions.publish_rate.per_second",
        "None",
        Error("Limited"),
        By(|s| s.refused_limited),
        publish_per_second,
    ),
    row("TopicOptions.publish_rate.burst", "None", Error("Limited"), By(|s| s.refused_limited), publish_burst),
];

const fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

/// The time of a unit of ten a second, or a nanosecond less.
const fn a_tenth(less: bool) -> Duration {
    Duration::from_nanos(100_000_000 - less as u64)
}

/// Publishes of a client, each so long after the one before.
fn inbound(rate: Option<Rate>, count: usize, apart: Duration) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| (options.inbound_rate, options.inbound_excess) = (rate, Excess::Refuse));
    let conn = stage.join();
    for _ in 0..count {
        stage.client(conn).publish("t", "1", 1);
        stage.pump();
        stage.advance(apart);
    }
    seen(&mut stage, conn)
}

fn inbound_per_second(more: bool) -> (Outcome, Stats) {
    inbound(rate(10, 1), 2, a_tenth(more))
}

fn inbound_burst(more: bool) -> (Outcome, Stats) {
    inbound(rate(1, 3), 3 + usize::from(more), Duration::ZERO)
}

/// Whether a connection is read after a message of so many bytes, and some time.
fn inbound_bytes(rate: Option<Rate>, len: usize, after: Duration) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.inbound_bytes_rate = rate);
    let conn = stage.join_raw();
    stage.client(conn).binary(&vec![1; len]);
    stage.advance(after);
    stage.hub.check_invariants();
    (if stage.hub.wants_read(conn) { Taken } else { Waits }, *stage.hub.stats())
}

fn inbound_bytes_per_second(more: bool) -> (Outcome, Stats) {
    inbound_bytes(rate(10, 100), 100, a_tenth(more))
}

fn inbound_bytes_burst(more: bool) -> (Outcome, Stats) {
    inbound_bytes(rate(1, 100), 99 + usize::from(more), Duration::ZERO)
}

/// Whether a second message goes after one of a frame of so many bytes, and some time.
fn outbound(rate: Option<Rate>, reserved_percent: u8, len: usize, after: Duration) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| {
        (options.outbound_bytes_rate, options.reserved_percent) = (rate, reserved_percent);
        options.ping_interval = Duration::from_secs(3_000);
    });
    let conn = stage.join_raw();
    stage.advance(Duration::from_secs(1_000)); // The answer to its opening request counted, too.
    for len in [len - 2, 1] {
        stage.hub.send(conn, Payload::Binary(&vec![1; len]), stage.now).unwrap();
        stage.pump();
    }
    stage.advance(after);
    stage.hub.check_invariants();
    (if stage.client(conn).items.len() == 2 { Taken } else { Waits }, *stage.hub.stats())
}

fn outbound_per_second(more: bool) -> (Outcome, Stats) {
    outbound(rate(10, 100), 0, 100, a_tenth(more))
}

fn outbound_burst(more: bool) -> (Outcome, Stats) {
    outbound(rate(1, 100), 0, 99 + usize::from(more), Duration::ZERO)
}

fn reserved(more: bool) -> (Outcome, Stats) {
    outbound(rate(1, 100), 10, 89 + usize::from(more), Duration::ZERO)
}

/// Publishes of the application, each so long after the one before.
fn published(rate: Option<Rate>, count: usize, apart: Duration) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.publish_rate = rate);
    for _ in 1..count {
        stage.publish(topic, "1").unwrap();
        stage.advance(apart);
    }
    let last = stage.publish(topic, "1");
    (error_name(&last, &["Limited"]), *stage.hub.stats())
}

fn publish_per_second(more: bool) -> (Outcome, Stats) {
    published(rate(10, 1), 2, a_tenth(more))
}

fn publish_burst(more: bool) -> (Outcome, Stats) {
    published(rate(1, 3), 3 + usize::from(more), Duration::ZERO)
}
