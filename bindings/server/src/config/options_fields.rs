//! The fields of all options by name, as text. Every struct is taken apart without `..`: a field that is new has to be named
//! here, and then in docs/options.md.

use std::time::Duration;

use forebay_core::{
    AtLeastOnce, CreateTopics, DeflateOptions, Delivery, Disconnect, DisconnectScope, Excess, History, LaneLimits,
    LaneOptions, Options, Policies, Rate, TopicOptions, Watermarks,
};
use forebay_threads::{ClientOptions, ServerOptions};

/// Names and values.
pub(super) type Fields = Vec<(String, String)>;

macro_rules! fields {
    ($($name:literal = $value:expr),* $(,)?) => { vec![$(($name.to_owned(), $value.to_string())),*] };
}

/// In milliseconds.
fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn or<T: ToString>(value: Option<T>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

fn excess(excess: Excess) -> &'static str {
    match excess {
        Excess::Wait => "wait",
        Excess::Refuse => "refuse",
    }
}

fn rate(rate: Option<Rate>) -> (String, String) {
    let Some(Rate { per_second, burst }) = rate else { return ("none".to_owned(), "second".to_owned()) };
    (per_second.to_string(), burst.to_string())
}

pub(super) fn server(options: &ServerOptions) -> Fields {
    let ServerOptions {
        hub: _,
        topics,
        documents,
        mode,
        origins,
        protocols,
        on_upgrade,
        notsent_lowat_bytes,
        send_buffer_bytes,
        drain_timeout,
        mailbox_max,
    } = options;
    fields![
        "hub" = "see below",
        "topics" = or(topics.first().map(|(name, _)| name), "none"),
        "documents" = or(documents.first().map(|document| &document.path), "none"),
        "mode" = format!("{mode:?}"),
        "origins" = format!("{origins:?}"),
        "protocols" = or(protocols.first(), "none"),
        "on_upgrade" = or(on_upgrade.as_ref().map(|hook| format!("{hook:?}")), "nobody"),
        "notsent_lowat_bytes" = notsent_lowat_bytes,
        "send_buffer_bytes" = or(*send_buffer_bytes, "system"),
        "drain_timeout" = ms(*drain_timeout),
        "mailbox_max" = mailbox_max,
    ]
}

pub(super) fn hub(options: &Options) -> Fields {
    let Options {
        connections_max,
        topics_max,
        topic_name_bytes_max,
        key_bytes_max,
        lanes_per_session_max,
        create_topics,
        topic_defaults: _,
        resident_bytes_max,
        transmit_bytes_max,
        message_bytes_max,
        inbound_bytes_max,
        reply_bytes_max,
        direct_lane: LaneLimits { messages_max, bytes_max },
        head_bytes_max,
        handshake_timeout,
        message_timeout,
        ping_interval,
        pong_timeout,
        stall_timeout,
        close_timeout,
        block_max,
        watermarks: Watermarks { high_percent, low_percent, dwell },
        session_ttl,
        sessions_max,
        principal_bytes_max,
        inbound_rate,
        inbound_bytes_rate,
        inbound_excess,
        outbound_bytes_rate,
        reserved_percent,
        deflate,
    } = *options;
    let create = match create_topics {
        CreateTopics::Clients => "clients",
        CreateTopics::Application => "application",
    };
    let (inbound, inbound_bytes, outbound) = (rate(inbound_rate), rate(inbound_bytes_rate), rate(outbound_bytes_rate));
    fields![
        "connections_max" = connections_max,
        "topics_max" = topics_max,
        "topic_name_bytes_max" = topic_name_bytes_max,
        "key_bytes_max" = key_bytes_max,
        "lanes_per_session_max" = lanes_per_session_max,
        "create_topics" = create,
        "topic_defaults" = "see below",
        "resident_bytes_max" = resident_bytes_max,
        "transmit_bytes_max" = transmit_bytes_max,
        "message_bytes_max" = message_bytes_max,
        "inbound_bytes_max" = inbound_bytes_max,
        "reply_bytes_max" = reply_bytes_max,
        "direct_lane.messages_max" = messages_max,
        "direct_lane.bytes_max" = bytes_max,
        "head_bytes_max" = head_bytes_max,
        "handshake_timeout" = ms(handshake_timeout),
        "message_timeout" = ms(message_timeout),
        "ping_interval" = ms(ping_interval),
        "pong_timeout" = ms(pong_timeout),
        "stall_timeout" = ms(stall_timeout),
        "close_timeout" = ms(close_timeout),
        "block_max" = ms(block_max),
        "watermarks.high_percent" = high_percent,
        "watermarks.low_percent" = low_percent,
        "watermarks.dwell" = ms(dwell),
        "session_ttl" = ms(session_ttl),
        "sessions_max" = sessions_max,
        "principal_bytes_max" = principal_bytes_max,
        "inbound_rate.per_second" = inbound.0,
        "inbound_rate.burst" = inbound.1,
        "inbound_bytes_rate.per_second" = inbound_bytes.0,
        "inbound_bytes_rate.burst" = inbound_bytes.1,
        "inbound_excess" = excess(inbound_excess),
        "outbound_bytes_rate.per_second" = outbound.0,
        "outbound_bytes_rate.burst" = outbound.1,
        "reserved_percent" = reserved_percent,
        "deflate" = deflate.is_some(),
    ]
}

