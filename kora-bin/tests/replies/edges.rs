//! Every command at the edges of its arguments, on keys of every type.
//!
//! A template is a command with slots. Each slot in turn takes every value of its pool while the others keep a harmless one,
//! so that a wrong type, a count of `i64::MIN`, a NaN or an id past the top meets every place where it can stand. After each
//! template the contents of all keys are compared too: what was refused must have changed nothing. Then all is built anew.

use super::harness::{resp, Client, Value};
use super::notation::{escaped, show};
use super::script::Comparison;
use super::{reduced, Party};

/// What is there before each template.
const SETUP: &[&str] = &[
    "SET str value",
    "SET int 41",
    "RPUSH list a b c 4 5",
    "SADD set a b c d",
    "SADD ints 1 2 3 40",
    "ZADD zset 1 a 2 b 3 c 3 d",
    "HSET hash f v g 2 h 3.5",
    "XADD stream 1-1 f v",
    "XADD stream 2-1 f w g x",
    "XADD stream 3-1 h y",
    "XGROUP CREATE stream group 0",
    "XREADGROUP GROUP group one COUNT 2 STREAMS stream >",
    "PFADD hll a b c",
    "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
];

/// How all that is seen again.
const PROBES: &[&str] = &[
    "GET str",
    "GET int",
    "LRANGE list 0 -1",
    "SMEMBERS set",
    "SMEMBERS ints",
    "ZRANGE zset 0 -1 WITHSCORES",
    "HGETALL hash",
    "XRANGE stream - +",
    "XPENDING stream group",
    "PFCOUNT hll",
    "ZRANGE geo 0 -1 WITHSCORES",
    "EXISTS missing dst",
    "TYPE dst",
];

/// Types: `K` a key of any type. The others are told by [`pool`].
const KEYS: &[&str] =
    &["missing", "str", "int", "list", "set", "ints", "zset", "hash", "stream", "hll", "geo"];

/// The pool of a slot, its harmless value first.
fn pool(slot: &str) -> Option<&'static [&'static str]> {
    Some(match slot {
        "K" => KEYS,
        "L" => &["list", "missing", "hash"],
        "S" => &["set", "missing", "list"],
        "Z" => &["zset", "missing", "list"],
        "H" => &["hash", "missing", "list"],
        "X" => &["stream", "missing", "list"],
        // Integers.
        "N" => &[
            "1",
            "0",
            "-1",
            "2",
            "-100000000000",
            "100000000000",
            "2147483647",
            "-2147483648",
            "4294967296",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "abc",
            "",
            "1.5",
            "01",
            " 1",
            "1 ",
            "nan",
        ],
        // Offsets that make nothing large.
        "O" => &[
            "1",
            "0",
            "-1",
            "7",
            "-100000000000",
            "4294967296",
            "9223372036854775807",
            "-9223372036854775808",
            "abc",
            "",
            "#1",
        ],
        // Counts of random picks: negative ones are lengths of the reply.
        "R" => &["2", "0", "-3", "100", "9223372036854775807", "-9223372036854775808", "abc", ""],
        // Times that are not about to pass.
        "T" => &[
            "0",
            "-1",
            "100000000000",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "abc",
            "",
            "1.5",
        ],
        // Floats.
        "F" => &[
            "1",
            "0",
            "-0",
            "1.5",
            "nan",
            "NaN",
            "inf",
            "-inf",
            "+inf",
            "Infinity",
            "1e400",
            "-1e400",
            "1e308",
            "1e-400",
            "0x10",
            "",
            "abc",
            " 1",
            "1 ",
            "1_000",
            "17976931348623157e300",
        ],
        // Bounds of scores and of names.
        "B" => &["0", "(0", "-inf", "+inf", "(inf", "nan", "(nan", "abc", "", "(", "1e400", "((1"],
        "M" => &["[a", "(a", "-", "+", "a", "", "[", "(", "[zz"],
        // Ids.
        "I" => &[
            "5-5",
            "5",
            "0-0",
            "0",
            "5-*",
            "1-1",
            "18446744073709551615-18446744073709551615",
            "18446744073709551616-0",
            "5-18446744073709551616",
            "-1-1",
            "5-",
            "-5",
            "abc",
            "",
            "-",
            "+",
            "$",
            "(1-1",
            "(18446744073709551615-18446744073709551615",
        ],
        // Members, fields and values.
        "V" => &[
            "a",
            "",
            "1",
            "007",
            "\u{0}",
            "\r\n",
            "a-member-that-is-longer-than-the-sixty-four-bytes-that-a-packed-collection-takes",
        ],
        // Degrees.
        "G" => &["15", "0", "180", "180.1", "-180.1", "85.05112878", "85.06", "nan", "inf", "abc", ""],
        _ => return None,
    })
}

