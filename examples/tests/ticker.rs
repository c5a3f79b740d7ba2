//! The price feeds: a client that does not read for a while is shown no old price afterwards, and no gap.

use std::collections::BTreeMap;

use forebay_examples::{Server, ask, read};

const SYMBOLS: u64 = 20;
/// What is published while the slow client does not read: megabytes, where the kernel takes some 100 KiB for it.
const PUBLISHED: u64 = 30_000;

#[test]
fn ticker_threads() {
    the_slow_see_the_latest("ticker_threads");
}

#[test]
fn ticker_smol() {
    the_slow_see_the_latest("ticker_smol");
}

/// Number, symbol and price of a message.
fn parse(text: &str) -> (u64, String, String) {
    let rest = text.strip_prefix(r#"{"op":"message","topic":"prices","seq":"#).expect("a price, and no gap");
    let (seq, rest) = rest.split_once(r#","key":""#).expect("a key");
    let (symbol, rest) = rest.split_once(r#"","data":"#).expect("a price");
    (seq.parse().expect("a number"), symbol.to_owned(), rest.strip_suffix('}').expect("the end").to_owned())
}

fn the_slow_see_the_latest(example: &str) {
    let server = Server::start(example, &["1"]);
    let (mut slow, mut fast) = (server.connect(), server.connect());
    for client in [&mut slow, &mut fast] {
        let answer = ask(client, r#"{"op":"subscribe","topic":"prices","id":1}"#);
        assert!(answer.contains(r#""policy":"latest-per-key""#), "{answer}");
    }
    let (mut published, mut head, before) = (BTreeMap::new(), 0, server.peak_bytes());
    let first = parse(&read(&mut slow)).0;
    while head < first + PUBLISHED {
        let (seq, symbol, price) = parse(&read(&mut fast));
        published.insert(seq, (symbol, price));
        head = seq;
    }
    if let (Some(before), Some(peak)) = (before, server.peak_bytes()) {
        assert!(peak - before < 4 << 20, "it grew by {} bytes", peak - before);
    }
    // Every price that was not the latest when the slow client began to read again, the kernel had taken before.
    let (mut old, mut last, mut symbols) = (0, first, BTreeMap::new());
    while symbols.len() < 20 || last <= head {
        let (seq, symbol, price) = parse(&read(&mut slow));
        assert!(seq > last, "in order");
        last = seq;
        if let Some(expected) = published.get(&seq) {
            assert_eq!(expected, &(symbol.clone(), price), "number {seq}");
        }
        if seq + SYMBOLS <= head {
            old += 1;
        } else {
            symbols.insert(symbol, seq);
        }
    }
    assert_eq!(symbols.len(), 20);
    assert!(old < PUBLISHED / 3, "{old} old prices of {PUBLISHED}");
}