pub(super) fn deflate(options: &DeflateOptions) -> Fields {
    let DeflateOptions { level, memory_level, window_bits, message_bytes_min, direct, context_bytes_max } = *options;
    fields![
        "level" = level,
        "memory_level" = memory_level,
        "window_bits" = window_bits,
        "message_bytes_min" = message_bytes_min,
        "direct" = direct,
        "context_bytes_max" = context_bytes_max,
    ]
}

pub(super) fn topic(options: &TopicOptions) -> Fields {
    let TopicOptions {
        policy,
        choices,
        lane: LaneLimits { messages_max, bytes_max },
        age_max,
        message_bytes_max,
        log_bytes_max,
        keys_max,
        keys_bytes_max,
        disconnect: Disconnect { scope, code, reason },
        delivery,
        history,
        keeps_latest,
        class,
        flush_interval,
        publish_rate,
        publish_excess,
        publish_ids_max,
        deflate,
    } = *options;
    let scope = match scope {
        DisconnectScope::Connection => "connection",
        DisconnectScope::Topic => "topic",
    };
    let numbers = match delivery {
        Delivery::BestEffort => AtLeastOnce::default(),
        Delivery::AtLeastOnce(numbers) => numbers,
    };
    let AtLeastOnce { in_flight_max, ack_timeout, attempts_max } = numbers;
    let kept = history.map(|history| history.messages_max);
    let History { messages_max: _, bytes_max: history_bytes_max, age_max: history_age_max } =
        history.unwrap_or_default();
    let publish = rate(publish_rate);
    fields![
        "policy" = policy,
        "choices" = shown(choices),
        "lane.messages_max" = messages_max,
        "lane.bytes_max" = bytes_max,
        "age_max" = or(age_max.map(ms), "none"),
        "message_bytes_max" = message_bytes_max,
        "log_bytes_max" = log_bytes_max,
        "keys_max" = keys_max,
        "keys_bytes_max" = keys_bytes_max,
        "disconnect.scope" = scope,
        "disconnect.code" = code.get(),
        "disconnect.reason" = reason.as_str(),
        "delivery" = delivery,
        "delivery.in_flight_max" = in_flight_max,
        "delivery.ack_timeout" = ms(ack_timeout),
        "delivery.attempts_max" = attempts_max,
        "history.messages_max" = or(kept, "none"),
        "history.bytes_max" = history_bytes_max,
        "history.age_max" = or(history_age_max.map(ms), "none"),
        "keeps_latest" = keeps_latest,
        "class" = class.name(),
        "flush_interval" = or(flush_interval.map(ms), "none"),
        "publish_rate.per_second" = publish.0,
        "publish_rate.burst" = publish.1,
        "publish_excess" = excess(publish_excess),
        "publish_ids_max" = publish_ids_max,
        "deflate" = deflate,
    ]
}

fn shown(choices: Policies) -> String {
    let names: Vec<_> = choices.iter().map(|policy| format!("\"{policy}\"")).collect();
    format!("[{}]", names.join(", "))
}

pub(super) fn lane(options: &LaneOptions) -> Fields {
    let LaneOptions { policy, messages_max, bytes_max, age_max, at_least_once, credit } = *options;
    fields![
        "policy" = or(policy, "none"),
        "messages_max" = or(messages_max, "none"),
        "bytes_max" = or(bytes_max, "none"),
        "age_max" = or(age_max.map(ms), "none"),
        "at_least_once" = or(at_least_once, "none"),
        "credit" = or(credit, "none"),
    ]
}

pub(super) fn client(options: &ClientOptions) -> Fields {
    let ClientOptions {
        protocols,
        headers,
        hub,
        receive_buffer_bytes,
        send_buffer_bytes,
        notsent_lowat_bytes,
        connect_timeout,
    } = options;
    let direct_lane = LaneLimits { messages_max: 16_384, ..Options::default().direct_lane };
    let is_as_above = *hub == Options { direct_lane, ..Options::default() };
    fields![
        "protocols" = or(protocols.first(), "none"),
        "headers" = or(headers.first().map(|(name, _)| name), "none"),
        "hub" = if is_as_above { "as above" } else { "otherwise" },
        "receive_buffer_bytes" = or(*receive_buffer_bytes, "system"),
        "send_buffer_bytes" = or(*send_buffer_bytes, "system"),
        "notsent_lowat_bytes" = notsent_lowat_bytes,
        "connect_timeout" = ms(*connect_timeout),
    ]
}