/// Before a command: `~` its reply has no order; `?` its reply is random, so only its shape is compared unless it is an error, and
/// all is built anew after it; `^` its reply has times in it: as `?`, but nothing is built anew.
const TEMPLATES: &[&str] = &[
    // strings and keys of any type
    "GET K",
    "SET K v NX",
    "SET dst v EX N",
    "GETSET K v",
    "SETNX K v",
    "APPEND K v",
    "STRLEN K",
    "GETRANGE K N N",
    "SETRANGE K O v",
    "INCR K",
    "INCRBY K N",
    "DECRBY K N",
    "INCRBYFLOAT K F",
    "GETDEL K",
    "GETEX K PERSIST",
    "LCS K K",
    "MGET K K",
    "MSETNX K v dst w",
    "TYPE K",
    "EXISTS K K",
    "EXPIRE K N",
    "PEXPIREAT K N",
    "PERSIST K",
    "TTL missing",
    "RENAME K dst",
    "RENAMENX K dst",
    "COPY K dst",
    "COPY K dst REPLACE",
    "OBJECT REFCOUNT list",
    "DEL K",
    "UNLINK K",
    "TOUCH K K",
    "MOVE K N",
    // hashes
    "HSET K V V",
    "HSET K f",
    "HMSET K f V",
    "HSETNX K V v",
    "HGET K V",
    "HMGET K f V",
    "~HGETALL K",
    "~HKEYS K",
    "~HVALS K",
    "HLEN K",
    "HSTRLEN K V",
    "HEXISTS K V",
    "HDEL K V V",
    "HINCRBY K g N",
    "HINCRBY H V N",
    "HINCRBYFLOAT K h F",
    "HINCRBYFLOAT H V F",
    "?HRANDFIELD K",
    "?HRANDFIELD H R",
    "?HRANDFIELD H R WITHVALUES",
    "HRANDFIELD H 1 foo",
    "HSCAN missing 0 COUNT N",
    "HSCAN K 0 COUNT 0",
    "HSCAN K abc",
    // lists
    "LPUSH K V",
    "RPUSH K V V",
    "LPUSHX K V",
    "RPUSHX K V",
    "LPOP K",
    "RPOP K",
    "LPOP L N",
    "RPOP L N",
    "LLEN K",
    "LRANGE K N N",
    "LINDEX K N",
    "LSET K N V",
    "LINSERT K BEFORE V x",
    "LINSERT L AFTER a V",
    "LINSERT L NEAR a x",
    "LREM K N V",
    "LTRIM K N N",
    "LPOS K V",
    "LPOS L V RANK N",
    "LPOS L a COUNT N",
    "LPOS L a MAXLEN N",
    "LPOS L a RANK N COUNT N MAXLEN N",
    "LMOVE K K LEFT RIGHT",
    "LMOVE L dst RIGHT LEFT",
    "LMOVE L dst UP LEFT",
    "RPOPLPUSH K K",
    "RPOPLPUSH K dst",
    "LMPOP N K LEFT",
    "LMPOP 2 missing K RIGHT COUNT N",
    "LMPOP 1 L UP",
    "LMPOP 1 L LEFT COUNT N COUNT N",
    "BLPOP K K 0.001",
    "BRPOP missing K 0.001",
    "BLMOVE K K LEFT RIGHT 0.001",
    "BLMOVE L K LEFT RIGHT 0.001",
    "BLMOVE L dst UP LEFT 0.001",
    "BRPOPLPUSH K dst 0.001",
    "BLMPOP 0.001 N K LEFT",
    "BLMPOP 0.001 2 missing K RIGHT COUNT N",
    "BLMPOP 0.001 1 L UP",
    // sets
    "SADD K V V",
    "SREM K V V",
    "SCARD K",
    "SISMEMBER K V",
    "SMISMEMBER K V V",
    "~SMEMBERS K",
    "?SPOP K",
    "?SPOP S R",
    "SPOP S 1 1",
    "?SRANDMEMBER K",
    "?SRANDMEMBER S R",
    "SRANDMEMBER S 1 1",
    "SMOVE K K V",
    "SMOVE S dst V",
    "~SINTER K K",
    "~SUNION K K",
    "~SDIFF K K",
    "SINTERSTORE dst K K",
    "SUNIONSTORE dst K K",
    "SDIFFSTORE dst K K",
    "SINTERCARD N K K",
    "SINTERCARD 2 K S LIMIT N",
    "SINTERCARD 1 S FOO",
    "SSCAN missing 0 COUNT N",
    "SSCAN K 0 COUNT 0",
    // sorted sets
    "ZADD K F V",
    "ZADD Z NX XX 1 a",
    "ZADD Z GT LT 1 a",
    "ZADD Z NX GT 1 a",
    "ZADD Z XX CH F V",
    "ZADD Z GT F a",
    "ZADD Z LT CH F a",
    "ZADD K INCR F V",
    "ZADD Z INCR 1 a 2 b",
    "ZADD Z 1",
    "ZADD Z NX INCR F V",
    "ZINCRBY K F V",
    "ZREM K V V",
    "ZCARD K",
    "ZSCORE K V",
    "ZMSCORE K V V",
    "ZRANK K V",
    "ZREVRANK K V",
    "ZCOUNT K B B",
    "ZLEXCOUNT K M M",
    "ZRANGE K N N",
    "ZRANGE Z N N REV WITHSCORES",
    "ZRANGE Z B B BYSCORE",
    "ZRANGE Z B B BYSCORE REV LIMIT N N",
    "ZRANGE Z M M BYLEX",
    "ZRANGE Z M M BYLEX REV LIMIT N N",
    "ZRANGE Z 0 1 LIMIT 0 1",
    "ZRANGE Z M M BYLEX WITHSCORES",
    "ZRANGESTORE dst K N N",
    "ZRANGESTORE dst Z B B BYSCORE LIMIT N N",
    "ZRANGESTORE dst Z 0 1 WITHSCORES",
    "ZRANGEBYSCORE K B B",
    "ZRANGEBYSCORE Z B B WITHSCORES LIMIT N N",
    "ZREVRANGEBYSCORE K B B LIMIT N N",
    "ZRANGEBYLEX K M M",
    "ZRANGEBYLEX Z M M LIMIT N N",
    "ZREVRANGEBYLEX K M M",
    "ZREVRANGE K N N WITHSCORES",
    "ZPOPMIN K",
    "ZPOPMAX K",
    "ZPOPMIN Z N",
    "ZPOPMAX Z N",
    "ZMPOP N K MIN",
    "ZMPOP 2 missing K MAX COUNT N",
    "ZMPOP 1 Z UP",
    "BZPOPMIN K K 0.001",
    "BZPOPMAX missing K 0.001",
    "BZMPOP 0.001 N K MIN",
    "BZMPOP 0.001 2 missing K MAX COUNT N",
    "BZMPOP 0.001 1 Z UP",
    "WAIT N 1",
    "?ZRANDMEMBER K",
    "?ZRANDMEMBER Z R",
    "?ZRANDMEMBER Z R WITHSCORES",
    "ZRANDMEMBER Z 1 foo",
    "ZREMRANGEBYRANK K N N",
    "ZREMRANGEBYSCORE K B B",
    "ZREMRANGEBYLEX K M M",
    "ZSCAN missing 0 COUNT N",
    "ZSCAN K 0 COUNT 0",
    "ZUNION N K K",
    "ZUNION 2 K Z WITHSCORES",
    "ZUNION 2 Z Z WEIGHTS F F WITHSCORES",
    "ZUNION 2 Z Z AGGREGATE FOO",
    "ZINTER 2 K K WITHSCORES",
    "ZINTER 2 Z Z AGGREGATE MAX WEIGHTS F 2 WITHSCORES",
    "ZDIFF 2 K K",
    "ZDIFF 2 Z missing WITHSCORES",
    "ZUNIONSTORE dst N K",
    "ZUNIONSTORE dst 2 K K",
    "ZUNIONSTORE dst 2 Z S WEIGHTS F 1 AGGREGATE MIN",
    "ZINTERSTORE dst 2 K K",
    "ZDIFFSTORE dst 2 K K",
    "ZINTERCARD N K K",
    "ZINTERCARD 2 K Z LIMIT N",
    "ZUNION 1 Z WEIGHTS",
    "ZUNION 1 Z WEIGHTS 1 2",
    // streams
    "XADD K I f v",
    "XADD X I f",
    "XADD X MAXLEN N 9-9 f v",
    "XADD X MAXLEN = N 9-9 f v",
    "XADD X MINID = I 9-9 f v",
    "XADD X MAXLEN ~ 1 LIMIT N 9-9 f v",
    "XADD X MAXLEN 1 LIMIT 1 9-9 f v",
    "XADD X NOMKSTREAM 9-9 f v",
    "XLEN K",
    "XRANGE K - +",
    "XRANGE X I I",
    "XRANGE X - + COUNT N",
    "XREVRANGE K I I",
    "XREVRANGE X + - COUNT N",
    "XREAD COUNT N STREAMS K 0",
    "XREAD STREAMS X I",
    "XREAD STREAMS K X 0 0",
    "XDEL K I",
    "XTRIM K MAXLEN N",
    "XTRIM X MINID I",
    "XTRIM X MAXLEN = N",
    "XTRIM X MAXLEN = 1 LIMIT N",
    "XSETID K I",
    "XSETID X 9-9 ENTRIESADDED N MAXDELETEDID I",
    "XGROUP CREATE K g2 I",
    "XGROUP CREATE missing g2 0 MKSTREAM",
    "XGROUP CREATE X group 0",
    "XGROUP CREATE X g3 0 ENTRIESREAD N",
    "XGROUP SETID K group I",
    "XGROUP SETID X nogroup 0",
    "XGROUP DESTROY K V",
    "XGROUP CREATECONSUMER K group V",
    "XGROUP DELCONSUMER K group V",
    "XREADGROUP GROUP group V COUNT N STREAMS K >",
    "XREADGROUP GROUP group one STREAMS X I",
    "XREADGROUP GROUP V one STREAMS X >",
    "XREADGROUP GROUP group one NOACK STREAMS X >",
    "XACK K group I",
    "XACK X V 1-1",
    "XPENDING K group",
    "XPENDING X V",
    "^XPENDING X group I I N",
    "^XPENDING X group - + 10 V",
    "^XPENDING X group IDLE T - + 10",
    "XCLAIM K group two T I JUSTID",
    "XCLAIM X group two 0 1-1 RETRYCOUNT N FORCE JUSTID",
    "XCLAIM X group two 0 1-1 LASTID I JUSTID",
    "XCLAIM X group two 0 1-1 IDLE N JUSTID",
    "XCLAIM X group two 0 1-1 TIME N JUSTID",
    "XCLAIM X V two 0 1-1",
    "XAUTOCLAIM K group two T I JUSTID",
    "XAUTOCLAIM X group two 0 0 COUNT N JUSTID",
    "XINFO CONSUMERS K V",
    "XINFO GROUPS K",
    "XINFO STREAM missing",
    // bits, sketches, places
    "SETBIT K O 1",
    "SETBIT dst 7 N",
    "GETBIT K O",
    "BITCOUNT K",
    "BITCOUNT K 0 -1",
    "BITCOUNT str N N",
    "BITCOUNT str N N BIT",
    "BITPOS K 1",
    "BITPOS str N",
    "BITPOS str 0 N N",
    "BITPOS str 1 N N BIT",
    "BITOP AND dst K K",
    "BITOP NOT dst K",
    "BITOP NOT dst str str",
    "BITOP FOO dst str",
    "BITFIELD K GET u8 O",
    "BITFIELD K SET i5 O N",
    "BITFIELD K INCRBY u4 O N",
    "BITFIELD int OVERFLOW SAT INCRBY u8 0 N",
    "BITFIELD int OVERFLOW FAIL INCRBY i8 0 N",
    "BITFIELD int OVERFLOW FOO GET u8 0",
    "BITFIELD int GET u64 0",
    "BITFIELD int GET i65 0",
    "BITFIELD int GET x8 0",
    "BITFIELD_RO K GET u8 O",
    "BITFIELD_RO int SET u8 0 1",
    "PFADD K V V",
    "PFCOUNT K K",
    "PFMERGE K hll",
    "PFMERGE dst K K",
    "GEOADD K G G V",
    "GEOADD geo NX XX 1 1 a",
    "GEOADD geo CH 15 37 Catania",
    "GEOPOS K Palermo V",
    "GEODIST K Palermo Catania km",
    "GEODIST geo Palermo V",
    "GEODIST geo Palermo Catania foo",
    "GEOHASH K Palermo V",
    "GEOSEARCH K FROMMEMBER Palermo BYRADIUS 500 km ASC",
    "GEOSEARCH geo FROMLONLAT G G BYRADIUS 500 km ASC",
    "GEOSEARCH geo FROMMEMBER V BYRADIUS F km ASC",
    "GEOSEARCH geo FROMMEMBER Palermo BYBOX F F km ASC COUNT N",
    "GEOSEARCH geo FROMLONLAT 15 37 ASC",
    "GEOSEARCH geo BYRADIUS 1 km ASC",
    "GEOSEARCHSTORE dst K FROMMEMBER Palermo BYRADIUS 500 km",
    "GEORADIUS K 15 37 200 km ASC",
    "GEORADIUS geo G G F km ASC",
    "GEORADIUSBYMEMBER K Palermo 200 km ASC",
    "GEORADIUS geo 15 37 200 km STORE dst WITHDIST",
    // sorting
    "SORT K ALPHA",
    "SORT list LIMIT N N ALPHA",
    "SORT ints DESC",
    "SORT K BY nosort GET # ALPHA STORE dst",
    "SORT_RO K ALPHA",
    "SORT_RO ints STORE dst",
    "SORT list FOO",
];

