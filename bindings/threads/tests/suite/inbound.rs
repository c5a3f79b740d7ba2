//! What comes in and is not received.

use std::io::{ErrorKind, Write as _};
use std::sync::mpsc::channel;

use super::common::{HANG, start_with};
use super::raw::{OPENING, head, socket};
use crate::binding::{Event, Mode, Options, ServerOptions};

const PAYLOAD_BYTES: usize = 4_096;
const INBOUND_BYTES_MAX: u32 = 64 << 10;

/// A binary message that says its number; the mask is 0.
fn message(number: u32) -> Vec<u8> {
    let mut frame = vec![0x82, 0xFE];
    frame.extend_from_slice(&u16::try_from(PAYLOAD_BYTES).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&number.to_be_bytes());
    frame.resize(8 + PAYLOAD_BYTES, 0);
    frame
}

/// In SocketCluster what came before somebody listened was lost, and what came while nobody took it was kept without a
/// bound. Here it waits: at the bound in TCP, at whoever sends it, until the application is woken.
#[test]
fn what_an_application_does_not_receive_is_bounded_and_none_of_it_is_lost() {
    let hub =
        Options { message_bytes_max: INBOUND_BYTES_MAX, inbound_bytes_max: INBOUND_BYTES_MAX, ..Options::default() };
    let (received, receive) = channel();
    let (mut is_open, mut conns) = (false, Vec::new());
    let server =
        start_with(ServerOptions { hub, mode: Mode::Raw, ..ServerOptions::default() }, move |hub, event, now| {
            match event {
                Event::Received(conn) => conns.push(conn),
                Event::Woken => is_open = true,
                _ => {}
            }
            for conn in conns.drain(..if is_open { conns.len() } else { 0 }) {
                while let Some(message) = hub.receive(conn, now) {
                    let number = message.bytes[..4].try_into().map(u32::from_be_bytes).unwrap();
                    received.send(number).unwrap();
                }
            }
        });
    let mut stream = socket(&server);
    // With its opening request, before the application knows of it.
    let mut bytes = OPENING.as_bytes().to_vec();
    bytes.extend_from_slice(&message(0));
    stream.write_all(&bytes).unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));

    let received_bytes = || server.handle.stats().received.bytes;
    stream.set_nonblocking(true).unwrap();
    let (mut count, mut rest) = (1, Vec::new());
    loop {
        if rest.is_empty() {
            rest = message(count);
            count += 1;
        }
        match stream.write(&rest) {
            Ok(written) => drop(rest.drain(..written)),
            // It is full when the hub does not read any more.
            Err(error) if error.kind() == ErrorKind::WouldBlock && received_bytes() >= INBOUND_BYTES_MAX.into() => {
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(received_bytes() <= u64::from(INBOUND_BYTES_MAX) + (64 << 10), "the bound, and one read");
    let resident = server.handle.snapshot(0).unwrap().pressure.resident_bytes;
    assert!(resident < 4 * INBOUND_BYTES_MAX as usize, "{resident}");
    assert!(receive.try_recv().is_err());

    server.handle.wake();
    stream.set_nonblocking(false).unwrap();
    stream.write_all(&rest).unwrap();
    assert!((0..count).all(|number| receive.recv_timeout(HANG) == Ok(number)), "all, and in order");
}

#[test]
fn wakes_are_told_once_when_they_come_together() {
    let (told, tell) = channel();
    let (to_application, handles) = channel::<crate::binding::Handle>();
    let server = start_with(ServerOptions::default(), move |_, event, _| {
        if event == Event::Woken {
            told.send(()).unwrap();
            // The first time.
            if let Ok(handle) = handles.try_recv() {
                (0..100).for_each(|_| handle.wake());
            }
        }
    });
    to_application.send(server.handle.clone()).unwrap();
    server.handle.wake();
    tell.recv_timeout(HANG).unwrap();
    tell.recv_timeout(HANG).unwrap();
    // Two turns more.
    (0..2).for_each(|_| drop(server.handle.snapshot(0)));
    assert!(tell.try_recv().is_err());
    let handle = server.handle.clone();
    server.stop();
    handle.wake();
}
