//! `mutants`: plants a bug in a copy of the core, and sees whether the reference model finds it.
//!
//! `mutants/list.txt` holds them, one behind another:
//!
//! ```text
//! == name: what it breaks, in one sentence
//! in core/src/file.rs
//! text that occurs exactly once in it
//! == becomes
//! what stands in its place
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

const USAGE: &str = "mutants [--only NAME] [--seconds N]";

/// A bug that is planted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mutant {
    /// Its name.
    pub name: String,
    /// What it breaks.
    pub breaks: String,
    /// Which file, from the top of the repository.
    pub path: String,
    /// What stands there once.
    pub find: String,
    /// What it becomes.
    pub becomes: String,
}

/// The top of the repository.
#[must_use]
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads a list.
///
/// # Errors
/// The first that is not as it must be.
pub fn parse(list: &str) -> Result<Vec<Mutant>, String> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut is_replacement = false;
    for line in list.lines() {
        let last = mutants.last_mut();
        match (line.strip_prefix("== "), last) {
            (Some("becomes"), Some(_)) => is_replacement = true,
            (Some(title), _) => {
                let (name, breaks) = title.split_once(": ").ok_or_else(|| format!("no name: {line}"))?;
                let [path, find, becomes] = Default::default();
                mutants.push(Mutant { name: name.into(), breaks: breaks.into(), path, find, becomes });
                is_replacement = false;
            }
            (None, None) if line.is_empty() || line.starts_with('#') => {}
            (None, None) => return Err(format!("before the first: {line}")),
            (None, Some(mutant)) if mutant.path.is_empty() => {
                let path = line.strip_prefix("in ").ok_or_else(|| format!("{}: no file: {line}", mutant.name))?;
                mutant.path = path.into();
            }
            (None, Some(mutant)) => {
                let text = if is_replacement { &mut mutant.becomes } else { &mut mutant.find };
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    for mutant in &mut mutants {
        mutant.find = mutant.find.trim_end().to_string();
        mutant.becomes = mutant.becomes.trim_end().to_string();
        if mutant.find.is_empty() || mutant.find == mutant.becomes {
            return Err(format!("{}: nothing is changed", mutant.name));
        }
    }
    Ok(mutants)
}

/// The list of this repository.
///
/// # Errors
/// It cannot be read.
pub fn listed() -> Result<Vec<Mutant>, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants/list.txt");
    parse(&fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?)
}

impl Mutant {
    /// The file with the bug in it.
    ///
    /// # Errors
    /// What is to be found does not stand there exactly once.
    pub fn planted(&self, text: &str) -> Result<String, String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.becomes, 1)),
            count => Err(format!("{}: its text occurs {count} times in {}", self.name, self.path)),
        }
    }
}

fn cargo(folder: &Path, words: &[&str]) -> Result<std::process::Output, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // One folder for what is built of all mutants: little is built again.
    cargo.args(words).current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    cargo.output().map_err(|error| format!("cargo: {error}"))
}

/// Copies what the testkit is built from.
fn copy_sources(to: &Path) -> Result<(), String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(top()).output();
    let listed = listed.map_err(|error| format!("git: {error}"))?;
    for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (top().join(name), to.join(name));
        let Some(folder) = to.parent() else { continue };
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        // What was deleted and not committed is not missed.
        if from.is_file() {
            fs::copy(&from, &to).map_err(|error| format!("{}: {error}", from.display()))?;
        }
    }
    Ok(())
}

/// Whether the model finds a mutant.
fn is_found(mutant: &Mutant, folder: &Path, seconds: u64) -> Result<bool, String> {
    let file = folder.join(&mutant.path);
    let good = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    fs::write(&file, mutant.planted(&good)?).map_err(|error| error.to_string())?;
    let built = cargo(folder, &["build", "--release", "--locked", "-p", "forebay-testkit"])?;
    if !built.status.success() {
        return Err(format!("{}: does not compile\n{}", mutant.name, String::from_utf8_lossy(&built.stderr)));
    }
    let output = folder.join("output");
    let ended = play(folder, &output, seconds).map_err(|error| format!("{}: {error}", mutant.name))?;
    fs::write(&file, good).map_err(|error| error.to_string())?;
    let is_found = ended.is_none_or(|status| !status.success());
    let verdict = if ended.is_none() { "found: it hangs" } else { "found" };
    println!("{}: {}", mutant.name, if is_found { verdict } else { "NOT FOUND" });
    let said = fs::read(&output).unwrap_or_default();
    for line in String::from_utf8_lossy(&said).lines().filter(|line| line.starts_with("# ")).take(1) {
        println!("  {}", line.chars().take(200).collect::<String>());
    }
    Ok(is_found)
}

/// Runs the model; `None`: it did not come to an end in twice its time.
#[expect(clippy::disallowed_methods, reason = "a process is waited for, and nothing is simulated here")]
fn play(folder: &Path, output: &Path, seconds: u64) -> std::io::Result<Option<ExitStatus>> {
    let program = folder.join("target/release/forebay-testkit");
    let words = ["model", "--seconds", &seconds.to_string()];
    let mut run = Command::new(program).args(words).current_dir(folder).stdout(fs::File::create(output)?).spawn()?;
    for _ in 0..seconds * 2 * 10 {
        if let Some(status) = run.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    run.kill()?;
    run.wait()?;
    Ok(None)
}

/// Plants them one after another; whether all were found.
///
/// # Errors
/// The arguments are wrong, or something cannot be built.
pub fn run(words: &[String]) -> Result<bool, String> {
    let (mut only, mut seconds) = (None, 60);
    for pair in words.chunks(2) {
        match pair {
            [name, value] if name == "--only" => only = Some(value.clone()),
            [name, value] if name == "--seconds" => seconds = value.parse().map_err(|_| USAGE)?,
            _ => return Err(USAGE.into()),
        }
    }
    let mut mutants = listed()?;
    mutants.retain(|mutant| only.as_ref().is_none_or(|only| mutant.name == *only));
    if mutants.is_empty() {
        return Err("no such mutant".into());
    }
    let folder = std::env::temp_dir().join(format!("forebay-mutants-{}", std::process::id()));
    copy_sources(&folder)?;
    let mut found = 0;
    for mutant in &mutants {
        found += usize::from(is_found(mutant, &folder, seconds)?);
    }
    fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    println!("{found} of {} found", mutants.len());
    Ok(found == mutants.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_changes_one_place() {
        let mutants = listed().expect("a list");
        assert!(!mutants.is_empty());
        for mutant in &mutants {
            let text = fs::read_to_string(top().join(&mutant.path)).expect(&mutant.path);
            assert_ne!(mutant.planted(&text).expect("once"), text, "{}", mutant.name);
            assert!(!mutant.breaks.is_empty() && mutants.iter().filter(|other| other.name == mutant.name).count() == 1);
        }
    }

    #[test]
    fn a_list() {
        let text = "# why\n\n== one: breaks this\nin a.rs\n  x = 1;\n  y\n== becomes\n  x = 2;\n\n== two: that\nin b.rs\nz\n== becomes\n";
        let mutants = parse(text).unwrap();
        assert_eq!((mutants[0].find.as_str(), mutants[0].becomes.as_str()), ("  x = 1;\n  y", "  x = 2;"));
        assert_eq!(mutants[1].planted("az"), Ok("a".into()));
        assert!(mutants[1].planted("zz").is_err() && mutants[1].planted("").is_err());
        for text in ["x", "== name\n", "== one: x\nfile\n", "== one: x\nin a.rs\nx\n== becomes\nx\n"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
