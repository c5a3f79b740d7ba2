//! `forebay.v1` and the handshake, request by request.

use forebay_core::{CreateTopics, EndReason, Mode};
use forebay_testkit::mini::{Client, Phase, Told};
use forebay_testkit::stage::{Stage, briefs, is_open};

#[test]
fn the_greeting_tells_the_limits() {
    let mut stage = Stage::new(|options| options.lanes_per_session_max = 7);
    let mut sessions = Vec::new();
    // The subprotocol, none, and only unknown ones: all speak forebay.v1.
    for (offered, chosen) in [
        (&["forebay.v1"][..], Some("forebay.v1")),
        (&[], None),
        (&["chat", "x"], None),
        (&["chat", "forebay.v1"], Some("forebay.v1")),
    ] {
        let client = Client::new(stage.next_seed(), offered, false);
        let conn = stage.seat(client, Mode::Dialect);
        stage.pump();
        assert_eq!(stage.client(conn).protocol.as_deref(), chosen);
        let told = stage.told(conn);
        let [Told::Hello { session, limits }] = &told[..] else { panic!("{told:?}") };
        sessions.push(session.clone());
        let names = ["message_bytes_max", "inbound_bytes_max", "topic_name_bytes_max", "lanes_max", "ping_interval_ms"];
        assert_eq!(names.map(|name| limits[name]), [1 << 20, 1 << 20, 256, 7, 25_000]);
    }
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 4, "sessions are told apart");
}

