//! What a registry of metrics is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::common::{HANG, close, say, start, text, until};
use super::raw;
use crate::binding::{
    AtLeastOnce, CallError, Delivery, Entry, Handle, History, LaneOptions, LossReason, Options, Payload, Policy,
    PublishError, Server, ServerOptions, Subscription, TopicOptions, Watermarks,
};

const PING: &str = r#"{"op":"ping","id":7}"#;

fn registry(handle: &Handle) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(handle.collector()));
    registry
}

/// All samples, after a look at each line.
fn scrape(registry: &Registry) -> BTreeMap<String, String> {
    let mut page = String::new();
    encode(&mut page, registry).unwrap();
    assert!(page.ends_with("# EOF\n"));
    let (mut samples, mut families, mut family, mut kind) = (BTreeMap::new(), BTreeSet::new(), String::new(), "");
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                assert!(name.starts_with("forebay_") && help.len() > 10 && help.ends_with('.'), "{line}");
                assert!(families.insert(name.to_owned()), "{line}: once");
                name.clone_into(&mut family);
            }
            (Some("#"), Some("TYPE"), Some(name), Some(is)) => {
                assert_eq!(name, family);
                kind = is;
            }
            (Some("#"), Some("UNIT"), Some(name), Some(unit)) => {
                assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
            }
            (Some("#"), Some("EOF"), None, None) => {}
            _ => {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let suffix = if kind == "counter" { "_total" } else { "" };
                let bare = name.split('{').next().unwrap();
                assert_eq!(bare, format!("{family}{suffix}"), "{line}: belongs to its family");
                assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
                assert!(samples.insert(name.to_owned(), value.to_owned()).is_none(), "{line}: once");
            }
        }
    }
    samples
}

/// Those that are not zero, without what nobody knows beforehand.
fn known(samples: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let is_known = |name: &str| !name.contains("resident") && !name.contains("oldest_age");
    let samples = samples.iter().map(|(name, value)| (&**name, &**value));
    samples.filter(|(name, value)| is_known(name) && *value != "0").collect()
}

fn take(subscription: &mut Subscription, entries: usize) {
    let taken: Vec<Entry> = (0..entries).map(|_| subscription.next_timeout(HANG).unwrap()).collect();
    assert!(matches!(taken[0], Entry::Gap(_)));
}

