//! The argument tree that COMMAND DOCS prints, derived from the `syntax` line of a row.
//!
//! The line is what a manual shows, `key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]`, so that each
//! row says its arguments once. Its grammar:
//!
//! ```text
//! choice   = sequence *( "|" sequence )
//! sequence = 1*( item [ "..." ] )
//! item     = "[" choice "]"      optional
//!          | "<" choice ">"      one of several
//!          | WORD                a token: upper-case letters and dashes
//!          | name                an argument
//! ```
//!
//! - A token takes the items behind it up to the next token of its sequence: none makes a pure token, one makes an
//!   argument with a token, several make a block.
//! - `name [name ...]` and `a b [a b ...]` repeat what stands before them; `TOKEN name [TOKEN name ...]` repeats the
//!   token too; `x ...` repeats `x`.
//! - What type an argument has follows from its name (`seconds` is an integer, `pattern` a pattern).

use crate::command::{Begin, CommandSpec};

/// The type of an argument, in the words of COMMAND DOCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    String,
    /// A 64-bit integer.
    Integer,
    /// A floating point number.
    Double,
    /// The name of a key.
    Key,
    /// A glob-like pattern.
    Pattern,
    /// Seconds or milliseconds since 1970.
    UnixTime,
    /// A word that is there or not.
    PureToken,
    /// One of its arguments.
    OneOf,
    /// All of its arguments, in order.
    Block,
}

impl Kind {
    /// The name that COMMAND DOCS prints.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    fn of_name(name: &str, has_keys: bool) -> Kind {
        if has_keys && is_key_name(name) {
            return Kind::Key;
        }
        match name {
            "pattern" => Kind::Pattern,
            "increment-float" | "min-score" | "max-score" | "score" => Kind::Double,
            "seconds" | "milliseconds" | "index" | "count" | "cursor" | "start" | "end" | "offset"
            | "increment" | "decrement" | "protover" | "timeout" | "client-id" | "slot" | "maxage" | "db"
            | "destination-db" | "index1" | "index2" | "min-match-len" | "numkeys" => Kind::Integer,
            _ if name.starts_with("unix-time") => Kind::UnixTime,
            _ => Kind::String,
        }
    }
}

fn is_key_name(name: &str) -> bool {
    matches!(
        name,
        "key"
            | "key1"
            | "key2"
            | "newkey"
            | "source"
            | "destination"
            | "destkey"
            | "sourcekey"
            | "src"
            | "dst"
    )
}

/// One argument, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name; that of a group is made of those in it.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// The word that stands before it, or that it is.
    pub token: Option<String>,
    /// It may be left out.
    pub optional: bool,
    /// It may be repeated.
    pub multiple: bool,
    /// Its token is repeated with it.
    pub multiple_token: bool,
    /// Which key specification of the command it belongs to, for keys.
    pub key_spec: Option<usize>,
    /// The arguments of a group.
    pub arguments: Vec<Argument>,
}

/// The arguments of a command.
///
/// # Panics
/// When the row's syntax line does not follow the grammar: a mistake in the table, which a test finds.
pub fn arguments(spec: &CommandSpec) -> Vec<Argument> {
    let mut arguments = parse(spec.syntax, spec.keys.len())
        .unwrap_or_else(|problem| panic!("syntax of {}: {problem}: {:?}", spec.name, spec.syntax));
    if let Some(index) = spec.keys.iter().position(|keys| keys.begin == Begin::SortPatterns) {
        number_patterns(&mut arguments, index);
    }
    arguments
}

/// Patterns that name keys take this key specification, and keys behind them the later ones.
fn number_patterns(arguments: &mut [Argument], index: usize) {
    for argument in arguments {
        match argument.key_spec {
            None if argument.kind == Kind::Pattern => argument.key_spec = Some(index),
            Some(spec) if spec >= index => argument.key_spec = Some(spec + 1),
            _ => {}
        }
    }
}

