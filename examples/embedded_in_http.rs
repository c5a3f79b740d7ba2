//! An HTTP server that was there before. It answers requests as ever, and hands over those that ask for a WebSocket at
//! `/live`: one port for both.
//!
//! `cargo run --example embedded_in_http [ADDRESS]`, then open <http://127.0.0.1:9001/> in two windows.
//!
//! Watch: each visit is counted by the HTTP server and shown by every page that is open. Once handed over, a connection costs
//! the HTTP server nothing: its thread is free, and the worker has it among its others.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use forebay_threads::{Handle, Payload, Server, ServerOptions};

const HEAD_BYTES_MAX: usize = 16 << 10;
const PAGE: &str = r#"<!doctype html><title>Visits</title><p>Visits so far: <b id="visits">?</b></p>
<script>
  const ws = new WebSocket(location.origin.replace(/^http/, "ws") + "/live")
  ws.onopen = () => ws.send('{"op":"subscribe","topic":"visits"}')
  ws.onmessage = ({ data }) => { const { op, data: count } = JSON.parse(data); if (op == "message") visits.textContent = count }
</script>
"#;

static VISITS: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let live = Server::unbound(ServerOptions::default())?;
    let handle = live.handle();
    thread::spawn(move || live.run());

    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}", listener.local_addr()?);
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10)); // Out of files, perhaps.
            continue;
        };
        let handle = handle.clone();
        thread::spawn(move || serve(stream, &handle).unwrap_or_else(|error| eprintln!("a request: {error}")));
    }
}

/// One request per connection.
fn serve(mut stream: TcpStream, live: &Handle) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut head, mut buffer) = (Vec::new(), [0; 1 << 10]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let len = stream.read(&mut buffer)?;
        if len == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..len]);
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.split("\r\n");
    let request = lines.next().unwrap_or_default();
    let is_upgrade = lines.take_while(|line| !line.is_empty()).any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("upgrade") && value.trim().eq_ignore_ascii_case("websocket")
    });
    let (status, body) = match request.rsplit_once(' ').map_or(request, |(request, _)| request) {
        // With everything that was read: the hub answers the opening handshake, and there may be messages behind it.
        "GET /live" if is_upgrade => return live.adopt(stream, &head).map_err(io::Error::other),
        "GET /" => {
            let count = VISITS.fetch_add(1, Ordering::Relaxed) + 1;
            live.publish("visits", Payload::Text(&count.to_string())).map_err(io::Error::other)?;
            ("200 OK", PAGE)
        }
        _ => ("404 Not Found", "there is no such page\n"),
    };
    let fields = "Content-Type: text/html; charset=utf-8\r\nConnection: close";
    write!(stream, "HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
