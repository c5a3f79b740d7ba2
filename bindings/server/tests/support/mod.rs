//! Real processes of the built binary, with their output as lines. Nothing here measures time: waiting ends when what
//! is waited for is there, or with a panic when it surely will not come.

pub(crate) mod proxy;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Nothing takes as long as this unless it hangs.
const HANG: Duration = Duration::from_secs(180);

/// How many lines the large tests publish: 20,000 unless `FOREBAY_LINES` says otherwise (1,000,000 in `.ci/full`).
pub(crate) fn line_count() -> usize {
    std::env::var("FOREBAY_LINES").map_or(20_000, |lines| lines.parse().expect("FOREBAY_LINES is a number"))
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < HANG, "hangs: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file with a configuration, of this test alone.
pub(crate) fn config_file(name: &str, text: &str) -> String {
    let path = format!("{}/{name}.toml", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, text).unwrap();
    path
}

/// What a process writes, line by line.
#[derive(Debug)]
pub(crate) struct Output {
    lines: Receiver<Vec<u8>>,
    name: String,
}

impl Output {
    fn new(name: String, stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            loop {
                let mut line = Vec::new();
                if stream.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                    return;
                }
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines, name }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&self) -> Option<Vec<u8>> {
        match self.lines.recv_timeout(HANG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("hangs: no further line from {}", self.name),
        }
    }

    /// A line that is there already.
    pub(crate) fn try_next(&self) -> Option<Vec<u8>> {
        self.lines.try_recv().ok()
    }

    /// The next line with `part` in it; the ones before it are passed over.
    #[track_caller]
    pub(crate) fn find(&self, part: &str) -> String {
        let mut seen = Vec::new();
        while let Some(line) = self.next() {
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("{} ended without {part:?}: {seen:#?}", self.name)
    }

    /// Everything up to the end.
    pub(crate) fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }
}

/// A process that is killed when the test is over.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) out: Output,
    pub(crate) err: Output,
    name: String,
}

impl Process {
    /// Starts `forebay` with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let name = format!("forebay {}", arguments.join(" "));
        let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Output::new(format!("standard output of {name}"), child.stdout.take().unwrap());
        let err = Output::new(format!("standard error of {name}"), child.stderr.take().unwrap());
        Self { child, out, err, name }
    }

    /// Its standard input, once.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Sends a signal: `STOP`, `CONT`, `INT`, `TERM`, `KILL`.
    pub(crate) fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit status, once it has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let what = format!("the end of {}", self.name);
        wait_until(&what, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits for the end, which has to be with this exit status; returns the rest of standard error.
    #[track_caller]
    pub(crate) fn ends(&mut self, status: i32) -> Vec<String> {
        let ended = self.wait();
        let rest = self.err.rest();
        assert_eq!(ended.code(), Some(status), "{}: {rest:#?}", self.name);
        rest
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server on a free port; `config` is its configuration. Returns it with its URL.
pub(crate) fn server(test: &str, config: &str) -> (Process, String) {
    server_on("threads", test, config)
}

/// The same on one of the bindings.
pub(crate) fn server_on(binding: &str, test: &str, config: &str) -> (Process, String) {
    let file = config_file(test, config);
    let server = Process::start(&["serve", "--binding", binding, "--listen", "127.0.0.1:0", "--config", &file]);
    let line = server.out.find("ws://127.0.0.1:");
    let url = line[line.find("ws://").unwrap()..].to_owned();
    (server, url)
}

/// Starts a subscriber and waits until it is one.
pub(crate) fn subscriber(url: &str, arguments: &[&str]) -> Process {
    let process = Process::start(&[&["subscribe", url, "--topic", "log"], arguments].concat());
    process.err.find("subscribed: topic log, from seq ");
    process
}

/// Starts a publisher.
pub(crate) fn publisher(url: &str, arguments: &[&str]) -> Process {
    Process::start(&[&["publish", url, "--topic", "log"], arguments].concat())
}

/// Publishes `input` and waits for the end: exit status, and standard error.
#[track_caller]
pub(crate) fn publish(url: &str, arguments: &[&str], input: &[u8], status: i32) -> Vec<String> {
    let mut process = publisher(url, arguments);
    process.input().write_all(input).unwrap();
    process.ends(status)
}

/// Line `number` of a test: all different, with characters that JSON escapes, `bytes` long or a little longer.
pub(crate) fn line(number: usize, bytes: usize) -> Vec<u8> {
    let mut line =
        format!("{number} GET /\"path\\{} \u{fc}\u{1f680}\t", number.wrapping_mul(2_654_435_761) % 1_000_003);
    while line.len() < bytes {
        line.push_str("filler ");
    }
    line.into_bytes()
}

/// Writes lines `numbers` to `input`.
pub(crate) fn write_lines(
    input: &mut impl Write,
    numbers: std::ops::Range<usize>,
    bytes: usize,
) -> std::io::Result<()> {
    let mut text = Vec::new();
    for number in numbers {
        text.extend_from_slice(&line(number, bytes));
        text.push(b'\n');
        if text.len() > 64 << 10 {
            input.write_all(&text)?;
            text.clear();
        }
    }
    input.write_all(&text)
}

/// The numbers in a line of text, in order.
pub(crate) fn numbers(line: &str) -> Vec<u64> {
    line.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}
