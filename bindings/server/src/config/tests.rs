//! Every refusal with its exact words, and the example file.

use super::*;
use forebay_core::wire::{CloseCode, CloseReason};
use forebay_core::{CreateTopics, Disconnect, DisconnectScope, LaneLimits, Policies, Policy, Watermarks};
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../forebay.example.toml");

pub(super) fn parsed(source: &str) -> Settings {
    Settings::parse("f.toml", source).unwrap_or_else(|bad| panic!("{bad}"))
}

/// The lines of a refusal.
pub(super) fn refused(source: &str) -> Vec<String> {
    Settings::parse("f.toml", source).expect_err(source).lines
}

#[track_caller]
pub(super) fn assert_refused(source: &str, lines: &[&str]) {
    assert_eq!(refused(source), lines, "{source}");
}

fn same(left: &Settings, right: &Settings) {
    assert_eq!(format!("{left:#?}"), format!("{right:#?}"));
}

#[test]
fn an_empty_file_is_the_defaults() {
    same(&parsed(""), &Settings::default());
    same(&parsed("[server]\n[limits]\n[defaults]\n"), &Settings::default());
    assert_eq!(Settings::default().listen, "127.0.0.1:8080");
}

#[test]
fn the_example_is_the_defaults() {
    same(&parsed(EXAMPLE), &Settings::default());
    // Its commented topic is good too, and says every key of a topic: as long as the defaults.
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(code) if !code.is_empty() && !code.starts_with(' ') => format!("{code}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let expected = TopicOptions { policy: Policy::Block, ..TopicOptions::default() };
    assert_eq!(parsed(&uncommented).server.topics, [("log".to_owned(), expected)]);
}

/// Each TOML block of the chapter, and of each policy one under its heading.
#[test]
fn the_chapter_on_policies_configures_what_it_says() {
    let chapter = include_str!("../../../../docs/policies.md");
    let mut policies = BTreeSet::new();
    for section in chapter.split("\n## ") {
        let heading = section.lines().next().unwrap();
        for block in section.split("\n```toml\n").skip(1) {
            let settings = parsed(block.split("\n```\n").next().unwrap());
            let [(name, topic)] = &settings.server.topics[..] else { panic!("one topic: {block}") };
            if heading == topic.policy.name() {
                policies.insert(topic.policy);
            } else {
                assert!(heading.starts_with("age_max") == topic.age_max.is_some(), "{heading}: {name} {topic:?}");
            }
        }
    }
    assert_eq!(policies.into_iter().collect::<Vec<_>>(), Policy::ALL);
}

#[test]
fn the_example_has_every_key() {
    for section in ["server", "limits", "limits.direct_lane", "limits.watermarks", "limits.rates", "defaults"] {
        let lines = refused(&format!("[{section}]\nno = 1\n"));
        let known = lines[0].split("there are ").nth(1).unwrap();
        let start = EXAMPLE.find(&format!("\n[{section}]\n")).unwrap() + 1;
        let body = &EXAMPLE[start..];
        let body = &body[..body.find("\n[").unwrap_or(body.len())];
        for key in known.split(", ").filter(|key| !["direct_lane", "watermarks", "rates"].contains(key)) {
            assert!(body.contains(&format!("\n{key} = ")), "[{section}] {key}");
        }
    }
    let lines = refused("[[topics]]\nname = \"t\"\nno = 1\n");
    let known = lines[0].split("there are ").nth(1).unwrap();
    for key in known.split(", ") {
        assert!(EXAMPLE.contains(&format!("\n#{key} = ")), "[[topics]] {key}");
    }
}

#[test]
fn everything_can_be_set() {
    let settings = parsed(
        r#"
        [server]
        listen = "[::1]:0"
        admin_listen = 9090
        origins = ["https://a.example", "http://b.example:81"]
        drain_timeout = "1500ms"
        notsent_lowat_bytes = 32_768
        send_buffer_bytes = "64 KiB"
        mailbox_max = 7
        [limits]
        connections_max = 0x10
        topics_max = 20
        key_bytes_max = 9
        stall_timeout = "2m"
        direct_lane = { messages_max = 3, bytes_max = "2 MiB" }
        watermarks = { high_percent = 100, low_percent = 99, dwell = "0s" }
        [defaults]
        create = "application"
        policy = "block"
        messages_max = 50
        bytes_max = "512 KiB"
        message_bytes_max = 1000
        log_bytes_max = "1 MiB"
        choices = ["latest-only", "drop-newest"]
        keys_max = 40
        keys_bytes_max = "100 KiB"
        disconnect = { scope = "topic", code = 4000, reason = "too slow" }
        [[topics]]
        name = "a"
        [[topics]]
        name = "b"
        policy = "latest-per-key"
        choices = []
        messages_max = 51
        [topics.disconnect]
        code = 4001
        "#,
    );
    let server = &settings.server;
    assert_eq!((settings.listen.as_str(), settings.admin_listen.as_str()), ("[::1]:0", "127.0.0.1:9090"));
    assert_eq!(server.origins, ["https://a.example", "http://b.example:81"]);
    assert_eq!(server.drain_timeout, Duration::from_millis(1_500));
    assert_eq!((server.notsent_lowat_bytes, server.send_buffer_bytes, server.mailbox_max), (32_768, Some(65_536), 7));
    assert_eq!((server.hub.connections_max, server.hub.topics_max, server.hub.key_bytes_max), (16, 20, 9));
    assert_eq!(server.hub.stall_timeout, Duration::from_secs(120));
    assert_eq!(server.hub.direct_lane, LaneLimits { messages_max: 3, bytes_max: 2 << 20 });
    let marks = Watermarks { high_percent: 100, low_percent: 99, dwell: Duration::ZERO };
    assert_eq!(server.hub.watermarks, marks);
    assert_eq!(server.hub.create_topics, CreateTopics::Application);
    let a = TopicOptions {
        policy: Policy::Block,
        lane: LaneLimits { messages_max: 50, bytes_max: 512 << 10 },
        age_max: None,
        message_bytes_max: 1_000,
        log_bytes_max: 1 << 20,
        choices: Policies::of(&[Policy::LatestOnly, Policy::DropNewest]),
        keys_max: 40,
        keys_bytes_max: 100 << 10,
        disconnect: Disconnect {
            scope: DisconnectScope::Topic,
            code: CloseCode::new(4_000).unwrap(),
            reason: CloseReason::new("too slow").unwrap(),
        },
        ..TopicOptions::default()
    };
    assert_eq!(server.hub.topic_defaults, a);
    let b = TopicOptions {
        policy: Policy::LatestPerKey,
        choices: Policies::NONE,
        lane: LaneLimits { messages_max: 51, ..a.lane },
        disconnect: Disconnect { code: CloseCode::new(4_001).unwrap(), ..a.disconnect },
        ..a
    };
    assert_eq!(server.topics, [("a".to_owned(), a), ("b".to_owned(), b)]);
}

#[test]
fn limits_of_keys_follow_the_lanes_where_they_are_not_set() {
    let keys = |source: &str| {
        let server = parsed(source).server;
        let limits = |topic: &TopicOptions| (topic.keys_max, topic.keys_bytes_max);
        (limits(&server.hub.topic_defaults), server.topics.iter().map(|(_, topic)| limits(topic)).collect::<Vec<_>>())
    };
    let built_in = (1_024, 1 << 20);
    let lowered = "policy = \"latest-per-key\"\nmessages_max = 10\nbytes_max = 5000\nmessage_bytes_max = 100\n";
    assert_eq!(keys(&format!("[defaults]\n{lowered}")), ((10, 5_000), vec![]));
    assert_eq!(keys(&format!("[[topics]]\nname = \"t\"\n{lowered}")), (built_in, vec![(10, 5_000)]));
    // Raised again by a topic, they are what they would have been.
    let raised = "[[topics]]\nname = \"t\"\nmessages_max = 2000\nbytes_max = \"2 MiB\"\n";
    assert_eq!(keys(&format!("[defaults]\n{lowered}{raised}")), ((10, 5_000), vec![built_in]));
    // What [defaults] sets holds, unless the topic's lanes are too small for it.
    let both = "[[topics]]\nname = \"a\"\nmessages_max = 300\n[[topics]]\nname = \"b\"\nmessages_max = 100\n";
    let (_, topics) = keys(&format!("[defaults]\nkeys_max = 200\n{both}"));
    assert_eq!(topics, [(200, 1 << 20), (100, 1 << 20)]);
    // One message has to fit.
    let large = "[[topics]]\nname = \"t\"\nbytes_max = \"4 MiB\"\nmessage_bytes_max = \"2 MiB\"\n";
    assert_eq!(keys(large), (built_in, vec![(1_024, 2 << 20)]));

    let keyed = "[[topics]]\nname = \"t\"\npolicy = \"latest-per-key\"\n";
    for (written, line) in [
        (
            "messages_max = 10\nkeys_max = 11\n",
            "f.toml:5: [[topics]] \"t\" keys_max: must not exceed messages_max: the latest message of every key may wait",
        ),
        (
            "keys_bytes_max = \"2 MiB\"\n",
            "f.toml:4: [[topics]] \"t\" keys_bytes_max: must not exceed bytes_max: the latest message of every key may wait",
        ),
        (
            "keys_bytes_max = 1000\n",
            "f.toml:4: [[topics]] \"t\" keys_bytes_max: must be at least message_bytes_max: one message has to fit",
        ),
    ] {
        assert_refused(&format!("{keyed}{written}"), &[line]);
    }
}

#[test]
fn unknown_keys_are_refused_with_line_and_what_there_is() {
    assert_refused(
        "\n[sever]\nlisten = \"x:1\"\n",
        &["f.toml:2: unknown section sever: there are server, limits, deflate, defaults, topics"],
    );
    assert_refused(
        "[server]\nlisten = \"a:1\"\nport = 8080\n",
        &["f.toml:3: [server] port: unknown key; there are listen, admin_listen, origins, drain_timeout, \
           notsent_lowat_bytes, send_buffer_bytes, mailbox_max"],
    );
    assert_refused(
        "[[topics]]\nname = \"log\"\npolcy = \"block\"\n",
        &["f.toml:3: [[topics]] \"log\" polcy: unknown key; there are name, policy, choices, messages_max, \
           bytes_max, age_max, message_bytes_max, log_bytes_max, keys_max, keys_bytes_max, delivery, in_flight_max, \
           ack_timeout, attempts_max, history_messages, history_bytes, history_age, keeps_latest, class, \
           flush_interval, publish_rate, publish_burst, publish_excess, publish_ids_max, deflate, disconnect"],
    );
    assert_refused(
        "[limits.watermarks]\nlow_percent = 75\n",
        &["f.toml:2: [limits] watermarks low_percent: must be less than watermarks.high_percent"],
    );
    assert_refused(
        "[limits.watermarks]\nhigh_percent = 101\n",
        &["f.toml:2: [limits] watermarks high_percent: must be at most 100"],
    );
    assert_refused(
        "[limits.direct_lane]\nx = 1\n",
        &["f.toml:2: [limits] direct_lane x: unknown key; there are messages_max, bytes_max"],
    );
}

#[test]
fn bad_values_are_refused_with_what_is_allowed() {
    for (source, line) in [
        (
            "[[topics]]\nname = \"log\"\npolicy = \"drop\"\n",
            "f.toml:3: [[topics]] \"log\" policy: must be \"drop-oldest\", \"drop-newest\", \"latest-per-key\", \
             \"latest-only\", \"disconnect\" or \"block\", not \"drop\"",
        ),
        (
            "[defaults]\npolicy = 1\n",
            "f.toml:2: [defaults] policy: must be \"drop-oldest\", \"drop-newest\", \"latest-per-key\", \
             \"latest-only\", \"disconnect\" or \"block\", not 1",
        ),
        (
            "[defaults]\nchoices = \"latest-only\"\n",
            "f.toml:2: [defaults] choices: must be an array of \"drop-oldest\", \"drop-newest\", \"latest-per-key\", \
             \"latest-only\" or \"disconnect\", not \"latest-only\"",
        ),
        (
            "[[topics]]\nname = \"t\"\nchoices = [\"drop-newest\", 1]\n",
            "f.toml:3: [[topics]] \"t\" choices: must be an array of \"drop-oldest\", \"drop-newest\", \
             \"latest-per-key\", \"latest-only\" or \"disconnect\", but one is 1",
        ),
        (
            "[defaults]\nchoices = [\"block\"]\n",
            "f.toml:2: [defaults] choices: must not hold \"block\": that is the topic's to set",
        ),
        (
            "[server]\norigins = \"https://a.example\"\n",
            "f.toml:2: [server] origins: must be an array of origins such as \"https://app.example.com\" (scheme, host, and \
             port unless it is the scheme's own), or [\"*\"] for any, not \"https://a.example\"",
        ),
        (
            "[server]\norigins = [\"https://a.example\", \"https://*.example\"]\n",
            "f.toml:2: [server] origins: must be an array of origins such as \"https://app.example.com\" (scheme, host, and \
             port unless it is the scheme's own), or [\"*\"] for any, but one is \"https://*.example\"",
        ),
        (
            "[defaults]\ndisconnect = { scope = \"session\" }\n",
            "f.toml:2: [defaults] disconnect scope: must be \"connection\" or \"topic\", not \"session\"",
        ),
        (
            "[[topics]]\nname = \"t\"\n[topics.disconnect]\ncode = 1005\n",
            "f.toml:4: [[topics]] \"t\" disconnect code: must be a close code that may be sent (1000 to 1003, 1007 to \
             1014 or 3000 to 4999), not 1005",
        ),
        (
            "[defaults]\ndisconnect = { cod = 1013 }\n",
            "f.toml:2: [defaults] disconnect cod: unknown key; there are scope, code, reason",
        ),
        ("[defaults]\ndisconnect = 1013\n", "f.toml:2: [defaults] disconnect: must be a table"),
        (
            "[defaults]\ncreate = \"anyone\"\n",
            "f.toml:2: [defaults] create: must be \"clients\" or \"application\", not \"anyone\"",
        ),
        (
            "[limits]\nconnections_max = \"many\"\n",
            "f.toml:2: [limits] connections_max: must be a whole number from 1 to 4294967295, not \"many\"",
        ),
        (
            "[limits]\ntopics_max = -1\n",
            "f.toml:2: [limits] topics_max: must be a whole number from 1 to 4294967295, not -1",
        ),
        (
            "[limits]\ntopics_max = 4294967296\n",
            "f.toml:2: [limits] topics_max: must be a whole number from 1 to 4294967295, not 4294967296",
        ),
        (
            "[limits]\nmessage_bytes_max = \"1 MB\"\n",
            "f.toml:2: [limits] message_bytes_max: must be a number of bytes or text like \"64 KiB\" (units: B, KiB, \
             MiB, GiB), at most 4294967295 bytes, not \"1 MB\"",
        ),
        (
            "[server]\nsend_buffer_bytes = true\n",
            "f.toml:2: [server] send_buffer_bytes: must be \"system\", a number of bytes or text like \"64 KiB\" \
             (units: B, KiB, MiB, GiB), at most 4294967295 bytes, not true",
        ),
        (
            "[limits]\nblock_max = 30\n",
            "f.toml:2: [limits] block_max: must be text like \"500ms\" or \"30s\" (a whole number; units: ms, s, m, h), \
             not 30",
        ),
        ("[limits]\ndirect_lane = 3\n", "f.toml:2: [limits] direct_lane: must be a table"),
        ("limits = []\n", "f.toml:1: limits: must be a table"),
        ("[topics]\nname = \"log\"\n", "f.toml:1: topics: must be written as [[topics]], once for each topic"),
        ("[[topics]]\nname = 1\n", "f.toml:2: [[topics]] name: must be text in quotes, not 1"),
        (
            "[server]\nlisten = \"8080\"\n",
            "f.toml:2: [server] listen: must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080 (port 0: any free one), \
             not \"8080\"",
        ),
        (
            "[server]\nadmin_listen = \"on\"\n",
            "f.toml:2: [server] admin_listen: must be a port of 127.0.0.1 such as 9090, HOST:PORT such as 0.0.0.0:9090, \
             or off, not \"on\"",
        ),
    ] {
        assert_refused(source, &[line]);
    }
}

#[test]
fn topics_have_names_of_their_own() {
    for (source, line) in [
        ("\n[[topics]]\npolicy = \"block\"\n", "f.toml:2: [[topics]] name: is missing"),
        (
            "[[topics]]\nname = \"t\"\npolicy = \"block\"\nage_max = \"1s\"\n",
            "f.toml:4: [[topics]] \"t\" age_max: needs a policy that may lose single messages: not block, not disconnect",
        ),
        (
            "[defaults]\nage_max = 5\n",
            "f.toml:2: [defaults] age_max: must be \"none\" or text like \"500ms\" or \"30s\" (a whole number; units: ms, s, m, h), \
             not 5",
        ),
        ("[[topics]]\nname = \"\"\n", "f.toml:2: [[topics]] name: must not be empty"),
        ("[[topics]]\nname = \"a\\tb\"\n", "f.toml:2: [[topics]] name: must not contain control characters"),
        (
            "[limits]\ntopic_name_bytes_max = 3\n[[topics]]\nname = \"four\"\n",
            "f.toml:4: [[topics]] name: must be at most 3 bytes ([limits] topic_name_bytes_max), not 4",
        ),
        (
            "[[topics]]\nname = \"a\"\n[[topics]]\nname = \"b\"\n[[topics]]\nname = \"a\"\n",
            "f.toml:6: [[topics]] name: \"a\" is declared twice; each topic is declared once",
        ),
        (
            "[limits]\ntopics_max = 1\n[[topics]]\nname = \"a\"\n[[topics]]\nname = \"b\"\n",
            "f.toml:5: [[topics]]: 2 topics, but [limits] topics_max is 1",
        ),
    ] {
        assert_refused(source, &[line]);
    }
}

#[test]
fn limits_that_contradict_each_other_are_refused_where_they_stand() {
    for (source, line) in [
        (
            "[limits]\nmessage_bytes_max = \"2 MiB\"\n",
            "f.toml:1: [limits] inbound_bytes_max: must be at least message_bytes_max: one message has to fit (not set \
             here: its default applies)",
        ),
        ("[limits]\ntransmit_bytes_max = 1023\n", "f.toml:2: [limits] transmit_bytes_max: must be at least 1024"),
        ("[limits]\npong_timeout = \"0s\"\n", "f.toml:2: [limits] pong_timeout: must be at least 1 ms"),
        (
            "[limits.direct_lane]\nmessages_max = 4000000000\n",
            "f.toml:2: [limits] direct_lane messages_max: must be at most 2147483648",
        ),
        (
            "[defaults]\nbytes_max = 1000\n",
            "f.toml:1: [defaults] message_bytes_max: must not exceed bytes_max: such a message would fit no lane (not \
             set here: its default applies)",
        ),
        (
            "[[topics]]\nname = \"t\"\nmessage_bytes_max = \"2 MiB\"\n",
            "f.toml:3: [[topics]] \"t\" message_bytes_max: must not exceed bytes_max: such a message would fit no lane",
        ),
        (
            "[[topics]]\nname = \"t\"\nlog_bytes_max = 1\n",
            "f.toml:3: [[topics]] \"t\" log_bytes_max: must be at least 2 * message_bytes_max + 4096: one message with \
             its envelope",
        ),
        (
            "[[topics]]\nname = \"t\"\nlog_bytes_max = \"257 MiB\"\n",
            "f.toml:3: [[topics]] \"t\" log_bytes_max: must be at most [limits] resident_bytes_max",
        ),
        (
            "[limits]\nresident_bytes_max = \"1 MiB\"\n",
            "f.toml:2: [limits] resident_bytes_max: must be at least [defaults] log_bytes_max and 2 * inbound_bytes_max",
        ),
        (
            "[defaults]\nlog_bytes_max = \"1 GiB\"\n",
            "f.toml:2: [defaults] log_bytes_max: must be at most [limits] resident_bytes_max",
        ),
    ] {
        assert_refused(source, &[line]);
    }
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let lines = refused("[server]\nlisten = 127.0.0.1\n");
    assert!(lines[0].starts_with("f.toml:2: not TOML: "), "{lines:?}");
    let lines = refused("[server]\nlisten = \"a:1\"\nlisten = \"b:1\"\n");
    assert_eq!(lines, ["f.toml:3: not TOML: duplicate key"]);
    let lines = refused("[server\n");
    assert!(lines[0].starts_with("f.toml:1: not TOML: "), "{lines:?}");
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let source = "[[topics]]\nname = \"a\"\npolicy = 1\n[defaults]\ncreate = 2\n[limits]\ntopics_max = 0\nx = 1\n";
    let starts: Vec<_> =
        refused(source).iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        starts,
        [
            "f.toml:3: [[topics]] \"a\" policy",
            "f.toml:5: [defaults] create",
            "f.toml:7: [limits] topics_max",
            "f.toml:8: [limits] x"
        ]
    );
}
