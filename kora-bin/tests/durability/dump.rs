//! All that a server holds, in a form that can be compared: everything that commands can tell of a key and that is not about the moment.

use crate::harness::{Client, Subject, Value};
use std::collections::BTreeMap;

/// Per database and key what there is to know of it.
pub type Dump = BTreeMap<(u32, Vec<u8>), Vec<String>>;

/// Reads the first so many databases.
pub fn of(client: &mut Client, databases: u32) -> Dump {
    let mut dump = Dump::new();
    for database in 0..databases {
        assert_eq!(client.command(&format!("SELECT {database}")).text(), "OK");
        let names = client.command("KEYS *");
        for name in names.items() {
            let key = name.bytes().expect("a name").to_vec();
            let facts = facts(client, &key);
            dump.insert((database, key), facts);
        }
    }
    assert_eq!(client.command("SELECT 0").text(), "OK");
    dump
}

/// The keys that are not the same in both, with what is different about them.
pub fn difference(before: &Dump, after: &Dump) -> String {
    let mut text = String::new();
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let facts = |dump: &Dump| dump.get(name).cloned().unwrap_or_else(|| vec!["nothing".to_owned()]);
        let (old, new) = (facts(before), facts(after));
        for at in 0..old.len().max(new.len()) {
            let (old, new) = (old.get(at), new.get(at));
            if old != new {
                let shown =
                    |fact: Option<&String>| fact.map(|text| text.chars().take(2_000).collect::<String>());
                let key = name.1.escape_ascii();
                text.push_str(&format!(
                    "database {}, \"{key}\":\n  before {:?}\n  after {:?}\n",
                    name.0,
                    shown(old),
                    shown(new)
                ));
            }
        }
    }
    text
}

/// Idle times of consumers are about the moment and left out.
fn facts(client: &mut Client, key: &[u8]) -> Vec<String> {
    let mut ask = |words: &[&[u8]]| client.call(words);
    let kind = ask(&[b"TYPE", key]).text();
    let mut facts = vec![kind.clone(), format!("{:?}", ask(&[b"PEXPIRETIME", key]))];
    let mut tell = |value: &Value| facts.push(format!("{value:?}"));
    match kind.as_str() {
        "string" => tell(&ask(&[b"GET", key])),
        "list" => tell(&ask(&[b"LRANGE", key, b"0", b"-1"])),
        "set" => tell(&sorted(ask(&[b"SMEMBERS", key]).items(), 1)),
        "zset" => tell(&ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"])),
        "hash" => {
            let all = sorted(ask(&[b"HGETALL", key]).items(), 2);
            tell(&all);
            for pair in all.items() {
                let field = pair.items()[0].bytes().expect("a field");
                // Redis 7.0 knows no fields that expire; an error is the same before and after.
                tell(&ask(&[b"HPEXPIRETIME", key, b"FIELDS", b"1", field]));
            }
        }
        "stream" => {
            tell(&ask(&[b"XRANGE", key, b"-", b"+"]));
            let about = fields(&ask(&[b"XINFO", b"STREAM", key]));
            for name in ["length", "last-generated-id", "max-deleted-entry-id", "entries-added"] {
                tell(&about[name]);
            }
            for group in ask(&[b"XINFO", b"GROUPS", key]).items() {
                let about = fields(group);
                about.iter().filter(|(name, _)| is_kept(name)).for_each(|(_, value)| tell(value));
            }
            let all = fields(&ask(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]));
            for group in all["groups"].items() {
                for (name, value) in fields(group) {
                    if name != "consumers" {
                        if is_kept(&name) {
                            tell(&value);
                        }
                        continue;
                    }
                    for consumer in value.items() {
                        let lasting =
                            fields(consumer).into_iter().filter(|(name, _)| !name.ends_with("-time"));
                        lasting.for_each(|(_, value)| tell(&value));
                    }
                }
            }
        }
        other => panic!("{} is a {other}", key.escape_ascii()),
    }
    facts
}

/// Redis's append-only file says of a group less than there is.
fn is_kept(name: &str) -> bool {
    Subject::current() == Subject::Kora || !matches!(name, "entries-read" | "lag")
}

/// Items in groups of so many, in their order.
fn sorted(items: &[Value], width: usize) -> Value {
    let mut groups: Vec<Value> = items.chunks(width).map(|group| Value::Array(group.to_vec())).collect();
    groups.sort();
    Value::Array(groups)
}

/// A list of names and values.
fn fields(value: &Value) -> BTreeMap<String, Value> {
    value.items().chunks(2).map(|pair| (pair[0].text(), pair[1].clone())).collect()
}
