//! What is sent compressed (RFC 7692), and that it is the same as what is not.

mod contexts;
mod direct;
mod edges;
mod memory;
mod partial;
mod policies;
mod units;

use forebay_core::{ConnId, DeflateOptions, Mode, Options, TopicId, TopicOptions};
use forebay_testkit::mini::Told;
use forebay_testkit::stage::Stage;

/// Time stands still where nothing waits for it.
const NOW: forebay_core::Instant = forebay_core::Instant::from_nanos(1);

/// What a browser offers.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// A stage whose hub compresses.
fn stage(change: impl FnOnce(&mut Options)) -> Stage {
    Stage::new(|options| {
        options.deflate = Some(DeflateOptions::default());
        change(options);
    })
}

/// A topic whose messages are compressed.
fn topic(stage: &mut Stage, change: impl FnOnce(&mut TopicOptions)) -> TopicId {
    stage.topic("t", |options| {
        options.deflate = true;
        change(options);
    })
}

/// A client that inflates, subscribed.
fn inflating(stage: &mut Stage) -> ConnId {
    let conn = stage.join_offering(Mode::Dialect, OFFER);
    stage.subscribe(conn, "t");
    conn
}

/// One that does not.
fn plain(stage: &mut Stage) -> ConnId {
    let conn = stage.join();
    stage.subscribe(conn, "t");
    conn
}

/// Publishes messages within one tick.
fn publish(stage: &mut Stage, topic: TopicId, payloads: &[String]) {
    for payload in payloads {
        let text = forebay_core::Payload::Text(payload);
        stage.hub.publish(topic, text, stage.now).expect("taken");
    }
    stage.pump();
}

/// Ticks of a market: text of some 80 bytes in which much repeats.
fn ticks(from: u64, count: u64) -> Vec<String> {
    let ticks = (from..from + count).map(|number| {
        let (bid, ask) = (100_000 + number * 7 % 83, 100_000 + number * 11 % 97);
        let symbol = ["EURUSD", "GBPUSD", "USDJPY", "AUDUSD"][usize::try_from(number % 4).unwrap()];
        format!(
            r#"{{"symbol":"{symbol}","bid":{bid},"ask":{ask},"time":{},"venue":"LD4"}}"#,
            1_700_000_000_000 + number * 13
        )
    });
    ticks.collect()
}

/// The numbers of the messages a client was told since it was last asked, and gaps as `-from..to`.
fn heard(stage: &mut Stage, conn: ConnId) -> Vec<String> {
    let told = stage.told(conn).into_iter().map(|told| match told {
        Told::Message { seq, data, .. } => format!("{seq} {}", String::from_utf8_lossy(data.bytes())),
        other => other.brief(),
    });
    told.collect()
}
