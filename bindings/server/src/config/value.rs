//! Values of the configuration: what is written in TOML, as numbers, sizes, durations and names.

use std::time::Duration;

use forebay_core::wire::handshake::Origins;
use forebay_core::wire::{CloseCode, CloseReason};
use forebay_core::{Class, CreateTopics, Delivery, DisconnectScope, Excess, Policies, Policy};
use toml::de::DeValue;

/// Reads one value; the error says what it may be.
pub(crate) type Read<T> = fn(&DeValue<'_>) -> Result<T, String>;

/// A whole number from 1.
pub(crate) fn count<T: TryFrom<u64>>(value: &DeValue<'_>) -> Result<T, String> {
    let max = largest::<T>();
    let number = integer(value).filter(|number| (1..=max).contains(number));
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("must be a whole number from 1 to {max}, not {}", shown(value)))
}

/// Bytes: a whole number, or text such as `"64 KiB"`.
pub(crate) fn size<T: TryFrom<u64>>(value: &DeValue<'_>) -> Result<T, String> {
    let bytes = match value {
        DeValue::String(text) => parse_size(text),
        _ => integer(value),
    };
    bytes.and_then(|bytes| T::try_from(bytes).ok()).ok_or_else(|| {
        format!(
            "must be a number of bytes or text like \"64 KiB\" (units: B, KiB, MiB, GiB), at most {} bytes, not {}",
            largest::<T>(),
            shown(value)
        )
    })
}

/// As [`size`], or `"system"`: left to the operating system.
pub(crate) fn size_or_system(value: &DeValue<'_>) -> Result<Option<u32>, String> {
    if matches!(value, DeValue::String(text) if text == "system") {
        return Ok(None);
    }
    size(value).map(Some).map_err(|problem| problem.replacen("must be", "must be \"system\",", 1))
}

/// A duration: text such as `"30s"`.
pub(crate) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let duration = match value {
        DeValue::String(text) => parse_duration(text),
        _ => None,
    };
    duration.ok_or_else(|| {
        format!("must be text like \"500ms\" or \"30s\" (a whole number; units: ms, s, m, h), not {}", shown(value))
    })
}

/// As `read` reads it, or `"none"`.
fn or_none<T>(value: &DeValue<'_>, read: Read<T>) -> Result<Option<T>, String> {
    if matches!(value, DeValue::String(text) if text == "none") {
        return Ok(None);
    }
    read(value).map(Some).map_err(|problem| problem.replacen("must be", "must be \"none\" or", 1))
}

/// As [`duration`], or `"none"`.
pub(crate) fn duration_or_none(value: &DeValue<'_>) -> Result<Option<Duration>, String> {
    or_none(value, duration)
}

/// As [`count`], or `"none"`.
pub(crate) fn count_or_none(value: &DeValue<'_>) -> Result<Option<u32>, String> {
    or_none(value, count)
}

/// As [`size`], or `"none"`.
pub(crate) fn size_or_none(value: &DeValue<'_>) -> Result<Option<u32>, String> {
    or_none(value, size)
}

/// A whole number from 0.
pub(crate) fn number(value: &DeValue<'_>) -> Result<u8, String> {
    let number = integer(value).and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| format!("must be a whole number from 0 to 255, not {}", shown(value)))
}

/// How much of a rate may come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Burst {
    /// As much as in a second.
    #[default]
    Second,
    /// So many units.
    Units(u32),
}

impl Burst {
    pub(crate) fn of(self, per_second: u32) -> u32 {
        match self {
            Self::Second => per_second,
            Self::Units(units) => units,
        }
    }

    fn read(value: &DeValue<'_>, read: Read<u32>) -> Result<Self, String> {
        if matches!(value, DeValue::String(text) if text == "second") {
            return Ok(Self::Second);
        }
        let units = read(value).map_err(|problem| problem.replacen("must be", "must be \"second\" or", 1))?;
        match units {
            0 => Err("must be at least 1".to_owned()),
            1..=0x8000_0000 => Ok(Self::Units(units)),
            _ => Err("must be at most 2147483648".to_owned()),
        }
    }
}

/// Messages of a burst, or `"second"`.
pub(crate) fn burst(value: &DeValue<'_>) -> Result<Burst, String> {
    Burst::read(value, count)
}

/// Bytes of a burst, or `"second"`.
pub(crate) fn burst_bytes(value: &DeValue<'_>) -> Result<Burst, String> {
    Burst::read(value, size)
}

