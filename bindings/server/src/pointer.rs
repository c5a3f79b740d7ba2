//! JSON pointers (RFC 6901): where a line says its key.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Where in a JSON text a key stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pointer {
    tokens: Vec<String>,
}

impl Pointer {
    /// Reads a pointer: empty (the whole text), or tokens that begin with `/`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let problem = || format!("must be a JSON pointer such as /id or /user/name (RFC 6901), not {text:?}");
        let mut tokens = text.split('/');
        if tokens.next() != Some("") {
            return Err(problem());
        }
        let token = |token: &str| {
            // `~` stands before 0 or 1 only.
            let is_good = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            is_good.then(|| token.replace("~1", "/").replace("~0", "~")).ok_or_else(problem)
        };
        tokens.map(token).collect::<Result<_, _>>().map(|tokens| Self { tokens })
    }

    /// The key in a JSON text: a string as its text, a number, `true` or `false` as written. `None`: the text is not
    /// JSON, or has nothing there, or `null`, an object or an array.
    pub(crate) fn key<'a>(&self, json: &'a str) -> Option<Cow<'a, str>> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let found = Place(&self.tokens).deserialize(&mut reader).ok()??.get();
        match found.as_bytes().first()? {
            // Half a surrogate pair has no text.
            b'"' => serde_json::from_str::<Text<'a>>(found).ok().map(|text| text.0),
            b'{' | b'[' | b'n' => None,
            _ => Some(Cow::Borrowed(found)),
        }
    }
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Goes down to what the tokens name, and past everything else.
struct Place<'t>(&'t [String]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => serde::Deserialize::deserialize(deserializer).map(Some),
            [token, rest @ ..] => deserializer.deserialize_any(Inside { token, rest }),
        }
    }
}

struct Inside<'t> {
    token: &'t str,
    rest: &'t [String],
}

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    /// The last member of that name, as JavaScript has it.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<Text<'de>>()? {
            if name.0 == self.token {
                found = members.next_value_seed(Place(self.rest))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        // Digits without leading zeros; `-` is the item behind the last, which is not there.
        let is_index = self.token == "0" || !self.token.starts_with('0');
        let digits = self.token.bytes().all(|byte| byte.is_ascii_digit());
        let index = if is_index && digits { self.token.parse().unwrap_or(usize::MAX) } else { usize::MAX };
        let (mut found, mut at) = (None, 0);
        loop {
            let is_there = match at == index {
                true => items.next_element_seed(Place(self.rest))?.map(|item| found = item).is_some(),
                false => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_there {
                return Ok(found);
            }
            at += 1;
        }
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(pointer: &str, json: &'a str) -> Option<Cow<'a, str>> {
        Pointer::parse(pointer).unwrap().key(json)
    }

    #[test]
    fn scalars_are_keys() {
        for (pointer, json, expected) in [
            ("", r#""a""#, "a"),
            ("", "17", "17"),
            ("/id", r#"{"id":"a b","x":1}"#, "a b"),
            ("/id", r#"{"x":[{"id":2}],"id":1.50}"#, "1.50"),
            ("/id", r#"{"id": 12345678901234567890123}"#, "12345678901234567890123"),
            ("/id", r#"{"id":true}"#, "true"),
            ("/id", r#"{"id":""}"#, ""),
            ("/id", r#"{"\u0069d":"\u00e4\""}"#, "\u{e4}\""),
            ("/id", r#"{"id":1,"id":2}"#, "2"),
            ("/a/b/1", r#"{"a":{"b":[0,"one",2]},"b":0}"#, "one"),
            ("/0/x", r#"[{"x":"y"}]"#, "y"),
            ("/", r#"{"":"empty"}"#, "empty"),
            ("/a~1b/~01", r#"{"a/b":{"~1":5}}"#, "5"),
        ] {
            assert_eq!(key(pointer, json).as_deref(), Some(expected), "{pointer} {json}");
        }
    }

    #[test]
    fn everything_else_is_none() {
        for (pointer, json) in [
            ("", "null"),
            ("", "{}"),
            ("/id", r#"{"ID":1}"#),
            ("/id", r#"{"id":null}"#),
            ("/id", r#"{"id":{"id":1}}"#),
            ("/id", r#"{"id":[1]}"#),
            ("/id", r#"{"id":"\ud800"}"#),
            ("/id/x", r#"{"id":"x"}"#),
            ("/id/x", r#"{"id":1}"#),
            ("/id/x", r#"{"id":-1}"#),
            ("/id/x", r#"{"id":1.5}"#),
            ("/id/x", r#"{"id":true}"#),
            ("/id/x", r#"{"id":null}"#),
            ("/2", "[0,1]"),
            ("/-", "[0,1]"),
            ("/00", "[0,1]"),
            ("/+1", "[0,1]"),
            ("/99999999999999999999", "[0,1]"),
            ("/id", "{"),
            ("/id", r#"{"id":1"#),
            ("/id", "id"),
        ] {
            assert_eq!(key(pointer, json), None, "{pointer} {json}");
        }
    }

    #[test]
    fn pointers_begin_with_a_slash() {
        for bad in ["id", "id/x", "$.id", "/a~2", "/a~", " /id"] {
            assert!(Pointer::parse(bad).unwrap_err().starts_with("must be a JSON pointer"), "{bad}");
        }
    }
}
