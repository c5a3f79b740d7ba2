//! The configuration file: TOML, checked as a whole before anything listens.

mod deflate;
mod limits;
mod section;
mod topic;
pub(crate) mod value;

use std::collections::BTreeSet;
use std::fmt;

use forebay_core::{ConfigError, Options, TopicOptions};
use forebay_threads::ServerOptions;
use toml::de::DeTable;

use deflate::read_deflate;
use limits::read_limits;
use section::{Refusals, Section};
use topic::{Written, read_defaults, read_topic};
use value::{count, duration, size};

/// No administration listener.
pub(crate) const OFF: &str = "off";

/// What the server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `HOST:PORT`.
    pub(crate) listen: String,
    /// `HOST:PORT`, or [`OFF`].
    pub(crate) admin_listen: String,
    /// Everything else.
    pub(crate) server: ServerOptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".to_owned(), admin_listen: OFF.to_owned(), server: ServerOptions::default() }
    }
}

/// A file that was refused: one line for each thing that is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BadConfig {
    lines: Vec<String>,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl Settings {
    /// Reads the configuration in `source`; `file` is its name in refusals.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line.
    pub(crate) fn parse(file: &str, source: &str) -> Result<Self, BadConfig> {
        let refusals = Refusals::default();
        let (document, errors) = DeTable::parse_recoverable(source);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            refusals.push(at, format!("not TOML: {}", error.message()));
        }
        let mut settings = Self::default();
        if refusals.is_empty() {
            settings.read(document.get_ref(), &refusals);
        }
        if refusals.is_empty() {
            return Ok(settings);
        }
        let line =
            |at: usize| 1 + source.as_bytes()[..at.min(source.len())].iter().filter(|byte| **byte == b'\n').count();
        let lines = refusals.into_sorted();
        Err(BadConfig { lines: lines.iter().map(|r| format!("{file}:{}: {}", line(r.at), r.text)).collect() })
    }

    fn read(&mut self, document: &DeTable<'_>, refusals: &Refusals) {
        let mut root = Section::new("", 0, Some(document), refusals);
        let server = root.section("server", "[server]");
        let limits = root.section("limits", "[limits]");
        let deflate = root.section("deflate", "[deflate]");
        let defaults = root.section("defaults", "[defaults]");
        let topics = root.tables("topics");
        root.finish();

        self.read_server(server);
        let hub = &mut self.server.hub;
        let (defaults, written) = read_defaults(hub, defaults);
        read_limits(hub, limits, &defaults, refusals);
        read_deflate(hub, deflate, refusals);
        self.server.topics = read_topics(hub, written, &topics, refusals);
    }

    fn read_server(&mut self, mut section: Section<'_>) {
        let options = &mut self.server;
        section.read("listen", &mut self.listen, value::listen);
        section.read("admin_listen", &mut self.admin_listen, value::admin_listen);
        section.read("origins", &mut options.origins, value::origins);
        section.read("drain_timeout", &mut options.drain_timeout, duration);
        section.read("notsent_lowat_bytes", &mut options.notsent_lowat_bytes, size);
        section.read("send_buffer_bytes", &mut options.send_buffer_bytes, value::size_or_system);
        section.read("mailbox_max", &mut options.mailbox_max, count);
        section.finish();
    }
}

fn read_topics(
    hub: &Options,
    written: Written,
    tables: &[(usize, &DeTable<'_>)],
    refusals: &Refusals,
) -> Vec<(String, TopicOptions)> {
    let mut topics = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, table) in tables {
        let mut section = Section::new("[[topics]]", *at, Some(table), refusals);
        let mut name = String::new();
        let mut options = hub.topic_defaults;
        let before = refusals.len();
        section.read("name", &mut name, value::text);
        if !section.has("name") {
            section.refuse("name", "is missing");
        } else if refusals.len() == before {
            if let Err(problem) = check_name(&name, hub.topic_name_bytes_max) {
                section.refuse("name", &problem);
            } else if !seen.insert(name.clone()) {
                section.refuse("name", &format!("{name:?} is declared twice; each topic is declared once"));
            }
            section.rename(format!("[[topics]] {name:?}"));
        }
        read_topic(&mut section, &mut options, written);
        let section = section.finish();
        if refusals.len() == before {
            check_topic(hub, &section, &options);
        }
        topics.push((name, options));
    }
    if topics.len() as u64 > u64::from(hub.topics_max) {
        let problem = format!("{} topics, but [limits] topics_max is {}", topics.len(), hub.topics_max);
        refusals.push(tables.last().map_or(0, |(at, _)| *at), format!("[[topics]]: {problem}"));
    }
    topics
}

fn check_topic(hub: &Options, section: &Section<'_>, options: &TopicOptions) {
    if let Err(error) = options.check() {
        refuse(section, error);
    } else if options.log_bytes_max > hub.resident_bytes_max {
        section.refuse("log_bytes_max", "must be at most [limits] resident_bytes_max");
    }
}

/// As the hub checks it (`TopicError::InvalidName`), but with the line.
fn check_name(name: &str, bytes_max: u32) -> Result<(), String> {
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if name.len() as u64 > u64::from(bytes_max) {
        return Err(format!("must be at most {bytes_max} bytes ([limits] topic_name_bytes_max), not {}", name.len()));
    }
    if name.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}

/// A refusal of the core in the file's words.
fn refuse(section: &Section<'_>, error: ConfigError) {
    let key = match error.field {
        "history.messages_max" => "history_messages",
        "history.bytes_max" => "history_bytes",
        "history.age_max" => "history_age",
        "publish_rate.per_second" => "publish_rate",
        "publish_rate.burst" => "publish_burst",
        field => field.rsplit('.').next().unwrap_or(field),
    };
    let problem = error.problem.replace("topic_defaults.", "[defaults] ").replace("lane.", "");
    let note = if section.has(key) { "" } else { " (not set here: its default applies)" };
    section.refuse(key, &format!("{problem}{note}"));
}

#[cfg(test)]
mod delivery_tests;
#[cfg(test)]
mod options_fields;
#[cfg(test)]
mod options_tests;
#[cfg(test)]
mod tests;