/// Parses a syntax line of a command with that many key specifications.
fn parse(line: &str, key_specs: usize) -> Result<Vec<Argument>, String> {
    let mut parser = Parser { words: split(line), next: 0, has_keys: key_specs > 0 };
    if parser.words.is_empty() {
        return Ok(Vec::new());
    }
    let arguments = parser.sequence()?;
    if let Some(word) = parser.peek() {
        return Err(format!("unexpected {word:?}"));
    }
    let mut arguments = arguments;
    let mut next_spec = 0;
    number_keys(&mut arguments, &mut next_spec, key_specs);
    Ok(arguments)
}

/// Keys take the command's key specifications in turn; the last one serves all that are left.
fn number_keys(arguments: &mut [Argument], next: &mut usize, specs: usize) {
    for argument in arguments {
        if argument.kind == Kind::Key {
            argument.key_spec = Some((*next).min(specs - 1));
            *next += 1;
        }
        number_keys(&mut argument.arguments, next, specs);
    }
}

/// Words and brackets.
fn split(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in line.char_indices() {
        let single = matches!(character, '[' | ']' | '<' | '>' | '|');
        if single || character == ' ' {
            if let Some(start) = start.take() {
                words.push(&line[start..at]);
            }
            if single {
                words.push(&line[at..at + 1]);
            }
        } else if start.is_none() {
            start = Some(at);
        }
    }
    words.extend(start.map(|start| &line[start..]));
    words
}

fn is_token(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
        && word.bytes().any(|b| b.is_ascii_uppercase())
}

struct Parser<'a> {
    words: Vec<&'a str>,
    next: usize,
    has_keys: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    fn accept(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(word);
        self.next += there as usize;
        there
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.accept(word) {
            Ok(())
        } else {
            Err(format!("expected {word:?}, found {:?}", self.peek()))
        }
    }

    /// What is between brackets, up to the closing one: a single argument, or a group.
    fn choice(&mut self, close: &str) -> Result<Argument, String> {
        let mut alternatives = vec![block(self.sequence()?)];
        while self.accept("|") {
            alternatives.push(block(self.sequence()?));
        }
        self.expect(close)?;
        Ok(if alternatives.len() == 1 { alternatives.remove(0) } else { one_of(alternatives) })
    }

    /// Items up to a bracket that closes or a bar.
    fn sequence(&mut self) -> Result<Vec<Argument>, String> {
        let mut items: Vec<Argument> = Vec::new();
        while let Some(word) = self.peek() {
            match word {
                "]" | ">" | "|" => break,
                "..." => {
                    self.next += 1;
                    match items.last_mut() {
                        Some(last) => last.multiple = true,
                        None => return Err("\"...\" repeats nothing".to_owned()),
                    }
                }
                "[" => {
                    self.next += 1;
                    let argument = self.optional()?;
                    merge(&mut items, argument);
                }
                "<" => {
                    self.next += 1;
                    items.push(self.choice(">")?);
                }
                _ if is_token(word) => items.push(self.tokened()?),
                _ => {
                    self.next += 1;
                    items.push(named(word, self.has_keys));
                }
            }
        }
        if items.is_empty() {
            return Err(format!("nothing before {:?}", self.peek()));
        }
        Ok(items)
    }

    /// A token and the items that belong to it. Optional ones do not: `GET [MATCH pattern]` are two arguments, unless
    /// they repeat what the token has (`ID client-id [client-id ...]`).
    fn tokened(&mut self) -> Result<Argument, String> {
        let token = self.peek().expect("a token").to_owned();
        self.next += 1;
        let mut items: Vec<Argument> = Vec::new();
        while let Some(word) = self.peek() {
            match word {
                "]" | ">" | "|" | "..." => break,
                "<" => {
                    self.next += 1;
                    items.push(self.choice(">")?);
                }
                "[" => {
                    let back = self.next;
                    self.next += 1;
                    let argument = self.optional()?;
                    if !repeat(&mut items, &argument) {
                        self.next = back;
                        break;
                    }
                }
                _ if is_token(word) => break,
                _ => {
                    self.next += 1;
                    items.push(named(word, self.has_keys));
                }
            }
        }
        Ok(match items.len() {
            0 => {
                Argument { token: Some(token.clone()), ..plain(token.to_ascii_lowercase(), Kind::PureToken) }
            }
            1 => Argument { token: Some(token), ..items.remove(0) },
            _ => Argument { token: Some(token), ..block(items) },
        })
    }

    fn optional(&mut self) -> Result<Argument, String> {
        Ok(Argument { optional: true, ..self.choice("]")? })
    }
}

