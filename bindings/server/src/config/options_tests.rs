//! docs/options.md, row by row: a wrong default, a wrong limit, a missing or superfluous row fails.

use std::collections::BTreeMap;

use super::options_fields::{Fields, client, deflate, hub, lane, server, topic};
use super::tests::{parsed, refused};
use super::value::{parse_duration, parse_size};
use super::*;
use forebay_core::{Hub, Instant, LaneOptions, Policy, Start, SubscribeError};
use forebay_threads::ClientOptions;
use std::time::Duration;

const CHAPTER: &str = include_str!("../../../../docs/options.md");

/// What every option can be tried against without hitting the limit of another.
const WIDE: &str = r#"
    [limits]
    message_bytes_max = 2
    inbound_bytes_max = 4294967294
    resident_bytes_max = "1048576 GiB"
    direct_lane = { messages_max = 2, bytes_max = 2 }
    watermarks = { high_percent = 99, low_percent = 2, dwell = "2s" }
    [limits.rates]
    inbound_messages_per_second = 2
    inbound_messages_burst = 2
    inbound_bytes_per_second = 2
    inbound_bytes_burst = 2
    outbound_bytes_per_second = 2
    outbound_bytes_burst = 2
    [deflate]
    enabled = true
    level = 2
    memory_level = 2
    window_bits = 10
    context_bytes_max = 2
    [defaults]
    policy = "block"
    delivery = "at-least-once"
    messages_max = 2147483647
    bytes_max = "1023 GiB"
    message_bytes_max = 2
    log_bytes_max = "1024 GiB"
    keys_max = 2
    keys_bytes_max = 2
    history_messages = 2
    history_bytes = 2
    history_age = "2s"
    flush_interval = "2s"
    publish_rate = 2
    publish_burst = 2
    disconnect = { scope = "topic", code = 1001, reason = "x" }
"#;

struct Row {
    /// `Options`, ...
    of: String,
    field: Option<String>,
    /// From the section on: `["limits", "direct_lane", "bytes_max"]`.
    key: Option<Vec<String>>,
    default: String,
    least: String,
    most: String,
    unit: String,
}

fn rows() -> Vec<Row> {
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let (mut of, mut section, mut rows) = (String::new(), String::new(), Vec::new());
    for line in CHAPTER.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let names = quoted(heading);
            (of, section) = (names[0].clone(), names.get(1).cloned().unwrap_or_default());
        }
        let is_row = line.starts_with("| `") || line.starts_with("| – ");
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if !is_row {
            continue;
        }
        let [_, field, key, default, least, most, unit, what, _] = cells[..] else { panic!("seven cells: {line}") };
        assert!(!what.is_empty(), "{line}");
        let key = quoted(key).pop().map(|key| path(&section, &key));
        rows.push(Row {
            of: of.clone(),
            field: quoted(field).pop(),
            key,
            default: default.trim_matches('`').to_owned(),
            least: least.to_owned(),
            most: most.to_owned(),
            unit: unit.to_owned(),
        });
    }
    rows
}

/// `a.b` in the section, or `[section] a.b`.
fn path(section: &str, key: &str) -> Vec<String> {
    let (section, key) = match key.strip_prefix('[') {
        Some(rest) => rest.rsplit_once(']').expect("a section ends"),
        None => (section.trim_matches(['[', ']']), key),
    };
    let names = key.trim().split('.').filter(|name| !name.is_empty());
    std::iter::once(section.trim_matches(['[', ']'])).chain(names).map(str::to_owned).collect()
}

/// A value as it is written in the file.
fn written(value: &str) -> String {
    let is_bare = value.parse::<u128>().is_ok() || value.starts_with('[') || ["true", "false"].contains(&value);
    if is_bare { value.to_owned() } else { format!("{value:?}") }
}

/// A file with one key set to another value: written as `limits.direct_lane.bytes_max = 1`, line by line.
fn with(base: &str, key: &[String], value: &str) -> String {
    let mut values = BTreeMap::new();
    let mut section = String::new();
    for line in base.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = format!("{}.", line.trim_matches(['[', ']']));
        } else if let Some((key, value)) = line.split_once(" = ") {
            let key = if key.contains('.') { key.to_owned() } else { format!("{section}{key}") };
            match value.strip_prefix("{ ").and_then(|inline| inline.strip_suffix(" }")) {
                None => drop(values.insert(key, value.to_owned())),
                Some(inline) => values.extend(inline.split(", ").map(|pair| {
                    let (below, value) = pair.split_once(" = ").unwrap();
                    (format!("{key}.{below}"), value.to_owned())
                })),
            }
        }
    }
    values.insert(key.join("."), written(value));
    values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}

