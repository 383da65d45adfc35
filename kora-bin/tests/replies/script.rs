//! The language of the case files.
//!
//! A line is a command, quoted as in redis-cli, a `# comment`, or a directive. Directives about the next command:
//!
//! | directive | meaning |
//! |---|---|
//! | `-- sort` | lists of scalars in the reply are compared in sorted order |
//! | `-- shape` | types and structure are compared, not values |
//! | `-- fields` | as `shape`, and the keys of a map (in RESP2 the even elements) must be equal too |
//! | `-- prefix` | only the first word of an error is compared |
//! | `-- expect REPLY` | what Redis 8 answers, where Debian's 7.0 answers otherwise (see `notation`) |
//! | `-- expect-8.2 REPLY`, `-- expect-8.4 REPLY` | the same of a later version |
//! | `-- differs "reason" REPLY` | Kora intends to answer otherwise; the reason stands in docs/differences.md |
//! | `-- noreply` | nothing is read after sending |
//!
//! Directives that act:
//!
//! | directive | meaning |
//! |---|---|
//! | `-- resp2`, `-- resp3`, `-- both` | the following lines run only in that protocol's pass |
//! | `-- flush` | FLUSHALL, and new connections |
//! | `-- conn N` | the following lines use connection N |
//! | `-- read` | reads the reply of a command sent with `noreply` |
//! | `-- closed` | whether the server has closed this connection is compared |
//! | `-- sleep MS` | waits, for keys to expire |
//! | `-- scan OPTIONS` | a whole SCAN; the union of its keys is compared |
//! | `-- raw N "bytes"` | sends bytes, compares N replies |
//! | `-- raw close "bytes"` | sends bytes on a new connection, compares all that comes until the server closes |
//!
//! Replies of TTL and PTTL may differ by the time that passes between two servers; nothing else may without a directive.
//!
//! Unquoted words may hold: `(x*1000)` the text repeated; `{now+5}` and `{nowms+5000}` the time in seconds and
//! milliseconds; `{id2}` and `{addr2}` the id and address of connection 2; `{port}` the server's port.

use super::harness::Value;
use super::notation;

/// How two replies are held against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comparison {
    #[default]
    Bytes,
    Sorted,
    Shape,
    Fields,
    ErrorPrefix,
}

