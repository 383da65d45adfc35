//! Scripts that loop, recurse, allocate and cheat: the interpreter survives all of them, and nothing is left for the next script.

mod support;

use kora_engine::reply::Protocol;
use kora_script::{Interpreter, Script, Step, KILLED_BY_USER};
use support::{drive, Bench, Store, MEMORY};

/// Runs a script that never ends until it pauses a few times, and kills it.
fn killed(source: &str) -> String {
    let script = Script::new(source.as_bytes()).expect("a script");
    let mut running = Interpreter::new(MEMORY).expect("an interpreter").evaluate(&script, Protocol::Resp2);
    let mut store = Store::default();
    let mut looks = 0;
    let mut every_third = || {
        looks += 1;
        looks % 3 == 0
    };
    let mut pauses = 0;
    let mut step = running.start(&[], &[], &mut every_third);
    let reply = loop {
        step = match step {
            Step::Pause if pauses == 5 => running.kill(KILLED_BY_USER),
            Step::Pause => {
                pauses += 1;
                running.go_on(&mut every_third)
            }
            Step::Call { arguments, protocol } => {
                let reply = store.execute(arguments, protocol);
                running.reply(&reply, &mut every_third)
            }
            Step::Done(reply) => break String::from_utf8_lossy(reply).into_owned(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pauses, 5, "{source}: ended by itself with {reply}");
    // The interpreter is as good as new.
    let interpreter = running.finish().expect("an interpreter");
    let script = Script::new(b"local n = 0 for i = 1, 100000 do n = n + i end return {n, pcall(error)}")
        .expect("a script");
    let mut running = interpreter.evaluate(&script, Protocol::Resp2);
    assert_eq!(drive(&mut running, &mut store, &[], &[]), b"*2\r\n:5000050000\r\n$-1\r\n");
    reply
}

#[test]
fn endless_scripts_are_killed_wherever_they_are() {
    for source in [
        "while true do end",
        "repeat until false",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error) end",
        "while true do pcall(pcall, error) end",
        "local function f() while true do pcall(f2 or error) end end while true do xpcall(f, function() while true do end end) end",
        "while true do redis.call('set', 'x', 1) end",
        "while true do redis.pcall('nope') end",
        "while true do pcall(redis.call, 'nope') end",
        "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end",
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
        "table.sort({1,2,3,4,5}, function() while true do end end)",
        "string.gsub('x', 'x', function() while true do end end)",
        "return load(function() return ' ' end)",
        "while true do cjson.encode({1,2,3}) end",
        "goto_ = 1 while true do end".trim_start_matches("goto_ = 1 "),
        "local t = {} for i = 1, 100 do t[i] = i end while true do table.concat(t) end",
    ] {
        let reply = killed(source);
        assert!(reply.starts_with("-ERR Script killed by user with SCRIPT KILL..."), "{source}: {reply}");
    }
    let text = killed("while true do end");
    let sha = String::from_utf8_lossy(&kora_script::sha1_hex(b"while true do end")).into_owned();
    assert_eq!(
        text,
        format!("-ERR Script killed by user with SCRIPT KILL... script: {sha}, on @user_script:1.\r\n")
    );
}

#[test]
fn a_killed_script_runs_no_command_any_more() {
    let script = Script::new(b"pcall(function() while true do end end) redis.call('set','x','1') return 1")
        .expect("a script");
    let mut running = Interpreter::new(MEMORY).expect("an interpreter").evaluate(&script, Protocol::Resp2);
    let mut over = || true;
    assert!(matches!(running.start(&[], &[], &mut over), Step::Pause));
    let Step::Done(reply) = running.kill(KILLED_BY_USER) else { panic!("a command was called") };
    assert!(reply.starts_with(b"-ERR Script killed by user"), "{}", reply.escape_ascii());
}

#[test]
fn recursion_without_end_is_an_error() {
    let mut bench = Bench::new();
    for (source, text) in [
        ("local function f() f() end f()", "stack overflow"),
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        ("local function f() return pcall(f) end return {f()}", "*"),
        ("local function f() return (string.gsub('x', 'x', f)) end return f()", "C stack overflow"),
        ("local function w() return coroutine.wrap(w)() end return w()", "C stack overflow"),
        (
            "local t = {} setmetatable(t, {__index = function(t, k) return t[k] end}) return t.x",
            "C stack overflow",
        ),
        ("local t = {} setmetatable(t, {__index = t}) return t.x", "loop in gettable"),
        ("local function f() table.sort({1,2,3}, f) end f()", "C stack overflow"),
        ("return loadstring(('('):rep(1000) .. '1' .. (')'):rep(1000))()", "attempt to call a nil value"),
        ("return {loadstring('return ' .. ('{'):rep(1e5))}", "*"),
        ("return string.match(('a'):rep(1e6), ('a?'):rep(1e6) .. ('a'):rep(1e6))", "pattern too complex"),
        ("return string.find(('a'):rep(1e5), ('('):rep(300))", "pattern too complex"),
        ("return string.gsub('x', ('x*'):rep(201), '')", "pattern too complex"),
        ("local t = {} t[1] = t return cjson.encode(t)", "excessive nesting"),
        ("cjson.encode_max_depth(1e9) local t = {} t[1] = t return cjson.encode(t)", "excessive nesting"),
        ("cjson.decode_max_depth(1e9) return cjson.decode(('['):rep(1e6))", "too many nested"),
        ("cjson.decode_max_depth(1e9) return cjson.decode(('{\"a\":'):rep(1e6))", "too many nested"),
        ("return cmsgpack.unpack(('\\145'):rep(1e6))", "stack overflow"),
        ("return cmsgpack.unpack(('\\129\\1'):rep(1e6))", "stack overflow"),
        ("return type(redis.call('raw', ('*1\\r\\n'):rep(1e5) .. ':1\\r\\n'))", "nested too deep"),
        ("return redis.call('raw', '*1000000000\\r\\n')", "malformed"),
        ("return redis.call('raw', '$1000000000\\r\\n')", "malformed"),
        ("return redis.call('raw', '')", "malformed"),
        ("return redis.call('raw', '%2147483648\\r\\n')", "malformed"),
        ("return redis.call('raw', '|9223372036854775807\\r\\n')", "malformed"),
    ] {
        let reply = bench.eval(source);
        assert!(reply.contains(text), "{source}: {}", &reply[..reply.len().min(300)]);
    }
    let mut t = bench.eval("local t = {} t[1] = t return t");
    t.truncate(20);
    assert!(t.starts_with("*1\r\n*1\r\n"));
}

#[test]
fn memory_is_limited_and_comes_back() {
    let mut bench = Bench::new();
    for source in [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} while true do t = {t, t} end",
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(i) end",
        "return ('x'):rep(1e9)",
        "return ('x'):rep(2^31 - 1)",
        "return string.rep(('x'):rep(1e6), 1e6)",
        "return table.concat({('x'):rep(3e7), ('x'):rep(3e7)})",
        "return cjson.encode({('x'):rep(2e7), ('x'):rep(2e7), ('x'):rep(2e7), ('x'):rep(2e7)})",
        "local f = function() end while true do local g = f f = function() return g end end",
        "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end",
        "cjson.encode_sparse_array(false, 0) return cjson.encode({[2^31 - 1] = 1})",
    ] {
        let reply = bench.eval(source);
        assert!(reply.contains("not enough memory"), "{source}: {}", &reply[..reply.len().min(200)]);
        assert!(bench.interpreter().memory_used() < MEMORY);
        assert_eq!(bench.eval("local t = {} for i = 1, 1e5 do t[i] = i end return #t"), ":100000\r\n");
    }
    let mut caught =
        bench.eval("local ok, e = pcall(function() local s = 'x' while true do s = s .. s end end) return e");
    assert_eq!(caught, "$17\r\nnot enough memory\r\n");
    // Two elements that are the same table, twenty levels deep and more: a reply that no memory would hold.
    caught = bench.eval("local t = {1} for i = 1, 40 do t = {t, t} end return t");
    assert!(caught.contains("larger than its memory"), "{}", &caught[..100]);
}