/// Adds an optional argument to a sequence, or makes what it repeats multiple.
fn merge(items: &mut Vec<Argument>, argument: Argument) {
    if !repeat(items, &argument) {
        items.push(argument);
    }
}

/// When `argument` repeats the last items, they become multiple (several of them: a block).
fn repeat(items: &mut Vec<Argument>, argument: &Argument) -> bool {
    let plain_of = |a: &Argument| Argument { optional: false, multiple: false, ..a.clone() };
    let mut pattern = plain_of(argument);
    // the dots stand behind the last part of a block: `[a b ...]` repeats both
    let mut dotted = argument.multiple;
    if pattern.kind == Kind::Block {
        if let Some(last) = pattern.arguments.last_mut() {
            dotted |= std::mem::take(&mut last.multiple);
        }
    }
    if !dotted {
        return false;
    }
    if items.last() == Some(&pattern) {
        let last = items.last_mut().expect("just looked");
        last.multiple = true;
        last.multiple_token = last.token.is_some();
        return true;
    }
    let parts = pattern.arguments.len();
    if pattern.kind == Kind::Block && pattern.token.is_none() && items.ends_with(&pattern.arguments) {
        items.truncate(items.len() - parts);
        items.push(Argument { multiple: true, ..pattern });
        return true;
    }
    false
}

fn plain(name: String, kind: Kind) -> Argument {
    Argument {
        name,
        kind,
        token: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        key_spec: None,
        arguments: Vec::new(),
    }
}

fn named(name: &str, has_keys: bool) -> Argument {
    plain(name.to_owned(), Kind::of_name(name, has_keys))
}

/// Several arguments in order; one is itself.
fn block(mut items: Vec<Argument>) -> Argument {
    if items.len() == 1 {
        return items.remove(0);
    }
    Argument { arguments: items.clone(), ..plain(joined(&items), Kind::Block) }
}

fn one_of(alternatives: Vec<Argument>) -> Argument {
    let has = |token: &str| alternatives.iter().any(|a| a.token.as_deref() == Some(token));
    let name = match () {
        _ if has("EX") && has("PX") => "expiration".to_owned(),
        _ if has("NX") && has("XX") => "condition".to_owned(),
        _ => joined(&alternatives),
    };
    Argument { arguments: alternatives, ..plain(name, Kind::OneOf) }
}

