//! Without a free file descriptor nothing is accepted, nobody else is concerned, and it passes. A process of its own,
//! because it takes all descriptors.
#![cfg(unix)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::binding::{Client, ClientOptions, Payload, Server, ServerOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const HANG: Duration = Duration::from_secs(60);
const OPENING: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

struct Counter;

impl log::Log for Counter {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Warn {
            WARNINGS.fetch_add(1, SeqCst);
        }
    }

    fn flush(&self) {}
}

fn wait_for_warnings(count: usize) {
    let started = Instant::now();
    while WARNINGS.load(SeqCst) < count {
        assert!(started.elapsed() < HANG);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn without_descriptors_the_listener_pauses_and_says_so_once() {
    log::set_logger(&Counter).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();

    let server = Server::bind("127.0.0.1:0", ServerOptions::default()).unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let running = std::thread::spawn(move || server.run());
    let witness = Client::connect(&format!("ws://{address}"), ClientOptions::default()).unwrap();
    witness.send(Payload::Text(r#"{"op":"subscribe","topic":"t"}"#)).unwrap();
    assert!(witness.receive_timeout(HANG).unwrap().as_text().unwrap().contains("hello"));
    while handle.publish("t", Payload::Text("0")).unwrap().matched == 0 {}
    witness.receive_timeout(HANG).unwrap();

    for episode in 1..=2 {
        let mut hogs = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hogs.push(file);
        }
        hogs.pop();
        let mut late = TcpStream::connect(address).unwrap();
        late.set_read_timeout(Some(HANG)).unwrap();
        late.write_all(OPENING).unwrap();
        wait_for_warnings(episode);
        for n in 0..20 {
            handle.publish("t", Payload::Text(&n.to_string())).unwrap();
            let message = witness.receive_timeout(HANG).unwrap();
            assert!(message.as_text().unwrap().ends_with(&format!("\"data\":{n}}}")), "others are served");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(WARNINGS.load(SeqCst), episode, "once per episode, however often it was tried");
        drop(hogs);
        let mut answer = [0; 12];
        late.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101", "who waited is accepted after all");
    }
    handle.shutdown();
    running.join().unwrap().unwrap();
}
