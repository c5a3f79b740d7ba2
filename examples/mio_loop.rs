//! The core in somebody else's event loop: a topic server on `mio`.
//!
//! `cargo run --example mio_loop [ADDRESS]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"t"}'); s.send('{"op":"publish","topic":"t","data":"hello"}')`

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use forebay_core::{Cause, Config, ConnId, Effect, Hub, Instant, Options, Peer};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse().unwrap();
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(io::Error::other)?;
    let mut hub = Hub::new(Config::try_from(Options::default()).unwrap(), entropy, Instant::ZERO);
    let mut listener = TcpListener::bind(address)?;
    println!("listening on ws://{}", listener.local_addr()?);
    run(&mut hub, &mut listener)
}

// The loop: begin
fn run(hub: &mut Hub, listener: &mut TcpListener) -> io::Result<()> {
    let began = std::time::Instant::now();
    let clock = || Instant::ZERO + began.elapsed();
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let (mut sockets, mut buffer) = (BTreeMap::new(), vec![0; 64 << 10]);
    let mut readable = BTreeSet::new(); // mio is edge-triggered: kept until a read finds nothing more.
    poll.registry().register(listener, LISTENER, Interest::READABLE)?;
    loop {
        let is_due = readable.iter().any(|conn| hub.wants_read(*conn));
        let sleep = hub.poll_timeout().map(|deadline| deadline.at.since(clock()));
        match poll.poll(&mut events, if is_due { Some(Duration::ZERO) } else { sleep }) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => hub.handle_timeout(clock()),
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, address)) = listener.accept() {
                    let peer = Peer { address: Some(address), ..Peer::default() };
                    if tune(&socket).is_ok()
                        && let Ok(conn) = hub.handle_accept(peer, clock())
                    {
                        let token = Token(usize::try_from(conn.to_bits()).expect("64 bits"));
                        poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                        sockets.insert(conn, socket);
                    }
                }
                continue;
            }
            let conn = ConnId::from_bits(event.token().0 as u64);
            if event.is_writable() {
                hub.handle_writable(conn, clock());
            }
            readable.insert(conn);
        }
        // One read each, so that nobody waits for the one who sends most.
        readable.retain(|&conn| match sockets.get_mut(&conn) {
            Some(_) if !hub.wants_read(conn) => true,
            None => false,
            Some(socket) => match socket.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Ok(len) if len > 0 => {
                    hub.handle_bytes(conn, &buffer[..len], clock());
                    true
                }
                _ => {
                    sockets.remove(&conn);
                    hub.handle_eof(conn, clock());
                    false
                }
            },
        });
        while hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
            while let Some(transmit) = hub.poll_transmit() {
                let conn = transmit.conn();
                let written = sockets.get_mut(&conn).map(|socket| socket.write_vectored(&transmit.io_slices()));
                match written.unwrap_or(Ok(0)) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => {
                        sockets.remove(&conn); // A paused connection is not read: it is to be noticed here.
                        hub.handle_eof(conn, clock());
                    }
                    written => hub.handle_sent(conn, written.unwrap_or(0), clock()),
                }
            }
            while let Some(effect) = hub.poll_effect() {
                if let Effect::Close(conn) = effect {
                    sockets.remove(&conn); // The other effects: `wants_read` is asked before each read.
                }
            }
            while hub.poll_event().is_some() {}
        }
    }
}
// The loop: end

/// What the kernel has taken nobody can take back: it is to take little.
fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(socket).set_tcp_notsent_lowat(128 << 10)?;
    Ok(())
}
