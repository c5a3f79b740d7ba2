//! The keys of a topic, in `[defaults]` and `[[topics]]`.

use forebay_core::{AtLeastOnce, Delivery, History, Options, Policy, Rate, TopicOptions};

use super::refuse;
use super::section::Section;
use super::value::{self, Burst, Kept, count, duration, size};

/// What `[defaults]` says, or is built in, of keys that hold only together with others: a topic that names those others
/// has these. (The limits of keys follow the limits of its lanes: whoever lowers those alone is not told to lower these, too.)
#[derive(Clone, Copy, Default)]
pub(super) struct Written {
    keys_max: Option<u32>,
    keys_bytes_max: Option<u64>,
    at_least_once: AtLeastOnce,
    history: History,
    publish_rate: Option<u32>,
    publish_burst: Burst,
}

pub(super) fn read_defaults<'a>(hub: &mut Options, mut section: Section<'a>) -> (Section<'a>, Written) {
    section.read("create", &mut hub.create_topics, value::create);
    let written = read_topic(&mut section, &mut hub.topic_defaults, Written::default());
    let section = section.finish();
    if let Err(error) = hub.topic_defaults.check() {
        refuse(&section, error);
    }
    (section, written)
}

/// Reads a topic's keys; `written` holds where it does not say its own. Returns what holds for those below.
pub(super) fn read_topic(section: &mut Section<'_>, topic: &mut TopicOptions, mut written: Written) -> Written {
    section.read("policy", &mut topic.policy, value::policy);
    section.read("choices", &mut topic.choices, value::choices);
    section.read("messages_max", &mut topic.lane.messages_max, count);
    section.read("bytes_max", &mut topic.lane.bytes_max, size);
    section.read("age_max", &mut topic.age_max, value::duration_or_none);
    if !section.has("age_max") {
        // The defaults' is for policies that lose.
        topic.age_max = topic.age_max.filter(|_| topic.policy.is_lossy());
    }
    section.read("message_bytes_max", &mut topic.message_bytes_max, size);
    section.read("log_bytes_max", &mut topic.log_bytes_max, size);
    read_keys(section, topic, &mut written);
    read_delivery(section, topic, &mut written);
    read_history(section, topic, &mut written);
    section.read("keeps_latest", &mut topic.keeps_latest, value::truth);
    section.read("class", &mut topic.class, value::class);
    section.read("flush_interval", &mut topic.flush_interval, value::duration_or_none);
    section.read("publish_rate", &mut written.publish_rate, value::count_or_none);
    section.read("publish_burst", &mut written.publish_burst, value::burst);
    let rate = |per_second| Rate { per_second, burst: written.publish_burst.of(per_second) };
    topic.publish_rate = written.publish_rate.map(rate);
    section.read("publish_excess", &mut topic.publish_excess, value::excess);
    section.read("publish_ids_max", &mut topic.publish_ids_max, count);
    section.read("deflate", &mut topic.deflate, value::truth);
    let mut disconnect = section.section("disconnect", &format!("{} disconnect", section.title()));
    disconnect.read("scope", &mut topic.disconnect.scope, value::scope);
    disconnect.read("code", &mut topic.disconnect.code, value::close_code);
    disconnect.read("reason", &mut topic.disconnect.reason, value::close_reason);
    disconnect.finish();
    written
}

fn read_keys(section: &mut Section<'_>, topic: &mut TopicOptions, written: &mut Written) {
    let built_in = TopicOptions::default();
    let mut keys_max = written.keys_max.unwrap_or(built_in.keys_max);
    let mut keys_bytes_max = written.keys_bytes_max.unwrap_or(built_in.keys_bytes_max);
    section.read("keys_max", &mut keys_max, count);
    section.read("keys_bytes_max", &mut keys_bytes_max, size);
    (written.keys_max, written.keys_bytes_max) = (Some(keys_max), Some(keys_bytes_max));
    topic.keys_max = match section.has("keys_max") {
        true => keys_max,
        false => keys_max.min(topic.lane.messages_max),
    };
    topic.keys_bytes_max = match section.has("keys_bytes_max") {
        true => keys_bytes_max,
        // They hold one message at least.
        false => keys_bytes_max.max(topic.message_bytes_max.into()).min(topic.lane.bytes_max),
    };
}

fn read_delivery(section: &mut Section<'_>, topic: &mut TopicOptions, written: &mut Written) {
    let numbers = &mut written.at_least_once;
    section.read("delivery", &mut topic.delivery, value::delivery);
    section.read("in_flight_max", &mut numbers.in_flight_max, count);
    section.read("ack_timeout", &mut numbers.ack_timeout, duration);
    section.read("attempts_max", &mut numbers.attempts_max, count);
    // Numbers are good or not, whether or not they are in force here.
    let in_force = TopicOptions { delivery: Delivery::AtLeastOnce(*numbers), ..TopicOptions::default() };
    if let Err(error) = (TopicOptions { policy: Policy::Block, ..in_force }).check() {
        refuse(section, error);
        *numbers = AtLeastOnce::default();
    }
    if topic.delivery != Delivery::BestEffort {
        // The defaults' is for policies that can.
        let is_meant = section.has("delivery") || topic.policy.can_be_at_least_once();
        topic.delivery = if is_meant { Delivery::AtLeastOnce(*numbers) } else { Delivery::BestEffort };
    }
}

fn read_history(section: &mut Section<'_>, topic: &mut TopicOptions, written: &mut Written) {
    let history = &mut written.history;
    let mut kept = Kept::Messages(history.messages_max);
    section.read("history_messages", &mut kept, value::kept);
    section.read("history_bytes", &mut history.bytes_max, size);
    section.read("history_age", &mut history.age_max, value::duration_or_none);
    if let Kept::Messages(messages_max) = kept {
        history.messages_max = messages_max;
    }
    if let Err(error) = (TopicOptions { history: Some(*history), ..TopicOptions::default() }).check() {
        refuse(section, error);
        *history = History::default();
    }
    let is_named = ["history_messages", "history_bytes", "history_age"].iter().any(|key| section.has(key));
    topic.history = match kept {
        Kept::Nothing => None,
        Kept::Messages(_) if is_named || topic.history.is_some() => Some(*history),
        Kept::Messages(_) => None,
    };
}
