//! Functions: loading, calling, dumping, compared with redis-server where there is one.

mod support;

use std::sync::Arc;

use kora_engine::reply::Protocol;
use kora_script::{
    Error, Flags, Interpreter, Libraries, Library, LibrarySource, RestorePolicy, KILLED_BY_USER,
};
use kora_script::{Step, LOADING_TIMED_OUT};
use support::redis::Server;
use support::{drive, Store, MEMORY};

/// What FUNCTION LOAD does.
fn load(interpreter: Interpreter, code: &[u8]) -> (Interpreter, Result<Arc<Library>, Error>) {
    let source = match LibrarySource::new(code) {
        Ok(source) => source,
        Err(error) => return (interpreter, Err(error)),
    };
    let mut running = interpreter.load(&source);
    drive(&mut running, &mut Store::default(), &[], &[]);
    let (interpreter, library) = running.finish_loading().expect("done");
    (interpreter, library.map(Arc::new))
}

fn interpreter() -> Interpreter {
    Interpreter::new(MEMORY).expect("an interpreter")
}

fn loaded(code: &[u8]) -> Arc<Library> {
    load(interpreter(), code).1.expect("a library")
}

/// What FCALL does.
fn call(
    interpreter: Interpreter,
    libraries: &Libraries,
    name: &[u8],
    keys: &[&[u8]],
    arguments: &[&[u8]],
) -> (Interpreter, Vec<u8>) {
    let Some((library, _)) = libraries.function(name) else {
        return (interpreter, b"-ERR Function not found\r\n".to_vec());
    };
    let mut running = interpreter.invoke(library, name, Protocol::Resp2);
    let reply = drive(&mut running, &mut Store::default(), keys, arguments);
    (running.finish().expect("done"), reply)
}

const LIBRARY: &[u8] = include_bytes!("scripts/library.lua");

const CALLED: [&str; 18] = [
    "keys", "count", "count", "err", "g", "sg", "kk", "call", "reg", "bp", "json", "ls", "glob", "rg", "mt",
    "up", "count", "none",
];

