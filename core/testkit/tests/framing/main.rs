//! The wire under attack: floods, tiny frames, violations, and what they cost.

mod client;
mod credit;
mod memory;
mod violations;

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

/// The hub's client role, open: the mini server is this function.
fn open_client(stage: &mut Stage) -> ConnId {
    use forebay_testkit::mini::handshake;
    let request = forebay_core::ClientRequest { host: "h", target: "/", ..Default::default() };
    let conn = stage.hub.connect(request, stage.now).unwrap();
    let transmit = stage.hub.poll_transmit().unwrap();
    let (head, len) = (String::from_utf8(transmit.slices().flatten().copied().collect()).unwrap(), transmit.len());
    stage.hub.handle_sent(conn, len, stage.now);
    let key = head.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
    let answer = format!(
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        handshake::accept_of(key)
    );
    stage.hub.handle_bytes(conn, answer.as_bytes(), stage.now);
    assert_eq!(stage.hub.connection(conn).map(|pressure| pressure.is_paused), Some(false));
    conn
}
