//! What an operator does to a running server, with several workers: settings that reach every executor and survive a
//! restart, clients that are listed, held up and closed wherever they are, secrets that stay secret, the end.

mod harness;

use harness::{Client, Launch, Server, Subject, Value};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const OK: &[u8] = b"OK";

fn start() -> Server {
    Launch::kora().workers(2).start()
}

/// One client on each executor: connections go round.
fn clients(server: &Server) -> Vec<Client> {
    (0..4).map(|_| server.client()).collect()
}

fn is_kora() -> bool {
    Subject::current() == Subject::Kora
}

fn ok() -> Value {
    Value::Simple(OK.to_vec())
}

fn config(client: &mut Client, name: &str) -> String {
    client.call(&["CONFIG", "GET", name]).items()[1].text()
}

/// A configuration file in a directory of its own, removed with it.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(text: &str) -> ConfigFile {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("kora-administration-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a directory for the file");
        let path = folder.join("kora.toml");
        fs::write(&path, text).expect("the file is written");
        ConfigFile(path)
    }

    fn launch(&self) -> Launch {
        Launch::kora().workers(2).argument("--config").argument(self.0.to_str().expect("UTF-8"))
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).expect("the file is read")
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().expect("a folder"));
    }
}

// ---- Settings ----

#[test]
fn a_setting_is_the_same_on_every_executor_once_it_is_answered() {
    let server = start();
    let mut clients = clients(&server);
    for round in 0..20 {
        let value = (round * 100 + 1).to_string();
        let writer = round % clients.len();
        assert_eq!(clients[writer].call(&["CONFIG", "SET", "timeout", &value]), ok());
        for client in &mut clients {
            assert_eq!(config(client, "timeout"), value);
        }
    }
}

#[test]
fn settings_made_through_different_executors_at_once_agree_everywhere() {
    let server = start();
    std::thread::scope(|scope| {
        for mut client in clients(&server) {
            scope.spawn(move || {
                for value in 0..50 {
                    assert_eq!(
                        client.call(&["CONFIG", "SET", "timeout", &format!("{}", 1000 + value)]),
                        ok()
                    );
                }
            });
        }
    });
    let values: Vec<String> = clients(&server).iter_mut().map(|client| config(client, "timeout")).collect();
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
}

