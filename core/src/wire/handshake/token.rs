//! Grammar of field values (RFC 9110 §5.6), in linear passes.

/// `token = 1*tchar` (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_tchar(byte))
}

pub(in crate::wire) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Without the optional white space (SP and HTAB) around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list. Empty ones are passed over, as RFC 9110 §5.6.1.2 asks of a recipient.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a comma-separated list has this element, in any case.
pub(super) fn list_has(value: &[u8], wanted: &[u8]) -> bool {
    list(value).any(|element| element.eq_ignore_ascii_case(wanted))
}

/// `Host = uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2), without the empty host, which no WebSocket URI has.
pub(super) fn is_host(value: &[u8]) -> bool {
    core::str::from_utf8(value).is_ok_and(|value| split_host(value).is_some())
}

/// The name or address of a host, and the digits of its port if there is a colon.
pub(super) fn split_host(value: &str) -> Option<(&str, Option<&str>)> {
    let (host, after) = match value.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            let legal = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if end == 0 || !rest[..end].bytes().all(legal) {
                return None;
            }
            value.split_at(end + 2)
        }
        None => {
            let end = value.bytes().position(|byte| byte == b':').unwrap_or(value.len());
            if end == 0 || !value[..end].bytes().all(is_reg_name) {
                return None;
            }
            value.split_at(end)
        }
    };
    let port = match after.strip_prefix(':') {
        None if after.is_empty() => None,
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits),
        _ => return None,
    };
    Some((host, port))
}

const fn is_reg_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

/// Field values have no control characters but HTAB (RFC 9110 §5.5).
pub(super) fn is_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

/// Fields that the handshake writes, or whose presence would make it another request.
pub(super) fn is_ours(name: &str) -> bool {
    const OURS: [&str; 7] =
        ["Host", "Upgrade", "Connection", "Origin", "Content-Length", "Transfer-Encoding", "Trailer"];
    let prefix = name.as_bytes().get(..14);
    OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
        || prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"Sec-WebSocket-"))
}

/// Visible ASCII, as a request target is; `#` would begin a fragment, which is never sent (RFC 9112 §3.2).
pub(super) fn is_target_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// The value as text, if it is printable ASCII.
pub(super) fn as_text(value: &[u8]) -> Option<&str> {
    let printable = value.iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic());
    core::str::from_utf8(value).ok().filter(|_| printable)
}