/// Sends one text and gives what comes back, as text.
fn answer(stage: &mut Stage, text: &str) -> String {
    let client = Client::new(stage.next_seed(), &[], true);
    let conn = stage.seat(client, Mode::Dialect);
    stage.client(conn).text(text);
    stage.client(conn).text(r#"{"op":"ping","id":"last"}"#);
    stage.pump();
    let texts: Vec<String> = stage
        .client(conn)
        .items
        .drain(..)
        .skip(1)
        .map(|item| match item {
            forebay_testkit::mini::Item::Text(text) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    let (last, first) = texts.split_last().expect("an answer");
    assert_eq!(last, r#"{"op":"pong","id":"last"}"#, "the connection stays");
    first.join(" ")
}

fn code(stage: &mut Stage, text: &str) -> String {
    let answer = answer(stage, text);
    let prefix = r#"{"op":"error","code":""#;
    let rest = answer.strip_prefix(prefix).unwrap_or_else(|| panic!("{text}: {answer}"));
    let code = rest.split('"').next().unwrap().to_string();
    let id = answer.split_once("\"id\":").map(|(_, id)| id.trim_end_matches('}'));
    format!("{code} {}", id.unwrap_or("-"))
}

#[test]
fn requests_that_cannot_be_carried_out() {
    let long = "x".repeat(257);
    let deep = format!(r#"{{"op":"publish","topic":"t","data":{}1{},"id":1}}"#, "[".repeat(60), "]".repeat(60));
    let mut stage = Stage::new(|_| {});
    assert!(answer(&mut stage, &deep).contains(r#""op":"ok""#));
    for (text, expected) in [
        ("", "bad-message -"),
        ("null", "bad-message -"),
        ("[]", "bad-message -"),
        ("{}", "bad-message -"),
        (r#"{"op":"ping""#, "bad-message -"),
        (r#"{"op":"ping"}x"#, "bad-message -"),
        (r#"{"op":7,"id":1}"#, "bad-message *"),
        (r#"{"op":"ping","op":"ping"}"#, "bad-message *"),
        (r#"{"op":"subscribe","topic":"t","topic":"t","id":1}"#, "bad-message *"),
        (r#"{"op":"subscribe","id":1}"#, "bad-message *"),
        (r#"{"op":"subscribe","topic":7,"id":1}"#, "bad-message *"),
        (r#"{"op":"subscribe","topic":"t","id":{}}"#, "bad-message -"),
        (r#"{"op":"subscribe","topic":"t","id":true}"#, "bad-message -"),
        (r#"{"op":"subscribe","topic":"t","id":null}"#, "bad-message -"),
        (r#"{"op":"publish","topic":"t","id":1}"#, "bad-message *"),
        (r#"{"op":"publish","topic":"t","data":1,"data64":"","id":1}"#, "bad-message *"),
        (r#"{"op":"publish","topic":"t","data64":"A","id":1}"#, "bad-message *"),
        (r#"{"op":"publish","topic":"t","data64":"AA","id":1}"#, "bad-message *"),
        (r#"{"op":"publish","topic":"t","data64":"A_8=","id":1}"#, "bad-message *"),
        (r#"{"op":"publish","topic":"t","data64":[],"id":1}"#, "bad-message *"),
        (r#"{"op":"dance","id":1}"#, "unknown-op 1"),
        (r#"{"op":"Ping","id":"\u0031"}"#, r#"unknown-op "\u0031""#),
        (r#"{"op":"ack","topic":"t","id":1}"#, "bad-message *"),
        (r#"{"op":"ack","topic":"t","seq":1,"seqs":[1],"id":1}"#, "bad-message *"),
        (r#"{"op":"ack"}"#, "bad-message -"),
        (r#"{"op":"credit","topic":"t","credit":1,"id":1e0}"#, "not-subscribed 1e0"),
        (r#"{"op":"credit","topic":"t","credit":4294967296,"id":1}"#, "bad-message *"),
        (r#"{"op":"resume","id":-0.5}"#, "bad-message *"),
        (r#"{"op":"resume","session":"x","id":-0.5}"#, "unknown-session -0.5"),
        (r#"{"op":"resume","session":"x","lanes":[{"topic":"t","seq":1}],"id":1}"#, "bad-message *"),
        (r#"{"op":"subscribe","topic":"","id":1}"#, "bad-topic 1"),
        (r#"{"op":"subscribe","topic":"a\u001f","id":1}"#, "bad-topic 1"),
        (r#"{"op":"publish","topic":"\u007f","data":1,"id":1}"#, "bad-topic 1"),
        (&format!(r#"{{"op":"subscribe","topic":"{long}","id":1}}"#), "bad-topic 1"),
        (r#"{"op":"unsubscribe","topic":"t","id":1}"#, "not-subscribed 1"),
        (
            r#"{"op":"subscribe","topic":"ok","id":"0123456789012345678901234567890123456789012345678901234567890123"}"#,
            "bad-message *",
        ),
    ] {
        let code = code(&mut stage, text);
        // `*`: forebay.md does not say whether an error about a message repeats an id that could be read.
        let same = expected.strip_suffix('*').map_or(code == expected, |start| code.starts_with(start));
        assert!(same, "{text}: {code}, not {expected}");
    }
}

#[test]
fn requests_that_are_carried_out() {
    let name = format!("é{}", "x".repeat(254));
    let id = format!("\"{}\"", "i".repeat(62));
    for (text, expected) in [
        (r#"{"op":"ping"}"#.into(), r#"{"op":"pong"}"#.into()),
        (r#" { "id" : 1E+2 , "op" : "ping" } "#.into(), r#"{"op":"pong","id":1E+2}"#.into()),
        (format!(r#"{{"op":"ping","id":{id}}}"#), format!(r#"{{"op":"pong","id":{id}}}"#)),
        (
            r#"{"\u006fp":"p\u0069ng","unknown":{"op":[1,{}]},"id":"\u00e9"}"#.into(),
            r#"{"op":"pong","id":"\u00e9"}"#.into(),
        ),
        (r#"{"op":"publish","topic":"t","data":1}"#.into(), String::new()),
        (
            r#"{"op":"publish","topic":"t","data":null,"id":1}"#.into(),
            r#"{"op":"ok","id":1,"seq":1,"matched":0}"#.into(),
        ),
        (
            r#"{"data64":"AP8=","topic":"t","op":"publish","id":1}"#.into(),
            r#"{"op":"ok","id":1,"seq":1,"matched":0}"#.into(),
        ),
        (
            format!(r#"{{"op":"publish","topic":"{name}","data":"","id":1}}"#),
            r#"{"op":"ok","id":1,"seq":1,"matched":0}"#.into(),
        ),
    ] {
        let mut stage = Stage::new(|_| {});
        assert_eq!(answer(&mut stage, &text), expected, "{text}");
    }
}

#[test]
fn limits_of_sessions_and_hubs() {
    let mut stage = Stage::new(|options| {
        options.lanes_per_session_max = 2;
        options.topics_max = 3;
        options.topic_defaults.message_bytes_max = 10;
    });
    let conn = stage.join();
    let other = stage.join();
    for topic in ["a", "a", "b", "c"] {
        stage.client(conn).subscribe(topic);
    }
    for topic in ["c", "d"] {
        stage.client(other).subscribe(topic);
    }
    stage.client(conn).publish("a", "\"12345678\"", 0);
    stage.client(conn).publish("a", "\"123456789\"", 0);
    stage.client(conn).publish("e", "1", 0);
    stage.pump();
    let told: Vec<String> = briefs(&mut stage, conn).into_iter().filter(|told| !told.starts_with("message")).collect();
    assert_eq!(
        told,
        [
            "subscribed a 0",
            "error already-subscribed",
            "subscribed b 0",
            "error lanes-full",
            "published 1 1",
            "error too-large",
            "error topics-full"
        ]
    );
    assert_eq!(briefs(&mut stage, other), ["subscribed c 0", "error topics-full"]);
    assert_eq!(stage.hub.stats().refused_too_large, 1);
    // What is told as bytes is counted as bytes.
    let text = stage.client(conn).reader().publish("a", &forebay_testkit::mini::Data::Bytes(vec![0; 10]), 0, true, "");
    stage.client(conn).text(&text);
    stage.pump();
    assert_eq!(briefs(&mut stage, conn).last().map(String::as_str), Some("message a 2 00000000000000000000"));
}

#[test]
fn only_the_application_creates_topics() {
    let mut stage = Stage::new(|options| options.create_topics = CreateTopics::Application);
    stage.topic("t", |_| {});
    let conn = stage.join();
    stage.client(conn).subscribe("u");
    stage.client(conn).publish("u", "1", 0);
    stage.client(conn).subscribe("t");
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["error unknown-topic", "error unknown-topic", "subscribed t 0"]);
}

#[test]
fn a_binary_message_is_no_message_of_the_dialect() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.client(conn).reader().expect_silent_error();
    stage.client(conn).binary(b"{\"op\":\"ping\"}");
    stage.client(conn).ask_ping();
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["error bad-message", "pong"]);
}

#[test]
fn a_draining_hub_takes_nothing_new() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.freeze(conn);
    stage.publish(topic, "1").unwrap();
    stage.hub.drain(stage.now + std::time::Duration::from_secs(60), stage.now);
    stage.client(conn).publish("t", "2", 0);
    stage.client(conn).subscribe("u");
    stage.pump();
    stage.thaw(conn);
    assert_eq!(briefs(&mut stage, conn), ["error draining", "error draining", "message t 1 1"]);
}

// --- RFC 6455, broken ---

#[test]
fn every_crime_has_its_close_code() {
    let masked = |header: &[u8], payload: &[u8]| [header, &[0; 4], payload].concat();
    for (bytes, expected, why) in [
        (b"\x81\x02hi".to_vec(), 1002, "unmasked"),
        (masked(b"\xC1\x80", b""), 1002, "RSV1"),
        (masked(b"\xA1\x80", b""), 1002, "RSV2"),
        (masked(b"\x91\x80", b""), 1002, "RSV3"),
        (masked(b"\x83\x80", b""), 1002, "reserved opcode"),
        (masked(b"\x8B\x80", b""), 1002, "reserved control opcode"),
        (masked(b"\x80\x80", b""), 1002, "continuation of nothing"),
        ([masked(b"\x01\x80", b""), masked(b"\x81\x80", b"")].concat(), 1002, "message in a message"),
        (masked(b"\x09\x80", b""), 1002, "fragmented ping"),
        (masked(b"\x89\xFE\x00\x7E", &[0; 126]), 1002, "long ping"),
        (masked(b"\x81\xFE\x00\x7D", &[b'x'; 125]), 1002, "16 bits for 125"),
        (masked(b"\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", b""), 1002, "64 bits for 65535"),
        (masked(b"\x82\xFF\x80\x00\x00\x00\x00\x00\x00\x00", b""), 1002, "64th bit"),
        (masked(b"\x81\x82", b"\xC3\x28"), 1007, "bad UTF-8"),
        (masked(b"\x81\x83", b"\xED\xA0\x80"), 1007, "surrogate"),
        (masked(b"\x81\x82", b"\xC0\x80"), 1007, "overlong"),
        (masked(b"\x01\x81", b"\xF5"), 1007, "bad UTF-8 before the end"),
        (masked(b"\x81\x81", b"\xE2"), 1007, "cut UTF-8"),
        ([masked(b"\x01\x81", b"\xE2"), masked(b"\x80\x81", b"x")].concat(), 1007, "bad over fragments"),
        (masked(b"\x82\xFF\x00\x00\x00\x00\x7F\xFF\xFF\xFF", b""), 1009, "too large"),
        (masked(b"\x82\xFE\x04\x01", b""), 1009, "one byte too large"),
        (masked(b"\x88\x81", b"\x03"), 1002, "half a close code"),
        (masked(b"\x88\x82", b"\x03\xED"), 1002, "1005 on the wire"),
        (masked(b"\x88\x82", b"\x03\xEE"), 1002, "1006 on the wire"),
        (masked(b"\x88\x82", b"\x00\x00"), 1002, "close code 0"),
        (masked(b"\x88\x82", b"\x13\x88"), 1002, "close code 5000"),
        (masked(b"\x88\x83", b"\x03\xE8\xFF"), 1007, "close reason not UTF-8"),
    ] {
        for read in [usize::MAX, 1] {
            let mut stage = Stage::new(|options| options.message_bytes_max = 1_024);
            let (conn, other) = (stage.join(), stage.join());
            stage.seat_of(conn).read = read;
            stage.client(conn).misbehave(&bytes);
            stage.pump();
            let close = stage.client(conn).close;
            // A Close frame that is itself broken may be answered 1002 for whatever is wrong with it.
            let good = close == Some(Some(expected)) || (bytes[0] == 0x88 && close == Some(Some(1002)));
            assert!(good, "{why}: {close:?}, not {expected}");
            assert!(matches!(stage.ended(conn), None | Some(EndReason::Protocol(_))), "{why}: {:?}", stage.ended(conn));
            stage.advance(std::time::Duration::from_secs(6));
            assert!(stage.client(conn).is_ended && is_open(&mut stage, other), "{why}");
            assert!(matches!(stage.ended(conn), Some(EndReason::Protocol(_))), "{why}: {:?}", stage.ended(conn));
            assert_eq!(stage.hub.connections(), 1);
        }
    }
}

#[test]
fn a_fragmented_message_is_bounded_as_a_whole() {
    let mut stage = Stage::new(|options| options.message_bytes_max = 1_024);
    let conn = stage.join_raw();
    stage.client(conn).frame(false, 2, &[1; 1_000]);
    stage.client(conn).frame(true, 0, &[1; 24]);
    stage.pump();
    assert_eq!(stage.hub.receive(conn, stage.now).unwrap().bytes.len(), 1_024);
    stage.client(conn).frame(false, 2, &[1; 1_000]);
    stage.client(conn).frame(true, 0, &[1; 25]);
    stage.pump();
    assert_eq!(stage.hub.receive(conn, stage.now), None, "no more answers are waited for");
    stage.pump();
    assert_eq!(stage.client(conn).close, Some(Some(1009)));
}

#[test]
fn what_comes_after_a_close_is_ignored() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.client(conn).close(Some(1000));
    stage.client(conn).text(r#"{"op":"publish","topic":"t","data":1}"#);
    stage.client(conn).misbehave(b"\xFF\xFF\xFF");
    stage.pump();
    assert_eq!(stage.client(conn).close, Some(Some(1000)));
    assert_eq!((stage.hub.stats().published.messages, stage.hub.connections()), (0, 0));
}

#[test]
fn opening_requests_that_are_none() {
    let good = "GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let without = |name: &str| {
        let lines: Vec<&str> = good.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect();
        lines.concat()
    };
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let huge = with("Host: h", &format!("Host: h\r\nX: {}", "x".repeat(20_000)));
    let many = with("Host: h", &format!("Host: h{}", "\r\nX: 1".repeat(1_000)));
    for (text, expected, why) in [
        (good.to_string(), &[101][..], "good"),
        (with("websocket", "WebSocket"), &[101], "case of the token"),
        (with("Upgrade: ", "uPGRADE:"), &[101], "case of the name"),
        (with("GET", "POST"), &[400, 405], "method"),
        (with("HTTP/1.1", "HTTP/1.0"), &[400, 505], "version of HTTP"),
        (without("Host"), &[400], "no Host"),
        (with("Host: h", "Host: h\r\nHost: h"), &[400], "two Hosts"),
        (without("Upgrade:"), &[400, 426], "no Upgrade"),
        (without("Connection"), &[400, 426], "no Connection"),
        (with("websocket", "h2c"), &[400, 426], "another protocol"),
        (without("Sec-WebSocket-Key"), &[400], "no key"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), &[400], "short key"),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "!GhlIHNhbXBsZSBub25jZQ=="), &[400], "key that is not base64"),
        (without("Sec-WebSocket-Version"), &[400, 426], "no version"),
        (with("Version: 13", "Version: 8"), &[426], "another version"),
        (with("Version: 13", "Version: 8, 13"), &[400, 426], "two versions"),
        (with("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), &[400, 413], "a body"),
        (with("Host: h", "Host : h"), &[400], "space before the colon"),
        (with("Host: h", "Host: h\r\n folded"), &[400], "a folded line"),
        (huge, &[431], "a head that is too large"),
        (many, &[400, 431], "too many fields"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".into(), &[400], "TLS"),
    ] {
        for read in [usize::MAX, 1, 7] {
            let mut stage = Stage::new(|_| {});
            let other = stage.join();
            let mut client = Client::silent(1, true);
            client.misbehave(text.as_bytes());
            let conn = stage.seat(client, Mode::Raw);
            stage.seat_of(conn).read = read;
            stage.pump();
            let status = match &stage.client(conn).phase {
                Phase::Open => 101,
                Phase::Refused(status) => *status,
                Phase::Connecting => 0,
                Phase::Served(_) => 200,
            };
            assert!(expected.contains(&status), "{why}: {status}, not {expected:?}");
            if status != 101 {
                assert!(matches!(stage.ended(conn), Some(EndReason::Refused(_))), "{why}: {:?}", stage.ended(conn));
                assert!(stage.client(conn).is_ended, "{why}: the transport ends");
                let response = stage.client(conn).response.clone().unwrap();
                if status == 426 {
                    // RFC 6455 §4.4, RFC 9110 §15.5.22
                    assert_eq!(response.one("sec-websocket-version"), Ok("13"), "{why}");
                    assert_eq!(response.one("upgrade").map(str::to_ascii_lowercase), Ok("websocket".into()), "{why}");
                }
            }
            assert!(is_open(&mut stage, other));
        }
    }
}

#[test]
fn a_document_is_served_also_to_who_reads_slowly() {
    let mut stage = Stage::new(|_| {});
    stage.hub.document("/page", "text/html", vec![b'x'; 5_000].into()).unwrap();
    let client = Client::fetching(stage.next_seed(), "/page");
    let conn = stage.seat(client, Mode::Dialect);
    stage.freeze(conn);
    stage.pump();
    while stage.ended(conn).is_none() {
        let before = stage.seat_of(conn).stream.len();
        stage.let_through(conn, 100);
        assert!(stage.seat_of(conn).stream.len() > before || stage.ended(conn).is_some(), "it comes to an end");
    }
    assert_eq!(stage.ended(conn), Some(EndReason::Served));
    let client = stage.client(conn);
    assert!(client.is_ended);
    assert_eq!(client.phase, Phase::Served(vec![b'x'; 5_000]));
    assert_eq!(client.response.as_ref().unwrap().one("content-type"), Ok("text/html"));
}
