//! COMMAND and its subcommands: the command table, described to clients.

use kora_engine::args;
use kora_engine::command::{registry, Begin, Categories, Command, CommandSpec, Find, Flags, KeySpec};
use kora_engine::error::Error;
use kora_engine::glob;
use kora_engine::keys_of::{keys_of, KeyAt};
use kora_engine::reply::Reply;
use kora_engine::syntax::{self, Argument, Kind};

const FLAG_NAMES: [(Flags, &str); 19] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::MOVABLEKEYS, "movablekeys"),
];

/// The ACL categories of a command: those of its row and those that its flags imply, in Redis's order.
fn categories(spec: &CommandSpec) -> Vec<&'static str> {
    let row = |category| spec.categories.contains(category);
    let flag = |flag| spec.flags.contains(flag);
    [
        (row(Categories::KEYSPACE), "keyspace"),
        // A script is not a read, whatever it may do.
        (row(Categories::READ) || flag(Flags::READONLY) && !row(Categories::SCRIPTING), "read"),
        (row(Categories::WRITE) || flag(Flags::WRITE), "write"),
        (row(Categories::SET), "set"),
        (row(Categories::SORTEDSET), "sortedset"),
        (row(Categories::LIST), "list"),
        (row(Categories::HASH), "hash"),
        (row(Categories::STRING), "string"),
        (row(Categories::BITMAP), "bitmap"),
        (row(Categories::HYPERLOGLOG), "hyperloglog"),
        (row(Categories::GEO), "geo"),
        (row(Categories::STREAM), "stream"),
        (flag(Flags::PUBSUB), "pubsub"),
        (row(Categories::ADMIN) || flag(Flags::ADMIN), "admin"),
        (flag(Flags::FAST), "fast"),
        (!flag(Flags::FAST), "slow"),
        (flag(Flags::BLOCKING), "blocking"),
        (row(Categories::DANGEROUS) || flag(Flags::ADMIN), "dangerous"),
        (row(Categories::CONNECTION), "connection"),
        (row(Categories::TRANSACTION), "transaction"),
        (row(Categories::SCRIPTING), "scripting"),
    ]
    .into_iter()
    .filter_map(|(there, name)| there.then_some(name))
    .collect()
}

/// `config|get` or a top-level name, in any case of letters.
fn find(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&b| b == b'|') {
        None => registry().find(name),
        Some(bar) => registry().find_subcommand(registry().find(&name[..bar])?, &name[bar + 1..]),
    }
}

fn top_level() -> impl Iterator<Item = &'static Command> + Clone {
    registry().all().iter().filter(|command| command.parent.is_none())
}

/// COMMAND, and COMMAND INFO with no name.
pub(crate) fn all(reply: &mut dyn Reply) {
    reply.array(top_level().count());
    for command in top_level() {
        write_info(command, reply);
    }
}

/// COMMAND COUNT.
pub(crate) fn count(reply: &mut dyn Reply) {
    reply.integer(top_level().count() as i64);
}

/// COMMAND INFO.
pub(crate) fn info(argv: &[&[u8]], reply: &mut dyn Reply) {
    let names = &argv[2..];
    if names.is_empty() {
        return all(reply);
    }
    reply.array(names.len());
    for name in names {
        match find(name) {
            Some(command) => write_info(command, reply),
            None => reply.null(),
        }
    }
}

fn write_info(command: &Command, reply: &mut dyn Reply) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(spec.arity.into());
    let flags: Vec<_> = FLAG_NAMES.iter().filter(|(flag, _)| spec.flags.contains(*flag)).collect();
    reply.set(flags.len());
    for (_, name) in flags {
        reply.simple(name);
    }
    let (first, last, step) = legacy_range(spec.keys);
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories = categories(spec);
    reply.set(categories.len());
    for name in categories {
        reply.simple(&format!("@{name}"));
    }
    reply.set(spec.tips.len());
    for tip in spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.keys.len());
    for keys in spec.keys {
        write_key_spec(keys, reply);
    }
    if command.subcommands.is_empty() {
        reply.set(0);
        return;
    }
    reply.array(command.subcommands.len());
    for &sub in &command.subcommands {
        write_info(registry().by_id(sub), reply);
    }
}

