//! Grammar of field values (RFC 9110 §5.6), in linear passes.

/// `token = 1*tchar` (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
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
    let port = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else {
                return false;
            };
            let (name, after) = rest.split_at(end);
            let legal = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if name.is_empty() || !name.iter().all(legal) {
                return false;
            }
            &after[1..]
        }
        _ => {
            let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
            let (name, after) = value.split_at(end);
            if name.is_empty() || !name.iter().all(|&byte| is_reg_name(byte)) {
                return false;
            }
            after
        }
    };
    match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
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

/// Visible ASCII, as a request target is; `#` would begin a fragment, which is never sent (RFC 9112 §3.2).
pub(super) fn is_target_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// The value as text, if it is printable ASCII.
pub(super) fn as_text(value: &[u8]) -> Option<&str> {
    let printable = value.iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic());
    core::str::from_utf8(value).ok().filter(|_| printable)
}
