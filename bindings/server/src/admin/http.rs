//! As much of HTTP/1.1 (RFC 9112) as documents need that are made when they are asked for: one request per connection,
//! a few connections at a time, and nobody may take long.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that are answered at a time, each by a thread of its own; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 4;
const HEAD_BYTES_MAX: usize = 8 << 10;
const FIELDS_MAX: usize = 64;
/// From accept to the last byte of the request's head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// For all bytes of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the last byte of a response until the client is cut off.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// When no connection can be accepted, for want of open files for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// A document, or why there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    pub(crate) status: Status,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

/// Status codes (RFC 9110 §15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    Misdirected,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed\r\nAllow: GET, HEAD",
            Self::Misdirected => "421 Misdirected Request",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

impl Response {
    /// Plain text.
    pub(crate) fn text(status: Status, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    fn head(&self) -> String {
        let Self { status, content_type, body } = self;
        format!(
            "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            status.line(),
            body.len()
        )
    }
}

/// Makes the document for a path and a query (without `?`).
pub(crate) type Documents = dyn Fn(&str, &str) -> Response + Send + Sync;

/// Answers requests on threads of its own for as long as the process lives.
///
/// # Errors
/// A thread cannot be started.
pub(crate) fn serve(listener: TcpListener, documents: &Arc<Documents>) -> io::Result<()> {
    let is_local = listener.local_addr()?.ip().is_loopback();
    let listener = Arc::new(listener);
    for _ in 0..CONNECTIONS_MAX {
        let (listener, documents) = (Arc::clone(&listener), Arc::clone(documents));
        std::thread::Builder::new().name("admin".to_owned()).spawn(move || accept(&listener, is_local, &*documents))?;
    }
    Ok(())
}

fn accept(listener: &TcpListener, is_local: bool, documents: &Documents) {
    loop {
        match listener.accept() {
            // What becomes of one connection is its client's matter.
            Ok((stream, peer)) => match answer(&stream, is_local, documents) {
                Ok(()) => {}
                Err(error) => log::debug!("administration: {peer}: {error}"),
            },
            Err(error) => {
                log::warn!("administration: cannot accept: {error}");
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

fn answer(stream: &TcpStream, is_local: bool, documents: &Documents) -> io::Result<()> {
    let mut reader = Until::new(stream, REQUEST_TIMEOUT);
    let mut head = [0; HEAD_BYTES_MAX];
    let mut filled = 0;
    let (response, has_body) = loop {
        match respond(&head[..filled], is_local, documents) {
            Some(response) => break response,
            None if filled == head.len() => {
                break (Response::text(Status::HeadTooLarge, "the head of the request is too long\n"), true);
            }
            None => match reader.read(&mut head[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => filled += bytes,
            },
        }
    };
    let mut writer = Until::new(stream, RESPONSE_TIMEOUT);
    writer.write_all(response.head().as_bytes())?;
    if has_body {
        writer.write_all(response.body.as_bytes())?;
    }
    // What was not read would become a reset, and that could overtake the response (RFC 9112 §9.6).
    stream.shutdown(Shutdown::Write)?;
    let mut rest = Until::new(stream, CLOSE_TIMEOUT);
    while rest.read(&mut head)? > 0 {}
    Ok(())
}

/// The response to a request, and whether its body goes with it; `None` while the head is not complete. `is_local`: of a
/// listener that only this machine reaches.
fn respond(head: &[u8], is_local: bool, documents: &Documents) -> Option<(Response, bool)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => {
            Some((Response::text(Status::HeadTooLarge, "too many fields in the head of the request\n"), true))
        }
        Err(error) => Some((Response::text(Status::BadRequest, format!("{error}\n")), true)),
        Ok(httparse::Status::Complete(_)) => {
            let target = request.path.unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let method = request.method.unwrap_or_default();
            let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
            Some(match method {
                _ if is_local && !hosts.all(|host| is_this_machine(host.value)) => {
                    (Response::text(Status::Misdirected, "only by an IP address or as localhost\n"), true)
                }
                "GET" | "HEAD" => (documents(path, query), method == "GET"),
                _ => (Response::text(Status::MethodNotAllowed, "only GET and HEAD\n"), true),
            })
        }
    }
}

/// Whether a `Host` is an address or `localhost`. A web page could have a name of its own resolved to this machine, and
/// would then be shown as its own what only this machine's users are to see (DNS rebinding).
fn is_this_machine(host: &[u8]) -> bool {
    let host = str::from_utf8(host).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|letter| letter.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// A stream that is read and written until a point in time, however small the pieces.
struct Until<'a> {
    stream: &'a TcpStream,
    at: Instant,
}

impl<'a> Until<'a> {
    fn new(stream: &'a TcpStream, timeout: Duration) -> Self {
        Self { stream, at: Instant::now() + timeout }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(path: &str, query: &str) -> Response {
        Response::text(if path == "/a" { Status::Ok } else { Status::NotFound }, format!("{path} {query}"))
    }

    #[test]
    fn requests_are_answered_once_their_head_is_complete() {
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: localhost\r\n\r\nmore";
        for end in 0..head.len() - 4 {
            assert_eq!(respond(&head[..end], true, &documents), None, "{end}");
        }
        assert_eq!(respond(head, true, &documents), Some((Response::text(Status::Ok, "/a b=c"), true)));
        for (request, status, has_body) in [
            ("HEAD /a HTTP/1.0\r\n\r\n", Status::Ok, false),
            ("GET /b HTTP/1.1\n\n", Status::NotFound, true),
            ("POST /a HTTP/1.1\r\nContent-Length: 1\r\n\r\n", Status::MethodNotAllowed, true),
            ("\x01", Status::BadRequest, true),
            ("GET /a HTTP/1.1\r\nno colon\r\n\r\n", Status::BadRequest, true),
        ] {
            let response =
                respond(request.as_bytes(), false, &documents).map(|(response, body)| (response.status, body));
            assert_eq!(response, Some((status, has_body)), "{request:?}");
        }
        let many = format!("GET /a HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_MAX + 1));
        assert_eq!(respond(many.as_bytes(), true, &documents).unwrap().0.status, Status::HeadTooLarge);
    }

    #[test]
    fn names_that_may_be_anybodys_are_not_this_machine() {
        let status = |is_local: bool, fields: &str| {
            let request = format!("GET /a HTTP/1.1\r\n{fields}\r\n");
            respond(request.as_bytes(), is_local, &documents).unwrap().0.status
        };
        for host in ["127.0.0.1", "127.0.0.1:9090", "localhost", "LocalHost:9090", "[::1]", "[::1]:9090", "10.1.2.3:1"]
        {
            assert_eq!(status(true, &format!("Host: {host}\r\n")), Status::Ok, "{host}");
        }
        for host in ["", "evil.example", "evil.example:9090", "127.0.0.1.evil.example", "localhost.evil", "a@127.0.0.1"]
        {
            assert_eq!(status(true, &format!("hOST: {host}\r\n")), Status::Misdirected, "{host}");
            assert_eq!(status(false, &format!("Host: {host}\r\n")), Status::Ok, "{host}");
        }
        assert_eq!(status(true, ""), Status::Ok, "no browser leaves it out");
        assert_eq!(status(true, "Host: localhost\r\nHost: evil.example\r\n"), Status::Misdirected);
    }

    /// What comes back over a real connection.
    fn exchange(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    #[test]
    fn silent_clients_do_not_keep_others_waiting_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let documents: Arc<Documents> = Arc::new(documents);
        serve(listener, &documents).unwrap();
        let silent: Vec<_> = (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
        let response = exchange(address, b"GET /a HTTP/1.1\r\n\r\n");
        assert!(response.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{response}");
        assert!(response.ends_with("\r\nConnection: close\r\n\r\n/a "), "{response}");
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "given up");
        }
        let head = exchange(address, b"HEAD /b HTTP/1.1\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n") && head.ends_with("close\r\n\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Length: 3\r\n"), "{head}");
        let long = [b"GET /a HTTP/1.1\r\nx: ".as_slice(), &[b'y'; HEAD_BYTES_MAX]].concat();
        assert!(exchange(address, &long).starts_with("HTTP/1.1 431 "));
    }
}
