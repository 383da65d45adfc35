//! Random commands on a shard, and what it holds after them.
//!
//! Each command is a template; capitals are slots: K a key, M a member or field, V a value, N an integer, F a float, I the id of
//! a stream's entry, G a group, C a consumer.

use kora_engine::command::{registry, Run};
use kora_engine::keyspace::View;
use kora_engine::reply::{Protocol, Reply};
use kora_engine::shard::{Applied, EngineConfig, Shard, ShardId};
use kora_engine::table::ValueRef;
use std::collections::BTreeMap;

/// The commands.
pub const TEMPLATES: &[&str] = &[
    "set K V",
    "append K V",
    "setrange K 3 V",
    "incrby K N",
    "incrbyfloat K F",
    "del K",
    "getdel K",
    "expire K 100",
    "persist K",
    "rename K K",
    "copy K K replace",
    "move K 1",
    "lpush K V",
    "rpush K V V V",
    "rpush K M M",
    "rpushx K V",
    "lpop K",
    "rpop K",
    "lpop K 2",
    "lset K N V",
    "linsert K before V M",
    "linsert K after M V",
    "lrem K N V",
    "ltrim K N N",
    "lmove K K left right",
    "rpoplpush K K",
    "lmpop 2 K K right count 2",
    "xadd K * M V",
    "xadd K * M V M V",
    "xadd K 5-* M V",
    "xadd K maxlen = 3 * M V",
    "xadd K maxlen ~ 2 * M V",
    "xtrim K maxlen 2",
    "xtrim K minid 1700000000500",
    "xdel K I I",
    "xdelex K delref ids 1 I",
    "xdelex K acked ids 1 I",
    "xsetid K I",
    "xsetid K 1800000000000-0 entriesadded 100 maxdeletedid 5-1",
    "xgroup create K G I mkstream",
    "xgroup create K G 0",
    "xgroup setid K G I",
    "xgroup setid K G $ entriesread 3",
    "xgroup destroy K G",
    "xgroup createconsumer K G C",
    "xgroup delconsumer K G C",
    "xreadgroup group G C streams K >",
    "xreadgroup group G C count 2 streams K >",
    "xreadgroup group G C noack streams K >",
    "xreadgroup group G C streams K 0",
    "xack K G I I",
    "xackdel K G ids 1 I",
    "xackdel K G acked ids 1 I",
    "xclaim K G C 0 I I force",
    "xclaim K G C 100 I retrycount 5 justid lastid I",
    "xautoclaim K G C 10 0 count 2",
    "sadd K M",
    "sadd K M M M",
    "sadd K N N",
    "srem K M M",
    "smove K K M",
    "spop K",
    "spop K 3",
    "sunionstore K K K",
    "sinterstore K K K",
    "sdiffstore K K K",
    "hset K M V",
    "hset K M V M V M V",
    "hsetnx K M V",
    "hdel K M M",
    "hincrby K M N",
    "hincrbyfloat K M F",
    "hexpire K 1 fields 2 M M",
    "hpexpire K 700 xx fields 2 M M",
    "hexpire K 0 fields 1 M",
    "hpersist K fields 2 M M",
    "hgetex K px 900 fields 2 M M",
    "hgetdel K fields 1 M",
    "hsetex K fnx px 1500 fields 1 M V",
    "hsetex K keepttl fields 2 M V M V",
    "hlen K",
    "hrandfield K 3",
    "zadd K N M",
    "zadd K F M N M F M",
    "zadd K F a 1 b 2 c 3 d 4 e",
    "zadd K nx ch F M N M",
    "zadd K xx gt incr F M",
    "zadd K -0 M inf M",
    "zincrby K F M",
    "zrem K M M",
    "zpopmin K",
    "zpopmax K 3",
    "zmpop 2 K K min count 2",
    "zremrangebyrank K N N",
    "zremrangebyscore K N (F",
    "zremrangebylex K - [M",
    "zrangestore K K N N",
    "zrangestore K K - + bylex limit 1 3",
    "zunionstore K 2 K K weights N F",
    "zinterstore K 2 K K aggregate max",
    "zdiffstore K 2 K K",
    "zrandmember K 3 withscores",
    "geoadd K F N M N N M",
    "geosearchstore K K fromlonlat 1 1 byradius 5000 km storedist",
    "georadius K 1 1 9000 km store K",
];

