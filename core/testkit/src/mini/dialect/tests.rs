use super::*;

const HELLO: &str = r#"{"op":"hello","version":1,"session":"0123456789abcdef0123456789abcdef0123456789abcdef","limits":{"message_bytes_max":1,"inbound_bytes_max":2,"topic_name_bytes_max":3,"lanes_max":4,"ping_interval_ms":5,"session_ttl_ms":6}}"#;

fn subscribed() -> Reader {
    let mut reader = Reader::default();
    reader.text(HELLO).unwrap();
    assert_eq!(reader.subscribe("t", true), r#"{"op":"subscribe","topic":"t","id":1}"#);
    reader.text(r#"{"op":"ok","id":1,"topic":"t","epoch":"0123456789abcdef","seq":10,"policy":"drop-oldest","delivery":"best-effort"}"#).unwrap();
    reader
}

/// One that has asked for a policy.
fn subscribed_as(policy: &str) -> Reader {
    let mut reader = Reader::default();
    reader.text(HELLO).unwrap();
    let wish = Wish {
        policy: Some(policy),
        messages_max: Some(3),
        bytes_max: Some(40),
        age_max_ms: Some(5),
        ..Wish::default()
    };
    let text = reader.subscribe_as("t", wish, true);
    let members =
        format!(r#""op":"subscribe","topic":"t","policy":"{policy}","messages_max":3,"bytes_max":40,"age_max_ms":5"#);
    assert_eq!(text, format!(r#"{{{members},"id":1}}"#));
    reader.text(&format!(r#"{{"op":"ok","id":1,"topic":"t","epoch":"0123456789abcdef","seq":10,"policy":"{policy}","delivery":"best-effort"}}"#)).unwrap();
    reader
}

fn message(seq: u64) -> String {
    format!(r#"{{"op":"message","topic":"t","seq":{seq},"data":{{"a" : 1}}}}"#)
}

#[test]
fn messages_gaps_and_the_ledger() {
    let mut reader = subscribed();
    reader.text(&message(11)).unwrap();
    reader.text(r#"{"op":"gap","topic":"t","from":12,"to":13,"missed":2,"reasons":["oldest"]}"#).unwrap();
    reader.text(r#"{"op":"message","topic":"t","seq":14,"data64":"AQI="}"#).unwrap();
    let sub = &reader.subs["t"];
    assert_eq!((sub.received, sub.missed, sub.bytes, sub.told), (2, 2, 11, 14));
    let told = reader.take_told();
    assert!(told.iter().any(|told| told.brief() == "message t 14 0102"));
    // Told ahead: 16 was lost while 15 was on its way.
    reader.text(r#"{"op":"gap","topic":"t","from":16,"to":16,"missed":1,"reasons":["oldest"]}"#).unwrap();
    reader.text(&message(15)).unwrap();
    reader.text(&message(17)).unwrap();
    assert_eq!(reader.uneven_gaps, 1);
}

#[test]
fn several_messages_of_a_topic_as_one() {
    let mut reader = subscribed();
    reader.joined(&message(11)).unwrap();
    reader.joined(&format!("[{},{}]", message(12), message(13))).unwrap();
    assert_eq!((reader.subs["t"].received, reader.subs["t"].told), (3, 13));
    let gap = r#"{"op":"gap","topic":"t","from":15,"to":15,"missed":1,"reasons":["oldest"]}"#;
    for (text, why) in [
        ("[]".into(), "array of 0"),
        (format!("[{}]", message(14)), "array of 1"),
        (format!("[{},{gap}]", message(14)), "one topic"),
        (format!("[{},{}]", message(14), message(16)), "hole"),
        (format!("[{}, {}]", message(14), message(15)), "white space"),
        (format!("[[{},{}],1]", message(14), message(15)), "not an object"),
    ] {
        let error = reader.clone().joined(&text).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
    assert!(reader.text(&format!("[{},{}]", message(14), message(15))).is_err(), "only what is compressed");
}

#[test]
fn violations_of_a_subscription() {
    for (texts, why) in [
        (vec![message(12)], "hole"),
        (vec![message(11), message(11)], "after"),
        (vec![message(10)], "after"),
        (vec![r#"{"op":"gap","topic":"t","from":10,"to":11,"missed":1,"reasons":["oldest"]}"#.into()], "over"),
        (vec![r#"{"op":"gap","topic":"t","from":11,"to":11,"missed":2,"reasons":["oldest"]}"#.into()], "range"),
        (vec![r#"{"op":"gap","topic":"t","from":11,"to":11,"missed":1,"reasons":[]}"#.into()], "reasons"),
        (
            vec![r#"{"op":"gap","topic":"t","from":11,"to":13,"missed":1,"reasons":["oldest"]}"#.into(), message(13)],
            "hole",
        ),
        (vec![r#"{"op":"message","topic":"u","seq":1,"data":1}"#.into()], "without"),
        (vec![r#"{"topic":"t","op":"message","seq":11,"data":1}"#.into()], "first"),
        (vec![r#"{"op":"message","topic":"t","seq":11,"data":1,"data64":""}"#.into()], "both"),
        (vec![HELLO.into()], "hello"),
        (vec![r#"{"op":"ended","topic":"t","code":"removed"}"#.into(), message(11)], "without"),
        (vec![r#"{"op":"pong"}"#.into()], "nobody"),
        (vec![r#"{"op":"error","code":"full","message":"x"}"#.into()], "no request"),
        (vec![r#"{"op":"error","code":"new","message":"x"}"#.into()], "code"),
    ] {
        let mut reader = subscribed();
        let error = texts.iter().map(|text| reader.text(text)).find_map(Result::err).expect(why);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn what_a_policy_may_do() {
    let gap =
        |reason: &str| format!(r#"{{"op":"gap","topic":"t","from":11,"to":11,"missed":1,"reasons":["{reason}"]}}"#);
    let overflow = r#"{"op":"ended","topic":"t","code":"overflow"}"#;
    for (policy, hole, oldest, newest, ends) in [
        ("drop-oldest", false, true, false, false),
        ("drop-newest", false, false, true, false),
        ("latest-per-key", true, true, false, false),
        ("latest-only", true, false, false, false),
        ("disconnect", false, false, false, true),
        ("block", false, false, false, false),
    ] {
        let takes = |text: &str| subscribed_as(policy).text(text).is_ok();
        assert_eq!(takes(&message(12)), hole, "{policy}");
        assert_eq!(takes(&gap("oldest")), oldest, "{policy}");
        assert_eq!(takes(&gap("newest")), newest, "{policy}");
        assert_eq!(takes(overflow), ends, "{policy}");
        let is_lossy = hole || oldest || newest;
        for reason in ["log_bound", "overload", "age"] {
            assert_eq!(takes(&gap(reason)), is_lossy, "{policy}: {reason}");
        }
        assert!(!takes(&gap("superseded")) && !takes(&gap("closed")), "{policy}");
    }
    let mut reader = Reader::default();
    reader.text(HELLO).unwrap();
    reader.subscribe_as("t", Wish { policy: Some("latest-only"), ..Wish::default() }, true);
    let other = r#"{"op":"ok","id":1,"topic":"t","epoch":"0123456789abcdef","seq":10,"policy":"drop-oldest","delivery":"best-effort"}"#;
    assert!(reader.text(other).unwrap_err().contains("asked for"));
}

#[test]
fn keys() {
    let mut reader = subscribed_as("latest-per-key");
    let json = Data::Json("1".into());
    let text = reader.publish_keyed("t", "k\"", &json, 0, false, "");
    assert_eq!(text, r#"{"op":"publish","topic":"t","key":"k\"","data":1}"#);
    reader.text(r#"{"op":"message","topic":"t","seq":13,"key":"k\"","data":1}"#).unwrap();
    let told = reader.take_told().pop();
    assert!(matches!(&told, Some(Told::Message { key, .. }) if key == "k\""), "{told:?}");
    for key in [r#""""#, r#""\u0000""#, "1"] {
        let text = format!(r#"{{"op":"message","topic":"t","seq":14,"key":{key},"data":1}}"#);
        assert!(reader.text(&text).is_err(), "{key}");
    }
}

#[test]
fn answers_come_in_order_but_for_what_overtakes_a_publish() {
    let ask = |reader: &mut Reader| {
        reader.publish("t", &Data::Json("1".into()), 7, true, ""); // "\u0069 \"2"
        reader.subscribe("u", true); // "i-3"
        reader.ping(true); // 4
        reader.unsubscribe("t"); // "\u0069 \"5"
    };
    let published = r#"{"op":"ok","id":"\u0069 \"2","seq":11,"matched":0}"#;
    let subscribed_u = r#"{"op":"ok","id":"i-3","topic":"u","epoch":"0123456789abcdef","seq":0,"policy":"block","delivery":"best-effort"}"#;
    let pong = r#"{"op":"pong","id":4}"#;
    let unsubscribed = r#"{"op":"ok","id":"\u0069 \"5","topic":"t"}"#;
    for (order, good) in [
        ([published, subscribed_u, pong, unsubscribed], true),
        ([pong, unsubscribed, published, subscribed_u], true),
        ([pong, published, subscribed_u, unsubscribed], true),
        ([subscribed_u, published, pong, unsubscribed], false),
        ([unsubscribed, pong, published, subscribed_u], false),
        ([published, pong, subscribed_u, unsubscribed], false),
    ] {
        let mut reader = subscribed();
        ask(&mut reader);
        let results: Vec<_> = order.iter().map(|text| reader.text(text)).collect();
        assert_eq!(results.iter().all(Result::is_ok), good, "{results:?}");
        assert!(!good || reader.unanswered() == 0);
    }
}

#[test]
fn requests_without_id_and_errors() {
    let mut reader = subscribed();
    let text = reader.publish("t", &Data::Bytes(vec![1, 2]), 0, false, " \n");
    assert_eq!(text, "{\"data64\": \n\"AQI=\" \n,\"topic\":\"t\",\"extra\":[{}],\"op\":\"publish\"}");
    reader.text(r#"{"op":"error","code":"full","message":"x"}"#).unwrap();
    assert!(reader.text(r#"{"op":"error","code":"full","message":"x"}"#).is_err());
    assert_eq!(reader.subscribe("t", true), r#"{"op":"subscribe","topic":"t","id":"i-3"}"#);
    reader.text(r#"{"op":"error","code":"already-subscribed","message":"x","id":"i-3"}"#).unwrap();
    assert_eq!(reader.nonsense("\"op\":\"ack\""), r#"{"op":"ack","id":4}"#);
    reader.text(r#"{"op":"error","code":"unsupported","message":"x","id":4}"#).unwrap();
    assert_eq!(reader.unanswered(), 0);
    assert_eq!(reader.ping(false), r#"{"op":"ping"}"#);
    reader.text(r#"{"op":"pong"}"#).unwrap();
}

#[test]
fn sessions_acknowledgements_and_credit() {
    const OK: &str = r#""topic":"t","epoch":"0123456789abcdef","seq":10,"policy":"block","delivery":"at-least-once","in_flight_max":3"#;
    let token = "0123456789abcdef".repeat(3);
    let mut reader = Reader::default();
    reader.text(HELLO).unwrap();
    assert_eq!(reader.keep(Some(5)), r#"{"op":"keep","ttl_ms":5,"id":1}"#);
    reader.text(&format!(r#"{{"op":"ok","id":1,"session":"{token}","ttl_ms":5}}"#)).unwrap();
    let position = Some(("0123456789abcdef", 9));
    let text = reader.resume("x", &[Place { topic: "t", position, credit: Some(1) }, Place::default()]);
    let lanes = r#"[{"topic":"t","epoch":"0123456789abcdef","seq":9,"credit":1},{"topic":""}]"#;
    assert_eq!(
        text,
        format!(r#"{{"op":"resume","session":"x","lanes":{lanes},"id":"{}"}}"#, r#"\u0069 \"2"#),
        "as forebay.md has it"
    );
    let resumed = format!(r#"{{"op":"ok","id":"{}","session":"x","ttl_ms":5,"lanes":[{{{OK}}}]}}"#, r#"\u0069 \"2"#);
    reader.text(&resumed).unwrap();
    assert_eq!(reader.session.as_deref(), Some("x"));
    // What another connection has acknowledged does not come; what was not comes again, as often as it takes.
    for (seq, good) in [(12, true), (13, true), (12, true), (11, false), (10, false)] {
        assert_eq!(reader.text(&message(seq)).is_ok(), good, "{seq}");
    }
    reader.text(r#"{"op":"gap","topic":"t","from":12,"to":12,"missed":1,"reasons":["attempts"]}"#).unwrap();
    assert_eq!(reader.credit("t", 7), r#"{"op":"credit","topic":"t","credit":7,"id":"i-3"}"#);
    reader.text(r#"{"op":"ok","id":"i-3","topic":"t"}"#).unwrap();
    let briefs: Vec<String> = reader.take_told().iter().map(Told::brief).collect();
    assert_eq!(briefs[1..3], ["kept 5", "resumed 5 t@10"]);
    assert_eq!(
        (Reader::ack("t", 4), Reader::ack_each("t", &[4, 5])),
        (r#"{"op":"ack","topic":"t","seq":4}"#.into(), r#"{"op":"ack","topic":"t","seqs":[4,5]}"#.into(),)
    );
}

#[test]
fn what_was_asked_for_and_is_not_there() {
    let gap = |from: u64, to: u64, missed: u64, reason: &str| {
        format!(r#"{{"op":"gap","topic":"t","from":{from},"to":{to},"missed":{missed},"reasons":["{reason}"]}}"#)
    };
    for (text, good) in [
        (gap(5, 10, 6, "history"), true),
        (gap(0, 10, 0, "reset"), true),
        (gap(0, 10, 3, "history"), false),
        (gap(5, 10, 0, "history"), false),
        // It is best-effort.
        (gap(11, 11, 1, "attempts"), false),
    ] {
        let mut reader = subscribed();
        assert_eq!(reader.text(&text).is_ok(), good, "{text}");
        // What was before the start is in no sum.
        assert!(!good || reader.text(&message(11)).is_ok() && !reader.subs["t"].is_uneven, "{text}");
    }
}
