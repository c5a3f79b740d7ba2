//! What a world is made of: small limits, so that all of them are hit.

use std::time::Duration;

use forebay_core::wire::{CloseCode, CloseReason};
use forebay_core::{
    AtLeastOnce, Class, CreateTopics, DeflateOptions, Delivery, Disconnect, DisconnectScope, Excess, History,
    LaneLimits, LaneOptions, Options, Policies, Policy, Position, Rate, Start, TopicOptions, Watermarks,
};

use crate::mini::{Data, Wish};
use crate::rng::Choices;

/// The topics everything happens on.
pub(super) const TOPICS: [&str; 6] = ["a", "b", "c", "dé", "e\"\\", "f/€"];

/// Bytes that break the protocol on an open connection, and the close code they deserve.
pub(super) const CRIMES: [(&[u8], u16); 12] = [
    (b"\x81\x02hi", 1002),
    (b"\xC1\x80\x00\x00\x00\x00", 1002),
    (b"\x83\x80\x00\x00\x00\x00", 1002),
    (b"\x80\x80\x00\x00\x00\x00", 1002),
    (b"\x09\x80\x00\x00\x00\x00", 1002),
    (b"\x89\xFE\x00\x7E\x00\x00\x00\x00", 1002),
    (b"\x81\xFE\x00\x01\x00\x00\x00\x00a", 1002),
    (b"\x82\xFF\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 1002),
    (b"\x81\x82\x00\x00\x00\x00\xC3\x28", 1007),
    (b"\x01\x81\x00\x00\x00\x00\xF5", 1007),
    (b"\x82\xFF\x00\x00\x00\x00\x7F\xFF\xFF\xFF\x00\x00\x00\x00", 1009),
    (b"\x88\x81\x00\x00\x00\x00\x03", 1002),
];

/// Members of texts that can only be answered by an error.
pub(super) const NONSENSE: [&str; 9] = [
    "\"op\":\"dance\"",
    "\"op\":\"ack\",\"topic\":\"a\"",
    "\"op\":\"credit\",\"topic\":\"a\"",
    "\"op\":\"resume\",\"session\":\"x\"",
    "\"op\":\"subscribe\",\"topic\":\"\"",
    "\"op\":\"subscribe\",\"topic\":\"a\\u0000\"",
    "\"op\":\"publish\",\"topic\":\"a\"",
    "\"op\":\"publish\",\"topic\":\"a\",\"data64\":\"!\"",
    "\"op\":\"publish\",\"topic\":7,\"data\":1",
];

fn millis(choices: &mut Choices, low: u64, high: u64) -> Duration {
    Duration::from_millis(choices.between(low, high))
}

/// Codes of `Disconnect` that nothing else closes with.
pub(super) const OWN_CODES: [u16; 2] = [4_001, 4_002];

fn policy(choices: &mut Choices) -> Policy {
    *choices.pick(Policy::ALL)
}

fn disconnect(choices: &mut Choices) -> Disconnect {
    let code = *choices.pick(&[1_013, OWN_CODES[0], OWN_CODES[1]]);
    let reason = *choices.pick(&["lane full", "", "é"]);
    Disconnect {
        scope: if choices.one_in(2) { DisconnectScope::Topic } else { DisconnectScope::Connection },
        code: CloseCode::new(code).expect("a code"),
        reason: CloseReason::new(reason).expect("short"),
    }
}

/// The longest `flush_interval`.
pub(super) const FLUSH_INTERVAL_MAX_MS: u64 = 500;

/// Now and then a rate of so much in a second at most, and so much at once.
fn rate(choices: &mut Choices, per_second: u32, burst: u32) -> Option<Rate> {
    choices
        .one_in(6)
        .then(|| Rate { per_second: choices.small(per_second / 20, per_second), burst: choices.small(1, burst) })
}

fn excess(choices: &mut Choices) -> Excess {
    if choices.one_in(2) { Excess::Refuse } else { Excess::Wait }
}

pub(super) fn topic(choices: &mut Choices) -> TopicOptions {
    let message_bytes_max = choices.small(64, 600);
    let messages_max = choices.small(1, 12);
    let bytes_max = u64::from(message_bytes_max) * choices.between(1, 4);
    let policy = if choices.one_in(3) { Policy::Block } else { policy(choices) };
    // Now and then keys that fit no lane, where that can be had.
    let more = u32::from(policy != Policy::LatestPerKey && choices.one_in(8));
    let ages = policy.is_lossy() && choices.one_in(4);
    let history = choices.one_in(3).then(|| History {
        messages_max: choices.small(1, 20),
        bytes_max: choices.between(1, 4 * u64::from(message_bytes_max)),
        age_max: choices.one_in(3).then(|| millis(choices, 1, 2_000)),
    });
    let keeps_latest = choices.one_in(4);
    let shares = 1 + usize::from(history.is_some()) + 2 * usize::from(keeps_latest);
    let in_flight_max = u8::try_from(choices.between(1, 8)).expect("few");
    let attempts_max = u16::try_from(choices.between(1, 3)).expect("few");
    let ack_timeout = millis(choices, 1, 3_000);
    let is_at_least_once = policy.can_be_at_least_once() && choices.one_in(2);
    let lossy: Vec<Policy> = Policies::LOSSY.iter().filter(|_| choices.one_in(2)).collect();
    TopicOptions {
        policy,
        choices: if choices.one_in(2) { Policies::LOSSY } else { Policies::of(&lossy) },
        lane: LaneLimits { messages_max, bytes_max },
        delivery: match is_at_least_once {
            true => Delivery::AtLeastOnce(AtLeastOnce { in_flight_max, ack_timeout, attempts_max }),
            false => Delivery::BestEffort,
        },
        age_max: ages.then(|| millis(choices, 1, 2_000)),
        message_bytes_max,
        log_bytes_max: shares * (message_bytes_max as usize * 2 + 4_096) + choices.index(8_192),
        keys_max: choices.small(1, messages_max) + more * messages_max,
        keys_bytes_max: choices.between(u64::from(message_bytes_max), bytes_max) + u64::from(more) * bytes_max,
        disconnect: disconnect(choices),
        class: *choices.pick(&Class::ALL),
        flush_interval: choices.one_in(6).then(|| millis(choices, 1, FLUSH_INTERVAL_MAX_MS)),
        history,
        keeps_latest,
        publish_ids_max: choices.small(1, 4),
        publish_rate: rate(choices, 50, 10),
        publish_excess: excess(choices),
        deflate: choices.one_in(2),
    }
}

pub(super) fn lane(choices: &mut Choices, topic: Option<&TopicOptions>) -> LaneOptions {
    let mut lane = LaneOptions::default();
    if choices.one_in(2) {
        lane.policy = Some(policy(choices));
    }
    if let Some(topic) = topic.filter(|_| choices.one_in(3)) {
        lane.messages_max = Some(choices.small(0, topic.lane.messages_max + 1));
        lane.bytes_max = Some(choices.between(u64::from(topic.message_bytes_max) - 1, topic.lane.bytes_max + 1));
    }
    if choices.one_in(6) {
        lane.age_max = Some(millis(choices, 0, 2_000));
    }
    if choices.one_in(6) {
        lane.at_least_once = Some(choices.one_in(2));
    }
    if choices.one_in(6) {
        lane.credit = Some(choices.small(0, 8));
    }
    lane
}

/// Where a lane starts on a topic whose newest message is `head`; mostly behind it.
pub(super) fn start(choices: &mut Choices, head: Option<Position>) -> Start {
    let head = head.unwrap_or(Position { epoch: 0, seq: 0 });
    match choices.below(8) {
        0 => Start::Snapshot,
        1 => Start::History(u32::MAX),
        2 => Start::History(choices.small(0, 20)),
        3 => Start::After(Position { epoch: head.epoch ^ u64::from(choices.one_in(4)), ..head }),
        4 => Start::After(Position { seq: choices.between(head.seq.saturating_sub(20), head.seq + 1), ..head }),
        _ => Start::Latest,
    }
}

/// The same, as it is written.
pub(super) fn from(start: Start) -> Option<String> {
    match start {
        Start::Snapshot => Some("\"snapshot\"".into()),
        Start::History(u32::MAX) => Some("\"start\"".into()),
        Start::History(messages) => Some(format!("{{\"history\":{messages}}}")),
        Start::After(Position { epoch, seq }) => Some(format!("{{\"seq\":{seq},\"epoch\":\"{epoch:016x}\"}}")),
        _ => None,
    }
}

/// The same lane, asked for over the dialect.
pub(super) fn wish(lane: LaneOptions) -> Wish<'static> {
    Wish {
        policy: lane.policy.map(Policy::name),
        messages_max: lane.messages_max.map(u64::from),
        bytes_max: lane.bytes_max,
        delivery: lane.at_least_once.map(|yes| if yes { "at-least-once" } else { "best-effort" }),
        from: None,
        credit: lane.credit.map(u64::from),
        age_max_ms: lane.age_max.map(|age| u64::try_from(age.as_millis()).expect("short")),
    }
}