/// First key, last key and step as clients before key specifications read them: one range around all of them.
fn legacy_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let ranges: Vec<(i64, i64, i64)> = specs
        .iter()
        .filter_map(|keys| match (keys.begin, keys.find) {
            (Begin::Index(first), Find::Range { last, step, limit: 0 }) => {
                let (first, last) = (i64::from(first), i64::from(last));
                Some((first, if last < 0 { last } else { first + last }, i64::from(step)))
            }
            _ => None,
        })
        .collect();
    let Some(first) = ranges.iter().map(|range| range.0).min() else { return (0, 0, 0) };
    let last = match ranges.iter().find(|range| range.1 < 0) {
        Some(open) => open.1,
        None => ranges.iter().map(|range| range.1).max().expect("there is a first"),
    };
    let step = if ranges.len() == 1 { ranges[0].2 } else { 1 };
    (first, last, step)
}

fn write_key_spec(keys: &KeySpec, reply: &mut dyn Reply) {
    let indescribable = keys.begin.notes();
    let notes = indescribable.or((!keys.notes.is_empty()).then_some(keys.notes));
    reply.map(3 + notes.is_some() as usize);
    if let Some(notes) = notes {
        reply.bulk(b"notes");
        reply.bulk(notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_key_flags(keys.flags, reply);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    match keys.begin {
        Begin::Index(index) => {
            reply.bulk(b"index");
            reply.bulk(b"spec");
            reply.map(1);
            reply.bulk(b"index");
            reply.integer(index.into());
        }
        Begin::Keyword(word, from) => {
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(from.into());
        }
        Begin::SortStore | Begin::SortPatterns => {
            reply.bulk(b"unknown");
            reply.bulk(b"spec");
            reply.map(0);
        }
    }
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    match keys.find {
        _ if indescribable.is_some() => {
            reply.bulk(b"unknown");
            reply.bulk(b"spec");
            reply.map(0);
        }
        Find::Range { last, step, limit } => {
            reply.bulk(b"range");
            reply.bulk(b"spec");
            reply.map(3);
            reply.bulk(b"lastkey");
            reply.integer(last.into());
            reply.bulk(b"keystep");
            reply.integer(step.into());
            reply.bulk(b"limit");
            reply.integer(limit.into());
        }
        Find::NumKeys => {
            reply.bulk(b"keynum");
            reply.bulk(b"spec");
            reply.map(3);
            for (name, value) in [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)] {
                reply.bulk(name.as_bytes());
                reply.integer(value);
            }
        }
    }
}

fn write_key_flags(flags: kora_engine::command::KeyFlags, reply: &mut dyn Reply) {
    reply.set(flags.names().count());
    for name in flags.names() {
        reply.simple(name);
    }
}

/// COMMAND DOCS.
pub(crate) fn docs(argv: &[&[u8]], reply: &mut dyn Reply) {
    let commands: Vec<_> = match &argv[2..] {
        [] => top_level().collect(),
        names => names.iter().filter_map(|name| find(name)).collect(),
    };
    write_docs(&commands, reply);
}

fn write_docs(commands: &[&'static Command], reply: &mut dyn Reply) {
    reply.map(commands.len());
    for command in commands {
        let spec = command.spec;
        let arguments = syntax::arguments(spec);
        reply.bulk(command.full_name.as_bytes());
        reply.map(4 + !arguments.is_empty() as usize + !command.subcommands.is_empty() as usize);
        let fields = [
            ("summary", spec.summary),
            ("since", spec.since),
            ("group", spec.group.name()),
            ("complexity", spec.complexity),
        ];
        for (field, value) in fields {
            reply.bulk(field.as_bytes());
            reply.bulk(value.as_bytes());
        }
        if !arguments.is_empty() {
            reply.bulk(b"arguments");
            write_arguments(&arguments, reply);
        }
        if !command.subcommands.is_empty() {
            reply.bulk(b"subcommands");
            let subcommands: Vec<_> = command.subcommands.iter().map(|&id| registry().by_id(id)).collect();
            write_docs(&subcommands, reply);
        }
    }
}

fn write_arguments(arguments: &[Argument], reply: &mut dyn Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        let group = matches!(argument.kind, Kind::OneOf | Kind::Block);
        let flags: Vec<_> = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.multiple_token, "multiple_token"),
        ]
        .into_iter()
        .filter_map(|(there, name)| there.then_some(name))
        .collect();
        reply.map(
            2 + !group as usize
                + argument.key_spec.is_some() as usize
                + argument.token.is_some() as usize
                + !flags.is_empty() as usize
                + group as usize,
        );
        reply.bulk(b"name");
        reply.bulk(argument.name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(argument.kind.name().as_bytes());
        if !group {
            reply.bulk(b"display_text");
            reply.bulk(argument.name.as_bytes());
        }
        if let Some(index) = argument.key_spec {
            reply.bulk(b"key_spec_index");
            reply.integer(index as i64);
        }
        if let Some(token) = &argument.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            for flag in flags {
                reply.simple(flag);
            }
        }
        if group {
            reply.bulk(b"arguments");
            write_arguments(&argument.arguments, reply);
        }
    }
}

