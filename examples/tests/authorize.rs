//! The example that lets nobody in without a token.

use std::io::{Read as _, Write as _};

use forebay_examples::{PATIENCE, Server, ask, read};
use tungstenite::client::IntoClientRequest as _;

/// The status of the answer to an opening request with such a target and such further lines.
fn status(server: &Server, target: &str, lines: &str) -> u16 {
    let mut stream = server.tcp();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    std::str::from_utf8(&answer).unwrap().strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap()
}

#[test]
fn a_token_opens_and_says_who_it_is() {
    let server = Server::start("authorize", &["https://app.example.com"]);
    for (target, lines, expected) in [
        ("/live?token=t-ann", "", 101),
        ("/live?room=1&token=t-bob", "", 101),
        ("/live", "Authorization: Bearer t-bob\r\n", 101),
        ("/live?token=t-ann", "Origin: https://app.example.com\r\n", 101),
        ("/live", "", 401),
        ("/live?token=", "", 401),
        ("/live?token=t-an", "", 401),
        ("/live?token=t-ann2", "", 401),
        ("/live?xtoken=t-ann", "", 401),
        ("/live", "Authorization: Basic t-ann\r\n", 401),
        // A header that is wrong is not made good by the query.
        ("/live?token=t-ann", "Authorization: Bearer wrong\r\n", 401),
        ("/", "Authorization: Bearer t-bob\r\n", 404),
        ("/live/", "Authorization: Bearer t-bob\r\n", 404),
        ("/live?token=t-ann", "Origin: https://evil.example\r\n", 403),
        ("/live?token=t-ann", "Origin: null\r\n", 403),
    ] {
        assert_eq!(status(&server, target, lines), expected, "{target} {lines}");
    }
    // A client of another library.
    let mut request = format!("ws://{}/live", server.address).into_client_request().unwrap();
    request.headers_mut().insert("Authorization", "Bearer t-ann".parse().unwrap());
    let stream = server.tcp();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut client, _) = tungstenite::client(request, stream).unwrap();
    assert!(read(&mut client).starts_with(r#"{"op":"hello""#));
    assert_eq!(ask(&mut client, r#"{"op":"ping","id":1}"#), r#"{"op":"pong","id":1}"#);
}
