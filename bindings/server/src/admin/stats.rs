//! `/stats`: a snapshot as JSON. Sizes are bytes, ages are seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_core::wire::{HandshakeError, WireError};
use forebay_core::{ERROR_CODES, EndReason, SessionEnd};
use forebay_threads::{
    AbandonReason, Acks, ConnectionPressure, Count, LaneSnapshot, Level, Levels, Load, LossReason, Snapshot,
    TopicSnapshot, Totals,
};
use serde::Serialize;

use crate::process;

/// Lanes that are listed where the query does not say.
const LANES_DEFAULT: usize = 1_000;
/// Lanes that are listed at most: about 10 MB of JSON, and a few milliseconds of the hub's.
const LANES_LIMIT: usize = 10_000;

/// How many lanes a query wants (`lanes=N`). Other members are passed over.
pub(super) fn lanes_max(query: &str) -> Result<usize, String> {
    let lanes = query.split('&').find_map(|member| member.strip_prefix("lanes="));
    let Some(lanes) = lanes else { return Ok(LANES_DEFAULT) };
    let number = lanes.parse().ok().filter(|lanes| *lanes <= LANES_LIMIT);
    number.ok_or_else(|| format!("lanes must be a number from 0 to {LANES_LIMIT}\n"))
}

/// The snapshot as JSON text.
pub(super) fn json(snapshot: &Snapshot) -> serde_json::Result<String> {
    serde_json::to_string(&Stats::from(snapshot))
}

#[derive(Serialize)]
struct Stats<'a> {
    version: &'static str,
    process: Process,
    hub: Hub,
    topics: Vec<Topic<'a>>,
    lanes: Vec<Lane<'a>>,
    lanes_omitted: u64,
}

#[derive(Serialize)]
struct Process {
    /// `null` where the system does not tell.
    resident_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Hub {
    level: &'static str,
    resident_bytes: usize,
    resident_bytes_max: usize,
    connections: u32,
    topics: u32,
    lanes: u32,
    sessions_detached: u32,
    published: Messages,
    received: Messages,
    /// Of these, those that came compressed, as inflated; and as how many bytes they came.
    inflated: Messages,
    inflated_from_bytes: u64,
    refused: Refused,
    level_transitions: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    parked: u64,
    accepted: u64,
    opened: u64,
    /// Connections that were not accepted.
    refused_accepts: u64,
    /// Opening requests that were refused, by reason.
    refused_requests: BTreeMap<&'static str, u64>,
    closed: u64,
    /// The same, by reason.
    ended: BTreeMap<&'static str, u64>,
    /// What peers did wrong on open connections, by rule.
    violations: BTreeMap<&'static str, u64>,
    /// Resumable sessions that ended, by reason.
    sessions_ended: BTreeMap<&'static str, u64>,
    /// Requests of clients that were answered with an error, by code.
    error_replies: BTreeMap<&'static str, u64>,
    gaps_sent: u64,
    stale_inputs: u64,
    /// Publishes that were taken before, by their id.
    duplicates: u64,
    sessions_resumed: u64,
    unknown_acks: u64,
    acks: AckTerms,
    compression: Compressed,
    /// All lanes of topics, of all time.
    lane_totals: Terms,
    /// What was sent to single connections, of all time.
    direct_totals: Terms,
}

/// In payload bytes of WebSocket messages.
#[derive(Serialize)]
struct Compressed {
    /// What was given to a compressor, each message once for all who get it, or for one that takes over.
    compressed: Messages,
    /// What became of that.
    compressed_to_bytes: u64,
    /// What was sent compressed, as it was before.
    sent: Messages,
    /// The same, as it was sent.
    sent_to_bytes: u64,
}

#[derive(Serialize)]
struct Refused {
    full: u64,
    too_large: u64,
    overloaded: u64,
    limited: u64,
    volatile: u64,
}

/// How full something is.
#[derive(Serialize)]
struct Fill {
    level: &'static str,
    /// Of the tightest limit: 1 is full.
    fill: f64,
    waiting: Messages,
    oldest_age_seconds: f64,
}

#[derive(Serialize)]
struct Messages {
    messages: u64,
    bytes: u64,
}

/// The terms of the queue law.
#[derive(Serialize)]
struct Terms {
    entered: Messages,
    sent: Messages,
    waiting: Messages,
    lost: BTreeMap<&'static str, Messages>,
    conservation_error: i64,
}

/// The terms of the ack law, and how many were sent again.
#[derive(Serialize)]
struct AckTerms {
    sent: Messages,
    acknowledged: Messages,
    unacknowledged: Messages,
    abandoned: BTreeMap<&'static str, Messages>,
    retries: Messages,
    conservation_error: i64,
}

#[derive(Serialize)]
struct Topic<'a> {
    name: &'a str,
    policy: &'static str,
    delivery: &'static str,
    is_declared: bool,
    epoch: String,
    seq: u64,
    lanes: u32,
    parked: u32,
    /// Of the lanes that brake its sources.
    level: &'static str,
    resident_bytes: usize,
    log_bytes_max: usize,
    /// `null`: too many lanes to look at.
    oldest_age_seconds: Option<f64>,
    /// What is kept for those who come later.
    history: Messages,
    acks: AckTerms,
    #[serde(flatten)]
    terms: Terms,
}

