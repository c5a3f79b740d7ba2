//! Where what is compressed for one connection alone meets bounds, other classes and the end of its connection.

use std::time::Duration;

use forebay_core::wire::deflate::WindowBits;
use forebay_core::{
    AtLeastOnce, Class, DeflateOptions, Delivery, LaneLimits, LaneOptions, Mode, Payload, Policy, Rate, Start,
};
use forebay_testkit::mini::Told;
use forebay_testkit::stage::json_of_len;

use crate::{OFFER, heard, inflating, publish, stage, ticks, topic};

/// Memory for so many connections in both directions.
fn contexts(connections: usize) -> DeflateOptions {
    let one = WindowBits::MAX.compressor_bytes(8) + WindowBits::MAX.bytes();
    DeflateOptions { direct: true, context_bytes_max: connections * one, ..DeflateOptions::default() }
}

#[test]
fn a_transmit_of_an_own_unit_is_no_longer_than_any_other() {
    for (len, transmit_bytes_max) in [(0, 1_024), (1, 1_024), (1, 4_096), (2, 8_192), (3, 16_384), (40, 1_024)] {
        let mut stage = stage(|options| {
            options.deflate = Some(contexts(1));
            options.transmit_bytes_max = transmit_bytes_max;
        });
        let topic = stage.topic("t", |options| {
            options.deflate = true;
            options.lane = LaneLimits { messages_max: 100_000, bytes_max: 1 << 20 };
        });
        let conn = stage.join_offering(Mode::Raw, OFFER);
        stage.hub.subscribe(conn, topic, LaneOptions::default(), Start::Latest, stage.now).expect("subscribed");
        let mut state = 1_u32;
        for _ in 0..20_000 / (len + 2) {
            let mut noise = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0] | 0x90 // Nine bits each.
            };
            let message: Vec<u8> = (0..len).map(|_| noise()).collect();
            stage.hub.publish(topic, Payload::Binary(&message), stage.now).expect("taken");
        }
        let bytes = stage.hold(conn);
        assert!(bytes.len() <= transmit_bytes_max as usize, "{len}: {} of {transmit_bytes_max}", bytes.len());
        stage.answer_by(conn, &bytes, bytes.len());
        stage.pump();
    }
}

#[test]
fn latest_messages_are_counted_by_their_payloads() {
    for is_own in [false, true] {
        let mut stage = stage(|options| {
            options.deflate = Some(if is_own { contexts(1) } else { DeflateOptions::default() });
        });
        let topic = topic(&mut stage, |options| options.policy = Policy::LatestOnly);
        let conn = inflating(&mut stage);
        for taken in [0, 7, usize::MAX] {
            stage.hub.publish(topic, Payload::Text(&json_of_len(1_000)), stage.now).expect("taken");
            let bytes = stage.hold(conn);
            stage.answer_by(conn, &bytes, taken.min(bytes.len()));
            stage.thaw(conn);
        }
        let stats = stage.hub.stats().compression;
        let again = u64::from(is_own); // Of which nothing was sent.
        assert_eq!(stats.sent.messages, 3);
        assert_eq!(stats.compressed.messages, 3 + again);
        assert_eq!(stats.sent.bytes * (3 + again), stats.compressed.bytes * 3);
    }
}

