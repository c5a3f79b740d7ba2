//! How messages are cut into units, and who gets them as such.

use std::time::Duration;

use forebay_core::{
    AtLeastOnce, DeflateOptions, Delivery, History, LaneLimits, LaneOptions, Mode, Payload, Policy, Start,
};
use forebay_testkit::mini::{Item, Wish};
use forebay_testkit::stage::json_of_len;

use crate::{OFFER, heard, inflating, plain, publish, stage, ticks, topic};

#[test]
fn messages_of_a_tick_are_one_and_nobody_notices() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |_| {});
    let (one, other) = (inflating(&mut stage), plain(&mut stage));
    let before = (stage.seat_of(one).stream.len(), stage.seat_of(other).stream.len());
    publish(&mut stage, topic, &ticks(0, 16));
    assert_eq!(stage.client(one).compressed, 1, "sixteen messages in one");
    let bytes = (stage.seat_of(one).stream.len() - before.0, stage.seat_of(other).stream.len() - before.1);
    let ratio = bytes.0 as f64 / bytes.1 as f64;
    println!("{} bytes for {}: {ratio:.3}", bytes.0, bytes.1);
    assert!(ratio <= 0.40, "{} bytes for {}", bytes.0, bytes.1);
    let expected: Vec<String> = ticks(0, 16).iter().zip(1..).map(|(tick, seq)| format!("{seq} {tick}")).collect();
    assert_eq!((heard(&mut stage, one), heard(&mut stage, other)), (expected.clone(), expected));
    let stats = stage.hub.stats().compression;
    assert_eq!((stats.compressed.messages, stats.sent.messages), (1, 1));
    assert_eq!(stats.sent_bytes, bytes.0 as u64, "what was written");
    assert_eq!(stats.compressed, stats.sent, "what was before");
    assert!(stats.compressed_to + 4 >= stats.sent_bytes, "but for the header");
}

#[test]
fn what_is_compressed_for_one_is_for_all() {
    let mut stage = stage(|_| {});
    stage.checks = false;
    let topic = topic(&mut stage, |_| {});
    let conns: Vec<_> = (0..1_000).map(|_| inflating(&mut stage)).collect();
    stage.checks = true;
    for round in 0..3 {
        publish(&mut stage, topic, &ticks(round * 16, 16));
    }
    let stats = stage.hub.stats().compression;
    assert_eq!((stats.compressed.messages, stats.sent.messages), (3, 3_000));
    let heard: Vec<_> = conns.into_iter().map(|conn| heard(&mut stage, conn)).collect();
    assert!(heard.iter().all(|heard| heard.len() == 48));
    assert!(heard.windows(2).all(|pair| pair[0] == pair[1]), "all hear the same");
}

#[test]
fn units_end_at_sixteen_kibibytes() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |_| {});
    let conn = inflating(&mut stage);
    let payloads: Vec<String> = (0..50).map(|number| json_of_len(1_000 + number % 2)).collect();
    publish(&mut stage, topic, &payloads);
    let stats = stage.hub.stats().compression;
    assert!(stats.compressed.bytes / stats.compressed.messages <= 16 << 10, "{stats:?}");
    assert!((4..=7).contains(&stats.compressed.messages), "chunks end units, too: {stats:?}");
    assert_eq!(heard(&mut stage, conn).len(), 50);
    publish(&mut stage, topic, &[json_of_len(40_000)]);
    assert_eq!(stage.hub.stats().compression.compressed.messages, stats.compressed.messages + 1, "a large one alone");
    assert_eq!(heard(&mut stage, conn).len(), 1);
}

