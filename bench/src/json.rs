//! Just enough JSON to write reports.

use std::fmt;

#[derive(Clone, Debug)]
pub(crate) enum Json {
    Null,
    Count(u64),
    /// Not a number and infinities, which JSON does not have, are written as null.
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
        Json::Object(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }
}

impl From<u64> for Json {
    fn from(n: u64) -> Json {
        Json::Count(n)
    }
}

impl From<f64> for Json {
    fn from(n: f64) -> Json {
        Json::Number(n)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_string())
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Json {
        Json::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => write!(f, "null"),
            Json::Count(n) => write!(f, "{n}"),
            Json::Number(n) if n.is_finite() => write!(f, "{n}"),
            Json::Number(_) => write!(f, "null"),
            Json::Text(text) => quoted(f, text),
            Json::Array(items) => {
                write!(f, "[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { "," } else { "" })?;
                }
                write!(f, "]")
            }
            Json::Object(fields) => {
                write!(f, "{{")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}", if i > 0 { "," } else { "" })?;
                    quoted(f, name)?;
                    write!(f, ":{value}")?;
                }
                write!(f, "}}")
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\"")?;
    for c in text.chars() {
        match c {
            '"' => write!(f, "\\\"")?,
            '\\' => write!(f, "\\\\")?,
            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    write!(f, "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_cannot_say_literally_is_escaped() {
        let value = Json::object([
            ("a\"b\\\n", Json::from("tab\t")),
            ("n", Json::from(vec![1.5, f64::NAN])),
            ("none", Json::from(None::<u64>)),
            ("count", Json::from(u64::MAX)),
        ]);
        let expected =
            r#"{"a\"b\\\u000a":"tab\u0009","n":[1.5,null],"none":null,"count":18446744073709551615}"#;
        assert_eq!(value.to_string(), expected);
    }
}
