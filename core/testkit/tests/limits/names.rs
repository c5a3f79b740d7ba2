//! The limits there are: as options print themselves, with everything set that may be, and as the source has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use forebay_core::{AtLeastOnce, DeflateOptions, Delivery, History, LaneOptions, Options, Policy, Rate, TopicOptions};

/// What is no limit, and why.
pub(crate) const OTHERS: &[(&str, &str)] = &[
    ("Options.create_topics", "who may, not how much"),
    ("Options.inbound_excess", "what becomes of it: see the rates"),
    ("Options.deflate.level", "a choice of time or size"),
    ("Options.deflate.memory_level", "a choice of memory or size"),
    ("Options.deflate.window_bits", "a choice of memory or size"),
    ("Options.deflate.direct", "whether, not how much"),
    ("TopicOptions.policy", "what becomes of it: see the lanes"),
    ("TopicOptions.choices", "which may be chosen, not how much"),
    ("TopicOptions.disconnect.code", "how a lane ends that is full"),
    ("TopicOptions.disconnect.reason", "what is said then: cut as any, see REASON_BYTES_MAX"),
    ("TopicOptions.disconnect.scope", "how a lane ends that is full"),
    ("TopicOptions.keeps_latest", "whether, not how much: see keys_max"),
    ("TopicOptions.class", "in which order, not how much"),
    ("TopicOptions.publish_excess", "what becomes of it: see the rates"),
    ("TopicOptions.deflate", "whether, not how much"),
    ("LaneOptions.policy", "one of the topic's choices"),
    ("LaneOptions.at_least_once", "whether, not how much"),
    ("const HEADER_BYTES_MAX", "what a header takes at most, by its form"),
    ("const RESIDENT_BYTES", "what an inflater takes, by its form"),
];

/// Everything set that may be, so that it shows.
fn set_options() -> Options {
    let rate = Some(Rate { per_second: 1, burst: 1 });
    Options {
        inbound_rate: rate,
        inbound_bytes_rate: rate,
        outbound_bytes_rate: rate,
        deflate: Some(DeflateOptions::default()),
        ..Options::default()
    }
}

fn set_topic() -> TopicOptions {
    TopicOptions {
        age_max: Some(Duration::from_secs(1)),
        delivery: Delivery::AtLeastOnce(AtLeastOnce::default()),
        history: Some(History { messages_max: 1, bytes_max: 1, age_max: Some(Duration::from_secs(1)) }),
        flush_interval: Some(Duration::from_secs(1)),
        publish_rate: Some(Rate { per_second: 1, burst: 1 }),
        ..TopicOptions::default()
    }
}

fn set_lane() -> LaneOptions {
    LaneOptions {
        policy: Some(Policy::DropOldest),
        messages_max: Some(1),
        bytes_max: Some(1),
        age_max: Some(Duration::from_secs(1)),
        at_least_once: Some(true),
        credit: Some(1),
    }
}

/// All limits by name, with their defaults: of an option that is `None` by default, that.
pub(crate) fn all() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut add = |name: &str, set: &str, default: &str| {
        let defaults = leaves(default);
        for path in leaves(set).into_keys() {
            // The topic's options are looked at on their own.
            if path.starts_with("topic_defaults.") {
                continue;
            }
            let parents = path.match_indices('.').map(|(at, _)| &path[..at]).chain([path.as_str()]);
            let default = parents.rev().find_map(|parent| defaults.get(parent)).expect("it has a default");
            all.insert(format!("{name}.{path}"), default.clone());
        }
    };
    add("Options", &format!("{:#?}", set_options()), &format!("{:#?}", Options::default()));
    add("TopicOptions", &format!("{:#?}", set_topic()), &format!("{:#?}", TopicOptions::default()));
    add("LaneOptions", &format!("{:#?}", set_lane()), &format!("{:#?}", LaneOptions::default()));
    all.extend(constants());
    all
}

/// The leaves of what `{:#?}` wrote, by their path. Names of types and variants, and `Some`, are no part of a path.
fn leaves(text: &str) -> BTreeMap<String, String> {
    let mut path: Vec<&str> = Vec::new();
    let mut leaves: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if matches!(line, "}" | "}," | ")" | "),") {
            path.pop();
            continue;
        }
        let (name, value) = line.split_once(": ").unwrap_or(("", line));
        path.push(name);
        if !line.ends_with(['{', '(']) {
            let named: Vec<&str> = path.iter().copied().filter(|name| !name.is_empty()).collect();
            leaves.insert(named.join("."), value.trim_end_matches(',').to_string());
            path.pop();
        }
    }
    assert!(path.is_empty(), "{text}");
    leaves
}

/// The public constants of the source that are numbers.
fn constants() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../src"), &mut |source| {
        for line in source.lines().map(str::trim) {
            let Some((name, rest)) = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": ")) else {
                continue;
            };
            if let Some((kind, value)) =
                rest.split_once(" = ").filter(|(kind, _)| matches!(*kind, "u32" | "u64" | "usize"))
            {
                assert!(!kind.is_empty());
                all.insert(format!("const {name}"), value.trim_end_matches(';').to_string());
            }
        }
    });
    assert!(all.len() >= 8, "{all:?}");
    all
}

fn visit(folder: &Path, look: &mut dyn FnMut(&str)) {
    for entry in std::fs::read_dir(folder).expect("the source") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&std::fs::read_to_string(&path).expect("text"));
        }
    }
}

#[test]
fn options_that_are_set_show_what_is_in_them() {
    let leaves = leaves(&format!("{:#?}", set_topic()));
    assert_eq!(leaves["history.age_max"], "1s");
    assert_eq!(leaves["publish_rate.burst"], "1");
    assert_eq!(leaves["delivery.in_flight_max"], "32");
    // None is left that could hide more.
    for text in [format!("{:#?}", set_options()), format!("{:#?}", set_topic()), format!("{:#?}", set_lane())] {
        for (name, value) in self::leaves(&text) {
            assert!(value != "None" || name.starts_with("topic_defaults."), "{name} is to be set in `names`");
        }
    }
}
