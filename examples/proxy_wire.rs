//! The codec alone: a WebSocket proxy that lets through whole, valid messages and nothing else.
//!
//! `cargo run --example proxy_wire ADDRESS UPSTREAM`, for example `127.0.0.1:9001 127.0.0.1:9002`
//!
//! Each connection has two threads, one per direction; each writes to one socket that nobody else writes to. A direction
//! holds one read, one message and its frame, and reads no more before all of that was written: whoever does not read
//! stops the one who sends, and nothing piles up. Pings and pongs go through, so that each end learns whether the other lives.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use forebay_core::wire::handshake::{self, HeadReader, RequestOptions, ResponseOptions};
use forebay_core::wire::{CloseCode, Decoder, HandshakeError, Item, MessageKind, Opcode, Role, frame};

const CONNECTIONS_MAX: usize = 1_000;
const HEAD_BYTES_MAX: usize = 16 << 10;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const READ_BYTES_MAX: usize = 16 << 10;
/// For both opening handshakes.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// For the answer to a Close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// For a peer that reads nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent connection is looked at.
const TICK: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let mut addresses = std::env::args().skip(1).map(|argument| argument.parse::<SocketAddr>().expect("IP:PORT"));
    let (address, upstream) = (addresses.next().expect("ADDRESS"), addresses.next().expect("UPSTREAM"));
    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}", listener.local_addr()?);
    let seats = Arc::new(());
    loop {
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10)); // Out of files, perhaps.
            continue;
        };
        let seat = Arc::clone(&seats);
        if Arc::strong_count(&seats) <= 1 + CONNECTIONS_MAX {
            thread::spawn(move || (serve(&client, upstream), drop(seat)));
        }
    }
}

/// Opens both sides, and lets messages through until one ends.
fn serve(client: &TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + OPEN_TIMEOUT;
    tune(client)?;
    let (head, from_client) = match read_head(client, deadline)? {
        Ok(read) => read,
        Err(error) => return refuse(client, error.status(), error.as_str()),
    };
    let request = match handshake::parse_request(&head) {
        Ok(request) => request,
        Err(error) => return refuse(client, error.status(), error.as_str()),
    };
    let Ok(server) = TcpStream::connect_timeout(&upstream, OPEN_TIMEOUT) else {
        return refuse(client, 502, "upstream does not answer");
    };
    tune(&server)?;
    let (key, protocols) = (handshake::client_key(random()?), request.protocols().collect::<Vec<_>>());
    let target = [request.path, request.query.unwrap_or_default()].join(if request.query.is_some() { "?" } else { "" });
    let host = upstream.to_string();
    let options =
        RequestOptions { host: &host, target: &target, origin: request.origin, protocols: &protocols, headers: &[] };
    let mut out = BytesMut::new();
    handshake::put_request(&mut out, &key, &options, None).map_err(io::Error::other)?;
    (&server).write_all(&out)?;
    let Ok(Ok((head, from_server))) = read_head(&server, deadline) else {
        return refuse(client, 502, "upstream speaks no HTTP");
    };
    let Ok(response) = handshake::parse_response(&head, &key, &protocols, None) else {
        return refuse(client, 502, "upstream speaks no WebSocket");
    };
    out.clear();
    let options = ResponseOptions { protocol: response.protocol, ..ResponseOptions::default() };
    handshake::put_response(&mut out, &handshake::accept_key(request.key), &options).map_err(io::Error::other)?;
    (&*client).write_all(&out)?;

    let (closing, client_broke, server_broke) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
    let inbound = Direction { from: client, to: &server, role: Role::Server, broke: &client_broke, closing: &closing };
    let outbound = Direction { from: &server, to: client, role: Role::Client, broke: &server_broke, closing: &closing };
    thread::scope(|scope| {
        scope.spawn(|| outbound.run(&from_server, &client_broke));
        inbound.run(&from_client, &server_broke);
    });
    Ok(())
}

/// Messages that go one way.
struct Direction<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// What we are for `from`; for `to` we are the other.
    role: Role,
    /// The code to close with, once `from` has broken the protocol.
    broke: &'a OnceLock<CloseCode>,
    /// When the first Close frame went through.
    closing: &'a OnceLock<Instant>,
}