#[test]
fn nothing_is_left_for_the_next_script() {
    let mut bench = Bench::new();
    for (first, second, reply) in [
        ("KEYS[1] = 'x' ARGV = ARGV", "return #KEYS", ":0\r\n"),
        ("redis.setresp(3)", "return {redis.call('get', 'none') == false}", "*1\r\n:1\r\n"),
        ("cjson.encode_max_depth(1)", "return cjson.encode({{{1}}})", "$7\r\n[[[1]]]\r\n"),
        ("cjson.encode_number_precision(2)", "return cjson.encode(1.2345)", "$6\r\n1.2345\r\n"),
        ("collectgarbage('stop')", "return 1", ":1\r\n"),
        ("pcall(rawset, _G, 'x', 1) pcall(rawset, string, 'x', 1)", "return pcall(function() return x end)", "$-1\r\n"),
        ("for k in pairs(_G) do pcall(function() _G[k] = nil end) end", "return type(pcall)", "$8\r\nfunction\r\n"),
        ("local mt = getmetatable('') pcall(rawset, mt, 'x', 1) pcall(rawset, mt.__index, 'y', 1)", "return {('').y == nil, ('').x == nil}", "*2\r\n:1\r\n:1\r\n"),
        ("local n, t = pairs(string) pcall(function() t.x = 1 end) table.foreach(string, function(k, v) end)", "return string.x == nil and 1", ":1\r\n"),
        ("local mt = getmetatable(_G) pcall(function() mt.__index = nil end) pcall(rawset, mt, '__index', nil)", "return {pcall(function() return nope end)}", "*2\r\n$-1\r\n"),
    ] {
        bench.eval(first);
        let second_reply = bench.eval(second);
        assert!(second_reply.starts_with(reply), "{first} / {second}: {second_reply}");
    }
    // Garbage of thousands of scripts does not pile up, though one told the collector to stop.
    for _ in 0..200 {
        bench.eval("collectgarbage('stop') local t = {} for i = 1, 1000 do t[i] = {i} end");
    }
    assert!(bench.interpreter().memory_used() < 8 << 20, "{}", bench.interpreter().memory_used());
}

