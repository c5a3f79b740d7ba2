//! Rates: what comes from a connection, what goes to it, what is published to a topic; each at the unit and at the
//! nanosecond.

mod inbound;
mod link;
mod outbound;
mod publishes;

use std::time::Duration;

use forebay_core::{ConnId, Rate};
use forebay_testkit::stage::Stage;

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);
const NOTHING: [&str; 0] = [];

const fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second, burst }
}

/// The milliseconds after which a client was told to try again, each time.
fn retry_afters(stage: &mut Stage, conn: ConnId) -> Vec<u64> {
    let stream = String::from_utf8_lossy(&stage.seat_of(conn).stream).into_owned();
    let told = stream.split("\"retry_after_ms\":").skip(1);
    told.map(|rest| rest.split([',', '}']).next().expect("a number").parse().expect("a number")).collect()
}
