//! `DropNewest` leaves gaps, and at most eight runs between them.

use forebay_core::{LaneOptions, Policy};
use forebay_testkit::mini::frame;

use crate::house::{Consumer, House, Kind, ten};

fn house(messages_max: u32) -> House {
    House::new(|options| {
        options.policy = Policy::DropNewest;
        options.lane.messages_max = messages_max;
    })
}

/// One message is sent, or taken.
fn one_goes(house: &mut House, consumer: Consumer, seq: u64) {
    match consumer.conn {
        Some(conn) => {
            let json = ten(seq);
            let text = format!(r#"{{"op":"message","topic":"t","seq":{seq},"key":"k","data":{json}}}"#);
            let payload = if consumer.kind == Kind::Raw { json.len() } else { text.len() };
            house.stage.let_through(conn, frame::wire_len(payload));
        }
        None => assert!(house.stage.hub.take(consumer.lane, house.stage.now).is_some()),
    }
}

fn waiting(house: &House, consumer: Consumer) -> u64 {
    house.stage.hub.lane(consumer.lane).expect("a lane").totals.waiting.messages
}

#[test]
fn with_eight_runs_it_goes_on_rejecting_until_one_is_drained() {
    for kind in [Kind::Client, Kind::Raw, Kind::Local] {
        let mut house = house(10);
        let consumer = house.frozen(kind, LaneOptions::default());
        house.put_all("abcdefghij"); // 1 to 10: the first run
        let (mut seq, mut expected) = (10, Vec::new());
        for run in 2..=8 {
            house.put_all("x"); // full: rejected
            one_goes(&mut house, consumer, run - 1);
            house.put_all("y"); // fits: a new run
            seq += 2;
            expected.push(seq);
            assert_eq!((waiting(&house, consumer), house.lost(consumer.lane)), (10, format!("newest {}", run - 1)));
        }
        // Eight runs: 8 to 10, 12, 14, 16, 18, 20, 22, 24.
        assert_eq!(expected, [12, 14, 16, 18, 20, 22, 24]);
        one_goes(&mut house, consumer, 8);
        house.put_all("z");
        expected.push(25);
        assert_eq!(house.lost(consumer.lane), "newest 7", "25 follows 24: the eighth run grows");
        house.put_all("x"); // 26: full
        one_goes(&mut house, consumer, 9);
        house.put_all("xx"); // 27, 28: they fit, but would be a ninth run
        assert_eq!((waiting(&house, consumer), house.lost(consumer.lane)), (9, "newest 10".into()), "{kind:?}");
        one_goes(&mut house, consumer, 10);
        house.put_all("y"); // 29: the first run is drained
        expected.push(29);
        assert_eq!((waiting(&house, consumer), house.lost(consumer.lane)), (9, "newest 10".into()), "{kind:?}");
        if let Some(conn) = consumer.conn {
            house.stage.thaw(conn);
        }
        let told = house.told(consumer);
        let received: Vec<u64> = told.iter().filter_map(|told| told.parse().ok()).filter(|seq| *seq > 10).collect();
        assert_eq!(received, expected, "{kind:?}: {told:?}");
        let missed: u64 = told
            .iter()
            .filter(|told| told.starts_with("gap"))
            .map(|gap| gap.split(' ').nth(2).expect("how many").parse::<u64>().expect("a number"))
            .sum();
        assert_eq!(missed, if kind == Kind::Raw { 0 } else { 10 }, "{told:?}");
        let totals = house.totals(consumer.lane);
        assert_eq!((totals.entered.messages, totals.sent.messages, totals.lost_total().messages), (29, 19, 10));
    }
}

#[test]
fn losses_are_merged_into_one_notice_before_the_message_behind_the_first() {
    for kind in [Kind::Client, Kind::Local] {
        let mut house = house(2);
        let consumer = house.frozen(kind, LaneOptions::default());
        house.put_all("abcd"); // 3 and 4 are rejected
        one_goes(&mut house, consumer, 1);
        house.put_all("ef"); // 5 fits, 6 is rejected
        if let Some(conn) = consumer.conn {
            house.stage.thaw(conn);
        }
        let told = house.told(consumer);
        let rest = &told[usize::from(kind == Kind::Client)..];
        assert_eq!(rest, ["2", "gap 3-6 3 newest", "5"], "{kind:?}");
    }
}

#[test]
fn what_is_told_is_not_told_again() {
    let mut house = house(2);
    let consumer = house.frozen(Kind::Client, LaneOptions::default());
    let conn = consumer.conn.expect("a client");
    house.put_all("abcd");
    house.stage.thaw(conn);
    assert_eq!(house.told(consumer), ["1", "2", "gap 3-4 2 newest"]);
    house.put_all("ef");
    assert_eq!(house.told(consumer), ["5", "6"]);
    house.stage.freeze(conn);
    house.put_all("ghi");
    house.stage.thaw(conn);
    assert_eq!(house.told(consumer), ["7", "8", "gap 9-9 1 newest"]);
    assert_eq!(house.stage.hub.stats().gaps_sent, 2);
}

#[test]
fn a_smaller_message_fits_where_a_larger_did_not() {
    for kind in [Kind::Client, Kind::Raw, Kind::Local] {
        let mut house = House::new(|options| {
            options.policy = Policy::DropNewest;
            options.message_bytes_max = 30;
            options.lane.bytes_max = 30;
        });
        let consumer = house.frozen(kind, LaneOptions::default());
        for (len, waits, lost) in [(18, 18, "-"), (13, 18, "newest 1"), (12, 30, "newest 1"), (10, 30, "newest 2")] {
            assert_eq!(house.put_sized("", len).map(|published| published.matched), Ok(1));
            house.stage.pump();
            let bytes = house.stage.hub.lane(consumer.lane).expect("a lane").totals.waiting.bytes;
            assert_eq!((bytes, house.lost(consumer.lane).as_str()), (waits, lost), "{len} bytes to {kind:?}");
        }
        if let Some(conn) = consumer.conn {
            house.stage.thaw(conn);
        }
        let mut expected = vec!["1", "gap 2-4 2 newest", "3"];
        expected.retain(|told| kind != Kind::Raw || !told.starts_with("gap"));
        assert_eq!(house.told(consumer), expected, "{kind:?}");
    }
}

#[test]
fn a_lane_with_gaps_may_end_at_any_time() {
    let mut house = house(3);
    let consumer = house.frozen(Kind::Client, LaneOptions::default());
    let conn = consumer.conn.expect("a client");
    house.put_all("abcd");
    one_goes(&mut house, consumer, 1);
    house.put_all("ef");
    assert!(house.stage.hub.unsubscribe(conn, house.topic, house.stage.now));
    house.stage.hub.check_invariants();
    let totals = house.stage.hub.topic_pressure(house.topic).expect("a topic").totals;
    assert_eq!(crate::house::lost_in(&totals), "newest 2, unsubscribed 3");
}