#[test]
fn what_is_small_or_gains_nothing_is_sent_as_it_is() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |_| {});
    let conn = inflating(&mut stage);
    publish(&mut stage, topic, &[json_of_len(60)]);
    assert_eq!((stage.hub.stats().compression.compressed.messages, stage.client(conn).compressed), (0, 0), "small");
    let mut state = 1_u64;
    let noise: String = (0..300)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = usize::try_from((state >> 33) % 90).unwrap();
            let bytes: Vec<char> = ('#'..='~').filter(|letter| *letter != '\\').collect();
            bytes[place]
        })
        .collect();
    // Bytes become base64, of which a quarter goes; what the text of letters has in excess is less than headers.
    publish(&mut stage, topic, &[format!("\"{noise}\"")]);
    let stats = stage.hub.stats().compression;
    assert_eq!(stats.compressed.messages, 1);
    assert_eq!(stats.sent.messages, stage.client(conn).compressed, "{stats:?}");
    assert_eq!(heard(&mut stage, conn).len(), 2);
    publish(&mut stage, topic, &ticks(0, 2));
    assert_eq!(stage.hub.stats().compression.compressed.messages, 2, "joined they are worth it");
}

#[test]
fn raw_connections_get_each_message_by_itself() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |_| {});
    let conn = stage.join_offering(Mode::Raw, OFFER);
    stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, stage.now).expect("subscribed");
    let (text, bytes) = (json_of_len(500), vec![7; 300]);
    stage.hub.publish(topic, Payload::Text(&text), stage.now).expect("taken");
    stage.hub.publish(topic, Payload::Binary(&bytes), stage.now).expect("taken");
    stage.hub.publish(topic, Payload::Text("\"small\""), stage.now).expect("taken");
    stage.pump();
    assert_eq!(stage.client(conn).compressed, 2);
    let items: Vec<Item> = stage.client(conn).items.drain(..).collect();
    assert_eq!(items, [Item::Text(text), Item::Binary(bytes), Item::Text("\"small\"".into())]);
}

#[test]
fn a_topic_without_and_a_hub_without_compress_nothing() {
    let mut stage = stage(|_| {});
    let topic = stage.topic("t", |_| {});
    let conn = inflating(&mut stage);
    publish(&mut stage, topic, &ticks(0, 16));
    assert_eq!((stage.client(conn).compressed, heard(&mut stage, conn).len()), (0, 16));
}

#[test]
fn a_lane_that_begins_within_a_unit_gets_the_rest_of_it_as_it_is() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |options| options.history = Some(History::default()));
    let conn = inflating(&mut stage);
    publish(&mut stage, topic, &ticks(0, 10));
    assert_eq!(stage.client(conn).compressed, 1);
    let late = stage.join_offering(Mode::Dialect, OFFER);
    let wish = Wish { from: Some("{\"history\":4}"), ..Wish::default() };
    stage.client(late).subscribe_as("t", wish);
    stage.pump();
    let expected: Vec<String> = ticks(6, 4).iter().zip(7..).map(|(tick, seq)| format!("{seq} {tick}")).collect();
    let mut told = heard(&mut stage, late);
    told.remove(0);
    assert_eq!((told, stage.client(late).compressed), (expected, 0));
    publish(&mut stage, topic, &ticks(10, 5));
    assert_eq!((heard(&mut stage, late).len(), stage.client(late).compressed), (5, 1), "then whole units again");
    let whole = stage.join_offering(Mode::Dialect, OFFER);
    let wish = Wish { from: Some("\"start\""), ..Wish::default() };
    stage.client(whole).subscribe_as("t", wish);
    stage.pump();
    assert_eq!((heard(&mut stage, whole).len(), stage.client(whole).compressed), (1 + 15, 2));
    assert_eq!(stage.hub.stats().compression.compressed.messages, 2, "both were compressed before");
}

#[test]
fn a_gap_within_a_unit() {
    let mut stage = stage(|_| {});
    let lane = LaneLimits { messages_max: 6, bytes_max: 1 << 20 };
    let topic = topic(&mut stage, |options| {
        options.lane = lane;
        options.policy = Policy::DropOldest;
        options.message_bytes_max = 1_000;
    });
    let (one, other) = (inflating(&mut stage), plain(&mut stage));
    [one, other].iter().for_each(|conn| stage.freeze(*conn));
    publish(&mut stage, topic, &ticks(0, 10));
    publish(&mut stage, topic, &ticks(10, 2));
    [one, other].iter().for_each(|conn| stage.thaw(*conn));
    let told = heard(&mut stage, one);
    assert_eq!(told[0], "gap t 1-6 6 oldest");
    assert_eq!(told, heard(&mut stage, other));
    // Of the ten four are left, the two are whole.
    assert_eq!(stage.client(one).compressed, 1);
}