#[test]
fn every_number_is_told_exactly() {
    let mut narrow = TopicOptions::default();
    narrow.lane.messages_max = 2;
    let topics = vec![("narrow".to_owned(), narrow), (r#"say "hi""#.to_owned(), TopicOptions::default())];
    // Long, so that no level falls while the test runs.
    let watermarks = Watermarks { dwell: Duration::from_secs(3_600), ..Watermarks::default() };
    let hub = Options { watermarks, ..Options::default() };
    let server = start(ServerOptions { topics, hub, ..ServerOptions::default() });
    let handle = server.handle.clone();
    let registry = registry(&handle);

    let client = server.connect();
    say(&client, PING);
    assert_eq!(text(&client), r#"{"op":"pong","id":7}"#);
    let mut subscription = handle.subscribe("narrow", LaneOptions::default()).unwrap();
    for _ in 0..5 {
        handle.publish("narrow", Payload::Text("0")).unwrap(); // Three are lost.
    }
    take(&mut subscription, 3);
    handle.publish("narrow", Payload::Text("10")).unwrap(); // It waits.
    let too_large = Payload::Binary(&[0; (256 << 10) + 1]);
    assert_eq!(handle.publish("narrow", too_large), Err(CallError::Refused(PublishError::TooLarge)));
    let other = handle.subscribe("other", LaneOptions::default()).unwrap();
    handle.publish("other", Payload::Text("true")).unwrap();
    let forgotten = handle.subscribe("forgotten", LaneOptions::default()).unwrap();
    handle.publish("forgotten", Payload::Text("1234567890")).unwrap();
    drop(forgotten);
    while handle.stats().topics > 3 {
        std::thread::yield_now();
    }

    let samples = scrape(&registry);
    let received = PING.len().to_string();
    let expected = [
        ("forebay_connections", "1"),
        ("forebay_connections_accepted_total", "1"),
        ("forebay_connections_opened_total", "1"),
        (r#"forebay_entered_bytes_total{kind="lanes"}"#, "21"),
        (r#"forebay_entered_messages_total{kind="lanes"}"#, "8"),
        ("forebay_lanes", "2"),
        (r#"forebay_level_transitions_total{scope="lane",level="critical"}"#, "1"),
        (r#"forebay_level_transitions_total{scope="lane",level="high"}"#, "1"),
        (r#"forebay_lost_bytes_total{kind="lanes",reason="oldest"}"#, "3"),
        (r#"forebay_lost_bytes_total{kind="lanes",reason="unsubscribed"}"#, "10"),
        (r#"forebay_lost_messages_total{kind="lanes",reason="oldest"}"#, "3"),
        (r#"forebay_lost_messages_total{kind="lanes",reason="unsubscribed"}"#, "1"),
        ("forebay_published_bytes_total", "21"),
        ("forebay_published_messages_total", "8"),
        ("forebay_received_bytes_total", &received),
        ("forebay_received_messages_total", "1"),
        (r#"forebay_refused_publishes_total{reason="too_large"}"#, "1"),
        (r#"forebay_sent_bytes_total{kind="lanes"}"#, "2"),
        (r#"forebay_sent_messages_total{kind="lanes"}"#, "2"),
        (r#"forebay_topic_entered_bytes_total{topic=""}"#, "14"),
        (r#"forebay_topic_entered_bytes_total{topic="narrow"}"#, "7"),
        (r#"forebay_topic_entered_messages_total{topic=""}"#, "2"),
        (r#"forebay_topic_entered_messages_total{topic="narrow"}"#, "6"),
        (r#"forebay_topic_lanes{topic=""}"#, "1"),
        (r#"forebay_topic_lanes{topic="narrow"}"#, "1"),
        (r#"forebay_topic_lost_bytes_total{topic="",reason="unsubscribed"}"#, "10"),
        (r#"forebay_topic_lost_bytes_total{topic="narrow",reason="oldest"}"#, "3"),
        (r#"forebay_topic_lost_messages_total{topic="",reason="unsubscribed"}"#, "1"),
        (r#"forebay_topic_lost_messages_total{topic="narrow",reason="oldest"}"#, "3"),
        (r#"forebay_topic_sent_bytes_total{topic="narrow"}"#, "2"),
        (r#"forebay_topic_sent_messages_total{topic="narrow"}"#, "2"),
        (r#"forebay_topic_waiting_bytes{topic=""}"#, "4"),
        (r#"forebay_topic_waiting_bytes{topic="narrow"}"#, "2"),
        (r#"forebay_topic_waiting_messages{topic=""}"#, "1"),
        (r#"forebay_topic_waiting_messages{topic="narrow"}"#, "1"),
        ("forebay_topics", "3"),
        (r#"forebay_waiting_bytes{kind="lanes"}"#, "6"),
        (r#"forebay_waiting_messages{kind="lanes"}"#, "2"),
    ];
    assert_eq!(known(&samples), expected);

    // What is zero is there as well, and what nobody knows.
    let number = |name: &str| samples[name].parse::<f64>().unwrap();
    assert_eq!(number(r#"forebay_conservation_error{kind="direct"}"#), 0.0);
    assert_eq!(number(r#"forebay_topic_oldest_age_seconds{topic="say \"hi\""}"#), 0.0);
    assert!(number(r#"forebay_topic_oldest_age_seconds{topic="narrow"}"#) > 0.0);
    assert!(!samples.contains_key(r#"forebay_topic_oldest_age_seconds{topic=""}"#));
    assert_eq!(number("forebay_resident_limit_bytes"), f64::from(256 << 20));
    assert!(number("forebay_resident_bytes") >= number(r#"forebay_topic_resident_bytes{topic="narrow"}"#));
    assert!(number(r#"forebay_topic_resident_bytes{topic="narrow"}"#) > 0.0);
    let lost = samples.keys().filter(|name| name.contains("_lost_")).count();
    assert_eq!(lost, (2 + 3) * 2 * LossReason::ALL.len(), "by every reason");

    drop((subscription, other));
    close(&client);
    server.stop();
    let samples = scrape(&registry);
    assert_eq!((&*samples["forebay_connections"], &*samples["forebay_connections_closed_total"]), ("0", "1"));
    assert_eq!(samples[r#"forebay_lost_messages_total{kind="lanes",reason="unsubscribed"}"#], "3", "the last numbers");
}

#[test]
fn a_scrape_of_a_server_that_does_not_answer_shows_how_it_began() {
    let topics = vec![("t".to_owned(), TopicOptions::default())];
    let server = Server::unbound(ServerOptions { topics, mailbox_max: 1, ..ServerOptions::default() }).unwrap();
    let registry = registry(&server.handle());
    for _ in 0..2 {
        // The second does not even find room for its question.
        assert_eq!(known(&scrape(&registry)), [("forebay_topics", "1")]);
    }
    drop(server);
    assert_eq!(known(&scrape(&registry)), [("forebay_topics", "1")]);
}

/// By topic and altogether: what was sent, acknowledged, sent again and given up; what is kept; who is away.
#[test]
fn acknowledgements_histories_and_sessions_are_told() {
    let numbers = AtLeastOnce { ack_timeout: Duration::from_secs(3_600), ..AtLeastOnce::default() };
    let topic = TopicOptions {
        policy: Policy::Block,
        delivery: Delivery::AtLeastOnce(numbers),
        history: Some(History { messages_max: 2, ..History::default() }),
        ..TopicOptions::default()
    };
    let server = start(ServerOptions { topics: vec![("t".to_owned(), topic)], ..ServerOptions::default() });
    let handle = server.handle.clone();
    let registry = registry(&handle);
    let mut kept = raw::subscriber(&server, "t");
    raw::say(&mut kept, r#"{"op":"keep","id":2}"#);
    assert!(raw::hear(&mut kept).starts_with(r#"{"op":"ok","id":2,"session":"#));
    for _ in 0..3 {
        handle.publish("t", Payload::Text("10")).unwrap();
        raw::hear(&mut kept);
    }
    raw::say(&mut kept, r#"{"op":"ack","topic":"t","seq":1}"#);
    raw::say(&mut kept, r#"{"op":"ack","topic":"t","seq":1}"#);
    until(|| handle.stats().unknown_acks == 1);
    drop(kept);
    until(|| handle.stats().detached == 1);
    let samples = scrape(&registry);
    for (name, value) in [
        ("forebay_sessions_detached", "1"),
        ("forebay_sessions_resumed_total", "0"),
        ("forebay_unknown_acks_total", "1"),
        ("forebay_acks_sent_messages_total", "3"),
        ("forebay_acks_acknowledged_bytes_total", "2"),
        ("forebay_acks_unacknowledged_messages", "2"),
        ("forebay_acks_retries_messages_total", "0"),
        ("forebay_acks_conservation_error", "0"),
        (r#"forebay_topic_acks_sent_messages_total{topic="t"}"#, "3"),
        (r#"forebay_topic_acks_sent_messages_total{topic=""}"#, "0"),
        (r#"forebay_topic_acks_acknowledged_messages_total{topic="t"}"#, "1"),
        (r#"forebay_topic_acks_unacknowledged_bytes{topic="t"}"#, "4"),
        (r#"forebay_topic_acks_abandoned_messages_total{topic="t",reason="session_ended"}"#, "0"),
        (r#"forebay_topic_history_messages{topic="t"}"#, "2"),
        (r#"forebay_topic_history_bytes{topic="t"}"#, "4"),
    ] {
        assert_eq!(samples.get(name).map(String::as_str), Some(value), "{name}");
    }
    server.stop();
    let samples = scrape(&registry);
    let abandoned = r#"forebay_topic_acks_abandoned_messages_total{topic="t",reason="session_ended"}"#;
    assert_eq!((&*samples[abandoned], &*samples["forebay_sessions_detached"]), ("2", "0"), "the last numbers");
}
