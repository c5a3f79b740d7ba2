//! The programs that conformance suites talk to.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use forebay_examples::{PATIENCE, Server, run};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

const BINDINGS: [&str; 2] = ["threads", "smol"];

fn echo(binding: &str) -> Server {
    Server::start_with("echo", &["--binding", binding, "--listen", "127.0.0.1:0"])
}

#[test]
fn what_was_said_comes_back_as_it_was() {
    for binding in BINDINGS {
        let server = echo(binding);
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = format!("ws://{}/", server.address);
        let mut client = tungstenite::client::client_with_config(url, server.tcp(), Some(config)).unwrap().0;
        let longest = vec![7; 16 << 20];
        for message in [Message::text(""), Message::text("é"), Message::binary(vec![0, 255]), Message::binary(longest)]
        {
            client.send(message.clone()).unwrap();
            assert!(client.read().unwrap() == message, "{binding}: {} bytes", message.len());
        }
        client.send(Message::binary(vec![7; (16 << 20) + 1])).unwrap_or_default(); // It may be gone before all is written.
        assert!(client.read().map_or(true, |message| message.is_close()));
    }
}

#[test]
fn what_is_not_taken_waits_where_it_is() {
    const MESSAGES: usize = 60_000;
    for binding in BINDINGS {
        let server = echo(binding);
        let mut writing = server.websocket();
        let mut reading = writing.get_ref().try_clone().unwrap();
        // 180 MB, which nobody reads at first: more than the program may hold.
        let frame = [&[0x82, 0xfe, 0x0b, 0xb8, 0, 0, 0, 0][..], &[1; 3_000]].concat();
        let writer = thread::spawn(move || {
            for _ in 0..MESSAGES {
                writing.get_mut().write_all(&frame).unwrap();
            }
            writing
        });
        server.wait_until_idle();
        if let Some(peak) = server.peak_bytes() {
            assert!(peak < 100 << 20, "{binding}: {peak} bytes");
        }
        let mut answer = vec![0; 4 + 3_000];
        for _ in 0..MESSAGES {
            reading.read_exact(&mut answer).unwrap();
            assert_eq!((&answer[..4], answer[4..].iter().all(|byte| *byte == 1)), (&[0x82, 126, 0x0b, 0xb8][..], true));
        }
        drop(writer.join().unwrap());
    }
}

/// The next connection, and what it asks for.
fn accept(listener: &TcpListener) -> (String, WebSocket<TcpStream>) {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut asked = String::new();
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        asked = request.uri().to_string();
        Ok(response)
    };
    let socket = tungstenite::accept_hdr(stream, look).unwrap();
    (asked, socket)
}

/// Closes, and waits for the other side to do so.
fn close(mut socket: WebSocket<TcpStream>) {
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn a_client_says_back_what_each_case_says() {
    for binding in BINDINGS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let mut client = run("echo_client").args(["--binding", binding]).env("AUTOBAHN_URL", url).spawn().unwrap();

        let (asked, mut socket) = accept(&listener);
        assert_eq!(asked, "/getCaseCount");
        socket.send(Message::text("2")).unwrap();
        close(socket);
        for case in 1..=2 {
            let (asked, mut socket) = accept(&listener);
            assert_eq!(asked, format!("/runCase?case={case}&agent=forebay-{binding}"));
            for message in [Message::text("a"), Message::binary(vec![1])] {
                socket.send(message.clone()).unwrap();
                assert_eq!(socket.read().unwrap(), message);
            }
            close(socket);
        }
        let (asked, socket) = accept(&listener);
        assert_eq!(asked, format!("/updateReports?agent=forebay-{binding}"));
        close(socket);
        assert!(client.wait().unwrap().success());
    }
}
