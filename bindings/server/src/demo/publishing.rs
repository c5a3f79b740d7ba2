//! Publishing the feed to every topic of the demo.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use forebay_core::Policy;
use forebay_threads::{Message, Payload};

use super::feed::{Machine, Sample, TICKS_PER_SECOND};
use super::{FEED_TOPIC, topic_name};
use crate::serving::Handle;

/// Bytes of a message. At 20 times some eight metrics a second, the kernel's share of a frozen connection (100 to
/// 200 KiB) and then its lane are full in about two seconds.
const MESSAGE_BYTES: usize = 2_048;
/// How long a publisher may wait for room: for ever, as far as a demo is concerned.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Publishes on threads of its own for as long as the server runs. Whether the feed is made up.
pub(super) fn start(handle: &Handle) -> io::Result<bool> {
    let machine = Machine::open();
    let is_synthetic = machine.is_synthetic();
    let (ticks, taken) = sync_channel(1);
    let (all, blocked) = (handle.clone(), handle.clone());
    std::thread::Builder::new().name("feed".to_owned()).spawn(move || publish_all(&all, machine, &ticks))?;
    std::thread::Builder::new().name("feed block".to_owned()).spawn(move || publish_blocking(&blocked, &taken))?;
    Ok(is_synthetic)
}

/// To the topics nobody has to wait for.
fn publish_all(handle: &Handle, mut machine: Machine, blocking: &SyncSender<Vec<Sample>>) {
    let topics: Vec<_> =
        Policy::ALL.iter().filter(|policy| **policy != Policy::Block).map(|p| topic_name(*p)).collect();
    let mut next = Instant::now();
    loop {
        let samples = machine.samples();
        for sample in &samples {
            let light = sample.json(0);
            let mut is_running = handle.publish(FEED_TOPIC, message(&light, sample));
            let heavy = sample.json(MESSAGE_BYTES);
            for topic in &topics {
                is_running &= handle.publish(topic, message(&heavy, sample));
            }
            if !is_running {
                return;
            }
        }
        // While that publisher waits it does without: a feed has no past.
        let _ = blocking.try_send(samples);
        next += Duration::from_secs(1) / TICKS_PER_SECOND;
        // After a pause of the machine there is nothing to catch up with.
        next = next.max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// To the topic whose publishers wait for the slowest.
fn publish_blocking(handle: &Handle, ticks: &Receiver<Vec<Sample>>) {
    let topic = topic_name(Policy::Block);
    for sample in ticks.iter().flatten() {
        if !handle.publish_wait(&topic, message(&sample.json(MESSAGE_BYTES), &sample), PATIENCE) {
            return;
        }
    }
}

fn message<'a>(json: &'a str, sample: &'a Sample) -> Message<'a> {
    Message::new(Payload::Text(json)).with_key(&sample.metric)
}
