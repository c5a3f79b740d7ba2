//! The log: one line each to standard error.

use std::io::Write;
use std::time::Instant;

use log::{LevelFilter, Log, Metadata, Record};

struct Stderr {
    started: Instant,
}

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true // `log` itself compares with the maximum level first.
    }

    fn log(&self, record: &Record<'_>) {
        let seconds = self.started.elapsed().as_secs_f64();
        let (level, target) = (record.level().as_str().to_lowercase(), record.target());
        let line = format!("forebay: {seconds:.3} {level} {target}: {}\n", record.args());
        // One write: lines of several threads do not mix. Nobody to tell when it fails.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Logs from now on what is at least as grave as `level`.
pub(crate) fn start(level: &str) {
    let level = level.parse().unwrap_or(LevelFilter::Info);
    if log::set_boxed_logger(Box::new(Stderr { started: Instant::now() })).is_ok() {
        log::set_max_level(level);
    }
}
