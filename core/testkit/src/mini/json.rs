//! The members of a JSON object as they are written, without changing a byte of them.

/// The members of an object in their order: name (decoded) and value (as written).
///
/// # Errors
/// Not an object, white space between its tokens, or a member that stands twice.
pub fn members(text: &str) -> Result<Vec<(String, &str)>, String> {
    let mut members: Vec<(String, &str)> = Vec::new();
    let mut rest = text.strip_prefix('{').ok_or_else(|| format!("not an object: {text:.80}"))?;
    if rest == "}" {
        return Ok(members);
    }
    loop {
        let name_len = value_len(rest)?;
        let name: String = serde_json::from_str(&rest[..name_len]).map_err(|error| format!("a name: {error}"))?;
        rest = rest[name_len..].strip_prefix(':').ok_or_else(|| format!("no colon behind {name}"))?;
        let len = value_len(rest)?;
        let value = &rest[..len];
        serde_json::from_str::<&serde_json::value::RawValue>(value)
            .map_err(|error| format!("value of {name}: {error}"))?;
        if members.iter().any(|(other, _)| *other == name) {
            return Err(format!("{name} stands twice"));
        }
        members.push((name, value));
        rest = &rest[len..];
        if rest == "}" {
            return Ok(members);
        }
        rest = rest.strip_prefix(',').ok_or_else(|| format!("neither comma nor end: {rest:.80}"))?;
    }
}

/// The elements of an array in their order, as written.
///
/// # Errors
/// Not an array, or white space between its tokens.
pub fn elements(text: &str) -> Result<Vec<&str>, String> {
    let mut elements = Vec::new();
    let mut rest = text.strip_prefix('[').ok_or_else(|| format!("not an array: {text:.80}"))?;
    if rest == "]" {
        return Ok(elements);
    }
    loop {
        let (element, behind) = rest.split_at(value_len(rest)?);
        elements.push(element);
        if behind == "]" {
            return Ok(elements);
        }
        rest = behind.strip_prefix(',').ok_or_else(|| format!("neither comma nor end: {behind:.80}"))?;
    }
}

/// How far the value goes that starts here: to a comma, colon or bracket on its own level.
fn value_len(text: &str) -> Result<usize, String> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (place, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b':' | b'}' | b']' if depth == 0 => return Ok(place),
            b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return Err("white space between tokens".into()),
            _ => {}
        }
    }
    Err(format!("no end: {text:.80}"))
}

/// Whether white space stands between tokens, on any level.
#[must_use]
pub fn has_white_space(text: &str) -> bool {
    let (mut in_string, mut escaped) = (false, false);
    text.bytes().any(|byte| {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            return false;
        }
        in_string = byte == b'"';
        byte.is_ascii_whitespace()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_given_as_written() {
        assert_eq!(elements(r#"[{"a" : "],["},[1,2],3]"#).unwrap(), [r#"{"a" : "],["}"#, "[1,2]", "3"]);
        assert_eq!(elements("[]").unwrap(), [""; 0]);
        for bad in ["{}", "[", "[1", "[1}", "[1] ", "[1 ,2]", "[1]]"] {
            assert!(elements(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn members_are_given_as_written() {
        let text = r#"{"op":"message","da\u0074a":{"a" : [1, "},{\"" ]},"seq":17}"#;
        let found = members(text).unwrap();
        assert_eq!(found[0], ("op".into(), "\"message\""));
        assert_eq!(found[1], ("data".into(), r#"{"a" : [1, "},{\"" ]}"#));
        assert_eq!(found[2], ("seq".into(), "17"));
        assert_eq!(members("{}").unwrap(), []);
        for bad in [
            "[]",
            "{",
            r#"{"a":1,"a":2}"#,
            r#"{"a": 1}"#,
            r#"{"a":1 }"#,
            r#"{"a":}"#,
            r#"{"a":1}x"#,
            r#"{"a" 1}"#,
            r#"{"a":01}"#,
        ] {
            assert!(members(bad).is_err(), "{bad}");
        }
        assert!(has_white_space(r#"{"a": 1}"#) && !has_white_space(r#"{"a":" \" "}"#));
    }
}
