//! What comes from a connection.

use forebay_core::{ConnId, Excess, Level, Options, Policy};
use forebay_testkit::mini::frame;
use forebay_testkit::stage::{Stage, briefs, is_open, json_of_len};

use crate::{MS, NOTHING, NS, rate, retry_afters};

/// The bytes of a masked frame.
fn masked(fin: bool, opcode: u8, len: usize) -> Vec<u8> {
    frame::encode(fin, opcode, &vec![b'x'; len], Some([1, 2, 3, 4]))
}

fn three_then_ten_a_second(options: &mut Options) {
    options.inbound_rate = Some(rate(10, 3));
}

#[test]
fn messages_wait_for_their_units() {
    let mut stage = Stage::new(three_then_ten_a_second);
    let conn = stage.join();
    for _ in 0..6 {
        stage.client(conn).ask_ping();
    }
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["pong"; 3]);
    assert!(stage.seat_of(conn).is_paused && stage.hub.connection(conn).expect("there").is_paused);
    for _ in 0..3 {
        stage.advance(MS * 100 - NS);
        assert_eq!(briefs(&mut stage, conn), NOTHING, "not yet");
        stage.advance(NS);
        assert_eq!(briefs(&mut stage, conn), ["pong"], "exactly then");
    }
    assert!(stage.seat_of(conn).is_paused, "the bucket is empty, whoever comes next");
    stage.advance(MS * 100);
    assert!(!stage.seat_of(conn).is_paused);
    assert_eq!(stage.hub.connection(conn).expect("there").inbound.level, Level::Nominal, "no bound was reached");
    assert_eq!((stage.hub.stats().levels.inbound.critical, stage.hub.stats().refused_limited), (0, 0));
}

#[test]
fn bytes_may_be_overdrawn_and_the_next_waits_for_longer() {
    for (len, waits) in [(99, None), (100, Some(1)), (101, Some(2)), (150, Some(51))] {
        let mut stage = Stage::new(|options| options.inbound_bytes_rate = Some(rate(1_000, 100)));
        let conn = stage.join_raw();
        stage.take_events();
        stage.hub.handle_bytes(conn, &masked(true, 2, len), stage.now);
        stage.hub.handle_bytes(conn, &masked(true, 2, 0), stage.now);
        stage.pump();
        let came = |stage: &mut Stage| stage.hub.receive(conn, stage.now).map(|message| message.bytes.len());
        assert_eq!(came(&mut stage), Some(len), "there was a unit");
        if let Some(waits) = waits {
            stage.advance(MS * waits - NS);
            assert_eq!(came(&mut stage), None, "{len}");
            stage.advance(NS);
        }
        assert_eq!(came(&mut stage), Some(0), "{len}");
    }
}

#[test]
fn it_is_the_longer_of_both() {
    let mut stage = Stage::new(|options| {
        options.inbound_rate = Some(rate(10, 1));
        options.inbound_bytes_rate = Some(rate(1_000, 100));
    });
    let conn = stage.join_raw();
    for len in [150, 249, 0] {
        stage.hub.handle_bytes(conn, &masked(true, 2, len), stage.now);
    }
    let mut received = Vec::new();
    for _ in 0..4 {
        while let Some(message) = stage.hub.receive(conn, stage.now) {
            received.push(message.bytes.len());
        }
        received.push(usize::MAX);
        stage.advance(MS * 100);
    }
    // 150 of 100 bytes: a unit after 51 ms, but the next message is due after 100. Then 50 of 100 are there: 249 leave
    // 199 too few, so the next has its unit after 200 ms.
    assert_eq!(received, [150, usize::MAX, 249, usize::MAX, usize::MAX, 0, usize::MAX]);
}

