//! What the kernel says of a socket that was tuned.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_sys::{Events, Poller, Tuning, Watched, connect, tune, unsent_bytes};

fn pair(receive_buffer_bytes: Option<u32>) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().unwrap(), Duration::from_secs(60), receive_buffer_bytes).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_tuned_socket_holds_little_for_a_peer_that_does_not_read() {
    let (_client, mut server) = pair(Some(4_096));
    tune(&server, Tuning { notsent_lowat_bytes: 16 << 10, send_buffer_bytes: None }).unwrap();
    assert!(server.nodelay().unwrap());
    let mut written = 0;
    loop {
        match server.write(&[0; 4_096]) {
            Ok(bytes) => written += bytes,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(written > 0);
    if cfg!(target_os = "linux") {
        assert!(written < 512 << 10, "megabytes without TCP_NOTSENT_LOWAT: {written}");
        let unsent = unsent_bytes(&server).unwrap() as usize;
        assert!((1..=written).contains(&unsent), "{unsent}");
    }
}

#[test]
fn what_was_aborted_is_a_reset_for_its_peer() {
    let (mut client, server) = pair(None);
    forebay_sys::abort_on_close(&server).unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_watched_socket_is_told_of_until_it_is_dropped() {
    let poller = Arc::new(Poller::new().unwrap());
    let (mut client, server) = pair(None);
    let mut watched = Watched::new(server, Arc::clone(&poller));
    watched.watch(7, true, false).unwrap();
    client.write_all(b"x").unwrap();
    let mut events = Events::with_capacity(NonZeroUsize::new(16).unwrap());
    poller.wait(&mut events, None).unwrap();
    assert_eq!(events.iter().map(|event| (event.key, event.readable)).collect::<Vec<_>>(), [(7, true)]);
    watched.watch(8, false, true).unwrap();
    events.clear();
    poller.wait(&mut events, None).unwrap();
    assert_eq!(events.iter().map(|event| (event.key, event.writable)).collect::<Vec<_>>(), [(8, true)]);
    let again = watched.source().try_clone().unwrap(); // Keeps it open, so that only `drop` can have taken it out.
    drop(watched);
    events.clear();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty() && events.iter().count() == 0);
    drop(again);
}

#[test]
fn a_poller_can_be_woken_before_it_waits_and_says_nothing_of_it() {
    let poller = Arc::new(Poller::new().unwrap());
    let mut events = Events::with_capacity(NonZeroUsize::new(16).unwrap());
    for _ in 0..3 {
        poller.notify().unwrap();
        poller.wait(&mut events, None).unwrap();
        assert!(events.is_empty());
    }
    let waiting = std::thread::spawn({
        let poller = Arc::clone(&poller);
        move || poller.wait(&mut events, None).map(|()| events.is_empty())
    });
    poller.notify().unwrap();
    assert!(waiting.join().unwrap().unwrap());
}

#[test]
fn a_poller_waits_until_its_timeout() {
    let poller = Poller::new().unwrap();
    let mut events = Events::with_capacity(NonZeroUsize::new(16).unwrap());
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1_500)] {
        let began = Instant::now();
        poller.wait(&mut events, Some(timeout)).unwrap();
        assert!(began.elapsed() >= timeout && events.is_empty());
    }
}

#[test]
fn exhaustion_is_told_from_other_failures() {
    assert!(!forebay_sys::is_exhaustion(&io::ErrorKind::ConnectionAborted.into()));
    #[cfg(target_os = "linux")]
    assert!(forebay_sys::is_exhaustion(&io::Error::from_raw_os_error(24)));
    let limit = forebay_sys::raise_open_files().unwrap();
    assert_eq!(limit, forebay_sys::raise_open_files().unwrap());
}