impl Direction<'_> {
    fn run(&self, leftover: &[u8], to_broke: &OnceLock<CloseCode>) {
        if self.forward(leftover, to_broke).is_ok_and(|is_closed| is_closed) {
            self.closing.get_or_init(Instant::now);
            return; // The other direction brings the answer, and ends the connection.
        }
        // `from` is gone or broke the protocol, or `to` does not read. What `from` is told is for the other direction to
        // write, which finds `to` ended.
        let mut out = BytesMut::new();
        let code = *to_broke.get().unwrap_or(&CloseCode::GOING_AWAY);
        if let Ok(mask) = self.mask() {
            frame::put_close(&mut out, mask, Some((code, "")));
            let _ = (&*self.to).write_all(&out); // Perhaps nobody is there any more.
        }
        let _ = self.to.shutdown(Shutdown::Both);
    }

    /// Whether it ended with a Close frame, which went through.
    fn forward(&self, leftover: &[u8], to_broke: &OnceLock<CloseCode>) -> io::Result<bool> {
        let mut decoder = Decoder::new(self.role, MESSAGE_BYTES_MAX);
        let (mut input, mut message, mut out) = (BytesMut::from(leftover), BytesMut::new(), BytesMut::new());
        let mut buffer = vec![0; READ_BYTES_MAX];
        loop {
            let decoded = match decoder.decode(&mut input) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let _ = self.broke.set(error.close_code());
                    (&*self.to).write_all(&out)?; // What came before it was valid.
                    return Err(io::Error::other(error));
                }
            };
            let (consumed, is_close) = (decoded.consumed, matches!(decoded.item, Some(Item::Close(_))));
            match decoded.item {
                Some(Item::Data { kind, payload, last, .. }) => {
                    message.extend_from_slice(payload); // The decoder has seen to it that it is not too long.
                    if last {
                        let opcode = if kind == MessageKind::Text { Opcode::Text } else { Opcode::Binary };
                        frame::put_frame(&mut out, opcode, self.mask()?, &message);
                        message = BytesMut::new();
                    }
                }
                Some(Item::Ping(payload)) => frame::put_frame(&mut out, Opcode::Ping, self.mask()?, payload),
                Some(Item::Pong(payload)) => frame::put_frame(&mut out, Opcode::Pong, self.mask()?, payload),
                Some(Item::Close(close)) => {
                    // Who broke the protocol is told that, not what `from` answers to our Close frame.
                    let broke = to_broke.get().map(|code| (*code, ""));
                    frame::put_close(&mut out, self.mask()?, broke.or(close));
                }
                None => {
                    (&*self.to).write_all(&out)?;
                    out = BytesMut::new();
                    input.advance(consumed);
                    let len = self.read(&mut buffer)?;
                    input.extend_from_slice(&buffer[..len]);
                    continue;
                }
            }
            if is_close {
                return (&*self.to).write_all(&out).map(|()| true);
            }
            input.advance(consumed);
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&*self.from).read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if is_tick(&error) => {
                    if self.closing.get().is_some_and(|since| since.elapsed() > CLOSE_TIMEOUT) {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    /// The key of one frame: a client masks.
    fn mask(&self) -> io::Result<Option<[u8; 4]>> {
        if self.role == Role::Server { random().map(Some) } else { Ok(None) }
    }
}

/// A head, and what was read behind it.
type Head = (Vec<u8>, Vec<u8>);

fn read_head(mut from: &TcpStream, deadline: Instant) -> io::Result<Result<Head, HandshakeError>> {
    let mut reader = HeadReader::new(HEAD_BYTES_MAX);
    let mut buffer = [0; 1024];
    while Instant::now() < deadline {
        let len = match from.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if is_tick(&error) => continue,
            result => result?,
        };
        match reader.read(&buffer[..len]) {
            Ok(None) => {}
            Ok(Some((head, consumed))) => return Ok(Ok((head.to_vec(), buffer[consumed..len].to_vec()))),
            Err(error) => return Ok(Err(error)),
        }
    }
    Err(ErrorKind::TimedOut.into())
}

fn refuse(mut client: &TcpStream, status: u16, text: &str) -> io::Result<()> {
    let mut out = BytesMut::new();
    handshake::put_refusal(&mut out, status, text);
    client.write_all(&out)
}

fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