#[test]
fn a_message_costs_when_it_is_whole_and_control_frames_nothing() {
    let mut stage = Stage::new(|options| {
        options.inbound_rate = Some(rate(1, 1));
        options.inbound_bytes_rate = Some(rate(100, 10));
    });
    let conn = stage.join_raw();
    let now = stage.now;
    stage.hub.handle_bytes(conn, &masked(false, 2, 500), now);
    for _ in 0..20 {
        stage.hub.handle_bytes(conn, &masked(true, 9, 100), now);
    }
    stage.hub.handle_bytes(conn, &masked(false, 0, 500), now);
    assert!(stage.hub.wants_read(conn), "nothing is whole");
    stage.hub.handle_bytes(conn, &masked(true, 0, 10), now);
    assert!(!stage.hub.wants_read(conn));
    stage.pump();
    assert_eq!(stage.hub.receive(conn, now).map(|message| message.bytes.len()), Some(1_010));
    stage.advance(MS * 10_010 - NS);
    assert!(!stage.hub.wants_read(conn));
    stage.advance(NS);
    assert!(stage.hub.wants_read(conn), "1,010 bytes and one unit, less the 10 that were there");
}

#[test]
fn who_is_not_read_is_not_blamed() {
    let mut stage = Stage::new(|options| options.inbound_bytes_rate = Some(rate(10, 10)));
    let conn = stage.join_raw();
    let before = stage.seat_of(conn).stream.len();
    stage.hub.handle_bytes(conn, &masked(true, 2, 5_000), stage.now);
    stage.hub.handle_bytes(conn, &masked(false, 2, 1), stage.now);
    stage.advance(MS * 490_000);
    assert!(is_open(&mut stage, conn) && stage.hub.connection(conn).expect("there").is_paused);
    assert_eq!(stage.seat_of(conn).stream.len(), before, "nor pinged");
    stage.advance(MS * 9_101); // 5,000 less 10, and one
    assert!(stage.hub.wants_read(conn));
    stage.advance(MS * 26_000);
    assert!(stage.seat_of(conn).stream.len() > before, "now it is");
}

#[test]
fn requests_are_refused_where_that_is_configured_and_some_always_pass() {
    let mut stage = Stage::new(|options| {
        three_then_ten_a_second(options);
        options.inbound_excess = Excess::Refuse;
    });
    let conn = stage.join();
    stage.client(conn).subscribe("a");
    stage.client(conn).publish("b", "1", 0);
    stage.client(conn).ask_ping();
    stage.client(conn).publish("b", "2", 0);
    let nonsense = stage.client(conn).reader().nonsense("\"op\":\"dance\"");
    stage.client(conn).text(&nonsense);
    stage.client(conn).subscribe("c");
    stage.client(conn).ask_ping();
    stage.client(conn).ack("a", 1);
    stage.client(conn).unsubscribe("a");
    stage.pump();
    let told = briefs(&mut stage, conn);
    let limited = "error limited";
    let first =
        ["subscribed a 0", "published 1 0", "pong", limited, "error unknown-op", limited, "pong", "unsubscribed a"];
    assert_eq!(told, first);
    assert_eq!(retry_afters(&mut stage, conn), [100; 2]);
    assert_eq!(stage.hub.stats().refused_limited, 2);
    assert!(stage.hub.wants_read(conn), "it is not made to wait");
    stage.advance(MS * 100 - NS);
    stage.client(conn).publish("b", "2", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), [limited]);
    assert_eq!(retry_afters(&mut stage, conn)[2..], [1], "rounded up");
    stage.advance(NS);
    stage.client(conn).publish("b", "2", 0);
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["published 1 0"], "what was refused, and what passed, cost nothing");
}

#[test]
fn what_always_passes_costs_where_there_is_a_unit() {
    let mut stage = Stage::new(|options| {
        three_then_ten_a_second(options);
        options.inbound_excess = Excess::Refuse;
    });
    let conn = stage.join();
    for _ in 0..3 {
        stage.client(conn).ask_ping();
    }
    stage.client(conn).subscribe("c");
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["pong", "pong", "pong", "error limited"]);
}