/// A key: few different ones, often none, now and then one that cannot be.
pub(super) fn key(choices: &mut Choices, key_bytes_max: u32) -> String {
    match choices.below(12) {
        0..=4 => String::new(),
        5..=9 => (*choices.pick(&["a", "b", "c"])).into(),
        10 => (*choices.pick(&["é\"\\", "a\n", "\u{7f}"])).into(),
        _ => "k".repeat(key_bytes_max as usize + choices.index(2)),
    }
}

fn deflate(choices: &mut Choices) -> DeflateOptions {
    let number = |choices: &mut Choices, low, high| u8::try_from(choices.small(low, high)).expect("few");
    DeflateOptions {
        level: number(choices, 1, 9),
        memory_level: number(choices, 1, 9),
        window_bits: number(choices, 9, 15),
        message_bytes_min: choices.small(0, 200),
        direct: choices.one_in(2),
        // For some, for few, or for none.
        context_bytes_max: if choices.one_in(4) { 0 } else { choices.index(2 << 20) },
    }
}

/// What a client offers, mostly what browsers do.
pub(super) fn offer(choices: &mut Choices) -> String {
    let mut offer = "permessage-deflate".to_owned();
    if !choices.one_in(4) {
        offer += "; client_max_window_bits";
        if choices.one_in(4) {
            offer += &format!("={}", choices.small(8, 15));
        }
    }
    if choices.one_in(4) {
        offer += &format!("; server_max_window_bits={}", choices.small(9, 15));
    }
    for alone in ["; server_no_context_takeover", "; client_no_context_takeover"] {
        if choices.one_in(4) {
            offer += alone;
        }
    }
    offer
}

