//! The core does in WebAssembly, byte for byte, what it does here.

use std::path::Path;
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-wasip1";
const PROGRAM: [&str; 4] = ["--package", "forebay-examples", "--example", "wasm_check"];

fn cargo(verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args([verb, "--quiet"]).args(PROGRAM);
    command
}

fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().expect("it can be run");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("a text")
}

/// What is missing to run it, if anything is.
fn missing() -> Option<&'static str> {
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output().ok();
    let libraries = libraries.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    if !Path::new(libraries.trim()).is_dir() || libraries.is_empty() {
        return Some("the target wasm32-wasip1 (rustup target add wasm32-wasip1)");
    }
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if node.is_ok_and(|status| status.success()) { None } else { Some("node") }
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_webassembly() {
    let native = output(&mut cargo("run"));
    for what in [
        "HTTP/1.1 101 Switching Protocols",
        r#"{\"op\":\"message\",\"topic\":\"t\",\"seq\":1,\"data\":\"hello\"}"#,
        r#"{\"op\":\"gap\",\"topic\":\"t\",\"from\":2,\"to\":25,\"missed\":24,\"reasons\":[\"oldest\"]}"#,
        r#"{\"op\":\"message\",\"topic\":\"t\",\"seq\":41,\"data\":{\"number\":39}}"#,
        "reason: PongTimeout",
    ] {
        assert!(native.contains(what), "{what}\nis not in\n{native}");
    }
    if let Some(what) = missing() {
        assert!(std::env::var_os("FOREBAY_REQUIRE_ALL").is_none_or(|value| value != "1"), "needs {what}");
        println!("skipped: needs {what}");
        return;
    }
    // A directory of its own: nothing waits for the lock of the one that the tests are run from.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasm");
    output(cargo("build").args(["--target", TARGET, "--target-dir"]).arg(&directory));
    let program = directory.join(TARGET).join("debug/examples/wasm_check.wasm");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm_check.mjs");
    let foreign = output(Command::new("node").arg("--no-warnings").arg(script).arg(program));
    assert!(foreign == native, "in WebAssembly it is\n{foreign}\nand here\n{native}");
}
