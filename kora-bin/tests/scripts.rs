//! Scripts between many clients: what loops is ended, what takes too much fails, and whatever happens, others are served and nothing stays held.
//!
//! What single replies look like is compared with redis-server in `replies`; that scripts are atomic is judged in `atomicity`.

mod harness;

use harness::resp::{encode, Value};
use harness::{Client, Launch, Server};
use std::thread;
use std::time::{Duration, Instant};

/// Keys of two shards of two.
const A: &str = "{a}key";
const B: &str = "{c}key";
const FOR_EVER: &str = "while true do end";
const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const PATIENCE: Duration = Duration::from_secs(20);

fn start(workers: usize) -> Server {
    Launch::kora().workers(workers).argument("--lua-time-limit").argument("50").start()
}

/// A client that has sent a command and waits.
fn asking(server: &Server, words: &[&str]) -> Client {
    let mut client = server.client();
    client.send_raw(&encode(words)).expect("sent");
    client
}

/// Repeats a command until its reply is as wanted.
#[track_caller]
fn until(client: &mut Client, line: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = client.command(line);
        if wanted(&reply) {
            return reply;
        }
        assert!(Instant::now() < deadline, "{line} still says {reply:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_busy(reply: &Value) -> bool {
    *reply == Value::Error(BUSY.as_bytes().to_vec())
}

#[track_caller]
fn assert_nothing_is_held(client: &mut Client) {
    until(client, "INFO stats", |info| info.text().contains("lock_table_entries:0\r\n"));
    assert_eq!(client.command(&format!("MSET {A} 1 {B} 1")), Value::Simple(b"OK".to_vec()));
    assert_eq!(client.command("SCRIPT KILL").text(), "NOTBUSY No scripts in execution right now.");
}

/// A script that does not end, over so many keys: everybody is told, and one who may ends it.
fn endless(workers: usize, keys: &[&str]) {
    let server = start(workers);
    let mut other = server.client();
    let mut words = vec!["EVAL".to_owned(), FOR_EVER.to_owned(), keys.len().to_string()];
    words.extend(keys.iter().map(|key| (*key).to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut running = asking(&server, &words);
    // One that waits for its key before the limit is told as well.
    thread::sleep(Duration::from_millis(20));
    let mut waiting = keys.first().map(|key| asking(&server, &["GET", key]));
    until(&mut other, "PING", is_busy);
    assert!(is_busy(&other.command(&format!("GET {A}"))));
    assert!(is_busy(&other.command(&format!("MSET {A} 1 {B} 1"))));
    if let Some(waiting) = &mut waiting {
        let told = waiting.read().expect("a reply").value;
        assert!(is_busy(&told) || told == Value::Null, "{told:?}");
    }
    assert_eq!(other.command("SCRIPT KILL"), Value::Simple(b"OK".to_vec()));
    let killed = running.read().expect("a reply").value.text();
    assert!(killed.contains("Script killed by user with SCRIPT KILL"), "{killed}");
    until(&mut other, "PING", |reply| *reply == Value::Simple(b"PONG".to_vec()));
    assert_nothing_is_held(&mut other);
}

#[test]
fn a_script_that_does_not_end_is_ended() {
    for workers in [1, 2] {
        for keys in [&[][..], &[A][..], &[A, B][..]] {
            endless(workers, keys);
        }
    }
}

#[test]
fn a_script_that_has_written_is_not_ended_but_goes_on() {
    let server = start(2);
    let mut other = server.client();
    // It ends by itself after a while; until then nobody can.
    let script =
        "redis.call('SET',KEYS[1],'written') local n = 0 while n < 3e8 do n = n + 1 end return 'done'";
    let mut running = asking(&server, &["EVAL", script, "1", A]);
    until(&mut other, "PING", is_busy);
    let refusal = other.command("SCRIPT KILL").text();
    assert!(refusal.starts_with("UNKILLABLE "), "{refusal}");
    assert_eq!(running.read().expect("a reply").value, Value::Bulk(b"done".to_vec()));
    until(&mut other, "PING", |reply| *reply == Value::Simple(b"PONG".to_vec()));
    assert_eq!(other.command(&format!("GET {A}")), Value::Bulk(b"written".to_vec()));
    assert_nothing_is_held(&mut other);
}

#[test]
fn a_function_is_ended_by_its_own_command() {
    let server = start(2);
    let mut other = server.client();
    let library = "#!lua name=endless\nredis.register_function('f', function() while true do end end)";
    assert_eq!(other.call(&["FUNCTION", "LOAD", library]), Value::Bulk(b"endless".to_vec()));
    let mut running = asking(&server, &["FCALL", "f", "1", A]);
    until(&mut other, "PING", |reply| reply.text().contains("FUNCTION KILL"));
    let stats = format!("{:?}", other.command("FUNCTION STATS"));
    assert!(stats.contains("duration_ms"), "{stats}");
    assert!(other.command("SCRIPT KILL").text().starts_with("BUSY "));
    assert_eq!(other.command("FUNCTION KILL"), Value::Simple(b"OK".to_vec()));
    assert!(running.read().expect("a reply").value.text().starts_with("ERR "));
    until(&mut other, "PING", |reply| *reply == Value::Simple(b"PONG".to_vec()));
    assert_nothing_is_held(&mut other);
}

#[test]
fn scripts_that_recurse_allocate_and_raise_leave_the_server_as_it_was() {
    for workers in [1, 2] {
        let server = start(workers);
        let mut client = server.client();
        let before = server.rss_bytes();
        let hostile = [
            "local function f() return f() + 1 end return f()",
            "local function f() return pcall(f) end return f()",
            "local t = {} while true do t[#t+1] = {#t} end",
            "local s = 'x' while true do s = s .. s end",
            "return ('x'):rep(1e10)",
            "local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)",
            "error({err = 'MINE raised'})",
            "error(setmetatable({}, {__tostring = function() error('again') end}))",
            "return string.match(('a'):rep(100000), ('a?'):rep(100000) .. ('a'):rep(100000))",
            "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) return t.x",
        ];
        for script in hostile {
            for (count, keys) in [("0", &[][..]), ("1", &[A][..]), ("2", &[A, B][..])] {
                client.call(&[&["EVAL", script, count][..], keys].concat());
            }
        }
        assert_eq!(client.call(&["EVAL", "return 1", "0"]), Value::Int(1));
        assert_nothing_is_held(&mut client);
        // An interpreter may take 64 MB, and there are four per worker at rest and as many as run.
        let grown = server.rss_bytes().saturating_sub(before);
        assert!(grown < (300 << 20) * workers as u64, "{} MB more", grown >> 20);
    }
}

#[test]
fn a_client_that_dies_while_its_script_runs_leaves_nothing_behind() {
    let server = start(2);
    let mut other = server.client();
    let script = "redis.call('INCR',KEYS[1]) local n = 0 while n < 2e7 do n = n + 1 end return redis.call('INCR',KEYS[2])";
    for _ in 0..5 {
        drop(asking(&server, &["EVAL", script, "2", A, B]));
        drop(asking(&server, &["EVAL", script, "2", "{a}one", "{a}two"]));
    }
    let deadline = Instant::now() + PATIENCE;
    while other.command(&format!("MGET {A} {B}")) != other.command(&format!("MGET {B} {A}"))
        || is_busy(&other.command("PING"))
    {
        assert!(Instant::now() < deadline, "scripts of clients that have gone still run");
        thread::sleep(Duration::from_millis(10));
    }
    // Each ran as a whole, or not at all.
    let counts = other.command(&format!("MGET {A} {B} {{a}}one {{a}}two")).items().to_vec();
    assert_eq!(counts[0], counts[1]);
    assert_eq!(counts[2], counts[3]);
    until(&mut other, "INFO stats", |info| info.text().contains("lock_table_entries:0\r\n"));
}

#[test]
fn a_push_of_a_script_serves_who_waits_when_the_script_has_ended() {
    for workers in [1, 2] {
        let server = start(workers);
        for keys in [["{a}list", "{a}other"], ["{a}list", "{c}other"]] {
            let mut waiting = asking(&server, &["BLPOP", keys[0], "0"]);
            let mut client = server.client();
            until(&mut client, "INFO clients", |info| info.text().contains("blocked_clients:1\r\n"));
            let script = "redis.call('RPUSH',KEYS[1],'first') redis.call('LPUSH',KEYS[1],'second') \
                          redis.call('SET',KEYS[2],'x') return redis.call('LLEN',KEYS[1])";
            assert_eq!(client.call(&["EVAL", script, "2", keys[0], keys[1]]), Value::Int(2));
            assert_eq!(waiting.read().expect("a reply").value.items()[1].text(), "second");
            assert_eq!(client.call(&["LPOP", keys[0]]), Value::Bulk(b"first".to_vec()));
        }
        assert_nothing_is_held(&mut server.client());
    }
}

#[test]
fn keys_that_are_not_declared_are_refused_unless_all_is_held() {
    let server = start(2);
    let mut client = server.client();
    let script = format!("return redis.call('SET','{B}','x')");
    assert!(client.call(&["EVAL", &script, "1", A]).text().contains("not among its KEYS"));
    assert!(client.call(&["EVAL", &script, "0"]).text().contains("script_undeclared_keys"));
    assert!(client.call(&["EVAL", "return redis.call('DBSIZE')", "1", A]).text().contains("all keys"));
    assert_eq!(client.command("DBSIZE"), Value::Int(0));
    client.command("CONFIG SET script-undeclared-keys yes");
    assert_eq!(client.call(&["EVAL", &script, "1", A]), Value::Simple(b"OK".to_vec()));
    assert_eq!(client.call(&["EVAL", &script, "0"]), Value::Simple(b"OK".to_vec()));
    assert_eq!(client.call(&["EVAL", "return redis.call('DBSIZE')", "0"]), Value::Int(1));
    client.command("MULTI");
    client.call(&["EVAL", &script, "0"]);
    client.call(&["EVAL", "return redis.call('DBSIZE')", "0"]);
    let replies = client.command("EXEC").items().to_vec();
    assert_eq!(replies, [Value::Simple(b"OK".to_vec()), Value::Int(1)]);
    assert_nothing_is_held(&mut client);
}

#[test]
fn many_scripts_over_the_same_shards_are_all_counted() {
    for workers in [1, 2] {
        let server = start(workers);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = server.client();
                    for at in 0..200 {
                        let (first, second) = if at % 2 == 0 { (A, B) } else { (B, A) };
                        let script = "redis.call('INCR',KEYS[1]) return redis.call('INCR',KEYS[2])";
                        assert!(matches!(client.call(&["EVAL", script, "2", first, second]), Value::Int(_)));
                    }
                });
            }
        });
        let mut client = server.client();
        let counts = client.command(&format!("MGET {A} {B}")).items().to_vec();
        assert_eq!(counts, [Value::Bulk(b"1600".to_vec()), Value::Bulk(b"1600".to_vec())]);
        assert_nothing_is_held(&mut client);
    }
}
