//! What dashboards and operators read: INFO, CLIENT LIST, SLOWLOG, LATENCY, MEMORY, COMMAND DOCS, with real data in them.
//!
//! Values differ between servers, so these are not reply comparisons: the names that redis_exporter and the common
//! Grafana boards read must be there, and the numbers must be those of what has just happened.

mod harness;

use harness::{Client, Launch, Server, Subject, Value};
use std::collections::BTreeMap;

fn start() -> Server {
    Launch::kora().workers(2).start()
}

fn info(client: &mut Client, section: &str) -> BTreeMap<String, String> {
    let text = client.call(&["INFO", section]).text();
    text.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> u64 {
    let text = fields.get(name).unwrap_or_else(|| panic!("INFO has {name}"));
    text.parse().unwrap_or_else(|error| panic!("{name}:{text}: {error}"))
}

/// The value of `name` in a line of comma-separated `name=value`.
fn part<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{name} in {line}"))
}

const DASHBOARD_FIELDS: &[(&str, &[&str])] = &[
    (
        "server",
        &[
            "redis_version",
            "redis_mode",
            "os",
            "arch_bits",
            "process_id",
            "run_id",
            "tcp_port",
            "uptime_in_seconds",
            "uptime_in_days",
            "hz",
            "executable",
            "config_file",
        ],
    ),
    (
        "clients",
        &[
            "connected_clients",
            "maxclients",
            "blocked_clients",
            "client_recent_max_input_buffer",
            "client_recent_max_output_buffer",
        ],
    ),
    (
        "memory",
        &[
            "used_memory",
            "used_memory_human",
            "used_memory_rss",
            "used_memory_peak",
            "used_memory_dataset",
            "used_memory_overhead",
            "maxmemory",
            "maxmemory_human",
            "maxmemory_policy",
            "mem_fragmentation_ratio",
            "mem_allocator",
            "total_system_memory",
        ],
    ),
    (
        "persistence",
        &[
            "loading",
            "rdb_changes_since_last_save",
            "rdb_bgsave_in_progress",
            "rdb_last_save_time",
            "aof_enabled",
        ],
    ),
    (
        "stats",
        &[
            "total_connections_received",
            "total_commands_processed",
            "instantaneous_ops_per_sec",
            "total_net_input_bytes",
            "total_net_output_bytes",
            "instantaneous_input_kbps",
            "instantaneous_output_kbps",
            "rejected_connections",
            "expired_keys",
            "evicted_keys",
            "keyspace_hits",
            "keyspace_misses",
            "pubsub_channels",
            "pubsub_patterns",
            "latest_fork_usec",
            "total_error_replies",
        ],
    ),
    ("replication", &["role", "connected_slaves", "master_repl_offset"]),
    ("cpu", &["used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children"]),
    ("cluster", &["cluster_enabled"]),
];

#[test]
fn info_has_the_fields_that_dashboards_read() {
    let server = start();
    let mut client = server.client();
    let all = client.command("INFO").text();
    let mut missing = Vec::new();
    for (section, names) in DASHBOARD_FIELDS {
        let mut heading = format!("# {section}");
        heading[2..3].make_ascii_uppercase();
        let heading = if *section == "cpu" { "# CPU".to_owned() } else { heading };
        if !all.lines().any(|line| line == heading) {
            missing.push(heading);
        }
        let fields = info(&mut client, section);
        missing
            .extend(names.iter().filter(|name| !fields.contains_key(**name)).map(|name| (*name).to_owned()));
    }
    assert!(missing.is_empty(), "INFO lacks {missing:?}");
    assert!(all.lines().all(|line| line.is_empty() || line.starts_with("# ") || line.contains(':')), "{all}");
    assert_eq!(info(&mut client, "server")["tcp_port"], server.port.to_string());
    assert_eq!(info(&mut client, "server")["process_id"], server.pid().to_string());
    assert_eq!(info(&mut client, "replication")["role"], "master");
}

