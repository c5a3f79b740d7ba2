//! Lanes: what waits in them, and what their subscribers may ask for.

use std::time::Duration;

use forebay_core::{LaneOptions, LossReason, Start, Stats};
use forebay_testkit::stage::{Stage, json_of_len};

use super::*;

pub(crate) const ROWS: &[Row] = &[
    row("TopicOptions.lane.messages_max", "16384", Lost("oldest"), By(oldest), messages),
    row("TopicOptions.lane.bytes_max", "1048576", Lost("oldest"), By(oldest), bytes),
    row("LaneOptions.messages_max", "None", Error("InvalidLimits"), TOLD, asked_messages),
    row("LaneOptions.bytes_max", "None", Error("InvalidLimits"), TOLD, asked_bytes),
    row("LaneOptions.age_max", "None", Error("InvalidLimits"), TOLD, asked_age),
    row("LaneOptions.credit", "None", Waits, WAITS, credit),
];

fn oldest(stats: &Stats) -> u64 {
    stats.lanes.lost_by(LossReason::Oldest).messages
}

/// A topic whose lanes take three messages, 100 bytes, for a second.
fn stage() -> (Stage, forebay_core::TopicId) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| {
        (options.lane.messages_max, options.lane.bytes_max, options.message_bytes_max) = (3, 100, 60);
        options.age_max = Some(Duration::from_secs(1));
    });
    (stage, topic)
}

fn waiting(lens: &[usize]) -> (Outcome, Stats) {
    let (mut stage, topic) = stage();
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    for len in lens {
        stage.publish(topic, &json_of_len(*len)).unwrap();
    }
    stage.hub.check_invariants();
    let stats = *stage.hub.stats();
    (if oldest(&stats) == 0 { Taken } else { Lost("oldest") }, stats)
}

fn messages(more: bool) -> (Outcome, Stats) {
    waiting(&[5; 4][..3 + usize::from(more)])
}

fn bytes(more: bool) -> (Outcome, Stats) {
    waiting(&[50, 50 + usize::from(more)])
}

fn asked(options: LaneOptions) -> (Outcome, Stats) {
    let (mut stage, topic) = stage();
    let result = stage.hub.subscribe_local(topic, options, Start::Latest, stage.now);
    (error_name(&result, &["InvalidLimits"]), *stage.hub.stats())
}

fn asked_messages(more: bool) -> (Outcome, Stats) {
    asked(LaneOptions { messages_max: Some(3 + u32::from(more)), ..LaneOptions::default() })
}

fn asked_bytes(more: bool) -> (Outcome, Stats) {
    asked(LaneOptions { bytes_max: Some(100 + u64::from(more)), ..LaneOptions::default() })
}

fn asked_age(more: bool) -> (Outcome, Stats) {
    let age_max = Duration::from_nanos(1_000_000_000 + u64::from(more));
    asked(LaneOptions { age_max: Some(age_max), ..LaneOptions::default() })
}

fn credit(more: bool) -> (Outcome, Stats) {
    let (mut stage, topic) = stage();
    let conn = stage.join_raw();
    let options = LaneOptions { credit: Some(2), ..LaneOptions::default() };
    stage.hub.subscribe(conn, topic, options, Start::Latest, stage.now).unwrap();
    let count = 2 + usize::from(more);
    for _ in 0..count {
        stage.publish(topic, "1").unwrap();
    }
    stage.pump();
    (if stage.client(conn).items.len() == count { Taken } else { Waits }, *stage.hub.stats())
}
