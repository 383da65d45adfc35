//! Replies as text: what case files expect and what reports show.
//!
//! | notation | reply | RESP2 form |
//! |---|---|---|
//! | `+OK` | simple string | |
//! | `-ERR text` | error, to the end of the line | |
//! | `:1` | integer | |
//! | `"text\r\n\x00"` | bulk string | |
//! | `nil`, `nilarray` | null | `$-1`, `*-1` |
//! | `[a, b]` | array | |
//! | `{k: v}` | map | flat array |
//! | `~[a, b]` | set | array |
//! | `>[a, b]` | push | |
//! | `,1.5` | double | bulk string |
//! | `#t` | boolean | integer |
//! | `=txt:"text"` | verbatim string | bulk string |
//!
//! An expectation is written once, in RESP3's types; a RESP2 run expects its RESP2 form.

use super::harness::Value;

/// The reply that a line of notation stands for, in RESP3's types except for nulls, which keep their RESP2 kind.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text.trim(), top: true };
    let value = parser.value()?;
    parser.space();
    if !parser.rest.is_empty() {
        return Err(format!("unexpected {:?} after a reply", parser.rest));
    }
    Ok(value)
}

/// The form that a server speaking `protocol` sends.
pub fn in_protocol(value: &Value, protocol: u8) -> Value {
    let all = |items: &[Value]| items.iter().map(|item| in_protocol(item, protocol)).collect::<Vec<_>>();
    let flat =
        |pairs: &[(Value, Value)]| pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect::<Vec<_>>();
    match (value, protocol) {
        (Value::NilBulk | Value::NilArray, 3) => Value::Null,
        (Value::Map(pairs), 3) => {
            Value::Map(pairs.iter().map(|(k, v)| (in_protocol(k, 3), in_protocol(v, 3))).collect())
        }
        (Value::Map(pairs), _) => Value::Array(all(&flat(pairs))),
        (Value::Array(items), _) => Value::Array(all(items)),
        (Value::Push(items), 3) => Value::Push(all(items)),
        (Value::Push(items), _) => Value::Array(all(items)),
        (Value::Set(items), 3) => Value::Set(all(items)),
        (Value::Set(items), _) => Value::Array(all(items)),
        (Value::Double(text), 2) => Value::Bulk(text.clone()),
        (Value::Bool(truth), 2) => Value::Int(i64::from(*truth)),
        (Value::Verbatim(_, text), 2) => Value::Bulk(text.clone()),
        (other, _) => other.clone(),
    }
}

