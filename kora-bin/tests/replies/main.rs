//! Reply by reply, Kora answers as redis-server does.
//!
//! Each file of `cases/` is one family of commands in the language of `script`. Its commands go in lockstep to Debian's
//! redis-server, to Kora with one worker and to Kora with two, in a pass of RESP2 and a pass of RESP3; the bytes of the
//! replies must be equal, unless a directive says what else is. All mismatches of a family are reported together.
//!
//! Debian's redis-server is 7.0 and Kora follows Redis 8 where the two differ: such cases carry the reply (`-- expect`).
//! With a redis-server in `KORA_BIN` the suite checks itself: 7.0 must equal itself, and 8 must give what `expect` says.

mod alike;
mod edges;
#[path = "../harness/mod.rs"]
mod harness;
mod notation;
mod script;
mod sketches;

use harness::resp::read_reply;
use harness::{Client, Launch, Reply, Server, Subject, Value};
use notation::{escaped, in_protocol, show};
use script::{Action, Comparison, Expectation, RawEnd, Step, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

macro_rules! families {
    ($($name:ident)*) => {
        const FAMILIES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                compare_family(stringify!($name));
            }
        )*
    };
}

families! {
    append_and_ranges
    bitfield
    bitmap
    bitmap_and_hyperloglog_commands
    bitop
    blocking_lists
    blocking_sorted_sets
    blocking_streams
    client
    cluster
    command
    config
    connection
    copy_move_rename
    counters
    databases
    dump_and_restore
    expire
    geo
    getex
    hyperloglog
    hash_field_expiry
    hashes
    inline
    keys
    lcs
    list_encodings
    lists
    maxmemory
    memory
    migrate
    multiple_keys
    object
    object_of_collections
    protocol
    scan
    scripting
    server
    set
    set_algebra
    saving
    sets
    slowlog_and_latency
    stream_claims
    stream_deletion
    stream_groups
    streams
    sort
    strings
    strings_of_other_types
    transactions
    zset
    zset_combinations
    zset_ranges
    zset_walks
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replies/cases")
}

