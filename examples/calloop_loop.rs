//! The core on calloop, a loop of callbacks: a topic server. The callbacks only note what happened; each turn of the loop
//! ends with the hub.
//!
//! `cargo run --example calloop_loop [ADDRESS]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"t"}'); s.send('{"op":"publish","topic":"t","data":"hello"}')`

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{Dispatcher, EventLoop, Interest, LoopHandle, Mode, PostAction, Readiness, RegistrationToken};
use forebay_core::{Cause, Config, ConnId, Effect, Hub, Instant, Options, Peer};

/// What happened in a turn.
enum Happened {
    Accepted(TcpStream, SocketAddr),
    NotAccepted,
    Ready(ConnId, Readiness),
}

fn main() -> io::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse().unwrap();
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(io::Error::other)?;
    let mut hub = Hub::new(Config::try_from(Options::default()).unwrap(), entropy, Instant::ZERO);
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on ws://{}", listener.local_addr()?);
    run(&mut hub, listener).map_err(io::Error::other)
}

// The loop: begin
fn run(hub: &mut Hub, listener: TcpListener) -> calloop::Result<()> {
    let began = std::time::Instant::now();
    let clock = || Instant::ZERO + began.elapsed();
    let (mut sockets, mut happened, mut buffer) = (BTreeMap::<_, Socket<'_>>::new(), Vec::new(), vec![0; 64 << 10]);
    let mut touched = Vec::new();
    let mut events = EventLoop::<Vec<Happened>>::try_new()?;
    let handle = events.handle();
    let listening = handle.insert_source(Generic::new(listener, Interest::READ, Mode::Level), accept)?;
    loop {
        let sleep = hub.poll_timeout().map(|deadline| deadline.at.since(clock()));
        events.dispatch(sleep, &mut happened)?;
        hub.handle_timeout(clock());
        for happened in happened.drain(..) {
            match happened {
                Happened::Accepted(stream, address) => {
                    let peer = Peer { address: Some(address), ..Peer::default() };
                    if tune(&stream).is_ok()
                        && let Ok(conn) = hub.handle_accept(peer, clock())
                    {
                        sockets.insert(conn, Socket::new(conn, stream, &handle)?);
                    }
                }
                Happened::NotAccepted => {
                    let (again, deaf) = (Timer::from_duration(Duration::from_millis(100)), handle.clone());
                    handle.insert_source(again, move |_, (), _| {
                        let _ = deaf.enable(&listening);
                        TimeoutAction::Drop
                    })?;
                }
                Happened::Ready(conn, ready) => {
                    if ready.writable {
                        hub.handle_writable(conn, clock());
                    }
                    // One read a turn, so that nobody waits for the one who sends most: what is left is told again.
                    match sockets.get(&conn).filter(|_| ready.readable).map(|socket| socket.read(&mut buffer)) {
                        None => {}
                        Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => {}
                        Some(Ok(len)) if len > 0 => hub.handle_bytes(conn, &buffer[..len], clock()),
                        Some(_) => {
                            remove(conn, &mut sockets, &handle);
                            hub.handle_eof(conn, clock());
                        }
                    }
                    touched.push(conn);
                }
            }
        }
        while hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
            while let Some(transmit) = hub.poll_transmit() {
                let conn = transmit.conn();
                let Some(socket) = sockets.get(&conn) else { continue };
                let written = socket.source.as_source_ref().get_ref().write_vectored(&transmit.io_slices());
                match written {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => {
                        remove(conn, &mut sockets, &handle); // A paused connection is not read: it is noticed here.
                        hub.handle_eof(conn, clock());
                    }
                    written => hub.handle_sent(conn, written.unwrap_or(0), clock()),
                }
                touched.push(conn);
            }
            while let Some(effect) = hub.poll_effect() {
                match effect {
                    Effect::Close(conn) => remove(conn, &mut sockets, &handle),
                    Effect::PauseRead(conn) | Effect::ResumeRead(conn) => touched.push(conn),
                    _ => {}
                }
            }
            while hub.poll_event().is_some() {}
        }
        // Only now: what is paused and resumed between two polls is told by no effect.
        for conn in touched.drain(..) {
            sockets.get(&conn).map_or(Ok(()), |socket| socket.watch(hub, conn, &handle))?;
        }
    }
}
// The loop: end

struct Socket<'l> {
    source: Dispatcher<'l, Generic<TcpStream>, Vec<Happened>>,
    token: RegistrationToken,
}

impl<'l> Socket<'l> {
    fn new(conn: ConnId, stream: TcpStream, handle: &LoopHandle<'l, Vec<Happened>>) -> calloop::Result<Self> {
        let source = Generic::new(stream, Interest::READ, Mode::Level);
        let source = Dispatcher::new(source, move |ready, _, happened: &mut Vec<Happened>| {
            happened.push(Happened::Ready(conn, ready));
            Ok(PostAction::Continue)
        });
        Ok(Self { token: handle.register_dispatcher(source.clone())?, source })
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let source = self.source.as_source_ref();
        // What is not watched is told only when the connection is broken.
        if source.interest.readable { source.get_ref().read(buffer) } else { Ok(0) }
    }

    /// Watches for what the hub waits for.
    fn watch(&self, hub: &Hub, conn: ConnId, handle: &LoopHandle<'l, Vec<Happened>>) -> calloop::Result<()> {
        let is_blocked = hub.connection(conn).is_some_and(|state| state.is_blocked);
        let wanted = Interest { readable: hub.wants_read(conn), writable: is_blocked };
        let watched = self.source.as_source_ref().interest;
        if (watched.readable, watched.writable) == (wanted.readable, wanted.writable) {
            return Ok(());
        }
        self.source.as_source_mut().interest = wanted;
        handle.update(&self.token)
    }
}

fn remove<'l>(conn: ConnId, sockets: &mut BTreeMap<ConnId, Socket<'l>>, handle: &LoopHandle<'l, Vec<Happened>>) {
    if let Some(socket) = sockets.remove(&conn) {
        handle.remove(socket.token); // The socket is closed with its source.
    }
}

fn accept(
    _: Readiness,
    listener: &mut calloop::generic::NoIoDrop<TcpListener>,
    happened: &mut Vec<Happened>,
) -> io::Result<PostAction> {
    loop {
        match listener.accept() {
            Ok((stream, address)) => happened.push(Happened::Accepted(stream, address)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(PostAction::Continue),
            Err(_) => {
                happened.push(Happened::NotAccepted); // Out of files, perhaps: later again.
                return Ok(PostAction::Disable);
            }
        }
    }
}

/// What the kernel has taken nobody can take back: it is to take little.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(128 << 10)?;
    Ok(())
}
