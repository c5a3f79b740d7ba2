//! The wire under attack: floods, tiny frames, violations, and what they cost.

mod credit;

use std::time::Duration;

use forebay_core::wire::WireError;
use forebay_core::{ConnId, EndReason};
use forebay_testkit::mini::frame::encode;
use forebay_testkit::stage::Stage;

const S: Duration = Duration::from_secs(1);
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FLOOD: Option<EndReason> = Some(EndReason::Protocol(WireError::Flood));

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The same frame, so many times.
fn frames(count: usize, fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    encode(fin, opcode, payload, Some(MASK)).repeat(count)
}

/// An open raw client whose bytes come in reads of 64 KiB, as a binding reads.
fn joined(stage: &mut Stage) -> ConnId {
    stage.checks = false; // Not after each of a thousand reads.
    let conn = stage.join_raw();
    stage.seat_of(conn).read = 64 << 10;
    conn
}

/// Has a client write what is not answered as it expects, and carries it.
fn attack(stage: &mut Stage, conn: ConnId, bytes: &[u8]) {
    stage.client(conn).misbehave(bytes);
    stage.pump();
    stage.hub.check_invariants();
}
