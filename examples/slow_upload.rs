//! Uploads to a disk that is slower than the network, in raw mode: whoever uploads is slowed down by TCP, memory stays as it
//! is, and nothing is lost.
//!
//! `cargo run --example slow_upload [ADDRESS [DIRECTORY [BYTES_PER_SECOND]]]`, then in the console of a browser that
//! shows http://127.0.0.1:9001 (pages from elsewhere are turned away):
//! `s = new WebSocket("ws://127.0.0.1:9001"); s.onmessage = m => console.log(m.data)`
//! `for (let i = 0; i < 1000; i++) s.send(new Uint8Array(65536)); s.send("end")`
//! `setInterval(() => console.log(s.bufferedAmount), 1000)`
//!
//! Watch `bufferedAmount`: what the disk has not taken waits in the browser. The binary messages of a connection are a file;
//! `end` is answered with its name and length. A connection that ends otherwise leaves a part.
//!
//! All there is to it: `Hub::receive` is called only while the disk has room, of which `Handle::wake` tells. What is not
//! received counts against `inbound_bytes_max`, and at that bound the connection is not read.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use forebay_threads::forebay_core::{self, ConnId};
use forebay_threads::{Bytes, CloseCode, Event, Handle, Hub, Mode, Options, Payload, Server, ServerOptions};

/// Messages that wait for the disk, and their size.
const ORDERS_MAX: usize = 4;
const MESSAGE_BYTES_MAX: u32 = 64 << 10;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "uploads".to_owned()));
    let rate = arguments.next().map_or(Ok(10e6), |number| number.parse()).map_err(io::Error::other)?;
    std::fs::create_dir_all(&directory)?;
    let hub = Options {
        message_bytes_max: MESSAGE_BYTES_MAX,
        inbound_bytes_max: 4 * MESSAGE_BYTES_MAX,
        ..Options::default()
    };
    let server = Server::bind(address, ServerOptions { hub, mode: Mode::Raw, ..ServerOptions::default() })?;
    println!("listening on ws://{}", server.local_addr()?);
    let (to_disk, orders) = channel(); // Bounded by `ORDERS_MAX`, and one for the end of each connection.
    let (to_us, from_disk) = channel(); // One answer per order.
    let handle = server.handle();
    thread::spawn(move || Disk::new(directory, rate).run(&orders, &to_us, &handle));
    let mut uploads = Uploads { to_disk, from_disk, orders: 0, waiting: VecDeque::new() };
    server.run_with(move |hub, event, now| uploads.event(hub, event, now))
}

/// What the disk is to do with the file of a connection.
enum Order {
    Append(Bytes),
    Finish,
    Abandon,
}

/// What is to be said to the client, if anything.
type Answer = io::Result<Option<String>>;

/// The hub's side: it decides what is received.
struct Uploads {
    to_disk: Sender<(ConnId, Order)>,
    from_disk: Receiver<(ConnId, Answer)>,
    /// What the disk has not answered.
    orders: usize,
    /// Connections that have messages; they take turns.
    waiting: VecDeque<ConnId>,
}

impl Uploads {
    fn event(&mut self, hub: &mut Hub, event: Event, now: forebay_core::Instant) {
        match event {
            Event::Received(conn) if !self.waiting.contains(&conn) => self.waiting.push_back(conn),
            Event::Closed { conn, .. } => self.order(conn, Order::Abandon), // All it sent was received before.
            Event::Woken => {
                while let Ok((conn, answer)) = self.from_disk.try_recv() {
                    self.orders -= 1;
                    match answer {
                        Ok(Some(text)) => drop(hub.send(conn, Payload::Text(&text), now)),
                        Ok(None) => {}
                        Err(error) => {
                            eprintln!("the disk: {error}");
                            hub.close(conn, CloseCode::INTERNAL, "the disk", now);
                        }
                    }
                }
            }
            _ => {}
        }
        while self.orders < ORDERS_MAX
            && let Some(conn) = self.waiting.pop_front()
        {
            let Some(message) = hub.receive(conn, now) else { continue }; // `Received` tells when there are more.
            self.waiting.push_back(conn);
            self.order(conn, if message.is_text { Order::Finish } else { Order::Append(message.bytes) });
        }
    }

    fn order(&mut self, conn: ConnId, order: Order) {
        self.orders += 1;
        self.to_disk.send((conn, order)).expect("it runs as long as the server");
    }
}

/// Files that are not finished, and how fast they may be written.
struct Disk {
    directory: PathBuf,
    files: BTreeMap<ConnId, (PathBuf, File, usize)>,
    count: u64,
    bytes_per_second: f64,
    is_free_at: Instant,
}

impl Disk {
    fn new(directory: PathBuf, bytes_per_second: f64) -> Self {
        Self { directory, files: BTreeMap::new(), count: 0, bytes_per_second, is_free_at: Instant::now() }
    }

    fn run(mut self, orders: &Receiver<(ConnId, Order)>, to_us: &Sender<(ConnId, Answer)>, handle: &Handle) {
        for (conn, order) in orders {
            let answer = self.carry_out(conn, order);
            // It fails when the server has stopped, and then nobody has orders.
            let _ = to_us.send((conn, answer));
            handle.wake();
        }
    }

    fn carry_out(&mut self, conn: ConnId, order: Order) -> Answer {
        match order {
            Order::Append(bytes) => {
                self.sleep(bytes.len());
                let (_, file, len) = self.file(conn)?;
                *len += bytes.len();
                file.write_all(&bytes).map(|()| None)
            }
            Order::Finish => {
                let (path, len) = self.file(conn).map(|(path, _, len)| (path.clone(), *len))?;
                self.files.remove(&conn);
                let whole = path.with_extension("bin");
                std::fs::rename(path, &whole)?;
                Ok(Some(format!("{}: {len} bytes", whole.display())))
            }
            Order::Abandon => {
                self.files.remove(&conn);
                Ok(None)
            }
        }
    }

    fn file(&mut self, conn: ConnId) -> io::Result<&mut (PathBuf, File, usize)> {
        Ok(match self.files.entry(conn) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.count += 1;
                let path = self.directory.join(format!("{}.part", self.count));
                let file = File::create(&path)?;
                entry.insert((path, file, 0))
            }
        })
    }

    /// What makes it slow.
    fn sleep(&mut self, bytes: usize) {
        let took = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        self.is_free_at = self.is_free_at.max(Instant::now()) + took;
        thread::sleep(self.is_free_at.saturating_duration_since(Instant::now()));
    }
}
