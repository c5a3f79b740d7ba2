//! Load for a WebSocket server on this machine: `load MODE PORT PID [name=value ...]`. One thread, one epoll; prints a line of
//! JSON (`report.rs`). PID is the server's: its processor time and memory are read from /proc.
//!
//! | mode | what it does | names |
//! |---|---|---|
//! | `fanout` | one publisher, many subscribers | `subscribers`, `payload`, `window` (messages in flight), `rate` (a second; 0: as fast as the window lets), `seconds` |
//! | `slow` | the same, and some of the subscribers stop reading | and `frozen` |
//! | `echo` | sends back what comes back | `connections`, `payload`, `window`, `seconds` |
//! | `idle` | connections without a message | `connections` |
//!
//! Text `SUB t` subscribes; a message that begins with `P` goes as it is to all subscribers; all else is sent back.

mod clients;
mod echo;
mod fanout;
mod report;
mod scan;

use std::collections::BTreeMap;
use std::error::Error;
use std::str::FromStr;

/// What is wrong with the arguments, the server, or the machine.
type Failure = Box<dyn Error>;

/// The server, and the values of the command line.
struct Options {
    port: u16,
    pid: String,
    values: BTreeMap<String, String>,
}

impl Options {
    /// The value of `name`, which is asked for once.
    fn take<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, Failure> {
        match self.values.remove(name) {
            Some(value) => value.parse().map_err(|_| format!("{name}: not {value}").into()),
            None => Ok(default),
        }
    }

    /// Nothing else was given.
    fn end(&self) -> Result<(), Failure> {
        self.values.keys().next().map_or(Ok(()), |name| Err(format!("{name} is nothing of this mode").into()))
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(mode), Some(port), Some(pid)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("needs: MODE PORT PID [name=value ...]".into());
    };
    let pairs = arguments.map(|pair| pair.split_once('=').map(|(name, value)| (name.into(), value.into())));
    let values = pairs.collect::<Option<_>>().ok_or("not name=value")?;
    let options = Options { port: port.parse()?, pid, values };
    match mode.as_str() {
        "fanout" | "slow" => fanout::run(options, mode == "slow"),
        "echo" => echo::run(options),
        "idle" => echo::idle(options),
        _ => Err(format!("no such mode: {mode}").into()),
    }
}
