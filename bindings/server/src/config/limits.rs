//! `[limits]`, with what is below it.

use forebay_core::{Config, Options, Rate};

use super::refuse;
use super::section::{Refusals, Section};
use super::value::{self, Burst, count, duration, size};

pub(super) fn read_limits(hub: &mut Options, mut section: Section<'_>, defaults: &Section<'_>, refusals: &Refusals) {
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
    section.read("session_ttl", &mut hub.session_ttl, duration);
    section.read("sessions_max", &mut hub.sessions_max, count);
    section.read("principal_bytes_max", &mut hub.principal_bytes_max, size);
    let mut direct = section.section("direct_lane", "[limits] direct_lane");
    direct.read("messages_max", &mut hub.direct_lane.messages_max, count);
    direct.read("bytes_max", &mut hub.direct_lane.bytes_max, size);
    let direct = direct.finish();
    let mut marks = section.section("watermarks", "[limits] watermarks");
    marks.read("high_percent", &mut hub.watermarks.high_percent, count);
    marks.read("low_percent", &mut hub.watermarks.low_percent, count);
    marks.read("dwell", &mut hub.watermarks.dwell, duration);
    let marks = marks.finish();
    let rates = section.section("rates", "[limits] rates");
    let rates = read_rates(hub, rates);
    let section = section.finish();

    // Only what reads well on its own is checked together: one mistake, one line.
    if !refusals.is_empty() {
        return;
    }
    let Err(error) = Config::try_from(*hub) else { return };
    match error.field.split_once('.') {
        Some(("direct_lane", key)) => direct.refuse(key, error.problem),
        Some(("watermarks", key)) => marks.refuse(key, error.problem),
        // Bursts are as long as rates, or were read within their bounds.
        Some(("inbound_rate", _)) => rates.refuse("inbound_messages_per_second", error.problem),
        Some(("inbound_bytes_rate", _)) => rates.refuse("inbound_bytes_per_second", error.problem),
        Some(("outbound_bytes_rate", _)) => rates.refuse("outbound_bytes_per_second", error.problem),
        _ if error.field == "reserved_percent" => rates.refuse(error.field, error.problem),
        // The one pair across sections: shown where the operator wrote something.
        _ if error.field == "resident_bytes_max" && !section.has(error.field) && defaults.has("log_bytes_max") => {
            defaults.refuse("log_bytes_max", "must be at most [limits] resident_bytes_max");
        }
        _ => refuse(&section, error),
    }
}

fn read_rates<'a>(hub: &mut Options, mut rates: Section<'a>) -> Section<'a> {
    let rate =
        |per_second: Option<u32>, burst: Burst| Some(Rate { per_second: per_second?, burst: burst.of(per_second?) });
    let (mut per_second, mut burst) = (None, Burst::default());
    rates.read("inbound_messages_per_second", &mut per_second, value::count_or_none);
    rates.read("inbound_messages_burst", &mut burst, value::burst);
    hub.inbound_rate = rate(per_second, burst);
    let (mut per_second, mut burst) = (None, Burst::default());
    rates.read("inbound_bytes_per_second", &mut per_second, value::size_or_none);
    rates.read("inbound_bytes_burst", &mut burst, value::burst_bytes);
    hub.inbound_bytes_rate = rate(per_second, burst);
    rates.read("inbound_excess", &mut hub.inbound_excess, value::excess);
    let (mut per_second, mut burst) = (None, Burst::default());
    rates.read("outbound_bytes_per_second", &mut per_second, value::size_or_none);
    rates.read("outbound_bytes_burst", &mut burst, value::burst_bytes);
    hub.outbound_bytes_rate = rate(per_second, burst);
    rates.read("reserved_percent", &mut hub.reserved_percent, value::number);
    rates.finish()
}
