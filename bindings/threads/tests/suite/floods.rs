//! Floods of frames that bring nothing, through the kernel: they end with 1008, and nobody else is held up.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::common::{Running, start, until};
use super::raw::{hear, masked, opened, rest, say};
use crate::binding::ServerOptions;
use crate::binding::forebay_core::wire::WireError;

/// Everything up to the end, whether the server closed first or reset what it did not read any more.
fn heard(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    all
}

fn flooded(server: &Running) -> u64 {
    server.handle.snapshot(0).unwrap().stats.violations[WireError::Flood as usize]
}

/// A Close frame with 1008 and its reason is the last that is said.
fn is_refused(all: &[u8]) {
    let reason = "too many frames that bring nothing";
    assert!(all.ends_with(reason.as_bytes()), "{:?}", String::from_utf8_lossy(all));
    let close = &all[all.len() - reason.len() - 4..];
    assert_eq!(close[..4], [0x88, 36, 0x03, 0xf0]);
}

/// Writes until the other side has had enough.
fn pour(stream: &mut TcpStream, bytes: &[u8]) {
    match stream.write_all(bytes) {
        Ok(()) => {}
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::WouldBlock),
            "{error}"
        ),
    }
}

#[test]
fn floods_end_while_others_go_on() {
    let server = start(ServerOptions::default());
    let mut other = opened(&server);
    assert!(hear(&mut other).starts_with(r#"{"op":"hello","#));
    let ping = masked(0x89, b"");
    let floods: [(Vec<u8>, Vec<u8>); 4] = [
        (Vec::new(), ping.repeat(200_000)),
        (Vec::new(), masked(0x8a, b"").repeat(300_000)),
        (masked(0x01, b""), masked(0x00, b"").repeat(400_000)),
        (masked(0x02, b"x"), masked(0x00, b"x").repeat(400_000)),
    ];
    for (before, (begin, flood)) in (0..).zip(&floods) {
        let mut stream = opened(&server);
        // Answers are read beside it: nobody can say that the flood was stopped by a full socket.
        let mut reader = stream.try_clone().unwrap();
        let reader = std::thread::spawn(move || heard(&mut reader));
        pour(&mut stream, begin);
        for part in flood.chunks(60_000) {
            pour(&mut stream, part);
        }
        let _ = stream.shutdown(Shutdown::Write);
        let all = reader.join().unwrap();
        until(|| flooded(&server) == before + 1);
        // What was sent behind the verdict may have made the kernel throw it away (RFC 9112 §9.6); if not, it is this.
        if all.windows(2).any(|two| two == [0x88, 36]) {
            is_refused(&all);
        }
        say(&mut other, r#"{"op":"ping","id":7}"#);
        assert_eq!(hear(&mut other), r#"{"op":"pong","id":7}"#, "others are served");
    }
    server.stop();
}

#[test]
fn pings_whose_answers_nobody_reads_end_too() {
    let server = start(ServerOptions::default());
    let mut stream = opened(&server);
    stream.set_write_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    for part in masked(0x89, &[b'x'; 125]).repeat(200_000).chunks(60_000) {
        pour(&mut stream, part);
        if flooded(&server) == 1 {
            break;
        }
    }
    until(|| flooded(&server) == 1);
    server.stop();
}

#[test]
fn the_verdict_is_heard_by_who_stops_in_time() {
    let server = start(ServerOptions::default());
    let mut stream = opened(&server);
    let pong = masked(0x8a, b"");
    stream.write_all(&pong.repeat(16_384)).unwrap();
    // Time has given back a few of them, and goes on to.
    while flooded(&server) == 0 {
        stream.write_all(&pong.repeat(10)).unwrap();
    }
    is_refused(&rest(&mut stream));
    server.stop();
}

#[test]
fn many_pings_in_one_write_are_answered() {
    let server = start(ServerOptions::default());
    for count in [61_u32, 4_000] {
        let mut stream = opened(&server);
        assert!(hear(&mut stream).starts_with(r#"{"op":"hello","#));
        let pings: Vec<u8> = (0..count).flat_map(|number| masked(0x89, &number.to_be_bytes())).collect();
        stream.write_all(&pings).unwrap();
        // All, or the newest where output was blocked; the last is always there.
        let mut last = None;
        while last != Some(count - 1) {
            let mut pong = [0; 6];
            stream.read_exact(&mut pong).unwrap();
            assert_eq!(pong[..2], [0x8a, 4]);
            let number = u32::from_be_bytes(pong[2..].try_into().unwrap());
            assert!(last.is_none_or(|last| last < number), "in order");
            last = Some(number);
        }
        say(&mut stream, r#"{"op":"ping","id":7}"#);
        assert_eq!(hear(&mut stream), r#"{"op":"pong","id":7}"#);
    }
    server.stop();
}

#[test]
fn announced_lengths_and_fragments_of_64_bytes() {
    let mut options = ServerOptions::default();
    (options.hub.message_bytes_max, options.hub.inbound_bytes_max) = (5 << 20, 5 << 20);
    options.hub.topic_defaults.message_bytes_max = 1 << 10;
    let server = start(options);
    // 128 x "1 MB follows": nothing is held for it.
    let announced: Vec<TcpStream> = (0..128)
        .map(|_| {
            let mut stream = opened(&server);
            stream.write_all(b"\x82\xff\0\0\0\0\0\x0f\xff\xff\0\0\0\0").unwrap();
            stream
        })
        .collect();
    let mut stream = opened(&server);
    assert!(hear(&mut stream).starts_with(r#"{"op":"hello","#));
    // 4 MiB of a request in fragments of 64 bytes is a message like any other: it is answered for what it says.
    let mut fragments = masked(0x01, b"{\"op\":\"ping\",\"id\":7,\"x\":\"");
    fragments.extend(masked(0x00, &[b'x'; 64]).repeat(65_536));
    fragments.extend(masked(0x80, b"\"}"));
    stream.write_all(&fragments).unwrap();
    assert_eq!(hear(&mut stream), r#"{"op":"pong","id":7}"#);
    assert_eq!(flooded(&server), 0);
    assert_eq!(server.handle.snapshot(0).unwrap().pressure.resident_bytes, 0);
    drop(announced);
    server.stop();
}
