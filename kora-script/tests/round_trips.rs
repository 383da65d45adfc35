//! Values through cjson, cmsgpack and struct and back, and bytes of any kind into their readers.

mod support;

use kora_engine::reply::Protocol;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::Bench;

/// JSON as cjson writes it. Objects have one key, since the order of several is Lua's; arrays are not empty, since an empty table is an object.
#[derive(Debug, Clone)]
enum Json {
    Boolean(bool),
    Integer(i32),
    Text(Vec<u8>),
    Array(Vec<Json>),
    Object(Vec<u8>, Box<Json>),
    Empty,
}

impl Json {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Json::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Json::Text(text) => write_text(out, text),
            Json::Array(elements) => {
                for (i, element) in elements.iter().enumerate() {
                    out.push(if i == 0 { b'[' } else { b',' });
                    element.write(out);
                }
                out.push(b']');
            }
            Json::Object(key, value) => {
                out.push(b'{');
                write_text(out, key);
                out.push(b':');
                value.write(out);
                out.push(b'}');
            }
            Json::Empty => out.extend_from_slice(b"{}"),
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' | b'/' => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..=31 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Json::Boolean),
        any::<i32>().prop_map(Json::Integer),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Json::Text),
        Just(Json::Empty),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..8).prop_map(Json::Array),
            (prop::collection::vec(any::<u8>(), 0..20), inner)
                .prop_map(|(key, value)| Json::Object(key, Box::new(value))),
        ]
    })
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[test]
fn values_come_back_as_they_were() {
    // Shared by all cases: an interpreter is to be reused.
    let bench = std::cell::RefCell::new(Bench::new());
    let mut runner = runner();
    runner
        .run(&json(), |value| {
            let mut text = Vec::new();
            value.write(&mut text);
            for source in [
                "return cjson.encode(cjson.decode(ARGV[1]))",
                "return cjson.encode(cmsgpack.unpack(cmsgpack.pack(cjson.decode(ARGV[1]))))",
                "return struct.unpack('s', struct.pack('s', (cjson.encode(cjson.decode(ARGV[1])))))",
            ] {
                let reply = bench.borrow_mut().bytes_with(Protocol::Resp2, source.as_bytes(), &[], &[&text]);
                prop_assert_eq!(reply, bulk(&text));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn integers_come_back_from_every_format() {
    let mut bench = Bench::new();
    let source = b"local n = tonumber(ARGV[1]) local r = {}
        for _, f in ipairs({'l', '>l', '<i8', '!8bl', 'd', '>d'}) do
            local packed = f:sub(1, 1) == '!' and struct.pack(f, 1, n) or struct.pack(f, n)
            local values = {struct.unpack(f, packed)}
            if values[#values - 1] ~= n or values[#values] ~= #packed + 1 then return f end
        end
        return {cmsgpack.unpack(cmsgpack.pack(n)) == n, cjson.decode(cjson.encode(n)) == n}";
    for shift in 0..53 {
        for n in [1i64 << shift, (1 << shift) - 1, -(1 << shift), -(1 << shift) - 1] {
            // cjson keeps 14 digits.
            let exact = n.unsigned_abs() < 100_000_000_000_000 || n % 1000 == 0;
            let reply = bench.eval_with(Protocol::Resp2, source, &[], &[n.to_string().as_bytes()]);
            let expected = if exact { "*2\r\n:1\r\n:1\r\n" } else { "*2\r\n:1\r\n" };
            assert!(reply.starts_with(expected), "{n}: {reply}");
        }
    }
}

#[test]
fn no_bytes_are_a_crash() {
    let bench = std::cell::RefCell::new(Bench::new());
    let mut runner = runner();
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(prop::sample::select(&b"{}[]\":,\\u0d8tfnu1-.e+ \0bhilcs><!x"[..]), 0..60),
    ];
    runner
        .run(&bytes, |bytes| {
            let reply = bench.borrow_mut().bytes_with(
                Protocol::Resp3,
                b"pcall(cjson.decode, ARGV[1]) pcall(cmsgpack.unpack, ARGV[1]) pcall(cmsgpack.unpack_limit, ARGV[1], 3, 1)
                pcall(struct.unpack, ARGV[1], ARGV[1]) pcall(struct.pack, ARGV[1], 1, 2, 'x', 3) pcall(struct.size, ARGV[1])
                pcall(loadstring, ARGV[1]) pcall(string.find, ARGV[1], ARGV[1]) pcall(redis.call, 'raw', ARGV[1]) return 1",
                &[],
                &[&bytes],
            );
            prop_assert_eq!(reply, b":1\r\n");
            Ok(())
        })
        .unwrap();
}

fn runner() -> TestRunner {
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
}
