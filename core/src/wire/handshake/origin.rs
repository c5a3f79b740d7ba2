//! Which pages a server is for (RFC 6455 §10.2).
//!
//! A browser lets any page open a WebSocket to any host, with the cookies of that host, and says in Origin which page it
//! is. It is the server that has to turn strangers away.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::token::split_host;

/// The origins whose pages a server answers; at first none but its own.
///
/// ```
/// use forebay_core::wire::handshake::Origins;
/// let mut origins = Origins::new();
/// origins.allow("https://app.example.com").unwrap();
/// let admits = |origin| origins.admits(Some(origin), "ws.example.com:8443");
/// assert!(admits("https://ws.example.com:8443") && admits("https://app.example.com"));
/// assert!(!admits("https://app.example.com.evil.net") && !admits("http://app.example.com") && !admits("null"));
/// assert!(origins.admits(None, "ws.example.com:8443")); // No browser: it could say whatever it likes.
/// ```
#[derive(Clone, Debug, Default)]
pub struct Origins {
    listed: Vec<Listed>,
    takes_any: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Listed {
    /// Of sandboxed frames, local files and some redirections: nobody knows whose.
    Null,
    Page {
        scheme: Box<str>,
        host: Box<str>,
        port: Option<u16>,
    },
}

/// What is neither an origin (`https://app.example.com:8443`: scheme, host, and port unless it is the scheme's own), nor
/// `null`, nor `*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct InvalidOrigin;

impl core::fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not an origin: scheme://host or scheme://host:port, null, or * for any")
    }
}

impl core::error::Error for InvalidOrigin {}

impl Origins {
    /// None but the server's own.
    #[must_use]
    pub const fn new() -> Self {
        Self { listed: Vec::new(), takes_any: false }
    }

    /// Admits pages of one more origin: of exactly this scheme, host and port. There are no patterns; `*` by itself
    /// admits all pages, and `null` those that have no origin of their own.
    ///
    /// # Errors
    /// It is no origin.
    pub fn allow(&mut self, origin: &str) -> Result<(), InvalidOrigin> {
        let listed = match origin {
            "*" => {
                self.takes_any = true;
                return Ok(());
            }
            "null" => Listed::Null,
            // A star is legal in a host's name, and would be taken for a pattern by whoever wrote it.
            _ => Parts::of(origin).filter(|parts| !parts.host.contains('*')).ok_or(InvalidOrigin)?.to_listed(),
        };
        if !self.listed.contains(&listed) {
            self.listed.push(listed);
        }
        Ok(())
    }

    /// Whether a request with this Origin and this Host (which was found valid) is to be answered. Without an Origin it
    /// comes from no page.
    ///
    /// A page is the server's own if it has the host and port that Host names; a port that is not named is the one of the
    /// page's scheme, so that it holds behind a proxy that speaks TLS, too (which then has to pass Host on).
    #[must_use]
    pub fn admits(&self, origin: Option<&str>, host: &str) -> bool {
        let Some(origin) = origin.filter(|_| !self.takes_any) else { return true };
        if origin == "null" {
            return self.listed.contains(&Listed::Null);
        }
        let Some(parts) = Parts::of(origin) else { return false };
        parts.is_of_host(host) || self.listed.iter().any(|listed| parts.is(listed))
    }
}

/// An origin as RFC 6454 §6.2 writes it.
#[derive(Clone, Copy)]
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    /// The scheme's own where none is named.
    port: Option<u16>,
}

