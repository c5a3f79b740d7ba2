//! Malformed input ends its connection with the right status or code, and disturbs nobody.

use std::io::{Read, Write};

use super::common::{Running, number, start, text};
use super::raw::{OPENING, masked, opened, rest, socket};
use crate::binding::{Payload, ServerOptions};

/// The code of the Close frame, which is the last the server says.
fn close_code(all: &[u8]) -> u16 {
    let at = all.iter().rposition(|byte| *byte == 0x88).expect("a Close frame");
    u16::from_be_bytes([all[at + 2], all[at + 3]])
}

#[test]
fn heads_that_are_not_an_opening_get_their_status() {
    let server = start(ServerOptions::default());
    let witness = server.subscriber("t");
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(20_000));
    for (head, status) in [
        ("\u{7f}\u{1}random\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "426"),
        ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", "405"),
        ("GET / HTTP/1.0\r\n\r\n", "505"),
        (long.as_str(), "431"),
        (&OPENING.replace("13", "12"), "426"),
        (&OPENING.replace("AAAA", "A"), "400"),
    ] {
        let mut stream = socket(&server);
        stream.write_all(head.as_bytes()).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head:.60?} was answered {answer:?}");
    }
    undisturbed(&server, &witness);
    server.stop();
}

#[test]
fn frames_that_break_the_protocol_get_their_code() {
    let server = start(ServerOptions::default());
    let witness = server.subscriber("t");
    for (frames, code) in [
        (vec![0x81, 1, b'x'], 1002),                                     // not masked
        (masked(0xC1, b"x"), 1002),                                      // reserved bit
        (masked(0x83, b"x"), 1002),                                      // reserved opcode
        (masked(0x80, b"x"), 1002),                                      // continues nothing
        (masked(0x09, b""), 1002),                                       // fragmented ping
        (masked(0x81, b"\xFF"), 1007),                                   // not UTF-8
        (vec![0x82, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0], 1009), // 1 GiB
        (masked(0x88, &[3]), 1002),                                      // half a code
        (masked(0x88, &[0x03, 0xED]), 1002),                             // 1005 may not be sent
        (masked(0x88, &[0x03, 0xE8]), 1000),                             // a proper Close is answered
    ] {
        let mut stream = opened(&server);
        // Whatever comes behind it is not looked at, and does not cut the answer off.
        let mut all = frames.clone();
        all.extend_from_slice(&[0xAA; 100_000]);
        stream.write_all(&all).unwrap();
        assert_eq!(close_code(&rest(&mut stream)), code, "{:02x?}", &frames[..3]);
    }
    undisturbed(&server, &witness);
    server.stop();
}

#[test]
fn random_bytes_in_any_state_disturb_nobody() {
    let server = start(ServerOptions::default());
    let witness = server.subscriber("t");
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |count: usize| -> Vec<u8> {
        let byte = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        };
        (0..count).map(byte).collect()
    };
    for round in 0..50 {
        let mut stream = if round % 2 == 0 { socket(&server) } else { opened(&server) };
        stream.write_all(&random(1 + round * 40)).unwrap();
        if round % 3 == 0 {
            drop(stream); // In the middle, with unread input on both sides.
        } else {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all); // A reset is an end as well.
        }
    }
    undisturbed(&server, &witness);
    server.stop();
}

#[test]
fn a_reset_of_a_connection_that_is_not_read_is_noticed() {
    // Nobody takes what a raw connection receives, so it is paused at its bound.
    let server = start(ServerOptions { mode: crate::binding::Mode::Raw, ..ServerOptions::default() });
    let mut stream = opened(&server);
    stream.set_nonblocking(true).unwrap();
    let frames = [0x82, 0x81, 0, 0, 0, 0, 7].repeat(10_000);
    let mut refusals = 0;
    while refusals < 100 {
        // Cut anywhere: what it means does not matter.
        refusals = if stream.write(&frames).is_ok() { 0 } else { refusals + 1 };
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(server.handle.stats().connections, 1);
    forebay_sys::abort_on_close(&stream).unwrap();
    drop(stream);
    while server.handle.stats().connections > 0 {
        std::thread::yield_now();
    }
    server.stop();
}

fn undisturbed(server: &Running, witness: &crate::binding::Client) {
    while server.handle.stats().connections > 1 {
        std::thread::yield_now();
    }
    let seq = server.handle.publish("t", Payload::Text("1")).unwrap().position.seq;
    assert_eq!(number(&text(witness), "seq"), seq);
}