#[test]
fn precompiled_code_is_refused() {
    let mut bench = Bench::new();
    for source in [
        "return {loadstring(string.dump(function() return 1 end))}",
        "local d = string.dump(function() return 1 end) return {load(function() local p = d d = nil return p end)}",
        "local d = string.dump(function() return 1 end) local i = 0 return {load(function() i = i + 1 local c = d:sub(i, i) return c ~= '' and c or nil end)}",
    ] {
        assert_eq!(bench.eval(source), "*0\r\n", "{source}");
    }
    let reply = bench.eval("\x1bLua");
    assert!(
        reply
            .starts_with("-ERR Error compiling script (new function): user_script:1: unexpected symbol near"),
        "{reply}"
    );
}

#[test]
fn scripts_in_progress_do_not_meet() {
    let script = Script::new(
        b"local n = tonumber(ARGV[1]) for i = 1, 50 do n = n + redis.call('get', KEYS[1]) end return n",
    )
    .expect("a script");
    let mut never = || false;
    let mut all: Vec<_> = (0..20)
        .map(|_| Interpreter::new(MEMORY).expect("an interpreter").evaluate(&script, Protocol::Resp2))
        .collect();
    for (i, running) in all.iter_mut().enumerate() {
        let start = (i * 1000).to_string();
        let step = running.start(&[b"k"], &[start.as_bytes()], &mut never);
        assert!(matches!(step, Step::Call { arguments: [b"get", b"k"], .. }));
    }
    for round in 0..50 {
        for (i, running) in all.iter_mut().enumerate() {
            let reply = format!("$1\r\n{}\r\n", i % 10);
            match running.reply(reply.as_bytes(), &mut never) {
                Step::Call { .. } => assert!(round < 49),
                Step::Done(reply) => {
                    assert_eq!(round, 49);
                    assert_eq!(reply, format!(":{}\r\n", i * 1000 + 50 * (i % 10)).as_bytes());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_is_dropped_in_the_middle_is_released() {
    for source in [
        "return redis.call('get', 'x')",
        "while true do end",
        "coroutine.wrap(function() pcall(redis.call, 'get', 'x') end)()",
    ] {
        for _ in 0..50 {
            let script = Script::new(source.as_bytes()).expect("a script");
            let mut running =
                Interpreter::new(MEMORY).expect("an interpreter").evaluate(&script, Protocol::Resp2);
            let mut over = || true;
            assert!(!matches!(running.start(&[], &[], &mut over), Step::Done(_)));
            assert!(running.finish().is_none());
        }
    }
}

#[test]
fn log_lines_reach_the_driver() {
    let mut bench = Bench::new();
    assert_eq!(bench.eval("redis.log(redis.LOG_WARNING, 'a', 1, {}, 'b') return 7"), ":7\r\n");
    assert_eq!(bench.store.log, [(3, b"a 1 b".to_vec())]);
}

#[test]
fn large_replies_and_arguments_are_whole() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.eval(
            "local t = {} for i = 1, 7000 do t[i] = i end return #redis.call('echo', table.concat(t, ','))"
        ),
        ":33892\r\n"
    );
    let reply = bench
        .eval("local t = {} for i = 1, 7000 do t[i] = i end return {redis.pcall('nope', unpack(t)).err}");
    assert!(reply.contains("Unknown Redis command"));
    let reply = bench.eval("return redis.call('raw', '*100000\\r\\n' .. (':7\\r\\n'):rep(100000))");
    assert_eq!(reply.len(), "*100000\r\n".len() + 400_000);
}
