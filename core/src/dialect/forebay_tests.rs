use super::*;
use crate::output::{LossReason, Published};
use std::string::ToString;
use std::vec::Vec;

fn decode(text: &str) -> Result<Request<'_>, Fault<'_>> {
    Forebay.decode(true, text.as_bytes())
}

fn publish<'a>(topic: &'a str, key: &'a str, payload: ActionPayload<'a>) -> Action<'a> {
    Action::Publish { topic: topic.into(), key: key.into(), id: "".into(), payload }
}

fn subscribe(topic: &str, options: LaneOptions, from: Start) -> Action<'_> {
    Action::Subscribe(topic.into(), options, from)
}

#[test]
fn requests_are_read_in_any_order_and_unknown_members_are_ignored() {
    let request = decode(r#" {"extra":[{}],"topic":"a\u0062","id":"x","op":"subscribe"}"#).unwrap();
    assert_eq!(request, Request { id: Some("\"x\""), action: subscribe("ab", LaneOptions::default(), Start::Latest) });
    let request = decode(r#"{"op":"publish","topic":"t","data": { "a" : 1.50 } ,"id":1e2}"#).unwrap();
    let payload = ActionPayload::Text(r#"{ "a" : 1.50 }"#);
    assert_eq!(request, Request { id: Some("1e2"), action: publish("t", "", payload) });
    let request = decode(r#"{"op":"publish","topic":"t","data":null}"#).unwrap();
    assert_eq!(request.action, publish("t", "", ActionPayload::Text("null")));
    let request = decode(r#"{"op":"publish","topic":"t","data64":"AAH\/"}"#).unwrap();
    assert_eq!(request.action, publish("t", "", ActionPayload::Binary(std::vec![0, 1, 255])));
    let request = decode(r#"{"op":"publish","topic":"t","data":0,"key":"a\u0022"}"#).unwrap();
    assert_eq!(request.action, publish("t", "a\"", ActionPayload::Text("0")));
    let request = decode(
        r#"{"op":"subscribe","topic":"t","policy":"latest-only","messages_max":10,"bytes_max":9,"age_max_ms":7,
            "delivery":"at-least-once","credit":0}"#,
    );
    let options = LaneOptions {
        policy: Some(Policy::LatestOnly),
        messages_max: Some(10),
        bytes_max: Some(9),
        age_max: Some(Duration::from_millis(7)),
        at_least_once: Some(true),
        credit: Some(0),
    };
    assert_eq!(request.unwrap().action, subscribe("t", options, Start::Latest));
    let request = decode(r#"{"op":"subscribe","topic":"t","messages_max":4294967297}"#).unwrap();
    let options = LaneOptions { messages_max: Some(u32::MAX), ..LaneOptions::default() };
    assert_eq!(request.action, subscribe("t", options, Start::Latest), "too many is too many, not one");
    assert_eq!(decode(r#"{"op":"ping"}"#).unwrap(), Request { id: None, action: Action::Ping });
    assert_eq!(decode(r#"{"op":"unsubscribe","topic":"t"}"#).unwrap().action, Action::Unsubscribe("t".into()));
}

#[test]
fn what_cannot_be_read_is_told_with_a_code_and_the_id_where_there_is_one() {
    for (text, code, id) in [
        ("", Code::BadMessage, None),
        ("[1]", Code::BadMessage, None),
        ("[null,null,null,null,null]", Code::BadMessage, None),
        ("{", Code::BadMessage, None),
        (r#"{"op":"ping"} x"#, Code::BadMessage, None),
        (r#"{"op":"ping","op":"ping"}"#, Code::BadMessage, None),
        (r#"{"id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":1,"id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"subscribe","id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"subscribe","topic":7,"id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"publish","topic":"t","id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"publish","topic":"t","data":1,"data64":"","id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"publish","topic":"t","data64":"AA","id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"publish","topic":"t","data":1,"key":7,"id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"subscribe","topic":"t","policy":"lru","id":1}"#, Code::PolicyNotAllowed, Some("1")),
        (r#"{"op":"subscribe","topic":"t","policy":null,"id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"subscribe","topic":"t","messages_max":1.5,"id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"subscribe","topic":"t","messages_max":-1,"id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"subscribe","topic":"t","bytes_max":"9","id":1}"#, Code::BadMessage, Some("1")),
        (r#"{"op":"ping","id":{}}"#, Code::BadMessage, None),
        (r#"{"op":"ping","id":null}"#, Code::BadMessage, None),
        (r#"{"op":"dance","id":"é"}"#, Code::UnknownOp, Some("\"é\"")),
        (r#"{"op":"ack","id":2}"#, Code::BadMessage, Some("2")),
        (r#"{"op":"credit"}"#, Code::BadMessage, None),
        (r#"{"op":"resume"}"#, Code::BadMessage, None),
    ] {
        let fault = decode(text).expect_err(text);
        assert_eq!((fault.code, fault.id), (code, id), "{text}");
    }
    assert_eq!(Forebay.decode(false, b"{}").unwrap_err().code, Code::BadMessage);
}

#[test]
fn an_id_has_64_bytes_as_written_and_not_65() {
    let request = |len: usize| std::format!(r#"{{"op":"ping","id":{}}}"#, "1".repeat(len));
    assert!(decode(&request(64)).is_ok());
    assert_eq!(decode(&request(65)).unwrap_err().code, Code::BadMessage);
}

fn body(frame: &[u8]) -> &str {
    let (header, len) = frame::parse_header(frame).unwrap().unwrap();
    assert_eq!(header.len, (frame.len() - len) as u64);
    core::str::from_utf8(&frame[len..]).unwrap()
}

#[test]
fn a_message_has_the_length_that_was_announced_and_its_data_unchanged() {
    let prefix = Forebay.prefix("a\"b");
    for seq in [1, 9, 10, 99, 100, (1 << 53) - 1] {
        for len in [0, 1, 2, 3, 60, 125, 126, 70_000] {
            let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let json = std::format!("[ \"{}\" ]", "x".repeat(len));
            let payloads = [Payload::Text(&json), Payload::Binary(&bytes)];
            for (payload, key) in payloads.into_iter().flat_map(|payload| [(payload, ""), (payload, "é\"\\/\u{7f}")]) {
                let message = Message::new(payload).with_key(key);
                let mut out = BytesMut::new();
                Forebay.put_message(&mut out, &prefix, seq, message);
                assert_eq!(out.len(), Forebay.message_bytes(&prefix, seq, message));
                let body = body(&out);
                assert!(body.starts_with(r#"{"op":"message","topic":"a\"b","seq":"#));
                let value: serde_json::Value = serde_json::from_str(body).unwrap();
                assert_eq!(value["seq"], seq);
                assert_eq!(value.get("key").map(|key| key.as_str().unwrap()), (!key.is_empty()).then_some(key));
                match payload {
                    Payload::Text(json) => assert!(body.ends_with(&std::format!(",\"data\":{json}}}"))),
                    Payload::Binary(_) => {
                        assert_eq!(STANDARD.decode(value["data64"].as_str().unwrap()).unwrap(), bytes);
                    }
                }
            }
        }
    }
}

fn token() -> SessionToken {
    let session = crate::SessionId { index: 3, generation: 5 };
    SessionToken { session, secret: core::array::from_fn(|place| u8::try_from(place).unwrap()) }
}

#[test]
fn where_to_start_what_is_acknowledged_and_where_a_client_stands_are_read() {
    let start = |from: &str| {
        let request = format!(r#"{{"op":"subscribe","topic":"t","from":{from}}}"#);
        match decode(&request).map(|request| request.action) {
            Ok(Action::Subscribe(_, _, from)) => Some(from),
            _ => None,
        }
    };
    assert_eq!(start(r#""latest""#), Some(Start::Latest));
    assert_eq!(start(r#""snapshot""#), Some(Start::Snapshot));
    assert_eq!(start(r#""start""#), Some(Start::History(u32::MAX)));
    assert_eq!(start(r#"{"history":4294967295}"#), Some(Start::History(u32::MAX)));
    let after = Start::After(Position { epoch: 255, seq: 9 });
    assert_eq!(start(r#"{"seq":9,"epoch":"00000000000000ff"}"#), Some(after));
    for from in [
        r#""end""#,
        "null",
        "1",
        r#"{"history":4294967296}"#,
        r#"{"history":1,"seq":2}"#,
        r#"{"seq":2}"#,
        "{}",
        r#"{"epoch":"ff","seq":9}"#,
        r#"{"epoch":"00000000000000fg","seq":9}"#,
        r#"{"epoch":"00000000000000ff"}"#,
    ] {
        assert_eq!(start(from), None, "{from}");
    }

    let acked = |members: &str| {
        let request = format!(r#"{{"op":"ack","topic":"t",{members}}}"#);
        match decode(&request).map(|request| request.action) {
            Ok(Action::Acknowledge(_, acked)) => Some(acked),
            _ => None,
        }
    };
    assert_eq!(acked(r#""seq":7"#), Some(Acked::Through(7)));
    assert_eq!(acked(r#""seqs":[7,3]"#), Some(Acked::Each(std::vec![7, 3])));
    let many = |count: usize| format!(r#""seqs":[{}]"#, std::vec!["1"; count].join(","));
    assert_eq!(acked(&many(128)), Some(Acked::Each(std::vec![1; 128])));
    for members in [&many(129), r#""seqs":[]"#, r#""seq":1,"seqs":[1]"#, r#""seq":-1"#, r#""seq":"1""#, r#""x":1"#] {
        assert_eq!(acked(members), None, "{members}");
    }

    let text = token().to_string();
    let request = format!(
        r#"{{"op":"resume","session":"{text}","lanes":[{{"topic":"a","epoch":"0000000000000001","seq":4,"credit":9}},{{"topic":"b"}}]}}"#
    );
    let position = Some(Position { epoch: 1, seq: 4 });
    let lanes = std::vec![
        ActionLane { topic: "a".into(), position, credit: Some(9) },
        ActionLane { topic: "b".into(), position: None, credit: None },
    ];
    assert_eq!(decode(&request).unwrap().action, Action::Resume(Some(token()), lanes));
    let other = r#"{"op":"resume","session":"of another kind"}"#;
    assert_eq!(decode(other).unwrap().action, Action::Resume(None, Vec::new()));
    for request in [
        r#"{"op":"resume"}"#,
        r#"{"op":"resume","session":"x","lanes":[{"topic":"a","seq":4}]}"#,
        r#"{"op":"resume","session":"x","lanes":{}}"#,
        r#"{"op":"credit","topic":"t"}"#,
        r#"{"op":"credit","topic":"t","credit":4294967296}"#,
        r#"{"op":"keep","ttl_ms":"1"}"#,
        r#"{"op":"subscribe","topic":"t","delivery":"exactly-once"}"#,
    ] {
        assert_eq!(decode(request).unwrap_err().code, Code::BadMessage, "{request}");
    }
    assert_eq!(decode(r#"{"op":"keep"}"#).unwrap().action, Action::Keep(None));
    let kept = Action::Keep(Some(Duration::from_millis(9)));
    assert_eq!(decode(r#"{"op":"keep","ttl_ms":9}"#).unwrap().action, kept);
    let granted = Action::Grant("t".into(), u32::MAX);
    assert_eq!(decode(r#"{"op":"credit","topic":"t","credit":4294967295}"#).unwrap().action, granted);
}

#[test]
fn a_token_is_read_as_it_is_written_and_nothing_else_is() {
    let text = token().to_string();
    assert_eq!(SessionToken::parse(&text), Some(token()));
    let (shorter, upper, longer) = (&text[1..], text.to_uppercase(), format!("0{text}"));
    for other in [shorter, &upper, &longer, "", &text.replace('f', "+")] {
        assert_eq!(SessionToken::parse(other), None, "{other}");
    }
    for place in 0..16 {
        let mut other = token();
        other.secret[place] ^= 0x80;
        assert!(other != token(), "each byte counts");
    }
    let other = SessionToken { session: crate::SessionId { index: 3, generation: 6 }, ..token() };
    assert!(other != token());
    assert_eq!(format!("{:?}", token()), "SessionToken(session3.5, secret)");
}

#[test]
fn replies_and_notices_are_what_the_specification_shows() {
    let text = |reply: Reply<'_>, id: Option<&str>| {
        let mut out = BytesMut::new();
        Forebay.put_reply(&mut out, &reply, id);
        body(&out).to_string()
    };
    let position = Position { epoch: 255, seq: 7 };
    let (policy, delivery) = (Policy::DropOldest, Delivery::BestEffort);
    let lane = SubscribedLane { topic: "t", position, policy, delivery };
    let members = r#""topic":"t","epoch":"00000000000000ff","seq":7,"policy":"drop-oldest","delivery":"best-effort""#;
    assert_eq!(text(Reply::Subscribed(lane), Some("1")), format!(r#"{{"op":"ok","id":1,{members}}}"#));
    let acked = SubscribedLane { policy: Policy::Block, delivery: Delivery::at_least_once(), ..lane };
    let acked_members = r#""topic":"t","epoch":"00000000000000ff","seq":7,"policy":"block","delivery":"at-least-once","in_flight_max":32"#;
    assert_eq!(text(Reply::Subscribed(acked), Some("1")), format!(r#"{{"op":"ok","id":1,{acked_members}}}"#));
    let session = token();
    let hex = "0000000500000003000102030405060708090a0b0c0d0e0f";
    let kept = Reply::Kept { session, ttl: Duration::from_secs(2) };
    assert_eq!(text(kept, Some("1")), format!(r#"{{"op":"ok","id":1,"session":"{hex}","ttl_ms":2000}}"#));
    let resumed = Reply::Resumed { session, ttl: Duration::from_secs(2), lanes: &[lane, acked] };
    let lanes = format!("[{{{members}}},{{{acked_members}}}]");
    let told = format!(r#"{{"op":"ok","id":1,"session":"{hex}","ttl_ms":2000,"lanes":{lanes}}}"#);
    assert_eq!(text(resumed, Some("1")), told);
    let limited = Reply::Limited { retry_after: Duration::from_nanos(1_000_001) };
    let told = r#"{"op":"error","code":"limited","message":"faster than the rate allows","retry_after_ms":2}"#;
    assert_eq!(text(limited, None), told);
    assert_eq!(text(Reply::Done { topic: "t" }, Some("\"q\"")), r#"{"op":"ok","id":"q","topic":"t"}"#);
    let published = Published { position: Position { epoch: 1, seq: 3 }, matched: 2, is_duplicate: false };
    assert_eq!(text(Reply::Published(published), Some("1")), r#"{"op":"ok","id":1,"seq":3,"matched":2}"#);
    let again = Published { matched: 0, is_duplicate: true, ..published };
    let told = r#"{"op":"ok","id":1,"seq":3,"matched":0,"duplicate":true}"#;
    assert_eq!(text(Reply::Published(again), Some("1")), told);
    assert_eq!(text(Reply::Pong, None), r#"{"op":"pong"}"#);
    assert_eq!(
        text(Reply::Ended { topic: "t", code: "removed" }, None),
        r#"{"op":"ended","topic":"t","code":"removed"}"#
    );
    assert_eq!(text(Reply::Error(Code::Full, "no"), None), r#"{"op":"error","code":"full","message":"no"}"#);
    let options = crate::Options::default();
    assert_eq!(
        text(Reply::Hello { session: token(), options: &options }, None),
        "{\"op\":\"hello\",\"version\":1,\"session\":\"0000000500000003000102030405060708090a0b0c0d0e0f\",\"limits\":{\
         \"message_bytes_max\":1048576,\"inbound_bytes_max\":1048576,\"topic_name_bytes_max\":256,\"lanes_max\":256,\
         \"ping_interval_ms\":25000,\"session_ttl_ms\":60000}}"
    );
    let mut out = BytesMut::new();
    let reasons = LossReason::Oldest.bit() | LossReason::Overload.bit();
    Forebay.put_gap(&mut out, "t", &Gap { from: 2, to: 9, missed: 5, reasons });
    let gap = r#"{"op":"gap","topic":"t","from":2,"to":9,"missed":5,"reasons":["oldest","overload"]}"#;
    assert_eq!(body(&out), gap);
}