#[test]
fn info_counts_what_has_happened() {
    let server = start();
    let mut client = server.client();
    assert_eq!(client.command("CONFIG RESETSTAT"), Value::Simple(b"OK".to_vec()));
    for number in 0..50 {
        client.command(&format!("SET k{number} v"));
        client.command(&format!("GET k{number}"));
        client.command(&format!("GET missing{number}"));
    }
    client.command("MGET k1 k2 missing k3");
    client.command("NOSUCH");
    client.command("SET k");
    client.command("INCR k1");
    let stats = info(&mut client, "stats");
    assert_eq!(number(&stats, "keyspace_hits"), 53);
    assert_eq!(number(&stats, "keyspace_misses"), 51);
    // 50 times three, MGET, INCR, and maybe those that answer this very question or were refused.
    let processed = number(&stats, "total_commands_processed");
    assert!((152..=156).contains(&processed), "{processed} commands");
    assert_eq!(number(&stats, "total_error_replies"), 3);
    assert!(number(&stats, "total_net_input_bytes") > 3_000);
    assert!(number(&stats, "total_net_output_bytes") > 500);

    let commands = info(&mut client, "commandstats");
    assert_eq!(part(&commands["cmdstat_get"], "calls"), "100");
    let set = &commands["cmdstat_set"];
    assert_eq!(
        (part(set, "calls"), part(set, "rejected_calls"), part(set, "failed_calls")),
        ("50", "1", "0")
    );
    assert!(
        part(set, "usec").parse::<u64>().is_ok() && part(set, "usec_per_call").parse::<f64>().is_ok(),
        "{set}"
    );
    let incr = &commands["cmdstat_incr"];
    assert_eq!(
        (part(incr, "calls"), part(incr, "rejected_calls"), part(incr, "failed_calls")),
        ("1", "0", "1")
    );
    assert_eq!(part(&info(&mut client, "errorstats")["errorstat_ERR"], "count"), "3");
    assert!(info(&mut client, "latencystats").contains_key("latency_percentiles_usec_set"));

    assert_eq!(client.command("CONFIG RESETSTAT"), Value::Simple(b"OK".to_vec()));
    assert_eq!(number(&info(&mut client, "stats"), "keyspace_hits"), 0);
    assert!(!info(&mut client, "commandstats").contains_key("cmdstat_set"));
    assert!(info(&mut client, "errorstats").is_empty());
}

#[test]
fn info_counts_the_keys_of_each_database() {
    let server = start();
    let mut client = server.client();
    assert!(info(&mut client, "keyspace").is_empty());
    for number in 0..10 {
        client.command(&format!("SET k{number} v"));
    }
    client.command("EXPIRE k1 1000");
    client.command("EXPIRE k2 1000");
    client.command("SELECT 7");
    client.command("SET k v");
    let keyspace = info(&mut client, "keyspace");
    assert_eq!(keyspace.keys().collect::<Vec<_>>(), ["db0", "db7"]);
    assert_eq!((part(&keyspace["db0"], "keys"), part(&keyspace["db0"], "expires")), ("10", "2"));
    assert_eq!((part(&keyspace["db7"], "keys"), part(&keyspace["db7"], "expires")), ("1", "0"));
    let ttl: u64 = part(&keyspace["db0"], "avg_ttl").parse().expect("a number");
    assert!(ttl <= 1_000_000, "{ttl}");
}

#[test]
fn used_memory_follows_the_data() {
    let server = start();
    let mut client = server.client();
    let used = |client: &mut Client| number(&info(client, "memory"), "used_memory");
    let before = used(&mut client);
    let value = "v".repeat(1000);
    for number in 0..5_000 {
        client.call(&["SET", &format!("k{number}"), &value]);
    }
    let full = used(&mut client);
    assert!((4_500_000..8_000_000).contains(&(full - before)), "{before} then {full}");
    assert_eq!(client.command("FLUSHALL SYNC"), Value::Simple(b"OK".to_vec()));
    assert!(used(&mut client) < before + 1_500_000, "{} after the flush", used(&mut client));
    assert!(number(&info(&mut client, "memory"), "used_memory_peak") >= full);
}

/// One line of CLIENT LIST as its fields in order.
fn fields(line: &str) -> Vec<(String, String)> {
    let pair = |word: &str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    line.trim_end()
        .split(' ')
        .map(|word| pair(word).unwrap_or_else(|| panic!("{word:?} in {line}")))
        .collect()
}