#[derive(Serialize)]
struct Lane<'a> {
    topic: &'a str,
    policy: &'static str,
    peer: Option<String>,
    /// The connection; text, because it is above 2^53. `null`: a consumer in the server's process, or a detached
    /// session.
    connection_id: Option<String>,
    messages_max: u32,
    bytes_max: u64,
    level: &'static str,
    fill: f64,
    oldest_age_seconds: f64,
    outstanding: Messages,
    /// `null`: it needs none.
    credit: Option<u32>,
    /// `null`: it is best-effort.
    acks: Option<AckTerms>,
    #[serde(flatten)]
    terms: Terms,
    connection: Option<Connection>,
}

#[derive(Serialize)]
struct Connection {
    inbound: Fill,
    outbound: Fill,
    inbound_bytes: usize,
    reply_bytes: usize,
    outstanding_bytes: usize,
    kernel_bytes: u32,
    lanes: u32,
    is_blocked: bool,
    is_paused: bool,
}

impl<'a> From<&'a Snapshot> for Stats<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        let (stats, pressure) = (&snapshot.stats, &snapshot.pressure);
        let hub = Hub {
            level: level(pressure.level),
            resident_bytes: pressure.resident_bytes,
            resident_bytes_max: pressure.resident_bytes_max,
            connections: stats.connections,
            topics: stats.topics,
            lanes: stats.lanes_now,
            sessions_detached: stats.detached,
            published: stats.published.into(),
            received: stats.received.into(),
            inflated: stats.inflated.into(),
            inflated_from_bytes: stats.inflated_from,
            refused: Refused {
                full: stats.refused_full,
                too_large: stats.refused_too_large,
                overloaded: stats.refused_overloaded,
                limited: stats.refused_limited,
                volatile: stats.refused_volatile,
            },
            level_transitions: transitions(&stats.levels),
            parked: stats.parked,
            accepted: stats.accepted,
            opened: stats.opened,
            refused_accepts: stats.refused_accepts,
            refused_requests: HandshakeError::ALL.iter().map(|e| e.name()).zip(stats.refused_requests).collect(),
            closed: stats.closed,
            ended: EndReason::NAMES.into_iter().zip(stats.ended).collect(),
            violations: WireError::ALL.iter().map(|e| e.name()).zip(stats.violations).collect(),
            sessions_ended: SessionEnd::ALL.iter().map(|e| e.name()).zip(stats.sessions_ended).collect(),
            error_replies: ERROR_CODES.into_iter().zip(stats.error_replies).collect(),
            gaps_sent: stats.gaps_sent,
            stale_inputs: stats.stale_inputs,
            duplicates: stats.duplicates,
            sessions_resumed: stats.resumed,
            unknown_acks: stats.unknown_acks,
            acks: (&stats.acks).into(),
            compression: Compressed {
                compressed: stats.compression.compressed.into(),
                compressed_to_bytes: stats.compression.compressed_to,
                sent: stats.compression.sent.into(),
                sent_to_bytes: stats.compression.sent_bytes,
            },
            lane_totals: (&stats.lanes).into(),
            direct_totals: (&stats.direct).into(),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            process: Process { resident_bytes: process::resident_bytes() },
            hub,
            topics: snapshot.topics.iter().map(Topic::from).collect(),
            lanes: snapshot.lanes.iter().map(Lane::from).collect(),
            lanes_omitted: snapshot.lanes_omitted,
        }
    }
}

