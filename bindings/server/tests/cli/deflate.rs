//! Compression with clients of others: the package `ws` of Node, and `websockets` of Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::packages::{directory, is_there, skip, succeeds, ws_modules};
use crate::support::{line, publish, server_on, subscriber, write_lines};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/deflate");
const WEBSOCKETS: &str = "websockets==15.0.1";

#[test]
fn node_on_threads() {
    node("threads");
}

#[test]
fn node_on_smol() {
    node("smol");
}

#[test]
fn python_on_threads() {
    python("threads");
}

#[test]
fn python_on_smol() {
    python("smol");
}

fn node(binding: &str) {
    let Some(modules) = ws_modules() else { return };
    let mut client = Command::new("node");
    client.arg(format!("{CLIENTS}/client.mjs")).env("WS_MODULES", modules);
    each_way(binding, "node", &client);
}

fn python(binding: &str) {
    let Some(python) = python_with_websockets() else { return };
    let mut client = Command::new(python);
    client.arg(format!("{CLIENTS}/client.py"));
    each_way(binding, "python", &client);
}

#[test]
fn commands_compress_both_ways_if_they_are_told_to() {
    let (_server, url) =
        server_on("threads", "deflate-commands", "[deflate]\nenabled = true\n[defaults]\ndeflate = true\n");
    let mut subscribers = [subscriber(&url, &["--deflate", "--count", "500"]), subscriber(&url, &["--count", "500"])];
    let mut input = Vec::new();
    write_lines(&mut input, 1..501, 300).unwrap();
    let summary = publish(&url, &["--deflate"], &input, 0).pop().unwrap();
    assert!(summary.starts_with("published 500: accepted 500 (matched 1000 deliveries), refused 0"), "{summary}");
    for subscriber in &mut subscribers {
        for number in 1..=500 {
            assert_eq!(subscriber.out.next(), Some(line(number, 300)), "line {number}");
        }
        assert_eq!(subscriber.ends(0), ["received 500, missed 0"]);
    }
}

/// With memory for contexts and without; the client says what it saw, line by line.
fn each_way(binding: &str, name: &str, client: &Command) {
    for (memory, contexts) in [("\"64 MiB\"", "with"), ("0", "without")] {
        let config = format!(
            "[deflate]\nenabled = true\ndirect = true\ncontext_bytes_max = {memory}\n[defaults]\ndeflate = true\n"
        );
        let (_server, url) = server_on(binding, &format!("deflate-{name}-{binding}-{contexts}"), &config);
        let mut command = Command::new(client.get_program());
        command.args(client.get_args()).arg(&url).arg(contexts);
        command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        assert!(out.trim_end().ends_with("5 offers, all messages came back"), "{out}{err}");
    }
}

/// A Python of its own with the package, installed once per run.
fn python_with_websockets() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, &str>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        if !is_there("python3") {
            return Err("python3");
        }
        let directory = directory("python", "websockets");
        let python = directory.join("bin/python");
        let mut make = Command::new("python3");
        if !succeeds(make.args(["-m", "venv"]).arg(&directory)) || !fs::exists(&python).unwrap_or(false) {
            return Err("python3 with venv");
        }
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", WEBSOCKETS]);
        if succeeds(&mut install) { Ok(python) } else { Err("the package websockets (pip)") }
    });
    python.as_deref().map_err(|needed| skip(needed)).ok()
}