/// How many messages a topic keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// It has no history.
    Nothing,
    /// So many.
    Messages(u32),
}

/// Messages of a history, or `"none"`.
pub(crate) fn kept(value: &DeValue<'_>) -> Result<Kept, String> {
    if integer(value) == Some(0) {
        return Err("must be at least 1; \"none\" keeps no history".to_owned());
    }
    Ok(count_or_none(value)?.map_or(Kept::Nothing, Kept::Messages))
}

/// Yes or no.
pub(crate) fn truth(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("must be true or false, not {}", shown(value)))
}

/// Text.
pub(crate) fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        _ => Err(format!("must be text in quotes, not {}", shown(value))),
    }
}

/// `HOST:PORT`.
pub(crate) fn listen(value: &DeValue<'_>) -> Result<String, String> {
    parse_listen(&text(value)?)
}

/// `HOST:PORT`, a port of the loopback address, or `"off"`.
pub(crate) fn admin_listen(value: &DeValue<'_>) -> Result<String, String> {
    match integer(value) {
        Some(port) => parse_admin_listen(&port.to_string()),
        None => parse_admin_listen(&text(value)?),
    }
}

/// A topic's policy.
pub(crate) fn policy(value: &DeValue<'_>) -> Result<Policy, String> {
    let policy = value.as_str().and_then(Policy::from_name);
    policy.ok_or_else(|| format!("must be {}, not {}", one_of(Policy::ALL.iter().copied()), shown(value)))
}

/// What subscribers may choose from.
pub(crate) fn choices(value: &DeValue<'_>) -> Result<Policies, String> {
    let wanted = || format!("must be an array of {}", one_of(Policies::LOSSY.iter()));
    let items = value.as_array().ok_or_else(|| format!("{}, not {}", wanted(), shown(value)))?;
    let mut policies = Vec::new();
    for item in items.iter() {
        let policy = item.get_ref().as_str().and_then(Policy::from_name).filter(|policy| *policy != Policy::Block);
        policies.push(policy.ok_or_else(|| match item.get_ref().as_str() {
            Some("block") => "must not hold \"block\": that is the topic's to set".to_owned(),
            _ => format!("{}, but one is {}", wanted(), shown(item.get_ref())),
        })?);
    }
    Ok(Policies::of(&policies))
}

/// Whose pages may connect.
pub(crate) fn origins(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let wanted = "must be an array of origins such as \"https://app.example.com\" (scheme, host, and port unless it is the \
                  scheme's own), or [\"*\"] for any";
    let items = value.as_array().ok_or_else(|| format!("{wanted}, not {}", shown(value)))?;
    let origin = |item: &DeValue<'_>| {
        let origin = item.as_str().filter(|origin| Origins::new().allow(origin).is_ok());
        origin.map(str::to_owned).ok_or_else(|| format!("{wanted}, but one is {}", shown(item)))
    };
    items.iter().map(|item| origin(item.get_ref())).collect()
}

fn one_of(policies: impl Iterator<Item = Policy>) -> String {
    let mut names: Vec<_> = policies.map(|policy| format!("\"{policy}\"")).collect();
    let last = names.pop().unwrap_or_default();
    format!("{} or {last}", names.join(", "))
}

/// What a full lane with the policy `disconnect` ends.
pub(crate) fn scope(value: &DeValue<'_>) -> Result<DisconnectScope, String> {
    match value.as_str() {
        Some("connection") => Ok(DisconnectScope::Connection),
        Some("topic") => Ok(DisconnectScope::Topic),
        _ => Err(format!("must be \"connection\" or \"topic\", not {}", shown(value))),
    }
}

/// Whether subscribers acknowledge; the numbers are keys of their own.
pub(crate) fn delivery(value: &DeValue<'_>) -> Result<Delivery, String> {
    let all = [Delivery::BestEffort, Delivery::at_least_once()];
    let delivery = value.as_str().and_then(|name| all.into_iter().find(|delivery| delivery.name() == name));
    delivery.ok_or_else(|| format!("must be \"best-effort\" or \"at-least-once\", not {}", shown(value)))
}

/// A topic's class.
pub(crate) fn class(value: &DeValue<'_>) -> Result<Class, String> {
    let class = value.as_str().and_then(Class::from_name);
    class.ok_or_else(|| format!("must be \"high\", \"normal\" or \"low\", not {}", shown(value)))
}

