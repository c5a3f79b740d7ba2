//! `forebay subscribe`: payloads to standard output, what was lost to standard error.

mod link;
mod progress;
mod session;

use std::io::{self, BufRead, BufWriter, Write};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_core::wire::WireError;
use forebay_threads::{Client, ClientOptions, CloseCode, Closed, DeflateOptions, EndReason, Payload, ReceiveError};

use crate::cli::{AckMode, SubscribeArguments};
use crate::connect::Backoff;
use crate::protocol::{Answer, Incoming, Message, Other};
use crate::requests::{self, Begin};
use crate::{Failure, connect, note, protocol, signals, tell};
use link::Link;
use progress::{Progress, Taken};
use session::{Saved, SessionFile};

/// How much is read ahead of what is printed.
const AHEAD_BYTES_MAX: u32 = 1 << 20;
/// With `--rate`: little, so that the server feels how slow we are.
const SLOW_AHEAD_BYTES_MAX: u32 = 64 << 10;
/// With `--rate`, in the kernel.
const SLOW_RECEIVE_BUFFER_BYTES: u32 = 16 << 10;
/// Messages after which what was printed is written out, and told where that is to be, though more is at hand.
const UNSETTLED_MAX: u32 = 1_024;

/// What the reason `reset` is for people: of the old numbering nobody knows what was missed.
const RESET: &str = "reset (the topic numbers anew; of what it had before it is not known what was missed)";

/// Why the command is over.
enum End {
    /// `--count` was reached, a signal came, or nobody reads standard output any more.
    Enough,
    /// The connection ended.
    Closed(Closed),
    /// The server ended the last subscription.
    NoTopic,
}

enum Problem {
    Output(io::Error),
    Other(Failure),
}

/// What the thread that prints and the one that reads acknowledgements share.
struct Shared {
    progress: Mutex<Progress>,
    /// With `--session`.
    file: Option<(SessionFile, Mutex<Saved>)>,
    link: Link,
}

/// Runs the command.
pub(crate) fn run(arguments: &SubscribeArguments) -> Result<ExitCode, Failure> {
    let shared = Arc::new(Shared::new(arguments)?);
    let mut client = Arc::new(connect(arguments)?);
    shared.link.set(&client);
    let signalled = Arc::clone(&shared);
    signals::on_first(move |_| signalled.link.stop())
        .map_err(|error| Failure::runtime(format!("cannot handle signals: {error}")))?;
    if arguments.ack == AckMode::Manual {
        let reading = Arc::clone(&shared);
        // Never joined: it may be waiting for a line at the end.
        let spawned = std::thread::Builder::new().name("acks".to_owned()).spawn(move || reading.read_acks());
        spawned.map_err(|error| Failure::runtime(format!("cannot start a thread: {error}")))?;
    }
    let mut subscriber = Subscriber {
        arguments,
        shared: &shared,
        output: BufWriter::with_capacity(64 << 10, io::stdout().lock()),
        line: Vec::new(),
        received: 0,
        missed: 0,
        again: 0,
        unsettled: 0,
        due: Instant::now(),
    };
    let mut backoff = Backoff::default();
    let end = loop {
        let received = subscriber.received;
        let end = subscriber.begin(&client).and_then(|()| subscriber.take_all(&client));
        // What was printed comes before what is told about it, also where both go to one terminal.
        let end = subscriber.settle().and(end);
        if subscriber.received > received {
            backoff = Backoff::default();
        }
        match &end {
            // However the connection ended: the operator wanted an end, too.
            Ok(End::Closed(_)) if shared.link.is_stopped() => break Ok(End::Enough),
            Ok(End::Closed(closed)) if shared.is_to_return(closed) => {
                tell(format_args!("the connection ended: {closed}; coming back"));
                match shared.reconnect(arguments, &mut backoff) {
                    Some(again) => client = Arc::new(again),
                    None => break Ok(End::Enough),
                }
                if !shared.link.set(&client) {
                    break Ok(End::Enough);
                }
            }
            _ => break end,
        }
    };
    let (received, missed, again) = (subscriber.received, subscriber.missed, subscriber.again);
    let status = match end {
        Err(problem) => {
            if shared.file.is_some() {
                shared.link.leave(&client); // So that the session stays.
            }
            return problem.into_end();
        }
        Ok(End::Enough) => {
            shared.link.leave(&client);
            ExitCode::SUCCESS
        }
        Ok(End::NoTopic) => ExitCode::FAILURE,
        Ok(End::Closed(closed)) => tell_end(&closed),
    };
    let again = if again == 0 { String::new() } else { format!(", {again} came again") };
    note(format_args!("received {received}, missed {missed}{again}"));
    Ok(status)
}

