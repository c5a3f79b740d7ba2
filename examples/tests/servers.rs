//! What every topic server among the examples must do, each run as a process and spoken to by a client of another library.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use forebay_examples::{Client, Server, ask, read, say, wait_until};
use socket2::SockRef;

const PAYLOAD_BYTES: usize = 50_000;
/// What a process may grow by when more than that waits for one frozen client: its lane of 1 MiB, and some slack.
const GROWTH_BYTES_MAX: u64 = 4 << 20;

macro_rules! servers {
    ($($example:ident)*) => {$(
        mod $example {
            const NAME: &str = stringify!($example);

            #[test]
            fn messages_go_from_one_client_to_another() {
                super::messages_go_from_one_client_to_another(NAME);
            }

            #[test]
            fn a_frozen_client_costs_the_others_nothing_and_is_told_what_it_lost() {
                super::a_frozen_client_costs_the_others_nothing_and_is_told_what_it_lost(NAME);
            }

            #[test]
            fn a_frozen_client_can_be_given_up() {
                super::a_frozen_client_can_be_given_up(NAME);
            }

            #[test]
            fn of_clients_that_vanish_nothing_is_left() {
                super::of_clients_that_vanish_nothing_is_left(NAME);
            }

            #[test]
            fn a_client_that_reads_no_answers_is_not_read() {
                super::a_client_that_reads_no_answers_is_not_read(NAME);
            }

            #[test]
            fn clients_that_ask_faster_than_they_are_answered_get_every_answer() {
                super::clients_that_ask_faster_than_they_are_answered_get_every_answer(NAME);
            }

            #[test]
            fn a_client_that_sends_without_end_stops_nobody() {
                super::a_client_that_sends_without_end_stops_nobody(NAME);
            }

            #[test]
            fn garbage_is_refused() {
                super::garbage_is_refused(NAME);
            }

            #[test]
            fn the_loop_fits_a_page() {
                super::the_loop_fits_a_page(include_str!(concat!("../", stringify!($example), ".rs")));
            }
        }
    )*};
}

servers! { mio_loop tokio_loop threads_blocking calloop_loop }
#[cfg(target_os = "linux")]
servers! { epoll_loop }

