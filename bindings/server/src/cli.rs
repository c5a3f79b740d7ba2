//! The command line.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use forebay_core::Policy;

use crate::config::value::{parse_admin_listen, parse_duration, parse_listen, parse_size};
use crate::pointer::Pointer;
use crate::requests::{Begin, Lane};

const EXAMPLES: &str = "\
Without a command it serves, with the options above. `forebay COMMAND --help` explains a command.

Examples:
  forebay                                            serve on 127.0.0.1:8080 with the defaults
  forebay serve --admin-listen 9090                  and http://127.0.0.1:9090/metrics for Prometheus
  forebay demo                                       watch it work
  forebay serve --listen 0.0.0.0:9000 --config forebay.toml
  forebay serve --check --config forebay.toml        is the file good? (exit status 0 or 2)
  forebay subscribe --topic log                      print what is published to the topic log
  tail -f access.log | forebay publish --topic log   publish each new line

Exit status: 0 done, 1 something went wrong while running, 2 wrong flags or configuration.";

const SERVE_NOTES: &str = "\
Stopping: SIGINT (Ctrl-C) or SIGTERM drains: nothing new is taken, what waits is handed out for at most
drain_timeout, exit status 0. A second signal exits at once.

The file is TOML; forebay.example.toml lists every key with its default. Whatever is wrong with it is
told with file, line and key, before anything listens.";

const DEMO_NOTES: &str = "\
This machine's own numbers (CPUs, memory, network) are published 20 times a second: as they are to the topic
machine, and with padding to 2 KiB to a topic for each policy. Each of those has three consumers over real sockets:
fast, slow (five messages a second) and frozen (reads nothing). Their lanes hold 200 messages (with block 10). A frozen
one reads for a moment when the server has ended it, to see why; and with block every 5 s, or nothing would move.

What is on its way to a socket waits, too: where it does not count towards the limits (drop-oldest, latest-per-key,
latest-only) a message or two more may be shown than the lane holds. kernel: what the kernel holds besides.

On a terminal the table is drawn in place (NO_COLOR: without colours). Otherwise there is one line per consumer and
second, for grep and awk, with these columns:
  second policy consumer published_per_second entered sent waiting superseded oldest newest other_lost waiting_bytes
  oldest_age_seconds kernel_bytes ends end_code publisher_waits
On each line entered = sent + waiting + superseded + oldest + newest + other_lost: those are the messages of the
consumer's lane, from its subscribe on. publisher_waits: how many publishes found no room in the topic with block.
Lines that begin with # are for people.";

const PUBLISH_NOTES: &str = "\
Each line is sent without its line feed and otherwise unchanged (a carriage return stays). A line that is
not UTF-8 goes as bytes (data64). A last line without line feed counts.

A full topic with policy \"block\" slows this command down: at most --window messages are unanswered, and
standard input is read no further than that (plus one 64 KiB buffer), so the program before the pipe waits.

With --key each message has a key: subscribers with the policy latest-per-key are given the latest message of
each. /symbol takes the member \"symbol\" of the line, /user/0 goes deeper (RFC 6901). A string is the key itself,
a number, true or false is the key as written; a line with anything else there, or nothing, is refused (no-key).

When the connection is lost the command comes back, for at most --retry-for, and sends again what has no answer.
Each message has an id by which the server knows it: it is published once, as long as the topic remembers the id
(its publish_ids_max, 1,024 unless configured otherwise, for all its publishers together).

At the end one line on standard error says what became of the messages:
  published 1000: accepted 998 (matched 1990 deliveries, duplicates 3), refused 2 (full 2), lost 0 in 0.1 s
matched: lanes of subscribers they entered; duplicates: had been taken before the connection was lost; refused:
with the server's code; lost: no answer before the connection ended, so nobody knows. Exit status 0 only
if everything was read and accepted.

Examples:
  tail -f access.log | forebay publish --topic log
  prices | forebay publish --topic prices --key /symbol
  jq -c .[] orders.json | forebay publish --json --topic orders ws://10.0.0.5:8080";

