//! The core in somebody else's event loop: a topic server on `mio`.
//!
//! `cargo run --example mio_loop [ADDRESS]`, then from a browser's console:
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"t"}'); s.send('{"op":"publish","topic":"t","data":"hello"}')`

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

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
    poll.registry().register(listener, LISTENER, Interest::READABLE)?;
    loop {
        let sleep = hub.poll_timeout().map(|deadline| deadline.at.since(clock()));
        poll.poll(&mut events, sleep)?;
        hub.handle_timeout(clock());
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, address)) = listener.accept() {
                    let peer = Peer { address: Some(address), ..Peer::default() };
                    let Ok(conn) = hub.handle_accept(peer, clock()) else { continue };
                    let token = Token(usize::try_from(conn.to_bits()).expect("64 bits"));
                    poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                    sockets.insert(conn, socket);
                }
                continue;
            }
            let conn = ConnId::from_bits(event.token().0 as u64);
            if event.is_writable() {
                hub.handle_writable(conn, clock());
            }
            read(hub, conn, &mut sockets, &mut buffer, clock());
        }
        while hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
            while let Some(transmit) = hub.poll_transmit() {
                let conn = transmit.conn();
                let written =
                    sockets.get_mut(&conn).map_or(Ok(0), |socket| socket.write_vectored(&transmit.io_slices()));
                hub.handle_sent(conn, written.unwrap_or(0), clock()); // An error shows at the next read, too.
            }
            while let Some(effect) = hub.poll_effect() {
                match effect {
                    Effect::Close(conn) => drop(sockets.remove(&conn)),
                    Effect::ResumeRead(conn) => read(hub, conn, &mut sockets, &mut buffer, clock()),
                    _ => {} // `read` asks `wants_read`.
                }
            }
            while hub.poll_event().is_some() {}
        }
    }
}

/// mio is edge-triggered: reads until nothing more is there, or the hub wants no more.
fn read(hub: &mut Hub, conn: ConnId, sockets: &mut BTreeMap<ConnId, TcpStream>, buffer: &mut [u8], now: Instant) {
    while let (true, Some(socket)) = (hub.wants_read(conn), sockets.get_mut(&conn)) {
        match socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(len) if len > 0 => hub.handle_bytes(conn, &buffer[..len], now),
            _ => {
                sockets.remove(&conn);
                hub.handle_eof(conn, now);
            }
        }
    }
}
// The loop: end