#[test]
fn rewritten_settings_are_those_of_the_next_start_and_the_rest_of_the_file_stays() {
    if !is_kora() {
        return;
    }
    let file = ConfigFile::new("# ours\nhz = 20 # keep\n\ntimeout = 5\n");
    let server = file.launch().start();
    let mut client = server.client();
    assert_eq!((config(&mut client, "hz"), config(&mut client, "timeout")), ("20".into(), "5".into()));
    assert_eq!(client.command("CONFIG REWRITE"), ok());
    assert_eq!(file.text(), "# ours\nhz = 20 # keep\n\ntimeout = 5\n", "nothing was set, nothing changes");
    for set in
        ["timeout 7", "loglevel verbose", "protected-mode no", "slowlog-max-len 5", "proto-max-bulk-len 2mb"]
    {
        assert_eq!(client.command(&format!("CONFIG SET {set}")), ok(), "{set}");
    }
    assert_eq!(client.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 10mb 5mb 60"]), ok());
    assert_eq!(client.call(&["CONFIG", "SET", "requirepass", "a \"secret\""]), ok());
    assert_eq!(client.command("CONFIG REWRITE"), ok());
    let text = file.text();
    assert!(text.starts_with("# ours\nhz = 20 # keep\n"), "{text}");
    drop(server);

    let server = file.launch().start();
    let mut client = server.client();
    assert!(client.command("PING").text().starts_with("NOAUTH"));
    assert_eq!(client.call(&["AUTH", "a \"secret\""]), ok());
    for (name, value) in [
        ("hz", "20"),
        ("timeout", "7"),
        ("loglevel", "verbose"),
        ("protected-mode", "no"),
        ("slowlog-max-len", "5"),
        ("proto-max-bulk-len", "2097152"),
        ("client-output-buffer-limit", "normal 10485760 5242880 60"),
    ] {
        assert_eq!(config(&mut client, name), value, "{name}");
    }
    // The way back: no password.
    assert_eq!(client.call(&["CONFIG", "SET", "requirepass", ""]), ok());
    assert_eq!(client.command("CONFIG REWRITE"), ok());
    assert!(!file.text().contains("secret"), "{}", file.text());
}

#[test]
fn rewriting_without_a_file_is_an_error() {
    let server = start();
    let reply = server.client().command("CONFIG REWRITE");
    assert_eq!(reply, Value::Error(b"ERR The server is running without a config file".to_vec()));
}

#[test]
fn a_limit_on_clients_beyond_the_descriptors_names_what_is_possible() {
    let server = Launch::kora().max_clients(100).descriptors(300).start();
    let mut client = server.client();
    let reply = client.command("CONFIG SET maxclients 100000").text();
    let possible = reply.rsplit(' ').next().and_then(|word| word.parse::<u32>().ok());
    let possible = possible.unwrap_or_else(|| panic!("a number at the end of {reply:?}"));
    assert!(
        reply.starts_with("ERR CONFIG SET failed (possibly related to argument 'maxclients')"),
        "{reply}"
    );
    assert!((100..300).contains(&possible), "{reply}");
    assert_eq!(config(&mut client, "maxclients"), "100");
    assert_eq!(client.command(&format!("CONFIG SET maxclients {possible}")), ok());
    assert_eq!(config(&mut client, "maxclients"), possible.to_string());
}

#[test]
fn a_password_that_is_set_is_needed_by_new_clients_and_shown_to_nobody() {
    let server = start();
    let mut clients = clients(&server);
    clients[0].command("CONFIG SET slowlog-log-slower-than 0");
    assert_eq!(clients[0].command("CONFIG SET requirepass hunter2"), ok());
    for client in &mut clients {
        assert_eq!(client.command("PING"), Value::Simple(b"PONG".to_vec()), "who was in stays in");
    }
    for _ in 0..4 {
        let mut client = Client::connect_to(server.address()).expect("a connection");
        assert!(client.command("GET k").text().starts_with("NOAUTH"));
        assert!(client.command("AUTH wrong").text().starts_with("WRONGPASS"));
        assert_eq!(client.command("AUTH hunter2"), ok());
        assert_eq!(client.command("HELLO 2 AUTH default hunter2").items().len(), 14);
        client.command("CONFIG SET requirepass hunter2");
    }
    let everything = [
        format!("{:?}", clients[1].command("SLOWLOG GET -1")),
        clients[1].command("CLIENT LIST").text(),
        clients[1].command("INFO everything").text(),
        format!("{:?}", is_kora().then(|| clients[1].command("CONFIG GET *"))),
        server.output(),
    ];
    for text in everything {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

// ---- Clients ----

#[test]
fn every_client_is_listed_wherever_it_is_and_ids_are_in_order() {
    let server = start();
    let mut clients = clients(&server);
    let mut ids: Vec<i64> = clients.iter_mut().map(|client| client.command("CLIENT ID").int()).collect();
    ids.sort_unstable();
    for client in &mut clients {
        let list = client.command("CLIENT LIST").text();
        let listed: Vec<i64> = list
            .lines()
            .map(|line| line.split(' ').next().and_then(|id| id.strip_prefix("id=")).expect("an id"))
            .map(|id| id.parse().expect("a number"))
            .collect();
        assert_eq!(listed, ids);
    }
}

#[test]
fn clients_are_closed_from_any_executor_and_the_number_is_told() {
    let server = start();
    let mut clients = clients(&server);
    let victim = clients.pop().expect("four clients").local_address().to_string();
    let reply = clients[0].command(&format!("CLIENT KILL ADDR {victim} SKIPME yes"));
    // The connection was dropped by this test too, so it may be gone already.
    assert!(matches!(reply, Value::Int(0 | 1)), "{reply:?}");
    assert_eq!(clients[0].command("CLIENT KILL TYPE normal"), Value::Int(2));
    for client in &mut clients[1..] {
        client.read_to_close().expect("closed");
    }
    assert_eq!(clients[0].command("CLIENT LIST").text().lines().count(), 1);
}

#[test]
fn a_pause_holds_up_every_executor_and_its_end_lets_all_go_on() {
    let server = start();
    let mut clients = clients(&server);
    assert_eq!(clients[0].command("CLIENT PAUSE 100000 WRITE"), ok());
    for (number, client) in clients.iter_mut().enumerate().skip(1) {
        assert_eq!(client.command(&format!("GET k{number}")), Value::NilBulk, "reads go on");
        client.send(&["SET", &format!("k{number}"), "v"]).expect("sent");
    }
    assert_eq!(clients[0].command("DBSIZE"), Value::Int(0));
    assert!(clients.iter_mut().skip(1).all(|client| !client.has_unread()), "writes wait");
    assert_eq!(clients[0].command("CLIENT UNPAUSE"), ok());
    for client in &mut clients[1..] {
        assert_eq!(client.read().expect("a reply").value, ok());
    }
    assert_eq!(clients[0].command("DBSIZE"), Value::Int(3));
}

#[test]
fn a_pause_ends_by_itself() {
    let server = start();
    let mut clients = clients(&server);
    let begin = Instant::now();
    assert_eq!(clients[0].command("CLIENT PAUSE 200"), ok());
    for client in &mut clients[1..] {
        assert_eq!(client.command("SET k v"), ok());
        // The server counts whole milliseconds, of which the first had begun before.
        assert!(begin.elapsed() >= Duration::from_millis(198), "{:?}", begin.elapsed());
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

// ---- Looking into it ----

#[test]
fn reports_in_words_say_something() {
    let server = start();
    let mut client = server.client();
    assert!(client.command("MEMORY DOCTOR").text().len() > 20);
    assert!(!client.command("MEMORY MALLOC-STATS").text().is_empty());
    assert_eq!(client.command("MEMORY PURGE"), ok());
    assert!(client.command("LATENCY DOCTOR").text().len() > 20);
    client.command("CONFIG SET latency-monitor-threshold 10");
    client.command("DEBUG SLEEP 0.02");
    let graph = client.command("LATENCY GRAPH command").text();
    assert!(graph.starts_with("command - high "), "{graph}");
    assert!(client.command("LATENCY DOCTOR").text().contains("command: "));
}

#[test]
fn statistics_count_a_command_on_several_executors_once() {
    let server = start();
    let mut client = server.client();
    client.command("CONFIG RESETSTAT");
    client.command("MSET a 1 b 2 c 3 d 4 e 5 f 6");
    client.command("MGET a b c d e f");
    client.command("DEL a b c d e f");
    client.command("DBSIZE");
    client.command("RENAME a b");
    let stats = client.command("INFO commandstats").text();
    for name in ["mset", "mget", "del", "dbsize", "rename"] {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        assert!(line.is_some_and(|line| line.contains(":calls=1,")), "{name} in {stats}");
    }
    assert!(
        stats.contains("cmdstat_rename:") && stats.contains("rejected_calls=0,failed_calls=1"),
        "{stats}"
    );
}

#[test]
fn a_slow_command_of_another_executors_key_is_logged_with_its_client() {
    let server = start();
    let mut clients = clients(&server);
    clients[0].command("CONFIG SET slowlog-log-slower-than 0");
    // Whichever executor has the key, one of these came through the other.
    for (number, client) in clients.iter_mut().enumerate() {
        client.command(&format!("CLIENT SETNAME client{number}"));
        client.command(&format!("SET key {number}"));
    }
    clients[0].command("CONFIG SET slowlog-log-slower-than -1");
    let log = clients[0].command("SLOWLOG GET -1");
    for (number, client) in clients.iter().enumerate() {
        let entry = log
            .items()
            .iter()
            .find(|entry| {
                let words: Vec<String> = entry.items()[3].items().iter().map(Value::text).collect();
                words == ["SET", "key", &number.to_string()]
            })
            .unwrap_or_else(|| panic!("the SET of client {number} in {log:?}"));
        assert_eq!(entry.items()[4].text(), client.local_address().to_string());
        assert_eq!(entry.items()[5].text(), format!("client{number}"));
    }
}

// ---- What is forbidden ----

#[test]
fn debug_is_refused_when_the_configuration_says_so() {
    let launch = Launch::kora().workers(2).argument("--enable-debug-command").argument("no");
    let reply = launch.start().client().command("DEBUG SLEEP 0").text();
    assert!(reply.starts_with("ERR DEBUG command not allowed."), "{reply}");
    let launch = Launch::kora().workers(2).argument("--enable-debug-command").argument("local");
    assert_eq!(launch.start().client().command("DEBUG SLEEP 0"), ok());
}

// ---- The end ----

#[test]
fn shutdown_answers_what_came_before_it_and_nothing_else() {
    // Redis ends without sending the replies of the pipeline.
    if !is_kora() {
        return;
    }
    let mut server = start();
    let mut client = server.client();
    client.send_raw(b"SET k v\r\nGET k\r\nSHUTDOWN NOSAVE\r\nGET k\r\n").expect("sent");
    let answer = client.read_to_close().expect("closed");
    assert_eq!(String::from_utf8_lossy(&answer), "+OK\r\n$1\r\nv\r\n");
    assert!(server.wait().status.success());
}

#[test]
fn shutdown_with_save_is_refused_because_there_is_nothing_to_save_to() {
    if !is_kora() {
        return;
    }
    let server = start();
    let mut client = server.client();
    assert!(client.command("SHUTDOWN SAVE").is_error());
    assert_eq!(client.command("PING"), Value::Simple(b"PONG".to_vec()));
}
