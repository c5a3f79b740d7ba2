//! Pipes within a process, on both bindings.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const EXAMPLES: [&str; 2] = ["pipe_threads", "pipe_smol"];
const LINES: u64 = 2_000;
/// What waits, and what is in the hands of who takes it.
const AHEAD_MAX: u64 = 16 + 1;

fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn run(example: &str, file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "forebay-examples", "--example", example, "--"]);
    command.arg(file).arg("50").output().expect("cargo runs")
}

#[test]
fn a_file_is_read_as_fast_as_the_slow_one_takes() {
    let text: String = (1..=LINES).map(|number| format!("{number}\n")).collect();
    for example in EXAMPLES {
        let output = run(example, &file(&format!("{example}.txt"), &text));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
        let expected = format!("{LINES} numbers, sum {}, at most ", LINES * (LINES + 1) / 2);
        let rest = text.strip_prefix(&expected).unwrap_or_else(|| panic!("{example}: {text}"));
        let ahead: u64 = rest.trim_end().strip_suffix(" read ahead").unwrap().parse().unwrap();
        assert!((1..=AHEAD_MAX).contains(&ahead), "{example}: {ahead}");
    }
}

#[test]
fn a_line_that_is_no_number_ends_all() {
    for example in EXAMPLES {
        let output = run(example, &file(&format!("{example}_bad.txt"), "1\n2\nthree\n4\n"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{example}: {error}");
        assert!(error.contains("Transform(ParseIntError"), "{example}: {error}");
    }
}
