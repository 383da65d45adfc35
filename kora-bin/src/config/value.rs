//! The forms a configuration value can take, read from TOML, from text (environment and flags) and written back.
//!
//! Every key has one [`Kind`]. The kind is the only place that knows how a value is spelled: it reads both spellings
//! into one [`Value`], says in words what it accepts (the "must be ..." of every error message), and the value writes
//! itself as figment data (for the typed `Config`) and as TOML (for `--print-config` and CONFIG REWRITE). Reading TOML
//! is strict (`port = "6379"` is a wrong type); text has no types, so there the kind alone decides.

use std::net::IpAddr;

use figment::value::{Dict, Value as Figment};

/// A value that its key's [`Kind`] has accepted.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    Boolean(bool),
    Text(String),
    /// A number of bytes; written back with the largest unit that divides it.
    Bytes(u64),
    /// Permission bits.
    Mode(u32),
    Addresses(Vec<IpAddr>),
    OutputLimit {
        hard: u64,
        soft: u64,
        seconds: u64,
    },
}

/// What a key accepts.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Integer {
        min: i64,
        max: i64,
    },
    /// A size such as `1gb`, `512mb`, `100` with Redis's units: `k`, `m`, `g` are powers of 1000, `kb`, `mb`, `gb` of 1024.
    Bytes {
        min: u64,
        max: u64,
    },
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A file name in UTF-8, at most `bytes_max` long.
    Path {
        bytes_max: usize,
    },
    /// Text whose value never appears in a message.
    Secret,
    /// Permission bits in octal.
    Mode,
    /// IP addresses; `*` stands for all IPv4 addresses.
    Addresses,
    /// `HARD SOFT SECONDS`, as in Redis's client-output-buffer-limit.
    OutputLimit,
}

impl Kind {
    /// Completes the sentence `"key" must be ...`.
    pub(crate) fn expects(self) -> String {
        match self {
            Kind::Integer { min, max: i64::MAX } => format!("an integer, {min} or more"),
            Kind::Integer { min, max } => format!("{min} to {max}"),
            Kind::Bytes { min: 0, max: u64::MAX } => "a size such as \"512mb\"".into(),
            Kind::Bytes { min, max } => {
                format!("a size of {} to {}, such as \"512mb\"", size_text(min), size_text(max))
            }
            Kind::Boolean => "true or false".into(),
            Kind::Choice(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                let (last, rest) = quoted.split_last().expect("a choice has words");
                format!("{} or {last}", rest.join(", "))
            }
            Kind::Path { bytes_max: usize::MAX } => "a path".into(),
            Kind::Path { bytes_max } => format!("a path of at most {bytes_max} bytes"),
            Kind::Secret => "a non-empty string".into(),
            Kind::Mode => "an octal mode such as \"700\"".into(),
            Kind::Addresses => "a list of IP addresses such as [\"127.0.0.1\", \"::1\"]".into(),
            Kind::OutputLimit => "\"HARD SOFT SECONDS\" such as \"1gb 256mb 60\" (0: no limit)".into(),
        }
    }

    /// What stands for the value in `--help`.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Kind::Integer { .. } => "N",
            Kind::Bytes { .. } => "SIZE",
            Kind::Boolean => "yes|no",
            Kind::Choice(_) => "WORD",
            Kind::Path { .. } => "PATH",
            Kind::Secret => "TEXT",
            Kind::Mode => "MODE",
            Kind::Addresses => "ADDRESSES",
            Kind::OutputLimit => "HARD SOFT SECONDS",
        }
    }

    /// Reads the spelling of an environment variable or a flag.
    pub(crate) fn parse_text(self, text: &str) -> Option<Value> {
        match self {
            Kind::Integer { min, max } => in_range(text.trim().parse().ok()?, min, max),
            Kind::Bytes { min, max } => {
                parse_size(text.trim()).filter(|n| (min..=max).contains(n)).map(Value::Bytes)
            }
            Kind::Boolean => match text.trim() {
                "true" | "yes" => Some(Value::Boolean(true)),
                "false" | "no" => Some(Value::Boolean(false)),
                _ => None,
            },
            Kind::Choice(words) => words.contains(&text.trim()).then(|| Value::Text(text.trim().into())),
            Kind::Path { bytes_max } => {
                let fits = !text.is_empty() && text.len() <= bytes_max && !text.contains('\0');
                fits.then(|| Value::Text(text.into()))
            }
            Kind::Secret => (!text.is_empty()).then(|| Value::Text(text.into())),
            Kind::Mode => {
                let octal = (1..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
                let mode = if octal { u32::from_str_radix(text, 8).ok()? } else { return None };
                (mode <= 0o777).then_some(Value::Mode(mode))
            }
            Kind::Addresses => {
                let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
                addresses(words.map(Some))
            }
            Kind::OutputLimit => {
                let mut words = text.split_whitespace();
                let hard = parse_size(words.next()?)?;
                let soft = parse_size(words.next()?)?;
                let seconds = words.next()?.parse().ok().filter(|s| *s <= i64::MAX as u64)?;
                words.next().is_none().then_some(Value::OutputLimit { hard, soft, seconds })
            }
        }
    }

    /// Reads a TOML value; `written` is its text in the file.
    pub(crate) fn parse_toml(self, item: &toml_edit::Item, written: &str) -> Option<Value> {
        match self {
            Kind::Integer { min, max } => in_range(item.as_integer()?, min, max),
            Kind::Bytes { min, max } => match item.as_integer() {
                Some(n) => u64::try_from(n).ok().filter(|n| (min..=max).contains(n)).map(Value::Bytes),
                None => self.parse_text(item.as_str()?),
            },
            Kind::Boolean => item.as_bool().map(Value::Boolean),
            Kind::Mode => match item.as_value()? {
                // A TOML integer is a mode only when it is written in octal: 700 would be 0o1274.
                toml_edit::Value::Integer(_) => self.parse_text(written.trim().strip_prefix("0o")?),
                value => self.parse_text(value.as_str()?),
            },
            Kind::Addresses => match item.as_array() {
                Some(array) => addresses(array.iter().map(|value| value.as_str())),
                None => addresses([item.as_str()].into_iter()),
            },
            Kind::Choice(_) | Kind::Path { .. } | Kind::Secret | Kind::OutputLimit => {
                self.parse_text(item.as_str()?)
            }
        }
    }

    /// How a refused value is shown in an error: as it was written, shortened, and a secret not at all.
    pub(crate) fn show_refused(self, written: &str) -> String {
        if matches!(self, Kind::Secret) {
            return "the value given (not shown)".into();
        }
        const SHOWN_CHARS_MAX: usize = 60;
        let line = written.trim().replace(['\n', '\r'], " ");
        match line.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{}...", &line[..end]),
            None => line,
        }
    }

    /// As [`Kind::show_refused`] for text, which is quoted unless it is a number.
    pub(crate) fn show_refused_text(self, written: &str) -> String {
        match written.trim().parse::<i128>() {
            Err(_) if !matches!(self, Kind::Secret) => format!("\"{}\"", self.show_refused(written)),
            _ => self.show_refused(written),
        }
    }
}

