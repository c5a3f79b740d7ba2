//! The feed: this machine's own numbers, 20 times a second, each metric with its key.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use crate::process::kibibytes;

/// Samples per second.
pub(super) const TICKS_PER_SECOND: u32 = 20;
/// CPUs that have a metric of their own.
const CPUS_MAX: usize = 8;
/// A rate is over so many samples: one second. Within a single one a CPU shows only a few ticks of the system's clock.
const WINDOW: usize = TICKS_PER_SECOND as usize + 1;

/// One metric's value.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Sample {
    /// The message's key.
    pub(super) metric: String,
    value: f64,
    unit: &'static str,
}

impl Sample {
    fn new(metric: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { metric: metric.into(), value, unit }
    }

    /// The message, with at least `bytes` bytes: padding stands for what else an application's messages hold.
    pub(super) fn json(&self, bytes: usize) -> String {
        let Self { metric, value, unit } = self;
        let mut json = format!(r#"{{"metric":"{metric}","value":{value:.1},"unit":"{unit}"}}"#);
        let around = r#","padding":"""#.len();
        if json.len() < bytes {
            json.pop();
            let padding = bytes.saturating_sub(json.len() + around + 1);
            let _ = write!(json, r#","padding":"{}"}}"#, ".".repeat(padding));
        }
        json
    }
}

/// What the system counted up to a moment.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Counters {
    at: Instant,
    /// Busy and all clock ticks of each CPU.
    cpus: Vec<(u64, u64)>,
    /// Bytes received and sent by all interfaces but the loopback, and sent over that.
    network: [u64; 3],
}

/// Where samples come from.
pub(super) enum Machine {
    /// `/proc`: the counters of the last second, oldest first.
    Proc(VecDeque<Counters>),
    /// Made up: this system has no `/proc`.
    Synthetic(Instant),
}

impl Machine {
    pub(super) fn open() -> Self {
        match Counters::read() {
            Some(counters) => Self::Proc(VecDeque::from([counters])),
            None => Self::Synthetic(Instant::now()),
        }
    }

    pub(super) fn is_synthetic(&self) -> bool {
        matches!(self, Self::Synthetic(_))
    }

    /// What it is like now.
    pub(super) fn samples(&mut self) -> Vec<Sample> {
        match self {
            Self::Proc(window) => {
                window.extend(Counters::read());
                if window.len() > WINDOW {
                    window.pop_front();
                }
                let mut samples = match (window.front(), window.back()) {
                    (Some(first), Some(last)) => rates(first, last),
                    _ => Vec::new(),
                };
                let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
                let total = kibibytes(&memory, "MemTotal:").unwrap_or(0);
                let available = kibibytes(&memory, "MemAvailable:").unwrap_or(0);
                samples.push(Sample::new("memory.used", approximate(total.saturating_sub(available)), "bytes"));
                samples.push(Sample::new("memory.available", approximate(available), "bytes"));
                samples
            }
            Self::Synthetic(started) => waves(started.elapsed()),
        }
    }
}

impl Counters {
    fn read() -> Option<Self> {
        let cpus = cpus(&fs::read_to_string("/proc/stat").ok()?);
        let network = network(&fs::read_to_string("/proc/net/dev").unwrap_or_default());
        Some(Self { at: Instant::now(), cpus, network })
    }
}

/// The lines `cpu0 user nice system idle iowait ...` of `/proc/stat`.
fn cpus(stat: &str) -> Vec<(u64, u64)> {
    let of_one = |line: &str| {
        let (name, ticks) = line.split_once(' ')?;
        name.strip_prefix("cpu")?.parse::<u32>().ok()?;
        // What guests use is counted in the first two as well.
        let ticks: Vec<u64> = ticks.split_whitespace().take(8).map_while(|number| number.parse().ok()).collect();
        let all: u64 = ticks.iter().sum();
        let idle = ticks.get(3).unwrap_or(&0) + ticks.get(4).unwrap_or(&0);
        Some((all - idle, all))
    };
    stat.lines().filter_map(of_one).take(CPUS_MAX).collect()
}

/// The lines `eth0: bytes-received ... (8 numbers) bytes-sent ...` of `/proc/net/dev`.
fn network(dev: &str) -> [u64; 3] {
    let mut sum = [0; 3];
    for (name, numbers) in dev.lines().filter_map(|line| line.split_once(':')) {
        let number = |at| numbers.split_whitespace().nth(at).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        if name.trim() == "lo" {
            sum[2] += number(8);
        } else {
            sum[0] += number(0);
            sum[1] += number(8);
        }
    }
    sum
}

fn rates(first: &Counters, last: &Counters) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (nth, (new, old)) in last.cpus.iter().zip(&first.cpus).enumerate() {
        let (busy, all) = (new.0.saturating_sub(old.0), new.1.saturating_sub(old.1));
        let percent = 100.0 * approximate(busy) / approximate(all.max(1));
        samples.push(Sample::new(format!("cpu.{nth}"), percent, "percent"));
    }
    let seconds = last.at.saturating_duration_since(first.at).as_secs_f64().max(0.001);
    for (nth, name) in ["network.received", "network.sent", "loopback.sent"].into_iter().enumerate() {
        let bytes = last.network[nth].saturating_sub(first.network[nth]);
        samples.push(Sample::new(name, approximate(bytes) / seconds, "bytes/s"));
    }
    samples
}

