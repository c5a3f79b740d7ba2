//! Deadlines: not a nanosecond before.

use std::time::Duration;

use forebay_core::wire::CloseCode;
use forebay_core::{LaneOptions, Level, LossReason, Mode, Payload, Policy, Start, Stats};
use forebay_testkit::mini::Client;
use forebay_testkit::stage::Stage;

use super::*;

const S: Duration = Duration::from_secs(1);

/// The last moment before a second is over, or its end.
const fn nearly(more: bool) -> Duration {
    Duration::from_nanos(999_999_999 + more as u64)
}

pub(crate) const ROWS: &[Row] = &[
    row("Options.handshake_timeout", "5s", Status(408), By(|s| ended(s, "handshake_timeout")), handshake),
    row("Options.message_timeout", "30s", Closed(1008), By(|s| ended(s, "message_timeout")), message),
    row("Options.ping_interval", "25s", Then("asked"), Not("it is a question"), ping),
    row("Options.pong_timeout", "20s", Cut, By(|s| ended(s, "pong_timeout")), pong),
    row("Options.stall_timeout", "30s", Cut, By(|s| ended(s, "stalled")), stall),
    row("Options.close_timeout", "5s", Then("cut"), By(|s| ended(s, "closed")), close),
    row("Options.block_max", "30s", Reply("full"), By(|s| s.refused_full), block),
    row("Options.watermarks.high_percent", "75", Then("high"), By(|s| s.levels.lanes.high), high),
    row("Options.watermarks.low_percent", "50", Then("nominal"), By(|s| s.levels.lanes.nominal), low),
    row("Options.watermarks.dwell", "100ms", Then("nominal"), By(|s| s.levels.lanes.nominal), dwell),
    row("TopicOptions.age_max", "None", Lost("age"), By(|s| s.lanes.lost_by(LossReason::Age).messages), age),
];

fn handshake(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.handshake_timeout = S);
    let mut client = Client::new(1, &[], true);
    let request: Vec<u8> = client.out().drain(..).collect();
    client.misbehave(&request[..request.len() - 1]);
    let conn = stage.seat(client, Mode::Raw);
    stage.advance(nearly(more));
    if !more {
        stage.client(conn).write(&request[request.len() - 1..]);
        stage.pump();
        assert!(stage.client(conn).is_open());
    }
    seen(&mut stage, conn)
}

fn message(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.message_timeout = S);
    let conn = stage.join_raw();
    stage.client(conn).frame(false, 2, b"begun");
    stage.advance(nearly(more));
    seen(&mut stage, conn)
}

fn ping(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.ping_interval = S);
    let conn = stage.join_raw();
    stage.advance(nearly(more));
    (if stage.client(conn).pings == 0 { Taken } else { Then("asked") }, *stage.hub.stats())
}

fn pong(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| (options.ping_interval, options.pong_timeout) = (S, S));
    let conn = stage.join_raw();
    stage.client(conn).manners.answers_pings = false;
    stage.advance(S);
    assert_eq!(stage.client(conn).pings, 1);
    stage.advance(nearly(more));
    seen(&mut stage, conn)
}

fn stall(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.stall_timeout = S);
    let conn = stage.join_raw();
    stage.freeze(conn);
    stage.hub.send(conn, Payload::Text("stuck"), stage.now).unwrap();
    stage.advance(nearly(more));
    seen(&mut stage, conn)
}

fn close(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.close_timeout = S);
    let conn = stage.join_raw();
    stage.client(conn).manners.answers_close = false;
    stage.hub.close(conn, CloseCode::NORMAL, "", stage.now);
    stage.advance(nearly(more));
    (if stage.ended(conn).is_none() { Taken } else { Then("cut") }, *stage.hub.stats())
}

fn block(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.block_max = S);
    stage.topic("t", |options| (options.policy, options.lane.messages_max) = (Policy::Block, 1));
    let (frozen, publisher) = (stage.join(), stage.join());
    stage.subscribe(frozen, "t");
    stage.freeze(frozen);
    for tag in 0..2 {
        stage.client(publisher).publish("t", "1", tag);
    }
    stage.advance(nearly(more));
    let (outcome, stats) = seen(&mut stage, publisher);
    assert_eq!(replied(&stats, "full"), stats.refused_full);
    (outcome, stats)
}

/// An in-process lane for 100 messages with so many, and then so many taken; whether its level is that, at last.
fn level(level: Level, published: usize, taken: usize, times: [Duration; 2]) -> (bool, Stats) {
    let mut stage = Stage::new(|options| options.watermarks.dwell = S);
    let topic = stage.topic("t", |options| options.lane.messages_max = 100);
    let lane = stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    for _ in 0..published {
        stage.publish(topic, "1").unwrap();
    }
    stage.advance(times[0]);
    for _ in 0..taken {
        assert!(stage.hub.take(lane, stage.now).is_some());
    }
    stage.advance(times[1]);
    stage.hub.check_invariants();
    (stage.hub.lane(lane).expect("there").load.level == level, *stage.hub.stats())
}

fn high(more: bool) -> (Outcome, Stats) {
    let (is_high, stats) = level(Level::High, 74 + usize::from(more), 0, [Duration::ZERO; 2]);
    (if is_high { Then("high") } else { Taken }, stats)
}

fn low(more: bool) -> (Outcome, Stats) {
    let (is_nominal, stats) = level(Level::Nominal, 80, 29 + usize::from(more), [S, Duration::ZERO]);
    (if is_nominal { Then("nominal") } else { Taken }, stats)
}

fn dwell(more: bool) -> (Outcome, Stats) {
    let (is_nominal, stats) = level(Level::Nominal, 80, 80, [Duration::ZERO, nearly(more)]);
    (if is_nominal { Then("nominal") } else { Taken }, stats)
}

fn age(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |options| options.age_max = Some(S));
    stage.hub.subscribe_local(topic, LaneOptions::default(), Start::Latest, stage.now).unwrap();
    stage.publish(topic, "1").unwrap();
    stage.advance(nearly(more));
    let stats = *stage.hub.stats();
    (if stats.lanes.lost_total().messages == 0 { Taken } else { Lost("age") }, stats)
}