/// COMMAND LIST.
pub(crate) fn list(argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
    let names: Vec<&[u8]> = match argv {
        [_, _] => top_level().map(|command| command.full_name.as_bytes()).collect(),
        [_, _, filter, kind, value] if args::is(filter, "filterby") => {
            let keep: Box<dyn Fn(&Command) -> bool> = match () {
                // no command comes from a module that can be loaded
                _ if args::is(kind, "module") => Box::new(|_| false),
                _ if args::is(kind, "aclcat") => {
                    Box::new(|command| categories(command.spec).iter().any(|name| args::is(value, name)))
                }
                _ if args::is(kind, "pattern") => {
                    Box::new(|command| glob::matches_nocase(value, command.full_name.as_bytes()))
                }
                _ => return Err(Error::SYNTAX),
            };
            let all = registry().all().iter();
            all.filter(|command| keep(command)).map(|command| command.full_name.as_bytes()).collect()
        }
        _ => return Err(Error::SYNTAX),
    };
    reply.array(names.len());
    for name in names {
        reply.bulk(name);
    }
    Ok(())
}

/// COMMAND GETKEYS.
pub(crate) fn get_keys(argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
    let keys = keys_in(&argv[2..])?;
    reply.array(keys.len());
    for key in keys {
        reply.bulk(argv[2 + key.index]);
    }
    Ok(())
}

/// COMMAND GETKEYSANDFLAGS.
pub(crate) fn get_keys_and_flags(argv: &[&[u8]], reply: &mut dyn Reply) -> Result<(), Error> {
    let keys = keys_in(&argv[2..])?;
    reply.array(keys.len());
    for key in keys {
        reply.array(2);
        reply.bulk(argv[2 + key.index]);
        write_key_flags(key.flags, reply);
    }
    Ok(())
}