fn tell_end(closed: &Closed) -> ExitCode {
    tell(format_args!("the connection ended: {closed}"));
    if closed.reason == EndReason::Protocol(WireError::MessageTooBig) {
        tell("a message was longer than --message-bytes-max allows");
    }
    if connect::is_taken_over(closed) {
        tell("another subscriber goes on with the session");
    }
    if connect::ended_well(closed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Problem {
    fn into_end(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            Self::Output(error) => Err(Failure::runtime(format!("standard output: {error}"))),
            Self::Other(failure) => Err(failure),
        }
    }
}

fn connect(arguments: &SubscribeArguments) -> Result<Client, Failure> {
    let mut options = ClientOptions::default();
    let ahead = if arguments.rate.is_some() { SLOW_AHEAD_BYTES_MAX } else { AHEAD_BYTES_MAX };
    options.hub.message_bytes_max = arguments.message_bytes_max.unwrap_or(ahead);
    options.hub.inbound_bytes_max = options.hub.message_bytes_max;
    options.hub.deflate = arguments.deflate.then(DeflateOptions::default);
    options.receive_buffer_bytes = arguments.rate.map(|_| SLOW_RECEIVE_BUFFER_BYTES);
    connect::connect(&arguments.url, options).map(|(client, _)| client)
}

impl Shared {
    fn new(arguments: &SubscribeArguments) -> Result<Self, Failure> {
        let is_manual = arguments.ack == AckMode::Manual;
        let mut progress = Progress::new(&arguments.topics, is_manual, arguments.credit.is_some());
        let mut file = None;
        if let Some(path) = &arguments.session {
            let (opened, saved) = SessionFile::open(path, &arguments.url)?;
            saved.positions.iter().for_each(|(topic, position)| progress.restore(topic, position));
            file = Some((opened, Mutex::new(saved)));
        }
        // 1000 would be the end of the session, too.
        let code = if file.is_some() { CloseCode::GOING_AWAY } else { CloseCode::NORMAL };
        Ok(Self { progress: Mutex::new(progress), file, link: Link::new(code) })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing panics with the lock held.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_to_return(&self, closed: &Closed) -> bool {
        self.file.is_some() && connect::is_worth_returning(closed)
    }

    /// A new connection, however long that takes; `None`: the operator wants an end.
    fn reconnect(&self, arguments: &SubscribeArguments, backoff: &mut Backoff) -> Option<Client> {
        loop {
            if self.link.wait(backoff.next()) {
                return None;
            }
            match connect(arguments) {
                Ok(client) => return Some(client),
                Err(failure) => tell(failure.text),
            }
        }
    }

    /// What resumes the session, if there is one.
    fn session(&self) -> Option<String> {
        let (_, saved) = self.file.as_ref()?;
        saved.lock().unwrap_or_else(PoisonError::into_inner).session.clone()
    }

    fn set_session(&self, session: Option<String>) -> Result<(), Problem> {
        if let Some((_, saved)) = &self.file {
            saved.lock().unwrap_or_else(PoisonError::into_inner).session = session;
            self.progress().is_dirty = true;
        }
        self.save(&mut self.progress())
    }

    /// Writes the file, if something is new. Before the server is told: what it takes for acknowledged is never printed again.
    fn save(&self, progress: &mut Progress) -> Result<(), Problem> {
        let Some((file, saved)) = self.file.as_ref().filter(|_| std::mem::take(&mut progress.is_dirty)) else {
            return Ok(());
        };
        let mut saved = saved.lock().unwrap_or_else(PoisonError::into_inner);
        // Topics that this command has nothing to do with go.
        saved.positions = progress.positions().map(|(topic, position)| (topic.to_owned(), position)).collect();
        file.save(&saved).map_err(Problem::Other)
    }

    /// Acknowledges what standard input says.
    fn read_acks(&self) {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let mut progress = self.progress();
            let request = match progress.acknowledge(&line) {
                Ok(request) => request,
                Err(problem) => {
                    tell(format_args!("standard input: {line}: {problem}"));
                    continue;
                }
            };
            if let Err(Problem::Other(failure)) = self.save(&mut progress) {
                tell(failure.text);
            }
            drop(progress);
            self.link.send(request.as_slice());
        }
        tell("standard input has ended: nothing more is acknowledged");
    }
}

struct Subscriber<'a, W: Write> {
    arguments: &'a SubscribeArguments,
    shared: &'a Shared,
    output: BufWriter<W>,
    /// One payload.
    line: Vec<u8>,
    received: u64,
    missed: u64,
    /// Messages that came again, and were printed before.
    again: u64,
    /// Messages since what was printed was written out.
    unsettled: u32,
    /// With `--rate`: when the next message may be taken.
    due: Instant,
}

