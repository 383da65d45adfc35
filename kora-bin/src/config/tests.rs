//! What an operator sees: precedence, every refusal with its place and words, and a password that nobody sees.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory that is removed when the test ends.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kora-config-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Four cores, all ours.
const MACHINE: Machine = Machine { allowed_cores: 4, default_workers: 4 };

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    Sources {
        file: (!file.is_empty()).then(|| ("kora.toml".into(), file.to_owned())),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(),
    }
}

fn loads(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Loaded {
    load(sources(file, environment, flags), &MACHINE).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    match load(sources(file, environment, flags), &MACHINE) {
        Ok(_) => panic!("{file} {environment:?} {flags:?} should be refused"),
        Err(errors) => errors.to_string(),
    }
}

/// For every key: a good value in text and in TOML, a bad one in both, and the words of the refusal after "must be ".
const KEYS_TABLE: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("bind", "::1,10.0.0.1", "[\"::1\", \"10.0.0.1\"]", "localhost", "[\"localhost\"]", ADDRESSES),
    ("port", "7000", "7000", "99999", "99999", "0 to 65535"),
    ("unix_socket", "/tmp/kora.sock", "\"/tmp/kora.sock\"", "", "7", "a path of at most 107 bytes"),
    ("unix_socket_perm", "770", "\"770\"", "999", "700", "an octal mode such as \"700\""),
    ("cluster_ports", "7100", "7100", "0", "0", "1 to 65535"),
    ("tcp_backlog", "128", "128", "0", "0", "1 to 2147483647"),
    ("tcp_keepalive", "60", "60", "-1", "-1", "0 to 2147483647"),
    ("workers", "2", "2", "0", "0", "1 to 1024"),
    ("share_cores", "yes", "true", "maybe", "\"no\"", "true or false"),
    ("spin_us", "20", "20", "x", "\"x\"", "0 to 100000"),
    ("password_file", "", "", "", "true", "a path"),
    ("protected_mode", "no", "false", "maybe", "\"no\"", "true or false"),
    ("enable_debug_command", "yes", "\"yes\"", "true", "true", "\"yes\", \"no\" or \"local\""),
    ("max_clients", "50", "50", "0", "0", "1 to 10000000"),
    ("timeout", "30", "30", "1.5", "1.5", "0 to 2147483647"),
    (
        "query_buffer_limit",
        "2mb",
        "\"2mb\"",
        "1kb",
        "1024",
        "a size of 1mb to 9223372036854775807, such as \"512mb\"",
    ),
    (
        "multi_queue_limit",
        "2mb",
        "\"2mb\"",
        "1kb",
        "1024",
        "a size of 64kb to 9223372036854775807, such as \"512mb\"",
    ),
    (
        "output_buffer_limit_normal",
        "1gb 256mb 60",
        "\"1gb 256mb 60\"",
        "1gb",
        "1",
        "\"HARD SOFT SECONDS\" such as \"1gb 256mb 60\" (0: no limit)",
    ),
    ("proto_max_bulk_len", "1mb", "1048576", "3gb", "\"3gb\"", "a size of 1mb to 2gb, such as \"512mb\""),
    ("databases", "1", "1", "0", "0", "1 to 16384"),
    ("hz", "100", "100", "501", "501", "1 to 500"),
    ("maxmemory", "64mb", "\"64mb\"", "-1", "-1", "a size such as \"512mb\""),
    ("disable_thp", "yes", "true", "maybe", "\"no\"", "true or false"),
    ("maxmemory_policy", "volatile-ttl", "\"volatile-ttl\"", "lru", "\"lru\"", POLICIES),
    ("maxmemory_samples", "10", "10", "0", "65", "1 to 64"),
    ("maxmemory_eviction_tenacity", "100", "100", "101", "-1", "0 to 100"),
    ("lua_time_limit", "0", "0", "-1", "-1", "an integer, 0 or more"),
    ("lua_memory_limit", "1mb", "1048576", "3kb", "\"3kb\"", "a size of 1mb to 1024gb, such as \"512mb\""),
    ("script_undeclared_keys", "yes", "true", "maybe", "\"no\"", "true or false"),
    ("data_dir", "/tmp/kora", "\"/tmp/kora\"", "", "7", "a path of at most 4095 bytes"),
    ("wal_enabled", "no", "false", "maybe", "\"no\"", "true or false"),
    (
        "wal_sync",
        "every_write",
        "\"every_write\"",
        "always",
        "\"always\"",
        "\"every_write\", \"every_second\" or \"os_managed\"",
    ),
    ("rdb_enabled", "no", "false", "maybe", "\"no\"", "true or false"),
    ("snapshot_interval_secs", "60", "60", "0", "0", "1 to 31536000"),
    ("snapshot_retain", "3", "3", "0", "1001", "1 to 1000"),
    ("wal_max_bytes", "64mb", "\"64mb\"", "1mb", "1024", "a size of 32mb to 1048576gb, such as \"512mb\""),
    ("lfu_log_factor", "0", "0", "-1", "-1", "0 to 2147483647"),
    ("lfu_decay_time", "0", "0", "-1", "-1", "0 to 2147483647"),
    ("hash_max_listpack_entries", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("hash_max_listpack_value", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("hll_sparse_max_bytes", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("list_compress_depth", "7", "7", "-1", "-1", "0 to 2147483647"),
    ("list_max_listpack_size", "7", "7", "x", "\"x\"", "-2147483648 to 2147483647"),
    ("set_max_intset_entries", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("set_max_listpack_entries", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("set_max_listpack_value", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("stream_node_max_bytes", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("stream_node_max_entries", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("zset_max_listpack_entries", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("zset_max_listpack_value", "7", "7", "-1", "-1", "an integer, 0 or more"),
    ("log_level", "debug", "\"debug\"", "loud", "\"loud\"", LEVELS),
    ("log_format", "json", "\"json\"", "xml", "\"xml\"", "\"text\" or \"json\""),
    ("slowlog_log_slower_than", "-1", "-1", "-2", "-2", "an integer, -1 or more"),
    ("slowlog_max_len", "0", "0", "-1", "-1", "0 to 1000000"),
    ("latency_monitor_threshold", "100", "100", "1s", "\"1s\"", "an integer, 0 or more"),
];

const ADDRESSES: &str = "a list of IP addresses such as [\"127.0.0.1\", \"::1\"]";
const LEVELS: &str = "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"";

const POLICIES: &str =
    "\"volatile-lru\", \"volatile-lfu\", \"volatile-random\", \"volatile-ttl\", \"allkeys-lru\", \
    \"allkeys-lfu\", \"allkeys-random\" or \"noeviction\"";

fn shown(text: &str) -> String {
    if text.parse::<i64>().is_ok() {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    }
}

#[test]
fn the_table_of_these_tests_has_every_key() {
    let tested: Vec<_> = KEYS_TABLE.iter().map(|row| row.0).chain(["password"]).collect();
    for key in KEYS {
        assert!(tested.contains(&key.name), "{} is not tested", key.name);
    }
    assert_eq!(tested.len(), KEYS.len());
}

#[test]
fn every_key_is_taken_from_every_source_and_higher_sources_win() {
    for (key, text, toml, ..) in KEYS_TABLE {
        if *key == "password_file" {
            continue; // see the tests of the password
        }
        let variable = format!("KORA_{}", key.to_uppercase());
        let file = format!("# first line\n{key} = {toml}\n");
        let from_file = loads(&file, &[], &[]);
        let from_environment = loads("", &[(&variable, text)], &[]);
        let from_flag = loads("", &[], &[(key, text)]);
        let expected = format!("{:?}", from_file.config);
        assert_ne!(expected, format!("{:?}", loads("", &[], &[]).config), "{key}: the value is the default");
        assert_eq!(format!("{:?}", from_environment.config), expected, "{key}");
        assert_eq!(format!("{:?}", from_flag.config), expected, "{key}");
        assert_eq!(from_file.origin(key).to_string(), "kora.toml:2");
        assert_eq!(from_environment.origin(key).to_string(), variable);
        assert_eq!(from_flag.origin(key).to_string(), format!("--{}", key.replace('_', "-")));
    }
    let all = loads("port = 1\n", &[("KORA_PORT", "2")], &[("port", "3")]);
    assert_eq!((all.config.port, all.origin("port").to_string()), (3, "--port".into()));
    let two = loads("port = 1\n", &[("KORA_PORT", "2")], &[]);
    assert_eq!((two.config.port, two.origin("port").to_string()), (2, "KORA_PORT".into()));
}

#[test]
fn every_key_refuses_a_bad_value_from_every_source_with_its_place_and_what_it_accepts() {
    for (key, _, _, bad_text, bad_toml, expects) in KEYS_TABLE {
        let (variable, flag) = (format!("KORA_{}", key.to_uppercase()), key.replace('_', "-"));
        assert_eq!(
            errors(&format!("\n\n{key} = {bad_toml} # here\n"), &[], &[]),
            format!("kora.toml:3: \"{key}\" must be {expects}, not {bad_toml}")
        );
        let refused = format!("must be {expects}, not {}", shown(bad_text));
        assert_eq!(errors("", &[(&variable, bad_text)], &[]), format!("{variable}: {refused}"));
        assert_eq!(errors("", &[], &[(key, bad_text)]), format!("--{flag}: {refused}"));
        assert!(errors(&format!("[{key}]\nx = 1\n"), &[], &[]).ends_with("not a table"), "{key}");
    }
}

#[test]
fn defaults_are_those_of_the_issue() {
    let config = loads("", &[], &[]).config;
    assert_eq!(config.bind, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!((config.port, config.workers, config.max_clients, config.databases), (6379, 4, 10_000, 16));
    assert_eq!((config.timeout, config.tcp_keepalive, config.tcp_backlog, config.hz), (0, 300, 511, 10));
    assert_eq!((config.query_buffer_limit, config.proto_max_bulk_len), (1 << 30, 512 << 20));
    let limit = OutputBufferLimit { hard_bytes: 1 << 30, soft_bytes: 0, soft_seconds: 0 };
    assert_eq!(config.output_buffer_limit_normal, limit);
    assert_eq!((config.slowlog_log_slower_than, config.slowlog_max_len, config.spin_us), (10_000, 128, 0));
    assert_eq!((config.protected_mode, config.enable_debug_command), (true, DebugCommand::Local));
    assert_eq!((config.log_level, config.log_format), (LogLevel::Info, LogFormat::Text));
    assert!(config.password.is_none() && config.unix_socket.is_none() && config.cluster_ports.is_none());
    assert_eq!(Config::default().workers, Machine::of_this_process().default_workers);
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_the_sources() {
    let file = "port = 99999\nwoker = 2\nhz = \"often\"\n\n[server]\nport = 1\n";
    let environment = [("KORA_WORKERS", "many"), ("KORA_PROT", "1"), ("KORAX", "1"), ("PATH", "/bin")];
    assert_eq!(
        errors(file, &environment, &[("timeout", "soon")]),
        "kora.toml:1: \"port\" must be 0 to 65535, not 99999\n\
         kora.toml:2: unknown key \"woker\"; did you mean \"workers\"?\n\
         kora.toml:3: \"hz\" must be 1 to 500, not \"often\"\n\
         kora.toml:5: unknown key \"server\"; keys stand at the top of the file, in no table\n\
         KORA_PROT: unknown variable; did you mean KORA_PORT?\n\
         KORA_WORKERS: must be 1 to 1024, not \"many\"\n\
         --timeout: must be 0 to 2147483647, not \"soon\""
    );
}

#[test]
fn a_bad_value_is_reported_even_when_a_higher_source_overrides_it() {
    assert_eq!(
        errors("port = -1\n", &[("KORA_PORT", "x")], &[("port", "7000")]),
        "kora.toml:1: \"port\" must be 0 to 65535, not -1\nKORA_PORT: must be 0 to 65535, not \"x\""
    );
}

#[test]
fn broken_toml_is_reported_with_its_line() {
    for (file, line) in
        [("port = 1\nhz = = 2\n", 2), ("port = 1\nport = 2\n", 2), ("port = 1\nbind = [\n", 2)]
    {
        let message = errors(file, &[], &[]);
        assert!(message.starts_with(&format!("kora.toml:{line}: not valid TOML: ")), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_number_has_its_toml_type_and_its_toml_spellings() {
    assert_eq!(errors("port = \"80\"\n", &[], &[]), "kora.toml:1: \"port\" must be 0 to 65535, not \"80\"");
    assert_eq!(loads("port = 0x1F40\nmax_clients = 20_000\n", &[], &[]).config.port, 8000);
    assert_eq!(loads("unix_socket_perm = 0o660\n", &[], &[]).config.unix_socket_perm, Some(0o660));
    assert_eq!(loads("query_buffer_limit = 2097152\n", &[], &[]).config.query_buffer_limit, 2 << 20);
    assert_eq!(loads("bind = \"*\"\n", &[], &[]).config.bind, ["0.0.0.0".parse::<IpAddr>().unwrap()]);
}

#[test]
fn unknown_variables_are_errors_but_those_that_kubernetes_sets_for_a_service_are_not_ours() {
    let links = [
        ("KORA_SERVICE_HOST", "10.0.0.7"),
        ("KORA_SERVICE_PORT", "6379"),
        ("KORA_SERVICE_PORT_REDIS", "6379"),
        ("KORA_PORT", "tcp://10.0.0.7:6379"),
        ("KORA_PORT_6379_TCP", "tcp://10.0.0.7:6379"),
        ("KORA_PORT_6379_TCP_ADDR", "10.0.0.7"),
    ];
    assert_eq!(loads("", &links, &[]).config.port, 6379);
    assert_eq!(
        errors("", &[("KORA_XYZZY", "1")], &[]),
        "KORA_XYZZY: unknown variable; unset it, or see the keys in kora --help"
    );
    assert_eq!(
        errors("", &[("KORA_port", "1")], &[]),
        "KORA_port: unknown variable; did you mean KORA_PORT?"
    );
}

#[test]
fn values_that_do_not_fit_together_are_reported_at_the_place_that_set_them() {
    let folder = Folder::new();
    let plain_file = folder.write("plain", "");
    let missing = folder.path("no/kora.sock").to_str().unwrap().to_owned();
    let overlap = "\"cluster_ports\" 6377 to 6380 overlap \"port\" 6379 (default); choose others";
    for (file, flags, expected) in [
        (
            "\nworkers = 5\n",
            vec![],
            "kora.toml:2: \"workers\" is 5, but this process may use 4 cores (taskset, cpuset); use at most 4".to_owned(),
        ),
        ("cluster_ports = 6377\n", vec![], format!("kora.toml:1: {overlap}")),
        (
            "cluster_ports = 7000\n",
            vec![("port", "7003")],
            "kora.toml:1: \"cluster_ports\" 7000 to 7003 overlap \"port\" 7003 (--port); choose others".into(),
        ),
        (
            "",
            vec![("cluster_ports", "65533")],
            "--cluster-ports: \"cluster_ports\" 65533 to 65536 for 4 workers pass 65535; use at most 65532".into(),
        ),
        (
            "port = 0\n",
            vec![],
            "kora.toml:1: \"port\" is 0 and there is no \"unix_socket\": nothing to listen on; set one of them".into(),
        ),
        ("", vec![("bind", "::1,::1")], "--bind: \"bind\" lists ::1 twice; remove one".into()),
        (
            "",
            vec![("unix_socket", &missing)],
            format!(
                "--unix-socket: \"unix_socket\" {missing} is in a directory that does not exist; create {}",
                folder.path("no").display()
            ),
        ),
        (
            "",
            vec![("unix_socket", &plain_file)],
            format!("--unix-socket: \"unix_socket\" {plain_file} exists and is not a socket; remove it or choose another path"),
        ),
    ] {
        assert_eq!(errors(file, &[], &flags), expected);
    }
    let config = loads("cluster_ports = 65532\n", &[], &[]).config;
    assert_eq!(config.cluster_port_range(), Some(65532..=65535));
    assert_eq!(loads("port = 0\nunix_socket = \"kora.sock\"\n", &[], &[]).config.port, 0);
}

#[test]
fn nothing_is_derived_from_a_value_that_was_refused() {
    assert_eq!(
        errors("port = -1\ncluster_ports = 6379\n", &[], &[]),
        "kora.toml:1: \"port\" must be 0 to 65535, not -1"
    );
}

#[test]
fn the_password_comes_from_the_file_the_environment_or_a_file_of_its_own() {
    let folder = Folder::new();
    let (plain, windows) = (folder.write("plain", "s3cret line\n"), folder.write("windows", "other\r\n"));
    let password = |loaded: Loaded| loaded.config.password.unwrap().reveal().to_owned();
    assert_eq!(password(loads("password = \"12345\"\n", &[], &[])), "12345");
    assert_eq!(password(loads("", &[("KORA_PASSWORD", "12345")], &[])), "12345");
    assert_eq!(password(loads("", &[], &[("password_file", &plain)])), "s3cret line");
    assert_eq!(password(loads("", &[("KORA_PASSWORD_FILE", &windows)], &[])), "other");
    // The higher source wins, whichever of the two keys it sets.
    assert_eq!(password(loads("password = \"low\"\n", &[], &[("password_file", &plain)])), "s3cret line");
    assert_eq!(
        password(loads(&format!("password_file = \"{plain}\"\n"), &[("KORA_PASSWORD", "high")], &[])),
        "high"
    );
}

#[test]
fn a_password_that_cannot_be_had_stops_the_start() {
    let folder = Folder::new();
    let (empty, long) = (folder.write("empty", "\n"), folder.write("long", "a\nb\n"));
    for (path, problem) in [
        (empty.as_str(), "is empty; write the password as its only line"),
        (&long, "has more than one line; write the password as its only line"),
        ("/nonexistent/p", "cannot be read: No such file or directory (os error 2)"),
    ] {
        let expected = format!("--password-file: \"password_file\" {path} {problem}");
        assert_eq!(errors("", &[], &[("password_file", path)]), expected);
    }
    // An empty variable is a secret that failed to arrive, not a wish for no password.
    let refused = "must be a non-empty string, not the value given (not shown)";
    assert_eq!(errors("", &[("KORA_PASSWORD", "")], &[]), format!("KORA_PASSWORD: {refused}"));
    assert_eq!(
        errors("password = \"a\"\npassword_file = \"b\"\n", &[], &[]),
        "kora.toml:1: \"password\" and \"password_file\" (kora.toml:2) are both set; keep one"
    );
}

#[test]
fn the_password_is_in_no_output() {
    const PASSWORD: &str = "hunter2hunter2";
    let folder = Folder::new();
    let path = folder.write("secret", PASSWORD);
    let in_file = format!("password = \"{PASSWORD}\"\n");
    for loaded in [
        loads(&in_file, &[], &[]),
        loads("", &[("KORA_PASSWORD", PASSWORD)], &[]),
        loads("", &[], &[("password_file", &path)]),
    ] {
        assert_eq!(loaded.config.password.as_ref().unwrap().reveal(), PASSWORD);
        let outputs = [
            format!("{:?}", loaded.config),
            format!("{:#?}", loaded.config),
            loaded.to_toml(),
            loaded.summary(),
        ];
        for output in outputs {
            assert!(!output.contains("hunter2"), "{output}");
        }
        assert!(loaded.to_toml().contains("# password = \"<set>\""), "{}", loaded.to_toml());
    }
    for bad in [
        format!("password = {{ a = \"{PASSWORD}\" }}\n"),
        format!("password = [\"{PASSWORD}\"]\n"),
        format!("password = \"{PASSWORD}\n"),
        format!("password = {PASSWORD}\n"),
        format!("password = \"{PASSWORD}\"\npassword = \"{PASSWORD}\"\n"),
    ] {
        let message = errors(&bad, &[], &[]);
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn the_printed_configuration_names_origins_and_reads_back_as_the_same() {
    let file = "bind = [\"127.0.0.1\", \"::1\"]\nunix_socket = \"x.sock\"\nunix_socket_perm = \"770\"\n";
    let environment = [("KORA_QUERY_BUFFER_LIMIT", "1536kb"), ("KORA_PROTECTED_MODE", "no")];
    let loaded = loads(file, &environment, &[("output_buffer_limit_normal", "5mb 1000 60")]);
    let printed = loaded.to_toml();
    let line = |key: &str| {
        let line = printed.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("bind"), "bind = [\"127.0.0.1\", \"::1\"] # kora.toml:1");
    assert_eq!(line("port"), "port = 6379 # default");
    assert_eq!(line("unix_socket_perm"), "unix_socket_perm = \"770\" # kora.toml:3");
    assert_eq!(line("query_buffer_limit"), "query_buffer_limit = \"1536kb\" # KORA_QUERY_BUFFER_LIMIT");
    assert_eq!(line("protected_mode"), "protected_mode = false # KORA_PROTECTED_MODE");
    assert_eq!(
        line("output_buffer_limit_normal"),
        "output_buffer_limit_normal = \"5mb 1000 60\" # --output-buffer-limit-normal"
    );
    assert_eq!(line("# password ="), "# password = # default");
    assert_eq!(format!("{:?}", loads(&printed, &[], &[]).config), format!("{:?}", loaded.config));
}

#[test]
fn a_file_that_was_named_must_exist_and_must_be_text() {
    let folder = Folder::new();
    let missing = folder.path("absent.toml");
    let error = Sources::gather(Some(&missing), vec![]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}: cannot be read: No such file or directory (os error 2)", missing.display())
    );
    let binary = folder.path("binary.toml");
    std::fs::write(&binary, b"port = 1\n\xff\n").unwrap();
    let error = Sources::gather(Some(&binary), vec![]).unwrap_err().to_string();
    assert_eq!(error, format!("{}:2: not valid TOML: bytes that are no UTF-8", binary.display()));
}

#[test]
fn keys_of_storage_may_stand_in_a_table() {
    let loaded =
        loads("port = 7000\n[storage]\ndata_dir = \"/tmp/kora\"\nwal_sync = \"every_write\"\n", &[], &[]);
    assert_eq!(loaded.config.data_dir.as_deref(), Some(Path::new("/tmp/kora")));
    assert_eq!(loaded.config.wal_sync, WalSync::EveryWrite);
    assert_eq!(loaded.origin("wal_sync").to_string(), "kora.toml:4");
    assert!(errors("[storage]\nport = 1\n", &[], &[])
        .contains("kora.toml:2: \"port\" does not stand in [storage]"));
    assert!(errors("[storage]\nwal_snyc = 1\n", &[], &[]).contains("did you mean \"wal_sync\"?"));
    assert!(errors("[network]\nport = 1\n", &[], &[]).contains("kora.toml:1: unknown key \"network\""));
}

/// docs/configuration.md, README.md and kora.example.toml are read by people and checked here.
fn repository_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_example_file_holds_every_key_with_its_default() {
    let example = repository_file("kora.example.toml");
    load(
        Sources { file: Some(("kora.example.toml".into(), example.clone())), ..Sources::default() },
        &MACHINE,
    )
    .unwrap_or_else(|errors| panic!("{errors}"));
    for key in KEYS {
        let start = format!("#{} = ", key.name);
        let setting = example.lines().find(|line| line.starts_with(&start));
        let setting = setting.unwrap_or_else(|| panic!("kora.example.toml lacks {start}"));
        let KeyDefault::Text(text) = key.default else { continue };
        let document: toml_edit::DocumentMut = setting[1..].parse().unwrap();
        assert!(
            key.kind.parse_toml(&document[key.name], "") == key.kind.parse_text(text),
            "kora.example.toml: {setting} is not the default {text}"
        );
    }
}

#[test]
fn the_documentation_lists_every_key_as_the_table_has_it() {
    let mut group = "";
    let mut table = String::new();
    for key in KEYS {
        if key.group != group {
            group = key.group;
            table += &format!("\n### {group}\n\n| key | default | Redis | meaning |\n|---|---|---|---|\n");
        }
        let default = match key.default {
            KeyDefault::Text(text) => format!("`{text}`"),
            KeyDefault::Workers => "cores".into(),
            KeyDefault::Absent => "absent".into(),
        };
        let redis = key.redis.map_or(String::new(), |name| format!("`{name}`"));
        table += &format!("| `{}` | {default} | {redis} | {} |\n", key.name, key.help);
    }
    let document = repository_file("docs/configuration.md");
    assert!(document.contains(&table), "docs/configuration.md must contain:\n{table}");
}