/// Eight waves.
fn waves(elapsed: Duration) -> Vec<Sample> {
    let wave = |nth: u32| (elapsed.as_secs_f64() * f64::from(nth) / 3.0).sin().mul_add(50.0, 50.0);
    (1..=8).map(|nth| Sample::new(format!("synthetic.{nth}"), wave(nth), "percent")).collect()
}

/// For showing: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a value that is shown with one decimal")]
fn approximate(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "cpu  30 0 10 160 0 0 0 0 0 0\ncpu0 20 0 5 70 5 0 0 0 7 0\ncpu1 10 0 5 85 0 0 0 0 0 0\nintr 1 2\n";

    #[test]
    fn cpus_and_interfaces_are_counted() {
        assert_eq!(cpus(STAT), [(25, 100), (15, 100)]);
        assert_eq!(cpus(""), []);
        let dev = "Inter-|   Receive\n face |bytes packets\n    lo: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n\
                   eth0:100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n  eth1: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network(dev), [101, 202, 6]);
    }

    #[test]
    fn rates_are_over_the_window() {
        let at = Instant::now();
        let first = Counters { at, cpus: vec![(0, 0), (50, 60)], network: [0, 10, 5] };
        let last = Counters { at: at + Duration::from_secs(2), cpus: vec![(25, 100), (50, 60)], network: [400, 10, 4] };
        let expected = [
            Sample::new("cpu.0", 25.0, "percent"),
            Sample::new("cpu.1", 0.0, "percent"),
            Sample::new("network.received", 200.0, "bytes/s"),
            Sample::new("network.sent", 0.0, "bytes/s"),
            Sample::new("loopback.sent", 0.0, "bytes/s"),
        ];
        assert_eq!(rates(&first, &last), expected);
    }

    #[test]
    fn messages_are_json_of_the_wanted_weight() {
        let sample = Sample::new("cpu.0", 12.34, "percent");
        assert_eq!(sample.json(0), r#"{"metric":"cpu.0","value":12.3,"unit":"percent"}"#);
        let json = sample.json(2_048);
        assert_eq!(json.len(), 2_048);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["metric"], &value["value"]), (&"cpu.0".into(), &12.3.into()));
    }

    #[test]
    fn every_system_has_a_feed() {
        for machine in [Machine::open(), Machine::Synthetic(Instant::now())].iter_mut() {
            let samples = machine.samples();
            assert!(samples.len() >= 5, "{samples:?}");
            assert!(samples.iter().all(|sample| sample.value.is_finite() && sample.value >= 0.0), "{samples:?}");
        }
    }
}
