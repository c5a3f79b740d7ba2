//! `forebay publish`: each line of standard input is a message.

mod window;

use std::io::{self, BufRead, BufReader};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use forebay_threads::{
    Client, ClientOptions, CloseCode, Closed, DeflateOptions, EndReason, LaneLimits, Payload, SendError,
};

use crate::cli::PublishArguments;
use crate::connect::Backoff;
use crate::lines::{Line, Lines};
use crate::protocol::{Incoming, Other};
use crate::requests::{PublishRequest, Unfit};
use crate::{Failure, connect, note, protocol, signals, tell};
use window::Window;

/// Unanswered requests hold at most this, and one more.
const WINDOW_BYTES_MAX: usize = 1 << 20;

/// A longer request is not made, whatever the server takes: a quarter of the client's memory budget.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Refused lines that are reported one by one; further ones are only counted.
const REPORTS_MAX: u64 = 10;

/// Why there is no request for a line.
enum Refusal {
    Unfit(Unfit),
    /// It has this many bytes.
    TooLong(u64),
}

/// What the thread that reads lines, the one that takes answers and the one that waits for signals share.
struct Publisher {
    /// The connection in use; none while there is none. Whoever sends holds the lock, so that requests go in order.
    client: Mutex<Option<Arc<Client>>>,
    window: Window,
    reports: AtomicU64,
    /// All of standard input was read.
    was_read: AtomicBool,
}

