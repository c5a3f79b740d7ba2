use super::*;
use crate::output::LossReason;
use std::string::ToString;
use std::vec::Vec;

fn decode(text: &str) -> Result<Request<'_>, Fault<'_>> {
    Forebay.decode(true, text.as_bytes())
}

fn publish<'a>(topic: &'a str, key: &'a str, payload: ActionPayload<'a>) -> Action<'a> {
    Action::Publish { topic: topic.into(), key: key.into(), payload }
}

#[test]
fn requests_are_read_in_any_order_and_unknown_members_are_ignored() {
    let request = decode(r#" {"extra":[{}],"topic":"a\u0062","id":"x","op":"subscribe"}"#).unwrap();
    assert_eq!(request, Request { id: Some("\"x\""), action: Action::Subscribe("ab".into(), LaneOptions::default()) });
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
        r#"{"op":"subscribe","topic":"t","policy":"latest-only","messages_max":10,"bytes_max":9,"age_max_ms":7}"#,
    );
    let options = LaneOptions {
        policy: Some(Policy::LatestOnly),
        messages_max: Some(10),
        bytes_max: Some(9),
        age_max: Some(Duration::from_millis(7)),
    };
    assert_eq!(request.unwrap().action, Action::Subscribe("t".into(), options));
    let request = decode(r#"{"op":"subscribe","topic":"t","messages_max":4294967297}"#).unwrap();
    let options = LaneOptions { messages_max: Some(u32::MAX), ..LaneOptions::default() };
    assert_eq!(request.action, Action::Subscribe("t".into(), options), "too many is too many, not one");
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
        (r#"{"op":"ack","id":2}"#, Code::Unsupported, Some("2")),
        (r#"{"op":"credit"}"#, Code::Unsupported, None),
        (r#"{"op":"resume"}"#, Code::Unsupported, None),
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

#[test]
fn replies_and_notices_are_what_the_specification_shows() {
    let text = |reply: Reply<'_>, id: Option<&str>| {
        let mut out = BytesMut::new();
        Forebay.put_reply(&mut out, &reply, id);
        body(&out).to_string()
    };
    let reply = Reply::Subscribed { topic: "t", epoch: 255, seq: 7, policy: Policy::DropOldest };
    let ok = r#"{"op":"ok","id":1,"topic":"t","epoch":"00000000000000ff","seq":7,"policy":"drop-oldest"}"#;
    assert_eq!(text(reply, Some("1")), ok);
    assert_eq!(text(Reply::Unsubscribed { topic: "t" }, Some("\"q\"")), r#"{"op":"ok","id":"q","topic":"t"}"#);
    assert_eq!(text(Reply::Published { seq: 3, matched: 2 }, Some("1")), r#"{"op":"ok","id":1,"seq":3,"matched":2}"#);
    assert_eq!(text(Reply::Pong, None), r#"{"op":"pong"}"#);
    assert_eq!(
        text(Reply::Ended { topic: "t", code: "removed" }, None),
        r#"{"op":"ended","topic":"t","code":"removed"}"#
    );
    assert_eq!(text(Reply::Error(Code::Full, "no"), None), r#"{"op":"error","code":"full","message":"no"}"#);
    let options = crate::Options::default();
    assert_eq!(
        text(Reply::Hello { session: [1; 16], options: &options }, None),
        "{\"op\":\"hello\",\"version\":1,\"session\":\"01010101010101010101010101010101\",\"limits\":{\
         \"message_bytes_max\":1048576,\"inbound_bytes_max\":1048576,\"topic_name_bytes_max\":256,\"lanes_max\":256,\
         \"ping_interval_ms\":25000}}"
    );
    let mut out = BytesMut::new();
    let reasons = LossReason::Oldest.bit() | LossReason::Overload.bit();
    Forebay.put_gap(&mut out, "t", &Gap { from: 2, to: 9, missed: 5, reasons });
    let gap = r#"{"op":"gap","topic":"t","from":2,"to":9,"missed":5,"reasons":["oldest","overload"]}"#;
    assert_eq!(body(&out), gap);
}
