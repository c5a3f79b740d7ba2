//! Judging offers and answers (RFC 7692 §5, §7.1; the grammar is that of RFC 6455 §9.1).

use super::agreement::{Agreed, Answer, CLIENT_ALONE, CLIENT_BITS, Direction, NAME, Offer, SERVER_ALONE, SERVER_BITS};
use crate::wire::handshake::is_tchar;

/// The answer to the first offer that can be met, from the values of all `Sec-WebSocket-Extensions` of a request; `most`: what
/// we agree to at most.
///
/// Other extensions are passed over. An offer is declined that has a parameter we do not know, or the same one twice, or
/// a value that cannot be; so is one for a server's window of 2^8 bytes, with which no zlib compresses. Behind what does not
/// fit the grammar a value is not read any further. None of that is a reason to refuse the connection.
pub fn negotiate<'a>(values: impl Iterator<Item = &'a [u8]>, most: Agreed) -> Option<Answer> {
    let mut offers = values.flat_map(|value| Extensions { rest: value }).filter(|(name, _)| *name == NAME.as_bytes());
    offers.find_map(|(_, params)| meet(params.ok()?, most))
}

fn meet(offer: Params, most: Agreed) -> Option<Answer> {
    let server_bits = offer.server_bits.unwrap_or(15).min(most.server.window_bits());
    let client_bits = match offer.client_bits {
        None => 15, // It does not know the parameter, so it cannot be told anything else.
        Some(bits) => bits.unwrap_or(15).min(most.client.window_bits()),
    };
    let server = Direction::of(server_bits, most.server.takes_over() && !offer.server_alone);
    let client = Direction::of(client_bits, most.client.takes_over() && !offer.client_alone);
    server.compressor()?;
    Some(Answer { agreed: Agreed { server, client }, names_server_window: offer.server_bits.is_some() })
}

impl Offer {
    /// What a server agreed to, from the values of all `Sec-WebSocket-Extensions` of its answer; `None`: it declined.
    ///
    /// # Errors
    /// When it says what does not fit the offer, or names an extension that was not offered: the connection is to be failed
    /// (RFC 6455 §4.1, RFC 7692 §5.1).
    pub fn accept<'a>(self, values: impl Iterator<Item = &'a [u8]>) -> Result<Option<Agreed>, Unsolicited> {
        let mut agreed = None;
        for value in values {
            let mut extensions = Extensions { rest: value };
            for (name, params) in &mut extensions {
                let params = params.map_err(|_| Unsolicited)?;
                let fits = if name == NAME.as_bytes() { self.fit(params) } else { None };
                if agreed.replace(fits.ok_or(Unsolicited)?).is_some() {
                    return Err(Unsolicited);
                }
            }
            if !extensions.rest.is_empty() {
                return Err(Unsolicited);
            }
        }
        Ok(agreed)
    }

    fn fit(self, answer: Params) -> Option<Agreed> {
        let Agreed { server, client } = self.0;
        // What we asked for must be in it (§7.1.1.1, §7.1.2.1).
        let server_bits = match answer.server_bits {
            Some(bits) if bits <= server.window_bits() => bits,
            None if server.window_bits() == 15 => 15,
            _ => return None,
        };
        let client_bits = match answer.client_bits {
            Some(Some(bits)) if bits <= client.window_bits() => bits,
            None => client.window_bits(),
            _ => return None,
        };
        if !server.takes_over() && !answer.server_alone {
            return None;
        }
        Some(Agreed {
            server: Direction::of(server_bits, !answer.server_alone),
            client: Direction::of(client_bits, client.takes_over() && !answer.client_alone),
        })
    }
}

/// An answer that does not fit the offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsolicited;

impl core::fmt::Display for Unsolicited {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("an extension, or a parameter of it, that was not offered")
    }
}

impl core::error::Error for Unsolicited {}

/// The parameters of one element, each at most once.
#[derive(Clone, Copy, Default)]
struct Params {
    server_alone: bool,
    client_alone: bool,
    server_bits: Option<u8>,
    /// Within: the value, where it has one.
    client_bits: Option<Option<u8>>,
}

