//! The programs that load generators are pointed at.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use forebay_examples::{Client, Server, wait_until};
use socket2::SockRef;
use tungstenite::{Error, Message};

/// More than go to the kernel at once.
const MANY: usize = 600;

fn servers() -> impl Iterator<Item = Server> {
    let bindings = ["threads", "smol"];
    let bindings = bindings.into_iter().map(|name| Server::start_with("bench_server", &["0", "--binding", name]));
    bindings.chain(uring_loop())
}

/// Where the kernel gives no io_uring, as in many containers, there is nothing that could be installed: then it has to say so.
#[cfg(target_os = "linux")]
fn uring_loop() -> Option<Server> {
    if forebay_sys::SendRing::new().is_ok() {
        return Some(Server::start("uring_loop", &[]));
    }
    let refused = forebay_examples::run("uring_loop").arg("127.0.0.1:0").output().unwrap();
    let errors = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && errors.contains("needs io_uring"), "{errors}");
    println!("skipped: needs io_uring");
    None
}

#[cfg(not(target_os = "linux"))]
fn uring_loop() -> Option<Server> {
    println!("skipped: needs io_uring");
    None
}

/// The next message. Pings are answered by the library.
fn read(client: &mut Client) -> Message {
    loop {
        match client.read().unwrap() {
            Message::Ping(_) => {}
            message => return message,
        }
    }
}

fn ask(client: &mut Client, question: Message) -> Message {
    client.send(question).unwrap();
    read(client)
}

fn subscriber(server: &Server) -> Client {
    let mut client = server.websocket();
    client.get_ref().set_nodelay(true).unwrap(); // Many subscribe, one after another.
    client.send(Message::text("SUB t")).unwrap();
    // Answered behind it, so that it has subscribed.
    assert_eq!(ask(&mut client, Message::text("hello")), Message::text("hello"));
    client
}

/// The peer gets an RST, no FIN.
fn reset_on_close(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn they_speak_the_protocol_of_load_generators() {
    for server in servers() {
        let mut clients: Vec<Client> = (0..3).map(|_| server.websocket()).collect();
        for client in &mut clients[..2] {
            client.send(Message::text("SUB t")).unwrap();
            // Answered behind it, so that it has subscribed.
            for said in [Message::text("hello"), Message::binary(vec![0; 100_000])] {
                assert!(ask(client, said.clone()) == said);
            }
        }
        for published in [Message::text("P of one"), Message::binary(vec![b'P'; 70_000])] {
            clients[2].send(published.clone()).unwrap();
            for client in &mut clients[..2] {
                assert!(read(client) == Message::binary(published.clone().into_data()));
            }
        }
        assert_eq!(ask(&mut clients[2], Message::text("not subscribed")), Message::text("not subscribed"));
    }
}

#[test]
fn what_is_published_goes_to_each_of_many_subscribers_once() {
    for server in servers() {
        let mut subscribers: Vec<Client> = (0..MANY).map(|_| subscriber(&server)).collect();
        let mut publisher = server.websocket();
        for number in 0..5 {
            let published = Message::binary(format!("P{number}").into_bytes());
            publisher.send(published.clone()).unwrap();
            for client in &mut subscribers {
                assert_eq!(read(client), published);
            }
        }
        for client in &mut subscribers {
            assert_eq!(ask(client, Message::text("and nothing else")), Message::text("and nothing else"));
        }
    }
}

#[test]
fn who_reads_slowly_loses_the_oldest_messages_and_costs_the_others_nothing() {
    const PUBLISHED: usize = 400;
    for server in servers() {
        let (mut slow, mut reader, mut publisher) = (subscriber(&server), subscriber(&server), server.websocket());
        let before = server.peak_bytes();
        for number in 0..PUBLISHED {
            let published = Message::binary(format!("P{number:050000}").into_bytes());
            publisher.send(published.clone()).unwrap();
            assert!(read(&mut reader) == published, "message {number} as it was published");
        }
        if let (Some(before), Some(peak)) = (before, server.peak_bytes()) {
            assert!(peak - before < 4 << 20, "20 MB were published, and it grew by {} bytes", peak - before);
        }
        let mut received = Vec::new();
        while received.last() != Some(&(PUBLISHED - 1)) {
            let Message::Binary(message) = read(&mut slow) else { panic!("it is no message") };
            assert_eq!(message.len(), 50_001);
            received.push(std::str::from_utf8(&message[1..]).unwrap().parse().unwrap());
        }
        assert!(received.is_sorted() && (20..PUBLISHED - 20).contains(&received.len()), "{received:?}");
    }
}

/// They are paused and resumed all the time, and their sockets are full.
#[test]
fn who_asks_faster_than_it_is_answered_gets_every_answer() {
    const ASKED: usize = 4_000;
    for server in servers() {
        let payload = [b'x'; 1_000];
        let mut frame = vec![0x82, 0x80 | 126, 0x03, 0xe8, 0, 0, 0, 0]; // The mask is 0.
        frame.extend_from_slice(&payload);
        let all = frame.repeat(ASKED);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let mut client = server.websocket();
                let mut stream = client.get_ref().try_clone().unwrap();
                let all = &all;
                scope.spawn(move || stream.write_all(all).unwrap());
                scope.spawn(move || (0..ASKED).for_each(|_| assert!(read(&mut client).into_data() == payload[..])));
            }
        });
    }
}

#[test]
fn of_clients_that_close_or_vanish_nothing_is_left() {
    for server in servers() {
        let (mut reader, mut publisher) = (subscriber(&server), server.websocket());
        let before = server.holds();
        let mut closing: Vec<Client> = (0..20).map(|_| subscriber(&server)).collect();
        let vanishing: Vec<Client> = (0..20).map(|_| subscriber(&server)).collect();
        vanishing.iter().for_each(|client| reset_on_close(client.get_ref()));
        drop(vanishing);
        for number in 0..50 {
            let published = Message::binary(format!("P{number}").into_bytes());
            publisher.send(published.clone()).unwrap();
            assert_eq!(read(&mut reader), published);
        }
        for client in &mut closing {
            client.close(None).unwrap();
            let end = loop {
                if let Err(error) = client.read() {
                    break error;
                }
            };
            assert!(matches!(end, Error::ConnectionClosed), "the closing handshake is ended: {end}");
        }
        wait_until("nothing is left of them", || server.holds() == before);
        server.wait_until_idle();
    }
}
