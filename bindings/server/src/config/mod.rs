//! The configuration file: TOML, checked as a whole before anything listens.

mod section;
pub(crate) mod value;

use std::collections::BTreeSet;
use std::fmt;

use forebay_core::{Config, ConfigError, Options, TopicOptions};
use forebay_threads::ServerOptions;
use toml::de::DeTable;

use section::{Refusals, Section};
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
        let defaults = root.section("defaults", "[defaults]");
        let topics = root.tables("topics");
        root.finish();

        self.read_server(server);
        let hub = &mut self.server.hub;
        let (defaults, keys) = read_defaults(hub, defaults);
        read_limits(hub, limits, &defaults, refusals);
        self.server.topics = read_topics(hub, keys, &topics, refusals);
    }

    fn read_server(&mut self, mut section: Section<'_>) {
        let options = &mut self.server;
        section.read("listen", &mut self.listen, value::listen);
        section.read("admin_listen", &mut self.admin_listen, value::admin_listen);
        section.read("drain_timeout", &mut options.drain_timeout, duration);
        section.read("notsent_lowat_bytes", &mut options.notsent_lowat_bytes, size);
        section.read("send_buffer_bytes", &mut options.send_buffer_bytes, value::size_or_system);
        section.read("mailbox_max", &mut options.mailbox_max, count);
        section.finish();
    }
}

/// The limits of a topic's keys as they are written, or built in. What holds where a topic does not set them follows
/// the limits of its lanes: whoever lowers those alone is not told to lower these, too.
#[derive(Clone, Copy)]
struct KeyLimits {
    keys_max: u32,
    keys_bytes_max: u64,
}

fn read_defaults<'a>(hub: &mut Options, mut section: Section<'a>) -> (Section<'a>, KeyLimits) {
    section.read("create", &mut hub.create_topics, value::create);
    let TopicOptions { keys_max, keys_bytes_max, .. } = hub.topic_defaults;
    let keys = read_topic(&mut section, &mut hub.topic_defaults, KeyLimits { keys_max, keys_bytes_max });
    let section = section.finish();
    if let Err(error) = hub.topic_defaults.check() {
        refuse(&section, error);
    }
    (section, keys)
}

/// Reads a topic's keys; `keys` holds where it does not say its own. Returns those that do.
fn read_topic(section: &mut Section<'_>, topic: &mut TopicOptions, mut keys: KeyLimits) -> KeyLimits {
    section.read("policy", &mut topic.policy, value::policy);
    section.read("choices", &mut topic.choices, value::choices);
    section.read("messages_max", &mut topic.lane.messages_max, count);
    section.read("bytes_max", &mut topic.lane.bytes_max, size);
    section.read("age_max", &mut topic.age_max, value::age);
    if !section.has("age_max") {
        // The defaults' is for policies that lose.
        topic.age_max = topic.age_max.filter(|_| topic.policy.is_lossy());
    }
    section.read("message_bytes_max", &mut topic.message_bytes_max, size);
    section.read("log_bytes_max", &mut topic.log_bytes_max, size);
    section.read("keys_max", &mut keys.keys_max, count);
    section.read("keys_bytes_max", &mut keys.keys_bytes_max, size);
    topic.keys_max = match section.has("keys_max") {
        true => keys.keys_max,
        false => keys.keys_max.min(topic.lane.messages_max),
    };
    topic.keys_bytes_max = match section.has("keys_bytes_max") {
        true => keys.keys_bytes_max,
        // They hold one message at least.
        false => keys.keys_bytes_max.max(topic.message_bytes_max.into()).min(topic.lane.bytes_max),
    };
    let mut disconnect = section.section("disconnect", &format!("{} disconnect", section.title()));
    disconnect.read("scope", &mut topic.disconnect.scope, value::scope);
    disconnect.read("code", &mut topic.disconnect.code, value::close_code);
    disconnect.read("reason", &mut topic.disconnect.reason, value::close_reason);
    disconnect.finish();
    keys
}

fn read_limits(hub: &mut Options, mut section: Section<'_>, defaults: &Section<'_>, refusals: &Refusals) {
    section.read("connections_max", &mut hub.connections_max, count);
    section.read("topics_max", &mut hub.topics_max, count);
    section.read("topic_name_bytes_max", &mut hub.topic_name_bytes_max, size);
    section.read("key_bytes_max", &mut hub.key_bytes_max, size);
    section.read("lanes_per_session_max", &mut hub.lanes_per_session_max, count);
    section.read("resident_bytes_max", &mut hub.resident_bytes_max, size);
    section.read("transmit_bytes_max", &mut hub.transmit_bytes_max, size);
    section.read("message_bytes_max", &mut hub.message_bytes_max, size);
    section.read("inbound_bytes_max", &mut hub.inbound_bytes_max, size);
    section.read("reply_bytes_max", &mut hub.reply_bytes_max, size);
    section.read("head_bytes_max", &mut hub.head_bytes_max, size);
    section.read("handshake_timeout", &mut hub.handshake_timeout, duration);
    section.read("message_timeout", &mut hub.message_timeout, duration);
    section.read("ping_interval", &mut hub.ping_interval, duration);
    section.read("pong_timeout", &mut hub.pong_timeout, duration);
    section.read("stall_timeout", &mut hub.stall_timeout, duration);
    section.read("close_timeout", &mut hub.close_timeout, duration);
    section.read("block_max", &mut hub.block_max, duration);
    let mut direct = section.section("direct_lane", "[limits] direct_lane");
    direct.read("messages_max", &mut hub.direct_lane.messages_max, count);
    direct.read("bytes_max", &mut hub.direct_lane.bytes_max, size);
    let direct = direct.finish();
    let mut marks = section.section("watermarks", "[limits] watermarks");
    marks.read("high_percent", &mut hub.watermarks.high_percent, count);
    marks.read("low_percent", &mut hub.watermarks.low_percent, count);
    marks.read("dwell", &mut hub.watermarks.dwell, duration);
    let marks = marks.finish();
    let section = section.finish();

    // Only what reads well on its own is checked together: one mistake, one line.
    if !refusals.is_empty() {
        return;
    }
    let Err(error) = Config::try_from(*hub) else { return };
    match error.field.split_once('.') {
        Some(("direct_lane", key)) => direct.refuse(key, error.problem),
        Some(("watermarks", key)) => marks.refuse(key, error.problem),
        // The one pair across sections: shown where the operator wrote something.
        _ if error.field == "resident_bytes_max" && !section.has(error.field) && defaults.has("log_bytes_max") => {
            defaults.refuse("log_bytes_max", "must be at most [limits] resident_bytes_max");
        }
        _ => refuse(&section, error),
    }
}

fn read_topics(
    hub: &Options,
    keys: KeyLimits,
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
        read_topic(&mut section, &mut options, keys);
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
    let key = error.field.rsplit('.').next().unwrap_or(error.field);
    let problem = error.problem.replace("topic_defaults.", "[defaults] ").replace("lane.", "");
    let note = if section.has(key) { "" } else { " (not set here: its default applies)" };
    section.refuse(key, &format!("{problem}{note}"));
}

#[cfg(test)]
mod tests;