fn all_fields(settings: &Settings) -> BTreeMap<String, String> {
    let of = |of: &str, fields: Fields| -> Vec<_> {
        fields.into_iter().map(|(name, value)| (format!("{of} {name}"), value)).collect()
    };
    let server_fields = of("ServerOptions", server(&settings.server));
    let hub_fields = of("Options", hub(&settings.server.hub));
    let topic_fields = of("TopicOptions", topic(&settings.server.hub.topic_defaults));
    let deflate_fields = of("DeflateOptions", deflate(&settings.server.hub.deflate.unwrap_or_default()));
    server_fields.into_iter().chain(hub_fields).chain(topic_fields).chain(deflate_fields).collect()
}

/// Bytes, milliseconds or a number.
fn number(text: &str) -> Option<i128> {
    let millis = parse_duration(text).map(|duration| i128::try_from(duration.as_millis()).unwrap());
    millis.or_else(|| parse_size(text).map(i128::from))
}

fn plain(text: &str) -> String {
    number(text).map_or_else(|| text.to_owned(), |number| number.to_string())
}

#[test]
fn each_field_and_each_key_has_one_row_and_its_default_is_the_real_one() {
    let rows = rows();
    let mut fields = all_fields(&Settings::default());
    fields
        .extend(lane(&LaneOptions::default()).into_iter().map(|(name, value)| (format!("LaneOptions {name}"), value)));
    fields.extend(
        client(&ClientOptions::default()).into_iter().map(|(name, value)| (format!("ClientOptions {name}"), value)),
    );
    let mut told = BTreeMap::new();
    for Row { of, field, default, .. } in &rows {
        if let Some(field) = field {
            assert_eq!(told.insert(format!("{of} {field}"), plain(default)), None, "{of} {field} has one row");
        }
    }
    assert_eq!(told, fields);

    let mut keys: Vec<_> = rows.iter().filter_map(|row| row.key.as_ref()).map(|key| key.join(" ")).collect();
    keys.sort();
    let mut known = Vec::new();
    for section in [
        "server",
        "limits",
        "limits direct_lane",
        "limits watermarks",
        "limits rates",
        "deflate",
        "defaults",
        "defaults disconnect",
    ] {
        let lines = refused(&format!("[{}]\nno = 1\n", section.replace(' ', ".")));
        let there = lines[0].split("there are ").nth(1).unwrap().split(", ");
        known.extend(there.map(|key| format!("{section} {key}")));
    }
    known.retain(|key| !["direct_lane", "watermarks", "rates", "disconnect"].iter().any(|table| key.ends_with(table)));
    known.extend(["limits", "defaults", "topics", "topics name"].map(str::to_owned));
    known.sort();
    assert_eq!(keys, known);
    // A declared topic has the keys of the defaults, but for these.
    let lines = |section: &str| refused(&format!("{section}\nno = 1\n")).pop().unwrap();
    let of_topic = lines("[[topics]]").split("there are name, ").nth(1).unwrap().to_owned();
    assert_eq!(lines("[defaults]").split("there are create, ").nth(1), Some(of_topic.as_str()));

    // What the file says by default is what is said here.
    let example = include_str!("../../forebay.example.toml");
    for row in rows.iter().filter(|row| row.key.as_ref().is_some_and(|key| key.len() > 1)) {
        let key = row.key.as_ref().unwrap();
        if key.join(" ") != "topics name" {
            let settings = parsed(&with(example, key, &row.default));
            assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()), "{key:?}");
        }
    }
}

/// The value of a limit: a number, or `[N *] key [+ N | - N | / N]` where everything else is as by default.
fn limit(rows: &[Row], section: &str, text: &str) -> (i128, bool) {
    if let Some(number) = number(text) {
        return (number, false);
    }
    let (before, rest) = text.split_once('`').unwrap_or_else(|| panic!("a number or a key: {text}"));
    let (key, after) = rest.split_once('`').unwrap();
    let key = path(section, key);
    let of = rows.iter().find(|row| row.key.as_ref() == Some(&key)).unwrap_or_else(|| panic!("{key:?}"));
    let factor = before.trim().trim_end_matches('*').trim();
    let value = number(&of.default).unwrap() * if factor.is_empty() { 1 } else { factor.parse().unwrap() };
    let after: Vec<_> = after.split_whitespace().collect();
    let value = match after[..] {
        [] => value,
        ["+", more] => value + more.parse::<i128>().unwrap(),
        ["-", less] => value - less.parse::<i128>().unwrap(),
        ["/", parts] => value / parts.parse::<i128>().unwrap(),
        _ => panic!("{text}"),
    };
    (value, true)
}

