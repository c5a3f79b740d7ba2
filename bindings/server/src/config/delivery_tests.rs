//! Deliveries, histories, classes, rates and sessions: what can be set, what follows what, and what is refused.

use super::tests::{assert_refused, parsed};
use super::*;
use forebay_core::{AtLeastOnce, Class, Delivery, Excess, History, Policy, Rate};
use std::time::Duration;

#[test]
fn everything_about_delivery_can_be_set() {
    let settings = parsed(
        r#"
        [limits]
        session_ttl = "5m"
        sessions_max = 7
        principal_bytes_max = 64
        [limits.rates]
        inbound_messages_per_second = 100
        inbound_messages_burst = 20
        inbound_bytes_per_second = "1 MiB"
        inbound_excess = "refuse"
        outbound_bytes_per_second = 5000
        outbound_bytes_burst = "64 KiB"
        reserved_percent = 0
        [[topics]]
        name = "t"
        policy = "block"
        delivery = "at-least-once"
        in_flight_max = 128
        ack_timeout = "250ms"
        attempts_max = 9
        history_messages = 10
        history_bytes = "2 MiB"
        history_age = "1h"
        keeps_latest = true
        class = "high"
        flush_interval = "50ms"
        publish_rate = 30
        publish_burst = 3
        publish_excess = "refuse"
        publish_ids_max = 5
        "#,
    );
    let hub = &settings.server.hub;
    assert_eq!((hub.session_ttl, hub.sessions_max, hub.principal_bytes_max), (Duration::from_secs(300), 7, 64));
    assert_eq!(hub.inbound_rate, Some(Rate { per_second: 100, burst: 20 }));
    // A burst that is not said is a second's.
    assert_eq!(hub.inbound_bytes_rate, Some(Rate { per_second: 1 << 20, burst: 1 << 20 }));
    assert_eq!(hub.outbound_bytes_rate, Some(Rate { per_second: 5_000, burst: 65_536 }));
    assert_eq!((hub.inbound_excess, hub.reserved_percent), (Excess::Refuse, 0));
    let topic = TopicOptions {
        policy: Policy::Block,
        delivery: Delivery::AtLeastOnce(AtLeastOnce {
            in_flight_max: 128,
            ack_timeout: Duration::from_millis(250),
            attempts_max: 9,
        }),
        history: Some(History { messages_max: 10, bytes_max: 2 << 20, age_max: Some(Duration::from_secs(3_600)) }),
        keeps_latest: true,
        class: Class::High,
        flush_interval: Some(Duration::from_millis(50)),
        publish_rate: Some(Rate { per_second: 30, burst: 3 }),
        publish_excess: Excess::Refuse,
        publish_ids_max: 5,
        ..TopicOptions::default()
    };
    assert_eq!(settings.server.topics, [("t".to_owned(), topic)]);
}

/// The one topic of a file, `t`.
fn topic(source: &str) -> TopicOptions {
    parsed(source).server.topics[0].1
}

#[test]
fn at_least_once_holds_below_defaults_where_the_policy_can() {
    let defaults = "[defaults]\npolicy = \"block\"\ndelivery = \"at-least-once\"\nattempts_max = 2\n";
    let name = "[[topics]]\nname = \"t\"\n";
    let numbers = AtLeastOnce { attempts_max: 2, ..AtLeastOnce::default() };
    assert_eq!(topic(&format!("{defaults}{name}")).delivery, Delivery::AtLeastOnce(numbers));
    let other = topic(&format!("{defaults}{name}in_flight_max = 7\n")).delivery;
    assert_eq!(other, Delivery::AtLeastOnce(AtLeastOnce { in_flight_max: 7, ..numbers }));
    let lossy = "policy = \"drop-oldest\"\n";
    assert_eq!(topic(&format!("{defaults}{name}{lossy}")).delivery, Delivery::BestEffort);
    assert_eq!(topic(&format!("{defaults}{name}delivery = \"best-effort\"\n")).delivery, Delivery::BestEffort);
    // Numbers of [defaults] hold for whoever turns it on.
    let numbered = format!("[defaults]\nattempts_max = 2\n{name}policy = \"block\"\ndelivery = \"at-least-once\"\n");
    assert_eq!(topic(&numbered).delivery, Delivery::AtLeastOnce(numbers));
    assert_refused(
        &format!("{defaults}{name}{lossy}delivery = \"at-least-once\"\n"),
        &["f.toml:8: [[topics]] \"t\" delivery: at-least-once needs block, disconnect or drop-newest"],
    );
}

#[test]
fn a_history_is_there_where_it_is_named() {
    let name = "[[topics]]\nname = \"t\"\n";
    let history = |defaults: &str, keys: &str| topic(&format!("[defaults]\n{defaults}{name}{keys}")).history;
    let built_in = History::default();
    assert_eq!(history("", ""), None);
    assert_eq!(history("", "history_messages = 3\n"), Some(History { messages_max: 3, ..built_in }));
    assert_eq!(history("", "history_bytes = 3000\n"), Some(History { bytes_max: 3_000, ..built_in }));
    assert_eq!(history("", "history_age = \"none\"\n"), Some(built_in));
    assert_eq!(history("history_messages = 3\n", ""), Some(History { messages_max: 3, ..built_in }));
    assert_eq!(history("history_messages = 3\n", "history_messages = \"none\"\n"), None);
    // "none" is none, whatever the others say; below it they hold again.
    let off = "history_messages = \"none\"\nhistory_bytes = 3000\n";
    assert_eq!((history(off, ""), history("", off)), (None, None));
    let on = Some(History { messages_max: 5, bytes_max: 3_000, age_max: None });
    assert_eq!(history(off, "history_messages = 5\n"), on);
}