#[test]
fn libraries_load_or_fail_as_in_redis() {
    let Some(server) = Server::start().filter(|server| server.major >= 8) else {
        return;
    };
    let mut client = server.connect(Protocol::Resp2);
    let mut interpreter = interpreter();
    for code in include_str!("scripts/libraries.txt").trim_end_matches('\n').split("\n--\n") {
        client.call(&[b"FUNCTION", b"FLUSH"]);
        let theirs = client.call(&[b"FUNCTION", b"LOAD", code.as_bytes()]);
        let result;
        (interpreter, result) = load(interpreter, code.as_bytes());
        let ours = match result {
            Ok(library) => format!("${}\r\n{}\r\n", library.name().len(), library.name().escape_ascii()),
            Err(error) => format!("-{error}\r\n"),
        };
        assert_eq!(ours.as_bytes().escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{code}");
    }
}

#[test]
fn functions_reply_as_in_redis() {
    let mut libraries = Libraries::default();
    libraries.insert(loaded(LIBRARY), false).expect("inserted");
    let server = Server::start().filter(|server| server.major >= 8);
    let mut client = server.as_ref().map(|server| server.connect(Protocol::Resp2));
    if let Some(client) = &mut client {
        client.call(&[b"FUNCTION", b"LOAD", LIBRARY]);
    }
    // An interpreter that has not loaded the library does so by itself.
    let mut interpreter = interpreter();
    for name in CALLED {
        let ours;
        (interpreter, ours) = call(interpreter, &libraries, name.as_bytes(), &[b"k"], &[b"a", b"b"]);
        if let Some(client) = &mut client {
            let theirs = client.call(&[b"FCALL", name.as_bytes(), b"1", b"k", b"a", b"b"]);
            assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{name}");
        }
    }
    let (_, count) = call(interpreter, &libraries, b"count", &[], &[]);
    assert_eq!(count, b":4\r\n");
}

#[test]
fn payloads_go_both_ways() {
    let mut libraries = Libraries::default();
    libraries.insert(loaded(LIBRARY), false).expect("inserted");
    let long = [
        b"#!lua name=long\n--".as_slice(),
        &[b'x'; 20_000],
        b"\nredis.register_function('long',function() return 7 end)",
    ];
    libraries.insert(loaded(&long.concat()), false).expect("inserted");
    let ours = libraries.dump();
    let names = |payload: &[u8]| {
        let sources = Libraries::sources_of(payload).expect("sources");
        let mut names: Vec<Vec<u8>> = sources.iter().map(|source| source.name().to_vec()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&ours), [b"l".to_vec(), b"long".to_vec()]);
    let Some(server) = Server::start().filter(|server| server.major >= 8) else {
        return;
    };
    let mut client = server.connect(Protocol::Resp2);
    assert_eq!(client.call(&[b"FUNCTION", b"RESTORE", &ours]), b"+OK\r\n");
    assert_eq!(client.call(&[b"FCALL", b"long", b"0"]), b":7\r\n");
    let theirs = client.call(&[b"FUNCTION", b"DUMP"]);
    let start = theirs.iter().position(|&b| b == b'\n').expect("a length") + 1;
    let theirs = &theirs[start..theirs.len() - 2];
    assert_eq!(names(theirs), names(&ours));
    let mut broken = theirs.to_vec();
    broken[3] ^= 1;
    let error = Libraries::sources_of(&broken).unwrap_err();
    let reply = client.call(&[b"FUNCTION", b"RESTORE", &broken]);
    assert_eq!(reply, [b"-", error.text(), b"\r\n"].concat());
}

fn named(name: &str, function: &str) -> Arc<Library> {
    loaded(
        format!("#!lua name={name}\nredis.register_function('{function}', function() return '{name}' end)")
            .as_bytes(),
    )
}

#[test]
fn names_are_unique() {
    let mut libraries = Libraries::default();
    libraries.insert(named("a", "f"), false).expect("a");
    let text = |result: Result<Option<Arc<Library>>, Error>| result.unwrap_err().to_string();
    assert_eq!(text(libraries.insert(named("a", "g"), false)), "ERR Library 'a' already exists");
    assert_eq!(text(libraries.insert(named("b", "f"), false)), "ERR Function f already exists");
    assert!(libraries.get(b"b").is_none());
    let replaced = libraries.insert(named("a", "g"), true).expect("replaced").expect("the old one");
    assert_eq!(&*replaced.functions()[0].name, b"f");
    assert!(libraries.function(b"f").is_none());
    assert_eq!((libraries.len(), libraries.functions_len()), (1, 1));
    libraries.insert(named("b", "f"), false).expect("f is free again");
    assert_eq!(text(libraries.insert(named("b", "g"), true)), "ERR Function g already exists");
    assert!(libraries.function(b"f").is_some());
    assert!(libraries.remove(b"b").is_some() && libraries.remove(b"b").is_none());
}

#[test]
fn restoring_follows_its_policy() {
    let mut start = Libraries::default();
    start.insert(named("a", "f"), false).expect("a");
    let restored = |policy, loaded| {
        let mut libraries = start.clone();
        let result = libraries.restore(loaded, policy).map_err(|error| error.to_string());
        result.map(|()| {
            libraries.iter().map(|l| String::from_utf8_lossy(l.name()).into_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(restored(RestorePolicy::Append, vec![named("b", "g")]), Ok(vec!["a".into(), "b".into()]));
    assert_eq!(
        restored(RestorePolicy::Append, vec![named("a", "g")]),
        Err("ERR Library a already exists".into())
    );
    assert_eq!(
        restored(RestorePolicy::Append, vec![named("b", "f")]),
        Err("ERR Function f already exists".into())
    );
    assert_eq!(restored(RestorePolicy::Replace, vec![named("a", "g")]), Ok(vec!["a".into()]));
    assert_eq!(
        restored(RestorePolicy::Replace, vec![named("b", "f")]),
        Err("ERR Function f already exists".into())
    );
    assert_eq!(restored(RestorePolicy::Flush, vec![named("b", "f")]), Ok(vec!["b".into()]));
    assert_eq!(RestorePolicy::read(b"RePlace"), Ok(RestorePolicy::Replace));
    assert!(RestorePolicy::read(b"x").is_err());
}

#[test]
fn flags_and_descriptions_are_kept() {
    let library = loaded(
        b"#!lua name=x\nredis.register_function{function_name='f', description='d', callback=function() end,
        flags={'no-writes','allow-stale'}}\nredis.register_function('g', function() end)",
    );
    let [f, g] = library.functions() else { panic!("two functions") };
    assert_eq!(f.description.as_deref(), Some(&b"d"[..]));
    assert_eq!(f.flags, Flags::NO_WRITES | Flags::ALLOW_STALE);
    assert_eq!((g.description.as_deref(), g.flags), (None, Flags::empty()));
}

#[test]
fn loading_for_ever_and_running_for_ever_can_be_ended() {
    let source = LibrarySource::new(b"#!lua name=x\nwhile true do end").expect("a source");
    let mut running = interpreter().load(&source);
    let mut over = || true;
    assert!(matches!(running.start(&[], &[], &mut over), Step::Pause));
    assert!(matches!(running.kill(LOADING_TIMED_OUT), Step::Done(_)));
    let (interpreter, result) = running.finish_loading().expect("done");
    assert_eq!(result.unwrap_err().text(), b"ERR Error registering functions: ERR FUNCTION LOAD timeout");

    let library =
        loaded(b"#!lua name=x\nredis.register_function('f', function() while true do pcall(error) end end)");
    let mut running = interpreter.invoke(&library, b"f", Protocol::Resp2);
    assert!(matches!(running.start(&[], &[], &mut over), Step::Pause));
    let Step::Done(reply) = running.kill(KILLED_BY_USER) else { panic!("not ended") };
    let reply = String::from_utf8_lossy(reply).into_owned();
    assert!(
        reply.starts_with("-ERR Script killed by user with SCRIPT KILL... script: f, on @user_function:"),
        "{reply}"
    );
}

#[test]
fn an_interpreter_forgets_libraries_that_are_gone() {
    let mut libraries = Libraries::default();
    libraries.insert(named("a", "f"), false).expect("a");
    let (mut interpreter, reply) = call(interpreter(), &libraries, b"f", &[], &[]);
    assert_eq!(reply, b"$1\r\na\r\n");
    let used = interpreter.memory_used();
    for _ in 0..2_000 {
        let old = libraries.clone();
        libraries.insert(named("a", "f"), true).expect("replaced");
        let reply;
        (interpreter, reply) = call(interpreter, &libraries, b"f", &[], &[]);
        assert_eq!(reply, b"$1\r\na\r\n");
        interpreter.forget_libraries_except(&libraries);
        drop(old);
        if libraries.is_empty() {
            break;
        }
        if interpreter.memory_used() > used * 4 {
            panic!("grows: {} of {used}", interpreter.memory_used());
        }
    }
}