fn joined(items: &[Argument]) -> String {
    items.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::registry;

    /// The tree in one line: `name:kind`, token before, `?` optional, `*` multiple, `+` token repeated too.
    fn show(arguments: &[Argument]) -> String {
        let one = |a: &Argument| {
            let mut text = String::new();
            if let (Some(token), true) = (&a.token, a.kind != Kind::PureToken) {
                text += token;
                text += " ";
            }
            text += &a.name;
            text += ":";
            text += a.kind.name();
            if let Some(spec) = a.key_spec {
                text += &spec.to_string();
            }
            for (set, mark) in [(a.optional, "?"), (a.multiple, "*"), (a.multiple_token, "+")] {
                text += if set { mark } else { "" };
            }
            if !a.arguments.is_empty() {
                text += &format!("({})", show(&a.arguments));
            }
            text
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn shown(line: &str, key_specs: usize) -> String {
        show(&parse(line, key_specs).unwrap())
    }

    #[test]
    fn set_has_the_tree_that_redis_prints() {
        assert_eq!(
            shown(
                "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
                1
            ),
            "key:key0, value:string, condition:oneof?(nx:pure-token, xx:pure-token), get:pure-token?, \
             expiration:oneof?(EX seconds:integer, PX milliseconds:integer, EXAT unix-time-seconds:unix-time, \
             PXAT unix-time-milliseconds:unix-time, keepttl:pure-token)"
        );
    }

    #[test]
    fn repetition_is_found_in_all_its_forms() {
        assert_eq!(shown("key [key ...]", 1), "key:key0*");
        assert_eq!(shown("key value [key value ...]", 1), "key-value:block*(key:key0, value:string)");
        assert_eq!(shown("[ID client-id [client-id ...]]", 0), "ID client-id:integer?*");
        assert_eq!(shown("[PREFIX prefix [PREFIX prefix ...]]", 0), "PREFIX prefix:string?*+");
        assert_eq!(shown("[section [section ...]]", 0), "section:string?*");
        assert_eq!(shown("<A | B> ...", 0), "a-b:oneof*(a:pure-token, b:pure-token)");
        assert_eq!(shown("numkeys [arg ...]", 0), "numkeys:integer, arg:string?*");
    }

    #[test]
    fn tokens_take_what_follows_them() {
        assert_eq!(
            shown("[protover [AUTH username password] [SETNAME clientname]]", 0),
            "protover-username-password-clientname:block?(protover:integer, \
             AUTH username-password:block?(username:string, password:string), SETNAME clientname:string?)"
        );
        assert_eq!(
            shown("[TYPE <NORMAL | PUBSUB>]", 0),
            "TYPE normal-pubsub:oneof?(normal:pure-token, pubsub:pure-token)"
        );
        assert_eq!(
            shown("source destination [DB destination-db] [REPLACE]", 2),
            "source:key0, destination:key1, DB destination-db:integer?, replace:pure-token?"
        );
        assert_eq!(shown("GET [MATCH pattern]", 0), "get:pure-token, MATCH pattern:pattern?");
    }

    #[test]
    fn arguments_are_keys_only_where_the_command_has_keys() {
        assert_eq!(shown("key", 0), "key:string");
        assert_eq!(shown("key1 key2 [LEN]", 1), "key1:key0, key2:key0, len:pure-token?");
    }

    #[test]
    fn mistakes_are_named() {
        for (line, problem) in [
            ("[a", "expected \"]\", found None"),
            ("a ]", "unexpected \"]\""),
            ("[]", "nothing before Some(\"]\")"),
            ("<a | >", "nothing before Some(\">\")"),
            ("...", "\"...\" repeats nothing"),
        ] {
            assert_eq!(parse(line, 0), Err(problem.to_owned()), "{line:?}");
        }
    }

    #[test]
    fn every_row_parses_and_agrees_with_its_arity() {
        for command in registry().all() {
            let arguments = arguments(command.spec);
            let name_words = 1 + command.parent.is_some() as usize;
            let (least, open) = size(&arguments);
            let arity = command.spec.arity.unsigned_abs() as usize;
            if !command.subcommands.is_empty() {
                continue;
            }
            assert!(
                least + name_words <= arity || command.spec.arity > 0,
                "{}: arity {} is below the {least} arguments of the syntax",
                command.full_name,
                command.spec.arity
            );
            if command.spec.arity > 0 {
                assert_eq!((least + name_words, open), (arity, false), "{}", command.full_name);
            }
            assert_eq!(
                arguments.iter().any(has_key),
                !command.spec.keys.is_empty(),
                "{}: keys in the syntax and key specifications",
                command.full_name
            );
        }
    }

    fn has_key(argument: &Argument) -> bool {
        argument.kind == Kind::Key || argument.arguments.iter().any(has_key)
    }

    /// Least number of words, and whether there may be more.
    fn size(arguments: &[Argument]) -> (usize, bool) {
        let mut least = 0;
        let mut open = false;
        for argument in arguments {
            let token = (argument.token.is_some() && argument.kind != Kind::PureToken) as usize;
            let (inner, inner_open) = match argument.kind {
                Kind::OneOf => {
                    let sizes: Vec<_> =
                        argument.arguments.iter().map(|a| size(std::slice::from_ref(a))).collect();
                    let least = sizes.iter().map(|s| s.0).min().unwrap();
                    (least, sizes.iter().any(|s| s.0 != least || s.1))
                }
                Kind::Block => size(&argument.arguments),
                _ => (1, false),
            };
            open |= inner_open || argument.optional || argument.multiple;
            if !argument.optional {
                least += token + inner;
            }
        }
        (least, open)
    }
}