/// A parameter that there is not, came twice, or has a value that cannot be.
struct BadParam;

impl Params {
    fn set(&mut self, name: &[u8], value: Option<Value<'_>>) -> Result<(), BadParam> {
        let flag = |flag: &mut bool| match value {
            None if !*flag => {
                *flag = true;
                Ok(())
            }
            _ => Err(BadParam),
        };
        if name == SERVER_ALONE.as_bytes() {
            flag(&mut self.server_alone)
        } else if name == CLIENT_ALONE.as_bytes() {
            flag(&mut self.client_alone)
        } else if name == SERVER_BITS.as_bytes() {
            let bits = value.and_then(Value::bits).ok_or(BadParam)?;
            self.server_bits.replace(bits).map_or(Ok(()), |_| Err(BadParam))
        } else if name == CLIENT_BITS.as_bytes() {
            let bits = value.map(|value| value.bits().ok_or(BadParam)).transpose()?;
            self.client_bits.replace(bits).map_or(Ok(()), |_| Err(BadParam))
        } else {
            Err(BadParam)
        }
    }
}

/// What stands behind a `=`: what it means, whether or not it was quoted.
#[derive(Clone, Copy)]
struct Value<'a> {
    text: &'a [u8],
    is_quoted: bool,
}

impl Value<'_> {
    /// A decimal number from 8 to 15 without leading zeros (§7.1.2).
    fn bits(self) -> Option<u8> {
        let mut number = 0;
        let mut escaped = false;
        for byte in self.text {
            if self.is_quoted && *byte == b'\\' && !escaped {
                escaped = true;
                continue;
            }
            escaped = false;
            let is_digit = byte.is_ascii_digit() && (number > 0 || *byte != b'0');
            number = if is_digit && number < 10 { number * 10 + (byte - b'0') } else { return None };
        }
        (8..=15).contains(&number).then_some(number)
    }
}

/// The elements of a value, with their parameters, as far as the grammar holds; `rest` is what is left then.
struct Extensions<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (&'a [u8], Result<Params, BadParam>);

    fn next(&mut self) -> Option<Self::Item> {
        // Empty elements are passed over (RFC 9110 §5.6.1.2).
        while let [b' ' | b'\t' | b',', rest @ ..] = self.rest {
            self.rest = rest;
        }
        let mut ahead = Cursor(self.rest);
        let element = ahead.element()?;
        self.rest = ahead.0;
        Some(element)
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// An element, up to the comma or the end behind it.
    fn element(&mut self) -> Option<(&'a [u8], Result<Params, BadParam>)> {
        let name = self.token()?;
        let mut params = Ok(Params::default());
        loop {
            self.skip_space();
            match self.0 {
                [] | [b',', ..] => return Some((name, params)),
                [b';', rest @ ..] => self.0 = rest,
                _ => return None,
            }
            self.skip_space();
            let name = self.token()?;
            self.skip_space();
            let value = match self.0 {
                [b'=', rest @ ..] => {
                    self.0 = rest;
                    self.skip_space();
                    Some(self.value()?)
                }
                _ => None,
            };
            params = params.and_then(|mut params| params.set(name, value).map(|()| params));
        }
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| !is_tchar(*byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (end > 0).then_some(token)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        let [b'"', rest @ ..] = self.0 else {
            return Some(Value { text: self.token()?, is_quoted: false });
        };
        let mut end = 0;
        loop {
            match rest.get(end..)? {
                [b'"', behind @ ..] if end > 0 => {
                    self.0 = behind;
                    return Some(Value { text: &rest[..end], is_quoted: true });
                }
                [b'\\', escaped, ..] if is_tchar(*escaped) => end += 2,
                // What is quoted must be a token all the same (RFC 6455 §9.1).
                [byte, ..] if is_tchar(*byte) => end += 1,
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
#[path = "../tests/negotiate.rs"]
mod tests;