fn keys_in(argv: &[&[u8]]) -> Result<Vec<KeyAt>, Error> {
    let command = registry().named(argv).ok_or(Error::new("ERR Invalid command specified"))?;
    if command.spec.keys.is_empty() {
        return Err(Error::new("ERR The command has no key arguments"));
    }
    if !command.accepts(argv.len()) {
        return Err(Error::new("ERR Invalid number of arguments specified for command"));
    }
    keys_of(command, argv).ok_or(Error::new("ERR Invalid arguments specified for command"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::{resp2, resp3, run};

    #[test]
    fn info_of_a_subcommand_is_what_redis_prints() {
        assert_eq!(
            resp3(|reply| info(&[b"command", b"info", b"Memory|USAGE", b"nope"], reply)),
            "*2 *10 $memory|usage :-3 ~1 +readonly :2 :2 :1 ~2 +@read +@slow ~0 \
             ~1 %3 $flags ~1 +RO $begin_search %2 $type $index $spec %1 $index :2 \
             $find_keys %2 $type $range $spec %3 $lastkey :0 $keystep :1 $limit :0 ~0 _"
        );
        assert_eq!(
            resp2(|reply| info(&[b"command", b"info", b"config|get"], reply)),
            "*1 *10 $config|get :-3 *4 +admin +noscript +loading +stale :0 :0 :0 *3 +@admin +@slow +@dangerous *0 *0 *0"
        );
    }

    #[test]
    fn docs_hold_the_argument_tree() {
        assert_eq!(
            resp3(|reply| docs(&[b"command", b"docs", b"nope", b"client|pause"], reply)),
            "%1 $client|pause %5 $summary $Holds back all commands, or those that write, for a time. $since $3.0.0 \
             $group $connection $complexity $O(1) $arguments *2 \
             %3 $name $timeout $type $integer $display_text $timeout \
             %4 $name $write-all $type $oneof $flags ~1 +optional $arguments *2 \
             %4 $name $write $type $pure-token $display_text $write $token $WRITE \
             %4 $name $all $type $pure-token $display_text $all $token $ALL"
        );
        // every command's documentation is well formed: the sink counts the elements
        resp3(|reply| docs(&[b"command", b"docs"], reply));
        resp2(all);
    }

    #[test]
    fn list_filters() {
        let names = |argv: &[&[u8]]| run(|reply| list(argv, reply));
        assert_eq!(
            names(&[b"command", b"list", b"filterby", b"pattern", b"PIN*"]),
            Ok("*1 $ping".to_owned())
        );
        assert_eq!(names(&[b"command", b"list", b"filterby", b"module", b"json"]), Ok("*0".to_owned()));
        assert_eq!(names(&[b"command", b"list", b"filterby", b"aclcat", b"nope"]), Ok("*0".to_owned()));
        let connection = names(&[b"command", b"list", b"filterby", b"aclcat", b"connection"]).unwrap();
        assert!(connection.contains("$client|kill") && connection.contains("$hello"), "{connection}");
        assert!(!connection.contains("$config"));
        assert_eq!(names(&[b"command", b"list", b"filterby", b"pattern"]), Err(Error::SYNTAX));
        assert_eq!(names(&[b"command", b"list", b"filterby", b"no", b"x"]), Err(Error::SYNTAX));
    }

    #[test]
    fn getkeys_answers_keys_or_says_why_not() {
        let keys = |line: &str| {
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            run(|reply| get_keys(&argv, reply))
        };
        assert_eq!(keys("command getkeys memory usage a"), Ok("*1 $a".to_owned()));
        let error = |line| String::from_utf8(keys(line).unwrap_err().text().to_vec()).unwrap();
        assert_eq!(error("command getkeys nope a"), "ERR Invalid command specified");
        assert_eq!(error("command getkeys client nope"), "ERR Invalid command specified");
        assert_eq!(error("command getkeys ping a"), "ERR The command has no key arguments");
        assert_eq!(error("command getkeys config get a"), "ERR The command has no key arguments");
        assert_eq!(
            error("command getkeys memory usage"),
            "ERR Invalid number of arguments specified for command"
        );
        assert_eq!(
            run(|reply| get_keys_and_flags(
                &[b"command", b"getkeysandflags", b"memory", b"usage", b"a"],
                reply
            )),
            Ok("*1 *2 $a *1 +RO".to_owned())
        );
    }
}
