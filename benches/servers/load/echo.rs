//! Connections that are sent back what they send, and such as send nothing.

use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{Clients, frame};
use crate::report::Run;
use crate::{Failure, Options};

pub(crate) fn run(mut options: Options) -> Result<(), Failure> {
    let connections: usize = options.take("connections", 1)?;
    let payload = options.take("payload", 16)?;
    let window: usize = options.take("window", 1)?;
    let measured = Duration::from_secs_f64(options.take("seconds", 3.0)?);
    options.end()?;

    let mut clients = Clients::new()?;
    let message = frame(b'E', payload);
    for _ in 0..connections {
        clients.open(options.port, None)?;
    }
    for client in &mut clients.list {
        client.send(&message.repeat(window))?;
    }
    let warm_until = Instant::now() + measured.min(Duration::from_secs(1));
    let (mut run, mut echoes, mut batch) = (None, 0, Vec::new());
    loop {
        let now = Instant::now();
        match &run {
            None if now >= warm_until => run = Some((Run::begin(&options.pid)?, echoes, now + measured)),
            Some((run, before, end)) if now >= *end => return run.end(echoes - before, Vec::new()),
            _ => {}
        }
        clients.poll(Duration::from_millis(5), |client, messages| {
            echoes += messages;
            batch.clear();
            (0..messages).for_each(|_| batch.extend_from_slice(&message));
            client.send(&batch)
        })?;
    }
}

/// The `deliveries` of its report are connections.
pub(crate) fn idle(mut options: Options) -> Result<(), Failure> {
    let connections: usize = options.take("connections", 5000)?;
    options.end()?;
    let mut clients = Clients::new()?;
    // What a server takes once it takes for these.
    for _ in 0..50 {
        clients.open(options.port, None)?;
    }
    thread::sleep(Duration::from_millis(300));
    let run = Run::begin(&options.pid)?;
    for _ in 0..connections {
        clients.open(options.port, None)?;
    }
    thread::sleep(Duration::from_secs(1));
    run.end(connections as u64, Vec::new())
}