#[test]
fn client_list_describes_every_connection_in_redis_order() {
    const ORDER: &[&str] = &[
        "id",
        "addr",
        "laddr",
        "fd",
        "name",
        "age",
        "idle",
        "flags",
        "db",
        "sub",
        "psub",
        "ssub",
        "multi",
        "qbuf",
        "qbuf-free",
        "argv-mem",
        "multi-mem",
        "rbs",
        "rbp",
        "obl",
        "oll",
        "omem",
        "tot-mem",
        "events",
        "cmd",
        "user",
        "redir",
        "resp",
    ];
    const SINCE_8: &[&str] = &["watch", "lib-name", "lib-ver", "io-thread"];
    let server = start();
    let mut first = server.client();
    first.command("CLIENT SETNAME first");
    first.command("SELECT 5");
    if !matches!(Subject::current(), Subject::Redis(version) if version < (8, 0)) {
        first.command("CLIENT SETINFO LIB-NAME mylib");
        first.command("CLIENT SETINFO LIB-VER 1.2");
    }
    first.command("GET k");
    let mut second = server.client();
    second.command("HELLO 3");
    let id = first.command("CLIENT ID").int();
    first.command("STRLEN k");
    let list = second.command("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 2, "{list}");
    let line = list.lines().find(|line| line.contains("name=first")).expect("the first client's line");
    let names: Vec<String> = fields(line).into_iter().map(|(name, _)| name).collect();
    let common: Vec<&str> = names.iter().map(String::as_str).filter(|name| ORDER.contains(name)).collect();
    assert_eq!(common, ORDER);
    let values: BTreeMap<String, String> = fields(line).into_iter().collect();
    assert_eq!(values["id"], id.to_string());
    assert_eq!(values["addr"], first.local_address().to_string());
    assert_eq!(values["laddr"], server.address().to_string());
    assert_eq!(
        (values["db"].as_str(), values["cmd"].as_str(), values["resp"].as_str()),
        ("5", "strlen", "2")
    );
    assert_eq!(
        (values["user"].as_str(), values["flags"].as_str(), values["multi"].as_str()),
        ("default", "N", "-1")
    );
    let other = list.lines().find(|line| line.contains("cmd=client|list")).expect("the second client's line");
    assert!(other.contains(" resp=3"), "{other}");
    if !matches!(Subject::current(), Subject::Redis(version) if version < (8, 0)) {
        assert!(SINCE_8.iter().all(|name| values.contains_key(*name)), "{line}");
        assert_eq!((values["lib-name"].as_str(), values["lib-ver"].as_str()), ("mylib", "1.2"));
    }
    let info = first.command("CLIENT INFO").text();
    assert!(
        info.contains("name=first") && info.contains("cmd=client|info") && info.ends_with('\n'),
        "{info:?}"
    );
    let only = second.call(&["CLIENT", "LIST", "ID", &id.to_string()]).text();
    assert_eq!(only.lines().count(), 1);
}

#[test]
fn client_ids_are_never_used_again() {
    let server = start();
    let mut last = 0;
    for _ in 0..50 {
        let id = server.client().command("CLIENT ID").int();
        assert!(id > last || last == 0, "{id} after {last}");
        last = last.max(id);
    }
}

#[test]
fn slowlog_holds_the_slow_commands_with_their_arguments() {
    let server = start();
    let mut client = server.client();
    client.command("CLIENT SETNAME me");
    client.command("DEBUG SLEEP 0.03");
    let entries = client.command("SLOWLOG GET");
    let [entry] = entries.items() else { panic!("{entries:?}") };
    let [id, time, duration, arguments, address, name] = entry.items() else { panic!("{entry:?}") };
    assert!(id.int() >= 0 && time.int() > 1_700_000_000);
    assert!((30_000..5_000_000).contains(&duration.int()), "{duration:?} us");
    let arguments: Vec<String> = arguments.items().iter().map(Value::text).collect();
    assert_eq!(arguments, ["DEBUG", "SLEEP", "0.03"]);
    assert_eq!(address.text(), client.local_address().to_string());
    assert_eq!(name.text(), "me");
    // Long commands are cut to 32 arguments of 128 bytes.
    client.command("CONFIG SET slowlog-log-slower-than 0");
    client.command("SLOWLOG RESET");
    let mut long = vec!["MSET".to_owned()];
    long.extend((0..50).flat_map(|number| [format!("k{number}"), "v".repeat(1000)]));
    client.call(&long);
    client.command("CONFIG SET slowlog-log-slower-than -1");
    let entries = client.command("SLOWLOG GET -1");
    let mset =
        entries.items().iter().find(|entry| entry.items()[3].items()[0].text() == "MSET").expect("the MSET");
    let arguments: Vec<String> = mset.items()[3].items().iter().map(Value::text).collect();
    assert_eq!(arguments.len(), 32);
    assert_eq!(arguments[2], format!("{}... (872 more bytes)", "v".repeat(128)));
    assert_eq!(arguments[31], "... (70 more arguments)");
}

#[test]
fn latency_holds_the_events_above_the_threshold() {
    let server = start();
    let mut client = server.client();
    client.command("CONFIG SET latency-monitor-threshold 20");
    client.command("DEBUG SLEEP 0.05");
    let latest = client.command("LATENCY LATEST");
    let [event] = latest.items() else { panic!("{latest:?}") };
    let [name, time, last, max] = event.items() else { panic!("{event:?}") };
    assert_eq!(name.text(), "command");
    assert!(time.int() > 1_700_000_000);
    assert!((50..5_000).contains(&last.int()) && max.int() >= last.int(), "{event:?}");
    let history = client.command("LATENCY HISTORY command");
    assert_eq!(history.items().len(), 1);
    assert_eq!(client.command("LATENCY RESET command"), Value::Int(1));
    assert_eq!(client.command("LATENCY LATEST"), Value::Array(vec![]));
    let histogram = client.command("LATENCY HISTOGRAM debug").items()[1].clone();
    assert_eq!(histogram.items()[0].text(), "calls");
    assert_eq!(histogram.items()[1], Value::Int(1));
    assert_eq!(histogram.items()[2].text(), "histogram_usec");
}

#[test]
fn memory_usage_grows_with_the_value() {
    let server = start();
    let mut client = server.client();
    client.call(&["SET", "small", "x"]);
    client.call(&["SET", "large", &"x".repeat(100_000)]);
    let small = client.command("MEMORY USAGE small").int();
    let large = client.command("MEMORY USAGE large").int();
    assert!((1..200).contains(&small), "{small}");
    assert!((100_000..140_000).contains(&large), "{large}");
    let stats = client.command("MEMORY STATS");
    let names: Vec<String> = stats.items().iter().step_by(2).map(Value::text).collect();
    for name in [
        "peak.allocated",
        "total.allocated",
        "startup.allocated",
        "keys.count",
        "keys.bytes-per-key",
        "dataset.bytes",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    let keys = names.iter().position(|name| name == "keys.count").expect("known");
    assert_eq!(stats.items()[keys * 2 + 1], Value::Int(2));
}

#[test]
fn command_docs_describe_every_command() {
    let server = start();
    let mut client = server.client();
    client.command("HELLO 3");
    let Value::Map(docs) = client.command("COMMAND DOCS") else { panic!("a map") };
    assert_eq!(docs.len() as i64, client.command("COMMAND COUNT").int());
    for (name, entry) in &docs {
        let Value::Map(entry) = entry else { panic!("{name:?}: {entry:?}") };
        let has = |field: &str| entry.iter().any(|(key, _)| key.text() == field);
        for field in ["summary", "since", "group"] {
            assert!(has(field), "{} lacks {field}", name.text());
        }
    }
    let (_, set) = docs.iter().find(|(name, _)| name.text() == "set").expect("SET");
    let Value::Map(set) = set else { panic!("a map") };
    let (_, arguments) = set.iter().find(|(key, _)| key.text() == "arguments").expect("arguments of SET");
    let first: BTreeMap<String, String> = match &arguments.items()[0] {
        Value::Map(pairs) => {
            pairs.iter().filter(|(_, v)| v.bytes().is_some()).map(|(k, v)| (k.text(), v.text())).collect()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((first["name"].as_str(), first["type"].as_str()), ("key", "key"));
}

/// docs/commands.md holds tables made from COMMAND DOCS; `KORA_WRITE_DOCS=1` writes them anew.
#[test]
fn commands_document_lists_every_command() {
    const BEGIN: &str =
        "<!-- made from COMMAND DOCS by the test `commands_document_lists_every_command` -->\n";
    let launch = Launch::kora();
    if launch.subject != Subject::Kora {
        return;
    }
    let server = launch.start();
    let docs = server.client().command("COMMAND DOCS");
    let pairs = |value: &Value| -> BTreeMap<String, Value> {
        value.items().chunks(2).map(|pair| (pair[0].text(), pair[1].clone())).collect()
    };
    let mut groups: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |name: &str, docs: &Value| {
        let docs = pairs(docs);
        let text =
            |key: &str| docs.get(key).map(|value| value.text().replace('|', "\\|")).unwrap_or_default();
        let row = format!(
            "| `{}` | {} | {} |\n",
            name.to_uppercase().replace('|', " "),
            text("summary"),
            text("complexity")
        );
        groups.entry(text("group")).or_default().push_str(&row);
    };
    for (name, docs) in pairs(&docs) {
        match pairs(&docs).get("subcommands") {
            Some(subcommands) => pairs(subcommands).iter().for_each(|(name, docs)| add(name, docs)),
            None => add(&name, &docs),
        }
    }
    let mut tables = String::new();
    for (group, rows) in groups {
        tables.push_str(&format!(
            "## {group}\n\n| command | what it does | how long it takes |\n|---|---|---|\n{rows}\n"
        ));
    }
    harness::documents::holds("commands.md", BEGIN, &tables);
}
