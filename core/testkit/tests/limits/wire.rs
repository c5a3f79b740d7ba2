//! What is on the wire: heads, frames, messages.

use std::time::Duration;

use forebay_core::wire::decoder::{CREDIT_NANOS, FRAME_COST, INFLATE_COST, WORK_CREDIT};
use forebay_core::wire::frame::CONTROL_BYTES_MAX;
use forebay_core::wire::handshake::{FIELDS_MAX, TARGET_BYTES_MAX};
use forebay_core::wire::{CloseCode, HandshakeError, WireError};
use forebay_core::{ConnId, Mode, PUBLISH_ID_BYTES_MAX, Stats};
use forebay_testkit::mini::frame::encode;
use forebay_testkit::mini::{Client, handshake};
use forebay_testkit::stage::Stage;

use super::*;

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

pub(crate) const ROWS: &[Row] = &[
    row("Options.head_bytes_max", "16384", Status(431), By(|s| refused(s, HandshakeError::HeadTooLarge)), head),
    row("const FIELDS_MAX", "100", Status(431), By(|s| refused(s, HandshakeError::TooManyFields)), fields),
    row("const TARGET_BYTES_MAX", "8 * 1024", Status(414), By(|s| refused(s, HandshakeError::TargetTooLong)), target),
    row("Options.message_bytes_max", "1048576", Closed(1009), By(|s| broken(s, WireError::MessageTooBig)), message),
    row("const CONTROL_BYTES_MAX", "125", Closed(1002), By(|s| broken(s, WireError::ControlTooLong)), control),
    row("const REASON_BYTES_MAX", "123", Then("cut"), Not("it is our own text"), reason),
    row("const WORK_CREDIT", "16_384 * FRAME_COST", Closed(1008), By(|s| broken(s, WireError::Flood)), credit),
    row("const FRAME_COST", "32", Closed(1008), By(|s| broken(s, WireError::Flood)), frame_cost),
    row("const INFLATE_COST", "16", Closed(1008), By(|s| broken(s, WireError::Flood)), inflate_cost),
    row("const CREDIT_NANOS", "1 << 18", Closed(1008), By(|s| broken(s, WireError::Flood)), credit_nanos),
    row("const PUBLISH_ID_BYTES_MAX", "128", Reply("bad-id"), By(|s| replied(s, "bad-id")), publish_id),
    row("Options.deflate.message_bytes_min", "None", Then("compressed"), Not("that is what it is for"), compressed),
    row("Options.deflate.context_bytes_max", "None", Then("no context"), Not("less is agreed to"), context),
];

fn refused(stats: &Stats, error: HandshakeError) -> u64 {
    stats.refused_requests[error as usize]
}

fn broken(stats: &Stats, error: WireError) -> u64 {
    stats.violations[error as usize]
}

/// What is answered to an opening request.
fn ask(mut stage: Stage, request: impl FnOnce(&str) -> Vec<u8>) -> (Outcome, Stats) {
    let mut client = Client::silent(1, true);
    let bytes = request(client.key());
    client.misbehave(&bytes);
    let conn = stage.seat(client, Mode::Raw);
    stage.pump();
    stage.advance(Duration::from_secs(6));
    seen(&mut stage, conn)
}

/// A good request with more lines.
fn with_lines(key: &str, lines: &str) -> Vec<u8> {
    let mut request = handshake::request(key, "/", &[]);
    request.truncate(request.len() - 2);
    [&request[..], lines.as_bytes(), b"\r\n"].concat()
}

fn head(more: bool) -> (Outcome, Stats) {
    let stage = Stage::new(|options| options.head_bytes_max = 1_000);
    ask(stage, |key| {
        let missing = 1_000 - with_lines(key, "X: \r\n").len() + usize::from(more);
        with_lines(key, &format!("X: {}\r\n", "y".repeat(missing)))
    })
}

fn fields(more: bool) -> (Outcome, Stats) {
    ask(Stage::new(|_| {}), |key| {
        let own = with_lines(key, "").iter().filter(|byte| **byte == b'\n').count() - 2;
        with_lines(key, &"X: y\r\n".repeat(FIELDS_MAX - own + usize::from(more)))
    })
}

fn target(more: bool) -> (Outcome, Stats) {
    let target = format!("/{}", "x".repeat(TARGET_BYTES_MAX - 1 + usize::from(more)));
    ask(Stage::new(|_| {}), |key| handshake::request(key, &target, &[]))
}

/// An open raw connection, and what becomes of these bytes of its client.
fn attack(mut stage: Stage, bytes: &[u8]) -> (Outcome, Stats) {
    let conn = stage.join_raw();
    say(&mut stage, conn, bytes);
    seen(&mut stage, conn)
}

