//! SIGINT and SIGTERM: the first asks to stop, the second exits at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Runs `act` with the signal's name on a thread of its own when the first signal comes. A second one exits with the
/// status a shell shows for it (128 + its number), whatever `act` is doing.
pub(crate) fn on_first(act: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down and raises it, the second finds it up.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
        flag::register(signal, Arc::clone(&seen))?;
    }
    wait_and_act(seen, act)
}

#[cfg(unix)]
fn wait_and_act(_: Arc<AtomicBool>, act: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    spawn(move || {
        if let Some(signal) = signals.forever().next() {
            act(if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
        }
    })
}

/// Without POSIX signals there is nothing to wait on: look at the flag ten times a second.
#[cfg(not(unix))]
fn wait_and_act(seen: Arc<AtomicBool>, act: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    spawn(move || {
        while !seen.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        act("stop requested");
    })
}

fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("signals".to_owned()).spawn(body).map(drop)
}