#[test]
fn a_close_amid_a_unit_follows_it() {
    let make = || {
        let mut stage = stage(|options| options.deflate = Some(contexts(1)));
        let topic = topic(&mut stage, |_| {});
        let conn = inflating(&mut stage);
        publish(&mut stage, topic, &ticks(0, 3));
        heard(&mut stage, conn);
        for tick in ticks(3, 4) {
            stage.hub.publish(topic, Payload::Text(&tick), stage.now).expect("taken");
        }
        (stage, topic, conn)
    };
    let len = {
        let (mut stage, _, conn) = make();
        stage.hold(conn).len()
    };
    for taken in 0..=len {
        for by_peer in [false, true] {
            let (mut stage, _, conn) = make();
            let bytes = stage.hold(conn);
            if by_peer {
                stage.client(conn).close(Some(1000));
                stage.freeze(conn);
                stage.pump();
            } else {
                stage.hub.close(conn, forebay_core::wire::CloseCode::GOING_AWAY, "bye", stage.now);
                stage.freeze(conn);
            }
            stage.answer_by(conn, &bytes, taken);
            stage.thaw(conn);
            let told = heard(&mut stage, conn);
            assert_eq!(told.len(), if taken == 0 { 0 } else { 4 }, "{taken} of {len} {by_peer}: {told:?}");
            assert!(stage.client(conn).close.is_some() && stage.client(conn).violation.is_none());
            let lanes = stage.hub.stats().lanes;
            assert_eq!((lanes.conservation_error(), lanes.waiting.messages), (0, 0));
            assert_eq!(lanes.sent.messages, 3 + told.len() as u64);
        }
    }
}

#[test]
fn a_session_goes_on_elsewhere_from_amid_a_unit() {
    for (policy, at_least_once) in [(Policy::DropOldest, false), (Policy::Block, true), (Policy::LatestPerKey, false)] {
        let make = || {
            let mut stage = stage(|options| options.deflate = Some(contexts(2)));
            let topic = topic(&mut stage, |options| {
                options.policy = policy;
                options.lane = LaneLimits { messages_max: 8, bytes_max: 4_096 };
                options.message_bytes_max = 1_000;
                (options.keys_max, options.keys_bytes_max) = (8, 4_096);
                if at_least_once {
                    options.delivery =
                        Delivery::AtLeastOnce(AtLeastOnce { in_flight_max: 8, ..AtLeastOnce::default() });
                }
            });
            let conn = stage.join_offering(Mode::Dialect, OFFER);
            stage.client(conn).keep(None);
            stage.client(conn).subscribe("t");
            stage.pump();
            let told = stage.told(conn);
            let [Told::Kept { session, .. }, Told::Subscribed { .. }] = &told[..] else { panic!("{told:?}") };
            let session = session.clone();
            publish(&mut stage, topic, &ticks(0, 2));
            if at_least_once {
                stage.client(conn).ack("t", 2);
                stage.pump();
            }
            heard(&mut stage, conn);
            for tick in ticks(2, 3) {
                stage.hub.publish(topic, Payload::Text(&tick), stage.now).expect("taken");
            }
            (stage, topic, conn, session)
        };
        let len = {
            let (mut stage, _, conn, _) = make();
            stage.hold(conn).len()
        };
        for taken in 0..=len {
            // The second client comes while the first is there, or not.
            for (answered, is_there) in [(true, false), (true, true), (taken > 0, taken > 0)] {
                let (mut stage, topic, conn, session) = make();
                let bytes = stage.hold(conn);
                stage.freeze(conn);
                if answered {
                    stage.answer_by(conn, &bytes, taken);
                }
                if !is_there {
                    stage.hang_up(conn);
                }
                let next = stage.join_offering(Mode::Dialect, OFFER);
                assert_eq!(stage.hub.agreed(next).map(|agreed| agreed.server.takes_over()), Some(true));
                stage.client(next).resume(&session, &[]);
                stage.pump();
                let mut told = heard(&mut stage, next);
                publish(&mut stage, topic, &ticks(5, 2));
                told.extend(heard(&mut stage, next));
                let numbers: Vec<u64> = told
                    .iter()
                    .filter(|told| told.contains("symbol"))
                    .map(|told| told.split(' ').next().unwrap().parse().unwrap())
                    .collect();
                let is_sent = answered && taken == len;
                let expected: &[u64] = match (policy, at_least_once) {
                    (Policy::LatestPerKey, _) if is_sent => &[7],
                    (Policy::LatestPerKey, _) => &[5, 7],
                    (_, false) if is_sent => &[6, 7],
                    _ => &[3, 4, 5, 6, 7],
                };
                assert_eq!(numbers, expected, "{policy} {taken} of {len} {answered} {told:?}");
                assert_eq!(stage.hub.stats().lanes.conservation_error(), 0);
            }
        }
    }
}

