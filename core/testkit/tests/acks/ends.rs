//! What becomes of what is unacknowledged when lanes end.

use crate::house::{House, MS, S, house, terms};
use forebay_core::{AbandonReason, Count, Payload};
use forebay_testkit::stage::{frame_len, is_open};

#[test]
fn a_lane_that_ends_abandons_what_is_unacknowledged() {
    type End = fn(&mut House);
    let ends: [(End, AbandonReason); 4] = [
        (
            |house| {
                house.stage.client(house.conn).unsubscribe("t");
                house.stage.pump();
                house.told();
            },
            AbandonReason::Unsubscribed,
        ),
        (
            |house| {
                assert!(house.stage.hub.remove_topic(house.topic, house.stage.now));
                house.stage.pump();
                house.told();
            },
            AbandonReason::SessionEnded,
        ),
        (
            |house| {
                house.stage.client(house.conn).close(Some(1_000));
                house.stage.pump();
            },
            AbandonReason::SessionEnded,
        ),
        (|house| house.stage.hang_up(house.conn), AbandonReason::SessionEnded),
    ];
    for (end, reason) in ends {
        let mut house = house(terms(32, 5));
        house.publish_all(1..=3);
        house.acknowledge(1).unwrap();
        house.seqs();
        end(&mut house);
        let acks = house.stage.hub.stats().acks;
        assert_eq!(
            (acks.abandoned_by(reason), acks.unacknowledged),
            (Count::new(2, 2), Count::new(0, 0)),
            "{reason:?}"
        );
        assert_eq!(acks.conservation_error(), 0);
        house.stage.advance(S * 20);
        assert_eq!((house.told(), house.stage.hub.lane(house.lane)), (Vec::<String>::new(), None));
    }
}

#[test]
fn what_is_on_its_way_again_goes_on_and_counts_no_more_when_its_lane_ends() {
    let mut house = house(terms(32, 5));
    house.publish_all(1..=3);
    house.seqs();
    house.stage.freeze(house.conn);
    house.stage.advance(S);
    house.stage.seat_of(house.conn).is_mute = true;
    let bytes = house.stage.hold(house.conn);
    assert!(house.stage.hub.unsubscribe(house.conn, house.topic, house.stage.now));
    house.stage.hub.check_invariants();
    let acks = house.stage.hub.stats().acks;
    assert_eq!(acks.abandoned_by(AbandonReason::Unsubscribed).messages, 3);
    assert!(house.stage.hub.lane(house.lane).is_some(), "until its Transmit is answered");
    let taken = frame_len("t", 1, "1") + 4;
    house.stage.hub.handle_sent(house.conn, taken, house.stage.now);
    house.stage.hub.check_invariants();
    house.stage.hub.handle_writable(house.conn, house.stage.now);
    let rest = house.stage.hub.poll_transmit().expect("the rest of what was begun").len();
    assert_eq!(rest + taken, 2 * frame_len("t", 1, "1"), "and not the third");
    house.stage.hub.handle_sent(house.conn, rest, house.stage.now);
    house.stage.hub.check_invariants();
    assert_eq!(house.stage.hub.stats().acks, acks, "it counts no more");
    assert!(house.stage.hub.lane(house.lane).is_none());
    assert_eq!(bytes.len(), 3 * frame_len("t", 1, "1"));
}

#[test]
fn what_is_sent_of_a_lane_that_has_ended_is_abandoned_at_once() {
    let mut house = house(terms(32, 5));
    house.stage.hub.publish(house.topic, Payload::Text("1"), house.stage.now).unwrap();
    let bytes = house.stage.hold(house.conn);
    assert!(house.stage.hub.unsubscribe(house.conn, house.topic, house.stage.now));
    house.stage.hub.handle_sent(house.conn, bytes.len(), house.stage.now);
    house.stage.hub.check_invariants();
    let acks = house.stage.hub.stats().acks;
    assert_eq!((acks.sent.messages, acks.abandoned_by(AbandonReason::Unsubscribed).messages), (1, 1));
}

#[test]
fn a_connection_with_something_unacknowledged_is_not_drained_before_the_end() {
    for is_acknowledged in [true, false] {
        let mut house = house(terms(32, 1));
        house.publish_all(1..=1);
        let until = house.stage.now + S * 10;
        house.stage.hub.drain(until, house.stage.now);
        house.stage.advance(S / 2);
        assert!(is_open(&mut house.stage, house.conn));
        if is_acknowledged {
            house.acknowledge(1).unwrap();
            assert!(!is_open(&mut house.stage, house.conn), "nothing is left");
        } else {
            house.stage.advance(S * 3 / 2 - MS);
            assert!(is_open(&mut house.stage, house.conn));
            house.stage.advance(MS);
            assert!(!is_open(&mut house.stage, house.conn), "it was given up");
        }
    }
}
