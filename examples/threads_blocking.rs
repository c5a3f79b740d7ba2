//! The core on plain threads and blocking sockets, with nothing but `std` (and one socket option): a topic server in which
//! one thread owns the hub, and each connection has one that reads and one that writes.
//!
//! `cargo run --example threads_blocking [ADDRESS]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"t"}'); s.send('{"op":"publish","topic":"t","data":"hello"}')`
//!
//! Nothing waits outside the lanes but one read and one Transmit per connection. The reader has no buffer but the one it is
//! given, and is given it when the hub wants bytes. The writer has at most one Transmit, because the hub makes the next when
//! that is answered. So what the hub's thread sends them always has room: it waits for nobody, and shares no lock.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use forebay_core::{Cause, Config, ConnId, Effect, Hub, Instant, Options, Peer};

/// What the threads tell the one that owns the hub. Whoever sends waits while there is no room.
enum Input {
    Accepted(TcpStream, SocketAddr),
    Read(ConnId, Vec<u8>, usize),
    Sent(ConnId, usize),
    Ended(ConnId),
}

const INPUTS_MAX: usize = 64;
const READ_BYTES_MAX: usize = 16 << 10;

fn main() -> io::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse().unwrap();
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(io::Error::other)?;
    let options = Options { connections_max: 1_000, ..Options::default() }; // Two threads each.
    let mut hub = Hub::new(Config::try_from(options).unwrap(), entropy, Instant::ZERO);
    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}", listener.local_addr()?);
    let (sender, inputs) = sync_channel(INPUTS_MAX);
    let accepted = sender.clone();
    thread::spawn(move || accept(&listener, &accepted));
    run(&mut hub, &inputs, &sender);
    Ok(())
}

// The loop: begin
fn run(hub: &mut Hub, inputs: &Receiver<Input>, sender: &SyncSender<Input>) {
    let began = std::time::Instant::now();
    let clock = || Instant::ZERO + began.elapsed();
    let (mut sockets, mut heard) = (BTreeMap::new(), Vec::new());
    loop {
        let first = match hub.poll_timeout() {
            Some(deadline) => inputs.recv_timeout(deadline.at.since(clock())).ok(),
            None => inputs.recv().ok(),
        };
        hub.handle_timeout(clock());
        for input in first.into_iter().chain(inputs.try_iter().take(INPUTS_MAX)) {
            match input {
                Input::Accepted(stream, address) => {
                    let peer = Peer { address: Some(address), ..Peer::default() };
                    let Ok(conn) = hub.handle_accept(peer, clock()) else { continue };
                    match Socket::start(conn, stream, sender) {
                        Ok(socket) => drop(sockets.insert(conn, socket)),
                        Err(_) => hub.handle_eof(conn, clock()), // The system has no thread left.
                    }
                }
                Input::Read(conn, buffer, len) => {
                    hub.handle_bytes(conn, &buffer[..len], clock());
                    if let Some(socket) = sockets.get_mut(&conn) {
                        socket.buffer = Some(buffer);
                        heard.push(conn);
                    }
                }
                Input::Sent(conn, len) => {
                    hub.handle_sent(conn, len, clock());
                    hub.handle_writable(conn, clock()); // The next write waits until it is.
                }
                Input::Ended(conn) => {
                    if sockets.remove(&conn).is_some() {
                        hub.handle_eof(conn, clock());
                    }
                }
            }
        }
        while hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
            while let Some(transmit) = hub.poll_transmit() {
                if let Some(socket) = sockets.get(&transmit.conn()) {
                    // It fails only when the writer has ended, and then `Ended` is on its way.
                    let _ = socket.transmits.try_send(transmit.segments().collect());
                }
            }
            while let Some(effect) = hub.poll_effect() {
                match effect {
                    Effect::Close(conn) => drop(sockets.remove(&conn)),
                    Effect::ResumeRead(conn) => heard.push(conn),
                    _ => {}
                }
            }
            while hub.poll_event().is_some() {}
        }
        // Only now: what is paused and resumed between two polls is told by no effect.
        for conn in heard.drain(..).filter(|conn| hub.wants_read(*conn)) {
            sockets.get_mut(&conn).into_iter().for_each(Socket::read);
        }
    }
}
// The loop: end

/// The hub's side of a connection's two threads. Both end when it is dropped, whatever they wait for.
struct Socket {
    stream: Arc<TcpStream>,
    /// The reader's buffer, while the hub wants no bytes.
    buffer: Option<Vec<u8>>,
    buffers: SyncSender<Vec<u8>>,
    transmits: SyncSender<Vec<Bytes>>,
}

impl Socket {
    fn start(conn: ConnId, stream: TcpStream, inputs: &SyncSender<Input>) -> io::Result<Self> {
        tune(&stream)?;
        let stream = Arc::new(stream);
        let (buffers, to_fill) = sync_channel(1);
        let (transmits, to_write) = sync_channel(1);
        let mut socket = Self { stream, buffer: Some(vec![0; READ_BYTES_MAX]), buffers, transmits };
        let small = || thread::Builder::new().stack_size(128 << 10);
        let (stream, sender) = (Arc::clone(&socket.stream), inputs.clone());
        small().spawn(move || read(conn, &stream, &to_fill, &sender))?;
        let (stream, sender) = (Arc::clone(&socket.stream), inputs.clone());
        small().spawn(move || write(conn, &stream, &to_write, &sender))?;
        socket.read();
        Ok(socket)
    }

    fn read(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            let _ = self.buffers.try_send(buffer); // There is one buffer, and room for one.
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both); // Who waits for the socket waits no more.
    }
}

fn read(conn: ConnId, mut stream: &TcpStream, buffers: &Receiver<Vec<u8>>, inputs: &SyncSender<Input>) {
    while let Ok(mut buffer) = buffers.recv() {
        let input = match stream.read(&mut buffer) {
            Ok(len) if len > 0 => Input::Read(conn, buffer, len),
            Err(error) if error.kind() == ErrorKind::Interrupted => Input::Read(conn, buffer, 0),
            _ => Input::Ended(conn),
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}

fn write(conn: ConnId, mut stream: &TcpStream, transmits: &Receiver<Vec<Bytes>>, inputs: &SyncSender<Input>) {
    while let Ok(segments) = transmits.recv() {
        let slices: Vec<_> = segments.iter().map(|segment| IoSlice::new(segment)).collect();
        let written = stream.write_vectored(&slices);
        drop(segments); // Before the answer: then nobody but the hub holds them.
        let input = match written {
            Ok(len) => Input::Sent(conn, len),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Input::Sent(conn, 0),
                _ => Input::Ended(conn),
            },
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}

fn accept(listener: &TcpListener, inputs: &SyncSender<Input>) {
    loop {
        let Ok((stream, address)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10)); // Out of files, perhaps.
            continue;
        };
        if inputs.send(Input::Accepted(stream, address)).is_err() {
            return;
        }
    }
}

/// What the kernel has taken nobody can take back: it is to take little. A write gives up after a second, so that the hub
/// knows how far it came: what was not begun returns to its lane, and the oldest of it may go.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(128 << 10)?;
    Ok(())
}
