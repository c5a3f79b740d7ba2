//! What attackers can make us allocate: what they have sent, and no more. Nothing that was only announced.

use forebay_testkit::alloc::{Allocated, Counting, measure, so_far};

use super::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> i64 {
    so_far().live_bytes
}

fn bytes(len: usize) -> i64 {
    i64::try_from(len).unwrap()
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut stage = Stage::new(|_| {});
    let conns: Vec<ConnId> = (0..512).map(|_| joined(&mut stage)).collect();
    let announced = [0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 1, 2, 3, 4];
    let ((), Allocated { live_bytes, .. }) = measure(|| {
        conns.iter().for_each(|conn| stage.hub.handle_bytes(*conn, &announced, stage.now));
    });
    assert!(live_bytes <= 512 * 400, "{} bytes each: what is lent to a connection that is not idle", live_bytes / 512);
    assert_eq!(stage.hub.pressure().resident_bytes, 0);
    stage.hub.check_invariants();
    // Two bytes of payload each.
    let ((), Allocated { live_bytes, .. }) = measure(|| {
        conns.iter().for_each(|conn| stage.hub.handle_bytes(*conn, b"ab", stage.now));
    });
    assert!(live_bytes <= 512 * 16, "{} bytes each", live_bytes / 512);
}

#[test]
fn a_message_grows_with_what_came_of_it_however_it_is_cut() {
    // Fragments of 32 bytes, which are free; those of one byte, as many as may be; whole frames in pieces.
    let cuts: [(usize, usize); 3] = [(32, 30_000), (1, 16_000), (100_000, 9)];
    for (fragment, count) in cuts {
        let mut stage = Stage::new(|_| {});
        let conns: Vec<ConnId> = (0..8).map(|_| joined(&mut stage)).collect();
        let first = frames(1, false, TEXT, b"");
        conns.iter().for_each(|conn| stage.hub.handle_bytes(*conn, &first, stage.now));
        let frame = frames(1, false, CONTINUATION, &vec![b'x'; fragment]);
        // What the hub keeps for all of them, the buffer where a read is unmasked, is there from now on.
        for conn in &conns {
            frame.chunks(64 << 10).for_each(|read| stage.hub.handle_bytes(*conn, read, stage.now));
        }
        let (start, before) = (live(), so_far().allocations);
        for number in 2..=count {
            for conn in &conns {
                frame.chunks(64 << 10).for_each(|read| stage.hub.handle_bytes(*conn, read, stage.now));
            }
            let (came, grown) = (8 * number * fragment, live() - start);
            assert!(grown <= bytes(2 * came), "{grown} bytes for {came} in fragments of {fragment}");
        }
        let allocations = so_far().allocations - before;
        assert!(allocations <= 8 * 24, "{allocations}: a buffer doubles, so that the work is linear");
        stage.hub.check_invariants();
    }
}

#[test]
fn tiny_fragments_cost_no_more_than_large_ones() {
    let held = |fragment: usize| {
        let mut stage = Stage::new(|_| {});
        let conn = joined(&mut stage);
        stage.hub.handle_bytes(conn, &frames(1, false, BINARY, b""), stage.now);
        for _ in 0..16_000 / fragment {
            stage.hub.handle_bytes(conn, &frames(1, false, CONTINUATION, &vec![7; fragment]), stage.now);
        }
        stage.hub.pressure().resident_bytes
    };
    let large = held(16_000);
    for fragment in [1, 2, 8, 125] {
        assert!(held(fragment) <= 2 * large, "{fragment}: {} bytes beside {large}", held(fragment));
    }
}

#[test]
fn empty_fragments_hold_nothing() {
    let mut stage = Stage::new(|_| {});
    let conns: Vec<ConnId> = (0..8).map(|_| joined(&mut stage)).collect();
    for conn in &conns {
        stage.hub.handle_bytes(*conn, &frames(1, false, TEXT, b""), stage.now);
    }
    let fragments = frames(1_000, false, CONTINUATION, b"");
    let one = &fragments[..6];
    conns.iter().for_each(|conn| stage.hub.handle_bytes(*conn, &fragments, stage.now));
    let before = so_far();
    for _ in 0..15 {
        conns.iter().for_each(|conn| stage.hub.handle_bytes(*conn, &fragments, stage.now));
    }
    conns.iter().for_each(|conn| stage.hub.handle_bytes(*conn, one, stage.now));
    assert_eq!((live() - before.live_bytes, stage.hub.pressure().resident_bytes), (0, 0));
    assert_eq!(so_far().allocations, before.allocations, "nothing was allocated for 120,000 of them");
}

#[test]
fn pings_and_pongs_hold_no_more_than_one_answer_while_output_is_blocked() {
    let mut stage = Stage::new(|_| {});
    let conn = joined(&mut stage);
    stage.hub.send(conn, forebay_core::Payload::Text("on its way"), stage.now).unwrap();
    stage.freeze(conn);
    stage.pump();
    let mixed = [frames(500, true, PING, &[1; 125]), frames(500, true, PONG, &[2; 125])].concat();
    stage.hub.handle_bytes(conn, &mixed, stage.now);
    let before = so_far();
    for _ in 0..15 {
        stage.hub.handle_bytes(conn, &mixed, stage.now);
        assert_eq!(live(), before.live_bytes);
    }
    stage.hub.check_invariants();
    assert_eq!(stage.ended(conn), None);
}