/// What becomes of what is beyond a rate.
pub(crate) fn excess(value: &DeValue<'_>) -> Result<Excess, String> {
    match value.as_str() {
        Some("wait") => Ok(Excess::Wait),
        Some("refuse") => Ok(Excess::Refuse),
        _ => Err(format!("must be \"wait\" or \"refuse\", not {}", shown(value))),
    }
}

/// The code of a Close frame.
pub(crate) fn close_code(value: &DeValue<'_>) -> Result<CloseCode, String> {
    let code = integer(value).and_then(|number| CloseCode::new(u16::try_from(number).ok()?));
    code.ok_or_else(|| {
        let allowed = "1000 to 1003, 1007 to 1014 or 3000 to 4999";
        format!("must be a close code that may be sent ({allowed}), not {}", shown(value))
    })
}

/// The reason in a Close frame.
pub(crate) fn close_reason(value: &DeValue<'_>) -> Result<CloseReason, String> {
    let text = text(value)?;
    CloseReason::new(&text).ok_or_else(|| format!("must be at most 123 bytes, not {}", text.len()))
}

/// Who may create topics.
pub(crate) fn create(value: &DeValue<'_>) -> Result<CreateTopics, String> {
    match value {
        DeValue::String(text) if text == "clients" => Ok(CreateTopics::Clients),
        DeValue::String(text) if text == "application" => Ok(CreateTopics::Application),
        _ => Err(format!("must be \"clients\" or \"application\", not {}", shown(value))),
    }
}

/// Checks the form of `HOST:PORT`; the host is looked up when the server listens.
pub(crate) fn parse_listen(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_good = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(':'),
        };
        host_is_good && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    if good {
        return Ok(text.to_owned());
    }
    Err(format!("must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080 (port 0: any free one), not {text:?}"))
}

/// Where the administration listens: only this machine can reach it unless an address is given.
pub(crate) fn parse_admin_listen(text: &str) -> Result<String, String> {
    if text == super::OFF {
        return Ok(text.to_owned());
    }
    let is_port = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    let full = if is_port { format!("127.0.0.1:{text}") } else { text.to_owned() };
    parse_listen(&full).map_err(|_| {
        format!("must be a port of 127.0.0.1 such as 9090, HOST:PORT such as 0.0.0.0:9090, or off, not {text:?}")
    })
}

/// Bytes from `"64 KiB"` or `"65536"`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start()))
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn largest<T: TryFrom<u64>>() -> u64 {
    // Halving 2^64 - 1 visits the largest value of each unsigned type.
    (0..64).map(|shift| u64::MAX >> shift).find(|number| T::try_from(*number).is_ok()).unwrap_or(0)
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Integer(_) => "that number".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_carry_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("64 KiB", Some(65_536)),
            ("64KiB", Some(65_536)),
            (" 2 GiB ", Some(2 << 30)),
            ("1 KB", None),
            ("KiB", None),
            ("-1", None),
            ("1.5 MiB", None),
            ("99999999999999999999", None),
            ("99999999999 GiB", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
        for (text, millis) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("30 s", Some(30_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("30", None),
            ("s", None),
            ("1d", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn addresses_to_listen_on_have_a_host_and_a_port() {
        for good in ["127.0.0.1:8080", "localhost:0", "[::1]:1", "example.org:65535"] {
            assert_eq!(parse_listen(good).as_deref(), Ok(good));
        }
        for bad in ["", "8080", ":8080", "localhost", "::1:8080", "[no]:1", "h:65536", "h:+1", "h:", "[]:1"] {
            let problem = parse_listen(bad).unwrap_err();
            assert!(problem.starts_with("must be HOST:PORT"), "{bad}: {problem}");
        }
    }

    #[test]
    fn the_administration_listens_where_only_this_machine_reaches_it_unless_told() {
        for (text, listen) in [("9090", "127.0.0.1:9090"), ("0", "127.0.0.1:0"), ("[::]:1", "[::]:1"), ("off", "off")] {
            assert_eq!(parse_admin_listen(text).as_deref(), Ok(listen));
        }
        for bad in ["", "65536", "on", ":9090", "-1"] {
            assert!(parse_admin_listen(bad).unwrap_err().starts_with("must be a port of 127.0.0.1"), "{bad}");
        }
    }

    #[test]
    fn the_largest_value_of_a_type() {
        assert_eq!(largest::<u32>(), u64::from(u32::MAX));
        assert_eq!(largest::<u64>(), u64::MAX);
    }
}
