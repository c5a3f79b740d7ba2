//! What a client offers and a server answers of permessage-deflate, from RFC 7692 alone.

use super::inflate::Way;

/// What a server has agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// No message of the server refers to those before it.
    pub server_alone: bool,
    /// No message of the client does.
    pub client_alone: bool,
    /// How far back messages of the server refer, as a power of two.
    pub server_bits: u8,
    /// The same of the client.
    pub client_bits: u8,
}

/// Name and value of the parameters of one offer, or of an answer.
fn params(text: &str) -> Result<Vec<(&str, Option<&str>)>, String> {
    let mut parts = text.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return Err(format!("an extension that was not offered: {text}"));
    }
    let params: Vec<_> = parts.map(|part| part.split_once('=').map_or((part, None), |(n, v)| (n, Some(v)))).collect();
    let is_twice =
        |(nth, (name, _)): (usize, &(&str, Option<&str>))| params[..nth].iter().any(|(other, _)| other == name);
    if params.iter().enumerate().any(is_twice) {
        return Err(format!("a parameter twice: {text}"));
    }
    Ok(params)
}

fn bits(value: &str) -> Result<u8, String> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits) && !value.starts_with(['0', '+']));
    bits.ok_or_else(|| format!("window bits {value}"))
}

impl Agreement {
    /// What the server sends.
    #[must_use]
    pub const fn server(&self) -> Way {
        Way { window_bits: self.server_bits, takes_over: !self.server_alone }
    }

    /// What the client sends.
    #[must_use]
    pub const fn client(&self) -> Way {
        Way { window_bits: self.client_bits, takes_over: !self.client_alone }
    }

    /// Reads the server's answer to an offer (§7.1).
    ///
    /// # Errors
    /// It does not fit the offer.
    pub fn read(answer: &str, offer: &str) -> Result<Self, String> {
        let offered = params(offer)?;
        let asked = |name: &str| offered.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let mut agreement = Self { server_alone: false, client_alone: false, server_bits: 15, client_bits: 15 };
        let mut names_window = false;
        for (name, value) in params(answer)? {
            match (name, value) {
                ("server_no_context_takeover", None) => agreement.server_alone = true,
                ("client_no_context_takeover", None) => agreement.client_alone = true,
                ("server_max_window_bits", Some(value)) => {
                    agreement.server_bits = bits(value)?;
                    names_window = true;
                }
                ("client_max_window_bits", Some(value)) => {
                    let most = asked(name).ok_or("client_max_window_bits, which was not offered (§7.1.2.2)")?;
                    agreement.client_bits = bits(value)?;
                    if most.map(bits).transpose()?.is_some_and(|most| agreement.client_bits > most) {
                        return Err("client_max_window_bits above what was offered".into());
                    }
                }
                _ => return Err(format!("parameter {name}={value:?}")),
            }
        }
        if asked("server_no_context_takeover").is_some() && !agreement.server_alone {
            return Err("server_no_context_takeover was asked for (§7.1.1.1)".into());
        }
        if let Some(most) = asked("server_max_window_bits") {
            let most = bits(most.ok_or("an offer of server_max_window_bits without a value")?)?;
            if !names_window || agreement.server_bits > most {
                return Err("server_max_window_bits was asked for (§7.1.2.1)".into());
            }
        }
        Ok(agreement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_offers() {
        let read = |answer, offer| Agreement::read(answer, offer);
        let plain = "permessage-deflate";
        let agreed = read(plain, plain).unwrap();
        assert_eq!((agreed.server_alone, agreed.client_alone, agreed.server_bits), (false, false, 15));
        let offer = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits";
        let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; \
                      client_max_window_bits=12";
        let expected = Agreement { server_alone: true, client_alone: true, server_bits: 9, client_bits: 12 };
        assert_eq!(read(answer, offer), Ok(expected));
        for (answer, offer) in [
            ("x-webkit-deflate-frame", plain),
            ("permessage-deflate; client_max_window_bits=12", plain),
            ("permessage-deflate; server_no_context_takeover=1", plain),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", plain),
            ("permessage-deflate; server_max_window_bits", plain),
            ("permessage-deflate; server_max_window_bits=08", plain),
            ("permessage-deflate; server_max_window_bits=16", plain),
            (plain, "permessage-deflate; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits=11", "permessage-deflate; server_max_window_bits=10"),
            (plain, "permessage-deflate; server_no_context_takeover"),
            ("permessage-deflate; client_max_window_bits=13", "permessage-deflate; client_max_window_bits=12"),
        ] {
            assert!(read(answer, offer).is_err(), "{answer} to {offer}");
        }
    }
}
