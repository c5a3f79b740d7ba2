//! How many connections, and what waits on each of them.

use forebay_core::{Mode, Options, Payload, Peer, Stats};
use forebay_testkit::mini::frame::encode;
use forebay_testkit::stage::Stage;

use super::*;

pub(crate) const ROWS: &[Row] = &[
    row("Options.connections_max", "65536", Error("ConnectionsFull"), By(|s| s.refused_accepts), connections),
    row("Options.resident_bytes_max", "268435456", Closed(1013), By(|s| ended(s, "overloaded")), resident),
    row("Options.transmit_bytes_max", "131072", Waits, WAITS, transmit),
    row("Options.inbound_bytes_max", "1048576", Waits, By(|s| s.levels.inbound.critical), inbound),
    row("Options.reply_bytes_max", "65536", Waits, By(|s| s.levels.outbound.critical), replies),
    row("Options.direct_lane.messages_max", "1024", Error("Full"), By(|s| s.levels.outbound.critical), direct_messages),
    row("Options.direct_lane.bytes_max", "1048576", Error("Full"), By(|s| s.levels.outbound.critical), direct_bytes),
];

fn connections(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.connections_max = 3);
    for _ in 0..2 + usize::from(more) {
        stage.hub.handle_accept(Peer { mode: Mode::Raw, ..Peer::default() }, stage.now).unwrap();
    }
    let last = stage.hub.handle_accept(Peer::default(), stage.now);
    (error_name(&last, &["ConnectionsFull"]), *stage.hub.stats())
}

fn resident(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| {
        (options.message_bytes_max, options.inbound_bytes_max) = (8_192, 8_192);
        (options.topic_defaults.message_bytes_max, options.topic_defaults.log_bytes_max) = (1_024, 16_384);
        options.resident_bytes_max = 16_384;
    });
    // There has to be room for twice what comes: a buffer that grows is moved into one of twice the size.
    let conns = [stage.join_raw(), stage.join_raw()];
    for (conn, len) in conns.into_iter().zip([8_192, 4_096 + usize::from(more)]) {
        stage.client(conn).frame(false, 2, &vec![1; len]);
        stage.pump();
    }
    assert_eq!(stage.hub.pressure().resident_bytes, if more { 8_192 } else { 12_288 });
    seen(&mut stage, conns[1])
}

fn transmit(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.transmit_bytes_max = 1_024);
    let conn = stage.join_raw();
    // 8 frames of 126 bytes, one of 16.
    for len in [124, 124, 124, 124, 124, 124, 124, 124, 14].into_iter().chain(more.then_some(0)) {
        stage.hub.send(conn, Payload::Binary(&vec![1; len]), stage.now).unwrap();
    }
    let transmit = stage.hub.poll_transmit().expect("something to send");
    let len = transmit.len();
    assert_eq!(len, 1_024, "as much as may be");
    stage.hub.handle_sent(conn, len, stage.now);
    let rest = stage.hub.poll_transmit().is_some();
    (if rest { Waits } else { Taken }, *stage.hub.stats())
}

fn is_read(stage: &mut Stage, conn: ConnId) -> (Outcome, Stats) {
    stage.hub.check_invariants();
    (if stage.hub.wants_read(conn) { Taken } else { Waits }, *stage.hub.stats())
}

fn inbound(more: bool) -> (Outcome, Stats) {
    let small = |options: &mut Options| (options.message_bytes_max, options.inbound_bytes_max) = (4_096, 4_096);
    // What a message costs beside its bytes.
    let mut stage = Stage::new(small);
    let conn = stage.join_raw();
    stage.client(conn).binary(b"");
    stage.pump();
    let beside = stage.hub.connection(conn).expect("there").inbound_bytes;
    assert!((1..200).contains(&beside));
    let mut stage = Stage::new(small);
    let conn = stage.join_raw();
    stage.client(conn).binary(&vec![1; 4_096 - beside - 1 + usize::from(more)]);
    stage.pump();
    is_read(&mut stage, conn)
}

fn replies(more: bool) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| options.reply_bytes_max = 4_096);
    let conn = stage.join();
    let mut ask = |id_bytes: usize| {
        let request = format!(r#"{{"op":"ping","id":"{}"}}"#, "i".repeat(id_bytes));
        stage.hub.handle_bytes(conn, &encode(true, 1, request.as_bytes(), Some([1; 4])), stage.now);
        stage.hub.connection(conn).expect("there").reply_bytes
    };
    // Answers that nobody polls; the last one fills it up, or leaves a byte.
    let beside = ask(1) - 1;
    let mut waiting = beside + 1;
    while waiting + beside + 40 + beside < 4_096 {
        waiting = ask(40);
    }
    let last = ask(4_095 - waiting - beside + usize::from(more));
    assert_eq!(last, 4_095 + usize::from(more));
    is_read(&mut stage, conn)
}

fn direct_messages(more: bool) -> (Outcome, Stats) {
    direct(&[1, 1].repeat(1 + usize::from(more))[..2 + usize::from(more)], 1)
}

fn direct_bytes(more: bool) -> (Outcome, Stats) {
    direct(&[50], 50 + usize::from(more))
}

/// What is answered to the last of these, where three messages and 100 bytes may wait.
fn direct(lens: &[usize], last: usize) -> (Outcome, Stats) {
    let mut stage = Stage::new(|options| {
        (options.direct_lane.messages_max, options.direct_lane.bytes_max) = (3, 100);
    });
    let conn = stage.join_raw();
    for len in lens {
        stage.hub.send(conn, Payload::Binary(&vec![1; *len]), stage.now).unwrap();
    }
    let sent = stage.hub.send(conn, Payload::Binary(&vec![1; last]), stage.now);
    stage.hub.check_invariants();
    (error_name(&sent, &["Full"]), *stage.hub.stats())
}
