//! `web/forebay.js` against the built server: in Node with the package `ws`, in Node by itself, and in Chromium. The
//! scenarios are in `js/scenarios.mjs`, what they need around them in `js/world.mjs` and `js/harness.mjs`.
#![cfg(unix)]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "support/packages.rs"]
mod packages;

use packages::{directory, is_there, skip, succeeds, ws_modules};

/// Nothing takes as long as this unless it hangs.
const HANG: Duration = Duration::from_secs(300);
const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/js");

#[test]
fn node_with_ws_on_threads() {
    node_with_ws("threads");
}

#[test]
fn node_with_ws_on_smol() {
    node_with_ws("smol");
}

#[test]
fn node_on_threads() {
    node("threads");
}

#[test]
fn node_on_smol() {
    node("smol");
}

#[test]
fn chromium_on_threads() {
    chromium("threads");
}

#[test]
fn chromium_on_smol() {
    chromium("smol");
}

fn node_with_ws(binding: &str) {
    let Some(modules) = ws_modules() else { return };
    let directory = directory("ws", binding);
    let script = format!("{SCENARIOS}/node.mjs");
    harness(binding, &directory, &["node", &script, &text(&directory)], Some(modules));
}

fn node(binding: &str) {
    if !is_there("node") {
        return skip("node");
    }
    // Node 20 has a WebSocket if asked, 22 by itself.
    let flag = "--experimental-websocket";
    let mut has_one = Command::new("node");
    has_one.args([flag, "-e", "WebSocket"]);
    if !succeeds(&mut has_one) {
        // No package makes up for it, so nothing is missing on this machine.
        println!("skipped: needs a newer node");
        return;
    }
    let directory = directory("node", binding);
    let script = format!("{SCENARIOS}/node.mjs");
    harness(binding, &directory, &["node", flag, &script, &text(&directory)], None);
}

fn chromium(binding: &str) {
    let Some(program) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| is_there(name))
    else {
        return skip("chromium");
    };
    if !is_there("node") {
        return skip("node");
    }
    let directory = directory("chromium", binding);
    let profile = format!("--user-data-dir={}", text(&directory.join("profile")));
    // In containers the sandbox has not the rights it needs, and /dev/shm not the room.
    let flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"];
    harness(binding, &directory, &[&[program], &flags[..], &[&profile]].concat(), None);
}

/// Runs the scenarios; `command` gets the URL of the harness as its last argument.
#[track_caller]
fn harness(binding: &str, directory: &Path, command: &[&str], ws_modules: Option<&Path>) {
    let (log_path, mut harness) = (directory.join("log"), Command::new("node"));
    let log = fs::File::create(&log_path).unwrap();
    harness.arg(format!("{SCENARIOS}/harness.mjs")).args([env!("CARGO_BIN_EXE_forebay"), binding, &text(directory)]);
    harness.args(command).stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
    harness.env_remove("WS_MODULES").envs(ws_modules.map(|modules| ("WS_MODULES", modules)));
    let mut harness = Running(harness.spawn().unwrap());
    let status = harness.wait();
    let mut log = String::new();
    fs::File::open(log_path).unwrap().read_to_string(&mut log).unwrap();
    assert!(status == Some(0) && log.contains("scenarios passed, 0 failed"), "{status:?}: {log}");
}

/// A harness, which ends what it has started when its standard input ends.
struct Running(Child);

impl Running {
    /// Its exit status; `None` if it hung.
    fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < HANG {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
