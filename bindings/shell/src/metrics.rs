//! The hubs' numbers for an application's own registry of metrics.
//!
//! Labels are bounded by configuration: a topic's name is one only if the topic was declared, and no connection, peer or
//! key ever is.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay_core::wire::{HandshakeError, WireError};
use forebay_core::{
    AbandonReason, Acks, Compression, Count, ERROR_CODES, EndReason, Level, LossReason, SessionEnd, Stats, Totals,
};
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::gate::lock;
use crate::{Command, ServerLink, Snapshot, reply};

/// How long a scrape waits for the workers.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The numbers of a server, for a [`Registry`](prometheus_client::registry::Registry). They begin with `forebay_`; each
/// says what it is in its `HELP`.
///
/// Everything is counted for the kinds `lanes` (all lanes of topics) and `direct` (what is sent to single connections),
/// and per topic for those that were declared; what belongs to other topics is one sum with the empty name, `topic=""`,
/// which no topic has. A topic that is declared after it was used moves from the sum to its own name with all it counted.
///
/// A scrape waits for the workers for at most a second. If they do not answer, because the server is not run or the scrape
/// keeps its thread, the numbers are those of the last scrape; once the server has stopped, they are its last ones.
#[derive(Debug)]
pub struct Collector {
    links: Arc<[Arc<ServerLink>]>,
    /// The last answer of each.
    seen: Mutex<Box<[Snapshot]>>,
}

impl Collector {
    /// Collects from these workers.
    #[must_use]
    pub fn new(links: Arc<[Arc<ServerLink>]>) -> Self {
        let seen = links.iter().map(|link| link.last()).collect();
        Self { links, seen: Mutex::new(seen) }
    }

    /// All workers' numbers; of one that does not answer in time, the last ones.
    fn snapshot(&self) -> Snapshot {
        let deadline = Some(Instant::now() + WAIT_MAX);
        let mut seen = lock(&self.seen);
        let mut all = Snapshot::default();
        for (link, seen) in self.links.iter().zip(&mut *seen) {
            if let Some(snapshot) = ask(link, deadline) {
                *seen = snapshot;
            }
            all.add(seen.clone());
        }
        all
    }
}

/// A worker's numbers, its last ones if it has stopped; `None`: no answer in time.
fn ask(link: &ServerLink, deadline: Option<Instant>) -> Option<Snapshot> {
    let (answer, reply) = reply();
    match link.mailbox.post_until(Command::Snapshot(0, answer), deadline)? {
        Ok(()) => reply.wait_until(deadline).ok().map(|answer| answer.unwrap_or_else(|| link.last())),
        Err(_stopped) => Some(link.last()),
    }
}

impl prometheus_client::collector::Collector for Collector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        let mut page = Page(encoder);
        put_hub(&mut page, &snapshot)?;
        put_topics(&mut page, &snapshot)
    }
}

/// A sample's labels and value.
type Sample<'a, T> = (Vec<(&'static str, &'a str)>, T);