#[test]
fn raw_connections_wait_in_any_case() {
    let mut stage = Stage::new(|options| {
        options.inbound_rate = Some(rate(10, 1));
        options.inbound_excess = Excess::Refuse;
    });
    let conn = stage.join_raw();
    for len in [1, 2] {
        stage.hub.handle_bytes(conn, &masked(true, 2, len), stage.now);
    }
    let came = |stage: &mut Stage| stage.hub.receive(conn, stage.now).map(|message| message.bytes.len());
    assert_eq!((came(&mut stage), came(&mut stage)), (Some(1), None));
    stage.advance(MS * 100);
    assert_eq!((came(&mut stage), stage.hub.stats().refused_limited), (Some(2), 0));
}

#[test]
fn requests_behind_a_parked_publish_were_counted_when_they_came() {
    let mut stage = Stage::new(|options| {
        options.inbound_rate = Some(rate(1, 2));
        options.inbound_excess = Excess::Refuse;
    });
    let topic = stage.topic("t", |options| {
        options.policy = Policy::Block;
        options.lane.messages_max = 1;
    });
    let (full, conn) = (stage.join(), stage.join());
    stage.subscribe(full, "t");
    stage.freeze(full);
    stage.publish(topic, "1").expect("room");
    stage.client(conn).publish("t", "2", 0);
    stage.client(conn).subscribe("x");
    stage.client(conn).subscribe("y");
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["error limited"], "at once: it did not get to wait");
    stage.thaw(full);
    let told = briefs(&mut stage, conn);
    assert!(told.len() == 2 && told[0] == "published 2 1" && told[1].starts_with("subscribed x"), "{told:?}");
}

#[test]
fn what_waits_is_carried_out_in_order_however_it_came() {
    for read in [1, 7, 64, usize::MAX] {
        let mut stage = Stage::new(|options| options.inbound_rate = Some(rate(100, 2)));
        stage.topic("t", |_| {});
        let conn = stage.join();
        stage.seat_of(conn).read = read;
        for n in 1..=20 {
            stage.client(conn).publish("t", &json_of_len(2 + n), 0);
        }
        stage.advance(MS * 180 - NS);
        assert_eq!(briefs(&mut stage, conn).len(), 19, "reads of {read}");
        stage.advance(NS);
        assert_eq!(briefs(&mut stage, conn), ["published 20 0"]);
    }
}

#[test]
fn what_waited_for_a_unit_comes_behind_all_else_that_is_due_then() {
    let mut stage = Stage::new(|options| options.inbound_rate = Some(rate(100, 1)));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for name in names {
        stage.topic(name, |options| options.flush_interval = Some(MS * 10));
    }
    let reader = stage.join();
    for name in names {
        stage.subscribe(reader, name);
        stage.advance(MS * 10);
    }
    let publishers: Vec<ConnId> = names.iter().map(|_| stage.join()).collect();
    stage.advance(MS * 10);
    // Flushes and units are due at the same moments, in whatever order their timers were armed.
    for publisher in publishers.iter().copied().rev() {
        for name in names {
            stage.client(publisher).publish(name, "1", 0);
        }
    }
    stage.pump();
    briefs(&mut stage, reader);
    for (round, name) in (0_u64..).zip(names) {
        let told: Vec<String> = publishers.iter().map(|conn| briefs(&mut stage, *conn).concat()).collect();
        let expected: Vec<String> = (1..=publishers.len()).map(|n| format!("published {n} 1")).collect();
        if round > 0 {
            assert_eq!(told, expected, "{name}: those with a lower id first");
        }
        assert_eq!(briefs(&mut stage, reader), NOTHING, "{name} waits for its flush");
        stage.advance(MS * 10);
        let told = briefs(&mut stage, reader);
        assert!(told.len() == 8 && told.iter().all(|told| told.starts_with(&format!("message {name} "))), "{told:?}");
    }
}