fn load(family: &str) -> Vec<Step> {
    let path = cases().join(format!("{family}.txt"));
    let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    script::parse(&source).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One server of a comparison with its connections.
struct Party {
    name: &'static str,
    server: Server,
    protocol: u8,
    connections: BTreeMap<usize, Client>,
    current: usize,
}

/// What one server did at one step.
#[derive(Clone, Debug)]
enum Outcome {
    Replies(Vec<Reply>),
    /// The words say what went wrong instead of a reply.
    Failure(String),
    Closed(bool),
    Keys(BTreeSet<Vec<u8>>),
}

impl Party {
    fn new(name: &'static str, launch: &Launch, protocol: u8) -> Party {
        Party { name, server: launch.start(), protocol, connections: BTreeMap::new(), current: 1 }
    }

    fn connection(&mut self, number: usize) -> io::Result<&mut Client> {
        if !self.connections.contains_key(&number) {
            let mut client = Client::connect_to(self.server.address())?;
            if self.protocol == 3 {
                client.send(&["HELLO", "3"])?;
                client.read()?;
            }
            self.connections.insert(number, client);
        }
        Ok(self.connections.get_mut(&number).expect("just inserted"))
    }

    /// Runs one step; `None` when it has nothing to compare.
    fn run(&mut self, step: &Step, now: Duration) -> Option<Outcome> {
        let outcome = self.try_run(step, now);
        match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                // What a broken connection says next belongs to no command.
                self.connections.remove(&self.current);
                Some(Outcome::Failure(match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("no reply ({error})"),
                    io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
                    _ => error.to_string(),
                }))
            }
        }
    }

    fn try_run(&mut self, step: &Step, now: Duration) -> io::Result<Option<Outcome>> {
        match &step.action {
            Action::Sleep(_) => Ok(None),
            Action::Connection(number) => {
                self.current = *number;
                self.connection(*number)?;
                Ok(None)
            }
            Action::Flush => {
                let numbers: Vec<usize> = self.connections.keys().copied().collect();
                let unread: Vec<usize> = numbers
                    .into_iter()
                    .filter(|number| {
                        let client = self.connections.get_mut(number).expect("a known connection");
                        // A closed connection has nothing more to say; whether it should be closed is `closed`'s question.
                        client.has_unread()
                    })
                    .collect();
                self.connections.clear();
                self.current = 1;
                let reply = self.connection(0)?.call(&["FLUSHALL"]);
                self.connections.clear();
                if reply != Value::Simple(b"OK".to_vec()) {
                    return Ok(Some(Outcome::Failure(format!("FLUSHALL: {}", show(&reply)))));
                }
                if unread.is_empty() {
                    return Ok(None);
                }
                Ok(Some(Outcome::Failure(format!("unasked replies on connections {unread:?}"))))
            }
            Action::Command { words, reply } => {
                let arguments = self.fill(words, now)?;
                let client = self.connection(self.current)?;
                client.send(&arguments)?;
                if !reply {
                    return Ok(None);
                }
                Ok(Some(Outcome::Replies(vec![client.read()?])))
            }
            Action::Read => Ok(Some(Outcome::Replies(vec![self.connection(self.current)?.read()?]))),
            Action::Closed => {
                let client = self.connection(self.current)?;
                let closed = matches!(client.read_to_close(), Ok(rest) if rest.is_empty());
                self.connections.remove(&self.current);
                Ok(Some(Outcome::Closed(closed)))
            }
            Action::Scan(words) => {
                let options = self.fill(words, now)?;
                self.scan(&options).map(Some)
            }
            Action::Raw { bytes, end: RawEnd::Replies(count) } => {
                let client = self.connection(self.current)?;
                client.send_raw(bytes)?;
                Ok(Some(Outcome::Replies((0..*count).map(|_| client.read()).collect::<io::Result<_>>()?)))
            }
            Action::Raw { bytes, end: RawEnd::Close } => {
                self.connections.remove(&self.current);
                let client = self.connection(self.current)?;
                client.send_raw(bytes)?;
                let all = client.read_to_close()?;
                self.connections.remove(&self.current);
                let mut input = all.as_slice();
                let mut replies = Vec::new();
                while !input.is_empty() {
                    replies.push(read_reply(&mut input)?);
                }
                Ok(Some(Outcome::Replies(replies)))
            }
        }
    }

    /// SCAN from 0 to 0. A key may come twice, so the union counts.
    fn scan(&mut self, options: &[Vec<u8>]) -> io::Result<Outcome> {
        const STEPS_MAX: usize = 100_000;
        let mut cursor = b"0".to_vec();
        let mut keys = BTreeSet::new();
        for _ in 0..STEPS_MAX {
            let mut arguments = vec![b"SCAN".to_vec(), cursor];
            arguments.extend_from_slice(options);
            let client = self.connection(self.current)?;
            client.send(&arguments)?;
            let reply = client.read()?;
            let Value::Array(parts) = &reply.value else {
                return Ok(Outcome::Replies(vec![reply]));
            };
            let [Value::Bulk(next), Value::Array(found)] = parts.as_slice() else {
                return Ok(Outcome::Failure(format!("not a reply of SCAN: {}", show(&reply.value))));
            };
            keys.extend(found.iter().filter_map(Value::bytes).map(<[u8]>::to_vec));
            if next == b"0" {
                return Ok(Outcome::Keys(keys));
            }
            cursor = next.clone();
        }
        Ok(Outcome::Failure(format!("SCAN has not ended after {STEPS_MAX} calls")))
    }

    fn fill(&mut self, words: &[Word], now: Duration) -> io::Result<Vec<Vec<u8>>> {
        words
            .iter()
            .map(|word| match word {
                Word::Bytes(bytes) => Ok(bytes.clone()),
                Word::Template(template) => self.fill_template(template, now).map(String::into_bytes),
            })
            .collect()
    }

    fn fill_template(&mut self, template: &str, now: Duration) -> io::Result<String> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, inside)) = rest.split_once('{') {
            let (name, after) =
                inside.split_once('}').unwrap_or_else(|| panic!("{template}: no closing brace"));
            filled.push_str(before);
            filled.push_str(&self.placeholder(name, now)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn placeholder(&mut self, name: &str, now: Duration) -> io::Result<String> {
        let number = |text: &str| text.parse::<i128>().unwrap_or_else(|error| panic!("{{{name}}}: {error}"));
        // The longer name first: one is the start of the other.
        if let Some(offset) = name.strip_prefix("nowms") {
            return Ok((now.as_millis() as i128 + number(offset)).to_string());
        }
        if let Some(offset) = name.strip_prefix("now") {
            return Ok((i128::from(now.as_secs()) + number(offset)).to_string());
        }
        if let Some(connection) = name.strip_prefix("id") {
            let client = self.connection(number(connection) as usize)?;
            client.send(&["CLIENT", "ID"])?;
            return match client.read()?.value {
                Value::Int(id) => Ok(id.to_string()),
                other => Err(io::Error::other(format!("CLIENT ID: {}", show(&other)))),
            };
        }
        if let Some(connection) = name.strip_prefix("laddr") {
            let _ = number(connection);
            return Ok(self.server.address().to_string());
        }
        if let Some(connection) = name.strip_prefix("addr") {
            return Ok(self.connection(number(connection) as usize)?.local_address().to_string());
        }
        assert_eq!(name, "port", "a placeholder that is known");
        Ok(self.server.port.to_string())
    }
}

/// Mismatches of one family: the same difference in several configurations is one entry.
#[derive(Default)]
struct Report {
    entries: BTreeMap<(usize, String, String, String), Vec<String>>,
}

impl Report {
    fn add(&mut self, step: &Step, expected: String, got: String, configuration: String) {
        self.entries.entry((step.line, step.text.clone(), expected, got)).or_default().push(configuration);
    }
}

fn compare_family(family: &str) {
    let steps = load(family);
    let subject = Subject::current();
    let mut report = Report::default();
    let mut compared = 0;
    for protocol in [2, 3] {
        let mut reference = Party::new("redis-server", &Launch::redis(), protocol);
        let mut subjects = match subject {
            Subject::Kora => vec![
                Party::new("1 worker", &Launch::kora().workers(1), protocol),
                Party::new("2 workers", &Launch::kora().workers(2), protocol),
            ],
            Subject::Redis(..) => vec![Party::new("redis-server again", &Launch::kora(), protocol)],
        };
        for step in steps.iter().filter(|step| step.only.is_none_or(|only| only == protocol)) {
            if let Action::Sleep(milliseconds) = step.action {
                std::thread::sleep(Duration::from_millis(milliseconds));
                continue;
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
            let ours = reference.run(step, now);
            if let Some(Outcome::Failure(failure)) = &ours {
                panic!("{family}.txt:{}: the reference fails: {failure}: {}", step.line, step.text);
            }
            for party in &mut subjects {
                let theirs = party.run(step, now);
                compared += usize::from(theirs.is_some());
                if let Some((expected, got)) =
                    mismatch(step, protocol, subject, ours.as_ref(), theirs.as_ref())
                {
                    report.add(step, expected, got, format!("RESP{protocol}, {}", party.name));
                }
                assert!(
                    party.server.is_running(),
                    "{family}.txt:{}: the server died at: {}",
                    step.line,
                    step.text
                );
            }
        }
    }
    assert!(compared > 0, "{family}.txt compares nothing");
    if report.entries.is_empty() {
        return;
    }
    eprintln!("{} mismatches in {family}.txt:", report.entries.len());
    for ((line, text, expected, got), configurations) in &report.entries {
        eprintln!("{family}.txt:{line}: {}", shortened(text));
        eprintln!("    expected {}", shortened(expected));
        eprintln!("    got      {}", shortened(got));
        eprintln!("    with     {}", configurations.join("; "));
    }
    panic!("{family}: {} of the case file's lines differ", report.entries.len());
}

#[test]
fn random_commands_are_answered_alike() {
    let mut found = Vec::new();
    for (protocol, workers, seed) in [(2, 1, 0x5eed_0001), (3, 2, 0x5eed_0002), (2, 2, 0x5eed_0003)] {
        let mut reference = Party::new("redis-server", &Launch::redis(), protocol);
        let mut subject = Party::new("subject", &Launch::kora().workers(workers), protocol);
        for mismatch in alike::compare(&mut reference, &mut subject, seed) {
            found.push(format!("RESP{protocol}, {workers} workers, {mismatch}"));
        }
        assert!(subject.server.is_running(), "the server has died: {}", found.join("\n"));
    }
    assert!(found.is_empty(), "{} mismatches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn random_transactions_are_answered_alike() {
    let mut found = Vec::new();
    for (protocol, workers, seed) in [(2, 1, 0x5eed_0021), (3, 2, 0x5eed_0022), (2, 2, 0x5eed_0023)] {
        let mut reference = Party::new("redis-server", &Launch::redis(), protocol);
        let mut subject = Party::new("subject", &Launch::kora().workers(workers), protocol);
        for mismatch in alike::compare_transactions(&mut reference, &mut subject, seed) {
            found.push(format!("RESP{protocol}, {workers} workers, {mismatch}"));
        }
        assert!(subject.server.is_running(), "the server has died: {}", found.join("\n"));
    }
    assert!(found.is_empty(), "{} mismatches:\n{}", found.len(), found.join("\n"));
}

#[test]
fn sketches_are_the_bytes_of_redis() {
    for (protocol, workers, seed) in [(2, 1, 0x5eed_0011), (3, 2, 0x5eed_0012)] {
        let mut reference = Party::new("redis-server", &Launch::redis(), protocol);
        let mut subject = Party::new("subject", &Launch::kora().workers(workers), protocol);
        let mismatch = sketches::compare(&mut reference, &mut subject, seed);
        assert_eq!(mismatch, None, "RESP{protocol}, {workers} workers");
    }
}

#[test]
fn edges_of_arguments_are_answered_alike() {
    let mut found = Vec::new();
    for (protocol, workers) in [(2, 1), (3, 2)] {
        let mut reference = Party::new("redis-server", &Launch::redis(), protocol);
        let mut subject = Party::new("subject", &Launch::kora().workers(workers), protocol);
        for mismatch in edges::compare(&mut reference, &mut subject) {
            found.push(format!("RESP{protocol}, {workers} workers, {mismatch}"));
        }
        assert!(subject.server.is_running(), "the server has died: {}", found.join("\n"));
    }
    assert!(found.is_empty(), "{} mismatches:\n{}", found.len(), found.join("\n"));
}

/// What was expected and what came instead, or nothing when the outcome is right.
fn mismatch(
    step: &Step,
    protocol: u8,
    subject: Subject,
    ours: Option<&Outcome>,
    theirs: Option<&Outcome>,
) -> Option<(String, String)> {
    let literal = match (&step.expectation, subject) {
        (Expectation::Reference, _) => None,
        // What only a later version knows is not asked of an earlier one, nor Kora's own ways of any Redis.
        (Expectation::Since { version, .. }, Subject::Redis(running)) if running < *version => return None,
        (Expectation::Differs { .. }, Subject::Redis(..)) => return None,
        (Expectation::Since { reply, .. } | Expectation::Differs { reply, .. }, _) => {
            Some(in_protocol(reply, protocol))
        }
    };
    if let Some(literal) = literal {
        let Some(Outcome::Replies(replies)) = theirs else {
            return Some((show(&literal), describe(theirs)));
        };
        let [reply] = replies.as_slice() else {
            return Some((show(&literal), describe(theirs)));
        };
        if let (Expectation::Differs { .. }, Some(Outcome::Replies(reference))) = (&step.expectation, ours) {
            if reference.iter().map(|reply| &reply.value).eq([&literal]) {
                return Some(("a difference from redis-server, but there is none".into(), show(&literal)));
            }
        }
        let same = reduced(&literal, step.comparison) == reduced(&reply.value, step.comparison);
        return (!same).then(|| (show(&literal), show(&reply.value)));
    }
    let same = match (ours, theirs) {
        (None, None) => true,
        (Some(Outcome::Closed(ours)), Some(Outcome::Closed(theirs))) => ours == theirs,
        (Some(Outcome::Keys(ours)), Some(Outcome::Keys(theirs))) => ours == theirs,
        (Some(Outcome::Replies(ours)), Some(Outcome::Replies(theirs))) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| match step.comparison {
                    Comparison::Bytes if ours.raw == theirs.raw => true,
                    Comparison::Bytes => is_same_time_left(&step.action, &ours.value, &theirs.value),
                    other => reduced(&ours.value, other) == reduced(&theirs.value, other),
                })
        }
        _ => false,
    };
    (!same).then(|| (describe(ours), describe(theirs)))
}

/// TTL and PTTL are asked of one server after the other: what is left may differ by the time in between.
fn is_same_time_left(action: &Action, ours: &Value, theirs: &Value) -> bool {
    const SECONDS: u64 = 3;
    let Action::Command { words, .. } = action else { return false };
    let tolerance = match words.first() {
        Some(Word::Bytes(name)) if name.eq_ignore_ascii_case(b"TTL") => SECONDS,
        Some(Word::Bytes(name)) if name.eq_ignore_ascii_case(b"PTTL") => SECONDS * 1000,
        _ => return false,
    };
    match (ours, theirs) {
        (Value::Int(ours), Value::Int(theirs)) => {
            *ours > 0 && *theirs > 0 && ours.abs_diff(*theirs) <= tolerance
        }
        _ => false,
    }
}

fn describe(outcome: Option<&Outcome>) -> String {
    match outcome {
        None => "nothing".into(),
        Some(Outcome::Failure(failure)) => format!("({failure})"),
        Some(Outcome::Closed(closed)) => if *closed { "(closed)" } else { "(open)" }.into(),
        Some(Outcome::Keys(keys)) => {
            format!(
                "{} keys: {}",
                keys.len(),
                keys.iter().map(|key| escaped(key)).collect::<Vec<_>>().join(" ")
            )
        }
        Some(Outcome::Replies(replies)) => {
            replies.iter().map(|reply| show(&reply.value)).collect::<Vec<_>>().join("  then  ")
        }
    }
}

/// The part of a reply that the comparison looks at, as text.
fn reduced(value: &Value, comparison: Comparison) -> String {
    match comparison {
        Comparison::Bytes => show(value),
        Comparison::Sorted => show(&sorted(value)),
        Comparison::Shape => shape(value),
        Comparison::Fields => fields(value),
        Comparison::ErrorPrefix => match value {
            Value::Error(text) => {
                format!("-{}", escaped(text.split(|&byte| byte == b' ').next().unwrap_or(text)))
            }
            other => show(other),
        },
    }
}

/// Lists of scalars in order; lists of lists keep theirs, because a list that holds one is a tuple.
fn sorted(value: &Value) -> Value {
    let all = |items: &[Value]| {
        let mut items: Vec<Value> = items.iter().map(sorted).collect();
        let is_list = |item: &Value| matches!(item, Value::Array(_) | Value::Set(_) | Value::Map(_));
        if !items.iter().any(is_list) {
            items.sort();
        }
        items
    };
    match value {
        Value::Array(items) => Value::Array(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Map(pairs) => {
            let mut pairs = pairs.clone();
            pairs.sort();
            Value::Map(pairs)
        }
        other => other.clone(),
    }
}

/// Types without values. A list of one kind of element shows that kind once, however long it is.
fn shape(value: &Value) -> String {
    let list = |items: &[Value]| {
        let shapes: Vec<String> = items.iter().map(shape).collect();
        match shapes.split_first() {
            Some((first, rest)) if rest.iter().all(|shape| shape == first) => format!("{first}..."),
            _ => shapes.join(", "),
        }
    };
    match value {
        Value::Simple(_) => "simple".into(),
        Value::Error(_) => "error".into(),
        Value::Int(_) => "integer".into(),
        Value::Bulk(_) => "bulk".into(),
        Value::NilBulk => "nil".into(),
        Value::NilArray => "nilarray".into(),
        Value::Null => "null".into(),
        Value::Double(_) => "double".into(),
        Value::Bool(_) => "boolean".into(),
        Value::BigNumber(_) => "big number".into(),
        Value::BlobError(_) => "blob error".into(),
        Value::Verbatim(format, _) => format!("verbatim {}", escaped(format)),
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Set(items) => format!("~[{}]", list(items)),
        Value::Push(items) => format!(">[{}]", list(items)),
        Value::Map(pairs) => {
            let values: Vec<Value> = pairs.iter().map(|(_, value)| value.clone()).collect();
            format!("{{{}}}", list(&values))
        }
        Value::Attribute(_, value) => format!("attribute {}", shape(value)),
    }
}

/// The keys of a map with the kinds of their values, not looking into lists; in RESP2 a map is an array of keys and values in turn.
fn fields(value: &Value) -> String {
    let entry = |key: &Value, value: &Value| format!("{}: {}", show(key), shape(&shallow(value)));
    match value {
        Value::Map(pairs) => {
            pairs.iter().map(|(key, value)| entry(key, value)).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items)
            if items.len() % 2 == 0 && items.iter().step_by(2).all(|key| key.bytes().is_some()) =>
        {
            items.chunks(2).map(|pair| entry(&pair[0], &pair[1])).collect::<Vec<_>>().join(", ")
        }
        other => shape(other),
    }
}

fn shallow(value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Set(_) => Value::Set(Vec::new()),
        Value::Map(_) => Value::Map(Vec::new()),
        other => other.clone(),
    }
}

/// Long texts by their ends, so that a report stays readable.
fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 700;
    if text.len() <= SHOWN_MAX {
        return text.to_owned();
    }
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or("?").to_owned();
    format!("{} ...[{} bytes]... {}", part(0..SHOWN_MAX), text.len(), part(text.len() - 60..text.len()))
}

#[test]
fn every_case_file_is_a_test() {
    let files: BTreeSet<String> = fs::read_dir(cases())
        .expect("the cases")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let tests: BTreeSet<String> = FAMILIES.iter().map(|family| format!("{family}.txt")).collect();
    assert_eq!(files, tests);
}

/// docs/differences.md holds a table made from the case files; `KORA_WRITE_DOCS=1` writes it anew.
#[test]
fn differences_document_lists_exactly_the_intended_differences() {
    const BEGIN: &str = "<!-- made from kora-bin/tests/replies/cases by the test `differences_document_lists_exactly_the_intended_differences` -->\n";
    let mut rows = String::from("| command | Kora's reply | why |\n|---|---|---|\n");
    let mut seen = BTreeSet::new();
    for family in FAMILIES {
        for step in load(family) {
            let Expectation::Differs { reason, reply } = &step.expectation else { continue };
            let cell = |text: &str| text.replace('|', "\\|");
            let row = format!("| `{}` | `{}` | {} |\n", cell(&step.text), cell(&show(reply)), cell(reason));
            if seen.insert(row.clone()) {
                rows.push_str(&row);
            }
        }
    }
    harness::documents::holds("differences.md", BEGIN, &rows);
}
