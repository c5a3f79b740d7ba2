//! Programs and packages of others that tests are written for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/js");

/// An empty directory of one test.
pub(crate) fn directory(client: &str, binding: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{client}-{binding}", env!("CARGO_CRATE_NAME")));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Where the package `ws` is, as the lock file has it; installed once per run, outside the sources.
pub(crate) fn ws_modules() -> Option<&'static Path> {
    static MODULES: OnceLock<Result<PathBuf, &str>> = OnceLock::new();
    let modules = MODULES.get_or_init(|| {
        if !is_there("node") || !is_there("npm") {
            return Err("node and npm");
        }
        let directory = directory("ws", "modules");
        for file in ["package.json", "package-lock.json"] {
            fs::copy(Path::new(PACKAGES).join(file), directory.join(file)).unwrap();
        }
        let mut install = Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory);
        if succeeds(&mut install) { Ok(directory) } else { Err("the package ws (npm ci)") }
    });
    modules.as_deref().map_err(|needed| skip(needed)).ok()
}

/// A developer's machine need not have everything.
#[track_caller]
pub(crate) fn skip(needed: &str) {
    assert!(std::env::var("FOREBAY_REQUIRE_ALL").as_deref() != Ok("1"), "needs {needed}");
    println!("skipped: needs {needed}");
}

pub(crate) fn is_there(program: &str) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}
