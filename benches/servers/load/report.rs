//! What a run has cost.

use std::fs;
use std::time::Instant;

use crate::Failure;

/// Processor time and memory of a process.
#[derive(Clone, Copy)]
struct Usage {
    user_s: f64,
    system_s: f64,
    rss_bytes: u64,
}

impl Usage {
    /// Of the process `pid`, or of `self`.
    fn of(pid: &str) -> Result<Self, Failure> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the name, in which there may be anything: state, and so on; utime and stime are fields 14 and 15 (proc(5)).
        let behind = stat.rsplit_once(") ").ok_or("stat without a name")?.1;
        let mut fields = behind.split(' ').skip(11).map(str::parse::<u64>);
        let mut seconds = || -> Result<f64, Failure> {
            Ok(fields.next().ok_or("stat is short")?? as f64 / rustix::param::clock_ticks_per_second() as f64)
        };
        let (user_s, system_s) = (seconds()?, seconds()?);
        Ok(Self { user_s, system_s, rss_bytes: field(&format!("/proc/{pid}/status"), "VmRSS:")? << 10 })
    }

    fn seconds(self) -> f64 {
        self.user_s + self.system_s
    }
}

/// The number behind `name` in a file of /proc.
fn field(path: &str, name: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(path)?;
    let mut words = text.split_whitespace().skip_while(|word| *word != name).skip(1);
    Ok(words.next().ok_or(format!("no {name} in {path}"))?.parse()?)
}

/// A run from its beginning.
pub(crate) struct Run {
    pid: String,
    began: Instant,
    server: Usage,
    load: Usage,
}

impl Run {
    pub(crate) fn begin(pid: &str) -> Result<Self, Failure> {
        Ok(Self { pid: pid.into(), server: Usage::of(pid)?, load: Usage::of("self")?, began: Instant::now() })
    }

    /// Prints what it has cost: `deliveries` is what it is divided by, `latencies` are in microseconds, `tcp_bytes` is what the
    /// kernel keeps for the sockets of all processes.
    pub(crate) fn end(&self, deliveries: u64, mut latencies: Vec<u64>) -> Result<(), Failure> {
        let seconds = self.began.elapsed().as_secs_f64();
        let (server, load) = (Usage::of(&self.pid)?, Usage::of("self")?);
        latencies.sort_unstable();
        let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or(0);
        let cpu_s = server.seconds() - self.server.seconds();
        println!(
            "{{\"deliveries\":{deliveries},\"seconds\":{seconds:.3},\"cpu_us\":{:.4},\"user_share\":{:.3},\
             \"server_core\":{:.3},\"load_core\":{:.3},\"rss_before\":{},\"rss\":{},\"rss_peak\":{},\"tcp_bytes\":{},\
             \"p50_us\":{},\"p99_us\":{}}}",
            cpu_s * 1e6 / deliveries.max(1) as f64,
            (server.user_s - self.server.user_s) / cpu_s.max(0.01),
            cpu_s / seconds,
            (load.seconds() - self.load.seconds()) / seconds,
            self.server.rss_bytes,
            server.rss_bytes,
            field(&format!("/proc/{}/status", self.pid), "VmHWM:")? << 10,
            field("/proc/net/sockstat", "mem")? * rustix::param::page_size() as u64,
            at(50),
            at(99),
        );
        Ok(())
    }
}
