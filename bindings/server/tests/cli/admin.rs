//! What an operator asks of a running server.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{self, Process, config_file, publish, subscriber, wait_until};

/// A server with an administration listener, its URL and the listener's address.
pub(crate) fn server(binding: &str, test: &str) -> (Process, String, String) {
    let topic = "[server]\nadmin_listen = 0\n[[topics]]\nname = \"log\"\npolicy = \"block\"\n";
    let file = config_file(&format!("{test}-{binding}"), topic);
    let server = Process::start(&["serve", "--binding", binding, "--listen", "127.0.0.1:0", "--config", &file]);
    let line = server.out.find("ws://127.0.0.1:");
    let url = line[line.find("ws://").unwrap()..].to_owned();
    let line = server.out.find("Administration: http://127.0.0.1:");
    let address = line.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned();
    (server, url, address)
}

/// The head and the body of a document.
fn get(address: &str, target: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a whole head");
    (head.to_owned(), body.to_owned())
}

pub(crate) fn stats(address: &str, query: &str) -> Value {
    let (head, body) = get(address, &format!("/stats{query}"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "{head}");
    serde_json::from_str(&body).unwrap()
}

/// Checks the queue law of some totals, in messages and bytes.
fn check_law(totals: &Value) {
    for unit in ["messages", "bytes"] {
        let term = |name: &str| totals[name][unit].as_u64().unwrap();
        let lost: u64 = totals["lost"].as_object().unwrap().values().map(|lost| lost[unit].as_u64().unwrap()).sum();
        assert_eq!(term("entered"), term("sent") + term("waiting") + lost, "{totals:#}");
    }
    assert_eq!(totals["conservation_error"], 0);
}

fn everything_is_shown(binding: &str) {
    let (mut server, url, address) = server(binding, "shown");
    let mut taker = subscriber(&url, &[]);
    let stopped = subscriber(&url, &["--policy", "block", "--rate", "1"]);
    stopped.signal("STOP");
    let input: Vec<u8> = (1..=50).flat_map(|number| support::line(number, 8_000).into_iter().chain([b'\n'])).collect();
    publish(&url, &[], &input, 0);
    let mut shown = Value::Null;
    wait_until("one lane has sent everything", || {
        shown = stats(&address, "");
        shown["lanes"].as_array().unwrap().iter().any(|lane| lane["sent"]["messages"] == 50)
    });
    let lanes = shown["lanes"].as_array().unwrap();
    assert_eq!((lanes.len(), &shown["lanes_omitted"]), (2, &Value::from(0)));
    lanes.iter().for_each(check_law);
    let behind = lanes.iter().find(|lane| lane["waiting"]["messages"] != 0).expect("the stopped one is behind");
    assert_eq!((&behind["topic"], &behind["policy"]), (&Value::from("log"), &Value::from("block")));
    assert_eq!((&behind["messages_max"], &behind["bytes_max"]), (&Value::from(16_384), &Value::from(1 << 20)));
    assert!(behind["oldest_age_seconds"].as_f64().unwrap() > 0.0, "{behind:#}");
    assert!(behind["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{behind:#}");
    assert_eq!(behind["connection"]["is_blocked"], true);

    let topic = &shown["topics"][0];
    check_law(topic);
    assert_eq!((&topic["name"], &topic["is_declared"], &topic["seq"]), (&"log".into(), &true.into(), &50.into()));
    assert_eq!(topic["oldest_age_seconds"], behind["oldest_age_seconds"]);
    check_law(&shown["hub"]["lane_totals"]);
    check_law(&shown["hub"]["direct_totals"]);
    assert_eq!((&shown["hub"]["connections"], &shown["hub"]["published"]["messages"]), (&2.into(), &50.into()));

    let fewer = stats(&address, "?lanes=1");
    assert_eq!((fewer["lanes"].as_array().unwrap().len(), &fewer["lanes_omitted"]), (1, &Value::from(1)));
    let (head, page) = get(&address, "/metrics");
    assert!(
        head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{head}"
    );
    for sample in [
        "forebay_published_messages_total 50",
        "forebay_connections 2",
        "forebay_topic_entered_messages_total{topic=\"log\"} 100",
        "forebay_conservation_error{kind=\"lanes\"} 0",
        concat!("forebay_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(page.contains(&format!("\n{sample}\n")), "{sample}: {page}");
    }
    assert!(!cfg!(target_os = "linux") || page.contains("\nprocess_resident_memory_bytes "), "{page}");
    assert!(page.ends_with("\n# EOF\n"), "{page}");
    let (head, script) = get(url.trim_start_matches("ws://"), "/forebay.js");
    assert!(head.contains("\r\nContent-Type: text/javascript; charset=utf-8\r\n"), "{head}");
    assert_eq!(script, include_str!("../../web/forebay.js"));

    assert!(get(&address, "/stats?lanes=many").0.starts_with("HTTP/1.1 400 "));
    assert!(get(&address, "/nothing").0.starts_with("HTTP/1.1 404 "));
    assert!(get(&address, "/").1.contains("/metrics"));
    assert_eq!(get(&address, "/healthz").1, "ok\n");
    taker.signal("TERM");
    taker.ends(0);
    drop(stopped);
    server.signal("TERM");
    server.ends(0);
}

#[test]
fn everything_is_shown_on_threads() {
    everything_is_shown("threads");
}

#[test]
fn everything_is_shown_on_smol() {
    everything_is_shown("smol");
}

#[test]
fn an_address_in_use_is_one_line_that_names_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let lines = Process::start(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", &port]).ends(1);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let expected = format!("forebay: cannot listen on 127.0.0.1:{port}: the address is in use");
    assert!(lines[0].starts_with(&expected) && lines[0].contains("--admin-listen"), "{lines:#?}");
}
