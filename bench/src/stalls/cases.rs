//! What is filled and what is then sent.

/// A command that is sent so many times, with another `__key__` each time.
#[derive(Debug)]
pub struct Fill {
    /// The command, with `__key__`, `__random__` and `__data__` in it.
    pub command: &'static str,
    /// How often it is sent.
    pub times: u64,
}

/// One command on something large.
#[derive(Debug)]
pub struct Case {
    /// Name of the case.
    pub name: &'static str,
    /// What is sent before.
    pub fill: &'static [Fill],
    /// The command that is measured.
    pub command: &'static str,
}

const fn million(command: &'static str) -> Fill {
    Fill { command, times: 1_000_000 }
}

const fn once(command: &'static str) -> Fill {
    Fill { command, times: 1 }
}

const fn case(name: &'static str, fill: &'static [Fill], command: &'static str) -> Case {
    Case { name, fill, command }
}

const SET: &[Fill] = &[million("SADD big member:__key__")];
const INTEGERS: &[Fill] = &[million("SADD big __key__")];
const HASH: &[Fill] = &[million("HSET big field:__key__ __data__")];
const ZSET: &[Fill] = &[million("ZADD big __random__ member:__key__")];
const LIST: &[Fill] = &[million("RPUSH big element:__key__")];
const STREAM: &[Fill] = &[million("XADD big * field value:__key__")];
const TWO_SETS: &[Fill] = &[million("SADD {big}a member:__key__"), million("SADD {big}b other:__key__")];
const TWO_LIKE_SETS: &[Fill] =
    &[million("SADD {big}a member:__key__"), million("SADD {big}b member:__key__")];
const TWO_ZSETS: &[Fill] =
    &[million("ZADD {big}a __random__ member:__key__"), million("ZADD {big}b __random__ member:__key__")];
const KEYS: &[Fill] = &[million("SET key:__key__ __data__")];
const HASHES: &[Fill] =
    &[Fill { command: "HSET h:__key__ a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10", times: 500_000 }];
const TABLES: &[Fill] = &[
    Fill { command: "HSET h:__key__ a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", times: 20_000 },
    Fill { command: "HSET h:__key__ a0 0 a1 1 a2 2 a3 3 a4 4 a5 5 a6 6 a7 7 a8 8 a9 9 b0 0 b1 1 b2 2 b3 3 b4 4 b5 5 b6 6 b7 7 b8 8 b9 9 c0 0 c1 1 c2 2 c3 3 c4 4 c5 5 c6 6 c7 7 c8 8 c9 9 d0 0 d1 1 d2 2 d3 3 d4 4 d5 5 d6 6 d7 7 d8 8 d9 9", times: 20_000 },
];
/// 512 MB of ones.
const STRING: &[Fill] = &[once("SETBIT {big}zeros 4294967295 1"), once("BITOP NOT {big} {big}zeros")];

/// 250 MB of ones.
const GROWING: &[Fill] = &[once("SETBIT {big}zeros 2000000000 1"), once("BITOP NOT {big} {big}zeros")];

