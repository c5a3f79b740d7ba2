//! `forebay subscribe`: payloads to standard output, what was lost to standard error.

use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_core::wire::WireError;
use forebay_threads::{Client, ClientOptions, CloseCode, Closed, EndReason, Payload, ReceiveError};

use crate::cli::SubscribeArguments;
use crate::protocol::{Incoming, Other};
use crate::{Failure, connect, note, protocol, signals, tell};

/// How much is read ahead of what is printed.
const AHEAD_BYTES_MAX: u32 = 1 << 20;
/// With `--rate`: little, so that the server feels how slow we are.
const SLOW_AHEAD_BYTES_MAX: u32 = 64 << 10;
/// With `--rate`, in the kernel.
const SLOW_RECEIVE_BUFFER_BYTES: u32 = 16 << 10;

/// Why the command is over.
enum End {
    /// `--count` was reached, a signal came, or nobody reads standard output any more.
    Enough,
    /// The connection ended.
    Closed(Closed),
    /// The server ended the last subscription.
    NoTopic,
}

/// Runs the command.
pub(crate) fn run(arguments: &SubscribeArguments) -> Result<ExitCode, Failure> {
    let mut options = ClientOptions::default();
    let ahead = if arguments.rate.is_some() { SLOW_AHEAD_BYTES_MAX } else { AHEAD_BYTES_MAX };
    options.hub.message_bytes_max = arguments.message_bytes_max.unwrap_or(ahead);
    options.hub.inbound_bytes_max = options.hub.message_bytes_max;
    options.receive_buffer_bytes = arguments.rate.map(|_| SLOW_RECEIVE_BUFFER_BYTES);
    let (client, _) = connect::connect(&arguments.url, options)?;
    let client = Arc::new(client);
    let stop = Arc::new(AtomicBool::new(false));
    let (signalled, stopping) = (Arc::clone(&client), Arc::clone(&stop));
    signals::on_first(move |_| {
        stopping.store(true, Ordering::Release);
        // Also wakes who waits for a message.
        let _ = signalled.close(CloseCode::NORMAL, "");
    })
    .map_err(|error| Failure::runtime(format!("cannot handle signals: {error}")))?;
    let lane = protocol::Lane {
        policy: arguments.policy,
        messages_max: arguments.messages_max.map(NonZeroU32::get),
        bytes_max: arguments.bytes_max,
        age_max: arguments.age_max,
    };
    for (topic, id) in arguments.topics.iter().zip(1..) {
        let request = protocol::subscribe(topic, lane, id);
        client.send(Payload::Text(&request)).map_err(|error| Failure::runtime(error.to_string()))?;
    }

    let mut subscriber = Subscriber {
        arguments,
        output: BufWriter::with_capacity(64 << 10, io::stdout().lock()),
        line: Vec::new(),
        received: 0,
        missed: 0,
        topics: arguments.topics.len(),
        due: Instant::now(),
    };
    let end = subscriber.take_all(&client, &stop);
    // What was printed comes before what is told about it, also where both go to one terminal.
    let end = subscriber.output.flush().map_err(Problem::Output).and(end);
    let (received, missed) = (subscriber.received, subscriber.missed);
    let status = match end {
        Err(Problem::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(Problem::Output(error)) => return Err(Failure::runtime(format!("standard output: {error}"))),
        Err(Problem::Other(failure)) => return Err(failure),
        Ok(End::Enough) => {
            leave(&client, &stop);
            ExitCode::SUCCESS
        }
        Ok(End::NoTopic) => ExitCode::FAILURE,
        Ok(End::Closed(closed)) => {
            tell(format_args!("the connection ended: {closed}"));
            if closed.reason == EndReason::Protocol(WireError::MessageTooBig) {
                tell("a message was longer than --message-bytes-max allows");
            }
            if connect::ended_well(&closed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    };
    note(format_args!("received {received}, missed {missed}"));
    Ok(status)
}

/// Closes in good order, unless a signal's thread is doing it. What still comes is passed over: the server's Close is
/// behind it.
fn leave(client: &Client, stop: &AtomicBool) {
    std::thread::scope(|scope| {
        if !stop.load(Ordering::Acquire) {
            scope.spawn(|| client.close(CloseCode::NORMAL, ""));
        }
        while client.receive().is_ok() {}
    });
}

enum Problem {
    Output(io::Error),
    Other(Failure),
}

struct Subscriber<'a, W: Write> {
    arguments: &'a SubscribeArguments,
    output: BufWriter<W>,
    /// One payload.
    line: Vec<u8>,
    received: u64,
    missed: u64,
    /// Subscriptions the server did not end.
    topics: usize,
    /// With `--rate`: when the next message may be taken.
    due: Instant,
}

impl<'a, W: Write> Subscriber<'a, W> {
    fn take_all(&mut self, client: &Client, stop: &AtomicBool) -> Result<End, Problem> {
        loop {
            self.pace()?;
            // Written out when nothing more is at hand: lines show at once, and a million of them are few writes.
            let next = match client.receive_timeout(Duration::ZERO) {
                Err(ReceiveError::TimedOut) => {
                    self.output.flush().map_err(Problem::Output)?;
                    client.receive()
                }
                Ok(payload) => Ok(payload),
                Err(ReceiveError::Closed(closed)) => Err(closed),
            };
            if stop.load(Ordering::Acquire) {
                return Ok(End::Enough);
            }
            let payload = match next {
                Ok(payload) => payload,
                Err(closed) => return Ok(End::Closed(closed)),
            };
            let text = connect::text(&payload).map_err(Problem::Other)?;
            if let Some(end) = self.take(text)? {
                return Ok(end);
            }
        }
    }

    /// Waits until the next message may be taken.
    fn pace(&mut self) -> Result<(), Problem> {
        let wait = self.due.saturating_duration_since(Instant::now());
        if self.arguments.rate.is_some() && !wait.is_zero() {
            self.output.flush().map_err(Problem::Output)?;
            std::thread::sleep(wait);
        }
        Ok(())
    }

    fn take(&mut self, text: &str) -> Result<Option<End>, Problem> {
        let incoming = protocol::parse(text).map_err(|error| not_understood(&error.to_string()))?;
        match incoming {
            Incoming::Message(message) => {
                self.line.clear();
                message.write_line(self.arguments.json, &mut self.line).map_err(not_understood)?;
                self.output.write_all(&self.line).map_err(Problem::Output)?;
                self.received += 1;
                if let Some(rate) = self.arguments.rate {
                    self.due = self.due.max(Instant::now()) + Duration::from_secs(1) / rate.get();
                }
                let is_enough = self.arguments.count.is_some_and(|count| self.received >= count.get());
                return Ok(is_enough.then_some(End::Enough));
            }
            Incoming::Ok(answer) => {
                let topic = self.topic(answer.id);
                let next = answer.seq.unwrap_or(0) + 1;
                let policy = answer.policy.as_deref().unwrap_or("?");
                self.tell(format_args!("subscribed: topic {topic}, from seq {next}, policy {policy}"))?;
            }
            Incoming::Other(other) => return self.take_other(other),
            Incoming::Hello(_) => {}
        }
        Ok(None)
    }

    fn take_other(&mut self, other: Other) -> Result<Option<End>, Problem> {
        match other {
            Other::Gap { topic, from, to, missed, reasons } => {
                self.missed += missed;
                let reasons = reasons.join(", ");
                self.tell(format_args!("gap: topic {topic}: missed {missed} messages ({from}..{to}): {reasons}"))?;
            }
            Other::Error { code, message, id } => {
                let topic = self.topic(id);
                let text = format!("cannot subscribe to {topic}: {code}: {message}");
                return Err(Problem::Other(Failure::runtime(text)));
            }
            Other::Ended { topic, code } => {
                self.tell(format_args!("the server ended the subscription to {topic}: {code}"))?;
                self.topics = self.topics.saturating_sub(1);
                return Ok((self.topics == 0).then_some(End::NoTopic));
            }
            Other::Unknown => {}
        }
        Ok(None)
    }

    /// The topic whose subscribe has this id: they are counted from 1.
    fn topic(&self, id: Option<u64>) -> &'a str {
        let index = id.and_then(|id| usize::try_from(id).ok()?.checked_sub(1));
        index.and_then(|index| self.arguments.topics.get(index)).map_or("?", String::as_str)
    }

    /// One line on standard error, behind what was printed before it.
    fn tell(&mut self, line: std::fmt::Arguments<'_>) -> Result<(), Problem> {
        self.output.flush().map_err(Problem::Output)?;
        note(line);
        Ok(())
    }
}

fn not_understood(problem: &str) -> Problem {
    Problem::Other(Failure::runtime(format!("the server sent something that is not of forebay.v1: {problem}")))
}