#[test]
fn the_least_and_the_most_are_taken_and_the_next_are_refused() {
    let rows = rows();
    let mut tried = 0;
    for row in &rows {
        let Some(key) = row.key.as_ref().filter(|key| key.len() > 1) else { continue };
        let of = &key[0];
        let unit = |value: i128| if row.unit == "duration" { format!("{value}ms") } else { value.to_string() };
        for (cell, step) in [(&row.least, -1), (&row.most, 1)] {
            for text in cell.split(',').map(str::trim).filter(|text| *text != "–") {
                let (edge, is_other) = limit(&rows, of, text);
                let base = base(key, is_other);
                let accepted = parsed(&with(&base, key, &unit(edge)));
                if !is_other {
                    // And it is that field, and no other.
                    let field = format!("{} {}", row.of, row.field.as_ref().unwrap());
                    let (before, after) = (all_fields(&parsed(&base)), all_fields(&accepted));
                    let changed: Vec<_> = after.iter().filter(|(name, value)| before[*name] != **value).collect();
                    assert_eq!(changed, [(&field, &edge.to_string())], "{key:?}");
                }
                if edge + step >= 0 {
                    let lines = refused(&with(&base, key, &unit(edge + step)));
                    let other = text.split('`').nth(1).map(|other| path(of, other).pop().unwrap());
                    let names = |line: &str| {
                        let is_named = |name: &String| line.contains(&format!(" {name}: "));
                        is_named(key.last().unwrap()) || other.as_ref().is_some_and(is_named)
                    };
                    assert!(lines.len() == 1 && names(&lines[0]), "{key:?} = {}: {lines:?}", edge + step);
                    tried += 1;
                }
            }
        }
        each_choice(row, key);
    }
    assert!(tried > 90, "{tried}");
}

/// A file in which the edges of a key are to be seen.
fn base(key: &[String], is_other: bool) -> String {
    let name = key.last().unwrap().as_str();
    match name {
        _ if is_other && name.starts_with("keys") => "[defaults]\npolicy = \"latest-per-key\"\n".to_owned(),
        _ if is_other => String::new(),
        "age_max" => {
            with(&with(WIDE, &path("defaults", "policy"), "drop-oldest"), &path("defaults", "delivery"), "best-effort")
        }
        _ => WIDE.to_owned(),
    }
}

/// Each of the words that the table knows is taken, and another is not.
fn each_choice(row: &Row, key: &[String]) {
    let words: Vec<_> = row.unit.split("`\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    if words.is_empty() {
        return;
    }
    let base = if key.last().unwrap() == "delivery" { "[defaults]\npolicy = \"block\"\n" } else { "" };
    let values: Vec<_> = words.iter().map(|word| all_fields(&parsed(&with(base, key, word)))).collect();
    let field = format!("{} {}", row.of, row.field.as_ref().unwrap());
    for (word, fields) in words.iter().zip(&values) {
        assert_eq!(fields[&field], *word, "{field}");
    }
    let lines = refused(&with(base, key, "other"));
    assert!(words.iter().all(|word| lines[0].contains(&format!("{word:?}"))), "{lines:?}");
}

#[test]
fn limits_of_a_subscription_hold_to_the_last_one() {
    let rows = rows();
    let config = forebay_core::Config::try_from(forebay_core::Options::default()).unwrap();
    let mut hub = Hub::new(config, [1; 32], Instant::ZERO);
    let topic = hub.topic("t", TopicOptions::default()).unwrap();
    let mut tried = 0;
    let mut subscribe = |field: &str, value: i128| {
        let bytes = u64::try_from(value).ok();
        let number = || u32::try_from(value).ok();
        let mut lane = LaneOptions::with_policy(Policy::DropNewest);
        match field {
            "messages_max" => lane.messages_max = Some(number()?),
            "bytes_max" => lane.bytes_max = Some(bytes?),
            "age_max" => lane.age_max = Some(Duration::from_millis(bytes?)),
            "credit" => lane.credit = Some(number()?),
            _ => panic!("{field}"),
        }
        let made = hub.subscribe_local(topic, lane, Start::Latest, Instant::ZERO);
        tried += 1;
        Some(made.map(|lane| assert!(hub.unsubscribe_local(lane, Instant::ZERO))))
    };
    for row in rows.iter().filter(|row| row.of == "LaneOptions") {
        for (cell, step) in [(&row.least, -1), (&row.most, 1)] {
            if cell != "–" {
                let (edge, _) = limit(&rows, "defaults", cell);
                let field = row.field.as_ref().unwrap();
                assert_eq!(subscribe(field, edge), Some(Ok(())), "{field} {edge}");
                let refused = subscribe(field, edge + step);
                // What the type does not hold cannot be asked for.
                assert!(matches!(refused, None | Some(Err(SubscribeError::InvalidLimits))), "{field} {refused:?}");
            }
        }
    }
    assert_eq!(tried, 12);
}