/// The notation of a reply. RESP3's null shows as `null`, so that it differs from both of RESP2's.
pub fn show(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(show).collect::<Vec<_>>().join(", ");
    let pairs = |pairs: &[(Value, Value)]| {
        pairs
            .iter()
            .map(|(key, value)| format!("{}: {}", show(key), show(value)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match value {
        Value::Simple(text) => format!("+{}", escaped(text)),
        Value::Error(text) => format!("-{}", escaped(text)),
        Value::Int(number) => format!(":{number}"),
        Value::Bulk(text) => format!("\"{}\"", escaped(text)),
        Value::NilBulk => "nil".into(),
        Value::NilArray => "nilarray".into(),
        Value::Null => "null".into(),
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Set(items) => format!("~[{}]", list(items)),
        Value::Push(items) => format!(">[{}]", list(items)),
        Value::Map(entries) => format!("{{{}}}", pairs(entries)),
        Value::Double(text) => format!(",{}", escaped(text)),
        Value::Bool(truth) => if *truth { "#t" } else { "#f" }.into(),
        Value::BigNumber(text) => format!("({}", escaped(text)),
        Value::BlobError(text) => format!("!\"{}\"", escaped(text)),
        Value::Verbatim(format, text) => format!("={}:\"{}\"", escaped(format), escaped(text)),
        Value::Attribute(entries, value) => format!("|{{{}}} {}", pairs(entries), show(value)),
    }
}

/// Printable ASCII as it is, everything else as redis-cli escapes it.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// Reads a double-quoted string that starts `text`, with redis-cli's escapes; returns it and what follows.
pub fn quoted(text: &str) -> Result<(Vec<u8>, &str), String> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return Err(format!("a double quote was expected at {text:?}"));
    }
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return Err(format!("unbalanced quotes in {text:?}")),
            Some(b'"') => return Ok((out, &text[at + 1..])),
            Some(b'\\') => {
                let escape = *bytes.get(at + 1).ok_or_else(|| format!("a lone backslash ends {text:?}"))?;
                at += 2;
                out.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits =
                            text.get(at..at + 2).ok_or_else(|| format!("\\x without digits in {text:?}"))?;
                        at += 2;
                        u8::from_str_radix(digits, 16).map_err(|error| format!("\\x{digits}: {error}"))?
                    }
                    other => other,
                });
            }
            Some(&byte) => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// Outside all brackets, where an unquoted text runs to the end of the line.
    top: bool,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A quoted text, or an unquoted one up to its end.
    fn text(&mut self) -> Result<Vec<u8>, String> {
        if self.rest.starts_with('"') {
            let (bytes, rest) = quoted(self.rest)?;
            self.rest = rest;
            return Ok(bytes);
        }
        let end = if self.top {
            self.rest.len()
        } else {
            self.rest.find([',', ']', '}', ':']).unwrap_or(self.rest.len())
        };
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(text.as_bytes().to_vec())
    }

    fn value(&mut self) -> Result<Value, String> {
        self.space();
        if self.rest.starts_with('"') {
            return Ok(Value::Bulk(self.text()?));
        }
        // The longer name first: one is the start of the other.
        for (name, value) in [("nilarray", Value::NilArray), ("nil", Value::NilBulk), ("null", Value::Null)] {
            if self.eat(name) {
                return Ok(value);
            }
        }
        for (opening, make) in
            [("~[", Value::Set as fn(Vec<Value>) -> Value), (">[", Value::Push), ("[", Value::Array)]
        {
            if self.eat(opening) {
                return Ok(make(self.list()?));
            }
        }
        if self.eat("{") {
            return Ok(Value::Map(self.pairs()?));
        }
        if self.eat("#t") {
            return Ok(Value::Bool(true));
        }
        if self.eat("#f") {
            return Ok(Value::Bool(false));
        }
        if self.eat("=") {
            let format =
                self.rest.get(..3).ok_or("a verbatim string without its format")?.as_bytes().to_vec();
            self.rest = self.rest[3..].strip_prefix(':').ok_or("a verbatim string without its colon")?;
            return Ok(Value::Verbatim(format, self.text()?));
        }
        if self.eat("+") {
            return Ok(Value::Simple(self.text()?));
        }
        if self.eat("-") {
            return Ok(Value::Error(self.text()?));
        }
        if self.eat(",") {
            return Ok(Value::Double(self.text()?));
        }
        if self.eat(":") {
            let text = String::from_utf8_lossy(&self.text()?).trim().to_owned();
            return text.parse().map(Value::Int).map_err(|error| format!(":{text}: {error}"));
        }
        Err(format!("no reply starts with {:?}", self.rest))
    }

    fn list(&mut self) -> Result<Vec<Value>, String> {
        let top = std::mem::replace(&mut self.top, false);
        let mut items = Vec::new();
        while !self.eat("]") {
            if !items.is_empty() && !self.eat(",") {
                return Err(format!("a comma was expected at {:?}", self.rest));
            }
            items.push(self.value()?);
        }
        self.top = top;
        Ok(items)
    }

    fn pairs(&mut self) -> Result<Vec<(Value, Value)>, String> {
        let top = std::mem::replace(&mut self.top, false);
        let mut pairs = Vec::new();
        while !self.eat("}") {
            if !pairs.is_empty() && !self.eat(",") {
                return Err(format!("a comma was expected at {:?}", self.rest));
            }
            let key = self.value()?;
            if !self.eat(":") {
                return Err(format!("a colon was expected at {:?}", self.rest));
            }
            pairs.push((key, self.value()?));
        }
        self.top = top;
        Ok(pairs)
    }
}

#[test]
fn notation_of_a_reply_reads_back_as_the_reply() {
    for text in [
        "+OK",
        "-ERR wrong, number: of 'x' arguments",
        ":-9223372036854775808",
        r#""a\r\n\x00\"\\z""#,
        "nil",
        "nilarray",
        r#"[:1, "a", [], ~[+x], {"k": ,1.5, "l": #t}, >["m"], -ERR, nil]"#,
        r#"=txt:"hello""#,
    ] {
        assert_eq!(show(&parse(text).unwrap()), text);
    }
    assert!(parse("[:1").is_err());
    assert!(parse(r#""unbalanced"#).is_err());
}