impl Value {
    /// The form that `Config` is deserialized from.
    pub(crate) fn to_figment(&self) -> Figment {
        match self {
            Value::Integer(n) => Figment::from(*n),
            Value::Boolean(b) => Figment::from(*b),
            Value::Text(text) => Figment::from(text.clone()),
            Value::Bytes(n) => Figment::from(*n),
            Value::Mode(mode) => Figment::from(*mode),
            Value::Addresses(list) => {
                Figment::from(list.iter().map(|address| address.to_string()).collect::<Vec<_>>())
            }
            Value::OutputLimit { hard, soft, seconds } => Figment::from(Dict::from([
                ("hard_bytes".to_owned(), Figment::from(*hard)),
                ("soft_bytes".to_owned(), Figment::from(*soft)),
                ("soft_seconds".to_owned(), Figment::from(*seconds)),
            ])),
        }
    }

    /// The form that stands in a configuration file.
    pub(crate) fn to_toml(&self) -> toml_edit::Value {
        match self {
            Value::Integer(n) => (*n).into(),
            Value::Boolean(b) => (*b).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Bytes(n) => match (i64::try_from(*n), size_text(*n)) {
                (Ok(plain), text) if text == plain.to_string() => plain.into(),
                (_, text) => text.into(),
            },
            Value::Mode(mode) => format!("{mode:o}").into(),
            Value::Addresses(list) => {
                let array: toml_edit::Array = list.iter().map(|address| address.to_string()).collect();
                array.into()
            }
            Value::OutputLimit { hard, soft, seconds } => {
                format!("{} {} {seconds}", size_text(*hard), size_text(*soft)).into()
            }
        }
    }
}

fn in_range(n: i64, min: i64, max: i64) -> Option<Value> {
    (min..=max).contains(&n).then_some(Value::Integer(n))
}

fn addresses<'a>(words: impl Iterator<Item = Option<&'a str>>) -> Option<Value> {
    let list: Vec<IpAddr> =
        words.map(|word| if word? == "*" { "0.0.0.0" } else { word? }.parse().ok()).collect::<Option<_>>()?;
    (!list.is_empty()).then_some(Value::Addresses(list))
}

/// Redis's sizes: a number and a unit of any case; `None` for anything else and past 2^64.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A size with the largest binary unit that divides it.
fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_units_of_redis() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("17b", Some(17)),
            ("1k", Some(1000)),
            ("1kb", Some(1024)),
            ("2M", Some(2_000_000)),
            ("2Mb", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("1GB", Some(1 << 30)),
            ("", None),
            ("mb", None),
            ("-1", None),
            ("1.5gb", None),
            ("1 gb", None),
            ("1tb", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("17179869184gb", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_size_is_written_as_it_can_be_read() {
        for bytes in [0, 1, 1000, 1023, 1024, 1536, 1 << 20, (1 << 20) + 1, 512 << 20, 1 << 30, 5 << 30] {
            assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }
        assert_eq!(size_text(512 << 20), "512mb");
        assert_eq!(size_text(1536), "1536");
    }
}