const SUBSCRIBE_NOTES: &str = "\
Payloads go to standard output, one per line: a JSON string as its text, other JSON as it is, bytes as they
are. Everything else goes to standard error:
  subscribed: topic log, from seq 1, policy drop-oldest
  gap: topic log: missed 120 messages (5..124): oldest
  received 880, missed 120
A gap says what this subscriber lost and why; received + missed = published since it subscribed. (With latest-only
and latest-per-key messages that a later one replaced are neither: nobody missed them.)

--policy, --messages-max, --bytes-max, --delivery, --credit and --from hold for every --topic. What the topic does not
allow is refused.

With --session FILE the command comes back by itself when the connection is lost, until it is stopped, and goes on
where it was: the server keeps what waits for it (for [limits] session_ttl). FILE has the session and what was
printed last of each topic (with --ack manual: acknowledged); started again with it, the command goes on there. It is
a secret: whoever has it can take the session. When the session has ended it subscribes behind what it had, and
gets what the topic's history still has. A message that comes again and was printed is not printed again.

With --ack manual a program behind the pipe says when it is done, up to which message of which topic:
  orders 17 paid        on standard output
  orders 17             on standard input
What was not acknowledged comes again after the command was started again, unless the server has given up meanwhile
(the topic's ack_timeout and attempts_max): that is a gap with the reason attempts.

Examples:
  forebay subscribe --topic log
  forebay subscribe --topic log --rate 10        be slow on purpose: watch the gaps
  forebay subscribe --topic prices --policy latest-per-key
  forebay subscribe --topic orders --session orders.session --from start
  forebay subscribe --topic a --topic b --count 5 --json ws://10.0.0.5:8080";

/// WebSocket topic server: each subscriber behind its own bounded lane, losses counted and told
#[derive(Debug, Parser)]
#[command(name = "forebay", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve topics over WebSocket (the default)
    #[command(after_help = SERVE_NOTES)]
    Serve(ServeArguments),
    /// Show what the policies do: one feed, six topics, consumers that are fast, slow and frozen
    #[command(after_help = DEMO_NOTES)]
    Demo(DemoArguments),
    /// Publish each line of standard input to a topic
    #[command(after_help = PUBLISH_NOTES)]
    Publish(PublishArguments),
    /// Print what is published to one or more topics
    #[command(after_help = SUBSCRIBE_NOTES)]
    Subscribe(SubscribeArguments),
}

/// `forebay serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen [default: the file's address, or 127.0.0.1:8080]; port 0: any free one
    #[arg(long, value_name = "HOST:PORT", value_parser = |text: &str| parse_listen(text))]
    pub(crate) listen: Option<String>,
    /// Where /metrics, /stats and /healthz are [default: the file's, or off]: a port of 127.0.0.1, or HOST:PORT.
    /// Whoever reaches it sees topics and addresses
    #[arg(long, value_name = "[HOST:]PORT", value_parser = |text: &str| parse_admin_listen(text))]
    pub(crate) admin_listen: Option<String>,
    /// Configuration file (TOML); without it the built-in defaults hold
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Check the configuration and exit: status 0 if it is good, 2 if not
    #[arg(long)]
    pub(crate) check: bool,
    /// What it runs on: std threads, or tasks on smol
    #[arg(long, value_name = "RUNTIME", value_enum, default_value_t = Binding::Threads)]
    pub(crate) binding: Binding,
    /// Log to standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", hide_possible_values = true, value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    pub(crate) log: String,
}

/// `forebay demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// End after N seconds; without it the demo runs until Ctrl-C
    #[arg(long, value_name = "N", value_parser = |text: &str| positive::<NonZeroU32>(text))]
    pub(crate) seconds: Option<NonZeroU32>,
    /// Where to listen; port 0: any free one
    #[arg(long, value_name = "HOST:PORT", value_parser = |text: &str| parse_listen(text))]
    #[arg(default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
    /// What it runs on: std threads, or tasks on smol
    #[arg(long, value_name = "RUNTIME", value_enum, default_value_t = Binding::Threads)]
    pub(crate) binding: Binding,
}