impl<'a, W: Write> Subscriber<'a, W> {
    /// Ids of requests: those of subscribes are counted from 1.
    const KEEP: u64 = u64::MAX;
    const RESUME: u64 = u64::MAX - 1;

    /// Asks for what is wanted on a new connection.
    fn begin(&mut self, client: &Client) -> Result<(), Problem> {
        let Some(session) = self.shared.session() else { return self.subscribe(client, &[]) };
        let progress = self.shared.progress();
        let positions: Vec<_> = progress.positions().collect();
        let lanes = positions.iter().map(|(topic, position)| (*topic, position));
        let request = requests::resume(&session, lanes, self.arguments.credit.map(NonZeroU32::get), Self::RESUME);
        drop(progress);
        send(client, &request)
    }

    /// Subscribes to what there is no lane for, where the last connection left off, and keeps the session.
    fn subscribe(&mut self, client: &Client, has_lanes: &[&str]) -> Result<(), Problem> {
        let progress = self.shared.progress();
        let mut requests = Vec::new();
        // First, so that it is answered before any message comes.
        if self.shared.file.is_some() && has_lanes.is_empty() {
            requests.push(requests::keep(Self::KEEP));
        }
        for (lane, id) in progress.lanes.iter().zip(1..) {
            if !lane.is_ended && !has_lanes.contains(&lane.topic.as_str()) {
                let position = progress.positions().find(|(topic, _)| *topic == lane.topic);
                let from = position.map(|(_, position)| Begin::After(position)).or_else(|| self.arguments.from.clone());
                requests.push(requests::subscribe(&lane.topic, &self.arguments.lane(from), id));
            }
        }
        drop(progress);
        requests.iter().try_for_each(|request| send(client, request))
    }

    fn take_all(&mut self, client: &Client) -> Result<End, Problem> {
        loop {
            self.pace()?;
            // Written out when nothing more is at hand: lines show at once, and a million of them are few writes.
            let next = match client.receive_timeout(Duration::ZERO) {
                Err(ReceiveError::TimedOut) => {
                    self.settle()?;
                    client.receive()
                }
                Ok(payload) => Ok(payload),
                Err(ReceiveError::Closed(closed)) => Err(closed),
            };
            if self.shared.link.is_stopped() {
                return Ok(End::Enough);
            }
            let payload = match next {
                Ok(payload) => payload,
                Err(closed) => return Ok(End::Closed(closed)),
            };
            let text = connect::text(&payload).map_err(Problem::Other)?;
            for (nth, said) in protocol::split(text).map_err(|error| not_understood(&error.to_string()))?.enumerate() {
                if nth > 0 {
                    self.pace()?;
                }
                if let Some(end) = self.take(client, said)? {
                    return Ok(end);
                }
            }
            if self.unsettled >= UNSETTLED_MAX {
                self.settle()?;
            }
        }
    }

    /// Writes out what was printed, remembers it, and then tells the server.
    fn settle(&mut self) -> Result<(), Problem> {
        self.output.flush().map_err(Problem::Output)?;
        self.unsettled = 0;
        let mut progress = self.shared.progress();
        let requests = progress.flushed();
        self.shared.save(&mut progress)?;
        drop(progress);
        self.shared.link.send(&requests);
        Ok(())
    }

    /// Waits until the next message may be taken.
    fn pace(&mut self) -> Result<(), Problem> {
        let wait = self.due.saturating_duration_since(Instant::now());
        if self.arguments.rate.is_some() && !wait.is_zero() {
            self.settle()?;
            std::thread::sleep(wait);
        }
        Ok(())
    }

    fn take(&mut self, client: &Client, text: &str) -> Result<Option<End>, Problem> {
        match protocol::parse(text).map_err(|error| not_understood(&error.to_string()))? {
            Incoming::Message(message) => return self.take_message(&message),
            Incoming::Ok(answer) => self.take_answer(client, answer)?,
            Incoming::Other(other) => return self.take_other(client, other),
            Incoming::Hello(_) => {}
        }
        Ok(None)
    }

