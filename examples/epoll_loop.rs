//! The core on bare epoll (Linux): a topic server without a runtime, through `rustix` and so without `unsafe`.
//!
//! `cargo run --example epoll_loop [ADDRESS]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `s.send('{"op":"subscribe","topic":"t"}'); s.send('{"op":"publish","topic":"t","data":"hello"}')`

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    use forebay_core::{Cause, Config, ConnId, Effect, Hub, Instant, Options, Peer};
    use rustix::event::Timespec;
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

    const LISTENER: u64 = u64::MAX;

    pub(super) fn main() -> io::Result<()> {
        let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse().unwrap();
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy).map_err(io::Error::other)?;
        let mut hub = Hub::new(Config::try_from(Options::default()).unwrap(), entropy, Instant::ZERO);
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        println!("listening on ws://{}", listener.local_addr()?);
        run(&mut hub, &listener)
    }

    // The loop: begin
    fn run(hub: &mut Hub, listener: &TcpListener) -> io::Result<()> {
        let began = std::time::Instant::now();
        let clock = || Instant::ZERO + began.elapsed();
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut touched = Vec::new();
        let (mut sockets, mut events, mut buffer) = (BTreeMap::new(), Vec::with_capacity(1024), vec![0; 64 << 10]);
        // Edge-triggered: when files run out, `accept` fails, and is not to be told of that again and again.
        epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN | EventFlags::ET)?;
        loop {
            let sleep = hub.poll_timeout().and_then(|deadline| Timespec::try_from(deadline.at.since(clock())).ok());
            events.clear();
            match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), sleep.as_ref()) {
                Err(error) if error != rustix::io::Errno::INTR => return Err(error.into()),
                _ => hub.handle_timeout(clock()),
            }
            for event in &events {
                let (data, flags) = (event.data, event.flags);
                if data.u64() == LISTENER {
                    while let Ok((stream, address)) = listener.accept() {
                        let peer = Peer { address: Some(address), ..Peer::default() };
                        if tune(&stream).is_ok()
                            && let Ok(conn) = hub.handle_accept(peer, clock())
                        {
                            let watched = EventFlags::IN;
                            epoll::add(&poll, &stream, EventData::new_u64(conn.to_bits()), watched)?;
                            sockets.insert(conn, Socket { stream, watched });
                        }
                    }
                    continue;
                }
                let conn = ConnId::from_bits(data.u64());
                if flags.contains(EventFlags::OUT) {
                    hub.handle_writable(conn, clock());
                }
                // One read a turn, so that nobody waits for the one who sends most: what is left is told again.
                let read = match sockets.get_mut(&conn) {
                    Some(socket) if flags.contains(EventFlags::IN) => socket.stream.read(&mut buffer),
                    Some(_) if flags.intersects(EventFlags::ERR | EventFlags::HUP) => Ok(0), // Also when not read.
                    _ => Err(ErrorKind::WouldBlock.into()),
                };
                match read {
                    Ok(len) if len > 0 => hub.handle_bytes(conn, &buffer[..len], clock()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => {
                        sockets.remove(&conn); // Closed, it is watched no more.
                        hub.handle_eof(conn, clock());
                    }
                }
                touched.push(conn);
            }
            while hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
                while let Some(transmit) = hub.poll_transmit() {
                    let conn = transmit.conn();
                    let written = sockets.get_mut(&conn).map(|it| it.stream.write_vectored(&transmit.io_slices()));
                    match written.unwrap_or(Ok(0)) {
                        Err(error) if error.kind() != ErrorKind::WouldBlock => {
                            sockets.remove(&conn); // A paused connection is not read: it is to be noticed here.
                            hub.handle_eof(conn, clock());
                        }
                        written => hub.handle_sent(conn, written.unwrap_or(0), clock()),
                    }
                    touched.push(conn);
                }
                while let Some(effect) = hub.poll_effect() {
                    match effect {
                        Effect::Close(conn) => drop(sockets.remove(&conn)),
                        Effect::PauseRead(conn) | Effect::ResumeRead(conn) => touched.push(conn),
                        _ => {}
                    }
                }
                while hub.poll_event().is_some() {}
            }
            // Only now: what is paused and resumed between two polls is told by no effect.
            touched.drain(..).try_for_each(|conn| watch(hub, conn, &mut sockets, &poll))?;
        }
    }

    /// Watches for what the hub waits for.
    fn watch(hub: &Hub, conn: ConnId, sockets: &mut BTreeMap<ConnId, Socket>, poll: &OwnedFd) -> io::Result<()> {
        let (Some(socket), Some(state)) = (sockets.get_mut(&conn), hub.connection(conn)) else { return Ok(()) };
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, !state.is_paused);
        wanted.set(EventFlags::OUT, state.is_blocked);
        if wanted != socket.watched {
            epoll::modify(poll, &socket.stream, EventData::new_u64(conn.to_bits()), wanted)?;
            socket.watched = wanted;
        }
        Ok(())
    }
    // The loop: end

    struct Socket {
        stream: TcpStream,
        watched: EventFlags,
    }

    /// What the kernel has taken nobody can take back: it is to take little.
    fn tune(stream: &TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        socket2::SockRef::from(stream).set_tcp_notsent_lowat(128 << 10)
    }
}

#[cfg(target_os = "linux")]
use linux::main;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("needs Linux");
}