/// What the reference's reply is replaced with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The reference's own reply.
    Reference,
    /// Redis's since this version, written down.
    Since { version: (u32, u32), reply: Value },
    /// Kora's own, with the reason.
    Differs { reason: String, reply: Value },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Bytes(Vec<u8>),
    /// Unquoted with placeholders, to be filled in per server and moment.
    Template(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawEnd {
    Replies(usize),
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Flush,
    Connection(usize),
    Sleep(u64),
    Command { words: Vec<Word>, reply: bool },
    Read,
    Closed,
    Scan(Vec<Word>),
    Raw { bytes: Vec<u8>, end: RawEnd },
}

#[derive(Clone, Debug)]
pub struct Step {
    pub line: usize,
    /// The line as written, for reports.
    pub text: String,
    /// 2 or 3 when the step belongs to one protocol's pass only.
    pub only: Option<u8>,
    pub action: Action,
    pub comparison: Comparison,
    pub expectation: Expectation,
}

/// The steps of a case file, or the line that cannot be read and why.
pub fn parse(source: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut only = None;
    let mut comparison = Comparison::Bytes;
    let mut expectation = Expectation::Reference;
    let mut reply = true;
    for (index, text) in source.lines().enumerate() {
        let line = index + 1;
        let fail = |what: String| format!("line {line}: {what}: {text}");
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let action = match trimmed.strip_prefix("-- ") {
            None => Some(Action::Command { words: words(trimmed).map_err(fail)?, reply }),
            Some(directive) => {
                let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
                let number = || rest.trim().parse::<u64>().map_err(|error| fail(error.to_string()));
                match name {
                    "sort" => comparison = Comparison::Sorted,
                    "shape" => comparison = Comparison::Shape,
                    "fields" => comparison = Comparison::Fields,
                    "prefix" => comparison = Comparison::ErrorPrefix,
                    "noreply" => reply = false,
                    "expect" => {
                        let reply = notation::parse(rest).map_err(fail)?;
                        expectation = Expectation::Since { version: (8, 0), reply };
                    }
                    "expect-8.2" | "expect-8.4" => {
                        let minor = if name.ends_with('2') { 2 } else { 4 };
                        let reply = notation::parse(rest).map_err(fail)?;
                        expectation = Expectation::Since { version: (8, minor), reply };
                    }
                    "differs" => {
                        let (reason, literal) = notation::quoted(rest).map_err(fail)?;
                        let reason = String::from_utf8(reason).map_err(|error| fail(error.to_string()))?;
                        let reply = notation::parse(literal).map_err(fail)?;
                        expectation = Expectation::Differs { reason, reply };
                    }
                    "resp2" => only = Some(2),
                    "resp3" => only = Some(3),
                    "both" => only = None,
                    "flush" | "conn" | "sleep" | "read" | "closed" | "scan" | "raw" => {}
                    _ => return Err(fail("unknown directive".into())),
                }
                match name {
                    "flush" => Some(Action::Flush),
                    "conn" => Some(Action::Connection(number()? as usize)),
                    "sleep" => Some(Action::Sleep(number()?)),
                    "read" => Some(Action::Read),
                    "closed" => Some(Action::Closed),
                    "scan" => Some(Action::Scan(words(rest).map_err(fail)?)),
                    "raw" => Some(raw(rest).map_err(fail)?),
                    _ => None,
                }
            }
        };
        if let Some(action) = action {
            steps.push(Step {
                line,
                text: trimmed.to_owned(),
                only,
                action,
                comparison: std::mem::take(&mut comparison),
                expectation: std::mem::replace(&mut expectation, Expectation::Reference),
            });
            reply = true;
        }
    }
    Ok(steps)
}

fn raw(rest: &str) -> Result<Action, String> {
    let rest = rest.trim();
    let (count, literal) =
        if rest.starts_with('"') { ("1", rest) } else { rest.split_once(' ').unwrap_or((rest, "")) };
    let end = match count {
        "close" => RawEnd::Close,
        number => RawEnd::Replies(number.parse().map_err(|error| format!("{number}: {error}"))?),
    };
    let mut bytes = Vec::new();
    for word in words(literal)? {
        match word {
            Word::Bytes(part) => bytes.extend_from_slice(&part),
            Word::Template(template) => return Err(format!("{template} stands in a raw case")),
        }
    }
    Ok(Action::Raw { bytes, end })
}

/// Splits a line as redis-cli does: spaces separate, double quotes with escapes, single quotes with `\'` alone.
fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let after = if rest.starts_with('"') {
            let (bytes, after) = notation::quoted(rest)?;
            words.push(Word::Bytes(bytes));
            after
        } else if let Some(inside) = rest.strip_prefix('\'') {
            let (bytes, after) = single_quoted(inside)?;
            words.push(Word::Bytes(bytes));
            after
        } else {
            let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
            words.push(unquoted(word)?);
            after
        };
        if !(after.is_empty() || after.starts_with(char::is_whitespace)) {
            return Err(format!("a space was expected at {after:?}"));
        }
        rest = after.trim_start();
    }
    Ok(words)
}

fn single_quoted(inside: &str) -> Result<(Vec<u8>, &str), String> {
    let mut out = Vec::new();
    let bytes = inside.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None => return Err("unbalanced single quotes".into()),
            Some(b'\'') => return Ok((out, &inside[at + 1..])),
            Some(b'\\') if bytes.get(at + 1) == Some(&b'\'') => {
                out.push(b'\'');
                at += 2;
            }
            Some(&byte) => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

fn unquoted(word: &str) -> Result<Word, String> {
    let repeated =
        word.strip_prefix('(').and_then(|word| word.strip_suffix(')')).and_then(|word| word.rsplit_once('*'));
    if let Some((text, count)) = repeated {
        let count: usize = count.parse().map_err(|error| format!("{word}: {error}"))?;
        return Ok(Word::Bytes(text.repeat(count).into_bytes()));
    }
    let is_template = ["{now", "{id", "{addr", "{laddr", "{port"].iter().any(|start| word.contains(start));
    Ok(if is_template { Word::Template(word.to_owned()) } else { Word::Bytes(word.as_bytes().to_vec()) })
}

#[test]
fn words_are_split_as_redis_cli_splits_them() {
    let bytes = |text: &str| Word::Bytes(text.as_bytes().to_vec());
    assert_eq!(
        words(r#"SET "a b\x00\n" 'it\'s \n' (ab*2) {now+5}"#).unwrap(),
        [bytes("SET"), bytes("a b\0\n"), bytes("it's \\n"), bytes("abab"), Word::Template("{now+5}".into())]
    );
    assert!(words(r#""a"b"#).is_err());
    assert!(words("'a").is_err());
}
