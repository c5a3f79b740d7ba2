//! The example `mio_loop`, with a real client of another library.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use tungstenite::{Message, WebSocket};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> (Server, String) {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "forebay-examples", "--example", "mio_loop", "--", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("cargo runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ws://").expect("it says where it listens").to_owned();
    (Server(child), address)
}

fn connect(address: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/"), stream).unwrap();
    assert!(read(&mut socket).starts_with(r#"{"op":"hello""#));
    socket
}

fn read(socket: &mut WebSocket<TcpStream>) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

fn say(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(Message::text(text.to_owned())).unwrap();
}

#[test]
fn messages_go_from_one_client_to_another() {
    let (_server, address) = start();
    let (mut reader, mut writer) = (connect(&address), connect(&address));
    say(&mut reader, r#"{"op":"subscribe","topic":"t","id":1}"#);
    assert!(read(&mut reader).starts_with(r#"{"op":"ok","id":1"#));
    let payload = "x".repeat(50_000);
    for number in 1..=200 {
        say(&mut writer, &format!(r#"{{"op":"publish","topic":"t","data":"{payload}","id":{number}}}"#));
        assert_eq!(read(&mut writer), format!(r#"{{"op":"ok","id":{number},"seq":{number},"matched":1}}"#));
        assert_eq!(read(&mut reader), format!(r#"{{"op":"message","topic":"t","seq":{number},"data":"{payload}"}}"#));
    }
    reader.close(None).unwrap();
    while reader.read().is_ok() {}
    say(&mut writer, r#"{"op":"publish","topic":"t","data":1,"id":0}"#);
    assert_eq!(read(&mut writer), r#"{"op":"ok","id":0,"seq":1,"matched":0}"#, "the topic was forgotten");
}

#[test]
fn the_loop_is_as_short_as_the_manual_says() {
    let source = include_str!("../mio_loop.rs");
    let (_, rest) = source.split_once("// The loop: begin").unwrap();
    let (body, _) = rest.split_once("// The loop: end").unwrap();
    assert!(body.trim().lines().count() <= 60, "{} lines", body.trim().lines().count());
}
