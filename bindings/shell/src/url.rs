//! `ws://host:port/path?query`.

use std::fmt;

/// Where a client connects to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// Name or address, without brackets, to be looked up.
    pub host: String,
    /// The port, 80 unless the URL says otherwise.
    pub port: u16,
    /// What stands in the field `Host`.
    pub authority: String,
    /// Path and query, beginning with `/`.
    pub target: String,
}

/// A URL that cannot be connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with `ws://`.
    Scheme,
    /// `wss://`: there is no TLS here yet.
    Tls,
    /// No host, or one with characters that no host has.
    Host,
    /// Not a port.
    Port,
    /// A user or password stands before the host.
    UserInfo,
    /// A fragment (RFC 6455 §3 forbids it), a space, or anything that is not visible ASCII.
    Target,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a URL to connect to begins with ws://",
            Self::Tls => "wss:// is not supported yet: use ws://, or a TLS proxy",
            Self::Host => "the URL has no valid host",
            Self::Port => "the URL's port is not a number from 1 to 65535",
            Self::UserInfo => "user and password do not belong into the URL: use an Authorization header",
            Self::Target => "the URL's path has a fragment or characters that must be percent-encoded",
        })
    }
}

impl std::error::Error for UrlError {}

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => {}
            "wss" => return Err(UrlError::Tls),
            _ => return Err(UrlError::Scheme),
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if target.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
            return Err(UrlError::Target);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None | Some("") => 80,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?
            }
            Some(_) => return Err(UrlError::Port),
        };
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self {
            host: name.to_owned(),
            port,
            authority: if port == 80 { host.to_owned() } else { format!("{host}:{port}") },
            target: if target.starts_with('/') { target.to_owned() } else { format!("/{target}") },
        })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(UrlError::Host)?;
        let (host, rest) = authority.split_at(end + 1);
        host[1..end].parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        return match rest {
            "" => Ok((host, None)),
            _ => Ok((host, Some(rest.strip_prefix(':').ok_or(UrlError::Host)?))),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(UrlError::Host);
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, authority, target) in [
            ("ws://example.org", "example.org", 80, "example.org", "/"),
            ("WS://example.org:80/", "example.org", 80, "example.org", "/"),
            ("ws://127.0.0.1:8080/a/b?c=d", "127.0.0.1", 8080, "127.0.0.1:8080", "/a/b?c=d"),
            ("ws://[::1]:9/x", "::1", 9, "[::1]:9", "/x"),
            ("ws://[::1]", "::1", 80, "[::1]", "/"),
            ("ws://h:?q", "h", 80, "h", "/?q"),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port), "{url}");
            assert_eq!((parsed.authority.as_str(), parsed.target.as_str()), (authority, target), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_told_apart() {
        for (url, error) in [
            ("", UrlError::Scheme),
            ("example.org", UrlError::Scheme),
            ("http://example.org", UrlError::Scheme),
            ("wss://example.org", UrlError::Tls),
            ("ws://", UrlError::Host),
            ("ws:///path", UrlError::Host),
            ("ws://a b/", UrlError::Host),
            ("ws://[::1", UrlError::Host),
            ("ws://[::1]9", UrlError::Host),
            ("ws://[no]", UrlError::Host),
            ("ws://h:0", UrlError::Port),
            ("ws://h:65536", UrlError::Port),
            ("ws://h:+80", UrlError::Port),
            ("ws://user@h", UrlError::UserInfo),
            ("ws://h/#f", UrlError::Target),
            ("ws://h/a b", UrlError::Target),
            ("ws://h/ü", UrlError::Target),
        ] {
            assert_eq!(Url::parse(url), Err(error), "{url}");
        }
    }
}