/// Runs the command.
pub(crate) fn run(arguments: &PublishArguments) -> Result<ExitCode, Failure> {
    let (client, hello) = connect::connect(&arguments.url, client_options(arguments))?;
    let mut client = Arc::new(client);
    let request_bytes_max = REQUEST_BYTES_MAX.min(hello.limits.message_bytes_max as usize);
    let publisher = Arc::new(Publisher {
        client: Mutex::new(Some(Arc::clone(&client))),
        window: Window::new(arguments.window as usize, WINDOW_BYTES_MAX),
        reports: AtomicU64::new(0),
        was_read: AtomicBool::new(false),
    });
    let signalled = Arc::clone(&publisher);
    signals::on_first(move |signal| signalled.stop(signal))
        .map_err(|error| Failure::runtime(format!("cannot handle signals: {error}")))?;

    let started = Instant::now();
    let reading = Arc::clone(&publisher);
    let ids = connect::random::<16>().ok_or_else(|| Failure::runtime("the system has no random source"))?;
    let ids = format!("{:032x}", u128::from_ne_bytes(ids));
    let request = PublishRequest::new(&arguments.topic, arguments.json, arguments.key.clone(), ids);
    // A thread of its own, never joined: it may be waiting for a line when the connection ends.
    std::thread::Builder::new()
        .name("lines".to_owned())
        .spawn(move || reading.send_lines(BufReader::with_capacity(64 << 10, io::stdin()), request, request_bytes_max))
        .map_err(|error| Failure::runtime(format!("cannot start a thread: {error}")))?;
    let mut backoff = Backoff::default();
    let closed = loop {
        let answers = publisher.window.answers();
        let closed = publisher.take_answers(&client, !arguments.retry_for.is_zero());
        if publisher.window.answers() > answers {
            backoff = Backoff::default();
        }
        match publisher.reconnect(arguments, &closed, &mut backoff) {
            Some(again) => client = again,
            None => break closed,
        }
    };
    let tally = publisher.window.end();
    let is_complete = publisher.was_read.load(Ordering::Acquire);
    if !matches!(closed.reason, EndReason::Closed(_)) {
        tell(format_args!("the connection ended: {closed}"));
    }
    note(tally.summary(started.elapsed()));
    let is_good = is_complete && tally.lost == 0 && tally.refused_total() == 0;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn client_options(arguments: &PublishArguments) -> ClientOptions {
    let mut options = ClientOptions::default();
    // The window is the bound; the queue below it only has to hold it.
    options.hub.direct_lane =
        LaneLimits { messages_max: arguments.window + 1, bytes_max: (WINDOW_BYTES_MAX + REQUEST_BYTES_MAX) as u64 };
    options.hub.deflate = arguments.deflate.then(|| DeflateOptions { direct: true, ..DeflateOptions::default() });
    options
}

impl Publisher {
    fn send_lines(&self, input: impl BufRead, mut request: PublishRequest, request_bytes_max: usize) {
        let line_bytes_max = request.line_bytes_max(request_bytes_max);
        let mut lines = Lines::new(input, line_bytes_max);
        let mut number = 0;
        // A line is read only when there is room for it, so that whoever writes the lines feels a full window.
        while self.window.wait_for_room() {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.was_read.store(true, Ordering::Release);
                    break;
                }
                Err(error) => {
                    tell(format_args!("standard input: {error}"));
                    break;
                }
            };
            number += 1;
            let request = match line {
                Line::Whole(line) => request.make(number, line).map_err(Refusal::Unfit),
                Line::TooLong(bytes) => Err(Refusal::TooLong(bytes)),
            };
            match request {
                Ok(request) if request.len() <= request_bytes_max => {
                    if !self.send(number, request) {
                        return; // A signal came, or there is no connection any more; who noticed it tells.
                    }
                }
                Ok(request) => self.refuse_long(number, request.len() as u64, request_bytes_max),
                Err(Refusal::TooLong(bytes)) => self.refuse_long(number, bytes, request_bytes_max),
                Err(Refusal::Unfit(unfit)) => {
                    self.report(number, &format!("{}: {unfit}", unfit.code()));
                    self.window.refuse(unfit.code());
                }
            }
        }
        if self.window.finish() {
            self.close();
        }
    }

    fn client(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        // Nothing panics with the lock held.
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything was answered, and nothing more will be sent.
    fn close(&self) {
        let client = self.client().clone();
        if let Some(client) = client {
            let _ = client.close(CloseCode::NORMAL, "");
        }
    }

    /// Sends a request; without a connection it waits for one in the window. `false`: none may be sent any more.
    fn send(&self, number: u64, request: &str) -> bool {
        let client = self.client();
        if !self.window.sending(number, request) {
            return false;
        }
        match client.as_ref().map(|client| client.send(Payload::Text(request))) {
            None | Some(Ok(()) | Err(SendError::Closed(_))) => {}
            // Not expected: the queue holds a full window.
            Some(Err(error)) => {
                drop(client);
                self.report(number, &format!("too-large: {error}"));
                if self.window.refused(Some(number), "too-large").1 {
                    self.close();
                }
            }
        }
        true
    }

    /// A new connection on which everything unanswered is sent again; `None`: it is over, or too long since the last one ended.
    fn reconnect(&self, arguments: &PublishArguments, closed: &Closed, backoff: &mut Backoff) -> Option<Arc<Client>> {
        let lost_at = Instant::now();
        self.client().take();
        if arguments.retry_for.is_zero() || self.window.is_over() || !connect::is_worth_returning(closed) {
            return None;
        }
        tell(format_args!("the connection ended: {closed}; coming back"));
        loop {
            let wait = backoff.next();
            if self.window.is_over() {
                return None;
            }
            if lost_at.elapsed() + wait >= arguments.retry_for {
                tell(format_args!("no connection within {:?} (--retry-for)", arguments.retry_for));
                return None;
            }
            std::thread::sleep(wait);
            match connect::connect(&arguments.url, client_options(arguments)) {
                Ok((client, _)) => {
                    let client = Arc::new(client);
                    let mut current = self.client();
                    for request in self.window.unanswered() {
                        let _ = client.send(Payload::Text(&request)); // An end is noticed by who takes the answers.
                    }
                    *current = Some(Arc::clone(&client));
                    return Some(client);
                }
                Err(failure) => tell(failure.text),
            }
        }
    }

    fn refuse_long(&self, number: u64, bytes: u64, bytes_max: usize) {
        let bound = "bytes of one message (the server's message_bytes_max, with the request around the payload)";
        self.report(number, &format!("too-large: {bytes} bytes do not fit the {bytes_max} {bound}"));
        self.window.refuse("too-large");
    }

    fn report(&self, number: u64, problem: &str) {
        match self.reports.fetch_add(1, Ordering::Relaxed) {
            count if count < REPORTS_MAX => tell(format_args!("line {number} refused: {problem}")),
            REPORTS_MAX => tell("further refused lines are only counted"),
            _ => {}
        }
    }

    /// Takes answers until the connection ends. What a server that shuts down refuses waits for the next one, if there `is_next`.
    fn take_answers(&self, client: &Client, is_next: bool) -> Closed {
        // The last answer, or the last line, may have come while there was no connection.
        if self.window.is_over() {
            return client.close(CloseCode::NORMAL, "");
        }
        loop {
            let payload = match client.receive() {
                Ok(payload) => payload,
                Err(closed) => return closed,
            };
            let is_last = match payload.as_text().map(protocol::parse) {
                Some(Ok(Incoming::Ok(answer))) => {
                    self.window.accepted(answer.id, answer.matched.unwrap_or(0), answer.duplicate)
                }
                Some(Ok(Incoming::Other(Other::Error { code, .. }))) if is_next && code == "draining" => false,
                Some(Ok(Incoming::Other(Other::Error { code, message, id }))) => {
                    let (number, is_last) = self.window.refused(id, &code);
                    if let Some(number) = number {
                        self.report(number, &format!("{code}: {message}"));
                    }
                    is_last
                }
                Some(Ok(_)) => false,
                Some(Err(_)) | None => {
                    tell("the server sent something that is not of forebay.v1");
                    false
                }
            };
            if is_last {
                return client.close(CloseCode::NORMAL, "");
            }
        }
    }

    /// A signal: no further line is sent; the answers of what was sent are waited for.
    fn stop(&self, signal: &str) {
        let is_last = self.window.finish();
        let count = self.window.outstanding();
        tell(format_args!("{signal}: waiting for {count} answers; a second signal exits at once"));
        if is_last {
            self.close();
        }
    }
}