impl<'a> Parts<'a> {
    fn of(origin: &'a str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let is_scheme_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(is_scheme_char) {
            return None;
        }
        let (host, port) = split_host(authority)?;
        let port = match port {
            None => default_port(scheme),
            Some(digits) => Some(digits.parse().ok()?),
        };
        Some(Self { scheme, host, port })
    }

    fn to_listed(self) -> Listed {
        let lower = |text: &str| text.to_ascii_lowercase().into();
        Listed::Page { scheme: lower(self.scheme), host: lower(self.host), port: self.port }
    }

    fn is(self, listed: &Listed) -> bool {
        matches!(listed, Listed::Page { scheme, host, port } if self.port == *port
            && self.scheme.eq_ignore_ascii_case(scheme) && self.host.eq_ignore_ascii_case(host))
    }

    /// Whether it is served under this host. What is not served by HTTP is nobody's.
    fn is_of_host(self, host: &str) -> bool {
        let (Some(default), Some((name, port))) = (default_port(self.scheme), split_host(host)) else { return false };
        let port = match port {
            None | Some("") => Some(default), // `Host: h:` names none either (RFC 3986 §3.2.3).
            Some(digits) => digits.parse().ok(),
        };
        self.port == port && self.host.eq_ignore_ascii_case(name)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    match () {
        () if is("https") || is("wss") => Some(443),
        () if is("http") || is("ws") => Some(80),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(listed: &[&str]) -> Origins {
        let mut origins = Origins::new();
        listed.iter().for_each(|origin| origins.allow(origin).unwrap());
        origins
    }

    #[test]
    fn pages_of_the_host_itself() {
        for (origin, host, is_own) in [
            ("http://example.com", "example.com", true),
            ("https://example.com", "example.com", true),
            ("http://EXAMPLE.com", "example.COM", true),
            ("http://example.com", "example.com:80", true),
            ("http://example.com:80", "example.com", true),
            ("https://example.com", "example.com:443", true),
            ("https://example.com:443", "example.com:", true),
            ("http://example.com:8080", "example.com:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://[::1]", "[::1]", true),
            ("ws://example.com", "example.com", true),
            // Another port, another host, another machine.
            ("http://example.com:8080", "example.com", false),
            ("http://example.com", "example.com:8080", false),
            ("https://example.com", "example.com:80", false),
            ("http://example.com", "example.com:443", false),
            ("http://example.com:8080", "example.com:18080", false),
            ("http://example.com:65616", "example.com", false),
            ("http://example.com.evil.net", "example.com", false),
            ("http://evil-example.com", "example.com", false),
            ("http://example.co", "example.com", false),
            ("http://a.example.com", "example.com", false),
            ("http://example.com.", "example.com", false),
            ("http://[::1]", "[::2]", false),
            ("http://localhost", "127.0.0.1", false),
            // What is no origin, or not one page's.
            ("null", "null", false),
            ("NULL", "null", false),
            ("", "example.com", false),
            ("example.com", "example.com", false),
            ("//example.com", "example.com", false),
            ("://example.com", "example.com", false),
            ("http:/example.com", "example.com", false),
            ("http://", "example.com", false),
            ("http://example.com/", "example.com", false),
            ("http://example.com/x", "example.com", false),
            ("http://example.com?", "example.com", false),
            ("http://example.com:", "example.com", false),
            ("http://example.com:+80", "example.com", false),
            ("http://user@example.com", "example.com", false),
            ("http://example.com http://example.com", "example.com", false),
            ("http://example.com, http://example.com", "example.com", false),
            ("http://evil.net\\@example.com", "example.com", false),
            ("file://example.com", "example.com", false),
            ("chrome-extension://example.com", "example.com", false),
            ("1http://example.com", "example.com", false),
            ("ht tp://example.com", "example.com", false),
        ] {
            assert_eq!(origins(&[]).admits(Some(origin), host), is_own, "{origin} at {host}");
        }
        assert!(origins(&[]).admits(None, "example.com"), "no page");
    }

    #[test]
    fn pages_that_are_listed() {
        let origins =
            origins(&["https://App.example.com", "http://a.test:8080", "app://shell", "https://[2001:DB8::1]"]);
        for (origin, is_listed) in [
            ("https://app.example.com", true),
            ("https://app.example.com:443", true),
            ("HTTPS://APP.EXAMPLE.COM", true),
            ("http://a.test:8080", true),
            ("app://shell", true),
            ("https://[2001:db8::1]", true),
            ("http://app.example.com", false),
            ("wss://app.example.com", false),
            ("https://app.example.com:444", false),
            ("https://app.example.com.evil.net", false),
            ("https://x.app.example.com", false),
            ("https://example.com", false),
            ("https://app.example.com/", false),
            ("http://a.test", false),
            ("http://a.test:80800", false),
            ("app://shell:1", false),
            ("app://shel", false),
            ("null", false),
            ("*", false),
        ] {
            assert_eq!(origins.admits(Some(origin), "other.example"), is_listed, "{origin}");
        }
        // Its own stay its own.
        assert!(origins.admits(Some("http://other.example"), "other.example"));
    }

    #[test]
    fn any_and_null() {
        assert!(origins(&["null"]).admits(Some("null"), "a"));
        assert!(!origins(&["null"]).admits(Some("http://b"), "a"));
        for origin in ["null", "http://b", "anything", ""] {
            assert!(origins(&["*"]).admits(Some(origin), "a"), "{origin}");
        }
        let twice = origins(&["http://b", "HTTP://B:80", "null", "null"]);
        assert_eq!(twice.listed.len(), 2, "each once");
    }

    #[test]
    fn what_cannot_be_listed() {
        for origin in [
            "",
            " ",
            "example.com",
            "https://",
            "https://*.example.com",
            "**",
            "https://a/",
            "https://a/b",
            "https://a b",
            "https://a:",
            "https://a:x",
            "https://a:65536",
            "https://a,https://b",
            "Null",
            "https://\u{e9}",
            "https://[::1",
            "https://a\r\n",
        ] {
            assert_eq!(Origins::new().allow(origin), Err(InvalidOrigin), "{origin:?}");
        }
    }
}