/// What Redis 8 answers otherwise than the reference, which may be older; the families' cases have them with the newer reply.
const CHANGED_IN_8: &[&str] = &[
    // Numbers in their shortest form.
    "GEOPOS ",
    "LPOS list a RANK -9223372036854775808",
    "XREAD STREAMS stream +",
    "XREADGROUP GROUP group one STREAMS stream +",
];

/// One command of a template, and whether state must be built anew after it.
fn variants(template: &str) -> Vec<Vec<String>> {
    let words: Vec<&str> = template.split(' ').collect();
    let harmless = |word: &str| pool(word).map_or(word, |values| values[0]).to_owned();
    let mut commands: Vec<Vec<String>> = Vec::new();
    for (at, word) in words.iter().enumerate().skip(1) {
        for value in pool(word).unwrap_or_default() {
            let mut command: Vec<String> = words.iter().map(|word| harmless(word)).collect();
            command[at] = (*value).to_owned();
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
    }
    if commands.is_empty() {
        commands.push(words.iter().map(|word| (*word).to_owned()).collect());
    }
    commands
}

fn connection(party: &mut Party) -> &mut Client {
    party.connection(1).expect("a connection")
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Sends commands in one go; their replies, or what went wrong.
fn exchange(party: &mut Party, commands: &[Vec<String>]) -> Result<Vec<Value>, String> {
    let frames: Vec<u8> = commands.iter().flat_map(|command| resp::encode(command)).collect();
    let client = connection(party);
    client.send_raw(&frames).map_err(|error| error.to_string())?;
    commands
        .iter()
        .map(|command| {
            client.read().map(|reply| reply.value).map_err(|error| format!("{command:?}: {error}"))
        })
        .collect()
}

fn build(party: &mut Party) {
    let mut commands = vec![words("FLUSHALL")];
    commands.extend(SETUP.iter().map(|line| words(line)));
    let replies = exchange(party, &commands).expect("the set-up is answered");
    for (command, reply) in commands.iter().zip(replies) {
        assert!(!matches!(reply, Value::Error(_)), "{command:?}: {}", show(&reply));
    }
}

/// All templates; the mismatches as text.
pub fn compare(reference: &mut Party, subject: &mut Party) -> Vec<String> {
    let mut found = Vec::new();
    for template in TEMPLATES {
        let random = template.starts_with('?');
        let (comparison, template) = match template.as_bytes()[0] {
            b'~' => (Comparison::Sorted, &template[1..]),
            b'?' | b'^' => (Comparison::Shape, &template[1..]),
            _ => (Comparison::Bytes, *template),
        };
        let commands = variants(template);
        // What is picked at random leaves different states behind.
        let rounds: Vec<&[Vec<String>]> = match comparison {
            Comparison::Shape if random => commands.chunks(1).collect(),
            _ => vec![&commands],
        };
        for round in rounds {
            build(reference);
            build(subject);
            let mut all: Vec<Vec<String>> = round.to_vec();
            if !random {
                all.extend(PROBES.iter().map(|line| words(line)));
            }
            let ours = exchange(reference, &all).expect("the reference answers");
            let theirs = match exchange(subject, &all) {
                Ok(theirs) => theirs,
                Err(error) => {
                    found.push(format!("{template}: no reply: {error}"));
                    return found;
                }
            };
            for (number, command) in all.iter().enumerate() {
                if CHANGED_IN_8.iter().any(|line| command.join(" ").starts_with(line)) {
                    continue;
                }
                let comparison = match command[0].as_str() {
                    "SMEMBERS" | "HGETALL" => Comparison::Sorted,
                    _ if number < round.len() => comparison,
                    _ => Comparison::Bytes,
                };
                let errors = [&ours[number], &theirs[number]].map(|reply| matches!(reply, Value::Error(_)));
                let comparison = if errors.contains(&true) { Comparison::Bytes } else { comparison };
                if reduced(&ours[number], comparison) != reduced(&theirs[number], comparison) {
                    let shown: Vec<String> = command.iter().map(|word| escaped(word.as_bytes())).collect();
                    found.push(format!(
                        "{template}: \"{}\"\n    expected {}\n    got      {}",
                        shown.join("\" \""),
                        show(&ours[number]),
                        show(&theirs[number])
                    ));
                }
            }
        }
    }
    found
}