#[test]
fn credit_and_windows_cut_units() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |options| {
        options.policy = Policy::Block;
        options.delivery = Delivery::AtLeastOnce(AtLeastOnce { in_flight_max: 5, ..AtLeastOnce::default() });
    });
    let conn = stage.join_offering(Mode::Dialect, OFFER);
    stage.client(conn).subscribe_as("t", Wish { credit: Some(7), ..Wish::default() });
    stage.pump();
    stage.told(conn);
    publish(&mut stage, topic, &ticks(0, 10));
    assert_eq!((heard(&mut stage, conn).len(), stage.client(conn).compressed), (5, 0), "the window ends within");
    stage.client(conn).ack("t", 5);
    stage.pump();
    assert_eq!((heard(&mut stage, conn).len(), stage.client(conn).compressed), (2, 0), "the credit does");
    stage.client(conn).ack("t", 7);
    stage.client(conn).credit("t", 100);
    stage.pump();
    assert_eq!(heard(&mut stage, conn).iter().filter(|told| !told.starts_with("granted")).count(), 3);
    stage.client(conn).ack("t", 10);
    stage.pump();
    publish(&mut stage, topic, &ticks(10, 4));
    assert_eq!((heard(&mut stage, conn).len(), stage.client(conn).compressed), (4, 1), "a whole unit");
    // What is sent again is sent as it is.
    stage.client(conn).ack_each("t", &[12, 14]);
    stage.advance(Duration::from_secs(40));
    let mut again = heard(&mut stage, conn);
    again.retain(|told| !told.starts_with("gap"));
    assert!(
        again.len() >= 2 && again.iter().all(|told| told.starts_with("11 ") || told.starts_with("13 ")),
        "{again:?}"
    );
    assert_eq!(stage.client(conn).compressed, 1);
}

#[test]
fn a_small_window_is_kept_to() {
    let mut stage = stage(|options| {
        options.deflate = Some(DeflateOptions { message_bytes_min: 100, ..DeflateOptions::default() });
    });
    let topic = topic(&mut stage, |_| {});
    let small = stage.join_offering(Mode::Dialect, "permessage-deflate; server_max_window_bits=10");
    stage.subscribe(small, "t");
    let full = inflating(&mut stage);
    publish(&mut stage, topic, &ticks(0, 16));
    assert_eq!((stage.client(small).compressed, stage.client(full).compressed), (0, 1), "2 KB reach too far back");
    publish(&mut stage, topic, &ticks(16, 5));
    assert_eq!((stage.client(small).compressed, stage.client(full).compressed), (1, 2), "600 bytes do not");
    assert_eq!(heard(&mut stage, small), heard(&mut stage, full));
    assert_eq!(stage.hub.stats().compression.compressed.messages, 2);
}

#[test]
fn two_topics_go_by_the_time_of_their_publishes() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |_| {});
    let second = stage.topic("u", |options| options.deflate = true);
    let conn = inflating(&mut stage);
    stage.subscribe(conn, "u");
    for (nth, tick) in ticks(0, 12).iter().enumerate() {
        let topic = if nth < 4 || nth % 2 == 0 { topic } else { second };
        stage.hub.publish(topic, Payload::Text(tick), stage.now).expect("taken");
    }
    stage.pump();
    let told = heard(&mut stage, conn);
    let payloads: Vec<&str> = told.iter().map(|told| told.split_once(' ').unwrap().1).collect();
    assert_eq!(payloads, ticks(0, 12), "as one queue would have shown them");
}