fn subscribe(client: &mut Client, topic: &str) {
    let answer = ask(client, &format!(r#"{{"op":"subscribe","topic":"{topic}","id":1}}"#));
    assert!(answer.starts_with(r#"{"op":"ok","id":1"#), "{answer}");
}

/// Publishes `data` as number `number`, which enters `matched` lanes.
fn publish(client: &mut Client, topic: &str, number: usize, data: &str, matched: usize) {
    let answer = ask(client, &format!(r#"{{"op":"publish","topic":"{topic}","data":"{data}","id":{number}}}"#));
    assert_eq!(answer, format!(r#"{{"op":"ok","id":{number},"seq":{number},"matched":{matched}}}"#));
}

/// A client that subscribes to `topic` and reads nothing, after so much was published that its output is blocked. Another one
/// reads all of it, as it comes.
fn frozen(server: &Server, writer: &mut Client, topic: &str, count: usize) -> Client {
    let (mut frozen, mut reader) = (server.connect(), server.connect());
    subscribe(&mut frozen, topic);
    subscribe(&mut reader, topic);
    let data = "x".repeat(PAYLOAD_BYTES);
    for number in 1..=count {
        publish(writer, topic, number, &data, 2);
        let expected = format!(r#"{{"op":"message","topic":"{topic}","seq":{number},"data":"{data}"}}"#);
        assert!(read(&mut reader) == expected, "message {number} as it was published");
    }
    frozen
}

/// One of number 1 of a topic that nobody knows any more.
fn is_forgotten(client: &mut Client, topic: &str) -> bool {
    ask(client, &format!(r#"{{"op":"publish","topic":"{topic}","data":1,"id":0}}"#)).contains(r#""seq":1,"matched":0}"#)
}

fn messages_go_from_one_client_to_another(example: &str) {
    let server = Server::start(example, &[]);
    let (mut reader, mut writer) = (server.connect(), server.connect());
    subscribe(&mut reader, "t");
    let payload = "x".repeat(PAYLOAD_BYTES);
    for number in 1..=200 {
        publish(&mut writer, "t", number, &payload, 1);
        assert_eq!(read(&mut reader), format!(r#"{{"op":"message","topic":"t","seq":{number},"data":"{payload}"}}"#));
    }
    reader.close(None).unwrap();
    while reader.read().is_ok() {}
    wait_until("the topic is forgotten", || is_forgotten(&mut writer, "t"));
    server.wait_until_idle();
}

fn a_frozen_client_costs_the_others_nothing_and_is_told_what_it_lost(example: &str) {
    let server = Server::start(example, &[]);
    let mut writer = server.connect();
    let before = server.peak_bytes();
    let mut frozen = frozen(&server, &mut writer, "t", 400);
    if let (Some(before), Some(peak)) = (before, server.peak_bytes()) {
        assert!(peak - before < GROWTH_BYTES_MAX, "20 MB were published, and it grew by {} bytes", peak - before);
    }
    server.wait_until_idle();
    let (mut received, mut missed) = (0, 0);
    while received + missed < 400 {
        let text = read(&mut frozen);
        match text.split_once(r#","missed":"#) {
            Some((_, rest)) => missed += rest.split_once(',').unwrap().0.parse::<u64>().unwrap(),
            None => received += u64::from(text.starts_with(r#"{"op":"message","topic":"t","seq":"#)),
        }
    }
    assert_eq!(received + missed, 400);
    assert!(received >= 20 && missed >= 20, "a lane of 1 MiB was full: {received} received, {missed} missed");
}

/// It breaks the protocol, too, but cannot be told; `close_timeout` (5 s) later it is cut.
fn a_frozen_client_can_be_given_up(example: &str) {
    let server = Server::start(example, &[]);
    let mut writer = server.connect();
    let before = server.holds();
    let mut frozen = frozen(&server, &mut writer, "t", 100);
    frozen.get_mut().write_all(&[0x81, 0x00]).expect("an unmasked frame");
    wait_until("nothing is left of it", || server.holds() == before && is_forgotten(&mut writer, "t"));
}

fn of_clients_that_vanish_nothing_is_left(example: &str) {
    let server = Server::start(example, &[]);
    let mut writer = server.connect();
    let before = server.holds();
    for number in 0..100 {
        let mut client = server.connect();
        subscribe(&mut client, "u");
        if number % 2 == 0 {
            reset_on_close(client.get_ref());
        }
    }
    let frozen = frozen(&server, &mut writer, "t", 100);
    reset_on_close(frozen.get_ref());
    drop(frozen);
    let stuffed = server.connect(); // It is not read any more, so no read tells of its end.
    stuff(&stuffed, "");
    server.wait_until_idle();
    reset_on_close(stuffed.get_ref());
    drop(stuffed);
    drop(server.tcp()); // Before its opening handshake.
    wait_until("nothing is left of them", || server.holds() == before);
    wait_until("the topics are forgotten", || is_forgotten(&mut writer, "t") && is_forgotten(&mut writer, "u"));
    server.wait_until_idle();
}

/// The peer gets an RST, no FIN.
fn reset_on_close(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("the option exists");
}

/// A frame that asks for an answer; as many of these as a server takes that gets rid of no answers; how many bytes that were.
fn stuff(asker: &Client, id: &str) -> (Vec<u8>, usize) {
    let text = format!(r#"{{"op":"ping","id":"{id}"}}"#);
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0]; // The mask is 0.
    frame.extend_from_slice(text.as_bytes());
    let mut stream = asker.get_ref();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let chunk = frame.repeat(1_000);
    let mut sent = 0;
    loop {
        assert!(sent < 200 << 20, "it reads on and on");
        match stream.write(&chunk[sent % frame.len()..]) {
            Ok(len) => sent += len,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                stream.set_write_timeout(None).unwrap();
                return (frame, sent);
            }
        }
    }
}

fn a_client_that_reads_no_answers_is_not_read(example: &str) {
    let server = Server::start(example, &[]);
    let mut asker = server.connect();
    let before = server.peak_bytes();
    let id = "i".repeat(60);
    let (frame, sent) = stuff(&asker, &id);
    server.wait_until_idle();
    if let (Some(before), Some(peak)) = (before, server.peak_bytes()) {
        assert!(peak - before < GROWTH_BYTES_MAX, "it grew by {} bytes", peak - before);
    }
    let mut other = server.connect();
    assert_eq!(ask(&mut other, r#"{"op":"ping"}"#), r#"{"op":"pong"}"#);
    // It reads at last: then it is read, too, and nothing was lost.
    let rest = frame[sent % frame.len()..].to_vec();
    let mut stream = asker.get_ref().try_clone().unwrap();
    let writing = std::thread::spawn(move || stream.write_all(&rest).unwrap());
    for _ in 0..=sent / frame.len() {
        assert_eq!(read(&mut asker), format!(r#"{{"op":"pong","id":"{id}"}}"#));
    }
    writing.join().unwrap();
    say(&mut asker, r#"{"op":"ping"}"#);
    assert_eq!(read(&mut asker), r#"{"op":"pong"}"#);
}

/// They are paused and resumed all the time; who misses one resume waits forever.
fn clients_that_ask_faster_than_they_are_answered_get_every_answer(example: &str) {
    const ASKED: usize = 10_000;
    let server = Server::start(example, &[]);
    let id = "i".repeat(60);
    let text = format!(r#"{{"op":"ping","id":"{id}"}}"#);
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    let all = frame.repeat(ASKED);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut client = server.connect();
            let mut stream = client.get_ref().try_clone().unwrap();
            let (all, id) = (&all, &id);
            scope.spawn(move || stream.write_all(all).unwrap());
            scope.spawn(move || {
                for _ in 0..ASKED {
                    assert_eq!(read(&mut client), format!(r#"{{"op":"pong","id":"{id}"}}"#));
                }
            });
        }
    });
}

fn a_client_that_sends_without_end_stops_nobody(example: &str) {
    let server = Server::start(example, &[]);
    let (mut other, flooder) = (server.connect(), server.connect());
    let text = r#"{"op":"publish","topic":"flood","data":1}"#;
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    let chunk = frame.repeat(10_000);
    let mut stream = flooder.get_ref().try_clone().unwrap();
    let flood = std::thread::spawn(move || while stream.write_all(&chunk).is_ok() {});
    other.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for _ in 0..50 {
        assert_eq!(ask(&mut other, r#"{"op":"ping"}"#), r#"{"op":"pong"}"#);
    }
    flooder.get_ref().shutdown(Shutdown::Both).unwrap();
    flood.join().unwrap();
}

fn garbage_is_refused(example: &str) {
    let server = Server::start(example, &[]);
    let mut client = server.tcp();
    client.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer, and the end");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

fn the_loop_fits_a_page(source: &str) {
    let (_, rest) = source.split_once("// The loop: begin").unwrap();
    let (body, _) = rest.split_once("// The loop: end").unwrap();
    assert!(body.trim().lines().count() <= 92, "{} lines", body.trim().lines().count());
}
