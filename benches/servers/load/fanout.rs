//! One publisher, many subscribers, of which some may stop reading.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clients::{Clients, frame};
use crate::report::Run;
use crate::{Failure, Options};

/// Nothing is delivered for so long: the server has lost something.
const STALLED: Duration = Duration::from_secs(4);

/// Messages on their way, and how long they take to the last subscriber that reads.
struct Flight {
    /// When each was due, and how many subscribers have not got it.
    messages: VecDeque<(Instant, usize)>,
    /// The number of the first of them.
    first: u64,
    deliveries: u64,
    latencies: Vec<u64>,
}

impl Flight {
    /// A subscriber that had `before` messages has got `more`.
    fn delivered(&mut self, before: u64, more: u64) {
        self.deliveries += more;
        for number in before..before + more {
            let (due, left) = &mut self.messages[(number - self.first) as usize];
            *left -= 1;
            // Messages arrive in order, so the first one has gone to all before the next one has.
            if *left == 0 {
                self.latencies.push(due.elapsed().as_micros() as u64);
                self.messages.pop_front();
                self.first += 1;
            }
        }
    }
}

pub(crate) fn run(mut options: Options, slow: bool) -> Result<(), Failure> {
    let subscribers: usize = options.take("subscribers", 1000)?;
    let payload = options.take("payload", 128)?;
    let window: u64 = options.take("window", 16)?;
    let rate: f64 = options.take("rate", 0.0)?;
    let measured = Duration::from_secs_f64(options.take("seconds", 3.0)?);
    let frozen = if slow { options.take("frozen", subscribers / 10)? } else { 0 };
    options.end()?;

    let mut clients = subscribe(&options, subscribers, frozen)?;
    for index in 0..frozen {
        clients.freeze(index)?;
    }
    let (readers, message) = ((subscribers - frozen) as u64, frame(b'P', payload));
    let pause = (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate));
    let mut flight = Flight { messages: VecDeque::new(), first: 0, deliveries: 0, latencies: Vec::new() };
    let warm_until = Instant::now() + measured.min(Duration::from_secs(1));
    let (mut published, mut due, mut last) = (0, Instant::now(), (0, Instant::now()));
    let mut run = None;
    loop {
        let now = Instant::now();
        match &run {
            None if now >= warm_until => {
                flight.latencies.clear();
                run = Some((Run::begin(&options.pid)?, flight.deliveries, now + measured));
            }
            Some((run, before, end)) if now >= *end => return run.end(flight.deliveries - before, flight.latencies),
            _ => {}
        }
        let publisher = &mut clients.list[subscribers];
        publisher.flush()?;
        while !publisher.is_sending()
            && flight.deliveries + window * readers > published * readers
            && pause.is_none_or(|_| due <= now)
        {
            flight.messages.push_back((if pause.is_some() { due } else { now }, readers as usize));
            publisher.send(&message)?;
            published += 1;
            due += pause.unwrap_or_default();
        }
        // With a rate it never sleeps: waking up late would count as the server's latency.
        let wait = if pause.is_some() { Duration::ZERO } else { Duration::from_millis(5) };
        clients.poll(wait, |client, messages| {
            flight.delivered(client.received - messages, messages);
            Ok(())
        })?;
        if flight.deliveries != last.0 || flight.messages.is_empty() {
            last = (flight.deliveries, now);
        } else if now - last.1 > STALLED {
            return Err(format!("{} messages have not come to everybody for 4 s", flight.messages.len()).into());
        }
    }
}

/// Clients that have all subscribed, and behind them the publisher.
fn subscribe(options: &Options, subscribers: usize, frozen: usize) -> Result<Clients, Failure> {
    let mut clients = Clients::new()?;
    for index in 0..=subscribers {
        // What a frozen one takes is to be the server's matter, not that of a large buffer at this end.
        clients.open(options.port, (index < frozen).then_some(4096))?;
    }
    let mut subscribe = Vec::new();
    crate::scan::push_text(&mut subscribe, b"SUB t");
    for client in &mut clients.list[..subscribers] {
        client.send(&subscribe)?;
    }
    // Nobody says when all have been subscribed: messages are published until each has come to everybody.
    let asked = Instant::now();
    loop {
        clients.list[subscribers].send(&frame(b'P', 1))?;
        clients.settle(Duration::from_millis(200))?;
        if clients.list[..subscribers].iter().all(|client| client.received > 0) {
            break;
        } else if asked.elapsed() > Duration::from_secs(20) {
            return Err("not all have been subscribed within 20 s".into());
        }
    }
    for client in &mut clients.list {
        client.received = 0;
    }
    Ok(clients)
}