impl<'a> From<&'a TopicSnapshot> for Topic<'a> {
    fn from(topic: &'a TopicSnapshot) -> Self {
        let pressure = &topic.pressure;
        Self {
            name: &topic.name,
            policy: topic.policy.name(),
            delivery: topic.delivery.name(),
            is_declared: topic.is_declared,
            epoch: format!("{:016x}", pressure.head.epoch),
            seq: pressure.head.seq,
            lanes: pressure.lanes,
            parked: pressure.parked,
            level: level(pressure.level),
            resident_bytes: pressure.resident_bytes,
            log_bytes_max: pressure.log_bytes_max,
            oldest_age_seconds: topic.oldest_age.as_ref().map(Duration::as_secs_f64),
            history: pressure.history.into(),
            acks: (&pressure.acks).into(),
            terms: (&pressure.totals).into(),
        }
    }
}

impl<'a> From<&'a LaneSnapshot> for Lane<'a> {
    fn from(lane: &'a LaneSnapshot) -> Self {
        let pressure = &lane.pressure;
        Self {
            topic: &lane.topic,
            policy: pressure.policy.name(),
            peer: lane.peer.map(|peer| peer.to_string()),
            connection_id: lane.conn.map(|conn| format!("{conn:016x}")),
            messages_max: pressure.messages_max,
            bytes_max: pressure.bytes_max,
            level: level(pressure.load.level),
            fill: f64::from(pressure.load.fill) / 1_000.0,
            oldest_age_seconds: pressure.load.oldest_age.as_secs_f64(),
            outstanding: pressure.outstanding.into(),
            credit: pressure.credit,
            acks: pressure.acks.as_ref().map(AckTerms::from),
            terms: (&pressure.totals).into(),
            connection: lane.connection.map(Connection::from),
        }
    }
}

impl From<ConnectionPressure> for Connection {
    fn from(pressure: ConnectionPressure) -> Self {
        Self {
            inbound: pressure.inbound.into(),
            outbound: pressure.outbound.into(),
            inbound_bytes: pressure.inbound_bytes,
            reply_bytes: pressure.reply_bytes,
            outstanding_bytes: pressure.outstanding_bytes,
            kernel_bytes: pressure.kernel_bytes,
            lanes: pressure.lanes,
            is_blocked: pressure.is_blocked,
            is_paused: pressure.is_paused,
        }
    }
}

impl From<Load> for Fill {
    fn from(load: Load) -> Self {
        Self {
            level: level(load.level),
            fill: f64::from(load.fill) / 1_000.0,
            waiting: load.waiting.into(),
            oldest_age_seconds: load.oldest_age.as_secs_f64(),
        }
    }
}

impl From<&Totals> for Terms {
    fn from(totals: &Totals) -> Self {
        let lost = LossReason::ALL.into_iter().map(|reason| (reason.name(), totals.lost_by(reason).into()));
        Self {
            entered: totals.entered.into(),
            sent: totals.sent.into(),
            waiting: totals.waiting.into(),
            lost: lost.collect(),
            conservation_error: i64::try_from(totals.conservation_error()).unwrap_or(i64::MAX),
        }
    }
}

impl From<&Acks> for AckTerms {
    fn from(acks: &Acks) -> Self {
        let abandoned = AbandonReason::ALL.map(|reason| (reason.name(), acks.abandoned_by(reason).into()));
        Self {
            sent: acks.sent.into(),
            acknowledged: acks.acknowledged.into(),
            unacknowledged: acks.unacknowledged.into(),
            abandoned: abandoned.into(),
            retries: acks.retries.into(),
            conservation_error: i64::try_from(acks.conservation_error()).unwrap_or(i64::MAX),
        }
    }
}

impl From<Count> for Messages {
    fn from(count: Count) -> Self {
        Self { messages: count.messages, bytes: count.bytes }
    }
}

/// By what they are of, and by the level that was entered.
fn transitions(levels: &Levels) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let Levels { lanes, sessions, inbound, outbound, topics, hub } = levels;
    [
        ("lane", lanes),
        ("session", sessions),
        ("inbound", inbound),
        ("outbound", outbound),
        ("topic", topics),
        ("hub", hub),
    ]
    .map(|(scope, times)| {
        let times = [("nominal", times.nominal), ("high", times.high), ("critical", times.critical)];
        (scope, times.into())
    })
    .into()
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Nominal => "nominal",
        Level::High => "high",
        Level::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_many_lanes() {
        assert_eq!(lanes_max(""), Ok(1_000));
        assert_eq!(lanes_max("lanes=0"), Ok(0));
        assert_eq!(lanes_max("pretty&lanes=10000"), Ok(10_000));
        for bad in ["lanes=", "lanes=-1", "lanes=x", "lanes=10001"] {
            assert!(lanes_max(bad).is_err(), "{bad}");
        }
    }
}
