//! Every deadline: not a millisecond before, and then at once.

use std::time::Duration;

use forebay_core::{EndReason, Mode, Peer, wire};
use forebay_testkit::mini::{Client, Phase};
use forebay_testkit::stage::{Stage, briefs, is_open};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[test]
fn the_handshake_deadline_is_absolute() {
    let mut stage = Stage::new(|_| {});
    let seed = stage.next_seed();
    let mut client = Client::new(seed, &[], false);
    let request: Vec<u8> = client.out().drain(..).collect();
    let conn = stage.seat(client, Mode::Dialect);
    let silent = stage.seat(Client::silent(9, false), Mode::Dialect);
    stage.client(conn).misbehave(b"");
    stage.client(silent).misbehave(b"");
    for byte in &request[..49] {
        stage.client(conn).write(&[*byte]);
        stage.advance(100 * MS);
    }
    assert_eq!((stage.ended(conn), stage.ended(silent)), (None, None), "4.9 s");
    stage.advance(99 * MS);
    assert_eq!(stage.ended(conn), None);
    stage.advance(2 * MS);
    for conn in [conn, silent] {
        assert_eq!(stage.ended(conn), Some(EndReason::HandshakeTimeout), "the drip did not move it");
        assert!(matches!(stage.client(conn).phase, Phase::Connecting | Phase::Refused(408)));
        assert!(stage.client(conn).is_ended);
    }
    assert_eq!(stage.hub.connections(), 0);
}

#[test]
fn silence_is_answered_by_a_ping_and_more_silence_by_the_end() {
    let mut stage = Stage::new(|_| {});
    let (good, bad) = (stage.join(), stage.join());
    stage.client(bad).manners.answers_pings = false;
    stage.advance(25 * S - MS);
    assert_eq!((stage.client(good).pings, stage.client(bad).pings), (0, 0));
    stage.advance(MS);
    assert_eq!((stage.client(good).pings, stage.client(bad).pings), (1, 1));
    stage.advance(20 * S - MS);
    assert!(is_open(&mut stage, bad));
    stage.advance(MS);
    assert_eq!((stage.ended(bad), stage.ended(good)), (Some(EndReason::PongTimeout), None));
    stage.advance(100 * S);
    assert!(is_open(&mut stage, good));
}

#[test]
fn any_sign_of_life_will_do() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.client(conn).manners.answers_pings = false;
    for _ in 0..10 {
        stage.advance(24 * S);
        stage.client(conn).ask_ping();
        stage.pump();
    }
    assert_eq!((stage.client(conn).pings, is_open(&mut stage, conn)), (0, true));
    // After a ping too.
    stage.advance(44 * S);
    assert_eq!(stage.client(conn).pings, 1);
    stage.client(conn).ask_ping();
    stage.advance(10 * S);
    assert!(is_open(&mut stage, conn));
}

#[test]
fn the_pong_deadline_stands_still_while_output_is_blocked() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let conn = stage.join();
    stage.subscribe(conn, "t");
    stage.client(conn).manners.answers_pings = false;
    stage.advance(25 * S);
    assert_eq!(stage.client(conn).pings, 1);
    stage.advance(10 * S);
    stage.freeze(conn);
    stage.publish(topic, "1").unwrap();
    stage.advance(15 * S);
    assert!(is_open(&mut stage, conn), "blocked for 15 s");
    stage.thaw(conn);
    stage.advance(10 * S - 10 * MS);
    assert!(is_open(&mut stage, conn), "10 s of the 20 were left");
    stage.advance(20 * MS);
    assert_eq!(stage.ended(conn), Some(EndReason::PongTimeout));
}

#[test]
fn blocked_output_without_progress_ends() {
    let mut stage = Stage::new(|_| {});
    let topic = stage.topic("t", |_| {});
    let (conn, idle) = (stage.join(), stage.join());
    stage.subscribe(conn, "t");
    stage.client(idle).manners.answers_pings = true;
    stage.freeze(conn);
    stage.publish(topic, "1").unwrap();
    stage.advance(20 * S);
    // Readiness that was none is no progress.
    stage.hub.handle_writable(conn, stage.now);
    assert!(stage.hub.poll_transmit().is_some());
    stage.hub.handle_sent(conn, 0, stage.now);
    stage.advance(5 * S);
    assert!(is_open(&mut stage, conn));
    stage.let_through(conn, 1);
    stage.advance(30 * S - 10 * MS);
    assert!(is_open(&mut stage, conn), "one byte is progress");
    stage.advance(20 * MS);
    assert_eq!(stage.ended(conn), Some(EndReason::Stalled));
    assert_eq!(stage.hub.topic_pressure(topic).unwrap().totals.waiting.messages, 0);
    assert!(is_open(&mut stage, idle), "who has nothing to read does not stall");
}

