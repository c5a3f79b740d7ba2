//! Transmits of which the kernel takes a part.

use forebay_core::{AtLeastOnce, Delivery, LaneLimits, Policy};
use forebay_testkit::stage::Stage;

use crate::{heard, inflating, publish, stage, ticks, topic};

/// A frozen client with something of three ticks to get: a unit, two messages, and a unit.
fn frozen(policy: Policy, at_least_once: bool) -> (Stage, forebay_core::ConnId) {
    let mut stage = stage(|options| options.transmit_bytes_max = 1 << 20);
    let topic = topic(&mut stage, |options| {
        options.policy = policy;
        options.lane = LaneLimits { messages_max: 100, bytes_max: 1 << 20 };
        options.message_bytes_max = 1_000;
        if at_least_once {
            options.delivery = Delivery::AtLeastOnce(AtLeastOnce { in_flight_max: 20, ..AtLeastOnce::default() });
        }
    });
    let conn = inflating(&mut stage);
    stage.freeze(conn);
    publish(&mut stage, topic, &ticks(0, 5));
    publish(&mut stage, topic, &["1".into()]);
    publish(&mut stage, topic, &ticks(5, 6));
    (stage, conn)
}

#[test]
fn at_every_byte_nothing_is_lost_nor_sent_twice() {
    for (policy, at_least_once) in [
        (Policy::DropOldest, false),
        (Policy::DropNewest, false),
        (Policy::Block, false),
        (Policy::Disconnect, false),
        (Policy::Block, true),
    ] {
        let (mut stage, conn) = frozen(policy, at_least_once);
        let bytes = stage.hold(conn);
        let len = bytes.len();
        stage.answer_by(conn, &bytes, len);
        let expected = heard(&mut stage, conn);
        assert_eq!((expected.len(), stage.client(conn).compressed), (12, 2), "{policy}");
        let whole = stage.hub.stats().compression;
        // The others by a part of them: what is pinned is the same for all.
        let step = if policy == Policy::DropOldest || at_least_once { 1 } else { 9 };
        for taken in (0..len).step_by(step) {
            let (mut stage, conn) = frozen(policy, at_least_once);
            let bytes = stage.hold(conn);
            assert_eq!(bytes.len(), len);
            stage.answer_by(conn, &bytes, taken);
            let waiting = stage.hub.stats().lanes.waiting.messages;
            assert!(waiting == 12 || taken > 0, "{policy}: {waiting} after {taken}");
            // Then another part, and then the rest.
            let bytes = stage.hold(conn);
            stage.answer_by(conn, &bytes, bytes.len() / 2);
            stage.thaw(conn);
            assert_eq!(heard(&mut stage, conn), expected, "{policy}: {taken} of {len}");
            let stats = stage.hub.stats();
            assert_eq!(stats.lanes.sent.messages, 12);
            assert_eq!((stats.compression.sent, stats.compression.compressed), (whole.sent, whole.compressed));
        }
    }
}

#[test]
fn what_ends_in_the_middle_of_a_unit_is_counted() {
    let len = {
        let (mut stage, conn) = frozen(Policy::DropOldest, false);
        stage.hold(conn).len()
    };
    for taken in (0..len).step_by(3) {
        let (mut stage, conn) = frozen(Policy::DropOldest, false);
        let bytes = stage.hold(conn);
        stage.answer_by(conn, &bytes, taken);
        stage.hang_up(conn);
        let lanes = stage.hub.stats().lanes;
        assert_eq!((lanes.waiting.messages, lanes.conservation_error()), (0, 0));
        assert_eq!(lanes.sent.messages + lanes.lost_total().messages, 12);
    }
}
