//! Sends through io_uring do what writes do.
#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use forebay_sys::{SendRing, Tuning, tune};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    tune(&server, Tuning { notsent_lowat_bytes: 16 << 10, send_buffer_bytes: None }).unwrap();
    (client, server)
}

/// Many containers refuse it, and no package helps.
fn ring() -> Option<SendRing> {
    let ring = SendRing::new();
    if let Err(error) = &ring {
        println!("skipped: needs io_uring: {error}");
    }
    ring.ok()
}

#[test]
fn more_than_go_into_one_call_are_all_sent() {
    let Some(mut ring) = ring() else { return };
    let mut pairs: Vec<_> = (0..3).map(|_| pair()).collect();
    let texts: Vec<String> = (0..2 * SendRing::SENDS_MAX + 1).map(|number| format!("{number:8}")).collect();
    let sends = |pairs: &[(TcpStream, TcpStream)]| {
        let sends = texts.iter().enumerate().map(|(at, text)| (pairs[at % 3].1.try_clone().unwrap(), text.as_bytes()));
        sends.collect::<Vec<_>>()
    };
    let owned = sends(&pairs);
    let lent: Vec<_> = owned.iter().map(|(socket, bytes)| (socket, *bytes)).collect();
    let mut results = Vec::new();
    ring.send(&lent, &mut results);
    assert_eq!(results.len(), texts.len());
    assert!(results.iter().all(|result| matches!(result, Ok(8))), "{results:?}");
    for (at, (client, _)) in pairs.iter_mut().enumerate() {
        let expected: String = texts.iter().skip(at).step_by(3).map(String::as_str).collect();
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8(received).unwrap(), expected, "in their order");
    }
}

#[test]
fn each_is_told_what_became_of_it() {
    let Some(mut ring) = ring() else { return };
    let ((mut reader, free), (_frozen, full), (gone, broken)) = (pair(), pair(), pair());
    let much = vec![0; 64 << 20];
    let mut results = Vec::new();
    ring.send(&[(&full, &much)], &mut results);
    let taken = *results[0].as_ref().unwrap();
    assert!((1..much.len()).contains(&taken), "in part: {taken}");
    while ring_sends_some(&mut ring, &full, &much) {}
    drop(gone);
    while ring_sends_some(&mut ring, &broken, b"the reset comes after this") {}
    ring.send(&[(&full, b"a"), (&free, b"bc"), (&broken, b"d"), (&free, b"")], &mut results);
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(*results[1].as_ref().unwrap(), 2);
    assert_eq!(results[2].as_ref().unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(*results[3].as_ref().unwrap(), 0);
    let mut received = [0; 2];
    reader.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"bc");
    ring.send(&[], &mut results);
    assert!(results.is_empty());
}

fn ring_sends_some(ring: &mut SendRing, socket: &TcpStream, bytes: &[u8]) -> bool {
    let mut results = Vec::new();
    ring.send(&[(socket, bytes)], &mut results);
    results[0].is_ok()
}
