//! How connections and the hub end, and what comes too late. Deadlines: see `deadlines.rs`.

use std::time::Duration;

use forebay_core::{Effect, EndReason};
use forebay_testkit::stage::{Stage, briefs};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[test]
fn what_comes_too_late_is_counted_and_ignored() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.hang_up(conn);
    assert_eq!(stage.ended(conn), Some(EndReason::PeerGone));
    assert!(!stage.take_effects().contains(&Effect::Close(conn)), "the embedder knows");
    let before = stage.hub.stats().stale_inputs;
    stage.hub.handle_bytes(conn, b"x", stage.now);
    stage.hub.handle_sent(conn, 1, stage.now);
    stage.hub.handle_writable(conn, stage.now);
    stage.hub.handle_eof(conn, stage.now);
    stage.pump();
    assert_eq!(stage.hub.stats().stale_inputs, before + 4);
    assert_eq!(stage.hub.connections(), 0);
    let next = stage.join();
    assert_ne!(next, conn, "an id is never used again");
}

#[test]
fn no_close_follows_an_end_of_file_also_when_it_was_due() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.client(conn).close(Some(1000));
    let bytes: Vec<u8> = stage.client(conn).out().drain(..).collect();
    stage.hub.handle_bytes(conn, &bytes, stage.now);
    let len = stage.hub.poll_transmit().expect("the answer to Close").len();
    stage.hub.handle_sent(conn, len, stage.now);
    // Now Effect::Close is due; before it was polled the peer is gone.
    stage.hang_up(conn);
    assert_eq!(stage.take_effects(), [], "the id was stale");
    assert_eq!(stage.ended(conn).map(|_| ()), Some(()));
    assert_eq!(stage.hub.connections(), 0);
}

#[test]
fn the_numbers_follow_at_once() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    assert_eq!(stage.hub.stats().topics, 1);
    let conn = stage.join();
    stage.subscribe(conn, "t");
    assert_eq!((stage.hub.stats().connections, stage.hub.stats().lanes_now), (1, 1));
    stage.hang_up(conn);
    assert_eq!((stage.hub.stats().connections, stage.hub.stats().lanes_now), (0, 0));
    stage.hub.remove_topic(topic, stage.now);
    stage.pump();
    assert_eq!(stage.hub.stats().topics, 0);
    assert!(stage.hub.stats().resident_bytes <= 1_024, "{}", stage.hub.stats().resident_bytes);
}

#[test]
fn drain_ends_everybody_who_has_everything() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let (idle, slow, stuck) = (stage.join(), stage.join(), stage.join());
    for conn in [slow, stuck] {
        stage.subscribe(conn, "t");
        stage.freeze(conn);
    }
    stage.publish(topic, "1").unwrap();
    stage.hub.drain(stage.now + S * 10, stage.now);
    stage.pump();
    assert_eq!(stage.client(idle).close, Some(Some(1001)));
    assert_eq!(stage.ended(idle), Some(EndReason::Drained));
    stage.advance(S);
    assert_eq!((stage.ended(slow), stage.client(slow).close), (None, None));
    stage.thaw(slow);
    assert_eq!(briefs(&mut stage, slow), ["message t 1 1"]);
    assert_eq!(stage.client(slow).close, Some(Some(1001)));
    assert_eq!(stage.ended(stuck), None);
    stage.advance(S * 20);
    assert_eq!(stage.hub.connections(), 0);
    assert!(stage.hub.handle_accept(Default::default(), stage.now).is_err());
}

#[test]
fn a_clock_that_goes_backwards_stands_still() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.advance(S * 10);
    let back = forebay_core::Instant::from_nanos(5);
    stage.client(conn).ask_ping();
    let bytes: Vec<u8> = stage.client(conn).out().drain(..).collect();
    stage.hub.handle_bytes(conn, &bytes, back);
    stage.hub.handle_timeout(back);
    stage.pump();
    assert_eq!(briefs(&mut stage, conn), ["pong"]);
    stage.advance(S * 24);
    assert_eq!(stage.client(conn).pings, 0, "the silence began at 10 s, not at 0");
    stage.advance(S + MS);
    assert_eq!(stage.client(conn).pings, 1);
}