fn say(stage: &mut Stage, conn: ConnId, bytes: &[u8]) {
    stage.client(conn).misbehave(bytes);
    stage.pump();
    while stage.hub.receive(conn, stage.now).is_some() {}
    stage.pump();
}

fn message(more: bool) -> (Outcome, Stats) {
    let stage = Stage::new(|options| options.message_bytes_max = 1_000);
    attack(stage, &encode(true, 2, &vec![1; 1_000 + usize::from(more)], MASK))
}

fn control(more: bool) -> (Outcome, Stats) {
    attack(Stage::new(|_| {}), &encode(true, 9, &vec![1; CONTROL_BYTES_MAX + usize::from(more)], MASK))
}

fn reason(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join_raw();
    let text = "x".repeat(forebay_core::wire::close::REASON_BYTES_MAX + usize::from(more));
    stage.hub.close(conn, CloseCode::NORMAL, &text, stage.now);
    stage.pump();
    let is_whole = stage.client(conn).close_reason == text;
    (if is_whole { Taken } else { Then("cut") }, *stage.hub.stats())
}

/// As many pongs as there is credit for.
fn spent() -> Vec<u8> {
    encode(true, 10, b"", MASK).repeat((WORK_CREDIT / FRAME_COST) as usize)
}

fn credit(more: bool) -> (Outcome, Stats) {
    let one_more = encode(true, 10, b"", MASK);
    attack(Stage::new(|_| {}), &[spent(), one_more.repeat(usize::from(more))].concat())
}

fn frame_cost(more: bool) -> (Outcome, Stats) {
    // A fragment is paid for by as many bytes of its own.
    let fragment = vec![1; FRAME_COST as usize - usize::from(more)];
    let message = [encode(false, 2, b"", MASK), encode(true, 0, &fragment, MASK)].concat();
    attack(Stage::new(|_| {}), &[spent(), message].concat())
}

fn inflate_cost(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.deflate = Some(forebay_core::DeflateOptions::default()));
    let conn = stage.join_offering(Mode::Raw, "permessage-deflate");
    // A stored block (RFC 1951 §3.2.4), and the first byte of the empty one that is left out (RFC 7692 §7.2.1).
    let len = u8::try_from(INFLATE_COST).unwrap() - 6 - u8::from(more);
    let block = [&[0, len, 0, !len, 0xff][..], &vec![b'x'; len.into()], &[0]].concat();
    say(&mut stage, conn, &[spent(), encode(true, 0x42, &block, MASK)].concat());
    seen(&mut stage, conn)
}

fn credit_nanos(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join_raw();
    say(&mut stage, conn, &spent());
    // In whole ticks: what time gives back is counted from the beginning of the hub's time.
    let due = (stage.now.as_nanos() / CREDIT_NANOS + u64::from(FRAME_COST)) * CREDIT_NANOS;
    stage.advance(Duration::from_nanos(due - stage.now.as_nanos() - u64::from(more)));
    say(&mut stage, conn, &encode(true, 10, b"", MASK));
    seen(&mut stage, conn)
}

fn publish_id(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.client(conn).publish_once("t", &"i".repeat(PUBLISH_ID_BYTES_MAX + usize::from(more)), "1", 1);
    stage.pump();
    seen(&mut stage, conn)
}

fn compressed(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| {
        let message_bytes_min = 200;
        options.deflate = Some(forebay_core::DeflateOptions { message_bytes_min, ..Default::default() });
    });
    let topic = stage.topic("t", |options| options.deflate = true);
    let conn = stage.join_offering(Mode::Raw, "permessage-deflate");
    stage.hub.subscribe(conn, topic, Default::default(), Default::default(), stage.now).unwrap();
    stage.publish(topic, &forebay_testkit::stage::json_of_len(199 + usize::from(more))).unwrap();
    stage.pump();
    let stats = *stage.hub.stats();
    (if stats.compression.sent.messages == 0 { Taken } else { Then("compressed") }, stats)
}

fn context(more: bool) -> (Outcome, Stats) {
    // Enough for one connection in both directions.
    let mut stage = Stage::new(|options| {
        options.deflate = Some(forebay_core::DeflateOptions { context_bytes_max: 500_000, ..Default::default() });
    });
    let mut conn = stage.join_offering(Mode::Raw, "permessage-deflate");
    if more {
        conn = stage.join_offering(Mode::Raw, "permessage-deflate");
    }
    let response = stage.client(conn).response.clone().expect("an answer");
    let answer: String = response.all("sec-websocket-extensions").collect();
    assert!(answer.starts_with("permessage-deflate"), "{answer}");
    (if answer.contains("no_context_takeover") { Then("no context") } else { Taken }, *stage.hub.stats())
}
