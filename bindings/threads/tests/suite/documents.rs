//! Plain HTTP requests.

use std::io::Write;

use super::common::{start, text};
use super::raw::{head, rest, socket};
use crate::binding::{Bytes, Document, Server, ServerOptions};

fn with(documents: &[(&str, &str, &'static [u8])]) -> ServerOptions {
    let document = |(path, content_type, body): &(&str, &str, &'static [u8])| Document {
        path: (*path).to_owned(),
        content_type: (*content_type).to_owned(),
        body: Bytes::from_static(body),
    };
    ServerOptions { documents: documents.iter().map(document).collect(), ..ServerOptions::default() }
}

#[test]
fn documents_are_served_beside_the_websocket() {
    static LARGE: [u8; 400_000] = [b'x'; 400_000];
    let server = start(with(&[("/", "text/html; charset=utf-8", b"<p>here</p>"), ("/large", "text/plain", &LARGE)]));
    let client = server.subscriber("t");
    for (path, content_type, body) in [
        ("/", "text/html; charset=utf-8", &b"<p>here</p>"[..]),
        ("/?q=1", "text/html", b"<p>here</p>"),
        ("/large", "text/plain", &LARGE),
    ] {
        let mut stream = socket(&server);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        let head = head(&mut stream).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{path}: {head}");
        assert!(head.contains(&format!("\r\ncontent-type: {content_type}")), "{path}: {head}");
        assert!(rest(&mut stream) == body, "{path}: the body, and then the connection is closed");
    }
    for (request, status) in [("GET /other", "426"), ("POST /", "405")] {
        let mut stream = socket(&server);
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        let answer = String::from_utf8(rest(&mut stream)).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request}");
    }
    server.handle.publish("t", crate::binding::Payload::Text("1")).unwrap();
    assert_eq!(text(&client), r#"{"op":"message","topic":"t","seq":1,"data":1}"#);
    server.stop();
}

#[test]
fn documents_that_cannot_be_are_refused_at_bind() {
    for (path, content_type, problem) in [
        ("app.js", "text/javascript", r#"document "app.js": not a path that begins with a slash"#),
        ("/app.js", "javascript\r\n", r#"document "/app.js": not a content type"#),
    ] {
        let error = Server::bind("127.0.0.1:0", with(&[(path, content_type, b"")])).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (std::io::ErrorKind::InvalidInput, problem.to_owned()));
    }
}