/// A runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Binding {
    Threads,
    Smol,
}

/// `forebay publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArguments {
    /// The topic to publish to
    #[arg(long, value_name = "NAME")]
    pub(crate) topic: String,
    /// The lines are JSON and go as they are; a line that is not JSON is refused, the others go
    #[arg(long)]
    pub(crate) json: bool,
    /// Where each line, which is JSON then, says its key: a JSON pointer such as /id
    #[arg(long, value_name = "POINTER", value_parser = |text: &str| Pointer::parse(text))]
    pub(crate) key: Option<Pointer>,
    /// Send lines compressed, if the server agrees (permessage-deflate)
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Messages sent and not yet answered, at most (and 1 MiB of them)
    #[arg(long, value_name = "N", default_value = "1024")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) window: u32,
    /// How long to try to come back when the connection is lost; 0s: not at all
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = |text: &str| duration(text))]
    pub(crate) retry_for: Duration,
    /// The server
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:8080")]
    pub(crate) url: String,
}

/// `forebay subscribe`.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArguments {
    /// A topic to subscribe to; may be given several times
    #[arg(long = "topic", value_name = "NAME", required = true)]
    pub(crate) topics: Vec<String>,
    /// What happens when messages wait that this command does not take: drop-oldest, drop-newest, latest-per-key,
    /// latest-only or disconnect [default: the topic's]
    #[arg(long, value_name = "NAME", value_parser = |text: &str| policy(text))]
    pub(crate) policy: Option<Policy>,
    /// Messages that may wait at the server, at most the topic's
    #[arg(long, value_name = "N", value_parser = |text: &str| positive::<NonZeroU32>(text))]
    pub(crate) messages_max: Option<NonZeroU32>,
    /// Bytes of their payloads, at most the topic's
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| lane_size(text))]
    pub(crate) bytes_max: Option<u64>,
    /// How long a message may wait at the server, such as 500ms; at most the topic's
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| age(text))]
    pub(crate) age_max: Option<Duration>,
    /// best-effort or at-least-once [default: as the topic delivers, if the policy can]
    #[arg(long, value_name = "NAME", value_parser = ["best-effort", "at-least-once"], hide_possible_values = true)]
    pub(crate) delivery: Option<String>,
    /// Where to start: latest, snapshot, start, history:N, or EPOCH/SEQ (behind that message) [default: latest]
    #[arg(long, value_name = "START")]
    pub(crate) from: Option<Begin>,
    /// Keep the session in FILE: come back when the connection is lost, and go on there when started again
    #[arg(long, value_name = "FILE")]
    pub(crate) session: Option<PathBuf>,
    /// Of at-least-once topics: acknowledge what was printed, or (manual) what lines TOPIC SEQ on standard input say.
    /// With manual each line of output begins with TOPIC SEQ
    #[arg(long, value_name = "MODE", value_enum, default_value_t = AckMode::Auto)]
    pub(crate) ack: AckMode,
    /// At most N messages of each topic on their way; as many more as were printed are asked for
    #[arg(long, value_name = "N", value_parser = |text: &str| positive::<NonZeroU32>(text))]
    pub(crate) credit: Option<NonZeroU32>,
    /// Print every payload as JSON text, strings with their quotes
    #[arg(long)]
    pub(crate) json: bool,
    /// Be slow: at most N messages per second, with small buffers, so that the server feels it
    #[arg(long, value_name = "N", value_parser = |text: &str| positive::<NonZeroU32>(text))]
    pub(crate) rate: Option<NonZeroU32>,
    /// Take compressed messages, if the server agrees (permessage-deflate)
    #[arg(long)]
    pub(crate) deflate: bool,
    /// End after N messages
    #[arg(long, value_name = "N", value_parser = |text: &str| positive::<NonZeroU64>(text))]
    pub(crate) count: Option<NonZeroU64>,
    /// Longest message, and what is read ahead [default: 1 MiB; with --rate: 64 KiB]
    #[arg(long, value_name = "SIZE", value_parser = |text: &str| message_size(text))]
    pub(crate) message_bytes_max: Option<u32>,
    /// The server
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:8080")]
    pub(crate) url: String,
}