/// What is counted: its name, its unit, its part of a count.
type Counted = (&'static str, fn() -> Option<Unit>, fn(Count) -> u64);

const UNITS: [Counted; 2] =
    [("Messages", messages, |count| count.messages), ("Payload bytes", bytes, |count| count.bytes)];

/// What a sample counts.
type Term = fn(&Totals) -> Count;

/// The terms of the queue law but the losses: name, help, whether it never falls.
const TERMS: [(&str, &str, bool, Term); 3] = [
    ("entered", "that entered a lane", true, |totals| totals.entered),
    ("sent", "that were sent: accepted by the kernel, or taken by the application", true, |totals| totals.sent),
    ("waiting", "that wait in lanes", false, |totals| totals.waiting),
];

/// What a sample counts of acknowledgements.
type AckTerm = fn(&Acks) -> Count;

/// The terms of the ack law but what was given up, and the retries: as [`TERMS`].
const ACK_TERMS: [(&str, &str, bool, AckTerm); 4] = [
    ("sent", "that were sent by at-least-once lanes, each once", true, |acks| acks.sent),
    ("acknowledged", "that were acknowledged", true, |acks| acks.acknowledged),
    ("unacknowledged", "that were sent and not acknowledged yet", false, |acks| acks.unacknowledged),
    ("retries", "that were sent again", true, |acks| acks.retries),
];

struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// One metric with all its samples, unless it has none.
    fn put<'s, T>(
        &mut self,
        (name, unit, help): (&str, Option<Unit>, &str),
        kind: MetricType,
        samples: impl IntoIterator<Item = Sample<'s, T>>,
        put_value: impl Fn(&mut MetricEncoder<'_>, T) -> fmt::Result,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        // With a full stop, as the registry writes those of other metrics.
        let (name, help) = (format!("forebay_{name}"), format!("{help}."));
        let mut metric = self.0.encode_descriptor(&name, &help, unit.as_ref(), kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                put_value(&mut metric, value)?;
            } else {
                put_value(&mut metric.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }

    fn counter<'s>(
        &mut self,
        descriptor: (&str, Option<Unit>, &str),
        samples: impl IntoIterator<Item = Sample<'s, u64>>,
    ) -> fmt::Result {
        self.put(descriptor, MetricType::Counter, samples, |metric, value| {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn gauge<'s, T: EncodeGaugeValue>(
        &mut self,
        descriptor: (&str, Option<Unit>, &str),
        samples: impl IntoIterator<Item = Sample<'s, T>>,
    ) -> fmt::Result {
        self.put(descriptor, MetricType::Gauge, samples, |metric, value| metric.encode_gauge(&value))
    }

    /// The terms of the queue law, in messages and in bytes, for each value of a label.
    fn law(&mut self, prefix: &str, label: &'static str, all: &[(&str, &Totals)]) -> fmt::Result {
        for (what, unit, number) in UNITS {
            for (name, help, is_counter, term) in TERMS {
                let (name, help) = (format!("{prefix}{name}"), format!("{what} {help}"));
                let samples = all.iter().map(|(value, totals)| (vec![(label, *value)], number(term(totals))));
                let descriptor = (&*name, unit(), &*help);
                if is_counter { self.counter(descriptor, samples)? } else { self.gauge(descriptor, samples)? }
            }
            let (name, help) =
                (format!("{prefix}lost"), format!("{what} that entered a lane and were lost, by reason"));
            let samples = all.iter().flat_map(|(value, totals)| {
                LossReason::ALL
                    .map(|reason| (vec![(label, *value), ("reason", reason.name())], number(totals.lost_by(reason))))
            });
            self.counter((&name, unit(), &help), samples)?;
        }
        Ok(())
    }

    /// The terms of the ack law, in messages and in bytes, for each of these labels.
    fn acks(&mut self, prefix: &str, all: &[(Vec<(&'static str, &str)>, &Acks)]) -> fmt::Result {
        for (what, unit, number) in UNITS {
            for (name, help, is_counter, term) in ACK_TERMS {
                let (name, help) = (format!("{prefix}acks_{name}"), format!("{what} {help}"));
                let samples = all.iter().map(|(labels, acks)| (labels.clone(), number(term(acks))));
                let descriptor = (&*name, unit(), &*help);
                if is_counter { self.counter(descriptor, samples)? } else { self.gauge(descriptor, samples)? }
            }
            let (name, help) =
                (format!("{prefix}acks_abandoned"), format!("{what} that were sent and given up, by reason"));
            let samples = all.iter().flat_map(|(labels, acks)| {
                AbandonReason::ALL.map(|reason| {
                    let labels = labels.iter().copied().chain([("reason", reason.name())]);
                    (labels.collect(), number(acks.abandoned_by(reason)))
                })
            });
            self.counter((&name, unit(), &help), samples)?;
        }
        Ok(())
    }
}

fn messages() -> Option<Unit> {
    Some(Unit::Other("messages".to_owned()))
}

fn bytes() -> Option<Unit> {
    Some(Unit::Bytes)
}

/// A metric with one sample and no label.
fn one<T>(value: T) -> [Sample<'static, T>; 1] {
    [(Vec::new(), value)]
}

fn put_hub(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    // Whole, so that no number is forgotten.
    let Stats {
        lanes,
        direct,
        published,
        refused_full,
        refused_too_large,
        refused_overloaded,
        refused_limited,
        duplicates,
        parked,
        refused_volatile,
        levels,
        acks,
        unknown_acks,
        resumed,
        compression,
        received,
        inflated,
        inflated_from,
        accepted,
        opened,
        refused_accepts,
        refused_requests,
        rejected_requests,
        closed,
        ended,
        violations,
        sessions_ended,
        error_replies,
        gaps_sent,
        stale_inputs,
        connections,
        topics,
        lanes_now,
        detached,
        resident_bytes,
    } = &snapshot.stats;
    let kinds = [("lanes", lanes), ("direct", direct)];
    page.law("", "kind", &kinds)?;
    let help = "Entered less sent, waiting and lost: 0, or messages are miscounted";
    let errors = kinds.map(|(kind, totals)| (vec![("kind", kind)], clamped(totals.conservation_error())));
    page.gauge(("conservation_error", None, help), errors)?;
    let help = "Sent less acknowledged, unacknowledged and abandoned: 0, or messages are miscounted";
    page.gauge(("acks_conservation_error", None, help), one(clamped(acks.conservation_error())))?;

    let Compression { compressed, compressed_to, sent: sent_compressed, sent_bytes } = compression;
    for (name, help, count) in [
        ("published", "of publishes that were taken", published),
        ("received", "of messages that were received", received),
        ("compressed", "of messages that were compressed, each once for all who get it", compressed),
        ("sent_compressed", "before compression of messages that were sent compressed", sent_compressed),
        ("inflated", "of messages that came compressed, as inflated", inflated),
    ] {
        page.counter((name, messages(), &format!("Number {help}")), one(count.messages))?;
        page.counter((name, bytes(), &format!("Payload bytes {help}")), one(count.bytes))?;
    }
    for (name, help, count) in [
        ("inflated_from", "Payload bytes of messages that came compressed, as they came", inflated_from),
        ("compressed_to", "What became of messages that were compressed", compressed_to),
        ("sent_compressed_to", "What messages that were sent compressed were sent as", sent_bytes),
    ] {
        page.counter((name, bytes(), help), one(*count))?;
    }
    let refused = [
        ("full", refused_full),
        ("too_large", refused_too_large),
        ("overloaded", refused_overloaded),
        ("limited", refused_limited),
    ];
    page.counter(
        ("refused_volatile", messages(), "Volatile messages refused because output was blocked"),
        one(*refused_volatile),
    )?;
    let samples = refused.map(|(reason, count)| (vec![("reason", reason)], *count));
    page.counter(("refused_publishes", None, "Publishes that were refused, by reason"), samples)?;
    let reasons = HandshakeError::ALL.iter().zip(refused_requests);
    let samples = reasons.map(|(error, count)| (vec![("reason", error.name())], *count));
    page.counter(("refused_requests", None, "Opening requests that were refused, by reason"), samples)?;
    let reasons = EndReason::NAMES.iter().zip(ended);
    let samples = reasons.map(|(name, count)| (vec![("reason", *name)], *count));
    page.counter(("connections_ended", None, "Connections that ended, by reason"), samples)?;
    let samples = WireError::ALL.iter().zip(violations);
    let samples = samples.map(|(error, count)| (vec![("reason", error.name())], *count));
    page.counter(("violations", None, "What peers did wrong on open connections, by rule"), samples)?;
    let samples = SessionEnd::ALL.iter().zip(sessions_ended);
    let samples = samples.map(|(end, count)| (vec![("reason", end.name())], *count));
    page.counter(("sessions_ended", None, "Resumable sessions that ended, by reason"), samples)?;
    let samples = ERROR_CODES.iter().zip(error_replies).map(|(code, count)| (vec![("code", *code)], *count));
    page.counter(("error_replies", None, "Requests of clients that were answered with an error, by code"), samples)?;
    for (name, help, count) in [
        ("parked_publishes", "Publishes of clients that had to wait for room", parked),
        ("connections_accepted", "Connections that were accepted or started", accepted),
        ("connections_opened", "Opening handshakes that were done", opened),
        ("connections_refused", "Connections that were not accepted", refused_accepts),
        ("rejected_requests", "Opening requests that the application refused", rejected_requests),
        ("connections_closed", "Connections that ended", closed),
        ("gaps_sent", "Notices of lost messages that were sent", gaps_sent),
        ("stale_inputs", "Inputs for what was not there any more", stale_inputs),
        ("duplicate_publishes", "Publishes that were taken before, by their id", duplicates),
        ("unknown_acks", "Acknowledgements of what was not unacknowledged", unknown_acks),
        ("sessions_resumed", "Sessions that were resumed", resumed),
    ] {
        page.counter((name, None, help), one(*count))?;
    }
    for (name, help, count) in [
        ("connections", "Connections now", connections),
        ("topics", "Topics now", topics),
        ("lanes", "Lanes of topics now", lanes_now),
        ("sessions_detached", "Sessions without a connection now", detached),
    ] {
        page.gauge((name, None, help), one(*count))?;
    }
    page.acks("", &[(Vec::new(), acks)])?;
    let samples = [
        ("lane", &levels.lanes),
        ("session", &levels.sessions),
        ("inbound", &levels.inbound),
        ("outbound", &levels.outbound),
        ("topic", &levels.topics),
        ("hub", &levels.hub),
    ]
    .into_iter()
    .flat_map(|(scope, times)| {
        [("nominal", times.nominal), ("high", times.high), ("critical", times.critical)]
            .map(|(level, times)| (vec![("scope", scope), ("level", level)], times))
    });
    page.counter(("level_transitions", None, "How often a level of pressure was entered"), samples)?;
    let pressure = &snapshot.pressure;
    page.gauge(("resident", bytes(), "Memory that is held, by allocated capacity"), one(*resident_bytes as u64))?;
    page.gauge(
        ("resident_limit", bytes(), "What may be held: resident_bytes_max"),
        one(pressure.resident_bytes_max as u64),
    )?;
    page.gauge(("level", None, "How full memory is: 0 nominal, 1 high, 2 critical"), one(number(pressure.level)))
}

fn number(level: Level) -> u32 {
    match level {
        Level::Nominal => 0,
        Level::High => 1,
        Level::Critical => 2,
    }
}

/// What is shown of a topic, or of several.
#[derive(Default)]
struct Topic<'a> {
    name: &'a str,
    totals: Totals,
    acks: Acks,
    history: Count,
    resident_bytes: u64,
    lanes: u64,
    parked: u64,
    level: Level,
}

fn put_topics(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    // Less what is told by name, and not summed up: counters do not fall when a topic is forgotten.
    let (totals, acks) = (snapshot.stats.lanes, snapshot.stats.acks);
    let mut others = Topic { name: "", totals, acks, ..Topic::default() };
    let mut shown = Vec::new();
    for topic in &snapshot.topics {
        let pressure = &topic.pressure;
        let topic = Topic {
            name: if topic.is_declared { &topic.name } else { "" },
            totals: pressure.totals,
            acks: pressure.acks,
            history: pressure.history,
            resident_bytes: pressure.resident_bytes as u64,
            lanes: pressure.lanes.into(),
            parked: pressure.parked.into(),
            level: pressure.level,
        };
        if pressure.is_declared {
            subtract(&mut others.totals, &topic.totals);
            subtract_acks(&mut others.acks, &topic.acks);
            shown.push(topic);
        } else {
            others.history += topic.history;
            others.resident_bytes += topic.resident_bytes;
            others.lanes += topic.lanes;
            others.parked += topic.parked;
            others.level = others.level.max(topic.level);
        }
    }
    shown.push(others);
    let all: Vec<_> = shown.iter().map(|topic| (topic.name, &topic.totals)).collect();
    page.law("topic_", "topic", &all)?;
    let all: Vec<_> = shown.iter().map(|topic| (vec![("topic", topic.name)], &topic.acks)).collect();
    page.acks("topic_", &all)?;
    let mut gauge = |descriptor, number: fn(&Topic<'_>) -> u64| {
        page.gauge(descriptor, shown.iter().map(|topic| (vec![("topic", topic.name)], number(topic))))
    };
    gauge(("topic_resident", bytes(), "Memory that the topic's log holds"), |topic| topic.resident_bytes)?;
    gauge(("topic_history", messages(), "Messages kept for those who come later"), |topic| topic.history.messages)?;
    gauge(("topic_history", bytes(), "Payload bytes kept for those who come later"), |topic| topic.history.bytes)?;
    gauge(("topic_lanes", None, "Lanes of the topic now"), |topic| topic.lanes)?;
    gauge(("topic_parked_publishes", None, "Publishes of clients that wait for room now"), |topic| topic.parked)?;
    let help = "How full the topic's lanes are that brake its sources: 0 nominal, 1 high, 2 critical";
    gauge(("topic_level", None, help), |topic| number(topic.level).into())?;
    let ages = snapshot
        .topics
        .iter()
        .filter_map(|topic| Some((vec![("topic", &*topic.name)], topic.oldest_age?.as_secs_f64())));
    page.gauge(("topic_oldest_age", Some(Unit::Seconds), "Age of the oldest message that waits in any lane"), ages)
}

fn less(count: &mut Count, part: Count) {
    count.messages = count.messages.saturating_sub(part.messages);
    count.bytes = count.bytes.saturating_sub(part.bytes);
}

fn subtract(totals: &mut Totals, part: &Totals) {
    let Totals { entered, sent, waiting, lost } = totals;
    less(entered, part.entered);
    less(sent, part.sent);
    less(waiting, part.waiting);
    lost.iter_mut().zip(part.lost).for_each(|(lost, part)| less(lost, part));
}

fn subtract_acks(acks: &mut Acks, part: &Acks) {
    let Acks { sent, acknowledged, unacknowledged, abandoned, retries } = acks;
    less(sent, part.sent);
    less(acknowledged, part.acknowledged);
    less(unacknowledged, part.unacknowledged);
    less(retries, part.retries);
    abandoned.iter_mut().zip(part.abandoned).for_each(|(abandoned, part)| less(abandoned, part));
}

fn clamped(error: i128) -> i64 {
    i64::try_from(error).unwrap_or(if error < 0 { i64::MIN } else { i64::MAX })
}