#[test]
fn classes_and_a_rate_take_turns_with_units() {
    let mut stage = stage(|options| {
        options.deflate = Some(contexts(2));
        options.transmit_bytes_max = 1_024;
        options.outbound_bytes_rate = Some(Rate { per_second: 4_000, burst: 2_000 });
    });
    let topics = [Class::High, Class::Normal, Class::Low].map(|class| {
        stage.topic(&format!("{class:?}"), |options| {
            options.deflate = true;
            options.class = class;
            options.lane = LaneLimits { messages_max: 10_000, bytes_max: 1 << 20 };
        })
    });
    let conn = stage.join_offering(Mode::Dialect, OFFER);
    for class in [Class::High, Class::Normal, Class::Low] {
        stage.subscribe(conn, &format!("{class:?}"));
    }
    let mut told = Vec::new();
    for round in 0..40 {
        for topic in topics {
            for tick in ticks(round * 20, 20) {
                stage.hub.publish(topic, Payload::Text(&tick), stage.now).expect("taken");
            }
        }
        if round % 3 == 0 {
            stage.client(conn).ping(b"x");
            stage.let_through(conn, usize::try_from(round).unwrap() * 37);
            stage.thaw(conn);
        }
        stage.pump();
        stage.advance(Duration::from_millis(500));
        told.extend(heard(&mut stage, conn));
    }
    for _ in 0..200 {
        stage.advance(Duration::from_secs(1));
        told.extend(heard(&mut stage, conn));
    }
    assert_eq!(told.len(), 3 * 800);
    assert!(stage.client(conn).violation.is_none());
}

#[test]
fn a_window_and_retries_go_with_units() {
    let make = || {
        let mut stage = stage(|options| options.deflate = Some(contexts(1)));
        let topic = topic(&mut stage, |options| {
            options.policy = Policy::Block;
            options.delivery = Delivery::AtLeastOnce(AtLeastOnce {
                in_flight_max: 3,
                ack_timeout: Duration::from_secs(1),
                ..AtLeastOnce::default()
            });
        });
        let conn = inflating(&mut stage);
        for tick in ticks(0, 7) {
            stage.hub.publish(topic, Payload::Text(&tick), stage.now).expect("taken");
        }
        (stage, topic, conn)
    };
    let len = {
        let (mut stage, _, conn) = make();
        stage.hold(conn).len()
    };
    let numbers = |told: &[String]| -> Vec<u64> {
        told.iter().map(|told| told.split(' ').next().and_then(|seq| seq.parse().ok()).expect("a message")).collect()
    };
    for taken in 0..=len {
        let (mut stage, topic, conn) = make();
        let bytes = stage.hold(conn);
        stage.freeze(conn);
        stage.answer_by(conn, &bytes, taken);
        stage.client(conn).ack("t", 2); // Of what was not sent, unless it was whole.
        stage.pump();
        stage.advance(Duration::from_secs(2));
        stage.thaw(conn);
        let first = heard(&mut stage, conn);
        let mut told = numbers(&first);
        if taken < len {
            assert_eq!(told, [1, 2, 3], "{taken} of {len}");
        } else {
            assert_eq!(told[..3], [1, 2, 3], "{told:?}"); // And two more, and 3 again.
        }
        stage.advance(Duration::from_secs(2));
        let again = numbers(&heard(&mut stage, conn));
        assert!(!again.is_empty(), "nobody acknowledged");
        for through in [3, 5, 6, 7] {
            stage.client(conn).ack("t", through);
            stage.pump();
        }
        publish(&mut stage, topic, &ticks(7, 1));
        stage.client(conn).ack("t", 8);
        stage.pump();
        let mut all = numbers(&heard(&mut stage, conn));
        all.extend(again);
        all.append(&mut told);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8], "{taken} of {len}");
        let stats = stage.hub.stats();
        assert_eq!((stats.lanes.sent.messages, stats.acks.acknowledged.messages), (8, 8), "{taken}: {:?}", stats.acks);
    }
}
