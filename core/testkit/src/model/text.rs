//! What goes over the wire, written from RFC 6455 and `forebay.md`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mini::frame;

/// Appends a server's frame.
pub(crate) fn frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.extend(frame::encode(true, opcode, payload, None));
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text")
}

/// A member `id`, where there is one.
pub(crate) fn id_member(id: Option<&str>) -> String {
    id.map_or(String::new(), |id| format!(",\"id\":{id}"))
}

/// The members that are a payload.
pub(crate) fn data_member(is_text: bool, bytes: &[u8]) -> String {
    if is_text {
        format!(",\"data\":{}", std::str::from_utf8(bytes).expect("text"))
    } else {
        format!(",\"data64\":\"{}\"", STANDARD.encode(bytes))
    }
}

/// A message of a topic; names are quoted.
pub(crate) fn message(topic: &str, seq: u64, key: &str, is_text: bool, bytes: &[u8]) -> String {
    let mut text = format!("{{\"op\":\"message\",\"topic\":{topic},\"seq\":{seq}");
    if key != "\"\"" {
        write!(text, ",\"key\":{key}").expect("a text");
    }
    text + &data_member(is_text, bytes) + "}"
}

/// One frame at the beginning of these bytes: opcode, payload, length of all of it.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, second, rest) = match bytes {
        [first, second, rest @ ..] => (*first, *second, rest),
        _ => return None,
    };
    let (len, head): (usize, usize) = match second {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
        len => (usize::from(len), 2),
    };
    let payload = bytes.get(head..head.checked_add(len)?)?;
    Some((first, payload, head + len))
}
