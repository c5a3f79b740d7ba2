//! The core on tokio: a topic server in one task that owns the hub. Nothing is queued between it and the sockets.
//!
//! `cargo run --example tokio_loop [ADDRESS]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"t"}'); s.send('{"op":"publish","topic":"t","data":"hello"}')`

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forebay_core::{Cause, Config, ConnId, Effect, Hub, Instant, Options, Peer};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

type Sockets = BTreeMap<ConnId, Socket>;
type Waits = JoinSet<(ConnId, Interest)>;

fn main() -> io::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse().unwrap();
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(io::Error::other)?;
    let hub = Hub::new(Config::try_from(Options::default()).unwrap(), entropy, Instant::ZERO);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on ws://{}", listener.local_addr()?);
        run(hub, listener).await
    })
}

// The loop: begin
async fn run(mut hub: Hub, listener: TcpListener) -> io::Result<()> {
    let began = std::time::Instant::now();
    let clock = || Instant::ZERO + began.elapsed();
    let (mut sockets, mut waits) = (Sockets::new(), Waits::new());
    let (mut touched, mut buffer, mut is_accepting) = (Vec::new(), vec![0; 64 << 10], true);
    loop {
        let sleep = hub.poll_timeout().map_or(Duration::MAX, |deadline| deadline.at.since(clock()));
        let (mut accepted, mut ready) = (None, None);
        tokio::select! {
            result = listener.accept(), if is_accepting => accepted = Some(result),
            Some(result) = waits.join_next() => ready = Some(result),
            () = tokio::time::sleep(sleep) => {}
        }
        hub.handle_timeout(clock());
        match accepted {
            Some(Ok((stream, address))) => {
                let peer = Peer { address: Some(address), ..Peer::default() };
                if tune(&stream).is_ok()
                    && let Ok(conn) = hub.handle_accept(peer, clock())
                {
                    sockets.insert(conn, Socket { stream: Arc::new(stream), reading: None, writing: None });
                    touched.push(conn);
                }
            }
            Some(Err(_)) => is_accepting = sockets.is_empty(), // Out of files: not before one was closed.
            None => {}
        }
        // One read per connection and turn: the next wait begins when this task waits.
        while let Some(result) = ready {
            ready = waits.try_join_next();
            let Ok((conn, interest)) = result else { continue }; // Its socket was closed.
            let Some(socket) = sockets.get_mut(&conn) else { continue };
            if interest.is_writable() {
                socket.writing = None;
                hub.handle_writable(conn, clock());
            } else {
                socket.reading = None;
                match socket.stream.try_read(&mut buffer) {
                    Ok(len) if len > 0 => hub.handle_bytes(conn, &buffer[..len], clock()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => {
                        is_accepting |= sockets.remove(&conn).is_some();
                        hub.handle_eof(conn, clock());
                    }
                }
            }
            touched.push(conn);
        }
        while hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
            while let Some(transmit) = hub.poll_transmit() {
                let conn = transmit.conn();
                let written = sockets.get(&conn).map(|it| it.stream.try_write_vectored(&transmit.io_slices()));
                match written.unwrap_or(Ok(0)) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => {
                        is_accepting |= sockets.remove(&conn).is_some(); // A paused connection is not read: noticed here.
                        hub.handle_eof(conn, clock());
                    }
                    written => hub.handle_sent(conn, written.unwrap_or(0), clock()),
                }
                touched.push(conn);
            }
            while let Some(effect) = hub.poll_effect() {
                match effect {
                    Effect::Close(conn) => is_accepting |= sockets.remove(&conn).is_some(),
                    Effect::ResumeRead(conn) => touched.push(conn),
                    _ => {}
                }
            }
            while hub.poll_event().is_some() {}
        }
        // Only now: what is paused and resumed between two polls is told by no effect.
        touched.drain(..).for_each(|conn| watch(&hub, conn, &mut sockets, &mut waits));
    }
}

/// Waits for what the hub waits for: at most one wait to read and one to write per connection.
fn watch(hub: &Hub, conn: ConnId, sockets: &mut Sockets, waits: &mut Waits) {
    let (Some(socket), Some(state)) = (sockets.get_mut(&conn), hub.connection(conn)) else { return };
    let mut wait = |interest| {
        let stream = Arc::clone(&socket.stream);
        waits.spawn(async move {
            let _ = stream.ready(interest).await; // What is wrong shows at the next read.
            (conn, interest)
        })
    };
    if !state.is_paused && socket.reading.is_none() {
        socket.reading = Some(wait(Interest::READABLE));
    }
    if state.is_blocked && socket.writing.is_none() {
        socket.writing = Some(wait(Interest::WRITABLE));
    }
}
// The loop: end

struct Socket {
    stream: Arc<TcpStream>,
    reading: Option<AbortHandle>,
    writing: Option<AbortHandle>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reading.iter().chain(&self.writing).for_each(AbortHandle::abort);
    }
}

/// What the kernel has taken nobody can take back: it is to take little.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(128 << 10)?;
    Ok(())
}
