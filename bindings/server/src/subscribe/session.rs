//! The file of `--session`: what resumes the session, and where the command stands in each topic.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::requests::Position;

/// What the file holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
pub(super) struct Saved {
    /// The server. Its session is a secret that is told to nobody else.
    pub(super) url: String,
    /// What resumes the session.
    pub(super) session: Option<String>,
    /// What is done with, by topic.
    pub(super) positions: BTreeMap<String, Position>,
}

/// A session's file. It is replaced as a whole: whoever reads it finds the old or the new text.
#[derive(Debug)]
pub(super) struct SessionFile {
    path: PathBuf,
    next: PathBuf,
}

impl SessionFile {
    /// The file, and what it holds: nothing if it is not there, or empty.
    pub(super) fn open(path: &Path, url: &str) -> Result<(Self, Saved), Failure> {
        let mut next = path.as_os_str().to_owned();
        next.push(".next");
        let file = Self { path: path.to_owned(), next: PathBuf::from(next) };
        let shown = path.display();
        let fresh = Saved { url: url.to_owned(), ..Saved::default() };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::runtime(format!("cannot read {shown}: {error}"))),
        };
        if text.is_empty() {
            return Ok((file, fresh));
        }
        let saved: Saved = serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!(
                "{shown} is not a file of --session, or damaged: {error}; take another file, or remove it"
            ))
        })?;
        if saved.url != url {
            let other = &saved.url;
            return Err(Failure::usage(format!("{shown} is of a session at {other}; take another file, or remove it")));
        }
        Ok((file, saved))
    }

    /// Replaces what the file holds. Only its owner may read it.
    pub(super) fn save(&self, saved: &Saved) -> Result<(), Failure> {
        let shown = self.next.display();
        self.replace(saved).map_err(|error| Failure::runtime(format!("cannot write the session to {shown}: {error}")))
    }

    fn replace(&self, saved: &Saved) -> io::Result<()> {
        let text = serde_json::to_string(saved).map_err(io::Error::other)?;
        // What a command left that was killed may have other rights.
        match fs::remove_file(&self.next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = create(&self.next)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        fs::rename(&self.next, &self.path)
    }
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("forebay-session-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn what_was_saved_is_there_again_and_nobody_elses() {
        let path = path("saved");
        let (file, mut saved) = SessionFile::open(&path, "ws://h:1").unwrap();
        assert_eq!(saved, Saved { url: "ws://h:1".to_owned(), ..Saved::default() });
        saved.session = Some("0f".to_owned());
        saved.positions.insert("a\"b".to_owned(), Position { epoch: "ab".to_owned(), seq: 7 });
        file.save(&saved).unwrap();
        fs::write(&file.next, "left by one that was killed").unwrap();
        file.save(&saved).unwrap();
        assert_eq!(SessionFile::open(&path, "ws://h:1").unwrap().1, saved);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let other = SessionFile::open(&path, "ws://h:2").unwrap_err();
        assert_eq!(other.status, 2);
        assert!(other.text.ends_with("is of a session at ws://h:1; take another file, or remove it"), "{}", other.text);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_not_a_session_is_left_alone() {
        let path = path("alien");
        fs::write(&path, "").unwrap();
        assert!(SessionFile::open(&path, "ws://h:1").is_ok());
        fs::write(&path, "my notes").unwrap();
        let refused = SessionFile::open(&path, "ws://h:1").unwrap_err();
        assert!(
            refused.status == 2 && refused.text.contains("is not a file of --session, or damaged: "),
            "{}",
            refused.text
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "my notes");
        fs::remove_file(&path).unwrap();
    }
}