#[test]
fn a_close_that_is_not_answered_is_cut() {
    let mut stage = Stage::new(|_| {});
    let (good, deaf, frozen) = (stage.join(), stage.join(), stage.join());
    stage.client(deaf).manners.answers_close = false;
    stage.freeze(frozen);
    for conn in [good, deaf, frozen] {
        stage.hub.close(conn, wire::CloseCode::GOING_AWAY, "so long", stage.now);
    }
    stage.pump();
    assert_eq!((stage.client(good).close, stage.client(deaf).close), (Some(Some(1001)), Some(Some(1001))));
    assert!(stage.client(good).is_ended && !stage.client(deaf).is_ended);
    stage.advance(5 * S - MS);
    assert!(!stage.client(deaf).is_ended);
    stage.advance(2 * MS);
    assert!(stage.client(deaf).is_ended && stage.client(frozen).is_ended);
    for conn in [good, deaf, frozen] {
        assert_eq!(stage.ended(conn), Some(EndReason::Closed(wire::CloseCode::GOING_AWAY)));
    }
    assert_eq!(stage.hub.connections(), 0);
}

#[test]
fn a_clients_close_is_answered_at_once() {
    for code in [None, Some(1000), Some(4_999)] {
        let mut stage = Stage::new(|_| {});
        let topic = stage.topic("t", |_| {});
        let conn = stage.join();
        stage.subscribe(conn, "t");
        stage.client(conn).close(code);
        stage.pump();
        assert_eq!(stage.client(conn).close, Some(code), "the code is repeated (§5.5.1)");
        let expected = code.map(|code| wire::CloseCode::new(code).unwrap());
        assert_eq!(stage.ended(conn), Some(EndReason::PeerClosed(expected)));
        assert!(stage.client(conn).is_ended, "the server closes first (§7.1.1)");
        assert_eq!(stage.publish(topic, "1").unwrap().matched, 0);
    }
}

#[test]
fn a_message_has_to_come_to_its_end() {
    let mut stage = Stage::new(|_| {});
    let conn = stage.join();
    stage.client(conn).frame(false, 1, b"{\"op\"");
    stage.pump();
    for _ in 0..5 {
        stage.advance(5 * S);
        stage.client(conn).frame(false, 0, b" ");
        stage.pump();
    }
    stage.advance(5 * S - MS);
    assert!(is_open(&mut stage, conn));
    stage.advance(2 * MS);
    assert_eq!(stage.ended(conn), Some(EndReason::MessageTimeout));
    // Control frames between do not count as its bytes, nor end it.
    let conn = stage.join();
    stage.client(conn).frame(false, 1, b"{\"op\":");
    stage.advance(29 * S);
    stage.client(conn).ping(b"");
    stage.client(conn).frame(true, 0, b"\"ping\"}");
    let _ = stage.client(conn).reader().ping(false);
    stage.pump();
    assert!(is_open(&mut stage, conn) && stage.client(conn).pongs.len() == 1);
}

#[test]
fn nothing_is_due_where_nothing_is() {
    let mut stage = Stage::new(|_| {});
    assert_eq!(stage.hub.poll_timeout(), None);
    let conn = stage.hub.handle_accept(Peer::default(), stage.now).unwrap();
    assert_eq!(stage.hub.poll_timeout().map(|deadline| deadline.at), Some(stage.now + 5 * S));
    stage.hub.handle_eof(conn, stage.now);
    while stage.hub.poll_event().is_some() {}
    assert_eq!(stage.hub.poll_timeout(), None);
}

#[test]
fn a_late_call_handles_all_that_was_due() {
    let mut stage = Stage::new(|_| {});
    for _ in 0..500 {
        stage.hub.handle_accept(Peer::default(), stage.now).unwrap();
    }
    let conn = stage.join();
    let late = stage.now + 3_600 * S;
    for _ in 0..1_000 {
        stage.hub.handle_timeout(late);
        while stage.hub.poll_event().is_some() || stage.hub.poll_effect().is_some() {}
        while let Some((conn, len)) = stage.hub.poll_transmit().map(|transmit| (transmit.conn(), transmit.len())) {
            stage.hub.handle_sent(conn, len, late);
        }
        if stage.hub.poll_timeout().is_none_or(|deadline| deadline.at > late) {
            break;
        }
    }
    stage.hub.check_invariants();
    assert!(stage.hub.connections() <= 1, "{} left", stage.hub.connections());
    let _ = briefs(&mut stage, conn);
}
