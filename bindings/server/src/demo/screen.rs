//! Where the table goes: drawn in place on a terminal, line by line anywhere else.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::table::Frame;

/// Whether the cursor is hidden.
static IS_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Shows the cursor again, if it is hidden.
pub(super) fn restore() {
    if IS_HIDDEN.swap(false, Ordering::SeqCst) {
        // Nobody to tell when it fails.
        let _ = io::stdout().write_all(b"\x1b[?25h").and_then(|()| io::stdout().flush());
    }
}

pub(super) enum Screen {
    /// A file or a pipe.
    Lines,
    Terminal {
        has_colours: bool,
        /// Lines of the last frame, which the next one takes the place of.
        drawn: usize,
    },
}

impl Screen {
    /// Writes what stands above the table.
    pub(super) fn start(intro: &[String]) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let mut output = io::stdout().lock();
        // A closed standard output is told by the first frame.
        if io::stdout().is_terminal() && !is_dumb {
            let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            IS_HIDDEN.store(true, Ordering::SeqCst);
            let _ = write!(output, "{}\n\n\x1b[?25l", intro.join("\n")).and_then(|()| output.flush());
            return Self::Terminal { has_colours, drawn: 0 };
        }
        let intro: String = intro.iter().map(|line| format!("# {line}\n")).collect();
        let _ = writeln!(output, "{intro}{}", Frame::columns());
        Self::Lines
    }

    /// Writes a frame, whole.
    pub(super) fn show(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let text = match self {
            Self::Lines => frame.lines().join("\n") + "\n",
            Self::Terminal { has_colours, drawn } => {
                let (width, height) = size();
                let mut lines = frame.picture(width, *has_colours);
                // The cursor stands below the table, and cannot go up beyond the top.
                lines.truncate(height.saturating_sub(1).max(1));
                let up = if *drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
                *drawn = lines.len();
                let lines: String = lines.iter().map(|line| format!("\r{line}\x1b[K\n")).collect();
                format!("{up}{lines}\x1b[J")
            }
        };
        let mut output = io::stdout().lock();
        output.write_all(text.as_bytes())?;
        output.flush()
    }
}

/// Columns and rows of the terminal.
#[cfg(unix)]
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

#[cfg(not(unix))]
fn size() -> (usize, usize) {
    (80, 24)
}
