//! Forms take memory where there is some, and are the first to go.

use forebay_core::{Count, LaneLimits, LaneOptions, LossReason, Policy, Start};
use forebay_testkit::stage::{Stage, json_of_len};

use crate::{heard, inflating, plain, publish, stage, ticks, topic};

/// A consumer that inflates and one that is frozen and does not, on a log of so many bytes: what came to the first, how much of
/// it compressed, and what the second lost.
fn run(deflate: bool, log_bytes_max: usize, resident_bytes_max: usize) -> (Vec<String>, u64, Count) {
    let mut stage = stage(|options| {
        options.resident_bytes_max = resident_bytes_max;
        (options.topic_defaults.message_bytes_max, options.topic_defaults.log_bytes_max) = (1_000, 8_192);
        (options.message_bytes_max, options.inbound_bytes_max) = (2_048, 4_096);
    });
    let topic = stage.topic("t", |options| {
        options.deflate = deflate;
        options.log_bytes_max = log_bytes_max;
        options.lane = LaneLimits { messages_max: 10_000, bytes_max: 1 << 20 };
        options.message_bytes_max = 1_000;
    });
    let (quick, frozen) = (inflating(&mut stage), plain(&mut stage));
    stage.freeze(frozen);
    let mut told = Vec::new();
    for round in 0..40 {
        publish(&mut stage, topic, &ticks(round * 8, 8));
        told.extend(heard(&mut stage, quick));
        let resident = stage.hub.topic_pressure(topic).expect("a topic").resident_bytes;
        assert!(resident <= log_bytes_max, "{resident} resident bytes");
    }
    let lost = stage.hub.stats().lanes.lost_total();
    (told, stage.client(quick).compressed, lost)
}

#[test]
fn nothing_is_lost_for_a_form() {
    for (log_bytes_max, resident_bytes_max) in [
        (32 << 10, 64 << 20),
        (24 << 10, 64 << 20),
        (20 << 10, 64 << 20),
        (16 << 10, 64 << 20),
        (1 << 20, 64 << 10),
        (1 << 20, 48 << 10),
        (1 << 20, 32 << 10),
    ] {
        let (with, compressed, lost_with) = run(true, log_bytes_max, resident_bytes_max);
        let (without, none, lost_without) = run(false, log_bytes_max, resident_bytes_max);
        assert_eq!((with.len(), none), (320, 0));
        assert_eq!(with, without, "the quick one is told all");
        assert!(compressed > 5, "{compressed} came compressed");
        assert!(lost_without.messages > 0, "memory is short");
        println!(
            "{log_bytes_max} and {resident_bytes_max}: {} lost, {} without forms",
            lost_with.messages, lost_without.messages
        );
    }
}

#[test]
fn without_room_messages_are_sent_as_they_are() {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |options| {
        options.log_bytes_max = 8_192;
        options.lane = LaneLimits { messages_max: 100, bytes_max: 4_000 };
        options.message_bytes_max = 2_000;
    });
    let conn = inflating(&mut stage);
    let raw = stage.join_raw();
    stage.hub.subscribe(raw, topic, LaneOptions::default(), Start::Latest, stage.now).expect("subscribed");
    // Two logs with a chunk and an index each leave less than a form may take.
    publish(&mut stage, topic, &[json_of_len(1_900)]);
    assert_eq!((heard(&mut stage, conn).len(), stage.client(conn).compressed), (1, 0));
    assert_eq!(stage.hub.stats().compression.compressed.messages, 0, "nobody tries");
    stage.hang_up(raw);
    publish(&mut stage, topic, &[json_of_len(1_900)]);
    assert_eq!((heard(&mut stage, conn).len(), stage.client(conn).compressed), (1, 1), "with room they are not");
}

/// A client with two units in a Transmit that is not answered while so many ticks follow.
fn overrun(later: u64) -> (Stage, forebay_core::ConnId, forebay_core::TopicId, Vec<u8>) {
    let mut stage = stage(|_| {});
    let topic = topic(&mut stage, |options| {
        options.policy = Policy::DropOldest;
        options.lane = LaneLimits { messages_max: 20, bytes_max: 1 << 20 };
        options.message_bytes_max = 1_000;
    });
    let conn = inflating(&mut stage);
    stage.freeze(conn);
    publish(&mut stage, topic, &ticks(0, 10));
    publish(&mut stage, topic, &ticks(10, 10));
    let held = stage.hold(conn);
    for round in 0..later / 10 {
        publish(&mut stage, topic, &ticks(20 + round * 10, 10));
    }
    (stage, conn, topic, held)
}

#[test]
fn what_is_long_outstanding_is_copied_and_pins_no_log() {
    let resident = |later| {
        let (stage, _, topic, _) = overrun(later);
        stage.hub.topic_pressure(topic).expect("a topic").resident_bytes
    };
    assert_eq!(resident(2_000), resident(4_000), "the chunk it writes to");

    let (mut stage, conn, _, held) = overrun(100);
    stage.answer_by(conn, &held, held.len());
    let told = heard(&mut stage, conn);
    assert_eq!((told.len(), stage.client(conn).compressed), (20, 2));
    assert_eq!(stage.hub.stats().compression.sent.messages, 2);
    stage.thaw(conn);
    assert_eq!(heard(&mut stage, conn)[0], "gap t 21-100 80 oldest");

    for taken in [1, held.len() / 3, held.len() - 1] {
        let (mut stage, conn, _, held) = overrun(100);
        stage.answer_by(conn, &held, taken);
        stage.thaw(conn);
        let told = heard(&mut stage, conn);
        let first = if taken == held.len() - 1 { 20 } else { 10 };
        assert_eq!(told[first], format!("gap t {}-100 {} oldest", first + 1, 100 - first), "{taken}: the unit is sent");
        assert_eq!(stage.hub.stats().lanes.lost_by(LossReason::Oldest).messages, 100 - first as u64);
    }
    let (mut stage, conn, _, held) = overrun(100);
    stage.answer_by(conn, &held, 0);
    stage.thaw(conn);
    assert_eq!(heard(&mut stage, conn)[0], "gap t 1-100 100 oldest");
}