/// Who acknowledges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum AckMode {
    Auto,
    Manual,
}

impl SubscribeArguments {
    /// What each topic is subscribed with.
    pub(crate) fn lane(&self, from: Option<Begin>) -> Lane {
        Lane {
            policy: self.policy,
            messages_max: self.messages_max.map(NonZeroU32::get),
            bytes_max: self.bytes_max,
            age_max: self.age_max,
            delivery: self.delivery.clone(),
            credit: self.credit.map(NonZeroU32::get),
            from,
        }
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    Policy::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Policy::ALL.iter().map(|policy| policy.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

fn lane_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text).filter(|size| *size > 0);
    size.ok_or_else(|| "must be a number of bytes or text like \"64 KiB\"".to_owned())
}

fn positive<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "must be a whole number, at least 1, and not too large".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be a whole number with a unit, such as 500ms, 60s or 5m".to_owned())
}

fn age(text: &str) -> Result<Duration, String> {
    let wanted = "must be a whole number with a unit, such as 500ms or 30s, at least 1ms";
    parse_duration(text).filter(|age| *age >= Duration::from_millis(1)).ok_or_else(|| wanted.to_owned())
}

fn message_size(text: &str) -> Result<u32, String> {
    // A quarter of the client's memory budget may wait to be taken.
    let size =
        parse_size(text).and_then(|bytes| u32::try_from(bytes).ok()).filter(|size| (1..=64 << 20).contains(size));
    size.ok_or_else(|| "must be a number of bytes or text like \"4 MiB\", at most 64 MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_serve() {
        let cli = Cli::try_parse_from(["forebay", "--listen", "127.0.0.1:0"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.listen.as_deref(), Some("127.0.0.1:0"));
        let cli = Cli::try_parse_from(["forebay", "publish", "--topic", "log"]).unwrap();
        let Some(Command::Publish(publish)) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!((publish.window, publish.url.as_str(), publish.json), (1_024, "ws://127.0.0.1:8080", false));
    }

    #[test]
    fn bad_flags_say_what_is_allowed() {
        for (arguments, says) in [
            (vec!["serve", "--listen", "8080"], "must be HOST:PORT"),
            (vec!["publish"], "--topic <NAME>"),
            (vec!["publish", "--topic", "t", "--window", "0"], "1..=65536"),
            (vec!["subscribe", "--topic", "t", "--rate", "0"], "'--rate <N>': must be a whole number, at least 1"),
            (vec!["subscribe", "--topic", "t", "--message-bytes-max", "1 KB"], "at most 64 MiB"),
            (vec!["subscribe", "--topic", "t", "--policy", "drop"], "there are drop-oldest, drop-newest, "),
            (vec!["subscribe", "--topic", "t", "--messages-max", "0"], "--messages-max"),
            (vec!["subscribe", "--topic", "t", "--bytes-max", "0"], "like \"64 KiB\""),
            (
                vec!["subscribe", "--topic", "t", "--from", "first"],
                "must be latest, snapshot, start, history:N or EPOCH/SEQ",
            ),
            (vec!["subscribe", "--topic", "t", "--ack", "never"], "auto, manual"),
            (vec!["subscribe", "--topic", "t", "--credit", "0"], "'--credit <N>': must be a whole number, at least 1"),
            (vec!["subscribe", "--topic", "t", "--delivery", "once"], "at-least-once"),
            (vec!["publish", "--topic", "t", "--key", "id"], "must be a JSON pointer such as /id"),
            (vec!["publish", "--topic", "t", "--retry-for", "60"], "such as 500ms, 60s or 5m"),
            (vec!["serve", "--admin-listen", "all"], "must be a port of 127.0.0.1 such as 9090"),
            (vec!["serve", "--log", "loud"], "debug"),
            (vec!["serve", "--binding", "tokio"], "threads, smol"),
        ] {
            let arguments = std::iter::once("forebay").chain(arguments);
            let error = Cli::try_parse_from(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
