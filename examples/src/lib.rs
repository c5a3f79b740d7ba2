//! One file per way to embed `forebay-core`: see the files beside this folder. This library is what their tests share: an
//! example as a process, and clients for it.
#![cfg(not(target_family = "wasm"))]

/// What the chapter on policies tells to write compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/policies.md")]
#[derive(Debug)]
pub struct Policies;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tungstenite::{Message, WebSocket};

/// A client of another library.
pub type Client = WebSocket<TcpStream>;

/// How long to wait for what must come; then the test has failed. Less than the `stall_timeout` of 30 s, which would hide that
/// the end of a connection was overlooked, and than the `ping_interval` of 25 s: a read that sees a ping begins to wait anew.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An example that listens; it is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// What it prints behind that.
    output: BufReader<ChildStdout>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Runs an example with a free port, and `arguments` behind that, until it says where it listens.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn start(example: &str, arguments: &[&str]) -> Self {
        Self::start_with(example, &[&["127.0.0.1:0"], arguments].concat())
    }

    /// Runs an example with these arguments, the first of them too, until it says where it listens.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn start_with(example: &str, arguments: &[&str]) -> Self {
        let mut child = run(example).args(arguments).stdout(Stdio::piped()).spawn().expect("cargo runs");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        output.read_line(&mut line).expect("its output is text");
        let address = line.trim().strip_prefix("listening on ws://").expect("it says where it listens");
        Self { address: address.parse().expect("an address"), child, output }
    }

    /// Waits until it ends by itself; what else it has printed.
    ///
    /// # Panics
    /// When it cannot be waited for.
    #[must_use]
    pub fn finish(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("its output is text");
        (self.child.wait().expect("it runs"), rest)
    }

    /// A TCP connection. The kernel keeps little for a client that does not read.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn tcp(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(32 << 10).expect("before it is connected");
        socket.connect(&self.address.into()).expect("the server listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("the option exists");
        socket.into()
    }

    /// A client whose opening handshake is done.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn websocket(&self) -> Client {
        tungstenite::client(format!("ws://{}/", self.address), self.tcp()).expect("an opening handshake").0
    }

    /// A client that has been greeted by a topic server.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn connect(&self) -> Client {
        let mut client = self.websocket();
        assert!(read(&mut client).starts_with(r#"{"op":"hello""#));
        client
    }

    /// A file of `/proc` about the process; `None` where there is no such thing.
    fn proc(&self, file: &str) -> Option<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        cfg!(target_os = "linux").then(|| std::fs::read_to_string(path).expect("it runs"))
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find(|line| line.starts_with(field)).expect("the field is there");
        Some(line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number"))
    }

    /// The most memory that was resident so far, in bytes.
    #[must_use]
    pub fn peak_bytes(&self) -> Option<u64> {
        self.status("VmHWM:").map(|kib| kib << 10)
    }

    /// What one connection more must not leave behind: threads and open files.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn holds(&self) -> Option<(u64, usize)> {
        let threads = self.status("Threads:")?;
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        Some((threads, files.count()))
    }

    /// Waits until the process sleeps: until it uses next to no processor time for a second, and is not kept from using it.
    pub fn wait_until_idle(&self) {
        // Behind the name: the state, and as the 12th and 13th utime and stime in hundredths of a second (proc(5)).
        let look = || {
            let stat = self.proc("stat")?;
            let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
            let fields: Vec<_> = fields.split_whitespace().collect();
            let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
            Some((fields[0] == "R", ticks(11) + ticks(12)))
        };
        wait_until("the process sleeps", || {
            let Some((_, before)) = look() else { return true };
            let looks = (0..20).filter_map(|_| {
                std::thread::sleep(Duration::from_millis(50));
                look()
            });
            let (running, after) =
                looks.fold((0, before), |(running, _), (is, after)| (running + u32::from(is), after));
            running <= 2 && after - before <= 5
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an example.
#[must_use]
pub fn run(example: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "forebay-examples", "--example", example, "--"]);
    command
}

/// Waits for a condition, for as long as [`PATIENCE`] lasts.
///
/// # Panics
/// When it does not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The next text message. Pings are answered by the library.
///
/// # Panics
/// When something else comes.
pub fn read(client: &mut Client) -> String {
    loop {
        match client.read().expect("a message") {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) => {}
            other => panic!("{other:?} is no text"),
        }
    }
}

/// Sends a text message.
///
/// # Panics
/// When the connection is gone.
pub fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text.to_owned())).expect("it is connected");
}

/// Says something and reads the answer.
pub fn ask(client: &mut Client, text: &str) -> String {
    say(client, text);
    read(client)
}

/// The first of these programs that is there.
///
/// # Panics
/// When it is not, and `FOREBAY_REQUIRE_ALL=1` says that nothing may be missing.
#[must_use]
pub fn program(names: &[&'static str]) -> Option<&'static str> {
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found = names.iter().copied().find(is_there);
    if found.is_none() {
        assert!(std::env::var_os("FOREBAY_REQUIRE_ALL").is_none_or(|value| value != "1"), "needs {}", names[0]);
        println!("skipped: needs {}", names[0]);
    }
    found
}

/// A script of Node's among the tests, with a global `WebSocket`: Node 20 has one if asked, 22 by itself.
///
/// # Panics
/// As [`program`].
#[must_use]
pub fn node(script: &str) -> Option<Command> {
    const FLAGS: [&str; 2] = ["--no-warnings", "--experimental-websocket"];
    let node = program(&["node"])?;
    let has_websocket = Command::new(node).args(FLAGS).args(["-e", "WebSocket"]).stderr(Stdio::null()).status();
    if !has_websocket.is_ok_and(|status| status.success()) {
        println!("skipped: needs a newer node"); // No package makes up for it, so nothing is missing on this machine.
        return None;
    }
    let mut command = Command::new(node);
    command.args(FLAGS).arg(format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR")));
    Some(command)
}
