//! One port for an HTTP server and for what it hands over.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use forebay_examples::{Client, Server, ask, read, say, wait_until};
use tungstenite::protocol::{Role, WebSocket};

fn request(server: &Server, request: &str) -> TcpStream {
    let mut stream = server.tcp();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn get(server: &Server, path: &str) -> String {
    let mut answer = String::new();
    request(server, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).read_to_string(&mut answer).unwrap();
    answer
}

/// A client whose connection the HTTP server has handed over, and which was greeted.
fn connect(server: &Server) -> Client {
    let url = format!("ws://{}/live", server.address);
    let mut client = tungstenite::client(url, server.tcp()).expect("an opening handshake").0;
    assert!(read(&mut client).starts_with(r#"{"op":"hello""#));
    client
}

#[test]
fn pages_and_websockets_come_from_one_port() {
    let server = Server::start("embedded_in_http", &[]);
    let page = get(&server, "/");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("</script>\n"), "{page}");
    let mut clients = [connect(&server), connect(&server)];
    for client in &mut clients {
        let answer = ask(client, r#"{"op":"subscribe","topic":"visits","id":1}"#);
        assert!(answer.starts_with(r#"{"op":"ok","id":1"#), "{answer}");
    }
    for (seq, count) in [(1, 2), (2, 3)] {
        get(&server, "/");
        for client in &mut clients {
            assert_eq!(read(client), format!(r#"{{"op":"message","topic":"visits","seq":{seq},"data":{count}}}"#));
        }
    }
    // What is not for the hub is answered by the HTTP server.
    for (path, upgrade) in [("/live", ""), ("/other", "Upgrade: websocket\r\nConnection: Upgrade\r\n")] {
        let mut answer = String::new();
        let mut stream = request(&server, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n{upgrade}\r\n"));
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

#[test]
fn what_is_said_at_once_is_not_lost_and_nothing_is_left_of_whoever_goes() {
    let server = Server::start("embedded_in_http", &[]);
    drop(connect(&server)); // There is a worker.
    let mut witness = connect(&server);
    server.wait_until_idle();
    let before = server.holds();
    // The opening request, a message behind it, and the beginning of the next one, in one write.
    let opening = "GET /live HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let mut frames = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Client, None);
    for text in [r#"{"op":"subscribe","topic":"t","id":1}"#, r#"{"op":"publish","topic":"t","data":1}"#] {
        frames.send(tungstenite::Message::text(text)).unwrap();
    }
    let frames = frames.into_inner().into_inner();
    let (first, rest) = frames.split_at(frames.len() - 5);
    let mut stream = server.tcp();
    stream.write_all(&[opening.as_bytes(), first].concat()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream.write_all(rest).unwrap();
    let mut client = WebSocket::from_raw_socket(stream, Role::Client, None);
    assert!(read(&mut client).starts_with(r#"{"op":"hello""#));
    assert!(read(&mut client).starts_with(r#"{"op":"ok","id":1,"topic":"t""#));
    assert_eq!(read(&mut client), r#"{"op":"message","topic":"t","seq":1,"data":1}"#);
    drop(client);
    wait_until("nothing is left of it", || server.holds() == before);
    say(&mut witness, r#"{"op":"ping"}"#);
    assert_eq!(read(&mut witness), r#"{"op":"pong"}"#);
}
