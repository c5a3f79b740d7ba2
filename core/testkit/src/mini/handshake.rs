//! The opening handshake of a client (RFC 6455 §4.1): the request, and a strict reader of the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;

/// What RFC 6455 §4.2.2 makes of a key.
#[must_use]
pub fn accept_of(key: &str) -> String {
    let mut sha = sha1::Sha1::new();
    sha.update(key.as_bytes());
    sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha.finalize())
}

/// A key from 16 bytes.
#[must_use]
pub fn key_of(bytes: [u8; 16]) -> String {
    STANDARD.encode(bytes)
}

/// The request of a client.
#[must_use]
pub fn request(key: &str, target: &str, protocols: &[&str]) -> Vec<u8> {
    let mut text = format!(
        "GET {target} HTTP/1.1\r\nHost: world.example:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
    );
    if !protocols.is_empty() {
        text.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", protocols.join(", ")));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// An HTTP answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What came behind the head.
    pub rest: Vec<u8>,
}

impl Response {
    /// The values of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that must stand exactly once.
    ///
    /// # Errors
    /// It does not stand exactly once.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<&'a str, String> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(format!("no {name}")),
            _ => Err(format!("{name} twice")),
        }
    }

    /// The subprotocol the server chose.
    ///
    /// # Errors
    /// Why this answer does not open a connection (§4.1).
    pub fn check(&self, key: &str, offered: &[&str], offers_extension: bool) -> Result<Option<String>, String> {
        if !self.one("upgrade")?.eq_ignore_ascii_case("websocket") {
            return Err("Upgrade is not websocket".into());
        }
        if !self.one("connection")?.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")) {
            return Err("Connection is not Upgrade".into());
        }
        if self.one("sec-websocket-accept")? != accept_of(key) {
            return Err("Sec-WebSocket-Accept does not belong to the key".into());
        }
        if !offers_extension && self.all("sec-websocket-extensions").next().is_some() {
            return Err("an extension that was not offered".into());
        }
        for field in ["content-length", "transfer-encoding"] {
            if self.all(field).next().is_some() {
                return Err(format!("{field} in a 101 (RFC 9110 §8.6, RFC 9112 §6.1)"));
            }
        }
        match self.all("sec-websocket-protocol").next() {
            None => Ok(None),
            Some(_) => {
                let chosen = self.one("sec-websocket-protocol")?;
                if offered.contains(&chosen) {
                    Ok(Some(chosen.into()))
                } else {
                    Err(format!("subprotocol {chosen} was not offered"))
                }
            }
        }
    }
}

/// Reads an HTTP answer from pieces.
#[derive(Clone, Debug, Default)]
pub struct ResponseReader {
    buffer: Vec<u8>,
}

impl ResponseReader {
    /// Bytes of an answer that is not whole yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// Takes bytes in and gives the answer when its head is whole.
    ///
    /// # Errors
    /// It is not an HTTP/1.1 answer.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Response>, String> {
        self.buffer.extend(bytes);
        let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            if self.buffer.len() > 1 << 16 {
                return Err("an answer without an end".into());
            }
            return Ok(None);
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).map_err(|_| "a head that is not text".to_string())?;
        let rest = self.buffer.split_off(end + 4);
        self.buffer.clear();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .filter(|line| line.as_bytes().get(3).is_none_or(|byte| *byte == b' '))
            .and_then(|line| line.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| format!("status line {status_line:?}"))?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("header line {line:?}"))?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(format!("header name {name:?}"));
            }
            if value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7F) {
                return Err(format!("header value {value:?}"));
            }
            headers.push((name.to_ascii_lowercase(), value.trim().into()));
        }
        Ok(Some(Response { status, headers, rest }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\nrest";

    #[test]
    fn example_of_the_rfc() {
        assert_eq!(accept_of(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(key_of(*b"the sample nonce"), KEY);
        let mut reader = ResponseReader::default();
        let (first, last) = GOOD.as_bytes().split_at(70);
        assert_eq!(reader.feed(first), Ok(None));
        let response = reader.feed(last).unwrap().unwrap();
        assert_eq!((response.status, &response.rest[..]), (101, &b"rest"[..]));
        assert_eq!(response.check(KEY, &["chat"], false), Ok(Some("chat".into())));
        assert!(response.check(KEY, &[], false).is_err() && response.check("other", &["chat"], false).is_err());
        let text = String::from_utf8(request(KEY, "/x?y", &["a", "b"])).unwrap();
        assert!(text.starts_with("GET /x?y HTTP/1.1\r\n") && text.ends_with("Protocol: a, b\r\n\r\n"));
    }

    #[test]
    fn bad_answers() {
        for (from, to) in [
            ("websocket\r\nC", "other\r\nC"),
            ("Connection: Upgrade", "Connection: close"),
            ("s3pP", "S3pP"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
            ("\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n"),
            ("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let response = ResponseReader::default().feed(text.as_bytes()).unwrap().unwrap();
            assert!(response.check(KEY, &["chat"], false).is_err(), "{to}");
        }
        for text in ["HTTP/1.0 101 x\r\n\r\n", "HTTP/1.1 1010\r\n\r\n", "HTTP/1.1 101 x\r\nno colon\r\n\r\n"] {
            assert!(ResponseReader::default().feed(text.as_bytes()).is_err(), "{text}");
        }
    }
}