    fn take_message(&mut self, message: &Message<'_>) -> Result<Option<End>, Problem> {
        self.unsettled += 1;
        match self.shared.progress().take(&message.topic, message.seq) {
            Taken::New => {}
            Taken::Again => {
                self.again += 1;
                return Ok(None);
            }
            Taken::Unwanted => return Ok(None),
        }
        self.line.clear();
        if self.arguments.ack == AckMode::Manual {
            self.line.extend_from_slice(format!("{} {} ", message.topic, message.seq).as_bytes());
        }
        message.write_line(self.arguments.json, &mut self.line).map_err(not_understood)?;
        self.output.write_all(&self.line).map_err(Problem::Output)?;
        self.received += 1;
        if let Some(rate) = self.arguments.rate {
            self.due = self.due.max(Instant::now()) + Duration::from_secs(1) / rate.get();
        }
        let is_enough = self.arguments.count.is_some_and(|count| self.received >= count.get());
        Ok(is_enough.then_some(End::Enough))
    }

    fn take_answer(&mut self, client: &Client, answer: Answer) -> Result<(), Problem> {
        match answer.id {
            Some(Self::KEEP) => self.shared.set_session(answer.session),
            Some(Self::RESUME) => {
                self.shared.set_session(answer.session)?;
                let lanes = answer.lanes.unwrap_or_default();
                for lane in &lanes {
                    if !self.arguments.topics.contains(&lane.topic) {
                        send(client, &requests::unsubscribe(&lane.topic))?;
                        continue;
                    }
                    self.shared.progress().subscribed(&lane.topic, &lane.epoch, lane.seq, Some(&lane.delivery));
                    self.tell(format_args!("resumed: topic {}, from seq {}", lane.topic, lane.seq + 1))?;
                }
                let has_lanes: Vec<_> = lanes.iter().map(|lane| lane.topic.as_str()).collect();
                self.subscribe(client, &has_lanes)
            }
            id => {
                let topic = self.topic(id);
                let (seq, policy) = (answer.seq.unwrap_or(0), answer.policy.as_deref().unwrap_or("?"));
                let delivery = answer.delivery.as_deref();
                let epoch = answer.epoch.as_deref().unwrap_or_default();
                self.shared.progress().subscribed(topic, epoch, seq, delivery);
                let delivery = if delivery == Some("at-least-once") { ", at-least-once" } else { "" };
                self.tell(format_args!("subscribed: topic {topic}, from seq {}, policy {policy}{delivery}", seq + 1))
            }
        }
    }

    fn take_other(&mut self, client: &Client, other: Other) -> Result<Option<End>, Problem> {
        match other {
            Other::Gap { topic, from, to, missed, reasons } => {
                self.missed += missed;
                let reasons = reasons.join(", ").replace("reset", RESET);
                self.tell(format_args!("gap: topic {topic}: missed {missed} messages ({from}..{to}): {reasons}"))?;
            }
            // Credit for a subscription that the server had ended: it tells of that by itself.
            Other::Error { code, id: None, .. } if code == "not-subscribed" => {}
            // It ends the connection soon: the next one is asked again.
            Other::Error { code, .. } if code == "draining" && self.shared.file.is_some() => {}
            Other::Error { code, id: Some(Self::RESUME), .. } if code == "unknown-session" => {
                self.tell(format_args!("the session has ended; subscribing anew"))?;
                self.shared.set_session(None)?;
                self.subscribe(client, &[])?;
            }
            Other::Error { code, message, id } => {
                let what = match id {
                    Some(Self::KEEP) => "keep the session".to_owned(),
                    Some(Self::RESUME) => "resume the session".to_owned(),
                    id => format!("subscribe to {}", self.topic(id)),
                };
                return Err(Problem::Other(Failure::runtime(format!("cannot {what}: {code}: {message}"))));
            }
            Other::Ended { topic, code } => {
                self.tell(format_args!("the server ended the subscription to {topic}: {code}"))?;
                let mut progress = self.shared.progress();
                progress.lanes.iter_mut().filter(|lane| lane.topic == topic).for_each(|lane| lane.is_ended = true);
                return Ok(progress.lanes.iter().all(|lane| lane.is_ended).then_some(End::NoTopic));
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

/// Sends a request. A connection that has ended is told when it is read from.
fn send(client: &Client, request: &str) -> Result<(), Problem> {
    match client.send(Payload::Text(request)) {
        Ok(()) | Err(forebay_threads::SendError::Closed(_)) => Ok(()),
        Err(error) => Err(Problem::Other(Failure::runtime(error.to_string()))),
    }
}

fn not_understood(problem: &str) -> Problem {
    Problem::Other(Failure::runtime(format!("the server sent something that is not of forebay.v1: {problem}")))
}