#[test]
fn rates_of_topics_follow_the_defaults_key_by_key() {
    let name = "[[topics]]\nname = \"t\"\n";
    let rate = |defaults: &str, keys: &str| topic(&format!("[defaults]\n{defaults}{name}{keys}")).publish_rate;
    assert_eq!(rate("publish_burst = 2\n", ""), None);
    assert_eq!(rate("publish_burst = 2\n", "publish_rate = 9\n"), Some(Rate { per_second: 9, burst: 2 }));
    assert_eq!(rate("publish_rate = 9\n", ""), Some(Rate { per_second: 9, burst: 9 }));
    assert_eq!(rate("publish_rate = 9\n", "publish_rate = 4\n"), Some(Rate { per_second: 4, burst: 4 }));
    assert_eq!(rate("publish_rate = 9\n", "publish_rate = \"none\"\n"), None);
}

#[test]
fn what_cannot_be_had_is_refused_with_line_and_key() {
    for (source, line) in [
        (
            "[defaults]\nhistory_messages = 0\n",
            "f.toml:2: [defaults] history_messages: must be at least 1; \"none\" keeps no history",
        ),
        (
            "[defaults]\nhistory_messages = \"all\"\n",
            "f.toml:2: [defaults] history_messages: must be \"none\" or a whole number from 1 to 4294967295, not \"all\"",
        ),
        (
            "[defaults]\nhistory_messages = 2147483649\n",
            "f.toml:2: [defaults] history_messages: must be at most 2147483648",
        ),
        ("[defaults]\nhistory_bytes = 0\n", "f.toml:2: [defaults] history_bytes: must be at least 1"),
        ("[defaults]\nhistory_age = \"0s\"\n", "f.toml:2: [defaults] history_age: must be at least 1 ms"),
        (
            "[defaults]\ndelivery = \"exactly-once\"\n",
            "f.toml:2: [defaults] delivery: must be \"best-effort\" or \"at-least-once\", not \"exactly-once\"",
        ),
        (
            "[defaults]\ndelivery = \"at-least-once\"\n",
            "f.toml:2: [defaults] delivery: at-least-once needs block, disconnect or drop-newest",
        ),
        // Also where it is not in force.
        ("[defaults]\nin_flight_max = 129\n", "f.toml:2: [defaults] in_flight_max: must be at most 128"),
        (
            "[defaults]\nin_flight_max = 0\n",
            "f.toml:2: [defaults] in_flight_max: must be a whole number from 1 to 255, not 0",
        ),
        ("[defaults]\nack_timeout = \"61m\"\n", "f.toml:2: [defaults] ack_timeout: must be at most 1 h"),
        (
            "[defaults]\nclass = \"urgent\"\n",
            "f.toml:2: [defaults] class: must be \"high\", \"normal\" or \"low\", not \"urgent\"",
        ),
        ("[defaults]\nkeeps_latest = 1\n", "f.toml:2: [defaults] keeps_latest: must be true or false, not 1"),
        ("[defaults]\nflush_interval = \"2h\"\n", "f.toml:2: [defaults] flush_interval: must be at most 1 h"),
        ("[defaults]\npublish_rate = 1000000001\n", "f.toml:2: [defaults] publish_rate: must be at most 1000000000"),
        ("[defaults]\npublish_burst = 2147483649\n", "f.toml:2: [defaults] publish_burst: must be at most 2147483648"),
        (
            "[defaults]\npublish_excess = \"drop\"\n",
            "f.toml:2: [defaults] publish_excess: must be \"wait\" or \"refuse\", not \"drop\"",
        ),
        (
            "[limits.rates]\ninbound_bytes_burst = 0\n",
            "f.toml:2: [limits] rates inbound_bytes_burst: must be at least 1",
        ),
        (
            "[limits.rates]\ninbound_bytes_per_second = \"0\"\n",
            "f.toml:2: [limits] rates inbound_bytes_per_second: must be at least 1",
        ),
        (
            "[limits.rates]\noutbound_bytes_per_second = \"1 GiB\"\n",
            "f.toml:2: [limits] rates outbound_bytes_per_second: must be at most 1000000000",
        ),
        ("[limits.rates]\nreserved_percent = 91\n", "f.toml:2: [limits] rates reserved_percent: must be at most 90"),
        ("[limits]\nsession_ttl = \"25h\"\n", "f.toml:2: [limits] session_ttl: must be at most 24 h"),
        ("[limits]\nprincipal_bytes_max = 1025\n", "f.toml:2: [limits] principal_bytes_max: must be at most 1024"),
    ] {
        assert_refused(source, &[line]);
    }
}
