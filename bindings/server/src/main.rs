//! `forebay`: a ready WebSocket topic server, and commands that publish lines to it and print what it delivers.
#![forbid(unsafe_code)]

mod admin;
mod cli;
mod config;
mod connect;
mod demo;
mod lines;
mod logger;
mod pointer;
mod process;
mod protocol;
mod publish;
mod requests;
mod serve;
mod serving;
mod signals;
mod subscribe;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// A command that failed: what to tell the operator, in whole lines, and the exit status.
#[derive(Debug)]
struct Failure {
    text: String,
    status: u8,
}

impl Failure {
    /// Wrong flags or a wrong configuration: exit status 2.
    fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: 2 }
    }

    /// Anything that went wrong while running: exit status 1.
    fn runtime(text: impl Into<String>) -> Self {
        Self { text: text.into(), status: 1 }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(arguments)) => serve::run(&arguments),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Publish(arguments)) => publish::run(&arguments),
        Some(Command::Subscribe(arguments)) => subscribe::run(&arguments),
    };
    result.unwrap_or_else(|failure| {
        for line in failure.text.lines() {
            tell(line);
        }
        ExitCode::from(failure.status)
    })
}

/// Tells the operator what is going on, as one line on standard error.
fn tell(line: impl std::fmt::Display) {
    note(format_args!("forebay: {line}"));
}

/// Writes one line to standard error: results, for programs too. A closed standard error is nobody's fault.
fn note(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