pub(super) fn options(choices: &mut Choices) -> Options {
    let topic_defaults = topic(choices);
    let message_bytes_max = choices.small(1_300, 4_096);
    let inbound_bytes_max = message_bytes_max + choices.small(0, 4_096);
    let floor = topic_defaults.log_bytes_max.max(inbound_bytes_max as usize * 2);
    let deflate = choices.one_in(2).then(|| deflate(choices));
    // Contexts are large beside all else; memory that may be theirs is not always there.
    let contexts = deflate.map_or(0, |deflate| deflate.context_bytes_max);
    let for_contexts = if choices.one_in(3) { choices.index(contexts + 1) } else { contexts };
    Options {
        connections_max: choices.small(4, 16),
        topics_max: choices.small(2, 8),
        topic_name_bytes_max: choices.small(3, 40),
        key_bytes_max: choices.small(1, 40),
        lanes_per_session_max: choices.small(1, 5),
        create_topics: if choices.one_in(5) { CreateTopics::Application } else { CreateTopics::Clients },
        topic_defaults,
        // Often far too little, so that there is shedding.
        resident_bytes_max: (floor + choices.index(32 << 10) + for_contexts).max(contexts),
        transmit_bytes_max: choices.small(1_024, 4_096),
        message_bytes_max,
        inbound_bytes_max,
        reply_bytes_max: choices.small(4_096, 8_192),
        direct_lane: LaneLimits { messages_max: choices.small(1, 8), bytes_max: choices.between(1_300, 4_096) },
        head_bytes_max: choices.small(512, 2_048),
        handshake_timeout: millis(choices, 500, 5_000),
        message_timeout: millis(choices, 1_000, 30_000),
        ping_interval: millis(choices, 2_000, 30_000),
        pong_timeout: millis(choices, 1_000, 20_000),
        stall_timeout: millis(choices, 1_000, 30_000),
        close_timeout: millis(choices, 100, 5_000),
        block_max: millis(choices, 100, 10_000),
        watermarks: Watermarks {
            high_percent: u8::try_from(choices.between(51, 100)).expect("at most 100"),
            low_percent: u8::try_from(choices.between(1, 50)).expect("at most 50"),
            dwell: Duration::from_millis(choices.between(0, 2_000)),
        },
        session_ttl: millis(choices, 1, 30_000),
        sessions_max: choices.small(1, 4),
        inbound_rate: rate(choices, 200, 20),
        inbound_bytes_rate: rate(choices, 50_000, 5_000),
        inbound_excess: excess(choices),
        outbound_bytes_rate: rate(choices, 50_000, 5_000),
        reserved_percent: u8::try_from(choices.small(0, 90)).expect("at most 90"),
        deflate,
        ..Options::default()
    }
}

/// A payload nobody has published before: `number` is in it.
pub(super) fn payload(choices: &mut Choices, number: u64, max: usize) -> Data {
    let pad = match choices.below(8) {
        0..=4 => choices.index(40),
        5 | 6 => choices.index(max),
        _ => max + choices.index(40),
    };
    let x = "x".repeat(pad);
    match choices.below(6) {
        0 => Data::Json(number.to_string()),
        1 => Data::Json(format!("\"{number} \\\" é 😀 \\u00e9 {x}\"")),
        2 => Data::Json(format!("{{\"n\" : {number}, \"pad\":[\"{x}\",\n{{}}]}}")),
        3 => Data::Json(format!("[ {number} , null,\ttrue,1e5,\"op\",\"{x}\"]")),
        _ => {
            let mut bytes = number.to_le_bytes().to_vec();
            bytes.resize(8 + pad, 0xAB);
            Data::Bytes(bytes)
        }
    }
}
