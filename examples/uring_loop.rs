//! The core on io_uring (Linux): a fan-out server whose sends go to the kernel by the hundreds, one system call for up to 512
//! connections. It speaks the protocol of `bench_server.rs`, and is for the case where nothing else makes sends fewer: one
//! message at a time to many subscribers.
//!
//! `cargo run --release --example uring_loop [ADDRESS]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = async m => console.log(await m.data.text?.() ?? m.data)`
//! `s.send("SUB t"); s.send("Published"); s.send("said back")`

#[cfg(target_os = "linux")]
mod bench;

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    use bytes::Bytes;
    use forebay_core::{Cause, Config, ConnId, Effect, Hub, Instant, Mode, Options, Peer, TopicOptions};
    use forebay_sys::{SendRing, Tuning};
    use rustix::event::Timespec;
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

    use super::bench::{Bench, TOPIC};

    const LISTENER: u64 = u64::MAX;

    pub(super) fn main() -> Result<(), Box<dyn Error>> {
        let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:9001").parse()?;
        let ring =
            SendRing::new().map_err(|error| format!("needs io_uring, which this kernel does not give: {error}"))?;
        forebay_sys::raise_open_files()?;
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy)?;
        let mut hub = Hub::new(Config::try_from(Options::default())?, entropy, Instant::ZERO);
        hub.topic(TOPIC, TopicOptions::default())?;
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        println!("listening on ws://{}", listener.local_addr()?);
        Ok(run(&mut hub, &listener, Output { ring, conns: Vec::new(), pieces: Vec::new(), results: Vec::new() })?)
    }

    fn run(hub: &mut Hub, listener: &TcpListener, mut output: Output) -> io::Result<()> {
        let began = std::time::Instant::now();
        let clock = || Instant::ZERO + began.elapsed();
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let (mut bench, mut sockets, mut touched) = (Bench::default(), Sockets::default(), Vec::new());
        let (mut events, mut buffer) = (Vec::with_capacity(1024), vec![0; 256 << 10]);
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
                        let peer = Peer { address: Some(address), mode: Mode::Raw, ..Peer::default() };
                        // What the kernel has taken nobody can take back: it is to take little.
                        let tuning = Tuning { notsent_lowat_bytes: 16 << 10, send_buffer_bytes: None };
                        if forebay_sys::tune(&stream, tuning).is_ok()
                            && let Ok(conn) = hub.handle_accept(peer, clock())
                        {
                            let watched = EventFlags::IN;
                            epoll::add(&poll, &stream, EventData::new_u64(conn.to_bits()), watched)?;
                            sockets.insert(Socket { conn, stream, watched });
                        }
                    }
                    continue;
                }
                let conn = ConnId::from_bits(data.u64());
                if flags.contains(EventFlags::OUT) {
                    hub.handle_writable(conn, clock());
                }
                // One read a turn, so that nobody waits for the one who sends most: what is left is told again.
                let read = match sockets.get_mut(conn) {
                    Some(socket) if flags.contains(EventFlags::IN) => socket.stream.read(&mut buffer),
                    Some(_) if flags.intersects(EventFlags::ERR | EventFlags::HUP) => Ok(0), // Also when not read.
                    _ => Err(ErrorKind::WouldBlock.into()),
                };
                match read {
                    Ok(len) if len > 0 => hub.handle_bytes(conn, &buffer[..len], clock()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => {
                        sockets.remove(conn); // Closed, it is watched no more.
                        hub.handle_eof(conn, clock());
                    }
                }
                touched.push(conn);
            }
            while hub.poll_timeout().is_some_and(|deadline| deadline.cause == Cause::Output) {
                while output.write(hub, &mut sockets, clock, &mut touched) {}
                while let Some(effect) = hub.poll_effect() {
                    match effect {
                        Effect::Close(conn) => sockets.remove(conn),
                        Effect::PauseRead(conn) | Effect::ResumeRead(conn) => touched.push(conn),
                        _ => {}
                    }
                }
                while let Some(event) = hub.poll_event() {
                    bench.event(hub, event, clock());
                }
            }
            // Only now: what is paused and resumed between two polls is told by no effect.
            touched.drain(..).try_for_each(|conn| watch(hub, conn, &mut sockets, &poll))?;
        }
    }

    /// What is on its way to the sockets. Its vectors are kept, so that they are allocated once.
    struct Output {
        ring: SendRing,
        conns: Vec<(ConnId, usize)>,
        pieces: Vec<Bytes>,
        results: Vec<io::Result<usize>>,
    }

    impl Output {
        /// Writes up to 512 Transmits, which are outstanding at the same time; whether there were any.
        fn write(
            &mut self,
            hub: &mut Hub,
            sockets: &mut Sockets,
            clock: impl Fn() -> Instant,
            touched: &mut Vec<ConnId>,
        ) -> bool {
            let Self { ring, conns, pieces, results } = self;
            let mut is_written = false;
            while conns.len() < SendRing::SENDS_MAX
                && let Some(transmit) = hub.poll_transmit()
            {
                is_written = true;
                let (conn, len) = (transmit.conn(), transmit.len());
                let Some(socket) = sockets.get_mut(conn) else {
                    hub.handle_eof(conn, clock());
                    continue;
                };
                if transmit.single().is_some() {
                    conns.push((conn, len));
                    pieces.extend(transmit.segments());
                    continue;
                }
                let result = socket.stream.write_vectored(&transmit.io_slices()); // So many are not worth a ring.
                written(hub, sockets, (conn, len), result, clock(), touched);
            }
            let sends = conns.iter().zip(&*pieces).map(|((conn, _), piece)| (sockets.stream(*conn), &piece[..]));
            ring.send(&sends.collect::<Vec<_>>(), results);
            pieces.clear(); // Before the answers, for then they are in nobody's account.
            let now = clock();
            for (transmit, result) in conns.drain(..).zip(results.drain(..)) {
                written(hub, sockets, transmit, result, now, touched);
            }
            is_written
        }
    }

    fn written(
        hub: &mut Hub,
        sockets: &mut Sockets,
        (conn, len): (ConnId, usize),
        result: io::Result<usize>,
        now: Instant,
        touched: &mut Vec<ConnId>,
    ) {
        match result {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                sockets.remove(conn); // A paused connection is not read: it is to be noticed here.
                hub.handle_eof(conn, now);
            }
            result => {
                let sent = result.unwrap_or(0);
                hub.handle_sent(conn, sent, now);
                if sent < len {
                    touched.push(conn);
                }
            }
        }
    }

    /// Watches for what the hub waits for.
    fn watch(hub: &Hub, conn: ConnId, sockets: &mut Sockets, poll: &OwnedFd) -> io::Result<()> {
        let (Some(socket), Some(state)) = (sockets.get_mut(conn), hub.connection(conn)) else { return Ok(()) };
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, !state.is_paused);
        wanted.set(EventFlags::OUT, state.is_blocked);
        if wanted != socket.watched {
            epoll::modify(poll, &socket.stream, EventData::new_u64(conn.to_bits()), wanted)?;
            socket.watched = wanted;
        }
        Ok(())
    }

    struct Socket {
        conn: ConnId,
        stream: TcpStream,
        watched: EventFlags,
    }

    /// By the place of their connections, which is found faster than in a map.
    #[derive(Default)]
    struct Sockets(Vec<Option<Socket>>);

    impl Sockets {
        fn insert(&mut self, socket: Socket) {
            let index = socket.conn.index();
            self.0.resize_with(self.0.len().max(index + 1), || None);
            self.0[index] = Some(socket);
        }

        fn get_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
            self.0.get_mut(conn.index())?.as_mut().filter(|socket| socket.conn == conn)
        }

        fn stream(&self, conn: ConnId) -> &TcpStream {
            &self.0[conn.index()].as_ref().expect("just looked up").stream
        }

        fn remove(&mut self, conn: ConnId) {
            if self.get_mut(conn).is_some() {
                self.0[conn.index()] = None;
            }
        }
    }
}

#[cfg(target_os = "linux")]
use linux::main;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("needs Linux");
}
