//! Both bindings have the same public names, so that reading them side by side shows only the runtime.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What only one of them has, because of what it runs on.
const ONLY_THREADS: [&str; 5] = [
    "handle.rs: impl Iterator for Subscription",
    "stream.rs: impl<T: Clone> Iterator for Consumer<T>",
    "stream.rs: impl<T: Clone> Iterator for Whole<T>",
    "stream_pipe.rs: impl<T, E: Into<BoxError>, F: FnMut(T) -> Result<(), E>> Sink<T> for F",
    "stream_pipe.rs: impl<T: Clone> Sink<T> for Stream<T>",
];
const ONLY_SMOL: [&str; 5] = [
    "handle.rs: impl Stream for Subscription",
    "stream.rs: impl<T: Clone> smol::stream::Stream for Consumer<T>",
    "stream.rs: impl<T: Clone> smol::stream::Stream for Whole<T>",
    "stream_pipe.rs: impl<T, E: Into<BoxError>, F: FnMut(T) -> Waits, Waits: Future<Output = Result<(), E>> + Send> Sink<T> for F",
    "stream_pipe.rs: impl<T: Clone + Send> Sink<T> for Stream<T>",
];

fn sources(binding: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(binding).join("src")
}

/// The public items of a file: functions with the names of their parameters, types, what is exported and implemented.
fn names(file: &Path) -> BTreeSet<String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let source = fs::read_to_string(file).unwrap();
    let code = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let code: String = code.flat_map(|line| ["\n", line]).collect::<String>().replace("pub async fn", "pub fn");
    let mut names = BTreeSet::new();
    let mut rest = &*code;
    // At the begin of a line: what is implemented, and not what a type implements.
    while let Some(at) = ["\npub ", "\nimpl ", "\nimpl<"].iter().filter_map(|word| rest.find(word)).min() {
        let item = &rest[at + 1..];
        let end = item.find(['{', ';']).expect("an item ends");
        // What is exported stands in braces.
        let is_use = item.starts_with("pub use");
        let end = if is_use { item.find(';').unwrap() } else { end };
        let text = item[..end].split_whitespace().collect::<Vec<_>>().join(" ");
        rest = &item[end..];
        match text.strip_prefix("pub ") {
            Some(text) if is_use => {
                let (path, list) = text.trim_end_matches('}').split_once('{').unwrap_or(("", text));
                names.extend(
                    list.split(',')
                        .map(str::trim)
                        .filter(|one| !one.is_empty())
                        .map(|one| format!("{name}: {path}{one}")),
                );
            }
            Some(text) => drop(names.insert(format!("{name}: {}", signature(text)))),
            None => drop(names.insert(format!("{name}: {text}"))),
        }
    }
    names
}

/// `fn name(self, parameter, ...)` of a function, and anything else as it is.
fn signature(text: &str) -> String {
    let Some((name, rest)) = text.split_once('(').filter(|_| text.starts_with("fn ")) else { return text.to_owned() };
    let name = name.split('<').next().unwrap();
    // A comma within a type is not followed by a name and a colon.
    let parameters: Vec<_> =
        rest.split(',').filter_map(|one| one.split_once(": ")).map(|(name, _)| name.trim()).collect();
    let receiver =
        if rest.trim_start().starts_with(['&', 's', 'm']) { rest.split([',', ')']).next().unwrap() } else { "" };
    let receiver = if receiver.contains(':') { "" } else { receiver.trim() };
    format!("{name}({receiver}; {})", parameters.join(", "))
}

fn all(binding: &str) -> BTreeSet<String> {
    let files = ["lib.rs", "server.rs", "handle.rs", "client.rs", "stream.rs", "stream_pipe.rs"];
    files.iter().flat_map(|file| names(&sources(binding).join(file))).collect()
}

#[test]
fn both_bindings_have_the_same_public_names() {
    let (threads, smol) = (all("threads"), all("smol"));
    for name in [
        "handle.rs: fn publish(&self; topic, message)",
        "server.rs: fn unbound(; options)",
        "client.rs: fn receive_timeout(&self; timeout)",
        "lib.rs: use forebay_shell::Snapshot",
        "client.rs: impl Drop for Client",
        "stream.rs: fn write_wait(&self; value, timeout)",
        "stream.rs: impl<T: Clone> Deref for Consumer<T>",
        "stream_pipe.rs: fn pipe(; source, mut transform, mut sink)",
    ] {
        assert!(threads.contains(name), "{name}: {threads:#?}");
    }
    let only = |one: &BTreeSet<String>, other| one.difference(other).cloned().collect::<Vec<_>>();
    assert_eq!(only(&threads, &smol), ONLY_THREADS);
    assert_eq!(only(&smol, &threads), ONLY_SMOL);
}

#[test]
fn both_bindings_have_the_same_files() {
    let files = |binding: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(sources(binding)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let (threads, mut smol) = (files("threads"), files("smol"));
    assert!(smol.remove("worker_blocking.rs"), "where a reactor cannot watch a poller");
    assert_eq!(threads, smol);
}
