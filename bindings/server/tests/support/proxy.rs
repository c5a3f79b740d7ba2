//! A network that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What stands between a command and its server.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    server: String,
    is_open: AtomicBool,
    /// Bytes that went from the server to its clients.
    bytes: AtomicU64,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A network before the server at `url`.
    pub(crate) fn new(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            server: url.trim_start_matches("ws://").to_owned(),
            is_open: AtomicBool::new(true),
            bytes: AtomicU64::new(0),
            sockets: Mutex::default(),
        });
        let proxy = Self { shared: Arc::clone(&shared), address: listener.local_addr().unwrap() };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                shared.pass(client.unwrap());
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Ends all connections. New ones are refused until it is [opened](Self::open).
    pub(crate) fn close(&self) {
        let sockets = {
            let mut sockets = self.shared.sockets.lock().unwrap();
            self.shared.is_open.store(false, Ordering::SeqCst);
            std::mem::take(&mut *sockets)
        };
        for socket in sockets {
            let _ = socket.shutdown(Shutdown::Both); // It may have ended.
        }
    }

    pub(crate) fn open(&self) {
        self.shared.is_open.store(true, Ordering::SeqCst);
    }

    /// Ends all connections; new ones are let through.
    pub(crate) fn cut(&self) {
        self.close();
        self.open();
    }

    /// Bytes that went from the server to its clients.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn pass(self: &Arc<Self>, client: TcpStream) {
        // With the lock, so that what is let through is cut by the next close.
        let mut sockets = self.sockets.lock().unwrap();
        let Some(server) = self.is_open.load(Ordering::SeqCst).then(|| TcpStream::connect(&self.server).ok()).flatten()
        else {
            return;
        };
        for (from, to, is_answer) in [(&client, &server, false), (&server, &client, true)] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                    if is_answer {
                        shared.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
                    }
                    if to.write_all(&buffer[..bytes]).is_err() {
                        break;
                    }
                }
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        sockets.extend([client, server]);
    }
}