/// All of them.
pub const CASES: &[Case] = &[
    // memory that is given back
    case("del-set", SET, "DEL big"),
    case("del-intset", INTEGERS, "DEL big"),
    case("del-hash", HASH, "DEL big"),
    case("del-zset", ZSET, "DEL big"),
    case("del-list", LIST, "DEL big"),
    case("del-stream", STREAM, "DEL big"),
    case("unlink-hash", HASH, "UNLINK big"),
    case("set-over-zset", ZSET, "SET big x"),
    case("expire-set", SET, "PEXPIRE big 1"),
    case("flushall-10m", &[Fill { command: "SET key:__key__ __data__", times: 10_000_000 }], "FLUSHALL"),
    case("flushall-hashes", HASHES, "FLUSHALL"),
    case("flushall-tables", TABLES, "FLUSHALL"),
    case("del-string", STRING, "DEL {big}"),
    case("set-over-string", STRING, "SET {big} x"),
    // long replies
    case("keys-all", KEYS, "KEYS *"),
    case("keys-none", KEYS, "KEYS *x*"),
    case("smembers", SET, "SMEMBERS big"),
    case("hgetall", HASH, "HGETALL big"),
    case("hkeys", HASH, "HKEYS big"),
    case("hvals", HASH, "HVALS big"),
    case("lrange", LIST, "LRANGE big 0 -1"),
    case("zrange", ZSET, "ZRANGE big 0 -1 WITHSCORES"),
    case("zrangebyscore", ZSET, "ZRANGEBYSCORE big -inf +inf"),
    case("zrangebylex", &[million("ZADD big 0 member:__key__")], "ZRANGE big - + BYLEX"),
    case("zrevrange", ZSET, "ZREVRANGE big 0 -1"),
    case("xrange", STREAM, "XRANGE big - +"),
    case("xread", STREAM, "XREAD STREAMS big 0"),
    case("srandmember", SET, "SRANDMEMBER big 500000"),
    case("hrandfield", HASH, "HRANDFIELD big 500000 WITHVALUES"),
    case("zrandmember", ZSET, "ZRANDMEMBER big 500000"),
    case("srandmember-repeated", SET, "SRANDMEMBER big -1000000"),
    case("get-string", STRING, "GETRANGE {big} 0 100000000"),
    // results that are stored
    case("sunionstore", TWO_SETS, "SUNIONSTORE {big}out {big}a {big}b"),
    case("sunion", TWO_SETS, "SUNION {big}a {big}b"),
    case("sinterstore", TWO_LIKE_SETS, "SINTERSTORE {big}out {big}a {big}b"),
    case("sintercard", TWO_LIKE_SETS, "SINTERCARD 2 {big}a {big}b"),
    case("sdiffstore", TWO_SETS, "SDIFFSTORE {big}out {big}a {big}b"),
    case("zunionstore", TWO_ZSETS, "ZUNIONSTORE {big}out 2 {big}a {big}b"),
    case("zinterstore", TWO_ZSETS, "ZINTERSTORE {big}out 2 {big}a {big}b"),
    case("zdiffstore", TWO_ZSETS, "ZDIFFSTORE {big}out 2 {big}a {big}b"),
    case(
        "zrangestore",
        &[million("ZADD {big}a __random__ member:__key__")],
        "ZRANGESTORE {big}out {big}a 0 -1",
    ),
    case("copy-set", &[million("SADD {big}a member:__key__")], "COPY {big}a {big}b"),
    case("copy-hash", &[million("HSET {big}a field:__key__ __data__")], "COPY {big}a {big}b"),
    case("copy-zset", &[million("ZADD {big}a __random__ member:__key__")], "COPY {big}a {big}b"),
    case("copy-list", &[million("RPUSH {big}a element:__key__")], "COPY {big}a {big}b"),
    case("copy-stream", &[million("XADD {big}a * field value:__key__")], "COPY {big}a {big}b"),
    case("sort", LIST, "SORT big ALPHA"),
    case("sort-numbers", &[million("RPUSH big __random__")], "SORT big"),
    case("sort-store", &[million("RPUSH {big}a __random__")], "SORT {big}a STORE {big}b"),
    case("bitop", STRING, "BITOP NOT {big}out {big}"),
    case("bitcount", STRING, "BITCOUNT {big}"),
    case("bitpos", STRING, "BITPOS {big} 0"),
    // many elements that go
    case("spop", SET, "SPOP big 900000"),
    case("zpopmin", ZSET, "ZPOPMIN big 900000"),
    case("zremrangebyrank", ZSET, "ZREMRANGEBYRANK big 1 -2"),
    case("zremrangebyscore", ZSET, "ZREMRANGEBYSCORE big (0 +inf"),
    case("ltrim", LIST, "LTRIM big 500000 500010"),
    case("lpop", LIST, "LPOP big 900000"),
    case("lrem", &[million("RPUSH big same")], "LREM big 0 same"),
    case("xtrim", STREAM, "XTRIM big MAXLEN 10"),
    // searches
    case("lpos", LIST, "LPOS big nothing"),
    case("linsert", LIST, "LINSERT big BEFORE nothing x"),
    case("lindex", LIST, "LINDEX big 500000"),
    case("zcount", ZSET, "ZCOUNT big -inf +inf"),
    case("hscan-all", HASH, "HSCAN big 0 COUNT 1000000"),
    case("scan-all", KEYS, "SCAN 0 COUNT 1000000"),
    case("setbit-far", &[], "SETBIT {big} 4294967295 1"),
    case("setbit", STRING, "SETBIT {big} 4294967294 0"),
    case("append", GROWING, "APPEND {big} x"),
];