/// A sink that forgets.
struct Nowhere;

impl Reply for Nowhere {
    fn protocol(&self) -> Protocol {
        Protocol::Resp3
    }
    fn simple(&mut self, _: &str) {}
    fn error(&mut self, _: &[u8]) {}
    fn integer(&mut self, _: i64) {}
    fn bulk(&mut self, _: &[u8]) {}
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn push(&mut self, _: usize) {}
    fn double(&mut self, _: f64) {}
    fn boolean(&mut self, _: bool) {}
    fn verbatim(&mut self, _: &str, _: &[u8]) {}
    fn raw(&mut self, _: &[u8]) {}
}

/// An empty shard.
pub fn shard() -> Shard {
    Shard::new(ShardId { index: 0, count: 1 }, EngineConfig::default(), 11)
}

/// Runs a command in database `db`.
pub fn run(shard: &mut Shard, db: u16, line: &str, now: u64) {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let Ok(command) = registry().resolve(&argv) else { panic!("{line} is no command") };
    assert!(matches!(command.spec.run, Run::Keys(..)), "{line} runs on a shard");
    let view = View { db, now, touch: true };
    if let Applied::Later(mut work) = shard.apply(view, command, &argv, None, &mut Nowhere) {
        while !work.resume(shard, now, 100, &mut Nowhere) {}
    }
}

/// Value bytes and expiry of each key of each database.
pub type Contents = BTreeMap<(u16, Vec<u8>), (Vec<u8>, Option<u64>)>;

/// What the first two databases hold, expired keys included.
pub fn contents(shard: &Shard) -> Contents {
    let mut contents = BTreeMap::new();
    for db in 0..2 {
        let mut position = 0;
        loop {
            let view = View { db, now: 0, touch: false };
            position = shard.keys.scan(view, position, 100, &mut |entry| {
                let mut value = Vec::new();
                match entry.value() {
                    ValueRef::Int(int) => value.extend_from_slice(int.to_string().as_bytes()),
                    ValueRef::Bytes(bytes) => value.extend_from_slice(bytes),
                    ValueRef::Shared(bytes) => value.extend_from_slice(bytes),
                    ValueRef::Object(object) => {
                        value.extend_from_slice(object.kind().name().as_bytes());
                        object.with(|object| object.encode(&mut value));
                    }
                }
                contents.insert((db, entry.key().to_vec()), (value, entry.expire_at()));
            });
            if position == 0 {
                break;
            }
        }
    }
    contents
}

/// A template with its slots filled by these choices.
pub fn filled(template: &str, picks: &[u16]) -> String {
    let mut picks = picks.iter().cycle().copied().map(usize::from);
    let mut pick = |choices: &[&str]| choices[picks.next().expect("a cycle") % choices.len()].to_owned();
    let mut words = Vec::new();
    for word in template.split(' ') {
        words.push(match word {
            "K" => pick(&["k1", "k2", "k3"]),
            "M" => pick(&[
                "a",
                "b",
                "c",
                "17",
                "-4",
                "a-member-of-more-than-sixty-four-bytes-that-does-not-fit-any-packed-form-at-all",
                "d",
                "e",
            ]),
            "V" => pick(&["1", "value", "3.5", "-70000", "9223372036854775807", "x"]),
            "I" => pick(&["5-1", "5-2", "5-3", "1700000000000-0", "1700000000000-1", "1700000001000-0"]),
            "G" => pick(&["g1", "g2"]),
            "C" => pick(&["c1", "c2"]),
            "N" => pick(&["1", "-1", "2", "5", "0", "100", "-3"]),
            "F" => pick(&["1", "-2.5", "0.1", "1e3"]),
            word => word.to_owned(),
        });
    }
    words.join(" ")
}
